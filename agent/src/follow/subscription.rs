//! One stream of changes, polled in a task of its own, so that its panic or hang is an end of it and nothing more.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::StreamExt as _;
use stocktake_core::{CollectError, RuntimeCollector, ScopeChange};
use tokio::{sync::Notify, task::coop};
use tracing::Instrument as _;

use crate::isolate::{Bound, Failure};

/// A stream of changes that is being polled. It ends when this is dropped.
pub(super) struct Subscription {
    told: Arc<Mailbox>,
    /// None once its end was seen.
    task: Option<Bound<Result<bool, CollectError>>>,
    end: Option<End>,
}

/// What a subscription tells.
pub(super) enum Told {
    /// Where to look again, merged of all that was told since the last time.
    Change(ScopeChange),
    /// Nothing more will come.
    End(End),
}

/// How a stream ended.
pub(super) enum End {
    /// The runtime cannot tell what changes, and never will.
    CannotTell,
    /// What changes from now on is not told.
    Lost(Failure),
}

impl Subscription {
    pub(super) fn open(collector: Arc<dyn RuntimeCollector>) -> Self {
        let told = Arc::new(Mailbox::default());
        let task = Bound(tokio::spawn(pump(collector, Arc::clone(&told)).in_current_span()));
        Self { told, task: Some(task), end: None }
    }

    /// What is told next. Nothing is lost when this is dropped. Its end is told once, and nothing after it.
    pub(super) async fn next(&mut self) -> Told {
        loop {
            // Before the end, because the stream told it before.
            if let Some(change) = self.told.take() {
                return Told::Change(change);
            }
            if let Some(end) = self.end.take() {
                return Told::End(end);
            }
            let Some(Bound(task)) = &mut self.task else { return std::future::pending().await };
            tokio::select! {
                () = self.told.arrival.notified() => {}
                end = task => {
                    self.task = None;
                    self.end = Some(match end {
                        Ok(Ok(false) | Err(CollectError::Unsupported { .. })) => End::CannotTell,
                        Ok(Ok(true)) => End::Lost(Failure::Collector(CollectError::Unavailable {
                            message: "the stream of changes came to its end".to_owned(),
                            source: None,
                        })),
                        Ok(Err(error)) => End::Lost(Failure::Collector(error)),
                        Err(error) => End::Lost(Failure::of(error)),
                    });
                }
            }
        }
    }
}

/// Takes everything that a stream tells, and says at its end whether that was anything.
async fn pump(collector: Arc<dyn RuntimeCollector>, told: Arc<Mailbox>) -> Result<bool, CollectError> {
    let mut changes = collector.changes();
    let mut has_told = false;
    while let Some(change) = changes.next().await {
        told.put(change?);
        has_told = true;
        // A stream that always has something to tell would keep its thread to itself, and could not be ended.
        coop::consume_budget().await;
    }
    Ok(has_told)
}

/// What was told and not heard yet. However much is told while a look takes its time, it stays one change.
#[derive(Default)]
struct Mailbox {
    change: Mutex<Option<ScopeChange>>,
    arrival: Notify,
}

impl Mailbox {
    fn put(&self, change: ScopeChange) {
        let mut held = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        *held = Some(match held.take() {
            Some(earlier) => earlier.merge(change),
            None => change,
        });
        self.arrival.notify_one();
    }

    fn take(&self) -> Option<ScopeChange> {
        self.change.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
