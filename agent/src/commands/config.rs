//! `config schema` and `config example`: what a configuration can hold, from the collectors' own schemas.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
};

use serde_json::{Map, Value, json};
use stocktake_core::{CollectorFactory, Registry, filter::Filters};

use crate::{
    config::{AgentSettings, TelemetrySettings},
    deliver::{KINDS, TargetKind},
    exit::Exit,
};

pub(super) fn schema(registry: &Registry) -> anyhow::Result<Exit> {
    let mut out = io::stdout();
    // As an input/output error, so that a closed pipe is recognised.
    serde_json::to_writer_pretty(&mut out, &configuration_schema(registry)?).map_err(io::Error::from)?;
    writeln!(out)?;
    Ok(Exit::Success)
}

pub(super) fn example(registry: &Registry) -> anyhow::Result<Exit> {
    io::stdout().write_all(configuration_example(registry)?.as_bytes())?;
    Ok(Exit::Success)
}

fn configuration_schema(registry: &Registry) -> anyhow::Result<Value> {
    let mut definitions = Map::new();
    let collectors = registry.iter().map(|factory| Ok((factory.kind, settings_schema(factory)?)));
    let collectors = by_name("collector", collectors.collect::<anyhow::Result<_>>()?, &mut definitions);
    let targets = KINDS.iter().map(|kind| Ok((kind.kind, target_schema(kind)?)));
    let targets = by_name("target", targets.collect::<anyhow::Result<_>>()?, &mut definitions);
    let mut section = |schema: schemars::Schema| {
        let Settings { schema, definitions: inner } = parts(schema.into());
        definitions.extend(inner);
        schema
    };
    let agent = section(schemars::schema_for!(AgentSettings));
    let filters = section(schemars::schema_for!(Filters));
    let telemetry = section(schemars::schema_for!(TelemetrySettings));
    Ok(json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Configuration of stocktake-agent",
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "agent": agent,
            "filters": filters,
            "telemetry": telemetry,
            "collectors": with_members(collectors, 1, "Collectors by name."),
            "targets": with_members(targets, 0, "Targets by name."),
        },
        "required": ["collectors"],
        "$defs": definitions,
    }))
}

/// A schema, and the definitions that it refers to.
struct Settings {
    schema: Value,
    definitions: Map<String, Value>,
}

fn with_members(mut tables: Value, at_least: usize, description: &str) -> Value {
    tables["description"] = description.into();
    tables["minProperties"] = at_least.into();
    tables
}

/// A table of tables, each of one of these types: a key that is a type's name has that type unless it says another; any other
/// key has to say one.
fn by_name(what: &str, kinds: Vec<(&str, Settings)>, definitions: &mut Map<String, Value>) -> Value {
    let reference = |kind: &str| format!("#/$defs/{what}.{kind}");
    let typed = kinds.iter().map(|(kind, _)| json!({ "$ref": reference(kind), "required": ["type"] }));
    let typed: Vec<Value> = typed.collect();
    let mut properties = Map::new();
    for (kind, Settings { schema: mut settings, definitions: inner }) in kinds {
        settings["properties"]["type"] = json!({ "const": kind, "description": format!("Type of the {what}.") });
        definitions.extend(inner);
        definitions.insert(format!("{what}.{kind}"), settings);
        let choices: Vec<Value> = std::iter::once(json!({ "$ref": reference(kind) })).chain(typed.clone()).collect();
        properties.insert(kind.to_owned(), json!({ "anyOf": choices }));
    }
    json!({
        "type": "object",
        "propertyNames": { "pattern": "^[A-Za-z0-9_-]+$" },
        "properties": properties,
        "additionalProperties": { "anyOf": typed },
    })
}

/// A type's settings with those that all collectors share.
fn settings_schema(factory: &CollectorFactory) -> anyhow::Result<Settings> {
    let Settings { mut schema, definitions } = parts(serde_json::to_value(factory.settings_schema())?);
    schema["properties"]["timeout"] = json!({
        "type": "string",
        "description": "How long one collection may take; default: that of `[agent]`.",
        "examples": ["30s"],
    });
    schema["properties"]["interval"] = json!({
        "type": "string",
        "description": "How often to look; default: that of `[agent]`.",
        "examples": ["1m"],
    });
    Ok(Settings { schema, definitions })
}

fn target_schema(kind: &TargetKind) -> anyhow::Result<Settings> {
    Ok(parts(serde_json::to_value((kind.schema)())?))
}

fn parts(schema: Value) -> Settings {
    let mut schema = without_header(schema);
    let inner = schema.as_object_mut().and_then(|schema| schema.remove("$defs"));
    let definitions = inner.and_then(|inner| inner.as_object().cloned()).unwrap_or_default();
    Settings { schema, definitions }
}

fn without_header(mut schema: Value) -> Value {
    if let Some(schema) = schema.as_object_mut() {
        schema.remove("$schema");
        schema.remove("title");
    }
    schema
}

