//! Pods and workloads.

use std::collections::BTreeMap;

use axum::{extract::State, response::Response};
use serde::Serialize;
use serde_json::Value;
use sqlx::{AnyConnection, any::AnyRow};
use utoipa::ToSchema;

use super::{
    answer::{Page, View, answer, cut, now, time},
    asked::{Asked, Asks, Cursor, PAGES},
    containers::{Owner, labels, owner},
    filters::Table,
    find::find,
    statement::{Statement, integer, maybe_bytes, maybe_integer, maybe_text, text},
    visible::{JOINED, JOINS, SEEN_AT, Visible, named},
};
use crate::{access::Reader, app::App, http::Problem, words};

/// A pod.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct Pod {
    id: i64,
    uid: String,
    pub(super) name: String,
    namespace: Option<String>,
    node: Option<String>,
    phase: Option<String>,
    owner: Option<Owner>,
    labels: Value,
    created_at: Option<String>,
    #[serde(flatten)]
    whence: Whence,
}

/// The outermost owner of pods and containers.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct Workload {
    id: i64,
    kind: String,
    pub(super) name: String,
    namespace: Option<String>,
    api_version: Option<String>,
    uid: Option<String>,
    /// Containers of it that are not gone. One that several sources see counts once for each.
    pub(super) containers: i64,
    #[serde(flatten)]
    whence: Whence,
}

/// Where something is seen, and since when.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct Whence {
    cluster: Option<String>,
    host: Option<String>,
    context: String,
    /// Key of the scope.
    scope: i64,
    /// Key of the source.
    source: i64,
    first_seen_at: String,
    last_seen_at: String,
    gone_at: Option<String>,
    /// `present`, `stale` or `gone`.
    pub(super) status: String,
}

impl Whence {
    /// Columns that [`Self::read`] reads, for a row of the names of `visible`.
    pub(super) fn columns(visible: &Visible) -> String {
        let status = visible.status();
        named(
            &format!(
                "~pl.kind AS place_kind, ~pl.name AS place, ~sc.context AS context, ~sc.id AS scope_id, ~so.id AS source_id, \
                 ~c.first_seen_at AS first_seen_at, {SEEN_AT} AS last_seen_at, ~c.gone_at AS gone_at, {status} AS status"
            ),
            "",
        )
    }

    pub(super) fn read(row: &AnyRow) -> Result<Self, sqlx::Error> {
        let place = text(row, "place")?;
        let is_cluster = text(row, "place_kind")? == "cluster";
        let (cluster, host) = if is_cluster { (Some(place), None) } else { (None, Some(place)) };
        Ok(Self {
            cluster,
            host,
            context: text(row, "context")?,
            scope: integer(row, "scope_id")?,
            source: integer(row, "source_id")?,
            first_seen_at: time(integer(row, "first_seen_at")?),
            last_seen_at: time(integer(row, "last_seen_at")?),
            gone_at: maybe_integer(row, "gone_at")?.map(time),
            status: text(row, "status")?,
        })
    }
}

/// `GET /v1/pods`.
pub(super) struct Pods;

impl View for Pods {
    type Line = Pod;
    const TAKES: &'static [&'static [&'static str]] = &[
        PAGES,
        &["at", "cluster", "context", "coverage", "host", "label", "namespace", "node", "owner"],
        &["seen_since", "sort", "status"],
    ];
    const COLUMNS: &'static [&'static str] = &[
        "id",
        "uid",
        "name",
        "namespace",
        "node",
        "phase",
        "owner/kind",
        "owner/name",
        "labels",
        "cluster",
        "host",
        "context",
        "created_at",
        "first_seen_at",
        "last_seen_at",
        "status",
    ];

    async fn page(app: &App, account_id: i64, asked: &Asked) -> Result<Page<Pod>, Problem> {
        page(app, Table::Pod, account_id, asked, async |connection, ids| {
            let columns = "c.uid AS uid, c.name AS name, c.phase AS phase, c.node_name AS node, c.created_at AS created_at, \
                COALESCE(c.namespace, CASE WHEN sc.scope_kind = 'namespace' THEN sc.name END) AS namespace, \
                wo.kind AS owner_kind, wo.name AS owner_name, ls.labels AS labels";
            let joins = " LEFT JOIN workload AS wo ON wo.account_id = $1 AND wo.id = c.workload_id \
                LEFT JOIN label_set AS ls ON ls.account_id = $1 AND ls.id = c.labels_id";
            let rows = rows(app, connection, Table::Pod, account_id, ids, columns, joins).await?;
            rows.iter().map(Pod::read).collect()
        })
        .await
    }
}

impl Pod {
    fn read(row: &AnyRow) -> Result<(i64, Self), sqlx::Error> {
        let id = integer(row, "id")?;
        let pod = Self {
            id,
            uid: maybe_bytes(row, "uid")?.map(|uid| words::unpack(&uid)).unwrap_or_default(),
            name: text(row, "name")?,
            namespace: maybe_text(row, "namespace")?,
            node: maybe_text(row, "node")?,
            phase: maybe_text(row, "phase")?,
            owner: owner(row)?,
            labels: labels(row, "labels")?,
            created_at: maybe_integer(row, "created_at")?.map(time),
            whence: Whence::read(row)?,
        };
        Ok((id, pod))
    }
}

