//! The roles of `deploy/kubernetes` on a real API server: complete as they are, and degraded as documented without any one of
//! their permissions.
//!
//! The table in `docs/kubernetes.md` is what is found here. `STOCKTAKE_UPDATE_DOCS=1` writes it anew.

use std::{collections::BTreeSet, env, fmt::Write as _, fs, io, sync::PoisonError};

use futures_util::StreamExt as _;
use serde_json::{Value, json};
use stocktake_collector_kubernetes::KubernetesCollector;
use stocktake_core::{
    CollectorPlugin, ConfigError, Context, RuntimeCollector, ScopeChange, Selection,
    model::{Coverage, Scope},
};
use stocktake_tests::{agent::Agent, needs, report::Report, repository};

use crate::{
    BATCH, Sink,
    account::{Account, KUBELET, KUBELET_CA, Permission, granting, objects, permissions},
};

const BEGIN: &str = "<!-- what tests/tests/kubernetes/rbac.rs found -->\n";
const END: &str = "<!-- end -->\n";

/// A file of `deploy/kubernetes` and the settings that it is for.
struct Role {
    file: &'static str,
    settings: Value,
    watches: bool,
}

fn roles() -> [Role; 4] {
    let kubelet = json!({ "url": KUBELET, "ca_file": KUBELET_CA });
    [
        Role { file: "clusterrole.yaml", settings: json!({}), watches: true },
        Role {
            file: "role.yaml",
            settings: json!({ "namespaces": ["shop", "batch"], "cluster_objects": false }),
            watches: true,
        },
        Role { file: "clusterrole-node.yaml", settings: json!({ "node": "bed-node" }), watches: true },
        Role {
            file: "clusterrole-kubelet.yaml",
            settings: json!({ "node": "bed-node", "kubelet": kubelet }),
            watches: false,
        },
    ]
}

/// What is in a report, to be compared with that of the whole role.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Content {
    nodes: usize,
    namespaces: usize,
    pods: usize,
    containers: usize,
    images: usize,
    owners: BTreeSet<String>,
    has_uid: bool,
}

impl Content {
    fn of<'a>(bodies: impl IntoIterator<Item = &'a Scope>, has_uid: bool) -> Self {
        let mut content = Self { has_uid, ..Self::default() };
        for body in bodies {
            content.nodes += body.nodes.len();
            content.namespaces += body.namespaces.len();
            content.pods += body.pods.len();
            content.containers += body.containers.len();
            content.images += body.images.len();
            content.owners.extend(body.workloads.iter().map(|owner| format!("{} {}", owner.kind, owner.name)));
        }
        content
    }

    /// What of `all` is seen.
    fn seen_of(&self, all: &Self) -> String {
        if self == all {
            return "everything".to_owned();
        }
        if self.pods + self.nodes + self.namespaces == 0 {
            return "nothing".to_owned();
        }
        let missing = [
            (self.nodes != all.nodes, "the nodes"),
            (self.namespaces != all.namespaces, "the namespaces' own objects"),
            (self.pods != all.pods, "the pods"),
            (self.pods == all.pods && (self.containers, self.images) != (all.containers, all.images), "containers"),
            (self.pods == all.pods && self.owners != all.owners, "the outermost owners"),
            (self.has_uid != all.has_uid, "the cluster's uid"),
        ];
        let missing: Vec<&str> = missing.into_iter().filter(|(is, _)| *is).map(|(_, what)| what).collect();
        format!("all but {}", missing.join(" and "))
    }
}

/// What a look or a subscription came to.
#[derive(Debug)]
struct Outcome {
    content: Content,
    /// What is said of what was not seen.
    says: Vec<String>,
    /// The same of a look at what is watched.
    of_look: Vec<String>,
    how: String,
}

/// Without addresses, and without what the API server adds, which names its user.
fn documented(message: &str) -> String {
    let message = message.replace(&format!("the API server at {}", crate::account::SERVER), "the API server");
    let message = message.replace(&format!("the kubelet at {KUBELET}"), "the kubelet");
    let mut kept = String::new();
    let mut rest = message.as_str();
    while let Some(at) = rest.find(" is forbidden: User ").or_else(|| rest.find(": Forbidden (user=")) {
        let start = rest[..at].rfind(": ").filter(|_| rest[at..].starts_with(" is")).unwrap_or(at);
        kept.push_str(&rest[..start]);
        rest = rest[at..].find("; ").map_or("", |end| &rest[at + end..]);
    }
    kept + rest
}

