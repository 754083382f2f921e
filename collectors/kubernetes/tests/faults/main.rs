//! What only a broken API server does: an in-process fake over a real socket, with scripted answers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

mod access;
mod answers;
mod budget;
mod busy;
mod cluster;
mod connection;
mod fake;
mod lists;
mod look;
mod pages;
mod protobuf;
mod refused;
mod resume;
mod streaming;
mod watch;
