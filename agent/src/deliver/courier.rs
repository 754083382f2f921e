//! Taking reports from the spool to a target, in their order, until it has them.

use std::{
    io,
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use futures_util::FutureExt as _;
use jiff::Timestamp;
use tokio::{sync::watch, task::JoinSet};
use tracing::Instrument as _;

use super::{Bodies, Failure, Parcel, Sent, Target};
use crate::{
    config::ConfiguredTarget,
    spool::{Spool, Waiting},
    telemetry::Telemetry,
};

/// Until the second attempt, at the least.
const PATIENCE_AT_FIRST: Duration = Duration::from_secs(1);

/// Half of the longest time between two attempts, to which up to the same is added so that agents that lost one server
/// together do not come back together.
const PATIENCE_AT_MOST: Duration = Duration::from_mins(2);

/// How long is waited because a target asks for it.
const ASKED_AT_MOST: Duration = Duration::from_hours(1);

/// What couriers are told: that there is another report, or that the agent ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Post {
    /// Number of the latest report.
    pub(crate) latest: u64,
    /// Whether to end as soon as nothing waits, or what waits is not taken.
    pub(crate) is_last: bool,
}

/// The tasks that deliver, one a target.
pub(crate) struct Couriers {
    tasks: JoinSet<()>,
}

impl Couriers {
    pub(crate) fn start(
        targets: Vec<ConfiguredTarget>,
        spool: &Arc<Spool>,
        telemetry: &Telemetry,
        post: &watch::Receiver<Post>,
    ) -> Self {
        let mut tasks = JoinSet::new();
        for ConfiguredTarget { name, target, .. } in targets {
            let span = tracing::error_span!("target", target = name);
            let courier = Courier {
                name,
                target,
                spool: Arc::clone(spool),
                telemetry: telemetry.clone(),
                post: post.clone(),
                backoff: backoff(),
                has_failed: false,
            };
            tasks.spawn(courier.run().instrument(span));
        }
        Self { tasks }
    }

    /// Waits until all have ended, at the most that long. What is not delivered by then stays in the spool.
    pub(crate) async fn finish(mut self, limit: Duration) {
        let ended = tokio::time::timeout(limit, async { while self.tasks.join_next().await.is_some() {} }).await;
        if ended.is_err() {
            self.tasks.shutdown().await;
        }
    }
}

struct Courier {
    name: String,
    target: Box<dyn Target>,
    spool: Arc<Spool>,
    telemetry: Telemetry,
    post: watch::Receiver<Post>,
    backoff: ExponentialBackoff,
    /// Whether people were told that the target takes nothing, and not yet that it does.
    has_failed: bool,
}

impl Courier {
    async fn run(mut self) {
        loop {
            // Before it is looked for reports, so that none that comes meanwhile is slept over.
            let Post { is_last, .. } = *self.post.borrow_and_update();
            let (name, keeps_base) = (self.name.clone(), self.target.keeps_base());
            let next = self.spool.work(move |spool| next(spool, &name, keeps_base)).await;
            self.tell_backlog().await;
            let wait = match next {
                Ok(Some((sequence, parcel))) => match self.deliver(sequence, &parcel).await {
                    Ok(()) => continue,
                    Err(wait) => Some(wait),
                },
                Ok(None) => None,
                Err(error) => {
                    tracing::error!("cannot read the spool, and tries again: {error}");
                    Some(self.patience(None))
                }
            };
            if is_last {
                return;
            }
            if self.wait(wait).await.is_err() {
                return;
            }
        }
    }

