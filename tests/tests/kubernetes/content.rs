//! What is reported of pods of every kind, and of the node.

use std::{process::Command, sync::PoisonError};

use serde_json::json;
use stocktake_core::model::{ContainerKind, ContainerState, DigestFact, MissingReason, Scope, ScopeId, Text};
use stocktake_tests::{
    agent::Agent,
    bed,
    cleanup::Cleanup,
    needs,
    report::{Report, containers_of, image_of, owner_of, pod},
    tools, wait_until,
};

use crate::{BATCH, collect, namespace};

fn look() -> Report {
    collect("reader", "").exits(0).report()
}

fn pod_like<'a>(scope: &'a Scope, start: &str) -> &'a stocktake_core::model::Pod {
    scope.pods.iter().find(|pod| pod.name.starts_with(start)).unwrap_or_else(|| panic!("no pod {start}…"))
}

#[test]
fn containers_have_the_kind_of_their_list_in_the_specification() {
    use ContainerKind::{Ephemeral, Init, Regular};
    use ContainerState::{Exited, Running};
    needs!("kubernetes");
    let report = look();
    let shop = report.scope("k", &namespace("shop"));
    let kinds = |pod| {
        let mut kinds: Vec<_> = containers_of(shop, pod).iter().map(|c| (c.name.as_str(), c.kind, c.state)).collect();
        kinds.sort_unstable();
        kinds
    };
    assert_eq!(
        kinds(pod_like(shop, "web-")),
        [("helper", Regular, Running), ("setup", Init, Exited), ("web", Regular, Running)]
    );
    assert_eq!(kinds(pod(shop, "debugged")), [("debugger", Ephemeral, Running), ("main", Regular, Running)]);
}

#[test]
fn a_static_pod_is_joined_with_the_runtime_by_its_configurations_hash() {
    needs!("kubernetes");
    let report = look();
    let system = report.scope("k", &namespace("kube-system"));
    let mirror = pod(system, "static-web-bed-node");
    let hash = mirror.config_hash.as_deref().expect("a static pod has one");
    assert_ne!(hash, mirror.uid);
    let owner = owner_of(system, mirror).unwrap();
    assert_eq!((owner.kind.as_str(), owner.name.as_str(), owner.namespace.as_deref()), ("Node", "bed-node", None));

    let config =
        format!("[collectors.c]\ntype = 'containerd'\naddress = '{}'\nnamespaces = ['k8s.io']\n", bed::CONTAINERD);
    let runtime = Agent::collect(&config, &["--format", "json"]).run().exits(0).report();
    let known = pod(runtime.scope("c", &namespace("k8s.io")), "static-web-bed-node");
    assert_eq!(known.uid, hash, "the uid that containerd knows it by");
}

#[test]
fn pods_that_do_not_run_are_kept_with_their_state() {
    needs!("kubernetes");
    let report = look();
    let batch = report.scope("k", &namespace("batch"));
    let [crashing] = containers_of(batch, pod(batch, "crashing"))[..] else { panic!("one container") };
    assert!(crashing.restart_count.is_some_and(|count| count >= 1), "{crashing:?}");
    // It restarts ever more seldom, and may do so at this very moment.
    assert!(matches!(crashing.state, ContainerState::Waiting | ContainerState::Running | ContainerState::Exited));

    let [nightly] = containers_of(batch, pod_like(batch, "nightly-manual-"))[..] else { panic!("one container") };
    assert_eq!((nightly.state, nightly.exit_code), (ContainerState::Exited, Some(0)));
    assert!(nightly.started_at.is_some() && nightly.finished_at >= nightly.started_at);

    let shop = report.scope("k", &namespace("shop"));
    let [pending] = containers_of(shop, pod(shop, "pending-image"))[..] else { panic!("one container") };
    assert_eq!((pending.state, &pending.id), (ContainerState::Waiting, &None));
    assert!(matches!(pending.state_reason.as_deref(), Some("ImagePullBackOff" | "ErrImagePull")), "{pending:?}");
    assert_eq!(pending.image.as_deref(), Some("127.0.0.1:15000/team/missing:1.0"));
    let image = image_of(shop, pending).unwrap();
    assert_eq!(image.manifest_digest, DigestFact::missing(MissingReason::NotPulled));
    assert_eq!(pod(shop, "pending-image").phase.as_deref(), Some("Pending"));
}

#[test]
fn pods_are_shown_under_their_outermost_owner() {
    needs!("kubernetes");
    let report = look();
    let shop = report.scope("k", &namespace("shop"));
    let owner = |name: &str| {
        let owner = owner_of(shop, pod_like(shop, name))?;
        Some((owner.kind.as_str(), owner.name.as_str(), owner.api_version.as_deref()))
    };
    assert_eq!(owner("web-"), Some(("Deployment", "web", Some("apps/v1"))));
    assert_eq!(owner("db-"), Some(("StatefulSet", "db", Some("apps/v1"))));
    assert_eq!(owner("logs-"), Some(("DaemonSet", "logs", Some("apps/v1"))));
    assert_eq!(owner("side"), None);
    assert_eq!(shop.workloads.iter().filter(|workload| workload.name == "web").count(), 1, "two pods, one owner");
}

