//! Scopes: the smallest things that are seen completely or not.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Container, Image, Namespace, Node, Pod, Text, Workload};
use crate::{CollectError, Digest};

/// Which scope of a source.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct ScopeId {
    /// What it is.
    pub kind: ScopeKind,
    /// Its name among those of its kind in the source. A source's one cluster or host scope needs none: the source
    /// says who the cluster or host is.
    #[serde(default, skip_serializing_if = "Text::is_empty")]
    pub name: Text,
}

impl ScopeId {
    /// The one scope of a runtime that is a whole host.
    #[must_use]
    pub fn host() -> Self {
        Self { kind: ScopeKind::Host, name: Text::default() }
    }

    /// A cluster's own objects.
    #[must_use]
    pub fn cluster() -> Self {
        Self { kind: ScopeKind::Cluster, name: Text::default() }
    }

    /// One node of a cluster: the pods on it, whatever their namespace.
    #[must_use]
    pub fn node(name: impl Into<Text>) -> Self {
        Self { kind: ScopeKind::Node, name: name.into() }
    }

    /// A namespace.
    #[must_use]
    pub fn namespace(name: impl Into<Text>) -> Self {
        Self { kind: ScopeKind::Namespace, name: name.into() }
    }
}

impl fmt::Display for ScopeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            ScopeKind::Cluster => "cluster",
            ScopeKind::Namespace => "namespace",
            ScopeKind::Node => "node",
            ScopeKind::Host => "host",
            ScopeKind::Other => "other",
        })?;
        if self.name.is_empty() { Ok(()) } else { write!(f, " {}", self.name) }
    }
}

/// What a scope is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ScopeKind {
    /// A cluster's own objects: nodes and namespaces.
    Cluster,
    /// A namespace of the source's runtime. Kubernetes' and containerd's are different things; the source's kind tells.
    Namespace,
    /// What runs on one node of a cluster, as a collector sees it that looks at this node alone.
    Node,
    /// All of one host.
    Host,
    /// A word of a newer version.
    #[serde(other)]
    Other,
}

/// How completely something was seen.
///
/// Only a complete scope may make anything disappear that was reported before: failure is not emptiness.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "status", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Coverage {
    /// All that the settings select.
    Complete,
    /// Some of it.
    Partial {
        /// Why not all.
        reason: String,
    },
    /// Nothing, because the runtime refused.
    Denied {
        /// What was refused.
        reason: String,
    },
    /// Nothing, because the runtime did not answer or not as it should.
    Failed {
        /// What happened.
        reason: String,
    },
    /// A word of a newer version, which is not to be taken for completeness.
    #[serde(other)]
    Other,
}

impl Coverage {
    /// What is left to say of something that could not be read at all because of `error`.
    #[must_use]
    pub fn from_error(error: &CollectError) -> Self {
        let reason = error.full_message();
        match error {
            CollectError::Denied { .. } => Self::Denied { reason },
            _ => Self::Failed { reason },
        }
    }

    /// Whether anything was seen.
    #[must_use]
    pub fn has_seen(&self) -> bool {
        matches!(self, Self::Complete | Self::Partial { .. })
    }

    /// Whether all was seen.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        matches!(self, Self::Complete)
    }

    /// Why not all was seen.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Complete | Self::Other => None,
            Self::Partial { reason } | Self::Denied { reason } | Self::Failed { reason } => Some(reason),
        }
    }

    /// The one word for it.
    #[must_use]
    pub fn status(&self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Partial { .. } => "partial",
            Self::Denied { .. } => "denied",
            Self::Failed { .. } => "failed",
            Self::Other => "other",
        }
    }
}

/// Everything that was seen in one scope.
///
/// A body is stored and sent by its digest, so it holds nothing that changes merely because it was looked at again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Scope {
    /// Nodes, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<Node>,
    /// Namespaces, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<Namespace>,
    /// Workloads, by id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub workloads: Vec<Workload>,
    /// Pods, by uid.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pods: Vec<Pod>,
    /// Containers, by pod, kind, name and id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub containers: Vec<Container>,
    /// Images in use, by id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<Image>,
}

/// How many of each a scope holds, and how many were taken out when it was normalised.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Counts {
    /// Nodes.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub nodes: usize,
    /// Namespaces.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub namespaces: usize,
    /// Workloads.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub workloads: usize,
    /// Pods.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub pods: usize,
    /// Containers.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub containers: usize,
    /// Images.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub images: usize,
    /// References to something that the scope does not hold; the reference was dropped, its holder kept.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dangling_references: usize,
    /// Entities that have the key of another and say something else; the later ones were dropped.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub duplicates: usize,
    /// Texts that were cut, and labels that were dropped, because they were longer or more than a report may hold.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub truncated: usize,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// One line of a report's manifest: a scope by digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ScopeEntry {
    /// Which scope.
    #[serde(flatten)]
    pub id: ScopeId,
    /// How completely it was seen.
    pub coverage: Coverage,
    /// Digest of the body. Absent where nothing was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// How much the body holds.
    #[serde(default)]
    pub counts: Counts,
}
