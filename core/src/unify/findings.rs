//! What one vantage point sees and another that ought to see it does not.
//!
//! Nobody ought to see anything by assumption, because settings choose what a collector looks at: a scope has to have shown
//! that it sees the same things, by sharing a running container, or a node that is the host. Both scopes have to have been
//! seen completely, the other one's settings have to show what would contradict, and the container has to have been there
//! before that one looked. Sources look at slightly different times all the same, so that a finding of one look is to be
//! confirmed by the next ([`Conclusions::confirm`](super::Conclusions::confirm)).

use std::collections::{BTreeMap, BTreeSet, HashSet};

use jiff::{SignedDuration, Timestamp};

use super::{
    conclude::has_process,
    images::Identified,
    join::{Group, Groups, is_drawn_at_random},
    world::{Seen, World},
};
use crate::model::{ContainerState, Finding, FindingKind, ScopeId, ScopeKind, Shown, Text, VantagePoint};

pub(super) fn findings(world: &World<'_>, groups: &Groups, identified: &Identified) -> Vec<Finding> {
    // Nobody contradicts himself.
    if world.sources.len() < 2 {
        return Vec::new();
    }
    let ground = Ground::of(world, groups);
    let mut findings = Vec::new();
    for (position, group) in groups.iter().enumerate() {
        unknown_to_orchestrator(&ground, position, group, &mut findings);
        unknown_to_runtime(&ground, position, group, &mut findings);
        let contradicted_by = identified.contradicted_by(world, position, group);
        if !contradicted_by.is_empty() {
            let agreeing = group.members.iter().filter(|member| !contradicted_by.contains(member));
            findings.push(Finding {
                kind: FindingKind::ContradictingDigests,
                container: position,
                node_name: node_name(world, group),
                seen_by: points(world, agreeing),
                not_seen_by: points(world, &contradicted_by),
            });
        }
    }
    findings
}

/// A scope, by the positions of its source and of itself among the source's.
type Place = (usize, usize);

