//! Durations as a person writes them: `30s`, `2m 30s`.

use std::{fmt, time::Duration};

use jiff::SignedDuration;
use serde::{Deserializer, de};

/// A duration that is longer than nothing.
pub(crate) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    struct Visitor;
    impl de::Visitor<'_> for Visitor {
        type Value = Duration;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a duration like `30s` or `2m 30s`")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Duration, E> {
            let parsed: SignedDuration =
                text.parse().map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))?;
            match Duration::try_from(parsed) {
                Ok(duration) if !duration.is_zero() => Ok(duration),
                _ => Err(E::custom(format!("`{text}` is not longer than nothing"))),
            }
        }
    }
    deserializer.deserialize_str(Visitor)
}

/// The same, where the key may be left out.
pub(crate) fn optional_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    duration(deserializer).map(Some)
}

/// A duration of a second or more: what is done more often is a load and no interval.
pub(crate) fn interval<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let duration = duration(deserializer)?;
    if duration < Duration::from_secs(1) {
        return Err(de::Error::custom("it is less than a second"));
    }
    Ok(duration)
}

/// The same, where the key may be left out.
pub(crate) fn optional_interval<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    interval(deserializer).map(Some)
}
