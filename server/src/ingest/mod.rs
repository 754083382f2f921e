//! Takes reports: reads frames, finds what changed, and writes it in one transaction.

mod delta;
mod elements;
mod heartbeat;
mod intern;
mod kept;
mod known;
mod order;
mod place;
mod plan;
mod recent;
mod request;
mod routes;
mod write;

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use jiff::Timestamp;
use stocktake_core::{
    Digest,
    model::{Report, Source},
    wire::{Outcome, Receipt, Stored, problem},
};
use tokio::sync::Notify;

pub(crate) use self::{
    elements::key as element_key,
    order::Runs,
    request::has_nul,
    routes::routes,
    write::{Entity, Events, Removal, What, remove},
};
use self::{
    known::Known,
    order::Standing,
    plan::Plan,
    write::{Written, write},
};
use crate::{
    database::{Database, DatabaseError, Rows},
    http::Problem,
    memory,
};

/// Takes reports.
pub(crate) struct Ingest {
    database: Database,
    interned: intern::Interned,
    recent: Arc<recent::Recent>,
    heartbeats: heartbeat::Heartbeats,
    written: Arc<Notify>,
}

/// Who sends documents. What they have sent they may name; what only others have sent is not there for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Sender {
    /// Key of `account`.
    pub(crate) account: i64,
    /// A token's id, or a user's revision.
    pub(crate) credential: i64,
}

/// A report as it came, whoever sent it.
#[derive(Debug)]
pub(crate) struct Incoming {
    /// What sort of agent made it.
    pub(crate) kind: &'static str,
    /// What it was sent with, where its sender may name documents that came before.
    pub(crate) credential: Option<i64>,
    pub(crate) report: Report,
    /// What the next manifest may be made from.
    pub(crate) manifest: Option<(Digest, Bytes)>,
    pub(crate) bodies: BTreeMap<Digest, Bytes>,
    /// Bodies that were looked up on the way: what frames were made with.
    pub(crate) earlier: BTreeMap<Digest, Bytes>,
    /// Whether a report tells of all that its sources see. Foreign agents send some namespaces now and others later.
    pub(crate) is_whole: bool,
    /// Milliseconds by which the agent's clock is behind the server's.
    pub(crate) skew: i64,
    /// The server's clock, in milliseconds.
    pub(crate) received_at: i64,
}

impl Incoming {
    /// Whose the agent's identity is if nobody had it before: the credential's, or the server's own.
    fn owner(&self) -> i64 {
        self.credential.unwrap_or_default()
    }

    /// When a source was seen, by the server's clock, in milliseconds.
    fn observed_at(&self, source: &Source) -> i64 {
        (source.observed_at.as_millisecond() + self.skew).min(self.received_at)
    }
}

/// How often a report is tried that others got in the way of.
const ATTEMPTS: usize = 8;

impl Ingest {
    /// Within a runtime, as some is written by a task of its own.
    pub(crate) fn new(database: Database) -> Self {
        let recent = Arc::new(recent::Recent::new());
        let heartbeats = heartbeat::Heartbeats::new(database.clone(), Arc::clone(&recent));
        Self { database, interned: intern::Interned::default(), recent, heartbeats, written: Arc::default() }
    }

    /// Notified whenever events may have been written.
    pub(crate) fn written(&self) -> Arc<Notify> {
        Arc::clone(&self.written)
    }

    /// Forgets which images, names and labels are in the database: some of them may be there no longer.
    pub(crate) fn forget(&self) {
        self.interned.forget();
    }

    /// Takes a request of the manifest protocol.
    pub(crate) async fn report(
        &self,
        sender: Sender,
        sent_at: Option<Timestamp>,
        bytes: Bytes,
    ) -> Result<Receipt, Problem> {
        let incoming = request::report(&self.database, &self.recent, sender, sent_at, bytes).await?;
        self.take(sender.account, &incoming).await
    }

