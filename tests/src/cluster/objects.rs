//! Objects as JSON: small ones for tests, and pods and nodes as large as real ones for benchmarks.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::population::Placed;
use crate::bed;

/// A pod of one container on no node that exists.
#[must_use]
pub fn plain_pod(name: &str) -> Value {
    json!({
        "metadata": { "name": name, "labels": { "app": "plain" } },
        "spec": { "nodeName": "node-0", "containers": [{ "name": "app", "image": bed::APP_IMAGE }] },
    })
}

/// What a kubelet says of it when it runs, to be merged.
#[must_use]
pub fn plain_status(name: &str) -> Value {
    json!({ "status": {
        "phase": "Running",
        "startTime": "2024-01-01T00:00:00Z",
        "containerStatuses": [{
            "name": "app", "image": bed::APP_IMAGE, "ready": true, "restartCount": 0, "started": true,
            "imageID": format!("127.0.0.1:15000/team/app@sha256:{}", "a".repeat(64)),
            "containerID": format!("containerd://{name}"),
            "state": { "running": { "startedAt": "2024-01-01T00:00:00Z" } },
        }],
    } })
}

/// `digits` hexadecimal digits that are another number's for no other `number`, and look like a digest's.
#[must_use]
pub fn hex(number: u64, digits: usize) -> String {
    let mut state = number;
    let mut text = String::with_capacity(digits + 16);
    while text.len() < digits {
        // SplitMix64 (Steele, Lea and Flood 2014), which maps 64 bits to 64 bits one to one.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        write!(text, "{:016x}", mixed ^ (mixed >> 31)).expect("a string takes all");
    }
    text.truncate(digits);
    text
}

/// A node with what a kubelet says of its machine and of the images that it has.
#[must_use]
pub fn node(number: usize) -> Value {
    let condition = |kind: &str, status: &str, reason: &str| {
        json!({ "type": kind, "status": status, "reason": reason, "message": format!("kubelet: {reason}"),
                "lastHeartbeatTime": "2024-06-01T00:00:00Z", "lastTransitionTime": "2024-01-01T00:00:00Z" })
    };
    let images: Vec<Value> = (0..20)
        .map(|image| {
            let (name, digest) = image_of(number * 7 + image);
            json!({ "names": [format!("{}@sha256:{digest}", repository_of(&name)), name], "sizeBytes": 50_000_000 + image })
        })
        .collect();
    let seed = number as u64;
    json!({
        "metadata": {
            "name": node_name(number),
            "labels": { "kubernetes.io/hostname": node_name(number), "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
                        "node.kubernetes.io/instance-type": "m5.2xlarge", "topology.kubernetes.io/zone": format!("eu-{}", number % 3) },
            "annotations": { "node.alpha.kubernetes.io/ttl": "0", "volumes.kubernetes.io/controller-managed-attach-detach": "true" },
        },
        "spec": { "podCIDR": format!("10.{}.{}.0/24", 128 + number / 256, number % 256), "providerID": format!("aws:///eu/i-{}", hex(seed, 17)) },
        "status": {
            "addresses": [{ "type": "InternalIP", "address": node_ip(number) }, { "type": "Hostname", "address": node_name(number) }],
            "capacity": { "cpu": "8", "memory": "32Gi", "pods": "110", "ephemeral-storage": "100Gi" },
            "allocatable": { "cpu": "7910m", "memory": "30Gi", "pods": "110", "ephemeral-storage": "90Gi" },
            "conditions": [
                condition("MemoryPressure", "False", "KubeletHasSufficientMemory"),
                condition("DiskPressure", "False", "KubeletHasNoDiskPressure"),
                condition("PIDPressure", "False", "KubeletHasSufficientPID"),
                condition("Ready", "True", "KubeletReady"),
            ],
            "daemonEndpoints": { "kubeletEndpoint": { "Port": 10250 } },
            "nodeInfo": {
                "architecture": "amd64", "operatingSystem": "linux", "osImage": "Debian GNU/Linux 12 (bookworm)",
                "kernelVersion": "6.1.0-18-amd64", "kubeletVersion": "v1.20.2", "kubeProxyVersion": "v1.20.2",
                "containerRuntimeVersion": "containerd://1.6.20", "machineID": hex(seed, 32), "systemUUID": uuid(seed), "bootID": uuid(!seed),
            },
            "images": images,
        },
    })
}

fn node_name(number: usize) -> String {
    format!("node-{number:04}")
}

fn node_ip(number: usize) -> String {
    format!("10.0.{}.{}", number / 250, number % 250 + 1)
}

