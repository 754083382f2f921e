//! `/v1/enterprise/inventories` and `/v2/inventories`: images in use by context, as Anchore's tools ask for them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use axum::{extract::State, http::StatusCode, response::Response};
use jiff::{Timestamp, Unit};
use serde::{Deserialize, Serialize};
use sqlx::AnyConnection;
use stocktake_core::model::Image;

use super::{
    answer::{Asks, Foreign, ForeignProblem},
    pieces::{Piece, list},
};
use crate::{
    access::{Reader, Writer},
    api::{
        statement::{Statement, integer, text},
        visible::{JOINED, SEEN_AT, Shown, Visible, named},
    },
    app::App,
    http::Problem,
    ingest::{Removal, remove},
};

/// What is asked for. All that is given has to hold.
#[derive(Debug, Clone, Default, Deserialize)]
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

/// Contexts of a piece of an answer.
const CONTEXTS: i64 = 50;

/// Which items.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    asked: Asked,
    shown: Shown,
    /// What one sort of agent has told, and nothing else.
    told: Option<Told>,
}

/// What one sort of agent has told of a cluster, in some of its contexts.
#[derive(Debug, Clone)]
pub(super) struct Told {
    pub(super) collector: &'static str,
    pub(super) cluster: String,
    pub(super) contexts: BTreeSet<String>,
}

impl Wanted {
    /// All that the time to live lets stand, what is gone included: that is what it is for.
    pub(super) fn by(asked: Asked) -> Self {
        Self { asked, shown: Shown::All, told: None }
    }

    /// What is there by what such agents have told.
    pub(super) fn told(told: Told) -> Self {
        Self { asked: Asked::default(), shown: Shown::Current, told: Some(told) }
    }

    /// What a scope has to be.
    fn scope(&self, statement: &mut Statement) -> String {
        let mut conditions = "sc.account_id = $1".to_owned();
        let equals = [("kind", &self.asked.inventory_type), ("context", &self.asked.context)];
        for (column, value) in equals {
            if let Some(value) = value {
                conditions += &format!(" AND sc.{column} = {}", statement.bind(value.as_str()));
            }
        }
        if let Some(Told { collector, cluster, .. }) = &self.told {
            let (collector, cluster) = (statement.bind(*collector), statement.bind(cluster.as_str()));
            conditions += &format!(
                " AND sc.collector = {collector} AND sc.place_id IN \
                 (SELECT id FROM place WHERE account_id = $1 AND kind = 'cluster' AND name = {cluster})"
            );
        }
        conditions
    }

    /// The images.
    fn image(&self, statement: &mut Statement) -> Option<String> {
        let digest = statement.bind(self.asked.image_digest.as_deref()?);
        Some(format!(
            "SELECT image_id FROM image_digest WHERE account_id = $1 AND digest = {digest} \
             UNION SELECT id FROM image WHERE account_id = $1 AND identity = {digest}"
        ))
    }
}

fn bound<'a>(values: impl Iterator<Item = &'a str>, statement: &mut Statement) -> String {
    let values: Vec<String> = values.map(|value| statement.bind(value)).collect();
    if values.is_empty() { "NULL".to_owned() } else { values.join(",") }
}

pub(super) async fn list_v1(
    Foreign(Reader(caller)): Foreign<Reader>,
    State(app): State<App>,
    Asks(asked): Asks<Asked>,
) -> Result<Response, ForeignProblem> {
    answer(app, caller.account_id, Wanted::by(asked), None).await
}

pub(super) async fn list_v2(
    Foreign(Reader(caller)): Foreign<Reader>,
    State(app): State<App>,
    Asks(asked): Asks<Asked>,
) -> Result<Response, ForeignProblem> {
    answer(app, caller.account_id, Wanted::by(asked), Some("items")).await
}

/// Answers with items, some contexts at a time.
pub(super) async fn answer(
    app: App,
    account: i64,
    wanted: Wanted,
    key: Option<&'static str>,
) -> Result<Response, ForeignProblem> {
    let wanted = Arc::new(wanted);
    list(key, None, move |after| piece(app.clone(), account, Arc::clone(&wanted), after)).await
}

/// Kind and name of a context.
type Context = (String, String);

