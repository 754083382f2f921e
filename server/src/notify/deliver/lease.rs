//! Which replica delivers: one at a time, for as long as it shows that it is there.
//!
//! (Why `agentless::lease` is another one stands there.)
//!
//! No clock is compared with another machine's: who waits sees by its own that the one who holds it has shown nothing for long.

use std::time::{Duration, Instant};

use crate::database::{Database, DatabaseError, Dialect};

/// How long a holder may show nothing.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);

/// How often it shows that it is there.
pub(super) const BEAT: Duration = Duration::from_secs(4);

/// What this process knows of the lease.
pub(super) struct Lease {
    database: Database,
    me: String,
    /// Whose it was at which beat, and since when nothing else was seen.
    seen: Option<(String, i64, Instant)>,
}

impl Lease {
    pub(super) fn new(database: Database) -> Self {
        Self { database, me: uuid::Uuid::new_v4().to_string(), seen: None }
    }

    /// What holders write down as.
    pub(super) fn me(&self) -> &str {
        &self.me
    }

    /// Takes it, if nobody has it or who has it is gone. Says whether it is this one's now.
    pub(super) async fn take(&mut self) -> Result<bool, DatabaseError> {
        let text = "SELECT holder, beat FROM lease WHERE name = 'notify'";
        let (holder, beat): (String, i64) = sqlx::query_as(text).fetch_one(self.database.pool()).await?;
        let since = match &self.seen {
            Some((seen, at, since)) if (seen, at) == (&holder, &beat) => *since,
            _ => {
                let now = Instant::now();
                self.seen = Some((holder.clone(), beat, now));
                now
            }
        };
        // One process at a time serves a file.
        let is_free = holder.is_empty() || self.database.dialect() == Dialect::Sqlite || since.elapsed() >= PATIENCE;
        if !is_free {
            return Ok(false);
        }
        let text = "UPDATE lease SET holder = $1, beat = beat + 1 WHERE name = 'notify' AND holder = $2 AND beat = $3";
        self.write(text, &[&self.me, &holder], Some(beat)).await
    }

    /// Shows that it is there. Says whether it still has it.
    pub(super) async fn renew(&self) -> Result<bool, DatabaseError> {
        let text = "UPDATE lease SET beat = beat + 1 WHERE name = 'notify' AND holder = $1";
        self.write(text, &[&self.me], None).await
    }

    /// Gives it back, so that nobody has to wait.
    pub(super) async fn give_back(&self) -> Result<bool, DatabaseError> {
        let text = "UPDATE lease SET holder = '' WHERE name = 'notify' AND holder = $1";
        self.write(text, &[&self.me], None).await
    }

    async fn write(&self, text: &'static str, names: &[&str], beat: Option<i64>) -> Result<bool, DatabaseError> {
        let mut writing = self.database.write().await?;
        let query = names.iter().fold(sqlx::query(text), |query, name| query.bind((*name).to_owned()));
        let query = beat.into_iter().fold(query, sqlx::query::Query::bind);
        let altered = query.execute(writing.connection()).await?.rows_affected();
        writing.commit().await?;
        Ok(altered == 1)
    }
}

/// A number that is another one after subscriptions have changed.
pub(super) async fn version(database: &Database) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("SELECT version FROM lease WHERE name = 'notify'").fetch_one(database.pool()).await
}
