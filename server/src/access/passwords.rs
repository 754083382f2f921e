//! Passwords: hashed so that guessing is dear, and remembered for a while so that asking is not.

use std::{sync::Arc, thread::available_parallelism, time::Duration};

use argon2::{
    Argon2,
    password_hash::{PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash},
};
use ring::{hmac, rand::SystemRandom};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
    time::timeout,
};

use super::{AccessError, credentials::random, recent::Recent};

/// What is checked where there is no such user: it takes as long, and nothing matches it.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$c3RvY2t0YWtlLW5vYm9keQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// How long a password that was right is remembered.
const MEMORY: Duration = Duration::from_mins(3);
/// How long a check waits for its turn.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a name with a password is remembered by: of use only to the process that made it.
pub(super) type PasswordKey = [u8; 32];

/// Hashes and checks passwords.
pub(super) struct Passwords {
    /// None if the system had no randomness to make it of.
    key: Option<hmac::Key>,
    /// One takes 19 MiB and a core for some hundredths of a second.
    turns: Arc<Semaphore>,
    /// The revision that a user had when the password was right.
    right: Recent<PasswordKey, i64>,
}

/// The right to take up a core.
pub(super) struct Turn(OwnedSemaphorePermit);

impl Passwords {
    pub(super) fn new() -> Self {
        let turns = available_parallelism().map_or(1, usize::from);
        Self {
            key: hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).ok(),
            turns: Arc::new(Semaphore::new(turns)),
            right: Recent::new(10_000, MEMORY),
        }
    }

    pub(super) fn key(&self, name: &str, password: &SecretString) -> Result<PasswordKey, AccessError> {
        let mut context = hmac::Context::with_key(self.key.as_ref().ok_or(AccessError::Random)?);
        context.update(name.as_bytes());
        // No name holds one: it came from in front of a colon.
        context.update(b":");
        context.update(password.expose_secret().as_bytes());
        context.sign().as_ref().try_into().map_err(|_| AccessError::Random)
    }

    /// The user's revision with which the password was right a short while ago.
    pub(super) fn right(&self, key: &PasswordKey) -> Option<i64> {
        self.right.get(key)
    }

    pub(super) fn remember(&self, key: PasswordKey, revision: i64) {
        self.right.put(self.right.generation(), key, revision);
    }

    pub(super) async fn turn(&self) -> Result<Turn, AccessError> {
        match timeout(PATIENCE, Arc::clone(&self.turns).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Turn(permit)),
            _ => Err(AccessError::Busy),
        }
    }

    /// Whether a password is that of a hash. Without a hash it is not, which takes as long.
    pub(super) async fn check(
        &self,
        turn: Turn,
        password: SecretString,
        hash: Option<String>,
    ) -> Result<bool, AccessError> {
        blocking(turn, move || {
            let hash = PasswordHash::new(hash.as_deref().unwrap_or(NOBODY)).map_err(|_| AccessError::Hash)?;
            Ok(Argon2::default().verify_password(password.expose_secret().as_bytes(), &hash).is_ok())
        })
        .await
    }

    /// A password's hash, as a PHC string.
    pub(super) async fn hash(&self, password: SecretString) -> Result<String, AccessError> {
        let salt: [u8; 16] = random()?;
        blocking(self.turn().await?, move || {
            let hash = Argon2::default().hash_password_with_salt(password.expose_secret().as_bytes(), &salt);
            Ok(hash.map_err(|_| AccessError::Hash)?.to_string())
        })
        .await
    }
}

/// The turn ends with the work, not with who waits for it: they may hang up.
async fn blocking<T: Send + 'static>(
    turn: Turn,
    work: impl FnOnce() -> Result<T, AccessError> + Send + 'static,
) -> Result<T, AccessError> {
    let work = spawn_blocking(move || {
        let done = work();
        drop(turn.0);
        done
    });
    work.await.unwrap_or(Err(AccessError::Hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_that_of_its_hash_alone() {
        let passwords = Passwords::new();
        let hash = passwords.hash("correct horse".into()).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        for (password, right) in [("correct horse", true), ("correct horsf", false), ("", false)] {
            let turn = passwords.turn().await.unwrap();
            assert_eq!(passwords.check(turn, password.into(), Some(hash.clone())).await.unwrap(), right);
        }
        assert_ne!(hash, passwords.hash("correct horse".into()).await.unwrap());
    }

    #[tokio::test]
    async fn nobody_has_a_password_that_costs_as_much() {
        let passwords = Passwords::new();
        let hash = passwords.hash("correct horse".into()).await.unwrap();
        let cost = |hash: &str| hash.split('$').take(4).collect::<Vec<_>>().join("$");
        assert_eq!(cost(NOBODY), cost(&hash));
        let turn = passwords.turn().await.unwrap();
        assert!(!passwords.check(turn, "correct horse".into(), None).await.unwrap());
    }
}
