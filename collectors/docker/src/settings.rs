//! What a person can say about a Docker collector.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use stocktake_core::select::StateSelector;

/// Settings of a `docker` collector.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Address of the daemon: `unix:///path/to/socket`, `tcp://host:port`.
    ///
    /// Default: `DOCKER_HOST`, then the first of Docker's and Podman's usual sockets that exists.
    #[serde(default)]
    #[schemars(example = "unix:///var/run/docker.sock")]
    pub host: Option<String>,
    /// Certificates for a daemon that is reached over TCP.
    ///
    /// Default: those in `DOCKER_CERT_PATH` if `DOCKER_TLS_VERIFY` is set and `host` is not.
    #[serde(default)]
    #[schemars(example = serde_json::json!({
        "ca_file": "/etc/stocktake/docker/ca.pem",
        "cert_file": "/etc/stocktake/docker/cert.pem",
        "key_file": "/etc/stocktake/docker/key.pem",
    }))]
    pub tls: Option<TlsSettings>,
    /// Which containers to report, by state; `["all"]` for every one.
    #[serde(default)]
    pub states: StateSelector,
}

/// Files in PEM form for a connection by TLS. They are read again for every collection.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsSettings {
    /// Certificates of the authorities that may have signed the daemon's; no other is trusted.
    pub ca_file: PathBuf,
    /// The client's certificate, where the daemon asks for one (`dockerd --tlsverify`).
    #[serde(default)]
    pub cert_file: Option<PathBuf>,
    /// The client's private key.
    #[serde(default)]
    pub key_file: Option<PathBuf>,
}
