//! Who reports what: agents, their sources, and these' scopes.

use axum::{
    Json,
    extract::{Path, State},
    response::Response,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::any::AnyRow;
use utoipa::ToSchema;

use super::{
    answer::{Page, View, answer, cut, now, time},
    asked::{Asked, Asks, Cursor, PAGES},
    statement::{Statement, integer, maybe_integer, maybe_text, text},
    visible::{SCOPE_SEEN_AT, Visible, named},
};
use crate::{
    access::{Reader, Writer},
    app::App,
    database::Value as Bound,
    http::Problem,
    ingest::Runs,
};

/// The longest time to live, in days: a hundred years.
const LONGEST: i64 = 36_525;

/// An agent.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct Agent {
    id: i64,
    pub(super) uuid: String,
    /// `stocktake`, `bundle`, `agentless`, `kai`, `k8s-inventory`, `ecs-inventory`.
    kind: String,
    version: String,
    hostname: Option<String>,
    /// Whether its next report is overdue.
    pub(super) silent: bool,
    reported_at: String,
    received_at: String,
    /// Milliseconds within which it promised another report.
    valid_for: Option<i64>,
    /// Milliseconds by which its clock differs from the server's.
    clock_skew: i64,
    /// How many of its reports have not come, though later ones of the same run have, of its latest runs: it dropped them, or they were
    /// refused. Null for those that do not number their reports.
    missing_reports: Option<u64>,
    sources: i64,
    first_seen_at: String,
}

/// What one collector of one agent looks at.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct Source {
    pub(super) id: i64,
    /// Key of the agent.
    agent: i64,
    collector: String,
    kind: String,
    cluster: Option<String>,
    host: Option<String>,
    runtime_name: Option<String>,
    runtime_version: Option<String>,
    observed_at: String,
    coverage: String,
    reason: Option<String>,
    warnings: Value,
    /// Another time to live than the server's.
    pub(super) image_ttl_days: Option<i64>,
    /// Whether its agent is silent.
    pub(super) silent: bool,
    scopes: i64,
    first_seen_at: String,
}

/// The smallest thing that is seen completely or not.
#[expect(clippy::struct_field_names, reason = "as the model names it")]
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct Scope {
    id: i64,
    /// Key of the source that told of it last.
    source: i64,
    collector: String,
    kind: String,
    /// `cluster`, `namespace`, `node`, `host`.
    scope_kind: String,
    name: String,
    pub(super) context: String,
    cluster: Option<String>,
    host: Option<String>,
    coverage: String,
    reason: Option<String>,
    counts: Value,
    first_seen_at: String,
    last_seen_at: String,
    changed_at: String,
    gone_at: Option<String>,
    /// `present`, `stale` or `gone`.
    pub(super) status: String,
}

/// What may be said of a source.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SourceChange {
    /// Days after which what was not seen any more is no longer in the inventory; -1: only what the latest report holds; 0: for
    /// ever; null: as the server is set.
    #[serde(deserialize_with = "Option::deserialize")]
    #[schema(required, minimum = -1, maximum = 36_525)]
    image_ttl_days: Option<i64>,
}

/// `GET /v1/agents`.
pub(super) struct Agents;
/// `GET /v1/sources`.
pub(super) struct Sources;
/// `GET /v1/scopes`.
pub(super) struct Scopes;

impl View for Agents {
    type Line = Agent;
    const TAKES: &'static [&'static [&'static str]] = &[PAGES];
    const COLUMNS: &'static [&'static str] = &[
        "id",
        "uuid",
        "kind",
        "version",
        "hostname",
        "silent",
        "reported_at",
        "received_at",
        "valid_for",
        "clock_skew",
        "missing_reports",
        "sources",
        "first_seen_at",
    ];

