//! What somebody wants to be told of, and whether an event is of that.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use stocktake_core::{Digest, ImageReference};
use utoipa::ToSchema;

use crate::http::Problem;

/// Every kind of event: what it is of, and what became of that.
pub(crate) const KINDS: [&str; 9] = [
    "container.appeared",
    "container.disappeared",
    "container.changed",
    "image.appeared",
    "image.disappeared",
    "agent.silent",
    "agent.heard",
    "scope.coverage_lost",
    "scope.coverage_regained",
];

/// How long a word of it may be, in bytes, and how many labels and kinds there may be.
const LONGEST: usize = 1000;
const MOST: usize = 20;

/// What somebody wants to be told of. All that is said has to hold; who says nothing is told of everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct On {
    /// Kinds of events, such as `image.appeared`; all if it is empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) events: Vec<String>,
    /// Name of the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cluster: Option<String>,
    /// `cluster/namespace`, `host` or `host/namespace`; a cluster or host has all its namespaces in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) context: Option<String>,
    /// A digest of the image of any kind, or its name such as `nginx:1.25`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) image: Option<String>,
    /// Repository of the image; `nginx` is `docker.io/library/nginx`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) repository: Option<String>,
    /// `key` or `key=value`, of the container or its pod: all must be there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) labels: Vec<String>,
}

/// The same, ready to be compared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    events: BTreeSet<String>,
    cluster: Option<String>,
    context: Option<String>,
    image: Option<Image>,
    repository: Option<String>,
    labels: Vec<(String, Option<String>)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Image {
    Digest(String),
    Name { repository: String, tag: Option<String> },
}

/// What an event is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Facets {
    kind: String,
    clusters: Vec<String>,
    contexts: Vec<String>,
    /// Repositories and tags of its images.
    names: BTreeSet<(String, Option<String>)>,
    digests: BTreeSet<String>,
    labels: Vec<(String, String)>,
}

/// What finds those who may want an event: each is filed under one key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    Digest(String),
    Repository(String),
    Label(String),
    Context(String),
    Cluster(String),
    Kind(String),
    Anything,
}

impl On {
    /// Checks it and makes it ready.
    pub(crate) fn wanted(&self) -> Result<Wanted, Problem> {
        let texts = [&self.cluster, &self.context, &self.image, &self.repository];
        let mut texts = texts.into_iter().flatten().chain(&self.events).chain(&self.labels);
        if texts.any(|text| text.is_empty() || text.len() > LONGEST || text.contains('\0')) {
            return Err(Problem::bad_request(format!("what it is on has to have 1 to {LONGEST} bytes, and no NUL")));
        }
        if self.events.len() > MOST || self.labels.len() > MOST {
            return Err(Problem::bad_request(format!("there may be {MOST} `events` and `labels` at the most")));
        }
        if let Some(unknown) = self.events.iter().find(|kind| !KINDS.contains(&kind.as_str())) {
            let known = KINDS.join("`, `");
            let title = format!("there are no events `{}`; there are `{known}`", unknown.escape_debug());
            return Err(Problem::bad_request(title));
        }
        let image = self.image.as_deref().map(Image::read).transpose()?;
        let repository = self.repository.as_deref().map(|name| reference(name, "repository")).transpose()?;
        let labels = self.labels.iter().map(|label| match label.split_once('=') {
            Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
            None => (label.clone(), None),
        });
        Ok(Wanted {
            events: self.events.iter().cloned().collect(),
            cluster: self.cluster.clone(),
            context: self.context.clone(),
            image,
            repository: repository.map(|reference| reference.canonical_repository()),
            labels: labels.collect(),
        })
    }
}

impl Image {
    fn read(text: &str) -> Result<Self, Problem> {
        if Digest::is_digest(text) {
            return Ok(Self::Digest(text.to_owned()));
        }
        let reference = reference(text, "image")?;
        Ok(match reference.digest() {
            Some(digest) => Self::Digest(digest.as_str().to_owned()),
            None => {
                Self::Name { repository: reference.canonical_repository(), tag: reference.tag().map(str::to_owned) }
            }
        })
    }
}

fn reference(text: &str, what: &str) -> Result<ImageReference, Problem> {
    text.parse().map_err(|error| Problem::bad_request(format!("`{what}`: {error}")))
}

