//! What PostgreSQL's planner goes by. It knows nothing of tables that were filled a moment ago, or that a restored backup has brought,
//! and a question about a large inventory then takes minutes. Its own daemon comes by once a minute, and hardly after a restore.
//! SQLite's estimates are in its schema.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Executor as _};

use super::{Database, DatabaseError, Dialect};

/// How often it is looked whether a table is no longer what is known of it.
const INTERVAL: Duration = Duration::from_secs(5);

/// Tables of ours of which nothing is known, and those of which more rows have changed since than there were then. (Not by
/// `pg_statistic`, which is for superusers alone.)
const UNKNOWN: &str = "SELECT quote_ident(c.relname) FROM pg_class c JOIN pg_stat_user_tables s ON s.relid = c.oid \
    WHERE s.schemaname = current_schema() AND c.relkind = 'r' AND pg_has_role(c.relowner, 'USAGE') AND pg_relation_size(c.oid) > $1 \
    AND (s.n_mod_since_analyze > c.reltuples \
    OR NOT EXISTS (SELECT 1 FROM pg_stats d WHERE d.schemaname = s.schemaname AND d.tablename = c.relname)) ORDER BY 1";

/// Bytes. Of fewer rows any plan is good.
const SMALL: i64 = 64 << 10;

/// Has the planner learn what it does not know, for as long as it is polled.
pub(crate) async fn always(database: Database) {
    loop {
        if let Err(error) = refresh(&database).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the database's planner does not learn how large tables are; trying again"
            );
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Has it learn once, and returns of which tables.
pub(crate) async fn refresh(database: &Database) -> Result<Vec<String>, DatabaseError> {
    if database.dialect == Dialect::Sqlite {
        return Ok(Vec::new());
    }
    let tables: Vec<String> = sqlx::query_scalar(UNKNOWN).bind(SMALL).fetch_all(&database.pool).await?;
    for table in &tables {
        // Whom another replica is before leaves it to that one.
        match database.pool.execute(AssertSqlSafe(format!("ANALYZE (SKIP_LOCKED) {table}"))).await {
            Ok(_) => tracing::debug!(table, "the database's planner has learnt what is in a table"),
            Err(error) => {
                tracing::warn!(%error, table, "the database's planner does not learn what is in a table; trying again");
            }
        }
    }
    Ok(tables)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::databases;

    #[tokio::test]
    async fn the_planner_learns_of_a_table_that_was_filled_and_of_one_that_has_doubled() {
        for database in databases().await.into_iter().filter(|database| database.dialect == Dialect::Postgres) {
            let fill = async |first: i64, last: i64| {
                let text = format!(
                    "INSERT INTO bundle (account_id, report_id, received_at) SELECT 1, CAST(n AS TEXT), 0 FROM generate_series({first}, {last}) n"
                );
                let mut connection = database.pool.acquire().await.unwrap();
                connection.execute(AssertSqlSafe(text)).await.unwrap();
                // What a session has changed is counted some time later, if it is not told to.
                connection.execute("SELECT CAST(pg_stat_force_next_flush() AS TEXT)").await.unwrap();
                drop(connection);
                for _ in 0..100 {
                    let learnt = refresh(&database).await.unwrap();
                    if !learnt.is_empty() {
                        return learnt;
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Vec::new()
            };
            // Its own daemon, which may come by just now, would leave nothing to learn.
            database.pool.execute("ALTER TABLE bundle SET (autovacuum_enabled = off)").await.unwrap();
            assert_eq!(refresh(&database).await.unwrap(), [""; 0], "nothing is large");
            assert_eq!(fill(1, 4000).await, ["bundle"]);
            let known: i64 =
                sqlx::query_scalar("SELECT CAST(reltuples AS BIGINT) FROM pg_class WHERE relname = 'bundle'")
                    .fetch_one(&database.pool)
                    .await
                    .unwrap();
            assert_eq!(known, 4000);
            assert_eq!(fill(4001, 8500).await, ["bundle"]);
            // Whoever owns the tables may ask, and need not be a superuser.
            let role = format!("statistics_{}", std::process::id());
            let mut connection = database.pool.acquire().await.unwrap();
            connection.execute(AssertSqlSafe(format!("CREATE ROLE {role}"))).await.unwrap();
            connection.execute(AssertSqlSafe(format!("SET ROLE {role}"))).await.unwrap();
            let asked = sqlx::query(UNKNOWN).bind(SMALL).execute(&mut *connection).await;
            connection.execute(AssertSqlSafe(format!("RESET ROLE; DROP ROLE {role}"))).await.unwrap();
            asked.unwrap();
            drop(connection);
            assert_eq!(refresh(&database).await.unwrap(), [""; 0]);
        }
    }
}
