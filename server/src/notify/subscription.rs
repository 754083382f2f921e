//! Subscriptions as the database has them.

use axum::http::StatusCode;
use sqlx::{AnyConnection, any::AnyRow};

use super::{
    channel::{Channel, ChannelView},
    on::On,
};
use crate::{
    api::statement::{Statement, integer, maybe_bytes, maybe_integer, maybe_text, text},
    database::{Database, DatabaseError, Dialect, Value},
    http::Problem,
    secrets::{Bound, Sealed, Shelf, Vault},
};

/// Where secrets of channels stand. Where they lead is part of them.
pub(crate) const SHELF: Shelf =
    Shelf { of: "subscription", table: "subscription", sealed: "sealed", destination: "''" };

/// Who is told of what.
#[derive(Debug, Clone)]
pub(crate) struct Subscription {
    pub(crate) account_id: i64,
    pub(crate) id: i64,
    pub(crate) name: String,
    /// Of a watch as Anchore's tools know it.
    pub(crate) watch: Option<Watch>,
    pub(crate) on: On,
    /// Where it goes, as it is told, and what of that is secret.
    pub(crate) channel: Option<ChannelView>,
    pub(crate) sealed: Option<Sealed>,
    pub(crate) active: bool,
    /// Milliseconds since 1970, like all times.
    pub(crate) created_at: i64,
    pub(crate) updated_at: i64,
    pub(crate) revision: i64,
    /// Number of the event up to which all was taken.
    pub(crate) taken: i64,
    pub(crate) delivery: Delivery,
}

/// Key and value of a watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Watch {
    pub(crate) key: String,
    pub(crate) value: Option<String>,
}

/// How deliveries go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Delivery {
    /// When an event was taken last.
    pub(crate) delivered_at: Option<i64>,
    /// Since when, how often and why the next one is not, and when it is tried again.
    pub(crate) failing_since: Option<i64>,
    pub(crate) attempts: i64,
    pub(crate) next_at: Option<i64>,
    pub(crate) error: Option<String>,
}

/// Columns that [`Subscription::read`] reads.
pub(crate) const COLUMNS: &str = "sb.account_id AS account_id, sb.id AS id, sb.name AS name, sb.watch_key AS watch_key, \
    sb.watch_value AS watch_value, sb.wanted AS wanted, sb.channel AS channel, sb.sealed AS sealed, sb.key_id AS key_id, sb.active AS active, \
    sb.created_at AS created_at, sb.updated_at AS updated_at, sb.revision AS revision, sb.taken AS taken, \
    sb.delivered_at AS delivered_at, sb.failing_since AS failing_since, sb.attempts AS attempts, sb.next_at AS next_at, sb.error AS error";

impl Subscription {
    pub(crate) fn read(row: &AnyRow) -> Result<Self, sqlx::Error> {
        let spoilt = |error: serde_json::Error| sqlx::Error::Decode(error.into());
        let channel = maybe_text(row, "channel")?;
        Ok(Self {
            on: serde_json::from_str(&text(row, "wanted")?).map_err(spoilt)?,
            channel: channel.map(|channel| serde_json::from_str(&channel)).transpose().map_err(spoilt)?,
            ..Self::rest(row)?
        })
    }

    /// All but what it is on and where it goes, which a later version may say in other words.
    pub(crate) fn rest(row: &AnyRow) -> Result<Self, sqlx::Error> {
        let watch_value = maybe_text(row, "watch_value")?;
        Ok(Self {
            account_id: integer(row, "account_id")?,
            id: integer(row, "id")?,
            name: text(row, "name")?,
            watch: maybe_text(row, "watch_key")?.map(|key| Watch { key, value: watch_value }),
            on: On::default(),
            channel: None,
            sealed: sealed(row)?,
            active: integer(row, "active")? == 1,
            created_at: integer(row, "created_at")?,
            updated_at: integer(row, "updated_at")?,
            revision: integer(row, "revision")?,
            taken: integer(row, "taken")?,
            delivery: Delivery {
                delivered_at: maybe_integer(row, "delivered_at")?,
                failing_since: maybe_integer(row, "failing_since")?,
                attempts: integer(row, "attempts")?,
                next_at: maybe_integer(row, "next_at")?,
                error: maybe_text(row, "error")?,
            },
        })
    }

