//! What was received: bodies by digest, and each report once.

use std::collections::{BTreeMap, BTreeSet};

use axum::{
    body::Bytes,
    http::{HeaderMap, StatusCode},
};
use jiff::Timestamp;
use stocktake_core::{
    Digest,
    model::{Inventory, Report, Scope},
    wire::{self, FrameError, Frames, Outcome, Problem, Receipt, Stored, problem},
};
use uuid::Uuid;

/// Beyond it a request is a bomb.
const LIMIT: usize = 1 << 30;

/// What a receiver has.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Every report that was accepted, in the order in which they came.
    pub reports: Vec<Accepted>,
    /// How often a report came that was accepted before.
    pub repeated: usize,
    /// Bytes of the bodies of all requests that were understood, one number a request.
    pub requests: Vec<usize>,
    /// Bodies by digest.
    bodies: BTreeMap<Digest, Vec<u8>>,
    /// Manifests by digest.
    manifests: BTreeMap<Digest, Vec<u8>>,
    /// The latest run by agent.
    runs: BTreeMap<Uuid, Uuid>,
}

/// A report that was accepted.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// The report.
    pub report: Report,
    /// Bytes of the request that completed it.
    pub bytes: usize,
}

impl Ledger {
    /// The numbers of the accepted reports, in the order in which they came.
    #[must_use]
    pub fn sequences(&self) -> Vec<u64> {
        self.reports.iter().map(|accepted| accepted.report.sequence.expect("an agent counts")).collect()
    }

    /// The latest report with all that it names.
    #[must_use]
    pub fn latest(&self) -> Option<Inventory> {
        self.reports.last().map(|accepted| self.inventory(&accepted.report))
    }

    /// A report with all that it names.
    #[must_use]
    pub fn inventory(&self, report: &Report) -> Inventory {
        let body =
            |digest: &Digest| -> Scope { serde_json::from_slice(&self.bodies[digest]).expect("a body is a scope") };
        let scopes = named(report).map(|digest| (digest.clone(), body(digest))).collect();
        Inventory::new(report.clone(), scopes)
    }

    /// Loses all bodies and manifests, as a server does that is restored from an old backup. The reports stay.
    pub fn lose_contents(&mut self) {
        self.bodies.clear();
        self.manifests.clear();
    }

    /// Loses everything.
    pub fn lose_everything(&mut self) {
        *self = Self::default();
    }

    pub(super) fn take_report(&mut self, headers: &HeaderMap, bytes: &Bytes) -> (StatusCode, String) {
        match self.report(headers, bytes) {
            Ok(receipt) => (StatusCode::OK, json(&receipt)),
            Err((status, problem)) => (status, json(&problem)),
        }
    }

    pub(super) fn take_scopes(&mut self, headers: &HeaderMap, bytes: &Bytes) -> (StatusCode, String) {
        let stored = check(headers).and_then(|()| self.bodies(Frames::new(bytes, LIMIT), BTreeMap::new()));
        match stored {
            Ok(bodies) => {
                self.requests.push(bytes.len());
                let stored = Stored { scopes: bodies.len() };
                self.bodies.extend(bodies);
                (StatusCode::OK, json(&stored))
            }
            Err((status, problem)) => (status, json(&problem)),
        }
    }

    fn report(&mut self, headers: &HeaderMap, bytes: &Bytes) -> Result<Receipt, (StatusCode, Problem)> {
        check(headers)?;
        let mut frames = Frames::new(bytes, LIMIT);
        let manifest = frames
            .next_document(|digest| self.manifests.get(digest).cloned())
            .map_err(unreadable)?
            .ok_or_else(|| bad("there is no manifest"))?;
        let report: Report = serde_json::from_slice(&manifest).map_err(|error| bad(&error.to_string()))?;
        let bodies = self.bodies(frames, BTreeMap::new())?;
        self.requests.push(bytes.len());
        self.is_of_the_latest_run(&report)?;
        let missing: BTreeSet<Digest> = named(&report)
            .filter(|digest| !bodies.contains_key(*digest) && !self.bodies.contains_key(*digest))
            .cloned()
            .collect();
        if !missing.is_empty() {
            let digests = missing.into_iter().collect();
            return Err(conflict(problem::MISSING_SCOPES, digests, "scopes are missing"));
        }
        self.bodies.extend(bodies);
        self.manifests.insert(Digest::sha256(&manifest), manifest);
        let is_known = self.reports.iter().any(|accepted| accepted.report.id == report.id);
        let (id, outcome) = (report.id, if is_known { Outcome::Known } else { Outcome::Accepted });
        if is_known {
            self.repeated += 1;
        } else {
            self.reports.push(Accepted { report, bytes: bytes.len() });
        }
        Ok(Receipt { report: id, outcome, received_at: Timestamp::now() })
    }

    fn is_of_the_latest_run(&mut self, report: &Report) -> Result<(), (StatusCode, Problem)> {
        let (Some(agent), Some(run)) = (report.agent.id, report.agent.run) else {
            return Err(bad("the report does not say which agent and run made it"));
        };
        let latest = self.runs.entry(agent).or_insert(run);
        if run < *latest && !self.reports.iter().any(|accepted| accepted.report.id == report.id) {
            return Err(conflict(problem::IDENTITY_CLAIMED, Vec::new(), "a later run has reported"));
        }
        *latest = run.max(*latest);
        Ok(())
    }

    /// Bodies with their digests. A frame may be made from any body that is here or before it in the request.
    fn bodies(
        &self,
        mut frames: Frames<'_>,
        mut bodies: BTreeMap<Digest, Vec<u8>>,
    ) -> Result<BTreeMap<Digest, Vec<u8>>, (StatusCode, Problem)> {
        loop {
            let earlier = |digest: &Digest| bodies.get(digest).or_else(|| self.bodies.get(digest)).cloned();
            let Some(body) = frames.next_document(earlier).map_err(unreadable)? else { return Ok(bodies) };
            let scope: Scope = serde_json::from_slice(&body).map_err(|error| bad(&error.to_string()))?;
            drop(scope);
            bodies.insert(Digest::sha256(&body), body);
        }
    }
}

fn named(report: &Report) -> impl Iterator<Item = &Digest> {
    report.sources.iter().flat_map(|source| &source.scopes).filter_map(|entry| entry.digest.as_ref())
}

fn check(headers: &HeaderMap) -> Result<(), (StatusCode, Problem)> {
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if header("content-type") != wire::MEDIA_TYPE {
        return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, Problem::default()));
    }
    match header(wire::SENT_AT).parse::<Timestamp>() {
        Ok(_) => Ok(()),
        Err(error) => Err(bad(&format!("{}: {error}", wire::SENT_AT))),
    }
}

fn unreadable(error: FrameError) -> (StatusCode, Problem) {
    match error {
        FrameError::UnknownDictionary(digest) => {
            conflict(problem::UNKNOWN_DICTIONARY, vec![digest], "a dictionary is missing")
        }
        other => bad(&other.to_string()),
    }
}

fn conflict(kind: &str, digests: Vec<Digest>, title: &str) -> (StatusCode, Problem) {
    (StatusCode::CONFLICT, Problem { kind: kind.to_owned(), title: title.to_owned(), detail: None, digests })
}

fn bad(detail: &str) -> (StatusCode, Problem) {
    let problem = Problem {
        kind: "about:blank".into(),
        title: "bad request".into(),
        detail: Some(detail.to_owned()),
        ..Problem::default()
    };
    (StatusCode::BAD_REQUEST, problem)
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("an answer serialises")
}
