//! Rows of agents, clusters, hosts and sources.

use std::collections::BTreeSet;

use stocktake_core::model::{Shown, Source};

use super::Writer;
use crate::{
    database::DatabaseError,
    ingest::{
        Incoming,
        kept::Packed,
        known::{Known, KnownAgent, KnownScope, agent_uuid},
        plan::{Plan, SourcePlan},
    },
    words,
};

/// Writes who reported, and returns its identifier.
pub(super) async fn agent(writer: &mut Writer<'_>, incoming: &Incoming, known: &Known) -> Result<i64, DatabaseError> {
    let Incoming { kind, credential, report, manifest, skew, received_at, .. } = incoming;
    let id = known.agent.as_ref().map_or_else(|| writer.identifier(), |agent| agent.id);
    let mut runs = known.agent.as_ref().map(|agent| agent.runs.clone()).unwrap_or_default();
    match (report.agent.run, report.sequence) {
        (Some(run), Some(sequence)) => runs.take(run, sequence, incoming.owner()),
        _ => {
            sqlx::query("INSERT INTO bundle (account_id, report_id, received_at) VALUES ($1, $2, $3)")
                .bind(writer.account)
                .bind(report.id.to_string())
                .bind(*received_at)
                .execute(&mut *writer.connection)
                .await?;
        }
    }
    // Ten years at the most: times are added to it.
    let valid_for =
        report.valid_for_seconds.and_then(|seconds| i64::try_from(seconds.min(315_360_000)).ok()).map(|s| s * 1000);
    sqlx::query(AGENT)
        .bind(writer.account)
        .bind(id)
        .bind(agent_uuid(kind, report).to_string())
        .bind(*kind)
        .bind(report.agent.version.clone())
        .bind(report.agent.hostname.clone())
        .bind(runs.to_json())
        .bind(report.id.to_string())
        .bind(report.created_at.as_millisecond() + skew)
        .bind(*received_at)
        .bind(valid_for)
        .bind(*skew)
        .bind(manifest.as_ref().map(|(digest, _)| words::pack_digest(digest)))
        .bind(manifest.as_ref().map(|(_, manifest)| Packed::of(manifest)).transpose()?.map(|packed| packed.content))
        .bind(*credential)
        .execute(&mut *writer.connection)
        .await?;
    Ok(id)
}

const AGENT: &str = "INSERT INTO agent (account_id, id, uuid, kind, version, hostname, runs, report_id, reported_at, received_at, \
    valid_for, clock_skew, manifest_digest, manifest, credential, first_seen_at, revision) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $10, 1) \
    ON CONFLICT (account_id, id) DO UPDATE SET kind = excluded.kind, version = excluded.version, hostname = excluded.hostname, \
    runs = excluded.runs, report_id = excluded.report_id, reported_at = excluded.reported_at, received_at = excluded.received_at, \
    valid_for = excluded.valid_for, clock_skew = excluded.clock_skew, manifest_digest = excluded.manifest_digest, \
    manifest = excluded.manifest, credential = excluded.credential, revision = agent.revision + 1";

/// Notes that a report is here that says nothing about now, as a later one came before it.
pub(super) async fn late(
    writer: &mut Writer<'_>,
    incoming: &Incoming,
    agent: &KnownAgent,
) -> Result<i64, DatabaseError> {
    let Incoming { report, received_at, .. } = incoming;
    let mut runs = agent.runs.clone();
    if let (Some(run), Some(sequence)) = (report.agent.run, report.sequence) {
        runs.take(run, sequence, incoming.owner());
    }
    sqlx::query(
        "UPDATE agent SET runs = $1, received_at = $2, revision = revision + 1 WHERE account_id = $3 AND id = $4",
    )
    .bind(runs.to_json())
    .bind(*received_at)
    .bind(writer.account)
    .bind(agent.id)
    .execute(&mut *writer.connection)
    .await?;
    Ok(agent.id)
}

/// Writes a cluster or host, and returns its identifier. Its name is the latest that was told.
pub(super) async fn place(
    writer: &mut Writer<'_>,
    known: &Known,
    SourcePlan { place, .. }: &SourcePlan,
) -> Result<i64, DatabaseError> {
    let Known { places, renamed, .. } = known;
    let id = match places.get(place).copied() {
        Some(id) => id,
        None => writer.identifier(),
    };
    if let Some(former) = known.named.get(&id) {
        identify(writer, id, [former, &place.key]).await?;
    }
    // The same report may name a place twice.
    let id: i64 = sqlx::query_scalar(
        "INSERT INTO place (account_id, id, kind, key, name) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (account_id, kind, key) DO UPDATE SET name = excluded.name RETURNING id",
    )
    .bind(writer.account)
    .bind(id)
    .bind(place.kind)
    .bind(place.key.clone())
    .bind(place.name.clone())
    .fetch_one(&mut *writer.connection)
    .await?;
    if let Some(former) = renamed.get(&id) {
        rename(writer, id, [former, &place.name]).await?;
    }
    Ok(id)
}

