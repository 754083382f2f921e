//! Places for streams of events, of which no account has all.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many streams there may be at a time, and how many of one account.
const ALL: usize = 2048;
const OF_ACCOUNT: usize = 512;

/// Gives places away.
pub(crate) struct Streams {
    all: Arc<Semaphore>,
    accounts: Mutex<BTreeMap<i64, Weak<Semaphore>>>,
}

/// A place, free again once this is gone.
pub(crate) struct Place {
    _own: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl Default for Streams {
    fn default() -> Self {
        Self { all: Arc::new(Semaphore::new(ALL)), accounts: Mutex::default() }
    }
}

impl Streams {
    /// A place for an account, if there is one.
    pub(crate) fn place(&self, account: i64) -> Option<Place> {
        let own = {
            let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
            accounts.retain(|_, own| own.strong_count() > 0);
            let known = accounts.get(&account).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                let own = Arc::new(Semaphore::new(OF_ACCOUNT));
                accounts.insert(account, Arc::downgrade(&own));
                own
            })
        };
        let of_all = Arc::clone(&self.all);
        Some(Place { _own: own.try_acquire_owned().ok()?, _of_all: of_all.try_acquire_owned().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_account_leaves_places_for_others() {
        let streams = Streams::default();
        let mut places: Vec<Place> = std::iter::from_fn(|| streams.place(1)).collect();
        assert_eq!(places.len(), OF_ACCOUNT);
        assert!(streams.place(2).is_some());
        places.pop();
        assert!(streams.place(1).is_some());
    }
}
