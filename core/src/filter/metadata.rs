//! Labels and annotations: which are reported, and how many, how long.

use super::{Example, Filters, Removed, Rule, Setting, Thing, limits};
use crate::{
    labels::Labels,
    model::{ContainerKind, Scope},
};

/// Keys of which the value is an object's whole earlier version, or its command line: environment variables are in them.
/// None of them is ever reported, whatever `include` says.
const SECRETS: [&str; 6] = [
    // Carvel kapp: the object as it was last applied.
    "kapp.k14s.io/original",
    // Rancher's apply controller, compressed.
    "objectset.rio.cattle.io/applied",
    // `kubectl --record`: the command, `--env` included.
    "kubernetes.io/change-cause",
    // The development container specification keeps its whole configuration with the container, `containerEnv` included.
    "devcontainer.metadata",
    // nerdctl (`pkg/labels`): where what is mounted comes from.
    "nerdctl/mounts",
    // nerdctl: the volumes among them.
    "nerdctl/anonymous-volumes",
];

/// Names behind a prefix that each tool chooses for itself: `kubectl.kubernetes.io/last-applied-configuration`, and the
/// libraries of operators, `banzaicloud.com/last-applied` (k8s-objectmatcher) and
/// `kopf.zalando.org/last-handled-configuration` (Kopf).
const SECRET_NAMES: [&str; 3] = ["last-applied-configuration", "last-applied", "last-handled-configuration"];

/// Before the key where Kubernetes' Docker shim writes a pod's annotations down as labels
/// (cri-dockerd, `core/labels.go`).
const SHIM_PREFIX: &str = "annotation.";

pub(super) fn clean(filters: &Filters, scope: &mut Scope, removed: &mut Removed) {
    let mut clean = |map: &mut Labels, setting, of, name: &str| filters.clean_map(map, setting, of, name, removed);
    for node in &mut scope.nodes {
        clean(&mut node.labels, Setting::Labels, Thing::Node, &node.name);
        clean(&mut node.annotations, Setting::Annotations, Thing::Node, &node.name);
    }
    for namespace in &mut scope.namespaces {
        clean(&mut namespace.labels, Setting::Labels, Thing::Namespace, &namespace.name);
        clean(&mut namespace.annotations, Setting::Annotations, Thing::Namespace, &namespace.name);
    }
    for pod in &mut scope.pods {
        clean(&mut pod.labels, Setting::Labels, Thing::Pod, &pod.name);
        clean(&mut pod.annotations, Setting::Annotations, Thing::Pod, &pod.name);
    }
    for container in &mut scope.containers {
        let of = if container.kind == ContainerKind::Sandbox { Thing::Sandbox } else { Thing::Container };
        clean(&mut container.labels, Setting::Labels, of, &container.name);
    }
}

impl Filters {
    fn clean_map(&self, map: &mut Labels, setting: Setting, of: Thing, name: &str, removed: &mut Removed) {
        let thing = if setting == Setting::Labels { Thing::Label } else { Thing::Annotation };
        let example = |key: &str| Example { of, name: name.to_owned(), detail: Some(format!("{thing} `{key}`")) };
        let selector = self.selector(setting);
        let selects = !selector.is_everything();
        map.retain(|key, _| {
            let rule = if is_secret(key) {
                Some(Rule::Secret)
            } else if selects {
                self.verdict(setting, [key.as_str()]).map(|(rule, _)| rule)
            } else {
                None
            };
            if let Some(rule) = rule {
                removed.add(rule, thing, || example(key));
            }
            rule.is_none()
        });
        // After the selection: what is not reported is not cut, and not named in a warning that is.
        let mut cut = |limit, key: &str| removed.add(Rule::Limit(limit), thing, || example(key));
        limits::limit_map(map, &mut cut);
    }
}

/// Whether the value is known to hold what must not be in a report.
fn is_secret(key: &str) -> bool {
    let key = key.strip_prefix(SHIM_PREFIX).unwrap_or(key);
    let name = key.rsplit_once('/').map_or(key, |(_, name)| name);
    SECRETS.contains(&key) || SECRET_NAMES.contains(&name) || key.starts_with("kapp.k14s.io/original-diff")
}

#[cfg(test)]
mod tests {
    use super::is_secret;

    #[test]
    fn earlier_versions_are_known_by_their_keys() {
        for key in [
            "kubectl.kubernetes.io/last-applied-configuration",
            "annotation.kubectl.kubernetes.io/last-applied-configuration",
            "banzaicloud.com/last-applied",
            "kapp.k14s.io/original",
            "kapp.k14s.io/original-diff-full",
            "annotation.kapp.k14s.io/original",
            "kopf.zalando.org/last-handled-configuration",
            "operator.example.com/last-handled-configuration",
            "objectset.rio.cattle.io/applied",
            "devcontainer.metadata",
        ] {
            assert!(is_secret(key), "{key}");
        }
        for key in
            ["app", "kapp.k14s.io/app", "example.com/last-applied-by", "kubernetes.io/config.hash", "annotation."]
        {
            assert!(!is_secret(key), "{key}");
        }
    }
}
