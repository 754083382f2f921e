//! The keys that secrets are encrypted with: where they come from, and which is which.

use std::{fmt, fs, path::PathBuf};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::aead::{AES_256_GCM, LessSafeKey, UnboundKey};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};

/// Bytes of a key.
const LENGTH: usize = 32;

/// Why there are no keys to use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    /// None was given to the server.
    #[error(
        "the server has no key to encrypt secrets with: make one with `openssl rand -base64 32`, and name its file as `key_file` of \
         `[agentless]`, or put it into the environment as STOCKTAKE_SECRET_KEY"
    )]
    None,
    /// The file cannot be read.
    #[error("cannot read the keys in {path}: {error}")]
    Unreadable {
        /// Which.
        path: String,
        /// Why.
        error: std::io::Error,
    },
    /// One is no key. It is not repeated: it may be one that was cut.
    #[error(
        "key {number} in {place} is no key: expected 32 bytes as base64 (44 characters) or hexadecimal (64), as `openssl rand -base64 32` prints them"
    )]
    Malformed {
        /// Where they stand.
        place: String,
        /// Which, from 1.
        number: usize,
    },
}

/// Where keys come from. A file is read whenever they are needed: one that was changed counts at once.
#[derive(Debug, Clone, Default)]
pub(crate) enum KeySource {
    #[default]
    None,
    File(PathBuf),
    Environment(SecretString),
}

/// One key.
pub(crate) struct Key {
    /// What is written beside what it has encrypted: the first eight bytes of its SHA-256, which say nothing of it.
    pub(crate) id: String,
    pub(crate) key: LessSafeKey,
}

/// All keys: the first encrypts, and each decrypts what it has encrypted.
#[derive(Debug)]
pub(crate) struct Keys {
    pub(crate) first: Key,
    rest: Vec<Key>,
}

impl KeySource {
    /// The file that the configuration names, or else what the environment holds.
    pub(crate) fn new(file: Option<PathBuf>) -> Self {
        let variable = || std::env::var("STOCKTAKE_SECRET_KEY").ok().filter(|keys| !keys.trim().is_empty());
        match file {
            Some(path) => Self::File(path),
            None => variable().map_or(Self::None, |keys| Self::Environment(keys.into())),
        }
    }

    /// Whether there is any.
    pub(crate) fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// The keys as they are now.
    pub(crate) fn keys(&self) -> Result<Keys, KeyError> {
        match self {
            Self::None => Err(KeyError::None),
            Self::Environment(keys) => Keys::parse("STOCKTAKE_SECRET_KEY", keys.expose_secret()),
            Self::File(path) => {
                let place = path.display().to_string();
                let text =
                    fs::read_to_string(path).map_err(|error| KeyError::Unreadable { path: place.clone(), error })?;
                Keys::parse(&place, SecretString::from(text).expose_secret())
            }
        }
    }
}

impl Keys {
    /// Keys with blanks, commas or line breaks between them. What stands behind `#` in a line is for people.
    fn parse(place: &str, text: &str) -> Result<Self, KeyError> {
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
        let words = lines.flat_map(|line| line.split([' ', '\t', ','])).filter(|word| !word.is_empty());
        let mut keys = Vec::new();
        for (position, word) in words.enumerate() {
            let malformed = || KeyError::Malformed { place: place.to_owned(), number: position + 1 };
            keys.push(Key::parse(word).ok_or_else(malformed)?);
        }
        let mut keys = keys.into_iter();
        let first = keys.next().ok_or_else(|| KeyError::Malformed { place: place.to_owned(), number: 1 })?;
        Ok(Self { first, rest: keys.collect() })
    }

    /// Their names.
    pub(crate) fn ids(&self) -> Vec<String> {
        std::iter::once(&self.first).chain(&self.rest).map(|key| key.id.clone()).collect()
    }

    /// The key of this name.
    pub(crate) fn find(&self, id: &str) -> Option<&Key> {
        std::iter::once(&self.first).chain(&self.rest).find(|key| key.id == id)
    }
}

impl Key {
    fn parse(word: &str) -> Option<Self> {
        let bytes = if word.len() == 2 * LENGTH { hexadecimal(word) } else { STANDARD.decode(word).ok() };
        let bytes = bytes.filter(|bytes| bytes.len() == LENGTH)?;
        let digest: [u8; LENGTH] = Sha256::digest(&bytes).into();
        let id = format!("{:016x}", u64::from_be_bytes(*digest.first_chunk()?));
        Some(Self { id, key: LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &bytes).ok()?) })
    }
}

fn hexadecimal(word: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    word.as_bytes().chunks(2).map(|pair| Some(digit(pair[0])? << 4 | digit(*pair.get(1)?)?)).collect()
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    #[test]
    fn a_key_is_base64_or_hexadecimal_and_the_same_key() {
        let base64 = STANDARD.encode((0..32).collect::<Vec<u8>>());
        let [one, other] = [HEX, &base64].map(|text| Keys::parse("x", text).unwrap().first.id);
        assert_eq!((one.as_str(), one.len()), (other.as_str(), 16));
    }

    #[test]
    fn several_have_anything_between_them() {
        let [second, third] = ["f".repeat(64), "e".repeat(64)];
        let keys = Keys::parse("x", &format!("# newest first\n{HEX} # of May\n\n{second},\t{third}\n")).unwrap();
        assert_eq!(keys.rest.len(), 2);
        assert!(keys.find(&keys.first.id).is_some() && keys.find(&keys.rest[1].id).is_some());
        assert!(keys.find("0").is_none());
    }

    #[test]
    fn what_is_no_key_is_told_by_its_number_and_not_repeated() {
        let short = &HEX[..62];
        for (text, number) in [("", 1), ("# none", 1), (short, 1), (&format!("{HEX} {short}zz"), 2)] {
            let error = Keys::parse("the file", text).unwrap_err().to_string();
            assert!(error.starts_with(&format!("key {number} in the file is no key")), "{error}");
            assert!(!error.contains(&short[..8]), "{error}");
        }
    }

    #[test]
    fn a_key_is_not_shown() {
        let shown = format!("{:?} {:?}", Keys::parse("x", HEX).unwrap(), KeySource::Environment(HEX.into()));
        assert!(!shown.contains("0001020304") && !shown.contains("[0, 1, 2"), "{shown}");
    }
}
