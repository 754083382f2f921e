//! What Anchore's `k8s-inventory` prints and sends: containers, pods, nodes and namespaces of a Kubernetes cluster, which
//! refer to each other by uid.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    io::{self, Write},
};

use serde::Serialize;
use stocktake_core::{labels::Labels, model, unify::UnifiedView};

use super::{
    clusters::{self, Cluster, Placed, ServerVersion, counted},
    exchange::indented_json,
    kai::without_tag,
    missing_tag::{MissingTag, Tagged, tagged},
};

/// One cluster's inventory, in the order and under the conditions of k8s-inventory's own fields.
#[derive(Serialize)]
pub(crate) struct Report<'a> {
    pub(crate) cluster_name: &'a str,
    pub(crate) containers: Vec<Container<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) namespaces: Vec<Namespace<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) nodes: Vec<Node<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) pods: Vec<Pod<'a>>,
    #[serde(rename = "serverVersionMetadata")]
    pub(crate) server_version_metadata: Option<ServerVersion<'a>>,
    pub(crate) timestamp: String,
}

#[derive(Serialize)]
pub(crate) struct Container<'a> {
    id: String,
    image_digest: String,
    image_tag: String,
    name: &'a str,
    pub(crate) pod_uid: Cow<'a, str>,
}

#[derive(Serialize)]
pub(crate) struct Namespace<'a> {
    #[serde(skip_serializing_if = "is_empty")]
    annotations: &'a Labels,
    #[serde(skip_serializing_if = "is_empty")]
    labels: &'a Labels,
    pub(crate) name: &'a str,
    pub(crate) uid: Cow<'a, str>,
}

#[derive(Serialize)]
pub(crate) struct Node<'a> {
    #[serde(skip_serializing_if = "is_empty")]
    annotations: &'a Labels,
    #[serde(skip_serializing_if = "Option::is_none")]
    arch: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container_runtime_version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kernel_version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kubelet_version: Option<&'a str>,
    #[serde(skip_serializing_if = "is_empty")]
    labels: &'a Labels,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    operating_system: Option<&'a str>,
    pub(crate) uid: Cow<'a, str>,
}

#[derive(Serialize)]
pub(crate) struct Pod<'a> {
    #[serde(skip_serializing_if = "is_empty")]
    annotations: &'a Labels,
    #[serde(skip_serializing_if = "is_empty")]
    labels: &'a Labels,
    name: &'a str,
    pub(crate) namespace_uid: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) node_uid: Option<Cow<'a, str>>,
    pub(crate) uid: Cow<'a, str>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_empty(labels: &&Labels) -> bool {
    labels.is_empty()
}

/// How many were left out because a receiver refuses a report with references that lead nowhere.
#[derive(Default)]
struct Dropped {
    namespaces: usize,
    nodes: usize,
    pods: usize,
    containers: usize,
    node_references: usize,
}

/// One document a cluster, by name, each indented by two spaces. Returns remarks on what is left out.
pub(super) fn json(view: &UnifiedView<'_>, policy: &MissingTag, out: &mut impl Write) -> io::Result<Vec<String>> {
    let (clusters, mut remarks) = clusters::clusters(view);
    let timestamp = clusters::seconds(view.inventory.report.created_at);
    for cluster in &clusters {
        let report = report(cluster, policy, timestamp.clone(), &mut remarks);
        indented_json(&report, b"  ", out)?;
    }
    Ok(remarks)
}

/// In the order of the agent's `Normalize`: what a thing refers to is there, or the thing is not.
pub(crate) fn report<'a>(
    cluster: &Cluster<'a>,
    policy: &MissingTag,
    timestamp: String,
    remarks: &mut Vec<String>,
) -> Report<'a> {
    let mut dropped = Dropped::default();
    let (namespaces, nodes) = (namespaces(cluster, &mut dropped), nodes(cluster, &mut dropped));
    let pods = pods(cluster, &namespaces, &nodes, &mut dropped);
    let containers = containers(cluster, &pods, policy, &mut dropped, remarks);
    remarks.extend(dropped.remark(cluster.name));
    Report {
        cluster_name: cluster.name,
        containers,
        namespaces,
        nodes,
        pods,
        server_version_metadata: cluster.version.map(ServerVersion::of),
        timestamp,
    }
}

fn namespaces<'a>(cluster: &Cluster<'a>, dropped: &mut Dropped) -> Vec<Namespace<'a>> {
    let mut namespaces = Vec::new();
    for content in cluster.namespaces.values() {
        match content.namespace.and_then(|namespace| Some((namespace, uid(namespace.uid.as_ref())?))) {
            Some((model::Namespace { annotations, labels, name, .. }, uid)) => {
                namespaces.push(Namespace { annotations, labels, name, uid: uid.into() });
            }
            None => dropped.namespaces += 1,
        }
    }
    namespaces
}

