//! From the API server's objects to the report model: pure functions, without a client.

use std::collections::{BTreeMap, VecDeque};

use stocktake_core::model::{
    Container, ContainerKind, ContainerState, Image, MissingReason, Namespace, Node, Pod, Text, Workload,
};

use crate::{
    image::{image_of_id, image_of_name},
    owners::{Owners, controller},
    wire,
};

/// On a static pod's mirror in the API server: the uid that the kubelet and the runtime know the pod by.
const CONFIG_HASH: &str = "kubernetes.io/config.hash";

/// A pod with everything that was made of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConvertedPod {
    pub(crate) pod: Pod,
    pub(crate) workload: Option<Workload>,
    /// Each with its image, where anything names one; containers of one image each bring their own.
    pub(crate) containers: Vec<(Container, Option<Image>)>,
}

/// Whether the pod has ended for good and its containers with it.
pub(crate) fn has_ended(pod: &wire::Pod) -> bool {
    matches!(pod.status.phase.as_deref(), Some("Succeeded" | "Failed"))
}

/// A pod of namespace `namespace`.
pub(crate) fn convert_pod(pod: wire::Pod, namespace: &str, owners: &Owners) -> ConvertedPod {
    let workload =
        controller(&pod.metadata.owner_references).map(|owner| convert_owner(owners.outermost(owner), namespace));
    let ended = has_ended(&pod);
    let wire::Pod { metadata, spec, status } = pod;
    // The API server gives every object a uid; without one it must still not fall together with others.
    let uid = Text::from(metadata.uid.unwrap_or_else(|| format!("{namespace}/{}", metadata.name)));
    let node_name = spec.node_name.map(Text::from);
    let reason = present(status.reason);
    let of_pod = OfPod { uid: &uid, node_name: node_name.as_ref(), ended, reason: reason.as_ref() };

    let mut containers = Vec::new();
    let groups = [
        (ContainerKind::Init, spec.init_containers, status.init_container_statuses),
        (ContainerKind::Regular, spec.containers, status.container_statuses),
        (ContainerKind::Ephemeral, spec.ephemeral_containers, status.ephemeral_container_statuses),
    ];
    for (kind, specs, statuses) in groups {
        let pairs = pair(specs, statuses).into_iter();
        containers.extend(pairs.map(|(spec, status)| convert_container(&of_pod, kind, spec, status)));
    }

    let pod = Pod {
        name: metadata.name.into(),
        namespace: namespace.into(),
        node_name,
        phase: status.phase.map(Into::into),
        reason,
        workload: workload.as_ref().map(|workload| workload.id.clone()),
        config_hash: metadata.annotations.get(CONFIG_HASH).map(Into::into),
        created_at: metadata.creation_timestamp,
        started_at: status.start_time,
        labels: metadata.labels.into(),
        annotations: metadata.annotations.into(),
        uid,
    };
    ConvertedPod { pod, workload, containers }
}

/// A node.
pub(crate) fn convert_node(node: wire::Node) -> Node {
    let wire::Node { metadata, status } = node;
    let ready = status.conditions.iter().find(|condition| condition.kind == "Ready");
    let info = status.node_info;
    Node {
        name: metadata.name.into(),
        uid: metadata.uid.map(Into::into),
        machine_id: present(info.machine_id),
        container_runtime_version: present(info.container_runtime_version),
        kernel_version: present(info.kernel_version),
        kubelet_version: present(info.kubelet_version),
        operating_system: present(info.operating_system),
        os_image: present(info.os_image),
        architecture: present(info.architecture),
        // `Unknown` means that the node has stopped saying so.
        ready: ready.map(|condition| condition.status == "True"),
        created_at: metadata.creation_timestamp,
        labels: metadata.labels.into(),
        annotations: metadata.annotations.into(),
    }
}

/// A namespace.
pub(crate) fn convert_namespace(namespace: wire::Namespace) -> Namespace {
    let wire::Namespace { metadata, status } = namespace;
    Namespace {
        name: metadata.name.into(),
        uid: metadata.uid.map(Into::into),
        phase: present(status.phase),
        created_at: metadata.creation_timestamp,
        labels: metadata.labels.into(),
        annotations: metadata.annotations.into(),
    }
}

fn convert_owner(owner: &wire::OwnerReference, namespace: &str) -> Workload {
    // A reference leads to the same namespace or to an object without one; it does not say which. Of those that make
    // pods, only a static pod's node has none.
    let is_node = owner.kind == "Node" && owner.api_version == "v1";
    // References without a uid would otherwise all lead to one workload.
    let uid = Some(Text::from(owner.uid.as_str())).filter(|uid| !uid.is_empty());
    Workload {
        id: uid.clone().unwrap_or_else(|| format!("{}/{}", owner.kind, owner.name).into()),
        kind: owner.kind.as_str().into(),
        name: owner.name.as_str().into(),
        namespace: (!is_node).then(|| namespace.into()),
        api_version: Some(owner.api_version.as_str().into()),
        uid,
    }
}

