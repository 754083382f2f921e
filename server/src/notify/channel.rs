//! Where notifications go.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::Url;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::mail::SmtpSettings;
use crate::{
    http::Problem,
    secrets::{Bound, Sealed, Vault, VaultError},
};

/// Before the secrets of webhooks, as <https://www.standardwebhooks.com> has it.
const WHSEC: &str = "whsec_";

/// Bytes of a secret: what the specification allows, and how many are made where nobody brings any.
const SECRET: std::ops::RangeInclusive<usize> = 24..=64;
const MADE: usize = 32;

/// How long a URL may be, in bytes.
const LONGEST: usize = 2000;

/// How many addresses a mail is sent to.
const ADDRESSES: usize = 20;

/// Where notifications are to go.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum NewChannel {
    /// Each event is posted as `CloudEvents` 1.0 (structured, JSON), signed as Standard Webhooks has it.
    Webhook {
        /// `https://…`; not told again, but for its host.
        #[schema(value_type = String, format = Password, max_length = 2000, pattern = "^https?://")]
        url: SecretString,
        /// `whsec_` and 24 to 64 bytes in base64; made if it is not said, and told this once.
        #[serde(default)]
        #[schema(value_type = Option<String>, format = Password, pattern = "^whsec_[A-Za-z0-9+/=]{32,88}$")]
        secret: Option<SecretString>,
    },
    /// Lines of text are posted as Slack takes them; several events together, if they come fast.
    Slack {
        /// `https://hooks.slack.com/…`, or of another service that takes the same; not told again, but for its host.
        #[schema(value_type = String, format = Password, max_length = 2000, pattern = "^https?://")]
        url: SecretString,
    },
    /// Lines of text are mailed; several events together, if they come fast.
    Email {
        /// Addresses.
        #[schema(min_items = 1, max_items = 20)]
        to: Vec<String>,
    },
}

/// The same with all that it takes to send.
#[derive(Clone)]
pub(crate) enum Channel {
    Webhook { url: Url, key: SigningKey },
    Slack { url: Url },
    Email { to: Vec<String> },
}

/// As it is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum ChannelView {
    /// A webhook.
    Webhook {
        /// Of its URL what is no secret: `https://hooks.example.com`.
        target: String,
    },
    /// Slack's, or of a service like it.
    Slack {
        /// Of its URL what is no secret.
        target: String,
    },
    /// E-mail.
    Email {
        /// Addresses.
        to: Vec<String>,
    },
}

/// What is kept of it that is secret.
#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Kept {
    Webhook { url: String, secret: String },
    Slack { url: String },
}

/// Why it is not known where notifications go.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error(transparent)]
    Vault(#[from] VaultError),
    #[error("what is kept of the channel cannot be read: it was written by a later version; say the channel again")]
    Unknown,
}

/// What webhooks are signed with.
#[derive(Clone)]
pub(crate) struct SigningKey {
    secret: SecretString,
    key: ring::hmac::Key,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKey")
    }
}

/// Without what is secret of it.
impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.view().fmt(f)
    }
}

impl NewChannel {
    /// Checks it, and makes what is missing. Mail is sent by a mail server, if there is one.
    pub(crate) fn ready(self, smtp: Option<&SmtpSettings>) -> Result<Channel, Problem> {
        match self {
            Self::Webhook { url, secret } => {
                let url = target(&url)?;
                let key = match secret {
                    Some(secret) => SigningKey::of(secret).ok_or_else(|| {
                        Problem::bad_request("the `secret` of a webhook is `whsec_` and 24 to 64 bytes in base64")
                    })?,
                    None => SigningKey::make()?,
                };
                Ok(Channel::Webhook { url, key })
            }
            Self::Slack { url } => Ok(Channel::Slack { url: target(&url)? }),
            Self::Email { to } => {
                let smtp = smtp.ok_or_else(|| {
                    Problem::bad_request(
                        "this server sends no e-mail: `[notify.smtp]` of its configuration names no mail server",
                    )
                })?;
                if !(1..=ADDRESSES).contains(&to.len()) {
                    return Err(Problem::bad_request(format!("`to` has to have 1 to {ADDRESSES} addresses")));
                }
                to.iter().try_for_each(|address| smtp.check(address)).map_err(Problem::bad_request)?;
                Ok(Channel::Email { to })
            }
        }
    }
}

