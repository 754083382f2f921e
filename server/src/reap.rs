//! Removes what counts no more: what has aged out of history, and what nothing names.
//!
//! Who asks never sees the difference, since what counts is computed on read; this only frees space. It works in small
//! batches, so that no report waits for long.

use std::{collections::HashSet, sync::Arc, time::Duration};

use jiff::Timestamp;
use sqlx::{Any, AnyConnection, AssertSqlSafe, any::AnyArguments, query::QueryAs};

use crate::{
    app::{App, Retention},
    database::{Column, Database, DatabaseError, Dialect, Rows},
    ingest::is_passing,
    metrics::Metrics,
};

/// How often.
const INTERVAL: Duration = Duration::from_mins(10);

/// How many rows a transaction removes.
const BATCH: i64 = 500;

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

/// How many names and sets of labels are remembered as unused. What is beyond it comes later.
const SUSPECTS: i64 = 100_000;

/// The lock that one replica holds while it removes; any number that nobody else uses.
const LOCK: i64 = 0x5354_4b52_4541_5045;

/// Tables of what comes and goes, those first whose rows point to the others', and which rows something still needs.
const GOING: [(&str, &str); 6] = [
    ("container", "1 = 1"),
    ("image_use", "NOT EXISTS (SELECT 1 FROM container c WHERE c.account_id = r.account_id AND c.image_use_id = r.id)"),
    ("pod", "NOT EXISTS (SELECT 1 FROM container c WHERE c.account_id = r.account_id AND c.pod_id = r.id)"),
    (
        "workload",
        "NOT EXISTS (SELECT 1 FROM pod p WHERE p.account_id = r.account_id AND p.workload_id = r.id AND p.gone_at IS NULL) AND \
         NOT EXISTS (SELECT 1 FROM container c WHERE c.account_id = r.account_id AND c.workload_id = r.id AND c.gone_at IS NULL)",
    ),
    ("node", "1 = 1"),
    ("namespace", "1 = 1"),
];

/// Removes, and remembers in between what nothing names. An image, a name or a set of labels goes if nothing has used it at
/// two looks that are a day apart: ingest writes them ahead of what uses them, and remembers them for some minutes.
pub(crate) struct Reaper {
    database: Database,
    retention: Retention,
    metrics: Arc<Metrics>,
    suspects: Option<Suspects>,
}

struct Suspects {
    since: i64,
    images: HashSet<(i64, i64)>,
    names: HashSet<(i64, i64)>,
    labels: HashSet<(i64, i64)>,
}

/// Removes every ten minutes, for as long as it is polled.
pub(crate) async fn always(app: App) {
    let mut reaper = Reaper::new(&app);
    loop {
        tokio::time::sleep(INTERVAL).await;
        // Also for what another replica removes: what was used since is in the database, and stays for a day.
        app.ingest.forget();
        match reaper.run(Timestamp::now().as_millisecond()).await {
            Ok(removed) => tracing::debug!(removed, "what counts no more is removed"),
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "what counts no more is not removed; trying again later"
                );
            }
        }
    }
}

impl Reaper {
    pub(crate) fn new(app: &App) -> Self {
        let (database, metrics) = (app.database.clone(), Arc::clone(&app.metrics));
        Self { database, retention: app.retention, metrics, suspects: None }
    }

    /// Removes what counts no more at `now` (milliseconds since 1970), and returns how many rows that were; 0 where another
    /// replica is at it.
    pub(crate) async fn run(&mut self, now: i64) -> Result<u64, DatabaseError> {
        if self.database.dialect() == Dialect::Sqlite {
            return self.remove(now).await;
        }
        // The lock is the connection's. Should it be lost, so is the lock.
        let mut connection = self.database.read().await?;
        let text = "SELECT CASE WHEN pg_try_advisory_lock($1) THEN 1 ELSE 0 END";
        let taken: i32 = sqlx::query_scalar(text).bind(LOCK).fetch_one(&mut *connection).await?;
        if taken == 0 {
            return Ok(0);
        }
        let removed = self.remove(now).await;
        let unlocked = sqlx::query("SELECT CASE WHEN pg_advisory_unlock($1) THEN 1 ELSE 0 END").bind(LOCK);
        if unlocked.execute(&mut *connection).await.is_err() {
            // Back in the pool it would hold the lock for ever.
            drop(connection.detach());
        }
        removed
    }

