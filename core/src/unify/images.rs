//! The image of each container, by all that is said of it, and each image once.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{join::Group, view::World};
use crate::{
    Digest, RepoDigest,
    identity::{DigestGraph, Identity, identify},
    model::{DigestFact, Image, MissingReason, Platform, Provenance, Sighting, Text, UnifiedImage},
};

/// The images of all containers.
pub(super) struct Identified<'a> {
    /// One for each group of sightings, in their order.
    pub(super) of_groups: Vec<ImageOf<'a>>,
    pub(super) images: Vec<UnifiedImage>,
}

/// What is known of one container's image.
pub(super) struct ImageOf<'a> {
    pub(super) requested: Option<&'a Text>,
    pub(super) image_ref: Option<Text>,
    pub(super) missing: Option<MissingReason>,
    pub(super) repo_digest: Option<RepoDigest>,
    /// Sightings that lead to another image than one before them.
    pub(super) contradicted_by: Vec<usize>,
}

pub(super) fn identify_all<'a>(world: &World<'a>, groups: &[Group], graph: &DigestGraph) -> Identified<'a> {
    let mut look = Look { world, graph, images: BTreeMap::new(), known: HashMap::new() };
    let of_groups = groups.iter().map(|group| look.of_group(group, machine(world, group))).collect();
    Identified { of_groups, images: look.images.into_iter().map(|(id, draft)| draft.finish(id)).collect() }
}

/// What one sighting says of the image: the container's position, the image's position in its scope, the image.
type Statement<'a> = (usize, usize, &'a Image);

/// All that an image's identity depends on. An image is known by the scope that it is told in (scopes may share a body) and
/// by its position there.
type Evidence<'a> = (Vec<(usize, usize, usize)>, Option<&'a Text>, Option<Machine<'a>>);

/// Operating system and architecture.
type Machine<'a> = (&'a Text, &'a Text);

/// What follows from it: the image's key, what the repository serves, and which statements count for nothing.
type Conclusion = (Text, Option<RepoDigest>, Vec<usize>);

struct Look<'a, 'w> {
    world: &'w World<'a>,
    graph: &'w DigestGraph,
    images: BTreeMap<Text, Draft<'a>>,
    /// Most containers of an image are alike, and names are slow to read.
    known: HashMap<Evidence<'a>, Conclusion>,
}

impl<'a> Look<'a, '_> {
    fn of_group(&mut self, group: &Group, machine: Option<Machine<'a>>) -> ImageOf<'a> {
        let seen = |member: &usize| &self.world.seen[*member];
        // The first is closest to the people who asked; which image runs, the runtime says.
        let requested = group.members.iter().find_map(|member| seen(member).container.image.as_ref());
        let runtimes = group.members.iter().filter(|member| !seen(member).is_orchestrated());
        let orchestrators = group.members.iter().filter(|member| seen(member).is_orchestrated());
        let statements: Vec<Statement<'a>> = runtimes
            .chain(orchestrators)
            .filter_map(|member| seen(member).image.map(|(index, image)| (*member, index, image)))
            .collect();
        if statements.is_empty() {
            let reasons = group.members.iter().filter_map(|member| seen(member).container.image_missing);
            let missing = Some(reasons.min().unwrap_or(MissingReason::NotReported));
            return ImageOf { requested, image_ref: None, missing, repo_digest: None, contradicted_by: Vec::new() };
        }
        let told =
            |(member, index, _): &Statement<'a>| (self.world.source_of[*member], self.world.scope_of[*member], *index);
        let evidence: Evidence<'a> = (statements.iter().map(told).collect(), requested, machine);
        if !self.known.contains_key(&evidence) {
            let conclusion = self.conclude(statements.clone(), requested, machine);
            self.known.insert(evidence.clone(), conclusion);
        }
        let (id, repo_digest, contradicted_by) = self.known.get(&evidence).cloned().unwrap_or_default();
        let contradicted_by = contradicted_by.into_iter().map(|position| statements[position].0).collect();
        ImageOf { requested, image_ref: Some(id), missing: None, repo_digest, contradicted_by }
    }

    /// Takes what is said together, and adds it to what is known of the image.
    fn conclude(
        &mut self,
        mut statements: Vec<Statement<'a>>,
        requested: Option<&Text>,
        machine: Option<Machine<'_>>,
    ) -> Conclusion {
        let platform = machine.map(|(os, architecture)| Platform {
            os: os.clone(),
            architecture: architecture.clone(),
            variant: None,
        });
        let by_all = |statements: &[Statement<'a>]| {
            let images: Vec<&Image> = statements.iter().map(|(.., image)| *image).collect();
            identify(self.graph, &images, requested.map(Text::as_str), platform.as_ref())
        };
        let mut identity = by_all(&statements);
        let contradicted_by = std::mem::take(&mut identity.contradicted_by);
        if !contradicted_by.is_empty() {
            let mut position = 0;
            statements.retain(|_| {
                position += 1;
                !contradicted_by.contains(&(position - 1))
            });
            identity = by_all(&statements);
        }
        // The first statement is contradicted by none before it.
        let (first, _, image) = statements[0];
        let id = key(&identity, &self.world.seen[first].source.collector, &image.id);
        let draft = self.images.entry(id.clone()).or_default();
        for (member, index, image) in &statements {
            draft.seen.insert(Sighting { index: *index, ..self.world.seen[*member].sighting() });
            draft.add(image);
        }
        let Identity { index_digest, manifest_digest, config_digest, repo_digest, .. } = identity;
        for (facts, fact) in draft.facts.iter_mut().zip([index_digest, manifest_digest, config_digest]) {
            facts.add(fact);
        }
        (id, repo_digest, contradicted_by)
    }
}

