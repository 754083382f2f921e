//! What a person can say about a containerd collector.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use stocktake_core::select::{NameSelector, StateSelector};

/// Settings of a `containerd` collector.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Path of containerd's gRPC socket.
    ///
    /// Default: `CONTAINERD_ADDRESS`, then the first of the usual sockets (containerd, k3s, MicroK8s, k0s,
    /// Bottlerocket) that exists.
    #[serde(default)]
    #[schemars(example = "/run/containerd/containerd.sock")]
    pub address: Option<PathBuf>,
    /// Which containerd namespaces to report (`k8s.io`, `moby` and `default` are such; a Kubernetes namespace is not).
    #[serde(default)]
    #[schemars(example = ["*"])]
    pub namespaces: NameSelector,
    /// Which containers to report, by state; `["all"]` for every one.
    #[serde(default)]
    pub states: StateSelector,
}
