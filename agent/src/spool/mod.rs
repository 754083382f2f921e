//! What waits to be delivered, on disk.

use jiff::Timestamp;
use stocktake_core::model::{Coverage, ScopeEntry};

/// What is left to say of a scope whose body was lost before it was delivered.
pub(crate) fn without_body(entry: &mut ScopeEntry) {
    let reason = "what was seen was damaged on the agent's disk before it was delivered".to_owned();
    entry.coverage = Coverage::Failed { reason };
    entry.digest = None;
}

/// What waits for a target.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Backlog {
    /// Reports.
    pub(crate) reports: usize,
    /// Bytes of their manifests on disk. Bodies of scopes are shared by reports and targets, and not counted here.
    pub(crate) bytes: u64,
    /// When the oldest of them was made.
    pub(crate) oldest: Option<Timestamp>,
}
