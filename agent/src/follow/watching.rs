//! Staying subscribed to what changes in a runtime: subscribing, and subscribing again with growing patience.

use std::{sync::Arc, time::Duration};

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use stocktake_core::{RuntimeCollector, ScopeChange};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::subscription::{End, Subscription, Told};
use crate::isolate::Failure;

/// Until the first attempt to subscribe again, at the least: a runtime that restarts is rarely back sooner.
const PATIENCE_AT_FIRST: Duration = Duration::from_secs(1);

/// Half of the longest time between two attempts, which up to the same again is added to so that agents that lost one
/// API server together do not come back together.
const PATIENCE_AT_MOST: Duration = Duration::from_secs(30);

/// After how long a runtime that cannot tell is asked once more: what it takes may be granted, or it may be another version.
const ASKED_AGAIN: Duration = Duration::from_mins(10);

/// How long a subscription has to stand before the next loss counts as the first again. Less would let one that is lost as
/// soon as it stands be asked for, and everything be looked at, every second.
const SOUND: Duration = Duration::from_mins(1);

/// What happened to the subscription.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// It stands: what changes from now on will be told.
    Stands(ScopeChange),
    /// Something changed.
    Change(ScopeChange),
    /// Nothing is told for now.
    Lost,
    /// Nothing will be told for long.
    CannotTell,
}

/// A collector's subscription through all its lives.
pub(super) struct Watching {
    collector: Arc<dyn RuntimeCollector>,
    /// How long it may take until a subscription stands.
    limit: Duration,
    state: State,
    backoff: ExponentialBackoff,
    /// Whether people were told that it is lost, and not yet that it stands again.
    is_told: bool,
    /// Whether people were told that the runtime cannot tell.
    cannot_tell: bool,
}

enum State {
    Opening { subscription: Subscription, until: Instant },
    Standing { subscription: Subscription, since: Instant },
    Lost { until: Instant },
    CannotTell { until: Instant },
}

impl Watching {
    pub(super) fn new(collector: Arc<dyn RuntimeCollector>, limit: Duration) -> Self {
        let state = open(&collector, limit);
        Self { collector, limit, state, backoff: backoff(), is_told: false, cannot_tell: false }
    }

    /// Whether what changes is told.
    pub(super) fn stands(&self) -> bool {
        matches!(self.state, State::Standing { .. })
    }

    /// Whether it is not known yet if what changes will be told.
    pub(super) fn is_opening(&self) -> bool {
        matches!(self.state, State::Opening { .. })
    }

    /// What happens next. Nothing is lost when this is dropped.
    pub(super) async fn next(&mut self) -> Event {
        loop {
            let end = match &mut self.state {
                State::Opening { subscription, until } => match timeout_at(*until, subscription.next()).await {
                    Ok(Told::Change(change)) => return self.stand(change),
                    Ok(Told::End(end)) => end,
                    Err(_) => End::Lost(Failure::TimedOut(self.limit)),
                },
                State::Standing { subscription, .. } => match subscription.next().await {
                    Told::Change(change) => return Event::Change(change),
                    Told::End(end) => end,
                },
                State::Lost { until } | State::CannotTell { until } => {
                    sleep_until(*until).await;
                    self.state = open(&self.collector, self.limit);
                    continue;
                }
            };
            return self.end(end);
        }
    }

    fn stand(&mut self, change: ScopeChange) -> Event {
        let state = std::mem::replace(&mut self.state, State::Lost { until: Instant::now() });
        if let State::Opening { subscription, .. } = state {
            self.state = State::Standing { subscription, since: Instant::now() };
        }
        if std::mem::take(&mut self.is_told) {
            tracing::info!("the runtime tells again what changes");
        }
        Event::Stands(change)
    }

    fn end(&mut self, end: End) -> Event {
        let failure = match end {
            End::Lost(failure) => failure,
            End::CannotTell => {
                if !std::mem::replace(&mut self.cannot_tell, true) {
                    tracing::info!("the runtime cannot tell what changes; it is looked at from time to time");
                }
                self.state = State::CannotTell { until: Instant::now() + ASKED_AGAIN };
                return Event::CannotTell;
            }
        };
        if matches!(self.state, State::Standing { since, .. } if since.elapsed() >= SOUND) {
            self.backoff = backoff();
        }
        let wait = self.backoff.next().unwrap_or(PATIENCE_AT_MOST);
        // Once, and not at every attempt.
        if std::mem::replace(&mut self.is_told, true) {
            tracing::debug!(?wait, "the runtime still does not tell what changes: {failure}");
        } else {
            tracing::warn!(
                "the runtime does not tell what changes, and is looked at from time to time until it does: {failure}"
            );
        }
        self.state = State::Lost { until: Instant::now() + wait };
        Event::Lost
    }
}

fn open(collector: &Arc<dyn RuntimeCollector>, limit: Duration) -> State {
    State::Opening { subscription: Subscription::open(Arc::clone(collector)), until: Instant::now() + limit }
}

fn backoff() -> ExponentialBackoff {
    ExponentialBuilder::new()
        .with_min_delay(PATIENCE_AT_FIRST)
        .with_max_delay(PATIENCE_AT_MOST)
        .without_max_times()
        .with_jitter()
        .build()
}
