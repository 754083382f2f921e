//! `inventory`: what Anchore's tools know as such.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use serde_json::Value;

use super::{client, list};
use crate::{
    cli::{InventoryDelete, InventoryList, Server},
    client::{Client, Page, Query},
    failure::Failure,
    json::text,
    say,
    time::to_the_second,
};

const PATH: &str = "v2/inventories";

/// As `anchorectl inventory list` has them.
const COLUMNS: &[list::Column] = &[
    ("IMAGE TAG", |line| text(line, "/image_tag")),
    ("IMAGE DIGEST", |line| {
        Some(text(line, "/image_digest")).filter(|text| !text.is_empty()).unwrap_or("unknown".into())
    }),
    ("CONTEXT", |line| text(line, "/context")),
    ("LAST SEEN AT", |line| to_the_second(&text(line, "/last_seen"))),
    ("INVENTORY TYPE", |line| text(line, "/inventory_type")),
];

/// Fields of CSV, by the names that the server gives them.
const FIELDS: [&str; 7] =
    ["inventory_type", "context", "image_tag", "image_digest", "created_at", "last_updated", "last_seen"];

/// Lists images by context. This interface of Anchore's has neither pages nor CSV.
pub(super) async fn list(asked: &InventoryList, client: &Client) -> Result<(), Failure> {
    list::check(&asked.shape)?;
    let parameters =
        [("inventory_type", &asked.inventory_type), ("image_digest", &asked.image_digest), ("context", &asked.context)];
    let query: Query = parameters.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect();
    let Page { items, .. }: Page<Value> = client.get(PATH, &query).await?;
    list::items(&items, &asked.shape, COLUMNS, &FIELDS)
}

/// Takes a context, or one image of it, out of the inventory.
pub(super) async fn delete(asked: &InventoryDelete, server: &Server) -> Result<(), Failure> {
    let InventoryDelete { context, inventory_type, image_digest, yes } = asked;
    let what = match image_digest {
        Some(digest) => format!("{digest} in {context} ({inventory_type})"),
        None => format!("all of {context} ({inventory_type})"),
    };
    if !yes && !io::stdin().is_terminal() {
        return Err(Failure::Usage(format!(
            "this deletes {what}, and there is no terminal to ask at; say -y if it is meant"
        )));
    }
    // What is wrong with the configuration is told before anybody is asked.
    let client = client(server)?;
    if !yes && !agrees(&what)? {
        return Err(Failure::Refused("nothing was deleted".into()));
    }
    let mut query = vec![("inventory_type", inventory_type.clone()), ("context", context.clone())];
    query.extend(image_digest.clone().map(|digest| ("image_digest", digest)));
    client.delete(PATH, &query).await?;
    say::note(&format!("deleted {what}"));
    Ok(())
}

fn agrees(what: &str) -> io::Result<bool> {
    let mut stderr = io::stderr();
    write!(stderr, "delete {} from the inventory? [y/N] ", say::plain(what))?;
    stderr.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}
