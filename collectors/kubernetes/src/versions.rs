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

    /// Remembers the version of an answer, unless one was newer. Versions are numbers of which the greater is the newer
    /// (Kubernetes says so since 1.35, and no server ever did otherwise); of what is none the last counts.
    pub(crate) fn note(&self, path: String, version: String) {
        if version.is_empty() {
            return;
        }
        let mut known = self.known();
        let number = |version: &String| version.parse::<u128>().ok();
        let is_older = known.get(&path).is_some_and(|before| match (number(before), number(&version)) {
            (Some(before), Some(version)) => version < before,
            _ => false,
        });
        if !is_older {
            known.insert(path, version);
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
