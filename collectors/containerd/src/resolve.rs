//! Which image a container was really made from.
//!
//! containerd records only a *name* with a container, and names move: after a retag or a pull the name leads to another
//! image while the container still runs the old one. So the name is checked against evidence that does not move: the
//! configuration's digest that the CRI plug-in keeps with the container, or the snapshot that the container's root file
//! system was made on, whose name is the chain id of the image's layers.

use std::collections::{BTreeMap, HashMap, HashSet};

use stocktake_core::{
    Digest,
    model::{DigestFact, Image, MissingReason, Provenance, Text},
};

use crate::content::{Config, ContentCache, Document};

/// Manifests of one index that are given its names. An index has one a platform, of which there are some twenty; one that
/// has more must not make the list of its names as many times as long.
const MAX_NAMED_MANIFESTS: usize = 64;

/// The images of a namespace: where each name leads.
#[derive(Debug, Clone, Default)]
pub(crate) struct ImageNames {
    pub(crate) targets: BTreeMap<String, Target>,
}

/// What a name leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) digest: Digest,
    pub(crate) media_type: String,
}

/// What is known of a container's image apart from its name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Evidence {
    /// Digest of the image's configuration, as the CRI plug-in recorded it.
    pub(crate) config: Option<Digest>,
    /// Chain id of the layers under the container's root file system.
    pub(crate) chain: Option<Digest>,
}

/// The snapshots of a namespace, each with its parent.
#[derive(Debug, Default)]
pub(crate) struct Snapshots {
    /// By snapshotter, then by name.
    parents: BTreeMap<String, HashMap<String, String>>,
}

impl Snapshots {
    pub(crate) fn insert(&mut self, snapshotter: &str, snapshots: Vec<(String, String)>) {
        self.parents.entry(snapshotter.to_owned()).or_default().extend(snapshots);
    }

    /// The chain id below the snapshot `key`. Without a snapshotter (dockerd records none) all are asked.
    pub(crate) fn chain_id(&self, snapshotter: &str, key: &str) -> Option<Digest> {
        if snapshotter.is_empty() {
            self.parents.keys().find_map(|snapshotter| self.chain_below(snapshotter, key))
        } else {
            self.chain_below(snapshotter, key)
        }
    }

    /// Between a container's snapshot and that of its image there may be others: dockerd's `…-init`, a remapped one
    /// for a user namespace. The first whose name is a digest is the image's.
    fn chain_below(&self, snapshotter: &str, key: &str) -> Option<Digest> {
        let parents = self.parents.get(snapshotter)?;
        let mut name = key;
        // No one stacks snapshots this deep; a loop in the answer must not hang us.
        for _ in 0..256 {
            name = parents.get(name)?;
            if let Ok(chain) = name.parse() {
                return Some(chain);
            }
        }
        None
    }
}

/// One platform's image below a target.
#[derive(Debug, Clone)]
struct Variant<'a> {
    manifest: &'a Digest,
    size: u64,
    config_digest: &'a Digest,
    config: Option<&'a Config>,
}

/// How a variant agrees with the evidence; the better sorts first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    Proven,
    Unknown,
    Refuted,
}

impl Variant<'_> {
    fn fit(&self, evidence: &Evidence) -> Fit {
        let judge = |proven| if proven { Fit::Proven } else { Fit::Refuted };
        if let Some(config) = &evidence.config {
            return judge(self.config_digest == config);
        }
        match (&evidence.chain, self.config.and_then(|config| config.chain_id.as_ref())) {
            (Some(expected), Some(chain)) => judge(chain == expected),
            _ => Fit::Unknown,
        }
    }

    fn is_native(&self) -> bool {
        self.config.is_some_and(|config| config.platform.architecture == native_architecture())
    }
}

/// Whether the image that `name` leads to is known to be the container's, so that no other has to be looked at.
pub(crate) fn is_settled_by_name(name: &str, evidence: &Evidence, names: &ImageNames, content: &ContentCache) -> bool {
    if *evidence == Evidence::default() {
        return true;
    }
    names.targets.get(name).is_some_and(|target| {
        variants(&target.digest, content).iter().any(|variant| variant.fit(evidence) != Fit::Refuted)
    })
}

