//! Looking things up: from the flat lists that a report holds to each container with its pod, image and owner.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::join::machine_id;

use crate::{
    Digest,
    model::{
        Container, Image, Inventory, Node, Pod, Scope, ScopeEntry, ScopeId, Sighting, Source, Unified,
        UnifiedContainer, UnifiedImage, Workload,
    },
};

/// A container as one source saw it, with all that its scope says of it.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// Who saw it.
    pub source: &'a Source,
    /// In which scope.
    pub entry: &'a ScopeEntry,
    /// Position in the scope's containers.
    pub index: usize,
    /// The container.
    pub container: &'a Container,
    /// Its pod.
    pub pod: Option<&'a Pod>,
    /// Its image, and the position of that in the scope's images.
    pub image: Option<(usize, &'a Image)>,
    /// Its outermost owner, or that of its pod.
    pub workload: Option<&'a Workload>,
}

impl Seen<'_> {
    /// Whether an orchestrator says so, and not a runtime.
    #[must_use]
    pub fn is_orchestrated(&self) -> bool {
        self.source.cluster.is_some()
    }

    /// Where it is in the document.
    pub(super) fn sighting(&self) -> Sighting {
        Sighting { collector: self.source.collector.clone(), scope: self.entry.id.clone(), index: self.index }
    }
}

/// Everything that was seen, flat; a container is called by its position in `seen`.
pub(super) struct World<'a> {
    pub(super) sources: Vec<&'a Source>,
    pub(super) seen: Vec<Seen<'a>>,
    /// Position in `sources`, for each of `seen`.
    pub(super) source_of: Vec<usize>,
    /// Position among the source's scopes, for each of `seen`.
    pub(super) scope_of: Vec<usize>,
    /// Nodes of each source, which a cluster's own scope has, or that of a node.
    pub(super) nodes: Vec<Vec<&'a Node>>,
    /// For each source, the nodes that its host is, each with the position of its cluster's source.
    pub(super) host_nodes: Vec<Vec<(usize, &'a Node)>>,
    by_name: HashMap<(usize, &'a str), &'a Node>,
    /// Each with the position of its source.
    scopes: Vec<(usize, &'a Scope)>,
}

impl<'a> World<'a> {
    pub(super) fn of(sources: &[&'a Source], bodies: &'a BTreeMap<Digest, Scope>) -> Self {
        let mut world = Self {
            sources: sources.to_vec(),
            seen: Vec::new(),
            source_of: Vec::new(),
            scope_of: Vec::new(),
            nodes: Vec::new(),
            host_nodes: Vec::new(),
            by_name: HashMap::new(),
            scopes: Vec::new(),
        };
        for (position, source) in sources.iter().enumerate() {
            let mut nodes = Vec::new();
            for (scope_position, entry) in source.scopes.iter().enumerate() {
                let Some(scope) = entry.digest.as_ref().and_then(|digest| bodies.get(digest)) else { continue };
                world.scopes.push((position, scope));
                nodes.extend(&scope.nodes);
                world.seen.extend(containers(source, entry, scope));
                world.source_of.resize(world.seen.len(), position);
                world.scope_of.resize(world.seen.len(), scope_position);
            }
            world.by_name.extend(nodes.iter().map(|node| ((position, node.name.as_str()), *node)));
            world.nodes.push(nodes);
        }
        world.host_nodes = world.find_host_nodes();
        world
    }

    /// A machine id joins a host with a node only if no other machine has it too: clones cannot be told apart by it.
    fn find_host_nodes(&self) -> Vec<Vec<(usize, &'a Node)>> {
        let mut nodes: HashMap<&str, Vec<(usize, &'a Node)>> = HashMap::new();
        for (cluster, of_cluster) in self.nodes.iter().enumerate() {
            for node in of_cluster {
                nodes.entry(node.machine_id.as_deref().unwrap_or_default()).or_default().push((cluster, node));
            }
        }
        let mut names: HashMap<&str, BTreeSet<&str>> = HashMap::new();
        for host in self.sources.iter().filter_map(|source| source.host.as_ref()) {
            if let (Some(id), Some(name)) = (machine_id(host), &host.hostname) {
                names.entry(id).or_default().insert(name);
            }
        }
        let uid = |cluster: usize| self.sources[cluster].cluster.as_ref().and_then(|cluster| cluster.uid.as_deref());
        let of_source = |source: &&'a Source| {
            let id = source.host.as_ref().and_then(machine_id)?;
            let found = nodes.get(id)?;
            // Several sources may look at one cluster, and each then has the node.
            let machines: BTreeSet<_> = found.iter().map(|(cluster, node)| (uid(*cluster), &node.name)).collect();
            let is_one = machines.len() == 1 && names.get(id).is_none_or(|names| names.len() <= 1);
            is_one.then(|| found.clone())
        };
        self.sources.iter().map(|source| of_source(source).unwrap_or_default()).collect()
    }

    /// The node that a container runs on or is assigned to, where its source has the cluster's nodes.
    pub(super) fn node(&self, seen: usize) -> Option<&'a Node> {
        let name = self.seen[seen].container.node_name.as_deref()?;
        self.by_name.get(&(self.source_of[seen], name)).copied()
    }

    pub(super) fn images(&self) -> impl Iterator<Item = &'a Image> + use<'a, '_> {
        self.scopes.iter().flat_map(|(_, scope)| &scope.images)
    }

    /// All pods, also those of which no container is shown, with the positions of their sources.
    pub(super) fn pods(&self) -> impl Iterator<Item = (usize, &'a Pod)> + use<'a, '_> {
        self.scopes.iter().flat_map(|(source, scope)| scope.pods.iter().map(|pod| (*source, pod)))
    }
}

/// A scope's containers, each with what it refers to.
fn containers<'a>(source: &'a Source, entry: &'a ScopeEntry, scope: &'a Scope) -> impl Iterator<Item = Seen<'a>> {
    let pods: HashMap<&str, &Pod> = scope.pods.iter().map(|pod| (pod.uid.as_str(), pod)).collect();
    let images: HashMap<&str, (usize, &Image)> =
        scope.images.iter().enumerate().map(|(index, image)| (image.id.as_str(), (index, image))).collect();
    let workloads: HashMap<&str, &Workload> =
        scope.workloads.iter().map(|workload| (workload.id.as_str(), workload)).collect();
    scope.containers.iter().enumerate().map(move |(index, container)| {
        let pod = container.pod_uid.as_deref().and_then(|uid| pods.get(uid).copied());
        let workload = container.workload.as_deref().or_else(|| pod.and_then(|pod| pod.workload.as_deref()));
        Seen {
            source,
            entry,
            index,
            container,
            pod,
            image: container.image_ref.as_deref().and_then(|id| images.get(id).copied()),
            workload: workload.and_then(|id| workloads.get(id).copied()),
        }
    })
}

