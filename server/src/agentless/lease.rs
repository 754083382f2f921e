//! Who looks: of all servers over one database one at a time, by a lease in the source's row that whoever looks has to renew. It needs no
//! connection of its own, and ends by itself where a server does.
//!
//! Each look has a number, which is its report's. Whoever has slept through the end of its lease and goes on brings a report with a lower
//! number than whoever has taken over, and ingest takes the higher one for the newer.
//!
//! `notify::deliver::lease` is another one on purpose. That one is of one thing for all servers and compares no clocks; here each source has
//! its own, which is taken by the statement that finds what is due, and ends with what is written of the look. Neither has a statement
//! that the other could use, and one for both would be longer than the two.

use std::time::Duration;

use super::store::{COLUMNS, Latest, Source, unreadable};
use crate::{
    api::statement::{Statement, integer},
    database::{Database, DatabaseError, Dialect, Value},
};

/// How long a lease lasts. A killed server's work is taken over after that, and what it takes others to notice.
pub(crate) const LASTS: Duration = Duration::from_secs(30);

/// How often it is renewed: two renewals may fail.
pub(crate) const RENEWED: Duration = Duration::from_secs(10);

/// Which sources are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// Those of which the latest look has seen something in less time than it has, and those that were not looked at yet.
    Sound,
    /// The others.
    Failing,
}

/// A server that looks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Looker<'a> {
    /// Its name among those over the same database.
    pub(crate) by: &'a str,
    /// Names of the keys that it has. What is encrypted with others is left to other servers.
    pub(crate) keys: &'a [String],
    /// How long its looks may take.
    pub(crate) timeout: Duration,
}

impl Looker<'_> {
    /// What is due for it, as a condition.
    fn due(self, statement: &mut Statement, dialect: Dialect, which: Which) -> String {
        let now = dialect.now();
        let timeout = statement.bind(milliseconds(self.timeout));
        let kind = match which {
            Which::Sound => format!("failures = 0 AND COALESCE(took, 0) < {timeout}"),
            Which::Failing => format!("(failures > 0 OR COALESCE(took, 0) >= {timeout})"),
        };
        let opened = opened(statement, self.keys);
        format!(
            "enabled = 1 AND next_at <= {now} AND {kind} AND {opened} AND (lease_until IS NULL OR lease_until < {now})"
        )
    }
}

/// That somebody who has these keys can look, as a condition.
fn opened(statement: &mut Statement, keys: &[String]) -> String {
    let keys: Vec<String> = keys.iter().map(|key| statement.bind(key.as_str())).collect();
    let known = if keys.is_empty() { String::new() } else { format!(" OR key_id IN ({})", keys.join(", ")) };
    format!("(credential IS NULL{known})")
}

/// How many enabled sources nobody can look at who has no other keys than these.
pub(crate) async fn locked(database: &Database, keys: &[String]) -> Result<i64, DatabaseError> {
    let mut statement = Statement::default();
    let opened = opened(&mut statement, keys);
    statement.text = format!("SELECT COUNT(*) AS locked FROM agentless WHERE enabled = 1 AND NOT {opened}");
    let rows = statement.fetch(&mut *database.read().await?).await?;
    Ok(rows.first().map(|row| integer(row, "locked")).transpose()?.unwrap_or_default())
}

