use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::*;
use crate::deliver::http::{schema, split};

/// Own.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Own {
    account: String,
}

fn complaint(value: Value) -> String {
    Client::new(settings(value), &context(&[])).err().expect("a complaint").to_string()
}

#[test]
fn settings_of_http_and_of_the_type_are_written_side_by_side() {
    let (http, own) = split::<Own>(json!({"url": "https://h", "account": "a", "timeout": "5s"})).unwrap();
    assert_eq!((http.url.as_str(), own.account.as_str(), http.timeout.as_secs()), ("https://h", "a", 5));
    let schema = schema::<Own>().to_value();
    assert_eq!(schema["required"], json!(["url", "account"]));
    assert_eq!(schema["description"], "Own.");
    assert!(schema["properties"]["account"].is_object() && schema["properties"]["ca_file"].is_object(), "{schema}");
}

#[test]
fn a_misspelt_key_is_told_with_the_right_one_wherever_that_belongs() {
    let complaint = |value| split::<Own>(value).err().expect("a complaint").to_string();
    assert!(complaint(json!({"url": "x", "acount": "a"})).ends_with("did you mean `account`?"));
    assert!(complaint(json!({"urll": "x", "account": "a"})).ends_with("did you mean `url`?"));
    assert_eq!(complaint(json!({"account": "a"})), "missing key `url`");
    assert_eq!(complaint(json!({"url": "x"})), "missing key `account`");
}

#[test]
fn urls_that_cannot_be_asked_or_hold_secrets_are_refused_and_not_repeated() {
    for (url, words) in [
        ("h:8228", "neither an http nor an https URL"),
        ("ftp://h", "neither an http nor an https URL"),
        ("https://me:hunter2@h", "a user or a password"),
        ("https://me@h", "a user or a password"),
        ("https://h/?key=hunter2", "`?` or `#`"),
        ("https://", "not a URL"),
    ] {
        let complaint = complaint(json!({"url": url}));
        assert!(complaint.starts_with("url: ") && complaint.contains(words), "{complaint}");
        assert!(!complaint.contains("hunter2"), "{complaint}");
    }
    let proxy = complaint(json!({"url": "https://h", "proxy": "socks5://me:hunter2@p"}));
    assert!(
        proxy.starts_with("proxy: it is neither an http nor an https URL") && !proxy.contains("hunter2"),
        "{proxy}"
    );
    let alone = complaint(json!({"url": "https://h", "cert_file": "/c"}));
    assert_eq!(alone, "cert_file: `key_file` is missing, which belongs to it");
}

#[tokio::test]
async fn a_path_of_the_url_stays_with_and_without_a_slash_at_its_end() {
    let server = super::super::testing::Server::http(|_| super::super::testing::answer(204, &[], "")).await;
    for base in ["", "/", "/base", "/base/"] {
        let client = client(json!({"url": format!("{}{base}", server.url())}), &[]);
        post(&client, &Credentials::None).await.unwrap().success(|_| true).unwrap();
    }
    let paths: Vec<String> = server.seen().into_iter().map(|seen| seen.uri).collect();
    assert_eq!(paths, ["/v2/things", "/v2/things", "/base/v2/things", "/base/v2/things"]);
}
