//! Takes out of the inventory what somebody wants to be no longer in it.
//!
//! The rows stay as history, gone from that time on, and count no more, whatever the time to live: their `last_seen_at` is 0.

use sqlx::{AnyConnection, AssertSqlSafe};

use super::{
    events::{Entity, Events, What},
    scope::ENTITIES,
};
use crate::{
    database::{Database, DatabaseError, Dialect},
    ingest::{ATTEMPTS, is_passing},
};

/// What to take out.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Removal<'a> {
    /// All of a context.
    Context { kind: &'a str, context: &'a str },
    /// An image that is gone from a context.
    Image { kind: &'a str, context: &'a str, digest: &'a str },
    /// All of a cluster.
    Cluster { kind: &'a str, name: &'a str },
}

/// Takes it out, and says how many rows that were. What is still reported comes back with the next report.
pub(crate) async fn remove(
    database: &Database,
    account: i64,
    what: Removal<'_>,
    now: i64,
) -> Result<u64, DatabaseError> {
    let mut tries = 1;
    loop {
        match once(database, account, what, now).await {
            Err(error) if is_passing(&error) && tries < ATTEMPTS => tries += 1,
            done => return done,
        }
    }
}

async fn once(database: &Database, account: i64, what: Removal<'_>, now: i64) -> Result<u64, DatabaseError> {
    let dialect = database.dialect();
    let mut writing = database.write().await?;
    let connection = writing.connection();
    let mut removed = 0;
    let mut events = Events::default();
    for scope in scopes(connection, dialect, account, what).await? {
        removed += match what {
            Removal::Image { digest, .. } => image(connection, account, scope, digest).await?,
            Removal::Context { .. } | Removal::Cluster { .. } => {
                disappeared(connection, account, scope, now, &mut events).await?;
                contents(connection, account, scope, now).await?
            }
        };
    }
    if removed > 0 {
        events.write(connection, dialect, account).await?;
        writing.commit().await?;
    }
    Ok(removed)
}

/// The scopes that it is about, locked.
async fn scopes(
    connection: &mut AnyConnection,
    dialect: Dialect,
    account: i64,
    what: Removal<'_>,
) -> Result<Vec<i64>, sqlx::Error> {
    let (kind, name, which) = match what {
        Removal::Context { kind, context } | Removal::Image { kind, context, .. } => (kind, context, "context = $3"),
        Removal::Cluster { kind, name } => {
            let which = "place_id IN (SELECT id FROM place WHERE account_id = $1 AND kind = 'cluster' AND name = $3)";
            (kind, name, which)
        }
    };
    let lock = dialect.for_update();
    let text = format!("SELECT id FROM scope WHERE account_id = $1 AND kind = $2 AND {which} ORDER BY id{lock}");
    let query = sqlx::query_scalar(AssertSqlSafe(text)).bind(account).bind(kind.to_owned()).bind(name.to_owned());
    query.fetch_all(connection).await
}

async fn disappeared(
    connection: &mut AnyConnection,
    account: i64,
    scope: i64,
    now: i64,
    events: &mut Events,
) -> Result<(), sqlx::Error> {
    for (entity, table) in [(Entity::Container, "container"), (Entity::Image, "image_use")] {
        let text =
            format!("SELECT id FROM {table} WHERE account_id = $1 AND scope_id = $2 AND gone_at IS NULL ORDER BY id");
        let query = sqlx::query_scalar(AssertSqlSafe(text)).bind(account).bind(scope);
        let ids: Vec<i64> = query.fetch_all(&mut *connection).await?;
        for id in ids {
            events.push(now, What::Disappeared, entity, [id, scope], None);
        }
    }
    Ok(())
}

async fn contents(connection: &mut AnyConnection, account: i64, scope: i64, now: i64) -> Result<u64, sqlx::Error> {
    let mut removed = 0;
    for table in ENTITIES {
        let text = format!(
            "UPDATE {table} SET gone_at = COALESCE(gone_at, $1), last_seen_at = 0 \
             WHERE account_id = $2 AND scope_id = $3 AND (last_seen_at IS NULL OR last_seen_at <> 0)"
        );
        let query = sqlx::query(AssertSqlSafe(text)).bind(now).bind(account).bind(scope);
        removed += query.execute(&mut *connection).await?.rows_affected();
    }
    let query = sqlx::query("UPDATE image_use SET containers = 0 WHERE account_id = $1 AND scope_id = $2");
    query.bind(account).bind(scope).execute(&mut *connection).await?;
    // Whoever reports it is to look at it again, and not to go by what it was.
    let query = sqlx::query(
        "UPDATE agent SET revision = revision + 1 WHERE account_id = $1 AND id IN (SELECT agent_id FROM source \
         WHERE account_id = $1 AND id IN (SELECT source_id FROM scope WHERE account_id = $1 AND id = $2))",
    );
    query.bind(account).bind(scope).execute(&mut *connection).await?;
    // Without a body, so that all that is reported from now on is new.
    let query = sqlx::query(
        "UPDATE scope SET seen_at = CASE WHEN follows = 1 THEN COALESCE((SELECT observed_at FROM source \
         WHERE source.account_id = $2 AND source.id = scope.source_id), seen_at) ELSE seen_at END, \
         told_digest = NULL, base_digest = NULL, follows = 0, gone_at = $1, changed_at = $1 \
         WHERE account_id = $2 AND id = $3 AND gone_at IS NULL",
    );
    removed += query.bind(now).bind(account).bind(scope).execute(&mut *connection).await?.rows_affected();
    Ok(removed)
}

/// An image of which nothing is there any more.
async fn image(connection: &mut AnyConnection, account: i64, scope: i64, digest: &str) -> Result<u64, sqlx::Error> {
    let uses = "SELECT id FROM image_use WHERE account_id = $1 AND scope_id = $2 AND gone_at IS NOT NULL AND (image_id IN \
         (SELECT image_id FROM image_digest WHERE account_id = $1 AND digest = $3) OR image_id IN \
         (SELECT id FROM image WHERE account_id = $1 AND identity = $3))";
    let mut removed = 0;
    for (table, which) in [
        ("container", format!("scope_id = $2 AND gone_at IS NOT NULL AND image_use_id IN ({uses})")),
        ("image_use", format!("id IN ({uses})")),
    ] {
        let text = format!(
            "UPDATE {table} SET last_seen_at = 0 WHERE account_id = $1 AND {which} AND (last_seen_at IS NULL OR last_seen_at <> 0)"
        );
        let query = sqlx::query(AssertSqlSafe(text)).bind(account).bind(scope).bind(digest.to_owned());
        removed += query.execute(&mut *connection).await?.rows_affected();
    }
    Ok(removed)
}
