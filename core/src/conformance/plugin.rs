//! What a plug-in says of itself, and which settings it takes. No runtime is asked.

use serde_json::{Value, json};

use super::{
    rule,
    schema::{Property, properties, with, wrong_value},
    suite::Suite,
};

/// A key that nobody's settings have.
const UNKNOWN_KEY: &str = "stocktake_conformance_unknown";

pub(super) async fn check(suite: &mut Suite) {
    let factory = suite.subject.factory;
    suite.judge(rule::KIND, (!is_kind(factory.kind)).then(|| format!("`{}`", factory.kind)));
    suite.judge(rule::SUMMARY, (!is_summary(factory.summary)).then(|| format!("`{}`", factory.summary)));

    let settings = properties(factory.settings_schema().as_value());
    let undescribed = settings.iter().find(|property| !property.is_described);
    suite.judge(rule::DESCRIPTIONS, undescribed.map(|property| format!("`{}` has none", property.path.join("."))));
    unknown_keys(suite, &settings).await;
    wrong_types(suite, &settings).await;
}

fn is_kind(kind: &str) -> bool {
    kind.starts_with(|first: char| first.is_ascii_lowercase())
        && kind.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

fn is_summary(summary: &str) -> bool {
    let length = summary.chars().count();
    (1..=100).contains(&length)
        && summary.trim() == summary
        && !summary.contains(char::is_control)
        && !summary.ends_with('.')
}

/// At the top, and in every setting that is a table of its own.
async fn unknown_keys(suite: &mut Suite, settings: &[Property]) {
    let tables = settings.iter().filter(|property| property.is_closed_object).map(|property| property.path.clone());
    for table in std::iter::once(Vec::new()).chain(tables) {
        let place = if table.is_empty() { "the settings".to_owned() } else { format!("`{}`", table.join(".")) };
        let inside = table.iter().fold(&suite.subject.settings, |value, key| value.get(key).unwrap_or(&Value::Null));
        let with_key = with(inside, &[UNKNOWN_KEY.to_owned()], json!(1));
        let altered = with(&suite.subject.settings, &table, with_key);
        let seen = match suite.build_with(altered).await {
            Ok(_) => Some(format!("{place} took a key `{UNKNOWN_KEY}`")),
            Err(error) if error.contains(UNKNOWN_KEY) => None,
            Err(error) => Some(format!("{place} with a key `{UNKNOWN_KEY}` got the complaint: {error}")),
        };
        suite.judge(rule::UNKNOWN_KEYS, seen);
    }
}

/// Only settings at the top: those within one cannot be had without knowing what else that one needs.
async fn wrong_types(suite: &mut Suite, settings: &[Property]) {
    for property in settings.iter().filter(|property| property.path.len() == 1) {
        let (Some(wrong), key) = (wrong_value(&property.types), property.path.join(".")) else { continue };
        let altered = with(&suite.subject.settings, &property.path, wrong.clone());
        let seen = match suite.build_with(altered).await {
            Ok(_) => Some(format!("`{key}` took {wrong}")),
            Err(error) if error.contains(&key) => None,
            Err(error) => Some(format!("`{key}` = {wrong} got the complaint: {error}")),
        };
        suite.judge(rule::WRONG_TYPES, seen);
    }
    suite.skip(rule::WRONG_TYPES, "no setting is of a type that the schema names");
}
