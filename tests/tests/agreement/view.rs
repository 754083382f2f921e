//! The form in which both sides are compared: one line a container.

use std::collections::{BTreeMap, BTreeSet};

use stocktake_core::model::{Container, DigestFact, ScopeEntry};
use stocktake_tests::report::{Report, image_of, pod_of};

/// Which container, by what both sides call it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) collector: String,
    pub(crate) scope: String,
    /// The runtime's id; in Kubernetes, where there may be none yet, pod and name.
    pub(crate) label: String,
}

/// What is said of it. A digest that is not known is `None`, for whatever reason.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) id: Option<String>,
    pub(crate) name: String,
    pub(crate) kind: String,
    /// With reason and exit code where the tool tells them.
    pub(crate) state: String,
    pub(crate) image: Option<String>,
    pub(crate) index: Option<String>,
    pub(crate) manifest: Option<String>,
    pub(crate) config: Option<String>,
    pub(crate) repo_digests: BTreeSet<String>,
    /// Tagged names of the image; not told by Kubernetes.
    pub(crate) names: BTreeSet<String>,
    /// Namespace and name.
    pub(crate) pod: Option<String>,
}

pub(crate) type View = BTreeMap<Key, Seen>;

pub(crate) fn of_report(report: &Report) -> View {
    let mut view = View::new();
    for source in &report.inventory.report.sources {
        for (entry, scope) in report.bodies(&source.collector) {
            for container in &scope.containers {
                let image = image_of(scope, container);
                let digest = |fact: &DigestFact| fact.digest().map(ToString::to_string);
                let pod = pod_of(scope, container).map(|pod| format!("{}/{}", pod.namespace, pod.name));
                let seen = Seen {
                    id: container.id.as_ref().map(ToString::to_string),
                    name: container.name.to_string(),
                    kind: container.kind.to_string(),
                    state: if source.kind == "kubernetes" {
                        long_state(container)
                    } else {
                        container.state.to_string()
                    },
                    image: container.image.as_ref().map(ToString::to_string),
                    index: image.and_then(|image| digest(&image.index_digest)),
                    manifest: image.and_then(|image| digest(&image.manifest_digest)),
                    config: image.and_then(|image| digest(&image.config_digest)),
                    repo_digests: image.iter().flat_map(|image| &image.repo_digests).map(ToString::to_string).collect(),
                    names: if source.kind == "kubernetes" {
                        BTreeSet::new()
                    } else {
                        image
                            .iter()
                            .flat_map(|image| &image.names)
                            .filter(|name| !name.contains('@'))
                            .map(ToString::to_string)
                            .collect()
                    },
                    pod: pod.clone(),
                };
                let label = match (&source.kind[..], &container.id) {
                    ("kubernetes", _) | (_, None) => format!("{} {}", pod.unwrap_or_default(), container.name),
                    (_, Some(id)) => id.to_string(),
                };
                let known = view.insert(key(&source.collector, entry, label), seen);
                assert!(known.is_none(), "a container twice in the report: {known:?}");
            }
        }
    }
    view
}

fn key(collector: &str, entry: &ScopeEntry, label: String) -> Key {
    Key { collector: collector.to_owned(), scope: entry.id.to_string(), label }
}

fn long_state(container: &Container) -> String {
    let reason = container.state_reason.clone().unwrap_or_default();
    let code = container.exit_code.map(|code| code.to_string()).unwrap_or_default();
    format!("{} {reason} {code}", container.state).trim().to_owned()
}

/// In which lines the two differ.
pub(crate) fn difference(tools: &View, report: &View) -> Vec<String> {
    let keys: BTreeSet<&Key> = tools.keys().chain(report.keys()).collect();
    let mut found = Vec::new();
    for key in keys {
        let place = format!("{} {} {}", key.collector, key.scope, key.label);
        match (tools.get(key), report.get(key)) {
            (Some(tool), Some(report)) if tool == report => {}
            (Some(tool), Some(report)) => found.push(format!("{place}\n  tool:   {tool:?}\n  report: {report:?}")),
            (Some(tool), None) => found.push(format!("{place}: not in the report: {tool:?}")),
            (None, _) => found.push(format!("{place}: in the report alone")),
        }
    }
    found
}

#[test]
fn a_difference_is_told() {
    let key = |label: &str| Key { collector: "c".into(), scope: "host".into(), label: label.into() };
    let seen = |state: &str| Seen { state: state.into(), ..Seen::default() };
    let tools = View::from([(key("a"), seen("running")), (key("b"), seen("running")), (key("d"), seen("paused"))]);
    let report = View::from([(key("a"), seen("running")), (key("b"), seen("exited")), (key("e"), seen("paused"))]);
    let found = difference(&tools, &report);
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found[0].starts_with("c host b\n") && found[1].contains("not in the report") && found[2].contains("alone"));
}
