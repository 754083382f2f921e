//! Clusters that this machine knows of, without connecting to any.

use std::{
    collections::HashSet,
    fs::File,
    path::{Path, PathBuf},
};

use http::Uri;
use serde_json::json;
use stocktake_core::{Candidate, Environment};

use crate::{file, kubeconfig, target};

/// Kubeconfigs that distributions put on the machines of the control plane, for root.
const OF_DISTRIBUTIONS: [(&str, &str); 3] = [
    ("k3s", "/etc/rancher/k3s/k3s.yaml"),
    ("rke2", "/etc/rancher/rke2/rke2.yaml"),
    ("kubeadm", "/etc/kubernetes/admin.conf"),
];

/// The cluster that the agent runs in, and those of the kubeconfigs that it may read.
pub(crate) fn discover(environment: &Environment) -> Vec<Candidate> {
    let mut candidates = Vec::new();
    if let Some(url) = target::in_cluster_url(environment) {
        candidates.push(Candidate {
            name: "kubernetes".into(),
            found: "the pod's service account".into(),
            // It is the first of the defaults.
            settings: json!({}),
            identity: url.parse().map_or(url, |url| identity(&url)),
        });
    }
    let home = environment.home.as_ref().map(|home| home.join(".kube/config"));
    let of_variable =
        environment.variable("KUBECONFIG").map(|list| ("kubernetes", "$KUBECONFIG".to_owned(), list.into()));
    let of_home = home.map(|path| ("kubernetes", path.display().to_string(), path));
    let of_distributions = OF_DISTRIBUTIONS.iter().map(|(name, path)| (*name, (*path).to_owned(), PathBuf::from(path)));
    for (name, found, path) in of_variable.into_iter().chain(of_home).chain(of_distributions) {
        candidates.extend(candidate(name, found, &path));
    }
    let mut seen = HashSet::new();
    candidates.retain(|candidate| seen.insert(candidate.identity.clone()));
    candidates
}

/// A kubeconfig, if it can be read and its current context names a server.
fn candidate(name: &str, found: String, list: &Path) -> Option<Candidate> {
    let paths = kubeconfig::split(list);
    if !paths.iter().any(|path| file::check(path).is_ok() && File::open(path).is_ok()) {
        return None;
    }
    let server = kubeconfig::current_server("", &paths)
        .inspect_err(|error| tracing::debug!(%error, "passing over a kubeconfig"))
        .ok()?;
    let settings = json!({ "kubeconfig": list });
    Some(Candidate { name: name.to_owned(), found, settings, identity: identity(&server) })
}

/// A server's URL in one form, so that two files for one cluster are one candidate.
fn identity(server: &Uri) -> String {
    let scheme = server.scheme_str().unwrap_or("https");
    let host = server.host().unwrap_or_default().to_ascii_lowercase();
    let host = if host == "localhost" { "127.0.0.1" } else { &host };
    let port = server.port_u16().unwrap_or(if scheme == "http" { 80 } else { 443 });
    format!("{scheme}://{host}:{port}{}", server.path().trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs};

    use super::*;

    fn kubeconfig(server: &str) -> String {
        format!(
            "clusters: [{{name: c, cluster: {{server: '{server}'}}}}]\ncontexts: [{{name: x, context: {{cluster: c}}}}]\n\
             current-context: x\n"
        )
    }

    #[test]
    fn two_files_for_one_cluster_are_one_candidate() {
        let directory = tempfile::tempdir().unwrap();
        let home = directory.path();
        fs::create_dir(home.join(".kube")).unwrap();
        let other = home.join("other");
        let environment = Environment {
            variables: BTreeMap::from([("KUBECONFIG".into(), other.display().to_string())]),
            home: Some(home.to_owned()),
            is_root: false,
        };
        let ours = |environment: &Environment| -> Vec<Candidate> {
            let mut candidates = discover(environment);
            candidates.retain(|candidate| candidate.name == "kubernetes");
            candidates
        };
        assert_eq!(ours(&environment), [], "neither file exists");

        fs::write(&other, kubeconfig("https://localhost:6443/")).unwrap();
        fs::write(home.join(".kube/config"), kubeconfig("https://127.0.0.1:6443")).unwrap();
        let found = ours(&environment);
        assert_eq!(found.len(), 1);
        assert_eq!(
            found[0],
            Candidate {
                name: "kubernetes".into(),
                found: "$KUBECONFIG".into(),
                settings: json!({ "kubeconfig": other }),
                identity: "https://127.0.0.1:6443".into(),
            }
        );

        fs::write(home.join(".kube/config"), kubeconfig("https://10.0.0.1")).unwrap();
        let identities: Vec<_> = ours(&environment).into_iter().map(|candidate| candidate.identity).collect();
        assert_eq!(identities, ["https://127.0.0.1:6443", "https://10.0.0.1:443"]);
        fs::write(&other, "not: [a, kubeconfig").unwrap();
        assert_eq!(ours(&environment).len(), 1);
    }

    #[test]
    fn a_named_pipe_does_not_hold_up_discovery() {
        use std::{process::Command, sync::mpsc, thread, time::Duration};

        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let variables = BTreeMap::from([("KUBECONFIG".into(), pipe.display().to_string())]);
        let environment = Environment { variables, ..Environment::default() };
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || sender.send(discover(&environment)));
        let found = receiver.recv_timeout(Duration::from_mins(1)).expect("it hangs");
        assert!(found.iter().all(|candidate| candidate.found != "$KUBECONFIG"));
    }
}
