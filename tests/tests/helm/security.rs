//! The pods have what the chart's README promises, and every value of Anchore's charts has its place.

use std::fs;

use serde_json::{Value, json};
use stocktake_tests::repository;

use crate::{least, merged, named, python, render, restricted::refused};

/// Violations of the standard "restricted", and of what else is promised of every pod.
pub(crate) fn violations(pod: &Value) -> Vec<&'static str> {
    let mut found = refused(pod);
    let mut demand = |holds: bool, what: &'static str| {
        if !holds {
            found.push(what);
        }
    };
    // The standard takes one of the node's own, too.
    demand(pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault", "another seccomp profile");
    // OpenShift chooses one.
    demand(pod["securityContext"]["runAsUser"].is_null(), "a user by number");
    for container in pod["containers"].as_array().unwrap() {
        let context = &container["securityContext"];
        demand(context["capabilities"] == json!({"drop": ["ALL"]}), "capabilities of its own");
        demand(context["readOnlyRootFilesystem"] == true, "readOnlyRootFilesystem");
        demand(!container["resources"]["requests"].is_null(), "resources");
    }
    found
}

#[test]
fn pods_are_as_promised() {
    let objects = render(&merged(&least(), &json!({"server": {"enabled": true}, "agent": {"replicas": 2}})));
    for name in ["st-stocktake-agent", "st-stocktake-server"] {
        assert_eq!(violations(&named(&objects, "Deployment", name)["spec"]["template"]["spec"]), [""; 0], "{name}");
    }
    assert_eq!(violations(&named(&objects, "Pod", "st-stocktake-test")["spec"]), [""; 0]);
    let context = json!({"capabilities": {"add": ["NET_BIND_SERVICE"]}, "readOnlyRootFilesystem": false});
    let wrong = json!({"agent": {
        "hostNetwork": true, "securityContext": context, "resources": null,
        "podSecurityContext": {"runAsUser": 1000, "seccompProfile": {"type": "Localhost", "localhostProfile": "own.json"}},
    }});
    let wrong = render(&merged(&least(), &wrong));
    let pod = &named(&wrong, "Deployment", "st-stocktake-agent")["spec"]["template"]["spec"];
    let of_pod = ["host namespaces", "another seccomp profile", "a user by number"];
    let of_container = ["capabilities of its own", "readOnlyRootFilesystem", "resources"];
    assert_eq!(violations(pod), [of_pod, of_container].concat());
}

#[test]
fn pods_of_nodes_have_what_they_look_at_and_no_more() {
    let sockets = json!({"docker": "/var/run/docker.sock", "cri": "/run/crio/crio.sock"});
    let objects = render(&merged(&least(), &json!({"node": {"enabled": true, "sockets": sockets}})));
    let pod = &named(&objects, "DaemonSet", "st-stocktake-node")["spec"]["template"]["spec"];
    assert_eq!(violations(pod), ["runAsNonRoot", "runAsUser", "volumes", "a user by number"]);
    let host: Vec<_> =
        pod["volumes"].as_array().unwrap().iter().filter_map(|it| it["hostPath"]["path"].as_str()).collect();
    assert_eq!(host, ["/etc/machine-id", "/run/containerd", "/run/crio", "/var/run"]);
    let mounts = pod["containers"][0]["volumeMounts"].as_array().unwrap();
    let writable: Vec<_> =
        mounts.iter().filter(|it| it["readOnly"] != true).map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(writable, ["spool", "socket"]);

    // What the README says of nodes with SELinux comes beside the rest.
    let confined = json!({"node": {"enabled": true, "podSecurityContext": {"seLinuxOptions": {"type": "spc_t"}}}});
    let objects = render(&merged(&least(), &confined));
    let context = &named(&objects, "DaemonSet", "st-stocktake-node")["spec"]["template"]["spec"]["securityContext"];
    assert_eq!(*context, merged(&pod["securityContext"], &json!({"seLinuxOptions": {"type": "spc_t"}})));
}

/// Every value of both of Anchore's charts has a line in the table of the chart's README.
#[test]
fn every_value_of_anchores_charts_has_its_place() {
    let readme = fs::read_to_string(repository().join("deploy/helm/stocktake/README.md")).unwrap();
    let (_, table) = readme.split_once("<!-- values of Anchore's charts -->").expect("the table");
    let (table, _) = table.split_once("<!-- end -->").expect("the end of the table");
    let lines: Vec<&str> = table.lines().collect();
    let known = fs::read_to_string(repository().join("tests/helm/anchore-values.txt")).unwrap();
    let known: Vec<&str> = known.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    assert!(known.len() > 80, "only {} values", known.len());
    let missing: Vec<_> =
        known.iter().filter(|key| !lines.iter().any(|line| line.contains(&format!("`{key}`")))).collect();
    assert!(missing.is_empty(), "without a line: {missing:?}");
    // What it leads to is there.
    let values: Value = serde_json::from_str(&python("chart.py", &["values"], "")).unwrap();
    for line in lines.iter().filter(|line| line.starts_with("| `")) {
        let ours = line.split('|').nth(2).unwrap();
        let paths = ours.split('`').skip(1).step_by(2).filter(|path| !path.contains(' ') && !path.contains('='));
        for path in paths.filter(|path| path.contains('.') && !path.contains('<')) {
            let mut value = &values;
            for key in path.split('.') {
                let is_free = value.as_object().is_some_and(serde_json::Map::is_empty);
                if is_free {
                    break;
                }
                value = value.get(key).unwrap_or_else(|| panic!("there is no {path}, which stands in: {line}"));
            }
        }
    }
}

#[test]
fn the_chart_is_clean() {
    let told: Value = serde_json::from_str(&python("chart.py", &["lint"], &least().to_string())).unwrap();
    let severe = |message: &&Value| message["severity"].as_i64().unwrap_or_default() >= 2;
    let messages: Vec<_> = told["messages"].as_array().unwrap().iter().filter(severe).collect();
    assert!(messages.is_empty() && told["total_charts_linted"] == 1, "{told}");
}