/// A report's unified view with everything that it refers to looked up: what tables and foreign formats are made from.
pub struct UnifiedView<'a> {
    /// The report with its bodies.
    pub inventory: &'a Inventory,
    /// The view.
    pub unified: &'a Unified,
    /// Its containers, in its order.
    pub containers: Vec<ContainerView<'a>>,
    scopes: HashMap<(&'a str, &'a ScopeId), &'a Scope>,
}

/// A unified container with what it refers to.
pub struct ContainerView<'a> {
    /// The conclusions.
    pub container: &'a UnifiedContainer,
    /// Its image.
    pub image: Option<&'a UnifiedImage>,
    /// What each source said, in the order of [`UnifiedContainer::seen`].
    pub seen: Vec<Seen<'a>>,
}

impl<'a> UnifiedView<'a> {
    /// Looks up all that `inventory`'s unified view refers to. `None` if it has no such view, or if it refers to what is
    /// not there: a document that somebody else has made.
    #[must_use]
    pub fn of(inventory: &'a Inventory) -> Option<Self> {
        let unified = inventory.unified.as_ref()?;
        let mut seen: HashMap<(&str, &ScopeId, usize), Seen<'a>> = HashMap::new();
        let mut scopes = HashMap::new();
        for source in &inventory.report.sources {
            for entry in &source.scopes {
                let Some(scope) = inventory.body(entry) else { continue };
                scopes.insert((source.collector.as_str(), &entry.id), scope);
                let of_scope = containers(source, entry, scope);
                seen.extend(of_scope.map(|seen| ((source.collector.as_str(), &entry.id, seen.index), seen)));
            }
        }
        let images: HashMap<&str, &UnifiedImage> =
            unified.images.iter().map(|image| (image.image.id.as_str(), image)).collect();
        let container = |container: &'a UnifiedContainer| {
            let look_up = |at: &'a Sighting| seen.get(&(at.collector.as_str(), &at.scope, at.index)).copied();
            let image = match container.image_ref.as_deref() {
                Some(id) => Some(*images.get(id)?),
                None => None,
            };
            let seen: Vec<Seen<'a>> = container.seen.iter().map(look_up).collect::<Option<_>>()?;
            (!seen.is_empty()).then_some(ContainerView { container, image, seen })
        };
        let containers: Vec<_> = unified.containers.iter().map(container).collect::<Option<_>>()?;
        let view = Self { inventory, unified, containers, scopes };
        let resolves = unified.images.iter().flat_map(|image| &image.seen).all(|at| view.image(at).is_some())
            && unified.findings.iter().all(|finding| finding.container < view.containers.len());
        resolves.then_some(view)
    }

    /// What a source says of an image.
    #[must_use]
    pub fn image(&self, at: &Sighting) -> Option<&'a Image> {
        self.scopes.get(&(at.collector.as_str(), &at.scope))?.images.get(at.index)
    }
}

impl<'a> ContainerView<'a> {
    /// The pod, as the orchestrator describes it where it does, else as the runtime's labels do.
    #[must_use]
    pub fn pod(&self) -> Option<&'a Pod> {
        self.seen.iter().find_map(|seen| seen.pod)
    }

    /// The outermost owner.
    #[must_use]
    pub fn workload(&self) -> Option<&'a Workload> {
        self.seen.iter().find_map(|seen| seen.workload)
    }

    /// The cluster's node that it runs on or is assigned to.
    #[must_use]
    pub fn node_name(&self) -> Option<&'a str> {
        self.seen.iter().find_map(|seen| seen.container.node_name.as_deref())
    }

    /// Names of the collectors that saw it, each once.
    #[must_use]
    pub fn collectors(&self) -> Vec<&'a str> {
        let mut names: Vec<&str> = self.seen.iter().map(|seen| seen.source.collector.as_str()).collect();
        names.dedup();
        names
    }
}
