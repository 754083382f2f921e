//! Agentless mode: the server looks at clusters and hosts that it is given credentials for, with the agent's own collectors.
//!
//! `target` and `kubeconfig` say what is looked at, `store` has the rows, in which `secrets` encrypts the credentials. `schedule` finds out what
//! is due, `lease` sees to it that of all servers one looks, and `collect` looks and hands on what it saw as if an agent had sent it.
//! `managed` is what people change, whatever they call it: `api` in our words, `foreign` in Anchore's.

mod api;
mod collect;
mod kubeconfig;
mod lease;
mod managed;
mod networks;
mod schedule;
mod store;
mod target;
#[cfg(test)]
mod tests;
mod workers;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use stocktake_core::Environment;
use tokio::sync::{Notify, Semaphore};
use uuid::Uuid;

pub(crate) use self::{
    api::{body, routes},
    managed::{Change, Given, create, named, remove},
    networks::USUALLY_REFUSED,
    schedule::always,
    store::{SHELF, Source, list, states},
    target::{Cluster, CredentialType, Kubernetes, Names, OfCluster, Target},
};
use crate::{config::AgentlessSettings, memory::Memory};

/// Memory that reports of looks may take together while they are written. It is not that of agents' reports, and a larger report has all
/// of it for itself.
const MEMORY: u64 = 256 << 20;

/// How many unsaved sources are looked at at a time.
const TESTS: usize = 4;

/// What is needed to look. Not to be printed: a proxy's URL may have a password in it.
pub(crate) struct Agentless {
    settings: RwLock<Arc<AgentlessSettings>>,
    /// What collectors get to see of the process's environment: proxies.
    environment: Environment,
    /// This server among those over the same database.
    name: String,
    /// Something is due now.
    wake: Notify,
    memory: Memory,
    tests: Semaphore,
    /// Of each account's one at a time, so that others have theirs.
    tests_of: Mutex<BTreeMap<i64, Arc<Semaphore>>>,
    workers: workers::Workers,
}

impl Agentless {
    pub(crate) fn new(settings: AgentlessSettings) -> Self {
        Self {
            settings: RwLock::new(Arc::new(settings)),
            environment: proxies(),
            name: Uuid::new_v4().to_string(),
            wake: Notify::new(),
            memory: Memory::new(MEMORY),
            tests: Semaphore::new(TESTS),
            tests_of: Mutex::default(),
            workers: workers::Workers::default(),
        }
    }

    /// What counts for what begins now.
    fn settings(&self) -> Arc<AgentlessSettings> {
        Arc::clone(&self.settings.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Has other settings count from now on.
    pub(crate) fn set(&self, settings: AgentlessSettings) {
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
        self.wake.notify_one();
    }

    /// The turn of an account's tests among its own.
    fn tests_of(&self, account: i64) -> Arc<Semaphore> {
        let mut tests = self.tests_of.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(tests.entry(account).or_insert_with(|| Arc::new(Semaphore::new(1))))
    }
}

impl Default for Agentless {
    fn default() -> Self {
        Self::new(AgentlessSettings::default())
    }
}

/// The variables that name proxies, and nothing else.
fn proxies() -> Environment {
    let names = ["HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"];
    let set = names.into_iter().filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?)));
    Environment { variables: set.filter(|(_, value)| !value.is_empty()).collect(), ..Environment::default() }
}
