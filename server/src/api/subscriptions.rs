//! Subscriptions: who is told of what changes.

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
    response::Response,
};
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use sqlx::any::AnyRow;
use utoipa::ToSchema;

use super::{
    answer::{Page, View, answer, time},
    asked::{Asked, Asks, PAGES},
    sources::{Keyed, page},
    statement::{Statement, integer},
};
use crate::{
    access::{Change, Counted, Manager, Reader, Writer, lock},
    app::App,
    http::{Body, Problem, body},
    notify::{
        channel::{Channel, ChannelView, NewChannel},
        on::On,
        subscription::{self, COLUMNS, Delivery, Subscription, UNREADABLE},
    },
    secrets::{KeyError, Keys, obstacle},
};

/// How long a name may be, in bytes.
const LONGEST: usize = 200;

/// A subscription.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Subscription)]
pub(super) struct Told {
    id: i64,
    name: String,
    /// Of a watch (`/v2/subscriptions`): the cluster, or cluster and namespace.
    watch: Option<String>,
    /// Nothing if it cannot be read.
    on: Option<On>,
    /// Where it goes; nowhere if there is none.
    channel: Option<ChannelView>,
    active: bool,
    /// Why nothing can be delivered, whatever its receiver does, and what to do.
    problem: Option<String>,
    created_at: String,
    updated_at: String,
    delivery: DeliveryTold,
}

/// How deliveries go.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Delivery)]
pub(super) struct DeliveryTold {
    /// Number of the event up to which all that is wanted was taken. What is not wanted is passed over from time to time.
    taken: i64,
    delivered_at: Option<String>,
    failing_since: Option<String>,
    /// How often the next event was tried.
    attempts: i64,
    next_attempt_at: Option<String>,
    error: Option<String>,
}

/// A subscription that was made or changed.
#[derive(Serialize, ToSchema)]
#[schema(as = MadeSubscription)]
pub(super) struct Made {
    #[serde(flatten)]
    subscription: Told,
    /// What its webhooks are signed with, where the channel is a new one; not to be had again.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

/// A subscription that is to be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewSubscription {
    /// For people.
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    #[serde(default)]
    on: On,
    #[serde(default)]
    channel: Option<NewChannel>,
    #[serde(default = "yes")]
    active: bool,
}

/// What is to change of a subscription; what is not said stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SubscriptionChange {
    #[serde(default)]
    #[schema(min_length = 1, max_length = 200)]
    name: Option<String>,
    /// Not of a watch: its key says it.
    #[serde(default)]
    on: Option<On>,
    #[serde(default)]
    channel: Option<NewChannel>,
    /// One that is made active, or has its first channel, begins with what comes next.
    #[serde(default)]
    active: Option<bool>,
}

fn yes() -> bool {
    true
}

/// `GET /v1/subscriptions`.
pub(super) struct Subscriptions;

impl View for Subscriptions {
    type Line = Told;
    const TAKES: &'static [&'static [&'static str]] = &[PAGES];
    const COLUMNS: &'static [&'static str] = &[
        "id",
        "name",
        "watch",
        "on",
        "channel/type",
        "channel/target",
        "active",
        "problem",
        "created_at",
        "updated_at",
        "delivery/taken",
        "delivery/delivered_at",
        "delivery/failing_since",
        "delivery/attempts",
        "delivery/next_attempt_at",
        "delivery/error",
    ];

    async fn page(app: &App, account_id: i64, asked: &Asked) -> Result<Page<Told>, Problem> {
        let mut statement = Statement::of_account(account_id);
        statement.text = format!("SELECT {COLUMNS} FROM subscription AS sb WHERE sb.account_id = $1");
        let keys = app.vault.keys();
        page(app, asked, statement, "sb.id", |row| Told::read(&keys, row)).await
    }
}

impl Keyed for Told {
    fn key(&self) -> i64 {
        self.id
    }
}

