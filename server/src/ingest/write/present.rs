//! Which rows are there: they are found by their keys, and marked as gone, as not confirmed, or as seen again.

use std::collections::{HashMap, HashSet};

use sqlx::Row as _;

use super::{
    Writer,
    entities::{Found, Looked, Of},
    scope::{ENTITIES, PRESENT},
};
use crate::{
    database::{Column::Integer, DatabaseError, Rows},
    ingest::delta::{ImageUse, Unconfirmed},
};

/// Rows by scope and key, of those that are present.
pub(super) async fn find(
    writer: &mut Writer<'_>,
    table: &'static str,
    keys: HashSet<(i64, i64)>,
) -> Result<Found, DatabaseError> {
    let mut rows = Rows::new(&[Integer; 2]);
    for (scope, key) in keys {
        rows.push([scope.into(), key.into()]);
    }
    // One by one: PostgreSQL's planner would rather compare all with all as long as it knows no better.
    let before = format!(
        "SELECT v.column1 AS scope, v.column2 AS key, (SELECT max(t.id) FROM {table} t WHERE t.account_id = $1 \
         AND t.scope_id = v.column1 AND t.key = v.column2 AND {PRESENT}) AS id FROM"
    );
    let mut found = Found::new();
    for row in rows.fetch(writer.connection, writer.dialect, &[writer.account.into()], [&before, "AS v"]).await? {
        if let Some(id) = row.try_get("id")? {
            found.insert((row.try_get("scope")?, row.try_get("key")?), id);
        }
    }
    Ok(found)
}

/// Marks what is missing as gone. Which rows those are, with the scopes that they were in.
pub(super) async fn remove<'a, T>(
    writer: &mut Writer<'_>,
    table: &'static str,
    looked: &'a [Looked<'a>],
    of: Of<T>,
) -> Result<Vec<(i64, &'a Looked<'a>)>, DatabaseError> {
    let keys = looked.iter().flat_map(|one| of(&one.content.delta).missing.iter().map(|(key, _)| (one.scope, *key)));
    let found = find(writer, table, keys.collect()).await?;
    let scopes: HashMap<i64, &Looked<'_>> = looked.iter().map(|one| (one.scope, one)).collect();
    let gone = found.into_iter().filter_map(|((scope, _), id)| Some((id, *scopes.get(&scope)?)));
    let mut gone: Vec<(i64, &Looked<'_>)> = gone.collect();
    gone.sort_unstable_by_key(|(id, _)| *id);
    mark(writer, table, gone.iter().map(|(id, one)| (*id, Some(one.observed_at), one.former))).await?;
    Ok(gone)
}

/// Notes of rows since when they are gone, if they are, and when they were seen last.
async fn mark(
    writer: &mut Writer<'_>,
    table: &'static str,
    marks: impl Iterator<Item = (i64, Option<i64>, i64)>,
) -> Result<(), DatabaseError> {
    let mut rows = Rows::new(&[Integer; 3]);
    for (id, gone_at, former) in marks {
        rows.push([id.into(), gone_at.into(), former.into()]);
    }
    let before = format!(
        "UPDATE {table} SET gone_at = v.column2, last_seen_at = coalesce({table}.last_seen_at, v.column3) FROM"
    );
    let after = format!("AS v WHERE {table}.account_id = $1 AND {table}.id = v.column1");
    rows.execute(writer.connection, writer.dialect, &[writer.account.into()], [&before, &after]).await?;
    Ok(())
}

/// Rows that were not seen in a look that did not see all keep the time at which they were. Which ones, by table.
pub(super) async fn leave(
    writer: &mut Writer<'_>,
    unconfirmed: &Unconfirmed,
    uses: &HashMap<(i64, &ImageUse), i64>,
    [scope, former]: [i64; 2],
) -> Result<HashMap<&'static str, HashSet<i64>>, DatabaseError> {
    let lists: [(&'static str, &Vec<i64>); 5] = [
        ("container", &unconfirmed.containers),
        ("pod", &unconfirmed.pods),
        ("workload", &unconfirmed.workloads),
        ("node", &unconfirmed.nodes),
        ("namespace", &unconfirmed.namespaces),
    ];
    let mut left = HashMap::new();
    for (table, keys) in lists {
        let keys = keys.iter().map(|key| (scope, *key)).collect();
        let ids: HashSet<i64> = find(writer, table, keys).await?.into_values().collect();
        mark(writer, table, ids.iter().map(|id| (*id, None, former))).await?;
        left.insert(table, ids);
    }
    let ids: HashSet<i64> = unconfirmed.uses.iter().filter_map(|usage| uses.get(&(scope, usage)).copied()).collect();
    mark(writer, "image_use", ids.iter().map(|id| (*id, None, former))).await?;
    left.insert("image_use", ids);
    Ok(left)
}

/// Whatever was left by an earlier look that did not see all was seen now, but for what is left again.
pub(super) async fn confirm(
    writer: &mut Writer<'_>,
    scope: i64,
    left: &HashMap<&'static str, HashSet<i64>>,
) -> Result<(), DatabaseError> {
    for table in ENTITIES {
        let text = format!(
            "SELECT id FROM {table} WHERE account_id = $1 AND scope_id = $2 AND last_seen_at IS NOT NULL AND {PRESENT}"
        );
        let query = sqlx::query_scalar(sqlx::AssertSqlSafe(text)).bind(writer.account).bind(scope);
        let marked: Vec<i64> = query.fetch_all(&mut *writer.connection).await?;
        let mut rows = Rows::new(&[Integer]);
        for id in marked.into_iter().filter(|id| !left.get(table).is_some_and(|left| left.contains(id))) {
            rows.push([id.into()]);
        }
        let before =
            format!("UPDATE {table} SET last_seen_at = NULL WHERE account_id = $1 AND id IN (SELECT column1 FROM");
        rows.execute(writer.connection, writer.dialect, &[writer.account.into()], [&before, "AS v)"]).await?;
    }
    Ok(())
}
