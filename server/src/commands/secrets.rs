//! `secrets`: credentials of clusters and hosts, and where notifications go.

use super::{database_of, key_source, open, settings, vault};
use crate::{
    agentless,
    cli::Secrets,
    exit::Exit,
    notify, say,
    secrets::{Unreadable, rotate},
};

pub(super) async fn run(command: Secrets) -> anyhow::Result<Exit> {
    let Secrets::Rotate(place) = command;
    let prepared = async {
        let settings = settings(&place)?;
        let url = database_of(&settings)?;
        Ok((vault(key_source(&settings, &url)?)?, open(&url).await?))
    };
    let (vault, database) = match prepared.await {
        Ok(prepared) => prepared,
        Err(exit) => return Ok(exit),
    };
    let rotated = match rotate(&database, &vault, &[&agentless::SHELF, &notify::SHELF]).await {
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
        say::note("no other key is needed any more");
        return Ok(Exit::Success);
    }
    Ok(Exit::Failure)
}
