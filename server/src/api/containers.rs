//! Containers: a line each, however many sources see it.

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::{Path, State},
    response::Response,
};
use serde::Serialize;
use serde_json::Value;
use sqlx::{AnyConnection, any::AnyRow};
use utoipa::ToSchema;

use super::{
    answer::{Page, View, answer, cut, now, time},
    asked::{Asked, Asks, Cursor, PAGES},
    filters::Table,
    find::find,
    shared::{is_shared, rows_of},
    statement::{Statement, integer, maybe_bytes, maybe_integer, maybe_text, text},
    visible::{JOINED, JOINS, Shown, Visible, named},
};
use crate::{access::Reader, app::App, http::Problem, words};

/// A container.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Container {
    pub(super) id: i64,
    /// The runtime's identifier; none while the runtime has not made it.
    pub(super) runtime_id: Option<String>,
    pub(super) name: String,
    /// `regular`, `init`, `sidecar`, `ephemeral`, `sandbox`, `other`.
    kind: &'static str,
    pub(super) state: &'static str,
    state_reason: Option<String>,
    /// The image's name as it was asked for.
    pub(super) image: String,
    pub(super) image_identity: String,
    digests: Digests,
    pod: Option<PodOf>,
    owner: Option<Owner>,
    node: Option<String>,
    cluster: Option<String>,
    host: Option<String>,
    pub(super) context: String,
    /// Its own.
    labels: Value,
    /// Its pod's.
    pod_labels: Value,
    exit_code: Option<i64>,
    restart_count: Option<i64>,
    created_at: Option<String>,
    started_at: Option<String>,
    finished_at: Option<String>,
    first_seen_at: String,
    pub(super) last_seen_at: String,
    gone_at: Option<String>,
    /// `present`, `stale` or `gone`.
    pub(super) status: String,
    /// Every place that sees it, this one included.
    pub(super) seen: Vec<Seen>,
}

/// Digests of an image, each with how it was learnt, or with why it is not known.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct Digests {
    index: Value,
    manifest: Value,
    config: Value,
    /// `repository@digest`.
    repo: Value,
}

/// The pod of a container.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct PodOf {
    uid: String,
    name: String,
    namespace: Option<String>,
}

/// Outermost owner.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct Owner {
    pub(super) kind: String,
    pub(super) name: String,
}

/// Where a container is seen.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct Seen {
    /// Key of the source.
    pub(super) source: i64,
    pub(super) collector: String,
    /// Key of the scope.
    pub(super) scope: i64,
    pub(super) context: String,
    pub(super) status: String,
}

/// `GET /v1/containers`.
pub(super) struct Containers;

impl View for Containers {
    type Line = Container;
    const TAKES: &'static [&'static [&'static str]] = &[
        PAGES,
        &["at", "cluster", "context", "coverage", "digest", "host", "kind", "label", "namespace", "node", "owner"],
        &["repository", "seen_since", "sort", "state", "status", "tag"],
    ];
    const COLUMNS: &'static [&'static str] = &[
        "id",
        "runtime_id",
        "name",
        "kind",
        "state",
        "state_reason",
        "image",
        "image_identity",
        "digests/index/digest",
        "digests/manifest/digest",
        "digests/config/digest",
        "pod/uid",
        "pod/name",
        "pod/namespace",
        "owner/kind",
        "owner/name",
        "node",
        "cluster",
        "host",
        "context",
        "labels",
        "pod_labels",
        "created_at",
        "started_at",
        "finished_at",
        "first_seen_at",
        "last_seen_at",
        "status",
    ];

    async fn page(app: &App, account_id: i64, asked: &Asked) -> Result<Page<Container>, Problem> {
        let mut connection = app.database.read().await?;
        let found = find(app, &mut connection, Table::Container, account_id, asked).await?;
        let page = cut(found, asked, |found| Cursor::new(asked.sort, found.id, &found.name));
        let ids: Vec<i64> = page.items.iter().map(|found| found.id).collect();
        let shown = if asked.at.is_some() { Shown::All } else { asked.shown() };
        let mut known = describe(app, &mut connection, account_id, &ids, shown).await?;
        Ok(Page { items: ids.iter().filter_map(|id| known.remove(id)).collect(), next: page.next })
    }
}

#[utoipa::path(get, path = "/v1/containers", params(Asks<Containers>), tag = "inventory",
    responses((status = 200, body = Page<Container>), (status = 400, description = "A parameter is wrong.")))]
pub(super) async fn containers(
    State(app): State<App>,
    Reader(caller): Reader,
    Asks(asked, ..): Asks<Containers>,
) -> Result<Response, Problem> {
    answer::<Containers>(app, caller.account_id, asked).await
}

