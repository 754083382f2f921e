//! Labels by which runtimes record what a container belongs to, shared by every collector that meets them.

mod map;

pub use map::Labels;

use crate::model::{Pod, Text, Workload};

/// Name of a container within its pod (kubelet, `pkg/kubelet/types/labels.go`).
pub const KUBERNETES_CONTAINER_NAME: &str = "io.kubernetes.container.name";
/// Name of a pod.
pub const KUBERNETES_POD_NAME: &str = "io.kubernetes.pod.name";
/// Namespace of a pod.
pub const KUBERNETES_POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
/// Uid of a pod as the kubelet knows it; for a static pod this is its configuration's hash.
pub const KUBERNETES_POD_UID: &str = "io.kubernetes.pod.uid";
/// Service and project of a container that `docker compose` made.
pub const COMPOSE_SERVICE: &str = "com.docker.compose.service";
/// Project of a container that `docker compose` made.
pub const COMPOSE_PROJECT: &str = "com.docker.compose.project";
/// Service of a container that Docker's swarm mode made.
pub const SWARM_SERVICE_NAME: &str = "com.docker.swarm.service.name";
/// Identifier of that service.
pub const SWARM_SERVICE_ID: &str = "com.docker.swarm.service.id";
/// Stack that a swarm service belongs to.
pub const SWARM_STACK: &str = "com.docker.stack.namespace";

/// The pod that a container belongs to, if the kubelet made the container.
#[must_use]
pub fn pod(labels: &Labels) -> Option<Pod> {
    Some(Pod {
        uid: present(labels, KUBERNETES_POD_UID)?.clone(),
        name: present(labels, KUBERNETES_POD_NAME)?.clone(),
        namespace: present(labels, KUBERNETES_POD_NAMESPACE)?.to_owned(),
        ..Pod::default()
    })
}

/// The swarm or compose service that a container belongs to; `nerdctl compose` writes compose's labels too.
#[must_use]
pub fn service(labels: &Labels) -> Option<Workload> {
    let (kind, name, namespace, uid) = if let Some(name) = present(labels, SWARM_SERVICE_NAME) {
        ("swarm_service", name, present(labels, SWARM_STACK), present(labels, SWARM_SERVICE_ID))
    } else {
        ("compose_service", present(labels, COMPOSE_SERVICE)?, present(labels, COMPOSE_PROJECT), None)
    };
    Some(Workload {
        id: format!("{kind}/{}/{name}", namespace.map_or("", Text::as_str)).into(),
        kind: kind.into(),
        name: name.clone(),
        namespace: namespace.cloned(),
        api_version: None,
        uid: uid.cloned(),
    })
}

/// The value of a label that is there and not empty.
#[must_use]
pub fn present<'a>(labels: &'a Labels, key: &str) -> Option<&'a Text> {
    labels.get(key).filter(|value| !value.is_empty())
}
