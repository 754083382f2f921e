//! What every `[targets.NAME]` that speaks HTTP can say, besides what is its type's own.

use std::{path::PathBuf, time::Duration};

use reqwest::Url;
use schemars::{JsonSchema, Schema};
use secrecy::SecretString;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use stocktake_core::{ConfigError, nearest};

use crate::config::duration;

/// How to reach a server.
// No `Debug`: a proxy's URL may hold a password.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct HttpSettings {
    /// Where the server is. A path stays in front of what is asked for.
    #[schemars(example = "https://stocktake.example.com")]
    pub(crate) url: String,

    /// File of certificates in PEM: the server's has to be signed by one of them, and by none of the system's. Read again when it
    /// changes, as are the next two.
    #[schemars(example = "/etc/stocktake/ca.pem")]
    pub(crate) ca_file: Option<PathBuf>,

    /// Certificate in PEM by which the agent is known to the server, with those that signed it.
    #[schemars(example = "/etc/stocktake/agent.pem")]
    pub(crate) cert_file: Option<PathBuf>,

    /// Its private key in PEM.
    #[schemars(example = "/etc/stocktake/agent-key.pem")]
    pub(crate) key_file: Option<PathBuf>,

    /// Proxy in between (`http://proxy:3128`). Without it the environment's `HTTPS_PROXY` or `HTTP_PROXY` is used, unless
    /// `NO_PROXY` names the server or it is this machine.
    #[schemars(with = "Option<String>", example = "http://proxy.example.com:3128")]
    pub(crate) proxy: Option<SecretString>,

    /// How long one request may take.
    #[serde(default = "default_timeout", deserialize_with = "duration")]
    #[schemars(with = "String", example = "60s")]
    pub(crate) timeout: Duration,

    /// Takes any certificate for the server's. Whoever is in between can then take the credentials and the reports.
    #[serde(default)]
    pub(crate) danger_accept_invalid_certificates: bool,
}

/// Long enough for a server that is busy with a large report: 10 s, which Anchore's agents use, were felt as short.
fn default_timeout() -> Duration {
    Duration::from_mins(1)
}

impl HttpSettings {
    /// The URL, ending with a slash, if the settings fit together.
    pub(super) fn check(&self) -> Result<Url, ConfigError> {
        if self.cert_file.is_some() != self.key_file.is_some() {
            let (there, missing) =
                if self.cert_file.is_some() { ("cert_file", "key_file") } else { ("key_file", "cert_file") };
            return Err(ConfigError::new(there, format!("`{missing}` is missing, which belongs to it")));
        }
        base(&self.url)
    }
}

/// Checks a URL. Messages do not repeat it: where it is wrong it may hold a password.
fn base(text: &str) -> Result<Url, ConfigError> {
    let wrong = |message: &str| ConfigError::new("url", message);
    let mut url: Url = text.trim().parse().map_err(|error| wrong(&format!("it is not a URL: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong("it is neither an http nor an https URL").hint("write `https://HOST`"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("it holds a user or a password").hint("write them into the settings for that"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("it holds a `?` or `#`, behind which nothing can be asked for"));
    }
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok(url)
}

/// Takes a target's settings apart: those of HTTP, and those of its type.
///
/// serde's `flatten` would do it, and let every misspelt key pass.
pub(crate) fn split<Own: DeserializeOwned + JsonSchema>(settings: Value) -> Result<(HttpSettings, Own), ConfigError> {
    let Value::Object(settings) = settings else { return Err(ConfigError::new("", "expected a table")) };
    let (shared, own) = (keys::<HttpSettings>(), keys::<Own>());
    if let Some(key) = settings.keys().find(|key| !shared.contains(key) && !own.contains(key)) {
        let known: Vec<&String> = shared.iter().chain(&own).collect();
        let list = known.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
        let error = ConfigError::new(key, format!("unknown key `{key}`, expected one of {list}"));
        return Err(match nearest(key, known.iter().map(|key| key.as_str())) {
            Some(word) => error.hint(format!("did you mean `{word}`?")),
            None => error,
        });
    }
    let (http, own): (Map<_, _>, Map<_, _>) = settings.into_iter().partition(|(key, _)| shared.contains(key));
    Ok((ConfigError::deserialize(Value::Object(http))?, ConfigError::deserialize(Value::Object(own))?))
}

fn keys<T: JsonSchema>() -> Vec<String> {
    let schema = schemars::schema_for!(T);
    let properties = schema.get("properties").and_then(Value::as_object);
    properties.map(|properties| properties.keys().cloned().collect()).unwrap_or_default()
}

/// Schema of all settings of a target: those of HTTP, then those of its type.
pub(crate) fn schema<Own: JsonSchema>() -> Schema {
    let mut schema = schemars::schema_for!(HttpSettings);
    let own = schemars::schema_for!(Own).to_value();
    let object = schema.ensure_object();
    for key in ["title", "description"] {
        if let Some(text) = own.get(key) {
            object.insert(key.to_owned(), text.clone());
        }
    }
    for key in ["properties", "$defs"] {
        let Some(Value::Object(more)) = own.get(key) else { continue };
        if let Value::Object(map) = object.entry(key).or_insert_with(|| Value::Object(Map::new())) {
            map.extend(more.clone());
        }
    }
    if let Some(Value::Array(more)) = own.get("required")
        && let Value::Array(list) = object.entry("required").or_insert_with(|| Value::Array(Vec::new()))
    {
        list.extend(more.clone());
    }
    schema
}