    async fn remove(&mut self, now: i64) -> Result<u64, DatabaseError> {
        let accounts: Vec<i64> = sqlx::query_scalar("SELECT id FROM account").fetch_all(self.database.pool()).await?;
        let mut removed = 0;
        for account in &accounts {
            removed += self.bodies(*account, now).await?;
            removed += self.senders(*account).await?;
            if self.retention.audit_days > 0 {
                removed += self.older(*account, "audit", "at", now - self.retention.audit_days * DAY).await?;
            }
            if self.retention.history_days > 0 {
                removed += self.events(*account, now).await?;
                removed += self.integrations(*account, now).await?;
                removed += self.dead_letters(*account, now).await?;
                removed +=
                    self.older(*account, "bundle", "received_at", now - self.retention.history_days * DAY).await?;
                self.run_out(*account, now).await?;
                for (table, unneeded) in GOING {
                    removed += self.gone(*account, table, unneeded, now).await?;
                }
                removed += self.scopes(*account, now).await?;
                removed += self.no_longer_shared(*account).await?;
            }
        }
        Ok(removed + self.unused(&accounts, now).await?)
    }

    async fn bodies(&self, account: i64, now: i64) -> Result<u64, DatabaseError> {
        let text = "DELETE FROM body WHERE account_id = $1 AND digest IN (\
            SELECT digest FROM body b WHERE b.account_id = $1 AND b.touched_at < $2 \
            AND NOT EXISTS (SELECT 1 FROM scope s WHERE s.account_id = b.account_id AND s.told_digest = b.digest) \
            AND NOT EXISTS (SELECT 1 FROM scope s WHERE s.account_id = b.account_id AND s.base_digest = b.digest) LIMIT $3) \
            AND touched_at < $2 RETURNING digest";
        let (dialect, mut removed) = (self.database.dialect(), 0);
        loop {
            let mut writing = self.database.write().await?;
            let bodies = sqlx::query_scalar(text).bind(account).bind(now - HOUR).bind(BATCH);
            let bodies: Vec<Vec<u8>> = bodies.fetch_all(writing.connection()).await?;
            let (mut rows, count) = (Rows::new(&[Column::Bytes]), bodies.len() as u64);
            for digest in bodies {
                rows.push([digest.into()]);
            }
            // With the body: whoever has sent it would be taken to have sent what is not here.
            let statement = ["DELETE FROM body_sender WHERE account_id = $1 AND digest IN", ""];
            let senders = rows.execute(writing.connection(), dialect, &[account.into()], statement).await?;
            writing.commit().await?;
            self.metrics.reaped("body", count);
            self.metrics.reaped("body_sender", senders);
            removed += count + senders;
            if count < BATCH.unsigned_abs() {
                return Ok(removed);
            }
        }
    }

    /// Who has sent bodies with credentials that are no more.
    async fn senders(&self, account: i64) -> Result<u64, DatabaseError> {
        let gone = sqlx::query_scalar(
            "SELECT credential FROM (SELECT DISTINCT credential FROM body_sender WHERE account_id = $1) AS sender \
             WHERE NOT EXISTS (SELECT 1 FROM api_token t WHERE t.id = sender.credential) \
             AND NOT EXISTS (SELECT 1 FROM account_user u WHERE u.revision = sender.credential)",
        );
        let gone: Vec<i64> = gone.bind(account).fetch_all(self.database.pool()).await?;
        let text = "DELETE FROM body_sender WHERE account_id = $1 AND credential = $2 AND digest IN (\
            SELECT digest FROM body_sender WHERE account_id = $1 AND credential = $2 LIMIT $3)";
        let mut removed = 0;
        for credential in gone {
            removed += self.batches("body_sender", text, &[account, credential, BATCH]).await?;
        }
        Ok(removed)
    }

