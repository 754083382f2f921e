//! Which schema a database has.

use std::path::PathBuf;

use sqlx::migrate::Migrator;

use super::{Database, DatabaseError, Dialect, POSTGRES, SQLITE, address};

impl Database {
    /// The version of the schema that the database has; 0 if it has none.
    pub(crate) async fn schema_version(&self) -> Result<i64, DatabaseError> {
        let version: Option<i64> = sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations WHERE success")
            .fetch_one(self.pool())
            .await?;
        Ok(version.unwrap_or_default())
    }

    /// The version of the schema that this program is made for.
    pub(crate) fn schema_wanted(&self) -> i64 {
        let migrator: &Migrator = match self.dialect() {
            Dialect::Sqlite => &SQLITE,
            Dialect::Postgres => &POSTGRES,
        };
        migrator.iter().map(|migration| migration.version).max().unwrap_or_default()
    }
}

/// The file of a database that is one.
pub(crate) fn sqlite_file(url: &str) -> Result<Option<PathBuf>, DatabaseError> {
    let (dialect, _) = address(url)?;
    let path = url.strip_prefix("sqlite://").or_else(|| url.strip_prefix("sqlite:")).unwrap_or(url);
    Ok((dialect == Dialect::Sqlite).then(|| PathBuf::from(path)))
}
