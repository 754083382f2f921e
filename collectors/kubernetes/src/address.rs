//! What is needed to talk to one cluster, wherever it was read from: its address, who vouches for it and as whom it is
//! asked.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use http::{HeaderValue, Uri, header::HOST, uri::Scheme};
use kube::Config;
use stocktake_core::{ConfigError, model::Warning};

use crate::error::{Peer, one_line};

/// A cluster to connect to.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) config: Config,
    pub(crate) peer: Peer,
    /// Name for reports.
    pub(crate) cluster_name: Option<String>,
    /// The namespace that the credentials belong to, the first guess where namespaces may not be listed.
    pub(crate) own_namespace: String,
    /// A token that is read again for every request.
    pub(crate) token_file: Option<PathBuf>,
    /// What is less safe about the connection than it could be.
    pub(crate) warnings: Vec<Warning>,
}

impl Target {
    /// Has it connected to at an address, whatever its name means: TLS and HTTP go on to know it by its name. Behind a proxy, which looks
    /// the name up itself, nothing changes.
    pub(crate) fn connect_at(&mut self, address: IpAddr) -> Result<(), ConfigError> {
        let config = &mut self.config;
        let (None, Some(named)) = (&config.proxy_url, config.cluster_url.authority().cloned()) else { return Ok(()) };
        let wrong = |error: &dyn std::fmt::Display| ConfigError::new("address", format!("cannot be used: {error}"));
        let usual = if config.cluster_url.scheme() == Some(&Scheme::HTTP) { 80 } else { 443 };
        let at = SocketAddr::new(address, named.port_u16().unwrap_or(usual)).to_string();
        let mut parts = config.cluster_url.clone().into_parts();
        parts.authority = Some(at.parse().map_err(|error| wrong(&error))?);
        let name = HeaderValue::from_str(named.as_str()).map_err(|error| wrong(&error))?;
        config.cluster_url = Uri::from_parts(parts).map_err(|error| wrong(&error))?;
        config.tls_server_name.get_or_insert_with(|| named.host().trim_matches(['[', ']']).to_owned());
        config.headers.push((HOST, name));
        Ok(())
    }
}

/// Reads a URL of an API server. One with a user name or password in it is refused, because they would not be used.
pub(crate) fn parse_url(key: &str, url: &str) -> Result<Uri, ConfigError> {
    let shown = one_line(&without_user_info(url));
    let error = |problem: &str| {
        ConfigError::new(key, format!("`{shown}` {problem}"))
            .hint("write the API server's URL, as in `https://10.0.0.1:6443`")
    };
    // Wherever it stands: a password with a slash in it reads as a path.
    if url.contains('@') {
        return Err(ConfigError::new(key, format!("`{shown}` has a user name or password in it, which is not used"))
            .hint("remove what stands before the `@`; use a token, or a kubeconfig with that user"));
    }
    let uri: Uri = url.trim().parse().map_err(|reason| error(&format!("is not a URL: {reason}")))?;
    match uri.scheme_str() {
        Some("https" | "http") if uri.host().is_some() => Ok(uri),
        Some(_) => Err(error("is neither an https nor an http URL")),
        None => Err(error("has no `https://` before it")),
    }
}

/// What may be shown of a URL, which need not be a valid one.
fn without_user_info(url: &str) -> String {
    let Some((before, rest)) = url.rsplit_once('@') else { return url.to_owned() };
    match before.split_once("://") {
        Some((scheme @ ("https" | "http"), _)) => format!("{scheme}://…@{rest}"),
        _ => format!("…@{rest}"),
    }
}

/// A URL without the slash that its parser puts at the end.
pub(crate) fn display(url: &Uri) -> String {
    url.to_string().trim_end_matches('/').to_owned()
}