/// Takes what has been due for longest, in all accounts. What cannot be read is put off, so that it is in nobody's way.
pub(crate) async fn take(
    database: &Database,
    looker: Looker<'_>,
    which: Which,
    most: usize,
) -> Result<Vec<Source>, DatabaseError> {
    let dialect = database.dialect();
    // Mostly nothing is: no transaction is begun for that.
    let mut statement = Statement::default();
    let due = looker.due(&mut statement, dialect, which);
    statement.text = format!("SELECT id FROM agentless WHERE {due} LIMIT 1");
    if most == 0 || statement.fetch(&mut *database.read().await?).await?.is_empty() {
        return Ok(Vec::new());
    }
    let mut statement = Statement::default();
    let due = looker.due(&mut statement, dialect, which);
    let by = statement.bind(looker.by);
    let lasts = statement.bind(milliseconds(LASTS));
    let most = statement.bind(i64::try_from(most).unwrap_or(i64::MAX));
    // Two servers would wait for each other's rows. Of SQLite there is one that writes.
    let locked = match dialect {
        Dialect::Sqlite => "",
        Dialect::Postgres => "FOR UPDATE SKIP LOCKED",
    };
    statement.text = format!(
        "WITH taken AS MATERIALIZED (SELECT account_id, id FROM agentless WHERE {due} ORDER BY next_at LIMIT {most} {locked}) \
         UPDATE agentless SET lease_by = {by}, lease_until = {now} + {lasts}, looks = looks + 1 \
         WHERE (account_id, id) IN (SELECT account_id, id FROM taken) RETURNING {COLUMNS}",
        now = dialect.now()
    );
    let mut writing = database.write().await?;
    let mut sources = Vec::new();
    for row in statement.fetch(writing.connection()).await? {
        match Source::read(&row) {
            Ok(source) => sources.push(source),
            Err(error) => {
                unreadable(&row, &error);
                let place = (integer(&row, "account_id")?, integer(&row, "id")?);
                put_off(dialect, place).fetch(writing.connection()).await?;
            }
        }
    }
    writing.commit().await?;
    Ok(sources)
}

/// Has a source that nobody can read taken up again when its interval has passed: by then somebody may have made it anew.
fn put_off(dialect: Dialect, (account, id): (i64, i64)) -> Statement {
    let mut statement = Statement::of_account(account);
    let id = statement.bind(id);
    statement.text = format!(
        "UPDATE agentless SET next_at = {} + interval_seconds * 1000, lease_by = NULL, lease_until = NULL \
         WHERE account_id = $1 AND id = {id} RETURNING id",
        dialect.now()
    );
    statement
}

/// Says that `by` still looks, and returns whether the look is still theirs: the source may be gone, changed, or taken over.
pub(crate) async fn renew(database: &Database, by: &str, source: &Source) -> Result<bool, DatabaseError> {
    let mut statement = Statement::of_account(source.account);
    let lasts = statement.bind(milliseconds(LASTS));
    let theirs = theirs(&mut statement, by, source);
    statement.text = format!(
        "UPDATE agentless SET lease_until = {} + {lasts} WHERE {theirs} RETURNING id",
        database.dialect().now()
    );
    changed(database, statement).await
}

/// Writes down what came of a look, and when the next one is due. False if it was no longer theirs: nothing is written then.
pub(crate) async fn finish(
    database: &Database,
    by: &str,
    source: &Source,
    latest: &Latest,
    (has_seen, wait): (bool, Duration),
) -> Result<bool, DatabaseError> {
    let now = database.dialect().now();
    let mut statement = Statement::of_account(source.account);
    let sets = [
        ("took", statement.bind(latest.took)),
        ("coverage", statement.bind(latest.coverage.as_str())),
        ("reason", statement.bind(Value::from(latest.reason.clone()))),
        ("scopes", statement.bind(latest.scopes.as_str())),
        ("warnings", statement.bind(latest.warnings.as_str())),
        ("seen_as", format!("COALESCE({}, seen_as)", statement.bind(Value::from(latest.seen_as.clone())))),
        ("looked_at", now.to_owned()),
        ("next_at", format!("{now} + {}", statement.bind(milliseconds(wait)))),
        ("seen_at", if has_seen { now } else { "seen_at" }.to_owned()),
        ("failures", if has_seen { "0" } else { "failures + 1" }.to_owned()),
        ("lease_by", "NULL".to_owned()),
        ("lease_until", "NULL".to_owned()),
    ];
    let sets: Vec<String> = sets.into_iter().map(|(column, value)| format!("{column} = {value}")).collect();
    let theirs = theirs(&mut statement, by, source);
    statement.text = format!("UPDATE agentless SET {} WHERE {theirs} RETURNING id", sets.join(", "));
    changed(database, statement).await
}

fn theirs(statement: &mut Statement, by: &str, source: &Source) -> String {
    let (id, by, looks) = (statement.bind(source.id), statement.bind(by), statement.bind(source.looks));
    format!("account_id = $1 AND id = {id} AND lease_by = {by} AND looks = {looks}")
}

async fn changed(database: &Database, statement: Statement) -> Result<bool, DatabaseError> {
    let mut writing = database.write().await?;
    let is_changed = !statement.fetch(writing.connection()).await?.is_empty();
    writing.commit().await?;
    Ok(is_changed)
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
