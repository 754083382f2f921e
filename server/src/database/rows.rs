//! Many rows in one statement, as both databases understand it: `VALUES`.

use std::fmt::Write as _;

use sqlx::{Any, AnyConnection, AssertSqlSafe, any::AnyArguments, query::Query};

use super::Dialect;

/// Type of a column of [`Rows`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Column {
    Integer,
    Text,
    Bytes,
}

/// A value in a row.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Integer(Option<i64>),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
}

/// Rows that a statement is made of. They go in pieces whose sizes are powers of two, so that there are few different texts to
/// prepare.
#[derive(Debug)]
pub(crate) struct Rows {
    columns: &'static [Column],
    values: Vec<Value>,
}

/// How many parameters a statement may have. SQLite's limit is 32766; connections keep statements, and long ones take megabytes.
const PARAMETERS: usize = 4096;

impl Rows {
    pub(crate) fn new(columns: &'static [Column]) -> Self {
        Self { columns, values: Vec::new() }
    }

    /// Adds a row, which has a value for each column.
    pub(crate) fn push<const N: usize>(&mut self, row: [Value; N]) {
        debug_assert_eq!(N, self.columns.len(), "a row has a value for each column");
        self.values.extend(row);
    }

    /// Runs `before (VALUES …) after` as often as it takes, and returns how many rows it has altered. The columns of `VALUES` are
    /// `column1`, `column2`, … in both databases. `first` are the parameters `$1`, `$2`, … of the rest of the statement.
    pub(crate) async fn execute(
        self,
        connection: &mut AnyConnection,
        dialect: Dialect,
        first: &[Value],
        [before, after]: [&str; 2],
    ) -> Result<u64, sqlx::Error> {
        let mut altered = 0;
        for (text, values) in self.statements(dialect, first, before, after) {
            altered += bind(text, values).execute(&mut *connection).await?.rows_affected();
        }
        Ok(altered)
    }

    /// Like [`Self::execute`], for a statement that returns rows.
    pub(crate) async fn fetch(
        self,
        connection: &mut AnyConnection,
        dialect: Dialect,
        first: &[Value],
        [before, after]: [&str; 2],
    ) -> Result<Vec<sqlx::any::AnyRow>, sqlx::Error> {
        let mut rows = Vec::new();
        for (text, values) in self.statements(dialect, first, before, after) {
            rows.append(&mut bind(text, values).fetch_all(&mut *connection).await?);
        }
        Ok(rows)
    }

    fn statements(
        self,
        dialect: Dialect,
        first: &[Value],
        before: &str,
        after: &str,
    ) -> impl Iterator<Item = (String, Vec<Value>)> {
        let width = self.columns.len();
        let most = 1_usize << (PARAMETERS / width).ilog2();
        let (columns, mut values) = (self.columns, self.values.into_iter());
        let mut left = values.len() / width;
        std::iter::from_fn(move || {
            if left == 0 {
                return None;
            }
            let count = most.min(1 << left.ilog2());
            left -= count;
            let values: Vec<Value> = values.by_ref().take(count * width).chain(first.iter().cloned()).collect();
            let [before, after] = [before, after].map(|text| behind(text, count * width));
            Some((format!("{before} {} {after}", values_text(columns, count, dialect)), values))
        })
    }
}

fn bind(text: String, values: Vec<Value>) -> Query<'static, Any, AnyArguments> {
    values.into_iter().fold(sqlx::query(AssertSqlSafe(text)), |query, value| match value {
        Value::Integer(value) => query.bind(value),
        Value::Text(value) => query.bind(value),
        Value::Bytes(value) => query.bind(value),
    })
}

/// The text with the numbers of its parameters raised: those of the values are before them.
fn behind(text: &str, count: usize) -> String {
    let mut parts = text.split('$');
    let mut raised = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        let number: usize = part[..digits].parse().unwrap_or_default();
        // Writing into a `String` cannot fail.
        let _ = write!(raised, "${}{}", number + count, &part[digits..]);
    }
    raised
}

/// Types are said in the first row: PostgreSQL takes the others' from it. To SQLite a parameter with a number is one with a name, and
/// with each it looks through the names of all.
fn values_text(columns: &[Column], count: usize, dialect: Dialect) -> String {
    let mut text = String::with_capacity(count * columns.len() * 7);
    text.push_str("(VALUES ");
    let mut number = 0;
    for row in 0..count {
        text.push_str(if row == 0 { "(" } else { ",(" });
        for (position, column) in columns.iter().enumerate() {
            number += 1;
            let parameter = match dialect {
                Dialect::Sqlite => "?".to_owned(),
                Dialect::Postgres => format!("${number}"),
            };
            let comma = if position == 0 { "" } else { "," };
            let kind = match column {
                Column::Integer => "BIGINT",
                Column::Text => "TEXT",
                Column::Bytes => dialect.bytes(),
            };
            // Writing into a `String` cannot fail.
            let _ = if row == 0 {
                write!(text, "{comma}CAST({parameter} AS {kind})")
            } else {
                write!(text, "{comma}{parameter}")
            };
        }
        text.push(')');
    }
    text.push(')');
    text
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Integer(Some(value))
    }
}

impl From<Option<i64>> for Value {
    fn from(value: Option<i64>) -> Self {
        Self::Integer(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(Some(value.to_owned()))
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(Some(value))
    }
}

impl From<Option<String>> for Value {
    fn from(value: Option<String>) -> Self {
        Self::Text(value)
    }
}

impl From<Option<&str>> for Value {
    fn from(value: Option<&str>) -> Self {
        Self::Text(value.map(str::to_owned))
    }
}

impl From<Vec<u8>> for Value {
    fn from(value: Vec<u8>) -> Self {
        Self::Bytes(Some(value))
    }
}

impl From<Option<Vec<u8>>> for Value {
    fn from(value: Option<Vec<u8>>) -> Self {
        Self::Bytes(value)
    }
}
