//! What is kept of a cluster that is watched: as little as its report needs, each text that objects share once.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use stocktake_core::{
    CollectError, ObservedScope, ScopeChange, ScopeSink,
    model::{Container, ContainerState, Coverage, Namespace, Node, ScopeId, Text},
};

use crate::{
    cluster::{self, ClusterView},
    convert::{ConvertedPod, convert_namespace, convert_node, convert_pod, has_ended},
    owners::Owners,
    pods::Stray,
    scope::PodScope,
    settings::Settings,
    texts::Texts,
    wire,
};

/// Why a container is shown in an unknown state whose pod was deleted while it was last seen running.
const POD_DELETED: &str = "PodDeleted";

/// The objects of a cluster as they were last told.
#[derive(Debug, Default)]
pub(crate) struct Store {
    /// By namespace and uid. Boxed, because a table has room for up to twice as many as are in it.
    pods: BTreeMap<Text, HashMap<Text, Box<Kept>>>,
    nodes: BTreeMap<Text, Node>,
    namespaces: BTreeMap<Text, Namespace>,
    pub(crate) owners: Owners,
    texts: Texts,
    pub(crate) stray: Stray,
    /// What was told since the last time somebody asked.
    changes: Changes,
    /// Of the pods.
    kept_bytes: usize,
}

/// A pod.
#[derive(Debug)]
struct Kept {
    pod: ConvertedPod,
    /// Whether a report has had it.
    is_reported: bool,
    /// Whether it was deleted before a report had it, and is kept until one has.
    is_gone: bool,
}

#[derive(Debug, Default)]
struct Changes {
    scopes: BTreeSet<ScopeId>,
    /// The node that is looked at alone, whose scope has everything.
    node: Option<Text>,
    /// Whether namespaces have come or gone.
    of_all: bool,
}

impl Changes {
    fn of_namespace(&mut self, name: &Text) {
        let of_node = self.node.clone().map(ScopeId::node);
        self.scopes.insert(of_node.unwrap_or_else(|| ScopeId::namespace(name.clone())));
    }

    fn of_cluster(&mut self) {
        self.scopes.insert(self.node.clone().map_or_else(ScopeId::cluster, ScopeId::node));
    }
}

impl Store {
    /// Makes everything that changes a change of this node.
    pub(crate) fn look_at_node(&mut self, name: Option<&str>) {
        self.changes.node = name.map(Text::from);
    }

