//! A cluster that is watched, as the collection and the subscription share it: the one fills it, the other reads it for as
//! long as the first stands.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use stocktake_core::{
    CollectError, ObservedScope, ScopeSink, Selection,
    model::{Coverage, Node, Scope, ScopeId, ScopeKind, Text},
};
use tokio::sync::Notify;

use crate::{
    cluster::ClusterView,
    collect::nonexistent,
    list::Query,
    node::{self, Found},
    node_owners::{Needed, needed},
    owners::LINKS,
    pods::{self, DeniedLinks},
    settings::Settings,
    store::Store,
    versions::Versions,
};

/// What is watched of a cluster, and what is known of it.
#[derive(Debug, Default)]
pub(crate) struct Live {
    state: Mutex<State>,
    /// A report has had pods that are gone, so that the next looks different.
    pub(crate) handed_over: Notify,
    /// Somebody has looked at everything, and it was not all seen because something was refused.
    pub(crate) missed: Notify,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) store: Store,
    pub(crate) resources: Vec<Resource>,
    /// Whether every change is being told, so that the store is the cluster.
    pub(crate) is_standing: bool,
    /// Whether that was so before.
    pub(crate) has_stood: bool,
    /// Whether what was listed beside the store may be newer than it, and was reported.
    is_behind: bool,
}

/// Objects of one kind, throughout the cluster or in one namespace.
#[derive(Debug)]
pub(crate) struct Resource {
    pub(crate) kind: Kind,
    pub(crate) query: Query,
    /// How far its changes are known; unknown before it was listed.
    pub(crate) version: Option<String>,
    /// Why it is not watched, though the others are.
    pub(crate) unseen: Option<Unseen>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Pods,
    Nodes,
    Namespaces,
    /// Of these of [`LINKS`].
    Owned(usize),
}

/// Why a resource cannot be seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unseen {
    /// It may not be listed; what the API server said.
    Denied(String),
    /// The server has no such resource.
    Absent,
}

impl Kind {
    /// Which of [`LINKS`] it is.
    pub(crate) fn link(self) -> Option<usize> {
        match self {
            Self::Owned(link) => Some(link),
            _ => None,
        }
    }
}

impl Unseen {
    /// The error that it is, if it is one.
    pub(crate) fn error(&self) -> Option<CollectError> {
        match self {
            Self::Denied(message) => Some(CollectError::Denied { message: message.clone(), source: None }),
            Self::Absent => None,
        }
    }
}

impl Resource {
    pub(crate) fn new(kind: Kind, query: Query) -> Self {
        Self { kind, query, version: None, unseen: None }
    }
}

/// What has to be watched for what the settings select. Pods come last: what they refer to is then known.
fn resources(settings: &Settings) -> Vec<Resource> {
    let selector = &settings.namespaces;
    let mut resources = Vec::new();
    if settings.node.is_some() {
        return node::resources(settings);
    }
    if settings.cluster_objects || !selector.is_exact() {
        resources.push(Resource::new(Kind::Namespaces, Query::core("namespaces")));
    }
    if settings.cluster_objects {
        resources.push(Resource::new(Kind::Nodes, Query::core("nodes")));
    }
    let places = pods::places(settings);
    for place in &places {
        let owned = LINKS.iter().enumerate();
        resources
            .extend(owned.map(|(link, of)| Resource::new(Kind::Owned(link), pods::owner_query(of, place.clone()))));
    }
    resources.extend(places.into_iter().map(|place| Resource::new(Kind::Pods, pods::query(settings, place))));
    resources
}

impl Live {
    /// What is known.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // A change is applied to the end or, where that panics, told again by the next list.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes ready to be filled.
    pub(crate) fn prepare(&self, settings: &Settings) {
        let mut state = self.lock();
        if state.resources.is_empty() {
            state.resources = resources(settings);
            state.store.look_at_node(settings.node.as_deref());
        }
        let is_behind = std::mem::take(&mut state.is_behind);
        for resource in &mut state.resources {
            // What was refused before may have been granted since.
            resource.unseen = None;
            // To go on from here would take back what was reported meanwhile, until all that happened is told once more.
            if is_behind {
                resource.version = None;
            }
        }
    }

    /// Something is listed beside the store while it does not stand.
    pub(crate) fn passed_over(&self) {
        self.lock().is_behind = true;
    }

    /// Whatever is listed from now on shall be no older than what was watched.
    pub(crate) fn note_versions(&self, versions: &Versions) {
        for resource in &self.lock().resources {
            if let Some(version) = &resource.version {
                versions.note(resource.query.collection(), version.clone());
            }
        }
    }

    /// Forgets everything, so that all of it is listed again.
    pub(crate) fn clear(&self) {
        *self.lock() = State::default();
    }

    /// Bytes that are kept between two collections, about.
    pub(crate) fn kept_bytes(&self) -> u64 {
        self.lock().store.kept_bytes() as u64
    }

    /// Hands over what is selected, if every change is being told; without a request. Whether it did.
    pub(crate) fn collect(&self, settings: &Settings, select: &Selection, sink: &mut dyn ScopeSink) -> bool {
        let mut state = self.lock();
        if !state.is_standing {
            return false;
        }
        state.collect(settings, select, sink);
        let has_gaps = *select == Selection::All && !state.gaps(settings).is_empty();
        let has_changed = state.store.has_changed();
        drop(state);
        if has_changed {
            self.handed_over.notify_one();
        }
        // Nobody tells that a right was granted.
        if has_gaps {
            self.missed.notify_one();
        }
        true
    }
}

