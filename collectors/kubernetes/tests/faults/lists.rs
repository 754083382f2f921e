//! Which lists are asked for, and how.

use serde_json::json;
use stocktake_core::{
    RuntimeCollector as _, Selection,
    model::{ContainerState, Coverage, ScopeId},
};

use crate::{
    fake::{Answer, FakeServer, list, pod},
    look::{Sink, collect, collector, healthy},
};

#[tokio::test]
async fn only_what_is_asked_for_is_listed() {
    let server = FakeServer::start(|request| match request.path.as_str() {
        "/api/v1/namespaces/a/pods" => Answer::ok(&list([pod("a", "1")], None)),
        path => panic!("{path} was asked for"),
    });
    let mut sink = Sink::default();
    let only = Selection::Only([ScopeId::namespace("a"), ScopeId::namespace("kube-system")].into());
    let collector = collector(&server, json!({"namespaces": {"exclude": ["kube-*"]}}));
    assert_eq!(collector.collect(&only, &mut sink).await.unwrap(), Coverage::Complete);
    assert_eq!(sink.names(), ["namespace a"]);
}

#[tokio::test]
async fn owners_are_listed_once_and_only_when_a_pod_needs_them() {
    let owned = |name: &str, kind: &str, api_version: &str, uid: &str| {
        let mut pod = pod("a", name);
        pod["metadata"]["ownerReferences"] =
            json!([{"kind": kind, "apiVersion": api_version, "name": uid, "uid": uid, "controller": true}]);
        pod
    };
    let server = healthy(&["a"], move |request| match (request.path.as_str(), request.query("continue")) {
        ("/api/v1/pods", None) => Answer::ok(&list([owned("1", "ReplicaSet", "apps/v1", "rs")], Some("x"))),
        ("/api/v1/pods", _) => {
            Answer::ok(&list([owned("2", "ReplicaSet", "apps/v1", "rs"), owned("3", "Job", "batch/v1", "job")], None))
        }
        ("/apis/apps/v1/replicasets", _) => {
            assert!(
                request.header("accept").starts_with(
                    "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,"
                )
            );
            Answer::ok(&list(
                [json!({"metadata": {"name": "rs", "uid": "rs", "ownerReferences":
                    [{"kind": "Deployment", "apiVersion": "apps/v1", "name": "web", "uid": "d", "controller": true}]}})],
                None,
            ))
        }
        ("/apis/batch/v1/jobs", _) => Answer::status(403, "jobs is forbidden"),
        (path, _) => panic!("{path} was asked for"),
    });
    let (result, sink) = collect(&server, json!({})).await;
    assert_eq!(result.unwrap(), Coverage::Complete);
    assert_eq!(server.requests_of("/apis/apps/v1/replicasets"), 1);
    let scope = &sink.scopes[&ScopeId::namespace("a")];
    assert!(scope.coverage.is_complete(), "an owner that may not be seen is no loss");
    let owners: Vec<_> = scope.body.pods.iter().map(|pod| pod.workload.as_deref()).collect();
    assert_eq!(owners, [Some("d"), Some("d"), Some("job")]);
    assert_eq!(sink.warnings.len(), 1);
    assert!(sink.warnings[0].contains("may not list `jobs.batch`; grant `list`"), "{:?}", sink.warnings);
}

#[tokio::test]
async fn what_does_not_run_is_left_out_on_request() {
    let server = healthy(&["a"], |request| {
        assert_eq!(request.query("labelSelector"), Some("app in (x)"));
        assert_eq!(request.query("fieldSelector"), Some("status.phase!=Succeeded,status.phase!=Failed"));
        let mut running = pod("a", "1");
        running["spec"]["containers"] = json!([{"name": "runs", "image": "x:1"}, {"name": "waits", "image": "y:1"}]);
        running["status"] = json!({"phase": "Running", "containerStatuses": [
            {"name": "runs", "state": {"running": {}}, "imageID": ""}, {"name": "waits", "state": {"waiting": {}}}]});
        let mut ended = pod("a", "2");
        ended["status"] = json!({"phase": "Succeeded"});
        Answer::ok(&list([running, ended], None))
    });
    let (_, sink) = collect(&server, json!({"include_not_running": false, "label_selector": "app in (x)"})).await;
    assert_eq!(sink.namespace("a"), ("complete", vec!["1"]));
    let body = &sink.scopes[&ScopeId::namespace("a")].body;
    assert_eq!(body.containers.len(), 1);
    assert_eq!((body.containers[0].name.as_str(), body.containers[0].state), ("runs", ContainerState::Running));
    assert_eq!(body.images.iter().map(|image| image.id.as_str()).collect::<Vec<_>>(), ["name://x:1"]);
}

#[tokio::test]
async fn the_agent_introduces_itself_and_asks_for_what_costs_the_server_least() {
    let server = healthy(&["a"], |request| {
        assert_eq!(request.header("user-agent"), "stocktake-agent/test");
        assert_eq!(request.header("accept"), "application/vnd.kubernetes.protobuf,application/json");
        assert_eq!((request.query("resourceVersion"), request.query("limit")), (Some("0"), None));
        Answer::ok(&list([], None))
    });
    let (result, _) = collect(&server, json!({})).await;
    assert_eq!(result.unwrap(), Coverage::Complete);
    assert_eq!(server.requests(), 3, "namespaces, nodes and pods");
}
