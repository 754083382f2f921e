//! `[filters]`: which labels and annotations are reported. Theirs are for nodes, namespaces and pods each, ours for all alike.

use super::{draft::Draft, entry::Entry, patterns};

const KINDS: [&str; 3] = ["nodes", "namespaces", "pods"];

/// The label that names an account has to reach the target.
pub(super) fn convert(draft: &mut Draft, label: Option<(String, Entry)>) {
    let disabled = KINDS.map(|kind| draft.take_as(&format!("metadata-collection.{kind}.disable"), Entry::truth));
    let is_disabled = disabled.each_ref().map(|found| found.as_ref().is_some_and(|(is_disabled, _)| *is_disabled));
    let all_disabled = is_disabled == [true; 3];
    for (is_disabled, entry) in disabled.into_iter().flatten() {
        if all_disabled {
            draft.push(&["filters", "annotations", "exclude"], "*".to_owned(), &entry, entry.line);
            if label.is_none() {
                draft.push(&["filters", "labels", "exclude"], "*".to_owned(), &entry, entry.line);
            }
        } else if is_disabled {
            draft.warn(
                &entry,
                "it is not converted: one filter is for nodes, namespaces and pods alike; \
                 name what is not to be reported in `exclude`",
            );
        } else {
            draft.note(&entry, "labels and annotations are reported unless a filter takes them out");
        }
    }
    for what in ["annotations", "labels"] {
        include(draft, what, is_disabled);
    }
    if let Some((key, entry)) = label
        && (all_disabled || draft.get(&["filters", "labels"]).is_some())
    {
        draft.note(&entry, "this label is reported too, so that it can decide");
        draft.push(&["filters", "labels", "include"], key, &entry, entry.line);
    }
}

fn include(draft: &mut Draft, what: &str, is_disabled: [bool; 3]) {
    let mut lists = Vec::new();
    let mut unlisted = Vec::new();
    for (kind, is_disabled) in KINDS.into_iter().zip(is_disabled) {
        let read = draft.take_as(&format!("metadata-collection.{kind}.include-{what}"), Entry::list);
        let written = draft.take_as(&format!("metadata-collection.{kind}.{what}"), Entry::list);
        if let Some((_, entry)) = &written {
            let message =
                "their program does not read this key, though its documentation has it: so far all were reported";
            draft.warn(entry, if read.is_some() { "`include-…` counts instead, as it does there" } else { message });
        }
        match (read.or(written), is_disabled) {
            (Some((_, entry)), true) => draft.note(&entry, "it does not count: `disable` is set"),
            (Some(found), false) => lists.push(found),
            (None, false) => unlisted.push(kind),
            (None, true) => {}
        }
    }
    for (items, entry) in lists {
        for item in items {
            // Their chart prints a list as `[a b]`, which is one text in YAML; no key of a label has a blank in it.
            for expression in item.text.split_whitespace() {
                draft.push(&["filters", what, "include"], patterns::found_in(expression), &entry, item.line);
            }
        }
        if !unlisted.is_empty() {
            let kinds = unlisted.join(" and ");
            draft.warn(
                &entry,
                format!("one filter is for all: of {kinds}, of which all {what} were reported, these are left as well"),
            );
        }
    }
}
