//! What a report comes to, scope by scope, before anything is written.

use std::collections::{BTreeSet, HashSet};

use stocktake_core::{
    Digest,
    model::{Coverage, Source},
    wire::problem,
};
use tokio::task::spawn_blocking;

use super::{
    Incoming,
    delta::{Delta, Unconfirmed},
    elements::merged,
    known::{Known, KnownScope, ScopeKey},
    order::Standing,
    place::Place,
    request::document,
};
use crate::{database::Database, http::Problem, words};

/// What is to be done.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) sources: Vec<SourcePlan>,
}

#[derive(Debug)]
pub(crate) struct SourcePlan {
    /// Position in the report.
    pub(crate) source: usize,
    pub(crate) place: Place,
    /// When it was seen, by the server's clock.
    pub(crate) observed_at: i64,
    pub(crate) scopes: Vec<ScopePlan>,
    /// Scopes that are no more.
    pub(crate) gone: Vec<KnownScope>,
    /// Scopes that the report does not tell of, which says nothing.
    pub(crate) untold: Vec<KnownScope>,
}

/// A scope that the report tells of.
#[derive(Debug)]
pub(crate) struct ScopePlan {
    /// Position in the source.
    pub(crate) entry: usize,
    pub(crate) known: Option<KnownScope>,
    /// What is new, if anything was seen and is not as before.
    pub(crate) content: Option<Content>,
}

#[derive(Debug)]
pub(crate) struct Content {
    /// Digests and bodies that are to be kept: the one that was told, and the one that the rows are of if that is another.
    pub(crate) told: (Vec<u8>, Vec<u8>),
    pub(crate) base: Option<(Vec<u8>, Vec<u8>)>,
    pub(crate) delta: Delta,
    /// What was not seen and stays all the same, as not all was seen.
    pub(crate) unconfirmed: Option<Unconfirmed>,
}

impl Plan {
    pub(crate) async fn make(
        database: &Database,
        account: i64,
        incoming: &Incoming,
        known: &Known,
    ) -> Result<Self, Problem> {
        let report = &incoming.report;
        complete(database, account, incoming, known).await?;
        let mut plan = Self::default();
        // What is late says nothing about now. That it came is noted.
        if known.standing(report) == Standing::Late {
            return Ok(plan);
        }
        for (position, source) in report.sources.iter().enumerate() {
            let place = known.place(source, &report.agent);
            let observed_at = incoming.observed_at(source);
            let mut planned = SourcePlan {
                source: position,
                observed_at,
                scopes: Vec::new(),
                gone: Vec::new(),
                untold: Vec::new(),
                place,
            };
            let mut told = HashSet::new();
            for (entry, line) in source.scopes.iter().enumerate() {
                let key = planned.key(known, source, entry);
                let scope = key.as_ref().and_then(|key| known.scopes.get(key)).cloned();
                told.extend(key);
                let says = (incoming, own(known, source), observed_at, line.coverage.has_seen());
                if scope.as_ref().is_some_and(|scope| knows_better(scope, says)) {
                    continue;
                }
                let content = match line.digest.as_ref().filter(|_| line.coverage.has_seen()) {
                    Some(digest) => {
                        content(database, account, incoming, &planned, line, digest, scope.as_ref()).await?
                    }
                    None => None,
                };
                planned.scopes.push(ScopePlan { entry, known: scope, content });
            }
            planned.rest(known, source, &told, incoming.is_whole);
            plan.sources.push(planned);
        }
        Ok(plan)
    }
}

/// Whether what is here of a scope stands against what a source says of it. Of two agents that see the same the later look counts, and one
/// that saw nothing takes nothing over. Reports of nobody who counts them may come in any order.
fn knows_better(scope: &KnownScope, (incoming, own, observed_at, has_seen): (&Incoming, i64, i64, bool)) -> bool {
    let is_own = scope.source_id == own;
    let is_later = scope.seen_at > observed_at && (!is_own || incoming.report.sequence.is_none());
    is_later || (!is_own && !has_seen && !scope.is_silent)
}

/// The row of the source itself, if there is one.
fn own(known: &Known, source: &Source) -> i64 {
    known.sources.get(source.collector.as_str()).copied().unwrap_or_default()
}

impl SourcePlan {
    fn key(&self, known: &Known, source: &Source, entry: usize) -> Option<ScopeKey> {
        let place = *known.places.get(&self.place)?;
        Some(ScopeKey::new(place, &source.kind, &source.collector, &source.scopes.get(entry)?.id))
    }

    /// What becomes of scopes that the report does not name. Only under a complete list of scopes is one gone that is not in it; and
    /// only the agent that told of it can say so: another one's list is complete by its own settings, which may select others.
    fn rest(&mut self, known: &Known, source: &Source, told: &HashSet<ScopeKey>, is_whole: bool) {
        let own = own(known, source);
        for (key, scope) in &known.scopes {
            if told.contains(key) || scope.is_gone {
                continue;
            }
            if scope.source_id != own || scope.seen_at > self.observed_at {
                continue;
            }
            if source.coverage.is_complete() {
                self.gone.push(scope.clone());
            } else if scope.follows && is_whole {
                self.untold.push(scope.clone());
            }
        }
    }
}

