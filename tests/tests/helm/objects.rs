//! What the API server of a real cluster, and its controllers, make of the objects that are rendered.
//!
//! The bed's Kubernetes knows no `--validate=strict`, which came with 1.25. `kubectl` checks each field by what the server
//! publishes, and server-side apply refuses a field that the server does not know.

use std::{fs, path::Path};

use serde_json::{Value, json};
use stocktake_tests::{cleanup::Cleanup, repository, tools, wait_until};

use crate::{merged, release::Release, release::values, security::violations};

/// A kind of the cluster for as long as it is held, by the file in `tests/helm/definitions`.
pub(crate) fn defined(name: &str) -> Cleanup<impl FnMut()> {
    let path = repository().join("tests/helm/definitions").join(name);
    let remove = |path: &Path| {
        let flags = ["delete", "--ignore-not-found", "--timeout=5m", "-f"];
        drop(tools::try_output(tools::kubectl().args(flags).arg(path)));
    };
    // What a killed run has left.
    remove(&path);
    let held = path.clone();
    let defined = Cleanup::new(move || remove(&held));
    tools::output(tools::kubectl().args(["create", "-f"]).arg(&path));
    wait_until("the kind to be served", || {
        tools::try_output(
            tools::kubectl().args(["wait", "--for=condition=established", "--timeout=10s", "-f"]).arg(&path),
        )
        .is_ok()
    });
    defined
}

/// Everything that the chart can make.
fn everything() -> Value {
    let budget = json!({"podDisruptionBudget": {"enabled": true}});
    let relabelings = json!([{"action": "replace", "sourceLabels": ["__meta_kubernetes_pod_name"], "regex": "(.*)",
        "targetLabel": "pod", "replacement": "$1"}]);
    values(&json!({
        "config": {"targets": {"stocktake": {"url": "https://stocktake.example.com"}}},
        "credentials": {"stocktake": {"token": "t"}},
        "agent": merged(&budget, &json!({"replicas": 2})),
        "node": {"enabled": true, "spool": {"hostPath": "/var/lib/stocktake"}},
        "server": merged(&json!({"podDisruptionBudget": {"enabled": true, "minAvailable": "50%"}}),
            &json!({"enabled": true, "tls": {"existingSecret": "tls"}, "config": {"metrics": {"public": true},
                "server": {"tls": {"client_ca": "/etc/stocktake-tls/ca.crt"}}}})),
        "networkPolicy": {"enabled": true, "metricsFrom": [{"podSelector": {}}],
            "extraEgress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}]},
        "serviceMonitor": {"enabled": true, "labels": {"release": "prometheus"}, "relabelings": relabelings,
            "metricRelabelings": [{"action": "labeldrop", "regex": "pod"}]},
        "commonLabels": {"team": "x"}, "commonAnnotations": {"example.com/a": "b"},
    }))
}

/// Has the API server look at an object as if it was applied.
fn tried(object: &Value) -> Result<String, String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), object.to_string()).unwrap();
    let mut apply = tools::kubectl();
    let flags = ["apply", "--server-side", "--dry-run=server", "--validate=true", "-o", "name", "-f"];
    tools::try_output(apply.args(flags).arg(file.path()))
}

/// What needs more than the bed has is at least taken by its API server.
pub(crate) fn the_api_server_takes_what_is_rendered() {
    let release = Release::new("helm-render");
    let objects = release.rendered(&everything());
    let mut kinds: Vec<&str> = objects.iter().map(|object| object["kind"].as_str().unwrap()).collect();
    for object in &objects {
        tried(object).unwrap_or_else(|error| panic!("{error}: {object}"));
    }
    // Without a port of its own for health, the server is asked by HTTPS.
    let open = json!({"server": {"config": {"server": {"tls": null}}}});
    let asked = release.rendered(&merged(&everything(), &open));
    let monitor = asked.iter().find(|object| object["kind"] == "ServiceMonitor").unwrap();
    assert_eq!(monitor["spec"]["endpoints"][1]["tlsConfig"]["ca"]["secret"]["name"], "tls", "{monitor}");
    tried(monitor).unwrap_or_else(|error| panic!("{error}: {monitor}"));
    // "Taken" says something: one field more is refused.
    for kind in ["NetworkPolicy", "PodDisruptionBudget", "Service", "ServiceMonitor", "Deployment", "DaemonSet"] {
        let object = objects.iter().find(|object| object["kind"] == kind);
        let object = object.unwrap_or_else(|| panic!("there is no {kind} in {kinds:?}"));
        let refused = tried(&merged(object, &json!({"spec": {"unheardOf": 1}}))).expect_err(kind);
        assert!(refused.contains("unheardOf"), "{kind}: {refused}");
    }
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(
        kinds,
        [
            "ClusterRole",
            "ClusterRoleBinding",
            "ConfigMap",
            "DaemonSet",
            "Deployment",
            "Lease",
            "NetworkPolicy",
            "PersistentVolumeClaim",
            "PodDisruptionBudget",
            "Role",
            "RoleBinding",
            "Secret",
            "Service",
            "ServiceAccount",
            "ServiceMonitor"
        ]
    );
}

