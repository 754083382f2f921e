//! Containers and images that several sources know.

use std::collections::{BTreeMap, BTreeSet};

use stocktake_core::{
    Digest,
    model::{ContainerKind, DigestFact, JoinedBy},
    unify::{ContainerView, UnifiedView},
};
use stocktake_tests::{bed, needs, tools};

use crate::{collect, seen_by_source, view};

fn named<'v, 'a>(view: &'v UnifiedView<'a>, collector: &str, name: &str) -> Vec<&'v ContainerView<'a>> {
    let of = |container: &&ContainerView<'_>| {
        container.container.name == name && container.collectors().contains(&collector)
    };
    view.containers.iter().filter(of).collect()
}

#[test]
fn every_sighting_is_of_exactly_one_container() {
    needs!("docker", "docker-next", "podman", "kubernetes");
    let inventory = collect();
    let view = view(&inventory);
    let mut sightings = BTreeSet::new();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for sighting in view.unified.containers.iter().flat_map(|container| &container.seen) {
        assert!(sightings.insert(sighting), "twice: {sighting:?}");
        *counts.entry(&sighting.collector).or_default() += 1;
    }
    assert_eq!(counts, seen_by_source(&inventory));
}

/// What `docker ps` lists is there once, although the containerd beneath has it too.
#[test]
fn a_docker_container_is_listed_once_although_moby_has_it_too() {
    needs!("docker", "docker-next");
    let inventory = collect();
    let view = view(&inventory);
    for (collector, socket, beneath, containerd) in [
        ("docker", bed::DOCKER, "containerd", bed::CONTAINERD),
        ("docker-next", bed::DOCKER_NEXT, "containerd-next", bed::CONTAINERD_NEXT),
    ] {
        let names =
            tools::output(tools::docker(socket).args(["ps", "--all", "--format", "{{.Names}} {{.ID}}", "--no-trunc"]));
        let moby = tools::output(tools::ctr(containerd, "moby").args(["containers", "ls", "--quiet"]));
        let moby: BTreeSet<&str> = moby.lines().collect();
        assert!(moby.len() >= 10, "{moby:?}");
        for (name, id) in names.lines().filter_map(|line| line.split_once(' ')) {
            let found = named(&view, collector, name);
            let [container] = found.as_slice() else { panic!("{name} is there {} times", found.len()) };
            let expected = if moby.contains(id) { vec![collector, beneath] } else { vec![collector] };
            assert_eq!(container.collectors(), expected, "{name}");
            assert_eq!(container.container.id.as_deref(), Some(id));
            let everywhere = view.containers.iter().filter(|other| other.container.id.as_deref() == Some(id));
            assert_eq!(everywhere.count(), 1, "{name}");
        }
    }
}

/// The kubelet's containers, through the API server and through containerd, are one each, with what each alone knows.
#[test]
fn a_pods_container_is_one_whoever_tells_of_it() {
    needs!("kubernetes");
    let inventory = collect();
    let view = view(&inventory);
    let web = named(&view, "kubernetes", "web");
    assert_eq!(web.len(), 3, "two of the deployment, one of the static pod");
    for container in web {
        assert_eq!(container.container.joined_by, Some(JoinedBy::RuntimeId));
        assert!(container.collectors().contains(&"containerd"), "{:?}", container.collectors());
        assert_eq!(container.node_name(), Some("bed-node"));
    }
    // The runtime does not know what a container is for; the API server does.
    assert_eq!(named(&view, "containerd", "setup")[0].container.kind, ContainerKind::Init);
    assert_eq!(named(&view, "containerd", "debugger")[0].container.kind, ContainerKind::Ephemeral);
}

/// The same made-up id, of nerdctl's form, in two containerds: two containers.
#[test]
fn containers_of_two_daemons_stay_two() {
    needs!("containerd", "docker-next");
    let inventory = collect();
    let view = view(&inventory);
    for name in ["web-nerdctl", "ctr-running"] {
        let found = named(&view, "containerd", name);
        assert_eq!(found.len(), 1, "{name}");
        assert_eq!(found[0].collectors(), ["containerd"], "{name}");
        assert_eq!(named(&view, "containerd-next", name)[0].collectors(), ["containerd-next"], "{name}");
    }
}

