//! Tokens: what programs log in with.

use jiff::Timestamp;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Access, AccessError, Actor, Counted, Role,
    accounts::{lock, time},
    audit::Change,
    credentials::{TokenHash, check_name, new_token},
};
use crate::database::Database;

/// How far behind `last_used_at` may be, in milliseconds.
const USED: i64 = 60_000;

/// A token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Token {
    /// Its name, which no other token of the account has.
    pub(crate) name: String,
    /// Whose it is.
    pub(crate) account: String,
    /// What it may, and no more than that.
    pub(crate) role: Role,
    /// Since when it is there.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) created_at: Timestamp,
    /// From when on it is of no use.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) expires_at: Option<Timestamp>,
    /// When it was used last, to about a minute.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) last_used_at: Option<Timestamp>,
}

/// A token that is to be.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewToken {
    /// Up to 100 ASCII letters, digits, `.`, `_`, `-`, `@` and `+`; no other token's of the account.
    #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}$")]
    pub(crate) name: String,
    /// What it may.
    pub(crate) role: Role,
    /// From when on it is of no use; never, if it is not said.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) expires_at: Option<Timestamp>,
}

/// Name, role, and when it was made, expires and was used last.
type Row = (String, String, i64, Option<i64>, Option<i64>);

impl Access {
    /// Makes a token, and returns its secret, which nobody can tell afterwards.
    ///
    /// # Errors
    /// There is no such account, the name cannot be one or is taken, it would have expired already, or the account has all that it may.
    pub(crate) async fn create_token(
        &self,
        actor: &Actor,
        account: &str,
        token: NewToken,
    ) -> Result<(Token, SecretString), AccessError> {
        let NewToken { name, role, expires_at } = token;
        check_name("token", &name)?;
        if let Some(expires) = expires_at.filter(|expires| *expires <= Timestamp::now()) {
            return Err(AccessError::Expired(expires));
        }
        let (secret, hash) = new_token()?;
        let mut change = Change::begin(&self.database, actor, "token.create", &name).await?;
        let account_id = lock(change.connection(), self.database.dialect(), account).await?;
        self.check_room(change.connection(), account_id, Counted::Tokens).await?;
        let (at, id) = (change.at, change.spare);
        let done = sqlx::query(
            "INSERT INTO api_token (account_id, id, name, hash, role, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7) \
             ON CONFLICT (account_id, name) DO NOTHING",
        )
        .bind(account_id)
        .bind(id)
        .bind(&name)
        .bind(hash.to_vec())
        .bind(role.as_str())
        .bind(at.as_millisecond())
        .bind(expires_at.map(Timestamp::as_millisecond))
        .execute(change.connection())
        .await?;
        if done.rows_affected() == 0 {
            return Err(AccessError::Exists { what: "token", name });
        }
        change.commit(account_id, role.as_str()).await?;
        let token = Token { name, account: account.to_owned(), role, created_at: at, expires_at, last_used_at: None };
        Ok((token, secret))
    }

    /// An account's tokens, by name; those that have expired, too.
    ///
    /// # Errors
    /// There is no such account.
    pub(crate) async fn tokens(&self, account: &str) -> Result<Vec<Token>, AccessError> {
        let account_id = self.existing(account).await?;
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT name, role, created_at, expires_at, last_used_at FROM api_token WHERE account_id = $1 ORDER BY name",
        )
        .bind(account_id)
        .fetch_all(self.database.pool())
        .await?;
        let token = |(name, role, created, expires, used): Row| {
            Ok(Token {
                name,
                account: account.to_owned(),
                role: role.parse()?,
                created_at: time(created),
                expires_at: expires.map(time),
                last_used_at: used.map(time),
            })
        };
        rows.into_iter().map(token).collect()
    }

    /// Revokes a token: at once, in other replicas after some seconds.
    ///
    /// # Errors
    /// There is no such account or token.
    pub(crate) async fn delete_token(&self, actor: &Actor, account: &str, name: &str) -> Result<(), AccessError> {
        let mut change = Change::begin(&self.database, actor, "token.delete", name).await?;
        let account_id = lock(change.connection(), self.database.dialect(), account).await?;
        let done = sqlx::query("DELETE FROM api_token WHERE account_id = $1 AND name = $2")
            .bind(account_id)
            .bind(name)
            .execute(change.connection())
            .await?;
        if done.rows_affected() == 0 {
            return Err(AccessError::Missing { what: "token", name: name.to_owned() });
        }
        change.commit(account_id, "deleted").await?;
        self.changed();
        Ok(())
    }

    /// Writes down that a token is in use, if that was not done a moment ago. Nobody waits for it.
    pub(super) fn note_use(&self, hash: TokenHash, last: Option<i64>) {
        let now = Timestamp::now().as_millisecond();
        if last.is_some_and(|last| now - last < USED) || self.used.get(&hash).is_some() {
            return;
        }
        self.used.put(self.used.generation(), hash, ());
        let database = self.database.clone();
        tokio::spawn(async move {
            if let Err(error) = write_use(&database, hash, now).await {
                tracing::warn!(error = &error as &dyn std::error::Error, "cannot write down that a token was used");
            }
        });
    }
}

async fn write_use(database: &Database, hash: TokenHash, now: i64) -> Result<(), AccessError> {
    let mut writing = database.write().await?;
    sqlx::query(
        "UPDATE api_token SET last_used_at = $1 WHERE hash = $2 AND (last_used_at IS NULL OR last_used_at < $1)",
    )
    .bind(now)
    .bind(hash.to_vec())
    .execute(writing.connection())
    .await?;
    Ok(writing.commit().await?)
}