impl Wanted {
    /// The key that it is filed under: the one that the fewest events have.
    pub(crate) fn key(&self) -> Key {
        match self {
            Self { image: Some(Image::Digest(digest)), .. } => Key::Digest(digest.clone()),
            Self { image: Some(Image::Name { repository, .. }), .. } | Self { repository: Some(repository), .. } => {
                Key::Repository(repository.clone())
            }
            Self { context: Some(context), .. } => Key::Context(context.clone()),
            Self { labels, .. } if !labels.is_empty() => Key::Label(labels[0].0.clone()),
            Self { cluster: Some(cluster), .. } => Key::Cluster(cluster.clone()),
            Self { events, .. } if events.len() == 1 => events.first().cloned().map_or(Key::Anything, Key::Kind),
            _ => Key::Anything,
        }
    }

    /// Whether an event is of that.
    pub(crate) fn is_met(&self, facets: &Facets) -> bool {
        (self.events.is_empty() || self.events.contains(&facets.kind))
            && self.cluster.as_ref().is_none_or(|cluster| facets.clusters.contains(cluster))
            && self.context.as_deref().is_none_or(|context| facets.places().any(|place| place == context))
            && self.image.as_ref().is_none_or(|image| image.is_met(facets))
            && self
                .repository
                .as_ref()
                .is_none_or(|repository| facets.names.iter().any(|(known, _)| known == repository))
            && self.labels.iter().all(|(key, value)| {
                let mut found = facets.labels.iter().filter(|(known, _)| known == key);
                found.any(|(_, known)| value.as_ref().is_none_or(|value| value == known))
            })
    }
}

impl Image {
    fn is_met(&self, facets: &Facets) -> bool {
        match self {
            Self::Digest(digest) => facets.digests.contains(digest),
            Self::Name { repository, tag } => {
                facets.names.iter().any(|(known, of)| known == repository && (tag.is_none() || of == tag))
            }
        }
    }
}

impl Facets {
    /// Of an event as it is told.
    pub(crate) fn of(event: &Value) -> Self {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let thing = [&event["container"], &event["image"]].into_iter().find(|thing| thing.is_object());
        let (mut facets, detail) = (Self::default(), &event["detail"]);
        let word = |name: &str| event[name].as_str().unwrap_or_default();
        facets.kind = format!("{}.{}", word("entity"), word("change"));
        facets.contexts.extend(text(&event["context"]));
        facets.clusters.extend(text(&detail["cluster"]));
        for place in detail["places"].as_array().into_iter().flatten().filter_map(text) {
            facets.clusters.push(place.clone());
            facets.contexts.push(place);
        }
        let Some(thing) = thing else { return facets };
        facets.clusters.extend(text(&thing["cluster"]));
        // Of what was changed, what it was as well.
        let names = [&thing["image"]].into_iter().chain(detail["image"].as_array().into_iter().flatten());
        for name in names.filter_map(|name| name.as_str()?.parse::<ImageReference>().ok()) {
            facets.digests.extend(name.digest().map(|digest| digest.as_str().to_owned()));
            facets.names.insert((name.canonical_repository(), name.tag().map(str::to_owned)));
        }
        let digests = &thing["digests"];
        facets.digests.extend(["index", "manifest", "config"].iter().filter_map(|kind| text(&digests[kind]["digest"])));
        let served = digests["repo"].as_array().into_iter().flatten().filter_map(Value::as_str);
        facets.digests.extend(served.filter_map(|name| Some(name.rsplit_once('@')?.1.to_owned())));
        for labels in ["labels", "pod_labels"] {
            let labels = thing[labels].as_object().into_iter().flatten();
            facets.labels.extend(labels.filter_map(|(key, value)| Some((key.clone(), text(value)?))));
        }
        facets
    }

    /// Its contexts, and what they are in.
    fn places(&self) -> impl Iterator<Item = &str> {
        self.contexts.iter().flat_map(|context| {
            let outer = context.match_indices('/').map(|(end, _)| &context[..end]);
            outer.chain([context.as_str()])
        })
    }

