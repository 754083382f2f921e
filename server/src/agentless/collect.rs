//! One look at a source, and what comes of it.

use std::{collections::BTreeMap, time::Duration};

use http::StatusCode;
use jiff::Timestamp;
use stocktake_agent::embed::{Collectors, Limits, Look, until_next};
use stocktake_core::{
    Digest,
    model::{Agent, Coverage, Report, SCHEMA_VERSION, Shown, Source as Seen},
    wire::Receipt,
};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::{
    Agentless, lease, networks,
    store::{Latest, Source},
    target::Target,
};
use crate::{
    app::App,
    http::Problem,
    ingest::{Incoming, has_nul},
    memory,
    metrics::{Protocol, Reported},
    secrets::{Vault, VaultError},
};

/// How many intervals a report counts for: as many looks may fail to come about before what was seen is stale.
const COUNTS_FOR: u64 = 3;

/// How the server introduces itself.
const USER_AGENT: &str = concat!("stocktake-server/", env!("CARGO_PKG_VERSION"));

/// Looks, reports, and writes down what came of it, unless the source is taken away in the meantime.
pub(super) async fn run(app: App, source: Source) {
    let began = Instant::now();
    tokio::select! {
        () = work(&app, &source) => {}
        () = lost(&app, &source) => given_up(&app, &source, began.elapsed()),
    }
}

fn given_up(app: &App, source: &Source, took: Duration) {
    app.metrics.look(source.target.kind(), "given_up", took);
    tracing::info!(source = source.name, "a look is given up: the source was changed, removed or taken over");
}

async fn work(app: &App, source: &Source) {
    let look = match app.agentless.look(&app.vault, source).await {
        Ok(look) => look,
        // It says nothing of the cluster: what was seen of it before goes on to count for as long as it does.
        Err(error) => {
            let latest = latest(source, &unseen(&source.target, error.to_string()));
            return finish(app, source, &latest, false).await;
        }
    };
    let mut latest = latest(source, &look);
    // It says nothing of what was seen elsewhere, and nobody knows what is here.
    let Some(seen_as) = latest.seen_as.clone() else { return finish(app, source, &latest, false).await };
    // What was removed or changed meanwhile is not to come back.
    match lease::renew(&app.database, &app.agentless.name, source).await {
        Ok(true) => {}
        Ok(false) => return given_up(app, source, look.took),
        Err(error) => {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, source = source.name, "what a look has seen is not kept; it is looked at again");
            return;
        }
    }
    let mut has_seen = look.source.coverage.has_seen();
    let incoming = incoming(source, &seen_as, look, app.agentless.settings().look_timeout);
    match patiently(seconds(source.interval), || report(app, source.account, &incoming)).await {
        Ok(()) => {}
        Err(problem) if problem.status == StatusCode::SERVICE_UNAVAILABLE => {
            let reason = problem.title;
            tracing::warn!(reason, source = source.name, "what a look has seen is not kept; it is looked at again");
            return;
        }
        Err(problem) => {
            (has_seen, latest.coverage) = (false, "failed".to_owned());
            latest.reason = Some(format!("what was seen could not be kept: {}", problem.title));
        }
    }
    finish(app, source, &latest, has_seen).await;
}

async fn finish(app: &App, source: &Source, latest: &Latest, has_seen: bool) {
    let took = Duration::from_millis(latest.took.unsigned_abs());
    app.metrics.look(source.target.kind(), &latest.coverage, took);
    if !has_seen {
        let reason = latest.reason.as_deref().unwrap_or_default();
        tracing::warn!(source = source.name, account = source.account, reason, "nothing was seen of a source");
    }
    let failures = if has_seen { 0 } else { u32::try_from(source.failures + 1).unwrap_or(u32::MAX) };
    let wait = until_next(seconds(source.interval), failures);
    if let Err(error) = lease::finish(&app.database, &app.agentless.name, source, latest, (has_seen, wait)).await {
        // Whoever takes over when the lease has ended looks again.
        let error = &error as &dyn std::error::Error;
        tracing::warn!(error, source = source.name, "cannot write down what came of a look");
    }
}

/// Renews the lease for as long as it is ours.
async fn lost(app: &App, source: &Source) {
    loop {
        sleep(lease::RENEWED).await;
        match lease::renew(&app.database, &app.agentless.name, source).await {
            Ok(true) => {}
            Ok(false) => return,
            // It may be there again before the lease has ended; if not, the report's number tells.
            Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "cannot renew a lease"),
        }
    }
}

