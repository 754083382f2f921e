//! What is known of deliveries to a target.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use prometheus_client::metrics::histogram::Histogram;

use super::{
    moment::Moment,
    status::{DeliveredStatus, FailureStatus, TargetState},
};
use crate::{
    deliver::{Failure, Sent},
    spool::Backlog,
};

/// Seconds: an unchanged report is taken within tenths, a first one over a slow line within minutes.
const DURATIONS: [f64; 8] = [0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 120.0];

/// Words for how deliveries ended that are counted apart. Targets take them from answers of others.
const STATUSES_AT_MOST: usize = 32;

/// What is counted of a word that is none, or one too many.
const OTHER: &str = "other";

/// A target, from the first configuration on that names it.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) kind: &'static str,
    pub(super) backlog: Backlog,
    pub(super) delivered: Option<DeliveredStatus>,
    /// The latest, be it long ago.
    pub(super) failure: Option<FailureStatus>,
    /// Since when it takes nothing.
    pub(super) failing: Option<Timestamp>,
    /// Attempts by how they ended: `ok`, or the word of the failure.
    pub(super) deliveries: BTreeMap<String, u64>,
    pub(super) durations: Histogram,
    /// What all deliveries took together.
    pub(super) sent: Sent,
    /// Reports that it will not get, by reason.
    pub(super) dropped: BTreeMap<&'static str, u64>,
}

impl Target {
    pub(super) fn new(kind: &'static str) -> Self {
        Self {
            kind,
            backlog: Backlog::default(),
            delivered: None,
            failure: None,
            failing: None,
            deliveries: BTreeMap::new(),
            durations: Histogram::new(DURATIONS),
            sent: Sent::default(),
            dropped: BTreeMap::new(),
        }
    }

    pub(super) fn delivered(&mut self, sequence: u64, sent: &Sent, took: Duration, now: Moment) {
        self.count("ok");
        self.durations.observe(took.as_secs_f64());
        self.sent.bytes += sent.bytes;
        self.sent.requests += sent.requests;
        let took_seconds = took.as_secs_f64();
        self.delivered = Some(DeliveredStatus { sequence, at: now.at, bytes: sent.bytes, took_seconds });
        self.failing = None;
    }

    pub(super) fn not_delivered(&mut self, failure: &Failure, again: Option<Timestamp>, now: Moment) {
        let (Failure::Later { status, message, .. } | Failure::Refused { status, message }) = failure;
        self.count(status);
        self.failing.get_or_insert(now.at);
        self.failure = Some(FailureStatus {
            at: now.at,
            status: status.clone(),
            message: message.clone(),
            next_attempt_at: again,
            is_refusal: matches!(failure, Failure::Refused { .. }),
        });
    }

    pub(super) fn dropped(&mut self, reports: u64, reason: &'static str) {
        *self.dropped.entry(reason).or_default() += reports;
    }

    pub(super) fn state(&self) -> TargetState {
        match (&self.failing, &self.delivered) {
            (Some(_), _) => TargetState::Failing,
            (None, Some(_)) => TargetState::Ok,
            (None, None) => TargetState::Waiting,
        }
    }

    fn count(&mut self, status: &str) {
        let is_word = !status.is_empty()
            && status.len() <= 32
            && status.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let is_known = self.deliveries.contains_key(status);
        let word = if is_word && (is_known || self.deliveries.len() < STATUSES_AT_MOST) { status } else { OTHER };
        *self.deliveries.entry(word.to_owned()).or_default() += 1;
    }
}
