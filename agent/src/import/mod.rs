//! From a configuration of Anchore's `kai` or `k8s-inventory` to one of ours. Each key of theirs becomes a setting, or is told
//! with why it does not and what to do.

mod cluster;
mod draft;
mod entry;
mod filters;
mod keys;
mod patterns;
mod target;
mod yaml;

use stocktake_core::Registry;

pub(crate) use self::draft::{Level, Told};
use self::{draft::Draft, entry::Entry};

/// Stands over what was converted.
const HEADER: &str = "# Converted by `stocktake-agent config import` from a configuration of kai or k8s-inventory.\n\n";

/// What comes of a configuration of theirs.
pub(crate) struct Imported {
    /// TOML that our parser takes; none if there is an error.
    pub(crate) text: Option<String>,
    /// In the order of the lines that it is about.
    pub(crate) told: Vec<Told>,
}

/// Converts a configuration in YAML.
pub(crate) fn import(text: &str, registry: &Registry) -> Imported {
    let document = match yaml::parse(text) {
        Ok(document @ (yaml::Value::Table(_) | yaml::Value::Nothing)) => document,
        Ok(other) => return failed(None, format!("it is {}, expected a table", other.kind())),
        Err((line, message)) => return failed(line, format!("not valid YAML: {message}")),
    };
    let mut draft = convert(document);
    if !draft.has_failed() {
        draft.check(registry);
    }
    let text = (!draft.has_failed()).then(|| format!("{HEADER}{}", draft.text()));
    draft.told.sort_by_key(|told| told.line);
    Imported { text, told: draft.told }
}

fn convert(document: yaml::Value) -> Draft {
    let is_whole = |key: &str| keys::all().any(|known| known == key);
    let mut draft = Draft::new(Entry::all(document, is_whole));
    cluster::convert(&mut draft);
    let label = target::convert(&mut draft);
    filters::convert(&mut draft, label);
    for (key, why) in keys::NOT_HERE {
        if let Some(entry) = draft.take(key) {
            draft.note(&entry, *why);
        }
    }
    draft.tell_rest();
    draft.tell_of_targets();
    draft
}

fn failed(line: Option<usize>, message: String) -> Imported {
    Imported { text: None, told: vec![Told { level: Level::Error, line, key: String::new(), message }] }
}

#[cfg(test)]
mod tests;
