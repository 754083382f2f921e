//! Reports that say what the one before said, but for the time: most reports are. They change a few columns of the agent's row and of its
//! sources'. All that have come while others were written are written together, with one commit.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use sqlx::Row as _;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::{
    Incoming,
    kept::Packed,
    order::Standing,
    recent::{Last, Recent},
};
use crate::{
    database::{Column, Database, DatabaseError, Dialect, Rows},
    words,
};

/// How many wait at a time. Others wait to wait.
const WAITING: usize = 4096;

/// How many are written with one commit at the most.
const TOGETHER: usize = 512;

/// Writes what reports come to of which nothing but the times is new.
pub(super) struct Heartbeats {
    recent: Arc<Recent>,
    sender: mpsc::Sender<Beat>,
}

/// A report to be written.
struct Beat {
    account: i64,
    uuid: Uuid,
    /// What it goes by, with what is so once it is written.
    last: Arc<Last>,
    next: Last,
    report_id: Uuid,
    reported_at: i64,
    received_at: i64,
    skew: i64,
    runs: String,
    packed: Vec<u8>,
    /// When each source was seen.
    observed_at: Vec<i64>,
    done: oneshot::Sender<bool>,
}

impl Heartbeats {
    /// Writes into `database` for as long as this lives.
    pub(super) fn new(database: Database, recent: Arc<Recent>) -> Self {
        let (sender, mut waiting) = mpsc::channel(WAITING);
        let known = Arc::clone(&recent);
        tokio::spawn(async move {
            let mut beats = Vec::new();
            while waiting.recv_many(&mut beats, TOGETHER).await > 0 {
                together(&database, &known, std::mem::take(&mut beats)).await;
            }
        });
        Self { recent, sender }
    }

    /// Whether it was one of these, and is written. Whatever else it may be, what it comes to has to be found out.
    pub(super) async fn take(&self, account: i64, incoming: &Incoming) -> Result<bool, sqlx::Error> {
        let Some((beat, done)) = self.beat(account, incoming)? else { return Ok(false) };
        // Whoever writes has ended only if it broke, which is in the log.
        if self.sender.send(beat).await.is_err() {
            return Ok(false);
        }
        Ok(done.await.unwrap_or(false))
    }

    fn beat(&self, account: i64, incoming: &Incoming) -> Result<Option<(Beat, oneshot::Receiver<bool>)>, sqlx::Error> {
        let Incoming { report, received_at, skew, .. } = incoming;
        let (Some(uuid), Some(run), Some(sequence)) = (report.agent.id, report.agent.run, report.sequence) else {
            return Ok(None);
        };
        let (Some((digest, manifest)), Some(last)) = (&incoming.manifest, self.recent.last(account, uuid)) else {
            return Ok(None);
        };
        let is_new = last.runs.standing(run, sequence) == Standing::New;
        // Bodies that come with it all the same are here: the last report named them, too.
        // What another credential names it has to have sent.
        if !is_new || last.credential != incoming.credential || last.says != Last::says(report) {
            return Ok(None);
        }
        let mut next = Last { revision: last.revision + 1, manifest: digest.clone(), ..Last::clone(&last) };
        next.runs.take(run, sequence, incoming.owner());
        self.recent.keep_manifest(account, incoming);
        let observed_at = report.sources.iter().map(|source| incoming.observed_at(source)).collect();
        let (done, receiver) = oneshot::channel();
        let beat = Beat {
            account,
            uuid,
            report_id: report.id,
            reported_at: report.created_at.as_millisecond() + skew,
            received_at: *received_at,
            skew: *skew,
            runs: next.runs.to_json(),
            packed: Packed::of(manifest)?.content,
            observed_at,
            done,
            last,
            next,
        };
        Ok(Some((beat, receiver)))
    }
}

