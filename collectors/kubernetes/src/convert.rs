//! From the API server's objects to the report model: pure functions, without a client.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use jiff::Timestamp;
use stocktake_core::{
    labels::Labels,
    model::{Container, ContainerKind, ContainerState, MissingReason, Namespace, Node, Pod, Text, Workload},
};

use crate::{
    image::{key_of_id, key_of_name},
    owners::{Owner, controller},
    texts::Texts,
    wire::{self, ObjectMeta, PodSpec, PodStatus, Time, Unchecked, said},
};

/// On a static pod's mirror in the API server: the uid that the kubelet and the runtime know the pod by.
const CONFIG_HASH: &str = "kubernetes.io/config.hash";

/// A pod with what was made of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConvertedPod {
    /// Without its workload, which the owner leads to.
    pub(crate) pod: Pod,
    /// What manages it.
    pub(crate) owner: Option<Arc<Owner>>,
    /// Each with the key of its image, where anything names one.
    pub(crate) containers: Vec<KeptContainer>,
}

/// A container without what its pod has too: two thirds of a [`Container`], of which a cluster has more than of anything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct KeptContainer {
    pub(crate) id: Option<Text>,
    pub(crate) name: Text,
    pub(crate) kind: ContainerKind,
    pub(crate) image: Option<Text>,
    pub(crate) image_ref: Option<Text>,
    pub(crate) state: ContainerState,
    pub(crate) state_reason: Option<Text>,
    pub(crate) exit_code: Option<i32>,
    pub(crate) restart_count: Option<u32>,
    pub(crate) started_at: Time,
    pub(crate) finished_at: Time,
}

impl KeptContainer {
    /// The container of this pod.
    pub(crate) fn of(self, pod: &Pod) -> Container {
        Container {
            id: self.id,
            name: self.name,
            kind: self.kind,
            pod_uid: Some(pod.uid.clone()),
            node_name: pod.node_name.clone(),
            image: self.image,
            image_missing: self.image_ref.is_none().then_some(MissingReason::NotReported),
            image_ref: self.image_ref,
            state: self.state,
            state_reason: self.state_reason,
            exit_code: self.exit_code,
            restart_count: self.restart_count,
            started_at: self.started_at.timestamp(),
            finished_at: self.finished_at.timestamp(),
            ..Container::default()
        }
    }
}

impl ConvertedPod {
    /// Bytes that it takes in memory, about: what others share is not counted.
    pub(crate) fn kept_bytes(&self) -> usize {
        /// A heap allocation with two reference counts, rounded as allocators do.
        const HEAP: usize = 32;
        let own = |text: &Text| if text.is_heap_allocated() { text.len() + HEAP } else { 0 };
        let containers =
            self.containers.iter().map(|container| size_of::<KeptContainer>() + container.id.as_ref().map_or(0, own));
        let annotations = self.pod.annotations.iter().map(|(_, value)| size_of::<(Text, Text)>() + own(value));
        let of_pod = size_of::<Self>() + own(&self.pod.uid) + own(&self.pod.name);
        of_pod + annotations.sum::<usize>() + containers.sum::<usize>()
    }
}

