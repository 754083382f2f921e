//! The configuration file, with every complaint at its place.

mod settings;

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::de::DeserializeOwned;
use serde_json::Value;
use stocktake_core::{ConfigError, nearest};
use toml::de::{DeTable, DeValue};

pub(crate) use self::settings::{AgentlessSettings, Limits, NotifySettings, Settings, TlsSettings};

/// Why a configuration cannot be used: everything that is wrong with it, not only the first.
#[derive(Debug)]
pub(crate) struct Invalid {
    file: PathBuf,
    /// Each with the line that it is about, where there is one.
    complaints: Vec<(Option<usize>, ConfigError)>,
}

impl Invalid {
    /// One line each: file, line, key and what is wrong.
    pub(crate) fn complaints(&self) -> impl Iterator<Item = String> {
        let file = self.file.display();
        self.complaints.iter().map(move |(line, complaint)| match line {
            Some(line) => format!("{file}:{line}: {complaint}"),
            None => format!("{file}: {complaint}"),
        })
    }
}

/// The tables that a file can hold.
const TABLES: [&str; 7] = ["agentless", "inventory", "limits", "metrics", "notify", "secrets", "server"];

/// Reads a file.
pub(crate) fn load(path: &Path) -> Result<Settings, Invalid> {
    let invalid = |complaints| Invalid { file: path.to_owned(), complaints };
    let text = fs::read_to_string(path).map_err(|error| {
        invalid(vec![(None, ConfigError::new("", format!("cannot read the configuration: {error}")))])
    })?;
    parse(&text).map_err(invalid)
}

fn parse(text: &str) -> Result<Settings, Vec<(Option<usize>, ConfigError)>> {
    let document = DeTable::parse(text).map(toml::Spanned::into_inner).map_err(|error| {
        let line = error.span().map(|span| line_at(text, span.start));
        vec![(line, ConfigError::new("", format!("not valid TOML: {}", error.message())))]
    })?;
    let (mut settings, mut errors) = (Settings::default(), Vec::new());
    for (key, value) in &document {
        let (key, value) = (key.get_ref().as_ref(), value.get_ref());
        match key {
            "agentless" => settings.agentless = table(key, value, &mut errors),
            "secrets" => settings.secrets = table(key, value, &mut errors),
            "server" => settings.server = table(key, value, &mut errors),
            "inventory" => settings.inventory = table(key, value, &mut errors),
            "limits" => settings.limits = table(key, value, &mut errors),
            "metrics" => settings.metrics = table(key, value, &mut errors),
            "notify" => settings.notify = table(key, value, &mut errors),
            other => errors.push(unknown_table(other)),
        }
    }
    if settings.server.database.is_some() && settings.server.database_file.is_some() {
        let error = ConfigError::new("server.database_file", "`database` says where the database is, too");
        errors.push(error.hint("leave one of them out"));
    }
    if let Err(error) = settings.inventory.retention() {
        errors.push(error.within("inventory"));
    }
    if errors.is_empty() {
        return Ok(settings);
    }
    let place = |error: ConfigError| (offset(&document, &error.path).map(|offset| line_at(text, offset)), error);
    let mut complaints: Vec<_> = errors.into_iter().map(place).collect();
    complaints.sort_by_key(|(line, _)| *line);
    Err(complaints)
}

/// What a table holds, or its defaults and a complaint.
fn table<T: DeserializeOwned + Default>(key: &str, value: &DeValue<'_>, errors: &mut Vec<ConfigError>) -> T {
    ConfigError::deserialize(json(value)).unwrap_or_else(|error| {
        errors.push(error.within(key));
        T::default()
    })
}

fn unknown_table(key: &str) -> ConfigError {
    let tables = TABLES.map(|table| format!("`{table}`")).join(", ");
    let error = ConfigError::new(key, format!("unknown key, expected one of {tables}"));
    match nearest(key, TABLES) {
        Some(word) => error.hint(format!("did you mean `{word}`?")),
        None => error,
    }
}

