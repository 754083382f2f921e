//! What only a broken API server does: an in-process fake over a real socket, with scripted answers.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

mod fake;

use std::{collections::BTreeMap, fs};

use fake::{Answer, FakeServer, Recorded, list, pod};
use serde_json::{Value, json};
use stocktake_collector_kubernetes::KubernetesCollector;
use stocktake_core::{
    CollectError, CollectorPlugin as _, ConfigError, Context, Location, ObservedScope, RuntimeCollector as _,
    ScopeSink, Selection,
    model::{ContainerState, Coverage, ScopeId, Warning},
};

#[derive(Default)]
struct Sink {
    scopes: BTreeMap<ScopeId, ObservedScope>,
    warnings: Vec<String>,
}

impl ScopeSink for Sink {
    fn scope(&mut self, scope: ObservedScope) {
        let id = scope.id.clone();
        assert!(self.scopes.insert(id.clone(), scope).is_none(), "{id} was handed over twice");
    }

    fn warning(&mut self, warning: Warning) {
        self.warnings.push(warning.message);
    }
}

impl Sink {
    /// Status and names of the pods of a namespace.
    fn namespace(&self, name: &str) -> (&str, Vec<&str>) {
        let scope = self.scopes.get(&ScopeId::namespace(name)).unwrap_or_else(|| panic!("no scope for {name}"));
        (scope.coverage.status(), scope.body.pods.iter().map(|pod| pod.name.as_str()).collect())
    }

    fn cluster(&self) -> &ObservedScope {
        &self.scopes[&ScopeId::cluster()]
    }

    fn names(&self) -> Vec<String> {
        self.scopes.keys().map(ToString::to_string).collect()
    }
}

fn collector(server: &FakeServer, mut settings: Value) -> KubernetesCollector {
    settings["server"] = json!(server.url());
    let context = Context { user_agent: "stocktake-agent/test".into(), ..Context::default() };
    KubernetesCollector::new(ConfigError::deserialize(settings).unwrap(), context).unwrap()
}

async fn collect(server: &FakeServer, settings: Value) -> (Result<Coverage, CollectError>, Sink) {
    let mut sink = Sink::default();
    let result = collector(server, settings).collect(&Selection::All, &mut sink).await;
    (result, sink)
}

/// Nodes and namespaces as they should be, pods by `pods`.
fn healthy(names: &'static [&'static str], pods: impl Fn(&Recorded) -> Answer + Send + Sync + 'static) -> FakeServer {
    FakeServer::start(move |request| match request.path.as_str() {
        "/api/v1/namespaces" => Answer::ok(&list(names.iter().map(|name| json!({"metadata": {"name": name}})), None)),
        "/api/v1/nodes" => Answer::ok(&list([json!({"metadata": {"name": "n1"}})], None)),
        _ => pods(request),
    })
}

