//! Who asks, for which account, and what they may.

mod accounts;
mod api;
mod audit;
mod bootstrap;
mod bounds;
mod credentials;
mod error;
mod login;
mod passwords;
mod recent;
#[cfg(test)]
mod tests;
mod throttle;
mod tokens;
mod users;

use std::{
    str::FromStr,
    sync::{PoisonError, RwLock},
    time::Duration,
};

use axum::{extract::FromRequestParts, http::request::Parts};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub(crate) use self::{
    accounts::{Account, lock},
    api::routes,
    audit::{Actor, Change, audited},
    bounds::{Bounds, Counted},
    error::{AccessError, NO_SUCH_ACCOUNT},
    tokens::{NewToken, Token},
    users::{NewUser, User, UserChange},
};
use self::{login::Known, passwords::Passwords, recent::Recent, throttle::Throttle};
use crate::{app::App, database::Database, http::Problem};

/// The account that is always there, and whose admins may see to all others.
pub(crate) const SYSTEM: &str = "admin";

/// How long another process's changes to who may what may go unnoticed.
const FRESH: Duration = Duration::from_secs(5);

/// Knows users and tokens.
pub(crate) struct Access {
    database: Database,
    passwords: Passwords,
    throttle: Throttle,
    /// By a token's hash or a password's key. None for tokens that there are not.
    callers: Recent<[u8; 32], Option<Known>>,
    /// Keys of accounts by name. None for those that there are not.
    accounts: Recent<String, Option<i64>>,
    /// Tokens of which it was written down a moment ago that they were used.
    used: Recent<[u8; 32], ()>,
    refusals: audit::Refusals,
    bounds: RwLock<Bounds>,
}

impl Access {
    pub(crate) fn new(database: Database) -> Self {
        Self {
            database,
            passwords: Passwords::new(),
            throttle: Throttle::new(),
            callers: Recent::new(20_000, FRESH),
            accounts: Recent::new(1_000, FRESH),
            used: Recent::new(20_000, Duration::from_mins(1)),
            refusals: audit::Refusals::new(),
            bounds: RwLock::default(),
        }
    }

    /// Has other bounds count from now on. What there is beyond them stays.
    pub(crate) fn bound(&self, bounds: Bounds) {
        *self.bounds.write().unwrap_or_else(PoisonError::into_inner) = bounds;
    }

    /// How many an account may have.
    fn bounds(&self) -> Bounds {
        *self.bounds.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who makes a request.
    pub(crate) async fn caller(&self, parts: &Parts) -> Result<Caller, Problem> {
        Ok(self.asking(parts).await?.0)
    }

    /// To be called after each change: nobody is known by what has changed.
    fn changed(&self) {
        self.callers.clear();
        self.accounts.clear();
    }
}

/// Who asks, and the account that all they ask is about.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// Key of `account`. Every query is led by it.
    pub(crate) account_id: i64,
    /// The account's name.
    pub(crate) account: String,
    /// The user's or the token's name.
    pub(crate) name: String,
    /// Number of the token, or of the user as they are now: nobody else ever has it.
    pub(crate) credential: i64,
    /// What they may.
    pub(crate) role: Role,
    /// Whether it is a user, who asks in their own account.
    pub(crate) is_user: bool,
}

/// What somebody may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Role {
    /// Everything, users and tokens included.
    Admin,
    /// Read, report, and remove.
    ReadWrite,
    /// Read.
    ReadOnly,
    /// Report, and not read.
    InventoryAgent,
}

impl Role {
    /// Its name, everywhere.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::ReadWrite => "read-write",
            Self::ReadOnly => "read-only",
            Self::InventoryAgent => "inventory-agent",
        }
    }
}

impl FromStr for Role {
    type Err = AccessError;

    fn from_str(name: &str) -> Result<Self, AccessError> {
        [Self::Admin, Self::ReadWrite, Self::ReadOnly, Self::InventoryAgent]
            .into_iter()
            .find(|role| role.as_str() == name)
            .ok_or_else(|| AccessError::Role(name.chars().take(100).collect()))
    }
}

/// Somebody who may report.
pub(crate) struct Reporter(pub(crate) Caller);
/// Somebody who may read.
pub(crate) struct Reader(pub(crate) Caller);
/// Somebody who may remove.
pub(crate) struct Writer(pub(crate) Caller);
/// The same, with what the audit log calls them.
pub(crate) struct Changer(pub(crate) Caller, pub(crate) Actor);
/// Somebody who may say who may what.
pub(crate) struct Admin(pub(crate) Caller);

macro_rules! allowed {
    ($who:ident, $($role:ident)|+) => {
        impl FromRequestParts<App> for $who {
            type Rejection = Problem;

            async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
                let caller = app.access.caller(parts).await?;
                match caller.role {
                    $(Role::$role)|+ => Ok(Self(caller)),
                    #[allow(unreachable_patterns, reason = "a role may be allowed everything")]
                    _ => Err(Problem::forbidden(format!("`{}` is not allowed to do this", caller.name))),
                }
            }
        }
    };
}

/// Somebody who may change what is set up, and what the audit log calls them.
pub(crate) struct Manager(pub(crate) Caller, pub(crate) Actor);

impl FromRequestParts<App> for Manager {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let (caller, actor) = app.access.asking(parts).await?;
        match caller.role {
            Role::Admin | Role::ReadWrite => Ok(Self(caller, actor)),
            Role::ReadOnly | Role::InventoryAgent => {
                Err(Problem::forbidden(format!("`{}` is not allowed to do this", caller.name)))
            }
        }
    }
}

allowed!(Reporter, Admin | ReadWrite | InventoryAgent);
allowed!(Reader, Admin | ReadWrite | ReadOnly);
allowed!(Writer, Admin | ReadWrite);
allowed!(Admin, Admin);

impl FromRequestParts<App> for Changer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let (caller, actor) = app.access.asking(parts).await?;
        match caller.role {
            Role::Admin | Role::ReadWrite => Ok(Self(caller, actor)),
            _ => Err(Problem::forbidden(format!("`{}` is not allowed to do this", caller.name))),
        }
    }
}
