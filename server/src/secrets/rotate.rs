//! Encrypts all secrets with the first key, so that others are needed no more. Servers may run meanwhile: whoever has both keys can read
//! what is there before and after.

use sqlx::any::AnyRow;

use super::{
    Shelf,
    keys::Keys,
    vault::{Bound, Sealed, Vault, VaultError, open, seal},
};
use crate::{
    api::statement::{Statement, integer, maybe_bytes, maybe_text, text},
    database::{Database, DatabaseError},
};

/// How many are done with one transaction.
const TOGETHER: i64 = 100;

/// What came of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Rotated {
    /// How many are encrypted with the first key now that were not.
    pub(crate) done: usize,
    /// Those that cannot be read.
    pub(crate) unreadable: Vec<Unreadable>,
}

/// A secret that cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unreadable {
    pub(crate) account: i64,
    /// What has it, with its name.
    pub(crate) of: String,
    pub(crate) why: String,
}

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RotateError {
    /// The keys.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The database.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// What is to be encrypted again. What else there is in the row does not matter, and may be unreadable.
struct Locked {
    shelf: &'static Shelf,
    account: i64,
    id: i64,
    name: String,
    destination: String,
    sealed: Sealed,
}

impl Locked {
    fn read(shelf: &'static Shelf, row: &AnyRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            shelf,
            account: integer(row, "account_id")?,
            id: integer(row, "id")?,
            name: text(row, "name")?,
            destination: text(row, "destination")?,
            sealed: Sealed {
                key_id: maybe_text(row, "key_id")?.unwrap_or_default(),
                bytes: maybe_bytes(row, "sealed")?.unwrap_or_default(),
            },
        })
    }

    fn bound(&self) -> Bound<'_> {
        Bound { shelf: self.shelf, account: self.account, id: self.id, destination: &self.destination }
    }
}

/// Encrypts all that another key than the first has encrypted, until there is nothing left that can be read: servers may store more
/// meanwhile that have read their keys before.
pub(crate) async fn rotate(
    database: &Database,
    vault: &Vault,
    shelves: &[&'static Shelf],
) -> Result<Rotated, RotateError> {
    let keys = vault.keys().map_err(VaultError::from)?;
    let mut rotated = Rotated::default();
    for shelf in shelves {
        loop {
            let (done, found, unreadable) = pass(database, &keys, shelf).await?;
            rotated.done += done;
            if found == unreadable.len() {
                rotated.unreadable.extend(unreadable);
                break;
            }
        }
    }
    Ok(rotated)
}

/// How many were encrypted, how many there were, and which of them cannot be read.
async fn pass(
    database: &Database,
    keys: &Keys,
    shelf: &'static Shelf,
) -> Result<(usize, usize, Vec<Unreadable>), RotateError> {
    let (mut done, mut found, mut unreadable) = (0, 0, Vec::new());
    let mut after = (i64::MIN, i64::MIN);
    loop {
        let others = others(database, shelf, &keys.first.id, after).await?;
        let Some(last) = others.last() else { return Ok((done, found, unreadable)) };
        after = (last.account, last.id);
        found += others.len();
        let mut writing = database.write().await.map_err(RotateError::Database)?;
        for other in &others {
            match open(keys, other.bound(), &other.sealed) {
                Ok(secret) => {
                    let again = seal(keys, other.bound(), &secret)?;
                    // Unless somebody has said another one in the meantime.
                    let rows = replace(other, &again).fetch(writing.connection()).await.map_err(DatabaseError::from)?;
                    done += rows.len();
                }
                Err(error) => unreadable.push(Unreadable {
                    account: other.account,
                    of: format!("{} `{}`", shelf.of, other.name),
                    why: error.to_string(),
                }),
            }
        }
        writing.commit().await?;
    }
}

async fn others(
    database: &Database,
    shelf: &'static Shelf,
    key_id: &str,
    after: (i64, i64),
) -> Result<Vec<Locked>, DatabaseError> {
    let mut statement = Statement::default();
    let (key_id, account, id) = (statement.bind(key_id), statement.bind(after.0), statement.bind(after.1));
    let most = statement.bind(TOGETHER);
    let Shelf { table, sealed, destination, .. } = shelf;
    statement.text = format!(
        "SELECT account_id, id, name, {destination} AS destination, {sealed} AS sealed, key_id FROM {table} \
         WHERE {sealed} IS NOT NULL AND key_id <> {key_id} AND (account_id, id) > ({account}, {id}) \
         ORDER BY account_id, id LIMIT {most}"
    );
    let rows = statement.fetch(&mut *database.read().await?).await?;
    Ok(rows.iter().map(|row| Locked::read(shelf, row)).collect::<Result<_, _>>()?)
}

fn replace(former: &Locked, again: &Sealed) -> Statement {
    let mut statement = Statement::of_account(former.account);
    let (id, bytes) = (statement.bind(former.id), statement.bind(former.sealed.bytes.clone()));
    let (again, key_id) = (statement.bind(again.bytes.clone()), statement.bind(again.key_id.as_str()));
    let Shelf { table, sealed, .. } = former.shelf;
    statement.text = format!(
        "UPDATE {table} SET {sealed} = {again}, key_id = {key_id} \
         WHERE account_id = $1 AND id = {id} AND {sealed} = {bytes} RETURNING id"
    );
    statement
}
