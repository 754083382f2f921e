//! k8s-inventory's report (`POST /v2/kubernetes-inventory`, 1.0 to 1.8): flat lists that refer to each other by uid.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use serde::Deserialize;
use stocktake_core::{
    labels::Labels,
    model::{Container, Coverage, Namespace, Node, Pod, Scope, ScopeId},
};

use super::report::{Told, image};
use crate::ingest::Incoming;

#[derive(Debug, Deserialize)]
pub(super) struct KubernetesInventory {
    cluster_name: String,
    timestamp: Timestamp,
    #[serde(default)]
    namespaces: Vec<Meta>,
    #[serde(default)]
    nodes: Vec<ReportedNode>,
    #[serde(default)]
    pods: Vec<ReportedPod>,
    #[serde(default)]
    containers: Vec<ReportedContainer>,
}

#[derive(Debug, Deserialize)]
struct Meta {
    uid: String,
    name: String,
    #[serde(default)]
    labels: Labels,
    #[serde(default)]
    annotations: Labels,
}

#[derive(Debug, Deserialize)]
struct ReportedNode {
    #[serde(flatten)]
    meta: Meta,
    kernel_version: Option<String>,
    kubelet_version: Option<String>,
    arch: Option<String>,
    container_runtime_version: Option<String>,
    operating_system: Option<String>,
}

#[derive(Debug, Deserialize)]
struct ReportedPod {
    #[serde(flatten)]
    meta: Meta,
    namespace_uid: String,
    node_uid: Option<String>,
}

#[derive(Debug, Deserialize)]
struct ReportedContainer {
    id: String,
    name: String,
    image_tag: String,
    image_digest: Option<String>,
    pod_uid: String,
}

impl KubernetesInventory {
    /// A container of a pod that the report does not tell of. Anchore refuses such a report, and the agent takes care not to send one:
    /// to leave the container out would be to say that it does not run.
    pub(super) fn without_pod(&self) -> Option<&str> {
        let pods: HashSet<&str> = self.pods.iter().map(|pod| pod.meta.uid.as_str()).collect();
        let without = self.containers.iter().find(|container| !pods.contains(container.pod_uid.as_str()));
        without.map(|container| container.id.as_str())
    }

    /// A batch tells of whole namespaces, and of those nodes that its pods are on.
    pub(super) fn incoming(self, request: &[u8]) -> Incoming {
        let Self { cluster_name, timestamp, namespaces, nodes, pods, containers } = self;
        let node_names: HashMap<&str, &str> =
            nodes.iter().map(|node| (node.meta.uid.as_str(), node.meta.name.as_str())).collect();
        let names: HashMap<&str, &str> =
            namespaces.iter().map(|namespace| (namespace.uid.as_str(), namespace.name.as_str())).collect();
        let mut scopes: HashMap<&str, Scope> = names.values().map(|name| (*name, Scope::default())).collect();
        let mut of_pod: HashMap<&str, &str> = HashMap::new();
        for pod in &pods {
            // The agent drops what refers to nothing before it sends; who does not gets it under the uid.
            let namespace = names.get(pod.namespace_uid.as_str()).copied().unwrap_or(&pod.namespace_uid);
            of_pod.insert(&pod.meta.uid, namespace);
            let node = pod.node_uid.as_deref().and_then(|uid| node_names.get(uid));
            scopes.entry(namespace).or_default().pods.push(Pod {
                uid: pod.meta.uid.as_str().into(),
                name: pod.meta.name.as_str().into(),
                namespace: namespace.into(),
                node_name: node.map(|name| (*name).into()),
                labels: pod.meta.labels.clone(),
                annotations: pod.meta.annotations.clone(),
                ..Pod::default()
            });
        }
        for container in &containers {
            let Some(scope) = of_pod.get(container.pod_uid.as_str()).and_then(|namespace| scopes.get_mut(namespace))
            else {
                continue;
            };
            let digest = container.image_digest.as_deref().filter(|digest| !digest.is_empty());
            let id = format!("{}@{}", container.image_tag, digest.unwrap_or_default());
            scope.images.push(image(id.clone(), &container.image_tag, digest));
            let runtime_id = container.id.split_once("://").map_or(container.id.as_str(), |(_, id)| id);
            scope.containers.push(Container {
                id: Some(runtime_id.into()),
                name: container.name.as_str().into(),
                pod_uid: Some(container.pod_uid.as_str().into()),
                image: Some(container.image_tag.as_str().into()),
                image_ref: Some(id.into()),
                ..Container::default()
            });
        }
        let reason = "a batch tells of the namespaces and nodes that it is about".to_owned();
        let cluster = Scope {
            nodes: nodes.iter().map(node).collect(),
            namespaces: namespaces.iter().map(namespace).collect(),
            ..Scope::default()
        };
        let mut told = vec![(ScopeId::cluster(), Coverage::Partial { reason }, cluster)];
        told.extend(scopes.into_iter().map(|(name, scope)| (ScopeId::namespace(name), Coverage::Complete, scope)));
        let (kind, runtime) = ("k8s-inventory", "kubernetes");
        Told { kind, runtime, cluster: cluster_name, timestamp: Some(timestamp), scopes: told }.incoming(request)
    }
}

fn node(node: &ReportedNode) -> Node {
    Node {
        name: node.meta.name.as_str().into(),
        uid: Some(node.meta.uid.as_str().into()),
        container_runtime_version: node.container_runtime_version.as_deref().map(Into::into),
        kernel_version: node.kernel_version.as_deref().map(Into::into),
        kubelet_version: node.kubelet_version.as_deref().map(Into::into),
        operating_system: node.operating_system.as_deref().map(Into::into),
        architecture: node.arch.as_deref().map(Into::into),
        labels: node.meta.labels.clone(),
        annotations: node.meta.annotations.clone(),
        ..Node::default()
    }
}

fn namespace(namespace: &Meta) -> Namespace {
    Namespace {
        name: namespace.name.as_str().into(),
        uid: Some(namespace.uid.as_str().into()),
        labels: namespace.labels.clone(),
        annotations: namespace.annotations.clone(),
        ..Namespace::default()
    }
}