    /// Keys under which those are filed who may want it.
    pub(crate) fn keys(&self) -> impl Iterator<Item = Key> {
        let digests = self.digests.iter().cloned().map(Key::Digest);
        let places = self.places().map(|place| Key::Context(place.to_owned()));
        let labels: BTreeSet<&String> = self.labels.iter().map(|(key, _)| key).collect();
        digests
            .chain(self.names.iter().map(|(repository, _)| Key::Repository(repository.clone())))
            .chain(places)
            .chain(labels.into_iter().cloned().map(Key::Label))
            .chain(self.clusters.iter().cloned().map(Key::Cluster))
            .chain([Key::Kind(self.kind.clone()), Key::Anything])
    }

    /// What it is of and what became of that, such as `image.appeared`.
    pub(crate) fn kind(&self) -> &str {
        &self.kind
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const DIGEST: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";

    fn event() -> Facets {
        Facets::of(
            &json!({"id": 1, "change": "appeared", "entity": "container", "context": "prod/shop", "detail": null,
            "container": {"cluster": "prod", "image": "nginx:1.25", "labels": {"app": "web"}, "pod_labels": {"tier": "front"},
                "digests": {"index": {"digest": DIGEST}, "manifest": {"missing": "x"}, "config": null,
                    "repo": ["docker.io/library/nginx@sha256:22"]}},
            "image": null}),
        )
    }

    fn on(text: Value) -> On {
        serde_json::from_value(text).unwrap()
    }

    #[test]
    fn all_that_is_said_has_to_hold() {
        let facets = event();
        let keys: Vec<Key> = facets.keys().collect();
        for (text, expected) in [
            (json!({}), true),
            (json!({"events": ["container.appeared"]}), true),
            (json!({"events": ["image.appeared", "agent.silent"]}), false),
            (json!({"cluster": "prod"}), true),
            (json!({"cluster": "pro"}), false),
            (json!({"context": "prod"}), true),
            (json!({"context": "prod/shop"}), true),
            (json!({"context": "prod/sho"}), false),
            (json!({"image": DIGEST}), true),
            (json!({"image": format!("anything@{DIGEST}")}), true),
            (json!({"image": "nginx"}), true),
            (json!({"image": "docker.io/library/nginx:1.25"}), true),
            (json!({"image": "nginx:1.26"}), false),
            (json!({"repository": "nginx"}), true),
            (json!({"repository": "redis"}), false),
            (json!({"labels": ["app", "tier=front"]}), true),
            (json!({"labels": ["app=db"]}), false),
            (json!({"labels": ["app", "other"]}), false),
            (json!({"cluster": "prod", "image": "redis"}), false),
        ] {
            let wanted = on(text.clone()).wanted().unwrap();
            assert_eq!(wanted.is_met(&facets), expected, "{text}");
            assert!(!expected || keys.contains(&wanted.key()), "{text} is not found by {:?}", wanted.key());
        }
    }

    #[test]
    fn who_watches_an_image_is_told_of_what_is_changed_from_it_and_to_it() {
        let facets = Facets::of(
            &json!({"change": "changed", "entity": "container", "container": {"image": "nginx:1.26"}, "image": null,
            "detail": {"image": ["redis:7", "nginx:1.26"], "restart_count": [1, 2]}}),
        );
        let keys: Vec<Key> = facets.keys().collect();
        for (text, expected) in [
            (json!({"image": "redis:7"}), true),
            (json!({"image": "nginx:1.26"}), true),
            (json!({"image": "redis:1.26"}), false),
            (json!({"repository": "redis"}), true),
        ] {
            let wanted = on(text.clone()).wanted().unwrap();
            assert_eq!(wanted.is_met(&facets), expected, "{text}");
            assert!(!expected || keys.contains(&wanted.key()), "{text}");
        }
    }

    #[test]
    fn what_is_no_question_is_refused() {
        for (text, told) in [
            (json!({"events": ["image.vanished"]}), "there are no events `image.vanished`"),
            (json!({"image": "Not A Name"}), "`image`: "),
            (json!({"cluster": ""}), "1 to 1000 bytes"),
            (json!({"context": "a\0"}), "no NUL"),
            (json!({"labels": vec!["a"; 21]}), "20 `events` and `labels`"),
        ] {
            let error = on(text.clone()).wanted().unwrap_err();
            assert!(error.title.contains(told), "{text}: {}", error.title);
        }
    }
}
