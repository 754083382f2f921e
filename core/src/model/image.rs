//! Images, and the digests by which the same one is known to different runtimes.

use std::{borrow::Cow, fmt};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::Text;
use crate::{Digest, RepoDigest};

/// An image that a container of the scope was made from, or asks for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Image {
    /// Key within the scope: the runtime's own identifier of the image where it has one, else the name asked for, in a
    /// form that is no identifier. It means different digests to different runtimes and joins nothing outside its scope;
    /// the digests below do.
    pub id: Text,
    /// Names that the runtime has for it, sorted. Empty for an untagged image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<Text>,
    /// Digest of the index (multi-platform manifest list) that the image was taken from.
    pub index_digest: DigestFact,
    /// Digest of the manifest of the one platform that runs.
    pub manifest_digest: DigestFact,
    /// Digest of the image configuration, Docker's classic image id.
    pub config_digest: DigestFact,
    /// Under which digests repositories serve it, sorted, as the runtime tells. Each is of the index or of the manifest,
    /// and the runtime does not say which. Docker's containerd store derives them from names, so that an image which was
    /// never in a registry has them too.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "known_repo_digests")]
    pub repo_digests: Vec<RepoDigest>,
    /// Platform that the manifest is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Size in bytes as the runtime counts it: unpacked layers (Docker, Podman) or compressed content (containerd).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// When the image was built, by its own account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
}

impl Image {
    /// An image of which nothing but its key is known, and why.
    #[must_use]
    pub fn unresolved(id: impl Into<Text>, reason: MissingReason) -> Self {
        Self {
            id: id.into(),
            names: Vec::new(),
            index_digest: DigestFact::missing(reason),
            manifest_digest: DigestFact::missing(reason),
            config_digest: DigestFact::missing(reason),
            repo_digests: Vec::new(),
            platform: None,
            size_bytes: None,
            created_at: None,
        }
    }
}

/// Digests of algorithms that this version does not know are left out.
fn known_repo_digests<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<RepoDigest>, D::Error> {
    let texts = Vec::<Text>::deserialize(deserializer)?;
    Ok(texts.iter().filter_map(|text| text.parse().ok()).collect())
}

/// A digest with how it was learnt, or why it is missing.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum DigestFact {
    /// The digest is known.
    Known {
        /// The digest.
        digest: Digest,
        /// How it was learnt.
        from: Provenance,
    },
    /// The digest is not known.
    Missing {
        /// Why not.
        missing: MissingReason,
    },
}

/// What a newer version writes may be a digest of an algorithm that this one does not know: it is then missing, and
/// nothing else is lost.
impl<'de> Deserialize<'de> for DigestFact {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Fact {
            digest: Option<Text>,
            from: Option<Provenance>,
            missing: Option<MissingReason>,
        }
        let fact = Fact::deserialize(deserializer)?;
        Ok(match (fact.digest.and_then(|digest| digest.parse().ok()), fact.from) {
            (Some(digest), Some(from)) => Self::Known { digest, from },
            _ => Self::Missing { missing: fact.missing.unwrap_or(MissingReason::Other) },
        })
    }
}

impl DigestFact {
    /// A digest that is known.
    #[must_use]
    pub fn known(digest: Digest, from: Provenance) -> Self {
        Self::Known { digest, from }
    }

    /// A digest that is not known.
    #[must_use]
    pub fn missing(reason: MissingReason) -> Self {
        Self::Missing { missing: reason }
    }

    /// The digest, if it is known.
    #[must_use]
    pub fn digest(&self) -> Option<&Digest> {
        match self {
            Self::Known { digest, .. } => Some(digest),
            Self::Missing { .. } => None,
        }
    }
}

/// How a digest was learnt: the API field that it was read from, in `snake_case`.
///
/// An open vocabulary, because collectors by others read other fields; the constants are those of Stocktake's own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Provenance(pub Cow<'static, str>);

