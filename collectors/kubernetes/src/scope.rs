//! A namespace's scope while its pods arrive.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use stocktake_core::{
    CollectError,
    model::{Container, ContainerState, Coverage, DigestFact, Image, MissingReason, Pod, Scope, Text, Workload},
};

use crate::convert::ConvertedPod;

/// What was seen of one namespace so far. Images and workloads are kept once, however many pods share them.
#[derive(Debug, Default)]
pub(crate) struct NamespaceScope {
    pods: Vec<Pod>,
    containers: Vec<Container>,
    /// By id, each with its names: a list of them that is kept in order takes ever longer to add to.
    images: BTreeMap<Text, (Image, BTreeSet<Text>)>,
    workloads: BTreeMap<Text, Workload>,
}

impl NamespaceScope {
    /// Adds a pod. Without `include_not_running` only its running containers.
    pub(crate) fn add(&mut self, converted: ConvertedPod, include_not_running: bool) {
        let ConvertedPod { pod, workload, containers } = converted;
        self.pods.push(pod);
        if let Some(workload) = workload {
            self.workloads.entry(workload.id.clone()).or_insert(workload);
        }
        for (container, image) in containers {
            if include_not_running || container.state == ContainerState::Running {
                self.containers.push(container);
                if let Some(image) = image {
                    self.add_image(image);
                }
            }
        }
    }

    fn add_image(&mut self, mut image: Image) {
        let names = std::mem::take(&mut image.names);
        match self.images.entry(image.id.clone()) {
            Entry::Vacant(vacant) => {
                vacant.insert((image, names.into_iter().collect()));
            }
            Entry::Occupied(mut known) => {
                // What one `imageID` tells it tells every time; the names that were asked for may differ.
                let (known, known_names) = known.get_mut();
                known_names.extend(names);
                // Of a name without an id, "was there and is not told" says more than "not pulled", whichever came first.
                // core, which merges what is left, knows of no container and ranks them the other way.
                let not_pulled = DigestFact::missing(MissingReason::NotPulled);
                if known.config_digest == not_pulled {
                    *known = image;
                }
            }
        }
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
    pub(crate) fn into_body(self) -> Scope {
        Scope {
            workloads: self.workloads.into_values().collect(),
            pods: self.pods,
            containers: self.containers,
            images: self
                .images
                .into_values()
                .map(|(image, names)| Image { names: names.into_iter().collect(), ..image })
                .collect(),
            ..Scope::default()
        }
    }
}
