//! Conversion of what real daemons held (`testdata/record.py`).

use std::{collections::BTreeMap, path::PathBuf};

use containerd_client::{services::v1::Container, types::v1::Process};
use serde::Deserialize;
use stocktake_core::{
    Digest,
    model::{ContainerKind, ContainerState, DigestFact, Image, MissingReason, Scope},
    select::StateSelector,
};

use crate::{
    bad_input::base64,
    content::ContentCache,
    convert,
    resolve::{Evidence, ImageNames, Resolver, Snapshots, Target},
};

const INDEX: &str = "sha256:88b2ac513193cc719fa2b1f07b3f9cbcd2065cdbbfceba0a0fafd5b97ea76bf3";
const MANIFEST: &str = "sha256:8c887dccf947c5c02735ef98cd40630eff68d55e88f8add38593766be65c4d97";
const CONFIG: &str = "sha256:92c7d6a3a828a67e6a6a87b3bb3c330551845cfcf5ce5e37d836e75e1ced69e6";
const SIDE_MANIFEST: &str = "sha256:a516e3b3cd511a2406300ae47fd95bb8854e9905055a4d0fd6a97b3f7f991a8a";
const SIDE_CONFIG: &str = "sha256:7492c1b054f0fde1e993594411403b4ac26423d9fa3c44c121ce8debbfc49866";

#[derive(Deserialize)]
struct Recorded {
    containers: Vec<RecordedContainer>,
    tasks: Vec<RecordedTask>,
    images: Vec<RecordedImage>,
    snapshots: Vec<RecordedSnapshot>,
    content: BTreeMap<Digest, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RecordedContainer {
    #[serde(rename = "ID")]
    id: String,
    labels: Option<BTreeMap<String, String>>,
    image: String,
    snapshotter: String,
    snapshot_key: String,
    created_at: jiff::Timestamp,
    extensions: Option<BTreeMap<String, RecordedExtension>>,
}

#[derive(Deserialize)]
struct RecordedExtension {
    value: String,
}

#[derive(Deserialize)]
struct RecordedTask {
    id: String,
    status: String,
}

#[derive(Deserialize)]
struct RecordedImage {
    name: String,
    media_type: String,
    digest: Digest,
}

#[derive(Deserialize)]
struct RecordedSnapshot {
    name: String,
    parent: String,
}

fn resolve(
    name: &str,
    evidence: &Evidence,
    names: &ImageNames,
    content: &ContentCache,
) -> Result<Image, MissingReason> {
    Resolver::new(names, content).resolve(name, evidence)
}

struct World {
    containers: Vec<Container>,
    tasks: Vec<Process>,
    names: ImageNames,
    snapshots: Snapshots,
    content: ContentCache,
}

impl World {
    fn scope(&self) -> Scope {
        let evidence: Vec<Evidence> =
            self.containers.iter().map(|container| convert::evidence(container, &self.snapshots)).collect();
        let (names, content) = (&self.names, &self.content);
        let mut scope = convert::scope(&self.containers, &self.tasks, &evidence, names, content, &StateSelector::ALL);
        let counts = stocktake_core::normalise(&mut scope);
        assert_eq!((counts.dangling_references, counts.duplicates), (0, 0));
        scope
    }
}

fn recorded(version: &str, namespace: &str) -> World {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("testdata/containerd-{version}.json"));
    let mut all: BTreeMap<String, Recorded> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let recorded = all.remove(namespace).expect(namespace);
    let containers = recorded.containers.into_iter().map(container).collect();
    let tasks = recorded.tasks.into_iter().map(|task| Process {
        id: task.id,
        status: match task.status.as_str() {
            "CREATED" => 1,
            "RUNNING" => 2,
            "STOPPED" => 3,
            "PAUSED" => 4,
            other => panic!("status {other}"),
        },
        ..Process::default()
    });
    let target = |image: RecordedImage| (image.name, Target { digest: image.digest, media_type: image.media_type });
    let mut snapshots = Snapshots::default();
    snapshots.insert("overlayfs", recorded.snapshots.into_iter().map(|entry| (entry.name, entry.parent)).collect());
    let mut content = ContentCache::default();
    for (digest, text) in recorded.content {
        content.insert(digest, text.as_bytes());
    }
    World {
        containers,
        tasks: tasks.collect(),
        names: ImageNames { targets: recorded.images.into_iter().map(target).collect() },
        snapshots,
        content,
    }
}

