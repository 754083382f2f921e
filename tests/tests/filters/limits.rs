//! A label of a megabyte, from a made-up daemon: what it says is cut, which is said, and nothing else is lost.

use serde_json::json;
use stocktake_core::{Digest, model::ScopeId};
use stocktake_tests::{
    agent::Agent,
    fake::{FakeDocker, Fault},
};

const MEGABYTE: usize = 1 << 20;

/// Two containers; the labels of the first are `labels`.
fn daemon(labels: serde_json::Value) -> FakeDocker {
    let container = |digit: &str, name: &str, labels: serde_json::Value| {
        json!({
            "Id": digit.repeat(64), "Names": [format!("/{name}")], "Image": "example.com/one:1",
            "ImageID": format!("sha256:{}", "b".repeat(64)), "Created": 1_700_000_000, "State": "running",
            "Status": "Up", "Labels": labels, "Command": "x", "Ports": [], "Mounts": [],
        })
    };
    let body = json!([container("a", "one", labels), container("c", "two", json!({"team": "shop"}))]).to_string();
    FakeDocker::new("/containers/json", Fault::Body(Box::leak(body.into_boxed_str())))
}

fn config(filters: &str, daemon: &FakeDocker) -> String {
    format!("[filters]\n{filters}\n[collectors.docker]\nhost = 'unix://{}'\n", daemon.socket().display())
}

#[test]
fn a_megabyte_of_label_is_cut_and_said_and_nothing_else_is_lost() {
    let value = "é".repeat(MEGABYTE / 2);
    let daemon = daemon(json!({"big": value, "team": "web"}));
    let run = Agent::collect(&config("", &daemon), &["--format", "json", "--explain"]).run().exits(0);
    assert!(run.stdout.len() < 16_000, "{} bytes", run.stdout.len());
    let report = run.report();
    let scope = report.scope("docker", &ScopeId::host());
    assert_eq!(scope.containers.len(), 2);
    let one = scope.containers.iter().find(|container| container.name == "one").unwrap();
    assert_eq!(one.labels["team"], "web");
    assert!(one.labels["big"].len() <= 4096 && one.labels["big"].starts_with("éé"));
    assert!(one.labels["big"].ends_with(Digest::sha256(value.as_bytes()).as_str()), "what was cut is told apart");
    assert_eq!(report.entry("docker", &ScopeId::host()).counts.truncated, 1);
    let source = report.source("docker");
    assert!(source.is_complete());
    let [warning] = &source.warnings[..] else { panic!("{:?}", source.warnings) };
    assert!(warning.message.contains("container `one` (label `big`)"), "{}", warning.message);
    let _ = run
        .says("warning: docker: 1 text or label of host was cut")
        .says("docker: a value of more than 4096 bytes: cut 1 label: container `one` (label `big`)");
}

#[test]
fn what_is_cut_is_the_same_each_time_and_another_when_it_changes() {
    let digest = |value: String| {
        let daemon = daemon(json!({"big": value}));
        let run = Agent::collect(&config("", &daemon), &["--format", "json"]).run().exits(0);
        run.report().entry("docker", &ScopeId::host()).digest.clone()
    };
    let value = "x".repeat(MEGABYTE);
    assert_eq!(digest(value.clone()), digest(value.clone()));
    assert_ne!(digest(value.clone()), digest(value + "x"));
}

/// Neither the label nor the container may be told by the remark that something of it was cut.
#[test]
fn what_is_filtered_is_not_named_as_cut() {
    let daemon = daemon(json!({"big": "x".repeat(MEGABYTE)}));
    let collect = |filters: &str| Agent::collect(&config(filters, &daemon), &["--format", "json"]).run().exits(0);
    let run = collect("labels = { exclude = ['big'] }");
    assert!(run.report().source("docker").warnings.is_empty() && !run.stdout.contains("big"));
    let run = collect("containers = { exclude = ['one'] }");
    assert_eq!(run.report().containers("docker"), 1);
    assert_eq!(run.report().source("docker").warnings.len(), 1);
    assert!(!run.stdout.contains("`one`") && !run.stdout.contains("`big`"), "{run}");
}