    /// A node, if it is there.
    pub(crate) fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.get(name)
    }

    /// All pods, each with its namespace.
    pub(crate) fn pods(&self) -> impl Iterator<Item = &ConvertedPod> {
        self.pods.values().flat_map(HashMap::values).map(|kept| &kept.pod)
    }

    /// A pod is there, or is now like this. Its uid, unless it is not selected.
    pub(crate) fn put_pod(&mut self, pod: wire::Pod, settings: &Settings) -> Option<Text> {
        let namespace = self.namespace_of(&pod, settings)?;
        if !settings.include_not_running && has_ended(&pod) {
            self.drop_pod(&namespace, pod, settings);
            return None;
        }
        let pod = convert_pod(pod, &namespace, &mut self.texts);
        let uid = pod.pod.uid.clone();
        let of_namespace = self.pods.entry(namespace.clone()).or_default();
        let before = of_namespace.get(&uid);
        if before.is_some_and(|kept| kept.pod == pod && !kept.is_gone) {
            return Some(uid);
        }
        let is_reported = before.is_some_and(|kept| kept.is_reported);
        self.kept_bytes += pod.kept_bytes();
        let before = of_namespace.insert(uid.clone(), Box::new(Kept { pod, is_reported, is_gone: false }));
        self.kept_bytes -= before.map_or(0, |kept| kept.pod.kept_bytes());
        self.changes.of_namespace(&namespace);
        Some(uid)
    }

    /// A pod is gone. One that no report has had is kept with its end until one has.
    pub(crate) fn delete_pod(&mut self, pod: wire::Pod, settings: &Settings) {
        if let Some(namespace) = self.namespace_of(&pod, settings) {
            self.drop_pod(&namespace, pod, settings);
        }
    }

    fn drop_pod(&mut self, namespace: &Text, pod: wire::Pod, settings: &Settings) {
        // A pod whose labels no longer match is told as deleted too, and may well live.
        let is_dead = pod.metadata.as_ref().is_some_and(|metadata| metadata.deletion_timestamp.is_some());
        let has_ended = settings.include_not_running && (is_dead || settings.label_selector.is_none());
        let last = convert_pod(pod, namespace, &mut self.texts);
        let Some(of_namespace) = self.pods.get_mut(namespace) else { return };
        let Some(kept) = of_namespace.get_mut(&last.pod.uid) else { return };
        self.kept_bytes -= kept.pod.kept_bytes();
        if kept.is_reported || !has_ended {
            of_namespace.remove(&last.pod.uid);
        } else {
            kept.pod = ended(last);
            kept.is_gone = true;
            self.kept_bytes += kept.pod.kept_bytes();
        }
        if of_namespace.is_empty() {
            self.pods.remove(namespace);
        }
        self.changes.of_namespace(namespace);
    }

    /// Where a pod belongs, if it is selected.
    fn namespace_of(&mut self, pod: &wire::Pod, settings: &Settings) -> Option<Text> {
        let name = pod.metadata.as_ref().and_then(|metadata| metadata.namespace.as_deref());
        let Some(name) = name.filter(|name| !name.is_empty()) else {
            self.stray.add();
            return None;
        };
        settings.namespaces.matches(name).then(|| self.texts.shared(name))
    }

    /// Takes out the pods of these namespaces, or of all, that a whole list did not have.
    pub(crate) fn retain_pods(&mut self, namespace: Option<&str>, listed: &HashSet<Text>) {
        self.pods.retain(|name, pods| {
            if namespace.is_some_and(|namespace| namespace != name) {
                return true;
            }
            let before = pods.len();
            pods.retain(|uid, kept| {
                let stays = kept.is_gone || listed.contains(uid);
                self.kept_bytes -= if stays { 0 } else { kept.pod.kept_bytes() };
                stays
            });
            if pods.len() < before {
                self.changes.of_namespace(name);
            }
            !pods.is_empty()
        });
    }

    /// A node is there, or is now like this.
    pub(crate) fn put_node(&mut self, node: wire::Node) -> Text {
        let node = convert_node(node);
        let name = node.name.clone();
        if self.nodes.get(&name) != Some(&node) {
            self.nodes.insert(name.clone(), node);
            self.changes.of_cluster();
        }
        name
    }

    /// A node is gone.
    pub(crate) fn delete_node(&mut self, node: wire::Node) {
        if self.nodes.remove(&convert_node(node).name).is_some() {
            self.changes.of_cluster();
        }
    }

    /// Takes out the nodes that a whole list did not have.
    pub(crate) fn retain_nodes(&mut self, listed: &HashSet<Text>) {
        let before = self.nodes.len();
        self.nodes.retain(|name, _| listed.contains(name));
        if self.nodes.len() < before {
            self.changes.of_cluster();
        }
    }

    /// A namespace is there, or is now like this.
    pub(crate) fn put_namespace(&mut self, namespace: wire::Namespace) -> Text {
        let namespace = convert_namespace(namespace);
        let name = namespace.name.clone();
        let before = self.namespaces.insert(name.clone(), namespace.clone());
        if before.as_ref() != Some(&namespace) {
            self.changes.of_cluster();
            self.changes.of_all |= before.is_none();
        }
        name
    }

    /// A namespace is gone.
    pub(crate) fn delete_namespace(&mut self, namespace: wire::Namespace) {
        if self.namespaces.remove(&convert_namespace(namespace).name).is_some() {
            self.changes.of_all = true;
        }
    }

    /// Takes out the namespaces that a whole list did not have.
    pub(crate) fn retain_namespaces(&mut self, listed: &HashSet<Text>) {
        let before = self.namespaces.len();
        self.namespaces.retain(|name, _| listed.contains(name));
        self.changes.of_all |= self.namespaces.len() < before;
    }

    /// An object that is a link between pods and their outermost owners is there.
    pub(crate) fn put_owned(&mut self, link: usize, owned: &wire::OwnedMeta) -> Text {
        if self.owners.add(link, owned, &mut self.texts) {
            self.owned_changed(owned);
        }
        owned.uid.as_str().into()
    }

    /// Such an object is gone.
    pub(crate) fn delete_owned(&mut self, link: usize, owned: &wire::OwnedMeta) {
        if self.owners.remove(link, owned) {
            self.owned_changed(owned);
        }
    }

    fn owned_changed(&mut self, owned: &wire::OwnedMeta) {
        let namespace = owned.namespace.as_deref().unwrap_or_default();
        let Some(pods) = self.pods.get(namespace) else { return };
        let is_theirs = |pod: &ConvertedPod| pod.owner.as_ref().is_some_and(|owner| *owner.uid == *owned.uid);
        if pods.values().any(|kept| is_theirs(&kept.pod)) {
            self.changes.of_namespace(&namespace.into());
        }
    }

    /// Makes everything look different.
    pub(crate) fn all_changed(&mut self) {
        self.changes.of_all = true;
    }

    /// Whether anything was told that nobody asked for yet.
    pub(crate) fn has_changed(&self) -> bool {
        self.changes.of_all || !self.changes.scopes.is_empty()
    }

    /// What has changed since this was last asked.
    pub(crate) fn take_changes(&mut self) -> ScopeChange {
        let node = self.changes.node.clone();
        let Changes { scopes, of_all, .. } =
            std::mem::replace(&mut self.changes, Changes { node, ..Changes::default() });
        if of_all { ScopeChange::All } else { ScopeChange::Scopes(scopes) }
    }

    /// Bytes that are kept, about.
    pub(crate) fn kept_bytes(&self) -> usize {
        /// What an owner, a node and a namespace with its labels take.
        const SMALL: usize = 250;
        const LARGE: usize = 2000;
        self.kept_bytes + self.owners.len() * SMALL + (self.nodes.len() + self.namespaces.len()) * LARGE
    }

    /// The cluster's own objects, with why they are not known.
    pub(crate) fn cluster(
        &self,
        unseen_nodes: Option<CollectError>,
        unseen_namespaces: Option<CollectError>,
        settings: &Settings,
    ) -> ClusterView {
        let nodes = unseen_nodes.map_or_else(|| Ok(self.nodes.values().cloned().collect()), Err);
        let namespaces = unseen_namespaces.map_or_else(|| Ok(self.namespaces.values().cloned().collect()), Err);
        cluster::view(nodes, namespaces, &settings.namespaces)
    }

    /// The namespaces that there are, and those that pods are in.
    pub(crate) fn names(&self, settings: &Settings) -> BTreeSet<Text> {
        let selected = self.namespaces.keys().filter(|name| settings.namespaces.matches(name));
        self.pods.keys().chain(selected).cloned().collect()
    }

    /// Hands over a namespace. A pod that was kept for the sake of this report is gone from the next.
    pub(crate) fn emit(&mut self, name: &Text, coverage: Coverage, settings: &Settings, sink: &mut dyn ScopeSink) {
        let mut scope = PodScope::default();
        for pod in self.take(name) {
            scope.add(pod, settings.include_not_running);
        }
        sink.scope(ObservedScope {
            id: ScopeId::namespace(name.clone()),
            coverage,
            body: scope.into_body(&self.owners),
        });
    }

    /// The pods of all namespaces, for a report.
    pub(crate) fn take_all(&mut self) -> Vec<ConvertedPod> {
        let names: Vec<Text> = self.pods.keys().cloned().collect();
        names.iter().flat_map(|name| self.take(name)).collect()
    }

    /// The pods of a namespace, for a report.
    fn take(&mut self, name: &Text) -> Vec<ConvertedPod> {
        let Some(pods) = self.pods.get_mut(name) else { return Vec::new() };
        let mut has_gone = false;
        let mut taken = Vec::with_capacity(pods.len());
        for kept in pods.values_mut() {
            kept.is_reported = true;
            has_gone |= kept.is_gone;
            taken.push(kept.pod.clone());
        }
        if has_gone {
            pods.retain(|_, kept| {
                self.kept_bytes -= if kept.is_gone { kept.pod.kept_bytes() } else { 0 };
                !kept.is_gone
            });
            self.changes.of_namespace(name);
        }
        if pods.is_empty() {
            self.pods.remove(name);
        }
        taken
    }
}

/// A pod that was deleted: none of its containers runs any longer, whatever was last told of them.
fn ended(mut pod: ConvertedPod) -> ConvertedPod {
    for container in &mut pod.containers {
        if matches!(container.state, ContainerState::Running | ContainerState::Waiting) {
            let has_run = container.state == ContainerState::Running;
            *container = Container {
                state: if has_run { ContainerState::Unknown } else { container.state },
                state_reason: Some(POD_DELETED.into()),
                ..std::mem::take(container)
            };
        }
    }
    pod
}
