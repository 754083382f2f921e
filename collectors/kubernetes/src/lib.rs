//! Looks at a Kubernetes cluster through its API server.
//!
//! Pods are decoded into types that declare only what is kept (`wire`), converted by pure functions (`convert`) and
//! handed over one namespace at a time. What the API server refuses is a *denied* scope and leaves the others as they
//! are: the least that has to be granted is `list` on `pods` in one namespace.

#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod bad_input;

mod address;
mod api;
mod cluster;
mod collect;
mod convert;
mod decode;
mod discover;
mod encryption;
mod error;
mod feed;
mod file;
mod fill;
mod image;
mod kubeconfig;
mod kubelet;
mod list;
mod live;
mod meter;
mod node;
mod node_owners;
mod owners;
mod pods;
mod proxy;
mod put_off;
mod scope;
mod settings;
mod store;
mod streaming;
mod subscription;
mod sweep;
mod target;
mod texts;
mod versions;
mod watch;
mod wire;

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use stocktake_core::{
    Candidate, CollectError, CollectorPlugin, ConfigError, Context, Environment, Location, Resource, RuntimeCollector,
    RuntimeInfo, ScopeChange, ScopeSink, Selection, Stability,
    model::{Cluster, Cost, Coverage, RuntimeVersion, Shown},
};

pub use settings::{KubeletSettings, ListWay, Settings};

use crate::{
    api::{Api, Connection},
    error::{Action, FailureKind},
    live::Live,
    node::NodeLook,
    node_owners::NodeOwners,
    subscription::Subscription,
};

/// A namespace that every cluster has, and whose uid by convention stands for the cluster.
const KUBE_SYSTEM: &str = "kube-system";

/// The collector of Kubernetes clusters.
pub struct KubernetesCollector {
    settings: Arc<Settings>,
    connection: Arc<Connection>,
    live: Arc<Live>,
    node_owners: NodeOwners,
}

stocktake_core::register_collector!(KubernetesCollector);

impl CollectorPlugin for KubernetesCollector {
    const KIND: &'static str = "kubernetes";
    const SUMMARY: &'static str = "pods, workloads and nodes of a Kubernetes cluster, through its API server";
    const STABILITY: Stability = Stability::Beta;
    const PROVIDES: &'static [Resource] = &[
        Resource::Nodes,
        Resource::Namespaces,
        Resource::Workloads,
        Resource::Pods,
        Resource::Containers,
        Resource::Images,
    ];

    type Settings = Settings;

    fn new(settings: Settings, context: Context) -> Result<Self, ConfigError> {
        let settings = node::resolve(settings, &context.environment)?;
        let connection = Arc::new(Connection::new(settings.clone(), context)?);
        let node_owners = NodeOwners::default();
        Ok(Self { settings: Arc::new(settings), connection, live: Arc::default(), node_owners })
    }

    fn discover(environment: &Environment) -> Vec<Candidate> {
        discover::discover(environment)
    }
}

#[async_trait]
impl RuntimeCollector for KubernetesCollector {
    async fn probe(&self) -> Result<RuntimeInfo, CollectError> {
        let api = self.connection.api().await?;
        let result = probe(&api).await;
        self.take_note(result).await
    }

    async fn collect(&self, select: &Selection, sink: &mut dyn ScopeSink) -> Result<Coverage, CollectError> {
        let api = self.connection.api().await?;
        for warning in &api.warnings {
            sink.warning(warning.clone());
        }
        let result = if let Some(name) = &self.settings.node {
            self.collect_node(&api, name, select, sink).await
        } else if self.live.collect(&self.settings, select, sink)
            || streaming::look(&api, &self.settings, select, sink).await
        {
            Ok(Coverage::Complete)
        } else {
            self.live.passed_over();
            collect::collect(&api, &self.settings, select, sink).await
        };
        sink.cost(Cost { kept_bytes: self.live.kept_bytes(), ..api.meter.take() });
        self.take_note(result).await
    }

    fn changes(&self) -> BoxStream<'static, Result<ScopeChange, CollectError>> {
        // A kubelet does not tell what changes.
        if self.settings.kubelet.is_some() {
            return stream::empty().boxed();
        }
        let (connection, settings) = (Arc::clone(&self.connection), Arc::clone(&self.settings));
        Subscription::new(connection, settings, Arc::clone(&self.live)).into_stream()
    }

    fn shown(&self) -> Shown {
        // A namespace that is not selected is no scope, and of a node's scope a part.
        let is_part_of_node = self.settings.node.is_some() && !self.settings.namespaces.is_everything();
        match (self.settings.label_selector.is_some() || is_part_of_node, self.settings.include_not_running) {
            (true, _) => Shown::Part,
            (false, true) => Shown::All,
            (false, false) => Shown::Running,
        }
    }
}

impl KubernetesCollector {
    async fn collect_node(
        &self,
        api: &Api,
        name: &str,
        select: &Selection,
        sink: &mut dyn ScopeSink,
    ) -> Result<Coverage, CollectError> {
        let kubelet = self.connection.kubelet().await;
        if let Some(Ok(kubelet)) = &kubelet {
            kubelet.warnings.iter().for_each(|warning| sink.warning(warning.clone()));
        }
        let (settings, live, owners) = (&*self.settings, &*self.live, &self.node_owners);
        let look = NodeLook { api, kubelet, settings, live, owners, name: name.into() };
        look.collect(select, sink).await
    }

    async fn take_note<T>(&self, result: Result<T, CollectError>) -> Result<T, CollectError> {
        if let Err(error) = &result {
            self.connection.forget_if_denied(error).await;
        }
        result
    }
}

async fn probe(api: &Api) -> Result<RuntimeInfo, CollectError> {
    let version: wire::Version = api.get("/version", &Action::Version).await?;
    let action = Action::GetNamespace { name: KUBE_SYSTEM.into() };
    let namespace = api.get::<wire::Namespace>(&format!("/api/v1/namespaces/{KUBE_SYSTEM}"), &action).await;
    let uid = match namespace {
        Ok(namespace) => namespace.metadata.and_then(|metadata| metadata.uid),
        Err(failure) if matches!(failure.kind, FailureKind::Forbidden | FailureKind::NotFound) => None,
        // A cluster must not change its identity because a request failed.
        Err(failure) => return Err(failure.error),
    };
    Ok(RuntimeInfo {
        runtime: RuntimeVersion { name: "kubernetes".into(), version: version.git_version },
        location: Location::Cluster(Cluster { uid, name: api.cluster_name.clone() }),
    })
}
