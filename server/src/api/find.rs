//! Finds the rows of a page: which of a table's rows are shown, in which order.

use sqlx::AnyConnection;

use super::{
    answer::now,
    asked::{Asked, Cursor},
    filters::{Filters, Table},
    shared::is_shown,
    statement::{Statement, integer, text},
    visible::{JOINED, JOINS, Visible, named},
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
    let some = filters.few(&statement, connection).await?;
    let mut conditions = filters.conditions;
    conditions.push(shown(&visible, asked, &mut statement));

    let matches = conditions.join(" AND ");
    let mut rows = named(&format!("{JOINED} AND ~c.account_id = $1 AND {matches}"), "");
    if table == Table::Container {
        rows.extend([" AND ", &is_shown(&matches, dialect)]);
    }
    let search = Search { table, asked, dialect, rows };
    if let Some(ids) = some {
        return search.among(ids, &statement, connection).await;
    }
    let index = filters.walk.map(|index| dialect.indexed_by(index)).unwrap_or_default();
    search.through(&index, statement, connection).await
}

/// What is looked for, and in which order.
struct Search<'a> {
    table: Table,
    asked: &'a Asked,
    dialect: Dialect,
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
        self.found(statement, connection).await
    }

    /// Looks at some rows in their order, a few at a time, until a page is full: each costs more to look at than to find.
    async fn among(
        &self,
        ids: Vec<i64>,
        statement: &Statement,
        connection: &mut AnyConnection,
    ) -> Result<Vec<Found>, Problem> {
        let ids = self.ordered(ids, statement, connection).await?;
        let (mut rest, mut all) = (&ids[..], Vec::new());
        let wanted = usize::try_from(self.asked.limit + 1).unwrap_or(usize::MAX);
        let mut size = wanted;
        while !rest.is_empty() && all.len() < wanted {
            let (batch, others) = rest.split_at(size.min(rest.len()));
            let mut statement = statement.clone();
            let list = statement.ids(self.dialect, batch.iter().copied());
            let left = statement.bind(i64::try_from(wanted - all.len()).unwrap_or(i64::MAX));
            statement.text = format!(
                "SELECT c.id AS id, c.name AS name FROM {} AS c{} WHERE c.id {list} AND {} ORDER BY {} LIMIT {left}",
                self.table.name(),
                named(JOINS, ""),
                self.rows,
                self.order("c"),
            );
            all.append(&mut self.found(statement, connection).await?);
            (rest, size) = (others, size * 4);
        }
        Ok(all)
    }

    /// Ids in the order that is asked for, those before the page left out.
    async fn ordered(
        &self,
        mut ids: Vec<i64>,
        statement: &Statement,
        connection: &mut AnyConnection,
    ) -> Result<Vec<i64>, Problem> {
        let place = self.asked.after.as_ref().map(Place::of);
        if self.asked.sort.by_name {
            let mut statement = statement.clone();
            let (list, after) = (statement.ids(self.dialect, ids), self.after("c", place.as_ref(), &mut statement));
            statement.text = format!(
                "SELECT string_agg(CAST(c.id AS TEXT), ',' ORDER BY {}) AS ids FROM {} AS c WHERE c.account_id = $1 \
                 AND c.id {list}{after}",
                self.order("c"),
                self.table.name()
            );
            return Ok(statement.fetch_ids(connection).await?);
        }
        ids.sort_unstable();
        ids.dedup();
        if self.asked.sort.descending {
            ids.reverse();
        }
        if let Some(place) = place {
            ids.retain(|id| if self.asked.sort.descending { *id < place.id } else { *id > place.id });
        }
        Ok(ids)
    }

    /// What a statement finds. Without names they are one row: many would each be handed from thread to thread.
    async fn found(&self, statement: Statement, connection: &mut AnyConnection) -> Result<Vec<Found>, Problem> {
        if self.asked.sort.by_name {
            let rows = statement.fetch(connection).await?;
            let rows: Result<_, sqlx::Error> =
                rows.iter().map(|row| Ok(Found { id: integer(row, "id")?, name: text(row, "name")? })).collect();
            return Ok(rows?);
        }
        let order = self.order("page");
        let ids = format!(
            "SELECT string_agg(CAST(page.id AS TEXT), ',' ORDER BY {order}) AS ids FROM ({}) AS page",
            statement.text
        );
        let ids = statement.with_text(ids).fetch_ids(connection).await?;
        Ok(ids.into_iter().map(|id| Found { id, name: String::new() }).collect())
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