/// The items of some contexts, and the last of these.
pub(super) async fn piece(
    app: App,
    account: i64,
    wanted: Arc<Wanted>,
    after: Option<Context>,
) -> Result<Piece<InventoryItem, Option<Context>>, Problem> {
    let mut connection = app.database.read().await?;
    let mut statement = Statement::of_account(account);
    let mut conditions = wanted.scope(&mut statement);
    if let Some(images) = wanted.image(&mut statement) {
        conditions +=
            &format!(" AND sc.id IN (SELECT scope_id FROM image_use WHERE account_id = $1 AND image_id IN ({images}))");
    }
    if let Some((kind, context)) = &after {
        let (kind, context) = (statement.bind(kind.as_str()), statement.bind(context.as_str()));
        conditions += &format!(" AND (sc.kind, sc.context) > ({kind}, {context})");
    }
    let limit = statement.bind(CONTEXTS);
    statement.text = format!(
        "SELECT DISTINCT sc.kind AS kind, sc.context AS context FROM scope AS sc WHERE {conditions} \
         ORDER BY sc.kind, sc.context LIMIT {limit}"
    );
    let mut contexts: BTreeSet<Context> = BTreeSet::new();
    let mut last = None;
    for row in &statement.fetch(&mut connection).await? {
        last = Some((text(row, "kind")?, text(row, "context")?));
        contexts.extend(last.clone());
    }
    let is_full = i64::try_from(contexts.len()).unwrap_or(i64::MAX) == CONTEXTS;
    if let Some(Told { contexts: told, .. }) = &wanted.told {
        contexts.retain(|(_, context)| told.contains(context));
    }
    let items = items(&app, &mut connection, account, &wanted, &contexts).await?;
    Ok((items, last.filter(|_| is_full).map(Some)))
}

/// Several collectors may see the same in one context: it is one item.
async fn items(
    app: &App,
    connection: &mut AnyConnection,
    account: i64,
    wanted: &Wanted,
    contexts: &BTreeSet<Context>,
) -> Result<Vec<InventoryItem>, Problem> {
    let mut statement = Statement::of_account(account);
    let visible = Visible::new(&mut statement, Timestamp::now().as_millisecond(), app.retention);
    let mut conditions = format!("{} AND {}", wanted.scope(&mut statement), visible.shows(wanted.shown));
    let names = bound(contexts.iter().map(|(_, context)| context.as_str()), &mut statement);
    if let Some(images) = wanted.image(&mut statement) {
        conditions += &format!(" AND ~c.image_id IN ({images})");
    }
    let text_of = format!(
        "SELECT ~sc.kind AS kind, ~sc.context AS context, im.name AS name, ig.identity AS identity, ig.facts AS facts, \
         ~c.first_seen_at AS first_seen_at, {SEEN_AT} AS seen_at FROM scope AS ~sc CROSS JOIN image_use AS ~c \
         CROSS JOIN source AS ~so CROSS JOIN agent AS ~ag CROSS JOIN place AS ~pl CROSS JOIN image AS ig CROSS JOIN image_name AS im \
         WHERE ~sc.context IN ({names}) AND ~c.account_id = $1 AND {JOINED} AND ig.account_id = $1 AND ig.id = ~c.image_id \
         AND im.account_id = $1 AND im.id = ~c.name_id AND {conditions}"
    );
    statement.text = named(&text_of, "");
    let mut found: BTreeMap<[String; 4], [i64; 2]> = BTreeMap::new();
    for row in &statement.fetch(connection).await? {
        let context = (text(row, "kind")?, text(row, "context")?);
        if !contexts.contains(&context) {
            continue;
        }
        let image: Image =
            serde_json::from_str(&text(row, "facts")?).map_err(|error| sqlx::Error::Decode(error.into()))?;
        let (tag, digest) = (tag(text(row, "name")?, &image), digest(text(row, "identity")?, &image));
        let (first, seen) = (integer(row, "first_seen_at")?, integer(row, "seen_at")?);
        let times = found.entry([context.0, context.1, tag, digest]).or_insert([first, seen]);
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
pub(super) fn tag(name: String, image: &Image) -> String {
    let known = image.names.first();
    if name.is_empty() { known.map(ToString::to_string).unwrap_or_default() } else { name }
}

/// What a repository serves it as, as their agents tell it; else the digest that says most of it.
pub(super) fn digest(identity: String, image: &Image) -> String {
    let served = image.repo_digests.first().map(|served| served.digest.to_string());
    served.unwrap_or_else(|| if identity.starts_with("sha") { identity } else { "unknown".to_owned() })
}

pub(super) fn seconds(milliseconds: i64) -> Timestamp {
    let time = Timestamp::from_millisecond(milliseconds).unwrap_or(Timestamp::UNIX_EPOCH);
    time.round(Unit::Second).unwrap_or(time)
}

/// Takes a context out of the inventory; with a digest, an image in it that is gone. What is still reported comes back with the
/// next report.
pub(super) async fn delete(
    Foreign(Writer(caller)): Foreign<Writer>,
    State(app): State<App>,
    Asks(asked): Asks<Asked>,
) -> Result<StatusCode, ForeignProblem> {
    let (Some(kind), Some(context)) = (&asked.inventory_type, &asked.context) else {
        return Err(Problem::bad_request("`inventory_type` and `context` are needed to say what to remove").into());
    };
    let what = match &asked.image_digest {
        Some(digest) => Removal::Image { kind, context, digest },
        None => Removal::Context { kind, context },
    };
    let now = Timestamp::now().as_millisecond();
    if remove(&app.database, caller.account_id, what, now).await.map_err(Problem::from)? == 0 {
        return Err(Problem::not_found(format!("there is nothing of type `{kind}` in context `{context}`")).into());
    }
    app.notify.pulse.nudge();
    Ok(StatusCode::NO_CONTENT)
}
