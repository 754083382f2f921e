//! How long to wait until everything is looked at again.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};

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
    backoff: ExponentialBackoff,
    /// Until the next look, if nothing is told.
    wait: Duration,
}

impl Patience {
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, backoff: backoff(interval), wait: interval }
    }

    /// After a look at everything.
    pub(super) fn looked(&mut self, was_complete: bool) {
        self.wait = if was_complete {
            self.backoff = backoff(self.interval);
            self.interval.mul_f64(1.0 + JITTER * fastrand::f64())
        } else {
            self.backoff.next().unwrap_or(self.interval)
        };
    }

    /// How long to wait for the next look at everything. `is_sound`: what changes is told, and everything was seen.
    pub(super) fn wait(&self, is_sound: bool) -> Duration {
        if is_sound { self.wait * FULL_LOOK_EVERY } else { self.wait }
    }
}

fn backoff(interval: Duration) -> ExponentialBackoff {
    let first = AT_FIRST.min(interval);
    ExponentialBuilder::new().with_min_delay(first).with_max_delay(interval).without_max_times().build()
}
