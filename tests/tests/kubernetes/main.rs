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

use stocktake_core::model::ScopeId;
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
