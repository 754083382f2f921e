//! Dead letters: events that a receiver did not take, kept until somebody has them tried again or removes the subscription.

use sqlx::AssertSqlSafe;

use super::mailbox::{Item, Mailbox};
use crate::{
    app::App,
    database::{Column, Database, DatabaseError, Rows},
    notify::{parcel::Letter, subscription},
};

/// The first of those that are to be tried again.
pub(super) async fn due(database: &Database, mailbox: &Mailbox) -> Result<Option<Item>, sqlx::Error> {
    let text = "SELECT first_event, event_id FROM dead_letter WHERE account_id = $1 AND subscription_id = $2 AND is_due = 1 \
                ORDER BY event_id LIMIT 1";
    let query = sqlx::query_as(text).bind(mailbox.account_id).bind(mailbox.id);
    let found: Option<(i64, i64)> = query.fetch_optional(database.pool()).await?;
    Ok(found.map(|(first, last)| if first == last { Item::Event(last) } else { Item::Removed { first, last } }))
}

/// It was taken after all.
pub(super) async fn taken(database: &Database, mailbox: &Mailbox, event: i64) -> Result<(), DatabaseError> {
    let mut writing = database.write().await?;
    let text = "DELETE FROM dead_letter WHERE account_id = $1 AND subscription_id = $2 AND event_id = $3";
    let query = sqlx::query(text).bind(mailbox.account_id).bind(mailbox.id).bind(event);
    query.execute(writing.connection()).await?;
    writing.commit().await
}

/// None of them is to be tried again, for a reason.
pub(super) async fn put_back(database: &Database, mailbox: &Mailbox, reason: &str) -> Result<(), DatabaseError> {
    let mut writing = database.write().await?;
    let text =
        "UPDATE dead_letter SET is_due = 0, reason = $1 WHERE account_id = $2 AND subscription_id = $3 AND is_due = 1";
    let query = sqlx::query(text).bind(reason.to_owned()).bind(mailbox.account_id).bind(mailbox.id);
    query.execute(writing.connection()).await?;
    writing.commit().await
}

/// Puts events among them, unless the subscription was removed. One that is there has another reason from then on, and is not tried
/// again. A receiver that takes nothing any more is sent nothing any more, until its subscription is made active again.
pub(super) async fn bury(
    app: &App,
    mailbox: &Mailbox,
    letters: &[Letter],
    reason: &str,
    is_gone: bool,
) -> Result<(), DatabaseError> {
    let at = jiff::Timestamp::now().as_millisecond();
    let mut rows = Rows::new(&LETTER);
    for letter in letters {
        let (last, first) = (letter.last().into(), letter.first().into());
        rows.push([mailbox.account_id.into(), mailbox.id.into(), last, first, at.into(), reason.into(), 0.into()]);
    }
    let mut writing = app.database.write().await?;
    let dialect = app.database.dialect();
    let text = format!("SELECT 1 FROM subscription WHERE account_id = $1 AND id = $2{}", dialect.for_update());
    let query = sqlx::query(AssertSqlSafe(text)).bind(mailbox.account_id).bind(mailbox.id);
    if query.fetch_optional(writing.connection()).await?.is_none() {
        return Ok(());
    }
    rows.execute(writing.connection(), dialect, &[], INSERT).await?;
    if is_gone {
        let error = format!("{reason}: it was made inactive");
        let text = "UPDATE subscription SET active = 0, error = $1 WHERE account_id = $2 AND id = $3 AND revision = $4";
        let query = sqlx::query(text).bind(error).bind(mailbox.account_id).bind(mailbox.id).bind(mailbox.revision);
        query.execute(writing.connection()).await?;
        subscription::changed(writing.connection()).await?;
    }
    writing.commit().await
}

const LETTER: [Column; 7] = [
    Column::Integer,
    Column::Integer,
    Column::Integer,
    Column::Integer,
    Column::Integer,
    Column::Text,
    Column::Integer,
];

const INSERT: [&str; 2] = [
    "INSERT INTO dead_letter (account_id, subscription_id, event_id, first_event, at, reason, is_due) SELECT * FROM",
    "AS v WHERE true ON CONFLICT (account_id, subscription_id, event_id) DO UPDATE SET first_event = excluded.first_event, at = excluded.at, reason = excluded.reason, \
     is_due = 0",
];