/// Whether the pod has ended for good and its containers with it.
pub(crate) fn has_ended(pod: &wire::Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// A pod of namespace `namespace`.
pub(crate) fn convert_pod(pod: wire::Pod, namespace: &Text, texts: &mut Texts) -> ConvertedPod {
    let ended = has_ended(&pod);
    let metadata = pod.metadata.unwrap_or_default();
    let PodSpec { containers, node_name, init_containers, ephemeral_containers } = pod.spec.unwrap_or_default();
    let status = pod.status.unwrap_or_default();
    let PodStatus { container_statuses, init_container_statuses, ephemeral_container_statuses, .. } = status;
    // The API server gives every object a uid; without one it must still not fall together with others.
    let uid = present(metadata.uid).unwrap_or_else(|| format!("{namespace}/{}", metadata.name).into());
    let node_name = node_name.filter(|name| !name.is_empty()).map(|name| texts.shared(&name));
    let reason = present(status.reason);
    let of_pod = OfPod { ended, reason: reason.as_ref() };

    let ephemeral_containers = ephemeral_containers.into_iter().map(|container| container.common.unwrap_or_default());
    let groups = [
        (ContainerKind::Init, init_containers, init_container_statuses),
        (ContainerKind::Regular, containers, container_statuses),
        (ContainerKind::Ephemeral, ephemeral_containers.collect(), ephemeral_container_statuses),
    ];
    let count = groups.iter().map(|(_, specs, statuses)| specs.len().max(statuses.len())).sum();
    let mut containers = Vec::with_capacity(count);
    for (kind, specs, statuses) in groups {
        let pairs = pair(specs, statuses).into_iter();
        containers.extend(pairs.map(|(spec, status)| convert_container(&of_pod, kind, spec, status, texts)));
    }

    let pod = Pod {
        name: metadata.name.into(),
        namespace: namespace.clone(),
        node_name,
        phase: present(status.phase),
        reason,
        workload: None,
        config_hash: metadata.annotations.get(CONFIG_HASH).map(|hash| said(hash).into()),
        created_at: time(metadata.creation_timestamp),
        started_at: time(status.start_time),
        labels: texts.labels(&metadata.labels),
        annotations: annotations(&metadata.annotations, |key| texts.shared(key)),
        uid,
    };
    let owner = controller(&metadata.owner_references).map(|owner| texts.owner(owner));
    ConvertedPod { pod, owner, containers }
}

/// A node.
pub(crate) fn convert_node(node: wire::Node) -> Node {
    let ObjectMeta { name, uid, creation_timestamp, labels, annotations, .. } = node.metadata.unwrap_or_default();
    let status = node.status.unwrap_or_default();
    let ready = status.conditions.iter().find(|condition| condition.kind == "Ready");
    let info = status.node_info.unwrap_or_default();
    Node {
        name: name.into(),
        uid: present(uid),
        machine_id: present(info.machine_id),
        container_runtime_version: present(info.container_runtime_version),
        kernel_version: present(info.kernel_version),
        kubelet_version: present(info.kubelet_version),
        operating_system: present(info.operating_system),
        os_image: present(info.os_image),
        architecture: present(info.architecture),
        // `Unknown` means that the node has stopped saying so.
        ready: ready.map(|condition| condition.status == "True"),
        created_at: time(creation_timestamp),
        labels: Labels::from(labels),
        annotations: self::annotations(&annotations, |key| key.into()),
    }
}

/// A namespace.
pub(crate) fn convert_namespace(namespace: wire::Namespace) -> Namespace {
    let ObjectMeta { name, uid, creation_timestamp, labels, annotations, .. } = namespace.metadata.unwrap_or_default();
    Namespace {
        name: name.into(),
        uid: present(uid),
        phase: present(namespace.status.unwrap_or_default().phase),
        created_at: time(creation_timestamp),
        labels: Labels::from(labels),
        annotations: self::annotations(&annotations, |key| key.into()),
    }
}

/// The workload that an owner of objects in `namespace` is.
pub(crate) fn convert_owner(owner: &Owner, namespace: &Text) -> Workload {
    // A reference leads to the same namespace or to an object without one; it does not say which. Of those that make
    // pods, only a static pod's node has none.
    let is_node = owner.kind == "Node" && owner.api_version == "v1";
    // References without a uid would otherwise all lead to one workload.
    let uid = Some(owner.uid.clone()).filter(|uid| !uid.is_empty());
    Workload {
        id: uid.clone().unwrap_or_else(|| format!("{}/{}", owner.kind, owner.name).into()),
        kind: owner.kind.clone(),
        name: owner.name.clone(),
        namespace: (!is_node).then(|| namespace.clone()),
        api_version: Some(owner.api_version.clone()),
        uid,
    }
}

/// What a container without a status is told by its pod's.
struct OfPod<'a> {
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
    texts: &mut Texts,
) -> KeptContainer {
    let is_sidecar = spec.as_ref().is_some_and(|spec| spec.restart_policy.as_deref() == Some("Always"));
    let kind = if kind == ContainerKind::Init && is_sidecar { ContainerKind::Sidecar } else { kind };
    let name = spec.as_ref().map(|spec| &spec.name).or(status.as_ref().map(|status| &status.name));
    let name = name.map(|name| texts.shared(name)).unwrap_or_default();
    let requested = spec.and_then(|spec| spec.image).filter(|image| !image.is_empty());
    let requested = requested.map(|image| texts.shared(&said(&image)));

    let container = KeptContainer { name, kind, ..KeptContainer::default() };
    let (container, image_id) = match status {
        Some(status) => with_status(container, status),
        // A pod that has ended may have lost its statuses with its node, and whether they ever ran.
        None if pod.ended => {
            (KeptContainer { state: ContainerState::Unknown, state_reason: pod.reason.cloned(), ..container }, None)
        }
        None => (KeptContainer { state: ContainerState::Waiting, ..container }, None),
    };
    let key = match (image_id, &requested) {
        (Some(id), _) => Some(key_of_id(&id, texts)),
        (None, Some(name)) => Some(key_of_name(name, texts)),
        (None, None) => None,
    };
    KeptContainer { image_ref: key, image: requested, ..container }
}

