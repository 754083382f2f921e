//! Sending the bodies of one report, each until it is taken or cannot be now.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Instant,
};

use bytes::Bytes;
use jiff::Timestamp;
use reqwest::{
    Method, StatusCode,
    header::{CONTENT_TYPE, HeaderName, HeaderValue},
};

use super::{AnchoreTarget, api::Api, batch::Batch, settings::Sender};
use crate::deliver::{
    Failure, Sent,
    http::{Answer, Request},
};

/// The header by which a user acts in an account.
pub(super) const ACCOUNT: HeaderName = HeaderName::from_static("x-anchore-account");

/// How many failures a message tells.
const TOLD: usize = 3;

/// What became of the bodies.
pub(super) enum Outcome {
    Done(Sending),
    /// The server has nothing at that path.
    NoSuchApi(Failure),
}

/// One body's way.
pub(super) struct Attempt {
    pub(super) at: Timestamp,
    pub(super) error: Option<String>,
}

/// What was sent to an account.
pub(super) struct ToAccount {
    /// As whom.
    pub(super) user: String,
    pub(super) attempts: Vec<Attempt>,
}

/// What became of each body, by account.
pub(super) struct Sending {
    pub(super) accounts: BTreeMap<String, ToAccount>,
    expected: usize,
    failures: Vec<Failure>,
}

impl Sending {
    pub(super) fn new(expected: usize) -> Self {
        Self { accounts: BTreeMap::new(), expected, failures: Vec::new() }
    }

    fn add(&mut self, account: &str, sender: &Sender, failure: Option<Failure>) {
        let error = failure.as_ref().map(|failure| message_of(failure).to_owned());
        let to = self.accounts.entry(account.to_owned());
        let to = to.or_insert_with(|| ToAccount { user: sender.user.clone(), attempts: Vec::new() });
        to.attempts.push(Attempt { at: Timestamp::now(), error });
        self.failures.extend(failure);
    }

    pub(super) fn has_success(&self) -> bool {
        self.accounts.values().flat_map(|to| &to.attempts).any(|attempt| attempt.error.is_none())
    }

    /// Whether all of the report was taken. If something may be taken later the report stays.
    pub(super) fn result(self) -> Result<(), Failure> {
        let mut messages: Vec<String> = Vec::new();
        for failure in &self.failures {
            let message = message_of(failure);
            if !messages.iter().any(|told| told == message) {
                messages.push(message.to_owned());
            }
        }
        let more = messages.len().saturating_sub(TOLD);
        messages.truncate(TOLD);
        if more > 0 {
            messages.push(format!("and {more} more"));
        }
        let message = messages.join("; ");
        let later = self.failures.iter().find(|failure| matches!(failure, Failure::Later { .. }));
        match later.or(self.failures.first()) {
            None => {
                tracing::debug!(bodies = self.expected, "the server has the report");
                Ok(())
            }
            Some(Failure::Later { after, status, .. }) => {
                Err(Failure::Later { after: *after, status: status.clone(), message })
            }
            Some(Failure::Refused { status, .. }) => Err(Failure::Refused { status: status.clone(), message }),
        }
    }
}

pub(super) fn message_of(failure: &Failure) -> &str {
    match failure {
        Failure::Later { message, .. } | Failure::Refused { message, .. } => message,
    }
}

/// What a failure says of the bodies that are left.
enum Reach {
    Body,
    Account,
    Server,
}

