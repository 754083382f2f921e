//! `secrets`: credentials of clusters and hosts, and where notifications go.

use super::{SHELVES, database_of, key_source, open, settings, vault};
use crate::{
    cli::Secrets,
    exit::Exit,
    say,
    secrets::{Unreadable, rotate},
};

pub(super) async fn run(command: Secrets) -> anyhow::Result<Exit> {
    let Secrets::Rotate(place) = command;
    let prepared = async {
        let settings = settings(&place)?;
        let database = open(&database_of(&settings)?).await?;
        Ok((vault(key_source(&settings, &database).await?)?, database))
    };
    let (vault, database) = match prepared.await {
        Ok(prepared) => prepared,
        Err(exit) => return Ok(exit),
    };
    let rotated = match rotate(&database, &vault, &SHELVES).await {
        Ok(rotated) => rotated,
        Err(error) => {
            say::error(&error.to_string());
            return Ok(Exit::Failure);
        }
    };
    for Unreadable { account, of, why } in &rotated.unreadable {
        say::error(&format!("{of} of account number {account}: {why}"));
    }
    say::note(&format!("secrets that are encrypted with the first key now: {}", rotated.done));
    if rotated.unreadable.is_empty() {
        say::note(if rotated.done == 0 {
            "once all servers have the first key no other is needed, but for backups that were made before: keep it with them"
        } else {
            "run this once more before another key is taken away: a server may have stored a secret with it meanwhile"
        });
        return Ok(Exit::Success);
    }
    Ok(Exit::Failure)
}
