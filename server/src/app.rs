//! What every request handler has at hand.

use std::sync::Arc;

use crate::{
    access::Access, agentless::Agentless, config::NotifySettings, database::Database, ingest::Ingest, metrics::Metrics,
    notify::Notify, secrets::Vault,
};

/// The server's parts, shared by all requests.
#[derive(Clone)]
pub struct App {
    /// Where everything is kept.
    pub(crate) database: Database,
    /// Who may do what.
    pub(crate) access: Arc<Access>,
    /// Encrypts what is secret.
    pub(crate) vault: Vault,
    /// Takes reports.
    pub(crate) ingest: Arc<Ingest>,
    /// Looks where no agent does.
    pub(crate) agentless: Arc<Agentless>,
    /// How long what is kept counts.
    pub(crate) retention: Retention,
    /// What is counted.
    pub(crate) metrics: Arc<Metrics>,
    /// Tells others what changed.
    pub(crate) notify: Arc<Notify>,
}

/// How long what is kept counts.
#[expect(clippy::struct_field_names, reason = "as the configuration names them")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Retention {
    /// Days after which what was not seen any more is no longer in the inventory; -1: only what the latest report of each scope
    /// holds; 0: for ever.
    pub(crate) ttl_days: i64,
    /// Days for which history is kept; 0: for ever.
    pub(crate) history_days: i64,
    /// Days for which it is kept who did what; 0: for ever.
    pub(crate) audit_days: i64,
}

impl Default for Retention {
    fn default() -> Self {
        // 120 is Anchore's since Enterprise 3.0.1.
        Self { ttl_days: 120, history_days: 400, audit_days: 400 }
    }
}

impl App {
    /// The server over a database whose schema is up to date.
    pub(crate) fn new(database: Database, vault: Vault, retention: Retention, notify: NotifySettings) -> Self {
        let access = Arc::new(Access::new(database.clone()));
        let ingest = Arc::new(Ingest::new(database.clone()));
        let notify = Arc::new(Notify::new(ingest.written(), notify));
        Self { database, access, vault, ingest, agentless: Arc::default(), retention, metrics: Arc::default(), notify }
    }
}

#[cfg(test)]
use crate::{config::AgentlessSettings, secrets::KeySource, testing::KEY};

#[cfg(test)]
impl App {
    /// The same, with what is so where nothing is said; but clusters that tests make up are on this machine.
    pub(crate) fn usual(database: Database, retention: Retention) -> Self {
        let vault = Vault::new(KeySource::Environment(KEY.into()));
        let agentless = Arc::new(Agentless::new(AgentlessSettings::of_tests()));
        Self { agentless, ..Self::new(database, vault, retention, NotifySettings::default()) }
    }
}
