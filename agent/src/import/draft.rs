//! A configuration of ours while it is made: which setting comes from which key of theirs, and what is to be told.

use std::collections::BTreeSet;

use stocktake_core::{ConfigError, Environment, Registry, model::Host, nearest};
use toml::{Table, Value};

use super::{entry::Entry, keys};
use crate::config;

/// Something that a person ought to know, with the key that it is about, where there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) level: Level,
    pub(crate) line: Option<usize>,
    pub(crate) key: String,
    pub(crate) message: String,
}

/// How much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// Nothing has to be done.
    Note,
    /// What happens from now on is not what happened before, or a person has something to do.
    Warning,
    /// It is not known what is meant.
    Unknown,
    /// There is no configuration because of it.
    Error,
}

/// A setting and the key that it was made of.
struct Origin {
    path: String,
    key: String,
    line: usize,
}

pub(super) struct Draft {
    /// What was not looked at yet.
    entries: Vec<Entry>,
    table: Table,
    origins: Vec<Origin>,
    /// Environment variables that it refers to.
    variables: BTreeSet<String>,
    pub(super) told: Vec<Told>,
}

impl Draft {
    pub(super) fn new(entries: Vec<Entry>) -> Self {
        let (table, origins, variables) = (Table::new(), Vec::new(), BTreeSet::new());
        Self { entries, table, origins, variables, told: Vec::new() }
    }

    /// What stands at a key. That nothing does is told, and the same as if the key were not there.
    pub(super) fn take(&mut self, key: &str) -> Option<Entry> {
        let position = self.entries.iter().position(|entry| entry.is(key))?;
        let entry = self.entries.remove(position);
        if entry.value.is_empty() {
            self.note_empty(&entry);
            return None;
        }
        Some(entry)
    }

    /// What stands at a key, as what it has to be.
    pub(super) fn take_as<T>(&mut self, key: &str, read: fn(&Entry) -> Result<T, String>) -> Option<(T, Entry)> {
        let entry = self.take(key)?;
        self.read(&entry, read).map(|value| (value, entry))
    }

    /// What an entry says, or a complaint.
    pub(super) fn read<T>(&mut self, entry: &Entry, read: impl Fn(&Entry) -> Result<T, String>) -> Option<T> {
        read(entry).map_err(|message| self.tell(Level::Error, entry, message)).ok()
    }

    pub(super) fn set(&mut self, path: &[&str], value: impl Into<Value>, from: &Entry) {
        let Some((key, parents)) = path.split_last() else { return };
        self.origin(path.join("."), from, from.line);
        if let Some(table) = self.table_at(parents) {
            table.insert((*key).to_owned(), value.into());
        }
    }

    /// Adds to a list, unless it is there.
    pub(super) fn push(&mut self, path: &[&str], value: String, from: &Entry, line: usize) {
        let Some((key, parents)) = path.split_last() else { return };
        let Some(table) = self.table_at(parents) else { return };
        let list = table.entry(*key).or_insert_with(|| Value::Array(Vec::new()));
        let Some(list) = list.as_array_mut() else { return };
        let value = Value::String(value);
        if !list.contains(&value) {
            list.push(value);
            let item = format!("{}[{}]", path.join("."), list.len() - 1);
            self.origin(item, from, line);
        }
    }

    /// Sets a table that holds nothing yet.
    pub(super) fn table(&mut self, path: &[&str]) {
        self.table_at(path);
    }

    /// A text that is an environment variable's.
    pub(super) fn refer(&mut self, variable: &str) {
        self.variables.insert(variable.to_owned());
    }

    pub(super) fn get(&self, path: &[&str]) -> Option<&Value> {
        let (first, rest) = path.split_first()?;
        rest.iter().try_fold(self.table.get(*first)?, |value, key| value.get(key))
    }

    /// Takes a table away, and says of each key that it was made of why.
    pub(super) fn withdraw(&mut self, parent: &str, key: &str, why: &str) {
        if let Some(table) = self.table.get_mut(parent).and_then(Value::as_table_mut) {
            table.remove(key);
            if table.is_empty() {
                self.table.remove(parent);
            }
        }
        let path = format!("{parent}.{key}");
        let (gone, kept): (Vec<_>, _) =
            std::mem::take(&mut self.origins).into_iter().partition(|origin| is_within(&origin.path, &path));
        self.origins = kept;
        for origin in gone {
            let told = Told {
                level: Level::Warning,
                line: Some(origin.line),
                key: origin.key,
                message: format!("it is not converted: {why}"),
            };
            if !self.told.contains(&told) {
                self.told.push(told);
            }
        }
    }

    pub(super) fn note_empty(&mut self, entry: &Entry) {
        self.note(entry, "it is empty, and so the default");
    }

