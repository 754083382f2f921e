//! Who did what, or tried to.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    extract::{Request, State},
    http::Method,
    middleware::Next,
    response::Response,
};
use jiff::Timestamp;
use serde::Serialize;
use sqlx::AnyConnection;
use utoipa::ToSchema;

use super::{Access, AccessError, SYSTEM, accounts::time, recent::Recent};
use crate::{
    app::App,
    database::{Database, DatabaseError, Writing},
};

/// How long a text in the log may be, in characters.
const LONGEST: usize = 200;
/// How many refused log-ins are written down a minute.
const REFUSALS: u32 = 60;

/// Who does something, as the audit log calls them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Actor {
    /// A user's or token's name, behind `ACCOUNT/` if it is another account's.
    pub(crate) name: String,
    /// From where.
    pub(crate) address: Option<IpAddr>,
}

impl Actor {
    /// Whoever can run the server's program.
    pub(crate) fn command_line() -> Self {
        Self { name: "(command line)".to_owned(), address: None }
    }

    /// The server of its own accord.
    pub(super) fn server() -> Self {
        Self { name: "(server)".to_owned(), address: None }
    }
}

/// Something that was done or tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct AuditEntry {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) at: Timestamp,
    /// A user's or token's name, behind `ACCOUNT/` if it is another account's.
    pub(crate) who: String,
    /// From which address, as far as it is known.
    pub(crate) address: Option<String>,
    /// What was done, such as `user.create`, or a request's method.
    pub(crate) action: String,
    /// What to: a name, or a request's path.
    pub(crate) object: String,
    /// What it came to.
    pub(crate) outcome: String,
}

/// Where a page of the log goes on: behind the entry of this time and key.
pub(super) type Position = (i64, i64);

/// A change in a transaction, with what the log says of it.
pub(crate) struct Change<'a> {
    writing: Writing,
    actor: &'a Actor,
    action: &'static str,
    object: String,
    id: i64,
    /// When it is made.
    pub(crate) at: Timestamp,
    /// An identifier that nothing else has.
    pub(crate) spare: i64,
}

impl<'a> Change<'a> {
    pub(crate) async fn begin(
        database: &Database,
        actor: &'a Actor,
        action: &'static str,
        object: &str,
    ) -> Result<Self, AccessError> {
        // Before the transaction: it is one of its own.
        let id = database.identifiers(2).await?;
        let writing = database.write().await?;
        let at = Timestamp::from_millisecond(Timestamp::now().as_millisecond()).unwrap_or_default();
        Ok(Self { writing, actor, action, object: object.to_owned(), id, at, spare: id + 1 })
    }

    pub(crate) fn connection(&mut self) -> &mut AnyConnection {
        self.writing.connection()
    }

    /// Makes it so, and writes it down.
    pub(crate) async fn commit(mut self, account_id: i64, outcome: &str) -> Result<(), AccessError> {
        let entry = (self.at.as_millisecond(), self.id);
        insert(self.writing.connection(), account_id, entry, self.actor, self.action, &self.object, outcome).await?;
        Ok(self.writing.commit().await?)
    }
}

impl Access {
    /// Writes down what was done, or tried, outside of a transaction.
    pub(crate) async fn record(
        &self,
        account_id: i64,
        actor: &Actor,
        action: &str,
        object: &str,
        outcome: &str,
    ) -> Result<(), DatabaseError> {
        let entry = (Timestamp::now().as_millisecond(), self.database.identifiers(1).await?);
        let mut writing = self.database.write().await?;
        insert(writing.connection(), account_id, entry, actor, action, object, outcome).await?;
        writing.commit().await
    }

