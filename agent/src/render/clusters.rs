//! What the formats of Anchore's agents are made from: an inventory by cluster and namespace. They know Kubernetes alone,
//! and who reads them replaces all that it has of a namespace by what is reported of it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;
use stocktake_core::{
    model::{ContainerKind, Inventory, Namespace, Node, Pod, Scope, ScopeKind, Source},
    unify::{ContainerView, UnifiedView},
};

/// A cluster.
pub(crate) struct Cluster<'a> {
    /// Its name, else its uid, else the collector's name.
    pub(crate) name: &'a str,
    /// As its API server tells it: `v1.20.2`.
    pub(crate) version: Option<&'a str>,
    /// By name.
    pub(crate) nodes: BTreeMap<&'a str, &'a Node>,
    /// The namespaces that were completely seen, by name.
    pub(crate) namespaces: BTreeMap<&'a str, Content<'a>>,
    /// How many of their containers Anchore's agents would not read.
    pub(crate) unread: usize,
}

/// What is in a namespace.
#[derive(Default)]
pub(crate) struct Content<'a> {
    /// The namespace itself, where it may be seen.
    pub(crate) namespace: Option<&'a Namespace>,
    /// By name.
    pub(crate) pods: BTreeMap<&'a str, &'a Pod>,
    /// In the order of the unified view, and only those that Anchore's agents read: of pods that run, and not ephemeral.
    pub(crate) containers: Vec<Placed<'a>>,
}

/// A container with the pod that has it by the cluster's word, not by the runtime's.
pub(crate) struct Placed<'a> {
    pub(crate) view: &'a ContainerView<'a>,
    pub(crate) pod: &'a Pod,
    /// What it is called instead of its id behind the scheme of its node's runtime.
    pub(crate) id: Option<&'a str>,
}

/// The clusters of a report, by name; and remarks on what a format that knows nothing else leaves out.
pub(super) fn clusters<'a>(view: &'a UnifiedView<'a>) -> (Vec<Cluster<'a>>, Vec<String>) {
    let mut remarks = not_of_clusters(view);
    let (clusters, of_clusters) = seen_clusters(view);
    remarks.extend(of_clusters);
    if clusters.is_empty() {
        remarks
            .push("no Kubernetes cluster was seen, and this format knows nothing else: nothing is printed".to_owned());
    }
    (clusters, remarks)
}

/// The clusters of a report, by name; and remarks on what of them was not seen, or is not read by Anchore's agents.
pub(crate) fn seen_clusters<'a>(view: &'a UnifiedView<'a>) -> (Vec<Cluster<'a>>, Vec<String>) {
    let mut by_key: BTreeMap<&str, Vec<&Source>> = BTreeMap::new();
    for source in &view.inventory.report.sources {
        if let Some(key) = key(view.inventory, source) {
            by_key.entry(key).or_default().push(source);
        }
    }
    let (mut clusters, mut remarks) = (Vec::new(), Vec::new());
    for (key, sources) in by_key {
        let cluster = cluster(view, key, &sources);
        remarks.extend(node_by_node(&cluster, &sources));
        // An empty document would say that the cluster is.
        let is_whole = sources.iter().all(|source| source.is_complete() && nodes_of(source).next().is_none());
        if cluster.namespaces.is_empty() && !is_whole {
            remarks
                .push(format!("no namespace of cluster {} was completely seen: nothing is said of it", cluster.name));
            continue;
        }
        remarks.extend(not_said(view.inventory, &cluster, key));
        clusters.push(cluster);
    }
    clusters.sort_by(|a, b| a.name.cmp(b.name));
    (clusters, remarks)
}

/// What tells clusters apart: two collectors may look at one. Who may not read its uid has the name that it was given, as
/// somebody else may have who read the uid.
fn key<'a>(inventory: &'a Inventory, source: &'a Source) -> Option<&'a str> {
    let cluster = source.cluster.as_ref()?;
    let of_same_name = || {
        let name = cluster.name.as_ref()?;
        let others = inventory.report.sources.iter().filter_map(|source| source.cluster.as_ref());
        others.filter(|other| other.name.as_ref() == Some(name)).find_map(|other| other.uid.as_deref())
    };
    let known = cluster.uid.as_deref().or_else(of_same_name).or(cluster.name.as_deref());
    Some(known.unwrap_or(&source.collector))
}

