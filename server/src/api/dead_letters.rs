//! Dead letters: events that the receiver of a subscription did not take.

use axum::{Json, extract::State, response::Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    answer::{Page, View, answer, time},
    asked::{Asked, Asks, PAGES},
    sources::{Keyed, page},
    statement::{Statement, integer, text},
};
use crate::{
    access::{Change, Manager, Reader},
    app::App,
    http::{Body, Problem, body},
    notify::subscription,
};

/// How many events may be named at once.
const MOST: usize = 1000;

/// An event that was not taken.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DeadLetter {
    subscription: i64,
    /// Number of the event.
    event: i64,
    /// The same; or the number of the first one, where those up to it were removed with age before they were told.
    first: i64,
    /// When it was put here.
    at: String,
    reason: String,
    /// Whether it is to be tried again.
    replaying: bool,
}

impl Keyed for DeadLetter {
    fn key(&self) -> i64 {
        self.event
    }
}

/// `GET /v1/dead-letters`.
pub(super) struct DeadLetters;

impl View for DeadLetters {
    type Line = DeadLetter;
    const TAKES: &'static [&'static [&'static str]] = &[PAGES, &["subscription"]];
    const COLUMNS: &'static [&'static str] = &["subscription", "event", "first", "at", "reason", "replaying"];

    async fn page(app: &App, account_id: i64, asked: &Asked) -> Result<Page<DeadLetter>, Problem> {
        let Some(id) = asked.subscription else {
            return Err(Problem::bad_request("`subscription` is missing: say of which, such as `?subscription=7`"));
        };
        let mut statement = Statement::of_account(account_id);
        let id = statement.bind(id);
        statement.text = format!(
            "SELECT dl.subscription_id AS subscription, dl.event_id AS event, dl.first_event AS first, dl.at AS at, dl.reason AS reason, dl.is_due AS is_due \
             FROM dead_letter AS dl WHERE dl.account_id = $1 AND dl.subscription_id = {id}"
        );
        page(app, asked, statement, "dl.event_id", |row| {
            Ok(DeadLetter {
                subscription: integer(row, "subscription")?,
                event: integer(row, "event")?,
                first: integer(row, "first")?,
                at: time(integer(row, "at")?),
                reason: text(row, "reason")?,
                replaying: integer(row, "is_due")? == 1,
            })
        })
        .await
    }
}

/// What is to be tried again.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Replay {
    /// Number of the subscription.
    subscription: i64,
    /// Numbers of the events; all if they are not said.
    #[serde(default)]
    #[schema(max_items = 1000)]
    events: Option<Vec<i64>>,
}

/// What is tried again.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Replaying {
    /// How many events.
    events: usize,
}

#[utoipa::path(get, path = "/v1/dead-letters", params(Asks<DeadLetters>), tag = "notifications",
    responses((status = 200, body = Page<DeadLetter>), (status = 400, description = "A parameter is wrong.")))]
pub(super) async fn list(
    State(app): State<App>,
    Reader(caller): Reader,
    Asks(asked, ..): Asks<DeadLetters>,
) -> Result<Response, Problem> {
    answer::<DeadLetters>(app, caller.account_id, asked).await
}

#[utoipa::path(post, path = "/v1/dead-letters/replay", tag = "notifications", request_body = Replay,
    description = "Has dead letters of a subscription tried again, before what waits, in their order. What is taken is no dead letter any more.",
    responses((status = OK, body = Replaying, description = "they are tried again"),
        (status = NOT_FOUND, description = "there is no such subscription")))]
pub(super) async fn replay(
    State(app): State<App>,
    Manager(caller, actor): Manager,
    wanted: Body,
) -> Result<Json<Replaying>, Problem> {
    let Replay { subscription: id, events } = body(wanted)?;
    if events.as_ref().is_some_and(|events| events.len() > MOST) {
        return Err(Problem::bad_request(format!("`events` may be {MOST} at the most; leave it out for all")));
    }
    let mut change = Change::begin(&app.database, &actor, "dead_letter.replay", &id.to_string()).await?;
    if subscription::find(change.connection(), caller.account_id, id).await?.is_none() {
        return Err(Problem::not_found(format!("there is no subscription {id}")));
    }
    let (mut statement, dialect) = (Statement::of_account(caller.account_id), app.database.dialect());
    let id = statement.bind(id);
    let which = events.map(|events| format!(" AND event_id {}", statement.ids(dialect, events))).unwrap_or_default();
    statement.text = format!(
        "UPDATE dead_letter SET is_due = 1 WHERE account_id = $1 AND subscription_id = {id}{which} RETURNING event_id"
    );
    let events = statement.fetch(change.connection()).await?.len();
    subscription::changed(change.connection()).await?;
    change.commit(caller.account_id, &events.to_string()).await?;
    Ok(Json(Replaying { events }))
}