/// Writes them, and says of each whether it was.
async fn together(database: &Database, recent: &Recent, beats: Vec<Beat>) {
    let (mut agents, mut ours, mut others) = (HashSet::new(), Vec::new(), Vec::new());
    for beat in beats {
        // A second report of the same agent goes by what is so once the first is written.
        if agents.insert((beat.account, beat.last.id)) { ours.push(beat) } else { others.push(beat) }
    }
    // In the order in which rows are locked.
    ours.sort_unstable_by_key(|beat| (beat.account, beat.last.id));
    let written = write(database, &ours).await.unwrap_or_else(|error| {
        // They are tried one by one, and whatever is wrong is told to whom it concerns.
        tracing::debug!(%error, "{} unchanged reports could not be written together", ours.len());
        HashSet::new()
    });
    for beat in ours {
        let is_written = written.contains(&(beat.account, beat.last.id));
        if is_written {
            recent.keep(beat.account, beat.uuid, &beat.last, beat.next);
        } else {
            recent.forget(beat.account, beat.uuid);
        }
        // Whoever waited for it may be gone.
        let _ = beat.done.send(is_written);
    }
    for beat in others {
        let _ = beat.done.send(false);
    }
}

/// The accounts and identifiers of the agents whose reports are written: those which nobody else has altered.
async fn write(database: &Database, beats: &[Beat]) -> Result<HashSet<(i64, i64)>, DatabaseError> {
    let mut rows = Rows::new(&AGENT);
    for beat in beats {
        rows.push([
            beat.account.into(),
            beat.last.id.into(),
            beat.last.revision.into(),
            beat.runs.as_str().into(),
            beat.report_id.to_string().into(),
            beat.reported_at.into(),
            beat.received_at.into(),
            beat.skew.into(),
            words::pack_digest(&beat.next.manifest).into(),
            beat.packed.clone().into(),
            words::pack_digest(&beat.last.manifest).into(),
        ]);
    }
    let mut writing = database.write().await?;
    let dialect = database.dialect();
    lock(writing.connection(), dialect, beats).await?;
    let found = rows.fetch(writing.connection(), dialect, &[], UPDATE_AGENT).await?;
    let mut written = HashSet::new();
    for row in found {
        written.insert((row.try_get("account_id")?, row.try_get("id")?));
    }
    // A source that two reports name has the later time.
    let mut sources: HashMap<(i64, i64), i64> = HashMap::new();
    for beat in beats.iter().filter(|beat| written.contains(&(beat.account, beat.last.id))) {
        for (source, at) in beat.last.sources.iter().zip(&beat.observed_at) {
            let time = sources.entry((beat.account, *source)).or_insert(*at);
            *time = (*time).max(*at);
        }
    }
    let mut rows = Rows::new(&[Column::Integer; 3]);
    for ((account, source), at) in sources {
        rows.push([account.into(), source.into(), at.into()]);
    }
    rows.execute(writing.connection(), dialect, &[], UPDATE_SOURCE).await?;
    writing.commit().await?;
    Ok(written)
}

/// Agents' rows are locked in their order, by whoever writes several: else two would wait for each other.
async fn lock(connection: &mut sqlx::AnyConnection, dialect: Dialect, beats: &[Beat]) -> Result<(), DatabaseError> {
    if dialect == Dialect::Sqlite {
        return Ok(());
    }
    let mut rows = Rows::new(&[Column::Integer; 2]);
    for beat in beats {
        rows.push([beat.account.into(), beat.last.id.into()]);
    }
    let select = [
        "SELECT t.id FROM",
        "AS v CROSS JOIN agent t WHERE t.account_id = v.column1 AND t.id = v.column2 ORDER BY t.account_id, t.id FOR UPDATE OF t",
    ];
    rows.fetch(connection, dialect, &[], select).await?;
    Ok(())
}

const AGENT: [Column; 11] = [
    Column::Integer,
    Column::Integer,
    Column::Integer,
    Column::Text,
    Column::Text,
    Column::Integer,
    Column::Integer,
    Column::Integer,
    Column::Bytes,
    Column::Bytes,
    Column::Bytes,
];

const UPDATE_AGENT: [&str; 2] = [
    "UPDATE agent SET runs = v.column4, report_id = v.column5, reported_at = v.column6, received_at = v.column7, \
     clock_skew = v.column8, manifest_digest = v.column9, manifest = v.column10, revision = agent.revision + 1 FROM",
    "AS v WHERE agent.account_id = v.column1 AND agent.id = v.column2 AND agent.revision = v.column3 AND agent.manifest_digest = v.column11 \
     RETURNING agent.account_id AS account_id, agent.id AS id",
];

const UPDATE_SOURCE: [&str; 2] = [
    "UPDATE source SET observed_at = v.column3 FROM",
    "AS v WHERE source.account_id = v.column1 AND source.id = v.column2 AND source.observed_at < v.column3",
];
