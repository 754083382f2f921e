//! Which digests belong to one image: the graph of indexes, manifests and configurations, made from what every source
//! says, and what follows from it for one container.
//!
//! An index names a manifest for each platform, a manifest names its configuration (OCI image specification 1.1). Runtimes
//! call any of the three "the image's id" or "the digest"; each alone knows a part of the chain. A digest names its content
//! for good, so an edge that one source has seen holds for all.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    Digest, ImageReference, RepoDigest,
    model::{DigestFact, Image, MissingReason, Platform, Provenance},
};

/// What a digest is the digest of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// An index, the list of an image's manifests by platform.
    Index,
    /// One platform's manifest.
    Manifest,
    /// An image's configuration.
    Config,
}

/// Index ⊃ manifest → configuration, as far as any source knows.
#[derive(Debug, Clone, Default)]
pub struct DigestGraph {
    manifests: BTreeMap<Digest, BTreeMap<Digest, Option<Platform>>>,
    /// `None` where two are told: a manifest has one, so somebody is wrong, and neither is believed.
    configs: BTreeMap<Digest, Option<Digest>>,
    by_config: BTreeMap<Digest, BTreeSet<Digest>>,
    roles: BTreeMap<Digest, Option<Role>>,
}

impl DigestGraph {
    /// The graph of what is said of `images`.
    pub fn of<'a>(images: impl IntoIterator<Item = &'a Image>) -> Self {
        let mut graph = Self::default();
        for image in images {
            graph.learn(image);
        }
        graph
    }

    /// Adds what is said of one image.
    pub fn learn(&mut self, image: &Image) {
        let [index, manifest, config] =
            [&image.index_digest, &image.manifest_digest, &image.config_digest].map(DigestFact::digest);
        for (digest, role) in [(index, Role::Index), (manifest, Role::Manifest), (config, Role::Config)] {
            let Some(digest) = digest else { continue };
            // What is said to be two things is trusted to be neither.
            self.roles
                .entry(digest.clone())
                .and_modify(|known| *known = known.filter(|known| *known == role))
                .or_insert(Some(role));
        }
        if let (Some(index), Some(manifest)) = (index, manifest) {
            let platform = self.manifests.entry(index.clone()).or_default().entry(manifest.clone()).or_default();
            *platform = platform.take().or_else(|| image.platform.clone());
        }
        if let (Some(manifest), Some(config)) = (manifest, config) {
            self.configs
                .entry(manifest.clone())
                .and_modify(|known| *known = known.take().filter(|known| known == config))
                .or_insert_with(|| Some(config.clone()));
            self.by_config.entry(config.clone()).or_default().insert(manifest.clone());
        }
    }

    /// What a digest is the digest of, where all who know it agree.
    #[must_use]
    pub fn role(&self, digest: &Digest) -> Option<Role> {
        self.roles.get(digest).copied().flatten()
    }

    /// The configuration that a manifest names, where all who know it agree.
    #[must_use]
    pub fn config_of(&self, manifest: &Digest) -> Option<&Digest> {
        self.configs.get(manifest)?.as_ref()
    }

    /// The manifests below an index that some source has met: those that run somewhere, not all that it lists.
    fn below<'a>(&'a self, index: &Digest) -> impl Iterator<Item = (&'a Digest, Option<&'a Platform>)> + use<'a> {
        self.manifests.get(index).into_iter().flatten().map(|(manifest, platform)| (manifest, platform.as_ref()))
    }

    fn with_config(&self, config: &Digest) -> impl Iterator<Item = &Digest> {
        let of_config = self.by_config.get(config).into_iter().flatten();
        of_config.filter(move |manifest| self.config_of(manifest).is_some())
    }
}