/// Knows a cluster by its uid from now on that was known by its name.
async fn identify(writer: &mut Writer<'_>, place: i64, [name, uid]: [&str; 2]) -> Result<(), DatabaseError> {
    sqlx::query("UPDATE place SET key = $1 WHERE account_id = $2 AND id = $3 AND kind = 'cluster' AND key = $4")
        .bind(uid.to_owned())
        .bind(writer.account)
        .bind(place)
        .bind(name.to_owned())
        .execute(&mut *writer.connection)
        .await?;
    Ok(())
}

/// Calls the scopes of a place by its new name, those too whose content is as before.
async fn rename(writer: &mut Writer<'_>, place: i64, [former, name]: [&str; 2]) -> Result<(), DatabaseError> {
    sqlx::query(
        "UPDATE scope SET context = $1 || substr(context, length($2) + 1) WHERE account_id = $3 AND place_id = $4 \
         AND substr(context, 1, length($2)) = $2",
    )
    .bind(name.to_owned())
    .bind(former.to_owned())
    .bind(writer.account)
    .bind(place)
    .execute(&mut *writer.connection)
    .await?;
    Ok(())
}

/// Writes a source, and returns its identifier. A new one inherits the time to live of one that looked at the same: an agent that was
/// installed anew is another one, and yet the same to people.
pub(super) async fn source(
    writer: &mut Writer<'_>,
    incoming: &Incoming,
    known: &Known,
    planned: &SourcePlan,
    [agent, place]: [i64; 2],
) -> Result<i64, DatabaseError> {
    let source: &Source = &incoming.report.sources[planned.source];
    let id = match known.sources.get(source.collector.as_str()) {
        Some(id) => *id,
        None => writer.identifier(),
    };
    let shown = match source.shown {
        Shown::All => "all",
        Shown::Running => "running",
        Shown::Part => "part",
    };
    let warnings: Vec<&str> = source.warnings.iter().map(|warning| warning.message.as_str()).collect();
    let id: i64 = sqlx::query_scalar(SOURCE)
        .bind(writer.account)
        .bind(id)
        .bind(agent)
        .bind(place)
        .bind(source.cluster.as_ref().and_then(|cluster| cluster.name.clone()))
        .bind(source.collector.to_string())
        .bind(source.kind.to_string())
        .bind(source.runtime.as_ref().map(|runtime| runtime.name.clone()))
        .bind(source.runtime.as_ref().map(|runtime| runtime.version.clone()))
        .bind(planned.observed_at)
        .bind(source.coverage.status())
        .bind(source.coverage.reason().map(str::to_owned))
        .bind(shown)
        .bind(serde_json::to_string(&warnings).unwrap_or_default())
        // One that could not be asked has the name that it had.
        .bind(i64::from(source.cluster.is_some()))
        .fetch_one(&mut *writer.connection)
        .await?;
    Ok(id)
}

const SOURCE: &str = "INSERT INTO source (account_id, id, agent_id, place_id, cluster_name, collector, kind, runtime_name, \
    runtime_version, observed_at, coverage, reason, shown, warnings, first_seen_at, ttl_days) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $10, \
    (SELECT former.ttl_days FROM source former WHERE former.account_id = $1 AND former.place_id = $4 AND former.collector = $6 \
    ORDER BY former.id DESC LIMIT 1)) \
    ON CONFLICT (account_id, agent_id, collector) DO UPDATE SET place_id = excluded.place_id, kind = excluded.kind, \
    cluster_name = CASE WHEN $15 = 1 THEN excluded.cluster_name ELSE source.cluster_name END, \
    runtime_name = coalesce(excluded.runtime_name, source.runtime_name), \
    runtime_version = coalesce(excluded.runtime_version, source.runtime_version), observed_at = CASE WHEN excluded.observed_at > source.observed_at THEN excluded.observed_at ELSE source.observed_at END, \
    coverage = excluded.coverage, reason = excluded.reason, shown = excluded.shown, warnings = excluded.warnings RETURNING id";

/// A scope that its source tells nothing of any more: it keeps the time at which it was seen.
pub(super) async fn leave_behind(writer: &mut Writer<'_>, scope: &KnownScope) -> Result<(), DatabaseError> {
    sqlx::query(
        "UPDATE scope SET follows = 0, seen_at = $1, coverage = 'failed', reason = 'the last report does not tell of it' \
         WHERE account_id = $2 AND id = $3",
    )
    .bind(scope.seen_at)
    .bind(writer.account)
    .bind(scope.id)
    .execute(&mut *writer.connection)
    .await?;
    Ok(())
}

/// Tells those whose scopes were taken over that what they know is no longer so.
pub(super) async fn bump_others(writer: &mut Writer<'_>, known: &Known, plan: &Plan) -> Result<(), DatabaseError> {
    let own = known.agent.as_ref().map_or(0, |agent| agent.id);
    let taken: BTreeSet<i64> = plan
        .sources
        .iter()
        .flat_map(super::touched)
        .map(|scope| scope.agent_id)
        .filter(|agent| *agent != own)
        .collect();
    for agent in taken {
        sqlx::query("UPDATE agent SET revision = revision + 1 WHERE account_id = $1 AND id = $2")
            .bind(writer.account)
            .bind(agent)
            .execute(&mut *writer.connection)
            .await?;
    }
    Ok(())
}