impl Provenance {
    /// `Id` of an image in Docker's or Podman's classic store, where it is the configuration's digest.
    pub const DOCKER_IMAGE_ID: Self = Self(Cow::Borrowed("docker_image_id"));
    /// `Descriptor` of an image in Docker's containerd store (API 1.48).
    pub const DOCKER_IMAGE_DESCRIPTOR: Self = Self(Cow::Borrowed("docker_image_descriptor"));
    /// `ImageManifestDescriptor` of a container on Docker's containerd store (API 1.48).
    pub const DOCKER_CONTAINER_MANIFEST_DESCRIPTOR: Self = Self(Cow::Borrowed("docker_container_manifest_descriptor"));
    /// Target descriptor of an image in containerd's image store.
    pub const CONTAINERD_IMAGE_TARGET: Self = Self(Cow::Borrowed("containerd_image_target"));
    /// An index read from containerd's content store.
    pub const CONTAINERD_INDEX: Self = Self(Cow::Borrowed("containerd_index"));
    /// A manifest read from containerd's content store.
    pub const CONTAINERD_MANIFEST: Self = Self(Cow::Borrowed("containerd_manifest"));
    /// Metadata that containerd's CRI plug-in keeps with a container.
    pub const CONTAINERD_CRI_METADATA: Self = Self(Cow::Borrowed("containerd_cri_metadata"));
    /// `id` of an image in the list of a CRI runtime whose image ids are configurations' digests (containerd, CRI-O).
    pub const CRI_IMAGE_ID: Self = Self(Cow::Borrowed("cri_image_id"));
    /// The image id that such a runtime's list of containers has (`image_id`, before it `image_ref`).
    pub const CRI_CONTAINER_IMAGE_ID: Self = Self(Cow::Borrowed("cri_container_image_id"));
    /// `imageID` of a Kubernetes container status.
    pub const KUBERNETES_IMAGE_ID: Self = Self(Cow::Borrowed("kubernetes_image_id"));

    /// Concluded: another source knows that what a repository serves is an index, or is a manifest.
    pub const UNIFIED_REPO_DIGEST: Self = Self(Cow::Borrowed("unified_repo_digest"));
    /// Concluded: of the index's manifests known to any source, the one with this configuration.
    pub const UNIFIED_INDEX_AND_CONFIG: Self = Self(Cow::Borrowed("unified_index_and_config"));
    /// Concluded: of the index's manifests known to any source, the one for the node's or host's platform.
    pub const UNIFIED_INDEX_AND_PLATFORM: Self = Self(Cow::Borrowed("unified_index_and_platform"));
    /// Concluded: the only manifest with this configuration that any source knows. The content is the same; that this is
    /// how it came here is not proven.
    pub const UNIFIED_SAME_CONFIG: Self = Self(Cow::Borrowed("unified_same_config"));
    /// Concluded: another source knows the manifest's configuration.
    pub const UNIFIED_MANIFEST: Self = Self(Cow::Borrowed("unified_manifest"));

    /// Whether no source told it: it follows from what several said.
    #[must_use]
    pub fn is_conclusion(&self) -> bool {
        self.0.starts_with("unified_")
    }
}

impl fmt::Display for Provenance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a digest or an image is not known, the reason that says most first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MissingReason {
    /// The image is made for one platform and has no index.
    SinglePlatform,
    /// What is known may be of several things: a repository digest is that of the index or of the manifest, and the same
    /// layers may be those of several images.
    Ambiguous,
    /// The image, or the part of it that tells, is no longer in the runtime's store.
    NotInStore,
    /// The image has not been pulled yet, or cannot be.
    NotPulled,
    /// The runtime has it, and it cannot be read.
    Unreadable,
    /// The runtime keeps no record of the image that the container was made from.
    NotRecorded,
    /// The runtime's API does not tell it.
    NotReported,
    /// The collector named an image that it did not report.
    DanglingReference,
    /// A reason of a newer version.
    #[serde(other)]
    Other,
}

impl fmt::Display for MissingReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::NotReported => "not reported",
            Self::Ambiguous => "ambiguous",
            Self::SinglePlatform => "single platform",
            Self::NotInStore => "not in store",
            Self::NotPulled => "not pulled",
            Self::NotRecorded => "not recorded",
            Self::Unreadable => "unreadable",
            Self::DanglingReference => "dangling reference",
            Self::Other => "other",
        })
    }
}

/// Operating system and processor, in the words of the OCI image specification (Go's `GOOS` and `GOARCH`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Platform {
    /// `linux`, `windows`.
    pub os: Text,
    /// `amd64`, `arm64`.
    pub architecture: Text,
    /// Variant of the processor: `v7`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<Text>,
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_of_an_unknown_algorithm_loses_nothing_else() {
        let text = r#"{"id":"x","index_digest":{"digest":"sha9:abc","from":"a"},"manifest_digest":{"missing":"by_magic"},
            "config_digest":{},"repo_digests":["r@sha9:abc"],"colour":"red"}"#;
        let image: Image = serde_json::from_str(text).unwrap();
        assert_eq!(image, Image::unresolved("x", MissingReason::Other));
    }
}
