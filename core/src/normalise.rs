//! Bringing a scope into the one form in which equal content has equal bytes.

use std::{
    cmp::Ordering,
    collections::{BTreeSet, HashSet},
    hash::{BuildHasher as _, Hash, RandomState},
    io,
};

use serde::Serialize;
use sha2::Digest as _;

use crate::{
    Digest,
    model::{Container, ContainerKind, Counts, DigestFact, Image, MissingReason, Pod, Scope, Text},
};

/// Sorts everything, drops entities whose key another one has, and cuts references to what the scope does not hold.
///
/// It works in place and gives back the room that a list was not filled to: what is held next to it is a number for each entity,
/// not a second one. What was taken out is counted, never silent. The holder of a reference that leads nowhere is kept: a container whose
/// pod was listed a moment too late still runs.
#[must_use]
pub fn normalise(scope: &mut Scope) -> Counts {
    let mut counts = Counts::default();

    counts.duplicates += merge_images(&mut scope.images);

    sort(&mut scope.nodes, |a, b| a.name.cmp(&b.name));
    sort(&mut scope.namespaces, |a, b| a.name.cmp(&b.name));
    sort(&mut scope.workloads, |a, b| a.id.cmp(&b.id));
    sort(&mut scope.pods, |a, b| a.uid.cmp(&b.uid));
    sort(&mut scope.containers, |a, b| container_order(a).cmp(&container_order(b)));

    counts.duplicates += drop_duplicates(&mut scope.nodes, |node| Some(Key::Own(&node.name)));
    counts.duplicates += drop_duplicates(&mut scope.namespaces, |namespace| Some(Key::Own(&namespace.name)));
    counts.duplicates += drop_duplicates(&mut scope.workloads, |workload| Some(Key::Own(&workload.id)));
    counts.duplicates += drop_duplicates(&mut scope.pods, |pod| Some(Key::Own(&pod.uid)));
    counts.duplicates += drop_duplicates(&mut scope.containers, |container| match &container.id {
        Some(id) => Some(Key::Own(id)),
        None => container.pod_uid.as_ref().map(|uid| Key::InPod(uid, container.kind, &container.name)),
    });

    let workloads: BTreeSet<&str> = scope.workloads.iter().map(|workload| workload.id.as_str()).collect();
    let images: BTreeSet<&str> = scope.images.iter().map(|image| image.id.as_str()).collect();
    for Pod { workload, .. } in &mut scope.pods {
        counts.dangling_references += cut(workload, |id| workloads.contains(id));
    }
    let has_pod = |uid: &str| scope.pods.binary_search_by(|pod| pod.uid.as_str().cmp(uid)).is_ok();
    for container in &mut scope.containers {
        counts.dangling_references += cut(&mut container.workload, |id| workloads.contains(id));
        counts.dangling_references += cut(&mut container.pod_uid, has_pod);
        let cut_image = cut(&mut container.image_ref, |id| images.contains(id));
        if cut_image > 0 {
            container.image_missing = Some(MissingReason::DanglingReference);
        }
        counts.dangling_references += cut_image;
    }

    let Scope { nodes, namespaces, workloads, pods, containers, images } = scope;
    nodes.shrink_to_fit();
    namespaces.shrink_to_fit();
    workloads.shrink_to_fit();
    pods.shrink_to_fit();
    containers.shrink_to_fit();
    images.shrink_to_fit();

    counts.nodes = nodes.len();
    counts.namespaces = namespaces.len();
    counts.workloads = workloads.len();
    counts.pods = pods.len();
    counts.containers = containers.len();
    counts.images = images.len();
    counts
}

/// The digest of a normalised scope: SHA-256 of its canonical serialisation, which is compact JSON with fields in the
/// order of the model, maps sorted by key, absent values left out and times in UTC.
///
/// The bytes are hashed as they are made; a large scope is not held twice.
#[must_use]
pub fn scope_digest(scope: &Scope) -> Digest {
    struct Hasher(sha2::Sha256);
    impl io::Write for Hasher {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.update(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut hasher = Hasher(sha2::Sha256::new());
    // It cannot fail: the writer takes everything, and every map in the model has strings for keys.
    let written = serde_json::to_writer(&mut hasher, scope);
    debug_assert!(written.is_ok(), "the model always serialises");
    Digest::from_sha256(hasher.0.finalize().as_ref())
}

fn container_order(container: &Container) -> impl Ord + use<'_> {
    (&container.pod_uid, container.kind, &container.name, &container.id)
}

/// What no two entities of a list have in common.
#[derive(PartialEq, Eq, Hash)]
enum Key<'a> {
    Own(&'a Text),
    /// Of a container that the runtime has not made yet: within its pod its kind and name are unique.
    InPod(&'a Text, ContainerKind, &'a Text),
}

/// Leaves one entity a key, the first. Those that say the same again (several containers may each name their pod) go without
/// a word; those that say something else are counted.
fn drop_duplicates<T: PartialEq>(entities: &mut Vec<T>, key: impl for<'e> Fn(&'e T) -> Option<Key<'e>>) -> usize {
    // Sorted hashes are a third of a map of keys.
    let keys = RandomState::new();
    let hash = |(position, entity)| Some((keys.hash_one(key(entity)?), position));
    let mut hashed: Vec<(u64, usize)> = entities.iter().enumerate().filter_map(hash).collect();
    hashed.sort_unstable();
    let mut contradictory = 0;
    let mut dropped: HashSet<usize> = HashSet::new();
    for alike in hashed.chunk_by(|one, other| one.0 == other.0) {
        for (number, (_, position)) in alike.iter().enumerate().skip(1) {
            let entity = &entities[*position];
            let mut before = alike[..number].iter().map(|(_, before)| &entities[*before]);
            if let Some(first) = before.find(|before| key(before) == key(entity)) {
                contradictory += usize::from(first != entity);
                dropped.insert(*position);
            }
        }
    }
    if !dropped.is_empty() {
        let mut position = 0;
        entities.retain(|_| {
            position += 1;
            !dropped.contains(&(position - 1))
        });
    }
    contradictory
}

