//! How the agent is: what it did, and what stands in its way.
//!
//! Everything that runs tells it here, in one place for health, metrics, traces and `status`. All of these are computed from
//! it when somebody asks: nothing here runs by itself.

mod ask;
mod collector;
mod exposition;
mod health;
mod metrics;
mod moment;
mod serve;
mod socket;
mod state;
mod status;
mod target;
#[cfg(test)]
mod tests;
#[cfg_attr(not(feature = "otlp"), path = "no_traces.rs")]
mod traces;

use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;

pub(crate) use self::{
    ask::{AskError, ask},
    exposition::page,
    health::ago,
    serve::{ServeError, serve},
    socket::usual_places,
    state::Expected,
    status::{CollectorState, CollectorStatus, Status, TargetStatus},
};
use self::{
    moment::Moment,
    state::State,
    status::{LeaseStatus, Problem},
    traces::Traces,
};
use crate::{
    deliver::{Failure, Sent},
    follow::{Standing, Update},
    spool::Backlog,
};

/// Where what runs says what it did. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub(crate) struct Telemetry(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    traces: Traces,
}

impl Default for Telemetry {
    /// Of an agent that starts now.
    fn default() -> Self {
        Self(Arc::new(Shared { state: Mutex::new(State::new(Moment::now())), traces: Traces::default() }))
    }
}

impl Telemetry {
    fn state(&self) -> MutexGuard<'_, State> {
        // Each step leaves it in order, whatever the next one does.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What there is from now on: names with types. What was known of others is forgotten.
    pub(crate) fn configured(
        &self,
        collectors: &[(String, &'static str)],
        targets: &[(String, &'static str)],
        expected: &Expected,
    ) {
        self.state().configured(collectors, targets, expected, Moment::now());
    }

    /// Which collectors tell what changes, from now on.
    pub(crate) fn following(&self, standing: Standing) {
        self.state().standing = standing;
    }

    /// The configuration that is in force was read from there.
    pub(crate) fn configuration_read(&self, file: &Path) {
        let mut state = self.state();
        state.configuration.file = Some(file.display().to_string());
        state.configuration.error = None;
    }

    /// The configuration was read again and cannot be used.
    pub(crate) fn configuration_refused(&self, complaint: &str) {
        let problem = Problem { since: Timestamp::now(), message: complaint.to_owned() };
        self.state().configuration.error = Some(problem);
    }

    /// A collector was looked at.
    pub(crate) fn looked(&self, update: &Update) {
        self.looked_at(update, Moment::now());
        self.0.traces.looked(update);
    }

    fn looked_at(&self, update: &Update, now: Moment) {
        let mut state = self.state();
        state.active(now);
        if let Some(collector) = state.collectors.get_mut(update.source.collector.as_str()) {
            collector.looked(update, now);
        }
    }

    /// A report was made and is in the spool.
    pub(crate) fn reported(&self, sequence: u64) {
        let (mut state, now) = (self.state(), Moment::now());
        state.active(now);
        state.reports.made += 1;
        state.reports.latest = Some(sequence);
        state.reports.latest_at = Some(now.at);
    }

    /// A target has acknowledged a report.
    pub(crate) fn delivered(&self, target: &str, sequence: u64, sent: &Sent, took: Duration) {
        if let Some(known) = self.state().targets.get_mut(target) {
            known.delivered(sequence, sent, took, Moment::now());
        }
        self.0.traces.delivered(target, sequence, took, Ok(sent));
    }

    /// A target has not taken a report, and will be tried again then; never if it was put aside.
    pub(crate) fn not_delivered(
        &self,
        target: &str,
        sequence: u64,
        failure: &Failure,
        took: Duration,
        again: Option<Timestamp>,
    ) {
        if let Some(known) = self.state().targets.get_mut(target) {
            known.not_delivered(failure, again, Moment::now());
        }
        self.0.traces.delivered(target, sequence, took, Err(failure));
    }

    /// What waits for a target now.
    pub(crate) fn backlog(&self, target: &str, backlog: Backlog) {
        if let Some(target) = self.state().targets.get_mut(target) {
            target.backlog = backlog;
        }
    }

    /// So many reports were dropped before a target had them: too old, too many or damaged (`reason`, a word).
    pub(crate) fn dropped(&self, target: &str, reports: u64, reason: &'static str) {
        if let Some(target) = self.state().targets.get_mut(target) {
            target.dropped(reports, reason);
        }
    }

    /// The Lease of this name is had by another agent, or cannot be looked at; neither if this one has it.
    pub(crate) fn lease(&self, name: &str, holder: Option<&str>, error: Option<&str>) {
        let mut state = self.state();
        let before = state.lease.take().and_then(|lease| lease.error).map(|problem| problem.since);
        let since = before.unwrap_or_else(Timestamp::now);
        let error = error.map(|message| Problem { since, message: message.to_owned() });
        state.lease = Some(LeaseStatus { name: name.to_owned(), holder: holder.map(str::to_owned), error });
    }

    /// The spool's folder cannot be written; `None` when it can again.
    pub(crate) fn spool_failed(&self, error: Option<&str>) {
        self.state().spool_failed(error, Moment::now());
    }

    /// Sends a trace of each collection and delivery there from now on.
    pub(crate) fn trace_to(&self, endpoint: &str) -> Result<(), String> {
        self.0.traces.start(endpoint)
    }

    /// Sends what is left of traces, and no more.
    fn stop_tracing(&self) {
        self.0.traces.stop();
    }

    /// How everything is.
    pub(crate) fn status(&self) -> Status {
        self.state().status(Moment::now())
    }

    /// Whether what reports is at work.
    pub(crate) fn is_alive(&self) -> bool {
        self.state().is_alive(Moment::now())
    }
}
