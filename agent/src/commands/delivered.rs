//! `delivered`: wait until agents that run elsewhere have reported.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write as _,
    net::SocketAddr,
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;
use tokio::time::{Instant, sleep};

use crate::{cli, exit::Exit, say};

/// How often they are asked.
const AGAIN: Duration = Duration::from_secs(1);

/// How long one may take to answer.
const TO_ANSWER: Duration = Duration::from_secs(5);

/// How many of those that a name leads to are asked at a time.
const AT_ONCE: usize = 32;

/// What there is of every target.
const TARGETS: &str = "stocktake_agent_target_queue_reports";
/// What there is of a target that has taken a report.
const DELIVERED: &str = "stocktake_agent_target_last_delivery_timestamp_seconds";

pub(super) async fn run(arguments: cli::Delivered) -> anyhow::Result<Exit> {
    let client = reqwest::Client::builder().no_proxy().timeout(TO_ANSWER).build()?;
    let until = Instant::now() + arguments.within;
    let one = arguments.addresses.into_iter().map(|name| Place { name, wants_all: false });
    let mut waiting: Vec<Place> =
        one.chain(arguments.all.into_iter().map(|name| Place { name, wants_all: true })).collect();
    loop {
        let mut still = Vec::new();
        for place in waiting {
            match look(&client, &place).await {
                Ok(lines) => {
                    let mut out = anstream::AutoStream::auto(std::io::stdout());
                    lines.iter().try_for_each(|line| writeln!(out, "{}: {line}", place.name))?;
                }
                Err(reason) => still.push((place, reason)),
            }
        }
        if still.is_empty() {
            return Ok(Exit::Success);
        }
        if Instant::now() >= until {
            for (place, reason) in &still {
                say::error(&format!("{} has not delivered within {:?}: {reason}", place.name, arguments.within));
            }
            return Ok(Exit::Unavailable);
        }
        waiting = still.into_iter().map(|(place, _)| place).collect();
        sleep(AGAIN).await;
    }
}

/// Where agents are asked.
struct Place {
    /// `HOST:PORT`.
    name: String,
    /// Whether every address of it has to have delivered. Of agents that share a Lease one reports.
    wants_all: bool,
}

/// What agents at a place have delivered, a line a target; or why too few have.
async fn look(client: &reqwest::Client, place: &Place) -> Result<Vec<String>, String> {
    let found = tokio::net::lookup_host(&place.name).await;
    let addresses = found.map_err(|error| format!("cannot look up its address: {error}"))?.collect();
    of_addresses(client, addresses, place.wants_all).await
}

async fn of_addresses(
    client: &reqwest::Client,
    addresses: BTreeSet<SocketAddr>,
    wants_all: bool,
) -> Result<Vec<String>, String> {
    let count = addresses.len();
    let asked: Vec<(SocketAddr, Result<Vec<String>, String>)> = stream::iter(addresses)
        .map(|address| async move { (address, of_address(client, address).await) })
        .buffered(AT_ONCE)
        .collect()
        .await;
    let (mut lines, mut reasons) = (Vec::new(), Vec::new());
    for (address, told) in asked {
        match told {
            Ok(told) if wants_all => lines.extend(told.iter().map(|line| format!("{address}: {line}"))),
            Ok(told) => return Ok(told),
            Err(reason) => reasons.push(reason),
        }
    }
    match reasons.pop() {
        None if count == 0 => Err("it has no address".to_owned()),
        None => Ok(lines),
        Some(reason) if wants_all && count > 1 => {
            let (others, verb) = (reasons.len(), if reasons.is_empty() { "has" } else { "have" });
            Err(format!("{} of its {count} addresses {verb} not: {reason}", others + 1))
        }
        Some(reason) => Err(reason),
    }
}

/// What the agent at an address has delivered, or why it has not.
async fn of_address(client: &reqwest::Client, address: SocketAddr) -> Result<Vec<String>, String> {
    let metrics = ask(client, address, "metrics").await.map_err(|error| format!("cannot ask {address}: {error}"))?;
    match delivered(&metrics) {
        Ok(lines) => Ok(lines),
        Err(missing) => Err(format!("{address}: {missing}{}", why(client, address).await)),
    }
}

/// What the agent itself says is in its way, which metrics have no words for.
async fn why(client: &reqwest::Client, address: SocketAddr) -> String {
    let told = match ask(client, address, "readyz").await {
        Ok(told) => told,
        Err(error) => return format!("; it does not say why: {error}"),
    };
    let lines = told.lines().skip(1).map(|line| line.strip_prefix("remark: ").unwrap_or(line));
    lines.flat_map(|line| ["; ", line]).collect()
}

