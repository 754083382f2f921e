//! What the content store says about images: indexes, manifests and configurations, each read once.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use serde::{Deserialize, de::IgnoredAny};
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

/// Documents that one image may consist of, and entries that an index may have. The largest of real images, with a
/// manifest, a configuration and attestations for each of some twenty platforms, have about a hundred.
const MAX_DOCUMENTS: usize = 1000;

/// Digests that the cache may hold. They are as many as the images of a host want them to be.
const MAX_CACHED: usize = 1_000_000;

/// Bytes of a platform's words, of which the longest in use is `riscv64`.
const MAX_WORD: usize = 64;

/// Documents by digest. A digest's content never changes, so what was read once is kept as long as it is in use.
#[derive(Debug, Default)]
pub(crate) struct ContentCache {
    documents: HashMap<Digest, Document>,
    /// What a namespace was asked for and did not have: the other platforms of an index, as a rule.
    absent: HashSet<(String, Digest)>,
    /// How many digests the documents hold, their own included.
    held: usize,
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
    ///
    /// An image without bounds is unreadable as a whole. That is the image's fault, not the runtime's: whoever can have it
    /// pulled must not be able to make the namespace an incompletely seen one.
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
            if visited.len() > MAX_DOCUMENTS {
                self.documents.insert(target.clone(), Document::Unreadable);
                return Ok(());
            }
            if !self.documents.contains_key(&digest) {
                self.ensure_room()?;
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
                self.held += 1 + document.children().count();
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
        self.held = self.documents.values().map(|document| 1 + document.children().count()).sum();
    }

    fn ensure_room(&self) -> Result<(), CollectError> {
        if self.held + self.absent.len() < MAX_CACHED {
            return Ok(());
        }
        let message = format!("containerd's images name more than {MAX_CACHED} documents; the rest is not read");
        Err(CollectError::Protocol { message, source: None })
    }

    #[cfg(any(test, fuzzing))]
    pub(crate) fn insert(&mut self, digest: Digest, bytes: &[u8]) {
        self.documents.insert(digest, parse(bytes));
    }
}

/// Reads a blob by what it holds, not by the media type that somebody else gave it: the three kinds share no key.
fn parse(bytes: &[u8]) -> Document {
    #[derive(Deserialize)]
    struct Blob {
        manifests: Option<Vec<Readable<Descriptor>>>,
        config: Option<Readable<Descriptor>>,
        layers: Option<Vec<Layer>>,
        rootfs: Option<RootFs>,
        os: Option<String>,
        architecture: Option<String>,
        variant: Option<String>,
        created: Option<String>,
    }
    /// A configuration's `config` is something else, and an index may name a manifest by a digest of an algorithm that is
    /// not known here, which loses that manifest alone.
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Readable<T> {
        Yes(T),
        No(IgnoredAny),
    }
    impl<T> Readable<T> {
        fn ok(self) -> Option<T> {
            match self {
                Self::Yes(value) => Some(value),
                Self::No(_) => None,
            }
        }
    }
    #[derive(Deserialize)]
    struct Descriptor {
        digest: Digest,
        #[serde(default)]
        size: i64,
        platform: Option<DescriptorPlatform>,
    }
    #[derive(Deserialize)]
    struct Layer {
        #[serde(default)]
        size: i64,
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
        if manifests.len() > MAX_DOCUMENTS {
            return Document::Unreadable;
        }
        let entry = |descriptor: Descriptor| IndexEntry {
            digest: descriptor.digest,
            platform: descriptor.platform.and_then(|of| platform(of.os, of.architecture, of.variant)),
        };
        return Document::Index { manifests: manifests.into_iter().filter_map(Readable::ok).map(entry).collect() };
    }
    if let Some(layers) = blob.layers {
        let sizes = layers.iter().map(|layer| layer.size);
        return blob.config.and_then(Readable::ok).map_or(Document::Unreadable, |config| Document::Manifest {
            size: sizes.chain([config.size]).filter_map(|size| u64::try_from(size).ok()).fold(0, u64::saturating_add),
            config: config.digest,
        });
    }
    let (Some(rootfs), Some(os), Some(architecture)) = (blob.rootfs, blob.os, blob.architecture) else {
        return Document::Unreadable;
    };
    platform(os, architecture, blob.variant).map_or(Document::Unreadable, |platform| {
        Document::Config(Config {
            platform,
            created_at: blob.created.and_then(|time| time.parse().ok()),
            chain_id: chain_id(&rootfs.diff_ids),
        })
    })
}

/// A platform, unless its words are none.
fn platform(os: String, architecture: String, variant: Option<String>) -> Option<Platform> {
    let variant = variant.filter(|variant| !variant.is_empty());
    let is_word = [Some(&os), Some(&architecture), variant.as_ref()].into_iter().flatten().all(|w| w.len() <= MAX_WORD);
    is_word.then_some(Platform { os: os.into(), architecture: architecture.into(), variant: variant.map(Into::into) })
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
        let endless = format!(r#"{{"manifests":[{}0]}}"#, "0,".repeat(MAX_DOCUMENTS));
        let wordy = format!(r#"{{"rootfs":{{"diff_ids":[]}},"os":"{}","architecture":"a"}}"#, "x".repeat(MAX_WORD + 1));
        let deep = format!(r#"{{"manifests":{}{}}}"#, "[".repeat(1_000_000), "]".repeat(1_000_000));
        let texts = ["", "[]", "{}", r#"{"layers":[]}"#, r#"{"manifests":7}"#, &endless, &wordy, &deep];
        for bytes in texts.map(str::as_bytes).into_iter().chain([&b"\xff"[..]]) {
            assert_eq!(
                parse(bytes),
                Document::Unreadable,
                "{:?}",
                String::from_utf8_lossy(&bytes[..bytes.len().min(99)])
            );
        }
    }

    #[test]
    fn what_cannot_be_read_of_an_index_or_manifest_loses_itself_alone() {
        let digest = Digest::sha256(b"x");
        let index = format!(r#"{{"manifests":[{{"digest":"blake3:00"}},7,{{"digest":"{digest}","size":-1}}]}}"#);
        let Document::Index { manifests } = parse(index.as_bytes()) else { panic!("{index}") };
        assert_eq!(manifests, [IndexEntry { digest: digest.clone(), platform: None }]);
        let manifest = format!(
            r#"{{"config":{{"digest":"{digest}","size":2}},
            "layers":[{{"digest":"blake3:00","size":{}}},{{"size":-5}},{{"size":{}}}]}}"#,
            i64::MAX,
            i64::MAX
        );
        assert_eq!(parse(manifest.as_bytes()), Document::Manifest { config: digest, size: u64::MAX });
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
