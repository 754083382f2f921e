//! How many requests a client may make: a bucket of tokens for each address.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How many addresses are told apart. What comes from others shares one bucket.
const ADDRESSES: usize = 16_384;

/// How often to look for buckets that are full again, at the most.
const CLEANING: Duration = Duration::from_secs(1);

/// The bucket of all who are not told apart.
const OTHERS: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

/// Who has made how many requests.
#[derive(Debug)]
pub(super) struct Rate {
    per_second: f64,
    buckets: Mutex<Buckets>,
}

#[derive(Debug, Default)]
struct Buckets {
    of: HashMap<IpAddr, Bucket>,
    cleaned: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Bucket {
    fn filled(self, per_second: f64, now: Instant) -> f64 {
        let gained = now.saturating_duration_since(self.at).as_secs_f64() * per_second;
        (self.tokens + gained).min(2.0 * per_second)
    }
}

impl Rate {
    /// None if any number is allowed.
    pub(super) fn new(per_second: u32) -> Option<Self> {
        (per_second > 0).then(|| Self { per_second: f64::from(per_second), buckets: Mutex::default() })
    }

    /// Whether a request may be made now, or else in how long.
    pub(super) fn take(&self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let mut client = client(address);
        if buckets.of.len() >= ADDRESSES && !buckets.of.contains_key(&client) {
            buckets.clean(self.per_second, now);
            if buckets.of.len() >= ADDRESSES {
                client = OTHERS;
            }
        }
        let full = Bucket { tokens: 2.0 * self.per_second, at: now };
        let bucket = buckets.of.entry(client).or_insert(full);
        let tokens = bucket.filled(self.per_second, now);
        let allowed = tokens >= 1.0;
        *bucket = Bucket { tokens: if allowed { tokens - 1.0 } else { tokens }, at: now };
        if allowed { Ok(()) } else { Err(Duration::from_secs_f64((1.0 - tokens) / self.per_second)) }
    }
}

impl Buckets {
    fn clean(&mut self, per_second: f64, now: Instant) {
        if self.cleaned.is_some_and(|cleaned| now.saturating_duration_since(cleaned) < CLEANING) {
            return;
        }
        self.cleaned = Some(now);
        self.of.retain(|_, bucket| bucket.filled(per_second, now) < 2.0 * per_second);
    }
}

/// Who has an address of IPv6 has all of its /64.
fn client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_too_often_waits_and_others_do_not() {
        let (rate, now) = (Rate::new(2).unwrap(), Instant::now());
        let (one, other) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        for _ in 0..4 {
            assert_eq!(rate.take(one, now), Ok(()));
        }
        assert_eq!(rate.take(one, now), Err(Duration::from_millis(500)));
        assert_eq!(rate.take(other, now), Ok(()));
        assert_eq!(rate.take(one, now + Duration::from_millis(500)), Ok(()));
        assert!(rate.take(one, now + Duration::from_millis(500)).is_err());
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let (rate, now) = (Rate::new(1).unwrap(), Instant::now());
        for text in ["2001:db8::1", "2001:db8::2"] {
            assert_eq!(rate.take(text.parse().unwrap(), now), Ok(()));
        }
        assert!(rate.take("2001:db8::3".parse().unwrap(), now).is_err());
        assert_eq!(rate.take("2001:db8:0:1::1".parse().unwrap(), now), Ok(()));
    }

    #[test]
    fn any_number_of_addresses_takes_a_bounded_space() {
        let (rate, now) = (Rate::new(1).unwrap(), Instant::now());
        for number in 0..40_000_u32 {
            let _ = rate.take(IpAddr::V4(number.into()), now);
        }
        assert_eq!(rate.buckets.lock().unwrap().of.len(), ADDRESSES + 1);
        assert!(rate.take("198.51.100.1".parse().unwrap(), now).is_err(), "those who are not told apart share");
        assert_eq!(rate.take("198.51.100.1".parse().unwrap(), now + Duration::from_secs(5)), Ok(()));
        assert_eq!(rate.buckets.lock().unwrap().of.len(), 1, "full buckets are given up");
    }

    #[test]
    fn nothing_is_counted_without_a_limit() {
        assert!(Rate::new(0).is_none());
    }
}
