//! Encrypts all credentials with the first key, so that others are needed no more. Servers may run meanwhile: whoever has both keys can read
//! what is there before and after.

use super::{
    store::{COLUMNS, Source},
    vault::{Sealed, Vault, VaultError, open, seal},
};
use crate::{
    api::statement::Statement,
    database::{Database, DatabaseError},
};

/// How many are done with one transaction.
const TOGETHER: i64 = 100;

/// What came of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Rotated {
    /// How many are encrypted with the first key now that were not.
    pub(crate) done: usize,
    /// Those that cannot be read, and why: account, name.
    pub(crate) unreadable: Vec<(i64, String, String)>,
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

/// Encrypts all that another key than the first has encrypted.
pub(crate) async fn rotate(database: &Database, vault: &Vault) -> Result<Rotated, RotateError> {
    let keys = vault.keys().map_err(VaultError::from)?;
    let mut rotated = Rotated::default();
    let mut after = (i64::MIN, i64::MIN);
    loop {
        let sources = others(database, &keys.first.id, after).await?;
        let Some(last) = sources.last() else { return Ok(rotated) };
        after = (last.account, last.id);
        let mut writing = database.write().await.map_err(RotateError::Database)?;
        for source in &sources {
            let Some(sealed) = &source.sealed else { continue };
            match open(&keys, source.bound(), sealed) {
                Ok(secret) => {
                    let again = seal(&keys, source.bound(), &secret)?;
                    let mut statement = replace(source, sealed, &again);
                    statement.push(" RETURNING id");
                    // Somebody has said another one in the meantime: with the first key, too.
                    let rows = statement.fetch(writing.connection()).await.map_err(DatabaseError::from)?;
                    rotated.done += rows.len();
                }
                Err(error) => rotated.unreadable.push((source.account, source.name.clone(), error.to_string())),
            }
        }
        writing.commit().await?;
    }
}

async fn others(database: &Database, key_id: &str, after: (i64, i64)) -> Result<Vec<Source>, DatabaseError> {
    let mut statement = Statement::default();
    let (key_id, account, id) = (statement.bind(key_id), statement.bind(after.0), statement.bind(after.1));
    let most = statement.bind(TOGETHER);
    statement.text = format!(
        "SELECT {COLUMNS} FROM agentless WHERE credential IS NOT NULL AND key_id <> {key_id} AND (account_id, id) > ({account}, {id}) \
         ORDER BY account_id, id LIMIT {most}"
    );
    let rows = statement.fetch(&mut *database.read().await?).await?;
    Ok(rows.iter().map(Source::read).collect::<Result<_, _>>()?)
}

fn replace(source: &Source, former: &Sealed, again: &Sealed) -> Statement {
    let mut statement = Statement::of_account(source.account);
    let (id, former) = (statement.bind(source.id), statement.bind(former.bytes.clone()));
    let (bytes, key_id) = (statement.bind(again.bytes.clone()), statement.bind(again.key_id.as_str()));
    statement.text = format!(
        "UPDATE agentless SET credential = {bytes}, key_id = {key_id} WHERE account_id = $1 AND id = {id} AND credential = {former}"
    );
    statement
}
