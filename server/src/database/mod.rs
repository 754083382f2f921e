//! SQLite in a file or PostgreSQL, behind one face. Statements are the same for both but for what `Dialect` says.

mod dialect;
mod file;
mod ids;
mod rows;
mod schema;
pub(crate) mod statistics;

use std::{path::Path, sync::Arc, time::Duration};

use sqlx::{
    Any, AnyConnection, AnyPool, Connection as _, Executor as _, Transaction,
    any::{AnyPoolOptions, install_default_drivers},
    migrate::Migrator,
    pool::PoolConnection,
};
use tokio::sync::{Mutex, OwnedMutexGuard};

pub(crate) use self::{
    dialect::Dialect,
    rows::{Column, Rows, Value},
    schema::sqlite_file,
};

static SQLITE: Migrator = sqlx::migrate!("migrations/sqlite");
static POSTGRES: Migrator = sqlx::migrate!("migrations/postgres");

/// How long a request waits for a connection, and a writer for another process's write.
const PATIENCE: Duration = Duration::from_secs(10);

/// A database. Clones share its connections.
#[derive(Clone)]
pub struct Database {
    pool: AnyPool,
    dialect: Dialect,
    /// SQLite has one writer at a time: they queue here, in order, instead of polling a lock.
    writing: Option<Arc<Mutex<()>>>,
    ids: Arc<ids::Ids>,
}

/// A transaction that writes. Dropped, it is undone.
pub(crate) struct Writing {
    transaction: Transaction<'static, Any>,
    _turn: Option<OwnedMutexGuard<()>>,
}

/// Why the database did not do as it was told.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The URL is of no kind that is known.
    #[error("`{0}` is no database: expected a path, `sqlite:` and a path, or `postgres://…`")]
    Unknown(String),
    /// SQLite's file cannot be used: its path, why, and what to do.
    #[error("{0}: {1}")]
    File(String, String),
    /// Its schema could not be brought up to date.
    #[error("cannot bring the schema up to date")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// Something else.
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
}

/// What follows from an error for who asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// There is no room left.
    Full,
    /// It takes no such values, and never will.
    Values,
    /// The same may succeed later.
    Passing,
}

impl DatabaseError {
    /// What follows from it.
    pub(crate) fn failure(&self) -> Failure {
        let Self::Sql(sqlx::Error::Database(error)) = self else { return Failure::Passing };
        match error.code().as_deref() {
            // SQLITE_FULL, and disk_full of PostgreSQL.
            Some("13" | "53100") => Failure::Full,
            // SQLITE_TOOBIG, and PostgreSQL's classes of data exceptions and of exceeded limits.
            Some("18") => Failure::Values,
            Some(code) if code.len() == 5 && (code.starts_with("22") || code.starts_with("54")) => Failure::Values,
            _ => Failure::Passing,
        }
    }
}

impl Database {
    /// Opens a database: a path or `sqlite:PATH`, which is made if it is not there, or `postgres://USER@HOST/NAME`. Its schema is
    /// left as it is.
    pub async fn open(url: &str) -> Result<Self, DatabaseError> {
        install_default_drivers();
        let named = sqlite_file(url)?;
        let (dialect, url) = address(url)?;
        let options = AnyPoolOptions::new().acquire_timeout(PATIENCE).max_connections(match dialect {
            // Readers do not wait for each other; more than the cores would only take memory.
            Dialect::Sqlite => 4,
            Dialect::Postgres => 16,
        });
        let options = options.after_connect(move |connection, _| {
            Box::pin(async move {
                connection.execute(sqlx::raw_sql(dialect.settings())).await?;
                Ok(())
            })
        });
        // SQLite undoes a transaction by itself where the disk is full. The undoing that follows fails then, and sqlx goes on to take the
        // connection for one within a transaction, and refuses to begin another.
        let options = options.before_acquire(|connection, _| {
            let is_free = !connection.is_in_transaction();
            Box::pin(async move { Ok(is_free) })
        });
        let opened = async {
            try_it(&url, dialect).await?;
            options.connect(&url).await
        };
        let pool = opened.await.map_err(|error| match named {
            Some(file) => unusable(&file, &error),
            None => error.into(),
        })?;
        let writing = matches!(dialect, Dialect::Sqlite).then(|| Arc::new(Mutex::new(())));
        Ok(Self { pool, dialect, writing, ids: Arc::default() })
    }

    /// Brings the schema up to date. Any number of servers may do it at once.
    pub async fn migrate(&self) -> Result<(), DatabaseError> {
        match self.dialect {
            // In one transaction that nobody else's can overlap with: SQLite's migrations take no lock of their own.
            Dialect::Sqlite => {
                let mut transaction = self.pool.begin_with("BEGIN EXCLUSIVE").await?;
                SQLITE.run_direct(None, &mut *transaction, false).await?;
                transaction.commit().await?;
            }
            Dialect::Postgres => POSTGRES.run(&self.pool).await?,
        }
        Ok(())
    }

