//! Watching where not everything is allowed, and what is asked for.

use serde_json::{Value, json};
use stocktake_core::{
    CollectError, ScopeChange,
    model::{Coverage, ScopeId},
};

use crate::{
    cluster::Cluster,
    fake::{Answer, Chunk, Recorded, pod},
    look::{Changes, collect, collector, look, look_at_watched, scopes},
};

/// A cluster of two pods, of which what is like this is refused.
fn refusing(is_refused: impl Fn(&Recorded) -> bool + Send + 'static) -> Cluster {
    let cluster = Cluster::start(&["a", "b"]);
    let mut owned = pod("a", "1");
    owned["metadata"]["ownerReferences"] =
        json!([{"kind": "ReplicaSet", "apiVersion": "apps/v1", "name": "web-1", "uid": "rs", "controller": true}]);
    cluster.put("pods", owned);
    cluster.put("pods", pod("b", "1"));
    cluster.script(move |request| {
        is_refused(request).then(|| Answer::status(403, &format!("{} is forbidden: User \"x\"", request.path)))
    });
    cluster
}

#[tokio::test]
async fn who_may_not_watch_lists() {
    for resource in ["pods", "nodes", "namespaces", "replicasets"] {
        let cluster = refusing(move |request| request.is_watch() && request.path.ends_with(resource));
        let collector = collector(&cluster.server, json!({}));
        Changes::of(&collector).ends().await;
        let lists = cluster.lists();
        let (result, sink) = look(&collector).await;
        assert_eq!(result.unwrap(), Coverage::Complete);
        assert_eq!(sink.namespace("a"), ("complete", vec!["1"]));
        assert_eq!(cluster.lists(), lists + 4, "namespaces, nodes, pods and ReplicaSets");
        assert_eq!(sink.cost.kept_bytes, 0, "what is not kept up to date is not kept");
    }
}

#[tokio::test]
async fn who_may_not_list_pods_is_told_so() {
    let cluster = refusing(|request| request.path.ends_with("/pods"));
    let collector = collector(&cluster.server, json!({}));
    for _ in 0..2 {
        let error = Changes::of(&collector).error().await;
        assert!(matches!(error, CollectError::Denied { .. }), "{error:?}");
        assert!(error.to_string().contains("grant `list` on `pods` in a ClusterRole"), "{error}");
    }
    cluster.no_script();
    let mut changes = Changes::of(&collector);
    assert_eq!(changes.next().await, ScopeChange::All, "it was granted meanwhile");
    look_at_watched(&collector, &cluster, json!({})).await;
}

/// As one that asks a server which has just started and has not read its access rules, or whose role was revoked.
#[tokio::test]
async fn who_has_watched_and_is_refused_watches_again_when_it_may() {
    for refused in [&["pods"][..], &["nodes", "pods"], &["nodes"]] {
        let cluster = refusing(|_| false);
        let collector = collector(&cluster.server, json!({}));
        let mut changes = Changes::of(&collector);
        changes.next().await;
        cluster.script(move |request| {
            let is_refused = refused.iter().any(|resource| request.path.ends_with(resource));
            is_refused.then(|| Answer::status(403, "forbidden"))
        });
        cluster.send("pods", &Chunk::Cut);
        changes.error().await;
        let mut changes = Changes::of(&collector);
        if refused.contains(&"pods") {
            let error = changes.error().await;
            assert!(matches!(error, CollectError::Denied { .. }), "{error:?}");
            changes = Changes::of(&collector);
            cluster.no_script();
        }
        assert_eq!(changes.next().await, ScopeChange::All, "{refused:?}");
        look_at_watched(&collector, &cluster, json!({})).await;
    }
}

