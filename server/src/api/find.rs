//! Finds the rows of a page: which of a table's rows are shown, in which order.

use sqlx::AnyConnection;

use super::{
    answer::now,
    asked::Asked,
    filters::{Filters, Table},
    statement::{Statement, integer, text},
    visible::{JOINED, JOINS, RANK, Visible, named},
};
use crate::{app::App, database::Dialect, http::Problem};

/// A row that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) id: i64,
    pub(super) name: String,
}

/// The rows of a page, and one more if there is another page.
pub(super) async fn find(
    app: &App,
    connection: &mut AnyConnection,
    table: Table,
    account_id: i64,
    asked: &Asked,
) -> Result<Vec<Found>, Problem> {
    let mut statement = Statement::of_account(account_id);
    let visible = Visible::new(&mut statement, now(), app.retention);
    let filters = Filters::of(table, asked, &mut statement)?;
    let way = filters.way(&statement, connection).await?.map(str::to_owned);
    let mut conditions = filters.conditions;
    conditions.push(shown(&visible, asked, &mut statement));

    let matches = conditions.join(" AND ");
    let (tables, join) = from(table, way.as_deref());
    let rows = named(&format!("{JOINED} AND ~c.account_id = $1 AND {matches}"), "");
    let mut text = format!("SELECT c.id AS id, c.name AS name FROM {tables} WHERE {join}{rows}");
    if table == Table::Container {
        let instead = shown_instead(&matches, app.database.dialect(), &mut statement);
        text.extend([" AND NOT EXISTS (", &instead, ")"]);
    }
    text += &after(asked, &mut statement);
    let (direction, limit) = (if asked.sort.descending { " DESC" } else { "" }, statement.bind(asked.limit + 1));
    text.extend([if asked.sort.by_name {
        format!(" ORDER BY c.name{direction}, c.id{direction} LIMIT {limit}")
    } else {
        format!(" ORDER BY c.id{direction} LIMIT {limit}")
    }]);
    statement.text = text;
    found(statement, connection).await
}

async fn found(statement: Statement, connection: &mut AnyConnection) -> Result<Vec<Found>, Problem> {
    let rows = statement.fetch(connection).await?;
    let rows: Result<_, sqlx::Error> =
        rows.iter().map(|row| Ok(Found { id: integer(row, "id")?, name: text(row, "name")? })).collect();
    Ok(rows?)
}

/// The tables, and what joins them to a way.
fn from(table: Table, way: Option<&str>) -> (String, &'static str) {
    let (table, joins) = (table.name(), named(JOINS, ""));
    match way {
        Some(way) => (format!("({way}) AS way CROSS JOIN {table} AS c{joins}"), "c.id = way.id AND "),
        None => (format!("{table} AS c{joins}"), ""),
    }
}

/// What was there at the time that is asked for, or what is there now.
fn shown(visible: &Visible, asked: &Asked, statement: &mut Statement) -> String {
    let Some(at) = asked.at else { return visible.shows(asked.shown()) };
    let at = statement.bind(at);
    format!(
        "~c.first_seen_at <= {at} AND (~c.gone_at IS NULL OR ~c.gone_at > {at}) \
         AND (~sc.gone_at IS NULL OR ~sc.gone_at > {at})"
    )
}

/// Rows of the same container that match as well, and that are shown in its place.
fn shown_instead(matches: &str, dialect: Dialect, statement: &mut Statement) -> String {
    // An identifier that a person chose may be that of several.
    let random = statement.bind(vec![crate::words::RANDOM]);
    format!(
        "SELECT 1 FROM container AS dc{index}{joins} WHERE dc.account_id = $1 AND dc.runtime_id IS NOT NULL \
         AND substr(c.runtime_id, 1, 1) = {random} AND substr(dc.runtime_id, 1, 8) = substr(c.runtime_id, 1, 8) \
         AND dc.runtime_id = c.runtime_id AND dc.id <> c.id \
         AND {joined} AND {matches} AND ({their_rank} < {rank} OR {their_rank} = {rank} AND dc.id < c.id)",
        index = dialect.indexed_by("container_runtime_id"),
        joins = named(JOINS, "d"),
        joined = named(JOINED, "d"),
        matches = named(matches, "d"),
        their_rank = named(RANK, "d"),
        rank = named(RANK, ""),
    )
}

fn after(asked: &Asked, statement: &mut Statement) -> String {
    let Some(cursor) = &asked.after else { return String::new() };
    let than = if asked.sort.descending { '<' } else { '>' };
    let id = statement.bind(cursor.id);
    match &cursor.name {
        Some(name) => format!(" AND (c.name, c.id) {than} ({}, {id})", statement.bind(name.as_str())),
        None => format!(" AND c.id {than} {id}"),
    }
}