/// The API server tells the configuration's digest alone; `ctr` says which manifest it is.
#[test]
fn a_side_loaded_image_shows_the_manifest_that_only_containerd_knows() {
    needs!("kubernetes");
    let images = tools::output(tools::ctr(bed::CONTAINERD, "k8s.io").args(["images", "ls"]));
    let row = tools::rows(&images).into_iter().find(|row| row[0] == bed::SIDE_IMAGE).expect("the image is there");
    let manifest: Digest = row[2].parse().unwrap();
    let content = tools::ctr(bed::CONTAINERD, "k8s.io").args(["content", "get", manifest.as_str()]).output().unwrap();
    let document: serde_json::Value = serde_json::from_slice(&content.stdout).unwrap();

    let inventory = collect();
    let view = view(&inventory);
    let found = named(&view, "kubernetes", "side");
    let side = found[0];
    let of_api = side.seen[0].image.expect("the API server names an image").1;
    assert_eq!(side.seen[0].source.kind, "kubernetes");
    assert_eq!(of_api.manifest_digest.digest(), None, "the API server alone does not know it");
    let image = &side.image.expect("its image is known").image;
    assert_eq!(image.manifest_digest.digest(), Some(&manifest));
    assert_eq!(image.config_digest.digest().unwrap().as_str(), document["config"]["digest"]);
    assert_eq!(side.container.image.as_deref(), Some(bed::SIDE_IMAGE));
}

/// `docker inspect`, `ctr`, the CRI, `kubectl` and Podman each call the image by another digest, and it is one image. That it is the
/// same is what the registry says: one index, in which there is one manifest for this platform.
#[test]
fn one_image_is_one_whatever_each_calls_it() {
    needs!("docker", "docker-next", "podman", "kubernetes");
    let inventory = collect();
    let view = view(&inventory);
    let of = |collector: &str, name: &str| {
        let found = named(&view, collector, name);
        let container = found.first().unwrap_or_else(|| panic!("{collector} has no {name}"));
        container.image.unwrap_or_else(|| panic!("{name} has no image"))
    };
    let app = [
        of("docker", "bed-pulled"),
        of("docker-next", "bed-pulled"),
        of("podman", "bed-podman-running"),
        of("containerd", "ctr-pulled"),
        of("containerd-next", "ctr-pulled"),
        of("kubernetes", "db"),
    ];
    let ids: BTreeSet<&str> = app.iter().map(|image| image.image.id.as_str()).collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    let sources: BTreeSet<&str> = app[0].seen.iter().map(|sighting| sighting.collector.as_str()).collect();
    assert_eq!(sources.len(), 7, "{sources:?}");
    let image = &app[0].image;
    let index = tools::output(std::process::Command::new("cat").arg("/var/lib/stocktake-bed/images/app.digest"));
    assert_eq!(image.index_digest.digest().map(Digest::as_str), Some(index.trim()));
    for fact in [&image.index_digest, &image.manifest_digest, &image.config_digest] {
        assert!(matches!(fact, DigestFact::Known { from, .. } if !from.is_conclusion()), "told by a source: {fact:?}");
    }
    assert_eq!(of("docker", "bed-running").image.id, of("kubernetes", "side").image.id);
    assert_ne!(of("docker", "bed-running").image.id, app[0].image.id);
}

/// Two repositories have the image, and which one a container was made from only its name tells.
#[test]
fn the_repository_digest_is_the_requested_repositorys() {
    needs!("docker", "kubernetes");
    let inventory = collect();
    let view = view(&inventory);
    let repository = |collector: &str, name: &str| {
        named(&view, collector, name)[0].container.repo_digest.as_ref().expect(name).repository.clone()
    };
    assert_eq!(repository("docker", "bed-pulled"), "127.0.0.1:15000/team/app");
    // The kubelet shows `team/app` for this one too: the runtime knows the image under either name.
    assert_eq!(repository("kubernetes", "helper"), "127.0.0.1:15000/mirror/app");
}

#[test]
fn an_image_that_cannot_be_resolved_says_why() {
    needs!("docker", "docker-next", "podman", "kubernetes");
    let inventory = collect();
    let view = view(&inventory);
    for container in &view.containers {
        let (image, missing) = (container.image.is_some(), container.container.image_missing);
        assert_ne!(image, missing.is_some(), "{}: {missing:?}", container.container.name);
    }
    let missing = |collector: &str, name: &str| {
        let image = named(&view, collector, name)[0].image.unwrap();
        match &image.image.manifest_digest {
            DigestFact::Missing { missing } => missing.to_string(),
            DigestFact::Known { digest, .. } => digest.to_string(),
        }
    };
    assert_eq!(missing("containerd", "ctr-orphan"), "not in store");
    assert_eq!(missing("docker", "bed-untagged"), "not reported");
    let pending = view.containers.iter().find(|c| c.pod().is_some_and(|pod| pod.name == "pending-image")).unwrap();
    assert!(matches!(pending.image.unwrap().image.config_digest, DigestFact::Missing { .. }));
}
