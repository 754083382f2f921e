//! Channels as the database keeps them: with their URLs and secrets, which no answer and no log has.

use secrecy::{ExposeSecret as _, SecretString};

/// How what follows is sealed. 0: not at all, so that what is written now can be told from what a later version encrypts.
const PLAIN: u8 = 0;

/// What was kept cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("what is kept of the channel cannot be read: it was written by a later version, or altered")]
pub(crate) struct Unreadable;

/// A text as it is kept.
pub(crate) fn seal(text: &SecretString) -> Vec<u8> {
    [&[PLAIN], text.expose_secret().as_bytes()].concat()
}

/// The text again.
pub(crate) fn open(sealed: &[u8]) -> Result<SecretString, Unreadable> {
    match sealed.split_first() {
        Some((&PLAIN, text)) => Ok(str::from_utf8(text).map_err(|_| Unreadable)?.into()),
        _ => Err(Unreadable),
    }
}
