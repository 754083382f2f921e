//! `stocktake`: the operator's command line, which asks a server over its REST interface and holds nothing of its own but the
//! names of servers.

mod cli;
mod client;
mod commands;
mod connection;
mod contexts;
mod exit;
mod failure;
mod json;
mod output;
mod say;
mod table;
mod time;

use std::process::ExitCode;

fn main() -> ExitCode {
    // Only the first call in a process has an effect; one provider for all TLS is what matters, not who set it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    commands::run(std::env::args_os())
}
