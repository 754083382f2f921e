//! From a container's start to the arrival of the webhook, with an agent that watches.

use std::{
    fs::{self, File},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use serde_json::json;
use stocktake_tests::{
    bench::{
        served::{Kind, Served},
        table::{Row, median},
    },
    hooks::{ALLOWED, Hooks},
};
use tempfile::TempDir;
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep},
};

use crate::{
    Arguments,
    starts::{Lines, Runtime},
    subscribe,
};

/// The goal, in seconds (issue #7).
const MOST: f64 = 2.0;

/// An agent that runs until this goes.
struct Daemon {
    child: Child,
    folder: TempDir,
}

impl Daemon {
    fn start(arguments: &Arguments, served: &Served, collectors: &str) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let path = |name: &str| folder.path().join(name).display().to_string();
        let config = format!(
            "[agent]\nspool_dir = '{}'\n[telemetry]\nlisten = 'off'\nsocket = 'off'\n\
             [targets.stocktake]\nurl = '{}'\ntoken = '{}'\n{collectors}",
            path("spool"),
            served.server.url(),
            served.token()
        );
        fs::write(path("agent.toml"), config)?;
        let mut command = Command::new(&arguments.agent);
        command.args(["run", "--config", &path("agent.toml")]).env_clear().env("PATH", "/usr/bin:/bin");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(path("log"))?).kill_on_drop(true);
        let child = command.spawn().context("cannot run the agent")?;
        Ok(Self { child, folder })
    }

    /// Waits until the server has what it saw first.
    async fn wait_for_report(&mut self, served: &Served) -> anyhow::Result<()> {
        const LIMIT: Duration = Duration::from_mins(1);
        let until = Instant::now() + LIMIT;
        let mut connection = served.connect().await?;
        while connection.get("/v1/containers?limit=1").await?.windows(12).all(|part| part != b"\"runtime_id\"") {
            if let Some(status) = self.child.try_wait()? {
                bail!("the agent ended with {status}: {}", fs::read_to_string(self.folder.path().join("log"))?);
            }
            if Instant::now() > until {
                bail!("no container was reported within {LIMIT:?}");
            }
            sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    }
}

/// What was started is removed when this goes.
struct Remove(fn());

impl Drop for Remove {
    fn drop(&mut self) {
        (self.0)();
    }
}

fn between(from: Timestamp, to: Timestamp) -> f64 {
    (to - from).total(jiff::Unit::Second).unwrap_or(f64::NAN)
}

/// When the event came that a container has appeared, by the runtime's identifier of it.
async fn appeared(hooks: &Hooks, runtime_id: &str) -> anyhow::Result<Timestamp> {
    const LIMIT: Duration = Duration::from_secs(90);
    let (until, mut seen) = (Instant::now() + LIMIT, 0);
    while Instant::now() < until {
        let new = hooks.behind(seen);
        if let Some(hook) = new.iter().find(|hook| hook.event()["data"]["container"]["runtime_id"] == runtime_id) {
            return Ok(hook.at);
        }
        seen += new.len();
        sleep(Duration::from_millis(20)).await;
    }
    bail!("nobody was told of {runtime_id} within {LIMIT:?}")
}

pub(crate) async fn measure<R: Runtime>(
    _runtime: R,
    kind: Kind,
    arguments: &Arguments,
) -> anyhow::Result<(String, Vec<Row>)> {
    R::remove();
    let _remove = Remove(R::remove);
    let served = Served::start_with(kind, ALLOWED).await?;
    let mut daemon = Daemon::start(arguments, &served, &R::config())?;
    daemon.wait_for_report(&served).await?;
    let hooks = Hooks::start();
    let _ = subscribe(&served, "bench", &json!({ "events": ["container.appeared"] }), Some(&hooks))?;
    let lines = Lines::of(R::watched())?;
    // Watches begin, and what starting leaves behind is not of the steady state.
    sleep(Duration::from_secs(5)).await;
    let (mut arrivals, mut floors) = (Vec::new(), Vec::new());
    for number in 0..arguments.starts {
        let started = R::start(number, &lines)?;
        let arrived = appeared(&hooks, &started.id).await?;
        arrivals.push(between(started.at, arrived));
        floors.push(between(started.at, started.told_at));
        // As if by chance within a second, so that no rhythm of ours is hit each time.
        sleep(Duration::from_millis(700 + 137 * number as u64 % 1000)).await;
    }
    let (arrival, floor) = (median(arrivals.iter().copied()), median(floors.iter().copied()));
    let range = |values: &[f64]| {
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        format!("{:.2} to {:.2} s", least, values.iter().copied().fold(0.0, f64::max))
    };
    let row = Row {
        floor: format!("{floor:.2} s"),
        ratio: format!("{:.1}", arrival / floor),
        ..Row::new("container's start to webhook, median", format!("{arrival:.2} s"))
    };
    let spread = Row { floor: range(&floors), ..Row::new("least to most", range(&arrivals)) };
    let title = format!("{}, {kind}: {} starts", R::NAME, arguments.starts);
    Ok((title, vec![row.goal(format!("≤ {MOST} s"), arrival <= MOST), spread]))
}
