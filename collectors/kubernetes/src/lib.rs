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
mod discover;
mod encryption;
mod error;
mod file;
mod image;
mod kubeconfig;
mod list;
mod owners;
mod pods;
mod proxy;
mod scope;
mod settings;
mod target;
mod wire;

use async_trait::async_trait;
use stocktake_core::{
    Candidate, CollectError, CollectorPlugin, ConfigError, Context, Environment, Location, Resource, RuntimeCollector,
    RuntimeInfo, ScopeSink, Selection, Stability,
    model::{Cluster, Coverage, RuntimeVersion, Shown},
};

pub use settings::Settings;

use crate::{
    api::{Api, Connection, JSON},
    error::{Action, FailureKind},
};

/// A namespace that every cluster has, and whose uid by convention stands for the cluster.
const KUBE_SYSTEM: &str = "kube-system";

/// The collector of Kubernetes clusters.
pub struct KubernetesCollector {
    settings: Settings,
    connection: Connection,
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
        let connection = Connection::new(settings.clone(), context)?;
        Ok(Self { settings, connection })
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
        let result = collect::collect(&api, &self.settings, select, sink).await;
        self.take_note(result).await
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
    let version: wire::Version = api.get("/version", JSON, &Action::Version).await?;
    let action = Action::GetNamespace { name: KUBE_SYSTEM.into() };
    let namespace = api.get::<wire::Namespace>(&format!("/api/v1/namespaces/{KUBE_SYSTEM}"), JSON, &action).await;
    let uid = match namespace {
        Ok(namespace) => namespace.metadata.uid,
        Err(failure) if matches!(failure.kind, FailureKind::Forbidden | FailureKind::NotFound) => None,
        // A cluster must not change its identity because a request failed.
        Err(failure) => return Err(failure.error),
    };
    Ok(RuntimeInfo {
        runtime: RuntimeVersion { name: "kubernetes".into(), version: version.git_version },
        location: Location::Cluster(Cluster { uid, name: api.cluster_name.clone() }),
    })
}
