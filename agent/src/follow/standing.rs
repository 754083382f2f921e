//! Of which collectors everything is known at every moment, because what changes is told.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use stocktake_core::model::Text;
use tokio::sync::Notify;

/// The collectors that were seen completely and tell what changes. What was seen of them is as new as the present, though
/// nobody looks.
#[derive(Debug, Clone, Default)]
pub(crate) struct Standing(Arc<Mutex<BTreeSet<Text>>>, Arc<Notify>);

/// Who follows, as long as this is there. When it goes without having been told to, by a panic, nothing stands any more.
pub(super) struct Presence(pub(super) Standing);

impl Drop for Presence {
    fn drop(&mut self) {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.0.1.notify_one();
    }
}

impl Standing {
    /// Told when one that follows is gone.
    pub(crate) fn gone(&self) -> &Notify {
        &self.1
    }

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