    /// Which of the two it is.
    pub(crate) fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// A connection to read with.
    pub(crate) async fn read(&self) -> Result<PoolConnection<Any>, DatabaseError> {
        Ok(self.pool.acquire().await?)
    }

    /// A connection for statements that are to see the same, whatever is written meanwhile.
    pub(crate) async fn read_at_once(&self) -> Result<Transaction<'static, Any>, DatabaseError> {
        let begin = match self.dialect {
            Dialect::Sqlite => "BEGIN",
            Dialect::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        };
        Ok(self.pool.begin_with(begin).await?)
    }

    /// All its connections, for single statements.
    pub(crate) fn pool(&self) -> &AnyPool {
        &self.pool
    }

    /// Begins to write.
    pub(crate) async fn write(&self) -> Result<Writing, DatabaseError> {
        let turn = match &self.writing {
            Some(writing) => Some(Arc::clone(writing).lock_owned().await),
            None => None,
        };
        // Not the deferred kind: what is read in it must still hold when it writes.
        let begin = if turn.is_some() { "BEGIN IMMEDIATE" } else { "BEGIN" };
        Ok(Writing { transaction: self.pool.begin_with(begin).await?, _turn: turn })
    }

    /// So many identifiers that nobody else has, one after the other; the first of them.
    pub(crate) async fn identifiers(&self, count: usize) -> Result<i64, DatabaseError> {
        self.ids.take(self, count).await
    }
}

impl Writing {
    /// What statements are run on.
    pub(crate) fn connection(&mut self) -> &mut sqlx::AnyConnection {
        &mut self.transaction
    }

    /// Makes it so, for good.
    pub(crate) async fn commit(self) -> Result<(), DatabaseError> {
        Ok(self.transaction.commit().await?)
    }
}

/// Whether it can be used at all: a pool tries again until its patience ends, and then says no more than that.
async fn try_it(url: &str, dialect: Dialect) -> Result<(), sqlx::Error> {
    let tried = async {
        let mut connection = AnyConnection::connect(url).await?;
        connection.execute(sqlx::raw_sql(dialect.settings())).await?;
        if dialect == Dialect::Sqlite {
            // A file that may only be read is opened all the same.
            connection.execute(sqlx::raw_sql("BEGIN IMMEDIATE; ROLLBACK")).await?;
        }
        connection.close().await
    };
    match tried.await {
        Err(sqlx::Error::Database(error)) if dialect == Dialect::Sqlite && is_taken(error.code().as_deref()) => Ok(()),
        tried => tried,
    }
}

/// Whether SQLite says only that somebody else is at it (`SQLITE_BUSY`, `SQLITE_LOCKED`), which passes.
fn is_taken(code: Option<&str>) -> bool {
    code.and_then(|code| code.parse::<u32>().ok()).is_some_and(|code| matches!(code & 0xff, 5 | 6))
}

/// Why a file of SQLite cannot be used.
fn unusable(path: &Path, error: &sqlx::Error) -> DatabaseError {
    let why = file::obstacle(path).unwrap_or_else(|| said_of_inventory(error));
    let file = path.display().to_string();
    DatabaseError::File(file, format!("{why}; another file is named by --database, or `database` of `[server]`"))
}

/// What a database complains about, in its own words and without their number.
pub(crate) fn said(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => error.message().to_owned(),
        other => other.to_string(),
    }
}

/// The same of a file that should be an inventory, and what to do if it is one no more (`SQLITE_CORRUPT`, `SQLITE_NOTADB`).
pub(crate) fn said_of_inventory(error: &sqlx::Error) -> String {
    let code = error.as_database_error().and_then(|error| error.code()?.parse::<u32>().ok()).map(|code| code & 0xff);
    let remedy = if matches!(code, Some(11 | 26)) { ": if it was the inventory, restore a backup" } else { "" };
    format!("{}{remedy}", said(error))
}

fn address(url: &str) -> Result<(Dialect, String), DatabaseError> {
    if url.starts_with("postgres:") || url.starts_with("postgresql:") {
        return Ok((Dialect::Postgres, url.to_owned()));
    }
    let path = url.strip_prefix("sqlite://").or_else(|| url.strip_prefix("sqlite:")).unwrap_or(url);
    if path.is_empty() || path.contains("://") {
        // Not the rest, which may hold a password.
        return Err(DatabaseError::Unknown(url.split_inclusive("://").next().unwrap_or_default().to_owned()));
    }
    let path = Path::new(path).display().to_string().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    Ok((Dialect::Sqlite, format!("sqlite://{path}?mode=rwc")))
}
