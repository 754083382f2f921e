//! What a configuration holds.

use std::{fmt, net::SocketAddr, path::PathBuf, time::Duration};

use bytesize::ByteSize;
use jiff::SignedDuration;
use serde::{Deserialize, Deserializer, de};
use stocktake_core::ConfigError;

use crate::{agentless::USUALLY_REFUSED, app::Retention, network::Network, notify::SmtpSettings};

/// Where the server listens where nothing is said. 8228 is where Anchore's own listens, and their agents' documentation.
const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8228);

/// What a configuration holds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settings {
    pub(crate) agentless: AgentlessSettings,
    pub(crate) secrets: SecretsSettings,
    pub(crate) server: ServerSettings,
    pub(crate) inventory: InventorySettings,
    pub(crate) limits: Limits,
    pub(crate) metrics: MetricsSettings,
    pub(crate) notify: NotifySettings,
}

/// What `[server]` holds.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ServerSettings {
    /// Address and port to serve at.
    pub(crate) listen: SocketAddr,
    /// Another one, for `/livez`, `/readyz` and `/metrics` alone, by HTTP: for who has no certificate that `client_ca` asks for. `/metrics`
    /// is for the same as at `listen`.
    pub(crate) health_listen: Option<SocketAddr>,
    /// Path of a file of SQLite, or `postgres://USER@HOST/NAME`.
    pub(crate) database: Option<String>,
    /// A file that holds what `database` would say: a URL with a password is for nobody else to read.
    pub(crate) database_file: Option<PathBuf>,
    /// Serve HTTPS, and nothing else.
    pub(crate) tls: Option<TlsSettings>,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self { listen: DEFAULT_LISTEN, health_listen: None, database: None, database_file: None, tls: None }
    }
}

/// Files, in PEM. They are read again when they change.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TlsSettings {
    /// The server's certificate, and those that lead to its issuer.
    pub(crate) certificate: PathBuf,
    /// Its private key.
    pub(crate) key: PathBuf,
    /// Issuers of clients' certificates: only who has one is served.
    pub(crate) client_ca: Option<PathBuf>,
}

/// What `[inventory]` holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct InventorySettings {
    /// Days after which what was not seen any more is no longer in the inventory; -1: only what the latest report of each scope
    /// holds; 0: for ever. Default: 120.
    #[serde(alias = "inventory_ttl_days", deserialize_with = "ttl")]
    image_ttl_days: Option<i64>,
    /// Anchore's newer name for a time to live of -1.
    inventory_ingest_overwrite: Option<bool>,
    /// Days for which history is kept; 0: for ever. Default: 400.
    #[serde(deserialize_with = "days")]
    history_days: Option<i64>,
    /// How long it is kept who did what, in days; 0 for ever.
    #[serde(deserialize_with = "days")]
    audit_days: Option<i64>,
}

impl InventorySettings {
    /// How long what is kept counts, or what two settings contradict each other in.
    pub(crate) fn retention(&self) -> Result<Retention, ConfigError> {
        let usual = Retention::default();
        let ttl_days = match (self.inventory_ingest_overwrite, self.image_ttl_days) {
            (Some(true), Some(0..)) => {
                let message = "`true` means a time to live of -1, and `image_ttl_days` says another";
                return Err(ConfigError::new("inventory_ingest_overwrite", message).hint("leave one of them out"));
            }
            (Some(false), Some(-1)) => {
                let message = "`false` means a time to live other than -1, which `image_ttl_days` says";
                return Err(ConfigError::new("inventory_ingest_overwrite", message).hint("leave one of them out"));
            }
            (Some(true), _) => -1,
            (_, days) => days.unwrap_or(usual.ttl_days),
        };
        Ok(Retention {
            ttl_days,
            history_days: self.history_days.unwrap_or(usual.history_days),
            audit_days: self.audit_days.unwrap_or(usual.audit_days),
        })
    }
}

/// What `[limits]` holds: what one client can take from the others.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Limits {
    /// How long a request's body may be, as it comes.
    pub(crate) request_bytes: ByteSize,
    /// How long it may be once its `Content-Encoding` is undone. What a report's frames decompress to is not meant.
    pub(crate) decompressed_bytes: ByteSize,
    /// How many requests a second are taken from one address (of IPv6: one /64) over time; twice as many at once. 0: any number.
    pub(crate) requests_per_second: u32,
    /// How many requests are worked on at a time. Others wait for a while, and are told to come later.
    pub(crate) requests_at_once: u16,
    /// How much memory all requests may take together for what they bring, with what is made of it. Others wait for a while, and are told
    /// to come later. What needs more than that has all of it for itself.
    pub(crate) memory: ByteSize,
    /// How many subscriptions, tokens and users an account may have. 0: any number.
    pub(crate) subscriptions_per_account: u32,
    pub(crate) tokens_per_account: u32,
    pub(crate) users_per_account: u32,
    /// How long a request's head may take to arrive, and a connection may be idle.
    #[serde(deserialize_with = "duration")]
    pub(crate) header_timeout: Duration,
    /// How long the next part of a body may take, in both directions.
    #[serde(deserialize_with = "duration")]
    pub(crate) body_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_bytes: ByteSize::mib(64),
            decompressed_bytes: ByteSize::mib(256),
            // A machine with 2,000 agents behind one address reports within seconds.
            requests_per_second: 1000,
            requests_at_once: 256,
            memory: ByteSize::gib(1),
            subscriptions_per_account: 10_000,
            // Each agent has one.
            tokens_per_account: 100_000,
            users_per_account: 10_000,
            header_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(30),
        }
    }
}

