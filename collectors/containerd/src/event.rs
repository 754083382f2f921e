//! What an event of containerd says: where to look again.

use std::collections::BTreeSet;

use containerd_client::{
    events::{NamespaceCreate, TaskExit},
    types::Envelope,
};
use prost::Message;
use stocktake_core::{ScopeChange, model::ScopeId, select::NameSelector};

/// The events that are asked for: those of what is read of a namespace. A process that is run in a container is not, and a
/// health check is one every few seconds; snapshots and content come and go with containers and images. Topics of these kinds that
/// a later version adds are told.
pub(crate) const FILTERS: [&str; 2] = [
    r#"topic~="^/(containers|images|namespaces)/""#,
    r#"topic~="^/tasks/",topic!="/tasks/exec-added",topic!="/tasks/exec-started",topic!="/tasks/oom",topic!="/tasks/checkpointed""#,
];

/// Names that are kept, so that a containerd that makes up one after the other does not fill the memory.
const MAX_NAMESPACES: usize = 10_000;

/// The namespaces that are followed.
pub(crate) struct Followed {
    selector: NameSelector,
    /// Those that a look has seen, or will see.
    known: BTreeSet<String>,
}

impl Followed {
    /// Those of `existing` and of later ones that are selected.
    pub(crate) fn new(selector: NameSelector, existing: Vec<String>) -> Self {
        Self { selector, known: existing.into_iter().collect() }
    }

    /// Where to look because of an event, if anywhere.
    pub(crate) fn change(&mut self, event: &Envelope) -> Option<ScopeChange> {
        if event.topic.starts_with("/namespaces/") {
            return self.change_of_namespace(event);
        }
        if !self.selector.matches(&event.namespace) || is_of_another_process(event) {
            return None;
        }
        if self.known.contains(&event.namespace) {
            return Some(ScopeChange::Scopes([ScopeId::namespace(&event.namespace)].into()));
        }
        if self.known.len() >= MAX_NAMESPACES {
            self.known.clear();
        }
        self.known.insert(event.namespace.clone());
        Some(ScopeChange::All)
    }

    /// The namespace that came or went is named in the event. containerd 1.6 puts that of whoever made it into the envelope.
    fn change_of_namespace(&mut self, event: &Envelope) -> Option<ScopeChange> {
        let Some(NamespaceCreate { name, .. }) = read(event) else { return Some(ScopeChange::All) };
        // Should there be another one of this name, its first event is of one that is not known.
        self.known.remove(&name);
        self.selector.matches(&name).then_some(ScopeChange::All)
    }
}

/// Whether it is the end of a process that was run in a container. That of a container's own first process has the
/// container's id.
fn is_of_another_process(event: &Envelope) -> bool {
    let exit = (event.topic == "/tasks/exit").then(|| read::<TaskExit>(event)).flatten();
    exit.is_some_and(|exit| !exit.id.is_empty() && exit.id != exit.container_id)
}

/// What an event says. None if it cannot be read; it is looked at then.
fn read<T: Message + Default>(event: &Envelope) -> Option<T> {
    T::decode(&*event.event.as_ref()?.value).ok()
}

#[cfg(test)]
mod tests {
    use prost_types::Any;
    use serde_json::Value;

    use super::*;

    /// Recorded with [`FILTERS`] from the life of a namespace with two containers (`ctr`); and for 2.1 that of a container of
    /// Docker's, which a process was run in.
    fn recorded(version: &str) -> Vec<Envelope> {
        let path = format!("{}/testdata/events-{version}.jsonl", env!("CARGO_MANIFEST_DIR"));
        let byte = |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap();
        let event = |line: &str| {
            let line: Value = serde_json::from_str(line).unwrap();
            let text = |key: &str| line[key].as_str().unwrap().to_owned();
            let value = text("event").as_bytes().chunks(2).map(byte).collect();
            envelope(&text("namespace"), &text("topic"), value)
        };
        std::fs::read_to_string(&path).expect(&path).lines().map(event).collect()
    }

    fn envelope(namespace: &str, topic: &str, value: Vec<u8>) -> Envelope {
        let event = Some(Any { type_url: String::new(), value });
        Envelope { namespace: namespace.into(), topic: topic.into(), event, ..Envelope::default() }
    }