    /// One that can be read. One that cannot is logged, and keeps nobody from the others.
    pub(crate) fn readable(row: &AnyRow) -> Option<Self> {
        let of = |column: &str| integer(row, column).unwrap_or_default();
        let unreadable = |error: &sqlx::Error| {
            let error = error as &dyn std::error::Error;
            tracing::error!(
                account = of("account_id"),
                subscription = of("id"),
                error,
                "a subscription cannot be read, and is passed over"
            );
        };
        Self::read(row).inspect_err(unreadable).ok()
    }

    /// Sends it there from now on.
    pub(crate) fn send_to(&mut self, vault: &Vault, channel: &Channel) -> Result<(), Problem> {
        self.sealed = channel.seal(vault, bound(self.account_id, self.id))?;
        self.channel = Some(channel.view());
        Ok(())
    }
}

/// What the secret of a subscription's channel is bound to.
fn bound(account: i64, id: i64) -> Bound<'static> {
    Bound { shelf: &SHELF, account, id, destination: "" }
}

fn sealed(row: &AnyRow) -> Result<Option<Sealed>, sqlx::Error> {
    let sealed = maybe_bytes(row, "sealed")?.zip(maybe_text(row, "key_id")?);
    Ok(sealed.map(|(bytes, key_id)| Sealed { key_id, bytes }))
}

/// Where a subscription goes, of which it is known how that is told. What is secret is read anew each time, as somebody may have
/// encrypted it with another key. Says why, if it cannot be told.
pub(crate) async fn channel(
    database: &Database,
    vault: &Vault,
    (account_id, id): (i64, i64),
    view: &ChannelView,
) -> Result<Channel, String> {
    let read = async {
        let mut statement = Statement::of_account(account_id);
        let id = statement.bind(id);
        statement.text = format!("SELECT sealed, key_id FROM subscription WHERE account_id = $1 AND id = {id}");
        let rows = statement.fetch(&mut *database.read().await?).await?;
        Ok::<_, DatabaseError>(rows.first().map(sealed).transpose()?.flatten())
    };
    let sealed = read.await.map_err(|error| format!("it cannot be read where it goes: {error}"))?;
    Channel::open(view, vault, bound(account_id, id), sealed.as_ref()).map_err(|error| error.to_string())
}

/// A subscription of an account.
pub(crate) async fn find(
    connection: &mut AnyConnection,
    account_id: i64,
    id: i64,
) -> Result<Option<Subscription>, Problem> {
    found(connection, account_id, id, "").await
}

/// The same, which stays as it is until the transaction ends: whoever changes it waits for each other.
pub(crate) async fn find_to_change(
    connection: &mut AnyConnection,
    dialect: Dialect,
    account_id: i64,
    id: i64,
) -> Result<Option<Subscription>, Problem> {
    found(connection, account_id, id, dialect.for_update()).await
}

async fn found(
    connection: &mut AnyConnection,
    account_id: i64,
    id: i64,
    lock: &str,
) -> Result<Option<Subscription>, Problem> {
    let mut statement = Statement::of_account(account_id);
    let place = statement.bind(id);
    statement.text =
        format!("SELECT {COLUMNS} FROM subscription AS sb WHERE sb.account_id = $1 AND sb.id = {place}{lock}");
    let rows = statement.fetch(connection).await?;
    rows.first().map(Subscription::read).transpose().map_err(|error| match error {
        sqlx::Error::Decode(error) => {
            tracing::error!(account_id, id, %error, "a subscription cannot be read");
            Problem::new(StatusCode::CONFLICT, format!("subscription {id} cannot be changed: {UNREADABLE}"))
        }
        error => error.into(),
    })
}

/// What is said of a row that a later version has written, or somebody else.
pub(crate) const UNREADABLE: &str =
    "this version of the server cannot read what is stored of it; remove it, and make it again";

