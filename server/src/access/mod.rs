//! Who asks, for which account, and what they may.

use axum::{extract::FromRequestParts, http::request::Parts};

use crate::{app::App, database::Database, http::Problem};

/// Knows users and tokens.
pub(crate) struct Access {
    #[expect(dead_code, reason = "the access helper's")]
    database: Database,
}

impl Access {
    pub(crate) fn new(database: Database) -> Self {
        Self { database }
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
    /// What they may.
    pub(crate) role: Role,
}

/// What somebody may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

/// Somebody who may report.
pub(crate) struct Reporter(pub(crate) Caller);
/// Somebody who may read.
pub(crate) struct Reader(pub(crate) Caller);
/// Somebody who may remove.
pub(crate) struct Writer(pub(crate) Caller);
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
allowed!(Reporter, Admin | ReadWrite | InventoryAgent);
allowed!(Reader, Admin | ReadWrite | ReadOnly);
allowed!(Writer, Admin | ReadWrite);
allowed!(Admin, Admin);

impl Access {
    /// Who makes a request.
    pub(crate) async fn caller(&self, _parts: &Parts) -> Result<Caller, Problem> {
        Err(Problem::new(axum::http::StatusCode::UNAUTHORIZED, "no credentials"))
    }
}