fn cluster<'a>(view: &'a UnifiedView<'a>, key_of_cluster: &str, sources: &[&'a Source]) -> Cluster<'a> {
    let name = |source: &&'a Source| source.cluster.as_ref().and_then(|cluster| cluster.name.as_deref());
    let uid = |source: &&'a Source| source.cluster.as_ref().and_then(|cluster| cluster.uid.as_deref());
    let mut cluster = Cluster {
        name: sources.iter().find_map(name).or_else(|| sources.iter().find_map(uid)).unwrap_or(&sources[0].collector),
        version: sources.iter().find_map(|source| source.runtime.as_ref()).map(|runtime| runtime.version.as_str()),
        nodes: BTreeMap::new(),
        namespaces: BTreeMap::new(),
        unread: 0,
    };
    let mut objects: BTreeMap<&str, &Namespace> = BTreeMap::new();
    for source in sources {
        for (name, scope) in complete_namespaces(view.inventory, source) {
            let content = cluster.namespaces.entry(name).or_default();
            content.pods.extend(scope.pods.iter().map(|pod| (pod.name.as_str(), pod)));
        }
        for scope in of_cluster(view.inventory, source) {
            cluster.nodes.extend(scope.nodes.iter().map(|node| (node.name.as_str(), node)));
            objects.extend(scope.namespaces.iter().map(|namespace| (namespace.name.as_str(), namespace)));
        }
    }
    for (name, content) in &mut cluster.namespaces {
        content.namespace = objects.get(name).copied();
    }
    for container in &view.containers {
        let mut seen = container.seen.iter().filter(|seen| seen.entry.id.kind == ScopeKind::Namespace);
        let seen = seen.find(|seen| key(view.inventory, seen.source) == Some(key_of_cluster));
        let Some((seen, pod)) = seen.and_then(|seen| Some((seen, seen.pod?))) else { continue };
        let Some(content) = cluster.namespaces.get_mut(seen.entry.id.name.as_str()) else { continue };
        if is_read(container.container.kind, pod) {
            content.containers.push(Placed { view: container, pod, id: None });
        } else {
            cluster.unread += 1;
        }
    }
    cluster
}

/// Both agents read init and regular containers of pods that run, unless told otherwise (`ignore-not-running`).
fn is_read(kind: ContainerKind, pod: &Pod) -> bool {
    let is_of_specification = !matches!(kind, ContainerKind::Ephemeral | ContainerKind::Sandbox);
    is_of_specification && pod.phase.as_deref() == Some("Running")
}

fn complete_namespaces<'a>(
    inventory: &'a Inventory,
    source: &'a Source,
) -> impl Iterator<Item = (&'a str, &'a Scope)> + use<'a> {
    let complete = source.scopes.iter().filter(|entry| entry.coverage.is_complete());
    complete.filter(|entry| entry.id.kind == ScopeKind::Namespace).filter_map(|entry| {
        let body = inventory.scopes.get(entry.digest.as_ref()?)?;
        Some((entry.id.name.as_str(), body))
    })
}

fn of_cluster<'a>(inventory: &'a Inventory, source: &'a Source) -> impl Iterator<Item = &'a Scope> {
    let entries = source.scopes.iter().filter(|entry| entry.id.kind == ScopeKind::Cluster);
    entries.filter_map(|entry| inventory.scopes.get(entry.digest.as_ref()?))
}

/// The nodes that a source looks at one by one.
fn nodes_of(source: &Source) -> impl Iterator<Item = &str> {
    source.scopes.iter().filter(|entry| entry.id.kind == ScopeKind::Node).map(|entry| entry.id.name.as_str())
}

/// The remark on what was seen of single nodes, which is no namespace completely.
fn node_by_node(cluster: &Cluster<'_>, sources: &[&Source]) -> Option<String> {
    let nodes: BTreeSet<&str> = sources.iter().flat_map(|source| nodes_of(source)).collect();
    (!nodes.is_empty()).then(|| {
        let nodes: Vec<&str> = nodes.into_iter().collect();
        format!(
            "cluster {}: what was seen of {} alone ({}) is left out; who reads this format replaces all that it has of a \
             namespace",
            cluster.name,
            counted(nodes.len(), "node", "nodes"),
            nodes.join(", ")
        )
    })
}

