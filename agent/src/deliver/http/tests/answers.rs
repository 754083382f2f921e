use std::time::{Duration, SystemTime};

use serde_json::json;

use super::*;
use crate::deliver::http::testing::{Server, answer};

/// What the answer with this status, these headers and this body comes to.
async fn failure(status: u16, headers: &'static [(&'static str, &'static str)], body: &'static str) -> Failure {
    let server = Server::http(move |_| answer(status, headers, body)).await;
    let client = client(json!({"url": server.url()}), &[]);
    post(&client, &Credentials::None).await.unwrap().success(|_| true).err().expect("a failure")
}

#[tokio::test]
async fn what_can_be_mended_or_passes_keeps_the_report_and_what_is_wrong_with_it_refuses_it() {
    for status in [301, 307, 308, 401, 403, 404, 405, 408, 409, 410, 425, 429, 500, 501, 502, 503, 504] {
        let failure = failure(status, &[], "").await;
        assert_eq!(later(&failure).0, status.to_string());
    }
    for code in [400, 411, 413, 415, 422, 431] {
        match failure(code, &[], "{\"message\": \"no\"}").await {
            Failure::Refused { status, message } => {
                assert_eq!(status, code.to_string());
                assert!(message.contains(": {\"message\": \"no\"}"), "{message}");
            }
            other @ Failure::Later { .. } => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_server_can_ask_to_wait_in_seconds_or_until_a_date_but_not_for_days() {
    let wait = |failure| match failure {
        Failure::Later { after, .. } => after,
        other @ Failure::Refused { .. } => panic!("{other:?}"),
    };
    assert_eq!(wait(failure(429, &[("retry-after", "17")], "").await), Some(Duration::from_secs(17)));
    assert_eq!(wait(failure(503, &[("retry-after", "99999999")], "").await), Some(Duration::from_hours(1)));
    assert_eq!(wait(failure(503, &[("retry-after", "soon")], "").await), None);
    assert_eq!(wait(failure(503, &[("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")], "").await), Some(Duration::ZERO));
    let server = Server::http(|_| {
        let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_mins(40));
        answer(503, &[("retry-after", &date)], "")
    })
    .await;
    let client = client(json!({"url": server.url()}), &[]);
    let after =
        wait(post(&client, &Credentials::None).await.unwrap().success(|_| true).err().expect("a failure")).unwrap();
    assert!(after > Duration::from_mins(30) && after <= Duration::from_mins(40), "{after:?}");
}

#[tokio::test]
async fn a_message_tells_what_where_and_what_to_do_in_one_line_of_text() {
    let failure = failure(403, &[], "\n  not\u{1b}[31m allowed\u{7}\r\nsecond line").await;
    let (_, message) = later(&failure);
    assert!(message.contains("/v2/things answered 403 (Forbidden): not[31m allowed; grant "), "{message}");
    let long: &'static str = "x".repeat(5000).leak();
    let failure = super::answers::failure(500, &[], long).await;
    let (_, message) = later(&failure);
    assert!(message.len() < 400 && message.contains("x…; check the server"), "{message}");
}

#[tokio::test]
async fn redirections_are_told_and_not_followed() {
    let other = Server::http(|_| answer(200, &[], "")).await;
    let to: &'static str = format!("http://me:hunter2@127.0.0.1:{}/login?token=hunter2", other.port).leak();
    let server = Server::http(move |_| answer(302, &[("location", to)], "")).await;
    let client = client(json!({"url": server.url()}), &[]);
    let failure = post(&client, &Credentials::None).await.unwrap().success(|_| true).err().expect("a failure");
    let (status, message) = later(&failure);
    assert_eq!(status, "302");
    assert!(
        message.contains(&format!("pointing to http://127.0.0.1:{}/login; it is not followed", other.port)),
        "{message}"
    );
    assert!(!message.contains("hunter2"), "{message}");
    assert!(other.seen().is_empty());
}

#[tokio::test]
async fn only_the_beginning_of_an_endless_answer_is_read() {
    let server = Server::http(|_| answer(200, &[], vec![b'['; 5 << 20])).await;
    let client = client(json!({"url": server.url()}), &[]);
    let answer = post(&client, &Credentials::None).await.unwrap();
    assert_eq!((answer.body.len(), answer.is_whole), (1 << 20, false));
}

#[tokio::test]
async fn what_was_sent_is_counted_also_where_nobody_answers() {
    let client = client(json!({"url": "http://127.0.0.1:1"}), &[]);
    let mut sent = Sent::default();
    let (method, body) = (Method::POST, Bytes::from_static(b"12345"));
    let request = Request { method, path: "x", headers: Vec::new(), body, credentials: &Credentials::None };
    let failure = client.send(request, &mut sent).await.err().expect("a failure");
    assert_eq!(later(&failure).0, "unreachable");
    assert!(later(&failure).1.starts_with("cannot connect to http://127.0.0.1:1/x: "), "{failure:?}");
    assert_eq!(sent, Sent { bytes: 5, requests: 1 });
}

#[tokio::test]
async fn who_does_not_answer_in_time_is_given_up() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let client = client(json!({"url": url, "timeout": "50ms"}), &[]);
    let failure = post(&client, &Credentials::None).await.err().expect("a failure");
    let (status, message) = later(&failure);
    assert_eq!(status, "timeout");
    assert!(message.contains("has not answered within 0.05 s"), "{message}");
}

#[tokio::test]
async fn who_speaks_something_else_is_told() {
    use tokio::io::AsyncWriteExt as _;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            stream.write_all(b"220 smtp.example.com ESMTP\r\n\r\n").await.unwrap();
        }
    });
    let failure = post(&client(json!({"url": url}), &[]), &Credentials::None).await.err().expect("a failure");
    assert_eq!(later(&failure).0, "protocol", "{failure:?}");
}
