//! Where Docker and Podman put their sockets.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::json;
use stocktake_core::{Candidate, Environment};

/// The daemons that this machine looks as if it had, each socket once however many links lead to it.
pub(crate) fn candidates(environment: &Environment) -> Vec<Candidate> {
    let mut candidates = Vec::new();
    for (variable, name) in [("DOCKER_HOST", "docker"), ("CONTAINER_HOST", "podman")] {
        if let Some(host) = environment.variable(variable) {
            let identity =
                host.strip_prefix("unix://").map_or_else(|| host.to_owned(), |path| resolved(Path::new(path)));
            // Docker's own TLS variables apply to DOCKER_HOST only as long as the setting is left to it.
            let settings = if variable == "DOCKER_HOST" { json!({}) } else { json!({ "host": host }) };
            candidates.push(Candidate {
                name: name.into(),
                found: format!("${variable} ({host})"),
                settings,
                identity,
            });
        }
    }
    for (path, name) in sockets(environment) {
        if path.exists() {
            candidates.push(Candidate {
                name,
                found: path.display().to_string(),
                settings: json!({ "host": format!("unix://{}", path.display()) }),
                identity: resolved(&path),
            });
        }
    }
    candidates
}

/// The first usual socket that exists, else Docker's, for a message that names it.
pub(crate) fn default_socket(environment: &Environment) -> PathBuf {
    sockets(environment)
        .into_iter()
        .map(|(path, _)| path)
        .find(|path| path.exists())
        .unwrap_or_else(|| PathBuf::from("/run/docker.sock"))
}

fn sockets(environment: &Environment) -> Vec<(PathBuf, String)> {
    let mut sockets = vec![
        (PathBuf::from("/run/docker.sock"), "docker".to_owned()),
        (PathBuf::from("/var/run/docker.sock"), "docker".to_owned()),
        (PathBuf::from("/run/podman/podman.sock"), "podman".to_owned()),
    ];
    for (folder, user) in user_folders(environment) {
        sockets.push((folder.join("docker.sock"), format!("docker-{user}")));
        sockets.push((folder.join("podman/podman.sock"), format!("podman-{user}")));
    }
    sockets
}

/// Runtime folders of users who may run a rootless daemon: one's own, and for root everyone's.
fn user_folders(environment: &Environment) -> Vec<(PathBuf, String)> {
    let mut folders = Vec::new();
    if let Some(own) = environment.variable("XDG_RUNTIME_DIR") {
        folders.push((PathBuf::from(own), "rootless".to_owned()));
    }
    if environment.is_root {
        let mut all: Vec<PathBuf> =
            fs::read_dir("/run/user").into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        all.sort();
        for folder in all {
            let user = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            folders.push((folder, user));
        }
    }
    folders
}

fn resolved(path: &Path) -> String {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_the_environment_names() {
        let variables = [("DOCKER_HOST", "tcp://10.0.0.1:2376"), ("CONTAINER_HOST", "unix:///run/p.sock")];
        let environment = Environment {
            variables: variables.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            ..Environment::default()
        };
        let found = candidates(&environment);
        assert_eq!((found[0].name.as_str(), found[0].identity.as_str()), ("docker", "tcp://10.0.0.1:2376"));
        assert_eq!((found[1].name.as_str(), found[1].identity.as_str()), ("podman", "/run/p.sock"));
        assert_eq!(found[1].settings, json!({"host": "unix:///run/p.sock"}));
    }
}
