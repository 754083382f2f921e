//! The configuration file: from TOML to collectors that are ready to run, with every complaint at its place.

mod duration;
mod settings;
mod targets;
mod telemetry;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use stocktake_core::{ConfigError, Environment, Registry, filter::Filters, model::Host, nearest};
use toml::de::{DeTable, DeValue};

pub(crate) use self::{
    duration::{duration, optional_duration, optional_interval},
    settings::{AgentSettings, DEFAULT_INTERVAL, DEFAULT_TIMEOUT, LeaseSettings},
    targets::ConfiguredTarget,
    telemetry::{DEFAULT_LISTEN, Place, TelemetrySettings},
};
use crate::{environment::context, observe::Configured};

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

/// What a file says, ready to be used.
pub(crate) struct Configuration {
    /// In the order of their names.
    pub(crate) collectors: Vec<Configured>,
    /// What `[filters]` holds.
    pub(crate) filters: Arc<Filters>,
    /// What `[agent]` holds.
    pub(crate) agent: AgentSettings,
    /// In the order of their names.
    pub(crate) targets: Vec<ConfiguredTarget>,
    /// What `[telemetry]` holds.
    pub(crate) telemetry: TelemetrySettings,
}

impl Configuration {
    /// That of whom no file says anything.
    pub(crate) fn of(collectors: Vec<Configured>) -> Self {
        Self {
            collectors,
            filters: Arc::default(),
            agent: AgentSettings::default(),
            targets: Vec::new(),
            telemetry: TelemetrySettings::default(),
        }
    }
}

impl Configuration {
    /// What is wrong if it has no collector, for whoever needs one.
    pub(crate) fn complaint_of_collectors(&self, path: &Path) -> Option<String> {
        self.collectors.is_empty().then(|| {
            let error = ConfigError::new("collectors", "there is none")
                .hint("add a `[collectors.NAME]`; `stocktake-agent config example` shows what they can hold");
            format!("{}: {error}", path.display())
        })
    }
}

/// The tables that a file can hold.
const TABLES: [&str; 5] = ["agent", "collectors", "filters", "targets", "telemetry"];

/// What every `[collectors.NAME]` holds besides the settings of its type.
#[derive(Debug, Default, Deserialize)]
struct CommonSettings {
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default, deserialize_with = "optional_duration")]
    timeout: Option<Duration>,
    #[serde(default, deserialize_with = "optional_interval")]
    interval: Option<Duration>,
}

/// Reads a file and builds its collectors.
pub(crate) fn load(
    path: &Path,
    registry: &Registry,
    environment: &Environment,
    host: &Host,
) -> Result<Configuration, Invalid> {
    let invalid = |complaint| Invalid { file: path.to_owned(), complaints: vec![complaint] };
    let text = read(path).map_err(invalid)?;
    parse(&text, registry, environment, host).map_err(|complaints| Invalid { file: path.to_owned(), complaints })
}

/// Reads of a file only what `[telemetry]` holds, for who wants nothing but to find the agent that runs with it.
pub(crate) fn load_telemetry(path: &Path) -> Result<TelemetrySettings, Invalid> {
    let invalid = |complaint| Invalid { file: path.to_owned(), complaints: vec![complaint] };
    let text = read(path).map_err(invalid)?;
    let document = toml(&text).map_err(invalid)?;
    let mut errors = Vec::new();
    let found = document.iter().find(|(key, _)| key.get_ref() == "telemetry");
    let telemetry = found.map(|(key, value)| settings(key.get_ref(), value.get_ref(), &mut errors));
    match errors.pop() {
        Some(error) => Err(invalid(placed(error, &document, &text))),
        None => Ok(telemetry.unwrap_or_default()),
    }
}

/// What is wrong with a configuration that is not in a file yet.
pub(crate) fn complaints(
    text: &str,
    registry: &Registry,
    environment: &Environment,
    host: &Host,
) -> impl Iterator<Item = ConfigError> {
    let complaints = parse(text, registry, environment, host).err().unwrap_or_default();
    complaints.into_iter().map(|(_, complaint)| complaint)
}

fn read(path: &Path) -> Result<String, (Option<usize>, ConfigError)> {
    fs::read_to_string(path)
        .map_err(|error| (None, ConfigError::new("", format!("cannot read the configuration: {error}"))))
}

