//! `inventory`: what Anchore's tools know as such.

use serde_json::Value;

use super::{client, confirm, list};
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
    let lost = format!("{what} from the inventory");
    confirm::can_be_asked(&lost, *yes)?;
    // What is wrong with the configuration is told before anybody is asked.
    let client = client(server)?;
    confirm::confirm(&lost, *yes)?;
    let mut query = vec![("inventory_type", inventory_type.clone()), ("context", context.clone())];
    query.extend(image_digest.clone().map(|digest| ("image_digest", digest)));
    client.delete(PATH, &query).await?;
    say::note(&format!("deleted {what}"));
    Ok(())
}
