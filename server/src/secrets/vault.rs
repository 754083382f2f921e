//! Secrets as the database has them: AES-256-GCM, bound to what they are for. Moved to another row or table, or kept while the row is made to
//! lead elsewhere, none can be opened.

use axum::http::StatusCode;
use ring::{
    aead::{Aad, NONCE_LEN, Nonce},
    rand::{SecureRandom as _, SystemRandom},
};
use secrecy::{ExposeSecret as _, SecretString};

use super::{
    Shelf,
    keys::{KeyError, KeySource, Keys},
};
use crate::http::Problem;

/// What a secret is bound to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bound<'a> {
    pub(crate) shelf: &'static Shelf,
    pub(crate) account: i64,
    pub(crate) id: i64,
    /// Where it is sent, as the row has it; nothing if that is part of the secret.
    pub(crate) destination: &'a str,
}

/// A secret that nobody can read without the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sealed {
    /// Which key.
    pub(crate) key_id: String,
    /// The nonce, and what was encrypted with its tag.
    pub(crate) bytes: Vec<u8>,
}

/// Why a secret cannot be kept or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VaultError {
    /// There are no keys.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// Another key has encrypted it.
    #[error(
        "the secret is encrypted with the key {0}, which the server does not have: give it that key (`key_file` of `[secrets]`, or STOCKTAKE_SECRET_KEY), or store the secret again"
    )]
    UnknownKey(String),
    /// It is not what was encrypted, or not of this row.
    #[error("the stored secret is not what was encrypted here: store it again")]
    Altered,
    /// The system gives none.
    #[error("the system has no random numbers to give")]
    Random,
}

impl Bound<'_> {
    /// No two have the same: words end with a zero, numbers have a fixed length, and the rest stands last.
    fn aad(self) -> Vec<u8> {
        let (account, id) = (self.account.to_be_bytes(), self.id.to_be_bytes());
        let of = self.shelf.of.as_bytes();
        [b"stocktake-secret-1\0".as_slice(), of, b"\0", &account, &id, self.destination.as_bytes()].concat()
    }
}

/// Encrypts and decrypts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Vault {
    source: KeySource,
}

impl Vault {
    pub(crate) fn new(source: KeySource) -> Self {
        Self { source }
    }

    /// Whether there are keys at all.
    pub(crate) fn is_locked(&self) -> bool {
        self.source.is_none()
    }

    /// Names of the keys as they are now: none if there are none.
    pub(crate) fn ids(&self) -> Result<Vec<String>, KeyError> {
        if self.is_locked() { Ok(Vec::new()) } else { Ok(self.keys()?.ids()) }
    }

    /// The keys as they are now.
    pub(crate) fn keys(&self) -> Result<Keys, KeyError> {
        self.source.keys()
    }

    pub(crate) fn seal(&self, bound: Bound<'_>, secret: &SecretString) -> Result<Sealed, VaultError> {
        seal(&self.keys()?, bound, secret)
    }

    pub(crate) fn open(&self, bound: Bound<'_>, sealed: &Sealed) -> Result<SecretString, VaultError> {
        open(&self.keys()?, bound, sealed)
    }
}

impl From<VaultError> for Problem {
    fn from(error: VaultError) -> Self {
        match error {
            VaultError::Keys(KeyError::None) | VaultError::UnknownKey(_) | VaultError::Altered => {
                Self::new(StatusCode::CONFLICT, error.to_string())
            }
            VaultError::Keys(_) | VaultError::Random => {
                tracing::error!(%error, "a secret could not be encrypted or decrypted");
                let title = "the server cannot use its keys; its log says why";
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, title)
            }
        }
    }
}

/// Why with these keys something that is sealed cannot be opened, as far as that is known without opening it.
pub(crate) fn obstacle(keys: &Result<Keys, KeyError>, sealed: &Sealed) -> Option<String> {
    match keys {
        Ok(keys) if keys.find(&sealed.key_id).is_some() => None,
        Ok(_) => Some(VaultError::UnknownKey(sealed.key_id.clone()).to_string()),
        Err(error) => Some(error.to_string()),
    }
}

/// Encrypts with the first key.
pub(crate) fn seal(keys: &Keys, bound: Bound<'_>, secret: &SecretString) -> Result<Sealed, VaultError> {
    let mut nonce = [0; NONCE_LEN];
    SystemRandom::new().fill(&mut nonce).map_err(|_| VaultError::Random)?;
    let mut text = secret.expose_secret().as_bytes().to_vec();
    let key = &keys.first;
    key.key
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(bound.aad()), &mut text)
        .map_err(|_| VaultError::Altered)?;
    Ok(Sealed { key_id: key.id.clone(), bytes: [nonce.as_slice(), &text].concat() })
}

