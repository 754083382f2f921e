//! Why who may do what stays as it is.

use axum::http::StatusCode;

use super::SYSTEM;
use crate::{database::DatabaseError, http::Problem};

/// The kind of problem that a request has which names an account that there is not.
pub(crate) const NO_SUCH_ACCOUNT: &str = "urn:stocktake:no-such-account";

/// Why something about accounts, users or tokens was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AccessError {
    /// It is not there.
    #[error("there is no {what} `{name}`")]
    Missing {
        /// account, user, token
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// It is there already.
    #[error("there is a {what} `{name}` already; choose another name")]
    Exists {
        /// account, user, token
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// An account has all of them that it may.
    #[error(
        "the account has {most} {what}, which is the most (`{setting}` of `[limits]`); remove one that is not needed"
    )]
    Full {
        /// subscriptions, tokens, users
        what: &'static str,
        /// What says how many.
        setting: &'static str,
        /// How many.
        most: u32,
    },
    /// Nobody could undo it.
    #[error("`{user}` is the last admin of the account `{account}`; make another one first")]
    LastAdmin {
        /// Whose.
        account: String,
        /// Who.
        user: String,
    },
    /// The server cannot do without it.
    #[error("the account `{SYSTEM}` cannot be removed: it is the server's own")]
    System,
    /// A name that would need quoting.
    #[error(
        "`{name}` cannot be the name of a {what}: expected up to 100 ASCII letters, digits, `.`, `_`, `-`, `@` and `+`, the first a letter or digit"
    )]
    Name {
        /// account, user, token
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A password that is none.
    #[error("the password {0}; choose another one")]
    Password(&'static str),
    /// A word that is no role.
    #[error("`{0}` is no role: expected admin, read-write, read-only or inventory-agent")]
    Role(String),
    /// A token that would never be of use.
    #[error("a token that expires at {0} would have expired already; choose a later time")]
    Expired(jiff::Timestamp),
    /// More passwords come in than can be checked.
    #[error("too many passwords are being checked at the moment; try again")]
    Busy,
    /// A stored hash cannot be read, or a password not be hashed.
    #[error("a password could not be hashed; see whether there is memory left")]
    Hash,
    /// The system gives none.
    #[error("the system has no random numbers to give")]
    Random,
    /// The database does not answer.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl From<sqlx::Error> for AccessError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error.into())
    }
}

impl From<AccessError> for Problem {
    fn from(error: AccessError) -> Self {
        let status = match error {
            AccessError::Database(error) => return error.into(),
            AccessError::Busy => return Self::too_many(error.to_string(), 5),
            AccessError::Missing { .. } => StatusCode::NOT_FOUND,
            AccessError::Exists { .. }
            | AccessError::Full { .. }
            | AccessError::LastAdmin { .. }
            | AccessError::System => StatusCode::CONFLICT,
            AccessError::Name { .. } | AccessError::Password(_) | AccessError::Expired(_) => StatusCode::BAD_REQUEST,
            // What a request says is a role already: the word is one of the database's.
            AccessError::Hash | AccessError::Random | AccessError::Role(_) => {
                tracing::error!(%error, "a request could not be served");
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        let mut problem = Self::new(status, error.to_string());
        if let AccessError::Missing { what: "account", .. } = error {
            problem.kind = NO_SUCH_ACCOUNT;
        }
        problem
    }
}
