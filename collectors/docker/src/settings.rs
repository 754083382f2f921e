//! What a person can say about a Docker collector.

use std::{net::IpAddr, path::PathBuf};

use schemars::JsonSchema;
use secrecy::SecretString;
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
    /// IP address at which the daemon is, instead of the one that the name in `host` is looked up as. It is spoken to by its name.
    #[serde(default)]
    #[schemars(example = "10.0.0.5")]
    pub address: Option<IpAddr>,
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

/// What a connection by TLS needs, in PEM form: paths of files, which are read again for every collection, or the PEM itself, for programs
/// that keep credentials elsewhere than in files.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TlsSettings {
    /// Certificates of the authorities that may have signed the daemon's; no other is trusted. Needed, here or in `ca_data`.
    pub ca_file: Option<PathBuf>,
    /// The same, itself.
    pub ca_data: Option<String>,
    /// The client's certificate, where the daemon asks for one (`dockerd --tlsverify`).
    pub cert_file: Option<PathBuf>,
    /// The same, itself.
    pub cert_data: Option<String>,
    /// The client's private key.
    pub key_file: Option<PathBuf>,
    /// The same, itself.
    #[schemars(with = "Option<String>")]
    pub key_data: Option<SecretString>,
}