/// Decrypts with the key that it was encrypted with.
pub(crate) fn open(keys: &Keys, bound: Bound<'_>, sealed: &Sealed) -> Result<SecretString, VaultError> {
    let key = keys.find(&sealed.key_id).ok_or_else(|| VaultError::UnknownKey(sealed.key_id.clone()))?;
    let (nonce, text) = sealed.bytes.split_first_chunk::<NONCE_LEN>().ok_or(VaultError::Altered)?;
    let mut text = text.to_vec();
    let nonce = Nonce::assume_unique_for_key(*nonce);
    let opened = key.key.open_in_place(nonce, Aad::from(bound.aad()), &mut text).map_err(|_| VaultError::Altered)?;
    std::str::from_utf8(opened).map(SecretString::from).map_err(|_| VaultError::Altered)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHELF: Shelf = Shelf { of: "jar", table: "jar", sealed: "sealed", destination: "''" };
    const OTHER: Shelf = Shelf { of: "box", ..SHELF };
    const BOUND: Bound<'static> = Bound { shelf: &SHELF, account: 1, id: 2, destination: "https://a" };

    fn vault(keys: &[&str]) -> Vault {
        let keys: Vec<String> = keys.iter().map(|digit| digit.repeat(64)).collect();
        Vault::new(KeySource::Environment(keys.join(" ").into()))
    }

    #[test]
    fn what_is_sealed_is_opened_for_what_it_was_sealed_for_and_for_nothing_else() {
        let vault = vault(&["a"]);
        let secret = SecretString::from("hunter2");
        let sealed = vault.seal(BOUND, &secret).unwrap();
        assert!(!sealed.bytes.windows(7).any(|window| window == b"hunter2"));
        assert_eq!(vault.open(BOUND, &sealed).unwrap().expose_secret(), "hunter2");
        assert_ne!(vault.seal(BOUND, &secret).unwrap().bytes, sealed.bytes, "no nonce is used twice");
        for other in [
            Bound { account: 2, ..BOUND },
            Bound { id: 1, ..BOUND },
            Bound { shelf: &OTHER, ..BOUND },
            Bound { destination: "https://b", ..BOUND },
            Bound { destination: "", ..BOUND },
        ] {
            assert!(matches!(vault.open(other, &sealed), Err(VaultError::Altered)), "{other:?}");
        }
        for position in 0..sealed.bytes.len() {
            let mut altered = sealed.clone();
            altered.bytes[position] ^= 1;
            assert!(matches!(vault.open(BOUND, &altered), Err(VaultError::Altered)), "{position}");
        }
        let cut = Sealed { bytes: sealed.bytes[..5].to_vec(), ..sealed };
        assert!(matches!(vault.open(BOUND, &cut), Err(VaultError::Altered)));
    }

    #[test]
    fn each_key_opens_what_it_has_sealed_and_the_first_seals() {
        let (old, both, new) = (vault(&["a"]), vault(&["b", "a"]), vault(&["b"]));
        let secret = SecretString::from("hunter2");
        let sealed = old.seal(BOUND, &secret).unwrap();
        assert!(both.open(BOUND, &sealed).is_ok());
        let error = new.open(BOUND, &sealed).unwrap_err().to_string();
        assert!(error.contains(&sealed.key_id) && !error.contains("hunter2"), "{error}");
        let again = both.seal(BOUND, &secret).unwrap();
        assert!(new.open(BOUND, &again).is_ok());
    }

    #[test]
    fn without_a_key_it_says_how_to_get_one() {
        let error = Vault::default().seal(BOUND, &"x".into()).unwrap_err().to_string();
        assert!(error.contains("openssl rand") && error.contains("key_file"), "{error}");
    }

    #[test]
    fn a_file_is_read_whenever_it_is_needed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        std::fs::write(&path, "a".repeat(64)).unwrap();
        let vault = Vault::new(KeySource::File(path.clone()));
        let sealed = vault.seal(BOUND, &"hunter2".into()).unwrap();
        std::fs::write(&path, format!("{}\n{}\n", "b".repeat(64), "a".repeat(64))).unwrap();
        assert!(vault.open(BOUND, &sealed).is_ok());
        assert_ne!(vault.seal(BOUND, &"hunter2".into()).unwrap().key_id, sealed.key_id);
    }
}
