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

use std::collections::BTreeMap;

use crate::{
    Digest,
    identity::DigestGraph,
    model::{Image, Scope, Source, Text, Unified},
};

pub use view::{ContainerView, Seen, UnifiedView};

/// A container as all sources see it.
pub(crate) struct Sighted<'a> {
    /// Each sighting, orchestrators' first.
    pub(crate) seen: Vec<Seen<'a>>,
    /// Position in [`Containers::images`].
    pub(crate) image: Option<usize>,
}

/// Each container once, with what all sources together say of its image.
pub(crate) struct Containers<'a> {
    pub(crate) containers: Vec<Sighted<'a>>,
    pub(crate) images: Vec<Image>,
}

/// What [`unify`] concludes from, by reference to what it is about.
pub(crate) fn containers<'a>(sources: &'a [Source], scopes: &'a BTreeMap<Digest, Scope>) -> Containers<'a> {
    let sources: Vec<&Source> = sources.iter().collect();
    let world = view::World::of(&sources, scopes);
    let groups = join::join(&world);
    let identified = images::identify_all(&world, &groups, &DigestGraph::of(world.images()));
    let position = |id: &Text| identified.images.binary_search_by(|image| image.image.id.cmp(id)).ok();
    let containers = groups.iter().zip(&identified.of_groups).map(|(group, image)| Sighted {
        seen: group.members.iter().map(|member| world.seen[*member]).collect(),
        image: image.image_ref.as_ref().and_then(position),
    });
    let containers = containers.collect();
    Containers { containers, images: identified.images.into_iter().map(|image| image.image).collect() }
}

/// What the sources say together.
///
/// `scopes` are the normalised bodies of their scopes by digest, and each source has a `collector` name of its own: whoever
/// brings several agents' sources together gives them names that differ. The result is the same for the same sources, whatever
/// their order.
#[must_use]
pub fn unify(sources: &[Source], scopes: &BTreeMap<Digest, Scope>) -> Unified {
    let mut sources: Vec<&Source> = sources.iter().collect();
    sources.sort_by(|a, b| a.collector.cmp(&b.collector));
    let world = view::World::of(&sources, scopes);
    let groups = join::join(&world);
    let graph = DigestGraph::of(world.images());
    let identified = images::identify_all(&world, &groups, &graph);
    let of_groups = groups.iter().zip(&identified.of_groups).enumerate();
    let mut containers: Vec<_> =
        of_groups.map(|(position, (group, image))| (position, conclude::container(&world, group, image))).collect();
    let mut findings = findings::findings(&world, &groups, &identified);

    // For people and for diffs: in the order of what they are, not of who saw them.
    containers.sort_by(|(a, one), (b, other)| {
        conclude::order(&world, &groups[*a], one).cmp(&conclude::order(&world, &groups[*b], other))
    });
    let mut place = vec![0; containers.len()];
    for (new, (old, _)) in containers.iter().enumerate() {
        place[*old] = new;
    }
    for finding in &mut findings {
        finding.container = place[finding.container];
    }
    findings.sort_by(|a, b| (a.kind, a.container, &a.not_seen_by).cmp(&(b.kind, b.container, &b.not_seen_by)));
    Unified {
        containers: containers.into_iter().map(|(_, container)| container).collect(),
        images: identified.images,
        findings,
    }
}

#[cfg(test)]
mod tests;
