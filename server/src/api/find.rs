//! Finds the rows of a page: which of a table's rows are shown, in which order.

use sqlx::AnyConnection;

use super::{
    answer::now,
    asked::{Asked, Cursor},
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
    let dialect = app.database.dialect();
    let mut statement = Statement::of_account(account_id);
    let visible = Visible::new(&mut statement, now(), app.retention);
    let filters = Filters::of(table, asked, &visible, dialect, &mut statement)?;
    let way = filters.way(&statement, connection).await?.map(str::to_owned);
    let mut conditions = filters.conditions;
    conditions.push(shown(&visible, asked, &mut statement));

    let matches = conditions.join(" AND ");
    let mut rows = named(&format!("{JOINED} AND ~c.account_id = $1 AND {matches}"), "");
    if table == Table::Container {
        let instead = shown_instead(&matches, dialect, &mut statement);
        rows.extend([" AND NOT EXISTS (", &instead, ")"]);
    }
    let search = Search { table, asked, rows };
    if let Some(way) = way {
        return search.along(&way, statement, connection).await;
    }
    let index = filters.walk.map(|index| dialect.indexed_by(index)).unwrap_or_default();
    search.through(&index, statement, connection).await
}

/// What is looked for, and in which order.
struct Search<'a> {
    table: Table,
    asked: &'a Asked,
    /// What a row has to be.
    rows: String,
}

impl Search<'_> {
    /// Looks at all rows in their order, until a page is full.
    async fn through(
        &self,
        index: &str,
        mut statement: Statement,
        connection: &mut AnyConnection,
    ) -> Result<Vec<Found>, Problem> {
        let after = self.after("c", self.asked.after.as_ref().map(Place::of).as_ref(), &mut statement);
        let limit = statement.bind(self.asked.limit + 1);
        statement.text = format!(
            "SELECT c.id AS id, c.name AS name FROM {} AS c{index}{} WHERE {}{after} ORDER BY {} LIMIT {limit}",
            self.table.name(),
            named(JOINS, ""),
            self.rows,
            self.order("c"),
        );
        found(statement, connection).await
    }

    /// Looks at the rows of a way in their order, some at a time, until a page is full: each costs more to look at than to find.
    async fn along(
        &self,
        way: &str,
        statement: Statement,
        connection: &mut AnyConnection,
    ) -> Result<Vec<Found>, Problem> {
        let (wanted, mut all) = (self.asked.limit + 1, Vec::new());
        let (mut batch, mut after) = (2 * wanted, self.asked.after.as_ref().map(Place::of));
        loop {
            let mut statement = statement.clone();
            let some = self.some(way, after.as_ref(), &mut statement);
            let last = statement.with_text(format!("{some} LIMIT 1 OFFSET {}", batch - 1));
            let left = statement.bind(wanted - i64::try_from(all.len()).unwrap_or(i64::MAX));
            let size = statement.bind(batch);
            statement.text = format!(
                "SELECT c.id AS id, c.name AS name FROM ({some} LIMIT {size}) AS way CROSS JOIN {} AS c{} \
                 WHERE c.id = way.id AND {} ORDER BY {} LIMIT {left}",
                self.table.name(),
                named(JOINS, ""),
                self.rows,
                self.order("c"),
            );
            all.append(&mut found(statement, connection).await?);
            if i64::try_from(all.len()).unwrap_or(i64::MAX) >= wanted {
                return Ok(all);
            }
            let Some(last) = found(last, connection).await?.pop() else { return Ok(all) };
            after = Some(Place { id: last.id, name: self.asked.sort.by_name.then_some(last.name) });
            batch *= 4;
        }
    }

    /// Rows of a way behind a place, in their order.
    fn some(&self, way: &str, after: Option<&Place>, statement: &mut Statement) -> String {
        if self.asked.sort.by_name {
            let after = self.after("ca", after, statement);
            return format!(
                "SELECT ca.id AS id, ca.name AS name FROM ({way}) AS found CROSS JOIN {} AS ca WHERE ca.account_id = $1 \
                 AND ca.id = found.id{after} ORDER BY {}",
                self.table.name(),
                self.order("ca"),
            );
        }
        let after = self.after("ca", after, statement);
        format!("SELECT ca.id AS id, '' AS name FROM ({way}) AS ca WHERE 1 = 1{after} ORDER BY {}", self.order("ca"))
    }

    fn order(&self, row: &str) -> String {
        let direction = if self.asked.sort.descending { " DESC" } else { "" };
        let name = if self.asked.sort.by_name { format!("{row}.name{direction}, ") } else { String::new() };
        format!("{name}{row}.id{direction}")
    }

    fn after(&self, row: &str, place: Option<&Place>, statement: &mut Statement) -> String {
        let Some(place) = place else { return String::new() };
        let than = if self.asked.sort.descending { '<' } else { '>' };
        let id = statement.bind(place.id);
        match &place.name {
            Some(name) => format!(" AND ({row}.name, {row}.id) {than} ({}, {id})", statement.bind(name.as_str())),
            None => format!(" AND {row}.id {than} {id}"),
        }
    }
}

/// Where to go on.
struct Place {
    id: i64,
    name: Option<String>,
}

impl Place {
    fn of(cursor: &Cursor) -> Self {
        Self { id: cursor.id, name: cursor.name.clone() }
    }
}

async fn found(statement: Statement, connection: &mut AnyConnection) -> Result<Vec<Found>, Problem> {
    let rows = statement.fetch(connection).await?;
    let rows: Result<_, sqlx::Error> =
        rows.iter().map(|row| Ok(Found { id: integer(row, "id")?, name: text(row, "name")? })).collect();
    Ok(rows?)
}

/// What was there at the time that is asked for, or what is there now.
fn shown(visible: &Visible, asked: &Asked, statement: &mut Statement) -> String {
    let Some(at) = asked.at else { return visible.shows(asked.shown()) };
    let at = statement.bind(at);
    format!(
        "~c.first_seen_at <= {at} AND (~c.gone_at IS NULL OR ~c.gone_at > {at}) \
         AND (~sc.gone_at IS NULL OR ~sc.gone_at > {at}) AND {}",
        visible.counted_at(&at)
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
