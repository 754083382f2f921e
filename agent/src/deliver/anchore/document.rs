//! From a report to what is sent of it: fragments that are put together to bodies of any size, of which each is one namespace's.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
};

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use stocktake_core::{model::Inventory, unify::UnifiedView};
use uuid::Uuid;

use super::{
    hosts::{Hosts, of_one_name, uid},
    route::{Place, Router},
};
use crate::render::{
    MissingTag,
    clusters::{Cluster, seconds, seen_clusters},
    gaps, k8s_inventory, kai,
};

/// Which of Anchore's two documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// Images by namespace, as kai sends them.
    Images,
    /// Containers, pods, nodes and namespaces, as k8s-inventory sends them.
    Pods,
}

/// What all bodies of one cluster have in common.
pub(super) struct Frame {
    /// Among the clusters of the report, of which two may have one name.
    pub(super) position: usize,
    pub(super) cluster: String,
    pub(super) format: Format,
    pub(super) timestamp: String,
    pub(super) version: Option<Box<RawValue>>,
    pub(super) nodes: Vec<Box<RawValue>>,
    /// Positions of the nodes that no pod is on.
    pub(super) idle: Vec<usize>,
}

/// A namespace, or a part of one.
pub(super) struct Unit {
    pub(super) frame: Arc<Frame>,
    pub(super) account: Arc<str>,
    pub(super) name: String,
    /// The namespace's own object, or its name.
    pub(super) head: Box<RawValue>,
    pub(super) items: Vec<Item>,
    /// What the whole namespace has.
    pub(super) whole: Whole,
}

/// A namespace as a whole, whatever part of it is looked at.
#[derive(Clone, Copy)]
pub(super) struct Whole {
    /// How many items it has.
    pub(super) items: usize,
    /// Equal for equal content, the nodes of its pods included.
    pub(super) content: u64,
}

/// What is never divided: a pod with its containers, or an image.
pub(super) struct Item {
    /// Among those of its namespace.
    pub(super) position: usize,
    pub(super) json: Box<RawValue>,
    pub(super) containers: Vec<Box<RawValue>>,
    /// Position of the node.
    pub(super) node: Option<usize>,
}

/// What of a report is to be sent, and what is to be told about it.
pub(super) struct Load {
    pub(super) units: Vec<Unit>,
    /// What was not seen.
    pub(super) gaps: Vec<String>,
    /// What is left out, and why.
    pub(super) remarks: Vec<String>,
    /// Names of the clusters and hosts.
    pub(super) clusters: Vec<String>,
}

/// How a report is read.
pub(super) struct Reading {
    pub(super) missing_tag: MissingTag,
    pub(super) hosts: bool,
    pub(super) router: Router,
}

/// Makes the fragments. `None` if the report contradicts itself, which is a bug.
pub(super) fn load(inventory: &Inventory, format: Format, reading: &Reading) -> Option<Load> {
    let view = UnifiedView::of(inventory)?;
    let (mut clusters, mut remarks) = seen_clusters(&view);
    let first_host = clusters.len();
    let (hosts, of_hosts) = Hosts::of(&view);
    if reading.hosts {
        clusters.extend(hosts.clusters(&view));
        remarks.extend(of_hosts);
    }
    remarks.extend(of_one_name(&clusters));
    let timestamp = seconds(inventory.report.created_at);
    let mut load = Load { units: Vec::new(), gaps: gaps(inventory), remarks: Vec::new(), clusters: Vec::new() };
    for (position, cluster) in clusters.iter().enumerate() {
        let (policy, timestamp) = (&reading.missing_tag, timestamp.clone());
        let units = match format {
            Format::Images => images(kai::report(cluster, policy, timestamp, &mut remarks), position),
            Format::Pods => pods(k8s_inventory::report(cluster, policy, timestamp, &mut remarks), position),
        };
        let is_host = position >= first_host;
        load.units.extend(routed(units.ok()?, cluster, is_host, &reading.router, &mut remarks));
        load.clusters.push(cluster.name.to_owned());
    }
    load.remarks = remarks;
    // Bodies of one account and cluster are one behind the other.
    load.units.sort_by(|a, b| (&a.account, a.frame.position, &a.name).cmp(&(&b.account, b.frame.position, &b.name)));
    Some(load)
}