#[tokio::test]
async fn what_is_granted_while_the_rest_is_watched_is_watched_after_the_next_look() {
    for refused in ["nodes", "namespaces", "replicasets"] {
        let cluster = refusing(move |request| request.path.ends_with(refused));
        let collector = collector(&cluster.server, json!({}));
        let mut changes = Changes::of(&collector);
        changes.next().await;
        let lists = cluster.lists();
        look(&collector).await.0.unwrap();
        changes.is_quiet().await;
        assert_eq!(cluster.lists(), lists + 1, "it is asked for again, and still refused");
        cluster.no_script();
        look(&collector).await.0.unwrap();
        assert_eq!(changes.next().await, ScopeChange::All);
        let sink = look_at_watched(&collector, &cluster, json!({})).await;
        assert!(sink.cluster().coverage.is_complete() && sink.warnings.is_empty(), "{:?}", sink.warnings);
        changes.is_quiet().await;
        cluster.put("nodes", json!({"metadata": {"name": "n2"}}));
        assert_eq!(changes.next().await, ScopeChange::Scopes([ScopeId::cluster()].into()));
    }
}

/// Errors come in the encoding that the answer was asked for in.
#[tokio::test]
async fn a_refusal_in_protobuf_is_told_in_words() {
    let cluster = Cluster::start(&["a"]);
    cluster.script(|request| {
        let answer = || Answer::status_in_protobuf(403, "pods is forbidden: User \"x\" cannot");
        request.path.ends_with("/pods").then(answer)
    });
    let (_, sink) = collect(&cluster.server, json!({"namespaces": ["a"]})).await;
    let reason = sink.reason("a");
    assert!(reason.ends_with(": pods is forbidden: User \"x\" cannot"), "{reason}");
}

/// The same coverage and remarks as one look has, which [`look_at_watched`] compares.
#[tokio::test]
async fn what_may_not_be_listed_beside_pods_is_said_and_the_rest_is_watched() {
    for (refused, streams) in [
        (&["nodes"][..], false),
        (&["namespaces"], false),
        (&["replicasets", "jobs"], false),
        (&["nodes", "namespaces", "replicasets"], false),
        (&["nodes"], true),
        (&["replicasets"], true),
    ] {
        let cluster = refusing(|request| refused.iter().any(|resource| request.path.ends_with(resource)));
        let cluster = if streams { cluster.streaming() } else { cluster };
        let mut job = pod("a", "2");
        job["metadata"]["ownerReferences"] =
            json!([{"kind": "Job", "apiVersion": "batch/v1", "name": "j", "uid": "j", "controller": true}]);
        cluster.put("pods", job);
        let collector = collector(&cluster.server, json!({}));
        let mut changes = Changes::of(&collector);
        assert_eq!(changes.next().await, ScopeChange::All);
        let sink = look_at_watched(&collector, &cluster, json!({})).await;
        assert_eq!(sink.namespace("a"), ("complete", vec!["1", "2"]));
        cluster.put("pods", pod("a", "3"));
        assert_eq!(changes.next().await, scopes(&["a"]));
        let sink = look_at_watched(&collector, &cluster, json!({})).await;
        let owners = sink.warnings.iter().filter(|warning| warning.contains("grant `list`")).count();
        assert_eq!(owners, usize::from(refused.contains(&"replicasets")), "{:?}", sink.warnings);
        assert_eq!(sink.cluster().coverage.is_complete(), !refused.iter().any(|name| name.starts_with('n')));
    }
}

#[tokio::test]
async fn exact_names_are_watched_one_by_one() {
    let cluster = refusing(|request| !request.path.contains("/namespaces/"));
    let settings = json!({"namespaces": ["a", "c"], "cluster_objects": false, "label_selector": "app=x",
        "include_not_running": false});
    let collector = collector(&cluster.server, settings.clone());
    let mut changes = Changes::of(&collector);
    assert_eq!(changes.next().await, ScopeChange::All);
    for namespace in ["a", "c"] {
        let [watch] = &cluster.watches(&format!("/api/v1/namespaces/{namespace}/pods"))[..] else { panic!() };
        assert_eq!(watch.query("labelSelector"), Some("app=x"));
        assert_eq!(watch.query("fieldSelector"), Some("status.phase!=Succeeded,status.phase!=Failed"));
        assert_eq!(watch.header("accept"), "application/vnd.kubernetes.protobuf,application/json");
        let owners = cluster.watches(&format!("/apis/apps/v1/namespaces/{namespace}/replicasets"));
        assert!(owners[0].header("accept").contains("as=PartialObjectMetadata;"));
    }
    let sink = look_at_watched(&collector, &cluster, settings.clone()).await;
    assert_eq!(sink.namespace("a"), ("complete", vec!["1"]));
    assert_eq!(sink.namespace("c"), ("complete", vec![]));
    cluster.put("pods", pod("b", "2"));
    changes.is_quiet().await;
    cluster.put("pods", pod("c", "1"));
    assert_eq!(changes.next().await, scopes(&["c"]));
    let sink = look_at_watched(&collector, &cluster, settings).await;
    assert_eq!(sink.namespace("c"), ("complete", vec!["1"]));
}

