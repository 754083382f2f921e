//! Watches (`/v2/subscriptions`): of a cluster or a namespace, of which new images are told.
//!
//! Of Anchore's types of subscriptions there is `runtime_inventory`, whose key is `cluster` or `cluster/namespace`. Where it is told of goes
//! by `/v1/subscriptions`, where each watch is, too.

use axum::{
    Json,
    body::Bytes,
    extract::{Path, State},
    http::StatusCode,
};
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};

use super::answer::{Asks, Foreign, ForeignProblem, parse};
use crate::{
    access::{Change, Counted, Manager, Reader, Writer, lock},
    app::App,
    http::Problem,
    notify::{
        on::On,
        subscription::{self, Delivery, Subscription, Watch},
    },
};

/// The one type of theirs that there is here.
const TYPE: &str = "runtime_inventory";

/// How long a key and a value may be, in bytes.
const LONGEST: usize = 1000;

/// A subscription as their tools know it.
#[derive(Debug, Serialize)]
pub(super) struct Told {
    subscription_id: String,
    subscription_key: String,
    subscription_type: &'static str,
    subscription_value: Option<String>,
    account_name: String,
    active: bool,
    created_at: Timestamp,
    last_updated: Timestamp,
}

/// Some of them.
#[derive(Debug, Serialize)]
pub(super) struct Subscriptions {
    items: Vec<Told>,
}

/// Which are listed.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listed {
    subscription_key: Option<String>,
    subscription_type: Option<String>,
}

/// One that is to be.
#[expect(clippy::struct_field_names, reason = "as Anchore names them")]
#[derive(Debug, Deserialize)]
pub(super) struct New {
    subscription_key: String,
    subscription_type: String,
    #[serde(default)]
    subscription_value: Option<String>,
}

/// What is to change.
#[expect(clippy::option_option, reason = "what is not said is not null")]
#[derive(Debug, Deserialize)]
pub(super) struct Changed {
    #[serde(default)]
    active: Option<bool>,
    /// Said to be null it is none from then on.
    #[serde(default, deserialize_with = "said")]
    subscription_value: Option<Option<String>>,
}

#[expect(clippy::option_option, reason = "what is not said is not null")]
fn said<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

impl Told {
    /// None of what is no watch.
    fn of(one: Subscription, account: &str) -> Option<Self> {
        let Watch { key, value } = one.watch?;
        Some(Self {
            subscription_id: one.id.to_string(),
            subscription_key: key,
            subscription_type: TYPE,
            subscription_value: value,
            account_name: account.to_owned(),
            active: one.active,
            created_at: Timestamp::from_millisecond(one.created_at).unwrap_or_default(),
            last_updated: Timestamp::from_millisecond(one.updated_at).unwrap_or_default(),
        })
    }
}

/// Lists watches. Of other types there are none.
pub(super) async fn list(
    Foreign(Reader(caller)): Foreign<Reader>,
    State(app): State<App>,
    Asks(listed): Asks<Listed>,
) -> Result<Json<Subscriptions>, ForeignProblem> {
    if listed.subscription_type.is_some_and(|kind| kind != TYPE) {
        return Ok(Json(Subscriptions { items: Vec::new() }));
    }
    let mut connection = app.database.read().await.map_err(Problem::from)?;
    let key = listed.subscription_key.as_deref();
    let found = subscription::watches(&mut connection, caller.account_id, key).await?;
    Ok(Json(Subscriptions { items: found.into_iter().filter_map(|one| Told::of(one, &caller.account)).collect() }))
}

