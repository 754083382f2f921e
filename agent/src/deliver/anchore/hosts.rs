//! Hosts in the words of Kubernetes, the only ones that Anchore has: a host is a cluster of one node, a runtime's namespace or a
//! Docker host a namespace, and a container without a pod a pod of its own.

use std::collections::{BTreeMap, BTreeSet};

use stocktake_core::{
    model::{ContainerKind, Namespace, Node, Pod, ScopeEntry, ScopeKind, Source},
    select::StateSelector,
    unify::{ContainerView, Seen, UnifiedView},
};
use uuid::Uuid;

use crate::render::clusters::{Cluster, Content, Placed, counted};

/// Under this, uids are made of what identifies a thing (UUID version 5), so that the same thing always has the same one.
const UIDS: Uuid = Uuid::from_u128(0xef75_7127_1242_4eed_85b0_6062_0697_d8f9);

/// A uid as Anchore wants it: 36 characters.
pub(super) fn uid(parts: &[&str]) -> String {
    // What separates them is in none of them.
    Uuid::new_v5(&UIDS, parts.join("\0").as_bytes()).to_string()
}

/// All hosts of a report.
pub(super) struct Hosts {
    /// By name and machine.
    hosts: BTreeMap<(String, String), Host>,
}

struct Host {
    node: Node,
    /// Those that were completely seen, by name.
    namespaces: BTreeMap<String, HostNamespace>,
    /// Ids of containers, which are there once each.
    ids: BTreeSet<String>,
}

struct HostNamespace {
    object: Namespace,
    /// By uid.
    pods: BTreeMap<String, Pod>,
    containers: Vec<HostContainer>,
    scheme: String,
}

struct HostContainer {
    /// In the view.
    position: usize,
    pod_uid: String,
    id: String,
}

impl Hosts {
    /// The hosts, and remarks on what of them cannot be said.
    pub(super) fn of(view: &UnifiedView<'_>) -> (Self, Vec<String>) {
        let mut hosts = Self { hosts: BTreeMap::new() };
        for source in view.inventory.report.sources.iter().filter(|source| source.cluster.is_none()) {
            let complete = source.scopes.iter().filter(|entry| entry.coverage.is_complete());
            for entry in complete.filter(|entry| view.inventory.body(entry).is_some()) {
                hosts.add(source, entry);
            }
        }
        for (position, container) in view.containers.iter().enumerate() {
            if let Some(seen) = of_host(container) {
                hosts.place(position, container, seen);
            }
        }
        let remarks = hosts.leave_out_undecided(view);
        (hosts, remarks)
    }

    fn add(&mut self, source: &Source, entry: &ScopeEntry) {
        let key = key(source);
        let (name, machine) = (key.0.clone(), key.1.clone());
        let host = self.hosts.entry(key).or_insert_with(|| {
            let uid = uid(&[&name, &machine, "node"]);
            let node = Node { name: name.as_str().into(), uid: Some(uid.into()), ..Node::default() };
            Host { node, namespaces: BTreeMap::new(), ids: BTreeSet::new() }
        });
        if let Some(runtime) = &source.runtime {
            let version = format!("{}://{}", runtime.name, runtime.version);
            host.node.container_runtime_version.get_or_insert_with(|| version.into());
        }
        let namespace = namespace_of(source, entry);
        let uid = uid(&[&name, &machine, "namespace", &namespace]);
        let object = Namespace { name: namespace.as_str().into(), uid: Some(uid.into()), ..Namespace::default() };
        let scheme = source.runtime.as_ref().map_or(source.kind.as_str(), |runtime| &runtime.name).to_owned();
        let empty = HostNamespace { object, pods: BTreeMap::new(), containers: Vec::new(), scheme };
        host.namespaces.insert(namespace, empty);
    }

    /// Puts a container where the first source saw it that is not built on another. If that scope was not completely seen it
    /// is nowhere, and so is the container.
    fn place(&mut self, position: usize, container: &ContainerView<'_>, seen: &Seen<'_>) {
        let key = key(seen.source);
        let (name, machine) = (key.0.clone(), key.1.clone());
        let Some(host) = self.hosts.get_mut(&key) else { return };
        let namespace_name = namespace_of(seen.source, seen.entry);
        let Some(namespace) = host.namespaces.get_mut(&namespace_name) else { return };
        let id = container.container.id.as_ref().unwrap_or(&container.container.name);
        let own = uid(&[&name, &machine, "container", &namespace_name, id]);
        // Who runs `ctr run … etcd` on ten hosts has ten containers of that id.
        let is_drawn = id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_unique = is_drawn && host.ids.insert(id.to_string());
        let id = format!("{}://{}", namespace.scheme, if is_unique { id.as_str() } else { &own });
        let (pod_uid, pod) = if let Some(pod) = container.pod() {
            let uid = uid(&[&name, &machine, "pod", &namespace_name, &pod.uid]);
            let full = format!("{}/{}", pod.namespace, pod.name);
            (uid, Pod { name: full.into(), labels: pod.labels.clone(), ..Pod::default() })
        } else {
            let labels = seen.container.labels.clone();
            (own, Pod { name: container.container.name.clone(), labels, ..Pod::default() })
        };
        let (namespace_text, node_name) = (namespace.object.name.clone(), Some(host.node.name.clone()));
        let pod = Pod { uid: pod_uid.as_str().into(), namespace: namespace_text, node_name, ..pod };
        namespace.pods.entry(pod_uid.clone()).or_insert(pod);
        namespace.containers.push(HostContainer { position, pod_uid, id });
    }