/// The units with the accounts that they are for; without those that are for none.
fn routed(
    units: Vec<Unit>,
    cluster: &Cluster<'_>,
    is_host: bool,
    router: &Router,
    remarks: &mut Vec<String>,
) -> Vec<Unit> {
    let (mut placed, mut unknown, mut unlabelled) = (Vec::new(), Vec::new(), 0);
    for mut unit in units {
        let object = cluster.namespaces.get(unit.name.as_str()).and_then(|content| content.namespace);
        match router.place(&unit.name, object.map(|object| &object.labels), is_host) {
            Place::Account(account) => {
                unit.account = account;
                placed.push(unit);
            }
            Place::Nowhere => unlabelled += 1,
            Place::Unknown => unknown.push(unit.name),
        }
    }
    let name = cluster.name;
    if unlabelled > 0 {
        remarks.push(format!(
            "cluster {name}: {unlabelled} namespaces have no label that names an account (ignore_missing_label)"
        ));
    }
    if !unknown.is_empty() {
        let names = unknown.join(", ");
        remarks.push(format!(
            "cluster {name}: namespaces whose labels may not be read are sent to no account, for the label decides which: {names}; \
             grant the collector `list` on namespaces"
        ));
    }
    placed
}

fn images(report: kai::Report<'_>, position: usize) -> serde_json::Result<Vec<Unit>> {
    let frame = Arc::new(Frame {
        position,
        cluster: report.cluster_name.to_owned(),
        format: Format::Images,
        timestamp: report.timestamp,
        version: report.server_version_metadata.as_ref().map(to_raw_value).transpose()?,
        nodes: Vec::new(),
        idle: Vec::new(),
    });
    let mut units = Vec::new();
    for namespace in report.results {
        let item = |(position, image): (usize, &kai::Image)| {
            Ok(Item { position, json: to_raw_value(image)?, containers: Vec::new(), node: None })
        };
        let items: Vec<Item> = namespace.images.iter().enumerate().map(item).collect::<serde_json::Result<_>>()?;
        units.push(Unit {
            frame: Arc::clone(&frame),
            account: Arc::from(""),
            name: namespace.namespace.to_owned(),
            head: to_raw_value(namespace.namespace)?,
            whole: whole(&frame, "", &items),
            items,
        });
    }
    Ok(units)
}

fn pods(mut report: k8s_inventory::Report<'_>, position: usize) -> serde_json::Result<Vec<Unit>> {
    valid_uids(&mut report);
    let positions: BTreeMap<&str, usize> =
        report.nodes.iter().enumerate().map(|(position, node)| (&*node.uid, position)).collect();
    let is_used: BTreeSet<&str> = report.pods.iter().filter_map(|pod| pod.node_uid.as_deref()).collect();
    let frame = Arc::new(Frame {
        position,
        cluster: report.cluster_name.to_owned(),
        format: Format::Pods,
        timestamp: report.timestamp.clone(),
        version: report.server_version_metadata.as_ref().map(to_raw_value).transpose()?,
        nodes: report.nodes.iter().map(to_raw_value).collect::<serde_json::Result<_>>()?,
        idle: positions.iter().filter(|(uid, _)| !is_used.contains(*uid)).map(|(_, position)| *position).collect(),
    });
    let mut containers: BTreeMap<&str, Vec<Box<RawValue>>> = BTreeMap::new();
    for container in &report.containers {
        containers.entry(&container.pod_uid).or_default().push(to_raw_value(container)?);
    }
    let mut items: BTreeMap<&str, Vec<Item>> = BTreeMap::new();
    for pod in &report.pods {
        let items = items.entry(&pod.namespace_uid).or_default();
        items.push(Item {
            position: items.len(),
            json: to_raw_value(pod)?,
            containers: containers.remove(&*pod.uid).unwrap_or_default(),
            node: pod.node_uid.as_deref().and_then(|uid| positions.get(uid).copied()),
        });
    }
    let unit = |namespace: &k8s_inventory::Namespace<'_>| {
        let (head, items) = (to_raw_value(namespace)?, items.remove(&*namespace.uid).unwrap_or_default());
        Ok(Unit {
            frame: Arc::clone(&frame),
            account: Arc::from(""),
            name: namespace.name.to_owned(),
            whole: whole(&frame, head.get(), &items),
            head,
            items,
        })
    };
    report.namespaces.iter().map(unit).collect()
}

/// Sums up a namespace.
fn whole(frame: &Frame, head: &str, items: &[Item]) -> Whole {
    let mut hasher = DefaultHasher::new();
    head.hash(&mut hasher);
    for item in items {
        item.json.get().hash(&mut hasher);
        for container in &item.containers {
            container.get().hash(&mut hasher);
        }
    }
    let nodes: BTreeSet<usize> = items.iter().filter_map(|item| item.node).collect();
    for node in nodes {
        frame.nodes[node].get().hash(&mut hasher);
    }
    Whole { items: items.len(), content: hasher.finish() }
}

