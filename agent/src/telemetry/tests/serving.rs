//! What answers, asked as others ask it.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::{fs::PermissionsExt as _, net::UnixListener},
    path::{Path, PathBuf},
    time::Instant,
};

use tempfile::TempDir;

use super::{good, telemetry, timed_out};
use crate::{
    config::{Place, TelemetrySettings},
    deliver::Failure,
    telemetry::{AskError, Telemetry, ask, moment::Moment, serve, serve::Serving},
};

fn at(socket: &Path) -> TelemetrySettings {
    TelemetrySettings {
        listen: Place::At(SocketAddr::from(([127, 0, 0, 1], 0))),
        socket: Place::At(socket.to_owned()),
        otlp_endpoint: None,
    }
}

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("run").join("agent.sock");
    (folder, socket)
}

/// Asks as a program would that knows nothing of us. The status, the header and the body.
async fn get(address: SocketAddr, path: &'static str, accept: &'static str) -> (u16, String, String) {
    let asking = move || {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let answer = tokio::task::spawn_blocking(asking).await.unwrap();
    let (header, body) = answer.split_once("\r\n\r\n").unwrap();
    (header[9..12].parse().unwrap(), header.to_lowercase(), body.to_owned())
}

fn serving(telemetry: &Telemetry) -> (TempDir, Serving, SocketAddr) {
    let (folder, socket) = folder();
    let serving = serve(&at(&socket), telemetry).unwrap();
    let address = serving.address().unwrap();
    (folder, serving, address)
}

#[tokio::test]
async fn readiness_says_why() {
    let (telemetry, now) = telemetry(&["a", "b"], &["x"]);
    let (_folder, _serving, address) = serving(&telemetry);
    telemetry.looked_at(&good("a"), now);
    let (code, _, body) = get(address, "/readyz", "*/*").await;
    assert_eq!((code, body.as_str()), (503, "not ready\ncollector b: waiting: it has not been looked at yet\n"));

    telemetry.looked_at(&timed_out("b"), now);
    let failed = Instant::now();
    let failure = Failure::Later { after: None, status: "503".into(), message: "tired".into() };
    telemetry.not_delivered("x", 1, &failure, super::TIMEOUT, None);
    let (code, _, body) = get(address, "/readyz", "*/*").await;
    assert_eq!(code, 503);
    // The server reads the clock itself.
    let since = (0..=failed.elapsed().as_secs() + 1).map(|seconds| format!("since {seconds}s"));
    let body = since.fold(body, |body, since| body.replace(&since, "since then"));
    assert!(body.contains("\ncollector b: hangs since then: no complete answer within 30s\n"), "{body}");
    assert!(body.contains("\nremark: target x: takes nothing since then, 0 reports wait: tired\n"), "{body}");

    telemetry.looked_at(&good("b"), now);
    let (code, _, body) = get(address, "/readyz", "*/*").await;
    assert_eq!(code, 200);
    assert!(body.starts_with("ready\nremark: target x: "), "{body}");
}

#[tokio::test]
async fn life_metrics_and_nothing_else() {
    let (telemetry, _) = telemetry(&["a"], &[]);
    let (_folder, _serving, address) = serving(&telemetry);
    assert_eq!(get(address, "/livez", "*/*").await.0, 200);
    let (code, header, body) = get(address, "/metrics", "*/*").await;
    assert!(code == 200 && header.contains("content-type: text/plain; version=0.0.4"), "{header}");
    assert!(body.contains("stocktake_agent_ready 0.0\n"), "{body}");
    let (_, header, body) =
        get(address, "/metrics", "application/openmetrics-text;version=1.0.0,text/plain;q=0.5").await;
    assert!(header.contains("application/openmetrics-text") && body.ends_with("# EOF\n"), "{header}");
    assert_eq!(get(address, "/", "*/*").await.0, 404);
    assert_eq!(get(address, "/status", "*/*").await.0, 404, "who may reach the port may not read this");
}

#[tokio::test]
async fn the_socket_says_everything_and_is_private() {
    let (telemetry, _) = telemetry(&["a"], &[]);
    let (_folder, socket) = folder();
    let serving = serve(&at(&socket), &telemetry).unwrap();
    assert_eq!(socket.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let found = ask(&socket).await.unwrap();
    assert_eq!((found.pid, found.collectors.len(), found.ready), (std::process::id(), 1, false));
    serving.stop().await;
    assert!(!socket.exists(), "it is gone with the agent");
    assert!(matches!(ask(&socket).await, Err(AskError::Connect(_))));
}

#[tokio::test]
async fn a_socket_that_an_agent_left_is_taken_over() {
    let (telemetry, _) = telemetry(&["a"], &[]);
    let (_folder, socket) = folder();
    std::fs::create_dir_all(socket.parent().unwrap()).unwrap();
    drop(UnixListener::bind(&socket).unwrap());
    assert!(socket.exists(), "it was left behind");
    let _serving = serve(&at(&socket), &telemetry).unwrap();
    assert!(ask(&socket).await.is_ok());
}

#[tokio::test]
async fn what_another_agent_has_put_there_stays() {
    let (telemetry, _) = telemetry(&["a"], &[]);
    let (_folder, socket) = folder();
    let first = serve(&at(&socket), &telemetry).unwrap();
    // As if it had come at the same moment and found nobody.
    std::fs::remove_file(&socket).unwrap();
    let _second = serve(&at(&socket), &telemetry).unwrap();
    drop(first);
    assert!(ask(&socket).await.is_ok());
}

#[tokio::test]
async fn what_others_have_is_not_taken() {
    let (telemetry, _) = telemetry(&["a"], &[]);
    let (_folder, socket) = folder();
    let _first = serve(&at(&socket), &telemetry).unwrap();
    let error = serve(&at(&socket), &telemetry).unwrap_err().to_string();
    assert!(error.contains("another agent answers there") && error.contains("agent.sock"), "{error}");
    assert!(ask(&socket).await.is_ok(), "the first one still has it");

    let file = socket.with_file_name("file");
    std::fs::write(&file, "precious").unwrap();
    let error = serve(&at(&file), &telemetry).unwrap_err().to_string();
    assert!(error.contains("something else is there"), "{error}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let settings = TelemetrySettings { listen: Place::At(taken.local_addr().unwrap()), ..at(&socket) };
    let error = serve(&settings, &telemetry).unwrap_err().to_string();
    assert!(error.contains("`listen` of `[telemetry]`; `off` to do without"), "{error}");
}

#[tokio::test]
async fn off_is_off() {
    let (telemetry, _) = telemetry(&["a"], &[]);
    let settings = TelemetrySettings { listen: Place::Off, socket: Place::Off, otlp_endpoint: None };
    let serving = serve(&settings, &telemetry).unwrap();
    assert_eq!(serving.address(), None);
}

/// Who says nothing keeps nobody else from being answered.
#[tokio::test]
async fn silent_connections_are_let_wait() {
    let (telemetry, _) = telemetry(&["a"], &[]);
    let (_folder, _serving, address) = serving(&telemetry);
    let _silent: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(address).unwrap()).collect();
    assert_eq!(get(address, "/livez", "*/*").await.0, 200);
}

#[tokio::test]
async fn an_agent_that_reports_nothing_any_more_is_dead() {
    let (telemetry, _) = telemetry(&["a"], &[]);
    let (_folder, _serving, address) = serving(&telemetry);
    assert_eq!(get(address, "/livez", "*/*").await.0, 200);
    telemetry.state().active(Moment::long_ago());
    let (code, _, body) = get(address, "/livez", "*/*").await;
    assert_eq!(code, 503, "{body}");
}
