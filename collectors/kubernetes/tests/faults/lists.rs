//! Which lists are asked for, and how.

use serde_json::json;
use stocktake_core::{
    RuntimeCollector as _, Selection,
    model::{ContainerState, Coverage, ScopeId},
};

use crate::{
    fake::{Answer, FakeServer, list, pod},
    look::{Sink, collect, collector, healthy, look},
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

#[tokio::test]
async fn a_list_from_the_cache_is_no_older_than_the_last() {
    let server = healthy(&["a"], |request| {
        let version = request.times + 40;
        Answer::ok(&json!({"metadata": {"resourceVersion": version.to_string()}, "items": [pod("a", "1")]}))
    });
    let collector = collector(&server, json!({}));
    for _ in 0..3 {
        look(&collector).await.0.unwrap();
    }
    let asked = server.asked(|request| request.path == "/api/v1/pods");
    let versions: Vec<_> = asked.iter().map(|request| request.query("resourceVersion").unwrap()).collect();
    assert_eq!(versions, ["0", "41", "41"]);
    assert!(asked.iter().all(|request| request.query("limit").is_none()));
    assert_eq!(server.connections(), 1, "one request after the other");
}

#[tokio::test]
async fn a_server_that_is_behind_what_it_answered_is_taken_as_it_is() {
    for status in [Answer::status, Answer::status_in_protobuf] {
        let server = healthy(&["a"], move |request| match request.query("resourceVersion") {
            Some("41") => status(504, "Too large resource version: 41, current: 7"),
            _ if request.times == 1 => Answer::ok(&json!({"metadata": {"resourceVersion": "41"}, "items": []})),
            _ => Answer::ok(&json!({"metadata": {"resourceVersion": "7"}, "items": [pod("a", "1")]})),
        });
        let collector = collector(&server, json!({}));
        look(&collector).await.0.unwrap();
        let (result, sink) = look(&collector).await;
        assert_eq!(result.unwrap(), Coverage::Complete);
        assert_eq!(sink.namespace("a"), ("complete", vec!["1"]));
        assert_eq!(server.requests_of("/api/v1/pods"), 3);
    }
}

#[tokio::test]
async fn pages_are_as_new_as_can_be() {
    let server = healthy(&["a"], |request| {
        assert_eq!((request.query("resourceVersion"), request.query("limit")), (None, Some("500")));
        match request.query("continue") {
            None => Answer::ok(&list([pod("a", "1")], Some("two"))),
            Some(token) => {
                assert_eq!(token, "two");
                Answer::ok(&list([pod("a", "2")], None))
            }
        }
    });
    let (result, sink) = collect(&server, json!({"list": "pages"})).await;
    assert_eq!(result.unwrap(), Coverage::Complete);
    assert_eq!(sink.namespace("a"), ("complete", vec!["1", "2"]));
    assert_eq!((server.connections(), sink.cost.requests, sink.cost.throttled), (1, 4, 0));
    assert!(sink.cost.received_bytes > 100 && sink.cost.kept_bytes == 0, "{:?}", sink.cost);
}
