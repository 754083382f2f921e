//! An agent that runs, asked how it is: by what keeps it running, by what watches it, and by a person.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test's helpers are tests")]

mod endpoints;
mod status;

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::PathBuf,
};

use serde_json::json;
use stocktake_tests::{
    agent::{Agent, Run},
    daemon::free_port,
    fake::{FakeDocker, Fault},
    running::Running,
};
use tempfile::TempDir;

/// A machine with a runtime that is a document, and a configuration of an agent that looks at it once a second.
struct Machine {
    folder: TempDir,
    port: u16,
}

impl Machine {
    fn new() -> Self {
        let machine = Self { folder: tempfile::tempdir().unwrap(), port: free_port() };
        machine.runs(r#"{"status": "complete"}"#);
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// One container, in a namespace that is seen so.
    fn runs(&self, coverage: &str) {
        let coverage: serde_json::Value = serde_json::from_str(coverage).unwrap();
        let container = json!({ "id": "1", "name": "web", "state": "running", "image": "example.com/web:1" });
        let document = json!({
            "runtime": { "name": "toy", "version": "1" }, "coverage": { "status": "complete" },
            "scopes": [{ "kind": "namespace", "name": "shop", "coverage": coverage, "containers": [container] }],
        });
        self.becomes(&document.to_string());
    }

    /// At once: nobody sees half of it.
    fn becomes(&self, document: &str) {
        fs::write(self.path("new"), document).unwrap();
        fs::rename(self.path("new"), self.path("runtime.json")).unwrap();
    }

    fn configuration(&self, more: &str) -> String {
        let path = |name: &str| self.path(name).display().to_string();
        format!(
            "[agent]\ninterval = '1s'\ngather = '10ms'\nspool_dir = '{}'\n\
             [telemetry]\nlisten = '127.0.0.1:{}'\nsocket = '{}'\n\
             [collectors.toy]\ntype = 'exec'\ncommand = ['/bin/cat', '{}']\n\
             [targets.archive]\ntype = 'file'\npath = '{}'\n{more}",
            path("spool"),
            self.port,
            path("agent.sock"),
            path("runtime.json"),
            path("reports.ndjson"),
        )
    }

    fn configure(&self, configuration: &str) {
        fs::write(self.path("agent.toml"), configuration).unwrap();
    }

    /// An agent with this configuration and more.
    fn agent(&self, more: &str) -> Running {
        self.configure(&self.configuration(more));
        let config = self.path("agent.toml");
        let mut agent = Agent::new(&["run", "-v", "--config", config.to_str().unwrap()]).start();
        agent.wait_until_told("health and metrics are served");
        agent
    }

    /// The status and the body.
    fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (header, body) = answer.split_once("\r\n\r\n").unwrap();
        (header.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    /// What `stocktake-agent status` says.
    fn status(&self, arguments: &[&str]) -> Run {
        let config = self.path("agent.toml");
        let arguments = [&["status", "--config", config.to_str().unwrap()], arguments].concat();
        Agent::new(&arguments).env("COLUMNS", "80").run()
    }
}

/// A daemon that takes questions and does not answer one of them, and the collector of it. It is given up soon, and no other
/// collector: one that is slow because the machine is would pass for one that hangs.
fn hung() -> (FakeDocker, String) {
    let daemon = FakeDocker::new("/containers/json", Fault::Hang);
    let socket = daemon.socket().display();
    let collector = format!("[collectors.hung]\ntype = 'docker'\nhost = 'unix://{socket}'\ntimeout = '1s'\n");
    (daemon, collector)
}
