//! Making one inventory of what several sources saw: the same container, seen through the Kubernetes API, the runtime that
//! the kubelet uses and the one beneath that, becomes one, and so does its image.
//!
//! All of it is a pure function of a report. Nothing is taken away: a unified container leads to each of its sightings,
//! and what a source said stays in the body of its scope.

mod conclude;
mod findings;
mod images;
mod join;
mod view;
mod world;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Serialize, Serializer, ser::SerializeStruct as _};

use crate::{
    Digest,
    model::{
        Finding, FindingKind, Image, Report, Scope, Source, Text, Unified, UnifiedContainer, UnifiedImage, VantagePoint,
    },
};

use images::Identified;
use join::Groups;
use world::{World, narrow};

pub use view::{ContainerView, UnifiedView};
pub use world::Seen;

/// What the sources say together.
///
/// `scopes` are the normalised bodies of their scopes by digest, and each source has a `collector` name of its own: whoever
/// brings several agents' sources together gives them names that differ. The result is the same for the same sources, whatever
/// their order.
#[must_use]
pub fn unify(sources: &[Source], scopes: &BTreeMap<Digest, Scope>) -> Unified {
    Conclusions::of(sources, scopes).unified()
}

/// What is concluded from a report's sources, before it is written out: it refers to the bodies, and a container is made of what
/// is known of it only when it is asked for. There may be as many of them as the bodies have, in a few bytes each.
///
/// Its JSON is that of [`Unified`].
pub struct Conclusions<'a> {
    drawn: Drawn<'a>,
    /// Positions of the groups, in the order of the containers.
    order: Vec<u32>,
    findings: Vec<Finding>,
}

/// The findings of one look, by what they are known again in another: positions differ from look to look.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownFindings(BTreeSet<FindingKey>);

type FindingKey = (FindingKind, Option<(Option<Text>, Text)>, Vec<VantagePoint>);

impl<'a> Conclusions<'a> {
    /// Draws them. `sources` and `scopes` are as [`unify`] has them.
    #[must_use]
    pub fn of(sources: &'a [Source], scopes: &'a BTreeMap<Digest, Scope>) -> Self {
        let mut sources: Vec<&Source> = sources.iter().collect();
        sources.sort_by(|a, b| a.collector.cmp(&b.collector));
        let drawn = Drawn::of(&sources, scopes);
        let Drawn { world, groups, identified } = &drawn;
        let group = |position: &u32| groups.get(*position as usize);
        let mut order: Vec<u32> = (0..narrow(groups.len())).collect();
        order.sort_by(|one, other| conclude::order(world, group(one), group(other)));

        let mut findings = findings::findings(world, groups, identified);
        if !findings.is_empty() {
            let mut place = vec![0; order.len()];
            for (new, old) in order.iter().enumerate() {
                place[*old as usize] = new;
            }
            for finding in &mut findings {
                finding.container = place[finding.container];
            }
            findings.sort_by(|a, b| (a.kind, a.container, &a.not_seen_by).cmp(&(b.kind, b.container, &b.not_seen_by)));
        }
        Self { drawn, order, findings }
    }

    /// The containers, each once.
    #[must_use]
    pub fn containers(&self) -> impl ExactSizeIterator<Item = UnifiedContainer> {
        self.order.iter().map(|position| self.container(*position))
    }

    fn container(&self, position: u32) -> UnifiedContainer {
        let Drawn { world, groups, identified } = &self.drawn;
        let position = position as usize;
        let group = groups.get(position);
        conclude::container(world, group, &identified.image_of(world, position, group))
    }

    /// The images in use, each once.
    #[must_use]
    pub fn images(&self) -> impl ExactSizeIterator<Item = UnifiedImage> {
        self.drawn.identified.unified(&self.drawn.world)
    }

    /// Where sources that saw everything disagree.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// The findings, to confirm those of a later look with.
    #[must_use]
    pub fn known_findings(&self) -> KnownFindings {
        KnownFindings(self.findings.iter().map(|finding| self.key(finding)).collect())
    }

    /// Keeps the findings that an earlier look at the same sources had too.
    ///
    /// Sources look at slightly different times, and a container that ends between two of them is there for one and gone
    /// for the other. What is so again at the next look is so.
    pub fn confirm(&mut self, earlier: &KnownFindings) {
        let mut findings = std::mem::take(&mut self.findings);
        findings.retain(|finding| earlier.0.contains(&self.key(finding)));
        self.findings = findings;
    }

    fn key(&self, finding: &Finding) -> FindingKey {
        let container = self.order.get(finding.container).map(|position| self.container(*position));
        (finding.kind, container.map(|container| (container.id, container.name)), finding.not_seen_by.clone())
    }

    /// All of it written out.
    #[must_use]
    pub fn unified(&self) -> Unified {
        Unified {
            containers: self.containers().collect(),
            images: self.images().collect(),
            findings: self.findings.clone(),
        }
    }
}

impl Serialize for Conclusions<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let has_findings = !self.findings.is_empty();
        let mut fields = serializer.serialize_struct("Unified", 2 + usize::from(has_findings))?;
        fields.serialize_field("containers", &Each(|| self.containers()))?;
        fields.serialize_field("images", &Each(|| self.images()))?;
        if has_findings {
            fields.serialize_field("findings", &self.findings)?;
        } else {
            fields.skip_field("findings")?;
        }
        fields.end()
    }
}

/// An inventory with its conclusions, as it is written. Its JSON is that of an [`Inventory`](crate::model::Inventory) which has
/// been made of the same report and bodies.
#[derive(Serialize)]
pub struct Document<'a> {
    /// The manifest.
    pub report: &'a Report,
    /// Bodies by digest.
    pub scopes: &'a BTreeMap<Digest, Scope>,
    /// What the sources say together.
    pub unified: &'a Conclusions<'a>,
}

/// A list that is never held.
struct Each<F>(F);

impl<F: Fn() -> I, I: Iterator<Item: Serialize>> Serialize for Each<F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq((self.0)())
    }
}

/// Each container once, with what all sources together say of its image, in the order of what was seen first.
pub(crate) struct Drawn<'a> {
    world: World<'a>,
    groups: Groups,
    identified: Identified,
}

/// A container as all sources see it.
pub(crate) struct Sighted<'a> {
    /// Each sighting, orchestrators' first.
    pub(crate) seen: Vec<Seen<'a>>,
    /// Position in [`Drawn::images`].
    pub(crate) image: Option<usize>,
}

impl<'a> Drawn<'a> {
    pub(crate) fn of(sources: &[&'a Source], scopes: &'a BTreeMap<Digest, Scope>) -> Self {
        let world = World::of(sources, scopes);
        let groups = join::join(&world);
        let identified = Identified::of(&world, &groups);
        Self { world, groups, identified }
    }

    pub(crate) fn containers(&self) -> impl Iterator<Item = Sighted<'a>> {
        self.groups.iter().enumerate().map(|(position, group)| Sighted {
            seen: group.members.iter().map(|member| self.world.seen(*member)).collect(),
            image: self.identified.number_of(position),
        })
    }

    pub(crate) fn images(&self) -> impl Iterator<Item = &Image> {
        self.identified.images()
    }
}

#[cfg(test)]
mod tests;
