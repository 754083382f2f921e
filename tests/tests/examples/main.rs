//! A third party's agent with a collector of its own (`examples/lxc`), on real containers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test's helpers are tests")]

mod containers;
mod lxc;
mod program;
