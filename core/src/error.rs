//! Errors named by what has to happen next, because that is all that their reader decides on.

use std::{fmt, io};

type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why a runtime could not be asked.
///
/// The variant says what the agent does next; the message says what happened, to which thing, and what a person can do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CollectError {
    /// The runtime does not answer. Try again later.
    #[error("{message}")]
    Unavailable {
        /// What happened.
        message: String,
        /// The error underneath.
        #[source]
        source: Option<Source>,
    },
    /// The runtime answers, and refuses. A person has to grant something.
    #[error("{message}")]
    Denied {
        /// What was refused, and what to grant.
        message: String,
        /// The error underneath.
        #[source]
        source: Option<Source>,
    },
    /// The runtime is of a kind or version that this collector cannot read. Trying again is pointless.
    #[error("{message}")]
    Unsupported {
        /// What is missing.
        message: String,
    },
    /// The runtime answered something that its protocol does not allow. Report it; try again later.
    #[error("{message}")]
    Protocol {
        /// What was wrong with the answer.
        message: String,
        /// The error underneath.
        #[source]
        source: Option<Source>,
    },
}

impl CollectError {
    /// A runtime that does not answer.
    pub fn unavailable(message: impl Into<String>, source: impl Into<Source>) -> Self {
        Self::Unavailable { message: message.into(), source: Some(source.into()) }
    }

    /// A runtime that refuses.
    pub fn denied(message: impl Into<String>, source: impl Into<Source>) -> Self {
        Self::Denied { message: message.into(), source: Some(source.into()) }
    }

    /// A runtime that breaks its protocol.
    pub fn protocol(message: impl Into<String>, source: impl Into<Source>) -> Self {
        Self::Protocol { message: message.into(), source: Some(source.into()) }
    }

    /// A socket that cannot be connected to. What the operating system says of it, however deep in `error`, decides the
    /// variant and what a person is told to do; `setting` is the one that names the socket.
    pub fn cannot_connect(message: impl Into<String>, setting: &str, error: impl Into<Source>) -> Self {
        let (message, error) = (message.into(), error.into());
        let first: &(dyn std::error::Error + 'static) = &*error;
        let kind = std::iter::successors(Some(first), |error| error.source())
            .find_map(|error| Some(error.downcast_ref::<io::Error>()?.kind()));
        let unavailable = |what| Self::Unavailable {
            message: format!("{message}: {what}; start the daemon or set `{setting}`"),
            source: None,
        };
        match kind {
            Some(io::ErrorKind::PermissionDenied) => {
                Self::Denied { message: format!("{message}: permission denied; run as root"), source: None }
            }
            Some(io::ErrorKind::NotFound) => unavailable("no such socket"),
            Some(io::ErrorKind::ConnectionRefused) => unavailable("nothing listens there"),
            _ => Self::unavailable(message, error),
        }
    }

    /// The message with those of all causes, on one line.
    #[must_use]
    pub fn full_message(&self) -> String {
        use std::error::Error as _;
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            let message = error.to_string();
            // Clients often repeat the message of their cause in their own.
            if !text.contains(&message) {
                text.push_str(": ");
                text.push_str(&message);
            }
            cause = error.source();
        }
        text
    }
}

/// What is wrong with a setting, where, and what would have been right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// Where: keys joined by dots, list positions in brackets (`states[0]`); relative to what was being read.
    pub path: String,
    /// What was found there, and what was expected.
    pub message: String,
    /// What to write instead, where that can be guessed.
    pub hint: Option<String>,
}

