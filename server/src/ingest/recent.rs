//! What agents have said last, for those that have reported to this server a short while ago. It is a copy of what the database
//! has: whoever writes by it checks the agent's revision.

use std::sync::Arc;

use bytes::Bytes;
use quick_cache::{Weighter, sync::Cache};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use stocktake_core::{
    Digest,
    model::{Agent, Cluster, Coverage, Host, Report, RuntimeVersion, ScopeEntry, Shown, Warning},
};
use uuid::Uuid;

use super::{
    Incoming, Sender,
    known::{Known, KnownScope},
    order::Runs,
    plan::Plan,
};
use crate::words;

/// How many agents are remembered.
const AGENTS: usize = 20_000;

/// Bytes of manifests that are remembered.
const BYTES: u64 = 16 << 20;

/// What is remembered of agents.
pub(super) struct Recent {
    last: Cache<(i64, Uuid), Arc<Last>>,
    /// The dictionaries of next reports.
    manifests: Cache<(Sender, Digest), Bytes, Length>,
}

/// An agent's last report, after which only times are to be written if the next one says the same.
#[derive(Debug, Clone)]
pub(super) struct Last {
    /// Of the agent's row.
    pub(super) id: i64,
    pub(super) revision: i64,
    /// What it was reported with.
    pub(super) credential: Option<i64>,
    pub(super) runs: Runs,
    /// SHA-256 of what it said.
    pub(super) says: [u8; 32],
    pub(super) manifest: Digest,
    /// Rows of its sources, in the order of the report.
    pub(super) sources: Vec<i64>,
}

#[derive(Debug, Clone)]
struct Length;

impl Weighter<(Sender, Digest), Bytes> for Length {
    fn weight(&self, _: &(Sender, Digest), manifest: &Bytes) -> u64 {
        manifest.len() as u64 + 256
    }
}

/// All of a report that is kept, but for what every report has of its own.
#[derive(Serialize)]
struct Said<'a> {
    agent: &'a Agent,
    valid_for_seconds: Option<u64>,
    sources: Vec<SourceSaid<'a>>,
}

#[derive(Serialize)]
struct SourceSaid<'a> {
    collector: &'a str,
    kind: &'a str,
    runtime: &'a Option<RuntimeVersion>,
    cluster: &'a Option<Cluster>,
    host: &'a Option<Host>,
    coverage: &'a Coverage,
    shown: Shown,
    warnings: &'a [Warning],
    scopes: &'a [ScopeEntry],
}

impl Last {
    /// What an agent's last report was, if one that says the same changes nothing but times.
    pub(super) fn of(incoming: &Incoming, known: &Known, plan: &Plan) -> Option<(Uuid, Self)> {
        let report = &incoming.report;
        let (uuid, run, sequence) = (report.agent.id?, report.agent.run?, report.sequence?);
        let (agent, (manifest, _)) = (known.agent.as_ref()?, incoming.manifest.as_ref()?);
        let is_settled = incoming.is_whole && known.dropped.is_empty() && plan.sources.len() == report.sources.len();
        let mut sources = Vec::new();
        for (planned, source) in plan.sources.iter().zip(&report.sources) {
            let own = *known.sources.get(source.collector.as_str())?;
            let is_settled = planned.scopes.len() == source.scopes.len()
                && planned.gone.is_empty()
                && planned.untold.is_empty()
                && !planned.is_early
                && planned.scopes.iter().all(|scope| {
                    let line = &source.scopes[scope.entry];
                    // The body of one that was not seen is kept only as long as a row names it.
                    let names = |known: &KnownScope| {
                        line.digest.as_ref().is_none_or(|digest| known.told == Some(words::pack_digest(digest)))
                    };
                    scope.content.is_none()
                        && scope.known.as_ref().is_some_and(|known| known.is_as_told(own, line) && names(known))
                });
            if !is_settled {
                return None;
            }
            sources.push(own);
        }
        let mut runs = agent.runs.clone();
        runs.take(run, sequence, incoming.owner());
        let last = Self {
            id: agent.id,
            revision: agent.revision + 1,
            credential: incoming.credential,
            runs,
            says: Self::says(report),
            manifest: manifest.clone(),
            sources,
        };
        is_settled.then_some((uuid, last))
    }

    /// SHA-256 of what a report says, but for its number, its times, and what looking cost.
    pub(super) fn says(report: &Report) -> [u8; 32] {
        let sources = report.sources.iter().map(|source| SourceSaid {
            collector: &source.collector,
            kind: &source.kind,
            runtime: &source.runtime,
            cluster: &source.cluster,
            host: &source.host,
            coverage: &source.coverage,
            shown: source.shown,
            warnings: &source.warnings,
            scopes: &source.scopes,
        });
        let said =
            Said { agent: &report.agent, valid_for_seconds: report.valid_for_seconds, sources: sources.collect() };
        // It cannot fail: there are no maps in it whose keys are no texts.
        Sha256::digest(serde_json::to_vec(&said).unwrap_or_default()).into()
    }
}

impl Recent {
    pub(super) fn new() -> Self {
        let bytes = usize::try_from(BYTES).unwrap_or(usize::MAX);
        Self { last: Cache::new(AGENTS), manifests: Cache::with_weighter(bytes / 2048, BYTES, Length) }
    }

    pub(super) fn last(&self, account: i64, agent: Uuid) -> Option<Arc<Last>> {
        self.last.get(&(account, agent))
    }

    /// Notes what is so now.
    pub(super) fn keep(&self, account: i64, agent: Uuid, former: &Last, last: Last) {
        if let Some(credential) = former.credential {
            self.manifests.remove(&(Sender { account, credential }, former.manifest.clone()));
        }
        self.last.insert((account, agent), Arc::new(last));
    }

    /// Notes what is so now of an agent of which nothing was known, or forgets what was.
    pub(super) fn learn(&self, account: i64, incoming: &Incoming, known: &Known, plan: &Plan) {
        if let Some((uuid, last)) = Last::of(incoming, known, plan) {
            self.last.insert((account, uuid), Arc::new(last));
        } else if let Some(uuid) = incoming.report.agent.id {
            self.forget(account, uuid);
        }
        self.keep_manifest(account, incoming);
    }

    pub(super) fn forget(&self, account: i64, agent: Uuid) {
        self.last.remove(&(account, agent));
    }

    pub(super) fn keep_manifest(&self, account: i64, incoming: &Incoming) {
        if let (Some(credential), Some((digest, manifest))) = (incoming.credential, &incoming.manifest) {
            self.manifests.insert((Sender { account, credential }, digest.clone()), manifest.clone());
        }
    }

    /// A manifest that the sender has sent a short while ago.
    pub(super) fn manifest(&self, sender: Sender, digest: &Digest) -> Option<Bytes> {
        self.manifests.get(&(sender, digest.clone()))
    }
}
