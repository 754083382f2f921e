use serde::de::DeserializeOwned;
use serde_json::json;
use stocktake_core::{
    model::{Counts, DigestFact, Image, Scope},
    normalise,
};

use super::*;
use crate::{bad_input::List, owners::Owners, scope::PodScope, texts::Texts};

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn convert(pod: serde_json::Value) -> ConvertedPod {
    convert_pod(serde_json::from_value(pod).unwrap(), &Text::from("shop"), &mut Texts::default())
}

fn find(pod: &ConvertedPod, name: &str) -> Container {
    pod.containers.iter().find(|container| container.name == name).unwrap().clone().of(&pod.pod)
}

/// What Kubernetes 1.20.2 with containerd 1.6.20 answered on the test bed; of this machine only the kernel's name and its
/// ids were changed.
fn recorded<T: DeserializeOwned>(json: &str) -> Vec<T> {
    serde_json::from_str::<List<T>>(json).unwrap().items.unwrap()
}

fn owners() -> Owners {
    let (mut owners, mut texts) = (Owners::default(), Texts::default());
    let lists = [include_str!("../../testdata/replicasets.json"), include_str!("../../testdata/jobs.json")];
    for (link, list) in lists.into_iter().enumerate() {
        for owned in recorded::<wire::Owned>(list) {
            owners.add(link, &owned.metadata.unwrap(), &mut texts);
        }
    }
    owners
}

fn scope(namespace: &str, owners: &Owners) -> (Scope, Counts) {
    let (mut scope, mut texts) = (PodScope::default(), Texts::default());
    for pod in recorded::<wire::Pod>(include_str!("../../testdata/pods.json")) {
        if pod.metadata.as_ref().unwrap().namespace.as_deref() == Some(namespace) {
            scope.add(convert_pod(pod, &Text::from(namespace), &mut texts), true);
        }
    }
    let mut body = scope.into_body(owners);
    let counts = normalise(&mut body);
    (body, counts)
}

#[test]
fn recorded_pods() {
    let owners = owners();
    for namespace in ["shop", "batch", "kube-system"] {
        let (body, counts) = scope(namespace, &owners);
        assert_eq!((counts.dangling_references, counts.duplicates), (0, 0), "{namespace}");
        insta::assert_json_snapshot!(namespace, body);
    }
}

#[test]
fn recorded_nodes_and_namespaces() {
    let nodes = recorded(include_str!("../../testdata/nodes.json")).into_iter().map(convert_node);
    let namespaces = recorded(include_str!("../../testdata/namespaces.json")).into_iter().map(convert_namespace);
    let body = Scope { nodes: nodes.collect(), namespaces: namespaces.collect(), ..Scope::default() };
    insta::assert_json_snapshot!("cluster", body);
}

#[test]
fn without_their_lists_the_immediate_owners_stand_for_the_outermost() {
    let kinds = |namespace, owners: &Owners| -> Vec<Text> {
        scope(namespace, owners).0.workloads.into_iter().map(|workload| workload.kind).collect()
    };
    assert_eq!(
        (kinds("shop", &owners()), kinds("batch", &owners())),
        (vec!["Deployment".into()], vec!["CronJob".into()])
    );
    let none = Owners::default();
    assert_eq!((kinds("shop", &none), kinds("batch", &none)), (vec!["ReplicaSet".into()], vec!["Job".into()]));
}

#[test]
fn the_name_is_that_of_the_specification() {
    // Both were asked for, and have the same content: the status shows one name for both (kubernetes#51017).
    let (body, _) = scope("shop", &Owners::default());
    let web = |name: &str| body.containers.iter().find(|container| container.name == name).unwrap();
    assert_eq!(web("web").image.as_deref(), Some("127.0.0.1:15000/team/app:1.0"));
    assert_eq!(web("helper").image.as_deref(), Some("127.0.0.1:15000/mirror/app:1.0"));
    assert_eq!(web("web").image_ref, web("helper").image_ref);
}

// Hand-written: Kubernetes 1.20, which the recorded objects are of, has no sidecars and no debugging by default.
#[test]
fn kinds_of_containers() {
    let pod = convert(json!({
        "metadata": {"name": "p", "uid": "u"},
        "spec": {
            "initContainers": [
                {"name": "setup", "image": "a"},
                {"name": "mesh", "image": "b", "restartPolicy": "Always"},
            ],
            "containers": [{"name": "main", "image": "c"}],
            "ephemeralContainers": [{"name": "debugger", "image": "d"}],
        },
        "status": {
            "ephemeralContainerStatuses": [{"name": "debugger", "state": {"running": {}}}],
            "initContainerStatuses": [{"name": "mesh", "state": {"running": {"startedAt": "2026-11-23T20:00:00Z"}}}],
        },
    }));
    let kinds = ["setup", "mesh", "main", "debugger"].map(|name| find(&pod, name).kind);
    assert_eq!(kinds.map(ContainerKind::as_str), ["init", "sidecar", "regular", "ephemeral"]);
    assert_eq!(find(&pod, "mesh").started_at, Some("2026-11-23T20:00:00Z".parse().unwrap()));
    assert_eq!(find(&pod, "debugger").state, ContainerState::Running);
}

