//! Conversion of what real daemons answered (`testdata/record.py`). containerd 1.6 is the test bed's, under a kubelet 1.20.
//! containerd 2.1 held a pod that was made through CRI as newer kubelets and `crictl` make them, and the image of
//! `orphan` was removed. CRI-O and cri-dockerd are no packages of Debian's: what they answer is hand-written after their
//! sources.

use std::path::PathBuf;

use k8s_cri::v1 as cri;
use serde::Deserialize;
use stocktake_core::{
    CollectorPlugin as _, ConfigError, Context,
    model::{Container, ContainerKind, ContainerState, DigestFact, Image, MissingReason, Pod, Provenance, Scope},
    select::StateSelector,
};

use crate::{
    CriCollector, Settings,
    convert::{self, Images},
};

const INDEX: &str = "sha256:88b2ac513193cc719fa2b1f07b3f9cbcd2065cdbbfceba0a0fafd5b97ea76bf3";
const CONFIG: &str = "sha256:92c7d6a3a828a67e6a6a87b3bb3c330551845cfcf5ce5e37d836e75e1ced69e6";
const SIDE_CONFIG: &str = "sha256:7492c1b054f0fde1e993594411403b4ac26423d9fa3c44c121ce8debbfc49866";
const ORPHAN_CONFIG: &str = "sha256:9b3e08c9ec8ed7aaa88af45c441f5bb366244140896eb6c3777a23ff50dafd72";
const APP: &str = "127.0.0.1:15000/team/app:1.0";

#[derive(Deserialize)]
struct Recorded {
    version: cri::VersionResponse,
    containers: cri::ListContainersResponse,
    sandboxes: cri::ListPodSandboxResponse,
    images: cri::ListImagesResponse,
}

impl Recorded {
    fn read(name: &str) -> Self {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("testdata/{name}.json"));
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    }

    /// A runtime of that name with one container and one image.
    fn made_up(runtime: &str, container: cri::Container, image: cri::Image) -> Self {
        Self {
            version: cri::VersionResponse { runtime_name: runtime.into(), ..Default::default() },
            containers: cri::ListContainersResponse { containers: vec![container] },
            sandboxes: cri::ListPodSandboxResponse::default(),
            images: cri::ListImagesResponse { images: vec![image] },
        }
    }

    fn scope(self) -> Scope {
        self.scope_of(&StateSelector::ALL)
    }

    fn scope_of(self, states: &StateSelector) -> Scope {
        let images = Images::new(self.images.images, &self.version.runtime_name);
        let mut scope = convert::scope(self.containers.containers, self.sandboxes.items, &images, states);
        let counts = stocktake_core::normalise(&mut scope);
        assert_eq!((counts.dangling_references, counts.duplicates), (0, 0));
        scope
    }
}

fn pod<'a>(scope: &'a Scope, name: &str) -> &'a Pod {
    scope.pods.iter().find(|pod| pod.name == name).expect(name)
}

/// A pod's containers of that kind.
fn containers<'a>(scope: &'a Scope, pod: &Pod, kind: ContainerKind) -> Vec<&'a Container> {
    let of_pod = |container: &&Container| container.pod_uid.as_ref() == Some(&pod.uid) && container.kind == kind;
    scope.containers.iter().filter(of_pod).collect()
}

/// The newest container of that name.
fn of<'a>(scope: &'a Scope, name: &str) -> (&'a Container, &'a Image) {
    let named = scope.containers.iter().filter(|container| container.name == name);
    let container = named.max_by_key(|container| container.created_at).expect(name);
    let image = scope.images.iter().find(|image| Some(&image.id) == container.image_ref.as_ref()).expect(name);
    (container, image)
}

fn text(fact: &DigestFact) -> Result<&str, MissingReason> {
    match fact {
        DigestFact::Known { digest, .. } => Ok(digest.as_str()),
        DigestFact::Missing { missing } => Err(*missing),
    }
}

/// Index, manifest and configuration.
fn digests(image: &Image) -> [Result<&str, MissingReason>; 3] {
    [text(&image.index_digest), text(&image.manifest_digest), text(&image.config_digest)]
}

fn repo_digests(image: &Image) -> Vec<String> {
    image.repo_digests.iter().map(ToString::to_string).collect()
}

