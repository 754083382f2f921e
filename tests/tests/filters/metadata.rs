//! Labels and annotations.

use serde_json::Value;
use stocktake_core::model::{ScopeId, Text};
use stocktake_tests::{agent::Agent, bed, needs, tools};

use crate::{collect_docker_and_containerd, explained};

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

#[test]
fn labels_go_and_the_digest_is_of_what_is_left() {
    needs!("docker-next");
    let digest = |filters: &str| {
        let run = collect_docker_and_containerd(filters);
        let digest = run.report().entry("docker", &ScopeId::host()).digest.clone().unwrap();
        (run, digest)
    };
    let (all, whole) = digest("");
    assert!(all.stdout.contains("com.docker.compose.service"), "no such label, so this proves nothing");
    let (filtered, less) = digest("labels = { exclude = ['com.docker.compose.*'] }");
    assert!(!filtered.stdout.contains("com.docker.compose"));
    assert!(filtered.stdout.contains("com.docker.swarm"), "other labels stay");
    assert_ne!(less, whole);
    assert_eq!(filtered.report().containers("docker"), all.report().containers("docker"));
    let workloads = &filtered.report().scope("docker", &ScopeId::host()).workloads.clone();
    assert!(
        workloads.iter().any(|workload| workload.name == "web"),
        "what a label told was read before: {workloads:?}"
    );
    assert_eq!(digest("labels = { exclude = ['no.such.label'] }").1, whole);
}

/// How many of the objects that the report tells of were made by `kubectl apply`.
fn applied() -> usize {
    let objects =
        tools::json(tools::kubectl().args(["get", "pods,namespaces,nodes", "--all-namespaces", "-o", "json"]));
    let is_applied = |object: &&Value| !object["metadata"]["annotations"][LAST_APPLIED].is_null();
    objects["items"].as_array().unwrap().iter().filter(is_applied).count()
}

#[test]
fn earlier_versions_of_objects_are_never_told_and_always_counted() {
    needs!("kubernetes");
    let expected = applied();
    assert!(expected > 0, "nothing in the cluster was applied, so this proves nothing");
    for filters in ["", "annotations = ['*']", &format!("annotations = ['{LAST_APPLIED}']")] {
        let config = format!(
            "[filters]\n{filters}\n[collectors.k]\ntype = 'kubernetes'\nkubeconfig = '{}'\n",
            bed::kubeconfig("admin")
        );
        let run = Agent::collect(&config, &["--format", "json", "--explain", "--log-format", "json"]).run().exits(0);
        assert!(!run.stdout.contains("last-applied-configuration"), "{filters}");
        let fields = explained(&run, "k", "never reported");
        assert_eq!(fields["removed"]["annotation"], expected, "{filters}: {fields}");
        assert!(fields["examples"][0].as_str().unwrap().contains(LAST_APPLIED), "{fields}");
    }
}

#[test]
fn annotations_are_chosen_by_key() {
    needs!("kubernetes");
    let config = format!(
        "[filters]\nannotations = ['example.com/*']\n\
         [collectors.k]\ntype = 'kubernetes'\nkubeconfig = '{}'\nnamespaces = ['shop']\n",
        bed::kubeconfig("admin")
    );
    let report = Agent::collect(&config, &["--format", "json"]).run().exits(0).report();
    let pods = &report.scope("k", &ScopeId::namespace("shop")).pods;
    let keys: Vec<&Text> = pods.iter().flat_map(|pod| pod.annotations.keys()).collect();
    assert!(!keys.is_empty() && keys.iter().all(|key| *key == "example.com/owner"), "{keys:?}");
}
