//! From settings to the one cluster that they mean.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
};

use http::{HeaderValue, header::USER_AGENT, uri::Scheme};
use kube::{Config, client::ConfigExt as _};
use stocktake_core::{ConfigError, Context, Environment};

use crate::{
    address::{Target, display, parse_url},
    encryption,
    error::{Peer, PeerKind, told_by},
    file::{self, unreadable},
    kubeconfig, proxy,
    settings::Settings,
};

/// Where the kubelet puts what a pod needs to talk to the API server.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Finds the cluster. Reads files, and touches no network.
pub(crate) fn resolve(settings: &Settings, context: &Context) -> Result<Target, ConfigError> {
    settings.check()?;
    let environment = &context.environment;
    let mut target = if let Some(server) = &settings.server {
        explicit(settings, server, environment)?
    } else if let Some(text) = &settings.kubeconfig_data {
        kubeconfig::given(text, settings.context.as_deref(), environment)?
    } else if settings.kubeconfig.is_none()
        && settings.context.is_none()
        && let Some(url) = in_cluster_url(environment)
    {
        in_cluster(&url, Path::new(SERVICE_ACCOUNT))?
    } else {
        kubeconfig::resolve(settings, environment)?
    };
    if let Some(cluster) = &settings.cluster {
        target.cluster_name = Some(cluster.clone());
    }
    if settings.proxy_required && target.config.proxy_url.is_none() {
        let message = format!("no proxy leads to {}", target.peer);
        return Err(ConfigError::new("proxy_required", message)
            .hint("set `HTTPS_PROXY`, and see that `NO_PROXY` does not name the server; or remove the key"));
    }
    // When to ask again is the agent's to decide, alike for all collectors.
    target.config.default_retry = false;
    let user_agent = if context.user_agent.is_empty() { "stocktake-agent" } else { &context.user_agent };
    if let Ok(user_agent) = HeaderValue::from_str(user_agent) {
        target.config.headers.push((USER_AGENT, user_agent));
    }
    take_over_token_file(&mut target);
    let key = if settings.server.is_some() { "server" } else { "" };
    target.warnings = encryption::check(key, &target)?;
    check_certificates(&target)?;
    Ok(target)
}

/// The API server's URL as a pod's environment tells it, if the agent runs in one that has a service account's token.
pub(crate) fn in_cluster_url(environment: &Environment) -> Option<String> {
    let host = environment.variable("KUBERNETES_SERVICE_HOST")?;
    if !Path::new(SERVICE_ACCOUNT).join("token").exists() {
        return None;
    }
    let port = environment.variable("KUBERNETES_SERVICE_PORT").unwrap_or("443");
    let is_ipv6 = host.parse::<IpAddr>().is_ok_and(|address| address.is_ipv6());
    Some(if is_ipv6 { format!("https://[{host}]:{port}") } else { format!("https://{host}:{port}") })
}

fn in_cluster(url: &str, directory: &Path) -> Result<Target, ConfigError> {
    let mut config = Config::new(parse_url("", url)?);
    let ca_file = directory.join("ca.crt");
    config.root_cert = Some(certificates("", &ca_file)?);
    config.root_cert_file = Some(ca_file);
    config.auth_info.token_file = Some(directory.join("token").display().to_string());
    let namespace = file::read_text(&directory.join("namespace")).unwrap_or_default();
    Ok(Target {
        peer: Peer {
            server: display(&config.cluster_url),
            credentials: "the pod's service account".into(),
            kind: PeerKind::ApiServer,
        },
        config,
        cluster_name: None,
        own_namespace: Some(namespace.trim().to_owned()).filter(|name| !name.is_empty()).unwrap_or("default".into()),
        token_file: None,
        warnings: Vec::new(),
    })
}

fn explicit(settings: &Settings, server: &str, environment: &Environment) -> Result<Target, ConfigError> {
    let mut config = Config::new(parse_url("server", server)?);
    if let Some(path) = &settings.ca_file {
        config.root_cert = Some(certificates("ca_file", path)?);
        config.root_cert_file = Some(path.clone());
    }
    let credentials = if let Some(path) = &settings.token_file {
        let token = read("token_file", path)?;
        if token.trim_ascii().is_empty() {
            return Err(ConfigError::new("token_file", format!("`{}` is empty", path.display()))
                .hint("write the bearer token into it"));
        }
        config.auth_info.token_file = Some(path.display().to_string());
        format!("`token_file` {}", path.display())
    } else if let Some(token) = &settings.token {
        config.auth_info.token = Some(token.clone());
        "`token` of the configuration".into()
    } else {
        "set `token_file`, because none is sent".into()
    };
    config.proxy_url = proxy::for_server(&config.cluster_url, None, environment)?;
    Ok(Target {
        peer: Peer { server: display(&config.cluster_url), credentials, kind: PeerKind::ApiServer },
        config,
        cluster_name: None,
        own_namespace: "default".into(),
        token_file: None,
        warnings: Vec::new(),
    })
}

/// kube reads a token file once a minute and sends it with the line break that editors leave at its end. Reading it for
/// every request costs nothing beside the request and sends a renewed token at once.
fn take_over_token_file(target: &mut Target) {
    let auth = &mut target.config.auth_info;
    let basic = auth.username.is_some() && auth.password.is_some();
    let overruled = auth.token.is_some() || auth.auth_provider.is_some() || basic;
    if !overruled {
        target.token_file = auth.token_file.take().map(PathBuf::from);
    }
}

/// Certificates that cannot be used are a mistake in the configuration, not a server that is down.
pub(crate) fn check_certificates(target: &Target) -> Result<(), ConfigError> {
    let config = &target.config;
    // A credential plug-in may bring the client certificate, and running it is not for the start.
    if config.cluster_url.scheme() == Some(&Scheme::HTTP) || config.auth_info.exec.is_some() {
        return Ok(());
    }
    config.rustls_client_config().map(|_| ()).map_err(|error| {
        let message = format!("the certificates for {} cannot be used: {}", target.peer, told_by(&error));
        ConfigError::new("", message).hint("check the certificate authority, the client certificate and its key")
    })
}

/// The certificates in a file.
pub(crate) fn certificates(key: &str, path: &Path) -> Result<Vec<Vec<u8>>, ConfigError> {
    use rustls::pki_types::{CertificateDer, pem::PemObject as _};
    let pem = read(key, path)?;
    let found: Vec<Vec<u8>> = CertificateDer::pem_slice_iter(&pem).flatten().map(|der| der.to_vec()).collect();
    if found.is_empty() {
        return Err(ConfigError::new(key, format!("`{}` holds no certificate", path.display()))
            .hint("it has to hold PEM, with a line `-----BEGIN CERTIFICATE-----`"));
    }
    Ok(found)
}

fn read(key: &str, path: &Path) -> Result<Vec<u8>, ConfigError> {
    file::read(path).map_err(|error| unreadable(key, path, &error))
}

#[cfg(test)]
mod tests;
