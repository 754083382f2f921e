use std::fs;

use serde_json::json;

use super::*;
use crate::deliver::http::testing::{Authority, ConnectProxy, Server, answer};

async fn https(authority: &Authority, clients: Option<&Authority>) -> Server {
    Server::https("localhost", authority, clients, |_| answer(204, &[], "")).await
}

#[tokio::test]
async fn a_ca_file_is_who_is_trusted_and_a_new_one_is_used_at_once() {
    let (one, other) = (Authority::new("one"), Authority::new("other"));
    let server = https(&one, None).await;
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    fs::write(&ca, &other.pem).unwrap();
    let client = client(json!({"url": format!("https://localhost:{}", server.port), "ca_file": ca}), &[]);
    let failure = post(&client, &Credentials::None).await.err().expect("a failure");
    let (status, message) = later(&failure);
    assert_eq!(status, "tls");
    assert!(message.contains("is not accepted: ") && message.contains("`ca_file`"), "{message}");
    fs::write(&ca, format!("{}{}", other.pem, one.pem)).unwrap();
    post(&client, &Credentials::None).await.unwrap().success(|_| true).unwrap();
    fs::write(&ca, "nothing").unwrap();
    let failure = post(&client, &Credentials::None).await.err().expect("a failure");
    assert!(later(&failure).1.contains("has no certificate in PEM"), "{failure:?}");
}

#[tokio::test]
async fn a_certificate_for_another_name_is_not_accepted_unless_any_is() {
    let authority = Authority::new("one");
    let server = https(&authority, None).await;
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    fs::write(&ca, &authority.pem).unwrap();
    let url = format!("https://127.0.0.1:{}", server.port);
    let strict = client(json!({"url": url, "ca_file": ca}), &[]);
    let failure = post(&strict, &Credentials::None).await.err().expect("a failure");
    assert_eq!(later(&failure).0, "tls", "{failure:?}");
    let unknown = client(json!({"url": url}), &[]);
    let failure = post(&unknown, &Credentials::None).await.err().expect("a failure");
    assert!(matches!(later(&failure).0, "tls" | "configuration"), "{failure:?}");
    let any = client(json!({"url": url, "danger_accept_invalid_certificates": true}), &[]);
    post(&any, &Credentials::None).await.unwrap().success(|_| true).unwrap();
}

#[tokio::test]
async fn a_client_certificate_is_shown_and_a_renewed_one_is_used_at_once() {
    let (authority, clients, strangers) =
        (Authority::new("one"), Authority::new("clients"), Authority::new("strangers"));
    let server = https(&authority, Some(&clients)).await;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let write = |(certificate, key): (String, String)| {
        fs::write(path("agent.pem"), certificate).unwrap();
        fs::write(path("agent-key.pem"), key).unwrap();
    };
    fs::write(path("ca.pem"), &authority.pem).unwrap();
    write(strangers.certify("agent"));
    let url = format!("https://localhost:{}", server.port);
    let files = json!({"url": url, "ca_file": path("ca.pem"), "cert_file": path("agent.pem"), "key_file": path("agent-key.pem")});
    let client = client(files, &[]);
    assert!(post(&client, &Credentials::None).await.is_err());
    write(clients.certify("agent"));
    post(&client, &Credentials::None).await.unwrap().success(|_| true).unwrap();
    fs::write(path("agent-key.pem"), "").unwrap();
    let failure = post(&client, &Credentials::None).await.err().expect("a failure");
    assert!(later(&failure).1.contains("`cert_file`"), "{failure:?}");
}

/// A server of a name that no resolver knows: only a proxy leads to it.
async fn behind_a_proxy(authority: &Authority) -> (ConnectProxy, String, tempfile::TempDir) {
    let server = Server::https("anchore.invalid", authority, None, |_| answer(204, &[], "")).await;
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("ca.pem"), &authority.pem).unwrap();
    let proxy = ConnectProxy::to(server.port).await;
    (proxy, "https://anchore.invalid".to_owned(), folder)
}

#[tokio::test]
async fn the_environments_proxy_is_used_unless_no_proxy_names_the_server() {
    let (proxy, url, folder) = behind_a_proxy(&Authority::new("one")).await;
    let settings = json!({"url": url, "ca_file": folder.path().join("ca.pem")});
    let address = format!("127.0.0.1:{}", proxy.port);
    for name in ["HTTPS_PROXY", "https_proxy"] {
        let client = client(settings.clone(), &[(name, &address)]);
        post(&client, &Credentials::None).await.unwrap().success(|_| true).unwrap();
    }
    assert_eq!(proxy.heads().len(), 2);
    assert!(proxy.heads()[0].starts_with("CONNECT anchore.invalid:443 HTTP/1.1\r\n"), "{:?}", proxy.heads());
    for (name, list) in [("NO_PROXY", "anchore.invalid"), ("no_proxy", "10.0.0.0/8, .invalid"), ("NO_PROXY", "*")] {
        let client = client(settings.clone(), &[("HTTPS_PROXY", &address), (name, list)]);
        let failure = post(&client, &Credentials::None).await.err().expect("a failure");
        assert_eq!(later(&failure).0, "unreachable");
    }
    assert_eq!(proxy.heads().len(), 2, "nothing went through it");
}

#[tokio::test]
async fn the_settings_proxy_goes_before_the_environments_and_gets_its_password() {
    let (proxy, url, folder) = behind_a_proxy(&Authority::new("one")).await;
    let address = format!("http://me:hunter2@127.0.0.1:{}", proxy.port);
    let settings = json!({"url": url, "ca_file": folder.path().join("ca.pem"), "proxy": address});
    let client = client(settings, &[("HTTPS_PROXY", "http://127.0.0.1:1"), ("NO_PROXY", "*")]);
    post(&client, &Credentials::None).await.unwrap().success(|_| true).unwrap();
    let head = proxy.heads().remove(0).to_ascii_lowercase();
    assert!(head.contains("proxy-authorization: basic "), "{head}");
}

#[tokio::test]
async fn this_machine_is_never_behind_the_environments_proxy() {
    let server = Server::http(|_| answer(204, &[], "")).await;
    let client = client(json!({"url": server.url()}), &[("HTTP_PROXY", "http://127.0.0.1:1")]);
    post(&client, &Credentials::None).await.unwrap().success(|_| true).unwrap();
}

#[tokio::test]
async fn plain_http_goes_to_a_proxy_with_its_whole_url() {
    let proxy = Server::http(|_| answer(204, &[], "")).await;
    let variables = [("http_proxy", proxy.url()), ("HTTPS_PROXY", "http://127.0.0.1:1".to_owned())];
    let variables = variables.each_ref().map(|(name, value)| (*name, value.as_str()));
    let client = client(json!({"url": "http://anchore.invalid/base"}), &variables);
    post(&client, &Credentials::None).await.unwrap().success(|_| true).unwrap();
    assert_eq!(proxy.seen()[0].uri, "http://anchore.invalid/base/v2/things");
}

#[test]
fn a_bad_proxy_of_the_environment_is_named_and_not_repeated() {
    let settings = settings(json!({"url": "https://h"}));
    let error = Client::new(settings, &context(&[("HTTPS_PROXY", "ftp://me:hunter2@p")])).err().expect("a complaint");
    assert!(error.message.contains("`HTTPS_PROXY`") && !error.to_string().contains("hunter2"), "{error}");
}
