//! An agent that watches: what it costs while nothing happens, how soon it tells of a pod, and what a change costs the API
//! server.

use std::{
    collections::BTreeSet,
    fmt,
    process::Stdio,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use kube::Client;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use stocktake_tests::{
    bench::{
        fill, process,
        table::{Row, median, megabytes, on_line, seconds},
    },
    cluster::{
        Cluster,
        audit::{Entry, Stage},
        objects,
        population::Population,
    },
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, ChildStdout, Command},
    sync::mpsc,
    time::{sleep, timeout},
};

use crate::Arguments;

/// How many pods are made to see how soon they are told of.
const CREATED: usize = 20;
/// How many pods are changed, each a tenth of a second after the one before.
const CHANGED: usize = 100;
/// By which pods of the benchmark's own are known.
const MARK: &str = "bench-created-";
/// The label that is changed.
const LABEL: &str = "bench-changed";
/// The limit is for an agent that never tells, not a measure of anything.
const LIMIT: Duration = Duration::from_secs(30);

/// The figures, or one row that says that there are none.
pub(crate) async fn measure(
    cluster: &Cluster,
    client: &Client,
    arguments: &Arguments,
    population: &Population,
) -> anyhow::Result<Vec<Row>> {
    if !process::has_command(&arguments.agent, "watch").await? {
        return Ok(vec![Row::new("watch", "not measured: this agent has no command `watch`")]);
    }
    let figures = figures(cluster, client, arguments, population).await?;
    Ok(rows(&figures, arguments.idle, population.pods))
}

/// What was seen of one agent, from its start to its end. CPU is the agent's, and all times are seconds.
struct Figures {
    /// From its start to the last line of the first report.
    first_report: f64,
    /// Until then.
    to_begin: Requests,
    idle_cpu: f64,
    while_idle: Requests,
    resident: u64,
    peak: u64,
    /// From the creation of each pod to the line about it.
    latencies: Vec<f64>,
    changes_cpu: f64,
    for_changes: Requests,
    /// How many of the changed pods it told of.
    told: usize,
}

async fn figures(
    cluster: &Cluster,
    client: &Client,
    arguments: &Arguments,
    population: &Population,
) -> anyhow::Result<Figures> {
    let mut audit = cluster.audit();
    let began = Instant::now();
    let mut watcher = Watcher::start(cluster, arguments)?;
    watcher.wait_until_steady().await?;
    let first_report = watcher.last_line().saturating_duration_since(began).as_secs_f64();
    let to_begin = count(&audit.entries());
    let idle_cpu = watcher.idle(Duration::from_secs(arguments.idle)).await?;
    let while_idle = count(&audit.entries());
    let (resident, peak) = (watcher.memory("VmRSS")?, watcher.memory("VmHWM")?);
    let latencies = watcher.create_pods(client, population).await?;
    watcher.wait_until_quiet(Duration::from_secs(3)).await?;
    // What the created pods cost is not asked.
    drop(audit.entries());
    let before = watcher.cpu()?;
    change_pods(client, population).await?;
    watcher.wait_until_quiet(Duration::from_secs(10)).await?;
    let (changes_cpu, for_changes, told) = (watcher.cpu()? - before, count(&audit.entries()), watcher.told_changes());
    watcher.end().await?;
    Ok(Figures {
        first_report,
        to_begin,
        idle_cpu,
        while_idle,
        resident,
        peak,
        latencies,
        changes_cpu,
        for_changes,
        told,
    })
}

