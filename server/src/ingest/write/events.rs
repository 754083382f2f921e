//! The log of what changed.

use serde_json::Value as Json;
use sqlx::AnyConnection;

use crate::database::{Column, DatabaseError, Dialect, Rows, Value};

/// What happened. The numbers are those of the schema.
#[derive(Debug, Clone, Copy)]
pub(crate) enum What {
    Appeared = 1,
    Disappeared = 2,
    Changed = 3,
    /// An agent's next report is overdue.
    Silent = 4,
    /// It has reported again.
    Heard = 5,
    /// A scope is not seen completely.
    CoverageLost = 6,
    /// It is again.
    CoverageRegained = 7,
}

/// To what. The numbers are those of the schema.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Entity {
    Container = 1,
    Image = 2,
    Agent = 3,
    Scope = 4,
}

/// Events of a transaction, in their order.
#[derive(Default)]
pub(crate) struct Events(Vec<Event>);

struct Event {
    at: i64,
    what: What,
    entity: Entity,
    id: i64,
    scope: i64,
    detail: Option<String>,
}

impl Events {
    pub(crate) fn push(&mut self, at: i64, what: What, entity: Entity, [id, scope]: [i64; 2], detail: Option<&Json>) {
        self.0.push(Event { at, what, entity, id, scope, detail: detail.map(ToString::to_string) });
    }

    /// Numbers and writes them, near the end of a transaction, as nobody else can number theirs until it is committed.
    pub(crate) async fn write(
        self,
        connection: &mut AnyConnection,
        dialect: Dialect,
        account: i64,
    ) -> Result<(), DatabaseError> {
        if self.0.is_empty() {
            return Ok(());
        }
        let count = i64::try_from(self.0.len()).unwrap_or(i64::MAX);
        let last: i64 =
            sqlx::query_scalar("UPDATE account SET last_event = last_event + $1 WHERE id = $2 RETURNING last_event")
                .bind(count)
                .bind(account)
                .fetch_one(&mut *connection)
                .await?;
        let mut rows = Rows::new(&EVENT);
        for (id, event) in (last - count + 1..).zip(self.0) {
            rows.push([
                account.into(),
                id.into(),
                event.at.into(),
                (event.what as i64).into(),
                (event.entity as i64).into(),
                event.id.into(),
                event.scope.into(),
                Value::from(event.detail),
            ]);
        }
        let insert =
            ["INSERT INTO event (account_id, id, at, kind, entity, entity_id, scope_id, detail) SELECT * FROM", "AS v"];
        rows.execute(connection, dialect, &[], insert).await?;
        Ok(())
    }
}

const EVENT: [Column; 8] = [
    Column::Integer,
    Column::Integer,
    Column::Integer,
    Column::Integer,
    Column::Integer,
    Column::Integer,
    Column::Integer,
    Column::Text,
];
