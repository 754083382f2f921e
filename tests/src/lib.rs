//! What the suites in `tests/` share: the test bed, the agent's binary, the runtimes' own tools, and daemons that
//! misbehave.
//!
//! Tests stand on real daemons, which `tests/bed/bed up` starts; `make test` does all of it. A test names what it needs
//! with [`needs!`] and fails with what to do where that is not up: nothing is passed over in silence.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::missing_panics_doc,
    reason = "a harness has nobody to hand an error to: it ends the test"
)]

pub mod agent;
pub mod bed;
pub mod bench;
pub mod cleanup;
pub mod cluster;
pub mod daemon;
pub mod fake;
pub mod gate;
pub mod home;
pub mod hooks;
pub mod load;
pub mod meter;
pub mod postgres;
pub mod private;
pub mod receiver;
pub mod relay;
pub mod report;
pub mod running;
pub mod sandbox;
pub mod server;
mod service;
pub mod tools;

use std::{
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

/// The checkout.
#[must_use]
pub fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().expect("`tests` is in the checkout").to_owned()
}

/// Waits until `condition` holds. The limit is for a machine that is stuck, not a measure of anything.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    const LIMIT: Duration = Duration::from_mins(5);
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < LIMIT, "gave up after {LIMIT:?} waiting for {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Ends the test early, with a word about it, where `STOCKTAKE_BED_SKIP` leaves out a component that it needs; fails
/// where the component ought to be up and is not.
#[macro_export]
macro_rules! needs {
    ($($component:expr),+ $(,)?) => {
        $(if !$crate::bed::require($component) { return; })+
    };
}

/// The collector that `CONTRIBUTING.md` shows is compiled, so that it stays one.
#[cfg(doctest)]
#[doc = include_str!("../../CONTRIBUTING.md")]
struct Contributing;