/// The digest that says most. What has none is told apart by who says it.
fn key(identity: &Identity, collector: &str, id: &str) -> Text {
    let known =
        identity.manifest_digest.digest().or(identity.config_digest.digest()).or(identity.index_digest.digest());
    match (known, &identity.repo_digest) {
        (Some(digest), _) => digest.text().clone(),
        (None, Some(repo)) => repo.digest.text().clone(),
        (None, None) => format!("{collector}/{id}").into(),
    }
}

/// What the machine is that runs the container, as its node says.
fn machine<'a>(world: &World<'a>, group: &Group) -> Option<Machine<'a>> {
    let of_member = group.members.iter().find_map(|member| world.node(*member));
    let of_source = |source: usize| world.host_nodes[source].first().map(|(_, node)| *node);
    let of_host = || group.members.iter().find_map(|member| of_source(world.source_of[*member]));
    let node = of_member.or_else(of_host)?;
    Some((node.operating_system.as_ref()?, node.architecture.as_ref()?))
}

/// An image while what is said of it comes in.
#[derive(Default)]
struct Draft<'a> {
    names: BTreeSet<&'a Text>,
    repo_digests: BTreeSet<&'a RepoDigest>,
    platforms: BTreeSet<&'a Platform>,
    created_at: Option<jiff::Timestamp>,
    /// Of index, manifest, configuration.
    facts: [Facts; 3],
    seen: BTreeSet<Sighting>,
}

impl<'a> Draft<'a> {
    fn add(&mut self, image: &'a Image) {
        self.names.extend(&image.names);
        self.repo_digests.extend(&image.repo_digests);
        self.platforms.extend(&image.platform);
        self.created_at = self.created_at.into_iter().chain(image.created_at).min();
    }

    /// Sizes are left out: each runtime counts something else.
    fn finish(self, id: Text) -> UnifiedImage {
        let [index_digest, manifest_digest, config_digest] = self.facts.map(Facts::conclude);
        UnifiedImage {
            image: Image {
                id,
                names: self.names.into_iter().cloned().collect(),
                index_digest,
                manifest_digest,
                config_digest,
                repo_digests: self.repo_digests.into_iter().cloned().collect(),
                platform: self.platforms.into_iter().next().cloned(),
                size_bytes: None,
                created_at: self.created_at,
            },
            seen: self.seen.into_iter().collect(),
        }
    }
}

/// What is said of one digest of an image, for each of its containers.
#[derive(Default)]
struct Facts {
    /// The best way in which each was learnt: by a source rather than by conclusion.
    known: BTreeMap<Digest, (bool, Provenance)>,
    missing: Option<MissingReason>,
}

impl Facts {
    fn add(&mut self, fact: DigestFact) {
        match fact {
            DigestFact::Known { digest, from } => {
                let way = (from.is_conclusion(), from);
                self.known.entry(digest).and_modify(|known| *known = known.clone().min(way.clone())).or_insert(way);
            }
            DigestFact::Missing { missing } => self.missing = self.missing.into_iter().chain([missing]).min(),
        }
    }

    /// One manifest may be below several indexes: which of them it was taken from differs from container to container.
    fn conclude(self) -> DigestFact {
        let mut known = self.known.into_iter();
        match (known.next(), known.next()) {
            (Some((digest, (_, from))), None) => DigestFact::known(digest, from),
            (Some(_), Some(_)) => DigestFact::missing(MissingReason::Ambiguous),
            (None, _) => DigestFact::missing(self.missing.unwrap_or(MissingReason::NotReported)),
        }
    }
}
