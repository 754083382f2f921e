//! Lists in pages: those that expire, end in their middle, or have no end.

use serde_json::json;
use stocktake_core::{
    CollectError,
    model::{Coverage, ScopeId},
};

use crate::{
    fake::{Answer, list, pod},
    look::{collect, healthy, token},
};

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