fn nodes<'a>(cluster: &Cluster<'a>, dropped: &mut Dropped) -> Vec<Node<'a>> {
    let node = |node: &'a model::Node| {
        Some(Node {
            annotations: &node.annotations,
            arch: node.architecture.as_deref(),
            container_runtime_version: node.container_runtime_version.as_deref(),
            kernel_version: node.kernel_version.as_deref(),
            kubelet_version: node.kubelet_version.as_deref(),
            labels: &node.labels,
            name: &node.name,
            operating_system: node.operating_system.as_deref(),
            uid: uid(node.uid.as_ref())?.into(),
        })
    };
    let nodes: Vec<Node<'a>> = cluster.nodes.values().copied().filter_map(node).collect();
    dropped.nodes += cluster.nodes.len() - nodes.len();
    nodes
}

/// All pods, whatever their phase: that is the agent's way, whose containers are those of running pods alone.
fn pods<'a>(
    cluster: &Cluster<'a>,
    namespaces: &[Namespace<'a>],
    nodes: &[Node<'a>],
    dropped: &mut Dropped,
) -> Vec<Pod<'a>> {
    let uids_of_namespaces: BTreeMap<&str, &Cow<'a, str>> = namespaces.iter().map(|of| (of.name, &of.uid)).collect();
    let uids_of_nodes: BTreeMap<&str, &Cow<'a, str>> = nodes.iter().map(|node| (node.name, &node.uid)).collect();
    let mut pods = Vec::new();
    for (namespace, content) in &cluster.namespaces {
        let Some(namespace_uid) = uids_of_namespaces.get(namespace).copied().cloned() else {
            dropped.pods += content.pods.len();
            continue;
        };
        for pod in content.pods.values() {
            let node_uid = pod.node_name.as_deref().and_then(|name| uids_of_nodes.get(name).copied().cloned());
            dropped.node_references += usize::from(pod.node_name.is_some() && node_uid.is_none());
            let model::Pod { annotations, labels, name, uid, .. } = pod;
            let namespace_uid = namespace_uid.clone();
            pods.push(Pod { annotations, labels, name, namespace_uid, node_uid, uid: uid.as_str().into() });
        }
    }
    pods
}

fn containers<'a>(
    cluster: &Cluster<'a>,
    pods: &[Pod<'a>],
    policy: &MissingTag,
    dropped: &mut Dropped,
    remarks: &mut Vec<String>,
) -> Vec<Container<'a>> {
    let pods: BTreeSet<&str> = pods.iter().map(|pod| &*pod.uid).collect();
    let (mut containers, mut without_a_tag, mut nameless) = (Vec::new(), 0, 0);
    for placed in cluster.namespaces.values().flat_map(|content| &content.containers) {
        let (image_tag, digest) = match tagged(placed.view, policy) {
            Tagged::Image { name, digest } => (name, digest),
            Tagged::Dropped => {
                without_a_tag += 1;
                continue;
            }
            Tagged::Nameless => {
                nameless += 1;
                continue;
            }
        };
        let pod_uid = placed.pod.uid.as_str();
        let Some(id) = id(cluster, placed).filter(|_| pods.contains(pod_uid)) else {
            dropped.containers += 1;
            continue;
        };
        let image_digest = digest.map(|digest| digest.to_string()).unwrap_or_default();
        containers.push(Container {
            id,
            image_digest,
            image_tag,
            name: &placed.view.container.name,
            pod_uid: pod_uid.into(),
        });
    }
    remarks.extend(without_tag(cluster.name, without_a_tag, nameless));
    containers
}

/// The runtime's id behind the scheme that Kubernetes puts before it, which is that of the node's runtime. Where the node
/// is not known, neither is the scheme, and none is made up.
fn id(cluster: &Cluster<'_>, placed: &Placed<'_>) -> Option<String> {
    if let Some(id) = placed.id {
        return Some(id.to_owned());
    }
    let id = placed.view.container.id.as_deref()?;
    let node = placed.view.node_name().and_then(|name| cluster.nodes.get(name));
    let runtime = node.and_then(|node| node.container_runtime_version.as_deref());
    Some(match runtime.and_then(|version| version.split_once("://")) {
        Some((scheme, _)) => format!("{scheme}://{id}"),
        None => id.to_owned(),
    })
}

fn uid(uid: Option<&model::Text>) -> Option<&str> {
    uid.map(model::Text::as_str).filter(|uid| !uid.is_empty())
}

impl Dropped {
    fn remark(&self, cluster: &str) -> Option<String> {
        let counts = [
            (self.namespaces, "namespace without a known uid", "namespaces without a known uid"),
            (self.nodes, "node without a uid", "nodes without a uid"),
            (self.pods, "pod of such a namespace", "pods of such namespaces"),
            (self.containers, "container without an id or such a pod", "containers without an id or of such pods"),
            (self.node_references, "pod's unknown node", "pods' unknown nodes"),
        ];
        let counts = counts.into_iter().filter(|(count, ..)| *count > 0);
        let parts: Vec<String> = counts.map(|(count, one, many)| counted(count, one, many)).collect();
        (!parts.is_empty()).then(|| {
            let parts = parts.join(", ");
            format!("cluster {cluster}: left out, for a receiver refuses references that lead nowhere: {parts}")
        })
    }
}