fn json(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| Value::String(number.as_str().to_owned()), Value::from),
        DeValue::Float(number) => number.as_str().parse::<f64>().map_or(Value::Null, Value::from),
        DeValue::Boolean(truth) => Value::Bool(*truth),
        DeValue::Datetime(time) => Value::String(time.to_string()),
        DeValue::Array(items) => items.iter().map(|item| json(item.get_ref())).collect(),
        DeValue::Table(table) => {
            table.iter().map(|(key, value)| (key.get_ref().to_string(), json(value.get_ref()))).collect()
        }
    }
}

/// Where in the text the setting at `path` begins, or what is nearest outside it.
fn offset(document: &DeTable<'_>, path: &str) -> Option<usize> {
    let (mut found, mut table) = (None, Some(document));
    for segment in path.split('.') {
        // Of a list it is where the list is.
        let segment = segment.split('[').next().unwrap_or_default();
        let Some((key, value)) = table.and_then(|table| table.get_key_value(segment)) else { break };
        found = Some(key.span().start);
        table = value.get_ref().as_table();
    }
    found
}

fn line_at(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::app::Retention;

    fn complaints(text: &str) -> Vec<String> {
        let complaints = parse(text).expect_err("complaints");
        Invalid { file: PathBuf::from("server.toml"), complaints }.complaints().collect()
    }

    #[test]
    fn an_empty_file_is_the_default() {
        let settings = parse("").unwrap();
        assert_eq!(settings.server.listen.to_string(), "127.0.0.1:8228");
        assert_eq!(
            settings.inventory.retention().unwrap(),
            Retention { ttl_days: 120, history_days: 400, audit_days: 400 }
        );
        assert_eq!(settings.limits, Limits::default());
        assert!(!settings.metrics.public);
    }

    #[test]
    fn everything_can_be_set() {
        let text = "
[server]
listen = '[::1]:1'
health_listen = '0.0.0.0:2'
database = 'postgres://x/y'
tls = { certificate = '/c', key = '/k', client_ca = '/ca' }
[inventory]
inventory_ttl_days = 0
history_days = 7
audit_days = 30
[limits]
request_bytes = '1MiB'
decompressed_bytes = 1000
requests_per_second = 0
requests_at_once = 4
memory = '64MiB'
subscriptions_per_account = 5
tokens_per_account = 6
users_per_account = 0
header_timeout = '5s'
body_timeout = '1m'
[metrics]
public = true
[secrets]
key_file = '/key'
[agentless]
looks_at_once = 0
look_timeout = '2m'
look_bytes = '1MiB'
refused_networks = ['127.0.0.0/8']
[notify]
allow_networks = ['10.1.0.0/16', '::1']
timeout = '3s'
give_up_after = '24h'
[notify.smtp]
host = 'mail.example.com'
tls = 'starttls'
user = 'stocktake'
password_file = '/p'
from = 'Stocktake <stocktake@example.com>'
domains = ['example.com']
";
        let settings = parse(text).unwrap();
        assert_eq!(settings.inventory.retention().unwrap(), Retention { ttl_days: 0, history_days: 7, audit_days: 30 });
        assert_eq!(settings.limits.request_bytes.as_u64(), 1 << 20);
        assert_eq!(settings.limits.memory.as_u64(), 64 << 20);
        let limits = &settings.limits;
        assert_eq!((limits.subscriptions_per_account, limits.tokens_per_account, limits.users_per_account), (5, 6, 0));
        assert_eq!(settings.limits.body_timeout, Duration::from_mins(1));
        assert_eq!(settings.server.health_listen, Some("0.0.0.0:2".parse().unwrap()));
        assert_eq!(settings.server.tls.unwrap().client_ca, Some(PathBuf::from("/ca")));
        assert!(settings.metrics.public);
        assert_eq!(settings.secrets.key_file, Some(PathBuf::from("/key")));
        assert_eq!(settings.agentless.look_timeout, Duration::from_mins(2));
        assert_eq!((settings.agentless.looks_at_once, settings.agentless.refused_networks.len()), (0, 1));
        let notify = NotifySettings {
            allow_networks: vec!["10.1.0.0/16".parse().unwrap(), "::1/128".parse().unwrap()],
            timeout: Duration::from_secs(3),
            give_up_after: Duration::from_hours(24),
            smtp: settings.notify.smtp.clone(),
        };
        let smtp = settings.notify.smtp.as_ref().unwrap();
        assert_eq!((smtp.host.as_str(), smtp.from.email.as_ref()), ("mail.example.com", "stocktake@example.com"));
        assert_eq!(settings.notify, notify);
    }

    #[test]
    fn every_complaint_has_its_line_its_key_and_a_proposal() {
        let text = "
[server]
lisen = '127.0.0.1:1'
[inventory]
image_ttl_days = -2
[limits]
header_timeout = '0s'
[notify]
allow_networks = ['localhost']
[metric]
[agentless]
refused_networks = ['10.0.0.300']
";
        let found = complaints(text);
        assert!(
            found[0].starts_with("server.toml:3: server.lisen: unknown key `lisen`, ")
                && found[0].ends_with("did you mean `listen`?"),
            "{found:?}"
        );
        assert_eq!(
            found[1..],
            [
                "server.toml:5: inventory.image_ttl_days: expected a number of days, 0 for ever, or -1 for what the \
                 latest reports hold",
                "server.toml:7: limits.header_timeout: `0s` is not longer than nothing",
                "server.toml:9: notify.allow_networks[0]: `localhost` is no network: expected one such as `10.0.0.0/8`, \
                 `fd00::/8` or `192.0.2.7`",
                "server.toml:10: metric: unknown key, expected one of `agentless`, `inventory`, `limits`, `metrics`, `notify`, \
                 `secrets`, `server`; did you mean `metrics`?",
                "server.toml:12: agentless.refused_networks[0]: `10.0.0.300` is no network: expected one such as `10.0.0.0/8`, \
                 `fd00::/8` or `192.0.2.7`",
            ]
        );
    }

    #[test]
    fn a_database_is_said_once() {
        let settings = parse("[server]\ndatabase_file = '/url'").unwrap();
        assert_eq!(settings.server.database_file, Some(PathBuf::from("/url")));
        assert_eq!(
            complaints("[server]\ndatabase = 'a.db'\ndatabase_file = '/url'"),
            ["server.toml:3: server.database_file: `database` says where the database is, too; leave one of them out"]
        );
    }

    #[test]
    fn a_time_to_live_is_said_once() {
        let ttl = |text: &str| parse(&format!("[inventory]\n{text}")).unwrap().inventory.retention().unwrap().ttl_days;
        assert_eq!(ttl("inventory_ingest_overwrite = true"), -1);
        assert_eq!(ttl("inventory_ingest_overwrite = true\nimage_ttl_days = -1"), -1);
        assert_eq!(ttl("inventory_ingest_overwrite = false"), 120);
        assert_eq!(ttl("inventory_ingest_overwrite = false\nimage_ttl_days = 5"), 5);
        for text in ["true\ninventory_ttl_days = 5", "true\nimage_ttl_days = 0", "false\nimage_ttl_days = -1"] {
            let found = complaints(&format!("[inventory]\ninventory_ingest_overwrite = {text}"));
            assert!(found[0].starts_with("server.toml:2: inventory.inventory_ingest_overwrite: "), "{found:?}");
        }
        let twice = complaints("[inventory]\nimage_ttl_days = 5\ninventory_ttl_days = 5");
        assert!(twice[0].contains("duplicate field"), "{twice:?}");
    }
}