/// Tells containers' images. What many of them need is made once: on a host with many of both, looking through all images
/// for each container would be the product of the two.
pub(crate) struct Resolver<'a> {
    names: &'a ImageNames,
    content: &'a ContentCache,
    names_of: HashMap<&'a Digest, Vec<&'a str>>,
    by_config: HashMap<&'a Digest, Vec<(&'a Target, Variant<'a>)>>,
    by_chain: HashMap<&'a Digest, Vec<(&'a Target, Variant<'a>)>>,
    /// Images that have been given their names.
    named: HashSet<Text>,
    /// How many those are, for each target.
    manifests: HashMap<Digest, usize>,
}

impl<'a> Resolver<'a> {
    pub(crate) fn new(names: &'a ImageNames, content: &'a ContentCache) -> Self {
        let mut resolver = Self {
            names,
            content,
            names_of: HashMap::new(),
            by_config: HashMap::new(),
            by_chain: HashMap::new(),
            named: HashSet::new(),
            manifests: HashMap::new(),
        };
        for (name, target) in &names.targets {
            let names = resolver.names_of.entry(&target.digest).or_default();
            names.push(name);
            if names.len() > 1 {
                continue;
            }
            for variant in variants(&target.digest, content) {
                if let Some(chain) = variant.config.and_then(|config| config.chain_id.as_ref()) {
                    resolver.by_chain.entry(chain).or_default().push((target, variant.clone()));
                }
                resolver.by_config.entry(variant.config_digest).or_default().push((target, variant));
            }
        }
        resolver
    }

    /// The image of a container that was made under `name`, or why it is not known. The first time an image is told it
    /// comes with its names.
    pub(crate) fn resolve(&mut self, name: &str, evidence: &Evidence) -> Result<Image, MissingReason> {
        if let Some(target) = self.names.targets.get(name) {
            let variants = variants(&target.digest, self.content);
            if variants.is_empty() {
                return Ok(self.named(image_without_content(target, evidence, self.content), target));
            }
            if let Some(variant) = best(&variants, evidence) {
                return Ok(self.named(image(target, &variant), target));
            }
        }

        // The name leads elsewhere by now, or nowhere. The evidence may still lead to an image that the store has.
        let proven = match evidence {
            Evidence { config: Some(config), .. } => self.by_config.get(config),
            Evidence { chain: Some(chain), .. } => self.by_chain.get(chain),
            Evidence { config: None, chain: None } => None,
        };
        let proven = proven.map(Vec::as_slice).unwrap_or_default();
        let is_one = proven.iter().all(|(_, variant)| variant.manifest == proven[0].1.manifest);
        match (proven.first(), &evidence.config) {
            (Some((target, variant)), _) if is_one => {
                let target = *target;
                let image = image(target, variant);
                Ok(self.named(image, target))
            }
            // The same configuration or layers under several manifests: which of them was meant is not recorded.
            (found, Some(config)) => {
                let reason = if found.is_some() { MissingReason::Ambiguous } else { MissingReason::NotInStore };
                let mut image = Image::unresolved(config.as_str(), reason);
                image.config_digest = DigestFact::known(config.clone(), Provenance::CONTAINERD_CRI_METADATA);
                Ok(image)
            }
            (Some(_), None) => Err(MissingReason::Ambiguous),
            (None, None) if name.is_empty() => Err(MissingReason::NotRecorded),
            (None, None) => Ok(Image::unresolved(name, MissingReason::NotInStore)),
        }
    }

    /// Gives an image the names that lead to its target, the first time that it is met.
    fn named(&mut self, mut image: Image, target: &Target) -> Image {
        if !self.named.insert(image.id.clone()) {
            return image;
        }
        let manifests = self.manifests.entry(target.digest.clone()).or_default();
        *manifests += 1;
        if *manifests > MAX_NAMED_MANIFESTS {
            return image;
        }
        for name in self.names_of.get(&target.digest).into_iter().flatten() {
            // The CRI plug-in names every image by its configuration's digest too, and dockerd marks untagged ones.
            if name.parse::<Digest>().is_ok() || name.starts_with("moby-dangling@") {
                continue;
            }
            image.repo_digests.extend(name.parse());
            image.names.push((*name).into());
        }
        image
    }
}

