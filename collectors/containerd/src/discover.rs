//! Where containerd and the distributions that bring their own put its socket.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::json;
use stocktake_core::{Candidate, Environment};

const SOCKETS: [(&str, &str); 6] = [
    ("/run/containerd/containerd.sock", "containerd"),
    ("/run/k3s/containerd/containerd.sock", "k3s-containerd"),
    ("/var/snap/microk8s/common/run/containerd.sock", "microk8s-containerd"),
    ("/run/k0s/containerd.sock", "k0s-containerd"),
    ("/run/host-containerd/containerd.sock", "host-containerd"),
    ("/run/docker/containerd/containerd.sock", "docker-containerd"),
];

/// The daemons that this machine looks as if it had.
pub(crate) fn candidates(environment: &Environment) -> Vec<Candidate> {
    let candidate = |path: &Path, name: &str, found: String| Candidate {
        name: name.into(),
        found,
        settings: json!({ "address": path }),
        identity: fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()).display().to_string(),
    };
    let named = environment
        .variable("CONTAINERD_ADDRESS")
        .map(|address| candidate(&socket_path(address), "containerd", format!("$CONTAINERD_ADDRESS ({address})")));
    let usual = SOCKETS
        .iter()
        .filter(|(path, _)| Path::new(path).exists())
        .map(|(path, name)| candidate(Path::new(path), name, (*path).to_owned()));
    named.into_iter().chain(usual).collect()
}

/// The socket to use where the settings name none.
pub(crate) fn default_socket(environment: &Environment) -> PathBuf {
    match environment.variable("CONTAINERD_ADDRESS") {
        Some(address) => socket_path(address),
        None => SOCKETS
            .iter()
            .map(|(path, _)| PathBuf::from(path))
            .find(|path| path.exists())
            .unwrap_or_else(|| PathBuf::from(SOCKETS[0].0)),
    }
}

/// `ctr` and `nerdctl` take the address with and without a scheme.
fn socket_path(address: &str) -> PathBuf {
    PathBuf::from(address.strip_prefix("unix://").unwrap_or(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_names_a_socket_with_or_without_scheme() {
        for address in ["/run/x/containerd.sock", "unix:///run/x/containerd.sock"] {
            let environment = Environment {
                variables: [("CONTAINERD_ADDRESS".to_owned(), address.to_owned())].into(),
                ..Environment::default()
            };
            assert_eq!(default_socket(&environment), Path::new("/run/x/containerd.sock"));
            assert_eq!(candidates(&environment)[0].identity, "/run/x/containerd.sock");
        }
    }
}
