//! Passwords and tokens: where they are, and never what they are.

use std::path::PathBuf;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret as _, SecretString};
use stocktake_core::{ConfigError, Environment};

use super::files;
use crate::deliver::Failure;

/// Something that nobody may read in a log. `Debug` does not show it.
#[derive(Debug)]
pub(crate) struct Secret(Source);

#[derive(Debug)]
enum Source {
    Inline(SecretString),
    /// It is read whenever it is used, so that a new one is used as soon as it is there; with the key that names it.
    File(String, PathBuf),
}

impl Secret {
    /// The one that is given of `key`, `key_file` and `key_env`; `None` if none is.
    pub(crate) fn new(
        key: &str,
        value: Option<SecretString>,
        file: Option<PathBuf>,
        variable: Option<String>,
        environment: &Environment,
    ) -> Result<Option<Self>, ConfigError> {
        let (in_file, in_environment) = (format!("{key}_file"), format!("{key}_env"));
        match (value, file, variable) {
            (None, None, None) => Ok(None),
            (Some(value), None, None) if value.expose_secret().trim().is_empty() => {
                Err(ConfigError::new(key, "it is empty").hint("leave it out where there is none"))
            }
            (Some(value), None, None) => Ok(Some(Self(Source::Inline(value)))),
            (None, Some(path), None) => Ok(Some(Self(Source::File(in_file, path)))),
            (None, None, Some(name)) => match environment.variable(&name) {
                Some(value) => Ok(Some(Self(Source::Inline(trimmed(value))))),
                None => Err(ConfigError::new(in_environment, format!("there is no environment variable `{name}`"))),
            },
            _ => Err(ConfigError::new(
                key,
                format!("more than one of `{key}`, `{in_file}` and `{in_environment}` is there"),
            )
            .hint("write one of them")),
        }
    }

    /// What it is now, without the end of its line.
    pub(crate) async fn read(&self) -> Result<SecretString, Failure> {
        let (key, path) = match &self.0 {
            Source::Inline(secret) => return Ok(secret.clone()),
            Source::File(key, path) => (key, path),
        };
        let bytes = files::read(key, path).await?;
        let Ok(text) = str::from_utf8(&bytes) else {
            return Err(files::unusable(format!("`{key}` {} is not text", path.display())));
        };
        let secret = trimmed(text);
        if secret.expose_secret().is_empty() {
            return Err(files::unusable(format!("`{key}` {} is empty; write the secret into it", path.display())));
        }
        Ok(secret)
    }
}

fn trimmed(text: &str) -> SecretString {
    text.trim_end_matches(['\r', '\n']).to_owned().into()
}

/// How the agent says who it is.
#[derive(Debug)]
pub(crate) enum Credentials {
    None,
    Bearer(Secret),
    Basic { user: String, password: Secret },
}

/// The value of `Authorization`, and what of it is not for anybody's eyes.
pub(super) struct Authorization {
    pub(super) header: HeaderValue,
    pub(super) secrets: Vec<SecretString>,
}

impl Credentials {
    pub(super) async fn read(&self) -> Result<Option<Authorization>, Failure> {
        let (value, secrets) = match self {
            Self::None => return Ok(None),
            Self::Bearer(secret) => {
                let secret = secret.read().await?;
                (SecretString::from(format!("Bearer {}", secret.expose_secret())), vec![secret])
            }
            Self::Basic { user, password } => {
                let secret = password.read().await?;
                let pair = BASE64_STANDARD.encode(format!("{user}:{}", secret.expose_secret()));
                (SecretString::from(format!("Basic {pair}")), vec![pair.into(), secret])
            }
        };
        let Ok(mut header) = HeaderValue::from_str(value.expose_secret()) else {
            return Err(files::unusable("the token has characters that no HTTP header can hold".to_owned()));
        };
        header.set_sensitive(true);
        Ok(Some(Authorization { header, secrets }))
    }
}
