//! Which sightings are of one container.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher as _, Hash, RandomState},
};

use jiff::Timestamp;

use super::{
    conclude::has_process,
    world::{Seen, World, narrow},
};
use crate::model::{ContainerKind, Host, JoinedBy, Source, Text};

/// Sightings of one container, by position, those first that are closest to the people who asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Group<'g> {
    pub(super) members: &'g [u32],
    pub(super) joined_by: Option<JoinedBy>,
}

/// All sightings in groups, in the order of what was seen first.
pub(super) struct Groups {
    /// The members of each, one group behind the other.
    members: Vec<u32>,
    /// Where each ends among them.
    ends: Vec<(u32, Option<JoinedBy>)>,
}

impl Groups {
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn get(&self, position: usize) -> Group<'_> {
        let begin = position.checked_sub(1).map_or(0, |before| self.ends[before].0);
        let (end, joined_by) = self.ends[position];
        Group { members: &self.members[begin as usize..end as usize], joined_by }
    }

    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = Group<'_>> {
        (0..self.len()).map(|position| self.get(position))
    }
}

/// Joins by the runtime's id, then by pod and name what an orchestrator has and no runtime was found for.
pub(super) fn join(world: &World<'_>) -> Groups {
    let mut joins = Joins { first: world.positions().collect(), by: HashMap::new() };
    // Whoever lists two means two.
    if world.sources.len() > 1 {
        by_id(world, &mut joins);
        by_pod_and_name(world, &mut joins);
    }
    joins.into_groups(world)
}

/// What belongs together, while that is being found out. A group is called by the sighting that it began with.
struct Joins {
    /// For each sighting, the one that its group began with.
    first: Vec<u32>,
    by: HashMap<u32, JoinedBy>,
}

impl Joins {
    fn into_groups(self, world: &World<'_>) -> Groups {
        let Self { first, by } = self;
        let mut members: Vec<u32> = world.positions().collect();
        if !by.is_empty() {
            members.sort_by_cached_key(|member| (first[*member as usize], distance(&world.seen(*member)), *member));
        }
        let group = |member: &u32| first[*member as usize];
        let mut ends = Vec::with_capacity(members.len());
        for of_group in members.chunk_by(|one, other| group(one) == group(other)) {
            let before = ends.last().map_or(0, |(end, _)| *end);
            ends.push((before + narrow(of_group.len()), by.get(&group(&of_group[0])).copied()));
        }
        Groups { members, ends }
    }
}

/// Things that may be alike beside each other: each with a hash of what they may be alike in. It takes less memory than a map
/// of lists, and the order of the positions stays within what is alike.
struct Alike {
    keys: RandomState,
    hashed: Vec<(u64, u32)>,
}

impl Alike {
    fn of<K: Hash>(keyed: impl Iterator<Item = (K, u32)>) -> Self {
        let keys = RandomState::new();
        let mut hashed: Vec<(u64, u32)> = keyed.map(|(key, position)| (keys.hash_one(key), position)).collect();
        hashed.sort_unstable();
        Self { keys, hashed }
    }

    /// What may have the key `key`, and has another only by accident.
    fn get<K: Hash>(&self, key: K) -> impl Iterator<Item = u32> + use<'_, K> {
        let hash = self.keys.hash_one(key);
        let begin = self.hashed.partition_point(|(other, _)| *other < hash);
        self.hashed[begin..].iter().take_while(move |(other, _)| *other == hash).map(|(_, position)| *position)
    }
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

fn by_id(world: &World<'_>, joins: &mut Joins) {
    let key = |position: u32| Key::of(&world.seen(position));
    let alike = Alike::of(world.positions().filter_map(|position| Some((key(position)?, position))));
    for alike in alike.hashed.chunk_by(|one, other| one.0 == other.0).filter(|alike| alike.len() > 1) {
        let mut groups: Vec<Vec<u32>> = Vec::new();
        for (_, position) in alike {
            let may_join = |group: &&mut Vec<u32>| {
                key(group[0]) == key(*position) && group.iter().all(|member| may_be_the_same(world, *member, *position))
            };
            let Some(group) = groups.iter_mut().find(may_join) else {
                groups.push(vec![*position]);
                continue;
            };
            let is_by_id = matches!(key(*position), Some(Key::Id(_)));
            joins.by.insert(group[0], if is_by_id { JoinedBy::RuntimeId } else { JoinedBy::PodAndName });
            joins.first[*position as usize] = group[0];
            group.push(*position);
        }
    }
}

