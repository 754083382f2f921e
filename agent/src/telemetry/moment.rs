//! When something happened: for people by the clock, and for how long ago it is by a clock that nobody sets.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// By the clock on the wall.
    pub(super) at: Timestamp,
    instant: Instant,
}

impl Moment {
    pub(super) fn now() -> Self {
        Self { at: Timestamp::now(), instant: Instant::now() }
    }

    /// How long after an earlier moment this is.
    pub(super) fn since(self, earlier: Self) -> Duration {
        self.instant.saturating_duration_since(earlier.instant)
    }

    /// A later one.
    #[cfg(test)]
    pub(super) fn after(self, duration: Duration) -> Self {
        Self { at: self.at + duration, instant: self.instant + duration }
    }

    /// A day before now.
    #[cfg(test)]
    pub(super) fn long_ago() -> Self {
        let (now, day) = (Self::now(), Duration::from_hours(24));
        Self { at: now.at - day, instant: now.instant - day }
    }
}
