//! Notes as events what is computed when somebody asks: agents that fall silent, and scopes that are not seen completely any more. Each once,
//! and once more when it is over. One replica does it, the one that delivers.

use std::time::Duration;

use serde_json::json;
use sqlx::AnyConnection;

use crate::{
    api::{
        statement::{Statement, integer, maybe_text, text},
        visible::{Visible, named},
    },
    app::App,
    database::DatabaseError,
    ingest::{Entity, Events, What, is_passing},
};

/// How often it is looked.
const INTERVAL: Duration = Duration::from_secs(10);

/// A scope that was seen for the first time so lately, in milliseconds, was never seen completely: nothing is lost.
const NEW: i64 = 60_000;

/// How many are noted in a transaction. More come with the next one.
const MOST: i64 = 500;

/// Looks for as long as it is polled.
pub(super) async fn always(app: &App) {
    let mut has_failed = false;
    loop {
        match look(app, jiff::Timestamp::now().as_millisecond()).await {
            Ok(()) => has_failed = false,
            Err(error) if !std::mem::replace(&mut has_failed, true) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "agents that fall silent and coverage that is lost are not noted; trying again");
            }
            Err(_) => {}
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Notes what is so at `now` (milliseconds since 1970) and was not before.
pub(super) async fn look(app: &App, now: i64) -> Result<(), DatabaseError> {
    let accounts: Vec<i64> = sqlx::query_scalar("SELECT id FROM account").fetch_all(app.database.pool()).await?;
    for account in accounts {
        loop {
            match note(app, account, now).await {
                Ok(true) => {}
                Ok(false) => break,
                // Somebody has removed the account, or writes of the same.
                Err(error) if is_passing(&error) => break,
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

/// Notes some of an account, and says whether there may be more.
async fn note(app: &App, account: i64, now: i64) -> Result<bool, DatabaseError> {
    let mut connection = app.database.read().await?;
    let signs = find(app, &mut connection, account, now).await?;
    drop(connection);
    if signs.is_empty() {
        return Ok(false);
    }
    let mut writing = app.database.write().await?;
    // As it is now: what was found may be so no longer.
    let signs = find(app, writing.connection(), account, now).await?;
    let mut events = Events::default();
    for sign in &signs {
        sign.note(writing.connection(), account).await?;
        if let Some((at, what)) = sign.what {
            events.push(at, what, sign.entity, [sign.id, sign.scope], Some(&sign.detail));
        }
    }
    events.write(writing.connection(), app.database.dialect(), account).await?;
    writing.commit().await?;
    app.notify.pulse.nudge();
    Ok(i64::try_from(signs.len()).is_ok_and(|count| count >= MOST))
}

/// Something that is other than it was noted.
struct Sign {
    entity: Entity,
    id: i64,
    scope: i64,
    /// What is noted from then on, if anything.
    state: Option<String>,
    /// When what happened; nothing, of what is there no more.
    what: Option<(i64, What)>,
    detail: serde_json::Value,
}

/// What is other than it was noted.
async fn find(app: &App, connection: &mut AnyConnection, account: i64, now: i64) -> Result<Vec<Sign>, sqlx::Error> {
    let mut signs = agents(app, connection, account, now, true).await?;
    signs.extend(agents(app, connection, account, now, false).await?);
    signs.extend(lost(connection, account, now).await?);
    signs.extend(regained(connection, account, now).await?);
    Ok(signs)
}

/// Agents whose next report is overdue, or that were silent and have reported since.
async fn agents(
    app: &App,
    connection: &mut AnyConnection,
    account: i64,
    now: i64,
    is_silent: bool,
) -> Result<Vec<Sign>, sqlx::Error> {
    let mut statement = Statement::of_account(account);
    let silent = named(&Visible::new(&mut statement, now, app.retention).silent(), "");
    let is_noted =
        "EXISTS (SELECT 1 FROM noted AS nd WHERE nd.account_id = $1 AND nd.entity = 3 AND nd.entity_id = ag.id)";
    let (since, which) = if is_silent {
        ("ag.received_at + ag.valid_for", format!("{silent} AND NOT {is_noted}"))
    } else {
        ("ag.received_at", format!("NOT {silent} AND {is_noted}"))
    };
    statement.text = format!(
        "SELECT ag.id AS id, ag.uuid AS uuid, ag.kind AS kind, ag.hostname AS hostname, {since} AS since FROM agent AS ag \
         WHERE ag.account_id = $1 AND {which} ORDER BY ag.id LIMIT {MOST}"
    );
    let mut signs = Vec::new();
    for row in &statement.fetch(&mut *connection).await? {
        let (id, since) = (integer(row, "id")?, integer(row, "since")?);
        let detail = json!({"silent": [!is_silent, is_silent], "uuid": text(row, "uuid")?, "kind": text(row, "kind")?,
            "hostname": maybe_text(row, "hostname")?, "places": places(connection, account, id).await?});
        let what = if is_silent { What::Silent } else { What::Heard };
        let state = is_silent.then(|| "silent".to_owned());
        signs.push(Sign { entity: Entity::Agent, id, scope: 0, state, what: Some((since, what)), detail });
    }
    Ok(signs)
}

/// Names of clusters and hosts that an agent looks at.
async fn places(connection: &mut AnyConnection, account: i64, agent: i64) -> Result<Vec<String>, sqlx::Error> {
    let mut statement = Statement::of_account(account);
    let agent = statement.bind(agent);
    statement.text = format!(
        "SELECT DISTINCT pl.name AS name FROM source AS so CROSS JOIN place AS pl WHERE so.account_id = $1 \
         AND so.agent_id = {agent} AND pl.account_id = $1 AND pl.id = so.place_id ORDER BY pl.name"
    );
    statement.fetch(connection).await?.iter().map(|row| text(row, "name")).collect()
}

/// Scopes that are not seen completely, or less so than was noted.
async fn lost(connection: &mut AnyConnection, account: i64, now: i64) -> Result<Vec<Sign>, sqlx::Error> {
    let mut statement = Statement::of_account(account);
    statement.text = format!(
        "SELECT sc.id AS id, sc.first_seen_at AS first_seen_at, sc.coverage AS coverage, sc.reason AS reason, nd.state AS state, pl.name AS place FROM scope AS sc \
         CROSS JOIN place AS pl LEFT JOIN noted AS nd ON nd.account_id = $1 AND nd.entity = 4 AND nd.entity_id = sc.id \
         WHERE sc.account_id = $1 AND sc.coverage <> 'complete' AND sc.gone_at IS NULL AND pl.account_id = $1 AND pl.id = sc.place_id \
         AND (nd.state IS NULL OR nd.state <> sc.coverage) ORDER BY sc.id LIMIT {MOST}"
    );
    let mut signs = Vec::new();
    for row in &statement.fetch(connection).await? {
        let (id, coverage) = (integer(row, "id")?, text(row, "coverage")?);
        let detail = json!({"coverage": [maybe_text(row, "state")?, coverage], "reason": maybe_text(row, "reason")?,
            "cluster": text(row, "place")?});
        let is_new = integer(row, "first_seen_at")? > now - NEW;
        let what = Some((now, What::CoverageLost)).filter(|_| !is_new);
        signs.push(Sign { entity: Entity::Scope, id, scope: id, state: Some(coverage), what, detail });
    }
    Ok(signs)
}

/// Scopes that were not, and are seen completely or are gone.
async fn regained(connection: &mut AnyConnection, account: i64, now: i64) -> Result<Vec<Sign>, sqlx::Error> {
    let mut statement = Statement::of_account(account);
    statement.text = format!(
        "SELECT nd.entity_id AS id, nd.state AS state, sc.coverage AS coverage, pl.name AS place FROM noted AS nd \
         LEFT JOIN scope AS sc ON sc.account_id = $1 AND sc.id = nd.entity_id AND sc.gone_at IS NULL \
         LEFT JOIN place AS pl ON pl.account_id = $1 AND pl.id = sc.place_id WHERE nd.account_id = $1 AND nd.entity = 4 \
         AND (sc.id IS NULL OR sc.coverage = 'complete') ORDER BY nd.entity_id LIMIT {MOST}"
    );
    let mut signs = Vec::new();
    for row in &statement.fetch(connection).await? {
        let (id, coverage) = (integer(row, "id")?, maybe_text(row, "coverage")?);
        let detail = json!({"coverage": [text(row, "state")?, &coverage], "cluster": maybe_text(row, "place")?});
        let what = coverage.map(|_| (now, What::CoverageRegained));
        signs.push(Sign { entity: Entity::Scope, id, scope: id, state: None, what, detail });
    }
    Ok(signs)
}

impl Sign {
    /// Notes how it is now.
    async fn note(&self, connection: &mut AnyConnection, account: i64) -> Result<(), sqlx::Error> {
        let entity = self.entity as i64;
        let query = match &self.state {
            Some(state) => sqlx::query(
                "INSERT INTO noted (account_id, entity, entity_id, state) VALUES ($1, $2, $3, $4) \
                 ON CONFLICT (account_id, entity, entity_id) DO UPDATE SET state = excluded.state",
            )
            .bind(account)
            .bind(entity)
            .bind(self.id)
            .bind(state.clone()),
            None => sqlx::query("DELETE FROM noted WHERE account_id = $1 AND entity = $2 AND entity_id = $3")
                .bind(account)
                .bind(entity)
                .bind(self.id),
        };
        query.execute(connection).await.map(drop)
    }
}
