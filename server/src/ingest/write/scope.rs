//! A scope, and what is in it.

use stocktake_core::model::ScopeEntry;

use super::{
    Writer, entities,
    events::{Entity, What},
};
use crate::{
    database::DatabaseError,
    ingest::{
        Incoming,
        known::KnownScope,
        place::scope_kind,
        plan::{ScopePlan, SourcePlan},
    },
};

/// Tables of what is in scopes.
pub(super) const ENTITIES: [&str; 6] = ["container", "pod", "workload", "node", "namespace", "image_use"];

/// Writes a scope that the report tells of.
pub(super) async fn scope(
    writer: &mut Writer<'_>,
    incoming: &Incoming,
    planned: &SourcePlan,
    scope: &ScopePlan,
    [place, source]: [i64; 2],
) -> Result<(), DatabaseError> {
    let line = &incoming.report.sources[planned.source].scopes[scope.entry];
    // Of one that was not seen completely the reason may be another.
    let is_as_before =
        scope.content.is_none() && scope.known.as_ref().is_some_and(|known| known.is_as_told(source, line));
    if is_as_before && line.coverage.is_complete() && incoming.is_whole {
        return Ok(());
    }
    let id = scope.known.as_ref().map_or_else(|| writer.identifier(), |known| known.id);
    row(writer, incoming, planned, scope, line, [id, place, source]).await?;
    if let Some(content) = &scope.content {
        let former = scope.known.as_ref().map_or(planned.observed_at, |known| known.seen_at);
        entities::write(writer, content, id, [planned.observed_at, former]).await?;
    }
    Ok(())
}

async fn row(
    writer: &mut Writer<'_>,
    incoming: &Incoming,
    planned: &SourcePlan,
    scope: &ScopePlan,
    line: &ScopeEntry,
    [id, place, source]: [i64; 3],
) -> Result<(), DatabaseError> {
    let reported = &incoming.report.sources[planned.source];
    let known = scope.known.as_ref();
    let content = scope.content.as_ref();
    let told = content.map(|content| content.told.0.clone()).or_else(|| known.and_then(|known| known.told.clone()));
    let base = content.map(|content| content.base.as_ref().unwrap_or(&content.told).0.clone());
    let base = base.or_else(|| known.and_then(|known| known.base.clone()));
    let has_seen = line.coverage.has_seen();
    let follows = match (has_seen, incoming.is_whole) {
        (false, _) => 0_i64,
        (true, true) => 1,
        (true, false) => 2,
    };
    // What was never seen was seen at no time.
    let seen_at = if has_seen { planned.observed_at } else { known.map_or(0, |known| known.seen_at) };
    sqlx::query(SCOPE)
        .bind(writer.account)
        .bind(id)
        .bind(place)
        .bind(source)
        .bind(reported.collector.to_string())
        .bind(reported.kind.to_string())
        .bind(scope_kind(line.id.kind))
        .bind(line.id.name.to_string())
        .bind(planned.place.context(&line.id))
        .bind(line.coverage.status())
        .bind(line.coverage.reason().map(str::to_owned))
        .bind(serde_json::to_string(&line.counts).unwrap_or_default())
        .bind(told)
        .bind(base)
        .bind(follows)
        .bind(seen_at)
        .bind(planned.observed_at)
        .bind(i64::from(content.is_some()))
        .execute(&mut *writer.connection)
        .await?;
    Ok(())
}

const SCOPE: &str = "INSERT INTO scope (account_id, id, place_id, source_id, collector, kind, scope_kind, name, context, coverage, \
    reason, counts, told_digest, base_digest, follows, seen_at, first_seen_at, changed_at) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $17) \
    ON CONFLICT (account_id, id) DO UPDATE SET source_id = excluded.source_id, context = excluded.context, \
    coverage = excluded.coverage, reason = excluded.reason, told_digest = excluded.told_digest, \
    counts = CASE WHEN excluded.follows <> 0 THEN excluded.counts ELSE scope.counts END, \
    base_digest = excluded.base_digest, follows = excluded.follows, seen_at = excluded.seen_at, \
    changed_at = CASE WHEN $18 = 1 THEN excluded.changed_at ELSE scope.changed_at END, \
    gone_at = CASE WHEN excluded.follows <> 0 THEN NULL ELSE scope.gone_at END";

/// A scope that is no more, with all that was in it.
pub(super) async fn gone(writer: &mut Writer<'_>, scope: &KnownScope, at: i64) -> Result<(), DatabaseError> {
    for (entity, table) in [(Entity::Container, "container"), (Entity::Image, "image_use")] {
        let text =
            format!("SELECT id FROM {table} WHERE account_id = $1 AND scope_id = $2 AND gone_at IS NULL ORDER BY id");
        let ids: Vec<i64> = sqlx::query_scalar(sqlx::AssertSqlSafe(text))
            .bind(writer.account)
            .bind(scope.id)
            .fetch_all(&mut *writer.connection)
            .await?;
        for id in ids {
            writer.events.push(at, What::Disappeared, entity, [id, scope.id], None);
        }
    }
    for table in ENTITIES {
        let text = format!(
            "UPDATE {table} SET gone_at = $1, last_seen_at = coalesce(last_seen_at, $2) \
             WHERE account_id = $3 AND scope_id = $4 AND gone_at IS NULL"
        );
        sqlx::query(sqlx::AssertSqlSafe(text))
            .bind(at)
            .bind(scope.seen_at)
            .bind(writer.account)
            .bind(scope.id)
            .execute(&mut *writer.connection)
            .await?;
    }
    sqlx::query("UPDATE image_use SET containers = 0 WHERE account_id = $1 AND scope_id = $2")
        .bind(writer.account)
        .bind(scope.id)
        .execute(&mut *writer.connection)
        .await?;
    // Without a body: should it come back, all that is in it is new.
    sqlx::query(
        "UPDATE scope SET gone_at = $1, seen_at = $2, follows = 0, told_digest = NULL, base_digest = NULL, changed_at = $1 \
         WHERE account_id = $3 AND id = $4",
    )
    .bind(at)
    .bind(scope.seen_at)
    .bind(writer.account)
    .bind(scope.id)
    .execute(&mut *writer.connection)
    .await?;
    Ok(())
}
