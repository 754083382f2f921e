//! What was found out a moment ago: bounded in number and in age.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Things by key. Past `capacity` the oldest quarter goes.
pub(super) struct Recent<K, V> {
    inner: Mutex<Inner<K, V>>,
    capacity: usize,
    age: Duration,
}

struct Inner<K, V> {
    entries: HashMap<K, (Instant, V)>,
    generation: u64,
}

impl<K: Eq + Hash + Clone, V: Clone> Recent<K, V> {
    pub(super) fn new(capacity: usize, age: Duration) -> Self {
        Self { inner: Mutex::new(Inner { entries: HashMap::new(), generation: 0 }), capacity, age }
    }

    pub(super) fn get(&self, key: &K) -> Option<V> {
        self.get_at(key, Instant::now())
    }

    /// To be asked for before what is put is found out.
    pub(super) fn generation(&self) -> u64 {
        self.inner().generation
    }

    /// Keeps it, unless all was forgotten since `generation`: it may have been found out before what made it void.
    pub(super) fn put(&self, generation: u64, key: K, value: V) {
        self.put_at(generation, key, value, Instant::now());
    }

    /// Forgets all.
    pub(super) fn clear(&self) {
        let mut inner = self.inner();
        inner.generation += 1;
        inner.entries.clear();
    }

    fn get_at(&self, key: &K, now: Instant) -> Option<V> {
        let inner = self.inner();
        let (at, value) = inner.entries.get(key)?;
        (now.duration_since(*at) < self.age).then(|| value.clone())
    }

    fn put_at(&self, generation: u64, key: K, value: V, now: Instant) {
        let mut inner = self.inner();
        if inner.generation != generation {
            return;
        }
        if inner.entries.len() >= self.capacity && !inner.entries.contains_key(&key) {
            let age = self.age;
            inner.entries.retain(|_, (at, _)| now.duration_since(*at) < age);
            drop_oldest(&mut inner.entries, self.capacity * 3 / 4);
        }
        inner.entries.insert(key, (now, value));
    }

    fn inner(&self) -> MutexGuard<'_, Inner<K, V>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps the `left` youngest at most. Many go at once, so that a full map does not look for the oldest with each that comes.
pub(super) fn drop_oldest<K: Eq + Hash + Clone, V>(entries: &mut HashMap<K, (Instant, V)>, left: usize) {
    if entries.len() <= left {
        return;
    }
    let mut by_age: Vec<(Instant, K)> = entries.iter().map(|(key, (at, _))| (*at, key.clone())).collect();
    by_age.sort_unstable_by_key(|(at, _)| *at);
    for (_, key) in &by_age[..by_age.len() - left] {
        entries.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_old_or_was_found_out_before_all_was_forgotten_is_not_known() {
        let (recent, now) = (Recent::new(8, Duration::from_secs(5)), Instant::now());
        recent.put_at(0, "a", 1, now);
        assert_eq!(recent.get_at(&"a", now + Duration::from_secs(4)), Some(1));
        assert_eq!(recent.get_at(&"a", now + Duration::from_secs(5)), None);
        let before = recent.generation();
        recent.clear();
        recent.put_at(before, "a", 2, now);
        assert_eq!(recent.get_at(&"a", now), None);
    }

    #[test]
    fn it_stays_small_and_keeps_the_youngest() {
        let (recent, now) = (Recent::new(100, Duration::from_hours(1)), Instant::now());
        for number in 0..1000 {
            recent.put_at(0, number, (), now + Duration::from_millis(number));
            assert!(recent.inner().entries.len() <= 100);
        }
        assert!(recent.get_at(&999, now).is_some() && recent.get_at(&0, now).is_none());
    }
}
