//! A cluster of which some pods are replaced all the time.

use std::time::Duration;

use anyhow::Context as _;
use kube::Client;
use serde_json::json;
use stocktake_tests::{
    bench::{
        fill,
        table::{Row, megabytes},
    },
    cluster::{Cluster, Options, objects, population::Population},
};
use tokio::time::{Instant, sleep, sleep_until};

use crate::{Arguments, daemon::Daemon};

/// Which part of the pods is replaced each minute.
const PART: usize = 100;

pub(crate) async fn measure(arguments: &Arguments) -> anyhow::Result<(String, Vec<Row>)> {
    let population = Population::new(arguments.pods);
    eprintln!("bench: starting etcd and kube-apiserver for {} pods", arguments.pods);
    let cluster = Cluster::start("bench-agent", Options { audited: false });
    cluster.grant_all();
    let client = fill::client(&cluster)?;
    fill::fill(&client, &population).await?;
    let collectors = cluster.config(cluster.port(), "timeout = '5m'");
    let mut daemon = Daemon::start(arguments, &collectors)?;
    daemon.wait_for_reports(1).await?;
    let first = daemon.sent();
    let mut rows = vec![
        Row::new("first report", format!("{first} bytes")).goal("≤ 2.7 MB", first <= 2_700_000),
        Row::new("first report: peak memory until then", megabytes(daemon.peak()?)),
    ];
    let before = daemon.sent();
    daemon.wait_for_reports(2).await?;
    let unchanged = daemon.sent() - before;
    rows.push(
        Row::new("a report when nothing changed", format!("{unchanged} bytes")).goal("≤ 1 KB", unchanged <= 1024),
    );

    // All at once, so that it is one report.
    let mut churn = Churn { client: &client, population: &population, next: 0 };
    let (before, had) = (daemon.sent(), daemon.reports());
    let count = arguments.pods / PART;
    for _ in 0..count {
        churn.replace().await?;
    }
    daemon.wait_for_reports(had + 1).await?;
    // What came too late for that report is in the next one.
    sleep(Duration::from_secs(15)).await;
    let (changed, reports) = (daemon.sent() - before, daemon.reports() - had);
    let measured = format!("{changed} bytes in {reports} reports");
    rows.push(Row::new(&format!("{count} pods replaced"), measured).goal("≤ 60 KB", changed <= 60 * 1024));

    let time = Duration::from_secs(arguments.seconds);
    eprintln!("bench: replacing {count} pods a minute for {time:?}");
    let cost = daemon.cost(churn.run(time, count)).await?;
    rows.extend(cost.rows(&format!("{count} pods a minute are replaced"), first, None));
    let idle = daemon
        .cost(async {
            sleep(time).await;
            Ok(())
        })
        .await?;
    rows.extend(idle.rows("nothing changes", first, None));
    rows.push(Row::new("peak memory", megabytes(daemon.peak()?)));
    Ok((format!("A cluster of {} pods", arguments.pods), rows))
}

/// Pods that go and others that take their places, as when a Deployment is rolled.
struct Churn<'a> {
    client: &'a Client,
    population: &'a Population,
    next: usize,
}

impl Churn<'_> {
    /// At even intervals for some time.
    async fn run(mut self, time: Duration, a_minute: usize) -> anyhow::Result<()> {
        let began = Instant::now();
        let every = Duration::from_mins(1) / u32::try_from(a_minute.max(1))?;
        let mut due = began;
        while due < began + time {
            sleep_until(due).await;
            self.replace().await?;
            due += every;
        }
        Ok(())
    }

    /// Deletes one pod and makes another of the same `ReplicaSet`.
    async fn replace(&mut self) -> anyhow::Result<()> {
        let sets = &self.population.replica_sets;
        // Sets spread over all namespaces.
        let set = &sets[(self.next * 37) % sets.len()];
        let round = self.next / sets.len();
        self.next += 1;
        let placed = self.population.pods_of(set).nth(round % set.pods).context("a pod of every set")?;
        let (namespace, name) = (placed.namespace, objects::pod_name(&placed));
        let path = format!("/api/v1/namespaces/{namespace}/pods/{name}");
        let now = json!({ "gracePeriodSeconds": 0 });
        let was = fill::send(self.client, "GET", &path, "kubectl", &json!({})).await?;
        fill::send(self.client, "DELETE", &path, "kubectl", &now).await?;
        let owner = was["metadata"]["ownerReferences"][0]["uid"].as_str().context("a pod of a ReplicaSet")?.to_owned();
        let path = format!("/api/v1/namespaces/{namespace}/pods");
        let mut pod = objects::pod(&placed, &owner);
        let other = format!("{name}-{}", self.next);
        pod["metadata"]["name"] = json!(other);
        fill::send(self.client, "POST", &path, "kube-controller-manager", &pod).await?;
        let status = objects::status(&placed);
        fill::send(self.client, "PATCH", &format!("{path}/{other}/status"), "kubelet", &status).await?;
        Ok(())
    }
}
