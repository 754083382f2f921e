//! One look at everything, beside a curl that throws the pods away: pairs, taken in turns.

use anyhow::Context as _;
use serde::Deserialize;
use stocktake_tests::{
    bench::{
        process::{self, Cost},
        table::{Row, median, megabytes, on_line, seconds},
    },
    cluster::{AGENT, Cluster},
};

use crate::Arguments;

const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// A run with what it cost the server.
struct Run {
    client: Cost,
    /// Seconds of CPU.
    server: f64,
}

/// What has to be known of a page.
#[derive(Deserialize)]
struct Page {
    metadata: PageMetadata,
}

#[derive(Deserialize)]
struct PageMetadata {
    #[serde(default, rename = "continue")]
    next: String,
}

/// A remark and the figures.
pub(crate) async fn measure(
    cluster: &Cluster,
    arguments: &Arguments,
    pods: usize,
) -> anyhow::Result<(String, Vec<Row>)> {
    let config = cluster.home().write("collect.toml", &cluster.config(cluster.port(), "timeout = '5m'"));
    let collect = ["collect", "--config", &config, "--format", "json"].map(str::to_owned);
    let collect: Vec<String> = [arguments.agent.display().to_string()].into_iter().chain(collect).collect();
    let floor = curl(cluster, "/api/v1/pods?resourceVersion=0", PROTOBUF, "/dev/null");
    let (mut floors, mut ours) = (Vec::new(), Vec::new());
    let size_file = cluster.home().path("size");
    // The first pair warms up.
    for number in 0..=arguments.runs {
        eprintln!("bench: collect beside its floor, {number} of {}", arguments.runs);
        let pair = [run(cluster, &floor, &size_file).await?, run(cluster, &collect, "/dev/null").await?];
        if number > 0 {
            let [floor, our] = pair;
            floors.push(floor);
            ours.push(our);
        }
    }
    let bytes: u64 = std::fs::read_to_string(size_file)?.trim().parse().context("curl does not tell the size")?;
    let json = curl(cluster, "/api/v1/pods?resourceVersion=0", "application/json", "/dev/null");
    let json = run(cluster, &json, "/dev/null").await?;
    let (pages, pages_cpu) = in_pages(cluster).await?;
    let remark = format!(
        " The floor is curl of `/api/v1/pods?resourceVersion=0` as protobuf to `/dev/null`, {}; JSON instead took {} \
         (API server {}), JSON in pages of 500 {} (API server {}).",
        megabytes(bytes),
        seconds(json.client.wall),
        seconds(json.server),
        seconds(pages),
        seconds(pages_cpu)
    );
    Ok((remark, rows(&ours, &floors, pods)))
}

type Figure = fn(&Run) -> f64;

fn rows(ours: &[Run], floors: &[Run], pods: usize) -> Vec<Row> {
    let of = |runs: &[Run], figure: Figure| median(runs.iter().map(figure));
    // Of each pair, for the machine was busy alike in both.
    let ratio = |figure: Figure| median(ours.iter().zip(floors).map(|(our, floor)| figure(our) / figure(floor)));
    let wall: Figure = |run| run.client.wall;
    let cpu: Figure = |run| run.client.cpu;
    let server: Figure = |run| run.server;
    #[allow(clippy::cast_precision_loss, reason = "bytes of memory")]
    let peak = of(ours, |run| run.client.peak as f64) / 1e6;
    let (peak_goal, cpu_goal) = (on_line(pods, 40.0, 150.0), on_line(pods, 0.5, 2.5));
    vec![
        Row::new("collect: wall", seconds(of(ours, wall))).floor(seconds(of(floors, wall)), ratio(wall), 1.3),
        Row::new("collect: peak memory", format!("{peak:.1} MB"))
            .goal(format!("≤ {peak_goal:.0} MB"), peak <= peak_goal),
        Row::new("collect: agent CPU", seconds(of(ours, cpu)))
            .goal(format!("≤ {cpu_goal:.2} s"), of(ours, cpu) <= cpu_goal),
        Row::new("collect: API server CPU", seconds(of(ours, server))).floor(
            seconds(of(floors, server)),
            ratio(server),
            1.1,
        ),
    ]
}

/// The agent's own token, so that both are checked alike.
fn curl(cluster: &Cluster, path: &str, accept: &str, output: &str) -> Vec<String> {
    let (ca, url) = (cluster.ca_file(), format!("{}{path}", cluster.server()));
    let (token, accept) = (format!("Authorization: Bearer {AGENT}"), format!("Accept: {accept}"));
    let words = ["/usr/bin/curl", "--silent", "--show-error", "--fail", "--cacert", &ca, "--header", &token];
    let more = ["--header", &accept, "--output", output, "--write-out", "%{size_download}", &url];
    words.into_iter().chain(more).map(str::to_owned).collect()
}

async fn run(cluster: &Cluster, command: &[String], stdout: &str) -> anyhow::Result<Run> {
    let server = cluster.api_server().id().context("kube-apiserver does not run")?;
    process::wait_until_idle(server).await?;
    let before = process::cpu(server)?;
    let client = process::run(command, stdout).await?;
    process::wait_until_idle(server).await?;
    Ok(Run { client, server: process::cpu(server)? - before })
}

/// The list as kubectl reads it, seconds of wall and of the server's CPU. What reads the pages is not counted.
async fn in_pages(cluster: &Cluster) -> anyhow::Result<(f64, f64)> {
    let file = cluster.home().path("page.json");
    let server = cluster.api_server().id().context("kube-apiserver does not run")?;
    let (mut wall, before) = (0.0, process::cpu(server)?);
    let mut next = String::new();
    loop {
        let path = format!("/api/v1/pods?limit=500&continue={next}");
        wall += process::run(&curl(cluster, &path, "application/json", &file), "/dev/null").await?.wall;
        let page: Page = serde_json::from_slice(&std::fs::read(&file)?)?;
        next = page.metadata.next;
        if next.is_empty() {
            break;
        }
    }
    process::wait_until_idle(server).await?;
    Ok((wall, process::cpu(server)? - before))
}
