//! A statement with the values that are bound to it.

use std::collections::BTreeMap;

use sqlx::{Any, AnyConnection, AssertSqlSafe, any::AnyRow};

use crate::database::{Dialect, Value};

/// Text of a statement that grows together with its values, so that nobody counts placeholders.
#[derive(Debug, Clone, Default)]
pub(crate) struct Statement {
    pub(crate) text: String,
    values: Vec<Value>,
}

impl Statement {
    /// A statement whose `$1` is the account.
    pub(crate) fn of_account(account_id: i64) -> Self {
        Self { text: String::new(), values: vec![account_id.into()] }
    }

    /// Keeps a value and says how the text names it. Any number of places may name it.
    pub(crate) fn bind(&mut self, value: impl Into<Value>) -> String {
        self.values.push(value.into());
        format!("${}", self.values.len())
    }

    /// Keeps row ids and says, behind a column, that it is one of them.
    pub(crate) fn ids(&mut self, dialect: Dialect, ids: impl IntoIterator<Item = i64>) -> String {
        dialect.one_of(&self.bind(dialect.list(ids)))
    }

    pub(crate) fn push(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// The same with another text: what it names is bound.
    pub(crate) fn with_text(&self, text: String) -> Self {
        Self { text, ..self.clone() }
    }

    pub(crate) async fn fetch(self, connection: &mut AnyConnection) -> Result<Vec<AnyRow>, sqlx::Error> {
        let (text, values) = self.compact();
        let query = sqlx::query::<Any>(AssertSqlSafe(text));
        let query = values.into_iter().fold(query, |query, value| match value {
            Value::Integer(value) => query.bind(value),
            Value::Text(value) => query.bind(value),
            Value::Bytes(value) => query.bind(value),
        });
        query.fetch_all(connection).await
    }

    /// Ids that the text has as one row: `ids`, with commas between them.
    pub(crate) async fn fetch_ids(self, connection: &mut AnyConnection) -> Result<Vec<i64>, sqlx::Error> {
        let rows = self.fetch(connection).await?;
        let ids = rows.first().map(|row| maybe_text(row, "ids")).transpose()?.flatten().unwrap_or_default();
        let ids = ids.split(',').filter(|id| !id.is_empty()).map(str::parse);
        ids.collect::<Result<_, _>>().map_err(|error| sqlx::Error::Decode(Box::new(error)))
    }
}

impl Statement {
    /// The text with those values only that it names, numbered anew: the same text has then always the same values, and is
    /// prepared once.
    fn compact(self) -> (String, Vec<Value>) {
        let (mut text, mut values, mut numbers) = (String::with_capacity(self.text.len()), Vec::new(), BTreeMap::new());
        let mut parts = self.text.split('$');
        text.push_str(parts.next().unwrap_or_default());
        for part in parts {
            let digits = part.bytes().take_while(u8::is_ascii_digit).count();
            let old: usize = part[..digits].parse().unwrap_or_default();
            let new = *numbers.entry(old).or_insert_with(|| {
                values.extend(old.checked_sub(1).and_then(|position| self.values.get(position)).cloned());
                values.len()
            });
            text.extend(["$", &new.to_string()]);
            text.push_str(&part[digits..]);
        }
        (text, values)
    }
}

/// What a column holds. A column of another type is the program's mistake, and told as an error of the database.
pub(crate) fn integer(row: &AnyRow, column: &str) -> Result<i64, sqlx::Error> {
    sqlx::Row::try_get(row, column)
}

pub(crate) fn maybe_integer(row: &AnyRow, column: &str) -> Result<Option<i64>, sqlx::Error> {
    sqlx::Row::try_get(row, column)
}

pub(crate) fn text(row: &AnyRow, column: &str) -> Result<String, sqlx::Error> {
    sqlx::Row::try_get(row, column)
}

pub(crate) fn maybe_text(row: &AnyRow, column: &str) -> Result<Option<String>, sqlx::Error> {
    sqlx::Row::try_get(row, column)
}

pub(crate) fn maybe_bytes(row: &AnyRow, column: &str) -> Result<Option<Vec<u8>>, sqlx::Error> {
    sqlx::Row::try_get(row, column)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_named_is_bound() {
        let mut statement = Statement::of_account(7);
        let (unused, name) = (statement.bind(1), statement.bind("a"));
        assert_eq!((unused.as_str(), name.as_str()), ("$2", "$3"));
        statement.text = format!("SELECT {name}, $1, {name}");
        let (text, values) = statement.compact();
        assert_eq!(text, "SELECT $1, $2, $1");
        assert!(matches!(&values[..], [Value::Text(Some(_)), Value::Integer(Some(7))]));
    }
}
