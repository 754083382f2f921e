//! From the Engine API's objects to the report's, without I/O.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
};

use bollard::models::{ContainerSummary, ContainerSummaryStateEnum, ImageSummary, OciDescriptor};
use jiff::Timestamp;
use stocktake_core::{
    Digest, RepoDigest,
    labels::{self, Labels},
    model::{
        Container, ContainerKind, ContainerState, DigestFact, Image, MissingReason, Platform, Provenance, Scope, Text,
    },
    select::StateSelector,
};

/// How a daemon keeps images, and so what an image's id is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ImageStore {
    /// Docker's graph drivers and Podman: the id is the digest of the image's configuration.
    Classic,
    /// Docker's containerd store: the id is the digest of what was pulled or loaded, an index or a manifest.
    Containerd,
}

/// Manifests of one image that are given its names. An index has one a platform, of which there are some twenty; a daemon
/// that tells of more must not make its list of names as many times as long.
const MAX_MANIFESTS: usize = 64;

/// A host's containers in the chosen states, with their images, owners and pods.
pub(crate) fn scope(
    containers: &[ContainerSummary],
    images: &[ImageSummary],
    store: ImageStore,
    states: &StateSelector,
) -> Scope {
    let images: HashMap<Cow<'_, str>, &ImageSummary> =
        images.iter().map(|image| (image_id(&image.id), image)).collect();
    let mut described = Described::default();
    let mut scope = Scope::default();
    for summary in containers {
        let state = container_state(summary.state);
        if !states.matches(state) {
            continue;
        }
        let labels: Labels =
            summary.labels.iter().flatten().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let image = image(summary, &images, store, &mut described);
        let workload = labels::service(&labels);
        let pod = labels::pod(&labels);
        scope.containers.push(Container {
            id: summary.id.as_deref().map(Into::into),
            name: container_name(summary, &labels),
            kind: container_kind(&labels),
            pod_uid: pod.as_ref().map(|pod| pod.uid.clone()),
            workload: workload.as_ref().map(|workload| workload.id.clone()),
            image: requested_image(summary),
            image_missing: image.is_none().then_some(MissingReason::NotRecorded),
            image_ref: image.as_ref().map(|image| image.id.clone()),
            state,
            created_at: summary.created.and_then(|seconds| Timestamp::from_second(seconds).ok()),
            labels,
            ..Container::default()
        });
        scope.images.extend(image);
        scope.workloads.extend(workload);
        scope.pods.extend(pod);
    }
    scope
}

fn container_state(state: Option<ContainerSummaryStateEnum>) -> ContainerState {
    use ContainerSummaryStateEnum as Docker;
    match state {
        Some(Docker::CREATED) => ContainerState::Created,
        // A container that is being stopped still runs.
        Some(Docker::RUNNING | Docker::STOPPING) => ContainerState::Running,
        Some(Docker::PAUSED) => ContainerState::Paused,
        Some(Docker::RESTARTING) => ContainerState::Restarting,
        Some(Docker::EXITED) => ContainerState::Exited,
        Some(Docker::REMOVING) => ContainerState::Removing,
        Some(Docker::DEAD) => ContainerState::Dead,
        Some(Docker::EMPTY) | None => ContainerState::Unknown,
    }
}

/// cri-dockerd marks a pod's sandbox (`pkg/kubelet/dockershim`, label `io.kubernetes.docker.type`).
fn container_kind(labels: &Labels) -> ContainerKind {
    match labels.get("io.kubernetes.docker.type").map(Text::as_str) {
        Some("podsandbox") => ContainerKind::Sandbox,
        _ => ContainerKind::Regular,
    }
}

fn container_name(summary: &ContainerSummary, labels: &Labels) -> Text {
    let in_pod = labels.get(labels::KUBERNETES_CONTAINER_NAME);
    // Legacy links add names such as `/web/db` to those of the linked container; its own has one slash.
    let own = summary.names.iter().flatten().min_by_key(|name| name.matches('/').count());
    in_pod
        .map(Text::as_str)
        .or_else(|| own.map(|name| name.trim_start_matches('/')))
        .or(summary.id.as_deref())
        .unwrap_or_default()
        .into()
}

