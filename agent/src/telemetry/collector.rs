//! What is known of a collector's looks.

use std::{collections::BTreeMap, time::Duration};

use prometheus_client::metrics::histogram::Histogram;
use stocktake_core::model::{Cost, Counts, Coverage, Source};

use super::{moment::Moment, status::CollectorState};
use crate::{follow::Update, render::describe};

/// Seconds: a local daemon answers within hundredths, a large cluster within some tens, and a deadline is half a minute.
const DURATIONS: [f64; 9] = [0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0];

/// How much later than it is due a look may end: the agent waits for a disk, or stops and starts what delivers.
const GRACE: Duration = Duration::from_secs(15);

/// A collector, from the first configuration on that names it.
#[derive(Debug)]
pub(super) struct Collector {
    pub(super) kind: &'static str,
    /// Since when it is followed, and within which time from then it has been looked at.
    followed: Moment,
    first_within: Duration,
    /// None before the first look.
    pub(super) latest: Option<Looked>,
    /// When it was seen completely last.
    pub(super) complete: Option<Moment>,
    /// Since when nothing of it is seen.
    failing: Option<Moment>,
    /// Looks by what they came to: a word of [`outcome`].
    pub(super) looks: BTreeMap<&'static str, u64>,
    pub(super) durations: Histogram,
    /// What all looks cost together; `kept_bytes` is that of the latest.
    pub(super) cost: Cost,
}

/// What a look came to.
#[derive(Debug)]
pub(super) struct Looked {
    /// When it ended.
    pub(super) ended: Moment,
    pub(super) took: Duration,
    next_within: Duration,
    /// Whether the collector has been followed anew since then.
    is_of_former: bool,
    state: CollectorState,
    /// Why not everything was seen.
    reason: Option<String>,
    /// What was looked at: `docker 20.10.24 on host web-1`.
    pub(super) runtime: Option<String>,
    /// Scopes by the word for their coverage.
    pub(super) scopes: BTreeMap<&'static str, usize>,
    /// What is in all of them together.
    pub(super) counts: Counts,
    pub(super) warnings: Vec<String>,
}

impl Collector {
    pub(super) fn new(kind: &'static str, now: Moment, first_within: Duration) -> Self {
        Self {
            kind,
            followed: now,
            first_within,
            latest: None,
            complete: None,
            failing: None,
            looks: BTreeMap::new(),
            durations: Histogram::new(DURATIONS),
            cost: Cost::default(),
        }
    }

    /// It is followed anew: the next look may take as long as the first.
    pub(super) fn follow_again(&mut self, now: Moment, first_within: Duration) {
        (self.followed, self.first_within) = (now, first_within);
        if let Some(looked) = &mut self.latest {
            looked.is_of_former = true;
        }
    }

    pub(super) fn looked(&mut self, update: &Update, now: Moment) {
        let looked = Looked::of(update, now);
        *self.looks.entry(outcome(update)).or_default() += 1;
        self.durations.observe(looked.took.as_secs_f64());
        let cost = update.source.cost.unwrap_or_default();
        self.cost.requests += cost.requests;
        self.cost.received_bytes += cost.received_bytes;
        self.cost.throttled += cost.throttled;
        self.cost.kept_bytes = cost.kept_bytes;
        if looked.state == CollectorState::Ok {
            self.complete = Some(now);
        }
        self.failing = if looked.state.is_seen() { None } else { self.failing.or(Some(now)) };
        self.latest = Some(looked);
    }

    /// How it is.
    pub(super) fn state(&self, now: Moment) -> CollectorState {
        if self.overdue(now).is_some() {
            return CollectorState::Hangs;
        }
        self.latest.as_ref().map_or(CollectorState::Waiting, |looked| looked.state)
    }

    /// Why it is not as it should be.
    pub(super) fn reason(&self, now: Moment) -> Option<String> {
        match (self.overdue(now), &self.latest) {
            (Some(late), _) => Some(format!(
                "no look at it has ended for {}, and one was due {} ago",
                seconds(self.silent(now)),
                seconds(late)
            )),
            (None, Some(looked)) => looked.reason.clone(),
            (None, None) => Some("it has not been looked at yet".to_owned()),
        }
    }

