//! What the server costs: a full report of a large cluster, one of which a hundredth has changed, and reports of which nothing
//! has; on SQLite and PostgreSQL.
//!
//! `make bench-server`. Figures fail nothing; what cannot be measured does.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints")]

mod cluster;
mod floor;
mod unchanged;

use std::process::ExitCode;

use clap::Parser;
use stocktake_tests::bench::{
    served,
    table::{self, Row},
};

#[derive(Debug, Parser)]
#[command(about = "What the server costs", arg_required_else_help = false)]
pub(crate) struct Arguments {
    /// Measure only these
    #[arg(long, value_delimiter = ',', default_values = ["cluster", "unchanged"])]
    only: Vec<Part>,
    /// On these
    #[arg(long, value_delimiter = ',', default_values = ["sqlite", "postgres"])]
    databases: Vec<served::Kind>,
    /// Pods of the cluster, with three containers each
    #[arg(long, default_value_t = 10_000)]
    pods: usize,
    /// Namespaces of the cluster
    #[arg(long, default_value_t = 100)]
    namespaces: usize,
    /// How often the first report of the cluster is measured, each time over an empty database
    #[arg(long, default_value_t = 7)]
    runs: usize,
    /// How often one is of which a hundredth has changed
    #[arg(long, default_value_t = 30)]
    changes: usize,
    /// Agents that report that nothing has changed
    #[arg(long, default_value_t = 2000)]
    agents: usize,
    /// Connections that they come by
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// How long they do, in seconds
    #[arg(long, default_value_t = 10)]
    seconds: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    Cluster,
    Unchanged,
}

// One thread: what is left of two cores is the server's.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut exit = ExitCode::SUCCESS;
    for part in &arguments.only {
        for database in &arguments.databases {
            let measured: anyhow::Result<(String, Vec<Row>)> = match part {
                Part::Cluster => cluster::measure(*database, &arguments).await,
                Part::Unchanged => unchanged::measure(*database, &arguments).await,
            };
            match measured {
                Ok((title, rows)) => println!("\n## {title}\n\n{}", table::render(&rows)),
                Err(error) => {
                    eprintln!("bench: error: {part:?} on {database:?}: {error:#}");
                    exit = ExitCode::FAILURE;
                }
            }
        }
    }
    exit
}
