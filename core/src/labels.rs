//! Labels by which runtimes record what a container belongs to, shared by every collector that meets them.

use std::collections::BTreeMap;

/// Labels, sorted by key.
pub type Labels = BTreeMap<String, String>;

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

/// The pod that a container's labels name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PodLabels<'a> {
    /// Uid as the kubelet knows it.
    pub uid: &'a str,
    /// Name.
    pub name: &'a str,
    /// Namespace.
    pub namespace: &'a str,
}

/// The pod that `labels` name, if the kubelet made the container.
#[must_use]
pub fn pod(labels: &Labels) -> Option<PodLabels<'_>> {
    let label = |key: &str| labels.get(key).map(String::as_str).filter(|value| !value.is_empty());
    Some(PodLabels {
        uid: label(KUBERNETES_POD_UID)?,
        name: label(KUBERNETES_POD_NAME)?,
        namespace: label(KUBERNETES_POD_NAMESPACE)?,
    })
}