#[utoipa::path(get, path = "/v1/containers/{id}", params(("id" = i64, Path)), tag = "inventory",
    responses((status = 200, body = Container), (status = 404, description = "There is none.")))]
pub(super) async fn container(
    State(app): State<App>,
    Reader(caller): Reader,
    Path(id): Path<i64>,
) -> Result<Json<Container>, Problem> {
    one(&app, caller.account_id, id).await.map(Json)
}

/// A container that is in the inventory or was in it.
pub(super) async fn one(app: &App, account_id: i64, id: i64) -> Result<Container, Problem> {
    let mut connection = app.database.read().await?;
    let mut known = describe(app, &mut connection, account_id, &[id], Shown::All).await?;
    known.remove(&id).ok_or_else(|| Problem::not_found(format!("there is no container {id}")))
}

/// All that is told of some containers.
pub(super) async fn describe(
    app: &App,
    connection: &mut AnyConnection,
    account_id: i64,
    ids: &[i64],
    shown: Shown,
) -> Result<BTreeMap<i64, Container>, Problem> {
    if ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut statement = Statement::of_account(account_id);
    let visible = Visible::new(&mut statement, now(), app.retention);
    let list = statement.ids(app.database.dialect(), ids.iter().copied());
    let joins = named(JOINS, "");
    statement.text = format!(
        "SELECT c.id AS id, c.runtime_id AS runtime_id, c.name AS name, c.kind AS kind, c.state AS state, \
         c.state_reason AS state_reason, c.exit_code AS exit_code, c.restart_count AS restart_count, \
         c.created_at AS created_at, c.started_at AS started_at, c.finished_at AS finished_at, \
         c.first_seen_at AS first_seen_at, c.gone_at AS gone_at, {seen_at} AS last_seen_at, {status} AS status, \
         im.name AS image, ig.identity AS image_identity, ig.facts AS facts, po.uid AS pod_uid, po.name AS pod_name, \
         COALESCE(po.namespace, CASE WHEN sc.scope_kind = 'namespace' THEN sc.name END) AS namespace, \
         wo.kind AS owner_kind, wo.name AS owner_name, COALESCE(po.node_name, c.node_name) AS node, \
         pl.kind AS place_kind, pl.name AS place, sc.context AS context, ls.labels AS labels, ps.labels AS pod_labels \
         FROM container AS c{joins} CROSS JOIN image_use AS iu CROSS JOIN image AS ig CROSS JOIN image_name AS im \
         LEFT JOIN pod AS po ON po.account_id = $1 AND po.id = c.pod_id \
         LEFT JOIN workload AS wo ON wo.account_id = $1 AND wo.id = COALESCE(c.workload_id, po.workload_id) \
         LEFT JOIN label_set AS ls ON ls.account_id = $1 AND ls.id = c.labels_id \
         LEFT JOIN label_set AS ps ON ps.account_id = $1 AND ps.id = po.labels_id \
         WHERE c.account_id = $1 AND c.id {list} AND {joined} AND iu.account_id = $1 AND iu.id = c.image_use_id \
         AND ig.account_id = $1 AND ig.id = iu.image_id AND im.account_id = $1 AND im.id = iu.name_id",
        seen_at = named(super::visible::SEEN_AT, ""),
        status = named(&visible.status(), ""),
        joined = named(JOINED, ""),
    );
    let rows = statement.fetch(connection).await?;
    let mut known: BTreeMap<i64, Container> = BTreeMap::new();
    for row in &rows {
        let container = read(row)?;
        known.insert(container.id, container);
    }
    sightings(app, connection, account_id, ids, shown, &mut known).await?;
    Ok(known)
}

