//! What is looked at, and how it is reached: as the database has it, and as a collector takes it.

use std::net::{IpAddr, SocketAddr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::Uri;
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize, de};
use serde_json::{Value, json};
use stocktake_core::Environment;
use utoipa::ToSchema;

use super::networks::Checked;
use crate::http::Problem;

/// Memory that a collector may take for what it has read of a cluster at a time. One that would take more lists in pages.
const READ_AT_A_TIME: &str = "128MiB";

/// Bytes of certificates, or of a credential, at the most.
pub(crate) const LONGEST_PEM: usize = 256 << 10;

/// A runtime. No secret is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Target {
    Kubernetes(Kubernetes),
    Docker(Docker),
}

/// A cluster, through its API server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Kubernetes {
    #[serde(flatten)]
    pub(crate) cluster: Cluster,
    #[serde(flatten)]
    pub(crate) selection: OfCluster,
}

/// Where an API server is, who vouches for it, and how it is told who asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Cluster {
    /// Its URL: `https://10.0.0.1:6443`.
    pub(crate) server: String,
    /// Certificates that vouch for it, in PEM; those of the server's system if there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) certificate_authority: Option<String>,
    /// Name that its certificate is to have, if it is not the URL's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tls_server_name: Option<String>,
    /// URL of a proxy on the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) proxy_url: Option<String>,
    /// Whether its certificate is not looked at. Whoever is in between can then take the credential.
    #[serde(default)]
    pub(crate) insecure_skip_tls_verify: bool,
    /// What the credential is, which nobody is told.
    pub(crate) credential_type: CredentialType,
    /// The certificate that goes with a private key, in PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) client_certificate: Option<String>,
}

/// What a credential is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CredentialType {
    Token,
    PrivateKey,
}

/// What is looked at of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct OfCluster {
    /// Which namespaces.
    #[serde(default)]
    pub(crate) namespaces: Names,
    /// Whether nodes and namespaces themselves are looked at.
    pub(crate) cluster_objects: bool,
}

/// Names: exact, globs, or regular expressions between slashes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Names {
    /// Those that match one of these; all if there is none.
    #[serde(default)]
    pub(crate) include: Vec<String>,
    /// But those that match one of these.
    #[serde(default)]
    pub(crate) exclude: Vec<String>,
}

/// A Docker or Podman daemon, over TCP with TLS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Docker {
    #[serde(flatten)]
    pub(crate) daemon: Daemon,
    #[serde(flatten)]
    pub(crate) selection: OfDaemon,
}

/// Where a daemon is, who vouches for it, and how it is told who asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Daemon {
    /// Its address: `tcp://10.0.0.5:2376`.
    pub(crate) host: String,
    /// Certificates of the authorities that may have signed its certificate, in PEM.
    pub(crate) certificate_authority: String,
    /// The certificate that goes with the private key, in PEM, where the daemon asks for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) client_certificate: Option<String>,
}

/// What is looked at of a daemon.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct OfDaemon {
    /// States of the containers that are looked at; `all` for every one, those that run if there is none.
    #[serde(default)]
    pub(crate) states: Vec<String>,
}

/// Somebody at the other end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Peer {
    /// Without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Whether it is a proxy on the way.
    pub(crate) is_proxy: bool,
    /// Whether a proxy may be who looks its name up.
    pub(crate) is_behind_proxy: bool,
}