    async fn events(&self, account: i64, now: i64) -> Result<u64, DatabaseError> {
        let text = "DELETE FROM event WHERE account_id = $1 AND id IN (\
            SELECT id FROM event WHERE account_id = $1 AND at < $2 ORDER BY at LIMIT $3)";
        self.batches("event", text, &[account, now - self.retention.history_days * DAY, BATCH]).await
    }

    /// Agents of Anchore's that were not heard of for as long as history is kept: one that makes its identifiers up is another one after
    /// every start.
    async fn integrations(&self, account: i64, now: i64) -> Result<u64, DatabaseError> {
        let text = "DELETE FROM integration WHERE account_id = $1 AND uuid IN (SELECT uuid FROM integration \
            WHERE account_id = $1 AND registered_at < $2 AND (health_at IS NULL OR health_at < $2) LIMIT $3)";
        self.batches("integration", text, &[account, now - self.retention.history_days * DAY, BATCH]).await
    }

    /// Dead letters that nobody has seen to: the events that they are of go by then, too.
    async fn dead_letters(&self, account: i64, now: i64) -> Result<u64, DatabaseError> {
        let text = "DELETE FROM dead_letter WHERE account_id = $1 AND (subscription_id, event_id) IN (\
            SELECT subscription_id, event_id FROM dead_letter WHERE account_id = $1 AND at < $2 LIMIT $3)";
        self.batches("dead_letter", text, &[account, now - self.retention.history_days * DAY, BATCH]).await
    }

    /// Rows that are older than a time, and that nothing needs.
    async fn older(&self, account: i64, table: &'static str, column: &str, than: i64) -> Result<u64, DatabaseError> {
        let key = if table == "bundle" { "report_id" } else { "id" };
        let text = format!(
            "DELETE FROM {table} WHERE account_id = $1 AND {column} < $2 AND {key} IN (\
             SELECT {key} FROM {table} WHERE account_id = $1 AND {column} < $2 LIMIT $3)"
        );
        self.batches(table, &text, &[account, than, BATCH]).await
    }

    /// Scopes that were not seen for longer than what is in them counts and than history is kept are gone since they were seen last,
    /// whoever told of them: nobody will say so any more. What was in them is then removed like all that is gone.
    async fn run_out(&self, account: i64, now: i64) -> Result<(), DatabaseError> {
        let Retention { ttl_days, history_days, .. } = self.retention;
        let seen = "CASE WHEN s.follows = 1 THEN o.observed_at ELSE s.seen_at END";
        let text = format!(
            "SELECT s.id, {seen} FROM scope s JOIN source o ON o.account_id = s.account_id AND o.id = s.source_id \
             WHERE s.account_id = $1 AND s.gone_at IS NULL AND COALESCE(o.ttl_days, $4) > 0 AND {seen} < $2 - $3 * {DAY} \
             AND {seen} < $2 - COALESCE(o.ttl_days, $4) * {DAY}"
        );
        let find = |text: String| {
            sqlx::query_as::<_, (i64, i64)>(AssertSqlSafe(text))
                .bind(account)
                .bind(now)
                .bind(history_days)
                .bind(ttl_days)
        };
        for (scope, _) in find(text.clone()).fetch_all(self.database.pool()).await? {
            match self.end(account, scope, |lock| find(format!("{text} AND s.id = $5{lock}")).bind(scope)).await {
                // Somebody else was at it, and had the better reason.
                Err(error) if is_passing(&error) => tracing::debug!(%error, scope, "a scope is left for the next time"),
                ended => ended?,
            }
        }
        Ok(())
    }