/// What is known of one container's image when everything that is said of it is taken together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Digest of the index.
    pub index_digest: DigestFact,
    /// Digest of the platform's manifest.
    pub manifest_digest: DigestFact,
    /// Digest of the configuration.
    pub config_digest: DigestFact,
    /// What the repository that was asked for serves it under.
    pub repo_digest: Option<RepoDigest>,
    /// Positions of the statements that say otherwise than one before them.
    pub contradicted_by: Vec<usize>,
}

/// What is known of the image of a container of which `statements` were made, the most trusted first.
///
/// `requested` is the image as it was asked for, `platform` what the machine is that runs it. Nothing is guessed: what
/// could be one of several stays missing, with the reason.
#[must_use]
pub fn identify(
    graph: &DigestGraph,
    statements: &[&Image],
    requested: Option<&str>,
    platform: Option<&Platform>,
) -> Identity {
    let fact = |of: fn(&Image) -> &DigestFact| first_known(statements.iter().map(|image| of(image)));
    let mut identity = Identity {
        index_digest: fact(|image| &image.index_digest),
        manifest_digest: fact(|image| &image.manifest_digest),
        config_digest: fact(|image| &image.config_digest),
        repo_digest: None,
        contradicted_by: Vec::new(),
    };
    identity.contradicted_by =
        (0..statements.len()).filter(|position| identity.is_contradicted_by(statements[*position])).collect();
    let repo_digests: BTreeSet<&RepoDigest> = statements.iter().flat_map(|image| &image.repo_digests).collect();
    identity.repo_digest = choose_repo_digest(repo_digests.iter().copied(), requested).cloned();
    // Whatever repository it is of, it is a digest of this image.
    let all: Vec<&RepoDigest> = repo_digests.into_iter().collect();
    let evidence = identity.repo_digest.as_ref().or_else(|| same_digest(&all)).map(|repo| repo.digest.clone());
    identity.follow(graph, evidence.as_ref(), platform);
    identity
}

impl Identity {
    /// Whether `image` is another one. The same manifest may be below several indexes, which a build without changes makes.
    fn is_contradicted_by(&self, image: &Image) -> bool {
        let differs = |known: &DigestFact, told: &DigestFact| match (known.digest(), told.digest()) {
            (Some(known), Some(told)) => Some(known != told),
            _ => None,
        };
        let manifest = differs(&self.manifest_digest, &image.manifest_digest);
        let config = differs(&self.config_digest, &image.config_digest);
        let index = differs(&self.index_digest, &image.index_digest);
        match (manifest, config) {
            (None, None) => index == Some(true),
            (manifest, config) => manifest == Some(true) || config == Some(true),
        }
    }

    /// Walks the graph from what was told to what follows from it. `repo` is a digest under which some repository serves
    /// the image.
    fn follow(&mut self, graph: &DigestGraph, repo: Option<&Digest>, platform: Option<&Platform>) {
        if let Some(repo) = repo {
            match graph.role(repo) {
                Some(Role::Index) => learn(&mut self.index_digest, repo, Provenance::UNIFIED_REPO_DIGEST),
                Some(Role::Manifest) => {
                    learn(&mut self.manifest_digest, repo, Provenance::UNIFIED_REPO_DIGEST);
                    // The ambiguity is gone: the repository's digest is not the index's.
                    if self.index_digest == DigestFact::missing(MissingReason::Ambiguous) {
                        self.index_digest = DigestFact::missing(MissingReason::NotReported);
                    }
                }
                Some(Role::Config) | None => {}
            }
        }
        if let Some(index) = self.index_digest.digest() {
            let config = self.config_digest.digest();
            let of_config = config.and_then(|config| {
                only(graph.below(index).map(|(manifest, _)| manifest).filter(|m| graph.config_of(m) == Some(config)))
            });
            let is_refuted =
                |manifest: &Digest| config.is_some() && graph.config_of(manifest).is_some_and(|c| Some(c) != config);
            let of_platform = || {
                let platform = platform?;
                let below = graph.below(index).filter(|(_, of)| of.is_some_and(|of| fits(of, platform)));
                only(below.map(|(manifest, _)| manifest)).filter(|manifest| !is_refuted(manifest))
            };
            if let Some(manifest) = of_config {
                learn(&mut self.manifest_digest, manifest, Provenance::UNIFIED_INDEX_AND_CONFIG);
            } else if let Some(manifest) = of_platform() {
                learn(&mut self.manifest_digest, manifest, Provenance::UNIFIED_INDEX_AND_PLATFORM);
            }
        }
        if let Some(config) = self.config_digest.digest() {
            let mut manifests = graph.with_config(config);
            match (manifests.next(), manifests.next()) {
                // What was pulled came under another manifest than what somebody loaded from a file, unless it is that one.
                (Some(manifest), None)
                    if repo.is_none_or(|repo| repo == manifest) && self.index_digest.digest().is_none() =>
                {
                    learn(&mut self.manifest_digest, manifest, Provenance::UNIFIED_SAME_CONFIG);
                }
                (Some(_), Some(_)) if self.manifest_digest.digest().is_none() => {
                    self.manifest_digest = DigestFact::missing(MissingReason::Ambiguous);
                }
                _ => {}
            }
        }
        if let Some(config) = self.manifest_digest.digest().and_then(|manifest| graph.config_of(manifest)) {
            learn(&mut self.config_digest, config, Provenance::UNIFIED_MANIFEST);
        }
    }
}

