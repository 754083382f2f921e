//! `inventory watch`: clusters and namespaces of which new images are told, as Anchore's tools know them.

use reqwest::Method;
use serde_json::{Value, json};

use super::list;
use crate::{
    cli::{Watch, Watched},
    client::{Client, Page, Query},
    failure::Failure,
    json::text,
    say,
    time::to_the_second,
};

const PATH: &str = "v2/subscriptions";

/// The type that watches have among subscriptions.
const TYPE: &str = "runtime_inventory";

const COLUMNS: &[list::Column] = &[
    ("CONTEXT", |line| text(line, "/subscription_key")),
    ("ACTIVE", |line| text(line, "/active")),
    ("LAST UPDATED", |line| to_the_second(&text(line, "/last_updated"))),
    ("ID", |line| text(line, "/subscription_id")),
];

/// Fields of CSV, by the names that the server gives them.
const FIELDS: [&str; 8] = [
    "subscription_id",
    "subscription_key",
    "subscription_type",
    "subscription_value",
    "account_name",
    "active",
    "created_at",
    "last_updated",
];

pub(super) async fn run(command: &Watch, client: &Client) -> Result<(), Failure> {
    match command {
        Watch::Activate(Watched { context }) => {
            if let Some(watch) = find(context, client).await?.pop() {
                set(&watch, true, client).await?;
            } else {
                let new = json!({"subscription_key": context, "subscription_type": TYPE, "subscription_value": null});
                client.change::<Value>(Method::POST, PATH, &new).await?;
            }
            say::note(&format!("{context} is watched"));
            Ok(())
        }
        Watch::Deactivate(Watched { context }) => {
            let not = || Failure::Refused(format!("`{context}` is not watched; `inventory watch list` says what is"));
            set(&find(context, client).await?.pop().ok_or_else(not)?, false, client).await?;
            say::note(&format!("{context} is watched no longer"));
            Ok(())
        }
        Watch::List { key, shape } => {
            list::check(shape)?;
            let mut query: Query = vec![("subscription_type", TYPE.to_owned())];
            query.extend(key.clone().map(|key| ("subscription_key", key)));
            let Page { items, .. }: Page<Value> = client.get(PATH, &query).await?;
            list::items(&items, shape, COLUMNS, &FIELDS)
        }
    }
}

/// The watch of a context, if there is one.
async fn find(context: &str, client: &Client) -> Result<Vec<Value>, Failure> {
    let query = vec![("subscription_type", TYPE.to_owned()), ("subscription_key", context.to_owned())];
    let Page { items, .. }: Page<Value> = client.get(PATH, &query).await?;
    Ok(items)
}

async fn set(watch: &Value, active: bool, client: &Client) -> Result<(), Failure> {
    let id = text(watch, "/subscription_id");
    if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Err(Failure::Unavailable("the server's list of watches is none of Stocktake's; check the URL".into()));
    }
    client.change::<Value>(Method::PUT, &format!("{PATH}/{id}"), &json!({"active": active})).await.map(drop)
}
