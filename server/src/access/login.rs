//! From what a request came with to who asks.

use std::{
    net::{IpAddr, SocketAddr},
    time::Instant,
};

use axum::{extract::ConnectInfo, http::request::Parts};
use jiff::Timestamp;
use secrecy::SecretString;

use super::{
    Access, AccessError, Actor, Caller, Role, SYSTEM,
    audit::Seen,
    credentials::{Credentials, TokenHash},
};
use crate::http::Problem;

/// What requests name another account by, as Anchore has it.
const ACCOUNT: &str = "x-anchore-account";

/// A user or token.
#[derive(Debug, Clone)]
pub(super) struct Known {
    account_id: i64,
    account: String,
    name: String,
    credential: i64,
    role: Role,
    is_user: bool,
    expires_at: Option<i64>,
}

/// A user or token as the database has it: account's key and name, name, role, then what is its own.
type UserRow = (i64, String, String, String, i64, String);
type TokenRow = (i64, String, String, i64, String, Option<i64>, Option<i64>);

impl Access {
    /// Who makes a request, and what the audit log calls them.
    pub(super) async fn asking(&self, parts: &Parts) -> Result<(Caller, Actor), Problem> {
        let address = address(parts);
        let known = match Credentials::of(&parts.headers)? {
            Credentials::Token { hash, name } => self.token(hash, name.as_deref(), address).await?,
            Credentials::Password { name, password } => self.user(&name, password, address).await?,
        };
        let (caller, who) = self.in_account(known, parts).await?;
        let actor = Actor { name: who, address };
        if let Some(seen) = parts.extensions.get::<Seen>() {
            seen.set(caller.account_id, actor.clone());
        }
        Ok((caller, actor))
    }

    async fn token(&self, hash: TokenHash, name: Option<&str>, address: Option<IpAddr>) -> Result<Known, Problem> {
        let known = match self.callers.get(&hash) {
            Some(known) => known,
            None => self.find_token(hash).await?,
        };
        let now = Timestamp::now().as_millisecond();
        let known = known
            .filter(|known| known.expires_at.is_none_or(|expires| now < expires))
            .filter(|known| name.is_none_or(|name| known.name == name));
        if let Some(known) = known {
            return Ok(known);
        }
        // Only now: tokens are not guessed, and whoever has a good one is not to suffer from others behind the same address.
        self.throttle(None, address)?;
        self.throttle.failed(None, address, Instant::now());
        self.refused(None, name.unwrap_or("a token"), address).await;
        Err(Problem::unauthorized("this token is unknown, has expired or was revoked; get another one"))
    }

    async fn find_token(&self, hash: TokenHash) -> Result<Option<Known>, AccessError> {
        let generation = self.callers.generation();
        let row: Option<TokenRow> = sqlx::query_as(
            "SELECT t.account_id, a.name, t.name, t.id, t.role, t.expires_at, t.last_used_at \
             FROM api_token t JOIN account a ON a.id = t.account_id WHERE t.hash = $1",
        )
        .bind(hash.to_vec())
        .fetch_optional(self.database.pool())
        .await?;
        let Some((account_id, account, name, credential, role, expires_at, last_used_at)) = row else {
            self.callers.put(generation, hash, None);
            return Ok(None);
        };
        let known = Known { account_id, account, name, credential, role: role.parse()?, is_user: false, expires_at };
        self.callers.put(generation, hash, Some(known.clone()));
        self.note_use(hash, last_used_at);
        Ok(Some(known))
    }