/// A `continue` token as kube-apiserver writes it.
fn token(start: &str) -> String {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    URL_SAFE_NO_PAD.encode(format!(r#"{{"v":"meta.k8s.io/v1","rv":7,"start":"{start}\u0000"}}"#))
}

#[tokio::test]
async fn a_list_that_expires_begins_again() {
    let server = healthy(&["a", "b"], |request| match (request.query("continue"), request.times) {
        (None, 1) => Answer::ok(&list([pod("b", "old")], Some("two"))),
        (None, _) => Answer::ok(&list([pod("a", "new"), pod("b", "new")], None)),
        (Some(_), _) => Answer::status(410, "The provided continue parameter is too old"),
    });
    let (result, sink) = collect(&server, json!({})).await;
    assert_eq!(result.unwrap(), Coverage::Complete);
    assert_eq!(sink.namespace("a"), ("complete", vec!["new"]));
    assert_eq!(sink.namespace("b"), ("complete", vec!["new"]));
}

#[tokio::test]
async fn what_was_finished_before_a_list_expired_stays_as_it_was() {
    let server = healthy(&["a", "b", "empty"], |request| match (request.query("continue"), request.times) {
        (None, 1) => Answer::ok(&list([pod("a", "1"), pod("b", "1")], Some(&token("b/1")))),
        (Some(_), 1) => Answer::status(410, "too old"),
        (None, _) => Answer::ok(&list([pod("a", "1"), pod("a", "2"), pod("b", "1")], Some(&token("b/1")))),
        (Some(_), _) => Answer::ok(&list([pod("b", "2")], None)),
    });
    let (result, sink) = collect(&server, json!({})).await;
    assert_eq!(result.unwrap(), Coverage::Complete);
    assert_eq!(sink.namespace("a"), ("complete", vec!["1"]), "complete as of the first attempt");
    assert_eq!(sink.namespace("b"), ("complete", vec!["1", "2"]));
    assert_eq!(sink.namespace("empty"), ("complete", vec![]));
}

#[tokio::test]
async fn a_list_that_always_expires_is_given_up() {
    let server = healthy(&["a", "b"], |request| match request.query("continue") {
        None => Answer::ok(&list([pod("a", "1")], Some("two"))),
        Some(_) => Answer::status(410, "too old"),
    });
    let (result, sink) = collect(&server, json!({})).await;
    assert_eq!(result.unwrap(), Coverage::Complete, "the list of namespaces was seen");
    assert_eq!(sink.namespace("a"), ("partial", vec!["1"]));
    assert_eq!(sink.namespace("b"), ("failed", vec![]));
    assert_eq!(server.requests_of("/api/v1/pods"), 8, "once and three times again, two pages each");
}

#[tokio::test]
async fn a_server_that_fails_on_the_second_page_leaves_nothing_complete() {
    let server = healthy(&["a", "b", "c"], |request| match request.query("continue") {
        None => Answer::ok(&list([pod("a", "1"), pod("b", "1")], Some("opaque"))),
        Some(_) => Answer::status(500, "etcdserver: request timed out"),
    });
    let (result, sink) = collect(&server, json!({})).await;
    assert_eq!(result.unwrap(), Coverage::Complete);
    assert_eq!(sink.namespace("a"), ("partial", vec!["1"]));
    assert_eq!(sink.namespace("b"), ("partial", vec!["1"]));
    assert_eq!(sink.namespace("c"), ("failed", vec![]));
    let reason = sink.scopes[&ScopeId::namespace("c")].coverage.reason().unwrap();
    assert!(reason.contains("failed to list `pods` throughout the cluster (500)"), "{reason}");
    assert!(reason.ends_with("etcdserver: request timed out"), "{reason}");
    assert!(sink.cluster().coverage.is_complete());
}

#[tokio::test]
async fn what_the_order_of_keys_has_finished_is_complete_even_if_the_server_then_fails() {
    let server = healthy(&["a", "a-z", "b"], |request| match request.query("continue") {
        // `a-z/…` sorts before `a/…`.
        None => Answer::ok(&list([pod("a-z", "1"), pod("a", "1")], Some(&token("a/1")))),
        Some(_) => Answer::status(503, "shutting down"),
    });
    let (result, sink) = collect(&server, json!({})).await;
    assert_eq!(result.unwrap(), Coverage::Complete);
    assert_eq!(sink.namespace("a-z"), ("complete", vec!["1"]));
    assert_eq!(sink.namespace("a"), ("partial", vec!["1"]));
    assert_eq!(sink.namespace("b"), ("failed", vec![]));
}

#[tokio::test]
async fn namespaces_in_no_order_are_put_together() {
    let server = healthy(&["a", "b"], |request| match request.query("continue") {
        None => Answer::ok(&list([pod("b", "1"), pod("a", "1")], Some("member-2"))),
        Some(_) => Answer::ok(&list([pod("a", "2"), pod("b", "2")], None)),
    });
    let (result, sink) = collect(&server, json!({})).await;
    assert_eq!(result.unwrap(), Coverage::Complete);
    assert_eq!(sink.namespace("a"), ("complete", vec!["1", "2"]));
    assert_eq!(sink.namespace("b"), ("complete", vec!["1", "2"]));
}

#[tokio::test]
async fn an_order_that_is_broken_is_an_error() {
    let server = healthy(&["a", "b"], |request| match request.query("continue") {
        None => Answer::ok(&list([pod("a", "1"), pod("b", "1")], Some(&token("b/1")))),
        Some(_) => Answer::ok(&list([pod("a", "2")], None)),
    });
    let (result, _) = collect(&server, json!({})).await;
    assert!(matches!(result, Err(CollectError::Protocol { .. })), "{result:?}");
}

#[tokio::test]
async fn the_same_page_again_and_again_is_an_error() {
    let server = healthy(&["a"], |_| Answer::ok(&list([pod("a", "1")], Some("same"))));
    let (_, sink) = collect(&server, json!({})).await;
    assert_eq!(sink.namespace("a").0, "partial");
    assert_eq!(server.requests_of("/api/v1/pods"), 2);
}

#[tokio::test]
async fn ever_new_pages_are_an_error() {
    let server = healthy(&["a"], |request| {
        let next = request.query("continue").and_then(|number| number.parse::<u64>().ok()).unwrap_or_default() + 1;
        Answer::ok(&list([], Some(&next.to_string())))
    });
    let (_, sink) = collect(&server, json!({"namespaces": ["a"]})).await;
    let Coverage::Failed { reason } = &sink.scopes[&ScopeId::namespace("a")].coverage else {
        panic!("{:?}", sink.scopes)
    };
    assert!(reason.contains("has not come to the end") && reason.contains("in 2000 pages"), "{reason}");
    assert_eq!(server.requests_of("/api/v1/namespaces/a/pods"), 2000);
}

/// Two bytes each, and some hundreds if they were kept.
#[tokio::test]
async fn an_answer_of_ever_more_empty_objects_is_given_up() {
    let empty = format!(r#"{{"items":[{}{{}}]}}"#, "{},".repeat(9_000_000));
    let server = healthy(&["a"], move |_| Answer::raw(200, empty.clone()));
    let (_, sink) = collect(&server, json!({})).await;
    let reason = sink.scopes[&ScopeId::namespace("a")].coverage.reason().unwrap();
    assert!(reason.contains("after 1000001 objects"), "{reason}");
}

#[tokio::test]
async fn pods_that_nobody_asked_for_are_left_out_and_said() {
    let pods = || list([pod("a", "1"), pod("b", "2"), json!({"metadata": {"name": "3"}})], None);
    let server = healthy(&["a"], move |_| Answer::ok(&pods()));
    let (result, sink) = collect(&server, json!({"namespaces": ["a"]})).await;
    assert_eq!(result.unwrap(), Coverage::Complete);
    assert_eq!(sink.namespace("a"), ("complete", vec!["1", "3"]), "who lists a namespace need not repeat its name");
    assert_eq!(sink.names(), ["cluster", "namespace a"]);
    assert!(sink.warnings[0].starts_with("the API server listed 1 pods"), "{:?}", sink.warnings);
    let (_, sink) = collect(&server, json!({})).await;
    assert_eq!(sink.names(), ["cluster", "namespace a", "namespace b"]);
    assert!(sink.warnings[0].starts_with("the API server listed 1 pods without a namespace"), "{:?}", sink.warnings);
}

#[tokio::test]
async fn garbage_and_half_an_answer_are_told_apart_and_are_not_empty() {
    for (answer, status) in [
        (Answer::raw(200, "<html>welcome to the proxy</html>"), "answered something else than Kubernetes does"),
        (Answer::raw(200, "{}"), "answered something else than Kubernetes does"),
        (Answer::ok(&list([pod("a", "1")], None)).cut_in_half(), "broke off its answer"),
    ] {
        let server = healthy(&["a"], move |_| answer.clone());
        let (result, sink) = collect(&server, json!({})).await;
        assert_eq!(result.unwrap(), Coverage::Complete);
        let coverage = &sink.scopes[&ScopeId::namespace("a")].coverage;
        assert!(matches!(coverage, Coverage::Failed { reason } if reason.contains(status)), "{coverage:?}");
    }
}

#[tokio::test]
async fn an_answer_without_end_is_given_up() {
    let server = healthy(&["a"], |_| Answer::ok(&list([pod("a", "1")], None)).endless());
    let (_, sink) = collect(&server, json!({})).await;
    let reason = sink.scopes[&ScopeId::namespace("a")].coverage.reason().unwrap();
    assert!(
        reason.contains("list `pods` throughout the cluster") && reason.contains("goes on after its end"),
        "{reason}"
    );

    let server = FakeServer::start(|_| Answer::status(500, "").endless());
    let error = collector(&server, json!({})).probe().await.unwrap_err();
    assert!(
        matches!(error, CollectError::Protocol { .. }) && error.to_string().contains("get `/version`"),
        "{error:?}"
    );
}

#[tokio::test]
async fn what_the_server_wrote_is_repeated_in_short() {
    let huge = "x".repeat(1 << 20);
    for answer in [
        Answer::ok(&list([json!({"metadata": {"name": "1", "namespace": "a", "labels": huge}})], None)),
        Answer::status(500, &huge),
        Answer::raw(502, huge.clone()),
    ] {
        let server = healthy(&["a"], move |_| answer.clone());
        let (result, sink) = collect(&server, json!({})).await;
        let text = match (result, sink.scopes.get(&ScopeId::namespace("a"))) {
            (Err(error), _) => error.full_message(),
            (Ok(_), Some(scope)) => scope.coverage.reason().unwrap_or_default().to_owned(),
            (Ok(_), None) => panic!("nothing was said of a"),
        };
        assert!(text.len() < 1000, "{} bytes", text.len());
    }

    // Its pods are listed again when the order has passed them.
    let server = healthy(&["a"], move |request| match request.query("continue") {
        None => Answer::ok(&list([pod(&huge, "1")], Some(&token("~/1")))),
        Some(_) => Answer::ok(&list([pod(&huge, "2")], None)),
    });
    let (result, _) = collect(&server, json!({})).await;
    let error = result.unwrap_err();
    assert!(error.to_string().contains("listed pods of namespace `xxx") && error.full_message().len() < 1000);
}

#[tokio::test]
async fn a_namespace_that_is_refused_leaves_the_others() {
    let server = healthy(&["a", "b", "c"], |request| match request.path.as_str() {
        "/api/v1/namespaces/a/pods" => Answer::ok(&list([pod("a", "1")], None)),
        "/api/v1/namespaces/c/pods" => Answer::ok(&list([], None)),
        _ => Answer::status(403, "pods is forbidden: User \"x\" cannot list resource \"pods\""),
    });
    let (result, sink) = collect(&server, json!({})).await;
    assert_eq!(result.unwrap(), Coverage::Complete);
    assert_eq!(sink.namespace("a"), ("complete", vec!["1"]));
    assert_eq!(sink.namespace("b"), ("denied", vec![]));
    assert_eq!(sink.namespace("c"), ("complete", vec![]));
    let reason = sink.scopes[&ScopeId::namespace("b")].coverage.reason().unwrap();
    assert!(reason.contains("grant `list` on `pods` in a Role of namespace `b`"), "{reason}");
}

#[tokio::test]
async fn without_a_list_of_namespaces_the_named_and_the_own_one_are_tried() {
    let server = FakeServer::start(|request| match request.path.as_str() {
        "/api/v1/namespaces/shop/pods" => Answer::ok(&list([pod("shop", "1")], None)),
        _ => Answer::status(403, "forbidden"),
    });
    let (result, sink) = collect(&server, json!({"namespaces": ["shop", "team-*", "default"]})).await;
    let Ok(Coverage::Partial { reason }) = result else { panic!("{result:?}") };
    assert!(reason.contains("grant `list` on `namespaces`") && reason.contains("or name in `namespaces`"), "{reason}");
    assert_eq!(sink.names(), ["cluster", "namespace default", "namespace shop"]);
    assert_eq!(sink.namespace("default").0, "denied", "it was named");
    assert_eq!(sink.cluster().coverage.status(), "denied");

    let (result, sink) = collect(&server, json!({"namespaces": ["shop", "*"]})).await;
    assert!(matches!(result, Ok(Coverage::Partial { .. })));
    assert_eq!(sink.names(), ["cluster", "namespace shop"], "`default` was a guess");
}

#[tokio::test]
async fn nothing_allowed_at_all_is_an_error_that_says_what_to_grant() {
    let server = FakeServer::start(|_| Answer::status(403, "forbidden"));
    for settings in [json!({}), json!({"namespaces": ["shop"]})] {
        let (result, _) = collect(&server, settings).await;
        let Err(error @ CollectError::Denied { .. }) = result else { panic!("{result:?}") };
        assert!(error.to_string().contains("grant `list` on `pods`"), "{error}");
    }
}

#[tokio::test]
async fn exact_names_are_listed_one_by_one_and_misspelt_ones_are_named() {
    let server = healthy(&["shop", "team"], |request| match request.path.as_str() {
        "/api/v1/namespaces/team/pods" => Answer::ok(&list([pod("team", "1")], None)),
        path => panic!("{path} was asked for"),
    });
    let (result, sink) = collect(&server, json!({"namespaces": ["team", "shpo"]})).await;
    assert_eq!(result.unwrap(), Coverage::Complete);
    assert_eq!(sink.namespace("team"), ("complete", vec!["1"]));
    assert_eq!(sink.namespace("shpo"), ("complete", vec![]));
    assert_eq!(sink.warnings, ["the cluster has no namespace `shpo`; did you mean `shop`?"]);
    let names: Vec<_> = sink.cluster().body.namespaces.iter().map(|namespace| namespace.name.as_str()).collect();
    assert_eq!(names, ["team"], "the cluster's scope tells of no other namespace");
}

#[tokio::test]
async fn namespaces_that_were_not_listed_are_not_taken_for_missing() {
    let server = FakeServer::start(|request| match request.path.as_str() {
        "/api/v1/namespaces/shop/pods" => Answer::ok(&list([pod("shop", "1")], None)),
        "/api/v1/namespaces/other/pods" => Answer::status(403, "pods is forbidden"),
        path => panic!("{path} was asked for"),
    });
    let (result, sink) = collect(&server, json!({"namespaces": ["shop", "other"], "cluster_objects": false})).await;
    assert_eq!(result.unwrap(), Coverage::Complete);
    assert_eq!(sink.names(), ["namespace other", "namespace shop"]);
    assert_eq!(sink.namespace("shop"), ("complete", vec!["1"]));
    assert_eq!(sink.namespace("other"), ("denied", vec![]));
    assert_eq!(sink.warnings, [""; 0]);
    assert_eq!(server.requests(), 2);
}

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
async fn a_token_is_read_again_for_every_request() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    fs::write(&file, "one\n").unwrap();
    let server = FakeServer::start(|request| match (request.path.as_str(), request.header("authorization")) {
        ("/version", "Bearer one" | "Bearer two") => Answer::ok(&json!({"gitVersion": "v1.33.1"})),
        ("/api/v1/namespaces/kube-system", "Bearer two") => Answer::ok(&json!({"metadata": {"uid": "u"}})),
        ("/api/v1/namespaces/kube-system", _) => Answer::status(403, "forbidden"),
        _ => Answer::status(401, "Unauthorized"),
    });
    let collector = collector(&server, json!({"token_file": file, "cluster": "prod"}));
    let location = |uid: Option<&str>| {
        Location::Cluster(stocktake_core::model::Cluster { uid: uid.map(str::to_owned), name: Some("prod".into()) })
    };
    let info = collector.probe().await.unwrap();
    assert_eq!((info.runtime.version.as_str(), info.location), ("v1.33.1", location(None)));
    fs::write(&file, "two").unwrap();
    assert_eq!(collector.probe().await.unwrap().location, location(Some("u")));
    fs::write(&file, "three").unwrap();
    let error = collector.probe().await.unwrap_err();
    assert!(matches!(error, CollectError::Denied { .. }), "{error:?}");
    assert!(error.to_string().ends_with(&format!("renew them: `token_file` {}", file.display())), "{error}");
    fs::remove_file(&file).unwrap();
    assert!(matches!(collector.probe().await.unwrap_err(), CollectError::Unavailable { .. }));
    fs::write(&file, "one").unwrap();
    collector.probe().await.unwrap();
}

#[tokio::test]
async fn a_connection_that_protects_nothing_is_remarked_on_once() {
    let server = healthy(&["a", "b"], |_| Answer::ok(&list([], None)));
    let (result, sink) = collect(&server, json!({"token": "hunter2"})).await;
    assert_eq!(result.unwrap(), Coverage::Complete);
    assert_eq!(sink.warnings.len(), 1, "{:?}", sink.warnings);
    assert!(
        sink.warnings[0].contains("unencrypted") && sink.warnings[0].contains(&server.url()),
        "{:?}",
        sink.warnings
    );
    assert!(!sink.warnings[0].contains("hunter2"));
    let (_, sink) = collect(&server, json!({})).await;
    assert_eq!(sink.warnings, [""; 0], "nothing is sent that could be read");
}

#[tokio::test]
async fn a_server_that_is_down_is_unavailable_and_named() {
    let server = FakeServer::start(|_| Answer::status(500, ""));
    let url = server.url();
    drop(server);
    let settings = ConfigError::deserialize(json!({"server": url})).unwrap();
    let collector = KubernetesCollector::new(settings, Context::default()).unwrap();
    let mut sink = Sink::default();
    for error in
        [collector.probe().await.unwrap_err(), collector.collect(&Selection::All, &mut sink).await.unwrap_err()]
    {
        assert!(matches!(error, CollectError::Unavailable { .. }));
        assert!(error.to_string().starts_with(&format!("cannot connect to the API server at {url}; ")), "{error}");
        assert!(error.full_message().ends_with("Connection refused (os error 111)"), "{}", error.full_message());
    }
    assert!(sink.scopes.is_empty());
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