/// The watches of an account, by key; the one of a key, if that is said.
pub(crate) async fn watches(
    connection: &mut AnyConnection,
    account_id: i64,
    key: Option<&str>,
) -> Result<Vec<Subscription>, sqlx::Error> {
    let mut statement = Statement::of_account(account_id);
    let which = match key {
        Some(key) => format!("sb.watch_key = {}", statement.bind(key)),
        None => "sb.watch_key IS NOT NULL".to_owned(),
    };
    statement.text =
        format!("SELECT {COLUMNS} FROM subscription AS sb WHERE sb.account_id = $1 AND {which} ORDER BY sb.watch_key");
    Ok(statement.fetch(connection).await?.iter().filter_map(Subscription::readable).collect())
}

/// The number of the account's latest event: what is subscribed to begins behind it.
pub(crate) async fn latest(connection: &mut AnyConnection, account_id: i64) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("SELECT last_event FROM account WHERE id = $1").bind(account_id).fetch_one(connection).await
}

/// Writes one, be it new or as it is to be from now on; what it has taken stays taken. False if another watch of its account has its key.
pub(crate) async fn save(connection: &mut AnyConnection, one: &Subscription) -> Result<bool, sqlx::Error> {
    let json = |error: serde_json::Error| sqlx::Error::Encode(error.into());
    let channel = one.channel.as_ref().map(serde_json::to_string).transpose().map_err(json)?;
    let mut statement = Statement::of_account(one.account_id);
    let (bytes, key_id) = one.sealed.clone().map(|sealed| (sealed.bytes, sealed.key_id)).unzip();
    let values: [Value; 13] = [
        one.id.into(),
        one.name.as_str().into(),
        one.watch.as_ref().map(|watch| watch.key.as_str()).into(),
        one.watch.as_ref().and_then(|watch| watch.value.as_deref()).into(),
        serde_json::to_string(&one.on).map_err(json)?.into(),
        channel.into(),
        bytes.into(),
        key_id.into(),
        i64::from(one.active).into(),
        one.created_at.into(),
        one.updated_at.into(),
        one.revision.into(),
        one.taken.into(),
    ];
    let places: Vec<String> = values.into_iter().map(|value| statement.bind(value)).collect();
    statement.text = format!(
        "INSERT INTO subscription (account_id, id, name, watch_key, watch_value, wanted, channel, sealed, key_id, active, created_at, updated_at, \
         revision, taken) SELECT $1, {} WHERE NOT EXISTS (SELECT 1 FROM subscription AS ot WHERE ot.account_id = $1 \
         AND ot.watch_key = {key} AND ot.id <> {id}) ON CONFLICT (account_id, id) DO UPDATE SET name = excluded.name, \
         watch_value = excluded.watch_value, wanted = excluded.wanted, channel = excluded.channel, sealed = excluded.sealed, \
         key_id = excluded.key_id, active = excluded.active, updated_at = excluded.updated_at, revision = excluded.revision, \
         taken = CASE WHEN excluded.taken > subscription.taken THEN excluded.taken ELSE subscription.taken END, failing_since = NULL, attempts = 0, next_at = NULL, error = NULL RETURNING id",
        places.join(", "),
        key = places[2],
        id = places[0],
    );
    let is_saved = !statement.fetch(&mut *connection).await?.is_empty();
    changed(connection).await?;
    Ok(is_saved)
}

/// Removes one with its dead letters, and says whether it was there.
pub(crate) async fn remove(connection: &mut AnyConnection, account_id: i64, id: i64) -> Result<bool, sqlx::Error> {
    let text = "DELETE FROM subscription WHERE account_id = $1 AND id = $2";
    let removed = sqlx::query(text).bind(account_id).bind(id).execute(&mut *connection).await?.rows_affected();
    // Whoever writes a dead letter holds its subscription: behind that, there comes none.
    let text = "DELETE FROM dead_letter WHERE account_id = $1 AND subscription_id = $2";
    sqlx::query(text).bind(account_id).bind(id).execute(&mut *connection).await?;
    changed(connection).await?;
    Ok(removed > 0)
}

/// Tells whoever delivers that subscriptions are other ones by now.
pub(crate) async fn changed(connection: &mut AnyConnection) -> Result<(), sqlx::Error> {
    let text = "UPDATE lease SET version = version + 1 WHERE name = 'notify'";
    sqlx::query(text).execute(connection).await.map(drop)
}
