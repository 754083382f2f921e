//! A scope, and what is in it.

use super::{
    Writer,
    entities::Looked,
    events::{Entity, What},
};
use crate::{
    database::{
        Column::{self, Bytes, Integer, Text},
        DatabaseError, Rows, Value,
    },
    ingest::{
        Incoming,
        known::KnownScope,
        place::scope_kind,
        plan::{ScopePlan, SourcePlan},
    },
    words,
};

/// Rows of a scope that are not gone. As PostgreSQL's planner cannot read it: it takes an index of an account's present rows for next
/// to nothing until it has counted them, and walks it for each row that it looks for.
pub(super) const PRESENT: &str = "coalesce(gone_at, 0) = 0";

/// Tables of what is in scopes.
pub(super) const ENTITIES: [&str; 6] = ["container", "pod", "workload", "node", "namespace", "image_use"];

/// Writes the scopes that a source tells of, and returns those in which something is new.
pub(super) async fn scopes<'a>(
    writer: &mut Writer<'_>,
    incoming: &'a Incoming,
    planned: &'a SourcePlan,
    [place, source]: [i64; 2],
) -> Result<Vec<Looked<'a>>, DatabaseError> {
    let (mut rows, mut looked) = (Rows::new(&SCOPE), Vec::new());
    for scope in &planned.scopes {
        let line = &incoming.report.sources[planned.source].scopes[scope.entry];
        // Of one that was not seen completely the reason may be another.
        let is_as_before =
            scope.content.is_none() && scope.known.as_ref().is_some_and(|known| known.is_as_told(source, line));
        if is_as_before && line.coverage.is_complete() && incoming.is_whole {
            continue;
        }
        let id = scope.known.as_ref().map_or_else(|| writer.identifier(), |known| known.id);
        rows.push(row(writer.account, incoming, planned, scope, [id, place, source]));
        looked.extend(scope.content.as_ref().map(|content| Looked {
            content,
            scope: id,
            name: words::indexed(&line.id.name),
            observed_at: planned.observed_at,
            former: scope.known.as_ref().map_or(planned.observed_at, |known| known.seen_at),
        }));
    }
    rows.execute(writer.connection, writer.dialect, &[], INSERT_SCOPE).await?;
    Ok(looked)
}

fn row(
    account: i64,
    incoming: &Incoming,
    planned: &SourcePlan,
    scope: &ScopePlan,
    [id, place, source]: [i64; 3],
) -> [Value; 18] {
    let reported = &incoming.report.sources[planned.source];
    let line = &reported.scopes[scope.entry];
    let (known, content) = (scope.known.as_ref(), scope.content.as_ref());
    let told = content.map(|content| content.told.clone()).or_else(|| known.and_then(|known| known.told.clone()));
    let base = content.map(|content| content.base.clone()).or_else(|| known.and_then(|known| known.base.clone()));
    let has_seen = line.coverage.has_seen();
    let follows = match (has_seen, incoming.is_whole) {
        (false, _) => 0_i64,
        (true, true) => 1,
        (true, false) => 2,
    };
    // What was never seen was seen at no time.
    let seen_at = if has_seen { planned.observed_at } else { known.map_or(0, |known| known.seen_at) };
    [
        account.into(),
        id.into(),
        place.into(),
        source.into(),
        reported.collector.as_str().into(),
        reported.kind.as_str().into(),
        scope_kind(line.id.kind).into(),
        words::indexed(&line.id.name).as_ref().into(),
        planned.place.context(&line.id).into(),
        line.coverage.status().into(),
        line.coverage.reason().into(),
        serde_json::to_string(&line.counts).unwrap_or_default().into(),
        told.into(),
        base.into(),
        follows.into(),
        seen_at.into(),
        planned.observed_at.into(),
        // 0: when it has changed before.
        if content.is_some() || known.is_none() { planned.observed_at.into() } else { 0.into() },
    ]
}

const SCOPE: [Column; 18] = [
    Integer, Integer, Integer, Integer, Text, Text, Text, Text, Text, Text, Text, Text, Bytes, Bytes, Integer, Integer,
    Integer, Integer,
];

const INSERT_SCOPE: [&str; 2] = [
    "INSERT INTO scope (account_id, id, place_id, source_id, collector, kind, scope_kind, name, context, coverage, reason, counts, \
     told_digest, base_digest, follows, seen_at, first_seen_at, changed_at) SELECT * FROM",
    "AS v WHERE true ON CONFLICT (account_id, id) DO UPDATE SET source_id = excluded.source_id, context = excluded.context, \
     coverage = excluded.coverage, reason = excluded.reason, told_digest = excluded.told_digest, \
     counts = CASE WHEN excluded.follows <> 0 THEN excluded.counts ELSE scope.counts END, \
     base_digest = excluded.base_digest, follows = excluded.follows, seen_at = excluded.seen_at, \
     changed_at = CASE WHEN excluded.changed_at > 0 THEN excluded.changed_at ELSE scope.changed_at END, \
     gone_at = CASE WHEN excluded.follows <> 0 THEN NULL ELSE scope.gone_at END",
];

/// A scope that is no more, with all that was in it.
pub(super) async fn gone(writer: &mut Writer<'_>, scope: &KnownScope, at: i64) -> Result<(), DatabaseError> {
    for (entity, table) in [(Entity::Container, "container"), (Entity::Image, "image_use")] {
        let text = format!("SELECT id FROM {table} WHERE account_id = $1 AND scope_id = $2 AND {PRESENT} ORDER BY id");
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
             WHERE account_id = $3 AND scope_id = $4 AND {PRESENT}"
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
