//! What somebody holds who reads the stream of an agent that watches, and what has to hold of that after every line.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use stocktake_core::model::{Coverage, ScopeEntry, ScopeId, ScopeKind};
use stocktake_tests::{
    agent::{Agent, Run},
    cluster::Cluster,
    running::Running,
    wait_until,
};

use crate::{Pods, collect};

/// What the agent says when it is told what changes, when it no longer is, and when it takes that for lasting.
const WATCHES: &str = " watching the API server at ";
const LOST: &str = "the runtime does not tell what changes";
const CANNOT: &str = "the runtime cannot tell what changes";

/// A scope as it was told last.
#[derive(Debug)]
struct Held {
    entry: ScopeEntry,
    /// Uids of its pods.
    pods: BTreeSet<String>,
    /// Whether its content is being told.
    arrives: bool,
}

/// An agent that watches the cluster, and a reader of its stream who forgets what the stream says is gone. The test deletes
/// by way of this, so that it is known what may go.
pub(crate) struct Consumer<'a> {
    cluster: &'a Cluster,
    running: Running,
    /// Lines of the stream that were taken.
    taken: usize,
    reports: usize,
    coverage: Option<Coverage>,
    scopes: BTreeMap<ScopeId, Held>,
    /// Pods that must not be missing: those that were there before the agent began, and those that it told of.
    known: Pods,
    deleted: BTreeSet<String>,
    deleted_namespaces: BTreeSet<String>,
    fault: &'static str,
}

impl<'a> Consumer<'a> {
    /// Begins to watch, through `port`, while this happens to the cluster. So often (`interval`) the agent looks where nothing
    /// is told or not everything is seen.
    pub(crate) fn start(cluster: &'a Cluster, port: u16, interval: &str, fault: &'static str) -> Self {
        let known = cluster.pods();
        let config = cluster.config(port, "timeout = '1m'");
        let arguments = ["--verbose", "--interval", interval, "--format", "ndjson"];
        let running = Agent::with_config("watch", &config, &arguments).start();
        Self {
            cluster,
            running,
            taken: 0,
            reports: 0,
            coverage: None,
            scopes: BTreeMap::new(),
            known,
            deleted: BTreeSet::new(),
            deleted_namespaces: BTreeSet::new(),
            fault,
        }
    }

    /// What the agent has told people.
    pub(crate) fn told(&self) -> String {
        self.running.told()
    }

    /// Whether the agent has said that it is no longer told what changes.
    pub(crate) fn has_lost(&self) -> bool {
        self.running.told().contains(LOST)
    }

    /// Whether the agent is being told what changes, as it says.
    pub(crate) fn is_told(&self) -> bool {
        let told = self.running.told();
        let last = [WATCHES, LOST, CANNOT].map(|words| told.rfind(words));
        last[0].is_some() && last[0] > last[1].max(last[2])
    }

    /// How many reports there were so far.
    pub(crate) fn reports(&self) -> usize {
        self.reports
    }

    /// How completely the list of scopes was seen, and each of them.
    pub(crate) fn coverages(&self) -> impl Iterator<Item = &Coverage> {
        self.coverage.iter().chain(self.scopes.values().map(|held| &held.entry.coverage))
    }

    /// Whether everything was seen when it was looked at last.
    pub(crate) fn is_complete(&self) -> bool {
        self.coverage.is_some() && self.coverages().all(Coverage::is_complete)
    }

    /// How completely the list of scopes was seen.
    pub(crate) fn coverage(&self) -> Option<&Coverage> {
        self.coverage.as_ref()
    }

    /// How completely a scope was seen.
    pub(crate) fn coverage_of(&self, scope: &ScopeId) -> Option<&Coverage> {
        self.scopes.get(scope).map(|held| &held.entry.coverage)
    }

    /// The pods that are held, by namespace.
    pub(crate) fn pods(&self) -> Pods {
        let of_namespaces = self.scopes.iter().filter(|(id, _)| id.kind == ScopeKind::Namespace);
        of_namespaces.map(|(id, held)| (id.name.to_string(), held.pods.clone())).collect()
    }

    // --- what the test does ---

    /// Deletes a pod: it may be gone from now on.
    pub(crate) fn delete_pod(&mut self, namespace: &str, name: &str) {
        let pod = self.cluster.get(&format!("/api/v1/namespaces/{namespace}/pods/{name}"));
        self.deleted.insert(pod["metadata"]["uid"].as_str().unwrap().to_owned());
        self.cluster.delete_pod(namespace, name);
    }

    /// Deletes a namespace with its pods: all that may be gone from now on.
    pub(crate) fn delete_namespace(&mut self, name: &str) {
        self.deleted.extend(self.cluster.pods().remove(name).unwrap());
        self.deleted_namespaces.insert(name.to_owned());
        self.cluster.delete_namespace(name);
    }

