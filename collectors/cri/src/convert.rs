//! From CRI's containers, sandboxes and images to the report's, without I/O.

use std::collections::HashMap;

use jiff::Timestamp;
use k8s_cri::v1 as cri;
use stocktake_core::{
    Digest, ImageReference, RepoDigest, labels,
    model::{Container, ContainerKind, ContainerState, DigestFact, Image, MissingReason, Pod, Provenance, Scope, Text},
    select::StateSelector,
};

/// For a static pod, in the sandbox's annotations as in the pod's (kubelet, `pkg/kubelet/types/pod_update.go`).
const CONFIG_HASH: &str = "kubernetes.io/config.hash";

/// The images of a runtime, by the two things that its containers may call them.
#[derive(Default)]
pub(crate) struct Images {
    by_id: HashMap<Text, Image>,
    /// `None` where several images have that digest.
    by_repo_digest: HashMap<RepoDigest, Option<Text>>,
    id_is_config: bool,
}

impl Images {
    /// `runtime` is the name that the runtime gives itself.
    pub(crate) fn new(listed: Vec<cri::Image>, runtime: &str) -> Self {
        // CRI leaves to the runtime what an id is. cri-dockerd passes on Docker's, which depends on how Docker stores
        // images; of others nothing is known.
        let mut images = Self { id_is_config: matches!(runtime, "containerd" | "cri-o"), ..Self::default() };
        for image in listed.into_iter().filter(|image| !image.id.is_empty()) {
            let image = images.convert(image);
            for repo_digest in &image.repo_digests {
                images
                    .by_repo_digest
                    .entry(repo_digest.clone())
                    .and_modify(|id| *id = id.take().filter(|id| *id == image.id))
                    .or_insert_with(|| Some(image.id.clone()));
            }
            images.by_id.insert(image.id.clone(), image);
        }
        images
    }

    fn convert(&self, listed: cri::Image) -> Image {
        let id = with_algorithm(&listed.id);
        // `<none>@<none>` is none (CRI-O, `server/image_list.go`), and so are `<none>:<none>` and `name:<none>`.
        let repo_digests: Vec<RepoDigest> = listed.repo_digests.iter().filter_map(|text| text.parse().ok()).collect();
        // A repository's digest is that of the index or of the manifest: CRI does not tell which.
        let reason = match (self.id_is_config, repo_digests.is_empty()) {
            (true, true) => MissingReason::NotReported,
            _ => MissingReason::Ambiguous,
        };
        Image {
            config_digest: self.config_digest(&id, Provenance::CRI_IMAGE_ID),
            names: listed.repo_tags.into_iter().filter(|name| !name.contains("<none>")).map(Into::into).collect(),
            repo_digests,
            size_bytes: (listed.size > 0).then_some(listed.size),
            ..Image::unresolved(id, reason)
        }
    }

    fn config_digest(&self, id: &str, from: Provenance) -> DigestFact {
        match id.parse::<Digest>() {
            Ok(digest) if self.id_is_config => DigestFact::known(digest, from),
            Ok(_) => DigestFact::missing(MissingReason::Ambiguous),
            Err(_) => DigestFact::missing(MissingReason::Unreadable),
        }
    }

    /// The image that a container was made from, or why there is nothing to call it by.
    fn of(&self, container: &cri::Container) -> Result<Image, MissingReason> {
        // Always an id, where the runtime fills it in (CRI of Kubernetes 1.29).
        let reference = [&container.image_id, &container.image_ref].into_iter().find(|text| !text.is_empty());
        let reference = reference.ok_or(MissingReason::NotReported)?;
        let id = with_algorithm(reference);
        if let Some(image) = self.by_id.get(id.as_str()) {
            return Ok(image.clone());
        }
        // Some repository's digest of the image (CRI-O, `internal/oci/container.go`).
        if let Ok(repo_digest) = reference.parse::<RepoDigest>() {
            let reason = match self.by_repo_digest.get(&repo_digest) {
                Some(Some(id)) => return self.by_id.get(id).cloned().ok_or(MissingReason::DanglingReference),
                Some(None) => MissingReason::Ambiguous,
                None => MissingReason::NotInStore,
            };
            return Ok(Image {
                config_digest: DigestFact::missing(reason),
                repo_digests: vec![repo_digest],
                ..Image::unresolved(reference, MissingReason::Ambiguous)
            });
        }
        // The image was removed; the container goes on calling it by its id.
        let config_digest = self.config_digest(&id, Provenance::CRI_CONTAINER_IMAGE_ID);
        let reason = match &config_digest {
            DigestFact::Known { .. } => MissingReason::NotInStore,
            DigestFact::Missing { missing } => *missing,
        };
        Ok(Image { config_digest, ..Image::unresolved(id, reason) })
    }
}

/// A host's containers and sandboxes in the chosen states, with their images and pods.
pub(crate) fn scope(
    containers: Vec<cri::Container>,
    sandboxes: Vec<cri::PodSandbox>,
    images: &Images,
    states: &StateSelector,
) -> Scope {
    let mut scope = Scope::default();
    let mut pods = Pods::default();
    for sandbox in &sandboxes {
        pods.add(sandbox);
    }
    for container in containers {
        let state = container_state(container.state);
        if states.matches(state) {
            let image = images.of(&container);
            let pod = pods.of(&container);
            scope.containers.push(convert_container(container, state, pod.as_ref(), &image));
            scope.images.extend(image);
            scope.pods.extend(pod);
        }
    }
    for sandbox in sandboxes {
        let state = sandbox_state(sandbox.state);
        if states.matches(state) {
            let pod = pods.of_sandbox(&sandbox.id);
            scope.pods.extend(pod.cloned());
            scope.containers.push(convert_sandbox(sandbox, state, pod));
        }
    }
    scope
}