/// What is known of a node that is watched.
pub(crate) struct OfNode {
    /// The links that its pods have.
    pub(crate) needed: BTreeMap<Text, Needed>,
    /// The node itself, if that is watched and there.
    pub(crate) node: Option<Node>,
}

impl Live {
    /// What is known of the node that is looked at alone, if every change is being told.
    pub(crate) fn of_node(&self, name: &str) -> Option<OfNode> {
        let state = self.lock();
        let node = state.store.node(name).filter(|_| state.unseen(Kind::Nodes).is_none()).cloned();
        state.is_standing.then(|| OfNode { needed: needed(state.store.pods()), node })
    }

    /// The pods of the node, for a report, if every change is being told.
    pub(crate) fn take_node(&self) -> Option<Found> {
        let mut state = self.lock();
        if !state.is_standing {
            return None;
        }
        let pods = state.store.take_all();
        let unseen = state.resources.iter().filter(|resource| resource.kind == Kind::Pods);
        let errors = unseen.filter_map(|resource| resource.unseen.as_ref().and_then(Unseen::error)).collect();
        let found = Found { pods, errors, stray: state.store.stray, ..Found::default() };
        let has_changed = state.store.has_changed();
        drop(state);
        if has_changed {
            self.handed_over.notify_one();
        }
        Some(found)
    }
}

impl State {
    /// How far the changes of the resource at `position` are known.
    pub(crate) fn version(&self, position: usize) -> Option<String> {
        self.resources.get(position).and_then(|resource| resource.version.clone())
    }

    /// Remembers how far they are known.
    pub(crate) fn reached(&mut self, position: usize, version: Option<String>) {
        if let Some(resource) = self.resources.get_mut(position) {
            resource.version = version;
        }
    }

    /// Remembers that the resource at `position` cannot be seen.
    pub(crate) fn hide(&mut self, position: usize, unseen: Unseen) {
        if let Some(resource) = self.resources.get_mut(position) {
            resource.version = None;
            resource.unseen = Some(unseen);
        }
    }

    /// Remembers that it can be seen after all, so that everything looks different.
    pub(crate) fn show(&mut self, position: usize) {
        if let Some(resource) = self.resources.get_mut(position) {
            resource.unseen = None;
            self.store.all_changed();
        }
    }

    /// Positions of what is not watched because it was refused; but for a node that is looked at alone, which is asked for
    /// at each look then.
    pub(crate) fn gaps(&self, settings: &Settings) -> Vec<usize> {
        let is_gap = |resource: &Resource| {
            matches!(resource.unseen, Some(Unseen::Denied(_)))
                && !(resource.kind == Kind::Nodes && settings.node.is_some())
        };
        let resources = self.resources.iter().enumerate();
        resources.filter(|(_, resource)| is_gap(resource)).map(|(position, _)| position).collect()
    }

    /// Why this kind of resource cannot be seen.
    pub(crate) fn unseen(&self, kind: Kind) -> Option<&Unseen> {
        self.resources.iter().find(|resource| resource.kind == kind).and_then(|resource| resource.unseen.as_ref())
    }

    /// Hands over what is selected. All scopes are known: those that are named, or where all pods are seen those of pods.
    pub(crate) fn collect(&mut self, settings: &Settings, select: &Selection, sink: &mut dyn ScopeSink) {
        let is_exact = settings.namespaces.is_exact();
        let error = |kind| self.unseen(kind).and_then(Unseen::error);
        let ClusterView { scope, namespaces } =
            self.store.cluster(error(Kind::Nodes), error(Kind::Namespaces), settings);
        if settings.cluster_objects && select.includes(&ScopeId::cluster()) {
            sink.scope(scope);
        }
        let mut names: BTreeSet<Text> = match select {
            Selection::Only(scopes) => {
                let asked = scopes.iter().filter(|scope| scope.kind == ScopeKind::Namespace).map(|scope| &scope.name);
                asked.filter(|name| settings.namespaces.matches(name)).cloned().collect()
            }
            _ if is_exact => settings.namespaces.exact_names().map(Text::from).collect(),
            _ => self.store.names(settings),
        };
        // What is not watched is not known to be absent.
        if *select == Selection::All
            && self.resources.iter().any(|resource| resource.kind == Kind::Namespaces)
            && let Ok(known) = &namespaces
        {
            nonexistent(&mut names, known, settings, sink);
        }
        for name in names {
            let coverage = self.coverage(&name);
            if coverage.has_seen() {
                self.store.emit(&name, coverage, settings, sink);
            } else {
                sink.scope(ObservedScope { id: ScopeId::namespace(name), coverage, body: Scope::default() });
            }
        }
        let mut denied = DeniedLinks::default();
        for resource in &self.resources {
            if let (Kind::Owned(_), Some(Unseen::Denied(_))) = (resource.kind, &resource.unseen) {
                denied.add(&resource.query.action());
            }
        }
        [denied.warning(), self.store.stray.warning()].into_iter().flatten().for_each(|warning| sink.warning(warning));
    }

    /// How completely the pods of a namespace are known.
    fn coverage(&self, name: &str) -> Coverage {
        let theirs = |resource: &&Resource| {
            resource.kind == Kind::Pods && resource.query.namespace.as_ref().is_none_or(|namespace| namespace == name)
        };
        let unseen = self.resources.iter().find(theirs).and_then(|resource| resource.unseen.as_ref());
        unseen.and_then(Unseen::error).map_or(Coverage::Complete, |error| Coverage::from_error(&error))
    }
}
