//! Whatever happens to an API server, its storage or the line to it while an agent watches: nothing is told to be gone that
//! was not deleted, and afterwards what was told is what a fresh list has.

use stocktake_core::{conformance::Daemon as _, model::ScopeId};
use stocktake_tests::{
    cluster::{self, Cluster, Options},
    gate::Gate,
};

use crate::{BEFORE_PODS, cluster, consumer::Consumer};

/// An interval of looks that see what no watch tells, within a test's patience.
pub(crate) const SOON: &str = "2s";
/// One that no test lasts: whatever is told, a watch has told.
const LATE: &str = "10m";

/// Somebody who holds what there is, as an agent told it that watches from now on.
pub(crate) fn watching<'a>(cluster: &'a Cluster, port: u16, interval: &str, fault: &'static str) -> Consumer<'a> {
    let mut consumer = Consumer::start(cluster, port, interval, fault);
    consumer.assert_equal_to_a_fresh_list();
    consumer.wait("a watch", Consumer::is_told);
    consumer
}

#[test]
fn what_is_killed_under_a_watch_takes_nothing_away() {
    if !cluster::is_wanted() {
        return;
    }
    let cluster = cluster();
    the_api_server_is_killed_within_the_first_list(&cluster);
    the_api_server_is_killed(&cluster);
    etcd_is_killed(&cluster);
    both_are_killed(&cluster);
}

fn the_api_server_is_killed_within_the_first_list(cluster: &Cluster) {
    let gate = Gate::new(cluster.port());
    gate.close_after(BEFORE_PODS);
    let mut consumer = Consumer::start(cluster, gate.port(), SOON, "the API server killed within the first list");
    gate.wait_until_reached();
    cluster.api_server().kill().unwrap();
    gate.open();
    consumer.wait("a report of what was not seen", |consumer| consumer.reports() > 0 && !consumer.is_complete());
    cluster.api_server().start().unwrap();
    cluster.create_pod("alpha", "after-the-list");
    consumer.delete_pod("beta", "web-1");
    consumer.assert_equal_to_a_fresh_list();
    drop(consumer.end());
}

/// What happened before its end and was not told may no longer be in its memory afterwards.
fn the_api_server_is_killed(cluster: &Cluster) {
    let mut consumer = watching(cluster, cluster.port(), SOON, "the API server killed");
    cluster.create_pod("alpha", "before-the-end");
    consumer.delete_pod("beta", "web-2");
    cluster.api_server().kill().unwrap();
    consumer.wait("the loss to be told", Consumer::has_lost);
    cluster.api_server().start().unwrap();
    cluster.create_pod("alpha", "after-the-end");
    consumer.delete_pod("gamma", "web-2");
    consumer.assert_equal_to_a_fresh_list();
    consumer.assert_watches("alpha");
    drop(consumer.end());
}

fn etcd_is_killed(cluster: &Cluster) {
    let mut consumer = watching(cluster, cluster.port(), SOON, "etcd killed");
    cluster.create_pod("alpha", "before-etcd-ended");
    consumer.delete_pod("beta", "web-3");
    cluster.etcd().kill().unwrap();
    cluster.etcd().start().unwrap();
    cluster.wait_until_ready();
    cluster.label_pod("alpha", "web-3", "tier", "front");
    consumer.delete_pod("gamma", "web-3");
    consumer.assert_equal_to_a_fresh_list();
    consumer.assert_watches("alpha");
    drop(consumer.end());
}

fn both_are_killed(cluster: &Cluster) {
    let mut consumer = watching(cluster, cluster.port(), SOON, "both killed");
    consumer.delete_pod("beta", "web-4");
    cluster.etcd().kill().unwrap();
    cluster.api_server().kill().unwrap();
    consumer.wait("the loss to be told", Consumer::has_lost);
    cluster.etcd().start().unwrap();
    cluster.api_server().start().unwrap();
    cluster.create_pod("beta", "after-both");
    consumer.delete_namespace("gamma");
    consumer.assert_equal_to_a_fresh_list();
    consumer.assert_watches("beta");
    drop(consumer.end());
}

#[test]
fn what_happens_while_nobody_is_told_is_told_afterwards() {
    if !cluster::is_wanted() {
        return;
    }
    let cluster = Cluster::start("history", Options { audited: true });
    cluster.grant_all();
    for name in ["alpha", "beta", "doomed"] {
        cluster.create_namespace(name);
        cluster.create_pods(name, "web", 20, 0);
    }
    the_line_is_cut(&cluster);
    the_history_is_compacted(&cluster);
}

/// A pod is created, one changes and one is deleted while the line is held still.
fn change_unseen(cluster: &Cluster, consumer: &mut Consumer<'_>, gate: &Gate, deleted: &str) {
    gate.close_after(0);
    cluster.create_pod("alpha", &format!("instead-of-{deleted}"));
    cluster.label_pod("alpha", "web-0", "instead-of", deleted);
    consumer.delete_pod("beta", deleted);
}

/// The server still has what happened meanwhile: each watch goes on from where it was, and nothing is listed.
fn the_line_is_cut(cluster: &Cluster) {
    let gate = Gate::new(cluster.port());
    let mut consumer = watching(cluster, gate.port(), LATE, "the line cut");
    // Whatever the fresh list asked for is behind this.
    let mut audit = cluster.audit();
    change_unseen(cluster, &mut consumer, &gate, "web-1");
    gate.cut();
    consumer.wait_until_whole();
    consumer.assert_watches("alpha");
    let entries = audit.entries();
    let lists: Vec<_> = entries.iter().filter(|entry| entry.verb == "list").collect();
    assert!(lists.is_empty(), "{lists:#?}");
    for resource in ["pods", "nodes", "namespaces", "replicasets", "jobs"] {
        let is_watch = |uri: &str| uri.contains(&format!("/{resource}?")) && !uri.contains("resourceVersion=0");
        let resumed = entries.iter().any(|entry| {
            entry.verb == "watch" && is_watch(&entry.uri) && entry.uri.contains("resourceVersion=") && entry.code == 200
        });
        assert!(resumed, "no watch of {resource} goes on from where it was: {entries:#?}");
    }
    consumer.assert_equal_to_a_fresh_list();
    drop(consumer.end());
}

/// The server has nothing of what happened meanwhile, neither in its memory nor in its storage: all pods are listed anew, and
/// those are gone that are not in the list.
fn the_history_is_compacted(cluster: &Cluster) {
    let gate = Gate::new(cluster.port());
    let mut consumer = watching(cluster, gate.port(), LATE, "the history compacted");
    let mut audit = cluster.audit();
    change_unseen(cluster, &mut consumer, &gate, "web-2");
    consumer.delete_namespace("doomed");
    cluster.compact();
    cluster.api_server().restart();
    gate.cut();
    consumer.wait_until_whole();
    assert_eq!(consumer.coverage_of(&ScopeId::namespace("doomed")), None);
    consumer.assert_watches("alpha");
    let entries = audit.entries();
    let of_pods = |verb: &str| {
        let asked = entries.iter().filter(|entry| entry.uri.starts_with("/api/v1/pods?") && entry.verb == verb);
        asked.collect::<Vec<_>>()
    };
    assert!(!of_pods("list").is_empty(), "all pods are listed anew: {entries:#?}");
    assert!(consumer.told().contains("asking to list `pods` throughout the cluster"), "{}", consumer.told());
    consumer.assert_equal_to_a_fresh_list();
    drop(consumer.end());
}