    /// Some of an account's log, latest first, from behind `before`; and where it goes on.
    pub(super) async fn audit(
        &self,
        account_id: i64,
        before: Option<Position>,
        limit: i64,
    ) -> Result<(Vec<AuditEntry>, Option<Position>), AccessError> {
        type Row = (i64, i64, String, Option<String>, String, String, String);
        let (at, id) = before.unwrap_or((i64::MAX, i64::MAX));
        let mut rows: Vec<Row> = sqlx::query_as(
            "SELECT at, id, who, address, action, object, outcome FROM audit \
             WHERE account_id = $1 AND (at, id) < ($2, $3) ORDER BY at DESC, id DESC LIMIT $4",
        )
        .bind(account_id)
        .bind(at)
        .bind(id)
        .bind(limit + 1)
        .fetch_all(self.database.pool())
        .await?;
        let limit = usize::try_from(limit).unwrap_or(0);
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| more).map(|row| (row.0, row.1));
        let entry = |(at, _, who, address, action, object, outcome)| AuditEntry {
            at: time(at),
            who,
            address,
            action,
            object,
            outcome,
        };
        Ok((rows.into_iter().map(entry).collect(), next))
    }

    /// Writes down that a log-in was refused, in the log of the user's account, or of `admin` where nobody knows whose it is;
    /// not each one of those that come in masses.
    pub(super) async fn refused(&self, account_id: Option<i64>, name: &str, address: Option<IpAddr>) {
        if !self.refusals.counts(name, address, Instant::now()) {
            return;
        }
        let actor = Actor { name: name.to_owned(), address };
        let done = async {
            // Asked for in both cases, so that the time it takes does not tell who there is.
            let system = self.existing(SYSTEM).await?;
            let account_id = account_id.unwrap_or(system);
            Ok::<_, AccessError>(self.record(account_id, &actor, "login", "", "refused").await?)
        };
        if let Err(error) = done.await {
            tracing::warn!(error = &error as &dyn std::error::Error, "cannot write down that a log-in was refused");
        }
    }
}

async fn insert(
    connection: &mut AnyConnection,
    account_id: i64,
    (at, id): Position,
    actor: &Actor,
    action: &str,
    object: &str,
    outcome: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO audit (account_id, at, id, who, address, action, object, outcome) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(account_id)
    .bind(at)
    .bind(id)
    .bind(shown(&actor.name))
    .bind(actor.address.map(|address| address.to_string()))
    .bind(action)
    .bind(shown(object))
    .bind(outcome)
    .execute(connection)
    .await?;
    Ok(())
}

/// Names that nobody has may be anything.
fn shown(text: &str) -> String {
    text.chars().take(LONGEST).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// Which refused log-ins are written down: the first of a name from an address, and only so many a minute.
pub(super) struct Refusals {
    lately: Recent<(String, Option<IpAddr>), ()>,
    minute: Mutex<Option<(Instant, u32)>>,
}

impl Refusals {
    pub(super) fn new() -> Self {
        Self { lately: Recent::new(1_000, Duration::from_mins(1)), minute: Mutex::default() }
    }

    fn counts(&self, name: &str, address: Option<IpAddr>, now: Instant) -> bool {
        let key = (shown(name), address);
        if self.lately.get(&key).is_some() {
            return false;
        }
        self.lately.put(self.lately.generation(), key, ());
        let mut minute = self.minute.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, count) = minute.filter(|(since, _)| now.duration_since(*since).as_secs() < 60).unwrap_or((now, 0));
        *minute = Some((since, count.saturating_add(1)));
        count < REFUSALS
    }
}

/// Who turned out to ask, for those who handle the request before and after.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen(Arc<OnceLock<(i64, Actor)>>);

impl Seen {
    pub(super) fn set(&self, account_id: i64, actor: Actor) {
        // A request that is asked about twice is by the same both times.
        let _ = self.0.set((account_id, actor));
    }
}

/// Middleware: writes down every DELETE, whatever it came to. What `Access` itself removes it writes down with the removal.
pub(crate) async fn audited(State(app): State<App>, mut request: Request, next: Next) -> Response {
    if request.method() != Method::DELETE {
        return next.run(request).await;
    }
    let seen = Seen::default();
    request.extensions_mut().insert(seen.clone());
    let path = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
    let response = next.run(request).await;
    let own = ["/v1/accounts/", "/v1/users/", "/v1/tokens/"].iter().any(|own| path.starts_with(own));
    if let Some((account_id, actor)) = seen.0.get().filter(|_| !own || !response.status().is_success()) {
        let outcome = response.status().as_u16().to_string();
        if let Err(error) = app.access.record(*account_id, actor, "DELETE", &path, &outcome).await {
            tracing::error!(error = &error as &dyn std::error::Error, path, "cannot write down who removed something");
        }
    }
    response
}