fn parse(
    text: &str,
    registry: &Registry,
    environment: &Environment,
    host: &Host,
) -> Result<Configuration, Vec<(Option<usize>, ConfigError)>> {
    let document = toml(text).map_err(|complaint| vec![complaint])?;
    let mut errors = Vec::new();
    let (mut agent, mut filters) = (AgentSettings::default(), Filters::default());
    let mut telemetry = TelemetrySettings::default();
    let (mut collectors, mut targets) = (Vec::new(), Vec::new());
    for (key, value) in &document {
        let (key, value) = (key.get_ref().as_ref(), value.get_ref());
        match key {
            "agent" => agent = settings(key, value, &mut errors),
            "filters" => filters = settings(key, value, &mut errors),
            "telemetry" => telemetry = settings(key, value, &mut errors),
            "collectors" => match value.as_table() {
                Some(tables) => collectors.extend(tables.iter().map(|(name, table)| (name.get_ref(), table.get_ref()))),
                None => errors.push(expected_table("collectors", value)),
            },
            "targets" => match value.as_table() {
                Some(tables) => targets.extend(tables.iter().map(|(name, table)| (name.get_ref(), table.get_ref()))),
                None => errors.push(expected_table("targets", value)),
            },
            other => errors.push(unknown_table(other)),
        }
    }
    errors.extend(agent.check().err().map(|error| error.within("agent")));
    let mut configured = Vec::new();
    for (name, table) in &collectors {
        match collector(name, table, &agent, registry, environment, host) {
            Ok(collector) => configured.push(collector),
            Err(error) => errors.push(error.within(name).within("collectors")),
        }
    }
    let mut configured_targets = Vec::new();
    for (name, table) in &targets {
        match targets::target(name, table, environment, host) {
            Ok(target) => configured_targets.push(target),
            Err(error) => errors.push(error.within(name).within("targets")),
        }
    }
    if errors.is_empty() {
        configured.sort_by(|a: &Configured, b| a.name.cmp(&b.name));
        configured_targets.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Configuration {
            collectors: configured,
            filters: Arc::new(filters),
            agent,
            targets: configured_targets,
            telemetry,
        })
    } else {
        let mut complaints: Vec<_> = errors.into_iter().map(|error| placed(error, &document, text)).collect();
        complaints.sort_by_key(|(line, _)| *line);
        Err(complaints)
    }
}

/// A complaint with the line that it is about.
fn placed(error: ConfigError, document: &DeTable<'_>, text: &str) -> (Option<usize>, ConfigError) {
    (offset(document, &error.path).map(|offset| line_at(text, offset)), error)
}

fn toml(text: &str) -> Result<DeTable<'_>, (Option<usize>, ConfigError)> {
    DeTable::parse(text).map(toml::Spanned::into_inner).map_err(|error| {
        let line = error.span().map(|span| line_at(text, span.start));
        (line, ConfigError::new("", format!("not valid TOML: {}", error.message())))
    })
}

/// What a table of settings holds, or its defaults and a complaint.
fn settings<T: DeserializeOwned + Default>(key: &str, value: &DeValue<'_>, errors: &mut Vec<ConfigError>) -> T {
    ConfigError::deserialize(json(value)).unwrap_or_else(|error| {
        errors.push(error.within(key));
        T::default()
    })
}

fn collector(
    name: &str,
    table: &DeValue<'_>,
    agent: &AgentSettings,
    registry: &Registry,
    environment: &Environment,
    host: &Host,
) -> Result<Configured, ConfigError> {
    if !is_name(name) {
        return Err(ConfigError::new("", "a collector's name is made of letters, digits, `-` and `_`"));
    }
    let Value::Object(settings) = json(table) else { return Err(expected_table("", table)) };
    let (common, settings): (Map<_, _>, Map<_, _>) =
        settings.into_iter().partition(|(key, _)| matches!(key.as_str(), "type" | "timeout" | "interval"));
    let common: CommonSettings = ConfigError::deserialize(Value::Object(common))?;
    let kind = common.kind.as_deref().unwrap_or(name);
    let Some(factory) = registry.get(kind) else {
        let error = registry.unknown_kind(kind);
        return Err(match common.kind {
            Some(_) => error.within("type"),
            None if error.hint.is_none() => error.hint("a collector's name is its type unless `type` says another"),
            None => error,
        });
    };
    let collector = factory.build(Value::Object(settings), context(name, environment, host))?;
    Ok(Configured {
        name: name.to_owned(),
        kind: factory.kind,
        timeout: common.timeout.unwrap_or(agent.timeout),
        interval: common.interval.unwrap_or(agent.interval),
        collector: Arc::from(collector),
    })
}

/// Whether something can be named that: it is part of file names and of metrics.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

fn unknown_table(key: &str) -> ConfigError {
    let tables = TABLES.map(|table| format!("`{table}`")).join(", ");
    let error = ConfigError::new(key, format!("unknown key, expected one of {tables}"));
    match nearest(key, TABLES) {
        Some(word) => error.hint(format!("did you mean `{word}`?")),
        None => error,
    }
}

fn expected_table(path: &str, found: &DeValue<'_>) -> ConfigError {
    ConfigError::new(path, format!("invalid type: {}, expected a table", found.type_str()))
}

