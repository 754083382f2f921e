//! Sources as the database has them.

use std::collections::BTreeMap;

use sqlx::{AnyConnection, any::AnyRow};

use super::target::Target;
use crate::{
    api::statement::{Statement, integer, maybe_bytes, maybe_integer, maybe_text, text},
    database::{Database, DatabaseError},
    secrets::{Bound, Sealed, Shelf},
};

/// Where credentials stand.
pub(crate) const SHELF: Shelf =
    Shelf { of: "source", table: "agentless", sealed: "credential", destination: "destination" };

/// Something that the server looks at itself. Times are milliseconds since 1970.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) account: i64,
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) target: Target,
    /// As the credential is bound to it.
    pub(crate) destination: String,
    pub(crate) sealed: Option<Sealed>,
    pub(crate) interval: i64,
    pub(crate) is_enabled: bool,
    pub(crate) created_at: i64,
    pub(crate) updated_at: i64,
    pub(crate) next_at: i64,
    /// How many looks were begun.
    pub(crate) looks: i64,
    /// Until when whoever looks has to say that they still do.
    pub(crate) lease_until: Option<i64>,
    /// How many looks in a row have seen nothing.
    pub(crate) failures: i64,
    pub(crate) latest: Option<Latest>,
    /// When a look last saw something.
    pub(crate) seen_at: Option<i64>,
}

/// What came of the latest look that ended.
#[derive(Debug, Clone)]
pub(crate) struct Latest {
    /// When it ended.
    pub(crate) at: i64,
    /// How long it took, in milliseconds.
    pub(crate) took: i64,
    /// The word for how completely the list of scopes was seen.
    pub(crate) coverage: String,
    pub(crate) reason: Option<String>,
    /// How many scopes were seen how (JSON).
    pub(crate) scopes: String,
    /// Messages (JSON).
    pub(crate) warnings: String,
    /// Which cluster or host it was, as far as any look at this place has told.
    pub(crate) seen_as: Option<String>,
}

/// What somebody says of a source.
#[derive(Debug, Clone)]
pub(crate) struct Said<'a> {
    pub(crate) name: &'a str,
    pub(crate) target: &'a Target,
    pub(crate) sealed: Option<Sealed>,
    /// A new source has one, and of one that is changed it stays without.
    pub(crate) interval: Option<i64>,
    /// Likewise.
    pub(crate) is_enabled: Option<bool>,
}

pub(crate) const COLUMNS: &str = "account_id, id, name, kind, destination, selection, credential, key_id, interval_seconds, enabled, \
    created_at, updated_at, next_at, looks, lease_until, failures, looked_at, took, coverage, reason, scopes, warnings, seen_at, \
    seen_as";

impl Source {
    pub(crate) fn read(row: &AnyRow) -> Result<Self, sqlx::Error> {
        let destination = text(row, "destination")?;
        let target = Target::read(&text(row, "kind")?, &destination, &text(row, "selection")?)
            .map_err(|error| sqlx::Error::Decode(error.into()))?;
        let sealed = maybe_bytes(row, "credential")?.zip(maybe_text(row, "key_id")?);
        Ok(Self {
            account: integer(row, "account_id")?,
            id: integer(row, "id")?,
            name: text(row, "name")?,
            target,
            destination,
            sealed: sealed.map(|(bytes, key_id)| Sealed { key_id, bytes }),
            interval: integer(row, "interval_seconds")?,
            is_enabled: integer(row, "enabled")? == 1,
            created_at: integer(row, "created_at")?,
            updated_at: integer(row, "updated_at")?,
            next_at: integer(row, "next_at")?,
            looks: integer(row, "looks")?,
            lease_until: maybe_integer(row, "lease_until")?,
            failures: integer(row, "failures")?,
            latest: Latest::read(row)?,
            seen_at: maybe_integer(row, "seen_at")?,
        })
    }

    /// What its credential is bound to.
    pub(crate) fn bound(&self) -> Bound<'_> {
        Bound { shelf: &SHELF, account: self.account, id: self.id, destination: &self.destination }
    }
}

