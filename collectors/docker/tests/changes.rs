//! What only a broken daemon does to who follows its events, and a Podman of some versions: an in-process fake over a real
//! socket.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
};

use futures_util::{FutureExt as _, StreamExt as _, stream::BoxStream};
use serde_json::json;
use stocktake_collector_docker::DockerCollector;
use stocktake_core::{
    CollectError, CollectorPlugin as _, ConfigError, Context, RuntimeCollector as _, ScopeChange, model::ScopeId,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{UnixListener, UnixStream},
    sync::Notify,
};

const DOCKER: &str = r#"{"Version":"20.10.24"}"#;
const PODMAN: &str = r#"{"Version":"5.2.0","Components":[{"Name":"Podman Engine","Version":"5.2.0"}]}"#;
const INFO: &str = r#"{"SystemTime":"2026-11-25T08:47:49.371568536Z"}"#;

const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
const LAST_CHUNK: &str = "0\r\n\r\n";

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

fn event(action: &str) -> String {
    chunk(&format!("{{\"Type\":\"container\",\"Action\":\"{action}\",\"Actor\":{{\"ID\":\"a\"}}}}\n"))
}

fn status(line: &str, body: &str) -> String {
    format!("HTTP/1.1 {line}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// What the fake writes when it is asked for its events, and whether it hangs up then.
struct Script {
    version: &'static str,
    info: &'static str,
    /// Each part is written when the test says so; the first at once.
    parts: Vec<String>,
    hangs_up: bool,
}

impl Script {
    fn docker(parts: impl IntoIterator<Item = String>) -> Self {
        Self { version: DOCKER, info: INFO, parts: parts.into_iter().collect(), hangs_up: true }
    }
}

struct Fake {
    folder: TempDir,
    /// Lets it write the next part.
    goes_on: Arc<Notify>,
    /// What it was asked for.
    asked: Arc<Mutex<Vec<String>>>,
}

impl Fake {
    fn start(script: Script) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("docker.sock")).unwrap();
        let (goes_on, asked) = (Arc::new(Notify::new()), Arc::<Mutex<Vec<String>>>::default());
        let (notify, log, script) = (Arc::clone(&goes_on), Arc::clone(&asked), Arc::new(script));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (notify, log, script) = (Arc::clone(&notify), Arc::clone(&log), Arc::clone(&script));
                // What fails here is the client having gone away, which is its right.
                tokio::spawn(async move { drop(serve(stream, &script, &notify, &log).await) });
            }
        });
        Self { folder, goes_on, asked }
    }

    fn changes(&self) -> BoxStream<'static, Result<ScopeChange, CollectError>> {
        let socket: PathBuf = self.folder.path().join("docker.sock");
        let settings = ConfigError::deserialize(json!({"host": format!("unix://{}", socket.display())})).unwrap();
        DockerCollector::new(settings, Context::default()).unwrap().changes()
    }
}

async fn serve(
    mut stream: UnixStream,
    script: &Script,
    goes_on: &Notify,
    asked: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let (read, mut write) = stream.split();
    let mut lines = BufReader::new(read).lines();
    let request = lines.next_line().await?.unwrap_or_default();
    while lines.next_line().await?.is_some_and(|line| !line.is_empty()) {}
    let path = request.split_whitespace().nth(1).unwrap_or_default().to_owned();
    asked.lock().unwrap().push(path.clone());
    if !path.starts_with("/events") {
        let body = if path == "/version" { script.version } else { script.info };
        return write.write_all(status("200 OK", body).as_bytes()).await;
    }
    for (number, part) in script.parts.iter().enumerate() {
        if number > 0 {
            goes_on.notified().await;
        }
        write.write_all(part.as_bytes()).await?;
    }
    if !script.hangs_up {
        lines.next_line().await?;
    }
    Ok(())
}

/// Everything that is told, each as a word or, of an error, what kind it is and what it says.
async fn told(script: Script) -> Vec<String> {
    let fake = Fake::start(script);
    fake.goes_on.notify_one();
    fake.changes().map(|told| word(told.as_ref())).collect().await
}

fn word(told: Result<&ScopeChange, &CollectError>) -> String {
    match told {
        Ok(ScopeChange::All) => "all".to_owned(),
        Ok(ScopeChange::Scopes(scopes)) if scopes == &[ScopeId::host()].into() => "host".to_owned(),
        Ok(other) => format!("{other:?}"),
        Err(error) => format!("{error:?}").split([' ', '{']).next().unwrap().to_owned() + ": " + &error.full_message(),
    }
}

#[tokio::test]
async fn it_tells_to_look_at_everything_and_then_at_the_host_for_each_change() {
    let parts = [
        HEAD.to_owned(),
        event("start") + &event("exec_start: /bin/check --password x") + &event("die") + &event("from-the-future"),
    ];
    let told = told(Script::docker(parts)).await;
    assert_eq!(told[..4], ["all", "host", "host", "host"], "{told:?}");
    assert!(told[4].starts_with("Unavailable: cannot follow the events of docker at unix:///"), "{told:?}");
    assert_eq!(told.len(), 5);
}

/// They come in pieces that have nothing to do with lines.
#[tokio::test]
async fn an_event_in_pieces_is_one() {
    let event = "{\"Type\":\"container\",\"Action\":\"start\"}\n";
    let pieces: String = event.chars().map(|piece| chunk(&piece.to_string())).collect();
    let told = told(Script::docker([HEAD.to_owned() + &pieces + LAST_CHUNK])).await;
    assert_eq!(told[..2], ["all", "host"], "{told:?}");
    assert!(told[2].ends_with("they have ended"), "{told:?}");
}

