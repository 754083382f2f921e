//! A private API server on an etcd of its own. Pods are objects, for there is nothing that would run them.

use std::sync::Arc;

use serde_json::{Value, json};
use stocktake_collector_kubernetes::KubernetesCollector;
use stocktake_core::conformance::Subject;
use stocktake_tests::{
    bed,
    cluster::{ADMIN, Cluster, Options},
};

use crate::{Private, SECRET, padding};

/// The whole cluster.
pub(crate) fn subject() -> Private {
    of("kubernetes", &json!({}), &[])
}

/// One of its nodes, which is the one scope that there can be.
pub(crate) fn node() -> Private {
    of("kubernetes-node", &json!({ "node": "node-a" }), &["C-21"])
}

fn of(name: &str, what: &Value, not_checked: &'static [&'static str]) -> Private {
    let cluster = Cluster::start(name, Options::default());
    fill(&cluster);
    let mut settings =
        json!({ "server": cluster.server(), "ca_file": cluster.ca_file(), "token": ADMIN, "cluster": "private" });
    settings.as_object_mut().expect("an object").extend(what.as_object().expect("an object").clone());
    Private {
        subject: Subject {
            daemon: Some(Arc::clone(cluster.api_server()) as _),
            secret: Some(SECRET.to_owned()),
            ..Subject::new::<KubernetesCollector>(settings)
        },
        not_checked,
        keep: vec![Box::new(cluster)],
    }
}

/// A node, and two namespaces with many pods.
fn fill(cluster: &Cluster) {
    let mut batch = cluster.batch();
    batch.send("POST", "/api/v1/nodes", &json!({ "metadata": { "name": "node-a" } }));
    for namespace in ["shop", "team-a"] {
        batch.send("POST", "/api/v1/namespaces", &json!({ "metadata": { "name": namespace } }));
        for number in 0..40 {
            let pods = format!("/api/v1/namespaces/{namespace}/pods");
            let name = format!("pod-{number}");
            batch.send("POST", &pods, &pod(&name));
            batch.send("PATCH", &format!("{pods}/{name}/status"), &status(namespace, number));
        }
    }
    batch.run();
}

fn pod(name: &str) -> Value {
    json!({
        "metadata": { "name": name, "annotations": { "padding": padding() } },
        "spec": {
            "nodeName": "node-a",
            "containers": [
                { "name": "app", "image": bed::APP_IMAGE, "env": [{ "name": "KEY", "value": SECRET }], "command": ["/bin/hold", SECRET] },
                { "name": "side", "image": bed::SIDE_IMAGE },
                { "name": "waiting", "image": "example.com/bed/never:1.0" },
            ],
        },
    })
}

/// As a kubelet reports a pulled image, one that was loaded, and one that cannot be had.
fn status(namespace: &str, number: u32) -> Value {
    let running = |name: &str, image: &str, image_id: String| {
        json!({
            "name": name, "image": image, "imageID": image_id, "ready": true, "restartCount": 1, "started": true,
            "containerID": format!("containerd://{namespace}-{name}-{number}"),
            "state": { "running": { "startedAt": "2024-01-01T00:00:00Z" } },
        })
    };
    let digest = |digit: &str| format!("sha256:{}", digit.repeat(64));
    json!({ "status": {
        "phase": "Running", "startTime": "2024-01-01T00:00:00Z",
        "containerStatuses": [
            running("app", bed::APP_IMAGE, format!("127.0.0.1:15000/team/app@{}", digest("a"))),
            running("side", bed::SIDE_IMAGE, digest("b")),
            { "name": "waiting", "image": "example.com/bed/never:1.0", "imageID": "", "ready": false, "restartCount": 0,
              "state": { "waiting": { "reason": "ImagePullBackOff" } } },
        ],
    } })
}