impl AnchoreTarget {
    /// Sends all bodies that can be sent. A failure if the server has no such API.
    pub(super) async fn send_all(
        &mut self,
        api: Api,
        mut queue: VecDeque<Batch>,
        sending: &mut Sending,
        sent: &mut Sent,
    ) -> Option<Failure> {
        let mut closed = BTreeSet::new();
        while let Some(batch) = queue.pop_front() {
            if closed.contains(&batch.account) {
                continue;
            }
            let account = Arc::clone(&batch.account);
            let sender = Arc::clone(self.plan.senders.get(&account).unwrap_or(&self.plan.sender));
            let (answer, bytes) = match self.post(api, &batch, &sender, sent).await {
                Ok(answered) => answered,
                Err(failure) => {
                    // Nobody answers: neither would anybody answer for the others. A password's file is one account's.
                    let is_own = matches!(&failure, Failure::Later { status, .. } if status == "configuration");
                    sending.add(&account, &sender, Some(failure));
                    if is_own {
                        closed.insert(account);
                        continue;
                    }
                    break;
                }
            };
            let failure = match judge(&answer) {
                Ok(()) => {
                    self.acknowledged.add(&batch);
                    sending.add(&account, &sender, None);
                    continue;
                }
                Err(failure) => failure,
            };
            if answer.status == StatusCode::NOT_FOUND && !is_about_account(&answer) {
                return Some(failure);
            }
            if answer.status == StatusCode::PAYLOAD_TOO_LARGE {
                self.taken_bytes = Some(((bytes / 2).max(1), Instant::now()));
                match batch.halves() {
                    Ok((first, second)) => {
                        tell_division(&first, &second, bytes);
                        queue.push_front(second);
                        queue.push_front(first);
                    }
                    Err(_) => sending.add(&account, &sender, Some(failure)),
                }
                continue;
            }
            match reach(answer.status) {
                Reach::Body => {}
                Reach::Account => drop(closed.insert(account.clone())),
                Reach::Server => queue.clear(),
            }
            sending.add(&account, &sender, Some(failure));
        }
        None
    }

    /// Sends a body; returns how large it was.
    async fn post(
        &self,
        api: Api,
        batch: &Batch,
        sender: &Sender,
        sent: &mut Sent,
    ) -> Result<(Answer, usize), Failure> {
        let later = |message: String| Failure::Later { after: None, status: "configuration".into(), message };
        let body = batch.body().map_err(|error| later(format!("cannot write a body: {error}")))?;
        let bytes = body.len();
        // A label's value is one, and settings are checked.
        let account = HeaderValue::from_str(&batch.account).map_err(|_| {
            later(format!(
                "`{}` cannot be an account's name, for no header can hold it",
                batch.account.escape_default()
            ))
        })?;
        let request = Request {
            method: Method::POST,
            path: api.path(),
            headers: vec![(CONTENT_TYPE, HeaderValue::from_static("application/json")), (ACCOUNT, account)],
            body: Bytes::from(body),
            credentials: &sender.credentials,
        };
        Ok((self.client.send(request, sent).await?, bytes))
    }
}

/// Whether the server has taken the body. A page for people with status 200 is what a proxy says for whom one has to log in.
fn judge(answer: &Answer) -> Result<(), Failure> {
    if !answer.status.is_success() {
        let is_json = |body: &[u8]| serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok();
        return Err(answer.failure_by(is_json));
    }
    let body = answer.body.trim_ascii();
    let is_json = if answer.is_whole {
        body.is_empty() || serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok()
    } else {
        // Too much to be read to its end.
        matches!(body.first(), Some(b'{' | b'['))
    };
    if is_json {
        return Ok(());
    }
    Err(answer.unexpected("what it says is not JSON, as of a page to log in; check `url`, and what is in between"))
}

/// Whether a `404` is about the account and not about the path.
fn is_about_account(answer: &Answer) -> bool {
    serde_json::from_slice::<serde_json::Value>(&answer.body).is_ok_and(|body| {
        ["message", "detail"]
            .iter()
            .filter_map(|key| body.get(key)?.as_str())
            .any(|text| text.to_ascii_lowercase().contains("account"))
    })
}

fn reach(status: StatusCode) -> Reach {
    match status.as_u16() {
        401 | 403 | 404 => Reach::Account,
        // Whoever is asked to wait waits.
        408 | 429 | 502..=504 => Reach::Server,
        code if (300..400).contains(&code) => Reach::Server,
        _ => Reach::Body,
    }
}

/// Tells people of a namespace that has to be divided because the server takes no body of that size.
fn tell_division(first: &Batch, second: &Batch, bytes: usize) {
    match (first.units.as_slice(), second.units.as_slice()) {
        ([one], [other]) if one.name == other.name => tracing::warn!(
            "the server takes no body of {bytes} bytes, so that namespace {} is sent in parts: a server with \
             `inventory_ingest_overwrite` keeps the last one alone; raise what it, or a proxy in between, takes",
            one.name
        ),
        _ => tracing::info!("the server takes no body of {bytes} bytes; it is sent in halves"),
    }
}