/// Gives a uid of the right form to what has another, as objects have that no API server has made: the server refuses the whole
/// body for one.
fn valid_uids(report: &mut k8s_inventory::Report<'_>) {
    let cluster = report.cluster_name;
    let mend = |kind: &str, found: &mut Cow<'_, str>| {
        // `Uuid` reads other forms too.
        if Uuid::parse_str(found).is_ok_and(|uid| uid.to_string() == **found) {
            return;
        }
        *found = Cow::Owned(uid(&[cluster, kind, found]));
    };
    report.namespaces.iter_mut().for_each(|namespace| mend("namespace", &mut namespace.uid));
    report.nodes.iter_mut().for_each(|node| mend("node", &mut node.uid));
    for pod in &mut report.pods {
        mend("pod", &mut pod.uid);
        mend("namespace", &mut pod.namespace_uid);
        pod.node_uid.iter_mut().for_each(|uid| mend("node", uid));
    }
    report.containers.iter_mut().for_each(|container| mend("pod", &mut container.pod_uid));
}

/// A body as kai sends it.
#[derive(Serialize)]
struct ImagesBody<'a> {
    timestamp: &'a str,
    results: Vec<ImagesOf<'a>>,
    #[serde(rename = "serverVersionMetadata")]
    server_version_metadata: Option<&'a RawValue>,
    cluster_name: &'a str,
    inventory_type: &'static str,
}

#[derive(Serialize)]
struct ImagesOf<'a> {
    namespace: &'a RawValue,
    images: Vec<&'a RawValue>,
}

/// A body as k8s-inventory sends it.
#[derive(Serialize)]
struct PodsBody<'a> {
    cluster_name: &'a str,
    containers: Vec<&'a RawValue>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    namespaces: Vec<&'a RawValue>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    nodes: Vec<&'a RawValue>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pods: Vec<&'a RawValue>,
    #[serde(rename = "serverVersionMetadata")]
    server_version_metadata: Option<&'a RawValue>,
    timestamp: &'a str,
}

impl Frame {
    /// The body of some namespaces and nodes of this cluster.
    pub(super) fn body(&self, units: &[Unit], nodes: impl IntoIterator<Item = usize>) -> serde_json::Result<Vec<u8>> {
        match self.format {
            Format::Images => serde_json::to_vec(&ImagesBody {
                timestamp: &self.timestamp,
                results: units.iter().map(images_of).collect(),
                server_version_metadata: self.version.as_deref(),
                cluster_name: &self.cluster,
                inventory_type: "kubernetes",
            }),
            Format::Pods => {
                let items = || units.iter().flat_map(|unit| &unit.items);
                serde_json::to_vec(&PodsBody {
                    cluster_name: &self.cluster,
                    containers: items().flat_map(|item| &item.containers).map(|container| &**container).collect(),
                    namespaces: units.iter().map(|unit| &*unit.head).collect(),
                    nodes: nodes.into_iter().map(|position| &*self.nodes[position]).collect(),
                    pods: items().map(|item| &*item.json).collect(),
                    server_version_metadata: self.version.as_deref(),
                    timestamp: &self.timestamp,
                })
            }
        }
    }

    /// Bytes of a body without any namespace, with all keys.
    pub(super) fn bytes(&self) -> usize {
        let keys = if self.format == Format::Pods { r#""namespaces":[],"nodes":[],"pods":[],"#.len() } else { 0 };
        self.body(&[], []).map_or(0, |body| body.len()) + keys
    }
}

fn images_of(unit: &Unit) -> ImagesOf<'_> {
    ImagesOf { namespace: &unit.head, images: unit.items.iter().map(|item| &*item.json).collect() }
}

impl Unit {
    /// Bytes of all of it but its items, with a comma.
    pub(super) fn head_bytes(&self) -> usize {
        let keys = if self.frame.format == Format::Images { r#"{"namespace":,"images":[]}"#.len() } else { 0 };
        self.head.get().len() + keys + 1
    }

    /// This part of it, without any item yet.
    pub(super) fn empty(&self) -> Self {
        Self {
            frame: Arc::clone(&self.frame),
            account: Arc::clone(&self.account),
            name: self.name.clone(),
            head: self.head.clone(),
            items: Vec::new(),
            whole: self.whole,
        }
    }
}

impl Item {
    /// Bytes of it and its containers, with commas.
    pub(super) fn bytes(&self) -> usize {
        self.json.get().len() + 1 + self.containers.iter().map(|container| container.get().len() + 1).sum::<usize>()
    }
}
