//! From containerd's containers and tasks to the report's, without I/O.

use std::collections::HashMap;

use containerd_client::{
    services::v1::Container as Record,
    types::v1::{Process, Status},
};
use jiff::Timestamp;
use prost_types::Timestamp as ProtoTimestamp;
use serde::Deserialize;
use stocktake_core::{
    Digest,
    labels::{self, Labels},
    model::{Container, ContainerKind, ContainerState, Scope, Text},
    select::StateSelector,
};

use crate::{
    content::ContentCache,
    resolve::{Evidence, ImageNames, Resolver, Snapshots},
};

/// Where the CRI plug-in keeps what it knows of a container (containerd, `pkg/cri/store/container`).
const CRI_METADATA: &str = "io.cri-containerd.container.metadata";
const CRI_KIND: &str = "io.cri-containerd.kind";
const NERDCTL_NAME: &str = "nerdctl/name";

/// A namespace's containers in the chosen states, with their images, owners and pods. `evidence` is that of each of
/// `containers`, in their order.
pub(crate) fn scope(
    containers: &[Record],
    tasks: &[Process],
    evidence: &[Evidence],
    names: &ImageNames,
    content: &ContentCache,
    states: &StateSelector,
) -> Scope {
    let tasks: HashMap<&str, &Process> = tasks.iter().map(|task| (task_container(task), task)).collect();
    let mut resolver = Resolver::new(names, content);
    let mut scope = Scope::default();
    for (record, evidence) in containers.iter().zip(evidence) {
        let task = tasks.get(record.id.as_str()).copied();
        let state = container_state(task);
        if !states.matches(state) {
            continue;
        }
        let image = resolver.resolve(&record.image, evidence);
        let labels: Labels = record.labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let workload = labels::service(&labels);
        let pod = labels::pod(&labels);
        let ended = task.filter(|_| state == ContainerState::Exited);
        scope.containers.push(Container {
            id: Some(record.id.as_str().into()),
            name: container_name(record),
            kind: container_kind(record),
            pod_uid: pod.as_ref().map(|pod| pod.uid.clone()),
            workload: workload.as_ref().map(|workload| workload.id.clone()),
            image: requested_image(record),
            image_ref: image.as_ref().ok().map(|image| image.id.clone()),
            image_missing: image.as_ref().err().copied(),
            state,
            exit_code: ended.and_then(|task| i32::try_from(task.exit_status).ok()),
            created_at: record.created_at.as_ref().and_then(timestamp),
            finished_at: ended.and_then(|task| task.exited_at.as_ref()).and_then(timestamp),
            labels,
            ..Container::default()
        });
        scope.images.extend(image);
        scope.workloads.extend(workload);
        scope.pods.extend(pod);
    }
    scope
}

/// What is known of a container's image apart from its name.
pub(crate) fn evidence(record: &Record, snapshots: &Snapshots) -> Evidence {
    if let Some(config) = cri_metadata(record).and_then(|metadata| metadata.image_ref.parse().ok()) {
        return Evidence { config: Some(config), chain: None };
    }
    // dockerd names its snapshots by the container and records no key.
    let key = if record.snapshot_key.is_empty() { &record.id } else { &record.snapshot_key };
    Evidence { config: None, chain: snapshots.chain_id(&record.snapshotter, key) }
}

/// Whether only a snapshot can tell the container's image.
pub(crate) fn needs_snapshot(record: &Record) -> bool {
    cri_metadata(record).is_none_or(|metadata| metadata.image_ref.parse::<Digest>().is_err())
}

/// The CRI plug-in's record, of which nothing but the image is read: it holds the container's environment too.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CriMetadata {
    /// Digest of the image's configuration.
    #[serde(default)]
    image_ref: String,
    #[serde(default)]
    config: CriConfig,
}

#[derive(Default, Deserialize)]
struct CriConfig {
    #[serde(default)]
    image: CriImage,
}

#[derive(Default, Deserialize)]
struct CriImage {
    /// What the pod's specification says (CRI v1, kubelet 1.28 and later).
    #[serde(default)]
    user_specified_image: String,
}

fn cri_metadata(record: &Record) -> Option<CriMetadata> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Versioned {
        metadata: CriMetadata,
    }
    let value = &record.extensions.get(CRI_METADATA)?.value;
    serde_json::from_slice::<Versioned>(value).ok().map(|versioned| versioned.metadata)
}

/// The name that was asked for. What containerd records is that name where a client made the container; the CRI plug-in
/// records *some* name of the local image, and the one asked for only since kubelet 1.28 sends it.
fn requested_image(record: &Record) -> Option<Text> {
    let image = match cri_metadata(record) {
        Some(metadata) => metadata.config.image.user_specified_image,
        None => record.image.clone(),
    };
    // dockerd's name for an untagged image is not one that anybody asked for.
    (!image.is_empty() && !image.starts_with("moby-dangling@")).then(|| image.into())
}

fn container_name(record: &Record) -> Text {
    let label = |key: &str| record.labels.get(key).filter(|value| !value.is_empty());
    label(labels::KUBERNETES_CONTAINER_NAME).or_else(|| label(NERDCTL_NAME)).unwrap_or(&record.id).into()
}

fn container_kind(record: &Record) -> ContainerKind {
    match record.labels.get(CRI_KIND).map(String::as_str) {
        Some("sandbox") => ContainerKind::Sandbox,
        _ => ContainerKind::Regular,
    }
}

fn task_container(task: &Process) -> &str {
    // A listed task is a container's first process and carries the container's id as its own.
    if task.container_id.is_empty() { &task.id } else { &task.container_id }
}

fn container_state(task: Option<&Process>) -> ContainerState {
    match task.map(Process::status) {
        // The record of a task goes with it: nobody knows whether there ever was one.
        None => ContainerState::Stopped,
        Some(Status::Created) => ContainerState::Created,
        Some(Status::Running) => ContainerState::Running,
        Some(Status::Stopped) => ContainerState::Exited,
        Some(Status::Paused | Status::Pausing) => ContainerState::Paused,
        Some(Status::Unknown) => ContainerState::Unknown,
    }
}

fn timestamp(time: &ProtoTimestamp) -> Option<Timestamp> {
    // Go's zero time, year 1, stands for "never".
    let time = Timestamp::new(time.seconds, time.nanos).ok()?;
    (time > Timestamp::UNIX_EPOCH).then_some(time)
}