    async fn page(app: &App, account_id: i64, asked: &Asked) -> Result<Page<Agent>, Problem> {
        let mut statement = Statement::of_account(account_id);
        let visible = Visible::new(&mut statement, now(), app.retention);
        statement.text = format!(
            "SELECT ag.id AS id, ag.uuid AS uuid, ag.kind AS kind, ag.version AS version, ag.hostname AS hostname, \
             CASE WHEN {silent} THEN 1 ELSE 0 END AS silent, ag.reported_at AS reported_at, ag.received_at AS received_at, \
             ag.valid_for AS valid_for, ag.clock_skew AS clock_skew, ag.runs AS runs, ag.first_seen_at AS first_seen_at, \
             (SELECT COUNT(*) FROM source AS so WHERE so.account_id = $1 AND so.agent_id = ag.id) AS sources \
             FROM agent AS ag WHERE ag.account_id = $1",
            silent = named(&visible.silent(), ""),
        );
        page(app, asked, statement, "ag.id", |row| {
            let kind = text(row, "kind")?;
            let runs: Option<Runs> = serde_json::from_str(&text(row, "runs")?).ok();
            // The server numbers its own looks, of which not each has something to report.
            let missing_reports = runs.filter(|_| kind == "stocktake").map(|runs| runs.missing());
            Ok(Agent {
                id: integer(row, "id")?,
                uuid: text(row, "uuid")?,
                kind,
                missing_reports,
                version: text(row, "version")?,
                hostname: maybe_text(row, "hostname")?,
                silent: is(row, "silent")?,
                reported_at: time(integer(row, "reported_at")?),
                received_at: time(integer(row, "received_at")?),
                valid_for: maybe_integer(row, "valid_for")?,
                clock_skew: integer(row, "clock_skew")?,
                sources: integer(row, "sources")?,
                first_seen_at: time(integer(row, "first_seen_at")?),
            })
        })
        .await
    }
}

impl View for Sources {
    type Line = Source;
    const TAKES: &'static [&'static [&'static str]] = &[PAGES, &["cluster", "coverage", "host"]];
    const COLUMNS: &'static [&'static str] = &[
        "id",
        "agent",
        "collector",
        "kind",
        "cluster",
        "host",
        "runtime_name",
        "runtime_version",
        "observed_at",
        "coverage",
        "reason",
        "warnings",
        "image_ttl_days",
        "silent",
        "scopes",
        "first_seen_at",
    ];

    async fn page(app: &App, account_id: i64, asked: &Asked) -> Result<Page<Source>, Problem> {
        let mut statement = sources(app, account_id);
        place(asked, &mut statement);
        if let Some(coverage) = &asked.coverage {
            let coverage = statement.bind(coverage.as_str());
            statement.push(&format!(" AND so.coverage = {coverage}"));
        }
        page(app, asked, statement, "so.id", Source::read).await
    }
}

fn sources(app: &App, account_id: i64) -> Statement {
    let mut statement = Statement::of_account(account_id);
    let visible = Visible::new(&mut statement, now(), app.retention);
    statement.text = format!(
        "SELECT so.id AS id, so.agent_id AS agent, so.collector AS collector, so.kind AS kind, pl.kind AS place_kind, pl.name AS place, \
         so.runtime_name AS runtime_name, so.runtime_version AS runtime_version, so.observed_at AS observed_at, \
         so.coverage AS coverage, so.reason AS reason, so.warnings AS warnings, so.ttl_days AS ttl_days, \
         CASE WHEN {silent} THEN 1 ELSE 0 END AS silent, so.first_seen_at AS first_seen_at, \
         (SELECT COUNT(*) FROM scope AS sc WHERE sc.account_id = $1 AND sc.source_id = so.id AND sc.gone_at IS NULL) AS scopes \
         FROM source AS so CROSS JOIN agent AS ag CROSS JOIN place AS pl WHERE so.account_id = $1 \
         AND ag.account_id = $1 AND ag.id = so.agent_id AND pl.account_id = $1 AND pl.id = so.place_id",
        silent = named(&visible.silent(), ""),
    );
    statement
}

impl Source {
    fn read(row: &AnyRow) -> Result<Self, sqlx::Error> {
        let (cluster, host) = place_of(row)?;
        Ok(Self {
            id: integer(row, "id")?,
            agent: integer(row, "agent")?,
            collector: text(row, "collector")?,
            kind: text(row, "kind")?,
            cluster,
            host,
            runtime_name: maybe_text(row, "runtime_name")?,
            runtime_version: maybe_text(row, "runtime_version")?,
            observed_at: time(integer(row, "observed_at")?),
            coverage: text(row, "coverage")?,
            reason: maybe_text(row, "reason")?,
            warnings: json(row, "warnings")?,
            image_ttl_days: maybe_integer(row, "ttl_days")?,
            silent: is(row, "silent")?,
            scopes: integer(row, "scopes")?,
            first_seen_at: time(integer(row, "first_seen_at")?),
        })
    }
}

impl View for Scopes {
    type Line = Scope;
    const TAKES: &'static [&'static [&'static str]] =
        &[PAGES, &["cluster", "context", "coverage", "host", "namespace", "seen_since", "status"]];
    const COLUMNS: &'static [&'static str] = &[
        "id",
        "source",
        "collector",
        "kind",
        "scope_kind",
        "name",
        "context",
        "cluster",
        "host",
        "coverage",
        "reason",
        "counts",
        "first_seen_at",
        "last_seen_at",
        "changed_at",
        "gone_at",
        "status",
    ];

