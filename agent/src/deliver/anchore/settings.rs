//! What `[targets.NAME]` of type `anchore` can hold, besides what all targets that speak HTTP can.

use std::{collections::BTreeMap, num::NonZeroUsize, path::PathBuf, sync::Arc, time::Duration};

use bytesize::ByteSize;
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::Deserialize;
use stocktake_core::{ConfigError, Environment, select::NameSelector};

use super::{
    batch::Limits,
    document::Reading,
    route::{LabelRule, Router},
};
use crate::{
    cli,
    config::duration,
    deliver::http::{Credentials, Secret},
    render::MissingTag,
};

/// Anchore Enterprise: what runs in clusters and on hosts, in the documents of its own agents.
// No `Debug`: it may hold passwords.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    /// User who may send inventories (role `inventory-agent`); `_api_key` for an API key.
    #[schemars(example = &"stocktake")]
    user: String,

    /// The user's password or API key. This or one of the next two.
    #[schemars(with = "Option<String>", example = "…")]
    password: Option<SecretString>,

    /// File that holds it. A new one is used as soon as it is there.
    #[schemars(example = "/run/secrets/anchore")]
    password_file: Option<PathBuf>,

    /// Environment variable that holds it.
    #[schemars(example = &"ANCHORE_PASSWORD")]
    password_env: Option<String>,

    /// Account that the inventory is for.
    #[serde(default = "default_account")]
    pub(super) account: String,

    /// How to speak to the server: `auto` asks it for its version; `v2` for 5.0 and later, `v1` for 4.7 to 4.9, `kai` for what is older.
    #[serde(default)]
    #[schemars(example = &"auto")]
    pub(super) api: ApiSetting,

    /// What stands for the tag of an image that was asked for without one: its `digest`, the tag of `missing_tag_insert`
    /// (`insert`), or nothing, and such images are left out (`drop`).
    #[serde(default)]
    #[schemars(example = &"digest")]
    missing_tag: MissingTagPolicy,

    /// The tag for `missing_tag = "insert"`.
    #[serde(default = "default_insert")]
    missing_tag_insert: String,

    /// Whether Docker, Podman and containerd hosts are sent too, each as a cluster of one node.
    #[serde(default = "yes")]
    hosts: bool,

    /// Accounts with the namespaces that are theirs. Of several whose patterns cover a namespace the first by name has it.
    #[serde(default)]
    #[schemars(example = serde_json::json!({"team-a": {"namespaces": ["team-a-*"]}}))]
    account_routes: BTreeMap<String, Route>,

    /// Label of a namespace whose value is the account that it is for, unless a route covers it.
    #[schemars(example = serde_json::json!({"key": "anchore.account"}))]
    account_route_by_namespace_label: Option<LabelRoute>,

    /// How many namespaces one request sends at the most. All, if it is left out.
    #[schemars(example = 100)]
    max_namespaces: Option<NonZeroUsize>,

    /// How large the body of a request may be. A namespace that is larger by itself is sent in parts.
    #[serde(default = "default_max_bytes")]
    #[schemars(with = "String", example = "8MiB")]
    max_bytes: ByteSize,

    /// How often a namespace that stays as it is is sent again, so that it does not pass for gone (5.0 and later; older servers
    /// get all with each report).
    #[serde(default = "default_refresh", deserialize_with = "duration")]
    #[schemars(with = "String", example = "5m")]
    refresh: Duration,

    /// How the agent appears among the server's integrations (5.11 and later).
    #[serde(default)]
    #[schemars(example = serde_json::json!({"name": "stocktake"}))]
    pub(super) registration: Registration,
}

/// An account with its namespaces.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Route {
    /// Patterns of whole names: exact, a glob (`team-*`) or a regular expression between slashes.
    namespaces: NameSelector,
    /// User for this account. Without one it is the target's.
    user: Option<String>,
    /// Password of that user, inline.
    #[schemars(with = "Option<String>")]
    password: Option<SecretString>,
    /// File that holds it.
    password_file: Option<PathBuf>,
    /// Environment variable that holds it.
    password_env: Option<String>,
}

/// Accounts by label.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct LabelRoute {
    /// The label. `[filters]` has to leave it in the report.
    key: String,
    /// Account of namespaces that do not have it, instead of the target's.
    default_account: Option<String>,
    /// Whether such namespaces are not sent at all.
    #[serde(default)]
    ignore_missing_label: bool,
}

/// How the agent registers.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Registration {
    /// Whether it does.
    pub(super) enabled: bool,
    /// What identifies the integration. By default it follows from the agent's own identity, which its spool keeps.
    pub(super) id: Option<String>,
    /// Name.
    pub(super) name: String,
    /// Description.
    pub(super) description: String,
    /// How often the agent says how it is: 30 seconds to 10 minutes.
    #[serde(deserialize_with = "duration")]
    #[schemars(with = "String", example = "60s")]
    pub(super) health_interval: Duration,
}

impl Default for Registration {
    fn default() -> Self {
        Self {
            enabled: true,
            id: None,
            name: "stocktake".into(),
            description: String::new(),
            health_interval: Duration::from_mins(1),
        }
    }
}

/// Value of `api`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum ApiSetting {
    #[default]
    Auto,
    V2,
    V1,
    Kai,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum MissingTagPolicy {
    #[default]
    Digest,
    Insert,
    Drop,
}

fn default_account() -> String {
    "admin".into()
}