    /// Notes that a scope is gone since it was seen last, if it is still so.
    async fn end<'q>(
        &self,
        account: i64,
        scope: i64,
        again: impl FnOnce(&str) -> QueryAs<'q, Any, (i64, i64), AnyArguments>,
    ) -> Result<(), DatabaseError> {
        let mut writing = self.database.write().await?;
        // First, as reports do. Should the agent speak again after all, it is to look at it again, and not to go by what it was.
        sqlx::query(
            "UPDATE agent SET revision = revision + 1 WHERE account_id = $1 AND id IN (SELECT agent_id FROM source \
             WHERE account_id = $1 AND id IN (SELECT source_id FROM scope WHERE account_id = $1 AND id = $2))",
        )
        .bind(account)
        .bind(scope)
        .execute(writing.connection())
        .await?;
        let lock = match self.database.dialect() {
            Dialect::Sqlite => "",
            Dialect::Postgres => " FOR UPDATE OF s",
        };
        let Some((_, seen_at)) = again(lock).fetch_optional(writing.connection()).await? else { return Ok(()) };
        for table in GOING.map(|(table, _)| table) {
            let text = format!(
                "UPDATE {table} SET gone_at = $1, last_seen_at = coalesce(last_seen_at, $1){} \
                 WHERE account_id = $2 AND scope_id = $3 AND gone_at IS NULL",
                if table == "image_use" { ", containers = 0" } else { "" }
            );
            let query = sqlx::query(AssertSqlSafe(text)).bind(seen_at).bind(account).bind(scope);
            query.execute(writing.connection()).await?;
        }
        sqlx::query(
            "UPDATE scope SET gone_at = $1, seen_at = $1, follows = 0, told_digest = NULL, base_digest = NULL \
             WHERE account_id = $2 AND id = $3",
        )
        .bind(seen_at)
        .bind(account)
        .bind(scope)
        .execute(writing.connection())
        .await?;
        writing.commit().await
    }

    /// Scopes that are gone for longer than their history is kept, once nothing is left of them.
    async fn scopes(&self, account: i64, now: i64) -> Result<u64, DatabaseError> {
        let rows: Vec<String> = GOING
            .iter()
            .map(|(table, _)| {
                format!("NOT EXISTS (SELECT 1 FROM {table} r WHERE r.account_id = s.account_id AND r.scope_id = s.id)")
            })
            .collect();
        let text = format!(
            "DELETE FROM scope WHERE account_id = $1 AND gone_at < $2 AND id IN (SELECT s.id FROM scope s WHERE s.account_id = $1 \
             AND s.gone_at < $2 AND {} LIMIT $3)",
            rows.join(" AND ")
        );
        let Retention { ttl_days, history_days, .. } = self.retention;
        self.batches("scope", &text, &[account, now - ttl_days.max(history_days) * DAY, BATCH]).await
    }

    /// What is gone for longer than it counts and than its history is kept.
    async fn gone(&self, account: i64, table: &'static str, unneeded: &str, now: i64) -> Result<u64, DatabaseError> {
        let Retention { ttl_days, history_days, .. } = self.retention;
        let text = format!(
            "DELETE FROM {table} WHERE account_id = $1 AND id IN (\
             SELECT r.id FROM {table} r JOIN scope s ON s.account_id = r.account_id AND s.id = r.scope_id \
             LEFT JOIN source o ON o.account_id = s.account_id AND o.id = s.source_id \
             WHERE r.account_id = $1 AND r.gone_at < $2 - $4 * {DAY} AND COALESCE(o.ttl_days, $5) <> 0 \
             AND (COALESCE(o.ttl_days, $5) <= $4 OR r.gone_at < $2 - COALESCE(o.ttl_days, $5) * {DAY}) \
             AND {unneeded} LIMIT $3)"
        );
        self.batches(table, &text, &[account, now, BATCH, history_days, ttl_days]).await
    }

    async fn unused(&mut self, accounts: &[i64], now: i64) -> Result<u64, DatabaseError> {
        if self.suspects.as_ref().is_some_and(|suspects| now - suspects.since < DAY) {
            return Ok(0);
        }
        let mut found = Suspects { since: now, images: HashSet::new(), names: HashSet::new(), labels: HashSet::new() };
        let mut removed = 0;
        for account in accounts {
            removed += self.no_longer_shared(*account).await?;
            found.images.extend(self.unused_in(*account, UNUSED_IMAGES).await?);
            found.names.extend(self.unused_in(*account, UNUSED_NAMES).await?);
            found.labels.extend(self.unused_in(*account, UNUSED_LABELS).await?);
        }
        let Some(former) = self.suspects.replace(found) else { return Ok(removed) };
        let Some(found) = &self.suspects else { return Ok(removed) };
        let both = |a: &HashSet<(i64, i64)>, b: &HashSet<(i64, i64)>| a.intersection(b).copied().collect::<Vec<_>>();
        let (images, names, labels) = (
            both(&former.images, &found.images),
            both(&former.names, &found.names),
            both(&former.labels, &found.labels),
        );
        let of_image = [("image_digest", "image_id"), ("image_tag", "image_id"), ("image", "id")];
        let images = self.unused_rows(&images, &of_image, IMAGE_UNUSED).await?;
        let names = self.unused_rows(&names, &[("image_name", "id")], NAME_UNUSED).await?;
        let labels = self.unused_rows(&labels, &[("label", "set_id"), ("label_set", "id")], LABELS_UNUSED).await?;
        Ok(removed + images + names + labels)
    }

    /// Identifiers that several rows had, and no longer have.
    async fn no_longer_shared(&self, account: i64) -> Result<u64, DatabaseError> {
        let text = format!(
            "SELECT h.runtime_id FROM shared_container h WHERE h.account_id = $1 AND {} LIMIT $2",
            one_row("h.runtime_id")
        );
        let found = sqlx::query_scalar(AssertSqlSafe(text)).bind(account).bind(SUSPECTS);
        let (found, mut removed): (Vec<Vec<u8>>, u64) = (found.fetch_all(self.database.pool()).await?, 0);
        for batch in found.chunks(usize::try_from(BATCH).unwrap_or(1)) {
            let (mut writing, dialect) = (self.database.write().await?, self.database.dialect());
            // Reports note others while they have this lock: none is noted between the look and the removal.
            let lock = if dialect == Dialect::Postgres { " FOR NO KEY UPDATE" } else { "" };
            let lock = sqlx::query(AssertSqlSafe(format!("SELECT id FROM account WHERE id = $1{lock}"))).bind(account);
            lock.execute(writing.connection()).await?;
            let mut rows = Rows::new(&[Column::Bytes]);
            for runtime_id in batch {
                rows.push([runtime_id.clone().into()]);
            }
            let after = format!("AS v WHERE {})", one_row("v.column1"));
            let before = "DELETE FROM shared_container WHERE account_id = $1 AND runtime_id IN (SELECT v.column1 FROM";
            removed += rows.execute(writing.connection(), dialect, &[account.into()], [before, &after]).await?;
            writing.commit().await?;
        }
        self.metrics.reaped("shared_container", removed);
        Ok(removed)
    }

    async fn unused_in(&self, account: i64, text: &'static str) -> Result<Vec<(i64, i64)>, DatabaseError> {
        let query = sqlx::query_scalar(text).bind(account).bind(SUSPECTS);
        let ids: Vec<i64> = query.fetch_all(self.database.pool()).await?;
        Ok(ids.into_iter().map(|id| (account, id)).collect())
    }

    /// Removes those of the rows that are still unused.
    async fn unused_rows(
        &self,
        rows: &[(i64, i64)],
        tables: &[(&'static str, &'static str)],
        still_unused: &str,
    ) -> Result<u64, DatabaseError> {
        let (mut removed, dialect) = (0, self.database.dialect());
        for batch in rows.chunks(usize::try_from(BATCH).unwrap_or(1)) {
            let mut writing = self.database.write().await?;
            let mut wanted = Rows::new(&[Column::Integer, Column::Integer]);
            for (account, id) in batch {
                wanted.push([(*account).into(), (*id).into()]);
            }
            let texts = ["SELECT v.column1, v.column2 FROM", still_unused];
            let found = wanted.fetch(writing.connection(), dialect, &[], texts).await?;
            let mut pairs = Vec::new();
            for row in &found {
                pairs.push((sqlx::Row::try_get(row, 0)?, sqlx::Row::try_get(row, 1)?));
            }
            for (table, column) in tables {
                let count = delete(writing.connection(), dialect, table, column, pairs.iter().copied()).await?;
                removed += count;
                self.metrics.reaped(table, count);
            }
            writing.commit().await?;
        }
        Ok(removed)
    }

    /// Runs a statement that removes a batch until there is no more.
    async fn batches(&self, table: &'static str, text: &str, values: &[i64]) -> Result<u64, DatabaseError> {
        let mut removed = 0;
        loop {
            let mut writing = self.database.write().await?;
            let query = sqlx::query(AssertSqlSafe(text.to_owned()));
            let query = values.iter().fold(query, |query, value| query.bind(*value));
            let count = query.execute(writing.connection()).await?.rows_affected();
            writing.commit().await?;
            removed += count;
            self.metrics.reaped(table, count);
            if count < BATCH.unsigned_abs() {
                return Ok(removed);
            }
        }
    }
}

