//! Containers of Docker and Podman, through the Docker Engine API.
//!
//! One collection is three requests (`/info`, `/containers/json`, `/images/json`) however many containers there are, and
//! asking who the daemon is one more (`/version`). What changes is told by `/events`, for which three are made once.

#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod bad_input;

mod connect;
mod convert;
mod discover;
mod error;
mod event;
mod limit;
mod settings;
mod subscription;

use async_trait::async_trait;
use bollard::{
    Docker,
    models::{ContainerSummary, SystemInfo, SystemVersion},
    query_parameters::{ListContainersOptions, ListImagesOptions},
};
use futures_util::stream::BoxStream;
use stocktake_core::{
    Candidate, CollectError, CollectorPlugin, ConfigError, Context, Environment, Location, ObservedScope, Resource,
    RuntimeCollector, RuntimeInfo, ScopeChange, ScopeSink, Selection, Stability,
    model::{Coverage, Host, RuntimeVersion, ScopeId, Shown},
    register_collector,
    select::StateSelector,
};

use crate::{
    connect::Endpoint,
    convert::ImageStore,
    error::{Action, collect_error},
};
pub use settings::{Settings, TlsSettings};

register_collector!(DockerCollector);

/// Reads one Docker or Podman daemon. Its one scope is the host.
pub struct DockerCollector {
    endpoint: Endpoint,
    states: StateSelector,
    host: Host,
}

impl CollectorPlugin for DockerCollector {
    const KIND: &'static str = "docker";
    const SUMMARY: &'static str = "containers of a Docker or Podman daemon";
    const STABILITY: Stability = Stability::Beta;
    const PROVIDES: &'static [Resource] =
        &[Resource::Workloads, Resource::Pods, Resource::Containers, Resource::Images];
    type Settings = Settings;

    fn new(settings: Settings, context: Context) -> Result<Self, ConfigError> {
        let endpoint =
            Endpoint::new(settings.host.as_deref(), settings.tls, &context.environment)?.at(settings.address)?;
        Ok(Self { endpoint, states: settings.states, host: context.host })
    }

    fn discover(environment: &Environment) -> Vec<Candidate> {
        discover::candidates(environment)
    }
}

#[async_trait]
impl RuntimeCollector for DockerCollector {
    async fn probe(&self) -> Result<RuntimeInfo, CollectError> {
        let docker = self.endpoint.connect()?;
        let version = docker.version().await.map_err(|error| self.error(Action::Version, error))?;
        // A local daemon runs on the agent's host; only a remote one has to be asked which host that is.
        let host = if self.endpoint.is_local() {
            self.host.clone()
        } else {
            let info = docker.info().await.map_err(|error| self.error(Action::Info, error))?;
            Host { machine_id: info.id, hostname: info.name }
        };
        Ok(RuntimeInfo { runtime: runtime_version(&version), location: Location::Host(host) })
    }

    async fn collect(&self, select: &Selection, sink: &mut dyn ScopeSink) -> Result<Coverage, CollectError> {
        let scope = ScopeId::host();
        if !select.includes(&scope) {
            return Ok(Coverage::Complete);
        }
        let docker = self.endpoint.connect()?;
        let info = docker.info().await.map_err(|error| self.error(Action::Info, error))?;
        let (containers, coverage) = self.containers(&docker).await?;
        let images = if containers.is_empty() {
            Vec::new()
        } else {
            // Intermediate images too: a container may have been made from one. Not `digests`: Podman 4.3 then answers
            // with an empty body, and repository digests are told without it.
            let options = ListImagesOptions { all: true, ..ListImagesOptions::default() };
            docker.list_images(Some(options)).await.map_err(|error| self.error(Action::Images, error))?
        };
        let body = convert::scope(&containers, &images, image_store(&info), &self.states);
        sink.scope(ObservedScope { id: scope, coverage, body });
        Ok(Coverage::Complete)
    }

    fn changes(&self) -> BoxStream<'static, Result<ScopeChange, CollectError>> {
        subscription::changes(self.endpoint.clone())
    }

    fn shown(&self) -> Shown {
        self.states.shown()
    }
}

impl DockerCollector {
    async fn containers(&self, docker: &Docker) -> Result<(Vec<ContainerSummary>, Coverage), CollectError> {
        // `all = false` would be cheaper for running containers, but Podman then leaves out paused ones.
        let list =
            |all| docker.list_containers(Some(ListContainersOptions { all, ..ListContainersOptions::default() }));
        match list(true).await {
            Ok(containers) => Ok((containers, Coverage::Complete)),
            // The client library knows a closed list of states, and one container in another (Podman's short-lived
            // "stopped") makes the whole answer unreadable. Those that run are then still to be had.
            Err(error @ bollard::errors::Error::JsonDataError { .. }) => {
                let Ok(running) = list(false).await else { return Err(self.error(Action::Containers, error)) };
                let reason = self.error(Action::Containers, error).full_message();
                Ok((running, Coverage::Partial { reason: format!("{reason}; only running containers were read") }))
            }
            Err(error) => Err(self.error(Action::Containers, error)),
        }
    }

    fn error(&self, action: Action, error: bollard::errors::Error) -> CollectError {
        collect_error(&self.endpoint, action, error)
    }
}

/// Podman answers as Docker does and says who it is among its components.
fn runtime_version(version: &SystemVersion) -> RuntimeVersion {
    match podman_version(version) {
        Some(version) => RuntimeVersion { name: "podman".into(), version },
        None => RuntimeVersion { name: "docker".into(), version: version.version.clone().unwrap_or_default() },
    }
}

fn podman_version(version: &SystemVersion) -> Option<String> {
    let mut components = version.components.iter().flatten();
    components.find(|component| component.name.starts_with("Podman")).map(|component| component.version.clone())
}

/// Docker 24 and later may keep images in containerd, where an image's id is not its configuration's digest; the
/// storage driver's type tells (Docker Engine manual, "containerd image store").
fn image_store(info: &SystemInfo) -> ImageStore {
    let containerd =
        info.driver_status.iter().flatten().any(|pair| pair.iter().any(|word| word == "io.containerd.snapshotter.v1"));
    if containerd { ImageStore::Containerd } else { ImageStore::Classic }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded<T: serde::de::DeserializeOwned>(path: &str) -> T {
        let path = format!("{}/testdata/{path}", env!("CARGO_MANIFEST_DIR"));
        serde_json::from_str(&std::fs::read_to_string(&path).expect(&path)).expect(&path)
    }

    #[test]
    fn tells_docker_from_podman() {
        let name = |path| runtime_version(&recorded(path)).name;
        assert_eq!(name("docker-20.10/version.json"), "docker");
        assert_eq!(name("docker-28.5/version.json"), "docker");
        assert_eq!(runtime_version(&recorded("podman-4.3/version.json")).version, "4.3.1");
        assert_eq!(name("podman-4.3/version.json"), "podman");
    }

    #[test]
    fn tells_the_image_stores_apart() {
        assert_eq!(image_store(&recorded("docker-20.10/info.json")), ImageStore::Classic);
        assert_eq!(image_store(&recorded("docker-28.5/info.json")), ImageStore::Containerd);
        assert_eq!(image_store(&recorded("podman-4.3/info.json")), ImageStore::Classic);
    }

    #[test]
    fn is_registered() {
        let registry = stocktake_core::Registry::linked().unwrap();
        assert!(registry.get("docker").is_some());
    }
}
