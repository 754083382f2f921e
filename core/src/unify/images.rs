//! The image of each container, by all that is said of it, and each image once.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{
    join::{Group, Groups},
    world::{World, narrow},
};
use crate::{
    Digest, RepoDigest,
    identity::{DigestGraph, Identity, identify},
    model::{DigestFact, Image, MissingReason, Platform, Provenance, Sighting, Text, UnifiedImage},
};

/// The images of all containers.
pub(super) struct Identified {
    /// For each group of sightings, in their order, the position of what follows for it.
    of_groups: Vec<Option<u32>>,
    conclusions: Vec<Conclusion>,
    images: Vec<Identifiable>,
}

/// What follows from all that is said of a container's image. Most containers of an image have the same.
struct Conclusion {
    /// The image's key.
    id: Text,
    /// What the repository that was asked for serves.
    repo_digest: Option<RepoDigest>,
    /// Which statements count for nothing, because they are of another image than one before them.
    contradicted_by: Vec<usize>,
}

/// An image, and the scopes and positions there in which it is told of.
struct Identifiable {
    image: Image,
    seen: Vec<(u32, u32)>,
}

/// What is known of one container's image.
pub(super) struct ImageOf<'a> {
    pub(super) requested: Option<&'a Text>,
    pub(super) image_ref: Option<&'a Text>,
    pub(super) missing: Option<MissingReason>,
    pub(super) repo_digest: Option<&'a RepoDigest>,
}

impl Identified {
    /// The images of `groups`.
    pub(super) fn of(world: &World<'_>, groups: &Groups) -> Self {
        let graph = DigestGraph::of(world.images());
        let contents = Contents::of(world);
        let mut look = Look {
            world,
            graph: &graph,
            contents,
            known: HashMap::new(),
            conclusions: Vec::new(),
            drafts: BTreeMap::new(),
        };
        let of_groups = groups.iter().map(|group| look.of_group(group)).collect();
        let Look { conclusions, drafts, .. } = look;
        Self { of_groups, conclusions, images: drafts.into_iter().map(|(id, draft)| draft.finish(id)).collect() }
    }

    fn conclusion(&self, position: usize) -> Option<&Conclusion> {
        self.of_groups[position].and_then(|conclusion| self.conclusions.get(conclusion as usize))
    }

    /// The image of the group at `position`.
    pub(super) fn image_of<'a>(&'a self, world: &World<'a>, position: usize, group: Group<'_>) -> ImageOf<'a> {
        let conclusion = self.conclusion(position);
        let missing = || {
            let reasons = group.members.iter().filter_map(|member| world.seen(*member).container.image_missing);
            reasons.min().unwrap_or(MissingReason::NotReported)
        };
        ImageOf {
            requested: requested(world, group),
            image_ref: conclusion.map(|conclusion| &conclusion.id),
            missing: conclusion.is_none().then(missing),
            repo_digest: conclusion.and_then(|conclusion| conclusion.repo_digest.as_ref()),
        }
    }

    /// The position of the image of the group at `position`, among all images.
    pub(super) fn number_of(&self, position: usize) -> Option<usize> {
        let id = &self.conclusion(position)?.id;
        self.images.binary_search_by(|known| known.image.id.cmp(id)).ok()
    }

    /// Sightings that lead to another image than one before them.
    pub(super) fn contradicted_by(&self, world: &World<'_>, position: usize, group: Group<'_>) -> Vec<u32> {
        let contradicted_by = self.conclusion(position).map(|conclusion| conclusion.contradicted_by.as_slice());
        let Some(contradicted_by) = contradicted_by.filter(|positions| !positions.is_empty()) else {
            return Vec::new();
        };
        let statements: Vec<Statement<'_>> = statements(world, group).collect();
        contradicted_by.iter().map(|position| statements[*position].0).collect()
    }

    /// What is concluded of each image, by key.
    pub(super) fn images(&self) -> impl ExactSizeIterator<Item = &Image> {
        self.images.iter().map(|known| &known.image)
    }

    /// Each image, by key, with where it is told of.
    pub(super) fn unified<'a>(&'a self, world: &'a World<'_>) -> impl ExactSizeIterator<Item = UnifiedImage> + 'a {
        let sighting = |(scope, index): &(u32, u32)| {
            let scope = &world.scopes[*scope as usize];
            let collector = world.sources[scope.source].collector.clone();
            Sighting { collector, scope: scope.entry.id.clone(), index: *index as usize }
        };
        self.images.iter().map(move |known| {
            let mut seen: Vec<Sighting> = known.seen.iter().map(sighting).collect();
            seen.sort();
            seen.dedup();
            UnifiedImage { image: known.image.clone(), seen }
        })
    }
}

/// The first is closest to the people who asked; which image runs, the runtime says.
fn requested<'a>(world: &World<'a>, group: Group<'_>) -> Option<&'a Text> {
    group.members.iter().find_map(|member| world.seen(*member).container.image.as_ref())
}