#[tokio::test]
async fn of_exact_names_one_may_be_refused() {
    let cluster = refusing(|request| request.path.contains("/namespaces/b/"));
    let settings = json!({"namespaces": ["a", "b"]});
    let collector = collector(&cluster.server, settings.clone());
    let mut changes = Changes::of(&collector);
    assert_eq!(changes.next().await, ScopeChange::All);
    let (_, live) = look(&collector).await;
    let (_, fresh) = collect(&cluster.server, settings).await;
    assert_eq!(live.namespace("a"), ("complete", vec!["1"]));
    assert_eq!(live.namespace("b"), ("denied", vec![]));
    assert_eq!(live.reason("b"), fresh.reason("b"));
}

#[tokio::test]
async fn a_server_without_versions_is_listed_from_time_to_time() {
    let cluster = Cluster::start(&["a"]);
    cluster.script(|request| {
        (request.path == "/api/v1/namespaces").then(|| Answer::ok(&json!({"items": [{"metadata": {"name": "a"}}]})))
    });
    let collector = collector(&cluster.server, json!({}));
    Changes::of(&collector).ends().await;
    let (result, sink) = look(&collector).await;
    assert_eq!(result.unwrap(), Coverage::Complete);
    assert_eq!(sink.namespace("a"), ("complete", vec![]));
}

#[tokio::test]
async fn a_server_of_pods_alone_has_no_owners() {
    let cluster = Cluster::start(&["a"]);
    cluster.script(|request| request.path.starts_with("/apis/").then(|| Answer::raw(404, "404 page not found")));
    let collector = collector(&cluster.server, Value::from(serde_json::Map::new()));
    let mut changes = Changes::of(&collector);
    assert_eq!(changes.next().await, ScopeChange::All);
    cluster.put("pods", pod("a", "1"));
    assert_eq!(changes.next().await, scopes(&["a"]));
    let sink = look_at_watched(&collector, &cluster, json!({})).await;
    assert_eq!((sink.namespace("a"), sink.warnings.len()), (("complete", vec!["1"]), 0));
}

/// While access rules are replaced, or are not loaded yet by a server that has just started.
#[tokio::test]
async fn who_was_watching_and_is_refused_asks_again() {
    let cluster = Cluster::start(&["a"]);
    cluster.put("pods", pod("a", "1"));
    let collector = collector(&cluster.server, json!({}));
    let mut changes = Changes::of(&collector);
    assert_eq!(changes.next().await, ScopeChange::All);
    cluster.script(|request| request.is_watch().then(|| Answer::status(403, "forbidden")));
    cluster.hang_up(&Chunk::Cut);
    changes.error().await;
    Changes::of(&collector).error().await;
    cluster.no_script();
    let mut changes = Changes::of(&collector);
    changes.next().await;
    look_at_watched(&collector, &cluster, json!({})).await;
}

#[tokio::test]
async fn what_is_granted_while_the_rest_is_watched_is_seen() {
    let cluster = refusing(|request| request.path.ends_with("/nodes"));
    cluster.put("nodes", json!({"metadata": {"name": "n1", "uid": "n1"}}));
    let collector = collector(&cluster.server, json!({}));
    let mut changes = Changes::of(&collector);
    assert_eq!(changes.next().await, ScopeChange::All);
    assert_eq!(look(&collector).await.1.cluster().coverage.status(), "partial");
    cluster.no_script();
    // Nobody tells of it: it is asked for again after a look that was not complete.
    look(&collector).await.0.unwrap();
    assert_eq!(changes.all().await, ScopeChange::All);
    let sink = look_at_watched(&collector, &cluster, json!({})).await;
    assert_eq!((sink.cluster().coverage.status(), sink.cluster().body.nodes.len()), ("complete", 1));
}
