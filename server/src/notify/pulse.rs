//! Knows the number of each account's latest event, so that nobody else has to ask the database for it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::sync::{Notify, watch};

use crate::database::{Database, DatabaseError};

/// How long after another replica has written an event it is known here, at the latest.
const INTERVAL: Duration = Duration::from_secs(1);

/// The least time between two looks, however much is written here.
const BREATH: Duration = Duration::from_millis(50);

/// Numbers of the latest events, by account.
pub(crate) type Latest = Arc<BTreeMap<i64, i64>>;

/// The numbers of the latest events, kept up to date by one query for all.
pub(crate) struct Pulse {
    nudged: Arc<Notify>,
    latest: watch::Sender<Latest>,
}

impl Pulse {
    /// `nudged` is notified by whoever writes events in this process.
    pub(super) fn new(nudged: Arc<Notify>) -> Self {
        Self { nudged, latest: watch::Sender::new(Latest::default()) }
    }

    /// Something may have been written by this process.
    pub(crate) fn nudge(&self) {
        self.nudged.notify_one();
    }

    /// The number of the account's latest event, as far as it is known here.
    pub(crate) fn latest(&self, account: i64) -> i64 {
        self.latest.borrow().get(&account).copied().unwrap_or_default()
    }

    /// Is told of every change.
    pub(crate) fn listen(&self) -> watch::Receiver<Latest> {
        self.latest.subscribe()
    }

    /// The number of the account's latest event, as it is now.
    pub(crate) async fn ask(&self, database: &Database, account: i64) -> Result<i64, DatabaseError> {
        let text = "SELECT last_event FROM account WHERE id = $1";
        let latest: Option<i64> = sqlx::query_scalar(text).bind(account).fetch_optional(database.pool()).await?;
        let latest = latest.unwrap_or_default();
        self.learn([(account, latest)]);
        Ok(latest)
    }

    /// Looks at all accounts.
    pub(crate) async fn look(&self, database: &Database) -> Result<(), DatabaseError> {
        let rows: Vec<(i64, i64)> =
            sqlx::query_as("SELECT id, last_event FROM account").fetch_all(database.pool()).await?;
        self.learn(rows);
        Ok(())
    }

    /// Answers may overtake each other: the greater number is the later one.
    fn learn(&self, rows: impl IntoIterator<Item = (i64, i64)>) {
        self.latest.send_if_modified(|latest| {
            let news: Vec<(i64, i64)> =
                rows.into_iter().filter(|(id, last)| latest.get(id).is_none_or(|known| known < last)).collect();
            if news.is_empty() {
                return false;
            }
            Arc::make_mut(latest).extend(news);
            true
        });
    }

    /// Looks whenever something was written here, and every second, for as long as it is polled.
    pub(crate) async fn always(&self, database: &Database) {
        let mut has_failed = false;
        loop {
            match self.look(database).await {
                Ok(()) => has_failed = false,
                Err(error) if !has_failed => {
                    has_failed = true;
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, "cannot look for new events; trying again");
                }
                Err(_) => {}
            }
            tokio::time::sleep(BREATH).await;
            // It does not matter which of the two it was.
            let _ = tokio::time::timeout(INTERVAL, self.nudged.notified()).await;
        }
    }
}
