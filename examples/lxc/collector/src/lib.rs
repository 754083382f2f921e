//! Containers of LXC: an example of a collector that is not Stocktake's own.
//!
//! LXC has no daemon, and its monitors speak a private protocol that changes between versions. What there is to ask is
//! `lxc-ls`: one process however many containers there are. It says nothing of what it cannot read: it takes a folder
//! that does not exist for an empty one, and leaves out a container whose configuration is broken, even one that runs.
//! Therefore the folder is read first, and a container that is in it and not in the list is reported as unknown.

mod convert;

use std::{
    fs, io,
    path::{Component, PathBuf},
    process::Stdio,
};

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use stocktake_core::{
    Candidate, CollectError, CollectorPlugin, ConfigError, Context, Environment, Location, ObservedScope, Resource,
    RuntimeCollector, RuntimeInfo, ScopeSink, Selection, Stability,
    model::{ContainerState, Coverage, Host, RuntimeVersion, Scope, ScopeId},
    register_collector,
    select::StateSelector,
};
use tokio::process::Command;

/// Settings of an `lxc` collector.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Folder that holds the containers, spelled as LXC's own tools are given it (`-P`): the path is part of a
    /// container's address, and by another name of the same folder every container looks stopped.
    #[serde(default = "default_lxcpath")]
    pub lxcpath: PathBuf,
    /// Which containers to report, by state; `["all"]` for every one.
    #[serde(default)]
    pub states: StateSelector,
}

fn default_lxcpath() -> PathBuf {
    "/var/lib/lxc".into()
}

register_collector!(LxcCollector);

/// Reads one folder of LXC containers. Its one scope is the host.
///
/// It has to run in the host's network namespace, where the monitors' abstract sockets are.
pub struct LxcCollector {
    settings: Settings,
    host: Host,
}

impl CollectorPlugin for LxcCollector {
    const KIND: &'static str = "lxc";
    const SUMMARY: &'static str = "LXC containers of this host";
    const STABILITY: Stability = Stability::Experimental;
    const PROVIDES: &'static [Resource] = &[Resource::Containers];
    type Settings = Settings;

    fn new(settings: Settings, context: Context) -> Result<Self, ConfigError> {
        let path = &settings.lxcpath;
        if !path.is_absolute() || path.components().any(|component| component == Component::ParentDir) {
            let message = format!("`{}` is not an absolute path without `..`", path.display());
            return Err(ConfigError::new("lxcpath", message).hint("`lxc-config lxc.lxcpath` tells LXC's own"));
        }
        Ok(Self { settings, host: context.host })
    }

    fn discover(_: &Environment) -> Vec<Candidate> {
        let path = default_lxcpath();
        let found = path.display().to_string();
        let candidate = Candidate { name: "lxc".into(), found: found.clone(), settings: json!({}), identity: found };
        if path.is_dir() { vec![candidate] } else { Vec::new() }
    }
}

#[async_trait]
impl RuntimeCollector for LxcCollector {
    async fn probe(&self) -> Result<RuntimeInfo, CollectError> {
        self.folder()?;
        let version = lxc_ls(Command::new("lxc-ls").arg("--version")).await?.trim().to_owned();
        let runtime = RuntimeVersion { name: "lxc".into(), version };
        Ok(RuntimeInfo { runtime, location: Location::Host(self.host.clone()) })
    }

    async fn collect(&self, select: &Selection, sink: &mut dyn ScopeSink) -> Result<Coverage, CollectError> {
        let id = ScopeId::host();
        if !select.includes(&id) {
            return Ok(Coverage::Complete);
        }
        let path = &self.settings.lxcpath;
        let defined = self.defined()?;
        let list = ["--fancy", "--fancy-format", "NAME,STATE,PID"];
        let table = lxc_ls(Command::new("lxc-ls").arg("-P").arg(path).args(list)).await?;
        let boot = fs::read_to_string("/proc/stat").ok().and_then(|stat| convert::boot_time(&stat));
        // A process that is not there has ended since it was listed.
        let started_at = |pid: &str| convert::started_at(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?, boot?);
        let mut containers = convert::containers(&table, started_at)?;
        for name in defined {
            // What was removed meanwhile is not missing.
            if !containers.iter().any(|container| container.name == name) && self.is_defined(&name) {
                containers.push(convert::container(&name, ContainerState::Unknown));
            }
        }
        let unknown = containers.iter().filter(|container| container.state == ContainerState::Unknown);
        let unknown: Vec<&str> = unknown.map(|container| container.name.as_str()).collect();
        let coverage = if unknown.is_empty() {
            Coverage::Complete
        } else {
            let (names, path) = (unknown.join(", "), path.display());
            Coverage::Partial { reason: format!("lxc-ls tells no state of {names}: see `lxc-info -P {path} -n NAME`") }
        };
        containers.retain(|container| self.settings.states.matches(container.state));
        sink.scope(ObservedScope { id, coverage, body: Scope { containers, ..Scope::default() } });
        Ok(Coverage::Complete)
    }
}

impl LxcCollector {
    fn folder(&self) -> Result<fs::ReadDir, CollectError> {
        fs::read_dir(&self.settings.lxcpath).map_err(|error| self.unreadable(error))
    }

    /// Names of the containers in the folder.
    fn defined(&self) -> Result<Vec<String>, CollectError> {
        let names = self.folder()?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        let names: Vec<String> = names.collect::<Result<_, _>>().map_err(|error| self.unreadable(error))?;
        Ok(names.into_iter().filter(|name| self.is_defined(name)).collect())
    }

    /// Whether LXC takes a folder for a container, or would if it were allowed to look.
    fn is_defined(&self, name: &str) -> bool {
        let config = self.settings.lxcpath.join(name).join("config");
        config.metadata().map_or_else(|error| error.kind() == io::ErrorKind::PermissionDenied, |_| true)
    }

    fn unreadable(&self, error: io::Error) -> CollectError {
        let path = self.settings.lxcpath.display();
        if error.kind() == io::ErrorKind::PermissionDenied {
            return CollectError::denied(
                format!("cannot list {path}, run as the user whose containers they are"),
                error,
            );
        }
        let message = format!("cannot list {path}, set `lxcpath` to what `lxc-config lxc.lxcpath` tells");
        CollectError::unavailable(message, error)
    }
}

/// What `lxc-ls` prints. It is killed when nobody waits for it any more.
async fn lxc_ls(command: &mut Command) -> Result<String, CollectError> {
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await;
    let output =
        output.map_err(|error| CollectError::unavailable("cannot run lxc-ls, install the package lxc", error))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let message = format!("lxc-ls failed ({}), run as the user whose containers they are", output.status);
    Err(CollectError::unavailable(message, String::from_utf8_lossy(&output.stderr).trim()))
}