    async fn page(app: &App, account_id: i64, asked: &Asked) -> Result<Page<Scope>, Problem> {
        let mut statement = Statement::of_account(account_id);
        let visible = Visible::new(&mut statement, now(), app.retention);
        let text = format!(
            "SELECT ~sc.id AS id, ~so.id AS source, ~sc.collector AS collector, ~sc.kind AS kind, ~sc.scope_kind AS scope_kind, \
             ~sc.name AS name, ~sc.context AS context, ~pl.kind AS place_kind, ~pl.name AS place, ~sc.coverage AS coverage, \
             ~sc.reason AS reason, ~sc.counts AS counts, ~sc.first_seen_at AS first_seen_at, {SCOPE_SEEN_AT} AS last_seen_at, \
             ~sc.changed_at AS changed_at, ~sc.gone_at AS gone_at, {} AS status \
             FROM scope AS ~sc CROSS JOIN source AS ~so CROSS JOIN agent AS ~ag CROSS JOIN place AS ~pl WHERE ~sc.account_id = $1 \
             AND ~so.account_id = $1 AND ~so.id = ~sc.source_id AND ~ag.account_id = $1 AND ~ag.id = ~so.agent_id \
             AND ~pl.account_id = $1 AND ~pl.id = ~sc.place_id AND {}",
            visible.scope_status(),
            visible.shows_scope(asked.shown()),
        );
        statement.text = named(&text, "");
        place(asked, &mut statement);
        let equals = [("context", &asked.context), ("coverage", &asked.coverage), ("name", &asked.namespace)];
        for (column, value) in equals {
            if let Some(value) = value {
                let value = statement.bind(value.as_str());
                statement.push(&format!(" AND sc.{column} = {value}"));
            }
        }
        if asked.namespace.is_some() {
            statement.push(" AND sc.scope_kind = 'namespace'");
        }
        if let Some(since) = asked.seen_since {
            let since = statement.bind(since);
            statement.push(&format!(" AND {} >= {since}", named(SCOPE_SEEN_AT, "")));
        }
        page(app, asked, statement, "sc.id", Scope::read).await
    }
}

impl Scope {
    fn read(row: &AnyRow) -> Result<Self, sqlx::Error> {
        let (cluster, host) = place_of(row)?;
        Ok(Self {
            id: integer(row, "id")?,
            source: integer(row, "source")?,
            collector: text(row, "collector")?,
            kind: text(row, "kind")?,
            scope_kind: text(row, "scope_kind")?,
            name: text(row, "name")?,
            context: text(row, "context")?,
            cluster,
            host,
            coverage: text(row, "coverage")?,
            reason: maybe_text(row, "reason")?,
            counts: json(row, "counts")?,
            first_seen_at: time(integer(row, "first_seen_at")?),
            last_seen_at: time(integer(row, "last_seen_at")?),
            changed_at: time(integer(row, "changed_at")?),
            gone_at: maybe_integer(row, "gone_at")?.map(time),
            status: text(row, "status")?,
        })
    }
}

/// A page of a list that is ordered by its keys.
pub(super) async fn page<T: Keyed>(
    app: &App,
    asked: &Asked,
    mut statement: Statement,
    key: &str,
    read: impl Fn(&AnyRow) -> Result<T, sqlx::Error>,
) -> Result<Page<T>, Problem> {
    let after = statement.bind(asked.after.as_ref().map_or(i64::MIN, |cursor| cursor.id));
    let limit = statement.bind(asked.limit + 1);
    statement.push(&format!(" AND {key} > {after} ORDER BY {key} LIMIT {limit}"));
    let mut connection = app.database.read().await?;
    let rows = statement.fetch(&mut connection).await?;
    let lines: Vec<T> = rows.iter().map(read).collect::<Result<_, _>>()?;
    Ok(cut(lines, asked, |line| Cursor::new(asked.sort, line.key(), "")))
}

/// What has a key.
pub(super) trait Keyed {
    fn key(&self) -> i64;
}

impl Keyed for Agent {
    fn key(&self) -> i64 {
        self.id
    }
}

impl Keyed for Source {
    fn key(&self) -> i64 {
        self.id
    }
}

impl Keyed for Scope {
    fn key(&self) -> i64 {
        self.id
    }
}