/// Adds where each is seen.
async fn sightings(
    app: &App,
    connection: &mut AnyConnection,
    account_id: i64,
    ids: &[i64],
    shown: Shown,
    known: &mut BTreeMap<i64, Container>,
) -> Result<(), Problem> {
    let mut statement = Statement::of_account(account_id);
    let visible = Visible::new(&mut statement, now(), app.retention);
    let list = statement.ids(app.database.dialect(), ids.iter().copied());
    let columns = format!(
        "dso.id AS source, dsc.collector AS collector, dsc.id AS scope, dsc.context AS context, \
        {} AS status",
        named(&visible.status(), "d")
    );
    let (joins, joined) = (named(JOINS, "d"), named(JOINED, "d"));
    let [rows, are_rows] = rows_of("c", "dc", app.database.dialect());
    statement.text = format!(
        "SELECT c.id AS id, {columns} FROM container AS c CROSS JOIN shared_container AS sh CROSS JOIN {rows}{joins} \
         WHERE c.account_id = $1 AND c.id {list} AND sh.account_id = $1 AND sh.runtime_id = c.runtime_id AND {are_rows} AND {joined} \
         AND (dc.id = c.id OR {shows}) \
         UNION ALL SELECT dc.id AS id, {columns} FROM container AS dc{joins} WHERE dc.account_id = $1 AND dc.id {list} AND {joined} \
         AND NOT {is_shared} ORDER BY 1, 2, 4",
        is_shared = is_shared("dc"),
        shows = named(&visible.shows(shown), "d"),
    );
    for row in &statement.fetch(connection).await? {
        if let Some(container) = known.get_mut(&integer(row, "id")?) {
            container.seen.push(Seen {
                source: integer(row, "source")?,
                collector: text(row, "collector")?,
                scope: integer(row, "scope")?,
                context: text(row, "context")?,
                status: text(row, "status")?,
            });
        }
    }
    Ok(())
}

fn read(row: &AnyRow) -> Result<Container, sqlx::Error> {
    let is_cluster = text(row, "place_kind")? == "cluster";
    let place = text(row, "place")?;
    let (cluster, host) = if is_cluster { (Some(place), None) } else { (None, Some(place)) };
    let at = |column: &str| Ok::<_, sqlx::Error>(maybe_integer(row, column)?.map(time));
    let pod = match (maybe_bytes(row, "pod_uid")?, maybe_text(row, "pod_name")?) {
        (Some(uid), Some(name)) => {
            Some(PodOf { uid: words::unpack(&uid), name, namespace: maybe_text(row, "namespace")? })
        }
        _ => None,
    };
    Ok(Container {
        id: integer(row, "id")?,
        runtime_id: maybe_bytes(row, "runtime_id")?.map(|id| words::unpack(&id)),
        name: text(row, "name")?,
        kind: words::kind(integer(row, "kind")?).as_str(),
        state: words::state(integer(row, "state")?).as_str(),
        state_reason: maybe_text(row, "state_reason")?,
        image: text(row, "image")?,
        image_identity: text(row, "image_identity")?,
        digests: Digests::read(&text(row, "facts")?),
        pod,
        owner: owner(row)?,
        node: maybe_text(row, "node")?,
        cluster,
        host,
        context: text(row, "context")?,
        labels: labels(row, "labels")?,
        pod_labels: labels(row, "pod_labels")?,
        exit_code: maybe_integer(row, "exit_code")?,
        restart_count: maybe_integer(row, "restart_count")?,
        created_at: at("created_at")?,
        started_at: at("started_at")?,
        finished_at: at("finished_at")?,
        first_seen_at: time(integer(row, "first_seen_at")?),
        last_seen_at: time(integer(row, "last_seen_at")?),
        gone_at: at("gone_at")?,
        status: text(row, "status")?,
        seen: Vec::new(),
    })
}

/// The owner that a row tells of.
pub(super) fn owner(row: &AnyRow) -> Result<Option<Owner>, sqlx::Error> {
    let (kind, name) = (maybe_text(row, "owner_kind")?, maybe_text(row, "owner_name")?);
    Ok(kind.zip(name).map(|(kind, name)| Owner { kind, name }))
}

/// Labels as an object.
pub(super) fn labels(row: &AnyRow, column: &str) -> Result<Value, sqlx::Error> {
    let labels = maybe_text(row, column)?;
    Ok(labels
        .and_then(|labels| serde_json::from_str(&labels).ok())
        .unwrap_or_else(|| Value::Object(serde_json::Map::default())))
}

impl Digests {
    /// Of an image's facts.
    pub(super) fn read(facts: &str) -> Self {
        let mut facts: Value = serde_json::from_str(facts).unwrap_or_default();
        let mut take = |key: &str| facts.get_mut(key).map(Value::take).unwrap_or_default();
        Self {
            index: take("index_digest"),
            manifest: take("manifest_digest"),
            config: take("config_digest"),
            repo: take("repo_digests"),
        }
    }
    /// With what others know where these do not.
    pub(super) fn or(self, others: Self) -> Self {
        let known = |mine: Value, others: Value| {
            let says =
                |fact: &Value| fact.get("digest").is_some() || fact.as_array().is_some_and(|all| !all.is_empty());
            if says(&mine) || !says(&others) { mine } else { others }
        };
        Self {
            index: known(self.index, others.index),
            manifest: known(self.manifest, others.manifest),
            config: known(self.config, others.config),
            repo: known(self.repo, others.repo),
        }
    }
}
