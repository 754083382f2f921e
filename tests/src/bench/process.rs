//! What a process costs: one that runs to its end, and one that goes on.

use std::{
    fs,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use serde::Deserialize;
use tokio::{process::Command, time::sleep};

/// Runs a program and tells what the kernel says that it cost (`wait4`). A process of its own, because the peak of a child
/// is at least that of the process that starts it, which has to be small.
const RUNNER: &str = r#"
import json, os, subprocess, sys, time
began = time.monotonic()
child = subprocess.Popen(sys.argv[2:], stdin=subprocess.DEVNULL, stdout=open(sys.argv[1], "wb"))
_, status, usage = os.wait4(child.pid, 0)
print(json.dumps({
    "wall": time.monotonic() - began, "code": os.waitstatus_to_exitcode(status),
    "cpu": usage.ru_utime + usage.ru_stime, "peak": usage.ru_maxrss << 10,
}))
"#;

/// What a run of a program came to.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Cost {
    /// Seconds from start to end.
    pub wall: f64,
    /// Seconds of CPU, user and system.
    pub cpu: f64,
    /// The most memory that it had, in bytes.
    pub peak: u64,
    code: i32,
}

/// Runs `command`, its output going to `stdout`, which must succeed.
pub async fn run(command: &[String], stdout: &str) -> anyhow::Result<Cost> {
    let mut runner = Command::new("python3");
    runner.args(["-c", RUNNER, stdout]).args(command).stdin(Stdio::null()).kill_on_drop(true);
    let output = runner.output().await.context("cannot run python3")?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("{} could not be run: {said}", command[0]);
    }
    let cost: Cost = serde_json::from_slice(&output.stdout)?;
    if cost.code != 0 {
        bail!("{command:?} ended with {}: {said}", cost.code);
    }
    Ok(cost)
}

/// Seconds of CPU that a process has had, to a hundredth.
pub fn cpu(pid: u32) -> anyhow::Result<f64> {
    // proc(5): utime and stime.
    fields(pid, [14, 15])
}

/// The same of a process with its children, those too that have ended.
pub fn family_cpu(pid: u32) -> anyhow::Result<f64> {
    // And cutime and cstime.
    let mut total = cpu(pid)? + fields(pid, [16, 17])?;
    for process in fs::read_dir("/proc")? {
        let Ok(child) = process?.file_name().to_string_lossy().parse() else { continue };
        // One that ends meanwhile is its parent's from then on.
        if stat(child, 4).is_ok_and(|parent| parent == pid.to_string()) {
            total += cpu(child).unwrap_or_default();
        }
    }
    Ok(total)
}

/// Seconds in two fields of `/proc/PID/stat` together.
fn fields(pid: u32, numbers: [usize; 2]) -> anyhow::Result<f64> {
    let mut ticks = 0.0;
    for number in numbers {
        ticks += stat(pid, number)?.parse::<f64>()?;
    }
    #[allow(clippy::cast_precision_loss, reason = "a hundred")]
    let ticks_a_second = rustix::param::clock_ticks_per_second() as f64;
    Ok(ticks / ticks_a_second)
}

/// A field of `/proc/PID/stat` by its number in proc(5). The second, in brackets, may hold spaces.
fn stat(pid: u32, number: usize) -> anyhow::Result<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("a process is gone that is being measured")?;
    let mut fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    Ok(fields.nth(number - 3).context("no such field")?.to_owned())
}

/// When a process was started, to two hundredths of a second.
pub fn started_at(pid: u32) -> anyhow::Result<Timestamp> {
    // proc(5): starttime, since the machine's start.
    let started = fields(pid, [22, 22])? / 2.0;
    let uptime = fs::read_to_string("/proc/uptime")?;
    let uptime: f64 = uptime.split_whitespace().next().unwrap_or_default().parse()?;
    Ok(Timestamp::now() - Duration::try_from_secs_f64((uptime - started).max(0.0))?)
}

/// Memory of a process in bytes, by the name that proc(5) has for it: `VmRSS`, `VmHWM`.
pub fn memory(pid: u32, name: &str) -> anyhow::Result<u64> {
    let status =
        fs::read_to_string(format!("/proc/{pid}/status")).context("a process is gone that is being measured")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()).context("no such figure")?;
    Ok(kilobytes.parse::<u64>()? << 10)
}

/// Waits until a process has next to nothing to do: what it still does for a request counts as the request's.
pub async fn wait_until_idle(pid: u32) -> anyhow::Result<()> {
    const LIMIT: Duration = Duration::from_mins(1);
    let began = Instant::now();
    loop {
        let before = cpu(pid)?;
        sleep(Duration::from_millis(300)).await;
        if cpu(pid)? - before < 0.025 {
            return Ok(());
        }
        if began.elapsed() > LIMIT {
            bail!("kube-apiserver is not idle after {LIMIT:?}");
        }
    }
}

/// Whether the agent has a command of that name.
pub async fn has_command(agent: &Path, name: &str) -> anyhow::Result<bool> {
    let status = Command::new(agent).args([name, "--help"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    Ok(status.await.with_context(|| format!("cannot run {}", agent.display()))?.success())
}
