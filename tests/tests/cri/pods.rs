//! A kubelet's pods through the bed's containerd.

use std::collections::BTreeMap;

use stocktake_core::model::{ContainerKind, ScopeId, Text};
use stocktake_tests::{
    agent::{Agent, Run},
    bed, meter, needs, tools,
};

fn collect() -> Run {
    let config = format!("[collectors.cri]\naddress = 'unix://{}'\nstates = ['all']\n", bed::CONTAINERD);
    Agent::collect(&config, &["--format", "json"]).run().exits(0)
}

#[test]
fn calls_are_the_same_few_for_all_containers() {
    needs!("kubernetes");
    let mut seen = 0;
    let calls = meter::fewest(|| meter::cri(bed::CONTAINERD_METRICS, || seen = collect().report().containers("cri")));
    assert!(seen > 20, "only {seen} containers and sandboxes");
    let expected = [
        ("ImageService/ListImages", 1),
        ("RuntimeService/ListContainers", 1),
        ("RuntimeService/ListPodSandbox", 1),
        // The first is the agent's question whether there is a runtime.
        ("RuntimeService/Version", 2),
    ];
    assert_eq!(calls, BTreeMap::from(expected.map(|(call, count)| (call.to_owned(), count))));
}

#[test]
fn the_runtime_is_told_by_its_own_name() {
    needs!("kubernetes");
    let run = collect();
    let source = run.report().source("cri").clone();
    let runtime = source.runtime.expect("it was asked");
    assert_eq!(runtime.name, "containerd");
    assert!(runtime.version.starts_with("1.6."), "{}", runtime.version);
    assert_eq!(source.scopes.iter().map(|entry| &entry.id).collect::<Vec<_>>(), [&ScopeId::host()]);
}

/// What the API server counts as restarts, CRI counts as attempts; and a pod has its labels in both.
#[test]
fn restarts_and_labels_are_those_of_the_api_server() {
    needs!("kubernetes");
    let report = collect().report();
    let scope = report.scope("cri", &ScopeId::host());
    let restarts: BTreeMap<&str, u32> = scope
        .containers
        .iter()
        .filter(|container| container.kind == ContainerKind::Regular)
        .filter_map(|container| Some((container.id.as_deref()?, container.restart_count?)))
        .collect();
    let pods = tools::json(tools::kubectl().args(["get", "pods", "--all-namespaces", "--output", "json"]));
    let mut compared = 0;
    for pod in pods["items"].as_array().unwrap() {
        let name = pod["metadata"]["name"].as_str().unwrap();
        for statuses in ["initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses"] {
            for status in pod["status"][statuses].as_array().into_iter().flatten() {
                let id = status["containerID"].as_str().unwrap_or_default().trim_start_matches("containerd://");
                // One that was made or removed meanwhile is not in both.
                let Some(found) = restarts.get(id) else { continue };
                assert_eq!(status["restartCount"], *found, "{name} {status}");
                compared += 1;
            }
        }
        let uid = pod["metadata"]["uid"].as_str().unwrap();
        let Some(found) = scope.pods.iter().find(|pod| pod.uid == uid) else { continue };
        for (key, value) in pod["metadata"]["labels"].as_object().into_iter().flatten() {
            assert_eq!(found.labels.get(key).map(Text::as_str), value.as_str(), "{name}");
        }
    }
    assert!(compared > 10, "only {compared} containers were compared");
}
