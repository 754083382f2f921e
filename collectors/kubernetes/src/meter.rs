//! What asking costs: counted for the report, and held within what the settings allow.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use stocktake_core::model::Cost;
use tokio::time::Instant;

/// What `max_requests_per_minute` is about.
const MINUTE: Duration = Duration::from_mins(1);

/// Counts requests, and refuses those that would be too many.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    limit: Option<usize>,
    /// When the requests of the last minute were sent. Only kept if there is a limit.
    recent: Mutex<VecDeque<Instant>>,
    requests: AtomicU64,
    received_bytes: AtomicU64,
    throttled: AtomicU64,
}

impl Meter {
    /// One that lets no more than `limit` requests through in any minute.
    pub(crate) fn new(limit: Option<u32>) -> Self {
        Self { limit: limit.and_then(|limit| usize::try_from(limit).ok()), ..Self::default() }
    }

    /// Takes note of a request that is about to be sent. False if it must not be.
    pub(crate) fn request(&self) -> bool {
        if let Some(limit) = self.limit {
            let mut recent = self.recent();
            if recent.len() >= limit {
                return false;
            }
            recent.push_back(Instant::now());
        }
        self.requests.fetch_add(1, Relaxed);
        true
    }

    /// How many requests may be sent in any minute, if that is limited.
    pub(crate) fn limit(&self) -> Option<usize> {
        self.limit
    }

    /// How many more requests may be sent now, if that is limited.
    pub(crate) fn left(&self) -> Option<usize> {
        Some(self.limit?.saturating_sub(self.recent().len()))
    }

    /// The requests of the last minute.
    fn recent(&self) -> MutexGuard<'_, VecDeque<Instant>> {
        // Nothing in here is left half done by a panic.
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        while recent.front().is_some_and(|sent| now.duration_since(*sent) >= MINUTE) {
            recent.pop_front();
        }
        recent
    }

    /// Takes note of bytes of an answer.
    pub(crate) fn received(&self, bytes: usize) {
        self.received_bytes.fetch_add(bytes as u64, Relaxed);
    }

    /// Takes note of a request that was put off.
    pub(crate) fn throttled(&self) {
        self.throttled.fetch_add(1, Relaxed);
    }

    /// What was counted since this was last called.
    pub(crate) fn take(&self) -> Cost {
        Cost {
            requests: self.requests.swap(0, Relaxed),
            received_bytes: self.received_bytes.swap(0, Relaxed),
            throttled: self.throttled.swap(0, Relaxed),
            kept_bytes: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_let_through_than_allowed() {
        let meter = Meter::new(Some(2));
        assert_eq!((meter.request(), meter.left()), (true, Some(1)));
        assert!(meter.request());
        assert!(!meter.request());
        assert_eq!(meter.take().requests, 2, "what is not sent costs nothing");
        assert_eq!(meter.left(), Some(0), "counting anew gives nothing back");
        assert_eq!((Meter::new(None).request(), Meter::new(None).left()), (true, None));
    }
}
