//! Finding things in a report.

use stocktake_core::model::{Container, Coverage, Image, Inventory, Pod, Scope, ScopeEntry, ScopeId, Source, Workload};

/// What `collect --format json` printed.
#[derive(Debug)]
pub struct Report {
    /// The document.
    pub inventory: Inventory,
}

impl Report {
    /// The source of that name.
    #[must_use]
    #[track_caller]
    pub fn source(&self, collector: &str) -> &Source {
        let sources = &self.inventory.report.sources;
        sources.iter().find(|source| source.collector == collector).unwrap_or_else(|| panic!("no source {collector}"))
    }

    /// A source's line for a scope.
    #[must_use]
    pub fn find_entry(&self, collector: &str, scope: &ScopeId) -> Option<&ScopeEntry> {
        self.source(collector).scopes.iter().find(|entry| entry.id == *scope)
    }

    /// A source's line for a scope that must be there.
    #[must_use]
    #[track_caller]
    pub fn entry(&self, collector: &str, scope: &ScopeId) -> &ScopeEntry {
        self.find_entry(collector, scope).unwrap_or_else(|| panic!("{collector} has no scope {scope}"))
    }

    /// How completely a scope was seen.
    #[must_use]
    #[track_caller]
    pub fn coverage(&self, collector: &str, scope: &ScopeId) -> &Coverage {
        &self.entry(collector, scope).coverage
    }

    /// The body of a scope.
    #[must_use]
    #[track_caller]
    pub fn scope(&self, collector: &str, scope: &ScopeId) -> &Scope {
        let digest = self.entry(collector, scope).digest.as_ref();
        let digest = digest.unwrap_or_else(|| panic!("{collector} saw nothing of {scope}"));
        self.inventory.scopes.get(digest).expect("a report holds the bodies that it names")
    }

    /// Names of the namespaces that a source has, whatever was seen of them.
    #[must_use]
    pub fn namespaces(&self, collector: &str) -> Vec<&str> {
        let scopes = self.source(collector).scopes.iter();
        scopes.map(|entry| entry.id.name.as_str()).filter(|name| !name.is_empty()).collect()
    }

    /// All that a source saw, each scope with its body.
    pub fn bodies<'a>(&'a self, collector: &str) -> impl Iterator<Item = (&'a ScopeEntry, &'a Scope)> {
        self.source(collector)
            .scopes
            .iter()
            .filter_map(|entry| Some((entry, self.inventory.scopes.get(entry.digest.as_ref()?)?)))
    }

    /// How many containers a source saw.
    #[must_use]
    pub fn containers(&self, collector: &str) -> usize {
        self.bodies(collector).map(|(_, scope)| scope.containers.len()).sum()
    }
}

/// The image that a container refers to.
#[must_use]
pub fn image_of<'a>(scope: &'a Scope, container: &Container) -> Option<&'a Image> {
    let id = container.image_ref.as_ref()?;
    scope.images.iter().find(|image| image.id == *id)
}

/// The pod that a container refers to.
#[must_use]
pub fn pod_of<'a>(scope: &'a Scope, container: &Container) -> Option<&'a Pod> {
    let uid = container.pod_uid.as_ref()?;
    scope.pods.iter().find(|pod| pod.uid == *uid)
}

/// The pod of that name.
#[must_use]
#[track_caller]
pub fn pod<'a>(scope: &'a Scope, name: &str) -> &'a Pod {
    scope.pods.iter().find(|pod| pod.name == name).unwrap_or_else(|| panic!("no pod {name}"))
}

/// The containers of a pod.
#[must_use]
pub fn containers_of<'a>(scope: &'a Scope, pod: &Pod) -> Vec<&'a Container> {
    scope.containers.iter().filter(|container| container.pod_uid.as_ref() == Some(&pod.uid)).collect()
}

/// The owner that a pod refers to.
#[must_use]
pub fn owner_of<'a>(scope: &'a Scope, pod: &Pod) -> Option<&'a Workload> {
    let id = pod.workload.as_ref()?;
    scope.workloads.iter().find(|workload| workload.id == *id)
}