/// Several containers may each describe the image that they share, one knowing more of it than another.
fn merge_images(images: &mut Vec<Image>) -> usize {
    let mut contradictions = 0;
    sort_by(images, |a, b| a.id.cmp(&b.id));
    images.dedup_by(|other, image| {
        let is_same = other.id == image.id;
        if is_same {
            let other = std::mem::replace(other, Image::unresolved(Text::default(), MissingReason::Other));
            contradictions += merge_image(image, other);
        }
        is_same
    });
    for image in images {
        image.names.sort_unstable();
        image.names.dedup();
        image.names.shrink_to_fit();
        image.repo_digests.sort_unstable();
        image.repo_digests.dedup();
        image.repo_digests.shrink_to_fit();
    }
    contradictions
}

/// Adds what `other` knows of the same image, and returns how much of it contradicts what was known. Which of two
/// contradicting values stays does not depend on the order in which they come.
fn merge_image(image: &mut Image, other: Image) -> usize {
    image.names.extend(other.names);
    image.repo_digests.extend(other.repo_digests);
    merge_fact(&mut image.index_digest, other.index_digest)
        + merge_fact(&mut image.manifest_digest, other.manifest_digest)
        + merge_fact(&mut image.config_digest, other.config_digest)
        + merge_value(&mut image.platform, other.platform)
        + merge_value(&mut image.size_bytes, other.size_bytes)
        + merge_value(&mut image.created_at, other.created_at)
}

fn merge_fact(fact: &mut DigestFact, other: DigestFact) -> usize {
    match (&mut *fact, other) {
        (DigestFact::Known { digest, from }, DigestFact::Known { digest: other_digest, from: other_from }) => {
            let contradiction = usize::from(*digest != other_digest);
            // The same digest may be learnt in several ways.
            if (&other_digest, &other_from) < (digest, from) {
                (*digest, *from) = (other_digest, other_from);
            }
            contradiction
        }
        (DigestFact::Known { .. }, DigestFact::Missing { .. }) => 0,
        (DigestFact::Missing { .. }, known @ DigestFact::Known { .. }) => {
            *fact = known;
            0
        }
        (DigestFact::Missing { missing }, DigestFact::Missing { missing: other }) => {
            *missing = (*missing).min(other);
            0
        }
    }
}

fn merge_value<T: Ord>(value: &mut Option<T>, other: Option<T>) -> usize {
    match (value.as_ref(), other) {
        (_, None) => 0,
        (None, other) => {
            *value = other;
            0
        }
        (Some(known), Some(other)) => {
            let order = other.cmp(known);
            if order == Ordering::Less {
                *value = Some(other);
            }
            usize::from(order != Ordering::Equal)
        }
    }
}

/// Sorts, and puts entities that contradict each other under one key into an order that does not depend on theirs.
fn sort<T: Serialize + PartialEq>(entities: &mut [T], order: impl Fn(&T, &T) -> Ordering) {
    sort_by(entities, |a, b| order(a, b).then_with(|| if a == b { Ordering::Equal } else { json(a).cmp(&json(b)) }));
}

/// Sorts in place, and equal ones stay in their order. Entities are large: their numbers are sorted, and each then moves once.
fn sort_by<T>(entities: &mut [T], order: impl Fn(&T, &T) -> Ordering) {
    let mut places: Vec<usize> = (0..entities.len()).collect();
    places.sort_unstable_by(|a, b| order(&entities[*a], &entities[*b]).then(a.cmp(b)));
    for start in 0..places.len() {
        // Round the circle of those that take each other's places.
        let mut place = start;
        loop {
            let from = std::mem::replace(&mut places[place], place);
            if from == start {
                break;
            }
            entities.swap(place, from);
            place = from;
        }
    }
}

fn json<T: Serialize>(entity: &T) -> String {
    // It cannot fail: every map in the model has strings for keys.
    serde_json::to_string(entity).unwrap_or_default()
}

