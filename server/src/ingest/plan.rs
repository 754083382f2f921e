//! What a report comes to, scope by scope, before anything is written.

use std::collections::{BTreeSet, HashSet};

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use stocktake_core::{
    Digest,
    model::{ScopeEntry, Source},
    wire::problem,
};

use super::{
    Incoming, Sender,
    delta::{Delta, Unconfirmed},
    elements::merged,
    kept::{self, Packed},
    known::{Known, KnownScope, ScopeKey},
    order::Standing,
    place::Place,
    request::{failed, no_scope, packed},
};
use crate::{
    database::Database,
    http::Problem,
    memory::{self, spawn_blocking},
    words,
};

/// What is to be done.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) sources: Vec<SourcePlan>,
    /// Bodies that came with it and that no rows are made of, by digest.
    pub(super) others: Vec<(Vec<u8>, Packed)>,
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
    /// Whether one that it does not tell of was seen since, by the clocks, and is left to the next report.
    pub(crate) is_early: bool,
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
    /// Digests of the body that was told, and of the one that the rows are of, which is another if it does not hold all.
    pub(crate) told: Vec<u8>,
    pub(crate) base: Vec<u8>,
    /// Both by digest, as they are to be kept.
    pub(super) bodies: Vec<(Vec<u8>, Packed)>,
    pub(crate) delta: Delta,
    /// Whether an earlier look has left rows that it did not confirm.
    pub(crate) follows_part: bool,
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
        complete(database, account, incoming).await?;
        let mut plan = Self::default();
        // What is late says nothing about now. That it came is noted.
        if known.standing(report) == Standing::Late {
            plan.others = packed(incoming.bodies.clone()).await?;
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
                is_early: false,
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
                planned.scopes.push(ScopePlan { entry, known: scope, content: None });
            }
            planned.rest(known, source, &told, incoming.is_whole);
            plan.sources.push(planned);
        }
        plan.fill(database, account, incoming).await?;
        Ok(plan)
    }

    /// Finds out what is new in the scopes, several at a time.
    async fn fill(&mut self, database: &Database, account: i64, incoming: &Incoming) -> Result<(), Problem> {
        let mut others = incoming.bodies.clone();
        let mut contents = Vec::new();
        for planned in &mut self.sources {
            let is_cluster = planned.place.kind == "cluster";
            let source = &incoming.report.sources[planned.source];
            for scope in &mut planned.scopes {
                let line = &source.scopes[scope.entry];
                let Some(digest) = line.digest.as_ref().filter(|_| line.coverage.has_seen()) else { continue };
                if !scope.is_as_before(line, digest) {
                    others.remove(digest);
                    contents.push(async move {
                        let is_part = !line.coverage.is_complete();
                        let found =
                            content(database, account, incoming, (digest, is_part, is_cluster), scope.known.as_ref());
                        scope.content = Some(found.await?);
                        Ok::<_, Problem>(())
                    });
                }
            }
        }
        // As many as there are cores that could work at them.
        let at_once = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let mut found = futures_util::stream::iter(contents).buffer_unordered(at_once);
        while found.try_next().await?.is_some() {}
        drop(found);
        // What no rows are made of is kept, too, and has to be what it is said to be.
        self.others = packed(others).await?;
        Ok(())
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
            if scope.source_id != own {
                continue;
            }
            if scope.seen_at > self.observed_at {
                self.is_early = true;
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

impl ScopePlan {
    /// Whether a scope that was seen is what it was.
    fn is_as_before(&self, line: &ScopeEntry, digest: &Digest) -> bool {
        let key = words::pack_digest(digest);
        self.known.as_ref().is_some_and(|scope| {
            let is_told = scope.told.as_ref() == Some(&key) && !scope.is_gone;
            // A part that has become the whole: what was kept beside it is gone.
            is_told && (scope.coverage == line.coverage.status() || scope.base.as_ref() == Some(&key))
        })
    }
}

/// What is new in a scope that was seen.
async fn content(
    database: &Database,
    account: i64,
    incoming: &Incoming,
    (digest, is_part, is_cluster): (&Digest, bool, bool),
    scope: Option<&KnownScope>,
) -> Result<Content, Problem> {
    let later = body(database, account, incoming, digest).await?;
    let scope = scope.filter(|scope| !scope.is_gone);
    let earlier = match scope.and_then(|scope| scope.base.as_deref()) {
        Some(base) => {
            let digest = digest_of(base)?;
            if let Some(earlier) = incoming.earlier.get(&digest) {
                earlier.clone()
            } else {
                let earlier = kept::body(database, account, &digest).await?.ok_or_else(|| spoilt(&digest))?;
                memory::hold(earlier.len()).await?;
                earlier
            }
        }
        None => Bytes::new(),
    };
    let follows_part = scope.is_some_and(|scope| scope.told != scope.base);
    let (is_part, told) = (is_part && !earlier.is_empty(), digest.clone());
    let content = spawn_blocking(move || {
        let pack = |body: &[u8]| Packed::of(body).map_err(Problem::from);
        let no_scope = |error: serde_json::Error| no_scope(&told, &error);
        let key = words::pack_digest(&told);
        if !is_part {
            let delta = Delta::between(&earlier, &later, is_cluster).map_err(no_scope)?;
            let bodies = vec![(key.clone(), pack(&later)?)];
            return Ok(Content { base: key.clone(), told: key, bodies, delta, follows_part, unconfirmed: None });
        }
        // Rows that are not in the part stay; they are told apart by what the part says.
        let whole = merged(&earlier, &later, is_cluster).map_err(no_scope)?;
        let mut delta = Delta::between(&earlier, &whole, is_cluster).map_err(no_scope)?;
        let (unconfirmed, images) = Unconfirmed::of(&whole, &later, is_cluster).map_err(no_scope)?;
        delta.images.extend(images);
        let base = words::pack_digest(&Digest::sha256(&whole));
        let bodies = vec![(key.clone(), pack(&later)?), (base.clone(), pack(&whole)?)];
        Ok(Content { told: key, base, bodies, delta, follows_part, unconfirmed: Some(unconfirmed) })
    });
    content.await.map_err(|error| failed(&error))?
}

/// Makes sure that every body that the report names is in it, or was sent by the same sender before. What only others have sent is as
/// good as not there: whoever knows a digest alone learns nothing of the body, not even that it is here.
async fn complete(database: &Database, account: i64, incoming: &Incoming) -> Result<(), Problem> {
    let lines = incoming.report.sources.iter().flat_map(|source| &source.scopes);
    let named = lines.filter_map(|line| line.digest.as_ref());
    let mut missing: BTreeSet<Digest> =
        named.filter(|digest| !incoming.bodies.contains_key(*digest)).cloned().collect();
    if let Some(credential) = incoming.credential.filter(|_| !missing.is_empty()) {
        missing = kept::missing(database, Sender { account, credential }, missing).await?;
    }
    if missing.is_empty() {
        return Ok(());
    }
    let title = format!("{} scopes that the report names are not here; send it with their bodies", missing.len());
    Err(Problem::conflict(problem::MISSING_SCOPES, title, missing.into_iter().collect()))
}

async fn body(database: &Database, account: i64, incoming: &Incoming, digest: &Digest) -> Result<Bytes, Problem> {
    if let Some(body) = incoming.bodies.get(digest) {
        return Ok(body.clone());
    }
    let title = || {
        let title = "a scope that the report names is not here; send it with its body";
        Problem::conflict(problem::MISSING_SCOPES, title, vec![digest.clone()])
    };
    let body = kept::body(database, account, digest).await?.ok_or_else(title)?;
    memory::hold(body.len()).await?;
    Ok(body)
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