/// Tries again while there is no room at the moment: nobody waits for it. What lasts longer than `most` is looked at anew instead.
async fn patiently<F: Future<Output = Result<(), Problem>>>(
    most: Duration,
    mut attempt: impl FnMut() -> F,
) -> Result<(), Problem> {
    let began = Instant::now();
    loop {
        match attempt().await {
            Err(problem) if problem.status == StatusCode::SERVICE_UNAVAILABLE && began.elapsed() < most => {
                sleep(Duration::from_secs(problem.retry_after.unwrap_or(1))).await;
            }
            ended => return ended,
        }
    }
}

/// Hands on what was seen, as if an agent had sent it, and counts it.
async fn report(app: &App, account: i64, incoming: &Incoming) -> Result<(), Problem> {
    let taken = taken(app, account, incoming).await;
    let what = taken.as_ref().map_or_else(|problem| Reported::by(problem.status), |receipt| receipt.outcome.into());
    app.metrics.report(Protocol::Agentless, what);
    taken.map(drop)
}

async fn taken(app: &App, account: i64, incoming: &Incoming) -> Result<Receipt, Problem> {
    let documents = incoming.bodies.values().chain(incoming.manifest.as_ref().map(|(_, manifest)| manifest));
    if documents.into_iter().any(|document| has_nul(document)) {
        // PostgreSQL keeps no such text, and nothing that runs is called so.
        return Err(Problem::bad_request("it has a text with a NUL character in it"));
    }
    let bytes = incoming.bodies.values().map(bytes::Bytes::len).sum();
    let taken = async {
        memory::hold(bytes).await?;
        app.ingest.take(account, incoming).await
    };
    app.agentless.memory.within(taken, |problem, _| Err(problem)).await
}

/// Which cluster or host was looked at, wherever it is by now: by the uid or id that it tells, else what the source was before, else where
/// it is. Nothing if nothing was seen.
///
/// What was known by where it is stays so, with the uid behind it once that is told: who has reported of it by its name has to be who says
/// that there is nothing by that name any more.
fn seen_as(source: &Source, seen: &Seen) -> Option<String> {
    let of_cluster = || Some(format!("cluster:{}", seen.cluster.as_ref()?.uid.as_ref()?));
    let of_host = || Some(format!("host:{}", seen.host.as_ref()?.machine_id.as_ref()?));
    let place = || seen.coverage.has_seen().then(|| format!("at:{}", source.target.address()));
    let before = source.latest.as_ref().and_then(|latest| latest.seen_as.as_deref());
    match (of_cluster().or_else(of_host), before.map(parts)) {
        (None, _) => before.map(str::to_owned).or_else(place),
        (Some(told), Some((place, None))) => Some(format!("{place} {told}")),
        (Some(told), Some((_, Some(known)))) if told == known => before.map(str::to_owned),
        (Some(told), _) => Some(told),
    }
}

/// What tells who reports of it from others, and what the cluster or host has told of itself. There is no space in a URL.
fn parts(seen_as: &str) -> (&str, Option<&str>) {
    match (seen_as.starts_with("at:"), seen_as.split_once(' ')) {
        (true, Some((place, told))) => (place, Some(told)),
        (true, None) => (seen_as, None),
        (false, _) => (seen_as, Some(seen_as)),
    }
}

fn incoming(source: &Source, seen_as: &str, look: Look, timeout: Duration) -> Incoming {
    let now = Timestamp::now();
    let Look { source: mut seen, bodies, .. } = look;
    let (reporter, told) = parts(seen_as);
    // By its name it would be another cluster, and this one gone.
    if let (Some(cluster), Some(uid)) = (&mut seen.cluster, told.and_then(|told| told.strip_prefix("cluster:"))) {
        cluster.uid.get_or_insert_with(|| uid.to_owned());
    }
    // An identity for each cluster or host of a source: what is not seen there says nothing of what was seen elsewhere. And one run: the
    // number says which report is the later one, whoever has made it.
    let id = format!("stocktake-agentless:{}:{reporter}", source.id);
    let id = Uuid::new_v5(&Uuid::NAMESPACE_OID, id.as_bytes());
    let report = Report {
        schema: SCHEMA_VERSION.to_owned(),
        id: Uuid::now_v7(),
        agent: Agent {
            id: Some(id),
            run: Some(id),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            hostname: Some(source.name.clone()),
        },
        created_at: now,
        sequence: u64::try_from(source.looks).ok(),
        // The same each time, so that a report of nothing new is one.
        valid_for_seconds: Some(source.interval.unsigned_abs() * COUNTS_FOR + timeout.as_secs()),
        sources: vec![seen],
    };
    // It cannot fail: there are no maps in it whose keys are no texts.
    let manifest = serde_json::to_vec(&report).unwrap_or_default();
    Incoming {
        kind: "agentless",
        credential: None,
        report,
        manifest: Some((Digest::sha256(&manifest), manifest.into())),
        bodies: bodies.into_iter().map(|(digest, body)| (digest, body.into())).collect(),
        earlier: BTreeMap::new(),
        is_whole: true,
        skew: 0,
        received_at: now.as_millisecond(),
    }
}

