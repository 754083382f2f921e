use std::{
    fs,
    io::{self, Write},
    os::unix::fs::symlink,
    sync::{Arc, Mutex},
};

use secrecy::ExposeSecret as _;
use serde_json::json;

use super::*;
use crate::deliver::http::{
    Secret,
    testing::{ConnectProxy, Server, answer},
};

fn secret(
    value: Option<&str>,
    file: Option<&std::path::Path>,
    variable: Option<&str>,
) -> Result<Option<Secret>, ConfigError> {
    let environment = context(&[("ITS_TOKEN", "of-the-environment\n")]).environment;
    Secret::new("token", value.map(Into::into), file.map(Into::into), variable.map(Into::into), &environment)
}

#[tokio::test]
async fn a_secret_is_in_exactly_one_place() {
    let read = async |secret: Option<Secret>| secret.unwrap().read().await.unwrap().expose_secret().to_owned();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    fs::write(&file, "of-the-file\r\n").unwrap();
    assert_eq!(read(secret(Some("inline"), None, None).unwrap()).await, "inline");
    assert_eq!(read(secret(None, Some(&file), None).unwrap()).await, "of-the-file");
    assert_eq!(read(secret(None, None, Some("ITS_TOKEN")).unwrap()).await, "of-the-environment");
    assert!(secret(None, None, None).unwrap().is_none());
    let complaint = |found: Result<Option<Secret>, ConfigError>| found.expect_err("a complaint").to_string();
    assert!(complaint(secret(Some("inline"), Some(&file), None)).starts_with("token: more than one of"));
    assert_eq!(complaint(secret(None, None, Some("NONE"))), "token_env: there is no environment variable `NONE`");
    assert!(complaint(secret(Some(""), None, None)).starts_with("token: it is empty"));
}

#[tokio::test]
async fn a_new_token_in_its_file_is_used_at_once_also_where_links_are_swapped() {
    let server = Server::http(|_| answer(204, &[], "")).await;
    let client = client(json!({"url": server.url()}), &[]);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for (name, token) in [("1", "first"), ("2", "second")] {
        fs::create_dir(path(name)).unwrap();
        fs::write(path(name).join("token"), token).unwrap();
    }
    // As a kubelet mounts a secret: `token` leads through `..data`, which is replaced as a whole.
    symlink("1", path("..data")).unwrap();
    symlink("..data/token", path("token")).unwrap();
    let credentials = Credentials::Bearer(secret(None, Some(&path("token")), None).unwrap().unwrap());
    post(&client, &credentials).await.unwrap().success(|_| true).unwrap();
    symlink("2", path("..new")).unwrap();
    fs::rename(path("..new"), path("..data")).unwrap();
    post(&client, &credentials).await.unwrap().success(|_| true).unwrap();
    let sent: Vec<String> = server.seen().iter().map(|seen| seen.header("authorization").to_owned()).collect();
    assert_eq!(sent, ["Bearer first", "Bearer second"]);
}

#[tokio::test]
async fn a_file_that_is_empty_missing_or_no_file_loses_no_report_and_is_told() {
    let server = Server::http(|_| answer(204, &[], "")).await;
    let client = client(json!({"url": server.url()}), &[]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let credentials = Credentials::Bearer(secret(None, Some(&file), None).unwrap().unwrap());
    let told = async || later(&post(&client, &credentials).await.err().expect("a failure")).1.to_owned();
    assert!(told().await.contains("correct the path, or create the file"));
    fs::write(&file, "\n").unwrap();
    assert!(told().await.ends_with("token is empty; write the secret into it"));
    fs::write(&file, "to\u{7}ken").unwrap();
    assert!(told().await.contains("no HTTP header can hold"));
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    assert!(told().await.contains("not a regular file"));
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn basic_credentials_are_as_rfc_7617_has_them() {
    let server = Server::http(|_| answer(204, &[], "")).await;
    let client = client(json!({"url": server.url()}), &[]);
    let password = secret(Some("open sesame"), None, None).unwrap().unwrap();
    let credentials = Credentials::Basic { user: "Aladdin".into(), password };
    post(&client, &credentials).await.unwrap().success(|_| true).unwrap();
    assert_eq!(server.seen()[0].header("authorization"), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Everything that the agent and its libraries would say of a delivery at the most talkative level.
#[test]
fn no_secret_is_in_a_log_a_message_or_a_debug_form() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .with_ansi(false)
        .finish();
    // Libraries that log by `log` come into it as they do in the program.
    let _ = tracing_log::LogTracer::init();
    let messages = tracing::subscriber::with_default(subscriber, || {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(talk())
    });
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(text.contains("anchore.invalid") && text.contains("hyper"), "the libraries do log here");
    let all = format!("{text}{messages}");
    for secret in ["hunter2", "aHVudGVyMg", "bWU6aHVudGVyMg"] {
        let line = all.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret}");
    }
}

/// Deliveries that succeed and fail with secrets everywhere; returns what is told of them.
async fn talk() -> String {
    let password =
        || Secret::new("password", Some("hunter2".into()), None, None, &Environment::default()).unwrap().unwrap();
    let basic = Credentials::Basic { user: "me".into(), password: password() };
    let bearer = Credentials::Bearer(password());
    let mut told = format!("{basic:?} {bearer:?}");
    let server = Server::http(|seen| answer(400, &[], format!("what is {}?", seen.header("authorization")))).await;
    let tunnel = ConnectProxy::to(server.port).await;
    let through = format!("http://me:hunter2@127.0.0.1:{}", tunnel.port);
    for settings in [
        json!({"url": server.url()}),
        json!({"url": "https://anchore.invalid", "proxy": through}),
        json!({"url": "http://anchore.invalid", "proxy": format!("http://me:hunter2@127.0.0.1:{}", server.port)}),
        json!({"url": "http://anchore.invalid", "proxy": "http://me:hunter2@127.0.0.1:1"}),
    ] {
        for credentials in [&basic, &bearer] {
            let client = client(settings.clone(), &[]);
            client.warn_of_clear_text("main", credentials);
            let failure = match post(&client, credentials).await {
                Ok(answer) => answer.failure(),
                Err(failure) => failure,
            };
            told = format!("{told}{failure:?}\n");
        }
    }
    assert!(told.contains("what is Basic [secret]?") && told.contains("what is Bearer [secret]?"), "{told}");
    told
}
