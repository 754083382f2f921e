//! `[targets.NAME]`: who takes reports.

use serde_json::Value;
use stocktake_core::{ConfigError, Environment, model::Host, nearest};
use toml::de::DeValue;

use super::{expected_table, is_name, json};
use crate::deliver::{KINDS, Target, TargetContext};

/// A target that is ready to be delivered to.
pub(crate) struct ConfiguredTarget {
    pub(crate) name: String,
    pub(crate) kind: &'static str,
    pub(crate) target: Box<dyn Target>,
}

pub(super) fn target(
    name: &str,
    table: &DeValue<'_>,
    environment: &Environment,
    host: &Host,
) -> Result<ConfiguredTarget, ConfigError> {
    if !is_name(name) {
        return Err(ConfigError::new("", "a target's name is made of letters, digits, `-` and `_`"));
    }
    let Value::Object(mut settings) = json(table) else { return Err(expected_table("", table)) };
    let given = match settings.remove("type") {
        Some(Value::String(kind)) => Some(kind),
        Some(other) => return Err(ConfigError::new("type", format!("invalid type: `{other}`, expected a string"))),
        None => None,
    };
    let wanted = given.as_deref().unwrap_or(name);
    let Some(kind) = KINDS.iter().find(|kind| kind.kind == wanted) else {
        return Err(unknown(wanted, given.is_some()));
    };
    let context = TargetContext { name: name.to_owned(), environment: environment.clone(), host: host.clone() };
    let target = (kind.build)(Value::Object(settings), &context)?;
    Ok(ConfiguredTarget { name: name.to_owned(), kind: kind.kind, target })
}

fn unknown(kind: &str, is_given: bool) -> ConfigError {
    let names: Vec<&str> = KINDS.iter().map(|kind| kind.kind).collect();
    let list: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    let error = ConfigError::new("", format!("unknown target type `{kind}`, this program has {}", list.join(", ")));
    let error = match nearest(kind, names) {
        Some(word) => error.hint(format!("did you mean `{word}`?")),
        None if is_given => error,
        None => error.hint("a target's name is its type unless `type` says another"),
    };
    if is_given { error.within("type") } else { error }
}
