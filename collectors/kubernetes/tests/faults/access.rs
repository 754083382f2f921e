//! What is allowed, and what is named.

use serde_json::json;
use stocktake_core::{
    CollectError,
    model::{Coverage, ScopeId},
};

use crate::{
    fake::{Answer, FakeServer, list, pod},
    look::{collect, healthy},
};

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
