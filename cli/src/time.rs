//! Times as people say and read them.

use jiff::{Span, SpanRelativeTo, Timestamp};

/// Reads a time (RFC 3339), or how long ago it was (`90m`, `24h`, `7d`; a day has 24 hours).
pub(crate) fn moment(text: &str) -> Result<Timestamp, String> {
    moment_at(text, Timestamp::now())
}

fn moment_at(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let ago = text
        .parse::<Span>()
        .ok()
        .filter(|span| !span.is_negative())
        .and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()).ok())
        .and_then(|duration| now.checked_sub(duration).ok());
    ago.ok_or_else(|| {
        "expected a time such as `2026-05-04T10:00:00Z`, or how long ago, such as `24h` or `7d`".to_owned()
    })
}

/// A time of the server's, to the second.
pub(crate) fn to_the_second(text: &str) -> String {
    text.parse::<Timestamp>().map_or_else(|_| text.to_owned(), |time| format!("{time:.0}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_time_or_how_long_ago() {
        let now = "2026-05-04T10:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("2026-05-01T12:00:00+02:00", "2026-05-01T10:00:00Z"),
            ("90m", "2026-05-04T08:30:00Z"),
            ("24h", "2026-05-03T10:00:00Z"),
            ("7d", "2026-04-27T10:00:00Z"),
            ("2 weeks", "2026-04-20T10:00:00Z"),
        ] {
            assert_eq!(moment_at(text, now).unwrap().to_string(), expected, "{text}");
        }
        for text in ["", "yesterday", "-3h", "1 month", "24"] {
            assert!(moment_at(text, now).is_err(), "{text}");
        }
    }

    #[test]
    fn times_are_shown_to_the_second() {
        assert_eq!(to_the_second("2026-05-04T10:00:00.123Z"), "2026-05-04T10:00:00Z");
        assert_eq!(to_the_second("soon"), "soon");
    }
}