/// The same said of many scopes is said once.
fn each_once(says: Vec<(String, String)>) -> Vec<String> {
    let mut grouped: Vec<(String, Vec<String>)> = Vec::new();
    for (scope, said) in says {
        let said = match scope.split_once(' ') {
            Some(("namespace", name)) => said.replace(&format!("`{name}`"), "`NAME`"),
            _ => said,
        };
        match grouped.iter_mut().find(|(known, _)| *known == said) {
            Some((_, scopes)) => scopes.push(scope),
            None => grouped.push((said, vec![scope])),
        }
    }
    let mut lines = Vec::new();
    for (said, scopes) in grouped {
        let kinds: BTreeSet<&str> = scopes.iter().filter_map(|scope| scope.split(' ').next()).collect();
        let kinds: Vec<&str> = kinds.into_iter().collect();
        let scope = if kinds.len() < scopes.len() { format!("each {}", kinds[0]) } else { kinds.join(" and ") };
        lines.push(format!("{scope} {said}"));
    }
    lines
}

/// What is said of what is not complete, and what is warned of.
fn said<'a>(
    scopes: impl IntoIterator<Item = (String, &'a Coverage)>,
    warnings: impl IntoIterator<Item = &'a str>,
) -> Vec<String> {
    let mut says = Vec::new();
    for (what, coverage) in scopes {
        assert_ne!(coverage.status(), "failed", "{what}: {coverage:?}");
        if let Some(reason) = coverage.reason() {
            says.push((what, format!("{}: {}", coverage.status(), documented(reason))));
        }
    }
    let mut says = each_once(says);
    says.extend(warnings.into_iter().map(|warning| format!("warning: {}", documented(warning))));
    says
}

fn look(account: &Account, settings: &Value) -> Outcome {
    let config = json!({ "collectors": { "k": settings } });
    let mut config: toml::Table = toml::Table::try_from(config).unwrap();
    config["collectors"]["k"].as_table_mut().unwrap().insert("type".into(), "kubernetes".into());
    let run = Agent::collect(&config.to_string(), &["--format", "json"]).run();
    assert!(matches!(run.code, Some(0 | 1)), "a missing permission is no failed run: {run}");
    assert!(!run.stdout.contains(&account.token), "a token is in the report");
    let report: Report = run.report();
    let source = report.source("k");
    let scopes = source.scopes.iter().map(|entry| (entry.id.to_string(), &entry.coverage));
    let warnings = source.warnings.iter().map(|warning| warning.message.as_str());
    let says = said([("source".to_owned(), &source.coverage)].into_iter().chain(scopes), warnings);
    let has_uid = source.cluster.as_ref().is_some_and(|cluster| cluster.uid.is_some());
    Outcome {
        content: Content::of(report.bodies("k").map(|(_, body)| body), has_uid),
        says,
        of_look: Vec::new(),
        how: format!("exit status {}", run.code.unwrap()),
    }
}

/// What a person reads of what is done.
#[derive(Clone, Default)]
struct Log(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Subscribes, and looks at what is watched.
fn watch(settings: &Value) -> Outcome {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .without_time()
        .with_level(false)
        .with_target(false)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let settings = ConfigError::deserialize(settings.clone()).unwrap();
    let collector = KubernetesCollector::new(settings, Context::default()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut changes = collector.changes();
        let (how, mut says) = match changes.next().await {
            Some(Ok(change)) => {
                assert_eq!(change, ScopeChange::All);
                ("watches", Vec::new())
            }
            Some(Err(error)) => ("is not told", vec![documented(&error.full_message())]),
            None => ("looks from time to time", Vec::new()),
        };
        let mut sink = Sink::default();
        let collected = collector.collect(&Selection::All, &mut sink).await;
        let of_list = collected.unwrap_or_else(|error| Coverage::from_error(&error));
        let has_uid = collector.probe().await.is_ok_and(|info| match info.location {
            stocktake_core::Location::Cluster(cluster) => cluster.uid.is_some(),
            _ => false,
        });
        let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        says.extend(log.lines().map(|line| documented(line.trim())));
        // Of several namespaces any may be the first.
        for said in &mut says {
            *said = said.replace("`shop`", "`NAME`").replace("`batch`", "`NAME`");
        }
        let scopes = sink.scopes.iter().map(|scope| (scope.id.to_string(), &scope.coverage));
        let scopes = [("source".to_owned(), &of_list)].into_iter().chain(scopes);
        Outcome {
            content: Content::of(sink.scopes.iter().map(|scope| &scope.body), has_uid),
            of_look: said(scopes, sink.warnings.iter().map(String::as_str)),
            says,
            how: how.to_owned(),
        }
    })
}

