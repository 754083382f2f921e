//! What is asked for by each view of the server's, and how it is shown.

use jiff::Timestamp;
use serde_json::Value;

use super::list::{Column, List};
use crate::{
    cli::{Changes, Containers, Images, OfImage, Place, Sightings, Sources, Where},
    client::{Client, Query},
    failure::Failure,
    json::{first, text},
    time::to_the_second,
};

const NO_DIGEST: &str = "unknown";

pub(super) fn images(asked: &Images) -> List {
    let mut query = Query::new();
    place(&asked.place, &mut query);
    image(&asked.image, &mut query);
    seen(&asked.seen, &mut query);
    List {
        path: "v1/images",
        query,
        columns: &[
            ("IMAGE", |line| text(line, "/names")),
            ("IMAGE DIGEST", digest),
            ("CONTAINERS", |line| text(line, "/containers")),
            ("CONTEXTS", |line| text(line, "/contexts")),
            ("FIRST SEEN AT", |line| time(line, "/first_seen_at")),
            ("LAST SEEN AT", |line| time(line, "/last_seen_at")),
        ],
    }
}

pub(super) fn containers(asked: &Containers) -> List {
    let mut query = Query::new();
    place(&asked.place, &mut query);
    image(&asked.image, &mut query);
    seen(&asked.seen, &mut query);
    push(
        &mut query,
        [
            ("at", asked.at.map(|at| at.to_string())),
            ("host", asked.host.clone()),
            ("kind", asked.kind.clone()),
            ("namespace", asked.namespace.clone()),
            ("node", asked.node.clone()),
            ("owner", asked.owner.clone()),
            ("state", asked.state.clone()),
            ("sort", asked.sort.clone()),
        ],
    );
    query.extend(asked.labels.iter().map(|label| ("label", label.clone())));
    List {
        path: "v1/containers",
        query,
        columns: &[
            ("CONTEXT", |line| text(line, "/context")),
            ("POD", |line| text(line, "/pod/name")),
            ("CONTAINER", |line| text(line, "/name")),
            ("KIND", |line| text(line, "/kind")),
            ("STATE", |line| text(line, "/state")),
            ("IMAGE", |line| text(line, "/image")),
            ("LAST SEEN AT", |line| time(line, "/last_seen_at")),
            ("STATUS", |line| text(line, "/status")),
        ],
    }
}

/// Tells where an image is, and fails if it is nowhere.
pub(super) async fn whereabouts(asked: &Where, client: &Client) -> Result<(), Failure> {
    let mut query = vec![("image", asked.image.clone())];
    push(&mut query, [("status", asked.status.clone())]);
    let list = List {
        path: "v1/where",
        query,
        columns: &[
            ("IMAGE", |line| text(line, "/image")),
            ("FOUND BY", |line| text(line, "/found_by").replace('_', " ")),
            ("CONTEXT", |line| text(line, "/context")),
            ("CONTAINERS", |line| text(line, "/containers")),
            ("FIRST SEEN AT", |line| time(line, "/first_seen_at")),
            ("LAST SEEN AT", |line| time(line, "/last_seen_at")),
            ("STATUS", |line| text(line, "/status")),
        ],
    };
    if list.print(&asked.shape, client).await? {
        return Ok(());
    }
    let elsewhere = if asked.status.is_none() { "; `--status all` also tells where it was" } else { "" };
    Err(Failure::Refused(format!("`{}` is nowhere in the inventory{elsewhere}", asked.image)))
}

pub(super) fn changes(asked: &Changes) -> List {
    let mut query = Query::new();
    let time = |time: Option<Timestamp>| time.map(|time| time.to_string());
    push(&mut query, [("since", time(asked.since)), ("until", time(asked.until)), ("context", asked.context.clone())]);
    List { path: "v1/changes", query, columns: CHANGES }
}

/// Columns of a change.
pub(super) const CHANGES: &[Column] = &[
    ("AT", |line| time(line, "/at")),
    ("CHANGE", |line| text(line, "/change")),
    ("WHAT", |line| text(line, "/entity")),
    ("CONTEXT", |line| text(line, "/context")),
    ("POD", |line| text(line, "/container/pod/name")),
    ("CONTAINER", |line| text(line, "/container/name")),
    ("IMAGE", |line| first(line, &["/container/image", "/image/image"])),
    ("DETAIL", |line| text(line, "/detail")),
];

pub(super) fn agents() -> List {
    List {
        path: "v1/agents",
        query: Query::new(),
        columns: &[
            ("ID", |line| text(line, "/id")),
            ("AGENT", |line| text(line, "/uuid")),
            ("HOST", |line| text(line, "/hostname")),
            ("KIND", |line| text(line, "/kind")),
            ("VERSION", |line| text(line, "/version")),
            ("SOURCES", |line| text(line, "/sources")),
            ("REPORTED AT", |line| time(line, "/reported_at")),
            ("MISSING", |line| text(line, "/missing_reports")),
            ("SILENT", |line| text(line, "/silent")),
        ],
    }
}

pub(super) fn sources(asked: &Sources) -> List {
    let mut query = Query::new();
    push(
        &mut query,
        [("cluster", asked.cluster.clone()), ("coverage", asked.coverage.clone()), ("host", asked.host.clone())],
    );
    List {
        path: "v1/sources",
        query,
        columns: &[
            ("ID", |line| text(line, "/id")),
            ("AGENT", |line| text(line, "/agent")),
            ("COLLECTOR", |line| text(line, "/collector")),
            ("KIND", |line| text(line, "/kind")),
            ("CLUSTER OR HOST", |line| first(line, &["/cluster", "/host"])),
            ("RUNTIME", |line| {
                [text(line, "/runtime_name"), text(line, "/runtime_version")].join(" ").trim().to_owned()
            }),
            ("SCOPES", |line| text(line, "/scopes")),
            ("OBSERVED AT", |line| time(line, "/observed_at")),
            ("COVERAGE", |line| text(line, "/coverage")),
            ("SILENT", |line| text(line, "/silent")),
            ("REASON", |line| text(line, "/reason")),
        ],
    }
}

fn place(asked: &Place, query: &mut Query) {
    push(
        query,
        [("cluster", asked.cluster.clone()), ("context", asked.context.clone()), ("coverage", asked.coverage.clone())],
    );
}

fn image(asked: &OfImage, query: &mut Query) {
    push(
        query,
        [("digest", asked.digest.clone()), ("repository", asked.repository.clone()), ("tag", asked.tag.clone())],
    );
}

fn seen(asked: &Sightings, query: &mut Query) {
    let since = asked.seen_since.map(|since: Timestamp| since.to_string());
    push(query, [("seen_since", since), ("status", asked.status.clone())]);
}

fn push<const N: usize>(query: &mut Query, parameters: [(&'static str, Option<String>); N]) {
    query.extend(parameters.into_iter().filter_map(|(name, value)| Some((name, value?))));
}

/// The manifest's digest, which is what a registry and a scanner know; else the index's or the configuration's.
fn digest(line: &Value) -> String {
    let digest = first(line, &["/digests/manifest/digest", "/digests/index/digest", "/digests/config/digest"]);
    if digest.is_empty() { NO_DIGEST.to_owned() } else { digest }
}

fn time(line: &Value, pointer: &str) -> String {
    to_the_second(&text(line, pointer))
}