/// Whom the objects of an installed release are about. No controller of the bed's keeps to network policies, so that what they allow and
/// what not is not tried: they select the pods that they are for.
pub(crate) fn what_is_installed_is_about_its_pods(release: &Release) {
    let agent = release.pods("agent").remove(0);
    let name = "st-stocktake-agent";
    wait_until("the budget to know the agent", || {
        let status = release.get(&["poddisruptionbudget", name])["status"].clone();
        (&status["expectedPods"], &status["currentHealthy"]) == (&json!(1), &json!(1))
    });
    let endpoints = release.get(&["endpoints", name])["subsets"].clone();
    assert_eq!(endpoints[0]["addresses"][0]["targetRef"]["name"], json!(agent), "{endpoints}");
    assert_eq!(endpoints[0]["ports"][0]["name"], "telemetry", "{endpoints}");

    let selected = |kind: &str, labels: &Value| {
        let labels = labels.as_object().unwrap().iter();
        let labels: Vec<String> = labels.map(|(key, value)| format!("{key}={}", value.as_str().unwrap())).collect();
        release.get(&[kind, "-l", &labels.join(",")])["items"].as_array().unwrap().clone()
    };
    let policy = release.get(&["networkpolicy", name])["spec"].clone();
    let pods = selected("pods", &policy["podSelector"]["matchLabels"]);
    assert_eq!(pods.iter().map(|pod| &pod["metadata"]["name"]).collect::<Vec<_>>(), [&json!(agent)]);
    let monitor = release.get(&["servicemonitor", "st-stocktake"])["spec"].clone();
    let services = selected("services", &monitor["selector"]["matchLabels"]);
    assert_eq!(services.iter().map(|service| &service["metadata"]["name"]).collect::<Vec<_>>(), [&json!(name)]);
    assert_eq!(monitor["endpoints"][0]["port"], services[0]["spec"]["ports"][0]["name"]);
}

/// What the constraints `restricted-v2` of `OpenShift`, by which pods of any namespace run, would refuse: besides what the standard
/// "restricted" does, users and groups that are none of the namespace's range.
fn refused_by_openshift(pod: &Value) -> Vec<&'static str> {
    let mut found = violations(pod);
    let containers =
        pod["containers"].as_array().unwrap().iter().chain(pod["initContainers"].as_array().into_iter().flatten());
    for context in containers.map(|container| &container["securityContext"]).chain([&pod["securityContext"]]) {
        let chosen = ["runAsUser", "runAsGroup", "fsGroup", "supplementalGroups", "seLinuxOptions"];
        found.extend(chosen.iter().filter(|key| !context[**key].is_null()));
    }
    found
}

pub(crate) fn openshift_refuses_nothing() {
    let release = Release::new("helm-openshift");
    // Pods of the bed share the node's network, which OpenShift would refuse and the chart does not do by itself.
    let own_network = json!({"agent": {"hostNetwork": false}, "server": {"hostNetwork": false}});
    let claim = json!({"agent": {"replicas": 1, "spool": {"existingClaim": "spool"}}});
    let values = merged(&merged(&everything(), &own_network), &claim);
    let refused = |objects: &[Value]| -> Vec<&str> {
        let pods = objects.iter().filter(|object| object["kind"] == "Deployment");
        pods.flat_map(|object| refused_by_openshift(&object["spec"]["template"]["spec"])).collect()
    };
    let elsewhere = refused(&release.rendered(&values));
    assert_eq!(elsewhere, ["fsGroup"; 2], "volumes are not made those of the agent's and the server's group");
    let _openshift = defined("securitycontextconstraints.yaml");
    let objects = release.rendered(&values);
    assert_eq!(objects.iter().filter(|object| object["kind"] == "Deployment").count(), 2);
    assert_eq!(refused(&objects), [""; 0]);
}