fn rows(figures: &Figures, idle: u64, pods: usize) -> Vec<Row> {
    let worst = figures.latencies.iter().copied().fold(0.0, f64::max);
    let latencies = if worst.is_finite() {
        format!("{:.3} s and {worst:.3} s", median(figures.latencies.iter().copied()))
    } else {
        format!("pod {} of {CREATED} was not told of within {LIMIT:?}", figures.latencies.len())
    };
    #[allow(clippy::cast_precision_loss, reason = "bytes of memory, seconds")]
    let (resident, idle_goal) = (figures.resident as f64 / 1e6, 0.05 * idle as f64 / 60.0);
    let resident_goal = on_line(pods, 48.0, 180.0);
    let told = figures.told;
    vec![
        Row::new("watch: to the end of the first report", seconds(figures.first_report)),
        Row::new("watch: requests to begin", figures.to_begin.to_string()),
        Row::new(&format!("watch: agent CPU in {idle} s without a change"), seconds(figures.idle_cpu))
            .goal(format!("≤ {idle_goal:.2} s"), figures.idle_cpu <= idle_goal),
        Row::new("watch: requests meanwhile", figures.while_idle.to_string()),
        Row::new("watch: resident memory", megabytes(figures.resident))
            .goal(format!("≤ {resident_goal:.0} MB"), resident <= resident_goal),
        Row::new("watch: peak memory", megabytes(figures.peak)),
        Row::new(&format!("watch: from a pod's creation to its line, median and longest of {CREATED}"), latencies)
            .goal("≤ 2 s", worst <= 2.0),
        Row::new(&format!("watch: requests for {CHANGED} changed pods"), figures.for_changes.to_string())
            .goal("0 beside watches", figures.for_changes.lists == 0),
        Row::new("watch: changed pods that were told of", format!("{told} of {CHANGED}")).goal("all", told == CHANGED),
        Row::new(&format!("watch: agent CPU for {CHANGED} changed pods"), seconds(figures.changes_cpu)),
    ]
}

/// Requests that the API server received from the agent.
struct Requests {
    /// All that are no watches.
    lists: usize,
    /// Watches that began.
    watches: usize,
}

impl fmt::Display for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} beside {} watches", self.lists, self.watches)
    }
}

fn count(entries: &[Entry]) -> Requests {
    let received = entries.iter().filter(|entry| entry.stage == Stage::Received);
    let (watches, lists): (Vec<&Entry>, Vec<&Entry>) = received.partition(|entry| entry.verb == "watch");
    Requests { lists: lists.len(), watches: watches.len() }
}

