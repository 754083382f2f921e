//! Starting a container on the bed, and knowing when the runtime did so.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use serde_json::Value;
use stocktake_tests::{bed, tools};

const MARK: &str = "stocktake-bench-notify";

/// A container that was started.
pub(crate) struct Started {
    /// The runtime's identifier of it.
    pub(crate) id: String,
    /// When its process was started, as the runtime says.
    pub(crate) at: Timestamp,
    /// When the runtime, or the API server, first told those who watch it of the container that runs.
    pub(crate) told_at: Timestamp,
}

/// A runtime of the bed.
pub(crate) trait Runtime {
    const NAME: &'static str;

    /// What the agent has to have in its configuration.
    fn config() -> String;

    /// Removes what was started.
    fn remove();

    /// What tells who watches it, as lines.
    fn watched() -> Command;

    /// Starts the container of that number, and waits for what `lines` say of it.
    fn start(number: usize, lines: &Lines) -> anyhow::Result<Started>;
}

/// Lines of a program, with the time of each.
pub(crate) struct Lines {
    child: Child,
    lines: Receiver<(Timestamp, String)>,
}

impl Lines {
    pub(crate) fn of(mut command: Command) -> anyhow::Result<Self> {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let output = BufReader::new(child.stdout.take().context("no output")?);
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send((Timestamp::now(), line)).is_err() {
                    break;
                }
            }
        });
        Ok(Self { child, lines })
    }

    /// The first line to come of which `of` makes something, and when it came.
    fn find<T>(&self, of: impl Fn(&str) -> Option<T>) -> anyhow::Result<(Timestamp, T)> {
        const LIMIT: Duration = Duration::from_mins(1);
        loop {
            let (at, line) = self.lines.recv_timeout(LIMIT).context("the runtime tells nothing of a container")?;
            if let Some(found) = of(&line) {
                return Ok((at, found));
            }
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn output(command: &mut Command) -> anyhow::Result<String> {
    match tools::try_output(command) {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(error) => bail!("{error}; is the bed up (`make bed-up`)?"),
    }
}

pub(crate) struct Docker;

impl Runtime for Docker {
    const NAME: &'static str = "Docker 20.10";

    fn config() -> String {
        format!("[collectors.docker]\nhost = 'unix://{}'\n", bed::DOCKER)
    }

    fn remove() {
        let mut list = tools::docker(bed::DOCKER);
        if let Ok(ids) = output(list.args(["ps", "-aq", "--filter", &format!("label={MARK}")])) {
            for id in ids.split_whitespace() {
                let _ = output(tools::docker(bed::DOCKER).args(["rm", "-f", id]));
            }
        }
    }

    fn watched() -> Command {
        let mut events = tools::docker(bed::DOCKER);
        events.args(["events", "--filter", "event=start", "--format", "{{.ID}}"]);
        events
    }

    fn start(_number: usize, lines: &Lines) -> anyhow::Result<Started> {
        let mut run = tools::docker(bed::DOCKER);
        let id = output(run.args(["run", "-d", "--network", "none", "--label", MARK, bed::SIDE_IMAGE]))?;
        let (told_at, ()) = lines.find(|line| (line == id).then_some(()))?;
        let mut inspect = tools::docker(bed::DOCKER);
        let at = output(inspect.args(["inspect", "--format", "{{.State.StartedAt}}", &id]))?;
        Ok(Started { id, at: at.parse()?, told_at })
    }
}

pub(crate) struct Kubernetes;

impl Kubernetes {
    /// When the kernel started a container's process: Kubernetes has whole seconds, and containerd's list no times.
    fn started_at(id: &str) -> anyhow::Result<Timestamp> {
        let task = output(tools::ctr(bed::CONTAINERD, "k8s.io").args(["task", "ls"]))?;
        let mut pid = tools::rows(&task).into_iter().filter(|row| row.first().is_some_and(|first| first == id));
        let pid: u32 = pid.next().and_then(|row| row.get(1)?.parse().ok()).context("containerd has no such task")?;
        stocktake_tests::bench::process::started_at(pid)
    }
}

impl Runtime for Kubernetes {
    const NAME: &'static str = "Kubernetes";

    fn config() -> String {
        format!("[collectors.kubernetes]\nkubeconfig = '{}'\ncluster = 'bed'\n", bed::kubeconfig("admin"))
    }

    fn remove() {
        let mut delete = tools::kubectl();
        let _ = output(delete.args(["delete", "pod", "-n", "default", "-l", MARK, "--now", "--wait"]));
    }

    fn watched() -> Command {
        let mut watch = tools::kubectl();
        watch.args(["get", "pods", "-n", "default", "-l", MARK, "--watch", "--output-watch-events", "-o"]);
        watch.arg("jsonpath={.object.metadata.name} {.object.status.containerStatuses[0]}{\"\\n\"}");
        watch
    }

    fn start(number: usize, lines: &Lines) -> anyhow::Result<Started> {
        let name = format!("{MARK}-{number}");
        let mut run = tools::kubectl();
        run.args(["run", &name, "-n", "default", "--image", bed::APP_IMAGE, "--labels", &format!("{MARK}=")]);
        output(run.args(["--image-pull-policy", "Never", "--overrides", r#"{"spec":{"nodeName":"bed-node"}}"#]))?;
        let (told_at, id) = lines.find(|line| {
            let (of, status) = line.split_once(' ')?;
            let status: Value = serde_json::from_str(status).ok().filter(|_| of == name)?;
            status["state"]["running"].as_object()?;
            Some(status["containerID"].as_str()?.trim_start_matches("containerd://").to_owned())
        })?;
        Ok(Started { at: Self::started_at(&id)?, id, told_at })
    }
}
