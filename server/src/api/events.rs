//! Changes as they come to be known: a stream of server-sent events.
//!
//! <https://html.spec.whatwg.org/multipage/server-sent-events.html>. The `id` of each is its number with a digest, from which a client goes on
//! that was cut off.

use std::{convert::Infallible, fmt::Write as _, future::ready, time::Duration};

use axum::{
    body::Body,
    extract::{FromRequestParts as _, State},
    http::{StatusCode, header, request::Parts},
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

use super::{
    asked::{Asked, Asks, Takes},
    changes::before,
    event_id,
};
use crate::{
    access::Reader,
    app::App,
    http::Problem,
    notify::{
        log::{Entry, PAGE},
        on::{On, Wanted},
        pulse::Latest,
        streams::Place,
    },
};

/// How long nothing is said, at the most: who listens sees that the server is there, and the server that somebody listens.
const SILENCE: Duration = Duration::from_secs(15);

/// How many events are passed over that are not wanted, until it is said how far that is: who is cut off does not begin again.
const FAR: i64 = 1000;

/// How often it is looked whether who listens still may.
const ASKED_AGAIN: Duration = Duration::from_mins(1);

/// `GET /v1/events`.
pub(super) struct Events;

impl Takes for Events {
    const NAMES: &'static [&'static [&'static str]] =
        &[&["cluster", "context", "digest", "label", "repository", "since"]];
}

#[utoipa::path(get, path = "/v1/events", tag = "inventory",
    params(Asks<Events>, ("last-event-id" = Option<String>, Header, pattern = "^[0-9]+(-[0-9a-f]{8})?$",
        description = "`id` of the event behind which to go on, or its number; goes before `since`.")),
    description = "What changes, as it comes to be known, as server-sent events: `data` is what `GET /v1/changes` has in a line, `id` its \
        number and a digest; the first `id`, without `data`, is that behind which the stream begins. Without `since` and `Last-Event-ID` it begins with what comes next. An event `removed` says which numbers were removed \
        with age before they were sent, and an event `restored` that the log is another one than that of `Last-Event-ID`, since the database was restored: up to `last` its events may be others.",
    responses((status = 200, body = String, content_type = "text/event-stream"),
        (status = 400, description = "A parameter is wrong, or there is no such event yet.")))]
pub(super) async fn events(
    State(app): State<App>,
    Reader(caller): Reader,
    Asks(asked, ..): Asks<Events>,
    parts: Parts,
) -> Result<Response, Problem> {
    let Some(place) = app.notify.streams.place(caller.account_id) else {
        let title = "there are too many streams of events; try again later";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, title).later(30));
    };
    let on = On {
        cluster: asked.cluster.clone(),
        context: asked.context.clone(),
        image: asked.digest.clone(),
        repository: asked.repository.clone(),
        labels: asked.labels.clone(),
        ..On::default()
    };
    let (wanted, account_id) = (on.wanted()?, caller.account_id);
    // Before it is asked what is there, so that nothing comes unnoticed in between.
    let news = app.notify.pulse.listen();
    let Beginning { after, after_id, is_another_log } = begin(&app, account_id, &asked, &parts).await?;
    let now = Instant::now();
    let following = Following {
        app,
        parts,
        account_id,
        wanted,
        after,
        after_id: after_id.clone(),
        told: after,
        news,
        is_waiting: false,
        ask_again: now + ASKED_AGAIN,
        _place: place,
    };
    // Who is cut off before the first event goes on from there, too.
    let mut begin = format!("id: {after_id}\n\n");
    if is_another_log {
        // Writing into a `String` cannot fail.
        let _ = write!(begin, "event: restored\nid: {after_id}\ndata: {{\"last\":{after}}}\n\n");
    }
    let begin = stream::once(ready(Ok(Bytes::from(begin))));
    let chunks = stream::unfold(following, |mut following| async move {
        let chunk = following.chunk().await?;
        Some((Ok::<_, Infallible>(chunk), following))
    });
    // Proxies that keep answers back until they are whole would keep this one for ever.
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    let mut response = (headers, Body::from_stream(begin.chain(chunks))).into_response();
    response.headers_mut().insert("x-accel-buffering", header::HeaderValue::from_static("no"));
    Ok(response)
}

/// Where a stream begins.
struct Beginning {
    /// The number behind which it does, and what that event is known by.
    after: i64,
    after_id: String,
    /// Whether the client has had another event of that number, or one that there is not yet.
    is_another_log: bool,
}

