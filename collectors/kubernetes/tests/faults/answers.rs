//! Answers that no API server gives: garbage, too much, without end.

use serde_json::json;
use stocktake_core::{
    CollectError, RuntimeCollector as _,
    model::{Coverage, ScopeId},
};

use crate::{
    fake::{Answer, FakeServer, list, pod},
    look::{collect, collector, healthy, token},
    protobuf,
};

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
async fn protobuf_is_read_and_what_is_none_is_not_empty() {
    let pods = [pod("a", "1"), pod("a", "2")];
    let whole = protobuf::list("7", &pods.iter().collect::<Vec<_>>());
    let answer = whole.clone();
    let server = healthy(&["a"], move |_| Answer::protobuf(answer.clone()));
    let (result, sink) = collect(&server, json!({})).await;
    assert_eq!(result.unwrap(), Coverage::Complete);
    assert_eq!(sink.namespace("a"), ("complete", vec!["1", "2"]));

    let foreign = "answered something else than Kubernetes does";
    let status = protobuf::status(&json!({"code": 500, "message": "etcd is gone"}));
    let mut nonsense = whole.clone();
    nonsense.iter_mut().skip(20).for_each(|byte| *byte |= 0x80);
    for (answer, said, names) in [
        (Answer::protobuf(b"\x01\x02garbage".to_vec()), foreign, vec![]),
        (Answer::protobuf(nonsense), foreign, vec![]),
        (Answer::protobuf(status), foreign, vec![]),
        (Answer::protobuf(Vec::new()), "broke off its answer", vec![]),
        (Answer::protobuf(br#"{"items":[]}"#.to_vec()), foreign, vec![]),
        (Answer::raw(200, whole.clone()), foreign, vec![]),
        (Answer::protobuf(whole.clone()).cut_in_half(), "broke off its answer", vec!["1"]),
        (Answer::protobuf(whole[..whole.len() - 3].to_vec()), "broke off its answer", vec!["1"]),
    ] {
        let server = healthy(&["a"], move |_| answer.clone());
        let (result, sink) = collect(&server, json!({})).await;
        assert_eq!(result.unwrap(), Coverage::Complete);
        let (status, seen) = sink.namespace("a");
        assert!(seen.is_empty() || seen == names, "{seen:?}");
        assert!(["failed", "partial"].contains(&status) && sink.reason("a").contains(said), "{}", sink.reason("a"));
    }
}
