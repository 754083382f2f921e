//! Watches that end, and what is known afterwards.

use std::time::Duration;

use serde_json::json;
use stocktake_core::{CollectError, ScopeChange, model::ScopeId};

use crate::{
    cluster::{Cluster, event},
    fake::{Answer, Chunk, pod},
    look::{Changes, collector, look_at_watched, scopes},
};

const PODS: &str = "/api/v1/pods";

/// So much time passes.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

fn last_version(cluster: &Cluster) -> String {
    cluster.watches(PODS).last().unwrap().query("resourceVersion").unwrap().to_owned()
}

#[tokio::test]
async fn a_watch_that_the_server_ends_goes_on_from_the_last_bookmark() {
    let cluster = Cluster::start(&["a"]);
    cluster.put("pods", pod("a", "1"));
    let collector = collector(&cluster.server, json!({}));
    let mut changes = Changes::of(&collector);
    changes.next().await;
    assert_eq!(last_version(&cluster), cluster.version().to_string());
    let query = cluster.watches(PODS)[0].clone();
    assert_eq!(query.query("allowWatchBookmarks"), Some("true"));

    cluster.put("nodes", json!({"metadata": {"name": "n2"}}));
    assert_eq!(changes.next().await, ScopeChange::Scopes([ScopeId::cluster()].into()));
    cluster.bookmark("pods");
    changes.is_quiet().await;
    let lists = cluster.lists();
    pass(Duration::from_mins(8)).await;
    cluster.send("pods", &Chunk::Close);
    cluster.put("pods", pod("a", "2"));
    assert_eq!(changes.next().await, scopes(&["a"]));
    assert_eq!(last_version(&cluster), (cluster.version() - 1).to_string());
    assert_eq!((cluster.lists(), cluster.watches(PODS).len()), (lists, 2));
    look_at_watched(&collector, &cluster, json!({})).await;
}

#[tokio::test]
async fn what_breaks_off_or_is_garbage_is_an_error_and_nothing_is_lost() {
    let half = |is_protobuf| {
        let mut event = event(is_protobuf, "ADDED", &pod("a", "half"));
        event.truncate(event.len() / 2);
        Chunk::Bytes(event)
    };
    let garbage = || Chunk::Bytes(b"\0\0\0\x04abcd".to_vec());
    for (is_protobuf, chunks, is_foreign) in [
        (false, vec![half(false), Chunk::Close], false),
        (false, vec![Chunk::Bytes(b"<html>\n".to_vec())], true),
        (true, vec![half(true), Chunk::Close], false),
        (true, vec![half(true), Chunk::Cut], false),
        (true, vec![garbage()], true),
        (true, vec![Chunk::Bytes(b"\xff\xff\xff\xff".to_vec())], true),
        (true, vec![Chunk::Cut], false),
    ] {
        let cluster = Cluster::start(&["a", "b"]);
        let cluster = if is_protobuf { cluster.in_protobuf() } else { cluster };
        cluster.put("pods", pod("a", "1"));
        cluster.put("pods", pod("b", "1"));
        let collector = collector(&cluster.server, json!({}));
        let mut changes = Changes::of(&collector);
        changes.next().await;
        look_at_watched(&collector, &cluster, json!({})).await;
        for chunk in &chunks {
            cluster.send("pods", chunk);
        }
        let error = changes.error().await;
        assert_eq!(matches!(error, CollectError::Protocol { .. }), is_foreign, "{error:?}");
        assert!(error.to_string().contains("watch `pods`"), "{error}");

        let lists = cluster.lists();
        cluster.delete("pods", "a", "1");
        cluster.put("pods", pod("b", "2"));
        let mut changes = Changes::of(&collector);
        assert_eq!(changes.next().await, scopes(&["a", "b"]));
        assert_eq!(cluster.lists(), lists, "what was known up to some version goes on from there");
        let sink = look_at_watched(&collector, &cluster, json!({})).await;
        assert_eq!(sink.namespace("b"), ("complete", vec!["1", "2"]));
    }
}

