//! What an answer means for the report that was sent, and what a person is told of it.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use reqwest::{
    StatusCode, Url,
    header::{HeaderMap, LOCATION, RETRY_AFTER},
};
use secrecy::ExposeSecret as _;

use super::secret::Authorization;
use crate::deliver::Failure;

/// However long a server asks to wait: an hour later it is asked again.
const LONGEST_WAIT: Duration = Duration::from_hours(1);

/// How much of an answer a message repeats, in characters.
const SHOWN: usize = 200;

/// What a server answered.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// Its beginning, at the most a mebibyte.
    pub(crate) body: Bytes,
    /// Whether the body is all of it.
    pub(crate) is_whole: bool,
    /// What was asked, without a query.
    pub(crate) url: String,
    first_line: String,
}

impl Answer {
    pub(super) fn new(
        url: String,
        status: StatusCode,
        headers: HeaderMap,
        body: Bytes,
        is_whole: bool,
        authorization: Option<&Authorization>,
    ) -> Self {
        let first_line = first_line(&body, authorization);
        Self { status, headers, body, is_whole, url, first_line }
    }

    /// The answer if it is a success; else [`Self::failure_by`].
    pub(crate) fn success(self, is_own: impl FnOnce(&[u8]) -> bool) -> Result<Self, Failure> {
        if self.status.is_success() { Ok(self) } else { Err(self.failure_by(is_own)) }
    }

    /// What an answer means that is no success. A refusal counts only if it is the server's own, which `is_own` says of its
    /// body: proxies answer 400 with a page, to an expired certificate for instance, and that is no word on the report.
    pub(crate) fn failure_by(&self, is_own: impl FnOnce(&[u8]) -> bool) -> Failure {
        match self.failure() {
            // Too large is too large, whoever says so.
            Failure::Refused { status, message }
                if self.status != StatusCode::PAYLOAD_TOO_LARGE && !is_own(&self.body) =>
            {
                let message =
                    format!("{message}; not the server says so but something in between, so it is tried again");
                Failure::Later { after: None, status, message }
            }
            failure => failure,
        }
    }

    /// What an answer that is no success means: whether a later try can go better without the report being another.
    pub(crate) fn failure(&self) -> Failure {
        let (status, url) = (self.status, &self.url);
        let said = if self.first_line.is_empty() { String::new() } else { format!(": {}", self.first_line) };
        let mut message = format!("{url} answered {}{said}", told(status));
        if status.is_redirection() {
            let to = self.headers.get(LOCATION).and_then(|to| to.to_str().ok()).map(shown_location);
            message.push_str(&to.map_or_else(String::new, |to| format!(", pointing to {to}")));
            message.push_str("; it is not followed, because credentials go only where a person said: correct `url`");
        } else if let Some(advice) = advice(status) {
            message.push_str("; ");
            message.push_str(advice);
        }
        let status = status.as_str().to_owned();
        if is_refusal(self.status) {
            Failure::Refused { status, message }
        } else {
            Failure::Later { after: self.retry_after(SystemTime::now()), status, message }
        }
    }

    /// A success that is none, with what is wrong with it.
    pub(crate) fn unexpected(&self, what: &str) -> Failure {
        let said = if self.first_line.is_empty() { String::new() } else { format!(": {}", self.first_line) };
        let message = format!("{} answered {}, but {what}{said}", self.url, told(self.status));
        Failure::Later { after: None, status: "protocol".into(), message }
    }

    /// How long to wait, in seconds or until a date (RFC 9110, 10.2.3).
    fn retry_after(&self, now: SystemTime) -> Option<Duration> {
        let text = self.headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
        let wait = match text.parse().map(Duration::from_secs) {
            Ok(wait) => wait,
            Err(_) => httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default(),
        };
        Some(wait.min(LONGEST_WAIT))
    }
}

fn told(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(reason) => format!("{} ({reason})", status.as_str()),
        None => status.as_str().to_owned(),
    }
}

/// Whether the report is what is wrong. Everything that a person can mend on either side, or that passes, is not.
fn is_refusal(status: StatusCode) -> bool {
    let passes = matches!(status.as_u16(), 401..=405 | 407..=410 | 421 | 423..=429 | 451);
    status.is_client_error() && !passes
}

fn advice(status: StatusCode) -> Option<&'static str> {
    Some(match status.as_u16() {
        401 => "check the credentials of this target",
        403 => "grant these credentials the permission, or use others",
        404 | 405 | 410 => "check `url`, and whether the server is of a version that has this",
        407 => "the proxy wants a user and a password in its URL",
        408 | 429 => "it is tried again later",
        413 => "the server, or a proxy in front of it, takes no body of that size",
        500..=599 => "check the server; it is tried again later",
        _ => return None,
    })
}

/// The first line of a body that has something in it, as far as a message can hold it: without control characters, and
/// without what the server repeats of the credentials.
fn first_line(body: &[u8], authorization: Option<&Authorization>) -> String {
    // Enough for the line, even if a secret is in it.
    let text = String::from_utf8_lossy(&body[..body.len().min(1 << 16)]);
    let mut line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default().to_owned();
    for secret in authorization.iter().flat_map(|authorization| &authorization.secrets) {
        if !secret.expose_secret().is_empty() {
            line = line.replace(secret.expose_secret(), "[secret]");
        }
    }
    let mut shown: String = line.chars().filter(|char| !char.is_control()).take(SHOWN).collect();
    if shown.len() < line.len() && line.chars().count() > SHOWN {
        shown.push('…');
    }
    shown
}

/// Where a redirection points to, without a user, a password and a query, which may be secrets.
fn shown_location(location: &str) -> String {
    let shown = match Url::parse(location) {
        // Neither can fail for a URL that has a host; one without has neither of them.
        Ok(mut url) => {
            let _ = url.set_username("");
            let _ = url.set_password(None);
            url.set_query(None);
            url.set_fragment(None);
            url.to_string()
        }
        Err(_) => location.split(['?', '#']).next().unwrap_or_default().to_owned(),
    };
    shown.chars().take(SHOWN).collect()
}