/// Docker, Podman, containerd's CRI plug-in, CRI-O and nerdctl draw 256 bits and write them in hexadecimal. An id that a
/// person chose (`ctr run … web`, a machine's name) says nothing about a container of the same id elsewhere.
pub(super) fn is_drawn_at_random(id: &str) -> bool {
    id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether two sightings with the same key may be of one container.
fn may_be_the_same(world: &World<'_>, a: u32, b: u32) -> bool {
    if world.source_of(a) == world.source_of(b) {
        // Whoever lists two means two.
        return false;
    }
    let (a, b) = (world.seen(a), world.seen(b));
    match (&a.source.cluster, &b.source.cluster) {
        // Who may not read the uid has the name that the cluster was given.
        (Some(one), Some(other)) if one.uid.is_some() && other.uid.is_some() => one.uid == other.uid,
        (Some(one), Some(other)) => one.name.is_some() && one.name == other.name,
        (None, None) if a.source.kind == b.source.kind => {
            // Two daemons of one kind do not share containers; one daemon that is configured twice tells the same time.
            same_host(a.source, b.source) && created(&a).is_some() && created(&a) == created(&b)
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
fn by_pod_and_name(world: &World<'_>, joins: &mut Joins) {
    let mut is_known = vec![(false, false); world.len()];
    for (position, first) in world.positions().zip(&joins.first) {
        let (to_orchestrator, to_runtime) = &mut is_known[*first as usize];
        *(if world.seen(position).is_orchestrated() { to_orchestrator } else { to_runtime }) = true;
    }
    let is_known = is_known.as_slice();
    let groups = |known| world.positions().filter(move |first| is_known[*first as usize] == known);
    let runtimes = Alike::of(groups((false, true)).filter_map(|first| {
        let container = world.seen(first).container;
        // A sandbox has no name of its own.
        let pod = container.pod_uid.as_ref().filter(|_| container.kind != ContainerKind::Sandbox)?;
        Some(((pod, &container.name), first))
    }));
    let mut taken: HashSet<u32> = HashSet::new();
    let mut found: Vec<(u32, u32)> = Vec::new();
    for first in groups((true, false)) {
        let newest = newest_of_pod(world, first, &runtimes).filter(|newest| taken.insert(*newest));
        found.extend(newest.map(|newest| (newest, first)));
    }
    joins.by.extend(found.iter().map(|(_, first)| (*first, JoinedBy::PodAndName)));
    let found: HashMap<u32, u32> = found.into_iter().collect();
    for first in &mut joins.first {
        *first = found.get(first).copied().unwrap_or(*first);
    }
}

/// `runtimes` are groups that only runtimes saw, by the pod's uid as runtimes know it and the container's name.
fn newest_of_pod<'a>(world: &World<'a>, first: u32, runtimes: &Alike) -> Option<u32> {
    let (seen, cluster) = (world.seen(first), world.source_of(first));
    let (pod, name) = (seen.pod?, &seen.container.name);
    let node = seen.container.node_name.as_deref();
    let of_pod = |uid: &'a Text| {
        runtimes.get((uid, name)).filter(move |found| {
            let container = world.seen(*found).container;
            container.pod_uid.as_ref() == Some(uid) && container.name == *name
        })
    };
    let of_hash = pod.config_hash.as_ref().map(of_pod).into_iter().flatten();
    let of_static_pod = of_hash.filter(|found| on_node(world, *found, cluster, node));
    let found = of_pod(&pod.uid).chain(of_static_pod).filter(|found| {
        let found = world.seen(*found);
        match (&seen.container.id, seen.container.started_at) {
            (None, _) => true,
            // The orchestrator tells of an attempt that the runtime does not have; only a later one can be meant.
            (Some(_), Some(started)) => created(&found).is_some_and(|made| made > started),
            (Some(_), None) => has_process(found.container.state),
        }
    });
    found.max_by_key(|found| (created(&world.seen(*found)), std::cmp::Reverse(*found)))
}

/// Whether the runtime that saw `found` is the one of the node: a static pod's hash is the same on every node that was
/// given the same file (kubernetes#57135).
fn on_node(world: &World<'_>, found: u32, cluster: usize, node_name: Option<&str>) -> bool {
    let host = world.source_of(found);
    let node = world.host_nodes[host].iter().find(|(of, _)| *of == cluster).map(|(_, node)| node.name.as_str());
    // Without the cluster's nodes there is only the name, which the kubelet takes from the host by default.
    let hostname = world.sources[host].host.as_ref().and_then(|host| host.hostname.as_deref());
    let name = node.or(if world.nodes[cluster].is_empty() { hostname } else { None });
    name.is_some() && name == node_name
}
