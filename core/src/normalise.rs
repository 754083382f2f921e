//! Bringing a scope into the one form in which equal content has equal bytes.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    hash::Hash,
    io,
};

use sha2::Digest as _;

use crate::{
    Digest,
    model::{Container, Counts, Image, MissingReason, Pod, Scope},
};

/// Sorts everything, drops entities whose key another one has, and cuts references to what the scope does not hold.
///
/// What was taken out is counted, never silent. The holder of a reference that leads nowhere is kept: a container whose
/// pod was listed a moment too late still runs.
#[must_use]
pub fn normalise(scope: &mut Scope) -> Counts {
    let mut counts = Counts::default();

    for image in &mut scope.images {
        image.names.sort_unstable();
        image.names.dedup();
        image.repo_digests.sort_unstable();
        image.repo_digests.dedup();
    }
    scope.images = merge_images(std::mem::take(&mut scope.images));

    scope.nodes.sort_by(|a, b| a.name.cmp(&b.name));
    scope.namespaces.sort_by(|a, b| a.name.cmp(&b.name));
    scope.workloads.sort_by(|a, b| a.id.cmp(&b.id));
    scope.pods.sort_by(|a, b| a.uid.cmp(&b.uid));
    scope.containers.sort_by(|a, b| container_order(a).cmp(&container_order(b)));

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

fn drop_duplicates<T, K: Hash + Eq>(entities: &mut Vec<T>, key: impl Fn(&T) -> Option<K>) -> usize {
    let before = entities.len();
    let mut seen = HashSet::with_capacity(before);
    entities.retain(|entity| key(entity).is_none_or(|key| seen.insert(key)));
    before - entities.len()
}

/// Several containers may each describe the image that they share; what they say of it adds up and is no duplicate.
fn merge_images(images: Vec<Image>) -> Vec<Image> {
    let mut by_id: BTreeMap<String, Image> = BTreeMap::new();
    for image in images {
        match by_id.get_mut(&image.id) {
            None => {
                by_id.insert(image.id.clone(), image);
            }
            Some(known) => {
                known.names.extend(image.names);
                known.names.sort_unstable();
                known.names.dedup();
                known.repo_digests.extend(image.repo_digests);
                known.repo_digests.sort_unstable();
                known.repo_digests.dedup();
            }
        }
    }
    by_id.into_values().collect()
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
    fn counts_duplicates_and_merges_what_is_said_of_one_image() {
        let mut scope = Scope {
            containers: vec![container("1", "a"), container("1", "a"), container("2", "a")],
            images: vec![image("a", "y:1"), image("a", "x:1"), image("a", "x:1")],
            workloads: vec![Workload { id: "w".into(), ..Workload::default() }; 2],
            ..Scope::default()
        };
        let counts = normalise(&mut scope);
        assert_eq!((counts.duplicates, counts.containers, counts.images, counts.workloads), (2, 2, 1, 1));
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
            ids in proptest::collection::vec((0u8..12, 0u8..5), 0..20).prop_flat_map(|ids| (Just(ids.clone()), Just(ids).prop_shuffle()))
        ) {
            let digests = [&ids.0, &ids.1].map(|ids| {
                let mut scope = Scope {
                    containers: ids.iter().map(|(id, image)| container(&id.to_string(), &(image % 3).to_string()))
                        // Two containers with one id but different images would be two truths; which one stays is not defined.
                        .map(|container| Container { image_ref: container.id.clone(), ..container })
                        .collect(),
                    images: ids.iter().map(|(id, name)| image(&id.to_string(), &name.to_string())).collect(),
                    ..Scope::default()
                };
                let counts = normalise(&mut scope);
                let again = normalise(&mut scope);
                assert_eq!(counts.containers, again.containers);
                assert_eq!(again.duplicates + again.dangling_references, 0);
                scope_digest(&scope)
            });
            prop_assert_eq!(&digests[0], &digests[1]);
        }
    }
}
