//! Watching: what is told of what changes, and what is known meanwhile.

use serde_json::{Value, json};
use stocktake_core::{RuntimeCollector as _, ScopeChange, Selection, model::ScopeId};

use crate::{
    cluster::Cluster,
    fake::{Chunk, pod},
    look::{Changes, Sink, collector, look, look_at_watched, scopes},
};

/// A pod whose only container runs.
fn running(namespace: &str, name: &str) -> Value {
    let mut pod = pod(namespace, name);
    pod["spec"] = json!({"nodeName": "n1", "containers": [{"name": "c", "image": "x:1"}]});
    pod["status"] = json!({"phase": "Running", "containerStatuses":
        [{"name": "c", "state": {"running": {}}, "imageID": "", "containerID": format!("containerd://{name}")}]});
    pod
}

#[tokio::test]
async fn what_changes_is_told_and_known() {
    for cluster in [Cluster::start(&["a", "b"]), Cluster::start(&["a", "b"]).in_protobuf()] {
        cluster.put("pods", running("a", "1"));
        let collector = collector(&cluster.server, json!({}));
        let mut changes = Changes::of(&collector);
        assert_eq!(cluster.server.requests(), 0, "nothing happens before the first poll");
        assert_eq!(changes.next().await, ScopeChange::All);
        let sink = look_at_watched(&collector, &cluster, json!({})).await;
        assert_eq!(sink.namespace("a"), ("complete", vec!["1"]));
        assert!(sink.cost.kept_bytes > 0 && sink.cost.requests >= 10, "{:?}", sink.cost);

        cluster.put("pods", running("b", "2"));
        assert_eq!(changes.next().await, scopes(&["b"]));
        let mut other = running("a", "1");
        other["spec"]["containers"][0]["image"] = json!("x:2");
        cluster.put("pods", other);
        assert_eq!(changes.next().await, scopes(&["a"]));
        let sink = look_at_watched(&collector, &cluster, json!({})).await;
        assert_eq!(sink.namespace("b"), ("complete", vec!["2"]));
        cluster.delete("pods", "a", "1");
        assert_eq!(changes.next().await, scopes(&["a"]));
        assert_eq!(look_at_watched(&collector, &cluster, json!({})).await.namespace("a"), ("complete", vec![]));

        cluster.put("namespaces", json!({"metadata": {"name": "c"}}));
        assert_eq!(changes.next().await, ScopeChange::All);
        cluster.delete("namespaces", "", "c");
        assert_eq!(changes.next().await, ScopeChange::All);
        let sink = look_at_watched(&collector, &cluster, json!({})).await;
        assert_eq!(sink.names(), ["cluster", "namespace a", "namespace b"]);
    }
}

#[tokio::test]
async fn what_nobody_would_see_is_not_told() {
    let cluster = Cluster::start(&["a"]);
    let node = |beat: &str, ready: &str| {
        let conditions = json!([{"type": "Ready", "status": ready, "lastHeartbeatTime": beat}]);
        json!({"metadata": {"name": "n1"}, "status": {"conditions": conditions}})
    };
    cluster.put("nodes", node("2026-01-01T00:00:00Z", "True"));
    cluster.put("pods", running("a", "1"));
    let collector = collector(&cluster.server, json!({}));
    let mut changes = Changes::of(&collector);
    changes.next().await;
    cluster.put("nodes", node("2026-01-01T00:01:00Z", "True"));
    let mut pod = running("a", "1");
    pod["metadata"]["managedFields"] = json!([{"manager": "kubelet"}]);
    cluster.put("pods", pod);
    changes.is_quiet().await;
    cluster.put("nodes", node("2026-01-01T00:02:00Z", "False"));
    assert_eq!(changes.next().await, ScopeChange::Scopes([ScopeId::cluster()].into()));
    look_at_watched(&collector, &cluster, json!({})).await;
}

#[tokio::test]
async fn an_owner_that_is_learnt_late_is_told_where_its_pods_are() {
    let cluster = Cluster::start(&["a", "b"]);
    let mut owned = running("a", "1");
    owned["metadata"]["ownerReferences"] =
        json!([{"kind": "ReplicaSet", "apiVersion": "apps/v1", "name": "web-1", "uid": "rs", "controller": true}]);
    cluster.put("pods", owned);
    cluster.put("pods", running("b", "1"));
    let collector = collector(&cluster.server, json!({}));
    let mut changes = Changes::of(&collector);
    changes.next().await;
    let workload = |sink: &Sink| sink.scopes[&ScopeId::namespace("a")].body.pods[0].workload.clone();
    assert_eq!(workload(&look_at_watched(&collector, &cluster, json!({})).await).as_deref(), Some("rs"));

    let replica_set = json!({"metadata": {"namespace": "a", "name": "web-1", "uid": "rs", "ownerReferences":
        [{"kind": "Deployment", "apiVersion": "apps/v1", "name": "web", "uid": "d", "controller": true}]}});
    cluster.put("replicasets", replica_set);
    assert_eq!(changes.next().await, scopes(&["a"]));
    assert_eq!(workload(&look_at_watched(&collector, &cluster, json!({})).await).as_deref(), Some("d"));
    cluster.put("replicasets", json!({"metadata": {"namespace": "b", "name": "other", "uid": "other"}}));
    changes.is_quiet().await;
    cluster.delete("replicasets", "a", "web-1");
    assert_eq!(changes.next().await, scopes(&["a"]));
    look_at_watched(&collector, &cluster, json!({})).await;
}

