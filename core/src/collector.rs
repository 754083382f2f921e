//! What a collector is: something that says who the runtime is and what it runs, and nothing else.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    pin::Pin,
    task::{self, Poll},
};

use async_trait::async_trait;
use futures_core::{Stream, stream::BoxStream};
use serde::Serialize;

use crate::{
    CollectError,
    model::{Cluster, Cost, Coverage, Host, RuntimeVersion, Scope, ScopeId, Shown, Warning},
};

/// A view of one container runtime.
///
/// A collector is asked, and answers. It holds no timer, no retry loop and no health flag: when to ask, how long to
/// wait and what to do about an error is the agent's business, alike for all collectors. Both methods may be dropped
/// at any await point (the agent's deadline) and must then leave nothing behind.
#[async_trait]
pub trait RuntimeCollector: Send + Sync {
    /// Who the runtime is. Cheap: it does not depend on how many containers there are.
    async fn probe(&self) -> Result<RuntimeInfo, CollectError>;

    /// Hands one complete picture of every scope in `select` to `sink`.
    ///
    /// The answer says how completely the *list of scopes* was seen; how completely each scope was seen is told with
    /// the scope. A scope that could not be read is handed over too, with the coverage that says so: failure must
    /// never look like emptiness. When an error is returned, the scopes handed over before it still count.
    ///
    /// Under [`Selection::Only`] the answer speaks of the named scopes alone and says nothing of others. A named scope
    /// that no longer exists is handed over empty and complete.
    async fn collect(&self, select: &Selection, sink: &mut dyn ScopeSink) -> Result<Coverage, CollectError>;

    /// Tells where to look again, for as long as it is polled.
    ///
    /// Nothing happens before the first poll, which subscribes. The first item comes when the subscription stands: whatever
    /// changes after that will be told, so a collection that begins after the first item misses nothing. It is
    /// [`ScopeChange::All`], unless a subscription that was lost could be taken up where it had ended. What is told is
    /// where to look, never what is there: `collect` tells that.
    ///
    /// An error ends the stream: the subscription is lost, and it is the agent's business to subscribe again, by calling this
    /// again. A stream that ends without an error or an item is that of a runtime that cannot tell, which is the default;
    /// it is then looked at from time to time. At most one stream of a collector is polled at a time.
    fn changes(&self) -> BoxStream<'static, Result<ScopeChange, CollectError>> {
        Box::pin(Never)
    }

    /// How much of a scope the settings show. Asked after a collection. Nothing follows from what is not in a scope of
    /// which only a part is shown, so that is what stands where nobody says otherwise.
    fn shown(&self) -> Shown {
        Shown::Part
    }
}

/// The stream of a runtime that cannot tell what changes.
struct Never;

impl Stream for Never {
    type Item = Result<ScopeChange, CollectError>;

    fn poll_next(self: Pin<&mut Self>, _: &mut task::Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(None)
    }
}

/// Where to look again.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ScopeChange {
    /// Everywhere: scopes may have come and gone, or it is not known what was missed.
    All,
    /// In these scopes, which may be none.
    Scopes(BTreeSet<ScopeId>),
}

impl ScopeChange {
    /// Where to look if both are to be followed.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        match (self, other) {
            (Self::Scopes(mut scopes), Self::Scopes(others)) => {
                scopes.extend(others);
                Self::Scopes(scopes)
            }
            _ => Self::All,
        }
    }
}

impl From<ScopeChange> for Selection {
    fn from(change: ScopeChange) -> Self {
        match change {
            ScopeChange::All => Self::All,
            ScopeChange::Scopes(scopes) => Self::Only(scopes),
        }
    }
}

/// Where a collector puts what it saw.
pub trait ScopeSink: Send {
    /// Takes one scope. Each scope is handed over once a collection.
    fn scope(&mut self, scope: ObservedScope);

    /// Takes a remark on something that is less good than it could be and yet leaves the inventory complete.
    fn warning(&mut self, warning: Warning);

    /// Takes what the collection cost, if the collector counts it; once, at its end. A sink that has no use for it lets it
    /// go.
    fn cost(&mut self, _cost: Cost) {}
}

/// A scope as a collector saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedScope {
    /// Which scope.
    pub id: ScopeId,
    /// How completely it was seen.
    pub coverage: Coverage,
    /// What was seen. Empty where nothing could be seen, which `coverage` then says.
    pub body: Scope,
}

impl ObservedScope {
    /// A scope of which everything was seen.
    #[must_use]
    pub fn complete(id: ScopeId, body: Scope) -> Self {
        Self { id, coverage: Coverage::Complete, body }
    }

    /// A scope of which nothing was seen because of `error`.
    #[must_use]
    pub fn unseen(id: ScopeId, error: &CollectError) -> Self {
        Self { id, coverage: Coverage::from_error(error), body: Scope::default() }
    }
}

/// The scopes that are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Selection {
    /// All that the collector's settings let it see.
    All,
    /// Of those only these, because something in them changed.
    Only(BTreeSet<ScopeId>),
}

impl Selection {
    /// Whether `scope` is asked for.
    #[must_use]
    pub fn includes(&self, scope: &ScopeId) -> bool {
        match self {
            Self::All => true,
            Self::Only(scopes) => scopes.contains(scope),
        }
    }
}

/// Who a runtime is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeInfo {
    /// Name and version.
    pub runtime: RuntimeVersion,
    /// What the runtime runs on.
    pub location: Location,
}

/// What a runtime runs on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Location {
    /// An orchestrated cluster.
    Cluster(Cluster),
    /// One machine.
    Host(Host),
}

/// The entities that a collector can report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Resource {
    /// Cluster nodes.
    Nodes,
    /// Orchestrator namespaces.
    Namespaces,
    /// Owners of containers.
    Workloads,
    /// Pods.
    Pods,
    /// Containers.
    Containers,
    /// Images in use.
    Images,
}

/// How far a collector's settings and output can be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Stability {
    /// Anything may change.
    Experimental,
    /// Settings change only with a note in the changelog.
    Beta,
    /// Settings keep their meaning until the next major version.
    Stable,
}

impl std::fmt::Display for Stability {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Experimental => "experimental",
            Self::Beta => "beta",
            Self::Stable => "stable",
        })
    }
}

/// What the agent tells a collector about itself and the machine when it builds it.
#[derive(Debug, Clone, Default)]
pub struct Context {
    /// The name that the collector has in the configuration.
    pub name: String,
    /// How to introduce oneself to a server, as an HTTP user agent: `stocktake-agent/0.1.0`.
    pub user_agent: String,
    /// The machine that the agent runs on.
    pub host: Host,
    /// The agent's environment.
    pub environment: Environment,
}

/// The environment variables and the user of the agent's process, read once at its start so that collectors can be
/// built and tested without touching the process.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// Environment variables. Empty values are left out: to every runtime's own tools they mean "not set".
    pub variables: BTreeMap<String, String>,
    /// Home directory, where there is one.
    pub home: Option<PathBuf>,
    /// Whether the agent runs as root and so may look into other users' runtime directories.
    pub is_root: bool,
}

impl Environment {
    /// The value of a variable that is set and not empty.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}

/// A runtime that may be on this machine, as a plug-in's `discover` proposes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// A name for it that tells it from others of its kind: `docker`, `podman`, `k3s`.
    pub name: String,
    /// Where it was found, for people: `/run/docker.sock`, `$DOCKER_HOST`.
    pub found: String,
    /// Settings that select it.
    pub settings: serde_json::Value,
    /// What tells it from others, such as the socket's resolved path; a second candidate with the same is dropped.
    pub identity: String,
}
