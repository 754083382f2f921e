//! The CRI collector on real runtimes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test's helpers are tests")]

mod pods;
mod runtimes;