/// What `[metrics]` holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct MetricsSettings {
    /// Whether `/metrics` is for everybody who reaches the server. Else it is for who may read.
    pub(crate) public: bool,
}

/// What `[agentless]` holds: looking where no agent does.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AgentlessSettings {
    /// How many sources this server looks at at a time; 0: it leaves that to others over the same database.
    pub(crate) looks_at_once: u16,
    /// How long a look may take.
    #[serde(deserialize_with = "duration")]
    pub(crate) look_timeout: Duration,
    /// How many bytes all that a look sees may have. What is beyond it is left out, and the source is seen in part.
    pub(crate) look_bytes: ByteSize,
    /// Networks that nobody can make this server connect to.
    pub(crate) refused_networks: Vec<Network>,
}

impl Default for AgentlessSettings {
    fn default() -> Self {
        Self {
            looks_at_once: 8,
            look_timeout: Duration::from_mins(1),
            look_bytes: ByteSize::mib(64),
            refused_networks: USUALLY_REFUSED.to_vec(),
        }
    }
}

#[cfg(test)]
impl AgentlessSettings {
    /// What is usual, but that this machine may be looked at.
    pub(crate) fn of_tests() -> Self {
        let usual = Self::default();
        let [here, there]: [std::net::IpAddr; 2] =
            [std::net::Ipv4Addr::LOCALHOST.into(), std::net::Ipv6Addr::LOCALHOST.into()];
        let refused = usual.refused_networks.into_iter().filter(|network| !network.has(here) && !network.has(there));
        Self { refused_networks: refused.collect(), ..usual }
    }
}

/// What `[secrets]` holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SecretsSettings {
    /// File with the keys that secrets in the database are encrypted with: the first encrypts, and each decrypts. `STOCKTAKE_SECRET_KEY`
    /// holds them otherwise. Without either it is a file beside SQLite's, which is made; with PostgreSQL no secret is stored.
    pub(crate) key_file: Option<PathBuf>,
}

/// What `[notify]` holds: how others are told of what changes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct NotifySettings {
    /// Networks of this machine or around it that are sent to all the same, such as `10.1.0.0/16`.
    pub(crate) allow_networks: Vec<Network>,
    /// How long a receiver may take for one notification.
    #[serde(deserialize_with = "duration")]
    pub(crate) timeout: Duration,
    /// For how long a notification is tried that its receiver does not take.
    #[serde(deserialize_with = "duration")]
    pub(crate) give_up_after: Duration,
    /// By which server mail is sent; none is sent without it.
    pub(crate) smtp: Option<SmtpSettings>,
}

impl Default for NotifySettings {
    fn default() -> Self {
        Self {
            allow_networks: Vec::new(),
            timeout: Duration::from_secs(10),
            give_up_after: Duration::from_hours(72),
            smtp: None,
        }
    }
}

fn ttl<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    match i64::deserialize(deserializer)? {
        days @ -1..=MOST_DAYS => Ok(Some(days)),
        _ => Err(de::Error::custom("expected a number of days, 0 for ever, or -1 for what the latest reports hold")),
    }
}

fn days<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    match i64::deserialize(deserializer)? {
        days @ 0..=MOST_DAYS => Ok(Some(days)),
        _ => Err(de::Error::custom("expected a number of days, or 0 for ever")),
    }
}

/// A thousand years: in milliseconds it is still far from what an i64 holds.
const MOST_DAYS: i64 = 365_000;

/// A duration that is longer than nothing.
fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    struct Visitor;
    impl de::Visitor<'_> for Visitor {
        type Value = Duration;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a duration like `30s` or `2m 30s`")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Duration, E> {
            let parsed: SignedDuration =
                text.parse().map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))?;
            match Duration::try_from(parsed) {
                Ok(duration) if !duration.is_zero() => Ok(duration),
                _ => Err(E::custom(format!("`{text}` is not longer than nothing"))),
            }
        }
    }
    deserializer.deserialize_str(Visitor)
}
