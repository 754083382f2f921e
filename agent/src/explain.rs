//! What `collect --explain` tells: what each filter took out of what each collector saw, and which took nothing.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use stocktake_core::{
    filter::{Filters, Removed, Rule, Taken},
    model::{Source, Text},
};

use crate::say;

/// Says it for each source, one line a rule. A rule that took nothing has a line too, because that is how a misspelt pattern
/// is found; but not a limit, which nobody has written.
pub(crate) fn explain(filters: &Filters, sources: &[Source], removed: &BTreeMap<Text, Removed>) {
    let nothing = Removed::default();
    for source in sources {
        let removed = removed.get(&source.collector).unwrap_or(&nothing);
        let is_told = |rule: &Rule| !matches!(rule, Rule::Limit(_)) || removed.by(*rule).is_some();
        for rule in filters.rules().into_iter().filter(is_told) {
            let (message, fields) = line(&source.collector, rule, &filters.describe(rule), removed.by(rule));
            say::detailed_note(&message, fields);
        }
    }
}

/// For people, and for programs.
fn line(collector: &str, rule: Rule, name: &str, taken: Option<&Taken>) -> (String, Map<String, Value>) {
    let nothing = Taken::default();
    let taken = taken.unwrap_or(&nothing);
    let verb = if matches!(rule, Rule::Limit(_)) { "cut" } else { "removed" };
    let message = if taken.counts.is_empty() {
        format!("{collector}: {name}: {verb} nothing")
    } else {
        let total: usize = taken.counts.values().sum();
        let examples: Vec<String> = taken.examples.iter().map(ToString::to_string).collect();
        let more = if total > examples.len() { ", …" } else { "" };
        format!("{collector}: {name}: {verb} {taken}: {}{more}", examples.join(", "))
    };
    let counts: Map<String, Value> =
        taken.counts.iter().map(|(thing, number)| (thing.to_string(), json!(number))).collect();
    let examples: Vec<String> = taken.examples.iter().map(ToString::to_string).collect();
    let fields = [
        ("collector", json!(collector)),
        ("rule", json!(name)),
        (verb, Value::Object(counts)),
        ("examples", json!(examples)),
    ];
    (message, fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}
