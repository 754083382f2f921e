//! `migrate`: the schema, without serving.

use super::{database_of, open, settings};
use crate::{cli::Where, exit::Exit, say};

pub(super) async fn run(place: Where) -> anyhow::Result<Exit> {
    let opened = async { open(&database_of(&settings(&place)?)?).await };
    match opened.await {
        Ok(database) => {
            say::note(&format!("the schema is up to date: version {}", database.schema_version().await?));
            Ok(Exit::Success)
        }
        Err(exit) => Ok(exit),
    }
}
