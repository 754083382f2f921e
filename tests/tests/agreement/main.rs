//! Every container of one report against what its runtime's own tool says of it, and the reverse: `docker inspect`,
//! `ctr` and `kubectl` on one side, `stocktake-agent collect` on the other.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test's helpers are tests")]

mod containerd;
mod cri;
mod docker;
mod kubernetes;
mod view;

use std::collections::BTreeSet;

use stocktake_core::{Digest, model::ScopeId};
use stocktake_tests::{
    agent::{Agent, Run},
    bed, needs,
    report::image_of,
};

use crate::view::{View, difference, of_report};

/// What the tools say of all that is up.
fn of_tools() -> View {
    let mut view = View::new();
    let mut moby = [None, None];
    if bed::require("docker") {
        let daemon = docker::Daemon::inspect(bed::DOCKER);
        docker::add(&mut view, "docker", &daemon);
        moby[0] = Some(daemon);
    }
    if bed::require("docker-next") {
        let daemon = docker::Daemon::inspect(bed::DOCKER_NEXT);
        docker::add(&mut view, "docker-next", &daemon);
        moby[1] = Some(daemon);
    }
    if bed::require("podman") {
        docker::add(&mut view, "podman", &docker::Daemon::inspect(bed::PODMAN));
    }
    if bed::require("containerd") {
        containerd::add(&mut view, "containerd", bed::CONTAINERD, moby[0].as_ref());
    }
    if let Some(daemon) = &moby[1] {
        containerd::add(&mut view, "containerd-next", bed::CONTAINERD_NEXT, Some(daemon));
    }
    if bed::require("kubernetes") {
        kubernetes::add(&mut view, "kubernetes");
        cri::add(&mut view, "cri", "containerd");
    }
    view
}

/// One look at all that is up; `None` if everything is skipped.
fn collect() -> Option<Run> {
    let collectors = bed::collectors().join(",");
    let arguments = ["--format", "json", "--collector", &collectors];
    (!collectors.is_empty()).then(|| Agent::collect(&bed::config(), &arguments).run().exits(0))
}

/// Two of the bed's pods never rest (a crash loop, an image that cannot be pulled), so a look may differ from the tools'
/// because something moved in between; both rest ever longer, so there soon is one at a quiet time. A difference that
/// is there while the tools say the same before and after, and again, is one.
#[test]
fn every_container_agrees_with_its_runtimes_own_tool() {
    let mut before = of_tools();
    let mut last = Vec::new();
    let mut at_quiet_times = 0;
    for _ in 0..8 {
        let Some(run) = collect() else { return };
        let seen = of_report(&run.report());
        let after = of_tools();
        last = difference(&after, &seen);
        if last.is_empty() {
            assert_known_content(&after);
            eprintln!("{} containers agree", after.len());
            return;
        }
        at_quiet_times += usize::from(before == after);
        if at_quiet_times == 3 {
            break;
        }
        before = after;
    }
    panic!("{} differences between the tools and the report:\n{}", last.len(), last.join("\n"));
}

/// Agreement about nothing would be worthless: what `bed/README.md` lists is there.
fn assert_known_content(view: &View) {
    let expected: [(&str, &str, &[&str]); 9] = [
        ("docker", "host", &docker::KNOWN),
        ("docker-next", "host", &docker::KNOWN),
        ("podman", "host", &["bed-podman-running", "bed-podman-exited", "bed-podman-created"]),
        ("containerd", "namespace default", &["ctr-running", "ctr-paused", "ctr-exited", "ctr-created"]),
        ("containerd", "namespace team-a", &["ctr-pulled", "web-nerdctl", "ctr-orphan"]),
        ("containerd-next", "namespace default", &["ctr-running", "ctr-paused", "ctr-exited", "ctr-created"]),
        ("containerd-next", "namespace team-a", &["ctr-pulled", "web-nerdctl", "ctr-orphan"]),
        ("kubernetes", "namespace shop", &["setup", "web", "helper", "db", "logs", "side", "debugger", "main"]),
        ("kubernetes", "namespace batch", &["nightly", "main"]),
    ];
    let up: BTreeSet<&str> = view.keys().map(|key| key.collector.as_str()).collect();
    for (collector, scope, names) in expected.into_iter().filter(|(collector, ..)| up.contains(collector)) {
        let of_scope = view.iter().filter(|(key, _)| key.collector == collector && key.scope == scope);
        let found: BTreeSet<&str> = of_scope.map(|(_, seen)| seen.name.as_str()).collect();
        let known: BTreeSet<&str> = names.iter().copied().collect();
        assert_eq!(found, known, "{collector}, {scope}");
    }
    if up.contains("cri") {
        let of_pods: BTreeSet<&str> =
            view.iter().filter(|(key, _)| key.collector == "cri").map(|(_, seen)| seen.name.as_str()).collect();
        for name in ["setup", "web", "helper", "db", "logs", "side", "debugger", "main", "nightly"] {
            assert!(of_pods.contains(name), "cri has no {name}");
        }
    }
}

/// A container's recorded image name may lead to another image by now. What counts is what `docker inspect` says of the
/// container itself.
#[test]
fn a_moved_name_does_not_lead_to_the_wrong_image() {
    needs!("docker-next");
    let report = collect().expect("it is not skipped").report();
    let daemon = docker::Daemon::inspect(bed::DOCKER_NEXT);
    let inspected = daemon.container("bed-retagged");
    let id = inspected["Id"].as_str().unwrap();
    let truth = inspected["ImageManifestDescriptor"]["digest"].as_str().unwrap();
    let named = daemon.image_id("example.com/bed/moving:1.0").expect("the tag exists");
    assert_ne!(inspected["Image"].as_str(), Some(named.as_str()), "the bed's tag no longer leads elsewhere");

    for (collector, scope) in [("docker-next", ScopeId::host()), ("containerd-next", ScopeId::namespace("moby"))] {
        let scope = report.scope(collector, &scope);
        let container = scope.containers.iter().find(|container| container.id.as_deref() == Some(id)).unwrap();
        let image = image_of(scope, container).expect("its image is known");
        assert_eq!(image.manifest_digest.digest().unwrap().as_str(), truth, "{collector}");
        assert_ne!(image.index_digest.digest().map(Digest::as_str), Some(named.as_str()), "{collector}");
    }
}

#[test]
fn the_report_is_what_the_published_schema_says() {
    let Some(run) = collect() else { return };
    let schema = std::fs::read_to_string(stocktake_tests::repository().join("docs/schema/inventory.v1.json")).unwrap();
    let schema: serde_json::Value = serde_json::from_str(&schema).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let mut report: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    let complaints: Vec<String> =
        validator.iter_errors(&report).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));

    report["report"]["sources"][0]["coverage"]["status"] = "wonderful".into();
    assert!(!validator.is_valid(&report), "the schema accepts anything");
}