/// The pods that the sandboxes are of: one a pod, however often its sandbox was made anew.
#[derive(Default)]
struct Pods {
    uids: HashMap<String, String>,
    newest: HashMap<String, (i64, Pod)>,
}

impl Pods {
    fn add(&mut self, sandbox: &cri::PodSandbox) {
        let Some(metadata) = sandbox.metadata.as_ref().filter(|metadata| !metadata.uid.is_empty()) else { return };
        self.uids.insert(sandbox.id.clone(), metadata.uid.clone());
        if self.newest.get(&metadata.uid).is_some_and(|(created_at, _)| *created_at > sandbox.created_at) {
            return;
        }
        // Its creation is not told: a sandbox may be younger than its pod. Nor are the annotations taken over: among
        // them may be the pod's whole specification, with environment variables.
        let pod = Pod {
            uid: metadata.uid.as_str().into(),
            name: metadata.name.as_str().into(),
            namespace: metadata.namespace.as_str().into(),
            config_hash: sandbox.annotations.get(CONFIG_HASH).map(Into::into),
            labels: sandbox.labels.clone().into_iter().collect(),
            ..Pod::default()
        };
        self.newest.insert(metadata.uid.clone(), (sandbox.created_at, pod));
    }

    fn of_sandbox(&self, id: &str) -> Option<&Pod> {
        self.newest.get(self.uids.get(id)?).map(|(_, pod)| pod)
    }

    /// A sandbox that was removed after its container was listed has left its pod's name on the container.
    fn of(&self, container: &cri::Container) -> Option<Pod> {
        let of_labels = || labels::pod(&container.labels.clone().into_iter().collect());
        self.of_sandbox(&container.pod_sandbox_id).cloned().or_else(of_labels)
    }
}

fn convert_container(
    container: cri::Container,
    state: ContainerState,
    pod: Option<&Pod>,
    image: &Result<Image, MissingReason>,
) -> Container {
    let requested = requested_image(&container);
    let metadata = container.metadata.unwrap_or_default();
    Container {
        // What CRI-O could not restore has no name.
        name: if metadata.name.is_empty() { container.id.as_str().into() } else { metadata.name.into() },
        id: Some(container.id.into()),
        // CRI does not tell a pod's init containers from the others.
        kind: ContainerKind::Regular,
        pod_uid: pod.map(|pod| pod.uid.clone()),
        image: requested,
        image_ref: image.as_ref().ok().map(|image| image.id.clone()),
        image_missing: image.as_ref().err().copied(),
        state,
        created_at: timestamp(container.created_at),
        // The kubelet numbers the containers that it makes of one and the same specification from zero.
        restart_count: Some(metadata.attempt),
        labels: container.labels.into_iter().collect(),
        ..Container::default()
    }
}

fn convert_sandbox(sandbox: cri::PodSandbox, state: ContainerState, pod: Option<&Pod>) -> Container {
    Container {
        // The name in its metadata is the pod's.
        name: sandbox.id.as_str().into(),
        id: Some(sandbox.id.into()),
        kind: ContainerKind::Sandbox,
        pod_uid: pod.map(|pod| pod.uid.clone()),
        image_missing: Some(MissingReason::NotReported),
        state,
        created_at: timestamp(sandbox.created_at),
        restart_count: sandbox.metadata.map(|metadata| metadata.attempt),
        labels: sandbox.labels.into_iter().collect(),
        ..Container::default()
    }
}

/// The name that was asked for. The kubelet says it since 1.28. Before that there is only what the runtime was told to
/// use: by the kubelet the id or `repository@digest` that the pull ended with, which nobody asked for, by others a name.
fn requested_image(container: &cri::Container) -> Option<Text> {
    let spec = container.image.as_ref()?;
    if !spec.user_specified_image.is_empty() {
        return Some(spec.user_specified_image.as_str().into());
    }
    let reference: ImageReference = spec.image.parse().ok()?;
    // Runtimes take the beginning of an id too, and it looks like a name.
    let is_id = |id: &String| spec.image.len() >= 12 && id.trim_start_matches("sha256:").starts_with(&spec.image);
    let is_name = reference.digest().is_none() && ![&container.image_id, &container.image_ref].into_iter().any(is_id);
    is_name.then(|| spec.image.as_str().into())
}

fn container_state(state: i32) -> ContainerState {
    match cri::ContainerState::try_from(state) {
        Ok(cri::ContainerState::ContainerCreated) => ContainerState::Created,
        // Also a paused one: CRI has no word for it (CRI-O, `CRIContainer`).
        Ok(cri::ContainerState::ContainerRunning) => ContainerState::Running,
        Ok(cri::ContainerState::ContainerExited) => ContainerState::Exited,
        Ok(cri::ContainerState::ContainerUnknown) => ContainerState::Unknown,
        Err(_) => ContainerState::Other,
    }
}

fn sandbox_state(state: i32) -> ContainerState {
    match cri::PodSandboxState::try_from(state) {
        Ok(cri::PodSandboxState::SandboxReady) => ContainerState::Running,
        // Whether it ever was ready is not told.
        Ok(cri::PodSandboxState::SandboxNotready) => ContainerState::Stopped,
        Err(_) => ContainerState::Other,
    }
}

/// CRI-O's ids are the bare digits of a SHA-256 digest.
fn with_algorithm(id: &str) -> String {
    let digest = format!("sha256:{id}");
    if digest.parse::<Digest>().is_ok() { digest } else { id.to_owned() }
}

fn timestamp(nanoseconds: i64) -> Option<Timestamp> {
    Timestamp::from_nanosecond(nanoseconds.into()).ok().filter(|time| *time > Timestamp::UNIX_EPOCH)
}
