//! The API server and its storage are killed or hang, before a look and in the middle of one.

use stocktake_core::conformance::Daemon as _;
use stocktake_tests::cluster::{self, Cluster};

use crate::{assert_complete_is_true, assert_whole, cluster, collect, collect_with, complete, start};

#[test]
fn whatever_is_killed_what_is_complete_is_true_and_the_next_look_is_whole() {
    if !cluster::is_wanted() {
        return;
    }
    let cluster = cluster();
    assert_whole(&cluster, "nothing");
    the_api_server_is_killed_within_an_answer(&cluster);
    etcd_hangs(&cluster);
    etcd_is_killed_within_an_answer(&cluster);
    both_are_killed(&cluster);
}

fn the_api_server_is_killed_within_an_answer(cluster: &Cluster) {
    let fault = "the API server killed within an answer";
    let pods = cluster.pods();
    let run = collect_with(cluster, "1m", || cluster.api_server().kill().unwrap());
    assert_complete_is_true(&run, &[&pods], fault);
    assert_ne!(run.code, Some(0), "{fault}: {run}");
    let report = run.report();
    let last = report.find_entry("k", &stocktake_core::model::ScopeId::namespace("gamma"));
    assert!(
        last.is_some_and(|entry| !entry.coverage.is_complete()),
        "{fault}, and the last namespace is complete: {run}"
    );

    let run = collect(cluster);
    assert_complete_is_true(&run, &[&pods], "the API server down");
    assert!(run.code == Some(69) && complete(&run) == 0, "the API server is down: {run}");

    cluster.api_server().start().unwrap();
    assert_whole(cluster, fault);
}

/// As on a disk that answers no more. The API server may still tell what it has in memory.
fn etcd_hangs(cluster: &Cluster) {
    let fault = "etcd stopped";
    let pods = cluster.pods();
    cluster.etcd().hang().unwrap();
    let run = start(cluster, cluster.port(), "3s").finish();
    cluster.etcd().resume().unwrap();
    assert_complete_is_true(&run, &[&pods], fault);
    cluster.wait_until_ready();
    assert_whole(cluster, fault);
}

fn etcd_is_killed_within_an_answer(cluster: &Cluster) {
    let fault = "etcd killed within an answer";
    let pods = cluster.pods();
    let run = collect_with(cluster, "8s", || cluster.etcd().kill().unwrap());
    assert_complete_is_true(&run, &[&pods], fault);
    let run = start(cluster, cluster.port(), "3s").finish();
    assert_complete_is_true(&run, &[&pods], "etcd down");
    cluster.etcd().start().unwrap();
    cluster.wait_until_ready();
    assert_whole(cluster, fault);
}

fn both_are_killed(cluster: &Cluster) {
    let fault = "both killed";
    let pods = cluster.pods();
    let run = collect_with(cluster, "1m", || {
        cluster.etcd().kill().unwrap();
        cluster.api_server().kill().unwrap();
    });
    assert_complete_is_true(&run, &[&pods], fault);
    assert_ne!(run.code, Some(0), "{fault}: {run}");
    cluster.etcd().start().unwrap();
    cluster.api_server().start().unwrap();
    // What happened while nobody could look.
    cluster.delete_pod("beta", "web-7");
    cluster.create_pod("beta", "late");
    cluster.delete_namespace("gamma");
    assert_whole(cluster, fault);
}
