//! How long it takes from a container's start until a receiver is told, by an agent that watches the runtimes of the test bed;
//! and what it costs reports that there are ten thousand subscriptions.
//!
//! `make bench-notify`. Figures fail nothing; what cannot be measured does.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints")]

mod arrival;
mod starts;
mod subscriptions;

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context as _, bail};
use clap::Parser;
use serde_json::{Value, json};
use stocktake_tests::{
    bench::{
        served,
        table::{self, Row},
    },
    hooks::Hooks,
};

#[derive(Debug, Parser)]
#[command(about = "How soon receivers are told, and what it costs", arg_required_else_help = false)]
pub(crate) struct Arguments {
    /// Measure only these
    #[arg(long, value_delimiter = ',', default_values = ["docker", "kubernetes", "subscriptions"])]
    only: Vec<Part>,
    /// On these
    #[arg(long, value_delimiter = ',', default_values = ["sqlite", "postgres"])]
    databases: Vec<served::Kind>,
    /// Containers that are started, one after the other
    #[arg(long, default_value_t = 20)]
    starts: usize,
    /// Subscriptions beside reports
    #[arg(long, default_value_t = 10_000)]
    subscriptions: usize,
    /// Pods of the cluster that is reported, with three containers each
    #[arg(long, default_value_t = 10_000)]
    pods: usize,
    /// Namespaces of that cluster
    #[arg(long, default_value_t = 100)]
    namespaces: usize,
    /// Reports in which a hundredth has changed, to each of the two servers that are compared
    #[arg(long, default_value_t = 30)]
    changes: usize,
    /// The agent's binary
    #[arg(long, env = "STOCKTAKE_AGENT")]
    agent: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    Docker,
    Kubernetes,
    Subscriptions,
}

/// Makes a subscription that is told over there, and returns the number of the event that it begins behind.
pub(crate) fn subscribe(served: &served::Served, name: &str, on: &Value, hooks: Option<&Hooks>) -> anyhow::Result<i64> {
    let channel = hooks.map(|hooks| json!({ "type": "webhook", "url": hooks.url() }));
    let body = json!({ "name": name, "on": on, "channel": channel });
    let answer = served.server.ask("POST", "/v1/subscriptions", &body);
    if answer.status != 201 {
        bail!("a subscription is answered with {}: {}", answer.status, answer.body);
    }
    let made: Value = serde_json::from_str(&answer.body)?;
    made["delivery"]["taken"].as_i64().context("a subscription that begins nowhere")
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut exit = ExitCode::SUCCESS;
    for part in &arguments.only {
        for database in &arguments.databases {
            let measured: anyhow::Result<(String, Vec<Row>)> = match part {
                Part::Docker => arrival::measure(starts::Docker, *database, &arguments).await,
                Part::Kubernetes => arrival::measure(starts::Kubernetes, *database, &arguments).await,
                Part::Subscriptions => subscriptions::measure(*database, &arguments).await,
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