impl Latest {
    fn read(row: &AnyRow) -> Result<Option<Self>, sqlx::Error> {
        let Some(at) = maybe_integer(row, "looked_at")? else { return Ok(None) };
        Ok(Some(Self {
            at,
            took: maybe_integer(row, "took")?.unwrap_or_default(),
            coverage: maybe_text(row, "coverage")?.unwrap_or_default(),
            reason: maybe_text(row, "reason")?,
            scopes: maybe_text(row, "scopes")?.unwrap_or_default(),
            warnings: maybe_text(row, "warnings")?.unwrap_or_default(),
            seen_as: maybe_text(row, "seen_as")?,
        }))
    }
}

/// An account's sources, by name.
pub(crate) async fn list(database: &Database, account: i64) -> Result<Vec<Source>, DatabaseError> {
    let mut statement = Statement::of_account(account);
    statement.text = format!("SELECT {COLUMNS} FROM agentless WHERE account_id = $1 ORDER BY name");
    let rows = statement.fetch(&mut *database.read().await?).await?;
    Ok(readable(&rows))
}

/// The sources of these rows. One that cannot be read, such as one of a newer version, does not keep others from being read.
pub(crate) fn readable(rows: &[AnyRow]) -> Vec<Source> {
    rows.iter().filter_map(|row| Source::read(row).inspect_err(|error| unreadable(row, error)).ok()).collect()
}

/// Tells of a row that is passed over.
pub(crate) fn unreadable(row: &AnyRow, error: &sqlx::Error) {
    let (account, id) = (integer(row, "account_id").ok(), integer(row, "id").ok());
    tracing::error!(account, id, %error, "a source cannot be read, and is passed over: remove it, and store it again");
}

/// The account's source of this name.
pub(crate) async fn find(database: &Database, account: i64, name: &str) -> Result<Option<Source>, DatabaseError> {
    let mut statement = Statement::of_account(account);
    let name = statement.bind(name);
    statement.text = format!("SELECT {COLUMNS} FROM agentless WHERE account_id = $1 AND name = {name}");
    let rows = statement.fetch(&mut *database.read().await?).await?;
    Ok(rows.first().map(Source::read).transpose()?)
}

/// Words for how it goes with looking, and how many sources of all accounts are so.
pub(crate) async fn states(database: &Database) -> Result<Vec<(String, i64)>, DatabaseError> {
    let state = "CASE WHEN enabled = 0 THEN 'disabled' WHEN looked_at IS NULL THEN 'waiting' WHEN failures > 0 THEN 'failing' ELSE 'seen' END";
    let mut statement = Statement::default();
    statement.text = format!("SELECT {state} AS state, COUNT(*) AS sources FROM agentless GROUP BY 1");
    let rows = statement.fetch(&mut *database.read().await?).await?;
    let found = rows.iter().map(|row| Ok((text(row, "state")?, integer(row, "sources")?)));
    let found = found.collect::<Result<BTreeMap<String, i64>, sqlx::Error>>()?;
    // A state that nothing is in is a number, too.
    let all = ["disabled", "failing", "seen", "waiting"];
    Ok(all.map(|state| (state.to_owned(), found.get(state).copied().unwrap_or_default())).into())
}

/// How many sources an account has.
pub(crate) async fn count(connection: &mut AnyConnection, account: i64) -> Result<i64, DatabaseError> {
    let mut statement = Statement::of_account(account);
    statement.push("SELECT COUNT(*) AS sources FROM agentless WHERE account_id = $1");
    let rows = statement.fetch(connection).await?;
    Ok(rows.first().map(|row| integer(row, "sources")).transpose()?.unwrap_or_default())
}

/// Keeps a new source, to be looked at at once. None if its name is taken.
pub(crate) async fn insert(
    database: &Database,
    connection: &mut AnyConnection,
    (account, id): (i64, i64),
    said: Said<'_>,
) -> Result<Option<Source>, DatabaseError> {
    let now = database.dialect().now();
    let mut statement = Statement::of_account(account);
    let values = values(&mut statement, &said);
    let (id, name) = (statement.bind(id), statement.bind(said.name));
    statement.text = format!(
        "INSERT INTO agentless (account_id, id, name, created_at, updated_at, next_at, {}) \
         VALUES ($1, {id}, {name}, {now}, {now}, {now}, {}) ON CONFLICT (account_id, name) DO NOTHING RETURNING {COLUMNS}",
        SAID.join(", "),
        values.join(", ")
    );
    let rows = statement.fetch(connection).await?;
    Ok(rows.first().map(Source::read).transpose()?)
}

