//! Faults of a real API server and of its storage: what is called complete is what the server has, whatever happens to it,
//! and the first look after a fault sees everything.
//!
//! A test has a cluster of its own for all its faults, because starting one takes longer than a fault.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test's helpers are tests")]

mod access;
mod consumer;
mod kills;
mod pages;
mod watch;
mod watch_access;

use std::collections::{BTreeMap, BTreeSet};

use stocktake_core::model::{Coverage, ScopeId};
use stocktake_tests::{
    agent::{Agent, Run},
    cluster::{Cluster, Options},
    gate::Gate,
    report::Report,
    running::Running,
};

/// Uids of pods by namespace.
type Pods = BTreeMap<String, BTreeSet<String>>;

/// Namespaces with [`PODS`] pods each.
const NAMESPACES: [&str; 3] = ["alpha", "beta", "gamma"];
/// More than a page has in all, and the second namespace is on both pages.
const PODS: usize = 220;
/// So much of the answers comes through before a gate closes: all that a look asks for before the pods, and some of these.
const BEFORE_PODS: u64 = 200_000;

/// A cluster with pods, of which the agent may see everything. Their answer is several megabytes, more than the kernel
/// takes in for a reader that does not read: so a server that waits at a closed gate has not sent all of it.
fn cluster() -> Cluster {
    let cluster = Cluster::start("faults", Options { audited: true });
    cluster.grant_all();
    for name in NAMESPACES {
        cluster.create_namespace(name);
        cluster.create_pods(name, "web", PODS, 12);
    }
    cluster
}

fn start(cluster: &Cluster, port: u16, timeout: &str) -> Running {
    Agent::collect(&cluster.config(port, &format!("timeout = '{timeout}'")), &["--format", "json"]).start()
}

fn collect(cluster: &Cluster) -> Run {
    start(cluster, cluster.port(), "1m").finish()
}

/// A look during which `fault` happens, in the middle of the answer that holds the first pods.
fn collect_with(cluster: &Cluster, timeout: &str, fault: impl FnOnce()) -> Run {
    collect_by(cluster, &format!("timeout = '{timeout}'"), fault)
}

/// The same with other settings.
fn collect_by(cluster: &Cluster, settings: &str, fault: impl FnOnce()) -> Run {
    let gate = Gate::new(cluster.port());
    gate.close_after(BEFORE_PODS);
    let running = Agent::collect(&cluster.config(gate.port(), settings), &["--format", "json"]).start();
    gate.wait_until_reached();
    fault();
    gate.open();
    running.finish()
}

/// Each scope that is called complete is what it was at one of the moments of the look; what is not complete says why.
#[track_caller]
fn assert_complete_is_true(run: &Run, moments: &[&Pods], fault: &str) {
    assert!(matches!(run.code, Some(0 | 1 | 69)), "{fault}: {run}");
    let report = run.report();
    let source = report.source("k");
    assert_eq!(run.code == Some(0), source.is_complete(), "{fault}: {run}");
    for entry in &source.scopes {
        if !entry.coverage.is_complete() {
            assert!(entry.coverage.reason().is_some_and(|reason| !reason.is_empty()), "{fault}: {entry:?}");
        }
    }
    let complete = complete_pods(&report);
    // Each scope is of one moment; a list that begins again leaves alone those that were seen to their end.
    for (name, uids) in &complete {
        let is_true = moments.iter().any(|pods| pods.get(name) == Some(uids));
        assert!(is_true, "{fault}: {name} is called complete and never was so: {run}");
    }
    // Whatever is missing from a complete list of scopes would be taken for gone.
    if source.coverage == Coverage::Complete {
        let named: BTreeSet<&str> = report.namespaces("k").into_iter().collect();
        let are_all = |pods: &&Pods| pods.keys().map(String::as_str).collect::<BTreeSet<_>>() == named;
        assert!(moments.iter().any(are_all), "{fault}: a complete list of other scopes: {named:?}");
    }
}

/// The pods of namespaces that are called complete.
fn complete_pods(report: &Report) -> Pods {
    let complete =
        report.bodies("k").filter(|(entry, _)| entry.coverage.is_complete() && entry.id != ScopeId::cluster());
    let uids = complete.map(|(entry, scope)| {
        (entry.id.name.to_string(), scope.pods.iter().map(|pod| pod.uid.to_string()).collect::<BTreeSet<_>>())
    });
    uids.collect()
}

/// A look after the fault is over: all of it is complete, and what the server has.
#[track_caller]
fn assert_whole(cluster: &Cluster, fault: &str) {
    let pods = cluster.pods();
    let report = collect(cluster).exits(0).report();
    assert_eq!(complete_pods(&report), pods, "after {fault}");
}

/// How many scopes are complete.
fn complete(run: &Run) -> usize {
    run.report().source("k").scopes.iter().filter(|entry| entry.coverage.is_complete()).count()
}