/// The bed's `CronJob` is suspended, and a job that kubectl makes from it by hand is not managed by it. So one is made
/// here that is, of a pod that no node will take.
#[test]
fn a_scheduled_jobs_pod_is_shown_under_its_cronjob() {
    const NAME: &str = "stocktake-test-scheduled";
    needs!("kubernetes");
    let _alone = BATCH.write().unwrap_or_else(PoisonError::into_inner);
    let cronjob = tools::json(tools::kubectl().args(["-n", "batch", "get", "cronjob", "nightly", "-o", "json"]));
    let job = json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": { "name": NAME, "namespace": "batch", "ownerReferences": [{
            "apiVersion": "batch/v1beta1", "kind": "CronJob", "name": "nightly",
            "uid": cronjob["metadata"]["uid"], "controller": true,
        }] },
        "spec": { "template": { "spec": {
            "restartPolicy": "Never", "nodeSelector": { "stocktake-test": "no-such-node" },
            "containers": [{ "name": "nightly", "image": bed::APP_IMAGE }],
        } } },
    });
    let remove = || {
        // With its pod, which would otherwise go at some time later, between two looks of another test.
        let delete = ["delete", "job", NAME, "--ignore-not-found", "--cascade=foreground"];
        drop(tools::try_output(tools::kubectl().args(["-n", "batch"]).args(delete)));
    };
    remove();
    let _cleanup = Cleanup::new(remove);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("job.json");
    std::fs::write(&file, job.to_string()).unwrap();
    tools::output(tools::kubectl().args(["create", "-f"]).arg(&file));
    let selector = format!("--selector=job-name={NAME}");
    wait_until("the job's pod", || {
        !tools::output(tools::kubectl().args(["-n", "batch", "get", "pods", "-o", "name", &selector])).is_empty()
    });

    let report = look();
    let batch = report.scope("k", &namespace("batch"));
    let scheduled = pod_like(batch, NAME);
    let owner = owner_of(batch, scheduled).unwrap();
    assert_eq!((owner.kind.as_str(), owner.name.as_str()), ("CronJob", "nightly"));
    let [container] = containers_of(batch, scheduled)[..] else { panic!("one container") };
    assert_eq!((container.state, &container.node_name), (ContainerState::Waiting, &None));
}

/// Two names of one image: the node's runtime tells the kubelet either of them, whatever was asked for.
#[test]
fn the_image_is_named_as_it_was_asked_for() {
    needs!("kubernetes");
    let pods = tools::json(tools::kubectl().args(["get", "pods", "-n", "shop", "-l", "app=web", "-o", "json"]));
    let report = look();
    let shop = report.scope("k", &namespace("shop"));
    let mut renamed = 0;
    for item in pods["items"].as_array().unwrap() {
        let seen = pod(shop, item["metadata"]["name"].as_str().unwrap());
        for container in containers_of(shop, seen) {
            let of = |list: &serde_json::Value| {
                let entry = list.as_array().unwrap().iter().find(|entry| entry["name"] == container.name.as_str())?;
                entry["image"].as_str().map(str::to_owned)
            };
            let Some(asked) = of(&item["spec"]["containers"]) else { continue };
            assert_eq!(container.image.as_deref(), Some(asked.as_str()));
            renamed += usize::from(of(&item["status"]["containerStatuses"]) != Some(asked));
        }
    }
    assert!(renamed > 0, "the bed shows no container whose status has another name, so this proves nothing");
}

#[test]
fn the_node_is_described() {
    needs!("kubernetes");
    let report = look();
    let [node] = &report.scope("k", &ScopeId::cluster()).nodes[..] else { panic!("one node") };
    let kernel = tools::output(Command::new("uname").arg("-r"));
    assert_eq!(node.name, "bed-node");
    assert_eq!(node.kernel_version.as_deref(), Some(kernel.trim()));
    assert_eq!(node.kubelet_version.as_deref(), Some("v1.20.2"));
    assert!(node.container_runtime_version.as_deref().is_some_and(|version| version.starts_with("containerd://1.6.")));
    assert_eq!(node.ready, Some(true));
    let namespaces = &report.scope("k", &ScopeId::cluster()).namespaces;
    let shop = namespaces.iter().find(|namespace| namespace.name == "shop").unwrap();
    assert_eq!(shop.labels.get("team").map(Text::as_str), Some("shop"));
}

#[test]
fn no_secret_is_in_a_report() {
    needs!("kubernetes");
    let run = collect("admin", "").exits(0);
    // `kubectl apply` keeps the whole object in an annotation, command line and environment included.
    let object = tools::output(tools::kubectl().args(["-n", "shop", "get", "pod", "side", "-o", "json"]));
    assert!(object.contains("last-applied-configuration"), "the bed's pods are not applied, so this proves nothing");
    assert!(!run.stdout.contains("last-applied-configuration"));
}
