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

    /// The file that SQLite has opened, behind all symbolic links; none of PostgreSQL.
    pub(crate) async fn file(&self) -> Result<Option<PathBuf>, DatabaseError> {
        if self.dialect() == Dialect::Postgres {
            return Ok(None);
        }
        let text = "SELECT file FROM pragma_database_list WHERE name = 'main'";
        let file: String = sqlx::query_scalar(text).fetch_one(self.pool()).await?;
        Ok(Some(file.into()))
    }
}

/// The file that the URL of a database names, if it is SQLite's.
pub(crate) fn sqlite_file(url: &str) -> Result<Option<PathBuf>, DatabaseError> {
    let (dialect, _) = address(url)?;
    let path = url.strip_prefix("sqlite://").or_else(|| url.strip_prefix("sqlite:")).unwrap_or(url);
    Ok((dialect == Dialect::Sqlite).then(|| PathBuf::from(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_is_the_one_that_is_opened_by_whichever_name() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real.db"), folder.path().join("link.db"));
        let opened = async |url: &str| Database::open(url).await.unwrap().file().await.unwrap();
        let first = opened(real.to_str().unwrap()).await;
        assert_eq!(first, Some(real.canonicalize().unwrap()));
        std::os::unix::fs::symlink(&real, &link).unwrap();
        assert_eq!(opened(link.to_str().unwrap()).await, first);
    }
}
