//! A scope while its pods arrive.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    sync::Arc,
};

use stocktake_core::{
    CollectError,
    model::{ContainerState, Coverage, DigestFact, Image, MissingReason, Pod, Scope, Text, Workload},
};

use crate::{
    convert::{ConvertedPod, KeptContainer, convert_owner},
    image::image_of,
    owners::{LINKS, Owner, Owners},
};

/// What was seen of one namespace, or one node, so far. Images and workloads are made once, however many pods share them.
#[derive(Debug, Default)]
pub(crate) struct PodScope {
    pods: Vec<Pod>,
    /// What manages each of the pods.
    owners: Vec<Option<Arc<Owner>>>,
    /// How many of the containers are of each of the pods.
    counts: Vec<usize>,
    containers: Vec<KeptContainer>,
    /// By key, each with its names: a list of them that is kept in order takes ever longer to add to.
    images: BTreeMap<Text, (Image, BTreeSet<Text>)>,
    /// Bytes that the pods take.
    kept_bytes: usize,
}

impl PodScope {
    /// Adds a pod. Without `include_not_running` only its running containers.
    pub(crate) fn add(&mut self, converted: ConvertedPod, include_not_running: bool) {
        self.kept_bytes += converted.kept_bytes();
        let ConvertedPod { pod, owner, containers } = converted;
        self.pods.push(pod);
        self.owners.push(owner);
        let before = self.containers.len();
        for container in containers {
            if include_not_running || container.state == ContainerState::Running {
                self.add_image(&container);
                self.containers.push(container);
            }
        }
        self.counts.push(self.containers.len() - before);
    }

    fn add_image(&mut self, container: &KeptContainer) {
        let Some(key) = &container.image_ref else { return };
        match self.images.entry(key.clone()) {
            Entry::Vacant(vacant) => {
                let names = container.image.iter().cloned().collect();
                vacant.insert((image_of(key, container), names));
            }
            Entry::Occupied(mut known) => {
                // What one `imageID` tells it tells every time; the names that were asked for may differ.
                let (image, names) = known.get_mut();
                names.extend(container.image.iter().cloned());
                // Of a name without an id, "was there and is not told" says more than "not pulled", whichever came first.
                // core, which merges what is left, knows of no container and ranks them the other way.
                let not_pulled = DigestFact::missing(MissingReason::NotPulled);
                if image.config_digest == not_pulled {
                    *image = image_of(key, container);
                }
            }
        }
    }

    /// Which of [`LINKS`] lead from the pods to their outermost owners.
    pub(crate) fn links(&self) -> [bool; LINKS.len()] {
        LINKS.each_ref().map(|link| self.owners.iter().flatten().any(|owner| link.is(owner)))
    }

    /// Bytes that the pods take in memory, about.
    pub(crate) fn kept_bytes(&self) -> usize {
        self.kept_bytes
    }

    /// How completely the namespace was seen, if `error` cut its list short.
    pub(crate) fn coverage_after(&self, error: &CollectError) -> Coverage {
        if self.pods.is_empty() {
            Coverage::from_error(error)
        } else {
            Coverage::Partial { reason: format!("not all pods could be listed: {}", error.full_message()) }
        }
    }

    /// The scope's body.
    pub(crate) fn into_body(self, owners: &Owners) -> Scope {
        let Self { mut pods, owners: of_pods, counts, containers, images, kept_bytes: _ } = self;
        let mut whole = Vec::with_capacity(containers.len());
        let mut containers = containers.into_iter();
        for (pod, count) in pods.iter().zip(counts) {
            whole.extend(containers.by_ref().take(count).map(|container| container.of(pod)));
        }
        drop(containers);
        let mut workloads: BTreeMap<Text, Workload> = BTreeMap::new();
        for (pod, owner) in pods.iter_mut().zip(of_pods) {
            let Some(owner) = owner else { continue };
            let workload = convert_owner(owners.outermost(&owner), &pod.namespace);
            pod.workload = Some(workload.id.clone());
            workloads.entry(workload.id.clone()).or_insert(workload);
        }
        Scope {
            workloads: workloads.into_values().collect(),
            pods,
            containers: whole,
            images: images
                .into_values()
                .map(|(image, names)| Image { names: names.into_iter().collect(), ..image })
                .collect(),
            ..Scope::default()
        }
    }
}