    /// Since when nothing of it is seen.
    pub(super) fn failing(&self, now: Moment) -> Option<Moment> {
        // One that is late hangs since its latest look, or since it is followed.
        let silent = self.overdue(now).map(|_| self.latest.as_ref().map_or(self.followed, |looked| looked.ended));
        self.failing.or(silent)
    }

    /// For how long a look should have ended, if one should have.
    fn overdue(&self, now: Moment) -> Option<Duration> {
        let due = self.waits_for() + GRACE;
        self.silent(now).checked_sub(due).filter(|late| !late.is_zero())
    }

    fn waits_for(&self) -> Duration {
        match &self.latest {
            Some(looked) if !looked.is_of_former => looked.next_within,
            _ => self.first_within,
        }
    }

    /// How long it has been since anything was heard of it, or since it could be.
    fn silent(&self, now: Moment) -> Duration {
        let heard = self.latest.as_ref().filter(|looked| !looked.is_of_former).map(|looked| looked.ended);
        now.since(heard.unwrap_or(self.followed))
    }

    /// Until it is overdue.
    pub(super) fn patience(&self) -> Duration {
        self.waits_for() + GRACE
    }
}

impl Looked {
    fn of(update: &Update, now: Moment) -> Self {
        let source = &update.source;
        let (state, reason) = state(source, update.look.timed_out);
        let mut scopes = BTreeMap::new();
        let mut counts = Counts::default();
        for entry in &source.scopes {
            *scopes.entry(entry.coverage.status()).or_default() += 1;
            counts.nodes += entry.counts.nodes;
            counts.namespaces += entry.counts.namespaces;
            counts.workloads += entry.counts.workloads;
            counts.pods += entry.counts.pods;
            counts.containers += entry.counts.containers;
            counts.images += entry.counts.images;
        }
        Self {
            ended: now,
            took: update.look.took,
            next_within: update.look.next_within,
            is_of_former: false,
            state,
            reason,
            runtime: describe(source),
            scopes,
            counts,
            warnings: source.warnings.iter().map(|warning| warning.message.clone()).collect(),
        }
    }
}

/// What the source comes to, and why that is not everything.
fn state(source: &Source, timed_out: bool) -> (CollectorState, Option<String>) {
    let incomplete: Vec<_> = source.scopes.iter().filter(|entry| !entry.coverage.is_complete()).collect();
    // Where nothing was seen of any scope, that there are some is no success.
    let none_seen = !source.scopes.is_empty() && source.scopes.iter().all(|entry| !entry.coverage.has_seen());
    let worst = match incomplete.first() {
        Some(first) if source.coverage.has_seen() && none_seen => &first.coverage,
        _ => &source.coverage,
    };
    let state = match worst {
        _ if timed_out => CollectorState::Hangs,
        Coverage::Failed { .. } => CollectorState::Failed,
        Coverage::Denied { .. } => CollectorState::Denied,
        Coverage::Complete if incomplete.is_empty() => CollectorState::Ok,
        _ => CollectorState::Partial,
    };
    let of_scopes = incomplete.first().map(|first| {
        let reason = first.coverage.reason().unwrap_or("no reason given");
        let (complete, all) = (source.scopes.len() - incomplete.len(), source.scopes.len());
        format!("{complete} of {all} scopes are seen as a whole; {}: {reason}", first.id)
    });
    (state, source.coverage.reason().map(str::to_owned).or(of_scopes))
}

/// The word for what a look came to.
fn outcome(update: &Update) -> &'static str {
    if update.look.timed_out {
        return TIMEOUT;
    }
    match state(&update.source, false).0 {
        CollectorState::Ok => "complete",
        CollectorState::Denied => "denied",
        CollectorState::Failed => "failed",
        _ => "partial",
    }
}

const TIMEOUT: &str = "timeout";

/// Every word for what a look came to.
pub(super) const OUTCOMES: [&str; 5] = ["complete", "partial", "denied", "failed", TIMEOUT];

fn seconds(duration: Duration) -> String {
    format!("{}s", duration.as_secs())
}
