//! What `kubectl get pods` says: each container of a specification with its status.

use serde_json::Value;
use stocktake_tests::tools;

use crate::view::{Key, Seen, View};

pub(crate) fn add(view: &mut View, collector: &str) {
    let pods = tools::json(tools::kubectl().args(["get", "pods", "--all-namespaces", "--output", "json"]));
    for pod in pods["items"].as_array().unwrap() {
        let namespace = pod["metadata"]["namespace"].as_str().unwrap();
        let pod_name = format!("{namespace}/{}", pod["metadata"]["name"].as_str().unwrap());
        for (kind, specs, statuses) in [
            ("init", "initContainers", "initContainerStatuses"),
            ("regular", "containers", "containerStatuses"),
            ("ephemeral", "ephemeralContainers", "ephemeralContainerStatuses"),
        ] {
            for spec in pod["spec"][specs].as_array().into_iter().flatten() {
                let name = spec["name"].as_str().unwrap();
                let statuses = pod["status"][statuses].as_array().into_iter().flatten();
                let status = statuses.into_iter().find(|status| status["name"] == name).unwrap_or(&Value::Null);
                let mut seen = container(spec, status);
                kind.clone_into(&mut seen.kind);
                seen.pod = Some(pod_name.clone());
                let key = Key {
                    collector: collector.to_owned(),
                    scope: format!("namespace {namespace}"),
                    label: format!("{pod_name} {name}"),
                };
                view.insert(key, seen);
            }
        }
    }
}

fn container(spec: &Value, status: &Value) -> Seen {
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let image_id = text(&status["imageID"]);
    let is_config = image_id.as_ref().is_some_and(|id| id.starts_with("sha256:"));
    Seen {
        id: text(&status["containerID"]).map(|id| id.trim_start_matches("containerd://").to_owned()),
        name: text(&spec["name"]).unwrap(),
        state: state(&status["state"]),
        image: text(&spec["image"]),
        config: image_id.clone().filter(|_| is_config),
        repo_digests: image_id.into_iter().filter(|_| !is_config).collect(),
        ..Seen::default()
    }
}

fn state(state: &Value) -> String {
    let reason = |state: &Value| state["reason"].as_str().unwrap_or_default().to_owned();
    let (word, reason, code) = if state["running"].is_object() {
        ("running", String::new(), String::new())
    } else if let ended @ Value::Object(_) = &state["terminated"] {
        ("exited", reason(ended), ended["exitCode"].to_string())
    } else {
        ("waiting", reason(&state["waiting"]), String::new())
    };
    format!("{word} {reason} {code}").trim().to_owned()
}
