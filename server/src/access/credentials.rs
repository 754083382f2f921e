//! What clients say who they are by.

use axum::http::{HeaderMap, header::AUTHORIZATION};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use ring::rand::{SecureRandom as _, SystemRandom};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};

use super::AccessError;
use crate::http::Problem;

/// What a token's text begins with.
const PREFIX: &str = "stk_";

/// The user that agents of Anchore name when the password is a token.
pub(super) const API_KEY: &str = "_api_key";

/// SHA-256 of a token's 32 bytes.
pub(super) type TokenHash = [u8; 32];

/// What a request came with.
#[derive(Debug)]
pub(super) enum Credentials {
    /// A token, and the name that it has to have where one was said.
    Token { hash: TokenHash, name: Option<String> },
    /// A user's name and password.
    Password { name: String, password: SecretString },
}

impl Credentials {
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let value = headers.get(AUTHORIZATION).ok_or_else(|| {
            Problem::unauthorized("no credentials: log in with a user's name and password, or with a token")
        })?;
        value.to_str().ok().and_then(Self::parse).ok_or_else(|| {
            Problem::unauthorized(
                "these credentials cannot be read: expected `Basic` with name and password, or `Bearer` with a token",
            )
        })
    }

    fn parse(value: &str) -> Option<Self> {
        let (scheme, rest) = value.split_once(' ')?;
        if scheme.eq_ignore_ascii_case("bearer") {
            return Some(Self::Token { hash: token_hash(rest.trim())?, name: None });
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let text = String::from_utf8(STANDARD.decode(rest.trim()).ok()?).ok()?;
        let (name, password) = text.split_once(':')?;
        let name = name.to_owned();
        Some(match token_hash(password) {
            Some(hash) => Self::Token { hash, name: Some(name).filter(|name| name != API_KEY) },
            None => Self::Password { name, password: password.into() },
        })
    }
}

/// The hash of a token, if the text is one by its shape.
pub(super) fn token_hash(text: &str) -> Option<TokenHash> {
    let secret = URL_SAFE_NO_PAD.decode(text.strip_prefix(PREFIX)?).ok().filter(|secret| secret.len() == 32)?;
    Some(Sha256::digest(secret).into())
}

/// A new token.
pub(super) fn new_token() -> Result<(SecretString, TokenHash), AccessError> {
    let secret: [u8; 32] = random()?;
    Ok((format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(secret)).into(), Sha256::digest(secret).into()))
}

/// A password that nobody has chosen.
pub(super) fn new_password() -> Result<SecretString, AccessError> {
    Ok(URL_SAFE_NO_PAD.encode(random::<18>()?).into())
}

pub(super) fn random<const N: usize>() -> Result<[u8; N], AccessError> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| AccessError::Random)?;
    Ok(bytes)
}

/// Whether a password may be one.
pub(super) fn check_password(password: &SecretString) -> Result<(), AccessError> {
    let password = password.expose_secret();
    if !(8..=1024).contains(&password.chars().count()) {
        return Err(AccessError::Password("has to have 8 to 1024 characters"));
    }
    if token_hash(password).is_some() {
        return Err(AccessError::Password("must not look like a token"));
    }
    Ok(())
}

/// Whether an account, user or token may be named so: what needs no quoting in a header, a path, or a shell.
pub(super) fn check_name(what: &'static str, name: &str) -> Result<(), AccessError> {
    let first = name.starts_with(|first: char| first.is_ascii_alphanumeric());
    let rest = name.chars().all(|c| c.is_ascii_alphanumeric() || "._-@+".contains(c));
    if first && rest && name.len() <= 100 {
        return Ok(());
    }
    Err(AccessError::Name { what, name: name.chars().take(100).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basic(text: &str) -> Option<Credentials> {
        Credentials::parse(&format!("Basic {}", STANDARD.encode(text)))
    }

    #[test]
    fn passwords_are_as_long_as_they_have_characters() {
        for (password, is_fine) in
            [("seven 7", false), ("eight  8", true), ("\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}", false)]
        {
            assert_eq!(check_password(&password.into()).is_ok(), is_fine, "{password}");
        }
        assert!(check_password(&"\u{e9}".repeat(1024).into()).is_ok());
        assert!(check_password(&"e".repeat(1025).into()).is_err());
    }

    #[test]
    fn tokens_come_as_bearers_and_as_passwords() {
        let (secret, hash) = new_token().unwrap();
        let secret = secret.expose_secret();
        let token = |credentials| match credentials {
            Some(Credentials::Token { hash: is, name }) if is == hash => Some(name),
            _ => None,
        };
        assert_eq!(token(Credentials::parse(&format!("Bearer {secret}"))), Some(None));
        assert_eq!(token(Credentials::parse(&format!("bearer {secret}"))), Some(None));
        assert_eq!(token(basic(&format!("_api_key:{secret}"))), Some(None));
        assert_eq!(token(basic(&format!("agent-1:{secret}"))), Some(Some("agent-1".to_owned())));
        assert!(check_password(&secret.into()).is_err());
    }

    #[test]
    fn what_is_no_credential_is_none() {
        for text in ["", "Basic", "Basic !", "Bearer stk_", "Bearer abc", "Digest x", "Basic bm9jb2xvbg=="] {
            assert!(Credentials::parse(text).is_none(), "{text}");
        }
        assert!(matches!(basic("a:b:c"), Some(Credentials::Password { name, password })
            if name == "a" && password.expose_secret() == "b:c"));
    }

    #[test]
    fn passwords_are_not_shown() {
        let shown = format!("{:?}", basic("eve:correct horse"));
        assert!(shown.contains("eve") && !shown.contains("horse"), "{shown}");
    }

    #[test]
    fn names_need_no_quoting() {
        for name in ["a", "web-1", "jane.doe+x@example.org", "0"] {
            check_name("user", name).unwrap();
        }
        for name in ["", "-a", "_api_key", "a b", "a:b", "a/b", "\u{e9}", &"a".repeat(101)] {
            check_name("user", name).unwrap_err();
        }
    }
}
