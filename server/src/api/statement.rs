//! A statement with the values that are bound to it.

use sqlx::{Any, AnyConnection, AssertSqlSafe, any::AnyRow};

use crate::database::Value;

/// Text of a statement that grows together with its values, so that nobody counts placeholders.
#[derive(Debug, Clone, Default)]
pub(super) struct Statement {
    pub(super) text: String,
    values: Vec<Value>,
    once: bool,
}

impl Statement {
    /// A statement whose `$1` is the account.
    pub(super) fn of_account(account_id: i64) -> Self {
        Self { text: String::new(), values: vec![account_id.into()], once: false }
    }

    /// Keeps a value and says how the text names it. Any number of places may name it.
    pub(super) fn bind(&mut self, value: impl Into<Value>) -> String {
        self.values.push(value.into());
        format!("${}", self.values.len())
    }

    /// A list of row ids, in brackets. They stand in the text, which is then prepared for this once.
    pub(super) fn ids(&mut self, ids: impl IntoIterator<Item = i64>) -> String {
        self.once = true;
        let list: Vec<String> = ids.into_iter().map(|id| id.to_string()).collect();
        format!("({})", if list.is_empty() { "NULL".to_owned() } else { list.join(",") })
    }

    pub(super) fn push(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// The same with another text: what it names is bound.
    pub(super) fn with_text(&self, text: String) -> Self {
        Self { text, ..self.clone() }
    }

    pub(super) async fn fetch(self, connection: &mut AnyConnection) -> Result<Vec<AnyRow>, sqlx::Error> {
        let query = sqlx::query::<Any>(AssertSqlSafe(self.text)).persistent(!self.once);
        let query = self.values.into_iter().fold(query, |query, value| match value {
            Value::Integer(value) => query.bind(value),
            Value::Text(value) => query.bind(value),
            Value::Bytes(value) => query.bind(value),
        });
        query.fetch_all(connection).await
    }
}

/// What a column holds. A column of another type is the program's mistake, and told as an error of the database.
pub(super) fn integer(row: &AnyRow, column: &str) -> Result<i64, sqlx::Error> {
    sqlx::Row::try_get(row, column)
}

pub(super) fn maybe_integer(row: &AnyRow, column: &str) -> Result<Option<i64>, sqlx::Error> {
    sqlx::Row::try_get(row, column)
}

pub(super) fn text(row: &AnyRow, column: &str) -> Result<String, sqlx::Error> {
    sqlx::Row::try_get(row, column)
}

pub(super) fn maybe_text(row: &AnyRow, column: &str) -> Result<Option<String>, sqlx::Error> {
    sqlx::Row::try_get(row, column)
}

pub(super) fn maybe_bytes(row: &AnyRow, column: &str) -> Result<Option<Vec<u8>>, sqlx::Error> {
    sqlx::Row::try_get(row, column)
}