#[tokio::test]
async fn a_pod_that_lived_and_died_between_two_reports_is_in_one() {
    let cluster = Cluster::start(&["a"]);
    cluster.put("pods", running("a", "reported"));
    let collector = collector(&cluster.server, json!({}));
    let mut changes = Changes::of(&collector);
    changes.next().await;
    look_at_watched(&collector, &cluster, json!({})).await;

    cluster.put("pods", running("a", "short"));
    assert_eq!(changes.next().await, scopes(&["a"]));
    cluster.delete("pods", "a", "short");
    cluster.delete("pods", "a", "reported");
    assert_eq!(changes.all().await, scopes(&["a"]));
    let mut sink = Sink::default();
    let only = Selection::Only([ScopeId::namespace("a")].into());
    collector.collect(&only, &mut sink).await.unwrap();
    assert_eq!(sink.namespace("a"), ("complete", vec!["short"]), "what a report has had is just gone");
    let container = &sink.scopes[&ScopeId::namespace("a")].body.containers[0];
    let state = serde_json::to_value(container).unwrap();
    assert_eq!((state["state"].as_str(), state["state_reason"].as_str()), (Some("unknown"), Some("PodDeleted")));

    assert_eq!(changes.next().await, scopes(&["a"]), "the next report looks different");
    let sink = look_at_watched(&collector, &cluster, json!({})).await;
    assert_eq!(sink.namespace("a"), ("complete", vec![]));
    changes.is_quiet().await;
}

/// As deleted is told what was deleted, and what merely no longer matches.
#[tokio::test]
async fn a_pod_that_is_no_longer_selected_has_not_died() {
    let cluster = Cluster::start(&["a"]);
    let settings = json!({"label_selector": "app=x"});
    let collector = collector(&cluster.server, settings.clone());
    let mut changes = Changes::of(&collector);
    changes.next().await;
    let mut dying = running("a", "dying");
    dying["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    cluster.put("pods", dying);
    cluster.put("pods", running("a", "relabelled"));
    assert_eq!(changes.all().await, scopes(&["a"]));
    cluster.delete("pods", "a", "dying");
    cluster.delete("pods", "a", "relabelled");
    assert_eq!(changes.all().await, scopes(&["a"]));
    let (_, sink) = look(&collector).await;
    assert_eq!(sink.namespace("a"), ("complete", vec!["dying"]));
    assert_eq!(changes.next().await, scopes(&["a"]));
    look_at_watched(&collector, &cluster, settings).await;
}

#[tokio::test]
async fn a_subscription_that_is_dropped_is_no_longer_relied_upon() {
    let cluster = Cluster::start(&["a"]);
    cluster.put("pods", running("a", "1"));
    let collector = collector(&cluster.server, json!({}));
    drop(Changes::of(&collector));
    let mut changes = Changes::of(&collector);
    changes.next().await;
    drop(Changes::of(&collector));
    look_at_watched(&collector, &cluster, json!({})).await;
    changes.is_quiet().await;
    look_at_watched(&collector, &cluster, json!({})).await;

    drop(changes);
    cluster.delete("pods", "a", "1");
    let lists = cluster.lists();
    let mut sink = Sink::default();
    collector.collect(&Selection::All, &mut sink).await.unwrap();
    assert_eq!(sink.namespace("a"), ("complete", vec![]));
    assert_eq!(cluster.lists(), lists + 3, "nobody watches, so it is listed");

    let mut changes = Changes::of(&collector);
    assert_eq!(
        changes.next().await,
        ScopeChange::All,
        "what was listed meanwhile was newer, and must not be taken back"
    );
    assert_eq!(cluster.lists(), lists + 3 + 5);
    look_at_watched(&collector, &cluster, json!({})).await;
}

#[tokio::test]
async fn a_subscription_that_is_dropped_while_it_begins_leaves_nothing_half_known() {
    let cluster = Cluster::start(&["a"]);
    cluster.put("pods", running("a", "1"));
    let collector = collector(&cluster.server, json!({}));
    for requests in 1..12 {
        let mut changes = collector.changes();
        let before = cluster.server.requests();
        tokio::select! {
            biased;
            () = async {
                while cluster.server.requests() < before + requests {
                    tokio::task::yield_now().await;
                }
            } => {}
            _ = futures_util::StreamExt::next(&mut changes) => {}
        }
        drop(changes);
        let mut sink = Sink::default();
        collector.collect(&Selection::All, &mut sink).await.unwrap();
        assert_eq!(sink.namespace("a"), ("complete", vec!["1"]), "dropped after {requests} requests");
    }
    let mut changes = Changes::of(&collector);
    changes.next().await;
    look_at_watched(&collector, &cluster, json!({})).await;
    cluster.hang_up(&Chunk::Cut);
}