    fn followed(selector: &str, existing: &[&str]) -> Followed {
        let selector = serde_json::from_str(selector).unwrap();
        Followed::new(selector, existing.iter().map(|name| (*name).to_owned()).collect())
    }

    fn scope(name: &str) -> ScopeChange {
        ScopeChange::Scopes([ScopeId::namespace(name)].into())
    }

    #[test]
    fn a_namespace_that_comes_is_looked_for_and_then_looked_at() {
        for version in ["1.6", "2.1"] {
            let mut followed = followed(r#"["*"]"#, &["default", "moby"]);
            let events = recorded(version);
            let told: Vec<_> = events.iter().filter(|event| event.namespace != "moby").collect();
            let changes: Vec<_> = told.iter().map(|event| (event.topic.as_str(), followed.change(event))).collect();
            assert_eq!(changes[0], ("/namespaces/create", Some(ScopeChange::All)));
            assert_eq!(changes[1], ("/images/create", Some(ScopeChange::All)), "it is not known yet");
            let last = changes.len() - 2;
            for (topic, change) in &changes[2..last] {
                assert!(*change == Some(scope("chg")) || *topic == "/tasks/exit", "{version}: {topic}: {change:?}");
            }
            for topic in [
                "/containers/create",
                "/tasks/create",
                "/tasks/start",
                "/tasks/paused",
                "/tasks/resumed",
                "/containers/update",
                "/images/update",
                "/images/create",
                "/tasks/exit",
                "/tasks/delete",
                "/containers/delete",
                "/images/delete",
            ] {
                assert!(changes.contains(&(topic, Some(scope("chg")))), "{version}: {topic}");
            }
            assert_eq!(changes[last], ("/namespaces/update", Some(ScopeChange::All)));
            assert_eq!(changes[last + 1], ("/namespaces/delete", Some(ScopeChange::All)));
        }
    }

    #[test]
    fn a_process_that_is_run_in_a_container_causes_no_look() {
        for version in ["1.6", "2.1"] {
            let events = recorded(version);
            let mut followed = followed(r#"["*"]"#, &["chg", "moby"]);
            let exits = events.iter().filter(|event| event.topic == "/tasks/exit");
            let (looked_at, left): (Vec<_>, Vec<_>) =
                exits.map(|exit| followed.change(exit)).partition(Option::is_some);
            assert!(!looked_at.is_empty(), "{version}");
            assert_eq!(left.len(), 1, "{version}");
            assert!(events.iter().all(|event| !event.topic.contains("exec")), "{version}");
        }
    }

    #[test]
    fn what_is_not_selected_causes_no_look() {
        for version in ["1.6", "2.1"] {
            let mut followed = followed(r#"{"exclude": ["chg", "moby"]}"#, &["default", "chg"]);
            for event in recorded(version) {
                assert_eq!(followed.change(&event), None, "{version}: {event:?}");
            }
        }
    }

    /// As containerd 1.6 tells of `ctr namespaces create`.
    #[test]
    fn a_new_namespace_is_told_by_its_name_and_not_by_that_of_the_envelope() {
        let created = |name: &str| envelope("default", "/namespaces/create", [b"\x0a\x01", name.as_bytes()].concat());
        let mut followed = followed(r#"["a"]"#, &["default"]);
        assert_eq!(followed.change(&created("a")), Some(ScopeChange::All));
        assert_eq!(followed.change(&created("b")), None);
    }

    #[test]
    fn what_cannot_be_read_is_looked_at() {
        let mut followed = followed(r#"["*"]"#, &["default"]);
        assert_eq!(followed.change(&envelope("default", "/tasks/exit", vec![0xff; 3])), Some(scope("default")));
        assert_eq!(followed.change(&envelope("default", "/tasks/of-the-future", Vec::new())), Some(scope("default")));
        assert_eq!(followed.change(&envelope("default", "/namespaces/create", vec![0xff])), Some(ScopeChange::All));
    }

    #[test]
    fn namespaces_without_end_do_not_fill_the_memory() {
        let mut followed = followed(r#"["*"]"#, &[]);
        for number in 0..=2 * MAX_NAMESPACES {
            let event = envelope(&number.to_string(), "/containers/create", Vec::new());
            assert_eq!(followed.change(&event), Some(ScopeChange::All));
        }
        assert!(followed.known.len() <= MAX_NAMESPACES);
    }
}