impl Target {
    /// The type of the collector, and the word in the database.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Kubernetes(_) => "kubernetes",
            Self::Docker(_) => "docker",
        }
    }

    /// Where a credential is sent, and by what is found out that it is the right place: what the credential is bound to.
    pub(crate) fn destination(&self) -> String {
        // It cannot fail: there are no maps in it.
        match self {
            Self::Kubernetes(Kubernetes { cluster, .. }) => serde_json::to_string(cluster).unwrap_or_default(),
            Self::Docker(Docker { daemon, .. }) => serde_json::to_string(daemon).unwrap_or_default(),
        }
    }

    /// What is looked at.
    pub(crate) fn selection(&self) -> String {
        match self {
            Self::Kubernetes(Kubernetes { selection, .. }) => serde_json::to_string(selection).unwrap_or_default(),
            Self::Docker(Docker { selection, .. }) => serde_json::to_string(selection).unwrap_or_default(),
        }
    }

    /// As the database has it.
    pub(crate) fn read(kind: &str, destination: &str, selection: &str) -> Result<Self, serde_json::Error> {
        Ok(match kind {
            "docker" => Self::Docker(Docker {
                daemon: serde_json::from_str(destination)?,
                selection: serde_json::from_str(selection)?,
            }),
            "kubernetes" => Self::Kubernetes(Kubernetes {
                cluster: serde_json::from_str(destination)?,
                selection: serde_json::from_str(selection)?,
            }),
            _ => return Err(de::Error::custom(format!("there is no kind `{kind}`"))),
        })
    }

    /// Where it is: a URL.
    pub(crate) fn address(&self) -> &str {
        match self {
            Self::Kubernetes(Kubernetes { cluster, .. }) => &cluster.server,
            Self::Docker(Docker { daemon, .. }) => &daemon.host,
        }
    }

    /// What the server connects to, or has a proxy connect to.
    pub(crate) fn peers(&self, environment: &Environment) -> Vec<Peer> {
        let proxy_url = match self {
            Self::Kubernetes(Kubernetes { cluster, .. }) => cluster.proxy_url.as_ref(),
            Self::Docker(_) => None,
        };
        // A proxy of the server's own is its operator's choice. Docker's collector takes none.
        let has_own = ["HTTPS_PROXY", "https_proxy"].iter().any(|name| environment.variable(name).is_some());
        let is_behind_proxy = proxy_url.is_some() || (has_own && matches!(self, Self::Kubernetes(_)));
        let peer = |(host, port)| Peer { host, port, is_proxy: false, is_behind_proxy };
        let server = host_of(self.address()).map(peer);
        let proxy = proxy_url.and_then(|url| host_of(url));
        let proxy = proxy.map(|host| Peer { is_proxy: true, is_behind_proxy: false, ..peer(host) });
        server.into_iter().chain(proxy).collect()
    }

    /// Refuses what would lead to the server itself, or send a secret where others can read it.
    pub(crate) fn check(&self) -> Result<(), Problem> {
        let (key, url, scheme) = match self {
            Self::Kubernetes(Kubernetes { cluster, .. }) => ("server", &cluster.server, "https://"),
            Self::Docker(Docker { daemon, .. }) => ("host", &daemon.host, "tcp://"),
        };
        if url.contains('@') {
            return Err(Problem::bad_request(format!("`{key}` has a user name or password in it, which is not used")));
        }
        if !url.starts_with(scheme) || host_of(url).is_none() {
            return Err(Problem::bad_request(format!("`{key}` is not a URL that begins with `{scheme}`")));
        }
        if let Self::Kubernetes(Kubernetes { cluster: Cluster { proxy_url: Some(proxy), .. }, .. }) = self
            && (proxy.contains('@') || host_of(proxy).is_none())
        {
            // It is shown in answers.
            return Err(Problem::bad_request("`proxy_url` is not the URL of a proxy without a user name and password"));
        }
        let (authority, client) = match self {
            Self::Kubernetes(Kubernetes { cluster, .. }) => {
                (cluster.certificate_authority.as_ref(), cluster.client_certificate.as_ref())
            }
            Self::Docker(Docker { daemon, .. }) => {
                (Some(&daemon.certificate_authority), daemon.client_certificate.as_ref())
            }
        };
        for (key, pem) in [("certificate_authority", authority), ("client_certificate", client)] {
            if pem.is_some_and(|pem| pem.len() > LONGEST_PEM) {
                return Err(Problem::bad_request(format!("`{key}` has more than {LONGEST_PEM} bytes")));
            }
            let mut found = pem.map(|pem| CertificateDer::pem_slice_iter(pem.as_bytes()).peekable());
            let holds_some = found.as_mut().is_none_or(|found| found.peek().is_some() && found.all(|one| one.is_ok()));
            if !holds_some {
                return Err(Problem::bad_request(format!("`{key}` holds no certificate in PEM form")));
            }
        }
        Ok(())
    }

    /// Settings of the collector that looks at it, at the addresses that were checked. There are secrets in them.
    pub(crate) fn settings(&self, name: &str, credential: Option<&SecretString>, checked: Checked) -> Value {
        let mut settings = self.settings_by_name(name, credential, checked.proxy);
        if let Some(address) = checked.runtime {
            settings["address"] = json!(address);
        }
        settings
    }

    fn settings_by_name(&self, name: &str, credential: Option<&SecretString>, proxy: Option<IpAddr>) -> Value {
        match self {
            Self::Kubernetes(Kubernetes { cluster, selection }) => {
                let mut settings = json!({
                    "kubeconfig_data": cluster.kubeconfig(name, credential, proxy),
                    "cluster": name,
                    "cluster_objects": selection.cluster_objects,
                    "max_memory": READ_AT_A_TIME,
                });
                let Names { include, exclude } = &selection.namespaces;
                for (key, names) in [("include", include), ("exclude", exclude)] {
                    if !names.is_empty() {
                        settings["namespaces"][key] = json!(names);
                    }
                }
                settings
            }
            Self::Docker(Docker { daemon, selection }) => {
                let mut settings = json!({ "host": daemon.host, "tls": { "ca_data": daemon.certificate_authority } });
                if let Some((certificate, key)) = daemon.client_certificate.as_ref().zip(credential) {
                    settings["tls"]["cert_data"] = json!(certificate);
                    settings["tls"]["key_data"] = json!(key.expose_secret());
                }
                if !selection.states.is_empty() {
                    settings["states"] = json!(selection.states);
                }
                settings
            }
        }
    }
}

