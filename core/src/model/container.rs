//! Containers.

use std::fmt;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{MissingReason, Text};
use crate::labels::Labels;

/// A container, or one that an orchestrator wants and the runtime has not made yet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Container {
    /// The runtime's identifier, without the scheme that Kubernetes puts before it (`containerd://`). Absent while the
    /// runtime has not made the container. Unique within a scope.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Text>,
    /// Name within its pod or on its host; the identifier where the runtime knows no name.
    pub name: Text,
    /// What the container is for.
    #[serde(default)]
    pub kind: ContainerKind,
    /// Uid of the pod that it belongs to, a key of the scope's `pods`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_uid: Option<Text>,
    /// Outermost owner of a container without a pod, a key of the scope's `workloads`. A pod carries its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<Text>,
    /// Name of the cluster node that it runs on or is assigned to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_name: Option<Text>,
    /// The image as it was asked for: from the specification, never from a status that may show another name of it.
    /// Absent where the runtime no longer knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Text>,
    /// The image that it was made from, a key of the scope's `images`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_ref: Option<Text>,
    /// Why `image_ref` is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_missing: Option<MissingReason>,
    /// What it does now.
    #[serde(default)]
    pub state: ContainerState,
    /// The runtime's or orchestrator's one word for why it is in that state (`CrashLoopBackOff`, `OOMKilled`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_reason: Option<Text>,
    /// Exit status of its process, once it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// When it was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
    /// When its process last started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When its process ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// How often it was restarted, where that is counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart_count: Option<u32>,
    /// The container's own labels.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
}

/// What a container is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ContainerKind {
    /// An application's container.
    #[default]
    Regular,
    /// Runs to its end before a pod's regular containers start.
    Init,
    /// An init container with `restartPolicy: Always`, which keeps running beside the regular ones (Kubernetes 1.28).
    Sidecar,
    /// Added to a running pod for debugging.
    Ephemeral,
    /// Holds a pod's namespaces, made by the runtime itself (the "pause" container).
    Sandbox,
    /// A word of a newer version.
    #[serde(other)]
    Other,
}

/// What a container does now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ContainerState {
    /// Wanted by an orchestrator and not running: not made yet, or between two attempts.
    Waiting,
    /// Made, and never started.
    Created,
    /// Its process runs.
    Running,
    /// Its process is frozen.
    Paused,
    /// Ended, and about to be started again by the runtime.
    Restarting,
    /// Its process has ended.
    Exited,
    /// Does not run, and the runtime keeps no record of whether it ever did (a containerd container without a task).
    Stopped,
    /// Being removed.
    Removing,
    /// Ended, and the runtime failed to remove it.
    Dead,
    /// The runtime does not know.
    #[default]
    Unknown,
    /// A word of a newer version.
    #[serde(other)]
    Other,
}

impl ContainerState {
    /// The word that stands for it in JSON, settings and tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Exited => "exited",
            Self::Stopped => "stopped",
            Self::Removing => "removing",
            Self::Dead => "dead",
            Self::Unknown => "unknown",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for ContainerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl ContainerKind {
    /// The word that stands for it in JSON and tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Regular => "regular",
            Self::Init => "init",
            Self::Sidecar => "sidecar",
            Self::Ephemeral => "ephemeral",
            Self::Sandbox => "sandbox",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for ContainerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
