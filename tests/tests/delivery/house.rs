//! A machine with one runtime of which a test decides what it runs, and an agent on it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use stocktake_tests::{agent::Agent, receiver::Receiver, running::Running, wait_until};
use tempfile::TempDir;

/// The machine: a runtime that is a file, a spool, and the agent's configuration.
pub(crate) struct House {
    folder: TempDir,
}

impl House {
    /// With nothing that runs.
    pub(crate) fn new() -> Self {
        let house = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        house.runs(&[("host", vec![])]);
        house
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn spool(&self) -> PathBuf {
        self.path("spool")
    }

    /// What the runtime runs from now on: containers by namespace.
    pub(crate) fn runs(&self, namespaces: &[(&str, Vec<String>)]) {
        let scope = |(name, containers): &(&str, Vec<String>)| -> Value {
            let containers: Vec<Value> = containers
                .iter()
                .map(|name| json!({ "id": format!("id-{name}"), "name": name, "state": "running", "image": format!("registry.example.com/{name}:1") }))
                .collect();
            json!({ "kind": "namespace", "name": name, "coverage": { "status": "complete" }, "containers": containers })
        };
        let document = json!({
            "runtime": { "name": "toy", "version": "1" }, "coverage": { "status": "complete" },
            "scopes": namespaces.iter().map(scope).collect::<Vec<_>>(),
        });
        // At once, as the agent may be reading.
        fs::write(self.path("runtime.new"), document.to_string()).expect("a temporary file");
        fs::rename(self.path("runtime.new"), self.path("runtime.json")).expect("a temporary file");
    }

    /// One namespace with one container.
    pub(crate) fn runs_one(&self, container: &str) {
        self.runs(&[("host", vec![container.to_owned()])]);
    }

    /// A configuration that looks once a second, with these targets and more of `[agent]`. Nobody asks the agent how it is, so
    /// that several can be on one machine.
    pub(crate) fn configuration(&self, agent: &str, targets: &str) -> String {
        let (spool, runtime) = (self.spool(), self.path("runtime.json"));
        format!(
            "[agent]\ninterval = '1s'\ngather = '10ms'\nspool_dir = '{}'\n{agent}\n[collectors.toy]\ntype = 'exec'\n\
             command = ['/bin/cat', '{}']\n[telemetry]\nlisten = 'off'\nsocket = 'off'\n{targets}\n",
            spool.display(),
            runtime.display()
        )
    }

    /// An agent that reports to a receiver.
    pub(crate) fn agent(&self, receiver: &Receiver) -> Running {
        self.agent_with("", &target(receiver))
    }

    pub(crate) fn agent_with(&self, agent: &str, targets: &str) -> Running {
        start(&self.configuration(agent, targets))
    }

    /// Numbers of the reports that are in the spool.
    pub(crate) fn waiting(&self) -> Vec<u64> {
        let Ok(entries) = fs::read_dir(self.spool().join("reports")) else { return Vec::new() };
        let number = |name: &Path| name.file_stem()?.to_str()?.parse().ok();
        let mut numbers: Vec<u64> =
            entries.map(|entry| entry.expect("a folder is readable").path()).filter_map(|path| number(&path)).collect();
        numbers.sort_unstable();
        numbers
    }

    /// Waits until the spool holds no report.
    #[track_caller]
    pub(crate) fn wait_until_delivered(&self) {
        wait_until("nothing waits in the spool", || self.waiting().is_empty());
    }
}

/// An agent with that configuration.
pub(crate) fn start(configuration: &str) -> Running {
    Agent::with_config("run", configuration, &["-v"]).start()
}

/// A `[targets.stocktake]` of a receiver. An answer is waited for so long that no pause of a machine that is busy passes for
/// a failure: that would be one more request.
pub(crate) fn target(receiver: &Receiver) -> String {
    target_within(receiver, "30s")
}

/// The same, for an answer that does not come.
pub(crate) fn target_within(receiver: &Receiver, timeout: &str) -> String {
    format!("[targets.stocktake]\nurl = '{}'\ntimeout = '{timeout}'\n", receiver.url())
}

/// Waits until the receiver knows of a container that runs.
#[track_caller]
pub(crate) fn wait_until_known(receiver: &Receiver, container: &str) {
    wait_until(&format!("{container} is reported"), || {
        receiver.ledger().latest().is_some_and(|inventory| knows(&inventory, container))
    });
}

pub(crate) fn knows(inventory: &stocktake_core::model::Inventory, container: &str) -> bool {
    inventory.scopes.values().flat_map(|scope| &scope.containers).any(|it| it.name == container)
}

/// That numbers are 1, 2, 3 and so on.
#[track_caller]
pub(crate) fn assert_no_gap(numbers: &[u64]) {
    let expected: Vec<u64> = (1..).take(numbers.len()).collect();
    assert_eq!(numbers, expected, "every report came once, in the order in which they were made");
}