/// Who has shown to see what.
struct Ground<'a, 'w> {
    world: &'w World<'a>,
    /// Pairs of complete scopes that share a running container.
    shared: BTreeMap<Place, BTreeSet<Place>>,
    /// Hosts that are nodes, by the positions of cluster and host, with the node's name.
    nodes: BTreeMap<(usize, usize), &'a Text>,
    /// By cluster and node: the scopes of runtimes there that have shown to see the cluster's pods.
    runtimes: BTreeMap<(usize, &'a str), BTreeSet<Place>>,
    /// Sources of which another one has seen a container too.
    sharing: BTreeSet<usize>,
    /// Scopes with a container that is in no pod.
    podless: BTreeSet<Place>,
    /// Pods that each cluster knows: uid, and of static pods the hash by which the node knows it.
    pods: HashSet<(usize, &'a str)>,
    static_pods: HashSet<(usize, &'a str, &'a str)>,
}

impl<'a, 'w> Ground<'a, 'w> {
    fn of(world: &'w World<'a>, groups: &Groups) -> Self {
        let mut ground = Self {
            world,
            shared: BTreeMap::new(),
            nodes: BTreeMap::new(),
            runtimes: BTreeMap::new(),
            sharing: BTreeSet::new(),
            podless: BTreeSet::new(),
            pods: HashSet::new(),
            static_pods: HashSet::new(),
        };
        for group in groups.iter() {
            ground.share(group);
            if group.joined_by.is_some() {
                ground.sharing.extend(group.members.iter().map(|member| world.source_of(*member)));
            }
        }
        for position in world.positions() {
            if world.seen(position).pod.is_none() {
                ground.podless.insert(place(world, position));
            }
        }
        for (source, pod) in world.pods().filter(|(source, _)| world.sources[*source].cluster.is_some()) {
            ground.pods.insert((source, &pod.uid));
            if let (Some(hash), Some(node)) = (&pod.config_hash, &pod.node_name) {
                ground.static_pods.insert((source, hash, node));
            }
        }
        for (host, node) in world.host_nodes.iter().enumerate() {
            for (cluster, node) in node {
                ground.nodes.entry((*cluster, host)).or_insert(&node.name);
            }
        }
        for ((cluster, _), others) in &ground.shared {
            for other in others {
                if let Some(node) = ground.nodes.get(&(*cluster, other.0)) {
                    ground.runtimes.entry((*cluster, *node)).or_default().insert(*other);
                }
            }
        }
        ground
    }

    /// A container that several see running shows that their scopes see the same things, and its node which host it is.
    fn share(&mut self, group: Group<'_>) {
        let world = self.world;
        let running = |member: &&u32| world.seen(**member).container.state == ContainerState::Running;
        let complete = |member: &&u32| world.seen(**member).entry.coverage.is_complete();
        let members: Vec<u32> = group.members.iter().filter(running).filter(complete).copied().collect();
        for one in &members {
            let others = members.iter().filter(|other| other != &one);
            self.shared.entry(place(world, *one)).or_default().extend(others.map(|other| place(world, *other)));
            let node = world.seen(*one).container.node_name.as_ref();
            for host in members.iter().map(|member| world.source_of(*member)) {
                if let (Some(node), Some(_)) = (node, &world.sources[host].host) {
                    self.nodes.entry((world.source_of(*one), host)).or_insert(node);
                }
            }
        }
    }

    /// Whether the container would have been recognised, did the cluster know it: its id is one that joins, or its source
    /// is one that others share containers with. Some tell the same process under a name of their own.
    fn could_be_joined(&self, member: u32) -> bool {
        let id = self.world.seen(member).container.id.as_deref();
        id.is_some_and(is_drawn_at_random) || self.sharing.contains(&self.world.source_of(member))
    }

    fn is_complete(&self, source: usize, scope: &ScopeId) -> bool {
        self.world.sources[source].scopes.iter().any(|entry| entry.id == *scope && entry.coverage.is_complete())
    }

    fn has_only_pods(&self, place: Place) -> bool {
        !self.podless.contains(&place)
    }

    fn knows_pod(&self, cluster: usize, uid: &str, node: &str) -> bool {
        self.pods.contains(&(cluster, uid)) || self.static_pods.contains(&(cluster, uid, node))
    }
}

/// A container with a process on a cluster's node, of which the cluster knows nothing. What has ended is forgotten by
/// orchestrators in the ordinary course of things.
fn unknown_to_orchestrator(ground: &Ground<'_, '_>, position: usize, group: Group<'_>, findings: &mut Vec<Finding>) {
    let world = ground.world;
    if group.members.iter().any(|member| world.seen(*member).is_orchestrated()) {
        return;
    }
    let witnesses: Vec<u32> = group
        .members
        .iter()
        .copied()
        .filter(|member| has_process(world.seen(*member).container.state))
        .filter(|member| world.seen(*member).entry.coverage.is_complete() && ground.could_be_joined(*member))
        .collect();
    let Some(first) = witnesses.first().map(|member| world.seen(*member)) else { return };
    for (cluster, source) in world.sources.iter().enumerate() {
        let node = witnesses.iter().find_map(|member| ground.nodes.get(&(cluster, world.source_of(*member))));
        let (Some(_), Some(node)) = (&source.cluster, node) else { continue };
        let scope = match first.pod {
            // An earlier attempt, or the sandbox, of a pod that is known.
            Some(pod) if ground.knows_pod(cluster, &pod.uid, node) => continue,
            Some(pod) => ScopeId::namespace(pod.namespace.clone()),
            // What no kubelet made is in no namespace.
            None => ScopeId::cluster(),
        };
        // Who looks at the node alone has all of it in one scope.
        let of_node = ScopeId::node((*node).clone());
        let scope = if ground.is_complete(cluster, &of_node) { of_node } else { scope };
        let was_there = existed_before(&first, source.observed_at);
        if was_there
            && source.shown != Shown::Part
            && source.coverage.is_complete()
            && ground.is_complete(cluster, &scope)
        {
            findings.push(Finding {
                kind: FindingKind::UnknownToOrchestrator,
                container: position,
                node_name: Some((*node).clone()),
                seen_by: points(world, &witnesses),
                not_seen_by: vec![VantagePoint { collector: source.collector.clone(), scope }],
            });
        }
    }
}

/// A container that somebody sees running, and that is in no scope of a runtime which has shown to see that one's.
fn unknown_to_runtime(ground: &Ground<'_, '_>, position: usize, group: Group<'_>, findings: &mut Vec<Finding>) {
    let world = ground.world;
    let sources: BTreeSet<usize> = group.members.iter().map(|member| world.source_of(*member)).collect();
    let mut witnesses = BTreeSet::new();
    let mut blind = BTreeSet::new();
    for member in group.members {
        let seen = world.seen(*member);
        // A source that does not say where it is may tell of any host.
        let is_placed = seen.is_orchestrated() || seen.source.host.is_some();
        if seen.container.state != ContainerState::Running || !seen.entry.coverage.is_complete() || !is_placed {
            continue;
        }
        let scopes = if seen.is_orchestrated() { runtimes_of(ground, *member) } else { siblings_of(ground, *member) };
        let without = scopes.into_iter().filter(|(source, _)| !sources.contains(source)).filter(|(source, _)| {
            let looked = world.sources[*source];
            // Where what has ended is not shown, it may be there.
            looked.coverage.is_complete() && looked.shown == Shown::All && existed_before(&seen, looked.observed_at)
        });
        let before = blind.len();
        blind.extend(without);
        if blind.len() > before {
            witnesses.insert(*member);
        }
    }
    if !blind.is_empty() {
        findings.push(Finding {
            kind: FindingKind::UnknownToRuntime,
            container: position,
            node_name: node_name(world, group),
            seen_by: points(world, &witnesses),
            not_seen_by: blind.into_iter().map(|place| point(world, place)).collect(),
        });
    }
}

/// Scopes of runtimes of the container's node that have shown to see the pods of its cluster.
fn runtimes_of(ground: &Ground<'_, '_>, member: u32) -> Vec<Place> {
    let node = ground.world.seen(member).container.node_name.as_deref();
    let key = node.map(|node| (ground.world.source_of(member), node));
    key.and_then(|key| ground.runtimes.get(&key)).into_iter().flatten().copied().collect()
}

/// Scopes of other kinds of runtimes on the same host that have shown to see what this one does.
fn siblings_of(ground: &Ground<'_, '_>, member: u32) -> Vec<Place> {
    let seen = ground.world.seen(member);
    let source = seen.source;
    // A runtime beneath the kubelet may run more than pods; whoever tells of pods alone need not know that.
    let is_of_a_whole_host = seen.entry.id.kind == ScopeKind::Host && seen.pod.is_none();
    let others = ground.shared.get(&place(ground.world, member)).into_iter().flatten();
    others
        .filter(|(other, _)| {
            let other = ground.world.sources[*other];
            other.host.is_some() && other.kind != source.kind
        })
        .filter(|other| !is_of_a_whole_host || !ground.has_only_pods(**other))
        .copied()
        .collect()
}

fn place(world: &World<'_>, member: u32) -> Place {
    (world.source_of(member), world.scope_of(member))
}

/// Whether the container was there when another one began to look. Docker and Kubernetes tell times in whole seconds, cut.
fn existed_before(seen: &Seen<'_>, looked: Timestamp) -> bool {
    let made = seen.container.started_at.or(seen.container.created_at);
    made.is_none_or(|made| looked.duration_since(made) > SignedDuration::from_secs(1))
}

fn node_name(world: &World<'_>, group: Group<'_>) -> Option<Text> {
    group.members.iter().find_map(|member| world.seen(*member).container.node_name.clone())
}

fn points<'m>(world: &World<'_>, members: impl IntoIterator<Item = &'m u32>) -> Vec<VantagePoint> {
    let places: BTreeSet<Place> = members.into_iter().map(|member| place(world, *member)).collect();
    places.into_iter().map(|place| point(world, place)).collect()
}

fn point(world: &World<'_>, (source, scope): Place) -> VantagePoint {
    let source = world.sources[source];
    VantagePoint { collector: source.collector.clone(), scope: source.scopes[scope].id.clone() }
}
