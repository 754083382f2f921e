//! The first account and the first user.

use jiff::Timestamp;
use secrecy::SecretString;

use super::{
    Access, AccessError, Actor, Role, SYSTEM,
    accounts::{insert as insert_account, lock},
    audit::Change,
    credentials::{check_password, new_password},
    users::insert as insert_user,
};

impl Access {
    /// Makes account `admin` with user `admin`, unless the account has an admin. Returns the password if one had to be made up: it is
    /// to be shown, once. Any number of servers may do it at once: one of them makes the user, and has the password.
    ///
    /// # Errors
    /// The password cannot be one. It is looked at only if it is needed.
    pub(crate) async fn bootstrap(&self, password: Option<SecretString>) -> Result<Option<SecretString>, AccessError> {
        let admins: i64 = sqlx::query_scalar(
            "SELECT COUNT(*) FROM account_user u JOIN account a ON a.id = u.account_id WHERE a.name = $1 AND u.role = $2",
        )
        .bind(SYSTEM)
        .bind(Role::Admin.as_str())
        .fetch_one(self.database.pool())
        .await?;
        if admins > 0 {
            return Ok(None);
        }
        let (password, made_up) = if let Some(password) = password {
            (password, None)
        } else {
            let password = new_password()?;
            (password.clone(), Some(password))
        };
        check_password(&password)?;
        // Before anybody is kept waiting.
        let hash = self.passwords.hash(password).await?;
        let revision = self.database.identifiers(1).await?;
        let actor = Actor::server();
        let mut change = Change::begin(&self.database, &actor, "user.create", SYSTEM).await?;
        let (at, id) = (change.at.as_millisecond(), change.spare);
        insert_account(change.connection(), SYSTEM, at, id).await?;
        let account_id = lock(change.connection(), self.database.dialect(), SYSTEM).await?;
        let admins: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM account_user WHERE account_id = $1 AND role = $2")
            .bind(account_id)
            .bind(Role::Admin.as_str())
            .fetch_one(change.connection())
            .await?;
        if admins > 0 {
            return Ok(None);
        }
        if !insert_user(change.connection(), account_id, SYSTEM, &hash, Role::Admin, at, revision).await? {
            return Err(AccessError::Exists { what: "user", name: SYSTEM.to_owned() });
        }
        change.commit(account_id, Role::Admin.as_str()).await?;
        self.changed();
        Ok(made_up)
    }

    /// Makes account `admin`, without users, if it is not there yet, and says whether it was not. Who makes tokens need not wait then until a
    /// server has started for the first time, which still makes the user.
    pub(crate) async fn make_system(&self) -> Result<bool, AccessError> {
        let id = self.database.identifiers(1).await?;
        let mut writing = self.database.write().await?;
        let made = insert_account(writing.connection(), SYSTEM, Timestamp::now().as_millisecond(), id).await?;
        writing.commit().await?;
        Ok(made)
    }

    /// What people call the database: its file, or what keeps it.
    pub(crate) async fn place(&self) -> Result<String, AccessError> {
        let file = self.database.file().await?;
        Ok(file.map_or_else(|| "this database of PostgreSQL".to_owned(), |file| file.display().to_string()))
    }
}
