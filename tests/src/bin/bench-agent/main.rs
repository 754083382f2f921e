//! What an agent costs that runs: CPU, memory and bytes sent, on a Docker host and a containerd host with 100 containers, and
//! for a cluster of 10,000 pods of which a hundredth is replaced each minute; beside what a full report each minute would send.
//!
//! `make bench-agent`. Figures fail nothing; what cannot be measured does.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints")]

mod cluster;
mod daemon;
mod hosts;

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;
use stocktake_tests::bench::table::{self, Row};

#[derive(Debug, Parser)]
#[command(about = "What an agent costs that runs", arg_required_else_help = false)]
pub(crate) struct Arguments {
    /// Measure only these
    #[arg(long, value_delimiter = ',', default_values = ["docker", "containerd", "cluster"])]
    only: Vec<Part>,
    /// Containers of a host
    #[arg(long, default_value_t = 100)]
    containers: usize,
    /// Pods of the cluster
    #[arg(long, default_value_t = 10_000)]
    pods: usize,
    /// How long each is measured, in seconds
    #[arg(long, default_value_t = 180)]
    seconds: u64,
    /// The agent's binary
    #[arg(long, env = "STOCKTAKE_AGENT")]
    agent: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    Docker,
    Containerd,
    Cluster,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut exit = ExitCode::SUCCESS;
    for part in &arguments.only {
        let measured: anyhow::Result<(String, Vec<Row>)> = match part {
            Part::Docker => hosts::measure(&hosts::DOCKER, &arguments).await,
            Part::Containerd => hosts::measure(&hosts::CONTAINERD, &arguments).await,
            Part::Cluster => cluster::measure(&arguments).await,
        };
        match measured {
            Ok((title, rows)) => println!("\n## {title}\n\n{}", table::render(&rows)),
            Err(error) => {
                eprintln!("bench: error: {part:?}: {error:#}");
                exit = ExitCode::FAILURE;
            }
        }
    }
    exit
}
