//! How the agent is, as it says it to `stocktake-agent status` and to who asks for `/status`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use stocktake_core::model::Counts;

/// The whole document. Fields may come; who reads ignores what it does not know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Status {
    /// Of the agent.
    pub(crate) version: String,
    /// Its process.
    pub(crate) pid: u32,
    pub(crate) started_at: Timestamp,
    /// When this was said.
    pub(crate) now: Timestamp,
    /// Whether it is at work, as `/livez` says.
    #[serde(default)]
    pub(crate) alive: bool,
    /// Whether it does what it is there for: see `reasons`.
    pub(crate) ready: bool,
    /// Why it is not ready, one a thing.
    #[serde(default)]
    pub(crate) reasons: Vec<String>,
    /// What is less good than it could be and yet does not make it unready.
    #[serde(default)]
    pub(crate) remarks: Vec<String>,
    pub(crate) configuration: ConfigurationStatus,
    pub(crate) reports: ReportsStatus,
    pub(crate) spool: SpoolStatus,
    /// Where one of several agents reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) lease: Option<LeaseStatus>,
    /// By name.
    #[serde(default)]
    pub(crate) collectors: Vec<CollectorStatus>,
    /// By name.
    #[serde(default)]
    pub(crate) targets: Vec<TargetStatus>,
}

/// What it runs with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ConfigurationStatus {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) file: Option<String>,
    /// Since when it is in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) read_at: Option<Timestamp>,
    /// Why a later one is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<Problem>,
}

/// Something that does not work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Problem {
    pub(crate) since: Timestamp,
    pub(crate) message: String,
}

/// The reports that were made in this run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReportsStatus {
    pub(crate) made: u64,
    /// Number of the latest one among all of the agent's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) latest: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) latest_at: Option<Timestamp>,
}

/// Where reports wait.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SpoolStatus {
    #[serde(default)]
    pub(crate) dir: String,
    /// Why it cannot be written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<Problem>,
}

/// The Lease by which one of several agents reports.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LeaseStatus {
    /// Namespace and name.
    pub(crate) name: String,
    /// The other agent that has it, while this one stands by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) holder: Option<String>,
    /// Why it cannot be told who has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<Problem>,
}

/// A collector.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct CollectorStatus {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) state: CollectorState,
    /// Why it is not `ok`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// Since when nothing of it is seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) failing_since: Option<Timestamp>,
    /// What is looked at, as it says it itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) runtime: Option<String>,
    /// Whether it tells what changes, so that what is known is as new as the present.
    #[serde(default)]
    pub(crate) is_watched: bool,
    /// When the latest look at it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) looked_at: Option<Timestamp>,
    /// How long it took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) took_seconds: Option<f64>,
    /// Until when everything of it is known: when a look last saw all, or now, if it tells what changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) complete_at: Option<Timestamp>,
    /// Scopes by coverage.
    #[serde(default)]
    pub(crate) scopes: BTreeMap<String, usize>,
    /// What is in all of them together.
    #[serde(default)]
    pub(crate) counts: Counts,
    #[serde(default)]
    pub(crate) warnings: Vec<String>,
}

/// How a collector is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CollectorState {
    /// Everything is seen.
    Ok,
    /// Something is not seen.
    Partial,
    /// Nothing may be seen.
    Denied,
    /// Nothing can be seen.
    Failed,
    /// It does not answer in time.
    Hangs,
    /// It has not been looked at yet.
    Waiting,
    /// A word of a later version.
    #[serde(other)]
    Other,
}

impl CollectorState {
    /// Whether something is seen.
    pub(crate) fn is_seen(self) -> bool {
        matches!(self, Self::Ok | Self::Partial)
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Partial => "partial",
            Self::Denied => "denied",
            Self::Failed => "failed",
            Self::Hangs => "hangs",
            Self::Waiting => "waiting",
            Self::Other => "other",
        }
    }
}

/// A target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct TargetStatus {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) state: TargetState,
    pub(crate) queue: QueueStatus,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) delivered: Option<DeliveredStatus>,
    /// The latest, be it long ago.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) failure: Option<FailureStatus>,
    /// Since when it takes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) failing_since: Option<Timestamp>,
    /// Attempts in this run by how they ended: `ok`, or an HTTP status, or another word.
    #[serde(default)]
    pub(crate) deliveries: BTreeMap<String, u64>,
    /// Bytes that were sent in this run.
    #[serde(default)]
    pub(crate) sent_bytes: u64,
    /// Reports that it will not get, by reason.
    #[serde(default)]
    pub(crate) dropped: BTreeMap<String, u64>,
}

/// How a target is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TargetState {
    /// It has taken the latest report that it was given.
    Ok,
    /// It has not.
    Failing,
    /// It was not given any yet.
    Waiting,
    /// A word of a later version.
    #[serde(other)]
    Other,
}

impl TargetState {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failing => "failing",
            Self::Waiting => "waiting",
            Self::Other => "other",
        }
    }
}

/// What waits for a target.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct QueueStatus {
    pub(crate) reports: usize,
    pub(crate) bytes: u64,
    /// When the oldest was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) oldest_at: Option<Timestamp>,
}

/// A report that a target has acknowledged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct DeliveredStatus {
    pub(crate) sequence: u64,
    pub(crate) at: Timestamp,
    pub(crate) bytes: u64,
    pub(crate) took_seconds: f64,
}

/// An attempt that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FailureStatus {
    pub(crate) at: Timestamp,
    /// An HTTP status, or another word.
    pub(crate) status: String,
    pub(crate) message: String,
    /// When it is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) next_attempt_at: Option<Timestamp>,
    /// Whether the report will never be taken, and was put aside.
    #[serde(default)]
    pub(crate) is_refusal: bool,
}
