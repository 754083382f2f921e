//! `stocktake-agent run`: every report that is made is delivered once, whatever happens on the way.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests, which say what they counted"
)]

mod claims;
mod faults;
mod house;
mod kills;
mod protocol;
mod spool;
mod upkeep;
