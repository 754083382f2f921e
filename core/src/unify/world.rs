//! Everything that all sources saw, and what refers to what in it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::join::machine_id;
use crate::{
    Digest,
    model::{Container, Image, Node, Pod, Scope, ScopeEntry, Sighting, Source, Workload},
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

/// What stands for nothing among [`Links`].
const NONE: u32 = u32::MAX;

/// A position in 32 bits, because there are as many of them as containers.
pub(super) fn narrow(position: usize) -> u32 {
    u32::try_from(position).unwrap_or(NONE)
}

/// What a container refers to, by positions in its scope.
#[derive(Debug, Clone, Copy)]
struct Links {
    scope: u32,
    pod: u32,
    image: u32,
    workload: u32,
}

/// A scope of which something was seen.
pub(super) struct ScopeSeen<'a> {
    /// Position of its source.
    pub(super) source: usize,
    /// Position among the scopes of its source.
    pub(super) position: usize,
    pub(super) entry: &'a ScopeEntry,
    pub(super) body: &'a Scope,
    /// Position of its first container among all.
    first: usize,
}

impl<'a> ScopeSeen<'a> {
    fn seen(&self, source: &'a Source, index: usize, links: Links) -> Seen<'a> {
        let Self { entry, body, .. } = *self;
        let image = links.image as usize;
        Seen {
            source,
            entry,
            index,
            container: &body.containers[index],
            pod: body.pods.get(links.pod as usize),
            image: body.images.get(image).map(|of| (image, of)),
            workload: body.workloads.get(links.workload as usize),
        }
    }
}

/// Everything that was seen, flat; a container is called by its position, counted through all scopes. It refers to the
/// bodies and repeats nothing of them.
pub(super) struct World<'a> {
    pub(super) sources: Vec<&'a Source>,
    pub(super) scopes: Vec<ScopeSeen<'a>>,
    links: Vec<Links>,
    /// Nodes of each source, which a cluster's own scope has, or that of a node.
    pub(super) nodes: Vec<Vec<&'a Node>>,
    /// For each source, the nodes that its host is, each with the position of its cluster's source.
    pub(super) host_nodes: Vec<Vec<(usize, &'a Node)>>,
    by_name: HashMap<(usize, &'a str), &'a Node>,
}

impl<'a> World<'a> {
    pub(super) fn of(sources: &[&'a Source], bodies: &'a BTreeMap<Digest, Scope>) -> Self {
        let body = |entry: &ScopeEntry| entry.digest.as_ref().and_then(|digest| bodies.get(digest));
        let entries = sources.iter().flat_map(|source| &source.scopes);
        let number = entries.filter_map(body).map(|scope| scope.containers.len()).sum();
        let mut world = Self {
            sources: sources.to_vec(),
            scopes: Vec::new(),
            links: Vec::with_capacity(number),
            nodes: Vec::new(),
            host_nodes: Vec::new(),
            by_name: HashMap::new(),
        };
        for (source, of_source) in sources.iter().enumerate() {
            let mut nodes = Vec::new();
            for (position, entry) in of_source.scopes.iter().enumerate() {
                let Some(body) = body(entry) else { continue };
                nodes.extend(&body.nodes);
                let (scope, first) = (narrow(world.scopes.len()), world.links.len());
                world.scopes.push(ScopeSeen { source, position, entry, body, first });
                world.links.extend(links(body).map(|links| Links { scope, ..links }));
            }
            world.by_name.extend(nodes.iter().map(|node| ((source, node.name.as_str()), *node)));
            world.nodes.push(nodes);
        }
        world.host_nodes = world.find_host_nodes();
        world
    }

    /// How many containers there are.
    pub(super) fn len(&self) -> usize {
        self.links.len()
    }

    /// The positions of all containers.
    pub(super) fn positions(&self) -> std::ops::Range<u32> {
        0..narrow(self.len())
    }

    pub(super) fn seen(&self, position: u32) -> Seen<'a> {
        let links = self.links[position as usize];
        let scope = &self.scopes[links.scope as usize];
        scope.seen(self.sources[scope.source], position as usize - scope.first, links)
    }

    /// The position of the scope that a container is in, in `scopes`.
    pub(super) fn scope_number(&self, position: u32) -> u32 {
        self.links[position as usize].scope
    }

    fn scope(&self, position: u32) -> &ScopeSeen<'a> {
        &self.scopes[self.scope_number(position) as usize]
    }

    /// Position of the source that saw a container.
    pub(super) fn source_of(&self, position: u32) -> usize {
        self.scope(position).source
    }

    /// Position of the container's scope among those of its source.
    pub(super) fn scope_of(&self, position: u32) -> usize {
        self.scope(position).position
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
    pub(super) fn node(&self, position: u32) -> Option<&'a Node> {
        let name = self.seen(position).container.node_name.as_deref()?;
        self.by_name.get(&(self.source_of(position), name)).copied()
    }

    pub(super) fn images(&self) -> impl Iterator<Item = &'a Image> + use<'a, '_> {
        self.scopes.iter().flat_map(|scope| &scope.body.images)
    }

    /// All pods, also those of which no container is shown, with the positions of their sources.
    pub(super) fn pods(&self) -> impl Iterator<Item = (usize, &'a Pod)> + use<'a, '_> {
        self.scopes.iter().flat_map(|scope| scope.body.pods.iter().map(|pod| (scope.source, pod)))
    }
}

/// What each of a scope's containers refers to.
fn links(scope: &Scope) -> impl Iterator<Item = Links> {
    let pods = by_key(&scope.pods, |pod| &pod.uid);
    let images = by_key(&scope.images, |image| &image.id);
    let workloads = by_key(&scope.workloads, |workload| &workload.id);
    scope.containers.iter().map(move |container| {
        let find =
            |among: &HashMap<&str, u32>, key: Option<&str>| key.and_then(|key| among.get(key)).copied().unwrap_or(NONE);
        let pod = find(&pods, container.pod_uid.as_deref());
        let of_pod = || scope.pods.get(pod as usize).and_then(|pod| pod.workload.as_deref());
        let image = find(&images, container.image_ref.as_deref());
        let workload = find(&workloads, container.workload.as_deref().or_else(of_pod));
        Links { scope: NONE, pod, image, workload }
    })
}

fn by_key<T>(things: &[T], key: impl Fn(&T) -> &str) -> HashMap<&str, u32> {
    (0..).zip(things).map(|(position, thing)| (key(thing), position)).collect()
}

/// A scope's containers, each with what it refers to.
pub(super) fn containers<'a>(
    source: &'a Source,
    entry: &'a ScopeEntry,
    body: &'a Scope,
) -> impl Iterator<Item = Seen<'a>> {
    let scope = ScopeSeen { source: 0, position: 0, entry, body, first: 0 };
    links(body).enumerate().map(move |(index, links)| scope.seen(source, index, links))
}
