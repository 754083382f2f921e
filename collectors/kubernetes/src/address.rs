//! What is needed to talk to one cluster, wherever it was read from: its address, who vouches for it and as whom it is
//! asked.

use std::path::{Path, PathBuf};

use http::Uri;
use kube::Config;
use stocktake_core::ConfigError;

use crate::error::Peer;

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
}

/// Reads a URL of an API server.
pub(crate) fn parse_url(key: &str, url: &str) -> Result<Uri, ConfigError> {
    let error = |problem: &str| {
        ConfigError::new(key, format!("`{url}` {problem}"))
            .hint("write the API server's URL, as in `https://10.0.0.1:6443`")
    };
    let uri: Uri = url.trim().parse().map_err(|reason| error(&format!("is not a URL: {reason}")))?;
    match uri.scheme_str() {
        Some("https" | "http") if uri.host().is_some() => Ok(uri),
        Some(_) => Err(error("is neither an https nor an http URL")),
        None => Err(error("has no `https://` before it")),
    }
}

/// A URL without the slash that its parser puts at the end.
pub(crate) fn display(url: &Uri) -> String {
    url.to_string().trim_end_matches('/').to_owned()
}

/// The complaint about a file that a setting names.
pub(crate) fn unreadable(key: &str, path: &Path, error: &std::io::Error) -> ConfigError {
    let hint = match error.kind() {
        std::io::ErrorKind::NotFound if path.starts_with("~") => "write the whole path; `~` is not understood here",
        std::io::ErrorKind::NotFound => "correct the path, or create the file",
        std::io::ErrorKind::PermissionDenied => "let the agent's user read it",
        _ => "check the file",
    };
    ConfigError::new(key, format!("cannot read `{}`: {error}", path.display())).hint(hint)
}