async fn ask(client: &reqwest::Client, address: SocketAddr, what: &str) -> Result<String, String> {
    let told = |error: reqwest::Error| format!("{:#}", anyhow::Error::from(error.without_url()));
    let answer = client.get(format!("http://{address}/{what}")).send().await.map_err(told)?;
    // That it is not ready is an answer.
    let answer = if what == "readyz" { answer } else { answer.error_for_status().map_err(told)? };
    answer.text().await.map_err(told)
}

/// A line for each target, or what is missing, by what `/metrics` says.
fn delivered(metrics: &str) -> Result<Vec<String>, String> {
    let targets = of_targets(metrics, TARGETS);
    let times = of_targets(metrics, DELIVERED);
    if targets.is_empty() {
        return Err("it reports to nobody yet".to_owned());
    }
    let missing: Vec<&str> = targets.keys().filter(|name| !times.contains_key(*name)).copied().collect();
    if !missing.is_empty() {
        return Err(format!("no report has been taken by {}", missing.join(", ")));
    }
    Ok(times.iter().map(|(name, time)| format!("{name} took a report at {}", at(time))).collect())
}

/// The values of a metric by target. Names of targets are letters, digits, `-` and `_`.
fn of_targets<'a>(metrics: &'a str, metric: &str) -> BTreeMap<&'a str, &'a str> {
    let sample = |line: &'a str| {
        let (labels, value) = line.strip_prefix(metric)?.strip_prefix('{')?.split_once("} ")?;
        let name = labels.split(',').find_map(|label| label.strip_prefix("target=\"")?.strip_suffix('"'))?;
        Some((name, value))
    };
    metrics.lines().filter_map(sample).collect()
}

fn at(seconds: &str) -> String {
    let time = seconds.parse::<f64>().ok().and_then(|seconds| Timestamp::from_microsecond(micros(seconds)?).ok());
    time.map_or_else(|| seconds.to_owned(), |time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

fn micros(seconds: f64) -> Option<i64> {
    i64::try_from(Duration::try_from_secs_f64(seconds).ok()?.as_micros()).ok()
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use axum::{Router, routing::get};

    use super::*;

    #[test]
    fn every_target_has_to_have_taken_one() {
        let waiting = format!("# HELP x\n{TARGETS}{{target=\"a\"}} 1\n{TARGETS}{{target=\"b\"}} 0\n");
        assert_eq!(delivered(&waiting), Err("no report has been taken by a, b".to_owned()));
        let half = format!("{waiting}{DELIVERED}{{target=\"b\"}} 1.7e9\n");
        assert_eq!(delivered(&half), Err("no report has been taken by a".to_owned()));
        let all = format!("{half}{DELIVERED}{{target=\"a\"}} 1700000001.5\n");
        let told = ["a took a report at 2023-11-14T22:13:21Z", "b took a report at 2023-11-14T22:13:20Z"];
        assert_eq!(delivered(&all), Ok(told.map(str::to_owned).to_vec()));
        assert_eq!(delivered(""), Err("it reports to nobody yet".to_owned()));
    }

    /// An agent with one target, which has taken a report or not.
    async fn agent(has_delivered: bool) -> SocketAddr {
        let mut metrics = format!("{TARGETS}{{target=\"a\"}} 0\n");
        if has_delivered {
            writeln!(metrics, "{DELIVERED}{{target=\"a\"}} 1.7e9").unwrap();
        }
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new()
            .route("/metrics", get(move || async { metrics }))
            .route("/readyz", get(|| async { "ready\nremark: target a: tired\n" }));
        tokio::spawn(async move { axum::serve(listener, app).await });
        address
    }

    #[tokio::test]
    async fn of_replicas_one_is_enough_and_nodes_are_asked_each() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::new();
        let (good, other, bad) = (agent(true).await, agent(true).await, agent(false).await);
        let told = async |addresses: &[SocketAddr], wants_all| {
            of_addresses(&client, addresses.iter().copied().collect(), wants_all).await
        };
        let line = "a took a report at 2023-11-14T22:13:20Z";
        assert_eq!(told(&[good, bad], false).await, Ok(vec![line.to_owned()]));
        let why = format!("{bad}: no report has been taken by a; target a: tired");
        assert_eq!(told(&[good, bad, other], true).await, Err(format!("1 of its 3 addresses has not: {why}")));
        let mut both = [good, other];
        both.sort_unstable();
        let lines = both.map(|address| format!("{address}: {line}"));
        assert_eq!(told(&[good, other], true).await, Ok(lines.to_vec()));
        for wants_all in [false, true] {
            assert_eq!(told(&[bad], wants_all).await, Err(why.clone()));
            assert_eq!(told(&[], wants_all).await, Err("it has no address".to_owned()));
        }
    }
}
