//! Looking things up: from the flat lists that a report holds to each container with its pod, image and owner.

use std::collections::HashMap;

use super::world::{Seen, containers};
use crate::model::{
    Image, Inventory, Pod, Scope, ScopeId, Sighting, Unified, UnifiedContainer, UnifiedImage, Workload,
};

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
