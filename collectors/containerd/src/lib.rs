//! Containers of containerd, in each of its namespaces.
//!
//! One collection is four or five requests a namespace (containers, tasks, images, snapshots of each snapshotter in
//! use) and a few for each image that is new; how many containers there are does not matter.

#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod bad_input;

mod client;
mod content;
mod convert;
mod discover;
mod event;
mod resolve;
mod settings;
mod subscription;

use std::{collections::BTreeSet, path::PathBuf};

use async_trait::async_trait;
use containerd_client::services::v1::Container;
use futures_util::stream::BoxStream;
use stocktake_core::{
    Candidate, CollectError, CollectorPlugin, ConfigError, Context, Digest, Environment, Location, ObservedScope,
    Resource, RuntimeCollector, RuntimeInfo, ScopeChange, ScopeSink, Selection, Stability,
    model::{Coverage, Host, RuntimeVersion, Scope, ScopeId, ScopeKind, Shown, Warning},
    nearest, register_collector,
    select::{NameSelector, StateSelector},
};
use tokio::sync::Mutex;

pub use crate::settings::Settings;
use crate::{
    client::{Client, NamespaceClient},
    content::{Absent, ContentCache},
    resolve::{Evidence, ImageNames, Snapshots, Target, is_settled_by_name},
};

register_collector!(ContainerdCollector);

/// Reads one containerd. Each of its namespaces is a scope.
pub struct ContainerdCollector {
    socket: PathBuf,
    namespaces: NameSelector,
    states: StateSelector,
    host: Host,
    content: Mutex<ContentCache>,
}

impl CollectorPlugin for ContainerdCollector {
    const KIND: &'static str = "containerd";
    const SUMMARY: &'static str = "containers of a containerd daemon, in all its namespaces";
    const STABILITY: Stability = Stability::Beta;
    const PROVIDES: &'static [Resource] =
        &[Resource::Workloads, Resource::Pods, Resource::Containers, Resource::Images];
    type Settings = Settings;

    fn new(settings: Settings, context: Context) -> Result<Self, ConfigError> {
        let socket = settings.address.unwrap_or_else(|| discover::default_socket(&context.environment));
        if !socket.is_absolute() {
            return Err(ConfigError::new("address", format!("`{}` is not an absolute path", socket.display()))
                .hint("write the path of the socket, as in `/run/containerd/containerd.sock`"));
        }
        Ok(Self {
            socket,
            namespaces: settings.namespaces,
            states: settings.states,
            host: context.host,
            content: Mutex::new(ContentCache::default()),
        })
    }

    fn discover(environment: &Environment) -> Vec<Candidate> {
        discover::candidates(environment)
    }
}

#[async_trait]
impl RuntimeCollector for ContainerdCollector {
    async fn probe(&self) -> Result<RuntimeInfo, CollectError> {
        let version = Client::connect(self.socket.clone()).await?.version().await?;
        Ok(RuntimeInfo {
            runtime: RuntimeVersion { name: "containerd".into(), version },
            location: Location::Host(self.host.clone()),
        })
    }

    async fn collect(&self, select: &Selection, sink: &mut dyn ScopeSink) -> Result<Coverage, CollectError> {
        let client = Client::connect(self.socket.clone()).await?;
        let existing: BTreeSet<String> = client.namespaces().await?.into_iter().collect();
        let mut wanted: BTreeSet<&str> =
            existing.iter().map(String::as_str).filter(|name| self.namespaces.matches(name)).collect();
        for name in self.namespaces.exact_names().filter(|name| !existing.contains(*name)) {
            let hint = nearest(name, existing.iter().map(String::as_str));
            let hint = hint.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
            sink.warning(Warning::new(format!("containerd has no namespace `{name}`{hint}")));
            // It is still a scope: should it have existed before, what was in it is gone.
            wanted.insert(name);
        }
        if let Selection::Only(scopes) = select {
            // Of what is asked for by name, that which was deleted is known to be empty (C-21).
            let asked =
                scopes.iter().filter(|scope| scope.kind == ScopeKind::Namespace).map(|scope| scope.name.as_str());
            wanted.extend(asked.filter(|name| self.namespaces.matches(name)));
        }

        // The lock is held throughout: two collections at once would read every new image twice.
        let mut content = self.content.lock().await;
        let mut used = Vec::new();
        for name in wanted {
            let scope = ScopeId::namespace(name);
            if !select.includes(&scope) {
                continue;
            }
            sink.scope(match self.namespace(&client, name, &mut content, &mut used).await {
                Ok((body, coverage)) => ObservedScope { id: scope, coverage, body },
                Err(error) => ObservedScope::unseen(scope, &error),
            });
        }
        if *select == Selection::All {
            content.retain(used);
        }
        Ok(Coverage::Complete)
    }