fn default_insert() -> String {
    "UNKNOWN".into()
}

fn default_max_bytes() -> ByteSize {
    ByteSize::mib(8)
}

/// As often as Anchore's agents look by default.
fn default_refresh() -> Duration {
    Duration::from_mins(5)
}

fn yes() -> bool {
    true
}

/// Who sends to an account.
pub(super) struct Sender {
    pub(super) user: String,
    pub(super) credentials: Credentials,
}

/// The settings, checked and made of use.
pub(super) struct Plan {
    pub(super) account: Arc<str>,
    pub(super) sender: Arc<Sender>,
    /// Accounts with a sender of their own.
    pub(super) senders: BTreeMap<Arc<str>, Arc<Sender>>,
    pub(super) reading: Arc<Reading>,
    pub(super) limits: Limits,
    pub(super) refresh: Duration,
    pub(super) api: ApiSetting,
    pub(super) registration: Registration,
}

impl Settings {
    pub(super) fn plan(self, environment: &Environment) -> Result<Plan, ConfigError> {
        check_name("account", &self.account)?;
        check_interval(self.registration.health_interval)?;
        let password = Secret::new("password", self.password, self.password_file, self.password_env, environment)?
            .ok_or_else(|| {
                ConfigError::new("password", "there is none")
                    .hint("write `password_file`, `password_env` or `password`")
            })?;
        let sender = sender("", self.user, password)?;
        let account: Arc<str> = Arc::from(self.account);
        let (mut senders, mut patterns) = (BTreeMap::new(), BTreeMap::new());
        for (name, route) in self.account_routes {
            let within = |error: ConfigError| error.within(&name).within("account_routes");
            check_name("", &name).map_err(within)?;
            let account: Arc<str> = Arc::from(name.as_str());
            let (namespaces, own) = route.split(environment).map_err(within)?;
            senders.extend(own.map(|sender| (Arc::clone(&account), Arc::new(sender))));
            patterns.insert(account, namespaces);
        }
        let label = self.account_route_by_namespace_label.map(|label| label.rule(&account)).transpose()?;
        let missing_tag = match self.missing_tag {
            MissingTagPolicy::Digest => MissingTag::Digest,
            MissingTagPolicy::Drop => MissingTag::Drop,
            MissingTagPolicy::Insert => {
                let tag = cli::tag(&self.missing_tag_insert);
                MissingTag::Insert(tag.map_err(|wrong| ConfigError::new("missing_tag_insert", wrong))?)
            }
        };
        let router = Router { patterns, label, account: Arc::clone(&account) };
        let bytes = usize::try_from(self.max_bytes.as_u64()).unwrap_or(usize::MAX);
        if bytes < 16 << 10 {
            return Err(ConfigError::new("max_bytes", "it is less than 16 KiB, in which no pod with its node fits"));
        }
        Ok(Plan {
            account,
            sender: Arc::new(sender),
            senders,
            reading: Arc::new(Reading { missing_tag, hosts: self.hosts, router }),
            limits: Limits { bytes, namespaces: self.max_namespaces },
            refresh: self.refresh,
            api: self.api,
            registration: self.registration,
        })
    }
}

impl Route {
    fn split(self, environment: &Environment) -> Result<(NameSelector, Option<Sender>), ConfigError> {
        let password = Secret::new("password", self.password, self.password_file, self.password_env, environment)?;
        let own = match (self.user, password) {
            (Some(user), Some(password)) => Some(sender("", user, password)?),
            (None, None) => None,
            (Some(_), None) => return Err(ConfigError::new("user", "its password is missing")),
            (None, Some(_)) => return Err(ConfigError::new("", "it has a password and no `user`")),
        };
        Ok((self.namespaces, own))
    }
}

impl LabelRoute {
    fn rule(self, account: &Arc<str>) -> Result<LabelRule, ConfigError> {
        let path = "account_route_by_namespace_label";
        if self.key.is_empty() {
            return Err(ConfigError::new("key", "it is empty").within(path));
        }
        if self.ignore_missing_label && self.default_account.is_some() {
            let message = "namespaces without the label cannot both be left out and have this account";
            return Err(ConfigError::new("default_account", message).within(path));
        }
        if let Some(default) = &self.default_account {
            check_name("default_account", default).map_err(|error| error.within(path))?;
        }
        let default = self.default_account.map_or_else(|| Arc::clone(account), Arc::from);
        Ok(LabelRule { key: self.key, default, ignore_missing: self.ignore_missing_label })
    }
}

fn sender(path: &str, user: String, password: Secret) -> Result<Sender, ConfigError> {
    // RFC 7617: behind the first colon the password begins.
    if user.is_empty() || user.contains(':') {
        return Err(ConfigError::new("user", "a user's name is not empty and has no colon").within(path));
    }
    Ok(Sender { credentials: Credentials::Basic { user: user.clone(), password }, user })
}

/// An account's name is the value of a header.
fn check_name(path: &str, name: &str) -> Result<(), ConfigError> {
    if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    Err(ConfigError::new(path, "an account's name is made of letters, digits and signs, without spaces"))
}

fn check_interval(interval: Duration) -> Result<(), ConfigError> {
    if (Duration::from_secs(30)..=Duration::from_mins(10)).contains(&interval) {
        return Ok(());
    }
    let message = "it is not between 30 seconds and 10 minutes, which is what the server takes";
    Err(ConfigError::new("health_interval", message).within("registration"))
}