/// What is written down of a look.
fn latest(source: &Source, look: &Look) -> Latest {
    let mut scopes: BTreeMap<&str, usize> = BTreeMap::new();
    for scope in &look.source.scopes {
        *scopes.entry(scope.coverage.status()).or_default() += 1;
    }
    let warnings: Vec<&str> = look.source.warnings.iter().map(|warning| &*warning.message).collect();
    Latest {
        at: 0,
        took: i64::try_from(look.took.as_millis()).unwrap_or(i64::MAX),
        coverage: look.source.coverage.status().to_owned(),
        reason: look.source.coverage.reason().map(str::to_owned),
        scopes: serde_json::to_string(&scopes).unwrap_or_default(),
        warnings: serde_json::to_string(&warnings).unwrap_or_default(),
        seen_as: seen_as(source, &look.source),
    }
}

fn seconds(seconds: i64) -> Duration {
    Duration::from_secs(seconds.unsigned_abs())
}

impl Agentless {
    /// Looks at a source as it is kept.
    async fn look(&self, vault: &Vault, source: &Source) -> Result<Look, VaultError> {
        let credential = source.sealed.as_ref().map(|sealed| vault.open(source.bound(), sealed)).transpose()?;
        Ok(self.look_at(&source.name, &source.target, credential, self.settings().look_timeout).await)
    }

    /// Looks at what may not be kept yet. Never fails: what went wrong is in what was seen.
    pub(super) async fn look_at(
        &self,
        name: &str,
        target: &Target,
        credential: Option<secrecy::SecretString>,
        timeout: Duration,
    ) -> Look {
        let began = Instant::now();
        let settings = self.settings();
        let refused = &settings.refused_networks;
        let checked = match networks::check(target, &self.environment, refused, timeout / 2).await {
            Ok(checked) => checked,
            Err(reason) => return unseen(target, reason),
        };
        // In whole seconds, as it is told.
        let timeout = timeout.saturating_sub(Duration::from_secs(began.elapsed().as_secs()));
        let bytes = usize::try_from(settings.look_bytes.as_u64()).unwrap_or(usize::MAX);
        let limits = Limits { timeout, bytes };
        let settings = target.settings(name, credential.as_ref(), checked);
        let built = match self.collectors() {
            Ok(collectors) => collectors.build(target.kind(), settings, limits).map_err(|error| error.to_string()),
            Err(error) => Err(error),
        };
        let look = match built {
            Ok(collector) => {
                let looked = self.workers.spawn(async move { collector.look().await }).await;
                looked.unwrap_or_else(|error| unseen(target, format!("the look broke off: {error}; report it")))
            }
            Err(error) => unseen(target, error),
        };
        Look { took: began.elapsed(), ..look }
    }

    pub(super) fn collectors(&self) -> Result<Collectors, String> {
        Collectors::linked(USER_AGENT, self.environment.clone()).map_err(|error| error.to_string())
    }
}

/// A look of which nothing came.
fn unseen(target: &Target, reason: String) -> Look {
    let source = Seen {
        collector: target.kind().into(),
        kind: target.kind().into(),
        runtime: None,
        cluster: None,
        host: None,
        observed_at: Timestamp::now(),
        coverage: Coverage::Failed { reason },
        shown: Shown::All,
        warnings: Vec::new(),
        cost: None,
        scopes: Vec::new(),
    };
    Look { source, bodies: BTreeMap::new(), took: Duration::ZERO }
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_finds_no_room_is_tried_again_for_as_long_as_it_is_worth_it() {
        let full = || Problem::new(StatusCode::SERVICE_UNAVAILABLE, "no room").later(5);
        let most = Duration::from_mins(1);
        let mut attempts = 0;
        let kept = patiently(most, || {
            attempts += 1;
            ready(if attempts < 4 { Err(full()) } else { Ok(()) })
        });
        assert!(kept.await.is_ok());
        assert_eq!(attempts, 4);
        let began = Instant::now();
        assert!(patiently(most, || ready(Err(full()))).await.is_err());
        assert_eq!(began.elapsed(), most);
        let mut attempts = 0;
        let wrong = patiently(most, || {
            attempts += 1;
            ready(Err(Problem::bad_request("wrong")))
        });
        assert!(wrong.await.is_err());
        assert_eq!(attempts, 1, "what is wrong stays so");
    }
}
