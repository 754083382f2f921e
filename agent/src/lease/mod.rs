//! Of several agents that would report the same one does: whoever holds a `Lease` of the cluster that they are in. The others stand by.
//!
//! What is known of the Lease is told by a task of its own, which tries to get and then to keep it. Whoever cannot keep it ends, as
//! Kubernetes' own controllers do, and stands by when it is started again.

mod record;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};
use uuid::Uuid;

use self::record::{Observed, Record};
use crate::{config::LeaseSettings, isolate::Bound, telemetry::Telemetry};

/// How soon what could not be renewed is tried again.
const AGAIN: Duration = Duration::from_secs(2);

/// How long giving it back may take.
const TO_RELEASE: Duration = Duration::from_secs(5);

/// Why an agent cannot take part.
#[derive(Debug, thiserror::Error)]
#[error("cannot use a Lease (`lease` of `[agent]`): {0}")]
pub(crate) struct Unusable(String);

/// Who reports, once it has the Lease. Whoever has it next goes on as the same agent, in a later run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Turn {
    /// The agent's.
    pub(crate) id: Uuid,
    /// Later than that of all turns before.
    pub(crate) run: Uuid,
    /// Whether nobody else has had a turn since the last one of this spool. What else waits in it is older than what was reported since.
    pub(crate) is_own_next: bool,
}

/// How it stands with the Lease.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Standing {
    By,
    Holding(Turn),
    Lost,
}

/// A part in who reports.
pub(crate) struct Lease {
    record: Arc<Record>,
    settings: LeaseSettings,
    standing: watch::Receiver<Standing>,
    keeping: Bound<()>,
    /// Whether the turn was taken.
    has_begun: bool,
}

impl Lease {
    /// Takes part from now on, as the agent with this id if there was none before.
    pub(crate) async fn start(settings: &LeaseSettings, own: Uuid, telemetry: &Telemetry) -> Result<Self, Unusable> {
        let record = Arc::new(Record::of(settings, own).await.map_err(Unusable)?);
        let (tell, standing) = watch::channel(Standing::By);
        let keeper = Keeper { record: Arc::clone(&record), settings: settings.clone(), telemetry: telemetry.clone() };
        let keeping = Bound(tokio::spawn(async move {
            let turn = keeper.get().await;
            tell.send_replace(Standing::Holding(turn));
            keeper.keep().await;
            tell.send_replace(Standing::Lost);
        }));
        Ok(Self { record, settings: settings.clone(), standing, keeping, has_begun: false })
    }

    /// Waits until it is this agent's turn, and says whose it is the first time. A turn that is over is one: see `lost`.
    pub(crate) async fn turn(&mut self) -> Option<Turn> {
        let standing = self.standing.wait_for(|standing| *standing != Standing::By).await;
        let turn = match standing.as_deref() {
            Ok(Standing::Holding(turn)) => *turn,
            _ => return None,
        };
        (!std::mem::replace(&mut self.has_begun, true)).then_some(turn)
    }

    /// Waits until the turn is over though nobody has ended it.
    pub(crate) async fn lost(&mut self) {
        let _ = self.standing.wait_for(|standing| *standing == Standing::Lost).await;
    }

    /// What `lease` says from now on counts when the agent is started again.
    pub(crate) fn keep(&self, settings: Option<&LeaseSettings>) {
        if settings != Some(&self.settings) {
            tracing::warn!("what `lease` of `[agent]` says now counts when the agent is started again");
        }
    }

    /// Gives it back, so that another one need not wait until it has run out.
    pub(crate) async fn release(self) {
        drop(self.keeping);
        let is_held = matches!(*self.standing.borrow(), Standing::Holding(_));
        if is_held {
            match timeout(TO_RELEASE, self.record.release()).await {
                Ok(Ok(())) => tracing::info!("the lease is given back"),
                Ok(Err(error)) => tracing::warn!("cannot give back the lease, which runs out by itself: {error}"),
                Err(_) => tracing::warn!("the lease could not be given back in time, and runs out by itself"),
            }
        }
    }
}

/// Gets the Lease, and keeps it.
struct Keeper {
    record: Arc<Record>,
    settings: LeaseSettings,
    telemetry: Telemetry,
}

impl Keeper {
    /// Tries until it has it.
    async fn get(&self) -> Turn {
        // By this machine's clock alone: that of whoever holds it may be another.
        let mut seen: Option<(Observed, Instant)> = None;
        loop {
            let has_run_out = seen.as_ref().is_some_and(|(observed, since)| since.elapsed() > observed.lasts);
            let known = seen.as_ref().map(|(observed, _)| observed).filter(|_| has_run_out);
            match self.attempt(self.record.get(known)).await {
                Ok(Ok(turn)) => {
                    tracing::info!(lease = %self.record, agent = %turn.id, "this agent has the lease and reports");
                    self.telemetry.lease(&self.record.to_string(), None, None);
                    return turn;
                }
                Ok(Err(observed)) => {
                    self.telemetry.lease(&self.record.to_string(), Some(&observed.holder), None);
                    if seen.as_ref().is_none_or(|(before, _)| *before != observed) {
                        if seen.as_ref().is_none_or(|(before, _)| before.holder != observed.holder) {
                            tracing::info!(lease = %self.record, holder = observed.holder, "stands by: another agent has the lease");
                        }
                        seen = Some((observed, Instant::now()));
                    }
                }
                Err(error) => {
                    tracing::warn!(lease = %self.record, "cannot look at the lease, and tries again: {error}");
                    self.telemetry.lease(&self.record.to_string(), None, Some(&error));
                }
            }
            sleep(self.settings.renew / 2).await;
        }
    }

    /// Renews it until it cannot any more, and ends before another one may have it.
    async fn keep(&self) {
        let mut renewed = Instant::now();
        let mut wait = self.settings.renew;
        loop {
            sleep(wait).await;
            let began = Instant::now();
            match self.attempt(self.record.renew()).await {
                Ok(true) => (renewed, wait) = (began, self.settings.renew),
                Ok(false) => {
                    tracing::error!(lease = %self.record, "another agent has taken the lease");
                    return;
                }
                Err(error) => {
                    tracing::warn!(lease = %self.record, "cannot renew the lease, and tries again: {error}");
                    wait = AGAIN.min(self.settings.renew);
                }
            }
            if renewed.elapsed() + self.settings.renew >= self.settings.duration {
                tracing::error!(lease = %self.record, "the lease could not be renewed in time");
                return;
            }
        }
    }

    async fn attempt<T>(&self, attempt: impl Future<Output = Result<T, String>>) -> Result<T, String> {
        let limit = self.settings.renew / 2;
        timeout(limit, attempt)
            .await
            .unwrap_or_else(|_| Err(format!("the API server does not answer within {limit:?}")))
    }
}
