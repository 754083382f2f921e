//! One agent: what it made, what of that is acknowledged, and how it delivers.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use fastrand::Rng;
use futures_util::future::join_all;
use jiff::Timestamp;
use stocktake_core::{
    Digest,
    model::{Report, SCHEMA_VERSION},
    wire::{self, Outcome, Problem, Receipt, append_frame, problem},
};
use uuid::Uuid;

use super::{
    client::{Answer, Client},
    world::{Kind, Look, Rows, World},
};

/// What all agents together have done.
#[derive(Debug, Default)]
pub struct Tally {
    /// Reports that were made.
    pub made: AtomicU64,
    /// Of these, acknowledged.
    pub acknowledged: AtomicU64,
    /// Acknowledged with the word that the server had it before: an answer was lost.
    pub known: AtomicU64,
    /// Requests without an answer.
    pub broken: AtomicU64,
    /// Requests that the server wants later.
    pub later: AtomicU64,
    /// Requests that had to be made again with what the server lacks.
    pub healed: AtomicU64,
    /// Answers that are no success, by status.
    pub statuses: Mutex<BTreeMap<u16, u64>>,
    /// Why there was no answer, of the last one without.
    pub unanswered: Mutex<String>,
    /// What never ought to have been answered.
    pub refused: Mutex<Vec<String>>,
}

impl Tally {
    /// Answers that are no success, by status.
    #[must_use]
    pub fn failures(&self) -> BTreeMap<u16, u64> {
        self.statuses.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn status(&self, status: u16) {
        *self.statuses.lock().unwrap_or_else(PoisonError::into_inner).entry(status).or_default() += 1;
    }
}

/// A report that was made.
#[derive(Debug)]
struct Made {
    id: Uuid,
    run: Uuid,
    sequence: u64,
    manifest: Vec<u8>,
    bodies: BTreeMap<String, (Digest, Vec<u8>)>,
    rows: Rows,
}

/// What the server has, as far as the agent knows.
#[derive(Debug, Default)]
struct Acknowledged {
    manifest: Option<Vec<u8>>,
    bodies: BTreeMap<String, (Digest, Vec<u8>)>,
}

/// An agent.
#[derive(Debug)]
pub struct Agent {
    id: Uuid,
    run: Uuid,
    sequence: u64,
    world: World,
    random: Rng,
    latest: Option<Look>,
    /// The spool.
    waiting: VecDeque<Made>,
    /// Whether the first of it was sent, and what came of it is not known.
    is_sent: bool,
    acknowledged: Acknowledged,
    /// Bodies that the server has said it lacks.
    lacking: BTreeSet<Digest>,
    /// What a server has to know that has all that was acknowledged.
    rows: Rows,
    /// Numbers that were acknowledged, with their runs.
    sequences: Vec<(Uuid, u64)>,
    tally: Arc<Tally>,
}

/// What became of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attempt {
    Done,
    /// At once, as it is another request now.
    Again,
    /// After so many seconds, if the server has said.
    Later(Option<u64>),
}

impl Agent {
    pub(super) fn new(kind: Kind, name: &str, size: u8, seed: u64, tally: Arc<Tally>) -> Self {
        Self {
            id: Uuid::from_u64_pair(0x5eed, seed),
            run: Uuid::now_v7(),
            sequence: 0,
            world: World::new(kind, name, size, seed),
            random: Rng::with_seed(seed ^ 0x5eed),
            latest: None,
            waiting: VecDeque::new(),
            is_sent: false,
            acknowledged: Acknowledged::default(),
            lacking: BTreeSet::new(),
            rows: Rows::new(),
            sequences: Vec::new(),
            tally,
        }
    }

    /// The place that it looks at.
    #[must_use]
    pub fn place(&self) -> &str {
        self.world.name()
    }

    /// What identifies it.
    #[must_use]
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// What the server may know of its place: what was acknowledged, and if a report is in doubt, also what that comes to.
    #[must_use]
    pub fn possible(&self) -> Vec<&Rows> {
        let in_doubt = self.waiting.front().filter(|_| self.is_sent);
        std::iter::once(&self.rows).chain(in_doubt.map(|made| &made.rows)).collect()
    }

    /// Whether a report was sent and not answered.
    #[must_use]
    pub fn is_in_doubt(&self) -> bool {
        self.is_sent && !self.waiting.is_empty()
    }

    /// Numbers of the reports that were acknowledged, with their runs.
    #[must_use]
    pub fn acknowledged(&self) -> &[(Uuid, u64)] {
        &self.sequences
    }

    /// A backup was restored that is older than some of what was acknowledged.
    pub(super) fn forget_acknowledgements(&mut self) {
        self.sequences.clear();
    }

    /// Whether all that it made is acknowledged.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Looks, and makes a report of it. Often nothing has changed.
    pub(super) fn make(&mut self) {
        if self.random.u8(..20) == 0 {
            // It was started anew, and goes on counting.
            self.run = Uuid::now_v7();
        }
        let again = self.latest.take().filter(|_| self.random.u8(..3) == 0);
        let look = again.unwrap_or_else(|| {
            self.world.live();
            self.world.look(true)
        });
        self.report(look);
    }

