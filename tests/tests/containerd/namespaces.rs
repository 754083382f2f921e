//! Which namespaces are looked at, and what is in them.

use std::os::unix::fs::symlink;

use stocktake_core::model::{Container, ContainerKind, DigestFact, MissingReason, ScopeId};
use stocktake_tests::{
    agent::{Agent, Run},
    bed, needs,
    report::image_of,
};

fn collect(socket: &str, settings: &str) -> Run {
    let config = format!("[collectors.c]\ntype = 'containerd'\naddress = '{socket}'\nstates = ['all']\n{settings}\n");
    Agent::collect(&config, &["--format", "json"]).run()
}

#[test]
fn namespaces_are_chosen_by_name_glob_and_regular_expression() {
    needs!("docker-next");
    let _shared = super::shared();
    for (settings, expected) in [
        ("", &["default", "empty-ns", "moby", "team-a"][..]),
        ("namespaces = ['default']", &["default"]),
        ("namespaces = ['default', 'moby']", &["default", "moby"]),
        ("namespaces = ['team-*']", &["team-a"]),
        ("namespaces = ['/(team|empty)-.*/']", &["empty-ns", "team-a"]),
        ("namespaces = { exclude = ['moby', '*-ns'] }", &["default", "team-a"]),
        ("namespaces = { include = ['*-*'], exclude = ['empty-ns'] }", &["team-a"]),
    ] {
        let report = collect(bed::CONTAINERD_NEXT, settings).exits(0).report();
        assert_eq!(report.namespaces("c"), expected, "{settings}");
    }
}

#[test]
fn an_empty_namespace_is_a_complete_scope_without_containers() {
    needs!("docker-next");
    let _shared = super::shared();
    let report = collect(bed::CONTAINERD_NEXT, "namespaces = ['empty-ns']").exits(0).report();
    let entry = report.entry("c", &ScopeId::namespace("empty-ns"));
    assert!(entry.coverage.is_complete() && entry.counts.containers == 0);
}

#[test]
fn a_namespace_that_does_not_exist_is_told_with_the_nearest() {
    needs!("docker-next");
    let _shared = super::shared();
    let run = collect(bed::CONTAINERD_NEXT, "namespaces = ['team-b', 'default']").exits(0);
    let run = run.says("warning: c: containerd has no namespace `team-b`; did you mean `team-a`?");
    assert_eq!(run.report().source("c").warnings.len(), 1);
    assert_eq!(run.report().containers("c"), 4, "what exists is still reported");
}

#[test]
fn an_address_may_be_a_link() {
    needs!("docker-next");
    let _shared = super::shared();
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("containerd.sock");
    symlink(bed::CONTAINERD_NEXT, &link).unwrap();
    let run = collect(&link.display().to_string(), "namespaces = ['default']").exits(0);
    assert_eq!(run.report().containers("c"), 4);
}

#[test]
fn the_environment_names_the_socket_where_the_settings_do_not() {
    needs!("docker-next");
    let _shared = super::shared();
    for address in [bed::CONTAINERD_NEXT.to_owned(), format!("unix://{}", bed::CONTAINERD_NEXT)] {
        let config = "[collectors.containerd]\nstates = ['all']\nnamespaces = ['default']\n";
        let run = Agent::collect(config, &["--format", "json"]).env("CONTAINERD_ADDRESS", address).run().exits(0);
        assert_eq!(run.report().containers("containerd"), 4);
    }
}

#[test]
fn states_choose_containers() {
    needs!("docker-next");
    let _shared = super::shared();
    for (states, expected) in [
        ("", &["ctr-paused", "ctr-running"][..]),
        ("states = ['exited']", &["ctr-exited"]),
        ("states = ['stopped', 'paused']", &["ctr-created", "ctr-paused"]),
    ] {
        let socket = bed::CONTAINERD_NEXT;
        let config = format!("[collectors.containerd]\naddress = '{socket}'\nnamespaces = ['default']\n{states}\n");
        let report = Agent::collect(&config, &["--format", "json"]).run().exits(0).report();
        let scope = report.scope("containerd", &ScopeId::namespace("default"));
        let found: Vec<&str> = scope.containers.iter().map(|container| container.name.as_str()).collect();
        assert_eq!(found, expected, "{states}");
    }
}

#[test]
fn containers_of_pods_have_their_pod_and_sandboxes_are_told_apart() {
    needs!("kubernetes");
    let _shared = super::shared();
    let report = collect(bed::CONTAINERD, "namespaces = ['k8s.io']").exits(0).report();
    let scope = report.scope("c", &ScopeId::namespace("k8s.io"));
    let is_sandbox = |container: &&Container| container.kind == ContainerKind::Sandbox;
    let sandboxes = scope.containers.iter().filter(is_sandbox).count();
    assert!(sandboxes >= 10 && scope.containers.len() > sandboxes, "{sandboxes} sandboxes");
    let web = scope.pods.iter().find(|pod| pod.name.starts_with("web-")).unwrap();
    assert_eq!(web.namespace, "shop");
    let of_web = scope.containers.iter().filter(|container| container.pod_uid.as_ref() == Some(&web.uid));
    let mut names: Vec<&str> = of_web.filter(|container| !is_sandbox(container)).map(|c| c.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["helper", "setup", "web"]);
}

#[test]
fn an_image_that_is_gone_is_missing_with_a_reason() {
    needs!("docker-next");
    let _shared = super::shared();
    let report = collect(bed::CONTAINERD_NEXT, "namespaces = ['team-a']").exits(0).report();
    let scope = report.scope("c", &ScopeId::namespace("team-a"));
    let orphan = scope.containers.iter().find(|container| container.name == "ctr-orphan").unwrap();
    assert_eq!(orphan.image.as_deref(), Some("example.com/bed/orphan:1.0"));
    let image = image_of(scope, orphan).unwrap();
    assert_eq!(image.manifest_digest, DigestFact::missing(MissingReason::NotInStore));
    let nerdctl = scope.containers.iter().find(|container| container.name == "web-nerdctl").unwrap();
    assert!(nerdctl.id.as_ref().is_some_and(|id| id.len() == 64));
}
