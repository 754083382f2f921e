//! What `[agent]` holds.

use std::{path::PathBuf, time::Duration};

use bytesize::ByteSize;
use schemars::JsonSchema;
use serde::Deserialize;
use stocktake_core::ConfigError;

use super::duration::{duration, interval};

/// How long one collection may take where nothing else is said.
pub(crate) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// How often to look at the least where nothing else is said.
pub(crate) const DEFAULT_INTERVAL: Duration = Duration::from_mins(1);

/// What `[agent]` holds.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AgentSettings {
    /// How long one collection may take (`30s`, `2m`); a collector may set its own `timeout`.
    #[serde(deserialize_with = "duration")]
    #[schemars(with = "String", example = "30s")]
    pub(crate) timeout: Duration,

    /// `run`: how often to report at the least, and how often to look at a runtime that does not tell what changes; a
    /// collector may set its own `interval`. What changes is reported at once.
    #[serde(deserialize_with = "interval")]
    #[schemars(with = "String", example = "1m")]
    pub(crate) interval: Duration,

    /// `run`: how long changes are gathered before they are reported, at the most one report in this time.
    #[serde(deserialize_with = "duration")]
    #[schemars(with = "String", example = "1s")]
    pub(crate) gather: Duration,

    /// `run`: where reports wait that are not delivered yet, and where the agent keeps who it is. It is made if it is not there.
    #[schemars(example = "/var/lib/stocktake/spool")]
    pub(crate) spool_dir: PathBuf,

    /// `run`: how much may wait there (`256MiB`). Beyond it the oldest reports are dropped, which is logged and counted.
    #[schemars(with = "String", example = "256MiB")]
    pub(crate) spool_max_size: ByteSize,

    /// `run`: how long a report may wait there (`168h`). An older one is dropped, which is logged and counted.
    #[serde(deserialize_with = "duration")]
    #[schemars(with = "String", example = "168h")]
    pub(crate) spool_max_age: Duration,

    /// `run`: how long the agent may take to deliver what waits when it is told to stop. What is left is delivered after the
    /// next start.
    #[serde(deserialize_with = "duration")]
    #[schemars(with = "String", example = "10s")]
    pub(crate) stop_timeout: Duration,

    /// `run`: a Lease of the cluster that the agent is in, else of that of a kubeconfig. Of all agents with the same one a single one
    /// looks and reports; the others stand by until it is gone. All of them are one agent to who is reported to.
    #[schemars(example = serde_json::json!({"name": "stocktake-agent"}))]
    pub(crate) lease: Option<LeaseSettings>,
}

/// What `lease` holds.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LeaseSettings {
    /// Its name.
    pub(crate) name: String,
    /// Its namespace; that of the pod, or of the kubeconfig's context, if it is left out.
    pub(crate) namespace: Option<String>,
    /// Path of a kubeconfig file whose cluster has it. Without this and `context` it is the cluster that the agent runs in, else that of
    /// `$KUBECONFIG`, else that of `~/.kube/config`.
    #[schemars(example = "/etc/stocktake/kubeconfig")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig; its current context by default.
    #[schemars(example = &"prod")]
    pub(crate) context: Option<String>,
    /// How long it takes others to notice that who reports is gone: whole seconds.
    #[serde(default = "default_lease_duration", deserialize_with = "interval")]
    #[schemars(with = "String", example = "30s")]
    pub(crate) duration: Duration,
    /// How often it is renewed; a third of `duration` at the most, so that one renewal may fail.
    #[serde(default = "default_lease_renew", deserialize_with = "interval")]
    #[schemars(with = "String", example = "10s")]
    pub(crate) renew: Duration,
}

fn default_lease_duration() -> Duration {
    Duration::from_secs(30)
}

fn default_lease_renew() -> Duration {
    Duration::from_secs(10)
}

impl AgentSettings {
    /// What no single setting can say.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        match &self.lease {
            Some(lease) if lease.renew * 3 > lease.duration => Err(ConfigError::new(
                "lease.renew",
                format!("{:?} is more than a third of `duration`, which is {:?}", lease.renew, lease.duration),
            )),
            _ => Ok(()),
        }
    }
}

impl Default for AgentSettings {
    fn default() -> Self {
        Self {
            timeout: DEFAULT_TIMEOUT,
            interval: DEFAULT_INTERVAL,
            gather: Duration::from_secs(1),
            spool_dir: PathBuf::from("/var/lib/stocktake/spool"),
            spool_max_size: ByteSize::mib(256),
            spool_max_age: Duration::from_hours(168),
            stop_timeout: Duration::from_secs(10),
            lease: None,
        }
    }
}
