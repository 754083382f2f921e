//! What reading and watching a large cluster costs, beside the least that the same answer can cost: a real API server,
//! pods as large as real ones, figures, floors, ratios and goals as a Markdown table.
//!
//! `make bench-kubernetes`, or `tests/bench/kubernetes --pods 2000 --only list`. Figures fail nothing; what cannot be
//! measured does.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints")]

mod list;
mod watch;

use std::{
    io,
    path::PathBuf,
    process::{Command, ExitCode},
    thread,
};

use anyhow::{Context as _, bail};
use clap::Parser;
use stocktake_tests::{
    bench::{
        fill,
        table::{self, Row},
    },
    cluster::{Cluster, Options, population::Population},
};
use tokio::signal::unix::{SignalKind, signal};

#[derive(Debug, Parser)]
#[command(about = "What reading and watching a large cluster costs", arg_required_else_help = false)]
struct Arguments {
    /// Sizes of clusters, in pods
    #[arg(long, value_delimiter = ',', default_values_t = [10_000, 50_000])]
    pods: Vec<usize>,
    /// Measure only this
    #[arg(long)]
    only: Option<Part>,
    /// Runs of which the median is told
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// How long the watching agent is left alone, in seconds
    #[arg(long, default_value_t = 60)]
    idle: u64,
    /// The agent's binary
    #[arg(long, env = "STOCKTAKE_AGENT")]
    agent: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    List,
    Watch,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // Dropping what is measured ends the cluster and whatever else was started.
    let outcome = tokio::select! {
        outcome = measure_all(&arguments) => outcome,
        signal = interrupted() => signal.map_err(Into::into).and_then(|name| bail!("ended by {name}")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn interrupted() -> io::Result<&'static str> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(tokio::select! {
        _ = interrupt.recv() => "Ctrl-C",
        _ = terminate.recv() => "SIGTERM",
    })
}

async fn measure_all(arguments: &Arguments) -> anyhow::Result<()> {
    if !arguments.agent.is_file() {
        bail!("there is no agent at {}: run `make bench-kubernetes`, which builds it", arguments.agent.display());
    }
    if arguments.runs == 0 || arguments.pods.contains(&0) {
        bail!("there is nothing to measure in 0 pods or 0 runs");
    }
    let command: Vec<String> = std::env::args().skip(1).collect();
    println!("`tests/bench/kubernetes {}`: {}", command.join(" "), machine()?);
    let mut not_measured = Vec::new();
    for &pods in &arguments.pods {
        let section = measure(arguments, pods).await.with_context(|| format!("with {pods} pods"))?;
        println!("\n## {pods} pods\n\n{}\n\n{}", section.description, table::render(&section.rows));
        not_measured.extend(section.errors.into_iter().map(|error| format!("{pods} pods: {error:#}")));
    }
    if !not_measured.is_empty() {
        bail!("not all could be measured: {}", not_measured.join("; "));
    }
    Ok(())
}

/// What is told of a cluster of one size.
struct Section {
    description: String,
    rows: Vec<Row>,
    /// Why a part could not be measured. The others are told all the same.
    errors: Vec<anyhow::Error>,
}

/// A cluster of so many pods, and the figures of it.
async fn measure(arguments: &Arguments, pods: usize) -> anyhow::Result<Section> {
    let population = Population::new(pods);
    eprintln!("bench: starting etcd and kube-apiserver for {pods} pods");
    let cluster = Cluster::start("bench", Options { audited: true });
    cluster.grant_all();
    let client = fill::client(&cluster)?;
    let size = fill::fill(&client, &population).await?;
    let description = format!(
        "{} nodes, {} namespaces, {} ReplicaSets; a pod is {size} bytes of JSON.",
        population.nodes,
        population.namespaces.len(),
        population.replica_sets.len()
    );
    let mut section = Section { description, rows: Vec::new(), errors: Vec::new() };
    if arguments.only != Some(Part::Watch) {
        match list::measure(&cluster, arguments, pods).await {
            Ok((remark, rows)) => {
                section.description.push_str(&remark);
                section.rows.extend(rows);
            }
            Err(error) => section.errors.push(error),
        }
    }
    if arguments.only != Some(Part::List) {
        match watch::measure(&cluster, &client, arguments, &population).await {
            Ok(rows) => section.rows.extend(rows),
            Err(error) => section.errors.push(error),
        }
    }
    Ok(section)
}

fn machine() -> anyhow::Result<String> {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let cores = thread::available_parallelism()?;
    let etcd = Command::new("/usr/bin/etcd").arg("--version").output()?;
    let etcd = String::from_utf8_lossy(&etcd.stdout).lines().next().unwrap_or_default().to_owned();
    Ok(format!(
        "{cores} cores, Linux {}, kube-apiserver {}, {etcd}",
        kernel.trim(),
        stocktake_tests::cluster::version()
    ))
}
