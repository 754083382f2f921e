//! What all sources together say: each container and each image once, whatever saw it.
//!
//! A unified view holds conclusions and where they come from, never what a scope's body says already: a [`Sighting`] leads
//! to the entity in the body, whose order is canonical, so that a position in it means the same for good.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ContainerKind, ContainerState, Image, MissingReason, ScopeId, Text};
use crate::RepoDigest;

/// The unified view of a report's sources, made from them by [`unify`](crate::unify::unify).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Unified {
    /// Containers, each once.
    #[serde(default)]
    pub containers: Vec<UnifiedContainer>,
    /// Images in use, each once.
    #[serde(default)]
    pub images: Vec<UnifiedImage>,
    /// Where sources that saw everything disagree.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
}

/// A container, seen by one or more sources.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UnifiedContainer {
    /// The runtime's identifier, where there is one yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Text>,
    /// What the first of its sightings calls it.
    pub name: Text,
    /// What the container is for, which an orchestrator knows best.
    #[serde(default)]
    pub kind: ContainerKind,
    /// What it does now: by the runtime's word as long as it has a process, else by the orchestrator's, which says why
    /// it has none.
    #[serde(default)]
    pub state: ContainerState,
    /// One word for why it is in that state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_reason: Option<Text>,
    /// When its process last started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// The image as it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Text>,
    /// The image that it was made from, the `id` of one of the view's `images`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_ref: Option<Text>,
    /// Why `image_ref` is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_missing: Option<MissingReason>,
    /// Under which digest the repository that was asked for serves the image. Chosen among the image's repository digests
    /// by the canonical form of the name that was asked for; absent where that leaves none, or several.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "known_repo_digest")]
    pub repo_digest: Option<RepoDigest>,
    /// By what its sightings are known to be of one container. Absent where there is only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub joined_by: Option<JoinedBy>,
    /// Where it was seen: by orchestrators, then by runtimes, and of these by one that others are built on last.
    pub seen: Vec<Sighting>,
}

/// A digest of an algorithm that this version does not know is left out.
fn known_repo_digest<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<RepoDigest>, D::Error> {
    Ok(Option::<Text>::deserialize(deserializer)?.and_then(|text| text.parse().ok()))
}

/// By what several sightings are known to be of one container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JoinedBy {
    /// The runtime's identifier, which it draws at random.
    RuntimeId,
    /// The pod's uid (of a static pod: its configuration's hash, and the node) and the container's name.
    PodAndName,
    /// A word of a newer version.
    #[serde(other)]
    Other,
}

/// Where a thing was seen. The report's entry for the scope has the digest of the body that it is in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Sighting {
    /// The collector's name in the configuration.
    pub collector: Text,
    /// The scope.
    pub scope: ScopeId,
    /// Position in the list of containers, or of images, of the scope's body.
    pub index: usize,
}

/// An image: one configuration in one manifest. Its `id` is the digest that says most: of the manifest, else of the
/// configuration, the index, what a repository serves; else what a source calls it, behind the source's name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UnifiedImage {
    /// What is concluded. A digest that no source told by itself says by which rule it follows (`from: unified_…`).
    #[serde(flatten)]
    pub image: Image,
    /// What each source says of it.
    pub seen: Vec<Sighting>,
}

/// Something that one vantage point sees and another that ought to see it does not, or sees otherwise.
///
/// Only scopes that were completely seen are compared, and only what was there before the other one looked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// What is the matter.
    pub kind: FindingKind,
    /// Position of the container in the view's `containers`.
    pub container: usize,
    /// The cluster's node that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_name: Option<Text>,
    /// Who sees it.
    pub seen_by: Vec<VantagePoint>,
    /// Who ought to, and does not; under `contradicting_digests`, who sees it otherwise.
    pub not_seen_by: Vec<VantagePoint>,
}

/// A scope of a source.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct VantagePoint {
    /// The collector's name in the configuration.
    pub collector: Text,
    /// The scope.
    pub scope: ScopeId,
}

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// It runs on a cluster's node, and the cluster does not know it.
    UnknownToOrchestrator,
    /// It is said to run, and the runtime that ought to run it does not have it.
    UnknownToRuntime,
    /// Two sources say that it was made from different images.
    ContradictingDigests,
    /// A word of a newer version.
    #[serde(other)]
    Other,
}

impl FindingKind {
    /// The word that stands for it in JSON and tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnknownToOrchestrator => "unknown_to_orchestrator",
            Self::UnknownToRuntime => "unknown_to_runtime",
            Self::ContradictingDigests => "contradicting_digests",
            Self::Other => "other",
        }
    }
}
