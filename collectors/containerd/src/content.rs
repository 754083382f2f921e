//! What the content store says about images: indexes, manifests and configurations, each read once.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use serde::Deserialize;
use stocktake_core::{CollectError, Digest, model::Platform};

use crate::client::{Blob, NamespaceClient};

/// A document of the content store, reduced to what identifies an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Document {
    Index {
        manifests: Vec<IndexEntry>,
    },
    Manifest {
        config: Digest,
        size: u64,
    },
    Config(Config),
    /// It is there, and is none of these.
    Unreadable,
}

impl Document {
    /// The documents that this one names.
    fn children(&self) -> impl Iterator<Item = &Digest> {
        let (manifests, config) = match self {
            Self::Index { manifests } => (manifests.as_slice(), None),
            Self::Manifest { config, .. } => (&[][..], Some(config)),
            Self::Config(_) | Self::Unreadable => (&[][..], None),
        };
        manifests.iter().map(|entry| &entry.digest).chain(config)
    }
}

/// One line of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IndexEntry {
    pub(crate) digest: Digest,
    pub(crate) platform: Option<Platform>,
}

/// An image's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Config {
    pub(crate) platform: Platform,
    pub(crate) created_at: Option<Timestamp>,
    /// Identifies the stack of the image's layers; the name of the snapshot that containers are made on.
    pub(crate) chain_id: Option<Digest>,
}

/// Documents by digest. A digest's content never changes, so what was read once is kept as long as it is in use.
#[derive(Debug, Default)]
pub(crate) struct ContentCache {
    documents: HashMap<Digest, Document>,
    /// What a namespace was asked for and did not have: the other platforms of an index, as a rule.
    absent: HashSet<(String, Digest)>,
}

/// Whether to ask again for what was absent before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Absent {
    Accept,
    AskAgain,
}

impl ContentCache {
    pub(crate) fn get(&self, digest: &Digest) -> Option<&Document> {
        self.documents.get(digest)
    }

    pub(crate) fn get_key_value(&self, digest: &Digest) -> Option<(&Digest, &Document)> {
        self.documents.get_key_value(digest)
    }

    /// Reads what is not known yet of the image at `target`: index, manifests, configurations.
    pub(crate) async fn load(
        &mut self,
        client: &NamespaceClient,
        target: &Digest,
        absent: Absent,
    ) -> Result<(), CollectError> {
        let mut wanted = vec![target.clone()];
        // An image is somebody else's word: an index may name itself, or one document a thousand times.
        let mut visited = HashSet::new();
        while let Some(digest) = wanted.pop() {
            if !visited.insert(digest.clone()) {
                continue;
            }
            if !self.documents.contains_key(&digest) {
                let place = (client.name().to_owned(), digest.clone());
                if absent == Absent::Accept && self.absent.contains(&place) {
                    continue;
                }
                let document = match client.blob(&digest).await? {
                    Blob::Found(bytes) => parse(&bytes),
                    Blob::TooLarge => Document::Unreadable,
                    Blob::Absent => {
                        self.absent.insert(place);
                        continue;
                    }
                };
                self.absent.remove(&place);
                self.documents.insert(digest.clone(), document);
            }
            wanted.extend(self.documents.get(&digest).into_iter().flat_map(Document::children).cloned());
        }
        Ok(())
    }

    /// Forgets what `used` does not lead to, so that a node that sees many images come and go does not grow.
    pub(crate) fn retain(&mut self, used: impl IntoIterator<Item = Digest>) {
        let mut wanted: Vec<Digest> = used.into_iter().collect();
        let mut reachable = HashSet::new();
        while let Some(digest) = wanted.pop() {
            if !reachable.insert(digest.clone()) {
                continue;
            }
            wanted.extend(self.documents.get(&digest).into_iter().flat_map(Document::children).cloned());
        }
        self.documents.retain(|digest, _| reachable.contains(digest));
        self.absent.retain(|(_, digest)| reachable.contains(digest));
    }

    #[cfg(test)]
    pub(crate) fn insert(&mut self, digest: Digest, bytes: &[u8]) {
        self.documents.insert(digest, parse(bytes));
    }
}

