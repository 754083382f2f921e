//! Databases for tests.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::database::Database;

/// One of each kind that is at hand, each fresh: SQLite in a directory for temporary files, and a schema of its own in the
/// PostgreSQL that `STOCKTAKE_TEST_POSTGRES` names, if it names one.
pub(crate) async fn databases() -> Vec<Database> {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    // Kept: the database is open until the process ends.
    let directory = tempfile::tempdir().unwrap().keep();
    let mut databases = vec![Database::open(directory.join("test.db").to_str().unwrap()).await.unwrap()];
    if let Ok(url) = std::env::var("STOCKTAKE_TEST_POSTGRES") {
        let name = format!("test_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let database = Database::open(&url).await.unwrap();
        let create = sqlx::AssertSqlSafe(format!("DROP SCHEMA IF EXISTS {name} CASCADE; CREATE SCHEMA {name}"));
        sqlx::raw_sql(create).execute(database.pool()).await.unwrap();
        let separator = if url.contains('?') { '&' } else { '?' };
        databases.push(Database::open(&format!("{url}{separator}options[search_path]={name}")).await.unwrap());
    }
    for database in &databases {
        database.migrate().await.unwrap();
    }
    databases
}
