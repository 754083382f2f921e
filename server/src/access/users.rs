//! Users: a name with a password.

use jiff::Timestamp;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use sqlx::AnyConnection;
use utoipa::ToSchema;

use super::{
    Access, AccessError, Actor, Counted, Role,
    accounts::{lock, time},
    audit::Change,
    credentials::{check_name, check_password},
};

/// A user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct User {
    /// Its name, which nobody else has on this server.
    pub(crate) name: String,
    /// Whose it is.
    pub(crate) account: String,
    /// What it may.
    pub(crate) role: Role,
    /// Since when it is there.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) created_at: Timestamp,
    /// When its password or role was set last.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) updated_at: Timestamp,
}

/// A user that is to be.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewUser {
    /// Up to 100 ASCII letters, digits, `.`, `_`, `-`, `@` and `+`; nobody else's on this server.
    #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}$")]
    pub(crate) name: String,
    /// 8 to 1024 characters.
    #[schema(value_type = String, format = Password, min_length = 8, max_length = 1024)]
    pub(crate) password: SecretString,
    /// What it may.
    pub(crate) role: Role,
}

/// What is to change of a user.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UserChange {
    /// What it may from now on.
    #[serde(default)]
    pub(crate) role: Option<Role>,
    /// 8 to 1024 characters.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = Password, min_length = 8, max_length = 1024)]
    pub(crate) password: Option<SecretString>,
}

/// Role, password's hash, and since when it is there.
type Row = (String, String, i64);

impl Access {
    /// Makes a user.
    ///
    /// # Errors
    /// There is no such account, its name or password cannot be one, the name is taken, or the account has all that it may.
    pub(crate) async fn create_user(&self, actor: &Actor, account: &str, user: NewUser) -> Result<User, AccessError> {
        let NewUser { name, password, role } = user;
        check_name("user", &name)?;
        check_password(&password)?;
        let hash = self.passwords.hash(password).await?;
        let mut change = Change::begin(&self.database, actor, "user.create", &name).await?;
        let account_id = lock(change.connection(), self.database.dialect(), account).await?;
        self.check_room(change.connection(), account_id, Counted::Users).await?;
        let (at, revision) = (change.at, change.spare);
        if !insert(change.connection(), account_id, &name, &hash, role, at.as_millisecond(), revision).await? {
            return Err(AccessError::Exists { what: "user", name });
        }
        change.commit(account_id, role.as_str()).await?;
        self.changed();
        Ok(User { name, account: account.to_owned(), role, created_at: at, updated_at: at })
    }

    /// An account's users, by name.
    ///
    /// # Errors
    /// There is no such account.
    pub(crate) async fn users(&self, account: &str) -> Result<Vec<User>, AccessError> {
        let account_id = self.existing(account).await?;
        let rows: Vec<(String, String, i64, i64)> = sqlx::query_as(
            "SELECT name, role, created_at, updated_at FROM account_user WHERE account_id = $1 ORDER BY name",
        )
        .bind(account_id)
        .fetch_all(self.database.pool())
        .await?;
        let user = |(name, role, created, updated): (String, String, i64, i64)| {
            let (created_at, updated_at) = (time(created), time(updated));
            Ok(User { name, account: account.to_owned(), role: role.parse()?, created_at, updated_at })
        };
        rows.into_iter().map(user).collect()
    }