fn best<'a>(variants: &[Variant<'a>], evidence: &Evidence) -> Option<Variant<'a>> {
    variants
        .iter()
        .filter(|variant| variant.fit(evidence) != Fit::Refuted)
        .min_by_key(|variant| (variant.fit(evidence), !variant.is_native()))
        .cloned()
}

/// The platforms' images below `target` whose manifests are in the store. Attestations and the like have no platform
/// configuration and are no images.
fn variants<'a>(target: &Digest, content: &'a ContentCache) -> Vec<Variant<'a>> {
    let variant = |digest: &'a Digest| match content.get(digest)? {
        Document::Manifest { config, size } => {
            let parsed = match content.get(config) {
                Some(Document::Config(parsed)) => Some(parsed),
                Some(_) => return None,
                None => None,
            };
            Some(Variant { manifest: digest, size: *size, config_digest: config, config: parsed })
        }
        _ => None,
    };
    match content.get_key_value(target) {
        Some((_, Document::Index { manifests })) => manifests
            .iter()
            .filter(|entry| entry.platform.as_ref().is_none_or(|platform| platform.os != "unknown"))
            .filter_map(|entry| variant(&entry.digest))
            .collect(),
        Some((digest, Document::Manifest { .. })) => variant(digest).into_iter().collect(),
        _ => Vec::new(),
    }
}

fn image(target: &Target, variant: &Variant<'_>) -> Image {
    let mut image = Image::unresolved(target.digest.as_str(), MissingReason::Unreadable);
    if *variant.manifest == target.digest {
        image.index_digest = DigestFact::missing(MissingReason::SinglePlatform);
        image.manifest_digest = DigestFact::known(target.digest.clone(), Provenance::CONTAINERD_IMAGE_TARGET);
    } else {
        image.index_digest = DigestFact::known(target.digest.clone(), Provenance::CONTAINERD_IMAGE_TARGET);
        image.manifest_digest = DigestFact::known(variant.manifest.clone(), Provenance::CONTAINERD_INDEX);
        // One index may have been run for two platforms; they are two images.
        image.id = format!("{}@{}", target.digest, variant.manifest).into();
    }
    image.config_digest = DigestFact::known(variant.config_digest.clone(), Provenance::CONTAINERD_MANIFEST);
    image.platform = variant.config.map(|config| config.platform.clone());
    image.created_at = variant.config.and_then(|config| config.created_at);
    image.size_bytes = Some(variant.size);
    image
}

/// The store knows the name, and no longer has the documents behind it (containerd may discard what is unpacked), or has
/// what is no image.
fn image_without_content(target: &Target, evidence: &Evidence, content: &ContentCache) -> Image {
    let is_unreadable = content.get(&target.digest) == Some(&Document::Unreadable);
    let reason = if is_unreadable { MissingReason::Unreadable } else { MissingReason::NotInStore };
    let mut image = Image::unresolved(target.digest.as_str(), reason);
    let known = DigestFact::known(target.digest.clone(), Provenance::CONTAINERD_IMAGE_TARGET);
    match target.media_type.as_str() {
        "application/vnd.oci.image.index.v1+json" | "application/vnd.docker.distribution.manifest.list.v2+json" => {
            image.index_digest = known;
        }
        "application/vnd.oci.image.manifest.v1+json" | "application/vnd.docker.distribution.manifest.v2+json" => {
            image.index_digest = DigestFact::missing(MissingReason::SinglePlatform);
            image.manifest_digest = known;
        }
        _ => {}
    }
    if let Some(config) = &evidence.config {
        image.config_digest = DigestFact::known(config.clone(), Provenance::CONTAINERD_CRI_METADATA);
        image.id = format!("{}@{config}", target.digest).into();
    }
    image
}

/// What the processor that this program was built for is called in image configurations (Go's `GOARCH`).
fn native_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "x86" => "386",
        "aarch64" => "arm64",
        "powerpc64" => "ppc64le",
        "loongarch64" => "loong64",
        other => other,
    }
}
