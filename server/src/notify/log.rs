//! The event log as those read it who follow it: what is new is read from the database once, whoever wants it.

use std::sync::Arc;

use quick_cache::sync::Cache;
use serde_json::value::RawValue;
use tokio::sync::{Mutex, Semaphore};

use super::on::Facets;
use crate::{
    api::changes::{self, Change},
    app::App,
    http::Problem,
};

/// How many events are kept in memory, of all accounts. One has some kilobytes.
const KEPT: usize = 4096;

/// Of so many accounts, whose numbers differ by no multiple of it, new events are read at the same time.
const READERS: usize = 16;

/// How many read at the same time what lies further back.
const BEHIND: usize = 3;

/// How many events are read at once, at the most.
pub(crate) const PAGE: i64 = 100;

/// An event, as it is told.
pub(crate) struct Told {
    pub(crate) change: Change,
    /// The same as JSON.
    pub(crate) json: Box<RawValue>,
    /// What it is about.
    pub(crate) facets: Facets,
}

/// What is at a place of the log.
#[derive(Clone)]
pub(crate) enum Entry {
    Event(Arc<Told>),
    /// Events that were removed with age before they were read: the first one's number and the last one's.
    Removed {
        first: i64,
        last: i64,
    },
}

/// A part of the log.
pub(crate) struct Part {
    /// In their order.
    pub(crate) entries: Vec<Entry>,
    /// The number up to which all is in it.
    pub(crate) until: i64,
}

/// Reads the log, with a memory of what was read last.
pub(crate) struct EventLog {
    known: Cache<(i64, i64), Arc<Told>>,
    reading: [Mutex<()>; READERS],
    /// Places for those who are behind.
    pub(super) behind: Semaphore,
}

impl Default for EventLog {
    fn default() -> Self {
        Self {
            known: Cache::new(KEPT),
            reading: std::array::from_fn(|_| Mutex::default()),
            behind: Semaphore::new(BEHIND),
        }
    }
}

impl EventLog {
    /// What comes after an event, up to `latest`, but [`PAGE`] at the most. Events of an account are numbered without gaps: what is not
    /// there was removed.
    pub(crate) async fn after(&self, app: &App, account: i64, after: i64, latest: i64) -> Result<Part, Problem> {
        let until = latest.min(after.saturating_add(PAGE));
        if let Some(part) = self.remembered(account, after, until) {
            return Ok(part);
        }
        let reader = usize::try_from(account.unsigned_abs()).unwrap_or_default() % READERS;
        let _turn = self.reading[reader].lock().await;
        // Somebody else may have read it in the meantime.
        match self.remembered(account, after, until) {
            Some(part) => Ok(part),
            None => self.read(app, account, after, latest).await,
        }
    }

    /// The same for who is behind: few at a time, so that whoever is not waits for none of them, and reports have connections.
    pub(crate) async fn backlog(&self, app: &App, account: i64, after: i64, latest: i64) -> Result<Part, Problem> {
        // It is never closed.
        let _place = self.behind.acquire().await;
        match self.remembered(account, after, latest.min(after.saturating_add(PAGE))) {
            Some(part) => Ok(part),
            None => self.read(app, account, after, latest).await,
        }
    }

    async fn read(&self, app: &App, account: i64, after: i64, latest: i64) -> Result<Part, Problem> {
        let mut connection = app.database.read().await?;
        let changes = changes::following(app, &mut connection, account, [after, latest], PAGE).await?;
        // Where some were removed, a page goes on behind them.
        let is_full = i64::try_from(changes.len()).is_ok_and(|count| count == PAGE);
        let until = changes.last().filter(|_| is_full).map_or(latest, |last| last.id);
        let mut told = Vec::with_capacity(changes.len());
        for change in changes {
            let event = Arc::new(Told::of(change)?);
            self.known.insert((account, event.change.id), Arc::clone(&event));
            told.push(event);
        }
        Ok(Part { entries: with_gaps(told, after, until), until })
    }

    /// One event, if it is still there.
    pub(crate) async fn one(&self, app: &App, account: i64, id: i64) -> Result<Option<Arc<Told>>, Problem> {
        if let Some(told) = self.known.get(&(account, id)) {
            return Ok(Some(told));
        }
        let _place = self.behind.acquire().await;
        let mut connection = app.database.read().await?;
        let mut changes = changes::following(app, &mut connection, account, [id - 1, id], 1).await?;
        Ok(changes.pop().map(Told::of).transpose()?.map(Arc::new))
    }

    fn remembered(&self, account: i64, after: i64, until: i64) -> Option<Part> {
        let entries = (after + 1..=until).map(|id| self.known.get(&(account, id)).map(Entry::Event));
        Some(Part { entries: entries.collect::<Option<_>>()?, until })
    }
}

fn with_gaps(told: Vec<Arc<Told>>, after: i64, until: i64) -> Vec<Entry> {
    let (mut entries, mut next) = (Vec::with_capacity(told.len()), after + 1);
    for event in told {
        let id = event.change.id;
        if id > next {
            entries.push(Entry::Removed { first: next, last: id - 1 });
        }
        next = id + 1;
        entries.push(Entry::Event(event));
    }
    if until >= next {
        entries.push(Entry::Removed { first: next, last: until });
    }
    entries
}

impl Told {
    /// When it happened, in milliseconds since 1970.
    pub(crate) fn at(&self) -> i64 {
        self.change.at.parse().map_or(0, jiff::Timestamp::as_millisecond)
    }

    fn of(change: Change) -> Result<Self, Problem> {
        let told = serde_json::to_value(&change)
            .and_then(|value| Ok((Facets::of(&value), serde_json::value::to_raw_value(&value)?)));
        let (facets, json) = told.map_err(|error| Problem::from(sqlx::Error::Decode(Box::new(error))))?;
        Ok(Self { change, json, facets })
    }
}