/// Sets a label of pods of one namespace after the other.
async fn change_pods(client: &Client, population: &Population) -> anyhow::Result<()> {
    let sets = &population.replica_sets;
    for number in 0..CHANGED {
        let set = &sets[number * sets.len() / CHANGED];
        let placed = population.pods_of(set).nth(number % set.pods).context("a pod of every set")?;
        let path = format!("/api/v1/namespaces/{}/pods/{}", placed.namespace, objects::pod_name(&placed));
        let change = json!({ "metadata": { "labels": { LABEL: number.to_string() } } });
        fill::send(client, "PATCH", &path, "kubectl", &change).await?;
        sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// An agent that watches, and what it says.
struct Watcher {
    child: Child,
    pid: u32,
    log: String,
    seen: Arc<Mutex<Seen>>,
    /// Lines about pods of the benchmark's own, with when they came.
    told: mpsc::UnboundedReceiver<(String, Instant)>,
}

struct Seen {
    reports: usize,
    last_line: Instant,
}

impl Watcher {
    fn start(cluster: &Cluster, arguments: &Arguments) -> anyhow::Result<Self> {
        let config = cluster.home().write("watch.toml", &cluster.config(cluster.port(), "timeout = '5m'"));
        let log = cluster.home().path("watch.log");
        let mut command = Command::new(&arguments.agent);
        command.args(["watch", "--config", &config, "--format", "ndjson"]).env_clear().env("PATH", "/usr/bin:/bin");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(std::fs::File::create(&log)?).kill_on_drop(true);
        let mut child = command.spawn().context("cannot run the agent")?;
        let pid = child.id().context("the agent has ended")?;
        let stdout = child.stdout.take().context("it is piped")?;
        let seen = Arc::new(Mutex::new(Seen { reports: 0, last_line: Instant::now() }));
        let (tell, told) = mpsc::unbounded_channel();
        tokio::spawn(listen(stdout, Arc::clone(&seen), tell));
        Ok(Self { child, pid, log, seen, told })
    }

    fn seen(&self) -> (usize, Instant) {
        // No holder panics.
        self.seen.lock().map_or_else(|_| (0, Instant::now()), |seen| (seen.reports, seen.last_line))
    }

    fn last_line(&self) -> Instant {
        self.seen().1
    }

    fn cpu(&self) -> anyhow::Result<f64> {
        process::cpu(self.pid)
    }

    fn memory(&self, name: &str) -> anyhow::Result<u64> {
        process::memory(self.pid, name)
    }

    /// Waits for the first report, and until no more of it comes.
    async fn wait_until_steady(&mut self) -> anyhow::Result<()> {
        const FIRST: Duration = Duration::from_mins(5);
        let began = Instant::now();
        while self.seen().0 == 0 {
            self.check_alive()?;
            if began.elapsed() > FIRST {
                bail!("the agent has printed no report after {FIRST:?}");
            }
            sleep(Duration::from_millis(100)).await;
        }
        self.wait_until_quiet(Duration::from_secs(10)).await
    }

    /// Waits until it has said nothing for so long.
    async fn wait_until_quiet(&mut self, quiet: Duration) -> anyhow::Result<()> {
        const LIMIT: Duration = Duration::from_mins(5);
        let began = Instant::now();
        while self.last_line().max(began).elapsed() < quiet {
            self.check_alive()?;
            if began.elapsed() > LIMIT {
                bail!("the agent goes on talking after {LIMIT:?}");
            }
            sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    fn check_alive(&mut self) -> anyhow::Result<()> {
        let Some(status) = self.child.try_wait()? else { return Ok(()) };
        bail!("the agent ended with {status}: {}", std::fs::read_to_string(&self.log).unwrap_or_default())
    }

    /// Seconds of CPU that it has in that time.
    async fn idle(&self, time: Duration) -> anyhow::Result<f64> {
        eprintln!("bench: leaving the agent alone for {time:?}");
        let before = self.cpu()?;
        sleep(time).await;
        Ok(self.cpu()? - before)
    }

    /// Creates pods one after the other. Seconds until each was told of, infinitely many after [`LIMIT`].
    async fn create_pods(&mut self, client: &Client, population: &Population) -> anyhow::Result<Vec<f64>> {
        let mut latencies = Vec::new();
        for number in 0..CREATED {
            let namespace = &population.namespaces[number * 3 % population.namespaces.len()];
            let path = format!("/api/v1/namespaces/{namespace}/pods");
            let name = format!("{MARK}{number}-");
            fill::send(client, "POST", &path, "kubectl", &objects::plain_pod(&name_of(number))).await?;
            let answered = Instant::now();
            let heard = async {
                loop {
                    let Some((line, at)) = self.told.recv().await else { bail!("the agent has ended") };
                    if line.contains(&name) {
                        return Ok(at.saturating_duration_since(answered).as_secs_f64());
                    }
                }
            };
            let Ok(heard) = timeout(LIMIT, heard).await else {
                // One is enough to know.
                latencies.push(f64::INFINITY);
                break;
            };
            latencies.push(heard?);
            // Another remainder each time, so that no beat of the agent's is met always at the same point.
            sleep(Duration::from_millis(500 + 37 * number as u64)).await;
        }
        Ok(latencies)
    }

    /// How many of the changed pods were told of with their change.
    fn told_changes(&mut self) -> usize {
        let start = format!("\"{LABEL}\":\"");
        let mut values = BTreeSet::new();
        while let Ok((line, _)) = self.told.try_recv() {
            let value = line.split_once(&start).and_then(|(_, rest)| rest.split('"').next());
            values.extend(value.map(str::to_owned));
        }
        values.len()
    }

    /// Ends it as a service manager does.
    async fn end(mut self) -> anyhow::Result<()> {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw).context("no such process")?;
        kill_process(pid, Signal::TERM)?;
        match timeout(Duration::from_secs(10), self.child.wait()).await {
            Ok(status) => eprintln!("bench: after SIGTERM the agent ended with {}", status?),
            Err(_) => eprintln!("bench: the agent does not end after SIGTERM and is killed"),
        }
        Ok(())
    }
}

/// With something behind the number, so that 1 is not found in 10.
fn name_of(number: usize) -> String {
    format!("{MARK}{number}-x")
}

async fn listen(stdout: ChildStdout, seen: Arc<Mutex<Seen>>, tell: mpsc::UnboundedSender<(String, Instant)>) {
    let mut lines = BufReader::new(stdout).lines();
    // Ends with the agent.
    while let Ok(Some(line)) = lines.next_line().await {
        let now = Instant::now();
        if let Ok(mut seen) = seen.lock() {
            seen.last_line = now;
            seen.reports += usize::from(line.contains("\"type\":\"report\""));
        }
        if line.contains("\"type\":\"pod\"") && (line.contains(MARK) || line.contains(LABEL)) {
            drop(tell.send((line, now)));
        }
    }
}
