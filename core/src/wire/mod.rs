//! The words of the protocol in which an agent delivers reports to a server (`docs/protocol.md`), and of bundles.

mod frames;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use self::frames::{
    FrameError, Frames, Outline, Skippable, append_frame, append_skippable, leading_skippable, outline,
};
use crate::Digest;

/// Where a report is posted, below the server's address.
pub const REPORTS: &str = "v1/reports";

/// Where bodies of scopes are posted ahead of a report that names them, if all together are too large for one request.
pub const SCOPES: &str = "v1/scopes";

/// Media type of a sequence of frames.
pub const MEDIA_TYPE: &str = "application/vnd.stocktake.frames";

/// Request header: the agent's clock when it sent the request (RFC 3339), from which a server learns how far it is off.
pub const SENT_AT: &str = "stocktake-sent-at";

/// What a server answers to a report that it has, with status 200.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The report's id. An answer without it is not from a server that speaks this protocol, whatever its status.
    pub report: Uuid,
    /// What became of it.
    pub outcome: Outcome,
    /// The server's clock.
    pub received_at: Timestamp,
}

/// What became of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is kept.
    Accepted,
    /// It was kept before: this is another delivery of it, which changed nothing.
    Known,
    /// A word of a newer version. The report is kept all the same.
    #[serde(other)]
    Other,
}

/// What a server answers to bodies of scopes that it has, with status 200.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// How many bodies were in the request.
    pub scopes: usize,
}

/// What a server answers to everything else: problem details (RFC 9457), with what an agent goes by.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Which problem: one of [`problem`]'s, or any other.
    #[serde(default, rename = "type")]
    pub kind: String,
    /// What it is, for people.
    #[serde(default)]
    pub title: String,
    /// What it is in this case, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The digests that it is about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub digests: Vec<Digest>,
}

/// Problems that an agent can solve, or has to know.
pub mod problem {
    /// Status 409: the report names scopes that the server has no bodies of. `digests` are those.
    pub const MISSING_SCOPES: &str = "urn:stocktake:missing-scopes";
    /// Status 409: a frame was made with a dictionary that the server has not (any more). `digests` has one of them.
    pub const UNKNOWN_DICTIONARY: &str = "urn:stocktake:unknown-dictionary";
    /// Status 409: a later run has reported under the agent's identity. Two agents have it, of which this is the elder.
    pub const IDENTITY_CLAIMED: &str = "urn:stocktake:identity-claimed";
    /// Status 403: the agent's identity is that of another one, which reports with another credential.
    pub const IDENTITY_HELD: &str = "urn:stocktake:identity-held";
}