/// How much of a source is said anew. What is not stays as it is, whoever changes that at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Nothing but when it is looked at.
    Schedule,
    /// What is looked at of it, if it is still the same.
    Selection,
    /// Everything.
    All,
}

impl Extent {
    fn has(self, column: &str, said: &Said<'_>) -> bool {
        match column {
            "interval_seconds" => said.interval.is_some(),
            "enabled" => said.is_enabled.is_some(),
            "selection" => self != Self::Schedule,
            _ => self == Self::All,
        }
    }
}

/// Changes a source, to be looked at at once: whoever looks at what it was finds out that it is no longer theirs. None if it is not there
/// any more, or of [`Extent::Selection`] is another one by now.
pub(crate) async fn update(
    database: &Database,
    connection: &mut AnyConnection,
    (account, id): (i64, i64),
    (extent, said): (Extent, Said<'_>),
) -> Result<Option<Source>, DatabaseError> {
    let now = database.dialect().now();
    let mut statement = Statement::of_account(account);
    let values = values(&mut statement, &said);
    let is_same = match (extent, &values) {
        (Extent::Selection, [kind, destination, ..]) => format!("AND kind = {kind} AND destination = {destination}"),
        _ => String::new(),
    };
    let sets = SAID.iter().zip(&values).filter(|(column, _)| extent.has(column, &said));
    let mut sets: Vec<String> = sets.map(|(column, value)| format!("{column} = {value}")).collect();
    if extent != Extent::Schedule {
        sets.push("failures = 0".to_owned());
    }
    if let (Extent::All, [kind, destination, ..]) = (extent, &values) {
        let same = format!("kind = {kind} AND destination = {destination}");
        sets.extend(OF_PLACE.map(|column| format!("{column} = CASE WHEN {same} THEN {column} END")));
    }
    sets.push(format!("updated_at = {now}, next_at = {now}, lease_by = NULL, lease_until = NULL"));
    let id = statement.bind(id);
    statement.text = format!(
        "UPDATE agentless SET {} WHERE account_id = $1 AND id = {id} {is_same} RETURNING {COLUMNS}",
        sets.join(", ")
    );
    let rows = statement.fetch(connection).await?;
    Ok(rows.first().map(Source::read).transpose()?)
}

/// Columns of what somebody says.
const SAID: [&str; 7] = ["kind", "destination", "selection", "credential", "key_id", "interval_seconds", "enabled"];

/// Columns of what looks have told of a place: nothing of it is known of another one.
const OF_PLACE: [&str; 8] = ["looked_at", "took", "coverage", "reason", "scopes", "warnings", "seen_at", "seen_as"];

fn values(statement: &mut Statement, said: &Said<'_>) -> [String; 7] {
    let sealed = said.sealed.clone();
    let (bytes, key_id) = sealed.map(|Sealed { key_id, bytes }| (bytes, key_id)).unzip();
    [
        statement.bind(said.target.kind()),
        statement.bind(said.target.destination()),
        statement.bind(said.target.selection()),
        statement.bind(bytes),
        statement.bind(key_id),
        statement.bind(said.interval),
        statement.bind(said.is_enabled.map(i64::from)),
    ]
}

/// Removes a source, and says whether it was there. What it has told stays, and ages.
pub(crate) async fn delete(database: &Database, account: i64, name: &str) -> Result<bool, DatabaseError> {
    let mut statement = Statement::of_account(account);
    let name = statement.bind(name);
    statement.text = format!("DELETE FROM agentless WHERE account_id = $1 AND name = {name} RETURNING id");
    let mut writing = database.write().await?;
    let is_gone = !statement.fetch(writing.connection()).await?.is_empty();
    writing.commit().await?;
    Ok(is_gone)
}
