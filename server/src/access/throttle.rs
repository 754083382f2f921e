//! Slows down who guesses.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::recent::drop_oldest;

/// How often one may err in a user's name before one waits. An address may be that of a proxy, with many behind it.
const NAME_TRIES: u32 = 5;
const ADDRESS_TRIES: u32 = 20;
/// How long one waits at most.
const LONGEST: Duration = Duration::from_mins(5);
/// After how long without another failure all is forgotten.
const MEMORY: Duration = Duration::from_mins(15);
/// How many names and addresses are remembered.
const CAPACITY: usize = 10_000;

/// Counts failures by user name and by client address.
pub(super) struct Throttle {
    failures: Mutex<HashMap<u64, (Instant, u32)>>,
    hasher: RandomState,
}

impl Throttle {
    pub(super) fn new() -> Self {
        Self { failures: Mutex::default(), hasher: RandomState::new() }
    }

    /// How long to wait, if it is too early.
    pub(super) fn wait(&self, name: Option<&str>, address: Option<IpAddr>, now: Instant) -> Option<Duration> {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        self.keys(name, address)
            .filter_map(|(key, tries)| {
                let (at, count) = failures.get(&key)?;
                let since = now.duration_since(*at);
                (since < MEMORY).then_some(pause(*count, tries).saturating_sub(since))
            })
            .max()
            .filter(|wait| !wait.is_zero())
    }

    pub(super) fn failed(&self, name: Option<&str>, address: Option<IpAddr>, now: Instant) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, _) in self.keys(name, address) {
            if failures.len() >= CAPACITY && !failures.contains_key(&key) {
                failures.retain(|_, (at, _)| now.duration_since(*at) < MEMORY);
                drop_oldest(&mut failures, CAPACITY * 3 / 4);
            }
            let (at, count) = failures.entry(key).or_insert((now, 0));
            if now.duration_since(*at) >= MEMORY {
                *count = 0;
            }
            (*at, *count) = (now, count.saturating_add(1));
        }
    }

    /// Somebody has shown to be who they say. Their address is not forgiven: it may be a guesser's with a password of their own.
    pub(super) fn succeeded(&self, name: &str) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, _) in self.keys(Some(name), None) {
            failures.remove(&key);
        }
    }

    /// Hashed, so that long names take no more memory than short ones.
    fn keys(&self, name: Option<&str>, address: Option<IpAddr>) -> impl Iterator<Item = (u64, u32)> + use<> {
        let name = name.map(|name| (self.hasher.hash_one(("name", name)), NAME_TRIES));
        let address = address.map(|address| (self.hasher.hash_one(("address", network(address))), ADDRESS_TRIES));
        name.into_iter().chain(address)
    }
}

/// Doubles with each failure past those that are free.
fn pause(count: u32, tries: u32) -> Duration {
    match count.checked_sub(tries) {
        Some(more) => Duration::from_secs(1 << more.min(9)).min(LONGEST),
        None => Duration::ZERO,
    }
}

/// Whoever has an IPv6 address has all of its /64.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() & !u128::from(u64::MAX)).into()),
        IpAddr::V4(address) => IpAddr::V4(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_fails_again_and_again_waits_longer_each_time() {
        let (throttle, mut now) = (Throttle::new(), Instant::now());
        for _ in 0..4 {
            throttle.failed(Some("eve"), None, now);
        }
        assert_eq!(throttle.wait(Some("eve"), None, now), None);
        let mut waits = Vec::new();
        for _ in 0..12 {
            throttle.failed(Some("eve"), None, now);
            let wait = throttle.wait(Some("eve"), None, now).unwrap();
            assert_eq!(throttle.wait(Some("eve"), None, now + wait), None);
            waits.push(wait.as_secs());
            now += wait;
        }
        assert_eq!(waits[..10], [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]);
        assert_eq!(throttle.wait(Some("bob"), None, now), None);
        throttle.succeeded("eve");
        assert_eq!(throttle.wait(Some("eve"), None, now), None);
    }

    #[test]
    fn an_address_waits_whatever_names_it_tries() {
        let (throttle, now) = (Throttle::new(), Instant::now());
        let address = |text: &str| Some(text.parse().unwrap());
        for number in 0..20 {
            throttle.failed(Some(&number.to_string()), address(&format!("2001:db8::{number}")), now);
        }
        assert!(throttle.wait(Some("other"), address("2001:db8::ffff"), now).is_some());
        assert_eq!(throttle.wait(Some("other"), address("2001:db8:0:1::1"), now), None);
        assert_eq!(throttle.wait(Some("other"), address("2001:db8::1"), now + MEMORY), None);
    }

    #[test]
    fn names_by_the_million_take_no_more_memory_than_some() {
        let (throttle, now) = (Throttle::new(), Instant::now());
        for number in 0..3 * CAPACITY {
            throttle.failed(Some(&number.to_string()), None, now);
        }
        assert!(throttle.failures.lock().unwrap().len() <= CAPACITY);
    }
}
