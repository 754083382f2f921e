//! `/v1/enterprise/inventories` and `/v2/inventories`: images in use by context, as Anchore's tools ask for them.

use std::collections::BTreeMap;

use axum::{Json, extract::State, http::StatusCode};
use jiff::{Timestamp, Unit};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json_, json};
use stocktake_core::model::Image;

use super::answer::{Asks, Foreign, ForeignProblem};
use crate::{
    access::{Reader, Writer},
    api::{
        statement::{Statement, integer, text},
        visible::{JOINED, JOINS, SEEN_AT, Shown, Visible, named},
    },
    app::App,
    http::Problem,
};

/// What is asked for. All that is given has to hold.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    /// `kubernetes`, `ecs`, or any other kind of runtime.
    pub(super) inventory_type: Option<String>,
    /// Any digest of the image.
    pub(super) image_digest: Option<String>,
    /// `cluster/namespace`, or what else a scope is named.
    pub(super) context: Option<String>,
}

/// An image in use in a context. Times are in seconds, as in their own replies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct InventoryItem {
    inventory_type: String,
    context: String,
    image_tag: String,
    /// `unknown` if it is.
    image_digest: String,
    created_at: Timestamp,
    last_updated: Timestamp,
    last_seen: Timestamp,
}

pub(super) async fn list_v1(
    Foreign(Reader(caller)): Foreign<Reader>,
    State(app): State<App>,
    Asks(asked): Asks<Asked>,
) -> Result<Json<Vec<InventoryItem>>, ForeignProblem> {
    Ok(Json(items(&app, caller.account_id, &asked).await?))
}

pub(super) async fn list_v2(
    Foreign(Reader(caller)): Foreign<Reader>,
    State(app): State<App>,
    Asks(asked): Asks<Asked>,
) -> Result<Json<Json_>, ForeignProblem> {
    Ok(Json(json!({ "items": items(&app, caller.account_id, &asked).await? })))
}

/// All that the time to live lets stand, what is gone included: that is what it is for.
pub(super) async fn items(app: &App, account: i64, asked: &Asked) -> Result<Vec<InventoryItem>, Problem> {
    let mut statement = Statement::of_account(account);
    let visible = Visible::new(&mut statement, Timestamp::now().as_millisecond(), app.retention);
    let mut conditions = visible.shows(Shown::All);
    let mut also = |condition: String| {
        conditions.push_str(" AND ");
        conditions.push_str(&condition);
    };
    if let Some(kind) = &asked.inventory_type {
        also(format!("~sc.kind = {}", statement.bind(kind.as_str())));
    }
    if let Some(context) = &asked.context {
        also(format!("~sc.context = {}", statement.bind(context.as_str())));
    }
    if let Some(digest) = &asked.image_digest {
        let digest = statement.bind(digest.as_str());
        also(format!(
            "(ig.identity = {digest} OR ig.id IN (SELECT image_id FROM image_digest WHERE account_id = $1 AND digest = {digest}))"
        ));
    }
    let text_of = format!(
        "SELECT ~sc.kind AS kind, ~sc.context AS context, im.name AS name, ig.identity AS identity, ig.facts AS facts, \
         ~c.first_seen_at AS first_seen_at, {SEEN_AT} AS seen_at FROM image_use AS ~c{JOINS} CROSS JOIN image AS ig \
         CROSS JOIN image_name AS im WHERE ~c.account_id = $1 AND {JOINED} AND ig.account_id = $1 AND ig.id = ~c.image_id \
         AND im.account_id = $1 AND im.id = ~c.name_id AND {conditions}"
    );
    statement.text = named(&text_of, "");
    let mut connection = app.database.read().await?;
    // Several collectors may see the same in one context.
    let mut found: BTreeMap<[String; 4], [i64; 2]> = BTreeMap::new();
    for row in &statement.fetch(&mut connection).await? {
        let image: Image =
            serde_json::from_str(&text(row, "facts")?).map_err(|error| sqlx::Error::Decode(error.into()))?;
        let key = [
            text(row, "kind")?,
            text(row, "context")?,
            tag(text(row, "name")?, &image),
            digest(text(row, "identity")?, &image),
        ];
        let (first, seen) = (integer(row, "first_seen_at")?, integer(row, "seen_at")?);
        let times = found.entry(key).or_insert([first, seen]);
        *times = [times[0].min(first), times[1].max(seen)];
    }
    let item =
        |([inventory_type, context, image_tag, image_digest], [first, seen]): ([String; 4], [i64; 2])| InventoryItem {
            inventory_type,
            context,
            image_tag,
            image_digest,
            created_at: seconds(first),
            last_updated: seconds(seen),
            last_seen: seconds(seen),
        };
    Ok(found.into_iter().map(item).collect())
}