#[tokio::test]
async fn an_end_of_history_is_an_error_and_then_listed() {
    for cluster in [Cluster::start(&["a", "b"]), Cluster::start(&["a", "b"]).in_protobuf()] {
        cluster.put("pods", pod("a", "1"));
        cluster.put("pods", pod("a", "2"));
        let collector = collector(&cluster.server, json!({}));
        let mut changes = Changes::of(&collector);
        changes.next().await;
        let known = cluster.version();
        let gone = json!({"kind": "Status", "code": 410, "message": "too old resource version"});
        let is_protobuf = cluster.speaks_protobuf();
        cluster.send("pods", &Chunk::Bytes(event(is_protobuf, "ERROR", &gone)));
        let error = changes.error().await;
        assert!(error.full_message().contains("too old resource version"), "{error:?}");
        cluster.hang_up(&Chunk::Cut);
        cluster.delete("pods", "a", "1");
        cluster.forget_history();

        let lists = cluster.server.requests_of(PODS);
        let mut changes = Changes::of(&collector);
        assert_eq!(changes.next().await, ScopeChange::All, "of all resources in one go");
        let list = cluster.server.asked(|request| request.path == PODS && !request.is_watch()).pop().unwrap();
        let asked = list.query("resourceVersion").unwrap().to_owned();
        assert_eq!(asked, known.to_string(), "a server that lags behind would tell of pods that are gone");
        assert!(cluster.server.requests_of(PODS) > lists);
        let sink = look_at_watched(&collector, &cluster, json!({})).await;
        assert_eq!(sink.namespace("a"), ("complete", vec!["2"]));
    }
}

#[tokio::test]
async fn a_watch_that_ends_at_once_is_not_asked_for_again_and_again() {
    let bookmark =
        |number: usize| event(false, "BOOKMARK", &json!({"metadata": {"resourceVersion": number.to_string()}}));
    for tells in [false, true] {
        let cluster = Cluster::start(&["a"]);
        cluster.script(move |request| {
            let told = if tells { bookmark(100 + request.times) } else { Vec::new() };
            let chunks = if tells { vec![Chunk::Bytes(told), Chunk::Close] } else { vec![Chunk::Close] };
            (request.is_watch() && request.path == PODS).then(|| Answer::chunks("application/json", chunks))
        });
        let collector = collector(&cluster.server, json!({}));
        let mut changes = Changes::of(&collector);
        assert_eq!(changes.next().await, ScopeChange::All);
        let error = changes.error().await;
        assert!(matches!(error, CollectError::Unavailable { .. }));
        assert!(error.to_string().contains("ends at once what it is asked to watch `pods`"), "{error}");
        assert_eq!(cluster.watches(PODS).len(), 1);
    }
}

#[tokio::test]
async fn a_watch_that_is_silent_is_asked_for_anew() {
    let cluster = Cluster::start(&["a"]);
    let collector = collector(&cluster.server, json!({}));
    let mut changes = Changes::of(&collector);
    changes.next().await;
    changes.is_quiet().await;
    pass(Duration::from_secs(151)).await;
    changes.is_quiet().await;
    assert_eq!(cluster.watches(PODS).len(), 2);
    cluster.put("pods", pod("a", "1"));
    assert_eq!(changes.next().await, scopes(&["a"]));
    look_at_watched(&collector, &cluster, json!({})).await;
}

#[tokio::test]
async fn a_server_that_takes_requests_and_says_nothing_is_given_up() {
    let cluster = Cluster::start(&["a"]);
    cluster.script(|request| {
        (request.path == PODS).then(|| Answer::chunks("application/json", [Chunk::Wait(Duration::from_hours(9))]))
    });
    let collector = collector(&cluster.server, json!({}));
    let mut changes = Changes::of(&collector);
    changes.is_quiet().await;
    let error = changes.late_error().await;
    assert!(error.to_string().contains("silent for 150 seconds after it was asked to list `pods`"), "{error}");
}

#[tokio::test]
async fn a_cluster_that_was_restored_is_listed_as_it_is() {
    let cluster = Cluster::start(&["a"]);
    cluster.put("pods", pod("a", "1"));
    let collector = collector(&cluster.server, json!({}));
    let mut changes = Changes::of(&collector);
    changes.next().await;
    cluster.hang_up(&Chunk::Cut);
    changes.error().await;
    cluster.delete("pods", "a", "1");
    cluster.script(|request| {
        let is_ahead = request.query("resourceVersion") == Some("3") && request.path == PODS;
        is_ahead.then(|| Answer::status(504, "Too large resource version: 3, current: 2"))
    });
    let mut changes = Changes::of(&collector);
    assert_eq!(changes.next().await, ScopeChange::All);
    let asked = cluster.server.asked(|request| request.path == PODS && !request.is_watch());
    let versions: Vec<_> = asked.iter().map(|request| request.query("resourceVersion").unwrap()).collect();
    assert_eq!(versions, ["0", "3", "0"]);
    cluster.no_script();
    let sink = look_at_watched(&collector, &cluster, json!({})).await;
    assert_eq!(sink.namespace("a"), ("complete", vec![]));
}
