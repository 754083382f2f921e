//! Streaming lists: those that are answered, and servers that do otherwise.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stocktake_core::{ScopeChange, model::Coverage};

use crate::{
    cluster::{Cluster, event},
    fake::{Answer, Chunk, Recorded, pod},
    look::{Changes, collect, collector, look, look_at_watched, scopes},
};

const PODS: &str = "/api/v1/pods";

fn is_probe(request: &Recorded) -> bool {
    request.query("fieldSelector") == Some("metadata.name=kube-system")
}

fn is_streamed(request: &Recorded) -> bool {
    request.query("sendInitialEvents").is_some() && !is_probe(request)
}

/// A streaming server with a pod in each of two namespaces.
fn streaming() -> Cluster {
    let cluster = Cluster::start(&["a", "b"]).streaming();
    cluster.put("pods", pod("a", "1"));
    cluster.put("pods", pod("b", "1"));
    cluster
}

#[tokio::test]
async fn where_lists_are_streamed_nothing_is_listed() {
    for cluster in [streaming(), streaming().in_protobuf()] {
        let collector = collector(&cluster.server, json!({}));
        let mut changes = Changes::of(&collector);
        assert_eq!(changes.next().await, ScopeChange::All);
        assert_eq!(cluster.lists(), 0);
        let [watch] = &cluster.watches(PODS)[..] else { panic!() };
        let asked =
            ["resourceVersion", "resourceVersionMatch", "allowWatchBookmarks"].map(|key| watch.query(key).unwrap());
        assert_eq!(asked, ["0", "NotOlderThan", "true"]);
        look_at_watched(&collector, &cluster, json!({})).await;
        cluster.put("pods", pod("b", "2"));
        assert_eq!(changes.next().await, scopes(&["b"]));
        look_at_watched(&collector, &cluster, json!({})).await;
    }
}

#[tokio::test]
async fn what_is_not_streamed_again_is_gone() {
    let cluster = streaming();
    let collector = collector(&cluster.server, json!({"list": "stream"}));
    let mut changes = Changes::of(&collector);
    changes.next().await;
    look(&collector).await.0.unwrap();
    let known = cluster.version().to_string();
    let gone = json!({"kind": "Status", "code": 410, "message": "too old resource version"});
    for resource in ["pods", "namespaces", "nodes"] {
        cluster.send(resource, &Chunk::Bytes(event(false, "ERROR", &gone)));
    }
    changes.error().await;
    cluster.hang_up(&Chunk::Cut);
    cluster.delete("pods", "a", "1");
    cluster.delete("namespaces", "", "b");
    cluster.delete("pods", "b", "1");
    cluster.put("nodes", json!({"metadata": {"name": "n2"}}));
    cluster.forget_history();

    let mut changes = Changes::of(&collector);
    assert_eq!(changes.next().await, ScopeChange::All);
    for path in [PODS, "/api/v1/namespaces", "/api/v1/nodes"] {
        let streamed = cluster.server.asked(|request| is_streamed(request) && request.path == path);
        let versions: Vec<_> = streamed.iter().map(|request| request.query("resourceVersion").unwrap()).collect();
        assert!(versions.len() == 2 && versions[1] != "0" && versions[1] <= &*known, "{path}: {versions:?} of {known}");
    }
    assert_eq!(cluster.lists(), 0);
    assert_eq!(cluster.server.asked(is_probe).len(), 1, "it was found to answer");
    let sink = look_at_watched(&collector, &cluster, json!({})).await;
    assert_eq!(sink.names(), ["cluster", "namespace a"]);
    assert_eq!(sink.namespace("a"), ("complete", vec![]));
}

#[tokio::test]
async fn a_server_that_refuses_streaming_lists_is_asked_for_lists() {
    for status in [400, 422] {
        let cluster = Cluster::start(&["a"]);
        cluster.put("pods", pod("a", "1"));
        cluster.script(move |request| {
            request.query("sendInitialEvents").map(|_| Answer::status(status, "sendInitialEvents is forbidden"))
        });
        let collector = collector(&cluster.server, json!({"list": "stream"}));
        for _ in 0..2 {
            let (result, sink) = look(&collector).await;
            assert_eq!(result.unwrap(), Coverage::Complete);
            assert_eq!(sink.namespace("a"), ("complete", vec!["1"]));
        }
        let mut changes = Changes::of(&collector);
        assert_eq!(changes.next().await, ScopeChange::All);
        look_at_watched(&collector, &cluster, json!({})).await;
        assert_eq!(cluster.server.asked(|request| request.query("sendInitialEvents").is_some()).len(), 1);
    }
}

