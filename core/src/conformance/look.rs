//! Asking a collector: in a task of its own, bounded, with everything that it handed over kept.

use std::{
    fmt,
    future::poll_fn,
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Poll,
    time::Duration,
};

use super::suite::DAEMON_LIMIT;
use crate::{
    CollectError, ObservedScope, RuntimeCollector, RuntimeInfo, ScopeSink, Selection,
    model::{Coverage, Warning},
};

/// How long a dropped future may take until it is gone. It has nothing to do but to be dropped.
const LETTING_GO: Duration = Duration::from_secs(2);

/// In so many parts a limit is waited for, one after the other.
const PARTS: u32 = 20;

/// Waits for something, for at most `limit`. If the machine stands still for a while, that is one part of the limit, and
/// what stood still with it has the others: the clock alone would say that it has taken too long, whatever it does.
pub(super) async fn within<F: Future>(limit: Duration, mut future: Pin<&mut F>) -> Option<F::Output> {
    for _ in 0..PARTS {
        if let Ok(output) = tokio::time::timeout(limit / PARTS, future.as_mut()).await {
            return Some(output);
        }
    }
    None
}

/// How a call to a collector ended.
#[derive(Debug)]
pub(super) enum End<T> {
    Answered(T),
    Erred(CollectError),
    Panicked(String),
    TimedOut { limit: Duration, let_go: bool },
}

impl<T> fmt::Display for End<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered(_) => f.write_str("an answer"),
            Self::Erred(error) => {
                let kind = match error {
                    CollectError::Unavailable { .. } => "Unavailable",
                    CollectError::Denied { .. } => "Denied",
                    CollectError::Unsupported { .. } => "Unsupported",
                    CollectError::Protocol { .. } => "Protocol",
                };
                write!(f, "the error {kind}: {}", error.full_message())
            }
            Self::Panicked(message) => write!(f, "a panic: {message}"),
            Self::TimedOut { limit, .. } => write!(f, "no end within {limit:?}"),
        }
    }
}

/// Runs a call to a collector for at most `limit`.
pub(super) async fn bounded<T: Send + 'static>(
    limit: Duration,
    call: impl Future<Output = Result<T, CollectError>> + Send + 'static,
) -> End<T> {
    let mut task = tokio::spawn(call);
    match within(limit, Pin::new(&mut task)).await {
        Some(Ok(Ok(answer))) => End::Answered(answer),
        Some(Ok(Err(error))) => End::Erred(error),
        Some(Err(error)) => End::Panicked(panic_message(error)),
        None => {
            task.abort();
            let let_go = within(LETTING_GO, Pin::new(&mut task)).await.is_some();
            End::TimedOut { limit, let_go }
        }
    }
}

/// Who the runtime is.
pub(super) async fn probe(collector: &Arc<dyn RuntimeCollector>, limit: Duration) -> End<RuntimeInfo> {
    let collector = Arc::clone(collector);
    bounded(limit, async move { collector.probe().await }).await
}

/// One collection.
#[derive(Debug)]
pub(super) struct Look {
    /// As they were handed over.
    pub(super) scopes: Vec<ObservedScope>,
    pub(super) warnings: Vec<Warning>,
    pub(super) end: End<Coverage>,
    /// How often the collection was polled, which is one more than it waited.
    pub(super) polls: usize,
}

/// What happens to a collection under way.
pub(super) enum Fate {
    /// It is left alone.
    Undisturbed,
    /// It is dropped once it has been polled so often.
    Dropped { polls: usize },
    /// Something happens once it has been polled so often, before it is polled again.
    Disturbed { polls: usize, by: Pin<Box<dyn Future<Output = ()> + Send>> },
}

/// Collects what `select` says, for at most `limit`, which begins anew after a disturbance.
pub(super) async fn look(
    collector: &Arc<dyn RuntimeCollector>,
    select: Selection,
    fate: Fate,
    limit: Duration,
) -> Look {
    let seen = Arc::new(Mutex::new(Seen::default()));
    let (collector, mut sink) = (Arc::clone(collector), Sink(Arc::clone(&seen)));
    let counter = Arc::clone(&seen);
    let (polls, disturbance) = match fate {
        Fate::Undisturbed => (usize::MAX, None),
        Fate::Dropped { polls } => (polls, None),
        Fate::Disturbed { polls, by } => (polls, Some(by)),
    };
    let outer_limit = if disturbance.is_some() { 2 * limit + DAEMON_LIMIT } else { limit };
    let end = bounded(outer_limit, async move {
        let mut collection = pin!(collector.collect(&select, &mut sink));
        if let Some(end) = polled(collection.as_mut(), polls, &counter).await {
            return end.map(Some);
        }
        let Some(disturbance) = disturbance else { return Ok(None) };
        disturbance.await;
        let end = within(limit, pin!(polled(collection, usize::MAX, &counter))).await;
        end.flatten().transpose()
    })
    .await;
    let end = match end {
        End::Answered(Some(coverage)) => End::Answered(coverage),
        End::Answered(None) => End::TimedOut { limit, let_go: true },
        End::Erred(error) => End::Erred(error),
        End::Panicked(message) => End::Panicked(message),
        End::TimedOut { limit, let_go } => End::TimedOut { limit, let_go },
    };
    let seen = std::mem::take(&mut *lock(&seen));
    Look { scopes: seen.scopes, warnings: seen.warnings, end, polls: seen.polls }
}

/// Polls a future at most `limit` times. `None` if it then still waits.
async fn polled<F: Future>(mut future: Pin<&mut F>, limit: usize, seen: &Mutex<Seen>) -> Option<F::Output> {
    let mut left = limit;
    poll_fn(|context| {
        lock(seen).polls += 1;
        left -= 1;
        match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

fn panic_message(error: tokio::task::JoinError) -> String {
    let Ok(payload) = error.try_into_panic() else { return "the task was cancelled".to_owned() };
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

/// Outlives the task that fills it.
#[derive(Default)]
struct Seen {
    scopes: Vec<ObservedScope>,
    warnings: Vec<Warning>,
    polls: usize,
}

struct Sink(Arc<Mutex<Seen>>);

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    // Nothing in here is left half done by a panic.
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ScopeSink for Sink {
    fn scope(&mut self, scope: ObservedScope) {
        lock(&self.0).scopes.push(scope);
    }

    fn warning(&mut self, warning: Warning) {
        lock(&self.0).warnings.push(warning);
    }
}