/// The name that the container was made with. The daemon tells it only as long as that name still leads to the
/// container's image; after a retag or removal it gives the image's id instead, and the name is not to be had without
/// a request for each such container.
fn requested_image(summary: &ContainerSummary) -> Option<Text> {
    let image = summary.image.as_deref().filter(|image| !image.is_empty())?;
    let id = summary.image_id.as_deref().unwrap_or_default();
    let hash = id.strip_prefix("sha256:").unwrap_or(id);
    let is_id = image == id || (image.len() >= 12 && hash.starts_with(image.trim_start_matches("sha256:")));
    (!is_id).then(|| image.into())
}

/// Some versions of Podman leave the algorithm out.
fn image_id(id: &str) -> Cow<'_, str> {
    let is_bare = id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_bare { format!("sha256:{id}").into() } else { id.into() }
}

/// The images of which everything was told. What a thousand containers share is told with the first: each of them with
/// all of the image's names would be the product of two lists that anybody may make long.
#[derive(Default)]
struct Described<'a> {
    ids: HashSet<Text>,
    manifests: HashMap<&'a str, usize>,
}

impl<'a> Described<'a> {
    fn is_new(&mut self, id: &Text, listed: &'a ImageSummary) -> bool {
        if !self.ids.insert(id.clone()) {
            return false;
        }
        let manifests = self.manifests.entry(&listed.id).or_default();
        *manifests += 1;
        *manifests <= MAX_MANIFESTS
    }
}

fn image<'a>(
    summary: &ContainerSummary,
    images: &HashMap<Cow<'_, str>, &'a ImageSummary>,
    store: ImageStore,
    described: &mut Described<'a>,
) -> Option<Image> {
    let id = &*image_id(summary.image_id.as_deref().filter(|id| !id.is_empty())?);
    let listed = images.get(id).copied();
    let mut image = match store {
        ImageStore::Classic => classic_image(id),
        ImageStore::Containerd => {
            containerd_image(id, summary.image_manifest_descriptor.as_ref(), listed.and_then(|i| i.descriptor.as_ref()))
        }
    };
    if let Some(listed) = listed.filter(|listed| described.is_new(&image.id, listed)) {
        image.names = listed.repo_tags.iter().filter(|name| !name.starts_with("<none>")).map(Into::into).collect();
        // Besides `repository@digest` daemons list `<none>@<none>` (Docker 20.10) and bare digests (28.5).
        image.repo_digests = listed.repo_digests.iter().filter_map(|text| text.parse().ok()).collect();
        if let (ImageStore::Containerd, Ok(target)) = (store, id.parse::<Digest>()) {
            // The list tells one of them at the most (28.5), and which one changes; `docker image inspect` makes them of
            // the names as well.
            let of_name = |name: &Text| RepoDigest { repository: repository(name).into(), digest: target.clone() };
            image.repo_digests.extend(image.names.iter().map(of_name));
        }
        if store == ImageStore::Classic && !image.repo_digests.is_empty() {
            // Each of them is of the index or of the manifest.
            image.index_digest = DigestFact::missing(MissingReason::Ambiguous);
            image.manifest_digest = DigestFact::missing(MissingReason::Ambiguous);
        }
        image.size_bytes = u64::try_from(listed.size).ok();
        // 0 and Go's zero time stand for an image without a creation time.
        image.created_at = Some(listed.created).filter(|time| *time > 0).and_then(|t| Timestamp::from_second(t).ok());
    }
    Some(image)
}

/// A name without its tag and digest, in the form in which the daemon writes it.
fn repository(name: &str) -> &str {
    let name = name.split_once('@').map_or(name, |(before, _)| before);
    match name.rsplit_once(':') {
        // The colon of a port stands before a slash.
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => name,
    }
}

fn classic_image(id: &str) -> Image {
    let mut image = Image::unresolved(id, MissingReason::NotReported);
    image.config_digest = match id.parse() {
        Ok(digest) => DigestFact::known(digest, Provenance::DOCKER_IMAGE_ID),
        Err(_) => DigestFact::missing(MissingReason::Unreadable),
    };
    image
}