/// Whether no more than one container has the runtime's identifier.
fn one_row(runtime_id: &str) -> String {
    format!(
        "(SELECT COUNT(*) FROM container c WHERE c.account_id = $1 \
         AND substr(c.runtime_id, 1, 8) = substr({runtime_id}, 1, 8) AND c.runtime_id = {runtime_id}) < 2"
    )
}

const UNUSED_IMAGES: &str = "SELECT i.id FROM image i WHERE i.account_id = $1 AND NOT EXISTS \
    (SELECT 1 FROM image_use u WHERE u.account_id = i.account_id AND u.image_id = i.id) LIMIT $2";

const UNUSED_NAMES: &str = "SELECT n.id FROM image_name n WHERE n.account_id = $1 AND NOT EXISTS \
    (SELECT 1 FROM image_use u WHERE u.account_id = n.account_id AND u.name_id = n.id) LIMIT $2";

// Labels of what is gone are in no index: both tables are read once, which is once a day.
const UNUSED_LABELS: &str = "SELECT l.id FROM label_set l WHERE l.account_id = $1 AND l.id NOT IN (\
    SELECT labels_id FROM pod WHERE account_id = $1 AND labels_id IS NOT NULL \
    UNION SELECT labels_id FROM container WHERE account_id = $1 AND labels_id IS NOT NULL) LIMIT $2";

