//! `[agent]` and `[collectors.kubernetes]`: which cluster is looked at, what of it, and when.

use serde_json::json;

use super::{
    draft::Draft,
    entry::{Entry, Item},
    patterns,
};

const COLLECTOR: [&str; 2] = ["collectors", "kubernetes"];

pub(super) fn convert(draft: &mut Draft) {
    draft.table(&COLLECTOR);
    if let Some((seconds, entry)) = draft.take_as("polling-interval-seconds", Entry::whole) {
        draft.set(&["agent", "interval"], format!("{seconds}s"), &entry);
    }
    timeout(draft);
    if let Some((is_ignored, entry)) = draft.take_as("ignore-not-running", Entry::truth) {
        draft.set(&setting("include_not_running"), !is_ignored, &entry);
    }
    namespaces(draft);
    kubeconfig(draft);
}

fn setting(key: &str) -> [&str; 3] {
    [COLLECTOR[0], COLLECTOR[1], key]
}

fn timeout(draft: &mut Draft) {
    let new = draft.take_as("kubernetes.request-timeout-seconds", Entry::whole);
    let old = draft.take_as("kubernetes-request-timeout-seconds", Entry::whole);
    // Their programs take the old key where it has a meaning.
    let (chosen, other) = if old.as_ref().is_some_and(|(seconds, _)| *seconds > 0) { (old, new) } else { (new, old) };
    if let Some((_, entry)) = other {
        draft.note(
            &entry,
            "the other of `kubernetes.request-timeout-seconds` and `kubernetes-request-timeout-seconds` counts",
        );
    }
    let Some((seconds, entry)) = chosen else { return };
    if seconds == 0 {
        draft.note(&entry, "0 is no limit there; here a look may take `timeout`, 30 seconds where nothing is said");
        return;
    }
    draft.set(&["agent", "timeout"], format!("{seconds}s"), &entry);
    draft.note(&entry, "it becomes how long a whole look may take, not how long to wait for one answer");
}

fn namespaces(draft: &mut Draft) {
    let chosen = draft.take_as("namespace-selectors.include", Entry::list);
    let legacy = draft.take_as("namespaces", Entry::list);
    let (chosen, other) = if chosen.is_some() { (chosen, legacy) } else { (legacy, None) };
    if let Some((_, entry)) = other {
        draft.note(&entry, "`namespace-selectors.include` counts instead, as it does there");
    }
    if let Some((items, entry)) = chosen {
        include(draft, &items, &entry);
    }
    if let Some((items, entry)) = draft.take_as("namespace-selectors.exclude", Entry::list) {
        for Item { line, text } in items {
            let pattern = if patterns::is_label(&text) { text } else { patterns::found_in(&text) };
            draft.push(&["collectors", "kubernetes", "namespaces", "exclude"], pattern, &entry, line);
        }
    }
}

fn include(draft: &mut Draft, items: &[Item], entry: &Entry) {
    if entry.is("namespaces") && items.iter().any(|item| item.text == "all") {
        draft.note(entry, "`all` are looked at where nothing is said");
        return;
    }
    for Item { line, text } in items {
        if !patterns::is_label(text) {
            draft.warn(
                entry,
                format!("no namespace is called `{text}`, so that it chooses none there; here it is a pattern"),
            );
        }
        draft.push(&["collectors", "kubernetes", "namespaces", "include"], text.clone(), entry, *line);
    }
}

/// What makes a kubeconfig there, unless there is one.
struct Explicit {
    server: Option<(String, Entry)>,
    certificate: Option<(String, Entry)>,
    kind: Option<(String, Entry)>,
    client_certificate: Option<(String, Entry)>,
    private_key: Option<(String, Entry)>,
    token: Option<(String, Entry)>,
}

fn kubeconfig(draft: &mut Draft) {
    let path = draft.take_as("kubeconfig.path", Entry::text);
    let cluster = draft.take_as("kubeconfig.cluster", Entry::text);
    if let Some((name, entry)) = &cluster {
        draft.set(&setting("cluster"), name.clone(), entry);
    }
    let explicit = Explicit {
        server: draft.take_as("kubeconfig.server", Entry::text),
        certificate: draft.take_as("kubeconfig.cluster-cert", Entry::text),
        kind: draft.take_as("kubeconfig.user.type", Entry::text),
        client_certificate: draft.take_as("kubeconfig.user.client-cert", Entry::text),
        private_key: draft.take_as("kubeconfig.user.private-key", Entry::text),
        token: draft.take_as("kubeconfig.user.token", Entry::text),
    };
    let unused = if let Some((path, entry)) = path {
        if path == "use-in-cluster" {
            draft.note(&entry, "the account of the agent's pod is used where nothing else is said");
        } else {
            if path.starts_with('~') {
                draft.warn(&entry, "`~` is not replaced here: write the whole path");
            }
            draft.set(&setting("kubeconfig"), path, &entry);
        }
        "`kubeconfig.path` counts instead, as it does there"
    } else if let Some(name) = cluster.map(|(name, _)| name)
        && explicit.set(draft, &name)
    {
        return;
    } else {
        "it is not converted: without `kubeconfig.path` their program needs the cluster, its certificate, the server and the \
         user's credentials, all of them in the file; write `server`, `ca_file` and `token_file` of `[collectors.kubernetes]`"
    };
    for (_, entry) in explicit.all() {
        draft.warn(entry, unused);
    }
}

impl Explicit {
    fn all(&self) -> impl Iterator<Item = &(String, Entry)> {
        let all =
            [&self.server, &self.certificate, &self.kind, &self.client_certificate, &self.private_key, &self.token];
        all.into_iter().flatten()
    }

    /// Makes a kubeconfig of it, if it is one.
    fn set(&self, draft: &mut Draft, cluster: &str) -> bool {
        let (Some((server, from)), Some((certificate, _))) = (&self.server, &self.certificate) else { return false };
        // Anything else than `token` is a key there, as is nothing.
        let is_token = self.kind.as_ref().is_some_and(|(kind, _)| kind == "token");
        let (user, secret) = match (&self.token, &self.client_certificate, &self.private_key) {
            (Some((token, entry)), ..) if is_token => (json!({ "token": token }), entry),
            (_, Some((certificate, _)), Some((key, entry))) if !is_token => {
                (json!({ "client-certificate-data": certificate, "client-key-data": key }), entry)
            }
            _ => return false,
        };
        if secret.variable().is_some() {
            return false;
        }
        // JSON is YAML.
        let kubeconfig = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{
                "name": cluster,
                "cluster": { "server": server, "certificate-authority-data": certificate },
            }],
            "users": [{ "name": "agent", "user": user }],
            "contexts": [{ "name": cluster, "context": { "cluster": cluster, "user": "agent" } }],
            "current-context": cluster,
        });
        draft.set(&setting("kubeconfig_data"), kubeconfig.to_string(), from);
        draft.warn(
            secret,
            "it stands in the result as it stands here; better in a file: `server`, `ca_file` and `token_file`",
        );
        for (_, entry) in self.all() {
            let is_other = if is_token {
                entry.is("kubeconfig.user.client-cert") || entry.is("kubeconfig.user.private-key")
            } else {
                entry.is("kubeconfig.user.token")
            };
            if is_other {
                draft.note(entry, "it does not count: `kubeconfig.user.type` says so");
            } else {
                draft.origin(setting("kubeconfig_data").join("."), entry, entry.line);
            }
        }
        true
    }
}