/// In the containerd store two things tell what an id is: the container names its platform's manifest, and the image's
/// own descriptor says by its media type whether the id is that of an index.
fn containerd_image(id: &str, of_container: Option<&OciDescriptor>, of_image: Option<&OciDescriptor>) -> Image {
    let mut image = Image::unresolved(id, MissingReason::NotReported);
    let manifest = of_container.and_then(|descriptor| descriptor.digest.as_deref()).and_then(|d| d.parse().ok());
    let target: Option<Digest> = id.parse().ok();

    match (&manifest, &target) {
        (Some(manifest), Some(target)) if manifest == target => {
            image.index_digest = DigestFact::missing(MissingReason::SinglePlatform);
        }
        (Some(manifest), Some(target)) => {
            image.index_digest = DigestFact::known(target.clone(), Provenance::DOCKER_IMAGE_ID);
            // One index may have been run for two platforms; they are two images.
            image.id = format!("{id}@{manifest}").into();
        }
        (None, Some(target)) => match of_image.and_then(|descriptor| descriptor.media_type.as_deref()) {
            Some(media_type) if is_index(media_type) => {
                image.index_digest = DigestFact::known(target.clone(), Provenance::DOCKER_IMAGE_DESCRIPTOR);
            }
            Some(_) => {
                image.index_digest = DigestFact::missing(MissingReason::SinglePlatform);
                image.manifest_digest = DigestFact::known(target.clone(), Provenance::DOCKER_IMAGE_DESCRIPTOR);
            }
            // Docker 24 to 27 have the store and not the descriptors.
            None => {
                image.index_digest = DigestFact::missing(MissingReason::Ambiguous);
                image.manifest_digest = DigestFact::missing(MissingReason::Ambiguous);
            }
        },
        (_, None) => {}
    }
    if let Some(manifest) = manifest {
        image.manifest_digest = DigestFact::known(manifest, Provenance::DOCKER_CONTAINER_MANIFEST_DESCRIPTOR);
    }
    image.platform = of_container.and_then(|descriptor| descriptor.platform.as_ref()).and_then(|platform| {
        Some(Platform {
            os: platform.os.clone()?.into(),
            architecture: platform.architecture.clone()?.into(),
            variant: platform.variant.as_deref().map(Into::into),
        })
    });
    image
}