/// Reads a URL. Messages do not repeat it: it may hold a secret.
fn target(url: &SecretString) -> Result<Url, Problem> {
    let wrong = |why: &str| Problem::bad_request(format!("the channel's `url` {why}; write `https://HOST/PATH`"));
    let text = url.expose_secret();
    if text.len() > LONGEST {
        return Err(wrong("is longer than 2000 bytes"));
    }
    let url: Url = text.parse().map_err(|error| wrong(&format!("cannot be read: {error}")))?;
    if !["http", "https"].contains(&url.scheme()) || !url.has_host() {
        return Err(wrong("is neither an http nor an https one"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("holds a user or password, which are not sent"));
    }
    if url.fragment().is_some() {
        return Err(wrong("has a part behind `#`, which is not sent"));
    }
    Ok(url)
}

impl Channel {
    /// As it is told.
    pub(crate) fn view(&self) -> ChannelView {
        match self {
            Self::Webhook { url, .. } => ChannelView::Webhook { target: url.origin().ascii_serialization() },
            Self::Slack { url } => ChannelView::Slack { target: url.origin().ascii_serialization() },
            Self::Email { to } => ChannelView::Email { to: to.clone() },
        }
    }

    /// What has to be told once, since it may have been made here.
    pub(crate) fn secret(&self) -> Option<&SecretString> {
        match self {
            Self::Webhook { key, .. } => Some(&key.secret),
            Self::Slack { .. } | Self::Email { .. } => None,
        }
    }

    /// What of it is secret, as the database keeps it; nothing of a channel that has nothing secret.
    pub(crate) fn seal(&self, vault: &Vault, bound: Bound<'_>) -> Result<Option<Sealed>, Problem> {
        let kept = match self {
            Self::Webhook { url, key } => {
                Kept::Webhook { url: url.to_string(), secret: key.secret.expose_secret().to_owned() }
            }
            Self::Slack { url } => Kept::Slack { url: url.to_string() },
            Self::Email { .. } => return Ok(None),
        };
        let text = serde_json::to_string(&kept).map_err(|error| Problem::from(sqlx::Error::Encode(error.into())))?;
        Ok(Some(vault.seal(bound, &text.into())?))
    }

    /// From the database.
    pub(crate) fn open(
        view: &ChannelView,
        vault: &Vault,
        bound: Bound<'_>,
        sealed: Option<&Sealed>,
    ) -> Result<Self, Unreadable> {
        let sealed = match (view, sealed) {
            (ChannelView::Email { to }, _) => return Ok(Self::Email { to: to.clone() }),
            (_, sealed) => sealed.ok_or(Unreadable::Unknown)?,
        };
        let text = vault.open(bound, sealed)?;
        let url = |url: String| url.parse().map_err(|_| Unreadable::Unknown);
        Ok(match serde_json::from_str(text.expose_secret()).map_err(|_| Unreadable::Unknown)? {
            Kept::Webhook { url: to, secret } => {
                Self::Webhook { url: url(to)?, key: SigningKey::of(secret.into()).ok_or(Unreadable::Unknown)? }
            }
            Kept::Slack { url: to } => Self::Slack { url: url(to)? },
        })
    }
}

impl ChannelView {
    /// How many events it takes at once, and how long to wait before the next ones.
    pub(crate) fn pace(&self) -> (usize, Duration) {
        match self {
            Self::Webhook { .. } => (1, Duration::ZERO),
            // Slack takes one message a second (<https://api.slack.com/docs/rate-limits>).
            Self::Slack { .. } => (20, Duration::from_secs(1)),
            Self::Email { .. } => (100, Duration::from_mins(1)),
        }
    }
}

impl SigningKey {
    fn of(secret: SecretString) -> Option<Self> {
        let bytes = STANDARD.decode(secret.expose_secret().strip_prefix(WHSEC)?).ok()?;
        let key = SECRET.contains(&bytes.len()).then(|| ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &bytes))?;
        Some(Self { secret, key })
    }

    fn make() -> Result<Self, Problem> {
        let mut bytes = [0; MADE];
        let random = ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes);
        let key = random.ok().and_then(|()| Self::of(format!("{WHSEC}{}", STANDARD.encode(bytes)).into()));
        key.ok_or_else(|| {
            let title = "the system has no random numbers to give; bring a `secret`";
            Problem::new(http::StatusCode::SERVICE_UNAVAILABLE, title)
        })
    }

    /// The value of `webhook-signature` of a message. `sent_at` in seconds since 1970.
    pub(crate) fn sign(&self, id: &str, sent_at: i64, body: &[u8]) -> String {
        let mut context = ring::hmac::Context::with_key(&self.key);
        context.update(format!("{id}.{sent_at}.").as_bytes());
        context.update(body);
        format!("v1,{}", STANDARD.encode(context.sign()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{notify::SHELF, secrets::KeySource};

    fn ready(channel: Value) -> Result<Channel, String> {
        let channel: NewChannel = serde_json::from_value(channel).map_err(|error| error.to_string())?;
        channel.ready(None).map_err(|problem| problem.title)
    }

    /// The example of the specification's own libraries.
    #[test]
    fn signatures_are_those_of_standard_webhooks() {
        let key = SigningKey::of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into()).unwrap();
        let body = br#"{"test": 2432232314}"#;
        let signature = key.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_channel_is_kept_whole_and_told_without_its_secrets() {
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let url = "https://hooks.example.com:8443/services/T0/B0/hidden?key=hidden";
        let channel = ready(json!({"type": "webhook", "url": url, "secret": secret})).unwrap();
        assert_eq!(
            serde_json::to_value(channel.view()).unwrap(),
            json!({"type": "webhook", "target": "https://hooks.example.com:8443"})
        );
        let vault = Vault::new(KeySource::Environment("a".repeat(64).into()));
        let bound = Bound { shelf: &SHELF, account: 1, id: 2, destination: "" };
        let sealed = channel.seal(&vault, bound).unwrap().unwrap();
        assert!(!sealed.bytes.windows(4).any(|part| part == b"http" || part == b"whse"));
        let open = |bound, sealed: &Sealed| Channel::open(&channel.view(), &vault, bound, Some(sealed));
        let kept = open(bound, &sealed).unwrap();
        let Channel::Webhook { url: kept, key } = kept else { panic!("{kept:?}") };
        assert_eq!((kept.as_str(), key.secret.expose_secret()), (url, secret));
        assert!(!format!("{key:?}").contains("MfKQ"));
        let made = ready(json!({"type": "webhook", "url": url})).unwrap();
        let another = ready(json!({"type": "webhook", "url": url})).unwrap();
        let secret = |channel: &Channel| channel.secret().unwrap().expose_secret().to_owned();
        assert!(secret(&made).starts_with("whsec_"));
        assert_ne!(secret(&made), secret(&another));
        let slack = ready(json!({"type": "slack", "url": url})).unwrap();
        assert_eq!(slack.view(), ChannelView::Slack { target: "https://hooks.example.com:8443".into() });
        assert!(slack.secret().is_none());
        let error = open(Bound { id: 3, ..bound }, &sealed).unwrap_err();
        assert!(matches!(error, Unreadable::Vault(VaultError::Altered)), "{error}");
        for text in ["", "{}", "{\"type\":\"pigeon\"}"] {
            let sealed = vault.seal(bound, &text.into()).unwrap();
            assert!(matches!(open(bound, &sealed), Err(Unreadable::Unknown)), "{text}");
        }
        let mail = Channel::Email { to: vec!["jo@example.com".into()] };
        let none = Vault::default();
        assert!(mail.seal(&none, bound).unwrap().is_none(), "nothing of it is secret");
        assert!(matches!(Channel::open(&mail.view(), &none, bound, None), Ok(Channel::Email { .. })));
    }

    #[test]
    fn what_cannot_be_sent_to_is_refused_without_repeating_it() {
        for (url, told) in [
            ("hidden", "cannot be read"),
            ("ftp://hidden/", "neither an http nor an https one"),
            ("https://jo:hidden@a/", "holds a user or password"),
            ("https://a/#hidden", "behind `#`"),
        ] {
            let error = ready(json!({"type": "webhook", "url": url})).unwrap_err();
            assert!(error.contains(told) && !error.contains("hidden"), "{url}: {error}");
        }
        for secret in ["", "whsec_", "whsec_c2hvcnQ=", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_%%%"] {
            let error = ready(json!({"type": "webhook", "url": "https://a", "secret": secret})).unwrap_err();
            assert!(error.contains("24 to 64 bytes"), "{secret}: {error}");
        }
        let error = ready(json!({"type": "email", "to": ["jo@example.com"]})).unwrap_err();
        assert!(error.contains("`[notify.smtp]`"), "{error}");
        assert!(ready(json!({"type": "pigeon"})).is_err());
        assert!(ready(json!({"type": "webhook", "url": "https://a", "secrt": "x"})).is_err());
    }
}