/// A line of the table, for a role without one of its permissions.
fn row(
    role: &Role,
    position: usize,
    removed: Option<&Permission>,
    all: Option<&(Content, Content)>,
) -> (String, (Content, Content)) {
    let mut whole = objects(role.file);
    let granted: Vec<Permission> =
        permissions(&mut whole).into_iter().filter(|permission| Some(permission) != removed).collect();
    let name = format!("rbac-{}-{position}", role.file.trim_end_matches(".yaml"));
    let account = Account::new(&name, &granting(whole, &granted), &granted);
    let settings = account.settings(&role.settings);
    let looked = look(&account, &settings);
    let watched = role.watches.then(|| watch(&settings));
    let of_watch = watched.as_ref().map(|watched| watched.content.clone()).unwrap_or_default();
    let (all_looked, all_watched) = all.cloned().unwrap_or((looked.content.clone(), of_watch.clone()));
    let seen = looked.content.seen_of(&all_looked);
    let still = watched.as_ref().map(|watched| (watched.how.as_str(), of_watch.seen_of(&all_watched)));

    let Some(removed) = removed else {
        assert!(looked.says.is_empty() && looked.how == "exit status 0", "{}: {looked:?}", role.file);
        assert!(
            watched.is_none_or(|watched| watched.how == "watches"
                && watched.says.is_empty()
                && watched.of_look.is_empty()),
            "{}",
            role.file
        );
        assert!(!role.watches || looked.content == of_watch, "{}: {:?} {of_watch:?}", role.file, looked.content);
        return (String::new(), (looked.content, of_watch));
    };
    let is_as_whole = seen == "everything" && looked.says.is_empty();
    let is_watched_as_whole = still.as_ref().is_none_or(|(how, seen)| *how == "watches" && seen == "everything");
    let is_told = watched.as_ref().is_none_or(|watched| watched.says.is_empty());
    assert!(
        !is_as_whole || !is_watched_as_whole || !is_told || is_optional(role, removed),
        "{} grants {removed} for nothing",
        role.file
    );
    // The cluster's uid is the one thing that goes without a word; containers are then told apart by the cluster's name.
    let grant = format!("`{}` on", removed.verb);
    let said = looked.says.iter().chain(watched.iter().flat_map(|watched| watched.says.iter().chain(&watched.of_look)));
    let said: Vec<&String> = said.filter(|said| said.contains("grant ")).collect();
    let is_uid = removed.name.is_some();
    assert!(
        is_uid || is_optional(role, removed) || said.iter().any(|said| said.contains(&grant)),
        "{removed}: {said:?}"
    );

    let mut line = format!("| {removed} | {seen} |");
    let says = looked.says.join("<br>");
    let _ = write!(line, " {} |", if says.is_empty() { "nothing" } else { &says });
    if let (Some(watched), Some((how, seen))) = (&watched, still) {
        let of_look = if watched.of_look == looked.says { &[][..] } else { &watched.of_look[..] };
        let says: Vec<&str> = watched.says.iter().chain(of_look).map(String::as_str).collect();
        let says = if says.is_empty() { String::new() } else { format!(": {}", says.join("<br>")) };
        let _ = write!(line, " {how}, sees {seen}{says} |");
    }
    (line, (looked.content, of_watch))
}

/// What the role is better with and works without: to be told of the node's own changes.
fn is_optional(role: &Role, permission: &Permission) -> bool {
    role.file == "clusterrole-node.yaml" && permission.resource == "nodes" && permission.verb != "get"
}

#[test]
fn a_role_is_the_least_and_what_is_missing_without_a_permission_is_documented() {
    needs!("kubernetes");
    let _shared = BATCH.read().unwrap_or_else(PoisonError::into_inner);
    let mut table = String::new();
    for role in roles() {
        let (_, all) = row(&role, 0, None, None);
        let watching = if role.watches { (" watching |", "---|") } else { ("", "") };
        let _ = write!(
            table,
            "\n### `deploy/kubernetes/{}`\n\n| without | one look sees | and says |{}\n|---|---|---|{}\n",
            role.file, watching.0, watching.1
        );
        for (position, removed) in permissions(&mut objects(role.file)).iter().enumerate() {
            let (line, _) = row(&role, position + 1, Some(removed), Some(&all));
            table.push_str(&line);
            table.push('\n');
        }
    }
    let path = repository().join("docs/kubernetes.md");
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("the table's beginning");
    let (known, after) = rest.split_once(END).expect("the table's end");
    let table = format!("{table}\n");
    if known == table {
        return;
    }
    if env::var_os("STOCKTAKE_UPDATE_DOCS").is_some_and(|value| value == "1") {
        fs::write(&path, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
        return;
    }
    panic!(
        "docs/kubernetes.md says something else than what was found; see whether that is right, and run STOCKTAKE_UPDATE_DOCS=1 \
         cargo test -p stocktake-tests --test kubernetes rbac\n{table}"
    );
}
