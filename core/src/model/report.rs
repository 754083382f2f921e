//! Reports: manifests that name scopes by digest, as an OCI manifest names layers.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Coverage, Scope, ScopeEntry, Text, Unified};
use crate::{Digest, unify::unify};

/// Value of [`Report::schema`] that this version writes.
pub const SCHEMA_VERSION: &str = "v1";

/// A report with the bodies of its scopes: the document that `stocktake-agent collect --format json` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Inventory {
    /// The manifest.
    pub report: Report,
    /// Bodies by digest. Scopes with the same content share one.
    pub scopes: BTreeMap<Digest, Scope>,
    /// What the sources say together. It follows from the rest of the document, and refers to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unified: Option<Unified>,
}

impl Inventory {
    /// A report, the bodies of its scopes, and what follows from them together.
    #[must_use]
    pub fn new(report: Report, scopes: BTreeMap<Digest, Scope>) -> Self {
        let unified = Some(unify(&report.sources, &scopes));
        Self { report, scopes, unified }
    }

    /// The body that a line of the report names. `None` where nothing was seen.
    #[must_use]
    pub fn body(&self, entry: &ScopeEntry) -> Option<&Scope> {
        entry.digest.as_ref().and_then(|digest| self.scopes.get(digest))
    }
}

/// Who saw what, when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// Version of the model: `v1`.
    pub schema: String,
    /// Identifies this report (UUID version 7).
    pub id: Uuid,
    /// Who made it.
    pub agent: Agent,
    /// When it was made.
    pub created_at: Timestamp,
    /// Its number among the reports of its agent, of which the first has 1. A number that is missing is a report that was
    /// dropped. Absent where nobody counts, as in what is printed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
    /// Seconds after which another report is due at the latest: an agent that is silent for longer is not well. Absent
    /// where no other is to come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_for_seconds: Option<u64>,
    /// What was seen, one entry a collector, by name.
    pub sources: Vec<Source>,
}

/// The program that made a report.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Agent {
    /// Identifies the agent through all its runs (UUID). Absent where it keeps nothing between two runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Uuid>,
    /// Identifies its run: a UUID version 7, so that a later run has a greater one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<Uuid>,
    /// Version of the agent.
    pub version: String,
    /// Name of the machine that it ran on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
}

/// What one collector saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Source {
    /// The collector's name in the configuration.
    pub collector: Text,
    /// The collector's type.
    pub kind: Text,
    /// The runtime, if it could be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<RuntimeVersion>,
    /// The cluster, where the runtime is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<Cluster>,
    /// The machine, where the runtime is on one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Host>,
    /// When looking began: everything in the scopes is at least this new.
    pub observed_at: Timestamp,
    /// How completely the *list* of scopes was seen. Only under a complete list is a scope that is not in it gone.
    pub coverage: Coverage,
    /// How much of a scope the collector's settings show.
    #[serde(default, skip_serializing_if = "Shown::is_part")]
    pub shown: Shown,
    /// Remarks on what could be better and yet leaves the inventory complete.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
    /// What looking cost the runtime and the agent, if the collector counts it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
    /// The scopes, by kind and name.
    pub scopes: Vec<ScopeEntry>,
}

impl Source {
    /// Whether the list of scopes and each scope in it were seen completely.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.coverage.is_complete() && self.scopes.iter().all(|scope| scope.coverage.is_complete())
    }
}

/// How much of a scope a collector's settings show. A scope is complete if all of that was seen; whether what is not in it
/// does not exist is another question, and this the answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Shown {
    /// Every container that there is.
    All,
    /// Every container that has a process. One that is not shown may have ended a moment ago.
    Running,
    /// Some containers, such as those that a label selects, or nobody knows.
    #[default]
    #[serde(other)]
    Part,
}

impl Shown {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
    fn is_part(&self) -> bool {
        *self == Self::Part
    }
}

/// Name and version of a runtime.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RuntimeVersion {
    /// `docker`, `podman`, `containerd`, `kubernetes`.
    pub name: String,
    /// The version that it reports.
    pub version: String,
}

/// A cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cluster {
    /// Uid of the `kube-system` namespace, which by convention identifies a cluster for as long as it lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// Name that people gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// A machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Host {
    /// What identifies the machine: `/etc/machine-id` of a local one, the engine's own id of a remote Docker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine_id: Option<String>,
    /// Host name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
}

/// What one collection cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cost {
    /// Requests that were sent, those that were sent again included.
    pub requests: u64,
    /// Bytes of the answers' bodies.
    pub received_bytes: u64,
    /// Requests that the runtime put off because it has too much to do (429).
    #[serde(default)]
    pub throttled: u64,
    /// Bytes that the collector keeps between two collections, by its own estimate.
    #[serde(default)]
    pub kept_bytes: u64,
}

/// A remark on a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Warning {
    /// What is less good than it could be, what follows from it, and what to do.
    pub message: String,
}

impl Warning {
    /// A remark.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }
}