/// Fills in what the status tells, and returns its `imageID`.
///
/// `lastState` is not read: it is how the run before this one ended, and a container that waits for its next start is
/// waiting.
fn with_status(container: KeptContainer, status: wire::ContainerStatus) -> (KeptContainer, Option<String>) {
    let wire::ContainerStatus { container_id, image_id, restart_count, state, .. } = status;
    let state = state.unwrap_or_default();
    let container = KeptContainer {
        id: container_id.filter(|id| !id.is_empty()).map(|id| without_scheme(&id)),
        restart_count: restart_count.and_then(|count| u32::try_from(count).ok()),
        ..container
    };
    let container = if let Some(running) = state.running {
        KeptContainer {
            state: ContainerState::Running,
            started_at: running.started_at.unwrap_or_default(),
            ..container
        }
    } else if let Some(terminated) = state.terminated {
        KeptContainer {
            state: ContainerState::Exited,
            state_reason: present(terminated.reason),
            exit_code: terminated.exit_code.and_then(|code| i32::try_from(code).ok()),
            started_at: terminated.started_at.unwrap_or_default(),
            finished_at: terminated.finished_at.unwrap_or_default(),
            ..container
        }
    } else {
        // None of the three set means waiting (`ContainerState` in Kubernetes' API reference).
        let reason = state.waiting.and_then(|waiting| present(waiting.reason));
        KeptContainer { state: ContainerState::Waiting, state_reason: reason, ..container }
    };
    (container, image_id.filter(|id| !id.is_empty()))
}

/// Annotations are each pod's own more often than not, unlike their keys.
fn annotations(annotations: &BTreeMap<String, Unchecked>, mut key_of: impl FnMut(&str) -> Text) -> Labels {
    annotations.iter().map(|(key, value)| (key_of(key), Text::from(said(value)))).collect()
}

/// `containerd://4f5…` to `4f5…`, by which the runtime's own collectors know the container.
fn without_scheme(id: &str) -> Text {
    id.split_once("://").map_or(id, |(_, id)| id).into()
}

/// Go's way to say "none" of a string is the empty one.
fn present(text: Option<String>) -> Option<Text> {
    text.filter(|text| !text.is_empty()).map(Into::into)
}

fn time(time: Option<Time>) -> Option<Timestamp> {
    time.and_then(Time::timestamp)
}

#[cfg(test)]
mod tests;