#[tokio::test]
async fn asks_for_what_happened_since_before_by_the_daemons_own_clock() {
    let fake = Fake::start(Script { hangs_up: false, ..Script::docker([HEAD.to_owned()]) });
    let mut changes = fake.changes();
    assert!(fake.asked.lock().unwrap().is_empty(), "nothing before it is polled");
    assert_eq!(changes.next().await.unwrap().unwrap(), ScopeChange::All);
    let asked = fake.asked.lock().unwrap().clone();
    assert_eq!(asked[..2], ["/info", "/version"]);
    assert!(asked[2].starts_with("/events?since=1795596469&filters=%7B%22type%22"), "{asked:?}");
    assert_eq!(asked.len(), 3);
}

/// Podman 5.2 sends the head of its answer with the first event.
#[tokio::test]
async fn a_podman_whose_answer_begins_with_the_first_event_is_not_waited_for() {
    let parts = [String::new(), HEAD.to_owned() + &event("start")];
    let fake = Fake::start(Script { version: PODMAN, hangs_up: false, ..Script::docker(parts) });
    let mut changes = fake.changes();
    assert_eq!(changes.next().await.unwrap().unwrap(), ScopeChange::All);
    fake.goes_on.notify_one();
    assert_eq!(word(changes.next().await.unwrap().as_ref()), "host");
}

/// And of a Docker, which sends it at once, a head that does not come means that it does not listen.
#[tokio::test]
async fn a_docker_that_does_not_answer_is_waited_for() {
    let fake = Fake::start(Script { hangs_up: false, ..Script::docker([String::new(), HEAD.to_owned()]) });
    let mut changes = fake.changes();
    let first = changes.next();
    tokio::pin!(first);
    while fake.asked.lock().unwrap().len() < 3 {
        assert!(first.as_mut().now_or_never().is_none());
        tokio::task::yield_now().await;
    }
    assert!(first.as_mut().now_or_never().is_none());
    fake.goes_on.notify_one();
    assert_eq!(first.await.unwrap().unwrap(), ScopeChange::All);
}

#[tokio::test]
async fn a_refusal_says_what_to_do() {
    let refused = |line: &'static str, body: &'static str| told(Script::docker([status(line, body)]));
    for version in [DOCKER, PODMAN] {
        let answer = status("403 Forbidden", r#"{"message":"not for you"}"#);
        let told = told(Script { version, ..Script::docker([answer]) }).await;
        let last = told.last().unwrap();
        assert!(last.starts_with("Denied: cannot follow the events of docker"), "{told:?}");
        assert!(last.contains("not for you"), "{told:?}");
    }
    // As a proxy answers.
    let told = refused("403 Forbidden", "<html>403</html>").await;
    assert!(told.len() == 1 && told[0].starts_with("Denied: "), "{told:?}");
    let told = refused("404 Not Found", r#"{"message":"page not found"}"#).await;
    assert!(told.len() == 1 && told[0].starts_with("Unsupported: ") && told[0].contains("page not found"), "{told:?}");
    let told = refused("500 Oh", r#"{"message":"cannot read events with the \"none\" backend"}"#).await;
    assert!(told.len() == 1 && told[0].starts_with("Unavailable: ") && told[0].contains("\"none\""), "{told:?}");
    let told = refused("400 No", r#"{"message":"filters?"}"#).await;
    assert!(told.len() == 1 && told[0].starts_with("Protocol: ") && told[0].contains("filters?"), "{told:?}");
}

#[tokio::test]
async fn whatever_is_no_event_ends_it_with_an_error() {
    for (body, kind) in [
        (chunk("{\"Type\":\"container\",\"Action\":\"sta") + LAST_CHUNK, "Protocol: "),
        (chunk("{\"Type\":\"container\",\"Action\":\"sta"), "Unavailable: "),
        (chunk("<html>It works!</html>\n"), "Protocol: "),
        (chunk("\n"), "Protocol: "),
        (chunk("[1]\n"), "Protocol: "),
        ("zz\r\n".to_owned(), "Unavailable: "),
        (String::new(), "Unavailable: "),
    ] {
        let told = told(Script::docker([HEAD.to_owned(), body.clone()])).await;
        assert!(told.len() == 2 && told[0] == "all" && told[1].starts_with(kind), "{body}: {told:?}");
    }
}

#[tokio::test]
async fn an_event_without_end_is_given_up() {
    let told = told(Script::docker([HEAD.to_owned() + &chunk(&" ".repeat(1 << 20)).repeat(6)])).await;
    assert!(told.len() == 2 && told[1].ends_with("one is larger than 4 MiB"), "{told:?}");
}

/// What bounds an answer does not bound all events together, which are followed for months.
#[tokio::test]
async fn events_without_end_are_followed() {
    let long = chunk(&format!("{{\"Action\":\"exec_die\",\"Actor\":\"{}\"}}\n", "{".repeat(1 << 20)));
    let told = told(Script::docker([HEAD.to_owned() + &long.repeat(3) + &event("start")])).await;
    assert_eq!(told[1], "host", "{told:?}");
}

#[tokio::test]
async fn a_daemon_that_does_not_tell_its_time_cannot_be_followed() {
    let told = told(Script { info: "{}", ..Script::docker([HEAD.to_owned()]) }).await;
    assert!(told.len() == 1 && told[0].contains("it does not tell its time"), "{told:?}");
}