/// Reads a blob by what it holds, not by the media type that somebody else gave it: the three kinds share no key.
fn parse(bytes: &[u8]) -> Document {
    #[derive(Deserialize)]
    struct Blob {
        manifests: Option<Vec<Descriptor>>,
        config: Option<serde_json::Value>,
        layers: Option<Vec<Descriptor>>,
        rootfs: Option<RootFs>,
        os: Option<String>,
        architecture: Option<String>,
        variant: Option<String>,
        created: Option<String>,
    }
    #[derive(Deserialize)]
    struct Descriptor {
        digest: Digest,
        #[serde(default)]
        size: u64,
        platform: Option<DescriptorPlatform>,
    }
    #[derive(Deserialize)]
    struct DescriptorPlatform {
        #[serde(default)]
        os: String,
        #[serde(default)]
        architecture: String,
        variant: Option<String>,
    }
    #[derive(Deserialize)]
    struct RootFs {
        diff_ids: Vec<Digest>,
    }

    let Ok(blob) = serde_json::from_slice::<Blob>(bytes) else { return Document::Unreadable };
    if let Some(manifests) = blob.manifests {
        let entry = |descriptor: Descriptor| IndexEntry {
            digest: descriptor.digest,
            platform: descriptor.platform.map(|platform| Platform {
                os: platform.os,
                architecture: platform.architecture,
                variant: platform.variant.filter(|variant| !variant.is_empty()),
            }),
        };
        return Document::Index { manifests: manifests.into_iter().map(entry).collect() };
    }
    if let Some(layers) = blob.layers {
        let config = blob.config.and_then(|config| serde_json::from_value::<Descriptor>(config).ok());
        return config.map_or(Document::Unreadable, |config| Document::Manifest {
            size: layers.iter().fold(config.size, |sum, layer| sum.saturating_add(layer.size)),
            config: config.digest,
        });
    }
    match (blob.rootfs, blob.os, blob.architecture) {
        (Some(rootfs), Some(os), Some(architecture)) => Document::Config(Config {
            platform: Platform { os, architecture, variant: blob.variant.filter(|variant| !variant.is_empty()) },
            created_at: blob.created.and_then(|time| time.parse().ok()),
            chain_id: chain_id(&rootfs.diff_ids),
        }),
        _ => Document::Unreadable,
    }
}

/// OCI image specification 1.1, "Layer `ChainID`".
fn chain_id(diff_ids: &[Digest]) -> Option<Digest> {
    let (first, rest) = diff_ids.split_first()?;
    Some(rest.iter().fold(first.clone(), |chain, diff| Digest::sha256(format!("{chain} {diff}").as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_as_the_specification_says() {
        let layers: Vec<Digest> = ["a", "b"].iter().map(|text| Digest::sha256(text.as_bytes())).collect();
        assert_eq!(chain_id(&layers[..1]), Some(layers[0].clone()));
        let both = Digest::sha256(format!("{} {}", layers[0], layers[1]).as_bytes());
        assert_eq!(chain_id(&layers), Some(both));
        assert_eq!(chain_id(&[]), None);
    }

    #[test]
    fn what_is_no_document_of_an_image_is_unreadable_and_no_error() {
        for bytes in [&b""[..], b"[]", b"{}", b"\xff", br#"{"layers":[]}"#, br#"{"manifests":[{"digest":"x"}]}"#] {
            assert_eq!(parse(bytes), Document::Unreadable, "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn forgets_what_no_image_in_use_leads_to() {
        let [config, manifest, other] = ["config", "manifest", "other"].map(|text| Digest::sha256(text.as_bytes()));
        let mut cache = ContentCache::default();
        let manifest_json = format!(r#"{{"config":{{"digest":"{config}","size":1}},"layers":[]}}"#);
        cache.insert(manifest.clone(), manifest_json.as_bytes());
        cache.insert(config.clone(), br#"{"os":"linux","architecture":"amd64","rootfs":{"diff_ids":[]}}"#);
        cache.insert(other.clone(), b"{}");
        cache.retain([manifest.clone()]);
        assert!(cache.get(&manifest).is_some() && cache.get(&config).is_some() && cache.get(&other).is_none());
    }
}
