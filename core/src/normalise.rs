//! Bringing a scope into the one form in which equal content has equal bytes.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet, HashMap, btree_map, hash_map::Entry},
    hash::Hash,
    io,
};

use serde::Serialize;
use sha2::Digest as _;

use crate::{
    Digest, RepoDigest,
    model::{Container, Counts, Image, MissingReason, Pod, Scope},
};

/// Sorts everything, drops entities whose key another one has, and cuts references to what the scope does not hold.
///
/// What was taken out is counted, never silent. The holder of a reference that leads nowhere is kept: a container whose
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

    counts.duplicates += drop_duplicates(&mut scope.nodes, |node| Some(node.name.clone()));
    counts.duplicates += drop_duplicates(&mut scope.namespaces, |namespace| Some(namespace.name.clone()));
    counts.duplicates += drop_duplicates(&mut scope.workloads, |workload| Some(workload.id.clone()));
    counts.duplicates += drop_duplicates(&mut scope.pods, |pod| Some(pod.uid.clone()));
    // A container that the runtime has not made yet has no id; within its pod its kind and name are unique.
    counts.duplicates += drop_duplicates(&mut scope.containers, |container| match &container.id {
        Some(id) => Some((id.clone(), None)),
        None => container.pod_uid.clone().map(|uid| (uid, Some((container.kind, container.name.clone())))),
    });

    let workloads: BTreeSet<&str> = scope.workloads.iter().map(|workload| workload.id.as_str()).collect();
    let images: BTreeSet<&str> = scope.images.iter().map(|image| image.id.as_str()).collect();
    let pods: BTreeSet<String> = scope.pods.iter().map(|pod| pod.uid.clone()).collect();
    for Pod { workload, .. } in &mut scope.pods {
        counts.dangling_references += cut(workload, |id| workloads.contains(id));
    }
    for container in &mut scope.containers {
        counts.dangling_references += cut(&mut container.workload, |id| workloads.contains(id));
        counts.dangling_references += cut(&mut container.pod_uid, |uid| pods.contains(uid));
        let cut_image = cut(&mut container.image_ref, |id| images.contains(id));
        if cut_image > 0 {
            container.image_missing = Some(MissingReason::DanglingReference);
        }
        counts.dangling_references += cut_image;
    }

    counts.nodes = scope.nodes.len();
    counts.namespaces = scope.namespaces.len();
    counts.workloads = scope.workloads.len();
    counts.pods = scope.pods.len();
    counts.containers = scope.containers.len();
    counts.images = scope.images.len();
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

/// Leaves one entity a key. Those that say the same again (several containers may each name their pod) go without a
/// word; those that say something else are counted.
fn drop_duplicates<T: PartialEq, K: Hash + Eq>(entities: &mut Vec<T>, key: impl Fn(&T) -> Option<K>) -> usize {
    let mut kept: Vec<T> = Vec::with_capacity(entities.len());
    let mut by_key: HashMap<K, usize> = HashMap::with_capacity(entities.len());
    let mut contradictory = 0;
    for entity in entities.drain(..) {
        match key(&entity).map(|key| by_key.entry(key)) {
            Some(Entry::Occupied(first)) => contradictory += usize::from(kept[*first.get()] != entity),
            Some(Entry::Vacant(vacant)) => {
                vacant.insert(kept.len());
                kept.push(entity);
            }
            None => kept.push(entity),
        }
    }
    *entities = kept;
    contradictory
}

/// Several containers may each describe the image that they share; its names and repository digests add up. What else
/// they say of it should be the same; where it is not, that is counted, and the choice does not depend on their order.
fn merge_images(images: &mut Vec<Image>) -> usize {
    let mut by_id: BTreeMap<String, (Image, BTreeSet<String>, BTreeSet<RepoDigest>)> = BTreeMap::new();
    let mut contradictory = 0;
    for mut image in images.drain(..) {
        let names = std::mem::take(&mut image.names);
        let repo_digests = std::mem::take(&mut image.repo_digests);
        let known = match by_id.entry(image.id.clone()) {
            btree_map::Entry::Vacant(vacant) => vacant.insert((image, BTreeSet::new(), BTreeSet::new())),
            btree_map::Entry::Occupied(occupied) => {
                let known = occupied.into_mut();
                if known.0 != image {
                    contradictory += 1;
                    if json(&image) < json(&known.0) {
                        known.0 = image;
                    }
                }
                known
            }
        };
        known.1.extend(names);
        known.2.extend(repo_digests);
    }
    images.extend(by_id.into_values().map(|(image, names, repo_digests)| Image {
        names: names.into_iter().collect(),
        repo_digests: repo_digests.into_iter().collect(),
        ..image
    }));
    contradictory
}

/// Sorts, and puts entities that contradict each other under one key into an order that does not depend on theirs.
fn sort<T: Serialize + PartialEq>(entities: &mut [T], order: impl Fn(&T, &T) -> Ordering) {
    entities.sort_by(|a, b| order(a, b).then_with(|| if a == b { Ordering::Equal } else { json(a).cmp(&json(b)) }));
}

fn json<T: Serialize>(entity: &T) -> String {
    // It cannot fail: every map in the model has strings for keys.
    serde_json::to_string(entity).unwrap_or_default()
}

fn cut(reference: &mut Option<String>, exists: impl Fn(&str) -> bool) -> usize {
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
    use crate::model::{ContainerKind, Workload};

    fn container(id: &str, image: &str) -> Container {
        Container {
            id: Some(id.into()),
            name: format!("name-{id}"),
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