/// A remark on the containers that no cluster has, for each set of collectors that saw some.
fn not_of_clusters(view: &UnifiedView<'_>) -> Vec<String> {
    let mut counts: BTreeMap<(String, bool), usize> = BTreeMap::new();
    for container in &view.containers {
        let is_placed = container.seen.iter().any(|seen| seen.source.cluster.is_some());
        if !is_placed && container.container.kind != ContainerKind::Sandbox {
            let is_of_host = container.seen.iter().any(|seen| seen.source.host.is_some());
            *counts.entry((container.collectors().join(", "), is_of_host)).or_default() += 1;
        }
    }
    let remark = |((collectors, is_of_host), count): ((String, bool), usize)| {
        let why = if is_of_host { "this format knows Kubernetes alone" } else { "it is not known of which cluster" };
        let left_out = counted(count, "container is", "containers are");
        format!("{collectors}: {left_out} left out, for {why}; json, csv and cyclonedx have them")
    };
    counts.into_iter().map(remark).collect()
}

/// The remark on what Anchore's agents would not read, or what nobody may read who takes a namespace for complete.
fn not_said(inventory: &Inventory, cluster: &Cluster<'_>, key_of_cluster: &str) -> Vec<String> {
    let sources = inventory.report.sources.iter().filter(|source| key(inventory, source) == Some(key_of_cluster));
    let entries = sources.flat_map(|source| &source.scopes).filter(|entry| entry.id.kind == ScopeKind::Namespace);
    let missing: BTreeSet<&str> =
        entries.map(|entry| entry.id.name.as_str()).filter(|name| !cluster.namespaces.contains_key(name)).collect();
    let incomplete = (!missing.is_empty()).then(|| {
        let names: Vec<&str> = missing.into_iter().collect();
        format!(
            "cluster {}: {} left out, not having been completely seen: {}; who reads this format replaces all that it \
             has of a namespace",
            cluster.name,
            counted(names.len(), "namespace is", "namespaces are"),
            names.join(", ")
        )
    });
    let unread = (cluster.unread > 0).then(|| {
        format!(
            "cluster {}: {} left out, being ephemeral or of pods that do not run, which Anchore's agents do not read",
            cluster.name,
            counted(cluster.unread, "container is", "containers are")
        )
    });
    incomplete.into_iter().chain(unread).collect()
}

/// `1 pod`, `2 pods`.
pub(crate) fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// What Go's `version.Info` of Kubernetes holds (`k8s.io/apimachinery/pkg/version`). A report has only the version: the
/// rest is empty, which both agents' readers accept.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ServerVersion<'a> {
    major: String,
    minor: String,
    git_version: &'a str,
    git_commit: &'a str,
    git_tree_state: &'a str,
    build_date: &'a str,
    go_version: &'a str,
    compiler: &'a str,
    platform: &'a str,
}

impl<'a> ServerVersion<'a> {
    pub(super) fn of(git_version: &'a str) -> Self {
        let (major, minor) = major_and_minor(git_version).unwrap_or_default();
        Self {
            major,
            minor,
            git_version,
            git_commit: "",
            git_tree_state: "",
            build_date: "",
            go_version: "",
            compiler: "",
            platform: "",
        }
    }
}

/// As Kubernetes' build makes them from the version (`hack/lib/version.sh`): a version that goes on behind a hyphen has a
/// plus sign in its minor part.
fn major_and_minor(git_version: &str) -> Option<(String, String)> {
    let version = git_version.strip_prefix('v')?;
    let version = version.split_once('+').map_or(version, |(version, _)| version);
    let (numbers, plus) = version.split_once('-').map_or((version, ""), |(numbers, _)| (numbers, "+"));
    let mut parts = numbers.split('.');
    let mut number = || parts.next().filter(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
    let (major, minor) = (number()?, number()?);
    Some((major.to_owned(), format!("{minor}{plus}")))
}

/// RFC 3339, UTC, whole seconds.
pub(crate) fn seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn major_and_minor_are_those_that_kubernetes_is_built_with() {
        let of = |version| ServerVersion::of(version);
        for (version, major, minor) in [
            ("v1.20.2", "1", "20"),
            ("v1.21.5-eks-bc4871b", "1", "21+"),
            ("v1.29.3+k3s1", "1", "29"),
            ("v1.16.6-beta.0", "1", "16+"),
            ("v1.30.0-rc.1+build-7", "1", "30+"),
            ("1.20.2", "", ""),
            ("v1", "", ""),
            ("vx.y", "", ""),
        ] {
            assert_eq!((of(version).major.as_str(), of(version).minor.as_str()), (major, minor), "{version}");
        }
    }
}
