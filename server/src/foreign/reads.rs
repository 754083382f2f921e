//! What was told of clusters, as Anchore tells it: `/v2/kubernetes-…` and `/v2/ecs-…`.
//!
//! Everything that the time to live lets stand is told, what is gone included, as with `/v2/inventories`.

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
    response::Response,
};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use sqlx::any::AnyRow;
use uuid::Uuid;

use super::{
    answer::{Asks, Foreign, ForeignProblem},
    pieces::{Piece, list},
    shapes::Shape,
};
use crate::{
    access::{Caller, Reader, Writer},
    api::{
        statement::{Statement, integer},
        visible::{JOINED, SEEN_AT, Shown, Visible, named},
    },
    app::App,
    http::Problem,
    ingest::{Removal, element_key, remove},
};

/// Rows of a piece of an answer.
const PIECE: i64 = 1000;

/// Which page.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Paged {
    page: i64,
    #[serde(default = "page_size")]
    page_size: i64,
}

fn page_size() -> i64 {
    1000
}

/// Where a page goes on.
#[derive(Debug, Clone, Copy)]
struct At {
    after: i64,
    offset: i64,
    left: i64,
}

impl Paged {
    fn begin(&self) -> Result<At, Problem> {
        for (name, value) in [("page", self.page), ("page_size", self.page_size)] {
            if value < 1 {
                return Err(Problem::bad_request(format!("`{name}` is {value}: expected 1 or more")));
            }
        }
        let offset = (self.page - 1).saturating_mul(self.page_size);
        Ok(At { after: i64::MIN, offset, left: self.page_size })
    }
}

/// A page of a list.
pub(super) async fn page(app: App, caller: Caller, shape: Shape, paged: &Paged) -> Result<Response, ForeignProblem> {
    let begin = paged.begin()?;
    list(Some(shape.key()), begin, move |at| piece(app.clone(), caller.clone(), shape, at)).await
}

async fn piece(app: App, caller: Caller, shape: Shape, at: At) -> Result<Piece<Value, At>, Problem> {
    let limit = at.left.min(PIECE);
    let mut statement = Statement::of_account(caller.account_id);
    let (after, bound, offset) = (statement.bind(at.after), statement.bind(limit), statement.bind(at.offset));
    let tables = format!("{} AS ~c CROSS JOIN scope AS ~sc", shape.table());
    let also = format!("~c.id > {after} ORDER BY ~c.id LIMIT {bound} OFFSET {offset}");
    let rows = rows(&app, statement, shape, &tables, &also).await?;
    let count = i64::try_from(rows.len()).unwrap_or(i64::MAX);
    let last = rows.last().map(|row| integer(row, "id")).transpose()?;
    let next = last.filter(|_| count == limit && at.left > limit);
    let items = shape.told(&app, &caller, &rows).await?;
    Ok((items, next.map(|after| At { after, offset: 0, left: at.left - limit })))
}

/// Rows of a shape among `tables`, of which those are taken that also hold to `also`.
async fn rows(
    app: &App,
    mut statement: Statement,
    shape: Shape,
    tables: &str,
    also: &str,
) -> Result<Vec<AnyRow>, Problem> {
    let visible = Visible::new(&mut statement, Timestamp::now().as_millisecond(), app.retention);
    let (table, columns, joins, joined) = (shape.table(), shape.columns(), shape.joins(), shape.joined());
    let text = format!(
        "SELECT ~c.id AS id, {columns}, ~sc.context AS context, ~pl.id AS place_id, ~pl.name AS place, {SEEN_AT} AS seen_at \
         FROM (SELECT ~c.id AS id FROM {tables} CROSS JOIN source AS ~so CROSS JOIN agent AS ~ag CROSS JOIN place AS ~pl \
         WHERE ~c.account_id = $1 AND {JOINED} AND {of} AND {shows} AND {also}) AS chosen \
         CROSS JOIN {table} AS ~c CROSS JOIN scope AS ~sc CROSS JOIN source AS ~so CROSS JOIN agent AS ~ag CROSS JOIN place AS ~pl{joins} \
         WHERE ~c.account_id = $1 AND ~c.id = chosen.id AND {JOINED}{joined} ORDER BY ~c.id",
        of = shape.condition(),
        shows = visible.shows(Shown::All),
    );
    statement.text = named(&text, "");
    let mut connection = app.database.read().await?;
    Ok(statement.fetch(&mut connection).await?)
}

/// The one of this uid that was seen last.
pub(super) async fn single(app: &App, caller: &Caller, shape: Shape, uid: &str) -> Result<Value, Problem> {
    let none = || Problem::not_found(format!("there is no {} `{}`", shape.noun(), uid.escape_debug()));
    // What is no UUID is the identifier of nothing.
    let wanted = Uuid::try_parse(uid).map_err(|_| none())?.hyphenated().to_string();
    let mut statement = Statement::of_account(caller.account_id);
    let (tables, also) = if shape == Shape::Pods {
        let key = statement.bind(element_key(&[&wanted]));
        ("scope AS ~sc CROSS JOIN pod AS ~c".to_owned(), format!("~c.scope_id = ~sc.id AND ~c.key = {key}"))
    } else {
        let uid = statement.bind(format!("%\"uid\":\"{wanted}\"%"));
        (format!("{} AS ~c CROSS JOIN scope AS ~sc", shape.table()), format!("~c.facts LIKE {uid}"))
    };
    let mut rows = rows(app, statement, shape, &tables, &also).await?;
    let mut latest = None;
    for (position, row) in rows.iter().enumerate() {
        latest = latest.max(Some((integer(row, "seen_at")?, position)));
    }
    let Some((_, position)) = latest else { return Err(none()) };
    let row = rows.swap_remove(position);
    shape.told(app, caller, &[row]).await?.pop().ok_or_else(none)
}

/// What is asked of a list, and of one of it.
macro_rules! served {
    ($($list:ident $shape:ident $(, $single:ident)?;)+) => {
        $(
            pub(super) async fn $list(
                Foreign(Reader(caller)): Foreign<Reader>,
                State(app): State<App>,
                Asks(paged): Asks<Paged>,
            ) -> Result<Response, ForeignProblem> {
                page(app, caller, Shape::$shape, &paged).await
            }
            $(
                pub(super) async fn $single(
                    Foreign(Reader(caller)): Foreign<Reader>,
                    State(app): State<App>,
                    Path(uid): Path<String>,
                ) -> Result<Json<Value>, ForeignProblem> {
                    Ok(Json(single(&app, &caller, Shape::$shape, &uid).await?))
                }
            )?
        )+
    };
}
served! {
    namespaces Namespaces, namespace;
    nodes Nodes, node;
    pods Pods, pod;
    containers Containers;
    services Services;
    tasks Tasks;
    ecs_containers EcsContainers;
}

/// Which cluster.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cluster {
    cluster_name: String,
}

/// Removes all that is kept of a cluster's namespaces. What is still reported comes back with the next report.
pub(super) async fn delete_namespaces(
    Foreign(Writer(caller)): Foreign<Writer>,
    State(app): State<App>,
    Asks(Cluster { cluster_name }): Asks<Cluster>,
) -> Result<StatusCode, ForeignProblem> {
    let what = Removal::Cluster { kind: "kubernetes", name: &cluster_name };
    let now = Timestamp::now().as_millisecond();
    if remove(&app.database, caller.account_id, what, now).await.map_err(Problem::from)? == 0 {
        return Err(Problem::not_found(format!("there is nothing of cluster `{cluster_name}`")).into());
    }
    app.notify.pulse.nudge();
    Ok(StatusCode::NO_CONTENT)
}
