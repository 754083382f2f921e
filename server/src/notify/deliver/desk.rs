//! Whose mail an event is: one pass over what is new, however many have subscribed.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Semaphore;

use super::mailbox::{Item, Mailbox};
use crate::notify::{
    log::{Entry, Part},
    on::Key,
};

/// How far back an account's log is looked at once for all, at the start. Whoever has taken less than that reads it alone.
const TOGETHER: i64 = 1000;

/// How many attempts are made at a time for one account.
const ATTEMPTS: usize = 32;

/// The mailboxes of an account.
pub(super) struct Desk {
    pub(super) account_id: i64,
    /// Places for attempts: no account has all that there are of everybody.
    pub(super) places: Semaphore,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Number up to which the log was looked at.
    position: i64,
    /// By subscription.
    mailboxes: BTreeMap<i64, Arc<Mailbox>>,
    /// Subscriptions that may want an event, by what events have.
    index: HashMap<Key, Vec<i64>>,
    /// Whether anything was looked at yet.
    is_begun: bool,
}

impl Desk {
    pub(super) fn new(account_id: i64) -> Self {
        Self { account_id, places: Semaphore::new(ATTEMPTS), state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Number up to which the log was looked at.
    pub(super) fn position(&self) -> i64 {
        self.state().position
    }

    pub(super) fn mailboxes(&self) -> Vec<Arc<Mailbox>> {
        self.state().mailboxes.values().cloned().collect()
    }

    /// Has these from now on. `latest` is the number of the account's latest event.
    pub(super) fn set(&self, mailboxes: BTreeMap<i64, Arc<Mailbox>>, latest: i64) {
        let mut state = self.state();
        if !std::mem::replace(&mut state.is_begun, true) {
            let least = mailboxes.values().map(|mailbox| mailbox.queue().taken).min();
            state.position = least.unwrap_or(latest).clamp((latest - TOGETHER).max(0), latest);
        }
        let position = state.position;
        state.index.clear();
        for (id, mailbox) in &mailboxes {
            state.index.entry(mailbox.wanted.key()).or_default().push(*id);
            let mut queue = mailbox.queue();
            if queue.behind.is_some_and(|behind| behind >= position) {
                queue.behind = None;
            }
        }
        state.mailboxes = mailboxes;
    }

    /// Puts a part of the log into the mailboxes that it is for, and returns those in which something is new.
    pub(super) fn sort(&self, part: &Part) -> Vec<Arc<Mailbox>> {
        let mut state = self.state();
        let mut found = BTreeMap::new();
        for entry in &part.entries {
            match entry {
                Entry::Event(told) => {
                    let ids = told.facets.keys().filter_map(|key| state.index.get(&key)).flatten();
                    for mailbox in ids.filter_map(|id| state.mailboxes.get(id)) {
                        if mailbox.wanted.is_met(&told.facets) && mailbox.queue().push(Item::Event(told.change.id)) {
                            found.insert(mailbox.id, Arc::clone(mailbox));
                        }
                    }
                }
                // Nobody knows whose they were.
                Entry::Removed { first, last } => {
                    for mailbox in state.mailboxes.values() {
                        if mailbox.queue().push(Item::Removed { first: *first, last: *last }) {
                            found.insert(mailbox.id, Arc::clone(mailbox));
                        }
                    }
                }
            }
        }
        state.position = part.until;
        found.into_values().collect()
    }

    /// Gives a mailbox what was read of the log for it alone.
    pub(super) fn refill(&self, mailbox: &Mailbox, part: &Part) {
        let state = self.state();
        let items = part.entries.iter().filter_map(|entry| match entry {
            Entry::Event(told) if mailbox.wanted.is_met(&told.facets) => Some(Item::Event(told.change.id)),
            Entry::Event(_) => None,
            Entry::Removed { first, last } => Some(Item::Removed { first: *first, last: *last }),
        });
        // Nothing is put into it in the meantime.
        mailbox.queue().refill(items, part.until, part.until >= state.position);
    }

    /// Moves those on for whom nothing waits: what they did not want is not looked at again.
    pub(super) fn pass(&self) {
        let state = self.state();
        for mailbox in state.mailboxes.values() {
            let mut queue = mailbox.queue();
            if queue.is_empty() && !queue.is_running {
                queue.pass(state.position);
            }
        }
    }
}
