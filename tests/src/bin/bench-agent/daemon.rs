//! An agent that runs and reports to a receiver of the benchmark's own.

use std::{
    fs::{self, File},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use stocktake_tests::{
    bench::{
        process,
        table::{Row, megabytes},
    },
    receiver::Receiver,
};
use tempfile::TempDir;
use tokio::{
    process::{Child, Command},
    time::sleep,
};

use crate::Arguments;

pub(crate) struct Daemon {
    child: Child,
    pid: u32,
    pub(crate) receiver: Receiver,
    folder: TempDir,
}

/// What it cost to run for some time.
pub(crate) struct Cost {
    seconds: f64,
    cpu: f64,
    resident: u64,
    reports: usize,
    /// Bodies of requests, without HTTP's own lines.
    bytes: usize,
    /// The largest of them.
    largest: usize,
}

impl Daemon {
    /// Starts one with these collectors, at its default intervals.
    pub(crate) fn start(arguments: &Arguments, collectors: &str) -> anyhow::Result<Self> {
        let (receiver, folder) = (Receiver::start(), tempfile::tempdir()?);
        let path = |name: &str| folder.path().join(name).display().to_string();
        let config = format!(
            "[agent]\ninterval = '1m'\ntimeout = '5m'\nspool_dir = '{}'\n[telemetry]\nlisten = 'off'\nsocket = 'off'\n\
             [targets.stocktake]\nurl = '{}'\n{collectors}",
            path("spool"),
            receiver.url()
        );
        fs::write(path("agent.toml"), config)?;
        let mut command = Command::new(&arguments.agent);
        command.args(["run", "--config", &path("agent.toml")]).env_clear().env("PATH", "/usr/bin:/bin");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(path("log"))?).kill_on_drop(true);
        let child = command.spawn().context("cannot run the agent")?;
        let pid = child.id().context("the agent has ended")?;
        Ok(Self { child, pid, receiver, folder })
    }

    fn check_alive(&mut self) -> anyhow::Result<()> {
        let Some(status) = self.child.try_wait()? else { return Ok(()) };
        bail!("the agent ended with {status}: {}", fs::read_to_string(self.folder.path().join("log"))?)
    }

    /// Waits until so many reports have come.
    pub(crate) async fn wait_for_reports(&mut self, count: usize) -> anyhow::Result<()> {
        const LIMIT: Duration = Duration::from_mins(10);
        let began = Instant::now();
        while self.receiver.ledger().reports.len() < count {
            self.check_alive()?;
            if began.elapsed() > LIMIT {
                bail!("not {count} reports after {LIMIT:?}");
            }
            sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    }

    pub(crate) fn reports(&self) -> usize {
        self.receiver.ledger().reports.len()
    }

    /// Bytes of all requests so far.
    pub(crate) fn sent(&self) -> usize {
        self.receiver.ledger().requests.iter().sum()
    }

    /// What it costs while `meanwhile` happens.
    pub(crate) async fn cost(&mut self, meanwhile: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<Cost> {
        let (began, cpu) = (Instant::now(), process::cpu(self.pid)?);
        let (reports, requests) = (self.reports(), self.receiver.ledger().requests.len());
        meanwhile.await?;
        self.check_alive()?;
        let sizes: Vec<usize> = self.receiver.ledger().requests[requests..].to_vec();
        Ok(Cost {
            seconds: began.elapsed().as_secs_f64(),
            cpu: process::cpu(self.pid)? - cpu,
            resident: process::memory(self.pid, "VmRSS")?,
            reports: self.reports() - reports,
            bytes: sizes.iter().sum(),
            largest: sizes.iter().copied().max().unwrap_or_default(),
        })
    }

    pub(crate) fn peak(&self) -> anyhow::Result<u64> {
        process::memory(self.pid, "VmHWM")
    }
}

impl Cost {
    #[allow(clippy::cast_precision_loss, reason = "bytes, and not many")]
    pub(crate) fn rows(&self, name: &str, full: usize, goals: Option<(f64, f64)>) -> Vec<Row> {
        let percent = 100.0 * self.cpu / self.seconds;
        let an_hour = 3600.0 / self.seconds;
        let bytes = self.bytes as f64 * an_hour;
        let mut cpu = Row::new(
            &format!("{name}: CPU of a core"),
            format!("{percent:.3} % ({:.2} s in {:.0} s)", self.cpu, self.seconds),
        );
        let mut memory = Row::new(&format!("{name}: resident memory"), megabytes(self.resident));
        if let Some((most_percent, most_megabytes)) = goals {
            cpu = cpu.goal(format!("≤ {most_percent} %"), percent <= most_percent);
            memory = memory.goal(format!("≤ {most_megabytes} MB"), self.resident as f64 / 1e6 <= most_megabytes);
        }
        let full = full as f64 * 60.0;
        let sent = Row {
            floor: format!("{:.0} kB (a full report each minute)", full / 1e3),
            ratio: format!("{:.4}", bytes / full),
            ..Row::new(
                &format!("{name}: sent an hour"),
                format!(
                    "{:.0} kB ({} reports in {:.0} s, the largest request {} bytes)",
                    bytes / 1e3,
                    self.reports,
                    self.seconds,
                    self.largest
                ),
            )
        };
        vec![cpu, memory, sent]
    }
}
