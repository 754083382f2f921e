//! Whole containers: what one source knows by name is gone from those that do not.

use std::collections::BTreeSet;

use stocktake_core::model::ScopeId;
use stocktake_tests::{agent::Run, bed, needs, tools};

use crate::{collect_docker_and_containerd, explained};

/// Ids of Docker's containers: of those made from the side-loaded image, and of the others. One of them has lost the
/// name that it was made by (`bed-retagged`), and is of the same image.
fn by_image() -> (BTreeSet<String>, BTreeSet<String>) {
    let docker = || tools::docker(bed::DOCKER_NEXT);
    let image = tools::output(docker().args(["image", "inspect", "--format", "{{.Id}}", bed::SIDE_IMAGE]));
    let all = tools::output(docker().args(["ps", "--all", "--quiet", "--no-trunc"]));
    let lines = tools::output(docker().args(["inspect", "--format", "{{.Id}} {{.Image}}"]).args(all.lines()));
    let (side, others): (Vec<_>, Vec<_>) =
        lines.lines().map(|line| line.split_once(' ').unwrap()).partition(|(_, of)| *of == image.trim());
    let ids = |pairs: Vec<(&str, &str)>| pairs.into_iter().map(|(id, _)| id.to_owned()).collect();
    (ids(side), ids(others))
}

fn ids(run: &Run, collector: &str, scope: &ScopeId) -> BTreeSet<String> {
    run.report()
        .scope(collector, scope)
        .containers
        .iter()
        .map(|container| container.id.clone().unwrap().into())
        .collect()
}

#[test]
fn an_image_goes_with_its_containers_and_their_twins_in_containerd() {
    needs!("docker-next");
    let (side, others) = by_image();
    let moby = ScopeId::namespace("moby");
    let all = collect_docker_and_containerd("");
    let twins: BTreeSet<String> = side.intersection(&ids(&all, "containerd", &moby)).cloned().collect();
    assert!(!twins.is_empty(), "containerd has none of them, so this proves nothing");

    for pattern in ["example.com/bed/side", "example.com/bed/side:*", "/example\\.com/.*side:2.0/"] {
        let run = collect_docker_and_containerd(&format!("images = {{ exclude = ['{pattern}'] }}"));
        assert_eq!(ids(&run, "docker", &ScopeId::host()), others, "{pattern}");
        let left: BTreeSet<String> = ids(&all, "containerd", &moby).difference(&side).cloned().collect();
        assert_eq!(ids(&run, "containerd", &moby), left, "{pattern}");
        assert!(!run.stdout.contains("bed/side"), "{pattern}: the name is still somewhere");
        assert!(side.iter().all(|id| !run.stdout.contains(id)), "{pattern}: an id is still somewhere");
        assert!(run.report().source("docker").is_complete(), "a filter narrows what is told, not what was seen");
        let of_docker = explained(&run, "docker", "filters.images.exclude");
        assert_eq!(of_docker["removed"]["container"], side.len(), "{of_docker}");
        let of_containerd = explained(&run, "containerd", "filters.images.exclude");
        assert_eq!(of_containerd["removed"]["container"], twins.len(), "{of_containerd}");
    }
}

#[test]
fn a_container_goes_by_the_name_that_only_docker_knows() {
    needs!("docker-next");
    let id = tools::output(tools::docker(bed::DOCKER_NEXT).args(["inspect", "--format", "{{.Id}}", "bed-running"]));
    let all = collect_docker_and_containerd("");
    assert_eq!(
        all.stdout.matches("\"bed-running\"").count(),
        2,
        "of Docker and of the unified view, not of containerd"
    );
    assert!(ids(&all, "containerd", &ScopeId::namespace("moby")).contains(id.trim()));
    let run = collect_docker_and_containerd("containers = { exclude = ['bed-running'] }");
    assert!(!run.stdout.contains(id.trim()) && !run.stdout.contains("bed-running"));
    assert_eq!(run.report().containers("docker"), all.report().containers("docker") - 1);
    assert_eq!(run.report().containers("containerd"), all.report().containers("containerd") - 1);
}

#[test]
fn what_is_included_is_all_that_is_left() {
    needs!("docker-next");
    let run = collect_docker_and_containerd("containers = ['bed-running', 'bed-pulled']");
    assert_eq!(run.report().containers("docker"), 2);
    assert_eq!(ids(&run, "containerd", &ScopeId::namespace("moby")), ids(&run, "docker", &ScopeId::host()));
    assert_eq!(run.report().inventory.unified.unwrap().containers.len(), 2);
}
