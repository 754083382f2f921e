//! One container and one image, whatever saw it: the unified view of the bed against what the runtimes' own tools say.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test's helpers are tests")]

mod findings;
mod identity;

use std::collections::BTreeMap;

use stocktake_core::{model::Inventory, unify::UnifiedView};
use stocktake_tests::{agent::Agent, bed};

/// One look at all of the bed.
fn collect() -> Inventory {
    Agent::collect(&bed::config(), &["--format", "json"]).run().exits(0).report().inventory
}

/// A view of `inventory`, which refers to nothing that is not there.
fn view(inventory: &Inventory) -> UnifiedView<'_> {
    UnifiedView::of(inventory).expect("the unified view refers to what the document holds")
}

/// How many containers each source saw.
fn seen_by_source(inventory: &Inventory) -> BTreeMap<&str, usize> {
    let bodies = |source: &'_ stocktake_core::model::Source| -> usize {
        let digests = source.scopes.iter().filter_map(|entry| entry.digest.as_ref());
        digests.map(|digest| inventory.scopes[digest].containers.len()).sum()
    };
    inventory.report.sources.iter().map(|source| (source.collector.as_str(), bodies(source))).collect()
}
