//! One attempt to hand something to a receiver over HTTP, and what its answer means.

use std::{
    error::Error as _,
    net::IpAddr,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use reqwest::{Url, redirect::Policy};
use tokio::sync::OnceCell;

use super::guard::Guard;

/// How much is read of an answer, of which nothing is made: its connection may then be used again.
const ANSWER: usize = 64 << 10;

/// What became of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The receiver has it.
    Taken,
    /// The same may succeed later, and not before so long.
    Later { after: Option<Duration>, why: String },
    /// It takes this one never.
    Refused(String),
    /// It takes nothing any more.
    Gone(String),
}

/// Sends over HTTP, to allowed addresses only.
pub(crate) struct Sender {
    guard: Guard,
    deadline: Duration,
    http: OnceCell<reqwest::Client>,
}

impl Sender {
    /// `deadline` is for one attempt, with its answer. Touches no network.
    pub(crate) fn new(guard: Guard, deadline: Duration) -> Self {
        Self { guard, deadline, http: OnceCell::new() }
    }

    /// Posts something.
    pub(crate) async fn post(&self, url: &Url, headers: HeaderMap, body: Bytes) -> Outcome {
        let later = |why: String| Outcome::Later { after: None, why };
        // Names are checked where they are resolved.
        let address = url.host_str().map(|host| host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>());
        if let Some(Ok(address)) = address
            && let Err(refused) = self.guard.check(address)
        {
            return later(refused.to_string());
        }
        let client = match self.http.get_or_try_init(async || self.client()).await {
            Ok(client) => client,
            Err(error) => return later(format!("cannot set up TLS: {}", causes(&error))),
        };
        let response = match client.post(url.clone()).headers(headers).body(body).send().await {
            Ok(response) => response,
            Err(error) if error.is_timeout() => return later(format!("no answer within {:?}", self.deadline)),
            Err(error) => return later(causes(&error)),
        };
        let outcome = meaning(response.status(), response.headers(), SystemTime::now());
        drain(response).await;
        outcome
    }

    fn client(&self) -> Result<reqwest::Client, reqwest::Error> {
        reqwest::Client::builder()
            .user_agent(concat!("stocktake-server/", env!("CARGO_PKG_VERSION")))
            .dns_resolver(self.guard.clone())
            // What it leads to was not checked.
            .redirect(Policy::none())
            // A proxy would connect to wherever it is told.
            .no_proxy()
            .referer(false)
            .timeout(self.deadline)
            .build()
    }
}

async fn drain(mut response: reqwest::Response) {
    let mut read = 0;
    while read < ANSWER {
        match response.chunk().await {
            Ok(Some(chunk)) => read += chunk.len(),
            Ok(None) | Err(_) => return,
        }
    }
}

/// What an answer means. A receiver that is down may be stood in for by something that knows nothing of it and says 404 or 403.
fn meaning(status: StatusCode, headers: &HeaderMap, now: SystemTime) -> Outcome {
    let why = format!("answered with status {status}");
    match status {
        _ if status.is_success() => Outcome::Taken,
        StatusCode::GONE => Outcome::Gone(why),
        StatusCode::BAD_REQUEST
        | StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::UNSUPPORTED_MEDIA_TYPE
        | StatusCode::UNPROCESSABLE_ENTITY => Outcome::Refused(why),
        _ if status.is_redirection() => {
            Outcome::Later { after: None, why: format!("{why}, which leads elsewhere and is not followed") }
        }
        _ => Outcome::Later { after: retry_after(headers, now), why },
    }
}

/// Seconds, or a time.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(http::header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    httpdate::parse_http_date(text).ok()?.duration_since(now).ok()
}

/// The causes of an error from the outside in, each once. The outermost has the URL in it, which is secret.
fn causes(error: &reqwest::Error) -> String {
    let mut text = String::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !text.contains(&message) {
            text.push_str(if text.is_empty() { "" } else { ": " });
            text.push_str(&message);
        }
        cause = error.source();
    }
    if text.is_empty() { "the request failed".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_say_whether_to_come_again() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let of = |status: u16, after: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.extend(after.map(|after| (http::header::RETRY_AFTER, after.parse().unwrap())));
            meaning(StatusCode::from_u16(status).unwrap(), &headers, now)
        };
        assert_eq!(of(204, None), Outcome::Taken);
        assert!(matches!(of(410, None), Outcome::Gone(_)));
        for status in [400, 413, 415, 422] {
            assert!(matches!(of(status, None), Outcome::Refused(_)), "{status}");
        }
        for status in [302, 401, 403, 404, 408, 429, 500, 503] {
            assert!(matches!(of(status, None), Outcome::Later { after: None, .. }), "{status}");
        }
        let after = |text: &str| match of(429, Some(text)) {
            Outcome::Later { after, .. } => after.map(|after| after.as_secs()),
            other => panic!("{other:?}"),
        };
        assert_eq!(after("7"), Some(7));
        assert_eq!(after("Sun, 09 Sep 2001 01:47:40 GMT"), Some(60));
        assert_eq!(after("Sun, 09 Sep 2001 01:45:40 GMT"), None);
        assert_eq!(after("soon"), None);
    }

    #[tokio::test]
    async fn nothing_is_sent_to_this_machine_unless_it_is_allowed() {
        let sender = Sender::new(Guard::default(), Duration::from_secs(5));
        let _ = rustls::crypto::ring::default_provider().install_default();
        for url in [
            "http://127.0.0.1:1/secret",
            "http://2130706433:1/secret",
            "http://0x7f.1:1/secret",
            "http://[::1]:1/secret",
            "http://[::ffff:127.0.0.1]:1/secret",
            "http://localhost:1/secret",
            "http://169.254.169.254/latest/meta-data/",
        ] {
            let outcome = sender.post(&url.parse().unwrap(), HeaderMap::new(), Bytes::new()).await;
            let Outcome::Later { why, .. } = outcome else { panic!("{url}: {outcome:?}") };
            assert!(why.contains("is not sent to") && !why.contains("secret"), "{url}: {why}");
        }
    }
}