impl Told {
    /// One that cannot be read is told of with what can be.
    fn read(keys: &Result<Keys, KeyError>, row: &AnyRow) -> Result<Self, sqlx::Error> {
        match Subscription::read(row) {
            Err(sqlx::Error::Decode(error)) => {
                let (account, id) = (integer(row, "account_id")?, integer(row, "id")?);
                tracing::error!(account, id, %error, "a subscription cannot be read");
                let one = Subscription::rest(row)?;
                Ok(Self { on: None, problem: Some(UNREADABLE.to_owned()), ..Self::of(keys, one) })
            }
            read => Ok(Self::of(keys, read?)),
        }
    }

    fn of(keys: &Result<Keys, KeyError>, one: Subscription) -> Self {
        let problem = one.sealed.as_ref().and_then(|sealed| obstacle(keys, sealed));
        let Delivery { delivered_at, failing_since, attempts, next_at, error } = one.delivery;
        Self {
            id: one.id,
            name: one.name,
            watch: one.watch.map(|watch| watch.key),
            on: Some(one.on),
            channel: one.channel,
            active: one.active,
            problem,
            created_at: time(one.created_at),
            updated_at: time(one.updated_at),
            delivery: DeliveryTold {
                taken: one.taken,
                delivered_at: delivered_at.map(time),
                failing_since: failing_since.map(time),
                attempts,
                next_attempt_at: next_at.map(time),
                error,
            },
        }
    }
}

fn check_name(name: &str) -> Result<(), Problem> {
    if name.trim().is_empty() || name.len() > LONGEST || name.chars().any(char::is_control) {
        return Err(Problem::bad_request(format!(
            "`name` has to have 1 to {LONGEST} bytes, and no control characters"
        )));
    }
    Ok(())
}

fn none(id: i64) -> Problem {
    Problem::not_found(format!("there is no subscription {id}"))
}

fn made(app: &App, one: Subscription, channel: Option<&Channel>) -> Made {
    let secret = channel.and_then(Channel::secret).map(|secret| secret.expose_secret().to_owned());
    Made { subscription: Told::of(&app.vault.keys(), one), secret }
}

#[utoipa::path(get, path = "/v1/subscriptions", params(Asks<Subscriptions>), tag = "notifications",
    responses((status = 200, body = Page<Told>), (status = 400, description = "A parameter is wrong.")))]
pub(super) async fn list(
    State(app): State<App>,
    Reader(caller): Reader,
    Asks(asked, ..): Asks<Subscriptions>,
) -> Result<Response, Problem> {
    answer::<Subscriptions>(app, caller.account_id, asked).await
}

#[utoipa::path(get, path = "/v1/subscriptions/{id}", params(("id" = i64, Path)), tag = "notifications",
    responses((status = 200, body = Told), (status = 404, description = "There is none.")))]
pub(super) async fn one(
    State(app): State<App>,
    Reader(caller): Reader,
    Path(id): Path<i64>,
) -> Result<Json<Told>, Problem> {
    let mut connection = app.database.read().await?;
    let mut statement = Statement::of_account(caller.account_id);
    let place = statement.bind(id);
    statement.text = format!("SELECT {COLUMNS} FROM subscription AS sb WHERE sb.account_id = $1 AND sb.id = {place}");
    let rows = statement.fetch(&mut connection).await?;
    Ok(Json(Told::read(&app.vault.keys(), rows.first().ok_or_else(|| none(id))?)?))
}

#[utoipa::path(post, path = "/v1/subscriptions", tag = "notifications", request_body = NewSubscription,
    description = "Subscribes to what comes from now on.",
    responses((status = CREATED, body = Made, description = "it was made"),
        (status = BAD_REQUEST, description = "what it is on or its channel cannot be that"),
        (status = CONFLICT, description = "the server has no key to encrypt the channel's secrets with, or the account has all \
            subscriptions that it may")))]
