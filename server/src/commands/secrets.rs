//! `secrets`: the credentials of clusters and hosts.

use super::{database_of, open, settings, vault};
use crate::{agentless, cli::Secrets, exit::Exit, say};

pub(super) async fn run(command: Secrets) -> anyhow::Result<Exit> {
    let Secrets::Rotate(place) = command;
    let prepared = async {
        let settings = settings(&place)?;
        Ok((vault(&settings)?, open(&database_of(&settings)?).await?))
    };
    let (vault, database) = match prepared.await {
        Ok(prepared) => prepared,
        Err(exit) => return Ok(exit),
    };
    let rotated = match agentless::rotate(&database, &vault).await {
        Ok(rotated) => rotated,
        Err(error) => {
            say::error(&error.to_string());
            return Ok(Exit::Failure);
        }
    };
    for (account, name, error) in &rotated.unreadable {
        say::error(&format!("`{name}` of account number {account}: {error}"));
    }
    say::note(&format!("credentials that are encrypted with the first key now: {}", rotated.done));
    if rotated.unreadable.is_empty() {
        say::note("no other key is needed any more");
        return Ok(Exit::Success);
    }
    Ok(Exit::Failure)
}
