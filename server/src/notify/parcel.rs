//! What is handed over at once, in the form that its channel has.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header::CONTENT_TYPE};
use jiff::Timestamp;
use serde_json::json;

use super::{Notify, channel::Channel, log::Told, mail::Mail, message, send::Outcome};

/// Something that a receiver is told.
pub(crate) enum Letter {
    Event(Arc<Told>),
    /// Events that were removed with age before they were read: the first one's number and the last one's.
    Removed {
        first: i64,
        last: i64,
    },
}

/// To whom it is handed.
pub(crate) struct Addressee<'a> {
    /// The account's name.
    pub(crate) account: &'a str,
    /// Number and name of the subscription.
    pub(crate) id: i64,
    pub(crate) name: &'a str,
    pub(crate) channel: &'a Channel,
}

impl Letter {
    /// The number from which it goes.
    pub(crate) fn first(&self) -> i64 {
        match self {
            Self::Event(told) => told.change.id,
            Self::Removed { first, .. } => *first,
        }
    }

    /// The number up to which it goes.
    pub(crate) fn last(&self) -> i64 {
        match self {
            Self::Event(told) => told.change.id,
            Self::Removed { last, .. } => *last,
        }
    }

    /// When it happened, in milliseconds since 1970; before all else, of what was removed.
    pub(crate) fn at(&self) -> i64 {
        match self {
            Self::Event(told) => told.at(),
            Self::Removed { .. } => i64::MIN,
        }
    }

    /// For people.
    fn line(&self) -> String {
        match self {
            Self::Event(told) => message::line(told),
            Self::Removed { first, last } => {
                format!("events {first} to {last} were removed with age before they could be sent")
            }
        }
    }
}

/// Makes an attempt.
pub(crate) async fn send(notify: &Notify, to: &Addressee<'_>, letters: &[Letter]) -> Outcome {
    let Some(last) = letters.last() else { return Outcome::Taken };
    // The same in each attempt, and of no other event, even if that has the number of this one.
    let id = match last {
        Letter::Event(told) => format!("{}-{}", to.id, told.change.event_id),
        Letter::Removed { first, last } => format!("{}-removed-{first}-{last}", to.id),
    };
    let lines = || letters.iter().map(Letter::line).collect::<Vec<_>>();
    match to.channel {
        Channel::Webhook { url, key } => {
            let body = match last {
                Letter::Event(told) => message::event(to.account, told),
                Letter::Removed { first, last } => message::removed(to.account, *first, *last),
            };
            let body = match body {
                Ok(body) => body,
                Err(error) => return Outcome::Refused(format!("the event cannot be written: {error}")),
            };
            let sent_at = Timestamp::now().as_second();
            let signature = key.sign(&id, sent_at, &body);
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(message::MEDIA_TYPE));
            headers.insert("webhook-timestamp", sent_at.into());
            for (name, value) in [("webhook-id", id), ("webhook-signature", signature)] {
                headers.extend(value.parse().ok().map(|value| (HeaderName::from_static(name), value)));
            }
            notify.sender.post(url, headers, body).await
        }
        Channel::Slack { url } => {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            let body = json!({"text": escaped(&lines().join("\n"))}).to_string();
            notify.sender.post(url, headers, Bytes::from(body)).await
        }
        Channel::Email { to: addresses } => {
            let Some(smtp) = &notify.settings.smtp else {
                let why = "this server sends no e-mail: `[notify.smtp]` names the mail server".to_owned();
                return Outcome::Later { after: None, why };
            };
            let lines = lines();
            let subject = match &lines[..] {
                [one] => format!("Stocktake: {one}"),
                several => format!("Stocktake: {} changes ({})", several.len(), to.name),
            };
            let text = format!(
                "{}\n\n-- \nSubscription {} ({}) of account {}\n",
                lines.join("\n"),
                to.id,
                to.name,
                to.account
            );
            let subject = subject.chars().take(150).collect();
            smtp.send(Mail { to: addresses, subject, text, id: format!("stocktake-{id}") }, notify.settings.timeout)
                .await
        }
    }
}

/// As Slack wants it (<https://api.slack.com/reference/surfaces/formatting#escaping>).
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
