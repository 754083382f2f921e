//! Of which collectors everything is known at every moment, because what changes is told.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use stocktake_core::model::Text;

/// The collectors that were seen completely and tell what changes. What was seen of them is as new as the present, though
/// nobody looks.
#[derive(Debug, Clone, Default)]
pub(crate) struct Standing(Arc<Mutex<BTreeSet<Text>>>);

impl Standing {
    /// Whether it is so of a collector.
    pub(crate) fn stands(&self, collector: &Text) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(collector)
    }

    pub(crate) fn set(&self, collector: &str, stands: bool) {
        let mut standing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if stands {
            standing.insert(collector.into());
        } else {
            standing.remove(collector);
        }
    }
}