    fn changes(&self) -> BoxStream<'static, Result<ScopeChange, CollectError>> {
        subscription::changes(self.socket.clone(), self.namespaces.clone())
    }

    fn shown(&self) -> Shown {
        self.states.shown()
    }
}

impl ContainerdCollector {
    async fn namespace(
        &self,
        client: &Client,
        name: &str,
        content: &mut ContentCache,
        used: &mut Vec<Digest>,
    ) -> Result<(Scope, Coverage), CollectError> {
        let in_namespace = client.namespace(name)?;
        // Containers before tasks: one that starts in between is then seen with its task, not without.
        let containers = in_namespace.containers().await?;
        if containers.is_empty() {
            return Ok((Scope::default(), Coverage::Complete));
        }
        let tasks = in_namespace.tasks().await?;
        let names = image_names(&in_namespace).await?;
        let mut gaps = Gaps::default();
        let snapshots = self.snapshots(client, &in_namespace, &containers).await;
        let snapshots = gaps.note("images are told by name alone, which a retag may have moved", snapshots)?;

        let target_of = |container: &&Container| names.targets.get(&container.image).map(|target| &target.digest);
        let evidence: Vec<Evidence> =
            containers.iter().map(|container| convert::evidence(container, &snapshots)).collect();
        let mut load = Load { client: &in_namespace, content, gaps: &mut gaps };
        load.all(containers.iter().filter_map(|container| target_of(&container)), Absent::Accept).await?;
        let is_unsettled = |(container, evidence): &(&Container, &Evidence)| {
            !is_settled_by_name(&container.image, evidence, &names, load.content)
        };
        let unsettled: Vec<&Container> =
            containers.iter().zip(&evidence).filter(is_unsettled).map(|(container, _)| container).collect();
        // What its name leads to is not what the container runs. Perhaps a platform of it came later; else any image
        // of the namespace may be the one.
        load.all(unsettled.iter().filter_map(target_of), Absent::AskAgain).await?;
        if !unsettled.is_empty() {
            load.all(names.targets.values().map(|target| &target.digest), Absent::Accept).await?;
        }
        used.extend(names.targets.values().map(|target| target.digest.clone()));
        let scope = convert::scope(&containers, &tasks, &evidence, &names, content, &self.states);
        Ok((scope, gaps.coverage()))
    }

    /// The snapshots of those snapshotters that the containers use.
    async fn snapshots(
        &self,
        client: &Client,
        in_namespace: &NamespaceClient,
        containers: &[Container],
    ) -> Result<Snapshots, CollectError> {
        let mut snapshotters: BTreeSet<String> = containers
            .iter()
            .filter(|container| convert::needs_snapshot(container))
            .map(|container| container.snapshotter.clone())
            .collect();
        if snapshotters.remove("") {
            snapshotters.extend(client.snapshotters().await?);
        }
        let mut snapshots = Snapshots::default();
        for snapshotter in snapshotters {
            snapshots.insert(&snapshotter, in_namespace.snapshots(&snapshotter).await?);
        }
        Ok(snapshots)
    }
}

/// What could not be read of a namespace whose containers could.
#[derive(Default)]
struct Gaps {
    reasons: BTreeSet<String>,
}

impl Gaps {
    /// The value, or its default with a note of what follows from the error. A daemon that is gone is no gap.
    fn note<T: Default>(&mut self, what_follows: &str, result: Result<T, CollectError>) -> Result<T, CollectError> {
        result.or_else(|error| match error {
            CollectError::Unavailable { .. } => Err(error),
            error => {
                self.reasons.insert(format!("{what_follows}: {}", error.full_message()));
                Ok(T::default())
            }
        })
    }

    fn coverage(self) -> Coverage {
        if self.reasons.is_empty() {
            return Coverage::Complete;
        }
        Coverage::Partial { reason: self.reasons.into_iter().collect::<Vec<_>>().join("; ") }
    }
}

/// Reading images of one namespace into the cache.
struct Load<'a> {
    client: &'a NamespaceClient,
    content: &'a mut ContentCache,
    gaps: &'a mut Gaps,
}

impl Load<'_> {
    async fn all(&mut self, targets: impl Iterator<Item = &Digest>, absent: Absent) -> Result<(), CollectError> {
        for target in targets {
            let loaded = self.content.load(self.client, target, absent).await;
            self.gaps.note("not all digests are known", loaded)?;
        }
        Ok(())
    }
}

async fn image_names(client: &NamespaceClient) -> Result<ImageNames, CollectError> {
    let mut names = ImageNames::default();
    for image in client.images().await? {
        // An image without a readable target is as good as none; a container that names it says so.
        if let Some(target) = image.target
            && let Ok(digest) = target.digest.parse()
        {
            names.targets.insert(image.name, Target { digest, media_type: target.media_type });
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests;
