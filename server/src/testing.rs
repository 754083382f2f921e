//! Databases for tests: SQLite, and PostgreSQL where `STOCKTAKE_TEST_POSTGRES` names one.

use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::{ConnectOptions as _, Connection as _, postgres::PgConnectOptions};
use uuid::Uuid;

use crate::database::Database;

static COUNT: AtomicU32 = AtomicU32::new(0);

/// One of each kind, empty, with the schema of now.
pub(crate) async fn databases() -> Vec<Database> {
    let mut urls = vec![sqlite_path()];
    if let Ok(url) = std::env::var("STOCKTAKE_TEST_POSTGRES") {
        urls.push(postgres_database(&url).await);
    }
    let mut databases = Vec::new();
    for url in urls {
        let database = Database::open(&url).await.unwrap();
        database.migrate().await.unwrap();
        databases.push(database);
    }
    databases
}

/// An empty SQLite database. Its folder is left to whoever cleans the place of temporary files.
pub(crate) async fn sqlite() -> Database {
    let database = Database::open(&sqlite_path()).await.unwrap();
    database.migrate().await.unwrap();
    database
}

fn sqlite_path() -> String {
    let folder = tempfile::tempdir().unwrap().keep();
    folder.join("inventory.db").display().to_string()
}

/// Makes a database beside the one that the URL names.
async fn postgres_database(url: &str) -> String {
    let options: PgConnectOptions = url.parse().unwrap();
    let mut connection = options.connect().await.unwrap();
    let name = format!("stocktake_{}_{}", Uuid::new_v4().simple(), COUNT.fetch_add(1, Ordering::Relaxed));
    sqlx::query(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let (before, options) = url.split_once('?').map_or((url, None), |(before, after)| (before, Some(after)));
    let (server, _) = before.rsplit_once('/').unwrap();
    options.map_or_else(|| format!("{server}/{name}"), |options| format!("{server}/{name}?{options}"))
}