/// What is new in a scope that was seen.
async fn content(
    database: &Database,
    account: i64,
    incoming: &Incoming,
    planned: &SourcePlan,
    line: &stocktake_core::model::ScopeEntry,
    digest: &Digest,
    scope: Option<&KnownScope>,
) -> Result<Option<Content>, Problem> {
    let key = words::pack_digest(digest);
    let is_as_before = scope.is_some_and(|scope| {
        let is_told = scope.told.as_ref() == Some(&key) && !scope.is_gone;
        // A part that has become the whole: what was kept beside it is gone.
        is_told && (scope.coverage == line.coverage.status() || scope.base.as_ref() == Some(&key))
    });
    if is_as_before {
        return Ok(None);
    }
    let later = body(database, account, incoming, digest).await?;
    let base = scope.filter(|scope| !scope.is_gone).and_then(|scope| scope.base.as_deref());
    let earlier = match base {
        Some(base) => {
            let digest = digest_of(base)?;
            document(database, account, &digest).await?.ok_or_else(|| spoilt(&digest))?
        }
        None => Vec::new(),
    };
    let is_part = !matches!(line.coverage, Coverage::Complete) && !earlier.is_empty();
    let is_cluster = planned.place.kind == "cluster";
    let content = spawn_blocking(move || -> Result<Content, serde_json::Error> {
        if !is_part {
            let delta = Delta::between(&earlier, &later, is_cluster)?;
            return Ok(Content { told: (key, later), base: None, delta, unconfirmed: None });
        }
        // Rows that are not in the part stay; they are told apart by what the part says.
        let base = merged(&earlier, &later, is_cluster)?;
        let mut delta = Delta::between(&earlier, &base, is_cluster)?;
        let (unconfirmed, images) = Unconfirmed::of(&base, &later, is_cluster)?;
        delta.images.extend(images);
        let digest = words::pack_digest(&Digest::sha256(&base));
        Ok(Content { told: (key, later), base: Some((digest, base)), delta, unconfirmed: Some(unconfirmed) })
    });
    let content = content.await.map_err(|error| super::request::failed(&error))?;
    content.map(Some).map_err(|error| Problem::bad_request(format!("{digest} is not a scope: {error}")))
}

/// Makes sure that every body that the report names is here.
async fn complete(database: &Database, account: i64, incoming: &Incoming, known: &Known) -> Result<(), Problem> {
    let told: HashSet<&[u8]> = known.scopes.values().filter_map(|scope| scope.told.as_deref()).collect();
    let mut missing = BTreeSet::new();
    for digest in
        incoming.report.sources.iter().flat_map(|source| &source.scopes).filter_map(|line| line.digest.as_ref())
    {
        let key = words::pack_digest(digest);
        if incoming.bodies.contains_key(digest) || told.contains(key.as_slice()) || missing.contains(digest) {
            continue;
        }
        let is_here = sqlx::query("SELECT 1 AS here FROM body WHERE account_id = $1 AND digest = $2")
            .bind(account)
            .bind(key)
            .fetch_optional(database.pool())
            .await?
            .is_some();
        if !is_here {
            missing.insert(digest.clone());
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let title = format!("{} scopes that the report names are not here; send it with their bodies", missing.len());
    Err(Problem::conflict(problem::MISSING_SCOPES, title, missing.into_iter().collect()))
}

async fn body(database: &Database, account: i64, incoming: &Incoming, digest: &Digest) -> Result<Vec<u8>, Problem> {
    if let Some(body) = incoming.bodies.get(digest) {
        return Ok(body.clone());
    }
    let title = || {
        let title = "a scope that the report names is not here; send it with its body";
        Problem::conflict(problem::MISSING_SCOPES, title, vec![digest.clone()])
    };
    document(database, account, digest).await?.ok_or_else(title)
}

fn digest_of(key: &[u8]) -> Result<Digest, Problem> {
    let text = match key.len() {
        32 => format!("sha256:{}", words::hex(key)),
        48 => format!("sha384:{}", words::hex(key)),
        _ => format!("sha512:{}", words::hex(key)),
    };
    text.parse().map_err(|_| Problem::new(http::StatusCode::INTERNAL_SERVER_ERROR, "a digest in the database is none"))
}

fn spoilt(digest: &Digest) -> Problem {
    tracing::error!(%digest, "the body that a scope's rows are of is not in the database, or damaged");
    let title =
        format!("{digest}, which this scope's rows are of, is not in the database, or damaged; restore a backup");
    Problem::new(http::StatusCode::INTERNAL_SERVER_ERROR, title)
}
