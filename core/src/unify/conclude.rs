//! What the sightings of one container come to.

use super::{
    images::ImageOf,
    join::Group,
    view::{Seen, World},
};
use crate::model::{ContainerKind, ContainerState, Text, UnifiedContainer};

pub(super) fn container(world: &World<'_>, group: &Group, image: &ImageOf) -> UnifiedContainer {
    let seen: Vec<&Seen<'_>> = group.members.iter().map(|member| &world.seen[*member]).collect();
    let by_state = state(&seen);
    UnifiedContainer {
        id: id(&seen),
        name: name(&seen),
        kind: kind(&seen),
        state: by_state.map_or(ContainerState::Unknown, |seen| seen.container.state),
        state_reason: by_state.and_then(|seen| seen.container.state_reason.clone()),
        started_at: started_at(&seen, by_state),
        image: image.requested.cloned(),
        image_ref: image.image_ref.clone(),
        image_missing: image.missing,
        repo_digest: image.repo_digest.clone(),
        joined_by: group.joined_by,
        seen: seen.iter().map(|seen| seen.sighting()).collect(),
    }
}

/// Pods by namespace and name, then what has no pod by who saw it.
pub(super) fn order<'a>(world: &World<'a>, group: &Group, container: &'a UnifiedContainer) -> impl Ord + use<'a> {
    let pod = group.members.iter().find_map(|member| world.seen[*member].pod);
    let first = world.seen[group.members[0]];
    (
        pod.is_none(),
        pod.map(|pod| (&pod.namespace, &pod.name)),
        if pod.is_none() { Some((&first.source.collector, &first.entry.id)) } else { None },
        container.kind,
        &container.name,
        &container.id,
        &container.seen,
    )
}

/// The runtime's, which is newer than what an orchestrator has heard of it.
fn id(seen: &[&Seen<'_>]) -> Option<Text> {
    let runtimes = seen.iter().filter(|seen| !seen.is_orchestrated());
    runtimes.chain(seen.iter()).find_map(|seen| seen.container.id.clone())
}

/// Of whoever tells the state, else of another sighting of the same attempt.
fn started_at(seen: &[&Seen<'_>], by_state: Option<&Seen<'_>>) -> Option<jiff::Timestamp> {
    let by_state = by_state?.container;
    let others = seen.iter().map(|seen| seen.container).filter(|other| other.id == by_state.id);
    by_state.started_at.or_else(|| others.into_iter().find_map(|other| other.started_at))
}

/// Of the sighting that is closest to people.
fn name(seen: &[&Seen<'_>]) -> Text {
    seen.first().map(|seen| seen.container.name.clone()).unwrap_or_default()
}

fn kind(seen: &[&Seen<'_>]) -> ContainerKind {
    let kinds = seen.iter().map(|seen| seen.container.kind);
    kinds.clone().find(|kind| *kind != ContainerKind::Regular).unwrap_or_default()
}

/// Whose word on the state counts. The runtime sees the process (an orchestrator never learns that one is paused); once
/// there is none, the orchestrator knows why and what comes next.
fn state<'a, 'b>(seen: &[&'b Seen<'a>]) -> Option<&'b Seen<'a>> {
    let runtime = seen
        .iter()
        .copied()
        .filter(|seen| !seen.is_orchestrated())
        .rev()
        .max_by_key(|seen| certainty(seen.container.state));
    let orchestrator = seen.iter().copied().find(|seen| seen.is_orchestrated());
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
