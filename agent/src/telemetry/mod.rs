//! How the agent is: what it did, and what stands in its way.
//!
//! Everything that runs tells it here, in one place for health, metrics and `status`.

use std::time::Duration;

use jiff::Timestamp;

use crate::{
    deliver::{Failure, Sent},
    follow::Update,
    spool::Backlog,
};

/// Where what runs says what it did. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Telemetry;

impl Telemetry {
    /// What there is from now on: names with types. What was known of others is forgotten.
    pub(crate) fn configured(&self, _collectors: &[(String, &'static str)], _targets: &[(String, &'static str)]) {}

    /// A collector was looked at, which took that long.
    pub(crate) fn looked(&self, _update: &Update) {}

    /// A report was made and is in the spool.
    pub(crate) fn reported(&self, _sequence: u64) {}

    /// A target has acknowledged a report.
    pub(crate) fn delivered(&self, _target: &str, _sequence: u64, _sent: &Sent, _took: Duration) {}

    /// A target has not taken a report, and will be tried again then; never if it was put aside.
    pub(crate) fn not_delivered(&self, _target: &str, _failure: &Failure, _again: Option<Timestamp>) {}

    /// What waits for a target now.
    pub(crate) fn backlog(&self, _target: &str, _backlog: Backlog) {}

    /// So many reports were dropped before a target had them: too old, too many or damaged (`reason`, a word).
    pub(crate) fn dropped(&self, _target: &str, _reports: u64, _reason: &'static str) {}

    /// The spool's folder cannot be written; `None` when it can again.
    pub(crate) fn spool_failed(&self, _error: Option<&str>) {}
}
