//! What could not be seen, said where a format has no place for it.

use stocktake_core::model::{Coverage, Inventory};

/// A line for each source and scope that was not completely seen.
pub(crate) fn gaps(inventory: &Inventory) -> Vec<String> {
    let mut gaps = Vec::new();
    for source in &inventory.report.sources {
        let mut look = |what: &str, coverage: &Coverage| {
            if !coverage.is_complete() {
                let reason = coverage.reason().map(|reason| format!(": {reason}")).unwrap_or_default();
                gaps.push(format!("{what}: {}{reason}", coverage.status()));
            }
        };
        look(&source.collector, &source.coverage);
        for entry in &source.scopes {
            look(&format!("{}: {}", source.collector, entry.id), &entry.coverage);
        }
    }
    gaps
}
