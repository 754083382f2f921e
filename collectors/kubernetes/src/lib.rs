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
mod list;
mod live;
mod meter;
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
use futures_util::stream::BoxStream;
use stocktake_core::{
    Candidate, CollectError, CollectorPlugin, ConfigError, Context, Environment, Location, Resource, RuntimeCollector,
    RuntimeInfo, ScopeChange, ScopeSink, Selection, Stability,
    model::{Cluster, Cost, Coverage, RuntimeVersion, Shown},
};

pub use settings::{ListWay, Settings};

use crate::{
    api::{Api, Connection},
    error::{Action, FailureKind},
    live::Live,
    subscription::Subscription,
};

/// A namespace that every cluster has, and whose uid by convention stands for the cluster.
const KUBE_SYSTEM: &str = "kube-system";

/// The collector of Kubernetes clusters.
pub struct KubernetesCollector {
    settings: Arc<Settings>,
    connection: Arc<Connection>,
    live: Arc<Live>,
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
        let connection = Arc::new(Connection::new(settings.clone(), context)?);
        Ok(Self { settings: Arc::new(settings), connection, live: Arc::default() })
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
        let is_known = self.live.collect(&self.settings, select, sink)
            || streaming::look(&api, &self.settings, select, sink).await;
        let result =
            if is_known { Ok(Coverage::Complete) } else { collect::collect(&api, &self.settings, select, sink).await };
        sink.cost(Cost { kept_bytes: self.live.kept_bytes(), ..api.meter.take() });
        self.take_note(result).await
    }

    fn changes(&self) -> BoxStream<'static, Result<ScopeChange, CollectError>> {
        let (connection, settings) = (Arc::clone(&self.connection), Arc::clone(&self.settings));
        Subscription::new(connection, settings, Arc::clone(&self.live)).into_stream()
    }

    fn shown(&self) -> Shown {
        match (&self.settings.label_selector, self.settings.include_not_running) {
            (Some(_), _) => Shown::Part,
            (None, true) => Shown::All,
            (None, false) => Shown::Running,
        }
    }
}

impl KubernetesCollector {
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