pub(super) async fn create(
    State(app): State<App>,
    Manager(caller, actor): Manager,
    new: Body,
) -> Result<(StatusCode, Json<Made>), Problem> {
    let NewSubscription { name, on, channel, active } = body(new)?;
    check_name(&name)?;
    on.wanted()?;
    let channel = channel.map(|channel| channel.ready(app.notify.settings.smtp.as_ref())).transpose()?;
    let mut change = Change::begin(&app.database, &actor, "subscription.create", &name).await?;
    lock(change.connection(), app.database.dialect(), &caller.account).await?;
    app.access.check_room(change.connection(), caller.account_id, Counted::Subscriptions).await?;
    let now = change.at.as_millisecond();
    let (id, account_id) = (change.spare, caller.account_id);
    let mut one = Subscription {
        account_id,
        id,
        name,
        watch: None,
        on,
        channel: None,
        sealed: None,
        active,
        created_at: now,
        updated_at: now,
        revision: id,
        taken: subscription::latest(change.connection(), account_id).await?,
        delivery: Delivery::default(),
    };
    if let Some(channel) = &channel {
        one.send_to(&app.vault, channel)?;
    }
    subscription::save(change.connection(), &one).await?;
    change.commit(account_id, &id.to_string()).await?;
    Ok((StatusCode::CREATED, Json(made(&app, one, channel.as_ref()))))
}

#[utoipa::path(patch, path = "/v1/subscriptions/{id}", params(("id" = i64, Path)), tag = "notifications",
    request_body = SubscriptionChange, description = "Changes a subscription. What waits for delivery goes where it says from then on.",
    responses((status = OK, body = Made, description = "as it is now"),
        (status = BAD_REQUEST, description = "what it is on or its channel cannot be that"),
        (status = NOT_FOUND, description = "there is none"),
        (status = CONFLICT, description = "the server has no key to encrypt the channel's secrets with, or cannot read what is stored")))]
pub(super) async fn change(
    State(app): State<App>,
    Manager(caller, actor): Manager,
    Path(id): Path<i64>,
    wanted: Body,
) -> Result<Json<Made>, Problem> {
    let SubscriptionChange { name, on, channel, active } = body(wanted)?;
    name.as_deref().map(check_name).transpose()?;
    on.as_ref().map(On::wanted).transpose()?;
    let channel = channel.map(|channel| channel.ready(app.notify.settings.smtp.as_ref())).transpose()?;
    let mut change = Change::begin(&app.database, &actor, "subscription.change", &id.to_string()).await?;
    let found =
        subscription::find_to_change(change.connection(), app.database.dialect(), caller.account_id, id).await?;
    let mut one = found.ok_or_else(|| none(id))?;
    if on.is_some() && one.watch.is_some() {
        return Err(Problem::bad_request("this is a watch, whose key says what it is on; make another subscription"));
    }
    // What came while nobody was told is not told now.
    if (active == Some(true) && !one.active) || (channel.is_some() && one.channel.is_none()) {
        one.taken = subscription::latest(change.connection(), caller.account_id).await?;
    }
    (one.updated_at, one.revision) = (change.at.as_millisecond(), change.spare);
    one.active = active.unwrap_or(one.active);
    one.name = name.unwrap_or(one.name);
    one.on = on.unwrap_or(one.on);
    if let Some(channel) = &channel {
        one.send_to(&app.vault, channel)?;
    }
    subscription::save(change.connection(), &one).await?;
    change.commit(caller.account_id, if one.active { "active" } else { "inactive" }).await?;
    one.delivery = Delivery { delivered_at: one.delivery.delivered_at, ..Delivery::default() };
    Ok(Json(made(&app, one, channel.as_ref())))
}

#[utoipa::path(delete, path = "/v1/subscriptions/{id}", params(("id" = i64, Path)), tag = "notifications",
    responses((status = NO_CONTENT, description = "it is gone, with its dead letters"),
        (status = NOT_FOUND, description = "there is none")))]
pub(super) async fn delete(
    State(app): State<App>,
    Writer(caller): Writer,
    Path(id): Path<i64>,
) -> Result<StatusCode, Problem> {
    let mut writing = app.database.write().await?;
    if !subscription::remove(writing.connection(), caller.account_id, id).await? {
        return Err(none(id));
    }
    writing.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
