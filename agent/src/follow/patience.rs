//! How long to wait until everything is looked at again.

use std::time::Duration;

/// How many intervals apart a runtime that tells what changes is looked at as a whole. It should find nothing new, and is
/// there for what a runtime or a collector forgets to tell (not for what a collector that keeps what it watches has missed: it
/// reads that then too); often enough that such a fault is mended within minutes, rarely
/// enough that it costs a tenth of not being told.
const FULL_LOOK_EVERY: u32 = 10;

/// How long after a look that did not see everything the next one is, at first. Each further one waits twice as long, up to the
/// interval: what is not seen may be back, and nobody tells that.
const AT_FIRST: Duration = Duration::from_secs(5);

/// What is added to an interval at the most, as a part of it, so that agents that started together do not look together.
const JITTER: f64 = 0.1;

#[derive(Debug)]
pub(super) struct Patience {
    interval: Duration,
    /// Looks in a row that did not see everything.
    failures: u32,
    /// Until the next look, if nothing is told.
    wait: Duration,
}

impl Patience {
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, failures: 0, wait: interval }
    }

    /// After a look at everything.
    pub(super) fn looked(&mut self, was_complete: bool) {
        self.failures = if was_complete { 0 } else { self.failures.saturating_add(1) };
        self.wait = wait(self.interval, self.failures);
    }

    /// How long to wait for the next look at everything. `is_sound`: what changes is told, and everything was seen.
    pub(super) fn wait(&self, is_sound: bool) -> Duration {
        if is_sound { self.wait * FULL_LOOK_EVERY } else { self.wait }
    }
}

/// How long to wait after so many looks in a row that did not see everything.
pub(crate) fn wait(interval: Duration, failures: u32) -> Duration {
    match failures.checked_sub(1) {
        None => interval.mul_f64(1.0 + JITTER * fastrand::f64()),
        Some(doublings) => AT_FIRST.saturating_mul(2_u32.saturating_pow(doublings)).min(interval),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_is_looked_at_soon_and_then_ever_more_rarely() {
        let minute = Duration::from_mins(1);
        let waits = [1, 2, 3, 4, 5, 40, u32::MAX].map(|failures| wait(minute, failures).as_secs());
        assert_eq!(waits, [5, 10, 20, 40, 60, 60, 60]);
        assert_eq!(wait(Duration::from_secs(1), 1), Duration::from_secs(1));
        assert!((minute..=minute.mul_f64(1.1)).contains(&wait(minute, 0)));
    }
}
