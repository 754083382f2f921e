//! The inventory server: keeps what agents report, for as long as it counts, and answers questions about it.
//!
//! Data travels one way: `ingest` takes reports apart and writes rows, `api` reads them. Both know nobody: `access` says who
//! asks, for which account, and what they may. `agentless` looks where no agent does, and hands on what it sees as agents do.

mod access;
mod agentless;
mod api;
mod app;
mod cli;
mod commands;
mod config;
mod database;
mod exit;
mod foreign;
mod http;
mod ingest;
mod logging;
mod memory;
mod metrics;
mod network;
mod notify;
mod reap;
mod say;
mod secrets;
mod serve;
#[cfg(test)]
mod testing;
mod words;

use std::{ffi::OsString, process::ExitCode};

pub use app::App;
pub use database::{Database, DatabaseError};

/// Runs the server's command line with this process's arguments.
#[must_use]
pub fn main() -> ExitCode {
    // Where it is not so, it merely takes more memory.
    let _ = stocktake_core::heap::share(2);
    run(std::env::args_os())
}

/// Runs the server's command line with the given arguments, the program's name first.
#[must_use]
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    // Only the first call in a process has an effect; one provider for all TLS is what matters, not who set it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    commands::run(arguments)
}