    /// Takes bodies that go ahead of a report.
    pub(crate) async fn scopes(&self, sender: Sender, bytes: Bytes) -> Result<Stored, Problem> {
        let bodies = request::scopes(&self.database, &self.recent, sender, bytes).await?;
        let (mut rows, mut senders) = (Rows::new(&write::BODY), Rows::new(&write::BODY_SENDER));
        let count = bodies.len();
        for (digest, packed) in bodies {
            senders.push([sender.account.into(), digest.clone().into(), sender.credential.into()]);
            rows.push(write::body_row(sender.account, digest, packed, Timestamp::now().as_millisecond()));
        }
        let (mut writing, dialect) = (self.database.write().await?, self.database.dialect());
        rows.execute(writing.connection(), dialect, &[], write::INSERT_BODY).await?;
        senders.execute(writing.connection(), dialect, &[], write::INSERT_BODY_SENDER).await?;
        writing.commit().await?;
        Ok(Stored { scopes: count })
    }

    /// Takes a report, whole or not at all. The same report a second time changes nothing.
    pub(crate) async fn take(&self, account: i64, incoming: &Incoming) -> Result<Receipt, Problem> {
        let is_heartbeat = self.heartbeats.take(account, incoming).await?;
        let outcome = if is_heartbeat { Outcome::Accepted } else { self.outcome(account, incoming).await? };
        let received_at = Timestamp::from_millisecond(incoming.received_at).unwrap_or(Timestamp::UNIX_EPOCH);
        Ok(Receipt { report: incoming.report.id, outcome, received_at })
    }

    async fn outcome(&self, account: i64, incoming: &Incoming) -> Result<Outcome, Problem> {
        let needed = memory::needed().await;
        for _ in 0..ATTEMPTS {
            memory::back_to(needed).await;
            let known = Known::load(&self.database, account, incoming).await?;
            if known.is_anothers {
                return Err(held(incoming));
            }
            match known.standing(&incoming.report) {
                Standing::Known => return Ok(Outcome::Known),
                Standing::Claimed => return Err(claimed(incoming)),
                Standing::New | Standing::Late => {}
            }
            let mut plan = Plan::make(&self.database, account, incoming, &known).await?;
            let interned = match self.interned.all(&self.database, account, &plan).await {
                Err(error) if is_passing(&error) => continue,
                interned => interned?,
            };
            match write(&self.database, account, incoming, &known, &mut plan, &interned).await {
                Ok(Written::Done) => {
                    self.written.notify_one();
                    self.recent.learn(account, incoming, &known, &plan);
                    return Ok(Outcome::Accepted);
                }
                // Somebody else has altered what this was based on.
                Ok(Written::Overtaken) => {}
                Err(error) if is_passing(&error) => self.interned.forget(),
                Err(error) => return Err(error.into()),
            }
        }
        let title = "others report the same at the same time; try again later";
        Err(Problem { retry_after: Some(1), ..Problem::new(http::StatusCode::SERVICE_UNAVAILABLE, title) })
    }
}

/// Whether the same may succeed at once: two writers were in each other's way, or a row was removed that was to be referred to.
pub(crate) fn is_passing(error: &DatabaseError) -> bool {
    let DatabaseError::Sql(sqlx::Error::Database(error)) = error else { return false };
    // PostgreSQL's class 40: serialization failure, deadlock.
    let is_rolled_back = error.code().is_some_and(|code| code.starts_with("40"));
    is_rolled_back || error.is_unique_violation() || error.is_foreign_key_violation()
}

fn held(incoming: &Incoming) -> Problem {
    let host = incoming.report.agent.hostname.as_deref().unwrap_or("an unnamed host");
    let title = format!(
        "the identity of the agent on {host} is another's, or that of one that reports with another token, which is still valid"
    );
    Problem { kind: problem::IDENTITY_HELD, ..Problem::forbidden(title) }
}

fn claimed(incoming: &Incoming) -> Problem {
    let agent = &incoming.report.agent;
    let host = agent.hostname.as_deref().unwrap_or("an unnamed host");
    let title = format!("a later run has reported under the identity of the agent on {host}");
    Problem::conflict(problem::IDENTITY_CLAIMED, title, Vec::new())
}
