//! What tests of this crate have in common.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod served;

use std::sync::atomic::{AtomicU32, Ordering};

pub(crate) use self::served::{Account, Answer, KEY, Listener, PASSWORD, Served, basic};
use crate::database::Database;

/// Fresh databases with their schema: SQLite, and PostgreSQL where `STOCKTAKE_TEST_POSTGRES` has the URL of one in which databases may be
/// made. The first account has number 1.
pub(crate) async fn databases() -> Vec<Database> {
    let mut databases = vec![sqlite().await];
    if let Ok(url) = std::env::var("STOCKTAKE_TEST_POSTGRES") {
        databases.push(postgres(&url).await);
    }
    for database in &databases {
        database.migrate().await.expect("the schema");
        sqlx::query("INSERT INTO account (name, created_at) VALUES ('one', 0)")
            .execute(database.pool())
            .await
            .expect("an account");
    }
    databases
}

async fn sqlite() -> Database {
    let directory = tempfile::tempdir().expect("a directory").keep();
    Database::open(directory.join("inventory.db").to_str().expect("a path")).await.expect("a database")
}

async fn postgres(url: &str) -> Database {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = format!("test_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    let server = Database::open(url).await.expect("PostgreSQL");
    let create = format!("CREATE DATABASE {name}");
    sqlx::query(sqlx::AssertSqlSafe(create)).execute(server.pool()).await.expect("a new database");
    let (address, _) = url.rsplit_once('/').expect("a URL with a database");
    Database::open(&format!("{address}/{name}")).await.expect("the new database")
}