    pub(super) fn note(&mut self, entry: &Entry, message: impl Into<String>) {
        self.tell(Level::Note, entry, message);
    }

    pub(super) fn warn(&mut self, entry: &Entry, message: impl Into<String>) {
        self.tell(Level::Warning, entry, message);
    }

    pub(super) fn tell(&mut self, level: Level, entry: &Entry, message: impl Into<String>) {
        self.told.push(Told { level, line: Some(entry.line), key: entry.key.clone(), message: message.into() });
    }

    /// Tells of all that nobody has taken.
    pub(super) fn tell_rest(&mut self) {
        for entry in std::mem::take(&mut self.entries) {
            let beneath = format!("{}.", entry.key.to_ascii_lowercase());
            if !keys::all().any(|key| key.starts_with(&beneath)) {
                let hint = nearest(&entry.key, keys::all());
                let hint = hint.map(|word| format!("; did you mean `{word}`?")).unwrap_or_default();
                self.tell(Level::Unknown, &entry, format!("neither kai nor k8s-inventory has this key{hint}"));
            } else if entry.value.is_empty() {
                self.note_empty(&entry);
            } else {
                self.tell(Level::Error, &entry, format!("it is {}, expected a table", entry.value.kind()));
            }
        }
    }

    /// Says what a person has to add.
    pub(super) fn tell_of_targets(&mut self) {
        if self.table.get("targets").is_none() {
            let message = "no target is left, and `stocktake-agent run` needs one: add `[targets.NAME]`".to_owned();
            self.told.push(Told { level: Level::Warning, line: None, key: String::new(), message });
        }
    }

    /// Lets our own parser read it; its complaints are told with the keys that they come from.
    pub(super) fn check(&mut self, registry: &Registry) {
        let mut table = self.table.clone();
        stand_in(&mut table);
        let variables = self.variables.iter().map(|name| (name.clone(), "x".to_owned())).collect();
        let environment = Environment { variables, ..Environment::default() };
        for complaint in config::complaints(&table.to_string(), registry, &environment, &Host::default()) {
            let (line, key) = match self.origin_of(&complaint) {
                Some(origin) => (Some(origin.line), origin.key.clone()),
                None => (None, String::new()),
            };
            let message = format!("it would become what is refused: {complaint}");
            self.told.push(Told { level: Level::Error, line, key, message });
        }
    }

    /// Keys of theirs of which something has become.
    #[cfg(test)]
    pub(super) fn converted(&self) -> impl Iterator<Item = &str> {
        self.origins.iter().map(|origin| origin.key.as_str())
    }

    pub(super) fn has_failed(&self) -> bool {
        self.told.iter().any(|told| told.level == Level::Error)
    }

    pub(super) fn text(&self) -> String {
        self.table.to_string()
    }

    /// Which key a complaint comes from: the one of the setting around it, else of the first that it names, else of the first in it.
    fn origin_of(&self, ConfigError { path, message, .. }: &ConfigError) -> Option<&Origin> {
        let around = self.origins.iter().filter(|origin| is_within(path, &origin.path));
        let inside = self.origins.iter().filter(|origin| is_within(&origin.path, path));
        let is_named = |origin: &&Origin| {
            origin.path.rsplit('.').next().is_some_and(|setting| message.contains(&format!("`{setting}`")))
        };
        around
            .max_by_key(|origin| origin.path.len())
            .or_else(|| inside.clone().find(is_named))
            .or_else(|| inside.clone().next())
    }

    /// Notes which key a setting was made of.
    pub(super) fn origin(&mut self, path: String, from: &Entry, line: usize) {
        self.origins.push(Origin { path, key: from.key.clone(), line });
    }

    fn table_at(&mut self, path: &[&str]) -> Option<&mut Table> {
        path.iter().try_fold(&mut self.table, |table, key| {
            table.entry(*key).or_insert_with(|| Value::Table(Table::new())).as_table_mut()
        })
    }
}

/// A kubeconfig's file, and the pod's service account, are on the machine where the agent is to run and not on this one: in
/// their place stands a cluster that takes no file.
fn stand_in(table: &mut Table) {
    let cluster = table.get_mut("collectors").and_then(|all| all.get_mut("kubernetes")).and_then(Value::as_table_mut);
    if let Some(cluster) = cluster.filter(|cluster| !cluster.contains_key("kubeconfig_data")) {
        cluster.remove("kubeconfig");
        cluster.insert("server".to_owned(), "http://127.0.0.1".into());
    }
}

/// Whether a path of settings is another or leads on from it.
fn is_within(path: &str, other: &str) -> bool {
    path.strip_prefix(other).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}