fn place(asked: &Asked, statement: &mut Statement) {
    for (kind, name) in [("cluster", &asked.cluster), ("host", &asked.host)] {
        if let Some(name) = name {
            let name = statement.bind(name.as_str());
            statement.push(&format!(" AND pl.kind = '{kind}' AND pl.name = {name}"));
        }
    }
}

fn place_of(row: &AnyRow) -> Result<(Option<String>, Option<String>), sqlx::Error> {
    let place = text(row, "place")?;
    Ok(if text(row, "place_kind")? == "cluster" { (Some(place), None) } else { (None, Some(place)) })
}

fn is(row: &AnyRow, column: &str) -> Result<bool, sqlx::Error> {
    // A number of four bytes in PostgreSQL, of eight in SQLite.
    sqlx::Row::try_get::<i64, _>(row, column)
        .or_else(|_| sqlx::Row::try_get::<i32, _>(row, column).map(i64::from))
        .map(|is| is == 1)
}

fn json(row: &AnyRow, column: &str) -> Result<Value, sqlx::Error> {
    Ok(serde_json::from_str(&text(row, column)?).unwrap_or_default())
}

/// Sets how long what a source tells of counts.
pub(super) async fn change(app: &App, account_id: i64, id: i64, body: &[u8]) -> Result<Source, Problem> {
    let invalid =
        |why: &str| Problem::bad_request(format!("the body is not `{{\"image_ttl_days\": DAYS or null}}`: {why}"));
    // serde would also take a list of the values of its fields.
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(invalid("it is no JSON object"));
    }
    let change: SourceChange = serde_json::from_slice(body).map_err(|error| invalid(&error.to_string()))?;
    if change.image_ttl_days.is_some_and(|days| !(-1..=LONGEST).contains(&days)) {
        return Err(Problem::bad_request(format!("`image_ttl_days` is neither null nor from -1 to {LONGEST}")));
    }
    let mut writing = app.database.write().await?;
    let mut statement = Statement::of_account(account_id);
    let (id_, days) = (statement.bind(id), statement.bind(Bound::Integer(change.image_ttl_days)));
    statement.text = format!("UPDATE source SET ttl_days = {days} WHERE account_id = $1 AND id = {id_} RETURNING id");
    let found = !statement.fetch(writing.connection()).await?.is_empty();
    writing.commit().await?;
    let none = || Problem::not_found(format!("there is no source {id}"));
    if !found {
        return Err(none());
    }
    let mut statement = sources(app, account_id);
    let id_ = statement.bind(id);
    statement.push(&format!(" AND so.id = {id_}"));
    let mut connection = app.database.read().await?;
    let rows = statement.fetch(&mut connection).await?;
    rows.first().map(Source::read).transpose()?.ok_or_else(none)
}

#[utoipa::path(get, path = "/v1/agents", params(Asks<Agents>), tag = "sources",
    responses((status = 200, body = Page<Agent>), (status = 400, description = "A parameter is wrong.")))]
pub(super) async fn agents(
    State(app): State<App>,
    Reader(caller): Reader,
    Asks(asked, ..): Asks<Agents>,
) -> Result<Response, Problem> {
    answer::<Agents>(app, caller.account_id, asked).await
}

#[utoipa::path(get, path = "/v1/sources", params(Asks<Sources>), tag = "sources",
    responses((status = 200, body = Page<Source>), (status = 400, description = "A parameter is wrong.")))]
pub(super) async fn list(
    State(app): State<App>,
    Reader(caller): Reader,
    Asks(asked, ..): Asks<Sources>,
) -> Result<Response, Problem> {
    answer::<Sources>(app, caller.account_id, asked).await
}

#[utoipa::path(patch, path = "/v1/sources/{id}", params(("id" = i64, Path)), tag = "sources", request_body = SourceChange,
    responses((status = 200, body = Source), (status = 400, description = "The body is wrong."),
        (status = 404, description = "There is none.")))]
pub(super) async fn set(
    State(app): State<App>,
    Writer(caller): Writer,
    Path(id): Path<i64>,
    body: Bytes,
) -> Result<Json<Source>, Problem> {
    change(&app, caller.account_id, id, &body).await.map(Json)
}

#[utoipa::path(get, path = "/v1/scopes", params(Asks<Scopes>), tag = "sources",
    responses((status = 200, body = Page<Scope>), (status = 400, description = "A parameter is wrong.")))]
pub(super) async fn scopes(
    State(app): State<App>,
    Reader(caller): Reader,
    Asks(asked, ..): Asks<Scopes>,
) -> Result<Response, Problem> {
    answer::<Scopes>(app, caller.account_id, asked).await
}
