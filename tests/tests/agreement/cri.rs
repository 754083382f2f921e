//! What `ctr` says of the namespace in which containerd's CRI plug-in keeps the pods' containers. It asks containerd's own
//! services and not CRI.

use std::collections::BTreeSet;

use crate::view::{Key, Seen, View};

/// Adds what CRI has to tell of the pods that `containerd`, the same daemon's other collector, has in `k8s.io`.
pub(crate) fn add(view: &mut View, collector: &str, containerd: &str) {
    let of_pods = |(key, seen): &(&Key, &Seen)| {
        key.collector == containerd && key.scope == "namespace k8s.io" && seen.pod.is_some()
    };
    let through_cri: Vec<(Key, Seen)> = view
        .iter()
        .filter(of_pods)
        .map(|(key, seen)| {
            let key = Key { collector: collector.to_owned(), scope: "host".into(), label: key.label.clone() };
            (key, told_by_cri(seen.clone()))
        })
        .collect();
    view.extend(through_cri);
}

/// Of a container CRI does not tell index and manifest, of a sandbox no image at all. A container without a task has
/// ended: the kubelet starts what it makes at once.
fn told_by_cri(seen: Seen) -> Seen {
    let seen = Seen { index: None, manifest: None, ..seen };
    match (seen.kind.as_str(), seen.state.as_str()) {
        ("sandbox", _) => {
            Seen { image: None, config: None, repo_digests: BTreeSet::new(), names: BTreeSet::new(), ..seen }
        }
        (_, "stopped") => Seen { state: "exited".into(), ..seen },
        _ => seen,
    }
}
