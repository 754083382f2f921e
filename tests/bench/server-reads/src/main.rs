//! Fills a server with the containers of many clusters, as their agents do, and times its answers.

mod content;
mod fill;
mod questions;
mod server;

use std::{path::PathBuf, time::Instant};

use clap::Parser;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};
use stocktake_tests::bench::reporter::Connection;

use self::{content::Cluster, fill::Teller, questions::Asking, server::Server};

/// Figures go to stdout, as Markdown.
#[derive(Debug, Parser)]
struct Arguments {
    /// The server's binary.
    #[arg(long, env = "STOCKTAKE_SERVER")]
    server: PathBuf,
    /// A file of SQLite or a URL of PostgreSQL; an empty one is filled.
    #[arg(long)]
    database: String,
    /// Clusters of 5,200 containers each.
    #[arg(long, default_value_t = 200)]
    clusters: usize,
    /// Days of history, at the end of each of which every agent reports.
    #[arg(long, default_value_t = 0)]
    days: i64,
    /// The share of the workloads whose pods are replaced in a day.
    #[arg(long, default_value_t = 0.05)]
    churn: f64,
    /// How often each question is asked.
    #[arg(long, default_value_t = 300)]
    times: usize,
    /// Ask only what has this in its name.
    #[arg(long, default_value = "")]
    only: String,
    /// Whether the database is full already.
    #[arg(long)]
    is_full: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let server = Server::start(&arguments.server, &arguments.database).await?;
    if !arguments.is_full {
        fill(&arguments, &server).await?;
    }
    told(&format!("memory before the questions: {}", server.memory()?))?;
    ask(&arguments, &server).await?;
    told(&format!("memory after the questions: {}", server.memory()?))?;
    told(&server::disk(&arguments.database).await?)?;
    server.end().await
}

/// Reports of all clusters, first of what is there, then of what a day has changed.
async fn fill(arguments: &Arguments, server: &Server) -> anyhow::Result<()> {
    let first = Timestamp::now() - SignedDuration::from_hours(24 * arguments.days);
    let mut tellers: Vec<Teller> =
        (0..arguments.clusters).map(|number| Teller::new(Cluster::new(number, first))).collect();
    let mut random = fastrand::Rng::with_seed(7);
    for day in 0..=arguments.days {
        let (now, began) = (first + SignedDuration::from_hours(24 * day), Instant::now());
        if day > 0 {
            for teller in &mut tellers {
                teller.cluster.churn(arguments.churn, now, &mut random);
            }
        }
        let reports = tellers.iter_mut().map(|teller| async move {
            let frames = teller.report(now)?;
            let mut connection = Connection::admin(server.port()).await?;
            connection.report(frames.into()).await
        });
        stream::iter(reports).buffer_unordered(4).try_for_each(|()| async { Ok(()) }).await?;
        if day > 0 {
            server::forget_bodies(&arguments.database).await?;
        }
        told(&format!("day {day}: reports of {} clusters in {:.1?}", arguments.clusters, began.elapsed()))?;
    }
    Ok(())
}

async fn ask(arguments: &Arguments, server: &Server) -> anyhow::Result<()> {
    let mut connection = Connection::admin(server.port()).await?;
    told("| question | lines | p50 ms | p99 ms | longest ms |\n|---|---|---|---|---|")?;
    for (name, question) in questions::QUESTIONS.iter().filter(|(name, _)| name.contains(&arguments.only)) {
        let mut asking = Asking { random: fastrand::Rng::with_seed(1), clusters: arguments.clusters };
        let (mut took, mut lines) = (Vec::new(), 0);
        for _ in 0..arguments.times {
            let path = question(&mut asking);
            let began = Instant::now();
            let answer = connection.get(&path).await?;
            took.push(began.elapsed().as_secs_f64() * 1e3);
            let answer: serde_json::Value = serde_json::from_slice(&answer)?;
            lines += answer["items"].as_array().map_or(0, Vec::len);
        }
        took.sort_by(f64::total_cmp);
        let at = |part: usize| {
            took.get((took.len() * part / 100).min(took.len().saturating_sub(1))).copied().unwrap_or_default()
        };
        let mean = lines / took.len().max(1);
        told(&format!("| {name} | {mean} | {:.1} | {:.1} | {:.1} |", at(50), at(99), at(100)))?;
    }
    Ok(())
}

fn told(text: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    Ok(writeln!(std::io::stdout(), "{text}")?)
}