#[test]
fn a_pulled_image_has_its_config_and_what_repositories_call_it() {
    let scope = Recorded::read("containerd-1.6").scope();
    let (_, image) = of(&scope, "web");
    assert_eq!(digests(image), [Err(MissingReason::Ambiguous), Err(MissingReason::Ambiguous), Ok(CONFIG)]);
    assert_eq!(image.config_digest, DigestFact::known(CONFIG.parse().unwrap(), Provenance::CRI_IMAGE_ID));
    assert_eq!(image.names, ["127.0.0.1:15000/mirror/app:1.0", APP]);
    let expected = ["mirror", "team"].map(|folder| format!("127.0.0.1:15000/{folder}/app@{INDEX}"));
    assert_eq!(repo_digests(image), expected);
    assert_eq!(image.size_bytes, Some(1_098_147));
}

#[test]
fn of_a_side_loaded_image_the_config_is_all() {
    let scope = Recorded::read("containerd-1.6").scope();
    let (_, image) = of(&scope, "side");
    assert_eq!(digests(image), [Err(MissingReason::NotReported), Err(MissingReason::NotReported), Ok(SIDE_CONFIG)]);
    assert_eq!(repo_digests(image), [""; 0]);
}

#[test]
fn pods_and_sandboxes() {
    let scope = Recorded::read("containerd-1.6").scope();
    let side = pod(&scope, "side");
    assert_eq!((side.namespace.as_str(), side.labels["app"].as_str()), ("shop", "side"));
    assert!(side.annotations.is_empty(), "kubectl keeps the pod's specification there");
    let [sandbox] = containers(&scope, side, ContainerKind::Sandbox)[..] else { panic!("one sandbox") };
    assert_eq!(Some(&sandbox.name), sandbox.id.as_ref());
    assert_eq!(sandbox.state, ContainerState::Running);
    assert_eq!((&sandbox.image_ref, sandbox.image_missing), (&None, Some(MissingReason::NotReported)));
    let [container] = containers(&scope, side, ContainerKind::Regular)[..] else { panic!("one container") };
    assert_eq!(container.labels["io.kubernetes.container.name"], "side");
    assert!(container.created_at.unwrap() > sandbox.created_at.unwrap());

    let fixed = pod(&scope, "static-web-bed-node");
    assert_eq!(fixed.config_hash.as_ref(), Some(&fixed.uid), "to the kubelet the hash is the uid");
    assert_eq!(side.config_hash, None);
    // Its image cannot be pulled, so there is a sandbox alone.
    let pending = pod(&scope, "pending-image");
    assert_eq!(containers(&scope, pending, ContainerKind::Regular), [] as [&Container; 0]);
    assert_eq!(containers(&scope, pending, ContainerKind::Sandbox).len(), 1);
}

#[test]
fn states_and_attempts() {
    let scope = Recorded::read("containerd-1.6").scope();
    assert_eq!(of(&scope, "web").0.state, ContainerState::Running);
    assert_eq!(of(&scope, "setup").0.state, ContainerState::Exited);
    let crashing = containers(&scope, pod(&scope, "crashing"), ContainerKind::Regular);
    assert!(crashing.iter().any(|container| container.restart_count > Some(0)), "{crashing:?}");

    let job = scope.pods.iter().find(|pod| pod.name.starts_with("nightly")).unwrap();
    let sandbox = containers(&scope, job, ContainerKind::Sandbox)[0];
    assert_eq!(sandbox.state, ContainerState::Stopped, "not ready: whether it ever was is not told");

    let running = Recorded::read("containerd-1.6").scope_of(&StateSelector::default());
    assert!(running.containers.iter().all(|container| container.state == ContainerState::Running));
    assert!(running.pods.iter().all(|pod| pod.uid != job.uid), "of a pod that has ended nothing is left");
}

#[test]
fn what_was_asked_for_is_told_where_it_is_known() {
    let scope = Recorded::read("containerd-1.6").scope();
    let known: Vec<_> = scope.containers.iter().filter_map(|container| container.image.as_ref()).collect();
    assert_eq!(known, [""; 0], "kubelet 1.20 sends nothing but ids");

    let scope = Recorded::read("containerd-2.1").scope();
    let image = |name| of(&scope, name).0.image.as_deref();
    assert_eq!(image("web"), Some(APP), "as newer kubelets say it beside the id");
    assert_eq!(image("created"), Some(APP), "as crictl asks for it");
    assert_eq!(image("short"), None, "the beginning of an id is no name");
    assert_eq!(of(&scope, "short").1.id, CONFIG);
}