    async fn user(&self, name: &str, password: SecretString, address: Option<IpAddr>) -> Result<Known, Problem> {
        let key = self.passwords.key(name, &password)?;
        if let Some(Some(known)) = self.callers.get(&key) {
            return Ok(known);
        }
        if let Some(known) = self.still_right(name, key).await? {
            return Ok(known);
        }
        self.throttle(Some(name), address)?;
        let turn = self.passwords.turn().await?;
        // Others with the same name may have been told in the meantime, one way or the other.
        if let Some(known) = self.still_right(name, key).await? {
            return Ok(known);
        }
        self.throttle(Some(name), address)?;
        let generation = self.callers.generation();
        let row = self.find_user(name).await?;
        let hash = row.as_ref().map(|row| row.5.clone());
        let right = self.passwords.check(turn, password, hash).await?;
        match row {
            Some((account_id, account, name, role, revision, _)) if right => {
                self.throttle.succeeded(&name);
                self.passwords.remember(key, revision);
                let (role, credential) = (role.parse()?, revision);
                let known = Known { account_id, account, name, credential, role, is_user: true, expires_at: None };
                self.callers.put(generation, key, Some(known.clone()));
                Ok(known)
            }
            row => {
                self.throttle.failed(Some(name), address, Instant::now());
                self.refused(row.map(|row| row.0), name, address).await;
                Err(Problem::unauthorized("there is no user of this name and password"))
            }
        }
    }

    /// The user whose password this was a short while ago, if nothing has changed since.
    async fn still_right(&self, name: &str, key: [u8; 32]) -> Result<Option<Known>, AccessError> {
        let Some(right) = self.passwords.right(&key) else { return Ok(None) };
        let generation = self.callers.generation();
        let Some((account_id, account, name, role, revision, _)) = self.find_user(name).await? else { return Ok(None) };
        if revision != right {
            return Ok(None);
        }
        let role = role.parse()?;
        let known = Known { account_id, account, name, credential: revision, role, is_user: true, expires_at: None };
        self.callers.put(generation, key, Some(known.clone()));
        Ok(Some(known))
    }

    async fn find_user(&self, name: &str) -> Result<Option<UserRow>, AccessError> {
        // PostgreSQL refuses what cannot be a text there.
        if name.contains('\0') {
            return Ok(None);
        }
        let row = sqlx::query_as(
            "SELECT u.account_id, a.name, u.name, u.role, u.revision, u.password \
             FROM account_user u JOIN account a ON a.id = u.account_id WHERE u.name = $1",
        )
        .bind(name)
        .fetch_optional(self.database.pool())
        .await?;
        Ok(row)
    }

    fn throttle(&self, name: Option<&str>, address: Option<IpAddr>) -> Result<(), Problem> {
        match self.throttle.wait(name, address, Instant::now()) {
            None => Ok(()),
            Some(wait) => Err(Problem::too_many(
                "too many log-ins have failed; try again later, with the right credentials",
                wait.as_secs() + u64::from(wait.subsec_nanos() > 0),
            )),
        }
    }

    /// Who asks in the account that they name, or in their own.
    async fn in_account(&self, known: Known, parts: &Parts) -> Result<(Caller, String), Problem> {
        let Known { account_id, account, name, credential, role, is_user, .. } = known;
        let wanted = match parts.headers.get(ACCOUNT) {
            Some(wanted) => wanted.to_str().map_err(|_| Problem::bad_request(format!("`{ACCOUNT}` is no text")))?,
            None => "",
        };
        if wanted.is_empty() || wanted == account {
            return Ok((Caller { account_id, account, name: name.clone(), credential, role, is_user }, name));
        }
        if account != SYSTEM || role != Role::Admin {
            return Err(Problem::forbidden(format!("`{name}` may not ask about other accounts than `{account}`")));
        }
        let account_id = self.account_id(wanted).await?;
        let who = format!("{account}/{name}");
        Ok((Caller { account_id, account: wanted.to_owned(), name, credential, role, is_user: false }, who))
    }

    async fn account_id(&self, name: &str) -> Result<i64, AccessError> {
        let name = name.to_owned();
        let found = if let Some(found) = self.accounts.get(&name) {
            found
        } else {
            let generation = self.accounts.generation();
            let found = self.look_up(&name).await?;
            self.accounts.put(generation, name.clone(), found);
            found
        };
        found.ok_or(AccessError::Missing { what: "account", name })
    }

    pub(super) async fn look_up(&self, account: &str) -> Result<Option<i64>, AccessError> {
        let found = sqlx::query_scalar("SELECT id FROM account WHERE name = $1")
            .bind(account)
            .fetch_optional(self.database.pool())
            .await?;
        Ok(found)
    }
}

/// From where a request came.
pub(super) fn address(parts: &Parts) -> Option<IpAddr> {
    parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip().to_canonical())
}
