//! The agent: selects collectors by configuration, runs them and says what they saw.
//!
//! A program with further collectors names their crates and calls [`main`]:
//!
//! ```no_run
//! // use my_collector as _;
//! fn main() -> std::process::ExitCode {
//!     stocktake_agent::main()
//! }
//! ```

mod assemble;
mod bundle;
mod cli;
mod commands;
mod config;
mod deliver;
mod discover;
pub mod embed;
mod environment;
mod exit;
mod explain;
mod follow;
mod import;
mod isolate;
mod lease;
mod logging;
mod observe;
mod render;
mod run;
mod say;
mod spool;
mod telemetry;

use std::{ffi::OsString, process::ExitCode};

// A crate that is not named is not linked, and its collector not registered.
use stocktake_collector_containerd as _;
use stocktake_collector_cri as _;
use stocktake_collector_docker as _;
use stocktake_collector_exec as _;
use stocktake_collector_kubernetes as _;

/// Runs the agent's command line with this process's arguments.
#[must_use]
pub fn main() -> ExitCode {
    // Where it is not so, it merely takes more memory.
    let _ = stocktake_core::heap::share(1);
    run(std::env::args_os())
}

/// Runs the agent's command line with the given arguments, the program's name first.
#[must_use]
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    // Only the first call in a process has an effect; one provider for all TLS is what matters, not who set it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    commands::run(arguments)
}
