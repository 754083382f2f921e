//! What the sightings of one container come to.

use std::cmp::Ordering;

use super::{
    images::ImageOf,
    join::Group,
    world::{Seen, World},
};
use crate::model::{ContainerKind, ContainerState, ScopeId, Text, UnifiedContainer};

pub(super) fn container(world: &World<'_>, group: Group<'_>, image: &ImageOf<'_>) -> UnifiedContainer {
    let seen: Vec<Seen<'_>> = seen(world, group).collect();
    let all = seen.iter().copied();
    let by_state = state(&seen);
    UnifiedContainer {
        id: id(all.clone()).cloned(),
        name: name(all.clone()).cloned().unwrap_or_default(),
        kind: kind(all),
        state: by_state.map_or(ContainerState::Unknown, |seen| seen.container.state),
        state_reason: by_state.and_then(|seen| seen.container.state_reason.clone()),
        started_at: started_at(&seen, by_state),
        image: image.requested.cloned(),
        image_ref: image.image_ref.cloned(),
        image_missing: image.missing,
        repo_digest: image.repo_digest.cloned(),
        joined_by: group.joined_by,
        seen: seen.iter().map(Seen::sighting).collect(),
    }
}

/// In the order of what containers are, not of who saw them: pods by namespace and name, then what has no pod by who saw it.
pub(super) fn order(world: &World<'_>, one: Group<'_>, other: Group<'_>) -> Ordering {
    let pod = |group| seen(world, group).find_map(|seen| seen.pod).map(|pod| (&pod.namespace, &pod.name));
    let first = |group| seen(world, group).next().map(place);
    let by_pod = match (pod(one), pod(other)) {
        (None, None) => first(one).cmp(&first(other)),
        (Some(one), Some(other)) => one.cmp(&other),
        (one, other) => one.is_none().cmp(&other.is_none()),
    };
    let what = |group| {
        let all = seen(world, group);
        (kind(all.clone()), name(all.clone()), id(all))
    };
    let whole = |group| seen(world, group).map(|seen| (place(seen), seen.index));
    by_pod.then_with(|| what(one).cmp(&what(other))).then_with(|| whole(one).cmp(whole(other)))
}

fn place(seen: Seen<'_>) -> (&Text, &ScopeId) {
    (&seen.source.collector, &seen.entry.id)
}

fn seen<'a>(world: &World<'a>, group: Group<'_>) -> impl Iterator<Item = Seen<'a>> + Clone {
    group.members.iter().map(|member| world.seen(*member))
}

/// The runtime's, which is newer than what an orchestrator has heard of it.
fn id<'a>(seen: impl Iterator<Item = Seen<'a>> + Clone) -> Option<&'a Text> {
    let runtimes = seen.clone().filter(|seen| !seen.is_orchestrated());
    runtimes.chain(seen).find_map(|seen| seen.container.id.as_ref())
}

/// Of whoever tells the state, else of another sighting of the same attempt.
fn started_at(seen: &[Seen<'_>], by_state: Option<&Seen<'_>>) -> Option<jiff::Timestamp> {
    let by_state = by_state?.container;
    let others = seen.iter().map(|seen| seen.container).filter(|other| other.id == by_state.id);
    by_state.started_at.or_else(|| others.into_iter().find_map(|other| other.started_at))
}

/// Of the sighting that is closest to people.
fn name<'a>(mut seen: impl Iterator<Item = Seen<'a>>) -> Option<&'a Text> {
    seen.next().map(|seen| &seen.container.name)
}

fn kind<'a>(seen: impl Iterator<Item = Seen<'a>>) -> ContainerKind {
    let mut kinds = seen.map(|seen| seen.container.kind);
    kinds.find(|kind| *kind != ContainerKind::Regular).unwrap_or_default()
}

/// Whose word on the state counts. The runtime sees the process (an orchestrator never learns that one is paused); once
/// there is none, the orchestrator knows why and what comes next.
fn state<'a, 'b>(seen: &'b [Seen<'a>]) -> Option<&'b Seen<'a>> {
    let runtime =
        seen.iter().filter(|seen| !seen.is_orchestrated()).rev().max_by_key(|seen| certainty(seen.container.state));
    let orchestrator = seen.iter().find(|seen| seen.is_orchestrated());
    match (runtime, orchestrator) {
        (Some(runtime), Some(orchestrator))
            if !has_process(runtime.container.state) && !has_process(orchestrator.container.state) =>
        {
            Some(orchestrator)
        }
        (Some(runtime), Some(orchestrator)) if certainty(runtime.container.state) == 0 => Some(orchestrator),
        (runtime, orchestrator) => runtime.or(orchestrator),
    }
}

/// How much a runtime says with a state: `stopped` is that it does not know what was before.
fn certainty(state: ContainerState) -> u8 {
    match state {
        ContainerState::Unknown | ContainerState::Other => 0,
        ContainerState::Stopped => 1,
        _ => 2,
    }
}

pub(super) fn has_process(state: ContainerState) -> bool {
    matches!(state, ContainerState::Running | ContainerState::Paused | ContainerState::Restarting)
}
