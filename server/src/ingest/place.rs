//! Which cluster or host a source is of, and how people name its scopes.

use stocktake_core::model::{Agent, ScopeId, ScopeKind, Source};

use crate::words::indexed;

/// A cluster or a host.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    /// `cluster` or `host`.
    pub(crate) kind: &'static str,
    /// What identifies it.
    pub(crate) key: String,
    /// What people call it.
    pub(crate) name: String,
}

impl Place {
    /// Where a source looks. A runtime that could not be reached may not tell; then it is the agent's host.
    pub(crate) fn of(source: &Source, agent: &Agent) -> Self {
        if let Some(cluster) = &source.cluster {
            let key = cluster.uid.clone().or_else(|| cluster.name.clone()).unwrap_or_default();
            let name = cluster.name.clone().or_else(|| cluster.uid.clone()).unwrap_or_default();
            return Self::named("cluster", &key, &name);
        }
        let machine = source.host.as_ref().and_then(|host| host.machine_id.clone());
        let hostname = source.host.as_ref().and_then(|host| host.hostname.clone()).or_else(|| agent.hostname.clone());
        let fallback = agent.id.map(|id| id.to_string()).unwrap_or_default();
        let name = hostname.clone().or_else(|| machine.clone()).unwrap_or_else(|| fallback.clone());
        Self::named("host", &machine.or(hostname).unwrap_or(fallback), &name)
    }

    fn named(kind: &'static str, key: &str, name: &str) -> Self {
        Self { kind, key: indexed(key).into_owned(), name: indexed(name).into_owned() }
    }

    /// How people name a scope in it: Anchore's `cluster/namespace` where it is one.
    pub(crate) fn context(&self, scope: &ScopeId) -> String {
        let name = indexed(&scope.name);
        match scope.kind {
            ScopeKind::Node => format!("{}/node/{name}", self.name),
            _ if name.is_empty() => self.name.clone(),
            _ => format!("{}/{name}", self.name),
        }
    }
}

/// The word for what a scope is.
pub(crate) fn scope_kind(kind: ScopeKind) -> &'static str {
    match kind {
        ScopeKind::Cluster => "cluster",
        ScopeKind::Namespace => "namespace",
        ScopeKind::Node => "node",
        ScopeKind::Host => "host",
        ScopeKind::Other => "other",
    }
}