/// The name that was asked for; where none is known, one that the image has.
fn tag(name: String, image: &Image) -> String {
    let known = image.names.first();
    if name.is_empty() { known.map(ToString::to_string).unwrap_or_default() } else { name }
}

/// What a repository serves it as, as their agents tell it; else the digest that says most of it.
fn digest(identity: String, image: &Image) -> String {
    let served = image.repo_digests.first().map(|served| served.digest.to_string());
    served.unwrap_or_else(|| if identity.starts_with("sha") { identity } else { "unknown".to_owned() })
}

fn seconds(milliseconds: i64) -> Timestamp {
    let time = Timestamp::from_millisecond(milliseconds).unwrap_or(Timestamp::UNIX_EPOCH);
    time.round(Unit::Second).unwrap_or(time)
}

/// Removes what is kept of a context; with a digest, of an image in it that is gone. What is still reported comes back with the
/// next report.
pub(super) async fn delete(
    Foreign(Writer(caller)): Foreign<Writer>,
    State(app): State<App>,
    Asks(asked): Asks<Asked>,
) -> Result<StatusCode, ForeignProblem> {
    let (Some(kind), Some(context)) = (&asked.inventory_type, &asked.context) else {
        return Err(Problem::bad_request("`inventory_type` and `context` are needed to say what to remove").into());
    };
    let removed = remove(&app, caller.account_id, [kind, context], asked.image_digest.as_deref()).await?;
    if removed == 0 {
        return Err(Problem::not_found(format!("there is nothing of type `{kind}` in context `{context}`")).into());
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Tables of what is in a scope, those first that refer to others.
const CONTENTS: [&str; 6] = ["container", "image_use", "pod", "workload", "node", "namespace"];

pub(super) async fn remove(
    app: &App,
    account: i64,
    [kind, context]: [&str; 2],
    digest: Option<&str>,
) -> Result<u64, Problem> {
    let mut writing = app.database.write().await?;
    let text = format!(
        "SELECT id FROM scope WHERE account_id = $1 AND context = $2 AND kind = $3 ORDER BY id{}",
        app.database.dialect().for_update()
    );
    let scopes: Vec<i64> = sqlx::query_scalar(sqlx::AssertSqlSafe(text))
        .bind(account)
        .bind(context.to_owned())
        .bind(kind.to_owned())
        .fetch_all(writing.connection())
        .await?;
    let mut removed = 0;
    for scope in scopes {
        if let Some(digest) = digest {
            let uses = "SELECT id FROM image_use WHERE account_id = $1 AND scope_id = $2 AND gone_at IS NOT NULL AND image_id IN \
                        (SELECT image_id FROM image_digest WHERE account_id = $1 AND digest = $3)";
            for text in [
                format!(
                    "DELETE FROM container WHERE account_id = $1 AND scope_id = $2 AND gone_at IS NOT NULL AND image_use_id IN ({uses})"
                ),
                format!("DELETE FROM image_use WHERE account_id = $1 AND id IN ({uses})"),
            ] {
                let query = sqlx::query(sqlx::AssertSqlSafe(text)).bind(account).bind(scope).bind(digest.to_owned());
                removed += query.execute(writing.connection()).await?.rows_affected();
            }
            continue;
        }
        for table in CONTENTS {
            let text = format!("DELETE FROM {table} WHERE account_id = $1 AND scope_id = $2");
            let query = sqlx::query(sqlx::AssertSqlSafe(text)).bind(account).bind(scope);
            removed += query.execute(writing.connection()).await?.rows_affected();
        }
        // Without a body, so that all that is reported from now on is new.
        let query = "UPDATE scope SET told_digest = NULL, base_digest = NULL, follows = 0, gone_at = $1, changed_at = $1 \
                     WHERE account_id = $2 AND id = $3";
        let query = sqlx::query(query).bind(Timestamp::now().as_millisecond()).bind(account).bind(scope);
        removed += query.execute(writing.connection()).await?.rows_affected();
    }
    writing.commit().await?;
    Ok(removed)
}
