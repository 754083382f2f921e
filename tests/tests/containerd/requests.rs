//! The number of calls, counted by the daemons.

use std::collections::BTreeSet;

use stocktake_collector_containerd::{ContainerdCollector, Settings};
use stocktake_core::{
    CollectorPlugin as _, ConfigError, Context, ObservedScope, RuntimeCollector as _, ScopeSink, Selection,
    model::{Coverage, Scope, ScopeId, Warning},
};
use stocktake_tests::{agent::Agent, bed, cleanup::Cleanup, meter, needs, tools};

const NAMESPACE: &str = "stocktake-test";
const MORE: usize = 20;

#[test]
fn calls_do_not_grow_with_containers() {
    needs!("docker-next");
    let _alone = super::alone();
    let socket = bed::CONTAINERD_NEXT;
    let _cleanup = Cleanup::new(|| remove(socket));
    remove(socket);
    let ctr = |arguments: &[&str]| tools::output(tools::ctr(socket, NAMESPACE).args(arguments));
    ctr(&["images", "pull", "--plain-http", bed::APP_IMAGE]);
    let create = |number: usize| ctr(&["containers", "create", bed::APP_IMAGE, &format!("made-{number}")]);
    create(0);
    let (few, few_seen) = look(socket);
    (1..=MORE).for_each(|number| drop(create(number)));
    let (many, many_seen) = look(socket);

    assert_eq!((few_seen, many_seen), (1, 1 + MORE));
    assert_eq!(few, many, "calls for {few_seen} and {many_seen} containers");
    // An index of two platforms, one of which was pulled: index, manifest, configuration, and the manifest that is not
    // there.
    assert!(many["Content/Read"] <= 4, "{many:?}");
    assert!(meter::total(&many) <= 12, "{many:?}");
}

fn look(socket: &str) -> (meter::Requests, usize) {
    let config = format!(
        "[collectors.c]\ntype = 'containerd'\naddress = '{socket}'\nstates = ['all']\nnamespaces = ['{NAMESPACE}']\n"
    );
    let mut seen = 0;
    let calls = meter::fewest(|| {
        meter::containerd(bed::CONTAINERD_NEXT_METRICS, || {
            seen = Agent::collect(&config, &["--format", "json"]).run().exits(0).report().containers("c");
        })
    });
    (calls, seen)
}

fn remove(socket: &str) {
    let list =
        |arguments: &[&str]| tools::try_output(tools::ctr(socket, NAMESPACE).args(arguments)).unwrap_or_default();
    for id in list(&["containers", "ls", "--quiet"]).lines() {
        list(&["containers", "delete", id]);
    }
    for name in list(&["images", "ls", "--quiet"]).lines() {
        list(&["images", "remove", "--sync", name]);
    }
    // What is not used any more goes with the garbage collection that --sync waits for; a namespace has to be empty.
    stocktake_tests::wait_until("the test's namespace to be removed", || {
        let names = list(&["namespaces", "ls", "--quiet"]);
        !names.lines().any(|name| name == NAMESPACE) || {
            list(&["namespaces", "remove", NAMESPACE]);
            false
        }
    });
}

#[derive(Default)]
struct Sink {
    scopes: Vec<ObservedScope>,
    warnings: Vec<Warning>,
}

impl ScopeSink for Sink {
    fn scope(&mut self, scope: ObservedScope) {
        self.scopes.push(scope);
    }

    fn warning(&mut self, warning: Warning) {
        self.warnings.push(warning);
    }
}

/// One look with `collector`, and how many documents it read.
fn look_with(collector: &ContainerdCollector, select: &Selection) -> (u64, Sink) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut sink = Sink::default();
    let calls = meter::containerd(bed::CONTAINERD_NEXT_METRICS, || {
        let coverage = runtime.block_on(collector.collect(select, &mut sink)).unwrap();
        assert_eq!(coverage, Coverage::Complete);
    });
    (calls.get("Content/Read").copied().unwrap_or_default(), sink)
}

#[test]
fn a_second_look_reads_no_document_again() {
    needs!("docker-next");
    let _alone = super::alone();
    let settings: Settings =
        ConfigError::deserialize(serde_json::json!({ "address": bed::CONTAINERD_NEXT, "states": ["all"] })).unwrap();
    let collector = ContainerdCollector::new(settings, Context::default()).unwrap();
    let (first, first_seen) = look_with(&collector, &Selection::All);
    let (second, second_seen) = look_with(&collector, &Selection::All);
    assert!(first > 0, "the first look has to read something");
    assert_eq!(second, 0, "documents that were read again");
    assert_eq!(first_seen.scopes, second_seen.scopes);
    assert!(second_seen.warnings.is_empty(), "{:?}", second_seen.warnings);

    // Nor does a look at one namespace make it forget the others.
    let one: BTreeSet<_> = first_seen.scopes.iter().map(|scope| scope.id.clone()).take(1).collect();
    let (_, of_one) = look_with(&collector, &Selection::Only(one));
    assert_eq!(of_one.scopes, first_seen.scopes[..1]);
    // One that was deleted is handed over, so that what was in it is known to be gone.
    let deleted = ScopeId::namespace("deleted");
    let (_, of_deleted) = look_with(&collector, &Selection::Only([deleted.clone()].into()));
    assert_eq!(of_deleted.scopes, [ObservedScope::complete(deleted, Scope::default())]);
    assert_eq!(look_with(&collector, &Selection::All).0, 0, "documents that were forgotten");
}
