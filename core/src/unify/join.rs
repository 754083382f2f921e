//! Which sightings are of one container.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;

use super::{
    conclude::has_process,
    view::{Seen, World},
};
use crate::model::{ContainerKind, Host, JoinedBy, Source};

/// Sightings of one container, by position, those first that are closest to the people who asked for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) members: Vec<usize>,
    pub(super) joined_by: Option<JoinedBy>,
}

/// Joins by the runtime's id, then by pod and name what an orchestrator has and no runtime was found for.
pub(super) fn join(world: &World<'_>) -> Vec<Group> {
    let mut groups = by_key(world);
    by_pod_and_name(world, &mut groups);
    for group in &mut groups {
        group.members.sort_by_key(|member| (distance(&world.seen[*member]), *member));
    }
    groups
}

/// An orchestrator knows what was asked for. A runtime that others are built on has it from them, in their words: what
/// Docker calls `web` is to containerd a container named by its id.
fn distance(seen: &Seen<'_>) -> u8 {
    let is_named = seen.container.id.as_ref() != Some(&seen.container.name);
    match (seen.is_orchestrated(), is_named) {
        (true, _) => 0,
        (false, true) => 1,
        (false, false) => 2,
    }
}

/// What may be the same container has the same key.
#[derive(PartialEq, Eq, Hash, Clone, Copy)]
enum Key<'a> {
    Id(&'a str),
    /// Of an orchestrator's container that no runtime has made yet: by pod, kind and name; by the hash and the node of a
    /// static pod, whose uid is one to the API server and another to the kubelet.
    Wanted(&'a str, Option<&'a str>, ContainerKind, &'a str),
}

impl<'a> Key<'a> {
    fn of(seen: &Seen<'a>) -> Option<Self> {
        let container = seen.container;
        match (&container.id, &container.pod_uid) {
            (Some(id), _) => is_drawn_at_random(id).then_some(Self::Id(id)),
            (None, Some(uid)) if seen.is_orchestrated() => {
                let hash = seen.pod.and_then(|pod| pod.config_hash.as_deref());
                let node = hash.and(container.node_name.as_deref());
                Some(Self::Wanted(hash.unwrap_or(uid), node, container.kind, &container.name))
            }
            _ => None,
        }
    }
}

fn by_key(world: &World<'_>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut with_key: HashMap<Key<'_>, Vec<usize>> = HashMap::new();
    for (position, seen) in world.seen.iter().enumerate() {
        let key = Key::of(seen);
        let candidates = key.and_then(|key| with_key.get(&key)).map(Vec::as_slice).unwrap_or_default();
        let found = candidates.iter().copied().find(|group: &usize| {
            groups[*group].members.iter().all(|member| may_be_the_same(world, *member, position))
        });
        if let Some(group) = found {
            groups[group].members.push(position);
            let by = if matches!(key, Some(Key::Id(_))) { JoinedBy::RuntimeId } else { JoinedBy::PodAndName };
            groups[group].joined_by = Some(by);
            continue;
        }
        groups.push(Group { members: vec![position], joined_by: None });
        if let Some(key) = key {
            with_key.entry(key).or_default().push(groups.len() - 1);
        }
    }
    groups
}

/// Docker, Podman, containerd's CRI plug-in, CRI-O and nerdctl draw 256 bits and write them in hexadecimal. An id that a
/// person chose (`ctr run … web`, a machine's name) says nothing about a container of the same id elsewhere.
pub(super) fn is_drawn_at_random(id: &str) -> bool {
    id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether two sightings with the same key may be of one container.
fn may_be_the_same(world: &World<'_>, a: usize, b: usize) -> bool {
    if world.source_of[a] == world.source_of[b] {
        // Whoever lists two means two.
        return false;
    }
    let (a, b) = (&world.seen[a], &world.seen[b]);
    match (&a.source.cluster, &b.source.cluster) {
        // Who may not read the uid has the name that the cluster was given.
        (Some(one), Some(other)) if one.uid.is_some() && other.uid.is_some() => one.uid == other.uid,
        (Some(one), Some(other)) => one.name.is_some() && one.name == other.name,
        (None, None) if a.source.kind == b.source.kind => {
            // Two daemons of one kind do not share containers; one daemon that is configured twice tells the same time.
            same_host(a.source, b.source) && created(a).is_some() && created(a) == created(b)
        }
        // A source that may not say who it is may be anywhere.
        (None, None) => a.source.host.is_none() || b.source.host.is_none() || same_host(a.source, b.source),
        _ => true,
    }
}

fn created(seen: &Seen<'_>) -> Option<Timestamp> {
    seen.container.created_at
}

/// Whether two sources look at one machine, as far as can be told. A daemon that is reached over the network names itself
/// instead of the machine's id, and machines that were cloned with their id have names of their own.
fn same_host(a: &Source, b: &Source) -> bool {
    let (Some(a), Some(b)) = (&a.host, &b.host) else { return false };
    let same_name = a.hostname.is_some() && a.hostname == b.hostname;
    match (&a.machine_id, &b.machine_id) {
        (Some(one), Some(other)) if one == other => same_name || a.hostname.is_none() || b.hostname.is_none(),
        _ if machine_id(a).is_some() && machine_id(b).is_some() => false,
        _ => same_name,
    }
}

/// An id in the form of machine-id(5), in which the kubelet has it too.
pub(super) fn machine_id(host: &Host) -> Option<&str> {
    host.machine_id.as_deref().filter(|id| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// The orchestrator's containers of which no runtime has the id: not made yet when the orchestrator looked, or made anew
/// since. What the runtime has for the same pod and name is the same container; of several, the one made last.
fn by_pod_and_name(world: &World<'_>, groups: &mut Vec<Group>) {
    let runtimes = runtimes_by_pod_and_name(world, groups);
    let mut taken: HashSet<usize> = HashSet::new();
    for position in 0..groups.len() {
        let group = &groups[position];
        if group.members.iter().all(|member| world.seen[*member].is_orchestrated())
            && let Some(found) = newest_of_pod(world, group, groups, &runtimes).filter(|found| taken.insert(*found))
        {
            let members = groups[found].members.clone();
            groups[position].members.extend(members);
            groups[position].joined_by = Some(JoinedBy::PodAndName);
        }
    }
    let mut position = 0;
    groups.retain(|_| {
        position += 1;
        !taken.contains(&(position - 1))
    });
}

/// Groups that only runtimes saw, by the pod's uid as runtimes know it and the container's name.
type ByPodAndName<'a> = HashMap<(&'a str, &'a str), Vec<usize>>;

fn runtimes_by_pod_and_name<'a>(world: &World<'a>, groups: &[Group]) -> ByPodAndName<'a> {
    let mut runtimes = ByPodAndName::new();
    for (position, group) in groups.iter().enumerate() {
        let container = world.seen[group.members[0]].container;
        let is_orchestrated = group.members.iter().any(|member| world.seen[*member].is_orchestrated());
        // A sandbox has no name of its own.
        if let (false, Some(pod)) = (is_orchestrated || container.kind == ContainerKind::Sandbox, &container.pod_uid) {
            runtimes.entry((pod, &container.name)).or_default().push(position);
        }
    }
    runtimes
}

fn newest_of_pod(world: &World<'_>, group: &Group, groups: &[Group], runtimes: &ByPodAndName<'_>) -> Option<usize> {
    let (seen, cluster) = (&world.seen[group.members[0]], world.source_of[group.members[0]]);
    let (pod, name) = (seen.pod?, seen.container.name.as_str());
    let node = seen.container.node_name.as_deref();
    let of_uid = runtimes.get(&(pod.uid.as_str(), name)).into_iter().flatten();
    let of_hash = pod.config_hash.as_deref().and_then(|hash| runtimes.get(&(hash, name))).into_iter().flatten();
    let of_static_pod = of_hash.filter(|found| on_node(world, &groups[**found], cluster, node));
    let found = of_uid.chain(of_static_pod).copied().filter(|found| {
        let found = &world.seen[groups[*found].members[0]];
        match (&seen.container.id, seen.container.started_at) {
            (None, _) => true,
            // The orchestrator tells of an attempt that the runtime does not have; only a later one can be meant.
            (Some(_), Some(started)) => created(found).is_some_and(|made| made > started),
            (Some(_), None) => has_process(found.container.state),
        }
    });
    found.max_by_key(|found| (created(&world.seen[groups[*found].members[0]]), std::cmp::Reverse(*found)))
}

/// Whether the runtime that saw `group` is the one of the node: a static pod's hash is the same on every node that was
/// given the same file (kubernetes#57135).
fn on_node(world: &World<'_>, group: &Group, cluster: usize, node_name: Option<&str>) -> bool {
    let host = world.source_of[group.members[0]];
    let node = world.host_nodes[host].iter().find(|(of, _)| *of == cluster).map(|(_, node)| node.name.as_str());
    // Without the cluster's nodes there is only the name, which the kubelet takes from the host by default.
    let hostname = world.sources[host].host.as_ref().and_then(|host| host.hostname.as_deref());
    let name = node.or(if world.nodes[cluster].is_empty() { hostname } else { None });
    name.is_some() && name == node_name
}
