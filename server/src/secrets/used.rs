//! Which keys the secrets in the database are encrypted with.

use super::Shelf;
use crate::{
    api::statement::{Statement, integer, maybe_text},
    database::{Database, DatabaseError},
};

/// What a key has encrypted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Used {
    /// Name of the key.
    pub(crate) key_id: String,
    /// What has the secrets, as their shelf says.
    pub(crate) of: &'static str,
    /// How many secrets.
    pub(crate) count: i64,
}

/// The keys of all secrets on these shelves.
pub(crate) async fn used(database: &Database, shelves: &[&'static Shelf]) -> Result<Vec<Used>, DatabaseError> {
    let mut all = Vec::new();
    for Shelf { of, table, sealed, .. } in shelves {
        let mut statement = Statement::default();
        statement.text = format!(
            "SELECT key_id, COUNT(*) AS secrets FROM {table} WHERE {sealed} IS NOT NULL GROUP BY key_id ORDER BY key_id"
        );
        for row in statement.fetch(&mut *database.read().await?).await? {
            all.push(Used {
                key_id: maybe_text(&row, "key_id")?.unwrap_or_default(),
                of,
                count: integer(&row, "secrets")?,
            });
        }
    }
    Ok(all)
}
