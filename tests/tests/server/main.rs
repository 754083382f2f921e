//! The inventory server as a program: how it starts, serves and ends, over both databases.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test's helpers are tests")]

mod backup;
mod bed;
mod lifecycle;
mod openapi;
mod told;