fn is_index(media_type: &str) -> bool {
    matches!(
        media_type,
        "application/vnd.oci.image.index.v1+json" | "application/vnd.docker.distribution.manifest.list.v2+json"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded<T: serde::de::DeserializeOwned>(path: &str) -> T {
        let path = format!("{}/testdata/{path}", env!("CARGO_MANIFEST_DIR"));
        serde_json::from_str(&std::fs::read_to_string(&path).expect(&path)).expect(&path)
    }

    fn recorded_scope(folder: &str, store: ImageStore, states: &StateSelector) -> Scope {
        let containers: Vec<ContainerSummary> = recorded(&format!("{folder}/containers.json"));
        let images: Vec<ImageSummary> = recorded(&format!("{folder}/images.json"));
        let mut scope = scope(&containers, &images, store, states);
        let counts = stocktake_core::normalise(&mut scope);
        assert_eq!((counts.dangling_references, counts.duplicates), (0, 0));
        scope
    }

    fn of<'a>(scope: &'a Scope, name: &str) -> (&'a Container, &'a Image) {
        let container = scope.containers.iter().find(|container| container.name == name).expect(name);
        let image = scope.images.iter().find(|image| Some(&image.id) == container.image_ref.as_ref()).expect(name);
        (container, image)
    }

    const CONFIG: &str = "sha256:13def87fb2b11a06e4bb6d33fdc78c76ec8243acf5e4e872661b2bc4c4cf779e";
    const INDEX: &str = "sha256:5f2aa657c5bc6984a27fbd47870b012b1910f2392e474a4a9edde7b6af22fb88";
    const MANIFEST: &str = "sha256:e07640062fca0851ce4548694d9586b335406f78e9284238c2b9a7e3a0207426";

    fn text(fact: &DigestFact) -> Result<&str, MissingReason> {
        match fact {
            DigestFact::Known { digest, .. } => Ok(digest.as_str()),
            DigestFact::Missing { missing } => Err(*missing),
        }
    }

    #[test]
    fn in_the_classic_store_an_image_id_is_the_config_digest() {
        let scope = recorded_scope("docker-20.10", ImageStore::Classic, &StateSelector::ALL);
        let (container, image) = of(&scope, "bed-pulled");
        assert_eq!(container.image.as_deref(), Some("127.0.0.1:15000/team/app:1.0"));
        assert_eq!(container.created_at, Some("2026-11-23T21:09:21Z".parse().unwrap()));
        assert_eq!(text(&image.config_digest), Ok(CONFIG));
        assert_eq!(text(&image.manifest_digest), Err(MissingReason::Ambiguous));
        assert_eq!(text(&image.index_digest), Err(MissingReason::Ambiguous));
        let digests: Vec<_> = image.repo_digests.iter().map(ToString::to_string).collect();
        assert_eq!(
            digests,
            [format!("127.0.0.1:15000/mirror/app@{INDEX}"), format!("127.0.0.1:15000/team/app@{INDEX}")]
        );
        let names = ["127.0.0.1:15000/mirror/app:1.0", "127.0.0.1:15000/team/app:1.0", "example.com/bed/moving:1.0"];
        assert_eq!(image.names, names);
        assert_eq!(image.size_bytes, Some(1_982_416));
        let (_, side) = of(&scope, "bed-running");
        assert_eq!(text(&side.manifest_digest), Err(MissingReason::NotReported), "it was never in a registry");
    }

    #[test]
    fn in_the_containerd_store_an_image_id_is_the_index_or_the_manifest() {
        let scope = recorded_scope("docker-28.5", ImageStore::Containerd, &StateSelector::ALL);
        let (_, pulled) = of(&scope, "bed-pulled");
        assert_eq!(text(&pulled.index_digest), Ok(INDEX));
        assert_eq!(text(&pulled.manifest_digest), Ok(MANIFEST));
        assert_eq!(text(&pulled.config_digest), Err(MissingReason::NotReported));
        assert_eq!(pulled.platform.as_ref().map(ToString::to_string).as_deref(), Some("linux/amd64"));
        assert_eq!(pulled.id, format!("{INDEX}@{MANIFEST}"));
        assert_eq!(pulled.created_at, None, "the daemon gives 0");
        // The daemon's list gives a bare digest without a repository.
        let repositories: Vec<&str> = pulled.repo_digests.iter().map(|repo| repo.repository.as_str()).collect();
        assert_eq!(repositories, ["127.0.0.1:15000/mirror/app", "127.0.0.1:15000/team/app", "example.com/bed/moving"]);
        assert!(pulled.repo_digests.iter().all(|repo| repo.digest.as_str() == INDEX));

        let (_, side) = of(&scope, "bed-running");
        let side_manifest = "sha256:a516e3b3cd511a2406300ae47fd95bb8854e9905055a4d0fd6a97b3f7f991a8a";
        assert_eq!(text(&side.index_digest), Err(MissingReason::SinglePlatform));
        assert_eq!(text(&side.manifest_digest), Ok(side_manifest));
        assert_eq!(side.id, side_manifest);
    }

    #[test]
    fn a_name_that_leads_elsewhere_by_now_is_not_taken_for_the_requested_one() {
        for (folder, store) in [("docker-20.10", ImageStore::Classic), ("docker-28.5", ImageStore::Containerd)] {
            let scope = recorded_scope(folder, store, &StateSelector::ALL);
            for name in ["bed-retagged", "bed-orphan", "bed-untagged"] {
                assert_eq!(of(&scope, name).0.image, None, "{folder} {name}");
            }
            let pinned = format!("127.0.0.1:15000/team/app@{INDEX}");
            assert_eq!(of(&scope, "bed-pinned").0.image.as_deref(), Some(pinned.as_str()));
        }
    }

    #[test]
    fn an_image_that_was_removed_is_still_known_by_its_id() {
        let scope = recorded_scope("docker-20.10", ImageStore::Classic, &StateSelector::ALL);
        let (_, orphan) = of(&scope, "bed-orphan");
        assert_eq!(text(&orphan.config_digest).unwrap(), orphan.id);
        assert_eq!(orphan.names, [] as [&str; 0]);
    }

    #[test]
    fn podman_lists_both_digests_of_a_pulled_image() {
        let scope = recorded_scope("podman-4.3", ImageStore::Classic, &StateSelector::ALL);
        let (container, image) = of(&scope, "bed-podman-exited");
        assert_eq!(container.state, ContainerState::Exited);
        assert_eq!(text(&image.config_digest), Ok(CONFIG));
        let digests: Vec<_> = image.repo_digests.iter().map(|repo| repo.digest.as_str()).collect();
        assert_eq!(digests, [INDEX, MANIFEST]);
    }

    #[test]
    fn states_are_chosen_and_their_words_kept() {
        let scope = recorded_scope("docker-20.10", ImageStore::Classic, &StateSelector::default());
        assert!(scope.containers.iter().all(|container| container.name != "bed-exited"));
        assert_eq!(of(&scope, "bed-paused").0.state, ContainerState::Paused);
        let all = recorded_scope("docker-20.10", ImageStore::Classic, &StateSelector::ALL);
        assert_eq!(of(&all, "bed-created").0.state, ContainerState::Created);
        assert_eq!((scope.containers.len(), all.containers.len()), (9, 11));
    }

    #[test]
    fn compose_and_swarm_services_are_workloads() {
        let scope = recorded_scope("docker-28.5", ImageStore::Containerd, &StateSelector::ALL);
        let workload = |name| {
            let id = of(&scope, name).0.workload.clone().expect(name);
            scope.workloads.iter().find(|workload| workload.id == id).expect(name)
        };
        let web = workload("shop-web-1");
        assert_eq!((web.kind.as_str(), web.name.as_str()), ("compose_service", "web"));
        assert_eq!(web.namespace.as_deref(), Some("shop"));
        let api = workload("stack_api.1.x");
        assert_eq!((api.kind.as_str(), api.name.as_str()), ("swarm_service", "stack_api"));
        assert_eq!(of(&scope, "bed-running").0.workload, None);
    }

    /// Hand-written: the bed's Podman writes the algorithm.
    #[test]
    fn an_id_without_its_algorithm_is_the_same_image() {
        let container = ContainerSummary { image_id: Some(CONFIG[7..].into()), ..ContainerSummary::default() };
        let images: Vec<ImageSummary> = recorded("docker-20.10/images.json");
        let scope = scope(&[container], &images, ImageStore::Classic, &StateSelector::ALL);
        assert_eq!(text(&scope.images[0].config_digest), Ok(CONFIG));
        assert_eq!(scope.images[0].names.len(), 3);
    }

    /// Docker 24 to 27 with the containerd store, which the bed does not have: no descriptor anywhere.
    #[test]
    fn without_descriptors_the_containerd_store_is_ambiguous() {
        let image = containerd_image(INDEX, None, None);
        assert_eq!(text(&image.index_digest), Err(MissingReason::Ambiguous));
        assert_eq!(text(&image.manifest_digest), Err(MissingReason::Ambiguous));
        assert_eq!(text(&image.config_digest), Err(MissingReason::NotReported));
    }

    /// Kubernetes on Docker through cri-dockerd, which the bed does not have: hand-written after its label scheme.
    #[test]
    fn cri_dockerd_containers_belong_to_pods() {
        let labels = |kind: &str| {
            HashMap::from(
                [
                    ("io.kubernetes.docker.type", kind),
                    ("io.kubernetes.container.name", "web"),
                    ("io.kubernetes.pod.name", "web-1"),
                    ("io.kubernetes.pod.namespace", "shop"),
                    ("io.kubernetes.pod.uid", "u1"),
                ]
                .map(|(key, value)| (key.to_owned(), value.to_owned())),
            )
        };
        let containers = ["container", "podsandbox"].map(|kind| ContainerSummary {
            id: Some(kind.into()),
            names: Some(vec![format!("/k8s_{kind}_web-1_shop_u1_0")]),
            image_id: Some(CONFIG.into()),
            labels: Some(labels(kind)),
            state: Some(ContainerSummaryStateEnum::RUNNING),
            ..ContainerSummary::default()
        });
        let mut scope = scope(&containers, &[], ImageStore::Classic, &StateSelector::default());
        assert_eq!((stocktake_core::normalise(&mut scope).duplicates, scope.pods.len()), (0, 1));
        assert_eq!(scope.containers[0].name, "web");
        assert_eq!(scope.containers[0].pod_uid.as_deref(), Some("u1"));
        assert_eq!(scope.containers[1].kind, ContainerKind::Sandbox);
    }
}