    /// Waits for another report, or until it is time for another attempt. An error if there is nobody left to make reports.
    async fn wait(&mut self, time: Option<Duration>) -> Result<(), watch::error::RecvError> {
        let Some(time) = time else { return self.post.changed().await };
        let until = tokio::time::Instant::now() + time;
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(until) => return Ok(()),
                // Another report is no reason to be impatient, but the end is.
                changed = self.post.changed() => {
                    changed?;
                    self.tell_backlog().await;
                    if self.post.borrow().is_last {
                        self.post.mark_changed();
                        return Ok(());
                    }
                }
            }
        }
    }

    async fn tell_backlog(&mut self) {
        let name = self.name.clone();
        // It cannot fail but by a panic, which is in the log then.
        if let Ok(backlog) = self.spool.work(move |spool| Ok(spool.backlog(&name))).await {
            self.telemetry.backlog(&self.name, backlog);
        }
    }

    /// Makes one attempt. How long to wait before the next one, if it failed.
    async fn deliver(&mut self, sequence: u64, parcel: &Arc<Parcel>) -> Result<(), Duration> {
        let began = Instant::now();
        let span = tracing::info_span!("deliver", report = sequence);
        let attempt = AssertUnwindSafe(self.target.deliver(parcel).instrument(span)).catch_unwind().await;
        let took = began.elapsed();
        let outcome = attempt.unwrap_or_else(|panic| Err(panicked(panic.as_ref())));
        let (name, delivered) = (self.name.clone(), Arc::clone(parcel));
        match outcome {
            Ok(sent) => {
                self.telemetry.delivered(&self.name, sequence, &sent, took);
                self.succeeded(sequence, &sent);
                let keeps_base = self.target.keeps_base();
                self.settle(move |spool| spool.acknowledge(&name, sequence, &delivered, keeps_base)).await
            }
            Err(Failure::Refused { status, message }) => {
                let failure = Failure::Refused { status, message: message.clone() };
                self.telemetry.not_delivered(&self.name, sequence, &failure, took, None);
                tracing::error!(
                    report = sequence,
                    "the target refuses the report, which is put aside (`stocktake-agent spool list`): {message}"
                );
                self.settle(move |spool| spool.put_aside(&name, sequence, &delivered, &message)).await
            }
            Err(failure @ Failure::Later { .. }) => Err(self.failed(sequence, &failure, took)),
        }
    }

    fn succeeded(&mut self, sequence: u64, sent: &Sent) {
        self.backoff = backoff();
        if std::mem::take(&mut self.has_failed) {
            tracing::info!(report = sequence, "the target takes reports again");
        }
        tracing::debug!(report = sequence, bytes = sent.bytes, requests = sent.requests, "delivered");
    }

    fn failed(&mut self, sequence: u64, failure: &Failure, took: Duration) -> Duration {
        let Failure::Later { after, message, .. } = failure else { return Duration::ZERO };
        let wait = self.patience(*after);
        let again = Timestamp::now().checked_add(wait).ok();
        self.telemetry.not_delivered(&self.name, sequence, failure, took, again);
        // Once, and not at every attempt.
        if std::mem::replace(&mut self.has_failed, true) {
            tracing::debug!(report = sequence, ?wait, "still not delivered: {message}");
        } else {
            tracing::warn!(report = sequence, "not delivered, and kept until it is: {message}");
        }
        wait
    }

    fn patience(&mut self, asked: Option<Duration>) -> Duration {
        let own = self.backoff.next().unwrap_or(PATIENCE_AT_MOST);
        // Not sooner than what was asked for, and not all at once then.
        asked.map_or(own, |asked| asked.min(ASKED_AT_MOST) + own.min(PATIENCE_AT_FIRST * 2))
    }

    /// Notes in the spool what became of a report. Where that fails it is delivered again, which changes nothing.
    async fn settle(
        &mut self,
        note: impl FnOnce(&Arc<Spool>) -> io::Result<()> + Send + 'static,
    ) -> Result<(), Duration> {
        let noted = self.spool.work(note).await;
        noted.map_err(|error| {
            tracing::error!("cannot note in the spool what was delivered, which will be delivered again: {error}");
            self.patience(None)
        })
    }
}

/// The next report of a target.
fn next(spool: &Arc<Spool>, target: &str, keeps_base: bool) -> io::Result<Option<(u64, Arc<Parcel>)>> {
    let Some(Waiting { sequence, report, manifest }) = spool.next_for(target)? else { return Ok(None) };
    let base = if keeps_base { spool.base_for(target) } else { None };
    let bodies = Arc::clone(spool) as Arc<dyn Bodies>;
    Ok(Some((sequence, Arc::new(Parcel { report, manifest, bodies, base }))))
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> Failure {
    let message = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let message = message.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    let message = format!("delivering has a bug and panicked: {message}; report it");
    Failure::Later { after: None, status: "panic".to_owned(), message }
}

fn backoff() -> ExponentialBackoff {
    ExponentialBuilder::new()
        .with_min_delay(PATIENCE_AT_FIRST)
        .with_max_delay(PATIENCE_AT_MOST)
        .without_max_times()
        .with_jitter()
        .build()
}
