//! `[targets]`: who is told, as whom, and what of it goes to which account.

use super::{
    draft::{Draft, Level},
    entry::{Entry, Item},
    patterns,
};

/// Where a password is looked for that does not stand in the file: what the Helm chart sets, too.
const PASSWORD: &str = "ANCHORE_PASSWORD";

/// Settings that are made of one key as it is.
const TEXTS: [(&str, &[&str]); 6] = [
    ("anchore.account", &["account"]),
    ("missing-tag-policy.policy", &["missing_tag"]),
    ("missing-tag-policy.tag", &["missing_tag_insert"]),
    ("anchore-registration.registration-id", &["registration", "id"]),
    ("anchore-registration.integration-name", &["registration", "name"]),
    ("anchore-registration.integration-description", &["registration", "description"]),
];

const LABEL: &str = "account_route_by_namespace_label";

/// Returns the label that names an account, if one does.
pub(super) fn convert(draft: &mut Draft) -> Option<(String, Entry)> {
    let url = draft.take_as("anchore.url", Entry::text);
    let user = draft.take_as("anchore.user", Entry::text);
    for (key, found) in [("url", &url), ("user", &user)] {
        if let Some((text, entry)) = found {
            draft.set(&path(&[key]), text.clone(), entry);
        }
    }
    password(draft, user.as_ref().map(|(_, entry)| entry));
    for (key, setting) in TEXTS {
        if let Some((text, entry)) = draft.take_as(key, Entry::text) {
            draft.set(&path(setting), text, &entry);
        }
    }
    connection(draft);
    limits(draft);
    routes(draft);
    let mut label = label(draft);
    if url.is_none() || user.is_none() {
        let why = "without `anchore.url` and `anchore.user` there is nobody to tell, there as here";
        draft.withdraw("targets", "anchore", why);
        label = None;
    }
    match draft.take_as("verbose-inventory-reports", Entry::truth) {
        Some((true, entry)) => {
            draft.table(&["targets", "stdout"]);
            draft.note(&entry, "it becomes the target `stdout`, which prints what is reported as lines of JSON");
        }
        Some((false, entry)) => draft.note(&entry, "nothing is printed unless there is a target `stdout`"),
        None => {}
    }
    label
}

fn path<'p>(setting: &[&'p str]) -> Vec<&'p str> {
    ["targets", "anchore"].into_iter().chain(setting.iter().copied()).collect()
}

fn password(draft: &mut Draft, user: Option<&Entry>) {
    if let Some(entry) = draft.take("anchore.password") {
        secret(draft, &path(&[]), &entry);
    } else if let Some(user) = user {
        draft.set(&path(&["password_env"]), PASSWORD, user);
        draft.refer(PASSWORD);
        draft.warn(
            user,
            format!(
                "no password stands in the file: set the environment variable {PASSWORD} to what was \
                 KAI_ANCHORE_PASSWORD or ANCHORE_K8S_INVENTORY_ANCHORE_PASSWORD, or write `password_file`"
            ),
        );
    }
}

/// Sets a password, or the variable that it is in.
fn secret(draft: &mut Draft, table: &[&str], entry: &Entry) {
    let at = |key| table.iter().copied().chain([key]).collect::<Vec<_>>();
    if let Some(variable) = entry.variable() {
        draft.refer(variable);
        draft.set(&at("password_env"), variable, entry);
        draft
            .note(entry, format!("the environment variable {variable} is read, which has to be set for the agent too"));
    } else if let Some(password) = draft.read(entry, Entry::text) {
        draft.set(&at("password"), password, entry);
        draft.warn(entry, "it stands in the result as it stands here; better in `password_file` or `password_env`");
    }
}

fn connection(draft: &mut Draft) {
    if let Some((is_insecure, entry)) = draft.take_as("anchore.http.insecure", Entry::truth) {
        draft.set(&path(&["danger_accept_invalid_certificates"]), is_insecure, &entry);
        if is_insecure {
            draft
                .warn(&entry, "whoever is in between can take the password and the inventory: write `ca_file` instead");
        }
    }
    match draft.take_as("anchore.http.timeout-seconds", Entry::whole) {
        Some((0, entry)) => {
            draft
                .note(&entry, "0 is no limit there; here a request may take `timeout`, a minute where nothing is said");
        }
        Some((seconds, entry)) => draft.set(&path(&["timeout"]), format!("{seconds}s"), &entry),
        None => {}
    }
    if let Some((seconds, entry)) = draft.take_as("health-report-interval-seconds", Entry::whole) {
        draft.set(&path(&["registration", "health_interval"]), format!("{seconds}s"), &entry);
    }
}