    /// Sets a user's role, password, or both. What was known by the old ones is void at once, in other replicas after some seconds.
    ///
    /// # Errors
    /// There is no such account or user, the password cannot be one, or the account would be left without an admin.
    pub(crate) async fn change_user(
        &self,
        actor: &Actor,
        account: &str,
        name: &str,
        wanted: UserChange,
    ) -> Result<User, AccessError> {
        let outcome = match (&wanted.role, &wanted.password) {
            (Some(role), Some(_)) => format!("{}, another password", role.as_str()),
            (Some(role), None) => role.as_str().to_owned(),
            (None, Some(_)) => "another password".to_owned(),
            (None, None) => "nothing".to_owned(),
        };
        let hash = match wanted.password {
            Some(password) => {
                check_password(&password)?;
                Some(self.passwords.hash(password).await?)
            }
            None => None,
        };
        let mut change = Change::begin(&self.database, actor, "user.change", name).await?;
        let account_id = lock(change.connection(), self.database.dialect(), account).await?;
        let (role, password, created) = find(change.connection(), account_id, name).await?;
        let role: Role = role.parse()?;
        let new_role = wanted.role.unwrap_or(role);
        if role == Role::Admin && new_role != Role::Admin {
            check_last_admin(change.connection(), account_id, account, name).await?;
        }
        sqlx::query("UPDATE account_user SET role = $1, password = $2, updated_at = $3, revision = $4 WHERE name = $5")
            .bind(new_role.as_str())
            .bind(hash.unwrap_or(password))
            .bind(change.at.as_millisecond())
            .bind(change.spare)
            .bind(name)
            .execute(change.connection())
            .await?;
        let updated_at = change.at;
        change.commit(account_id, &outcome).await?;
        self.changed();
        Ok(User {
            name: name.to_owned(),
            account: account.to_owned(),
            role: new_role,
            created_at: time(created),
            updated_at,
        })
    }

    /// Removes a user.
    ///
    /// # Errors
    /// There is no such account or user, or the account would be left without an admin.
    pub(crate) async fn delete_user(&self, actor: &Actor, account: &str, name: &str) -> Result<(), AccessError> {
        let mut change = Change::begin(&self.database, actor, "user.delete", name).await?;
        let account_id = lock(change.connection(), self.database.dialect(), account).await?;
        let (role, ..) = find(change.connection(), account_id, name).await?;
        if role == Role::Admin.as_str() {
            check_last_admin(change.connection(), account_id, account, name).await?;
        }
        sqlx::query("DELETE FROM account_user WHERE name = $1").bind(name).execute(change.connection()).await?;
        change.commit(account_id, "deleted").await?;
        self.changed();
        Ok(())
    }

    /// The key of an account, as it is now.
    pub(super) async fn existing(&self, account: &str) -> Result<i64, AccessError> {
        let found = self.look_up(account).await?;
        found.ok_or_else(|| AccessError::Missing { what: "account", name: account.to_owned() })
    }
}

/// Makes a user unless the name is taken, and says whether it did.
pub(super) async fn insert(
    connection: &mut AnyConnection,
    account_id: i64,
    name: &str,
    hash: &str,
    role: Role,
    at: i64,
    revision: i64,
) -> Result<bool, AccessError> {
    let done = sqlx::query(
        "INSERT INTO account_user (account_id, name, password, role, created_at, updated_at, revision) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (name) DO NOTHING",
    )
    .bind(account_id)
    .bind(name)
    .bind(hash)
    .bind(role.as_str())
    .bind(at)
    .bind(at)
    .bind(revision)
    .execute(connection)
    .await?;
    Ok(done.rows_affected() > 0)
}

async fn find(connection: &mut AnyConnection, account_id: i64, name: &str) -> Result<Row, AccessError> {
    sqlx::query_as("SELECT role, password, created_at FROM account_user WHERE account_id = $1 AND name = $2")
        .bind(account_id)
        .bind(name)
        .fetch_optional(connection)
        .await?
        .ok_or_else(|| AccessError::Missing { what: "user", name: name.to_owned() })
}

/// Refuses if nobody else is an admin. The account is locked: two admins cannot remove each other at once.
async fn check_last_admin(
    connection: &mut AnyConnection,
    account_id: i64,
    account: &str,
    name: &str,
) -> Result<(), AccessError> {
    let others: i64 =
        sqlx::query_scalar("SELECT COUNT(*) FROM account_user WHERE account_id = $1 AND role = $2 AND name <> $3")
            .bind(account_id)
            .bind(Role::Admin.as_str())
            .bind(name)
            .fetch_one(connection)
            .await?;
    if others == 0 {
        return Err(AccessError::LastAdmin { account: account.to_owned(), user: name.to_owned() });
    }
    Ok(())
}