/// `GET /v1/workloads`.
pub(super) struct Workloads;

impl View for Workloads {
    type Line = Workload;
    const TAKES: &'static [&'static [&'static str]] =
        &[PAGES, &["cluster", "context", "coverage", "kind", "namespace", "owner", "seen_since", "sort", "status"]];
    const COLUMNS: &'static [&'static str] = &[
        "id",
        "kind",
        "name",
        "namespace",
        "api_version",
        "uid",
        "containers",
        "cluster",
        "host",
        "context",
        "first_seen_at",
        "last_seen_at",
        "status",
    ];

    async fn page(app: &App, account_id: i64, asked: &Asked) -> Result<Page<Workload>, Problem> {
        page(app, Table::Workload, account_id, asked, async |connection, ids| {
            let columns = "c.kind AS kind, c.name AS name, c.api_version AS api_version, c.uid AS uid, \
                COALESCE(c.namespace, CASE WHEN sc.scope_kind = 'namespace' THEN sc.name END) AS namespace, \
                (SELECT COUNT(*) FROM container AS ct WHERE ct.account_id = $1 AND ct.workload_id = c.id \
                 AND ct.gone_at IS NULL) + (SELECT COUNT(*) FROM pod AS po CROSS JOIN container AS ct WHERE po.account_id = $1 \
                 AND po.workload_id = c.id AND po.gone_at IS NULL AND ct.account_id = $1 AND ct.pod_id = po.id \
                 AND ct.gone_at IS NULL AND ct.workload_id IS NULL) AS containers";
            let rows = rows(app, connection, Table::Workload, account_id, ids, columns, "").await?;
            rows.iter().map(Workload::read).collect()
        })
        .await
    }
}

impl Workload {
    fn read(row: &AnyRow) -> Result<(i64, Self), sqlx::Error> {
        let id = integer(row, "id")?;
        let workload = Self {
            id,
            kind: text(row, "kind")?,
            name: text(row, "name")?,
            namespace: maybe_text(row, "namespace")?,
            api_version: maybe_text(row, "api_version")?,
            uid: maybe_text(row, "uid")?,
            containers: integer(row, "containers")?,
            whence: Whence::read(row)?,
        };
        Ok((id, workload))
    }
}

/// Finds a page's rows and has them described, in their order.
async fn page<T>(
    app: &App,
    table: Table,
    account_id: i64,
    asked: &Asked,
    describe: impl AsyncFnOnce(&mut AnyConnection, &[i64]) -> Result<BTreeMap<i64, T>, sqlx::Error>,
) -> Result<Page<T>, Problem> {
    let mut connection = app.database.read().await?;
    let found = find(app, &mut connection, table, account_id, asked).await?;
    let page = cut(found, asked, |found| Cursor::new(asked.sort, found.id, &found.name));
    let ids: Vec<i64> = page.items.iter().map(|found| found.id).collect();
    let mut known = describe(&mut connection, &ids).await?;
    Ok(Page { items: ids.iter().filter_map(|id| known.remove(id)).collect(), next: page.next })
}

async fn rows(
    app: &App,
    connection: &mut AnyConnection,
    table: Table,
    account_id: i64,
    ids: &[i64],
    columns: &str,
    more: &str,
) -> Result<Vec<AnyRow>, sqlx::Error> {
    let mut statement = Statement::of_account(account_id);
    let visible = Visible::new(&mut statement, now(), app.retention);
    let list = statement.ids(app.database.dialect(), ids.iter().copied());
    statement.text = format!(
        "SELECT c.id AS id, {columns}, {whence} FROM {table} AS c{joins}{more} WHERE c.account_id = $1 AND c.id {list} AND {joined}",
        whence = Whence::columns(&visible),
        table = table.name(),
        joins = named(JOINS, ""),
        joined = named(JOINED, ""),
    );
    statement.fetch(connection).await
}

#[utoipa::path(get, path = "/v1/pods", params(Asks<Pods>), tag = "inventory",
    responses((status = 200, body = Page<Pod>), (status = 400, description = "A parameter is wrong.")))]
pub(super) async fn pods(
    State(app): State<App>,
    Reader(caller): Reader,
    Asks(asked, ..): Asks<Pods>,
) -> Result<Response, Problem> {
    answer::<Pods>(app, caller.account_id, asked).await
}

#[utoipa::path(get, path = "/v1/workloads", params(Asks<Workloads>), tag = "inventory",
    responses((status = 200, body = Page<Workload>), (status = 400, description = "A parameter is wrong.")))]
pub(super) async fn workloads(
    State(app): State<App>,
    Reader(caller): Reader,
    Asks(asked, ..): Asks<Workloads>,
) -> Result<Response, Problem> {
    answer::<Workloads>(app, caller.account_id, asked).await
}