#[test]
fn neither_a_specification_nor_a_status_is_lost() {
    let pod = convert(json!({
        "metadata": {"name": "p", "uid": "u"},
        "spec": {"containers": [{"name": "a", "image": "a:1"}, {"name": "b", "image": "b:1"}]},
        "status": {"containerStatuses": [
            {"name": "gone", "containerID": "containerd://1", "imageID": format!("x@{DIGEST}"), "image": "x:1",
             "state": {"terminated": {"exitCode": 3_000_000_000_u32, "reason": ""}}},
            {"name": "b", "restartCount": 2, "state": {}, "lastState": {"terminated": {"exitCode": 1}}},
            {"name": "bare", "state": {}},
        ]},
    }));
    let names: Vec<_> = pod.containers.iter().map(|container| container.name.as_str()).collect();
    assert_eq!(names.len(), 4);
    for (name, state) in [
        ("a", ContainerState::Waiting),
        ("b", ContainerState::Waiting),
        ("gone", ContainerState::Exited),
        ("bare", ContainerState::Waiting),
    ] {
        assert_eq!(find(&pod, name).state, state, "{name}");
    }
    let gone = find(&pod, "gone");
    assert_eq!((gone.id.as_deref(), gone.image.as_deref()), (Some("1"), None), "a status' image is some name");
    assert_eq!((gone.exit_code, gone.state_reason.as_deref()), (None, None));
    assert_eq!(find(&pod, "b").restart_count, Some(2));
    assert_eq!(find(&pod, "b").exit_code, None, "the run before this one is over");
    assert_eq!(find(&pod, "bare").image_missing, Some(MissingReason::NotReported));
}

#[test]
fn an_image_that_no_status_names_goes_by_its_name() {
    let image = |status: serde_json::Value| {
        let pod = convert(json!({
            "metadata": {"name": "p", "uid": "u"},
            "spec": {"containers": [{"name": "a", "image": "a:1"}]},
            "status": status,
        }));
        let mut scope = PodScope::default();
        scope.add(pod, true);
        scope.into_body(&Owners::default()).images.remove(0)
    };
    for (status, reason) in [
        (json!(null), MissingReason::NotPulled),
        (
            json!({"containerStatuses": [{"name": "a", "imageID": "", "state": {"waiting": {"reason": "ErrImagePull"}}}]}),
            MissingReason::NotPulled,
        ),
        // What the kubelet writes of a container whose record it has lost.
        (
            json!({"containerStatuses": [{"name": "a", "imageID": "",
                "state": {"terminated": {"exitCode": 137, "reason": "ContainerStatusUnknown"}}}]}),
            MissingReason::NotReported,
        ),
    ] {
        let image = image(status);
        assert_eq!((image.id.as_str(), &image.names[..]), ("name://a:1", &[Text::from("a:1")][..]));
        assert_eq!(image.manifest_digest, DigestFact::missing(reason));
    }
}

#[test]
fn an_image_that_is_asked_for_and_one_that_is_there_stay_two() {
    let pinned = format!("repo@{DIGEST}");
    let pod = |name: &str, status: serde_json::Value| {
        json!({
            "metadata": {"name": name, "uid": name},
            "spec": {"containers": [{"name": "a", "image": pinned}]},
            "status": {"containerStatuses": [status]},
        })
    };
    let waiting = pod("w", json!({"name": "a", "imageID": "", "state": {"waiting": {"reason": "ErrImagePull"}}}));
    let lost = pod("l", json!({"name": "a", "imageID": "", "state": {"terminated": {"exitCode": 137}}}));
    let running = pod("r", json!({"name": "a", "imageID": pinned, "containerID": "c://1", "state": {"running": {}}}));
    let body = |pods: [&serde_json::Value; 3]| {
        let mut scope = PodScope::default();
        for pod in pods {
            scope.add(convert(pod.clone()), true);
        }
        let mut body = scope.into_body(&Owners::default());
        assert_eq!(normalise(&mut body).duplicates, 0);
        body
    };
    let expected = body([&waiting, &lost, &running]);
    let told = |image: &Image| (image.id.clone(), image.repo_digests.len(), image.manifest_digest.clone());
    assert_eq!(
        expected.images.iter().map(told).collect::<Vec<_>>(),
        [
            // What is asked for may not exist: it is no digest under which anything was served.
            (format!("name://{pinned}").into(), 0, DigestFact::missing(MissingReason::NotReported)),
            (pinned.as_str().into(), 1, DigestFact::missing(MissingReason::Ambiguous)),
        ]
    );
    for order in [[&waiting, &running, &lost], [&running, &waiting, &lost], [&lost, &running, &waiting]] {
        assert_eq!(body(order), expected);
    }
}

#[test]
fn a_pod_that_has_ended_has_no_waiting_containers() {
    let pod = convert(json!({
        "metadata": {"name": "p", "uid": "u"},
        "spec": {"containers": [{"name": "a", "image": "a:1"}]},
        "status": {"phase": "Failed", "reason": "Evicted"},
    }));
    let container = find(&pod, "a");
    assert_eq!((container.state, container.state_reason.as_deref()), (ContainerState::Unknown, Some("Evicted")));
    assert_eq!(pod.pod.reason.as_deref(), Some("Evicted"));
}
