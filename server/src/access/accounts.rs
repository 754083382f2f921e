//! Accounts: whose data is whose.

use jiff::Timestamp;
use serde::Serialize;
use sqlx::{AnyConnection, AssertSqlSafe};
use utoipa::ToSchema;

use super::{Access, AccessError, Actor, SYSTEM, audit::Change, credentials::check_name};
use crate::{database::Dialect, notify::subscription};

/// An account: users, and what is reported for them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Account {
    /// Its name, which no other has.
    pub(crate) name: String,
    /// Since when it is there.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) created_at: Timestamp,
}

/// Every table whose rows are an account's, those that refer to others first.
pub(super) const TABLES: [&str; 29] = [
    "agentless",
    "noted",
    "subscription",
    "dead_letter",
    "integration",
    "event",
    "container",
    "pod",
    "workload",
    "namespace",
    "node",
    "label",
    "label_set",
    "image_use",
    "image_name",
    "image_tag",
    "image_digest",
    "image",
    "bundle",
    "body_sender",
    "body",
    "scope",
    "shared_container",
    "source",
    "place",
    "agent",
    "api_token",
    "account_user",
    "audit",
];

impl Access {
    /// Makes an account, without users.
    ///
    /// # Errors
    /// Its name cannot be one, or is taken.
    pub(crate) async fn create_account(&self, actor: &Actor, name: &str) -> Result<Account, AccessError> {
        check_name("account", name)?;
        let mut change = Change::begin(&self.database, actor, "account.create", name).await?;
        let (now, id) = (change.at, change.spare);
        if !insert(change.connection(), name, now.as_millisecond(), id).await? {
            return Err(AccessError::Exists { what: "account", name: name.to_owned() });
        }
        let system = lock(change.connection(), self.database.dialect(), SYSTEM).await?;
        change.commit(system, "created").await?;
        self.changed();
        Ok(Account { name: name.to_owned(), created_at: now })
    }

    /// All accounts, by name.
    pub(crate) async fn accounts(&self) -> Result<Vec<Account>, AccessError> {
        let rows: Vec<(String, i64)> = sqlx::query_as("SELECT name, created_at FROM account ORDER BY name")
            .fetch_all(self.database.pool())
            .await?;
        Ok(rows.into_iter().map(|(name, at)| Account { name, created_at: time(at) }).collect())
    }

    /// Removes an account with all that is its: users, tokens, inventory, history, and its audit log. That it was removed
    /// stands in the log of account `admin`.
    ///
    /// # Errors
    /// It is not there, or it is `admin`.
    pub(crate) async fn delete_account(&self, actor: &Actor, name: &str) -> Result<(), AccessError> {
        if name == SYSTEM {
            return Err(AccessError::System);
        }
        let mut change = Change::begin(&self.database, actor, "account.delete", name).await?;
        let dialect = self.database.dialect();
        let system = lock(change.connection(), dialect, SYSTEM).await?;
        let id = lock(change.connection(), dialect, name).await?;
        for table in TABLES {
            sqlx::query(AssertSqlSafe(format!("DELETE FROM {table} WHERE account_id = $1")))
                .bind(id)
                .execute(change.connection())
                .await?;
        }
        sqlx::query("DELETE FROM account WHERE id = $1").bind(id).execute(change.connection()).await?;
        // Nothing is delivered for it any more.
        subscription::changed(change.connection()).await?;
        change.commit(system, "deleted").await?;
        self.changed();
        Ok(())
    }
}

/// Makes an account unless its name is taken, and says whether it did. Its key is `id`, which no account ever had.
pub(super) async fn insert(connection: &mut AnyConnection, name: &str, at: i64, id: i64) -> Result<bool, AccessError> {
    let done =
        sqlx::query("INSERT INTO account (id, name, created_at) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING")
            .bind(id)
            .bind(name)
            .bind(at)
            .execute(connection)
            .await?;
    Ok(done.rows_affected() > 0)
}

/// The key of an account that stays as it is until the transaction ends: whoever changes its users waits for each other.
pub(crate) async fn lock(connection: &mut AnyConnection, dialect: Dialect, name: &str) -> Result<i64, AccessError> {
    sqlx::query_scalar(AssertSqlSafe(format!("SELECT id FROM account WHERE name = $1{}", dialect.for_update())))
        .bind(name)
        .fetch_optional(connection)
        .await?
        .ok_or_else(|| AccessError::Missing { what: "account", name: name.to_owned() })
}

/// A time as the database has it.
pub(super) fn time(milliseconds: i64) -> Timestamp {
    Timestamp::from_millisecond(milliseconds).unwrap_or_default()
}
