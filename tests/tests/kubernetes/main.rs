//! The kubernetes collector on a real cluster.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test's helpers are tests")]

mod access;
mod account;
mod connections;
mod content;
mod node;
mod rbac;
mod selection;

use std::sync::RwLock;

use stocktake_core::{
    ObservedScope, ScopeSink,
    model::{Cost, ScopeId, Warning},
};
use stocktake_tests::{
    agent::{Agent, Run},
    bed,
};

/// One test adds a pod to `batch`, which must not happen between two looks that another one compares.
static BATCH: RwLock<()> = RwLock::new(());

/// One look at the bed's cluster as `user`.
fn collect(user: &str, settings: &str) -> Run {
    let config = format!("[collectors.k]\ntype = 'kubernetes'\nkubeconfig = '{}'\n{settings}\n", bed::kubeconfig(user));
    Agent::collect(&config, &["--format", "json"]).run()
}

fn namespace(name: &str) -> ScopeId {
    ScopeId::namespace(name)
}

/// What a collector handed over.
#[derive(Default)]
struct Sink {
    scopes: Vec<ObservedScope>,
    warnings: Vec<String>,
    cost: Cost,
}

impl ScopeSink for Sink {
    fn scope(&mut self, scope: ObservedScope) {
        self.scopes.push(scope);
    }

    fn warning(&mut self, warning: Warning) {
        self.warnings.push(warning.message);
    }

    fn cost(&mut self, cost: Cost) {
        self.cost = cost;
    }
}