const IMAGE_UNUSED: &str = "AS v WHERE NOT EXISTS \
    (SELECT 1 FROM image_use u WHERE u.account_id = v.column1 AND u.image_id = v.column2)";

const NAME_UNUSED: &str = "AS v WHERE NOT EXISTS \
    (SELECT 1 FROM image_use u WHERE u.account_id = v.column1 AND u.name_id = v.column2)";

// What took up a set since then is not gone, and is in an index.
const LABELS_UNUSED: &str = "AS v WHERE NOT EXISTS \
    (SELECT 1 FROM pod p WHERE p.account_id = v.column1 AND p.labels_id = v.column2 AND p.gone_at IS NULL) AND NOT EXISTS \
    (SELECT 1 FROM container c WHERE c.account_id = v.column1 AND c.labels_id = v.column2 AND c.gone_at IS NULL \
    AND c.labels_id IS NOT NULL)";

/// Removes the rows of these accounts whose `column` is one of these.
async fn delete(
    connection: &mut AnyConnection,
    dialect: Dialect,
    table: &str,
    column: &str,
    pairs: impl Iterator<Item = (i64, i64)>,
) -> Result<u64, sqlx::Error> {
    let mut rows = Rows::new(&[Column::Integer, Column::Integer]);
    for (account, id) in pairs {
        rows.push([account.into(), id.into()]);
    }
    let before = format!("DELETE FROM {table} WHERE (account_id, {column}) IN");
    rows.execute(connection, dialect, &[], [&before, ""]).await
}

#[cfg(test)]
mod tests;