/// The form in which collectors take their settings, whatever language they were written in.
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
    let mut found = None;
    let mut value: Option<&DeValue<'_>> = None;
    for segment in path.split(['.', '[']).map(|segment| segment.trim_end_matches(']')) {
        let table = value.map_or(Some(document), DeValue::as_table);
        let array = value.and_then(DeValue::as_array);
        if let Some((key, inner)) = table.and_then(|table| table.get_key_value(segment)) {
            found = Some(key.span().start);
            value = Some(inner.get_ref());
        } else if let Some(item) = array.and_then(|items| items.get(segment.parse::<usize>().ok()?)) {
            found = Some(item.span().start);
            value = Some(item.get_ref());
        } else {
            break;
        }
    }
    found
}

fn line_at(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(text: &str) -> Vec<String> {
        let registry = Registry::linked().unwrap();
        let error = parse(text, &registry, &Environment::default(), &Host::default()).err().expect("complaints");
        let file = PathBuf::from("agent.toml");
        Invalid { file, complaints: error }.complaints().collect()
    }

    fn names(text: &str) -> Vec<(String, &'static str, Duration)> {
        let registry = Registry::linked().unwrap();
        let configured = parse(text, &registry, &Environment::default(), &Host::default());
        let configured = configured.unwrap_or_else(|errors| panic!("{errors:?}"));
        configured.collectors.into_iter().map(|collector| (collector.name, collector.kind, collector.timeout)).collect()
    }

    #[test]
    fn the_type_defaults_to_the_name_and_the_timeout_to_the_agents() {
        let text = "
            [agent]
            timeout = '1m'
            [collectors.edge]
            type = 'docker'
            host = 'unix:///x'
            timeout = '5s'
            [collectors.containerd]
        ";
        let minute = Duration::from_mins(1);
        assert_eq!(
            names(text),
            [("containerd".to_owned(), "containerd", minute), ("edge".to_owned(), "docker", Duration::from_secs(5))]
        );
    }

    #[test]
    fn every_complaint_has_its_line_its_path_and_a_proposal() {
        let text = "
[collectors.docker]
statse = ['all']
[collectors.containerd]
namespaces = ['a', 5]
[collectors.prod]
type = 'kubernets'
[agent]
timeout = '0s'
[colectors.x]
[filters]
images = { exclude = ['a', '/(/'] }
";
        assert_eq!(
            complaints(text),
            [
                "agent.toml:3: collectors.docker.statse: unknown key `statse`, expected one of `host`, `address`, \
                 `tls`, `states`; did you mean `states`?",
                "agent.toml:5: collectors.containerd.namespaces[1]: invalid type: integer `5`, expected a string",
                "agent.toml:7: collectors.prod.type: unknown collector type `kubernets`, this program has \
                 `containerd`, `cri`, `docker`, `exec`, `kubernetes`; did you mean `kubernetes`?",
                "agent.toml:9: agent.timeout: `0s` is not longer than nothing",
                "agent.toml:10: colectors: unknown key, expected one of `agent`, `collectors`, `filters`, `targets`, \
                 `telemetry`; did you mean `collectors`?",
                "agent.toml:12: filters.images.exclude[1]: `/(/` is not a valid pattern: unclosed group",
            ]
        );
    }

    #[test]
    fn a_lease_is_renewed_before_it_runs_out() {
        assert_eq!(
            complaints("[agent]\nlease = { name = 'a', renew = '20s' }\n"),
            ["agent.toml:2: agent.lease.renew: 20s is more than a third of `duration`, which is 30s"]
        );
        assert_eq!(names("[agent.lease]\nname = 'a'\nduration = '6s'\nrenew = '2s'\n"), []);
    }

    #[test]
    fn what_is_no_toml_is_told_with_its_line() {
        let found = complaints("[collectors.docker]\nhost = unix\n");
        assert!(found[0].starts_with("agent.toml:2: not valid TOML: "), "{found:?}");
    }

    #[test]
    fn wrong_shapes() {
        assert_eq!(
            complaints("collectors = 5")[0],
            "agent.toml:1: collectors: invalid type: integer, expected a table"
        );
        assert_eq!(
            complaints("[collectors]\ndocker = true")[0],
            "agent.toml:2: collectors.docker: invalid type: boolean, expected a table"
        );
        assert_eq!(
            complaints("filters = 5")[0],
            "agent.toml:1: filters: invalid type: integer `5`, expected struct Filters"
        );
        assert!(complaints("[filters]\nlabel = ['x']")[0].ends_with("did you mean `labels`?"));
        assert!(complaints("[collectors.dockr]")[0].ends_with("did you mean `docker`?"));
        assert_eq!(
            complaints("[collectors.docker]\ntimeout = 5")[0],
            "agent.toml:2: collectors.docker.timeout: invalid type: integer `5`, expected a duration like `30s` or `2m 30s`"
        );
        assert!(complaints("[collectors.'a b']")[0].contains("letters, digits"));
    }
}