/// What a container takes over from its pod.
struct OfPod<'a> {
    uid: &'a Text,
    node_name: Option<&'a Text>,
    ended: bool,
    reason: Option<&'a Text>,
}

/// Each container of the specification with its status, then those of which there is only a status: neither a container
/// that was not made yet nor one that a newer specification has dropped is lost.
fn pair(
    specs: Vec<wire::Container>,
    statuses: Vec<wire::ContainerStatus>,
) -> Vec<(Option<wire::Container>, Option<wire::ContainerStatus>)> {
    let mut pairs = Vec::with_capacity(specs.len().max(statuses.len()));
    // In a queue for each name, though a name should be there once.
    let mut by_name: BTreeMap<String, VecDeque<wire::ContainerStatus>> = BTreeMap::new();
    for status in statuses {
        by_name.entry(status.name.clone()).or_default().push_back(status);
    }
    for spec in specs {
        let status = by_name.get_mut(&spec.name).and_then(VecDeque::pop_front);
        pairs.push((Some(spec), status));
    }
    pairs.extend(by_name.into_values().flatten().map(|status| (None, Some(status))));
    pairs
}

fn convert_container(
    pod: &OfPod<'_>,
    kind: ContainerKind,
    spec: Option<wire::Container>,
    status: Option<wire::ContainerStatus>,
) -> (Container, Option<Image>) {
    let is_sidecar = spec.as_ref().is_some_and(|spec| spec.restart_policy.as_deref() == Some("Always"));
    let kind = if kind == ContainerKind::Init && is_sidecar { ContainerKind::Sidecar } else { kind };
    let name = spec.as_ref().map(|spec| &spec.name).or(status.as_ref().map(|status| &status.name));
    let name = name.cloned().unwrap_or_default();
    let requested = present(spec.and_then(|spec| spec.image));

    let container = Container {
        name: name.into(),
        kind,
        pod_uid: Some(pod.uid.clone()),
        node_name: pod.node_name.filter(|name| !name.is_empty()).cloned(),
        ..Container::default()
    };
    let (container, image_id) = match status {
        Some(status) => with_status(container, status),
        // A pod that has ended may have lost its statuses with its node, and whether they ever ran.
        None if pod.ended => {
            let reason = pod.reason.cloned();
            (Container { state: ContainerState::Unknown, state_reason: reason, ..container }, None)
        }
        None => (Container { state: ContainerState::Waiting, ..container }, None),
    };

    let has_run = container.id.is_some() || container.state != ContainerState::Waiting;
    let image = match (image_id, &requested) {
        (Some(id), _) => Some(image_of_id(&id)),
        (None, Some(name)) => Some(image_of_name(name, has_run)),
        (None, None) => None,
    };
    let image = image.map(|image| Image { names: requested.iter().cloned().collect(), ..image });
    let container = Container {
        image_ref: image.as_ref().map(|image| image.id.clone()),
        image_missing: image.is_none().then_some(MissingReason::NotReported),
        image: requested,
        ..container
    };
    (container, image)
}

/// Fills in what the status tells, and returns its `imageID`.
///
/// `lastState` is not read: it is how the run before this one ended, and a container that waits for its next start is
/// waiting.
fn with_status(container: Container, status: wire::ContainerStatus) -> (Container, Option<Text>) {
    let wire::ContainerStatus { container_id, image_id, restart_count, state, .. } = status;
    let container = Container {
        id: present(container_id).map(|id| without_scheme(&id)),
        restart_count: restart_count.and_then(|count| u32::try_from(count).ok()),
        ..container
    };
    let container = if let Some(running) = state.running {
        Container { state: ContainerState::Running, started_at: running.started_at, ..container }
    } else if let Some(terminated) = state.terminated {
        Container {
            state: ContainerState::Exited,
            state_reason: present(terminated.reason),
            exit_code: terminated.exit_code.and_then(|code| i32::try_from(code).ok()),
            started_at: terminated.started_at,
            finished_at: terminated.finished_at,
            ..container
        }
    } else {
        // None of the three set means waiting (`ContainerState` in Kubernetes' API reference).
        let reason = state.waiting.and_then(|waiting| present(waiting.reason));
        Container { state: ContainerState::Waiting, state_reason: reason, ..container }
    };
    (container, present(image_id))
}

/// `containerd://4f5…` to `4f5…`, by which the runtime's own collectors know the container.
fn without_scheme(id: &str) -> Text {
    id.split_once("://").map_or(id, |(_, id)| id).into()
}

/// Go's way to say "none" of a string is the empty one.
fn present(text: Option<String>) -> Option<Text> {
    text.filter(|text| !text.is_empty()).map(Into::into)
}

#[cfg(test)]
mod tests;
