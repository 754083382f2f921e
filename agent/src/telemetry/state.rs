//! What is known of everything that runs.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use super::{
    collector::Collector,
    health,
    moment::Moment,
    status::{
        CollectorState, CollectorStatus, ConfigurationStatus, LeaseStatus, Problem, QueueStatus, ReportsStatus,
        SpoolStatus, Status, TargetStatus,
    },
    target::Target,
};
use crate::follow::Standing;

#[derive(Debug)]
pub(super) struct State {
    pub(super) started: Moment,
    /// When what reports did something last, and within which time it does the next thing.
    active: Moment,
    active_within: Option<Duration>,
    pub(super) configuration: ConfigurationStatus,
    pub(super) spool: SpoolStatus,
    pub(super) lease: Option<LeaseStatus>,
    pub(super) reports: ReportsStatus,
    pub(super) collectors: BTreeMap<String, Collector>,
    pub(super) targets: BTreeMap<String, Target>,
    /// Which collectors tell what changes.
    pub(super) standing: Standing,
}

/// What is to be expected of what runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) spool_dir: PathBuf,
    /// Within which time the first look at a collector ends.
    pub(crate) look_within: Duration,
    /// Within which time from a report another one is made.
    pub(crate) report_within: Duration,
}

/// How many times longer than it should what reports may do nothing until it is taken for dead. It waits for disks, and whoever
/// restarts the agent for it restarts it in vain if it only waits.
const INTERVALS_DEAD: u32 = 10;

impl State {
    pub(super) fn new(now: Moment) -> Self {
        Self {
            started: now,
            active: now,
            active_within: None,
            configuration: ConfigurationStatus::default(),
            spool: SpoolStatus::default(),
            lease: None,
            reports: ReportsStatus::default(),
            collectors: BTreeMap::new(),
            targets: BTreeMap::new(),
            standing: Standing::default(),
        }
    }

    pub(super) fn configured(
        &mut self,
        collectors: &[(String, &'static str)],
        targets: &[(String, &'static str)],
        expected: &Expected,
        now: Moment,
    ) {
        self.active(now);
        self.active_within = Some(expected.report_within * INTERVALS_DEAD);
        self.spool.dir = expected.spool_dir.display().to_string();
        self.configuration.read_at = Some(now.at);
        self.standing = Standing::default();
        self.collectors.retain(|name, _| collectors.iter().any(|(configured, _)| configured == name));
        for (name, kind) in collectors {
            match self.collectors.get_mut(name) {
                Some(collector) if collector.kind == *kind => collector.follow_again(now, expected.look_within),
                _ => {
                    let collector = Collector::new(kind, now, expected.look_within);
                    self.collectors.insert(name.clone(), collector);
                }
            }
        }
        self.targets.retain(|name, target| targets.iter().any(|(other, kind)| other == name && *kind == target.kind));
        for (name, kind) in targets {
            self.targets.entry(name.clone()).or_insert_with(|| Target::new(kind));
        }
    }

    /// What reports has done something.
    pub(super) fn active(&mut self, now: Moment) {
        self.active = now;
    }

    /// Whether what reports is at work.
    pub(super) fn is_alive(&self, now: Moment) -> bool {
        // Before the first look there is nothing to report.
        let patience = self.collectors.values().map(Collector::patience).max().unwrap_or_default();
        self.active_within.is_none_or(|within| now.since(self.active) <= within + patience)
    }

    pub(super) fn spool_failed(&mut self, error: Option<&str>, now: Moment) {
        self.active(now);
        let since = self.spool.error.as_ref().map_or(now.at, |problem| problem.since);
        self.spool.error = error.map(|message| Problem { since, message: message.to_owned() });
    }

    pub(super) fn status(&self, now: Moment) -> Status {
        let collectors = self.collectors.iter().map(|(name, it)| self.collector_status(name, it, now)).collect();
        let mut status = Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            started_at: self.started.at,
            now: now.at,
            alive: self.is_alive(now),
            ready: false,
            reasons: Vec::new(),
            remarks: Vec::new(),
            configuration: self.configuration.clone(),
            reports: self.reports.clone(),
            spool: self.spool.clone(),
            lease: self.lease.clone(),
            collectors,
            targets: self.targets.iter().map(|(name, target)| target_status(name, target)).collect(),
        };
        status.reasons = health::reasons(&status);
        status.remarks = health::remarks(&status);
        status.ready = status.reasons.is_empty();
        status
    }

    fn collector_status(&self, name: &str, collector: &Collector, now: Moment) -> CollectorStatus {
        let latest = collector.latest.as_ref();
        let state = collector.state(now);
        let is_watched = state == CollectorState::Ok && self.standing.stands(&name.into());
        let scopes = latest.map(|looked| looked.scopes.iter().map(|(word, count)| ((*word).to_owned(), *count)));
        CollectorStatus {
            name: name.to_owned(),
            kind: collector.kind.to_owned(),
            state,
            reason: collector.reason(now),
            failing_since: collector.failing(now).map(|moment| moment.at),
            runtime: latest.and_then(|looked| looked.runtime.clone()),
            is_watched,
            looked_at: latest.map(|looked| looked.ended.at),
            took_seconds: latest.map(|looked| looked.took.as_secs_f64()),
            complete_at: if is_watched { Some(now.at) } else { collector.complete.map(|moment| moment.at) },
            scopes: scopes.map(Iterator::collect).unwrap_or_default(),
            counts: latest.map(|looked| looked.counts).unwrap_or_default(),
            warnings: latest.map(|looked| looked.warnings.clone()).unwrap_or_default(),
        }
    }
}

fn target_status(name: &str, target: &Target) -> TargetStatus {
    TargetStatus {
        name: name.to_owned(),
        kind: target.kind.to_owned(),
        state: target.state(),
        queue: QueueStatus {
            reports: target.backlog.reports,
            bytes: target.backlog.bytes,
            oldest_at: target.backlog.oldest,
        },
        delivered: target.delivered.clone(),
        failure: target.failure.clone(),
        failing_since: target.failing,
        deliveries: target.deliveries.clone(),
        sent_bytes: target.sent.bytes,
        dropped: target.dropped.iter().map(|(reason, reports)| ((*reason).to_owned(), *reports)).collect(),
    }
}
