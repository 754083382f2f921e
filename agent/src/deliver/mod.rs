//! Handing reports to those who keep them. A target knows how one report is handed over; when, in which order and how often it
//! is tried is decided once, for all targets alike.

mod anchore;
mod courier;
mod file;
pub(crate) mod http;
mod stdout;
mod stocktake;

use std::{collections::BTreeMap, io, sync::Arc, time::Duration};

use async_trait::async_trait;
use serde_json::Value;
use stocktake_core::{
    ConfigError, Digest, Environment,
    model::{Host, Inventory, Report, Scope},
};

pub(crate) use self::courier::{Couriers, Post};
use crate::spool::without_body;

/// A report that is on its way.
pub(crate) struct Parcel {
    /// The manifest.
    pub(crate) report: Report,
    /// The same, as it was written once: a manifest is sent by these bytes, so that who sends it again sends the same.
    pub(crate) manifest: Vec<u8>,
    /// Where the bodies of its scopes are.
    pub(crate) bodies: Arc<dyn Bodies>,
    /// The report before it that this target has acknowledged, where its bodies are still there.
    pub(crate) base: Option<Base>,
}

/// A report that a target has.
pub(crate) struct Base {
    pub(crate) report: Report,
    pub(crate) manifest: Vec<u8>,
}

/// Bodies of scopes by digest: the bytes that the digest is of.
pub(crate) trait Bodies: Send + Sync {
    /// The body; `None` if it is not there (any more). It may read a file, so it is not for a thread that others wait for.
    fn body(&self, digest: &Digest) -> io::Result<Option<Vec<u8>>>;
}

impl Parcel {
    /// The report with all of its bodies. A scope of which the body is not there is as if nothing had been seen of it.
    pub(crate) fn contents(&self) -> io::Result<(Report, BTreeMap<Digest, Scope>)> {
        contents(self.report.clone(), &*self.bodies)
    }

    /// The same with what follows from it, for a target that takes no manifest.
    pub(crate) fn inventory(&self) -> io::Result<Inventory> {
        let (report, scopes) = self.contents()?;
        Ok(Inventory::new(report, scopes))
    }
}

/// A report with all of its bodies. A scope of which the body is not there is as if nothing had been seen of it.
pub(crate) fn contents(mut report: Report, bodies: &dyn Bodies) -> io::Result<(Report, BTreeMap<Digest, Scope>)> {
    let mut scopes = BTreeMap::new();
    for entry in report.sources.iter_mut().flat_map(|source| &mut source.scopes) {
        let Some(digest) = entry.digest.clone().filter(|digest| !scopes.contains_key(digest)) else { continue };
        let body = bodies.body(&digest)?.map(|bytes| serde_json::from_slice::<Scope>(&bytes));
        match body {
            Some(Ok(scope)) => {
                scopes.insert(digest, scope);
            }
            Some(Err(error)) => {
                tracing::error!("what was seen of {} cannot be read, and is left out: {error}", entry.id);
                without_body(entry);
            }
            None => without_body(entry),
        }
    }
    Ok((report, scopes))
}

/// What handing over took.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sent {
    /// Bytes of the bodies that were sent, those of attempts within the delivery included.
    pub(crate) bytes: u64,
    /// Requests, or 1 for what is written.
    pub(crate) requests: u64,
}

/// Why a report was not handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It may go better later: the report stays.
    Later {
        /// What the target asked for (`Retry-After`).
        after: Option<Duration>,
        /// The word for it in metrics: an HTTP status, else `unreachable`, `timeout`, `protocol`, …
        status: String,
        message: String,
    },
    /// It will never be taken as it is: the report is put aside.
    Refused { status: String, message: String },
}

/// Who takes reports.
#[async_trait]
pub(crate) trait Target: Send {
    /// Hands over a report. Called again with the same report until it succeeds; who has acknowledged a report before has to
    /// find out by its id that it is the same.
    ///
    /// May be dropped at any await point.
    async fn deliver(&mut self, parcel: &Arc<Parcel>) -> Result<Sent, Failure>;

    /// Whether a report can be sent as what differs from the last one that was acknowledged ([`Parcel::base`]).
    fn keeps_base(&self) -> bool {
        false
    }
}

/// What a target is told about the agent when it is built.
#[derive(Clone, Default)]
pub(crate) struct TargetContext {
    /// Its name in the configuration.
    pub(crate) name: String,
    pub(crate) environment: Environment,
    pub(crate) host: Host,
}

/// A target that was built, or what is wrong with its settings.
pub(crate) type Built = Result<Box<dyn Target>, ConfigError>;

/// A type of target. Building one touches no network.
pub(crate) struct TargetKind {
    /// Value of `type` in `[targets.NAME]`.
    pub(crate) kind: &'static str,
    /// What it is, in a line.
    pub(crate) summary: &'static str,
    /// JSON Schema of its settings.
    pub(crate) schema: fn() -> schemars::Schema,
    pub(crate) build: fn(Value, &TargetContext) -> Built,
}

/// Every type, by name.
pub(crate) const KINDS: &[TargetKind] = &[anchore::KIND, file::KIND, stdout::KIND, stocktake::KIND];
