//! How new the answers were.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// The version of the last whole list of each path, so that the next answer from an API server's memory is no older:
/// where there are several servers, another one may lag behind the one that was asked before.
#[derive(Debug, Default)]
pub(crate) struct Versions(Mutex<HashMap<String, String>>);

impl Versions {
    /// What to ask for as `resourceVersion`, which means "no older than this". `0` is "as you have it".
    pub(crate) fn newest(&self, path: &str) -> String {
        self.known().get(path).cloned().unwrap_or_else(|| "0".into())
    }

    /// Remembers the version of an answer.
    pub(crate) fn note(&self, path: String, version: String) {
        if !version.is_empty() {
            self.known().insert(path, version);
        }
    }

    /// Takes whatever the server has, the next time: after etcd was restored, there may never be one as new.
    pub(crate) fn forget(&self, path: &str) {
        self.known().remove(path);
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, String>> {
        // Nothing in here is left half done by a panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
