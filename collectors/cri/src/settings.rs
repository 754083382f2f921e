//! What a person can say about a CRI collector.

use schemars::JsonSchema;
use serde::Deserialize;
use stocktake_core::select::StateSelector;

/// Settings of a `cri` collector.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The runtime's CRI socket: a path, or `unix://` and a path as `crictl` takes it.
    ///
    /// Default: `CONTAINER_RUNTIME_ENDPOINT`, then the first of the usual sockets (CRI-O, cri-dockerd, containerd, k3s,
    /// MicroK8s, k0s) that exists.
    #[serde(default)]
    #[schemars(example = "/run/crio/crio.sock")]
    pub address: Option<String>,
    /// Which containers to report, by state; `["all"]` for every one. CRI tells `created`, `running` and `exited`, and of
    /// a pod's sandbox `running` and `stopped`.
    #[serde(default)]
    pub states: StateSelector,
}