#[tokio::test]
async fn a_server_that_takes_no_notice_is_asked_for_lists_after_three_seconds() {
    let cluster = Cluster::start(&["a"]);
    cluster.put("pods", pod("a", "1"));
    cluster.script(|request| {
        let namespace = || event(false, "ADDED", &json!({"metadata": {"name": "kube-system", "resourceVersion": "1"}}));
        request.query("sendInitialEvents").map(|_| Answer::chunks("application/json", [Chunk::Bytes(namespace())]))
    });
    let collector = collector(&cluster.server, json!({}));
    let mut changes = Changes::of(&collector);
    let before = Instant::now();
    assert_eq!(changes.next().await, ScopeChange::All);
    assert!((3..20).contains(&before.elapsed().as_secs()), "{:?}", before.elapsed());
    look_at_watched(&collector, &cluster, json!({})).await;
}

#[tokio::test]
async fn a_streaming_list_without_end_is_an_error_and_then_a_list() {
    let silent = || Answer::chunks("application/json", [Chunk::Bytes(event(false, "ADDED", &pod("a", "1")))]);
    let endless = || {
        let more = (0..30).flat_map(|number| {
            [Chunk::Bytes(event(false, "ADDED", &pod("a", &number.to_string()))), Chunk::Wait(Duration::from_mins(1))]
        });
        Answer::chunks("application/json", more)
    };
    let closed = || Answer::chunks("application/json", [Chunk::Close]);
    let no_end = "set `list` to `cache`";
    for (answer, said) in [(silent as fn() -> Answer, no_end), (endless, no_end), (closed, "broke off its answer")] {
        let cluster = streaming();
        cluster.script(move |request| (is_streamed(request) && request.path == PODS).then(answer));
        let collector = collector(&cluster.server, json!({}));
        let error = Changes::of(&collector).late_error().await;
        assert!(error.to_string().contains(said), "{error}");
        let mut changes = Changes::of(&collector);
        assert_eq!(changes.next().await, ScopeChange::All);
        assert_eq!(cluster.server.asked(is_probe).len(), 1);
        let sink = look_at_watched(&collector, &cluster, json!({})).await;
        assert_eq!(sink.namespace("a"), ("complete", vec!["1"]), "what was streamed and is not there is gone");
    }
}

#[tokio::test]
async fn a_single_look_streams_if_it_is_told_to() {
    let all: Value = json!({});
    for settings in [all, json!({"namespaces": ["a", "x"]}), json!({"namespaces": ["a"], "cluster_objects": false})] {
        let cluster = streaming();
        let mut streaming = settings.clone();
        streaming["list"] = json!("stream");
        let collector = collector(&cluster.server, streaming);
        for times in 1..3 {
            look(&collector).await.0.unwrap();
            assert_eq!((cluster.lists(), cluster.server.asked(is_probe).len()), (0, 1));
            let of_nodes = cluster.watches("/api/v1/nodes").len();
            assert_eq!(of_nodes, if settings["cluster_objects"] == false { 0 } else { times });
        }
        let (result, sink) = look(&collector).await;
        let (fresh_result, fresh) = collect(&cluster.server, settings).await;
        assert_eq!(result.unwrap(), fresh_result.unwrap());
        assert_eq!((&sink.scopes, &sink.warnings), (&fresh.scopes, &fresh.warnings));
        assert_eq!(sink.cost.kept_bytes, 0);
    }
}

#[tokio::test]
async fn a_single_look_lists_what_cannot_be_streamed() {
    let cluster = streaming();
    cluster.script(|request| {
        let is_refused = request.is_watch() && request.path == PODS || request.path == "/api/v1/nodes";
        is_refused.then(|| Answer::status(403, "forbidden"))
    });
    let (result, sink) = collect(&cluster.server, json!({"list": "stream"})).await;
    let (fresh_result, fresh) = collect(&cluster.server, json!({})).await;
    assert_eq!(result.unwrap(), fresh_result.unwrap());
    assert_eq!(sink.scopes, fresh.scopes);
    assert_eq!(sink.cluster().coverage.status(), "partial");

    let cluster = streaming();
    cluster.script(|request| (request.path == "/api/v1/nodes").then(|| Answer::status(403, "forbidden")));
    let (_, sink) = collect(&cluster.server, json!({"list": "stream"})).await;
    assert_eq!(cluster.server.requests_of(PODS), cluster.watches(PODS).len(), "pods are streamed all the same");
    assert_eq!(sink.cluster().coverage.status(), "partial");
    assert_eq!(sink.namespace("a"), ("complete", vec!["1"]));
}
