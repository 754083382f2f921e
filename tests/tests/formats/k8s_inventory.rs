//! k8s-inventory's document against `kubectl`: what is in it, and that its references lead where the cluster's do.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use stocktake_tests::needs;

use crate::{collect, containers, digest, kubectl, tag, text};

/// Things by their uid.
fn by_uid(list: &Value) -> BTreeMap<String, &Value> {
    list.as_array().unwrap().iter().map(|thing| (text(thing, "/uid").to_owned(), thing)).collect()
}

#[test]
fn references_lead_where_the_clusters_do() {
    needs!("kubernetes", "containerd");
    let run = collect("k8s-inventory", "kubernetes,containerd", &[]).exits(0);
    let document: Value = serde_json::from_str(&run.stdout).unwrap();
    assert!(run.stdout.starts_with("{\n  \"cluster_name\": \"bed\",\n  \"containers\": [\n"), "{run}");

    let (namespaces, nodes) = (by_uid(&document["namespaces"]), by_uid(&document["nodes"]));
    for (kind, found) in [("namespaces", &namespaces), ("nodes", &nodes)] {
        let expected: BTreeMap<String, String> = kubectl(kind)
            .iter()
            .map(|thing| (text(thing, "/metadata/uid").to_owned(), text(thing, "/metadata/name").to_owned()))
            .collect();
        let found: BTreeMap<String, String> =
            found.iter().map(|(uid, thing)| (uid.clone(), text(thing, "/name").to_owned())).collect();
        assert_eq!(found, expected, "{kind}");
    }
    for node in kubectl("nodes") {
        let found = nodes[text(&node, "/metadata/uid")];
        let info = &node["status"]["nodeInfo"];
        for (field, of_kubectl) in [
            ("arch", "architecture"),
            ("container_runtime_version", "containerRuntimeVersion"),
            ("kernel_version", "kernelVersion"),
            ("kubelet_version", "kubeletVersion"),
            ("operating_system", "operatingSystem"),
        ] {
            assert_eq!(found[field], info[of_kubectl], "{field}");
        }
        assert_eq!(found["labels"], node["metadata"]["labels"]);
    }

    let pods = by_uid(&document["pods"]);
    let of_kubectl = kubectl("pods");
    assert_eq!(pods.len(), of_kubectl.len());
    for pod in &of_kubectl {
        let found = pods[text(pod, "/metadata/uid")];
        assert_eq!(found["name"], pod["metadata"]["name"]);
        assert_eq!(found.get("labels"), pod["metadata"].get("labels"), "{found}");
        assert_eq!(namespaces[text(found, "/namespace_uid")]["name"], pod["metadata"]["namespace"]);
        assert_eq!(nodes[text(found, "/node_uid")]["name"], pod["spec"]["nodeName"]);
    }
}

#[test]
fn containers_are_those_of_running_pods() {
    needs!("kubernetes", "containerd");
    let run = collect("k8s-inventory", "kubernetes,containerd", &[]).exits(0);
    let document: Value = serde_json::from_str(&run.stdout).unwrap();
    let pods = kubectl("pods");
    // The one in a crash loop may have been made anew since.
    let running =
        pods.iter().filter(|pod| text(pod, "/status/phase") == "Running" && text(pod, "/metadata/name") != "crashing");
    let mut expected: Vec<Value> = Vec::new();
    for pod in running {
        for (spec, status) in containers(pod) {
            let status = status.unwrap();
            let digest = digest(status);
            expected.push(json!({
                "id": status["containerID"],
                "image_tag": tag(spec, &digest),
                "image_digest": digest,
                "name": spec["name"],
                "pod_uid": pod["metadata"]["uid"],
            }));
        }
    }
    let crashing = pods.iter().find(|pod| text(pod, "/metadata/name") == "crashing").unwrap();
    let found = document["containers"].as_array().unwrap().iter();
    let mut found: Vec<Value> =
        found.filter(|container| container["pod_uid"] != crashing["metadata"]["uid"]).cloned().collect();
    let id = |container: &Value| text(container, "/id").to_owned();
    expected.sort_by_key(id);
    found.sort_by_key(id);
    assert_eq!(found, expected);
    assert!(found.len() >= 10 && found.iter().all(|container| id(container).starts_with("containerd://")), "{run}");
}