fn container(recorded: RecordedContainer) -> Container {
    let extension = |(key, extension): (String, RecordedExtension)| {
        (key, prost_types::Any { type_url: String::new(), value: base64(&extension.value) })
    };
    Container {
        id: recorded.id,
        labels: recorded.labels.unwrap_or_default().into_iter().collect(),
        image: recorded.image,
        snapshotter: recorded.snapshotter,
        snapshot_key: recorded.snapshot_key,
        created_at: Some(prost_types::Timestamp {
            seconds: recorded.created_at.as_second(),
            nanos: recorded.created_at.subsec_nanosecond(),
        }),
        extensions: recorded.extensions.unwrap_or_default().into_iter().map(extension).collect(),
        ..Container::default()
    }
}

fn of<'a>(scope: &'a Scope, name: &str) -> (&'a stocktake_core::model::Container, &'a Image) {
    let container = scope
        .containers
        .iter()
        .find(|container| container.name == name && container.kind == ContainerKind::Regular)
        .expect(name);
    let image = scope.images.iter().find(|image| Some(&image.id) == container.image_ref.as_ref()).expect(name);
    (container, image)
}

fn text(fact: &DigestFact) -> Result<&str, MissingReason> {
    match fact {
        DigestFact::Known { digest, .. } => Ok(digest.as_str()),
        DigestFact::Missing { missing } => Err(*missing),
    }
}

#[test]
fn a_pulled_image_is_known_by_index_manifest_and_config() {
    let scope = recorded("1.6", "team-a").scope();
    let (container, image) = of(&scope, "ctr-pulled");
    assert_eq!(container.image.as_deref(), Some("127.0.0.1:15000/team/app:1.0"));
    assert_eq!(text(&image.index_digest), Ok(INDEX));
    assert_eq!(text(&image.manifest_digest), Ok(MANIFEST));
    assert_eq!(text(&image.config_digest), Ok(CONFIG));
    assert_eq!(image.platform.as_ref().map(ToString::to_string).as_deref(), Some("linux/amd64"));
    assert_eq!(image.names, ["127.0.0.1:15000/team/app:1.0"]);
}

#[test]
fn a_side_loaded_image_has_no_index() {
    let scope = recorded("1.6", "default").scope();
    let (_, image) = of(&scope, "ctr-running");
    assert_eq!(text(&image.index_digest), Err(MissingReason::SinglePlatform));
    assert_eq!(text(&image.manifest_digest), Ok(SIDE_MANIFEST));
    assert_eq!(text(&image.config_digest), Ok(SIDE_CONFIG));
}

#[test]
fn states_are_those_of_the_tasks() {
    let scope = recorded("1.6", "default").scope();
    let state = |name| of(&scope, name).0.state;
    assert_eq!(state("ctr-running"), ContainerState::Running);
    assert_eq!(state("ctr-paused"), ContainerState::Paused);
    assert_eq!(state("ctr-exited"), ContainerState::Exited);
    assert_eq!(state("ctr-created"), ContainerState::Stopped, "no task: nobody knows whether there was one");
}

#[test]
fn nerdctl_names_its_containers_by_label() {
    let scope = recorded("1.6", "team-a").scope();
    assert!(of(&scope, "web-nerdctl").0.id.as_deref().is_some_and(|id| id.starts_with("a1b2c3")));
}

#[test]
fn an_image_that_was_removed_is_told_as_such() {
    let scope = recorded("1.6", "team-a").scope();
    let (container, image) = of(&scope, "ctr-orphan");
    assert_eq!(container.image.as_deref(), Some("example.com/bed/orphan:1.0"));
    assert_eq!(text(&image.manifest_digest), Err(MissingReason::NotInStore));
}

#[test]
fn kubernetes_containers_carry_their_pods_and_sandboxes_are_recognised() {
    let scope = recorded("1.6", "k8s.io").scope();
    let (side, image) = of(&scope, "side");
    assert_eq!(side.image, None, "kubelet 1.20 sends the digest, and the record's name is any of the image's");
    let pod = scope.pods.iter().find(|pod| Some(&pod.uid) == side.pod_uid.as_ref()).unwrap();
    assert_eq!((pod.namespace.as_str(), pod.name.as_str()), ("shop", "side"));
    assert_eq!(text(&image.manifest_digest), Ok(SIDE_MANIFEST), "which the API server does not know");
    assert_eq!(text(&image.config_digest), Ok(SIDE_CONFIG));
    assert_eq!(image.names, ["example.com/bed/side:2.0"], "the CRI plug-in's name by digest is no name");
    let sandboxes = scope.containers.iter().filter(|container| container.kind == ContainerKind::Sandbox);
    assert_eq!(sandboxes.count(), scope.pods.len());
}