/// One watch.
pub(super) async fn get(
    Foreign(Reader(caller)): Foreign<Reader>,
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Json<Told>, ForeignProblem> {
    let mut connection = app.database.read().await.map_err(Problem::from)?;
    let found = subscription::find(&mut connection, caller.account_id, number(&id)?).await?;
    let told = found.and_then(|one| Told::of(one, &caller.account)).ok_or_else(|| none(&id))?;
    Ok(Json(told))
}

/// Watches a cluster or a namespace.
pub(super) async fn create(
    Foreign(Manager(caller, actor)): Foreign<Manager>,
    State(app): State<App>,
    bytes: Bytes,
) -> Result<Json<Told>, ForeignProblem> {
    let New { subscription_key: key, subscription_type: kind, subscription_value: value } = parse(&bytes)?;
    if kind != TYPE {
        let kind: String = kind.chars().take(100).collect();
        let title = format!("there are no subscriptions of type `{}` here; there are of `{TYPE}`", kind.escape_debug());
        return Err(Problem::bad_request(title).into());
    }
    check(&key, value.as_deref())?;
    let mut change = Change::begin(&app.database, &actor, "subscription.create", &key).await.map_err(Problem::from)?;
    lock(change.connection(), app.database.dialect(), &caller.account).await.map_err(Problem::from)?;
    let room = app.access.check_room(change.connection(), caller.account_id, Counted::Subscriptions).await;
    room.map_err(Problem::from)?;
    let now = change.at.as_millisecond();
    let (id, account_id) = (change.spare, caller.account_id);
    let one = Subscription {
        account_id,
        id,
        name: format!("watch of {key}").chars().take(100).collect(),
        on: On { events: vec!["image.appeared".to_owned()], context: Some(key.clone()), ..On::default() },
        watch: Some(Watch { key: key.clone(), value }),
        channel: None,
        sealed: None,
        active: true,
        created_at: now,
        updated_at: now,
        revision: id,
        taken: subscription::latest(change.connection(), account_id).await?,
        delivery: Delivery::default(),
    };
    if !subscription::save(change.connection(), &one).await? {
        let title = format!("`{key}` is watched already: change that subscription, or remove it");
        return Err(Problem::new(StatusCode::CONFLICT, title).into());
    }
    change.commit(account_id, &id.to_string()).await.map_err(Problem::from)?;
    Ok(Json(Told::of(one, &caller.account).ok_or_else(|| none(&id.to_string()))?))
}

/// Makes a watch active or inactive, or gives it another value.
pub(super) async fn change(
    Foreign(Manager(caller, actor)): Foreign<Manager>,
    State(app): State<App>,
    Path(id): Path<String>,
    bytes: Bytes,
) -> Result<Json<Told>, ForeignProblem> {
    let Changed { active, subscription_value } = parse(&bytes)?;
    let mut change = Change::begin(&app.database, &actor, "subscription.change", &id).await.map_err(Problem::from)?;
    let dialect = app.database.dialect();
    let found = subscription::find_to_change(change.connection(), dialect, caller.account_id, number(&id)?).await?;
    let mut one = found.ok_or_else(|| none(&id))?;
    let watch = one.watch.as_mut().ok_or_else(|| none(&id))?;
    if let Some(value) = subscription_value {
        check(&watch.key, value.as_deref())?;
        watch.value = value;
    }
    if active == Some(true) && !one.active {
        one.taken = subscription::latest(change.connection(), caller.account_id).await?;
    }
    one.active = active.unwrap_or(one.active);
    (one.updated_at, one.revision) = (change.at.as_millisecond(), change.spare);
    subscription::save(change.connection(), &one).await?;
    let outcome = if one.active { "active" } else { "inactive" };
    change.commit(caller.account_id, outcome).await.map_err(Problem::from)?;
    Ok(Json(Told::of(one, &caller.account).ok_or_else(|| none(&id))?))
}

/// Removes a watch.
pub(super) async fn delete(
    Foreign(Writer(caller)): Foreign<Writer>,
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<StatusCode, ForeignProblem> {
    let mut writing = app.database.write().await.map_err(Problem::from)?;
    let number = number(&id)?;
    let found = subscription::find(writing.connection(), caller.account_id, number).await?;
    if found.is_none_or(|one| one.watch.is_none()) {
        return Err(none(&id).into());
    }
    subscription::remove(writing.connection(), caller.account_id, number).await?;
    writing.commit().await.map_err(Problem::from)?;
    Ok(StatusCode::NO_CONTENT)
}

fn check(key: &str, value: Option<&str>) -> Result<(), Problem> {
    let is_sound = |text: &str| text.len() <= LONGEST && !text.chars().any(char::is_control);
    if key.trim().is_empty() || !is_sound(key) {
        let title = "`subscription_key` is a cluster, or a cluster and a namespace such as `prod/shop`";
        return Err(Problem::bad_request(title));
    }
    if !value.is_none_or(is_sound) {
        return Err(Problem::bad_request(format!(
            "`subscription_value` may have {LONGEST} bytes, and no control characters"
        )));
    }
    Ok(())
}

fn number(id: &str) -> Result<i64, Problem> {
    id.parse().map_err(|_| none(id))
}

fn none(id: &str) -> Problem {
    let id: String = id.chars().take(100).collect();
    Problem::not_found(format!("there is no subscription `{}`", id.escape_debug()))
}
