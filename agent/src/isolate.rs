//! Calling a collector: in a task of its own, within a deadline, so that one that hangs or panics is a failure and nothing
//! more.

use std::time::Duration;

use stocktake_core::{CollectError, model::Coverage};
use tokio::task::{JoinError, JoinHandle};
use tracing::Instrument as _;

/// How long a task past its deadline may take to be dropped. One that blocks its thread is left alone after that.
const TO_BE_DROPPED: Duration = Duration::from_secs(1);

/// Why a call to a collector has no answer.
pub(crate) enum Failure {
    Collector(CollectError),
    TimedOut(Duration),
    Panicked(String),
}

impl Failure {
    /// What is left to say of what could not be seen because of it.
    pub(crate) fn coverage(&self) -> Coverage {
        match self {
            Self::Collector(error) => Coverage::from_error(error),
            other => Coverage::Failed { reason: other.to_string() },
        }
    }

    /// How a task ended that did not come to its end.
    pub(crate) fn of(error: JoinError) -> Self {
        Self::Panicked(match error.try_into_panic() {
            Ok(payload) => payload
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
                .or_else(|| payload.downcast_ref::<String>().cloned())
                .unwrap_or_else(|| "no message".to_owned()),
            Err(error) => error.to_string(),
        })
    }

    /// Whether the runtime is not there at all, as opposed to refusing, hanging or talking nonsense.
    pub(crate) fn is_absence(&self) -> bool {
        matches!(self, Self::Collector(CollectError::Unavailable { .. }))
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Collector(error) => f.write_str(&error.full_message()),
            Self::TimedOut(limit) => {
                write!(f, "no complete answer within {limit:?}; the runtime hangs, or raise `timeout`")
            }
            Self::Panicked(message) => write!(f, "the collector has a bug and panicked: {message}"),
        }
    }
}

/// Runs `work` in its own task, which ends with this future. The deadline is kept outside, so that work that blocks its
/// thread cannot miss it.
pub(crate) async fn isolated<T: Send + 'static>(
    limit: Duration,
    work: impl Future<Output = Result<T, CollectError>> + Send + 'static,
) -> Result<T, Failure> {
    let mut task = Bound(tokio::spawn(work.in_current_span()));
    match tokio::time::timeout(limit, &mut task.0).await {
        Ok(Ok(outcome)) => outcome.map_err(Failure::Collector),
        Ok(Err(error)) => Err(Failure::of(error)),
        Err(_) => {
            task.0.abort();
            // The process may end soon, and with it what drops the task; what the task has started ends by being dropped.
            let _ = tokio::time::timeout(TO_BE_DROPPED, &mut task.0).await;
            Err(Failure::TimedOut(limit))
        }
    }
}

/// A task that ends when this is dropped: nobody is left who would hear of it.
#[derive(Debug)]
pub(crate) struct Bound<T>(pub(crate) JoinHandle<T>);

impl<T> Drop for Bound<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
