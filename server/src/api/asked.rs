//! What a question says: parameters, and where the page before ended.

use std::marker::PhantomData;

use axum::{
    extract::{FromRequestParts, Query},
    http::{header::ACCEPT, request::Parts},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use stocktake_core::model::{ContainerKind, ContainerState};
use utoipa::{
    IntoParams,
    openapi::{
        Required,
        path::{Parameter, ParameterBuilder, ParameterIn},
        schema::{ArrayBuilder, KnownFormat, ObjectBuilder, Schema, SchemaFormat, Type},
    },
};

use super::{answer::View, visible::Shown};
use crate::{app::App, http::Problem};

const LIMIT: i64 = 100;
const MOST: i64 = 1000;

/// Every parameter that any question has, and what it means.
const PARAMETERS: &[(&str, &str)] = &[
    ("after", "Where the page before ended: its `next`."),
    ("at", "What was there at this time (RFC 3339)."),
    ("cluster", "Name of the cluster."),
    ("context", "`cluster/namespace`, `host` or `host/namespace`."),
    ("coverage", "How completely the scope was seen: `complete`, `partial`, `denied`, `failed`."),
    ("digest", "Digest of the image: of its index, manifest or configuration, or one that a repository serves it by."),
    ("format", "`json`, `ndjson` or `csv`, else what `Accept` says. The latter two are of all pages."),
    ("host", "Name of the host, or of the cluster's node."),
    ("image", "A digest of any kind, or a name such as `nginx:1.25`."),
    ("kind", "What the container is for (`regular`, `init`, `sidecar`, …), or the workload's kind."),
    ("label", "`key` or `key=value`, of the container or its pod. May be given several times: all must hold."),
    ("limit", "Lines of a page: 100 if not said, 1000 at most."),
    ("namespace", "Namespace of the pod or workload."),
    ("node", "Name of the cluster's node."),
    ("owner", "Outermost owner: `Kind/name` or the name."),
    ("repository", "Repository of the image; `nginx` is `docker.io/library/nginx`."),
    ("seen_since", "Seen at this time or later (RFC 3339)."),
    ("since", "At this time or later (RFC 3339)."),
    ("sort", "`first_seen` or `name`; `-` before it for descending."),
    ("state", "What the container does: `running`, `exited`, …"),
    ("status", "`present`, `stale`, `gone` or `all`; present and stale ones if not said."),
    ("subscription", "Number of the subscription."),
    ("tag", "Tag of the image."),
    ("until", "Before this time (RFC 3339)."),
];

const DIGEST: &str = "^(sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128})$";
const COVERAGES: [&str; 4] = ["complete", "partial", "denied", "failed"];

/// What lists that have pages take.
pub(super) const PAGES: &[&str] = &["after", "format", "limit"];

/// What a question says.
#[derive(Debug, Clone, Default)]
pub(super) struct Asked {
    pub(super) after: Option<Cursor>,
    pub(super) at: Option<i64>,
    pub(super) cluster: Option<String>,
    pub(super) context: Option<String>,
    pub(super) coverage: Option<String>,
    pub(super) digest: Option<String>,
    pub(super) format: Format,
    pub(super) host: Option<String>,
    pub(super) image: Option<String>,
    pub(super) kind: Option<String>,
    pub(super) labels: Vec<String>,
    pub(super) limit: i64,
    pub(super) namespace: Option<String>,
    pub(super) node: Option<String>,
    pub(super) owner: Option<String>,
    pub(super) repository: Option<String>,
    pub(super) seen_since: Option<i64>,
    pub(super) since: Option<i64>,
    pub(super) sort: Sort,
    pub(super) state: Option<ContainerState>,
    pub(super) shown: Option<Shown>,
    pub(super) subscription: Option<i64>,
    pub(super) tag: Option<String>,
    pub(super) until: Option<i64>,
}

/// Where a page ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cursor {
    /// The last row's key.
    pub(super) id: i64,
    /// Its name, where names order it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    /// What the question asked: a place in one list is none in another.
    of: String,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sort {
    pub(super) by_name: bool,
    pub(super) descending: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Format {
    #[default]
    Json,
    Ndjson,
    Csv,
}

impl Cursor {
    pub(super) fn new(sort: Sort, id: i64, name: &str) -> Self {
        Self { id, name: sort.by_name.then(|| name.to_owned()), of: sort.text().to_owned() }
    }

    /// Of a list that has no keys but names.
    pub(super) fn of_name(name: &str) -> Self {
        let sort = Sort::default();
        Self { id: 0, name: Some(name.to_owned()), of: sort.text().to_owned() }
    }

    /// As clients get it.
    pub(super) fn text(&self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    fn read(text: &str) -> Option<Self> {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
    }
}

impl Sort {
    fn read(text: &str) -> Option<Self> {
        [(false, false), (false, true), (true, false), (true, true)]
            .map(|(by_name, descending)| Self { by_name, descending })
            .into_iter()
            .find(|sort| sort.text() == text)
    }

    fn text(self) -> &'static str {
        match (self.by_name, self.descending) {
            (false, false) => "first_seen",
            (false, true) => "-first_seen",
            (true, false) => "name",
            (true, true) => "-name",
        }
    }
}

impl Asked {
    /// Reads parameters, of which no others are known than `takes`.
    pub(super) fn read(pairs: Vec<(String, String)>, takes: &[&[&str]]) -> Result<Self, Problem> {
        let mut asked = Self { limit: LIMIT, ..Self::default() };
        let mut said = Vec::new();
        for (name, value) in pairs {
            if !takes.iter().any(|some| some.contains(&name.as_str())) {
                let known = takes.concat().join("`, `");
                return Err(Problem::bad_request(format!("there is no parameter `{name}` here; there are `{known}`")));
            }
            if name != "label" && said.contains(&name) {
                return Err(Problem::bad_request(format!("`{name}` is given twice; give it once")));
            }
            if value.contains('\0') {
                return Err(Problem::bad_request(format!("`{name}` has a character that no name has")));
            }
            asked.set(&name, value)?;
            said.push(name);
        }
        if asked.at.is_some() && asked.shown.is_some() {
            return Err(Problem::bad_request("`at` and `status` do not go together: what was there then was present"));
        }
        let sort = asked.sort.text();
        if let Some(cursor) = &asked.after
            && cursor.of != sort
        {
            return Err(Problem::bad_request("`after` is of a page that was sorted otherwise; take the same `sort`"));
        }
        Ok(asked)
    }

    fn set(&mut self, name: &str, value: String) -> Result<(), Problem> {
        let invalid = |expected: &str| {
            Problem::bad_request(format!("`{name}` is `{}`: expected {expected}", value.escape_debug()))
        };
        let time = || {
            value
                .parse::<Timestamp>()
                .map(Timestamp::as_millisecond)
                .map_err(|_| invalid("a time such as `2026-05-04T10:00:00Z`"))
        };
        match name {
            "after" => self.after = Some(Cursor::read(&value).ok_or_else(|| invalid("the `next` of a page"))?),
            "at" => self.at = Some(time()?),
            "seen_since" => self.seen_since = Some(time()?),
            "since" => self.since = Some(time()?),
            "until" => self.until = Some(time()?),
            "format" => self.format = Format::read(&value).ok_or_else(|| invalid("`json`, `ndjson` or `csv`"))?,
            "limit" => {
                let limit = value.parse().ok().filter(|limit| (1..=MOST).contains(limit));
                self.limit = limit.ok_or_else(|| invalid(&format!("a number from 1 to {MOST}")))?;
            }
            "sort" => {
                self.sort =
                    Sort::read(&value).ok_or_else(|| invalid("`first_seen`, `-first_seen`, `name` or `-name`"))?;
            }
            "state" => self.state = Some(word(&value).ok_or_else(|| invalid("a state such as `running`"))?),
            "status" => {
                self.shown = Some(match value.as_str() {
                    "present" => Shown::Present,
                    "stale" => Shown::Stale,
                    "gone" => Shown::Gone,
                    "all" => Shown::All,
                    _ => return Err(invalid("`present`, `stale`, `gone` or `all`")),
                });
            }
            "subscription" => {
                self.subscription = Some(value.parse().map_err(|_| invalid("the number of a subscription"))?);
            }
            "label" => self.labels.push(value),
            "cluster" => self.cluster = Some(value),
            "context" => self.context = Some(value),
            "coverage" => {
                let known = COVERAGES.contains(&value.as_str());
                self.coverage =
                    Some(if known { value } else { return Err(invalid("complete, partial, denied or failed")) });
            }
            "digest" => {
                let digest = stocktake_core::Digest::is_digest(&value);
                self.digest =
                    Some(if digest { value } else { return Err(invalid("`sha256:` and 64 hexadecimal digits")) });
            }
            "host" => self.host = Some(value),
            "image" => self.image = Some(value),
            "kind" => self.kind = Some(value),
            "namespace" => self.namespace = Some(value),
            "node" => self.node = Some(value),
            "owner" => self.owner = Some(value),
            "repository" => self.repository = Some(value),
            _ => self.tag = Some(value),
        }
        Ok(())
    }

    /// The kind of containers that is asked for.
    pub(super) fn container_kind(&self) -> Result<Option<ContainerKind>, Problem> {
        self.kind
            .as_deref()
            .map(|kind| {
                let expected = "expected a kind such as `regular`, `init` or `sidecar`";
                word(kind)
                    .ok_or_else(|| Problem::bad_request(format!("`kind` is `{}`: {expected}", kind.escape_debug())))
            })
            .transpose()
    }

    /// Rows of which status.
    pub(super) fn shown(&self) -> Shown {
        self.shown.unwrap_or_default()
    }
}

/// A word of the model.
fn word<T: serde::de::DeserializeOwned + Serialize>(text: &str) -> Option<T> {
    let word = serde_json::from_value(text.into()).ok()?;
    // What is not known is `other` when it is read.
    (serde_json::to_value(&word).ok()? == *text).then_some(word)
}

impl Format {
    fn read(text: &str) -> Option<Self> {
        match text {
            "json" => Some(Self::Json),
            "ndjson" => Some(Self::Ndjson),
            "csv" => Some(Self::Csv),
            _ => None,
        }
    }

    fn accepted(parts: &Parts) -> Self {
        let accept = parts.headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
        let first =
            accept.split(',').map(|range| range.split(';').next().unwrap_or_default().trim()).find_map(|range| {
                match range {
                    "application/json" | "*/*" | "application/*" => Some(Self::Json),
                    "application/x-ndjson" | "application/ndjson" => Some(Self::Ndjson),
                    "text/csv" => Some(Self::Csv),
                    _ => None,
                }
            });
        first.unwrap_or_default()
    }
}

/// What can be asked with parameters.
pub(super) trait Takes: Send + Sync + 'static {
    /// Their names.
    const NAMES: &'static [&'static [&'static str]];
}

impl<V: View> Takes for V {
    const NAMES: &'static [&'static [&'static str]] = V::TAKES;
}

/// The parameters of a question.
pub(super) struct Asks<V>(pub(super) Asked, pub(super) PhantomData<V>);

impl<V: Takes> FromRequestParts<App> for Asks<V> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _app: &App) -> Result<Self, Problem> {
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
            .map_err(|error| Problem::bad_request(format!("the parameters cannot be read: {error}")))?;
        let asks_format = pairs.iter().any(|(name, _)| name == "format");
        let mut asked = Asked::read(pairs, V::NAMES)?;
        if !asks_format {
            asked.format = Format::accepted(parts);
        }
        Ok(Self(asked, PhantomData))
    }
}

impl<V: Takes> IntoParams for Asks<V> {
    fn into_params(_place: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let known = |name: &&str| PARAMETERS.iter().find(|(known, _)| known == name);
        let names: Vec<&str> = V::NAMES.concat();
        names.iter().filter_map(known).map(|(name, about)| parameter(name, about)).collect()
    }
}

fn parameter(name: &str, about: &str) -> Parameter {
    let text = || ObjectBuilder::new().schema_type(Type::String);
    let words = |words: &[&str]| Schema::Object(text().enum_values(Some(words.iter().copied())).build());
    let schema = match name {
        "limit" => {
            let number = ObjectBuilder::new().schema_type(Type::Integer);
            Schema::Object(number.minimum(Some(1)).maximum(Some(MOST)).build())
        }
        "subscription" => Schema::Object(ObjectBuilder::new().schema_type(Type::Integer).build()),
        "label" => Schema::Array(ArrayBuilder::new().items(text().build()).build()),
        "format" => words(&["json", "ndjson", "csv"]),
        "status" => words(&["present", "stale", "gone", "all"]),
        "sort" => words(&["first_seen", "-first_seen", "name", "-name"]),
        "coverage" => words(&COVERAGES),
        "at" | "seen_since" | "since" | "until" => {
            Schema::Object(text().format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime))).build())
        }
        "digest" => Schema::Object(text().pattern(Some(DIGEST)).build()),
        _ => Schema::Object(text().build()),
    };
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Query)
        .required(if ["image", "subscription"].contains(&name) { Required::True } else { Required::False })
        .description(Some(about))
        .schema(Some(schema))
        .build()
}