fn limits(draft: &mut Draft) {
    match draft.take_as("inventory-report-limits.namespaces", Entry::whole) {
        Some((0, entry)) => draft.note(&entry, "0 is no limit, and there is none where nothing is said"),
        Some((number, entry)) => {
            let number = i64::try_from(number).unwrap_or(i64::MAX);
            draft.set(&path(&["max_namespaces"]), number, &entry);
        }
        None => {}
    }
    match draft.take_as("inventory-report-limits.payload-threshold-bytes", Entry::whole) {
        Some((0, entry)) => draft
            .note(&entry, "0 is no limit there; here a request has at most `max_bytes`, 8 MiB where nothing is said"),
        Some((bytes, entry)) => {
            draft.set(&path(&["max_bytes"]), format!("{bytes} B"), &entry);
            draft.note(&entry, "it becomes a limit, which no request exceeds by a namespace");
        }
        None => {}
    }
}

fn routes(draft: &mut Draft) {
    let Some((accounts, routes)) = draft.take_as("account-routes", Entry::within) else { return };
    for account in accounts {
        if account.value.is_empty() {
            draft.warn(&account, "it has no namespaces and is left out");
        } else if let Some(fields) = draft.read(&account, Entry::within) {
            route(draft, account.name(&routes), &account, fields);
        }
    }
}

/// What an account route says.
#[derive(Default)]
struct Route {
    namespaces: Option<(Vec<Item>, Entry)>,
    user: Option<Entry>,
    password: Option<Entry>,
}

fn route(draft: &mut Draft, name: &str, account: &Entry, fields: Vec<Entry>) {
    let mut found = Route::default();
    for field in fields {
        let key = field.name(account).to_ascii_lowercase();
        match key.as_str() {
            "namespaces" | "user" | "password" if field.value.is_empty() => {
                draft.note_empty(&field);
            }
            "namespaces" => {
                let list = draft.read(&field, Entry::list);
                found.namespaces = list.map(|list| (list, field));
            }
            "user" => found.user = Some(field),
            "password" => found.password = Some(field),
            _ => draft.tell(Level::Unknown, &field, "a route has `namespaces`, `user` and `password`"),
        }
    }
    let Some((namespaces, entry)) = found.namespaces else {
        for field in [&found.user, &found.password].into_iter().flatten() {
            draft.warn(field, "it is not converted: its route has no namespaces");
        }
        draft.warn(account, "it has no namespaces and is left out");
        return;
    };
    let table = path(&["account_routes", name]);
    let at = |key| table.iter().copied().chain([key]).collect::<Vec<_>>();
    for Item { line, text } in namespaces {
        draft.push(&at("namespaces"), patterns::found_in(&text), &entry, line);
        if patterns::is_label(&text) {
            let message = format!(
                "`{text}` covers every name that it is found in, there and here; \
                 write `{text}` instead of `*{text}*` for one namespace"
            );
            draft.warn(&entry, message);
        }
    }
    match (found.user, found.password) {
        (Some(user), Some(password)) => {
            if let Some(text) = draft.read(&user, Entry::text) {
                draft.set(&at("user"), text, &user);
            }
            secret(draft, &table, &password);
        }
        (None, None) => {
            draft.note(account, "it has no user: there nothing is sent for it, here the target's user sends it");
        }
        (user, password) => {
            for field in [user, password].into_iter().flatten() {
                draft.warn(
                    &field,
                    "it is not converted: user and password belong together; without them the target's user sends",
                );
            }
        }
    }
}

fn label(draft: &mut Draft) -> Option<(String, Entry)> {
    let label = draft.take_as("account-route-by-namespace-label.key", Entry::text);
    let default = draft.take_as("account-route-by-namespace-label.default-account", Entry::text);
    let read = draft.take_as("account-route-by-namespace-label.ignore-missing-label", Entry::truth);
    let written = draft.take_as("account-route-by-namespace-label.ignore-namespace-missing-label", Entry::truth);
    if let Some((_, entry)) = &written {
        let message = if read.is_some() {
            "`ignore-missing-label` counts instead, as it does there"
        } else {
            "their program does not read this key, though its documentation has it: \
             so far namespaces without the label were sent"
        };
        draft.warn(entry, message);
    }
    let ignored = read.or(written);
    let Some((key, entry)) = &label else {
        let entries = default.map(|(_, entry)| entry).into_iter();
        for entry in entries.chain(ignored.map(|(_, entry)| entry)) {
            draft.note(&entry, "it is not converted: without `account-route-by-namespace-label.key` no label decides");
        }
        return None;
    };
    draft.set(&path(&[LABEL, "key"]), key.clone(), entry);
    let is_ignored = ignored.as_ref().is_some_and(|(is_ignored, _)| *is_ignored);
    if let Some((_, entry)) = ignored {
        draft.set(&path(&[LABEL, "ignore_missing_label"]), is_ignored, &entry);
    }
    match default {
        Some((_, entry)) if is_ignored => {
            draft.note(&entry, "it is not converted: namespaces without the label are left out");
        }
        Some((account, entry)) => draft.set(&path(&[LABEL, "default_account"]), account, &entry),
        None => {}
    }
    label
}