#[test]
fn dockerd_with_graph_drivers_records_no_image() {
    let scope = recorded("1.6", "moby").scope();
    assert!(!scope.containers.is_empty());
    for container in &scope.containers {
        assert_eq!(container.image_missing, Some(MissingReason::NotRecorded));
    }
}

/// The name `example.com/bed/moving:1.0` was given to another image after the container was made from `side`.
#[test]
fn a_moved_name_does_not_mislead() {
    let world = recorded("2.1", "moby");
    let moved = world.containers.iter().find(|container| container.image == "example.com/bed/moving:1.0").unwrap();
    let now = &world.names.targets["example.com/bed/moving:1.0"].digest;
    assert_eq!(now.as_str(), INDEX, "where the name leads now");
    let scope = world.scope();
    let container =
        scope.containers.iter().find(|container| container.id.as_deref() == Some(moved.id.as_str())).unwrap();
    let image = scope.images.iter().find(|image| Some(&image.id) == container.image_ref.as_ref()).unwrap();
    assert_eq!(text(&image.manifest_digest), Ok(SIDE_MANIFEST), "what the container's layers prove");
}

/// dockerd 28.5 recorded no name for a container whose image was removed while it ran.
#[test]
fn layers_alone_lead_to_the_image() {
    let world = recorded("2.1", "moby");
    let unnamed = world.containers.iter().find(|container| container.image.is_empty()).unwrap();
    let image = resolve("", &convert::evidence(unnamed, &world.snapshots), &world.names, &world.content).unwrap();
    let dangling = "moby-dangling@sha256:cee6015654953420c0e3d08f9c55691936a05d5adff2868fa3e3f8af351948a0";
    assert_eq!(text(&image.manifest_digest), Ok(&dangling["moby-dangling@".len()..]));
    assert_eq!(image.names, [] as [&str; 0]);
}

/// Two images of the same layers, which only the configuration tells apart: hand-written, the bed has none.
#[test]
fn the_same_layers_in_two_images_are_ambiguous_unless_the_name_says_which() {
    let layer = Digest::sha256(b"layer");
    let mut content = ContentCache::default();
    let mut names = ImageNames::default();
    for (name, created) in [("a:1", "2026-01-01T00:00:00Z"), ("b:1", "2026-02-02T00:00:00Z")] {
        let config = format!(
            r#"{{"os":"linux","architecture":"amd64","created":"{created}","rootfs":{{"diff_ids":["{layer}"]}}}}"#
        );
        let config_digest = Digest::sha256(config.as_bytes());
        let manifest = format!(r#"{{"config":{{"digest":"{config_digest}"}},"layers":[{{"digest":"{layer}"}}]}}"#);
        let manifest_digest = Digest::sha256(manifest.as_bytes());
        content.insert(config_digest, config.as_bytes());
        content.insert(manifest_digest.clone(), manifest.as_bytes());
        names.targets.insert(name.into(), Target { digest: manifest_digest, media_type: String::new() });
    }
    let evidence = Evidence { config: None, chain: Some(layer) };
    let of_name = resolve("b:1", &evidence, &names, &content).unwrap();
    assert_eq!(of_name.names, ["b:1"]);
    assert_eq!(resolve("gone:1", &evidence, &names, &content).unwrap_err(), MissingReason::Ambiguous);
}

/// The CRI plug-in's record outlives the image: hand-written, the kubelet does not remove images in use.
#[test]
fn the_config_digest_is_known_even_when_the_image_is_gone() {
    let evidence = Evidence { config: Some(CONFIG.parse().unwrap()), chain: None };
    let image = resolve("gone:1", &evidence, &ImageNames::default(), &ContentCache::default()).unwrap();
    assert_eq!(text(&image.config_digest), Ok(CONFIG));
    assert_eq!(text(&image.manifest_digest), Err(MissingReason::NotInStore));
}

#[test]
fn a_snapshot_chain_that_loops_ends() {
    let mut snapshots = Snapshots::default();
    snapshots.insert("overlayfs", vec![("a".into(), "b".into()), ("b".into(), "a".into())]);
    assert_eq!(snapshots.chain_id("", "a"), None);
}

#[test]
fn is_registered() {
    assert!(stocktake_core::Registry::linked().unwrap().get("containerd").is_some());
}