/// Every setting with its description and its default or an example, commented out: as it stands, the example selects
/// each collector and target with its defaults, and leaves out those that cannot do without a setting.
fn configuration_example(registry: &Registry) -> anyhow::Result<String> {
    let mut text = String::from(
        "# Configuration of stocktake-agent. What is commented out shows a default or an example.\n\
         # A collector's or target's name may be chosen freely; `type` then says what it is.\n\n[agent]\n",
    );
    write_settings(&mut text, &serde_json::to_value(schemars::schema_for!(AgentSettings))?)?;
    text.push_str("\n# What is reported of everything that is seen: docs/filters.md\n[filters]\n");
    write_settings(&mut text, &serde_json::to_value(schemars::schema_for!(Filters))?)?;
    text.push_str("\n# Health, metrics and traces: docs/metrics.md\n[telemetry]\n");
    write_settings(&mut text, &serde_json::to_value(schemars::schema_for!(TelemetrySettings))?)?;
    for factory in registry.iter() {
        let CollectorFactory { kind, summary, stability, .. } = factory;
        let Settings { schema, .. } = settings_schema(factory)?;
        write_table(&mut text, &format!("{summary} ({stability})"), "collectors", kind, &schema)?;
    }
    for TargetKind { kind, summary, schema, .. } in KINDS {
        let schema = serde_json::to_value(schema())?;
        write_table(&mut text, summary, "targets", kind, &schema)?;
    }
    Ok(text)
}

fn write_table(text: &mut String, summary: &str, table: &str, kind: &str, schema: &Value) -> anyhow::Result<()> {
    let comment = if schema["required"].as_array().is_some_and(|keys| !keys.is_empty()) { "# " } else { "" };
    writeln!(text, "\n# {summary}\n{comment}[{table}.{kind}]\n# type = \"{kind}\"")?;
    write_settings(text, schema)
}

fn write_settings(text: &mut String, schema: &Value) -> anyhow::Result<()> {
    for (key, property) in schema["properties"].as_object().into_iter().flatten() {
        text.push('\n');
        for line in property["description"].as_str().unwrap_or_default().lines() {
            writeln!(text, "{}", format!("# {line}").trim_end())?;
        }
        let shown = property["examples"].get(0).or_else(|| property.get("default").filter(|value| !value.is_null()));
        if let Some(value) = shown {
            writeln!(text, "# {key} = {}", inline_toml(value)?)?;
        }
    }
    Ok(())
}

fn inline_toml(value: &Value) -> anyhow::Result<String> {
    Ok(match value {
        Value::Object(table) => {
            let entries: Vec<String> = table
                .iter()
                .map(|(key, value)| Ok(format!("{key} = {}", inline_toml(value)?)))
                .collect::<anyhow::Result<_>>()?;
            format!("{{ {} }}", entries.join(", "))
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(inline_toml).collect::<anyhow::Result<_>>()?;
            format!("[{}]", items.join(", "))
        }
        other => toml::Value::try_from(other)?.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A key of which the example shows no value is a key that nobody learns how to write.
    #[test]
    fn every_setting_is_shown_with_a_value() {
        let registry = Registry::linked().unwrap();
        let text = configuration_example(&registry).unwrap();
        for setting in ["labels", "annotations", "images", "containers"] {
            assert!(text.contains(&format!("\n# {setting} = {{ ")), "filters {setting}: give it an example");
        }
        for factory in registry.iter() {
            let Settings { schema, .. } = settings_schema(factory).unwrap();
            for key in schema["properties"].as_object().unwrap().keys() {
                assert!(text.contains(&format!("\n# {key} = ")), "{} {key}: give it an example", factory.kind);
            }
        }
        let tables = KINDS.iter().map(|target| (target.kind, (target.schema)()));
        let telemetry = schemars::schema_for!(TelemetrySettings);
        for (table, schema) in tables.chain([("agent", schemars::schema_for!(AgentSettings)), ("telemetry", telemetry)])
        {
            for key in schema.as_value()["properties"].as_object().into_iter().flat_map(Map::keys) {
                assert!(text.contains(&format!("\n# {key} = ")), "{table} {key}: give it an example");
            }
        }
    }

    #[test]
    fn the_example_is_a_configuration_with_and_without_what_is_commented_out() {
        let text = configuration_example(&Registry::linked().unwrap()).unwrap();
        text.parse::<toml::Table>().unwrap();
        let is_key = |key: &str| key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        let setting = |line: &str| {
            line.starts_with("# [collectors.")
                || line.starts_with("# [targets.")
                || line.strip_prefix("# ").and_then(|rest| rest.split_once(" = ")).is_some_and(|(key, _)| is_key(key))
        };
        let all: Vec<&str> = text.lines().map(|line| if setting(line) { &line[2..] } else { line }).collect();
        let table = all.join("\n").parse::<toml::Table>().unwrap();
        assert_eq!(table["collectors"]["docker"]["type"].as_str(), Some("docker"));
        assert_eq!(table["collectors"]["exec"]["type"].as_str(), Some("exec"));
        assert!(KINDS.iter().all(|target| table["targets"][target.kind]["type"].as_str() == Some(target.kind)));
    }
}
