//! `watch`, as a person or a program meets it. What it looks at is a document that the test writes, so that it needs no
//! daemon.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test's helpers are tests")]

mod burst;
mod ending;
mod runtimes;
mod stream;

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, ExitStatus, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use stocktake_tests::agent::Agent;
use tempfile::TempDir;

/// For a machine that is stuck, not a measure of anything.
const LIMIT: Duration = Duration::from_mins(5);

/// A runtime that is a document.
struct Runtime {
    folder: TempDir,
}

impl Runtime {
    fn new(document: &str) -> Self {
        let runtime = Self { folder: tempfile::tempdir().unwrap() };
        runtime.becomes(document);
        runtime
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("document")
    }

    /// At once: nobody sees half of it.
    fn becomes(&self, document: &str) {
        let new = self.folder.path().join("new");
        fs::write(&new, document).unwrap();
        fs::rename(new, self.path()).unwrap();
    }

    fn config(&self, name: &str) -> String {
        let path = self.path();
        format!("[collectors.{name}]\ntype = 'exec'\ncommand = ['/bin/cat', '{}']\n", path.display())
    }
}

/// A document with these scopes.
fn document(coverage: &str, scopes: &[String]) -> String {
    format!(
        r#"{{"runtime": {{"name": "paper", "version": "1"}}, "coverage": {coverage}, "scopes": [{}]}}"#,
        scopes.join(",")
    )
}

const COMPLETE: &str = r#"{"status": "complete"}"#;
const PARTIAL: &str = r#"{"status": "partial", "reason": "a page is torn out"}"#;

/// A namespace with a container of each of these images.
fn scope(name: &str, images: &[&str]) -> String {
    let container = |(number, image): (usize, &&str)| {
        format!(
            r#"{{"id": "{number}", "name": "c{number}", "image": "{image}", "image_missing": "not_recorded", "state": "running"}}"#
        )
    };
    let containers: Vec<String> = images.iter().enumerate().map(container).collect();
    format!(
        r#"{{"kind": "namespace", "name": "{name}", "coverage": {COMPLETE}, "containers": [{}]}}"#,
        containers.join(",")
    )
}

/// An agent that watches. It is killed when this is dropped.
struct Watch {
    child: Child,
    lines: Receiver<String>,
    /// Its configuration is in here.
    _agent: Agent,
}

impl Watch {
    fn new(config: &str, arguments: &[&str]) -> Self {
        Self::every("1s", config, arguments)
    }

    /// The same where nothing is looked at from time to time: what is told was told by the runtime.
    fn told(config: &str) -> Self {
        Self::every("1h", config, &["--format", "ndjson"])
    }

    fn every(interval: &str, config: &str, arguments: &[&str]) -> Self {
        let arguments = [&["--interval", interval], arguments].concat();
        let mut agent = Agent::with_config("watch", config, &arguments);
        let mut child =
            agent.command().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, lines, _agent: agent }
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(LIMIT).expect("a line")
    }

    /// Ends it as a person or an init system does, and returns what it said on stderr.
    fn end(mut self, signal: Signal) -> (ExitStatus, String) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
        let status = self.child.wait().unwrap();
        let stderr = std::io::read_to_string(self.child.stderr.take().unwrap()).unwrap();
        (status, stderr)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a reader of the stream knows: by collector and scope its line and what is in it.
#[derive(Debug, Default, PartialEq)]
struct Known(BTreeMap<(String, String), (Value, Vec<Value>)>);

impl Known {
    /// Takes in a line, as `docs/formats.md` says how.
    fn take(&mut self, line: &str) -> String {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let kind = value["type"].as_str().unwrap().to_owned();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let scope = |id: &Value| (text(&value["collector"]), format!("{} {}", text(&id["kind"]), text(&id["name"])));
        match kind.as_str() {
            "report" | "source" => {}
            "scope_gone" => assert!(self.0.remove(&scope(&value)).is_some(), "it was never there: {line}"),
            "scope" => {
                let (entry, things) = self.0.entry(scope(&value)).or_default();
                if entry["digest"] != value["digest"] {
                    things.clear();
                }
                *entry = value;
            }
            _ => self.0.get_mut(&scope(&value["scope"])).expect("its scope comes first").1.push(value),
        }
        kind
    }

    /// The state of the container of this name, in whichever scope. None if there is none.
    fn state(&self, name: &str) -> Option<&str> {
        let mut things = self.0.values().flat_map(|(_, things)| things);
        let container = things.find(|thing| thing["type"] == "container" && thing["name"] == name)?;
        container["state"].as_str()
    }

    /// Takes in lines until what is known is as wanted.
    #[track_caller]
    fn read_until(&mut self, watch: &Watch, what: &str, is_wanted: impl Fn(&Self) -> bool) {
        while !is_wanted(self) {
            let line = watch.lines.recv_timeout(LIMIT);
            self.take(&line.unwrap_or_else(|_| panic!("nothing more is told while waiting for {what}: {self:?}")));
        }
    }

    /// Takes in one report, and returns what kinds of lines it had.
    fn report(&mut self, watch: &Watch, next: &mut Option<String>) -> Vec<String> {
        let mut kinds = vec![self.take(&next.take().unwrap_or_else(|| watch.line()))];
        assert_eq!(kinds, ["report"]);
        loop {
            let line = watch.line();
            if line.starts_with(r#"{"type":"report""#) {
                *next = Some(line);
                return kinds;
            }
            kinds.push(self.take(&line));
        }
    }
}