#[test]
fn a_container_made_again_is_a_container_of_its_own() {
    let scope = Recorded::read("containerd-2.1").scope();
    let web: Vec<_> = scope.containers.iter().filter(|container| container.name == "web").collect();
    let attempts: Vec<_> = web.iter().map(|container| (container.restart_count, container.state)).collect();
    assert!(attempts.contains(&(Some(2), ContainerState::Exited)), "{attempts:?}");
    assert!(attempts.contains(&(Some(3), ContainerState::Running)), "{attempts:?}");
    assert_eq!(of(&scope, "created").0.state, ContainerState::Created);
}

#[test]
fn an_image_that_was_removed_keeps_its_config() {
    let scope = Recorded::read("containerd-2.1").scope();
    let (container, image) = of(&scope, "orphan");
    assert_eq!(container.image.as_deref(), Some("127.0.0.1:15000/team/shared:1.0"));
    let gone = Err(MissingReason::NotInStore);
    assert_eq!(digests(image), [gone, gone, Ok(ORPHAN_CONFIG)]);
    let config = ORPHAN_CONFIG.parse().unwrap();
    assert_eq!(image.config_digest, DigestFact::known(config, Provenance::CRI_CONTAINER_IMAGE_ID));
}

#[test]
fn an_empty_runtime_gives_an_empty_scope() {
    let scope = convert::scope(Vec::new(), Vec::new(), &Images::default(), &StateSelector::ALL);
    assert_eq!(scope, Scope::default());
}

/// CRI-O: ids are bare digits, and a container's image goes by a repository's digest (`internal/oci/container.go`).
fn crio(image: cri::Image, image_ref: &str, image_id: &str) -> Scope {
    let container = cri::Container {
        id: "c1".into(),
        image: Some(cri::ImageSpec { image: format!("quay.io/team/app@{INDEX}"), ..Default::default() }),
        image_ref: image_ref.into(),
        image_id: image_id.into(),
        ..Default::default()
    };
    Recorded::made_up("cri-o", container, image).scope()
}

fn crio_image() -> cri::Image {
    cri::Image {
        id: CONFIG[7..].into(),
        repo_tags: vec!["quay.io/team/app:1.0".into(), "quay.io/team/app:<none>".into()],
        repo_digests: vec![format!("quay.io/team/app@{INDEX}"), "<none>@<none>".into()],
        ..Default::default()
    }
}

#[test]
fn an_image_of_crio_is_found_by_id_or_repository_digest() {
    let by_digest = format!("quay.io/team/app@{INDEX}");
    for (image_ref, image_id) in [(by_digest.as_str(), &CONFIG[7..]), (&by_digest, ""), (&CONFIG[7..], "")] {
        let scope = crio(crio_image(), image_ref, image_id);
        let (container, image) = of(&scope, "c1");
        assert_eq!(digests(image), [Err(MissingReason::Ambiguous), Err(MissingReason::Ambiguous), Ok(CONFIG)]);
        assert_eq!(image.id, CONFIG);
        assert_eq!(image.names, ["quay.io/team/app:1.0"]);
        assert_eq!(repo_digests(image), [by_digest.as_str()]);
        assert_eq!(container.image, None, "the digest that a pull ended with is not what was asked for");
    }
}

#[test]
fn an_image_that_crio_no_longer_has_is_what_the_container_calls_it() {
    let other = cri::Image { id: SIDE_CONFIG[7..].into(), ..Default::default() };
    let by_digest = format!("quay.io/team/app@{INDEX}");
    let scope = crio(other.clone(), &by_digest, "");
    let image = of(&scope, "c1").1;
    let ambiguous = Err(MissingReason::Ambiguous);
    assert_eq!(digests(image), [ambiguous, ambiguous, Err(MissingReason::NotInStore)]);
    assert_eq!((image.id.as_str(), repo_digests(image)), (by_digest.as_str(), vec![by_digest.clone()]));

    let scope = crio(other.clone(), &by_digest, &CONFIG[7..]);
    assert_eq!(text(&of(&scope, "c1").1.config_digest), Ok(CONFIG));

    // What could not be restored after a reboot has neither name nor image.
    let scope = crio(other, "", "");
    assert_eq!(scope.containers[0].image_missing, Some(MissingReason::NotReported));
    assert_eq!(scope.containers[0].name, "c1");
}