impl Cluster {
    /// As a kubeconfig, which is JSON here.
    fn kubeconfig(&self, name: &str, credential: Option<&SecretString>, proxy: Option<IpAddr>) -> String {
        let encoded = |text: &str| STANDARD.encode(text);
        let secret = credential.map(ExposeSecret::expose_secret).unwrap_or_default();
        let user = match self.credential_type {
            CredentialType::Token => json!({ "token": secret }),
            CredentialType::PrivateKey => json!({
                "client-certificate-data": self.client_certificate.as_deref().map(encoded),
                "client-key-data": encoded(secret),
            }),
        };
        let cluster = json!({
            "server": self.server,
            "certificate-authority-data": self.certificate_authority.as_deref().map(encoded),
            "tls-server-name": self.tls_server_name,
            "proxy-url": self.proxy_url.as_deref().map(|url| proxy.map_or_else(|| url.to_owned(), |at| at_address(url, at))),
            "insecure-skip-tls-verify": self.insecure_skip_tls_verify,
        });
        json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{ "name": name, "cluster": cluster }],
            "users": [{ "name": "stocktake-server", "user": user }],
            "contexts": [{ "name": name, "context": { "cluster": name, "user": "stocktake-server" } }],
            "current-context": name,
        })
        .to_string()
    }
}

/// A proxy's URL with its address instead of its name. By TLS it has to be known by its name, which is then looked up again.
fn at_address(url: &str, address: IpAddr) -> String {
    match (url.split_once("://"), host_of(url)) {
        (Some((scheme @ ("http" | "socks5"), _)), Some((_, port))) => {
            format!("{scheme}://{}", SocketAddr::new(address, port))
        }
        _ => url.to_owned(),
    }
}

/// Host, without brackets, and port of a URL.
fn host_of(url: &str) -> Option<(String, u16)> {
    let uri: Uri = url.trim_end_matches('/').parse().ok()?;
    let host = uri.host().filter(|host| !host.is_empty())?.trim_matches(['[', ']']).to_owned();
    let port = uri.port_u16().unwrap_or(match uri.scheme_str()? {
        "http" => 80,
        "https" => 443,
        "socks5" => 1080,
        "tcp" => 2376,
        _ => return None,
    });
    Some((host, port))
}
