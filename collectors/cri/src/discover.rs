//! Where runtimes put their CRI sockets.

use std::{fs, path::Path};

use serde_json::json;
use stocktake_core::{Candidate, Environment};

const ENDPOINT: &str = "CONTAINER_RUNTIME_ENDPOINT";

/// Runtimes that have no other collector, or speak CRI through a daemon of its own.
const CRI_ALONE: [(&str, &str); 3] = [
    ("/run/crio/crio.sock", "crio"),
    ("/run/cri-dockerd.sock", "cri-dockerd"),
    ("/run/k3s/cri-dockerd/cri-dockerd.sock", "k3s-cri-dockerd"),
];

/// Sockets of containerd, which the `containerd` collector finds and reads better: it tells indexes, manifests and
/// configurations apart, and sees what runs beside the pods.
const CONTAINERD: [&str; 4] = [
    "/run/containerd/containerd.sock",
    "/run/k3s/containerd/containerd.sock",
    "/var/snap/microk8s/common/run/containerd.sock",
    "/run/k0s/containerd.sock",
];

/// The runtimes that this machine looks as if it had, without those that the `containerd` collector finds.
pub(crate) fn candidates(environment: &Environment) -> Vec<Candidate> {
    let candidate = |address: &str, name: &str, found: String| Candidate {
        name: name.into(),
        found,
        settings: json!({ "address": address }),
        identity: resolved(socket_path(address)),
    };
    let named =
        environment.variable(ENDPOINT).map(|address| candidate(address, "cri", format!("${ENDPOINT} ({address})")));
    let usual = CRI_ALONE
        .iter()
        .filter(|(path, _)| Path::new(path).exists())
        .map(|(path, name)| candidate(path, name, (*path).to_owned()));
    let containerd = environment.variable("CONTAINERD_ADDRESS").map(socket_path);
    let of_containerd: Vec<String> = CONTAINERD.into_iter().chain(containerd).map(resolved).collect();
    named.into_iter().chain(usual).filter(|candidate| !of_containerd.contains(&candidate.identity)).collect()
}

/// The address to use where the settings name none.
pub(crate) fn default_address(environment: &Environment) -> &str {
    let usual = || CRI_ALONE.iter().map(|(path, _)| *path).chain(CONTAINERD).find(|path| Path::new(path).exists());
    environment.variable(ENDPOINT).or_else(usual).unwrap_or(CRI_ALONE[0].0)
}

/// The path in an address, which `crictl` takes with and without a scheme.
pub(crate) fn socket_path(address: &str) -> &str {
    address.strip_prefix("unix://").unwrap_or(address)
}

fn resolved(path: &str) -> String {
    fs::canonicalize(path).map_or_else(|_| path.to_owned(), |path| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        let variables = variables.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Environment { variables, ..Environment::default() }
    }

    #[test]
    fn the_environment_names_a_socket_with_or_without_scheme() {
        for address in ["/run/x/crio.sock", "unix:///run/x/crio.sock"] {
            let environment = environment(&[(ENDPOINT, address)]);
            assert_eq!(socket_path(default_address(&environment)), "/run/x/crio.sock");
            assert_eq!(candidates(&environment)[0].identity, "/run/x/crio.sock");
        }
    }

    #[test]
    fn what_the_containerd_collector_finds_is_left_to_it() {
        let usual = environment(&[(ENDPOINT, "unix:///run/k0s/containerd.sock")]);
        assert_eq!(candidates(&usual), []);
        let named = environment(&[(ENDPOINT, "unix:///run/x/c.sock"), ("CONTAINERD_ADDRESS", "/run/x/c.sock")]);
        assert_eq!(candidates(&named), []);
        assert_eq!(default_address(&named), "unix:///run/x/c.sock", "who asks for it gets it");
    }
}
