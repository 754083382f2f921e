//! Values of options, as they are written.

use std::time::Duration;

use jiff::SignedDuration;

/// Less than a second would be a load and no interval.
pub(super) fn interval(text: &str) -> Result<Duration, String> {
    let duration: SignedDuration = text.parse().map_err(|_| "a duration is written like `30s` or `2m 30s`")?;
    let duration = Duration::try_from(duration).unwrap_or_default();
    if duration >= Duration::from_secs(1) { Ok(duration) } else { Err("it is less than a second".to_owned()) }
}

/// A tag by the grammar of the OCI distribution specification.
pub(crate) fn tag(text: &str) -> Result<String, String> {
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let is_tag = text.len() <= 128
        && text.as_bytes().first().is_some_and(is_word)
        && text.as_bytes().iter().all(|byte| is_word(byte) || matches!(byte, b'.' | b'-'));
    if is_tag { Ok(text.to_owned()) } else { Err("a tag is letters, digits and `_`, within it `.` and `-` too".into()) }
}