fn cut(reference: &mut Option<Text>, exists: impl Fn(&str) -> bool) -> usize {
    if reference.as_deref().is_some_and(|key| !exists(key)) {
        *reference = None;
        1
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{Provenance, Workload};

    fn container(id: &str, image: &str) -> Container {
        Container {
            id: Some(id.into()),
            name: format!("name-{id}").into(),
            image_ref: Some(image.into()),
            ..Container::default()
        }
    }

    fn image(id: &str, name: &str) -> Image {
        Image { names: vec![name.into()], ..Image::unresolved(id, MissingReason::NotReported) }
    }

    #[test]
    fn cuts_and_counts_references_that_lead_nowhere_and_keeps_the_container() {
        let mut scope = Scope {
            containers: vec![Container {
                pod_uid: Some("gone".into()),
                workload: Some("gone".into()),
                ..container("1", "gone")
            }],
            ..Scope::default()
        };
        let counts = normalise(&mut scope);
        assert_eq!((counts.dangling_references, counts.containers), (3, 1));
        assert_eq!(scope.containers[0].image_missing, Some(MissingReason::DanglingReference));
        assert_eq!(scope.containers[0].pod_uid, None);
    }

    #[test]
    fn counts_contradictions_and_merges_what_is_said_of_one_image() {
        let mut scope = Scope {
            containers: vec![
                container("1", "a"),
                Container { restart_count: Some(1), ..container("1", "a") },
                container("2", "a"),
            ],
            images: vec![image("a", "y:1"), image("a", "x:1"), image("a", "x:1")],
            // Each container may bring its owner along.
            workloads: vec![Workload { id: "w".into(), ..Workload::default() }; 3],
            ..Scope::default()
        };
        let counts = normalise(&mut scope);
        assert_eq!((counts.duplicates, counts.containers, counts.images, counts.workloads), (1, 2, 1, 1));
        assert_eq!(scope.images[0].names, ["x:1", "y:1"]);
    }

    #[test]
    fn what_one_knows_of_an_image_is_not_lost_to_what_another_does_not() {
        let digest = Digest::sha256(b"");
        let from = |source| DigestFact::known(digest.clone(), Provenance(source));
        let known = Image { manifest_digest: from("b".into()), size_bytes: Some(1), ..image("a", "x:1") };
        let also = Image { manifest_digest: from("a".into()), ..image("a", "x:1") };
        for images in [[known.clone(), also.clone(), image("a", "x:1")], [image("a", "x:1"), also, known]] {
            let mut scope = Scope { images: images.into(), ..Scope::default() };
            assert_eq!(normalise(&mut scope).duplicates, 0);
            assert_eq!(scope.images[0].manifest_digest, from("a".into()));
            assert_eq!(scope.images[0].size_bytes, Some(1));
        }
    }

    #[test]
    fn containers_that_are_not_made_yet_are_told_apart_by_pod_kind_and_name() {
        let waiting =
            |kind, name: &str| Container { name: name.into(), kind, pod_uid: Some("p".into()), ..Container::default() };
        let mut scope = Scope {
            pods: vec![Pod { uid: "p".into(), ..Pod::default() }],
            containers: vec![
                waiting(ContainerKind::Init, "a"),
                waiting(ContainerKind::Regular, "a"),
                waiting(ContainerKind::Regular, "b"),
                waiting(ContainerKind::Regular, "b"),
            ],
            ..Scope::default()
        };
        assert_eq!(normalise(&mut scope).containers, 3);
    }

    #[test]
    fn the_digest_is_that_of_the_compact_json() {
        let mut scope =
            Scope { containers: vec![container("1", "a")], images: vec![image("a", "x")], ..Scope::default() };
        let _ = normalise(&mut scope);
        assert_eq!(scope_digest(&scope), Digest::sha256(&serde_json::to_vec(&scope).unwrap()));
    }

    proptest! {
        #[test]
        fn order_of_observation_does_not_matter(
            ids in proptest::collection::vec((0u8..6, 0u8..5), 0..20).prop_flat_map(|ids| (Just(ids.clone()), Just(ids).prop_shuffle()))
        ) {
            let digests = [&ids.0, &ids.1].map(|ids| {
                // The same id with several images, and images of one id with several sizes, contradict each other.
                let mut scope = Scope {
                    containers: ids.iter().map(|(id, image)| container(&id.to_string(), &image.to_string())).collect(),
                    images: ids
                        .iter()
                        .map(|(id, name)| Image { size_bytes: Some((*name).into()), ..image(&id.to_string(), &name.to_string()) })
                        .collect(),
                    ..Scope::default()
                };
                let counts = normalise(&mut scope);
                let again = normalise(&mut scope);
                assert_eq!((counts.containers, counts.images), (again.containers, again.images));
                assert_eq!(again.duplicates + again.dangling_references, 0);
                scope_digest(&scope)
            });
            prop_assert_eq!(&digests[0], &digests[1]);
        }
    }
}
