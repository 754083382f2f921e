//! Answers of a server that has too much to do: when to ask again.

use std::{
    hash::{BuildHasher as _, RandomState},
    time::{Duration, SystemTime},
};

use http::{HeaderMap, StatusCode, header::RETRY_AFTER};

/// How often one request is asked again.
const MAX_TIMES: u32 = 6;
/// The longest wait. A server that wants more is one to come back to at the next look.
const MAX_WAIT: Duration = Duration::from_secs(30);

/// How often a request was put off so far.
#[derive(Debug, Default)]
pub(crate) struct PutOff {
    times: u32,
}

impl PutOff {
    /// How long to wait before asking again, if the answer means that and it was not put off too often already.
    ///
    /// API priority and fairness answers 429 with `Retry-After` in seconds; a server that starts or ends answers 503 with
    /// it. 429 without it is taken for one more second each time, doubled.
    pub(crate) fn wait(&mut self, status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
        let wait = match (status, told(headers)) {
            (StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE, Some(wait)) => wait,
            (StatusCode::TOO_MANY_REQUESTS, None) => Duration::from_secs(1 << self.times),
            _ => return None,
        };
        self.times += 1;
        (self.times <= MAX_TIMES && wait <= MAX_WAIT).then(|| wait + jitter(wait.max(Duration::from_millis(500)) / 4))
    }
}

/// `Retry-After`: seconds, or a date (RFC 9110, 10.2.3), which proxies write.
fn told(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(SystemTime::now()).unwrap_or_default())
}

/// Up to `most`, so that all that were put off at once do not come back at once.
fn jitter(most: Duration) -> Duration {
    // The one source of chance in the standard library; nothing secret hangs on it.
    let chance = RandomState::new().hash_one(()) % 1000;
    most * u32::try_from(chance).unwrap_or_default() / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(retry_after: Option<&str>) -> HeaderMap {
        retry_after.into_iter().map(|value| (RETRY_AFTER, value.parse().unwrap())).collect()
    }

    #[test]
    fn a_wait_is_as_long_as_told_and_a_little_more() {
        let wait = |status, retry_after| PutOff::default().wait(status, &headers(retry_after));
        let told = wait(StatusCode::TOO_MANY_REQUESTS, Some("4")).unwrap();
        assert!((4000..=5000).contains(&told.as_millis()), "{told:?}");
        assert!(wait(StatusCode::TOO_MANY_REQUESTS, None).is_some());
        assert!(wait(StatusCode::SERVICE_UNAVAILABLE, Some("1")).is_some());
        let soon = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(9));
        let until = wait(StatusCode::SERVICE_UNAVAILABLE, Some(&soon)).unwrap();
        assert!((7000..=12_000).contains(&until.as_millis()), "{until:?}");
        assert_eq!(wait(StatusCode::SERVICE_UNAVAILABLE, None), None, "a proxy without a server behind it");
        assert_eq!(wait(StatusCode::TOO_MANY_REQUESTS, Some("3600")), None);
        assert_eq!(wait(StatusCode::FORBIDDEN, Some("1")), None);
    }

    #[test]
    fn a_request_is_not_put_off_for_ever() {
        let mut put_off = PutOff::default();
        let waits: Vec<_> =
            (0..10).map_while(|_| put_off.wait(StatusCode::TOO_MANY_REQUESTS, &headers(None))).collect();
        assert_eq!(waits.len(), 5, "the sixth wait would be longer than the longest");
    }
}