    /// The same, of a look at which everything was seen.
    pub(super) fn make_soundly(&mut self) {
        let look = self.world.look(false);
        self.report(look);
    }

    fn report(&mut self, look: Look) {
        let Look { mut source, bodies, rows } = look.clone();
        source.observed_at = Timestamp::now();
        self.latest = Some(look);
        self.sequence += 1;
        let report = Report {
            schema: SCHEMA_VERSION.into(),
            id: Uuid::now_v7(),
            agent: stocktake_core::model::Agent {
                id: Some(self.id),
                run: Some(self.run),
                version: "1".into(),
                hostname: Some(self.place().to_owned()),
            },
            created_at: Timestamp::now(),
            sequence: Some(self.sequence),
            valid_for_seconds: Some(3600),
            sources: vec![source],
        };
        let manifest = serde_json::to_vec(&report).expect("a report is JSON");
        let (run, sequence) = (self.run, self.sequence);
        self.waiting.push_back(Made { id: report.id, run, sequence, manifest, bodies, rows });
        self.tally.made.fetch_add(1, Relaxed);
    }

    /// Sends the first report that waits to each of `urls` at once: replicas that serve one database.
    pub(super) async fn deliver(&mut self, client: &Client, urls: &[String]) -> Attempt {
        let Some(made) = self.waiting.front() else { return Attempt::Done };
        let bytes = self.request(made);
        self.is_sent = true;
        let sent_at = Timestamp::now().to_string();
        let headers = [("content-type", wire::MEDIA_TYPE), (wire::SENT_AT, sent_at.as_str())];
        let posts = urls.iter().map(|url| {
            let (url, bytes) = (format!("{url}/{}", wire::REPORTS), bytes.clone());
            async move { client.post(&url, &headers, bytes).await }
        });
        let answers = join_all(posts).await;
        let mut attempt = Attempt::Later(None);
        for answer in answers {
            match answer {
                Ok(answer) => match self.answered(&answer) {
                    Attempt::Later(_) if attempt == Attempt::Done => {}
                    answered => attempt = answered,
                },
                Err(error) => {
                    self.tally.broken.fetch_add(1, Relaxed);
                    *self.tally.unanswered.lock().unwrap_or_else(PoisonError::into_inner) = error;
                }
            }
        }
        if attempt == Attempt::Done {
            self.take_acknowledgement();
        }
        attempt
    }

    /// The manifest as what differs from the one before, and the bodies that the server may lack.
    fn request(&self, made: &Made) -> Vec<u8> {
        let mut bytes = Vec::new();
        let earlier = self.acknowledged.manifest.as_deref();
        append_frame(&mut bytes, &made.manifest, earlier).expect("a frame");
        let mut sent = BTreeSet::new();
        for (scope, (digest, body)) in &made.bodies {
            let earlier = self.acknowledged.bodies.get(scope);
            let is_there = earlier.is_some_and(|(earlier, _)| earlier == digest) && !self.lacking.contains(digest);
            if !is_there && sent.insert(digest) {
                let dictionary = earlier.filter(|(earlier, _)| !self.lacking.contains(earlier));
                append_frame(&mut bytes, body, dictionary.map(|(_, body)| body.as_slice())).expect("a frame");
            }
        }
        bytes
    }

    fn answered(&mut self, answer: &Answer) -> Attempt {
        let made = self.waiting.front().expect("the report that was answered");
        if answer.status == 200 {
            let receipt: Receipt = serde_json::from_slice(&answer.body).expect("a receipt");
            assert_eq!(receipt.report, made.id, "a receipt of another report");
            if receipt.outcome == Outcome::Known {
                self.tally.known.fetch_add(1, Relaxed);
            }
            return Attempt::Done;
        }
        self.tally.status(answer.status);
        let problem: Problem = serde_json::from_slice(&answer.body).unwrap_or_default();
        match (answer.status, problem.kind.as_str()) {
            (409, problem::MISSING_SCOPES) => {
                self.tally.healed.fetch_add(1, Relaxed);
                self.lacking.extend(problem.digests);
                Attempt::Again
            }
            (409, problem::UNKNOWN_DICTIONARY) => {
                self.tally.healed.fetch_add(1, Relaxed);
                self.acknowledged = Acknowledged::default();
                Attempt::Again
            }
            (429 | 500.., _) => {
                self.tally.later.fetch_add(1, Relaxed);
                Attempt::Later(answer.retry_after)
            }
            (status, _) => {
                let refusal = format!("{}, number {}: {status} {}", self.place(), made.sequence, answer.text());
                self.tally.refused.lock().unwrap_or_else(PoisonError::into_inner).push(refusal);
                Attempt::Later(None)
            }
        }
    }

    fn take_acknowledgement(&mut self) {
        let made = self.waiting.pop_front().expect("the report that was acknowledged");
        self.is_sent = false;
        self.lacking.clear();
        self.acknowledged = Acknowledged { manifest: Some(made.manifest), bodies: made.bodies };
        self.rows = made.rows;
        self.sequences.push((made.run, made.sequence));
        self.tally.acknowledged.fetch_add(1, Relaxed);
    }
}
