//! Containers of any runtime that speaks Kubernetes' Container Runtime Interface, version 1: CRI-O, containerd,
//! cri-dockerd.
//!
//! One collection is four requests, however many containers there are: containers, sandboxes, and where there are any
//! containers, images and the version. What only a request for each container would tell (exit codes, when it started
//! and ended) is left out.

mod client;
mod convert;
mod discover;
mod settings;

use async_trait::async_trait;
use stocktake_core::{
    Candidate, CollectError, CollectorPlugin, ConfigError, Context, Environment, Location, ObservedScope, Resource,
    RuntimeCollector, RuntimeInfo, ScopeSink, Selection, Stability,
    model::{Coverage, Host, RuntimeVersion, Scope, ScopeId, Shown},
    register_collector,
    select::StateSelector,
};

pub use crate::settings::Settings;
use crate::{client::Client, convert::Images};

register_collector!(CriCollector);

/// Reads one runtime. The host is its only scope.
pub struct CriCollector {
    socket: String,
    states: StateSelector,
    host: Host,
}

impl CollectorPlugin for CriCollector {
    const KIND: &'static str = "cri";
    const SUMMARY: &'static str = "pods of a runtime that speaks CRI v1, such as CRI-O";
    const STABILITY: Stability = Stability::Beta;
    const PROVIDES: &'static [Resource] = &[Resource::Pods, Resource::Containers, Resource::Images];
    type Settings = Settings;

    fn new(settings: Settings, context: Context) -> Result<Self, ConfigError> {
        let address = settings.address.as_deref().unwrap_or_else(|| discover::default_address(&context.environment));
        let socket = discover::socket_path(address);
        if !socket.starts_with('/') {
            return Err(ConfigError::new("address", format!("`{address}` is not the absolute path of a socket"))
                .hint("write its path, as in `/run/crio/crio.sock` or `unix:///run/crio/crio.sock`"));
        }
        Ok(Self { socket: socket.to_owned(), states: settings.states, host: context.host })
    }

    fn discover(environment: &Environment) -> Vec<Candidate> {
        discover::candidates(environment)
    }
}

#[async_trait]
impl RuntimeCollector for CriCollector {
    async fn probe(&self) -> Result<RuntimeInfo, CollectError> {
        let version = Client::connect(&self.socket).await?.version().await?;
        Ok(RuntimeInfo {
            runtime: RuntimeVersion { name: version.runtime_name, version: version.runtime_version },
            location: Location::Host(self.host.clone()),
        })
    }

    async fn collect(&self, select: &Selection, sink: &mut dyn ScopeSink) -> Result<Coverage, CollectError> {
        let scope = ScopeId::host();
        if select.includes(&scope) {
            let body = self.scope().await?;
            sink.scope(ObservedScope::complete(scope, body));
        }
        Ok(Coverage::Complete)
    }

    fn shown(&self) -> Shown {
        self.states.shown()
    }
}

impl CriCollector {
    async fn scope(&self) -> Result<Scope, CollectError> {
        let mut client = Client::connect(&self.socket).await?;
        // Containers before sandboxes and images: one that is made in between is not seen without what it belongs to.
        let containers = client.containers().await?;
        let sandboxes = client.sandboxes().await?;
        let images = if containers.is_empty() {
            Images::default()
        } else {
            Images::new(client.images().await?, &client.version().await?.runtime_name)
        };
        Ok(convert::scope(containers, sandboxes, &images, &self.states))
    }
}

#[cfg(test)]
mod tests;