/// What one sighting says of the image: the container's position, the image's position in its scope, the image.
type Statement<'a> = (u32, usize, &'a Image);

/// What is said of a container's image, the most trusted first.
fn statements<'a>(world: &World<'a>, group: Group<'_>) -> impl Iterator<Item = Statement<'a>> {
    let said_by = move |orchestrator: bool| {
        let seen = group.members.iter().map(|member| (*member, world.seen(*member)));
        let said = seen.filter(move |(_, seen)| seen.is_orchestrated() == orchestrator);
        said.filter_map(|(member, seen)| seen.image.map(|(index, image)| (member, index, image)))
    };
    said_by(false).chain(said_by(true))
}

/// Numbers for images: what one source says of an image in several scopes has one.
struct Contents {
    numbers: Vec<u32>,
    /// Where those of each scope begin.
    begin: Vec<usize>,
}

impl Contents {
    fn of(world: &World<'_>) -> Self {
        let mut known: HashMap<(usize, &Image), u32> = HashMap::new();
        let (mut numbers, mut begin) = (Vec::new(), Vec::with_capacity(world.scopes.len()));
        for scope in &world.scopes {
            begin.push(numbers.len());
            for image in &scope.body.images {
                let next = narrow(known.len());
                numbers.push(*known.entry((scope.source, image)).or_insert(next));
            }
        }
        Self { numbers, begin }
    }

    fn number(&self, scope: u32, index: usize) -> u32 {
        self.numbers[self.begin[scope as usize] + index]
    }
}

/// All that an image's identity depends on: the first statement and the others, what was asked for, and the machine.
type Evidence<'a> = (u32, Vec<u32>, Option<&'a Text>, Option<Machine<'a>>);

/// Operating system and architecture.
type Machine<'a> = (&'a Text, &'a Text);

struct Look<'a, 'w> {
    world: &'w World<'a>,
    graph: &'w DigestGraph,
    contents: Contents,
    known: HashMap<Evidence<'a>, u32>,
    conclusions: Vec<Conclusion>,
    drafts: BTreeMap<Text, Draft<'a>>,
}

impl<'a> Look<'a, '_> {
    /// What follows for a container, if anything says what its image is.
    fn of_group(&mut self, group: Group<'_>) -> Option<u32> {
        let world = self.world;
        let mut numbers =
            statements(world, group).map(|(member, index, _)| self.contents.number(world.scope_number(member), index));
        let first = numbers.next()?;
        let evidence: Evidence<'a> = (first, numbers.collect(), requested(world, group), machine(world, group));
        let found = self.known.get(&evidence).copied();
        let conclusion = found.unwrap_or_else(|| {
            let conclusion = self.conclude(statements(world, group).collect(), evidence.2, evidence.3);
            self.conclusions.push(conclusion);
            let position = narrow(self.conclusions.len() - 1);
            self.known.insert(evidence, position);
            position
        });
        let Conclusion { id, contradicted_by, .. } = self.conclusions.get(conclusion as usize)?;
        let draft = self.drafts.get_mut(id)?;
        for (position, (member, index, _)) in statements(world, group).enumerate() {
            if !contradicted_by.contains(&position) {
                draft.seen.insert((world.scope_number(member), narrow(index)));
            }
        }
        Some(conclusion)
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
        let id = key(&identity, &self.world.seen(first).source.collector, &image.id);
        let draft = self.drafts.entry(id.clone()).or_default();
        for (.., image) in &statements {
            draft.add(image);
        }
        let Identity { index_digest, manifest_digest, config_digest, repo_digest, .. } = identity;
        for (facts, fact) in draft.facts.iter_mut().zip([index_digest, manifest_digest, config_digest]) {
            facts.add(fact);
        }
        Conclusion { id, repo_digest, contradicted_by }
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
fn machine<'a>(world: &World<'a>, group: Group<'_>) -> Option<Machine<'a>> {
    let of_member = group.members.iter().find_map(|member| world.node(*member));
    let of_source = |source: usize| world.host_nodes[source].first().map(|(_, node)| *node);
    let of_host = || group.members.iter().find_map(|member| of_source(world.source_of(*member)));
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
    /// Scopes, and positions in them.
    seen: BTreeSet<(u32, u32)>,
}

impl<'a> Draft<'a> {
    fn add(&mut self, image: &'a Image) {
        self.names.extend(&image.names);
        self.repo_digests.extend(&image.repo_digests);
        self.platforms.extend(&image.platform);
        self.created_at = self.created_at.into_iter().chain(image.created_at).min();
    }

    /// Sizes are left out: each runtime counts something else.
    fn finish(self, id: Text) -> Identifiable {
        let [index_digest, manifest_digest, config_digest] = self.facts.map(Facts::conclude);
        Identifiable {
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