fn uuid(seed: u64) -> String {
    let hex = hex(seed, 32);
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// Name and digest of one of some hundred images.
fn image_of(number: usize) -> (String, String) {
    let number = number % 300;
    (format!("registry.example.com/team-{}/service-{number}:1.{}.0", number % 12, number % 40), hex(number as u64, 64))
}

fn repository_of(image: &str) -> &str {
    image.rsplit_once(':').map_or(image, |(repository, _)| repository)
}

/// A `ReplicaSet`, owned by a Deployment that nothing looks for.
#[must_use]
pub fn replica_set(app: &str, number: usize) -> Value {
    let labels = labels(app, number);
    json!({
        "metadata": {
            "name": format!("{app}-{}", template_hash(number)),
            "labels": labels,
            "annotations": { "deployment.kubernetes.io/desired-replicas": "15", "deployment.kubernetes.io/revision": "3" },
            "ownerReferences": [{ "apiVersion": "apps/v1", "kind": "Deployment", "name": app, "uid": uuid(number as u64 + (1 << 40)),
                                  "controller": true, "blockOwnerDeletion": true }],
        },
        "spec": {
            "replicas": 0,
            "selector": { "matchLabels": labels },
            "template": { "metadata": { "labels": labels }, "spec": { "containers": [{ "name": "app", "image": image_of(number).0 }] } },
        },
    })
}

fn labels(app: &str, number: usize) -> Value {
    json!({ "app.kubernetes.io/name": app, "app": app, "version": format!("1.{}.0", number % 40), "pod-template-hash": template_hash(number) })
}

fn template_hash(replica_set: usize) -> String {
    hex(replica_set as u64 + (2 << 40), 10)
}

/// A pod as the controller of its `ReplicaSet` creates it, with what admission adds to real ones.
#[must_use]
pub fn pod(placed: &Placed<'_>, owner_uid: &str) -> Value {
    let owner = format!("{}-{}", placed.app, template_hash(placed.replica_set));
    let tolerations = ["not-ready", "unreachable"].map(|taint| {
        json!({ "key": format!("node.kubernetes.io/{taint}"), "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300 })
    });
    json!({
        "metadata": {
            "name": pod_name(placed),
            "labels": labels(placed.app, placed.replica_set),
            "annotations": { "prometheus.io/scrape": "true", "prometheus.io/port": "9090", "checksum/config": hex(placed.replica_set as u64, 64) },
            "ownerReferences": [{ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": owner, "uid": owner_uid,
                                  "controller": true, "blockOwnerDeletion": true }],
        },
        "spec": {
            "nodeName": node_name(placed.node),
            "serviceAccountName": "default",
            "terminationGracePeriodSeconds": 30,
            "initContainers": [container("setup", placed.replica_set + 2)],
            "containers": [container("app", placed.replica_set), container("proxy", placed.replica_set + 1)],
            "volumes": [
                { "name": "config", "configMap": { "name": format!("{}-config", placed.app) } },
                { "name": "default-token", "secret": { "secretName": "default-token-x7k2p" } },
                { "name": "scratch", "emptyDir": {} },
            ],
            "tolerations": tolerations,
        },
    })
}

/// The name of a pod, as a `ReplicaSet` makes it.
#[must_use]
pub fn pod_name(placed: &Placed<'_>) -> String {
    format!("{}-{}-{}", placed.app, template_hash(placed.replica_set), hex(placed.number as u64, 5 + 4))
}

fn container(name: &str, image: usize) -> Value {
    let mut container = json!({
        "name": name,
        "image": image_of(image).0,
        "imagePullPolicy": "IfNotPresent",
        "env": [
            { "name": "POD_NAME", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } },
            { "name": "LOG_LEVEL", "value": "info" },
            { "name": "DATABASE_HOST", "value": "postgres.databases.svc.cluster.local" },
        ],
        "resources": { "requests": { "cpu": "100m", "memory": "128Mi" }, "limits": { "cpu": "500m", "memory": "512Mi" } },
        "volumeMounts": [
            { "name": "config", "mountPath": "/etc/app", "readOnly": true },
            { "name": "default-token", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "readOnly": true },
            { "name": "scratch", "mountPath": "/tmp" },
        ],
        "securityContext": { "runAsNonRoot": true, "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } },
    });
    if name != "setup" {
        container["ports"] = json!([{ "name": format!("http-{name}"), "containerPort": 8080 + name.len() }]);
    }
    if name == "app" {
        for probe in ["livenessProbe", "readinessProbe"] {
            container[probe] =
                json!({ "httpGet": { "path": "/healthz", "port": 8080 + name.len() }, "periodSeconds": 10 });
        }
    }
    container
}

/// What a kubelet and a network plug-in say of the pod when it runs, to be merged into its status.
#[must_use]
pub fn status(placed: &Placed<'_>) -> Value {
    let ip = format!("10.{}.{}.{}", 128 + placed.number / 62_500, placed.number / 250 % 250, placed.number % 250 + 1);
    let condition = |kind: &str| json!({ "type": kind, "status": "True", "lastProbeTime": null, "lastTransitionTime": "2024-06-01T10:00:05Z" });
    let conditions = ["Initialized", "Ready", "ContainersReady", "PodScheduled"].map(condition);
    json!({
        "metadata": { "annotations": { "cni.projectcalico.org/podIP": format!("{ip}/32") } },
        "status": {
            "phase": "Running",
            "startTime": "2024-06-01T10:00:00Z",
            "hostIP": node_ip(placed.node),
            "podIP": ip,
            "podIPs": [{ "ip": ip }],
            "conditions": conditions,
            "initContainerStatuses": [container_status("setup", placed, 2)],
            "containerStatuses": [container_status("app", placed, 0), container_status("proxy", placed, 1)],
        },
    })
}

fn container_status(name: &str, placed: &Placed<'_>, offset: usize) -> Value {
    let (image, digest) = image_of(placed.replica_set + offset);
    let id = format!("containerd://{}", hex((placed.number * 3 + offset) as u64 + (3 << 40), 64));
    let mut status = json!({
        "name": name, "image": image, "imageID": format!("{}@sha256:{digest}", repository_of(&image)),
        "containerID": id, "ready": true, "restartCount": 0,
    });
    if name == "setup" {
        status["state"] = json!({ "terminated": {
            "exitCode": 0, "reason": "Completed", "containerID": id,
            "startedAt": "2024-06-01T10:00:01Z", "finishedAt": "2024-06-01T10:00:02Z",
        } });
    } else {
        status["started"] = json!(true);
        status["state"] = json!({ "running": { "startedAt": "2024-06-01T10:00:03Z" } });
    }
    status
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::hex;

    #[test]
    fn made_up_digests_are_long_enough_and_differ() {
        let all: BTreeSet<String> = (0..10_000).map(|number| hex(number, 64)).collect();
        assert!(all.len() == 10_000 && all.iter().all(|digest| digest.len() == 64));
    }
}
