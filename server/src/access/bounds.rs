//! How many there may be of an account of what its users make.

use sqlx::{AnyConnection, AssertSqlSafe};

use super::{Access, AccessError};
use crate::config::Limits;

/// How many an account may have; 0: any number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    subscriptions: u32,
    tokens: u32,
    users: u32,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counted {
    Subscriptions,
    Tokens,
    Users,
}

impl Counted {
    /// In words, and as the setting and the table are called.
    fn names(self) -> [&'static str; 3] {
        match self {
            Self::Subscriptions => ["subscriptions", "subscriptions_per_account", "subscription"],
            Self::Tokens => ["tokens", "tokens_per_account", "api_token"],
            Self::Users => ["users", "users_per_account", "account_user"],
        }
    }
}

impl Bounds {
    /// As the configuration says.
    pub(crate) fn of(limits: &Limits) -> Self {
        Self {
            subscriptions: limits.subscriptions_per_account,
            tokens: limits.tokens_per_account,
            users: limits.users_per_account,
        }
    }
}

impl Default for Bounds {
    fn default() -> Self {
        Self::of(&Limits::default())
    }
}

impl Access {
    /// Sees to it that there is room for another one in an account, which is to be locked: else two could take the last place at once.
    ///
    /// # Errors
    /// The account has all that it may.
    pub(crate) async fn check_room(
        &self,
        connection: &mut AnyConnection,
        account_id: i64,
        counted: Counted,
    ) -> Result<(), AccessError> {
        let bounds = self.bounds();
        let most = match counted {
            Counted::Subscriptions => bounds.subscriptions,
            Counted::Tokens => bounds.tokens,
            Counted::Users => bounds.users,
        };
        let [what, setting, table] = counted.names();
        let text = format!("SELECT COUNT(*) FROM {table} WHERE account_id = $1");
        if most > 0 {
            let count: i64 = sqlx::query_scalar(AssertSqlSafe(text)).bind(account_id).fetch_one(connection).await?;
            if count >= i64::from(most) {
                return Err(AccessError::Full { what, setting, most });
            }
        }
        Ok(())
    }
}