    /// Takes out the namespaces of which nobody can say now what is a cluster's: a pod's container that the runtime sees
    /// belongs there, unless the cluster, completely seen, does not know it.
    fn leave_out_undecided(&mut self, view: &UnifiedView<'_>) -> Vec<String> {
        let mut may_have_pods = view.inventory.report.sources.iter().filter(|source| source.host.is_none());
        if !may_have_pods.any(|source| !source.is_complete()) {
            return Vec::new();
        }
        let mut remarks = Vec::new();
        for ((name, _), host) in &mut self.hosts {
            host.namespaces.retain(|namespace, content| {
                let mut containers = content.containers.iter().map(|container| &view.containers[container.position]);
                let is_decided = containers.all(|container| container.pod().is_none());
                if !is_decided {
                    remarks.push(format!(
                        "host {name}: namespace {namespace} is left out: it has pods, and the cluster that may know them was \
                         not completely seen"
                    ));
                }
                is_decided
            });
        }
        remarks
    }

    /// The hosts as clusters.
    pub(super) fn clusters<'a>(&'a self, view: &'a UnifiedView<'a>) -> Vec<Cluster<'a>> {
        let cluster = |((name, _), host): (&'a (String, String), &'a Host)| {
            let namespaces =
                host.namespaces.iter().map(|(name, namespace)| (name.as_str(), namespace.content(view))).collect();
            let nodes = [(host.node.name.as_str(), &host.node)].into();
            Cluster { name, version: None, nodes, namespaces, unread: 0 }
        };
        self.hosts.iter().filter(|(_, host)| !host.namespaces.is_empty()).map(cluster).collect()
    }
}

impl HostNamespace {
    fn content<'a>(&'a self, view: &'a UnifiedView<'a>) -> Content<'a> {
        let placed = |container: &'a HostContainer| {
            let pod = self.pods.get(&container.pod_uid)?;
            Some(Placed { view: &view.containers[container.position], pod, id: Some(&container.id) })
        };
        Content {
            namespace: Some(&self.object),
            // By uid: pods of two of Kubernetes' namespaces may share a name.
            pods: self.pods.iter().map(|(uid, pod)| (uid.as_str(), pod)).collect(),
            containers: self.containers.iter().filter_map(placed).collect(),
        }
    }
}

/// Who saw a container of a host that has a process: the others are not running, which Anchore's agents do not read either.
fn of_host<'a, 'v>(container: &'a ContainerView<'v>) -> Option<&'a Seen<'v>> {
    let is_read = !matches!(container.container.kind, ContainerKind::Ephemeral | ContainerKind::Sandbox)
        && StateSelector::default().matches(container.container.state);
    let is_of_cluster = container.seen.iter().any(Seen::is_orchestrated);
    container.seen.first().filter(|_| is_read && !is_of_cluster)
}

/// A host's name, and what tells it from another of that name.
fn key(source: &Source) -> (String, String) {
    let host = source.host.clone().unwrap_or_default();
    let machine = host.machine_id.unwrap_or_default();
    let name = host.hostname.filter(|name| !name.is_empty());
    let name = name.or_else(|| Some(machine.clone()).filter(|machine| !machine.is_empty()));
    (name.unwrap_or_else(|| source.collector.to_string()), machine)
}

/// `docker`, `containerd.default`: the collector's name tells two of one host apart, always, so that a name stays when one
/// more is configured.
fn namespace_of(source: &Source, entry: &ScopeEntry) -> String {
    match entry.id.kind {
        ScopeKind::Host => source.collector.to_string(),
        _ => format!("{}.{}", source.collector, entry.id.name),
    }
}

/// The remark on hosts that share a name: who reads it takes them for one.
pub(super) fn of_one_name(clusters: &[Cluster<'_>]) -> Vec<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for cluster in clusters {
        *counts.entry(cluster.name).or_default() += 1;
    }
    let several = counts.into_iter().filter(|(_, count)| *count > 1);
    let told = several.map(|(name, count)| {
        let many = counted(count, "cluster or host has", "clusters or hosts have");
        format!("{many} the name {name}, which Anchore takes for one: give them names of their own")
    });
    told.collect()
}
