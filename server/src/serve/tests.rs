use axum::{
    body::to_bytes,
    http::{HeaderMap, StatusCode},
    response::Response,
    routing::{get, post},
};
use bytes::Bytes;
use rustls_pki_types::pem::PemObject as _;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::{
    app::Retention,
    metrics::{Protocol, Reported},
    testing,
};

async fn app() -> App {
    App::usual(testing::databases().await.swap_remove(0), Retention::default())
}

async fn ask(
    router: &Router,
    request: hyper::http::request::Builder,
    body: impl Into<Body>,
) -> (StatusCode, HeaderMap, Bytes) {
    let response: Response = router.clone().oneshot(request.body(body.into()).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    (parts.status, parts.headers, to_bytes(body, 1 << 20).await.unwrap())
}

fn to(method: &str, path: &str) -> hyper::http::request::Builder {
    Request::builder().method(method).uri(path)
}

fn problem(headers: &HeaderMap, body: &Bytes) -> String {
    assert_eq!(headers["content-type"], "application/problem+json");
    let body: Value = serde_json::from_slice(body).unwrap();
    body["title"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn it_lives_and_is_ready() {
    let router = router::alone(app().await, &Settings::default());
    for path in ["/livez", "/readyz"] {
        assert_eq!(ask(&router, to("GET", path), "").await.0, StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn it_is_not_ready_without_its_schema() {
    let app = app().await;
    let router = router::alone(app.clone(), &Settings::default());
    sqlx::query("DELETE FROM _sqlx_migrations").execute(app.database.pool()).await.unwrap();
    let (status, _, body) = ask(&router, to("GET", "/readyz"), "").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    let wanted = app.database.schema_wanted();
    assert_eq!(body, format!("not ready\nthe schema's version is 0, and has to be {wanted}\n"));
    app.database.pool().close().await;
    let (status, _, body) = ask(&router, to("GET", "/readyz"), "").await;
    assert_eq!(
        (status, &body[..]),
        (StatusCode::SERVICE_UNAVAILABLE, &b"not ready\nthe database cannot be used\n"[..])
    );
}

#[tokio::test]
async fn agents_of_anchore_can_tell_what_it_speaks() {
    let router = router::alone(app().await, &Settings::default());
    let (status, _, body) = ask(&router, to("GET", "/version"), "").await;
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, body["api"]["version"].as_str()), (StatusCode::OK, Some("2")));
    assert!(body["db"]["schema_version"].is_string() && body["service"]["version"].is_string(), "{body}");
}

#[tokio::test]
async fn what_there_is_not_is_told_as_a_problem() {
    let router = router::alone(app().await, &Settings::default());
    let (status, headers, body) = ask(&router, to("GET", "/nothing"), "").await;
    assert_eq!((status, problem(&headers, &body).as_str()), (StatusCode::NOT_FOUND, "there is nothing at this path"));
    for path in ["/version", "/livez"] {
        let (status, headers, body) = ask(&router, to("POST", path), "").await;
        assert_eq!((status, &headers["allow"]), (StatusCode::METHOD_NOT_ALLOWED, &"GET,HEAD".parse().unwrap()));
        assert!(problem(&headers, &body).contains("does not take POST"));
    }
}

#[tokio::test]
async fn metrics_are_for_who_may_read_or_for_all() {
    let app = app().await;
    let (status, ..) = ask(&router::alone(app.clone(), &Settings::default()), to("GET", "/metrics"), "").await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    let mut settings = Settings::default();
    settings.metrics.public = true;
    app.metrics.report(Protocol::Agentless, Reported::Known);
    let (status, _, body) = ask(&router::alone(app, &settings), to("GET", "/metrics"), "").await;
    let body = String::from_utf8(body.to_vec()).unwrap();
    assert_eq!(status, StatusCode::OK);
    for line in [
        "stocktake_server_requests_total{method=\"GET\",route=\"/metrics\",status=\"401\"} 1",
        "stocktake_server_agentless_sources{state=\"failing\"} 0",
        "stocktake_server_reports_total{protocol=\"agentless\",outcome=\"known\"} 1",
        "stocktake_server_database_connections ",
    ] {
        assert!(body.contains(line), "{line}: {body}");
    }
}

/// What a handler sees that reads a body as libraries do.
async fn echo(body: Bytes) -> Bytes {
    body
}

fn echoing(app: App, settings: &Settings) -> Router {
    let rooms =
        Router::new().route("/echo", post(echo)).route("/panic", get(async || -> &'static str { panic!("oh") }));
    router::around(rooms, app, settings, Bounds::new(&settings.limits))
}

#[tokio::test]
async fn a_body_that_is_too_long_is_refused_before_and_after_it_is_decompressed() {
    let mut settings = Settings::default();
    settings.limits.request_bytes = bytesize::ByteSize::b(1000);
    settings.limits.decompressed_bytes = bytesize::ByteSize::b(5000);
    let router = echoing(app().await, &settings);
    let (status, _, body) = ask(&router, to("POST", "/echo"), vec![0; 1000]).await;
    assert_eq!((status, body.len()), (StatusCode::OK, 1000));
    let declared = to("POST", "/echo").header("content-length", "1001");
    let streamed = futures_util::stream::iter((0..1001).map(|_| Ok::<_, io::Error>("x")));
    for (request, body) in [(declared, Body::from(vec![0; 1001])), (to("POST", "/echo"), Body::from_stream(streamed))] {
        let (status, headers, body) = ask(&router, request, body).await;
        assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
        problem(&headers, &body);
    }
    for (size, expected) in
        [(5000, StatusCode::OK), (5001, StatusCode::PAYLOAD_TOO_LARGE), (1 << 20, StatusCode::PAYLOAD_TOO_LARGE)]
    {
        let bomb = zstd::encode_all(&vec![0; size][..], 3).unwrap();
        let (status, ..) = ask(&router, to("POST", "/echo").header("content-encoding", "zstd"), bomb).await;
        assert_eq!(status, expected, "{size}");
    }
    let (status, headers, body) = ask(&router, to("POST", "/echo").header("content-encoding", "br"), "x").await;
    assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    problem(&headers, &body);
    let (status, headers, body) = ask(&router, to("POST", "/echo").header("content-encoding", "gzip"), "no gzip").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    problem(&headers, &body);
}

#[tokio::test]
async fn what_a_handler_leaves_of_a_body_is_read_so_that_who_sends_it_gets_to_the_answer() {
    let mut settings = Settings::default();
    settings.limits.request_bytes = bytesize::ByteSize::kib(64);
    let router = echoing(app().await, &settings);
    let read = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let parts = |count: usize| {
        let read = Arc::clone(&read);
        Body::from_stream(futures_util::stream::iter((0..count).map(move |_| {
            read.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            Ok::<_, io::Error>(Bytes::from_static(&[0; 1024]))
        })))
    };
    let declared = to("POST", "/echo").header("content-length", "102400");
    for (request, expected) in
        [(declared, StatusCode::PAYLOAD_TOO_LARGE), (to("POST", "/nothing"), StatusCode::NOT_FOUND)]
    {
        assert_eq!(ask(&router, request, parts(100)).await.0, expected);
        assert_eq!(read.swap(0, std::sync::atomic::Ordering::SeqCst), 100);
    }
    // But no more than a few times what may be sent.
    assert_eq!(ask(&router, to("POST", "/nothing"), parts(100_000)).await.0, StatusCode::NOT_FOUND);
    assert!(read.load(std::sync::atomic::Ordering::SeqCst) < 300);
}

#[tokio::test]
async fn a_body_that_comes_too_slowly_is_to_be_sent_again() {
    let mut settings = Settings::default();
    settings.limits.body_timeout = Duration::from_millis(20);
    let router = echoing(app().await, &settings);
    let stuck = Body::from_stream(futures_util::stream::pending::<io::Result<Bytes>>());
    let (status, headers, body) = ask(&router, to("POST", "/echo"), stuck).await;
    assert_eq!(status, StatusCode::REQUEST_TIMEOUT);
    assert!(problem(&headers, &body).contains("too slowly"));
}

#[tokio::test]
async fn a_body_for_which_there_is_no_memory_is_to_be_sent_again() {
    let app = app().await;
    tokio::time::pause();
    let mut settings = Settings::default();
    settings.limits.memory = bytesize::ByteSize::mib(8);
    settings.limits.body_timeout = Duration::from_hours(1);
    let router = echoing(app, &settings);
    // It has the whole memory, and does not end.
    let first = futures_util::stream::iter([Ok::<_, io::Error>(Bytes::from(vec![0; 2 << 20]))]);
    let endless = futures_util::StreamExt::chain(first, futures_util::stream::pending());
    let (other, settled) = (router.clone(), to("POST", "/echo"));
    let holding = tokio::spawn(async move { ask(&other, settled, Body::from_stream(endless)).await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (status, headers, body) = ask(&router, to("POST", "/echo"), vec![0; 1 << 20]).await;
    assert_eq!((status, &headers["retry-after"]), (StatusCode::SERVICE_UNAVAILABLE, &"5".parse().unwrap()));
    assert!(problem(&headers, &body).contains("memory"));
    // What is small finds room.
    assert_eq!(ask(&router, to("POST", "/echo"), vec![0; 1000]).await.0, StatusCode::OK);
    holding.abort();
    drop(holding.await);
    assert_eq!(ask(&router, to("POST", "/echo"), vec![0; 1 << 20]).await.0, StatusCode::OK);
}

#[tokio::test]
async fn answers_are_compressed_for_who_takes_that() {
    let router = echoing(app().await, &Settings::default());
    for encoding in ["gzip", "zstd"] {
        let request = to("POST", "/echo").header("accept-encoding", encoding);
        let (_, headers, body) = ask(&router, request, vec![b'x'; 10_000]).await;
        assert_eq!(headers["content-encoding"], encoding);
        assert!(body.len() < 1000);
    }
}

#[tokio::test]
async fn a_panic_fails_its_request_and_no_other() {
    let router = echoing(app().await, &Settings::default());
    let (status, headers, body) = ask(&router, to("GET", "/panic"), "").await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(!problem(&headers, &body).contains("oh"));
    assert_eq!(ask(&router, to("POST", "/echo"), "x").await.0, StatusCode::OK);
}

#[tokio::test]
async fn who_asks_too_often_is_told_when_to_come_again() {
    let mut settings = Settings::default();
    settings.limits.requests_per_second = 1;
    let router = router::alone(app().await, &settings);
    let began = std::time::Instant::now();
    let mut answered = 0;
    let (status, headers, body) = loop {
        let (status, headers, body) = ask(&router, to("GET", "/version"), "").await;
        if status != StatusCode::OK {
            break (status, headers, body);
        }
        answered += 1;
        // Two at once, and one for each second since.
        assert!(answered <= 2 + began.elapsed().as_secs(), "{answered} within {:?}", began.elapsed());
    };
    assert!(answered >= 2, "{answered}");
    assert_eq!((status, &headers["retry-after"]), (StatusCode::TOO_MANY_REQUESTS, &"1".parse().unwrap()));
    problem(&headers, &body);
    assert_eq!(
        ask(&router, to("GET", "/readyz"), "").await.0,
        StatusCode::OK,
        "whoever watches over it may always ask"
    );
}

/// A server on a port of its own, and what ends it.
struct Served {
    address: SocketAddr,
    health: Option<SocketAddr>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn served(mut settings: Settings) -> Served {
    settings.server.listen.set_port(0);
    let _ = rustls::crypto::ring::default_provider().install_default();
    let listening = Listening::start(&settings).await.unwrap();
    let (address, app) = (listening.address, app().await);
    let health = listening.health.as_ref().map(|(_, address)| *address);
    let mut signals = Signals::heed().unwrap();
    let task = tokio::spawn(async move { listening.serve(app, &settings, &mut signals, || None).await });
    Served { address, health, task }
}

/// Sends this, and reads until the server ends the connection.
async fn talk(address: SocketAddr, said: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(said).await.unwrap();
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard).await.unwrap();
    String::from_utf8_lossy(&heard).into_owned()
}

#[tokio::test]
async fn who_says_nothing_or_half_of_it_is_left() {
    let mut settings = Settings::default();
    settings.limits.header_timeout = Duration::from_millis(100);
    settings.limits.body_timeout = Duration::from_millis(100);
    let served = served(settings).await;
    for said in ["", "P", "GET /livez HTTP/1.1\r\nHost: x\r\nX-Slow: ", "PRI * HTTP/2.0\r\n"] {
        let heard = talk(served.address, said.as_bytes()).await;
        assert!(!heard.contains("200 OK"), "{said:?}: {heard}");
    }
    let heard = talk(served.address, b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(heard.starts_with("HTTP/1.1 200 OK"), "{heard}");
}

fn certificate(folder: &std::path::Path) -> rustls_pki_types::CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(folder.join("certificate"), made.cert.pem()).unwrap();
    std::fs::write(folder.join("key"), made.signing_key.serialize_pem()).unwrap();
    made.cert.der().clone()
}

/// Connects as whoever's certificate and key are in the folder, if there is one.
async fn tls(
    address: SocketAddr,
    trusted: &rustls_pki_types::CertificateDer<'static>,
    client: Option<&std::path::Path>,
) -> io::Result<impl AsyncRead + AsyncWrite + use<>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let config = rustls::ClientConfig::builder().with_root_certificates(roots);
    let config = match client {
        Some(folder) => {
            let certificate = rustls_pki_types::CertificateDer::from_pem_file(folder.join("certificate")).unwrap();
            let key = rustls_pki_types::PrivateKeyDer::from_pem_file(folder.join("key")).unwrap();
            config.with_client_auth_cert(vec![certificate], key).unwrap()
        }
        None => config.with_no_client_auth(),
    };
    let stream = TcpStream::connect(address).await?;
    tokio_rustls::TlsConnector::from(Arc::new(config)).connect("localhost".try_into().unwrap(), stream).await
}

async fn ask_on(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<String> {
    stream.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await?;
    let mut heard = vec![0; 1000];
    let count = stream.read(&mut heard).await?;
    Ok(String::from_utf8_lossy(&heard[..count]).into_owned())
}

#[tokio::test]
async fn a_certificate_is_renewed_and_connections_stay() {
    let folder = tempfile::tempdir().unwrap();
    let first = certificate(folder.path());
    let mut settings = Settings::default();
    let (certificate_file, key) = (folder.path().join("certificate"), folder.path().join("key"));
    settings.server.tls =
        Some(crate::config::TlsSettings { certificate: certificate_file.clone(), key, client_ca: None });
    let served = served(settings).await;
    let mut stream = Box::pin(tls(served.address, &first, None).await.unwrap());
    assert!(ask_on(&mut stream).await.unwrap().starts_with("HTTP/1.1 200"));
    // Half of a renewal changes nothing.
    std::fs::write(&certificate_file, "-----BEGIN CERT").unwrap();
    tokio::time::sleep(tls::LOOK + Duration::from_secs(1)).await;
    tls(served.address, &first, None).await.unwrap();
    let second = certificate(folder.path());
    while tls(served.address, &second, None).await.is_err() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(tls(served.address, &first, None).await.is_err());
    assert!(ask_on(&mut stream).await.unwrap().starts_with("HTTP/1.1 200"), "the former connection is still there");
}

#[tokio::test]
async fn who_has_no_certificate_gets_probes_and_metrics_at_an_address_of_their_own_and_nothing_else() {
    let (own, clients) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let trusted = certificate(own.path());
    let _ = certificate(clients.path());
    let mut settings = Settings::default();
    settings.server.tls = Some(crate::config::TlsSettings {
        certificate: own.path().join("certificate"),
        key: own.path().join("key"),
        client_ca: Some(clients.path().join("certificate")),
    });
    settings.server.health_listen = Some("127.0.0.1:0".parse().unwrap());
    let closed = served(settings.clone()).await;
    let mut known = Box::pin(tls(closed.address, &trusted, Some(clients.path())).await.unwrap());
    assert!(ask_on(&mut known).await.unwrap().starts_with("HTTP/1.1 200"));
    // In TLS 1.3 a client has its half of the handshake before the server refuses.
    let unknown = async {
        let mut stream = Box::pin(tls(closed.address, &trusted, None).await?);
        ask_on(&mut stream).await
    };
    let refused = unknown.await.map_err(|error| error.to_string());
    assert!(refused.as_ref().is_err_and(|error| error.contains("CertificateRequired")), "{refused:?}");

    settings.metrics.public = true;
    let open = served(settings).await;
    let status = async |address: SocketAddr, request: &str| {
        let said = format!("{request} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        let heard = talk(address, said.as_bytes()).await;
        heard.split(' ').nth(1).unwrap_or_default().to_owned()
    };
    for (request, expected) in [
        ("GET /livez", "200"),
        ("GET /readyz", "200"),
        ("GET /version", "404"),
        ("GET /v1/openapi.json", "404"),
        ("GET /v1/containers", "404"),
        ("POST /v1/reports", "404"),
        ("POST /livez", "405"),
    ] {
        assert_eq!(status(closed.health.unwrap(), request).await, expected, "{request}");
    }
    assert_eq!(status(closed.health.unwrap(), "GET /metrics").await, "401", "as at the other address");
    assert_eq!(status(open.health.unwrap(), "GET /metrics").await, "200");
    assert_ne!(status(closed.address, "GET /livez").await, "200", "plain HTTP where TLS is spoken");
}