impl ConfigError {
    /// A complaint about the setting at `path` (empty: about the whole).
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into(), hint: None }
    }

    /// Adds what to write instead.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same complaint, seen from further outside: `prefix` is put before the path.
    #[must_use]
    pub fn within(mut self, prefix: &str) -> Self {
        if self.path.is_empty() {
            prefix.clone_into(&mut self.path);
        } else if self.path.starts_with('[') {
            self.path.insert_str(0, prefix);
        } else {
            self.path = format!("{prefix}.{}", self.path);
        }
        self
    }

    /// Reads `value` as a `T`, turning serde's complaint into one that names the key and the nearest right word.
    pub fn deserialize<'de, T, D>(value: D) -> Result<T, Self>
    where
        T: serde::Deserialize<'de>,
        D: serde::Deserializer<'de>,
    {
        serde_path_to_error::deserialize(value).map_err(|error| {
            let path = match error.path().to_string() {
                path if path == "." => String::new(),
                path => path,
            };
            Self::from_serde(path, &error.into_inner().to_string())
        })
    }

    /// Serde names the words that it would have taken between backquotes behind "expected"; the first is what it found.
    fn from_serde(path: String, message: &str) -> Self {
        let mut quoted = message.split('`').skip(1).step_by(2);
        let hint = match (message.starts_with("unknown "), quoted.next()) {
            (true, Some(found)) => crate::nearest(found, quoted).map(|word| format!("did you mean `{word}`?")),
            _ => None,
        };
        // What was found in the place of a secret may be one.
        let message = match message.split_once(", expected ") {
            Some((_, expected)) if is_secret(&path) => format!("invalid value, expected {expected}"),
            _ => message.to_owned(),
        };
        let message = message.replacen("unknown field", "unknown key", 1).replacen("missing field", "missing key", 1);
        Self { path, message, hint }
    }
}

fn is_secret(path: &str) -> bool {
    let key = path.rsplit('.').next().unwrap_or(path);
    ["token", "password", "secret", "credential"].iter().any(|word| key.contains(word))
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, "; {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

#[cfg(test)]
mod tests {
    use std::io;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "only deserialised")]
    struct Settings {
        #[serde(default)]
        states: Vec<String>,
        inner: Option<Box<Settings>>,
        token: Option<String>,
    }

    fn complaint(json: &str) -> String {
        let value: serde_json::Value = serde_json::from_str(json).unwrap();
        ConfigError::deserialize::<Settings, _>(value).unwrap_err().within("collectors.docker").to_string()
    }

    #[test]
    fn names_the_key_and_the_nearest_right_one() {
        assert_eq!(
            complaint(r#"{"statse": []}"#),
            "collectors.docker.statse: unknown key `statse`, expected one of `states`, `inner`, `token`; did you mean `states`?"
        );
        assert_eq!(
            complaint(r#"{"inner": {"states": ["x", 5]}}"#),
            "collectors.docker.inner.states[1]: invalid type: integer `5`, expected a string"
        );
        assert_eq!(complaint(r#"{"token": 1234}"#), "collectors.docker.token: invalid value, expected a string");
    }

    #[test]
    fn a_socket_that_cannot_be_connected_to_is_told_with_what_to_do() {
        let connect = |kind: io::ErrorKind| {
            let wrapped = CollectError::unavailable("transport error", io::Error::from(kind));
            CollectError::cannot_connect("cannot connect to x", "address", wrapped)
        };
        let missing = connect(io::ErrorKind::NotFound);
        assert!(matches!(missing, CollectError::Unavailable { .. }));
        assert_eq!(missing.full_message(), "cannot connect to x: no such socket; start the daemon or set `address`");
        assert!(connect(io::ErrorKind::ConnectionRefused).to_string().contains("nothing listens there"));
        assert!(matches!(connect(io::ErrorKind::PermissionDenied), CollectError::Denied { .. }));
        let other = connect(io::ErrorKind::TimedOut);
        assert!(matches!(other, CollectError::Unavailable { .. }));
        assert!(other.full_message().starts_with("cannot connect to x: transport error: "), "{}", other.full_message());
    }

    #[test]
    fn full_message_tells_each_cause_once() {
        let error = CollectError::unavailable("cannot reach docker", io::Error::other("no such file"));
        assert_eq!(error.full_message(), "cannot reach docker: no such file");
        let wrapped = CollectError::unavailable("cannot reach docker: no such file", io::Error::other("no such file"));
        assert_eq!(wrapped.full_message(), "cannot reach docker: no such file");
    }
}