async fn begin(app: &App, account_id: i64, asked: &Asked, parts: &Parts) -> Result<Beginning, Problem> {
    let latest = app.notify.pulse.ask(&app.database, account_id).await?;
    let mut connection = app.database.read().await?;
    let (after, known) = match (parts.headers.get("last-event-id"), asked.since) {
        (Some(last), _) => {
            let last = last.to_str().unwrap_or_default().trim();
            match event_id::read(last) {
                Some((number, has_digest)) if has_digest || number <= latest => (number, has_digest.then_some(last)),
                _ => {
                    let title = format!(
                        "`Last-Event-ID` is of no event: expected a number from 0 to {latest}, or an `id` of the stream's"
                    );
                    return Err(Problem::bad_request(title));
                }
            }
        }
        (None, Some(since)) => (before(&mut connection, account_id, since).await?.unwrap_or(latest), None),
        (None, None) => (latest, None),
    };
    let is_beyond = after > latest;
    let after = after.min(latest);
    let there = event_id::of_number(&mut connection, account_id, after).await?;
    // One that was removed with age cannot be compared.
    let is_other = |known| is_beyond || there.as_deref().is_some_and(|there| there != known);
    let is_another_log = known.is_some_and(is_other);
    Ok(Beginning { after, after_id: there.unwrap_or_else(|| event_id::of_removed(after)), is_another_log })
}

/// A client that listens.
struct Following {
    app: App,
    /// Of its request: it is asked again whether it still may.
    parts: Parts,
    account_id: i64,
    wanted: Wanted,
    /// The number up to which all was looked at, and the one that the client knows of.
    after: i64,
    told: i64,
    /// What the event of the former is known by.
    after_id: String,
    news: watch::Receiver<Latest>,
    /// Whether it has all that is there, and knows.
    is_waiting: bool,
    ask_again: Instant,
    _place: Place,
}

impl Following {
    /// What the client is sent next; none at the end of the stream.
    async fn chunk(&mut self) -> Option<Bytes> {
        let until = Instant::now() + SILENCE;
        loop {
            if self.app.notify.stopping.is_cancelled() || !self.may_still().await {
                return None;
            }
            let latest = self.app.notify.pulse.latest(self.account_id);
            if latest > self.after {
                let chunk = self.read(latest).await?;
                if !chunk.is_empty() {
                    return Some(chunk.into());
                }
                if self.after - self.told >= FAR || Instant::now() >= until {
                    return Some(self.sign());
                }
                continue;
            }
            if !std::mem::replace(&mut self.is_waiting, true) || self.wait(until).await {
                return Some(self.sign());
            }
        }
    }

    /// Events that are wanted of those that come next.
    async fn read(&mut self, latest: i64) -> Option<String> {
        let (app, log) = (&self.app, &self.app.notify.log);
        let part = if latest - self.after > PAGE {
            log.backlog(app, self.account_id, self.after, latest).await
        } else {
            log.after(app, self.account_id, self.after, latest).await
        };
        let part = part.inspect_err(|problem| tracing::debug!(%problem, "a stream of events ends")).ok()?;
        self.after = part.until;
        self.after_id = match part.entries.last() {
            Some(Entry::Event(told)) => told.change.event_id.clone(),
            Some(Entry::Removed { .. }) | None => event_id::of_removed(part.until),
        };
        let mut chunk = String::new();
        for entry in part.entries {
            // Writing into a `String` cannot fail.
            let _ = match entry {
                Entry::Event(told) if self.wanted.is_met(&told.facets) => {
                    self.told = told.change.id;
                    write!(chunk, "id: {}\ndata: {}\n\n", told.change.event_id, told.json)
                }
                Entry::Event(_) => Ok(()),
                Entry::Removed { first, last } => {
                    self.told = last;
                    let id = event_id::of_removed(last);
                    write!(chunk, "event: removed\nid: {id}\ndata: {{\"first\":{first},\"last\":{last}}}\n\n")
                }
            };
        }
        Some(chunk)
    }

    /// Waits for news until a time, and says whether that is reached and the client has to hear something.
    async fn wait(&mut self, until: Instant) -> bool {
        let stopping = self.app.notify.stopping.clone();
        let news = async {
            // The server has an end of it for as long as it runs.
            while self.news.changed().await.is_ok() {
                if self.news.borrow_and_update().get(&self.account_id).is_some_and(|latest| *latest > self.after) {
                    return;
                }
            }
        };
        tokio::select! {
            waited = timeout_at(until, news) => waited.is_err(),
            () = stopping.cancelled() => false,
        }
    }

    /// A comment, with what the latest event is known by that was looked at, though it was not wanted.
    fn sign(&mut self) -> Bytes {
        self.told = self.after;
        format!(": here\nid: {}\n\n", self.after_id).into()
    }

    /// Whether it may still read of the account: tokens are revoked, and users removed.
    async fn may_still(&mut self) -> bool {
        if Instant::now() < self.ask_again {
            return true;
        }
        self.ask_again = Instant::now() + ASKED_AGAIN;
        let caller = Reader::from_request_parts(&mut self.parts, &self.app).await;
        caller.is_ok_and(|Reader(caller)| caller.account_id == self.account_id)
    }
}