#[test]
fn a_repository_digest_of_two_images_is_neither() {
    let mut recorded = Recorded::made_up("cri-o", cri::Container::default(), crio_image());
    let twin = cri::Image { id: SIDE_CONFIG[7..].into(), ..crio_image() };
    recorded.images.images.push(twin);
    recorded.containers.containers[0] =
        cri::Container { id: "c1".into(), image_ref: format!("quay.io/team/app@{INDEX}"), ..Default::default() };
    let scope = recorded.scope();
    assert_eq!(digests(of(&scope, "c1").1), [Err(MissingReason::Ambiguous); 3]);
}

/// cri-dockerd passes on Docker's image id, which depending on Docker's store is the digest of one thing or another.
#[test]
fn an_id_of_docker_may_be_any_digest() {
    for listed in [CONFIG, SIDE_CONFIG] {
        let container = cri::Container { id: "c1".into(), image_ref: CONFIG.into(), ..Default::default() };
        let image = cri::Image { id: listed.into(), ..Default::default() };
        let scope = Recorded::made_up("docker", container, image).scope();
        assert_eq!(digests(of(&scope, "c1").1), [Err(MissingReason::Ambiguous); 3]);
    }
}

#[test]
fn what_is_unknown_is_not_taken_for_something_known() {
    let container = cri::Container { id: "c1".into(), image_ref: "?".into(), state: 7, ..Default::default() };
    let scope = Recorded::made_up("cri-o", container, cri::Image::default()).scope();
    assert_eq!(scope.containers[0].state, ContainerState::Other);
    assert_eq!(scope.containers[0].created_at, None, "zero is no time");
    assert_eq!(digests(of(&scope, "c1").1), [Err(MissingReason::Unreadable); 3]);
}

/// A pod whose sandbox went between two requests is known from the container's labels; of a pod's two sandboxes the
/// newer one tells.
#[test]
fn a_pod_is_told_by_its_newest_sandbox_or_by_its_containers() {
    let mut recorded = Recorded::read("containerd-2.1");
    let older = recorded.sandboxes.items[0].clone();
    let newer = cri::PodSandbox {
        id: "newer".into(),
        created_at: older.created_at + 1,
        labels: [("app".to_owned(), "newer".to_owned())].into(),
        ..older.clone()
    };
    recorded.sandboxes.items = vec![newer, older];
    let scope = recorded.scope();
    assert_eq!(scope.pods.len(), 1);
    assert_eq!(pod(&scope, "web-0").labels["app"], "newer");
    assert_eq!(containers(&scope, pod(&scope, "web-0"), ContainerKind::Sandbox).len(), 2);

    let mut recorded = Recorded::read("containerd-1.6");
    recorded.sandboxes.items.clear();
    let scope = recorded.scope();
    assert!(scope.containers.iter().all(|container| container.pod_uid.is_some()));
    assert_eq!(pod(&scope, "side").namespace, "shop");
}

#[test]
fn an_address_is_a_path_with_or_without_scheme() {
    let settings = |address: &str| Settings { address: Some(address.into()), ..Settings::default() };
    for address in ["/run/crio/crio.sock", "unix:///run/crio/crio.sock"] {
        assert_eq!(CriCollector::new(settings(address), Context::default()).unwrap().socket, "/run/crio/crio.sock");
    }
    for address in ["", "crio.sock", "unix://crio.sock", "tcp://127.0.0.1:3735", "npipe:////./pipe/containerd"] {
        let Err(error) = CriCollector::new(settings(address), Context::default()) else { panic!("{address}") };
        assert_eq!(error.path, "address");
    }
    let unknown = ConfigError::deserialize::<Settings, _>(serde_json::json!({ "adress": "/x" })).unwrap_err();
    assert_eq!(unknown.hint.as_deref(), Some("did you mean `address`?"));
}

#[test]
fn is_registered() {
    assert!(stocktake_core::Registry::linked().unwrap().get("cri").is_some());
}