    /// Waits until what was told is as wanted.
    #[track_caller]
    pub(crate) fn wait(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        wait_until(&format!("{what} ({})\n{}", self.fault, self.told()), || {
            self.take();
            is_so(self)
        });
    }

    /// Waits until the agent watches and all that it told is what the cluster has.
    #[track_caller]
    pub(crate) fn wait_until_whole(&mut self) {
        let pods = self.cluster.pods();
        self.wait("everything to be seen", |consumer| consumer.is_complete() && consumer.pods() == pods);
    }

    /// What is held is to the byte what a process sees that looks for the first time. A pod that came and went between two
    /// looks is told once, so that the next report may be the one that is equal.
    #[track_caller]
    pub(crate) fn assert_equal_to_a_fresh_list(&mut self) {
        self.wait_until_whole();
        let fresh = collect(self.cluster).exits(0).report();
        let fresh: BTreeMap<_, _> =
            fresh.source("k").scopes.iter().map(|entry| (entry.id.clone(), entry.digest.clone())).collect();
        self.wait("what is held to be what a fresh list has", |consumer| {
            let held = consumer.scopes.iter().map(|(id, held)| (id.clone(), held.entry.digest.clone()));
            consumer.is_complete() && held.collect::<BTreeMap<_, _>>() == fresh
        });
    }

    /// The agent watches again, and tells of what is created from now on.
    #[track_caller]
    pub(crate) fn assert_watches(&mut self, namespace: &str) {
        self.wait("a watch", Self::is_told);
        self.cluster.create_pod(namespace, &format!("told-{}", self.running.id()));
        self.wait_until_whole();
    }

    /// Ends the agent, after all that it still told was taken.
    pub(crate) fn end(mut self) -> Run {
        self.take();
        self.running.terminate().exits(0)
    }

    // --- what is told ---

    /// Takes in the lines that came since.
    #[track_caller]
    pub(crate) fn take(&mut self) {
        let lines = self.running.lines();
        for line in &lines[self.taken..] {
            self.take_line(line);
        }
        self.taken = lines.len();
    }

    #[track_caller]
    fn take_line(&mut self, line: &str) {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        match value["type"].as_str().unwrap() {
            "report" => self.reports += 1,
            "source" => self.coverage = Some(serde_json::from_value(value["coverage"].clone()).unwrap()),
            "scope" => self.take_scope(serde_json::from_value(value).unwrap()),
            "scope_gone" => {
                let id: ScopeId = serde_json::from_value(value).unwrap();
                assert!(
                    id.kind == ScopeKind::Namespace && self.deleted_namespaces.contains(id.name.as_str()),
                    "{}: {id} is told to be gone, and is not\n{}",
                    self.fault,
                    self.told()
                );
                assert!(self.scopes.remove(&id).is_some(), "{id} was never told of");
            }
            "pod" => {
                let id: ScopeId = serde_json::from_value(value["scope"].clone()).unwrap();
                let held = self.scopes.get_mut(&id).expect("its scope comes first");
                assert!(held.arrives, "{}: {id} has more than it says: {line}", self.fault);
                held.pods.insert(value["uid"].as_str().unwrap().to_owned());
                self.settle(&id);
            }
            _ => {}
        }
    }

    #[track_caller]
    fn take_scope(&mut self, entry: ScopeEntry) {
        // A scope ends where the next begins.
        let short = self.scopes.values().find(|held| held.arrives).map(|held| &held.entry);
        assert!(short.is_none(), "{}: not all of it was told: {short:?}", self.fault);
        let id = entry.id.clone();
        let before = self.scopes.remove(&id);
        // Another content replaces the one before.
        let pods = before.filter(|held| held.entry.digest == entry.digest).map(|held| held.pods);
        let arrives = pods.is_none();
        if !entry.coverage.is_complete() {
            let reason = entry.coverage.reason();
            assert!(reason.is_some_and(|reason| !reason.is_empty()), "{}: {entry:?}", self.fault);
        }
        self.scopes.insert(id.clone(), Held { entry, pods: pods.unwrap_or_default(), arrives });
        self.settle(&id);
    }

    /// Looks at a scope that was told to its end: nothing is missing that nobody deleted.
    #[track_caller]
    fn settle(&mut self, id: &ScopeId) {
        let held = self.scopes.get_mut(id).unwrap();
        if held.pods.len() < held.entry.counts.pods {
            return;
        }
        held.arrives = false;
        let known = self.known.entry(id.name.to_string()).or_default();
        if held.entry.coverage.is_complete() {
            known.retain(|uid| !self.deleted.contains(uid));
            let missing: Vec<&String> = known.difference(&held.pods).collect();
            assert!(
                missing.is_empty(),
                "{}: {id} is called complete without {} of its pods, such as {:?}\n{}",
                self.fault,
                missing.len(),
                missing.first(),
                self.running.told()
            );
        }
        known.extend(held.pods.iter().cloned());
    }
}