/// Of several repository digests the one of the repository that was asked for.
///
/// A runtime lists one for each repository that it knows the image from, in no order that means anything. The names are
/// compared in canonical form (`nginx` is `docker.io/library/nginx`), whole, not by registry. Without a name there is an
/// answer only if all have the same digest.
#[must_use]
pub fn choose_repo_digest<'a>(
    repo_digests: impl IntoIterator<Item = &'a RepoDigest>,
    requested: Option<&str>,
) -> Option<&'a RepoDigest> {
    let all: Vec<&RepoDigest> = repo_digests.into_iter().collect();
    let requested = requested.and_then(|name| name.parse::<ImageReference>().ok());
    let Some(requested) = requested else { return same_digest(&all) };
    let of_repository: Vec<&RepoDigest> = all.into_iter().filter(|repo| repo.is_of(&requested)).collect();
    let pinned = of_repository.iter().copied().find(|repo| requested.digest() == Some(&repo.digest));
    pinned.or_else(|| same_digest(&of_repository))
}

fn same_digest<'a>(all: &[&'a RepoDigest]) -> Option<&'a RepoDigest> {
    let first = all.iter().min()?;
    all.iter().all(|repo| repo.digest == first.digest).then_some(first)
}

/// The first digest that is known, else the reason that says most.
fn first_known<'a>(facts: impl Iterator<Item = &'a DigestFact>) -> DigestFact {
    let mut reasons = Vec::new();
    for fact in facts {
        match fact {
            DigestFact::Known { .. } => return fact.clone(),
            DigestFact::Missing { missing } => reasons.push(*missing),
        }
    }
    DigestFact::missing(reasons.into_iter().min().unwrap_or(MissingReason::NotReported))
}

fn learn(fact: &mut DigestFact, digest: &Digest, from: Provenance) {
    if fact.digest().is_none() {
        *fact = DigestFact::known(digest.clone(), from);
    }
}

fn only<T>(mut items: impl Iterator<Item = T>) -> Option<T> {
    let first = items.next()?;
    items.next().is_none().then_some(first)
}

/// Whether a manifest for `of` is the one that a machine of `platform` takes.
///
/// The graph knows the manifests that run somewhere, not all that an index lists, so a platform has to say all by which an
/// index tells its manifests apart: on 32-bit ARM that is the variant, on Windows the version, which nobody reports.
fn fits(of: &Platform, platform: &Platform) -> bool {
    let variant = of.variant == platform.variant || of.architecture != "arm";
    of.os == platform.os && of.architecture == platform.architecture && variant && of.os != "windows"
}

#[cfg(test)]
mod tests;
