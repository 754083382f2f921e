//! Pods.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Text;
use crate::labels::Labels;

/// A pod: the containers that share one sandbox on one node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Pod {
    /// Uid. For a static pod the API server's differs from the kubelet's; see `config_hash`.
    pub uid: Text,
    /// Name, unique in its namespace.
    pub name: Text,
    /// Namespace.
    pub namespace: Text,
    /// Node that it is assigned to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_name: Option<Text>,
    /// `Pending`, `Running`, `Succeeded`, `Failed` or `Unknown`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Text>,
    /// Why it is in that phase, in one word (`Evicted`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Text>,
    /// Outermost owner, a key of the scope's `workloads`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<Text>,
    /// For a static pod, the hash of its configuration (annotation `kubernetes.io/config.hash`), which is the uid that
    /// the kubelet and the runtime know it by. Not unique across nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_hash: Option<Text>,
    /// When it was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
    /// When the kubelet took it up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// Labels.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// Annotations.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub annotations: Labels,
}
