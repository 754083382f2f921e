//! Writes what a report comes to, in one transaction.

mod entities;
mod events;
mod present;
mod remove;
mod scope;
mod shared;
mod sources;
mod uses;

use std::collections::BTreeMap;

use sqlx::Row as _;

pub(crate) use self::{
    events::{Entity, Events, What},
    remove::{Removal, remove},
};

use super::{
    Incoming,
    intern::Ids,
    kept::Packed,
    known::{Known, KnownScope},
    order::Standing,
    plan::{Plan, ScopePlan, SourcePlan},
};
use crate::{
    database::{Column, Database, DatabaseError, Dialect, Rows, Value, Writing},
    words,
};

/// Columns of a body.
pub(super) const BODY: [Column; 5] = [Column::Integer, Column::Bytes, Column::Integer, Column::Bytes, Column::Integer];

/// Keeps a body. One that is here is touched, so that it is not cleared away before a report names it.
pub(super) const INSERT_BODY: [&str; 2] = [
    "INSERT INTO body (account_id, digest, size, content, touched_at) SELECT * FROM",
    "AS v WHERE true ON CONFLICT (account_id, digest) DO UPDATE SET touched_at = excluded.touched_at",
];

/// Columns of who has sent a body.
pub(super) const BODY_SENDER: [Column; 3] = [Column::Integer, Column::Bytes, Column::Integer];

/// Notes who has sent a body, once that is kept.
pub(super) const INSERT_BODY_SENDER: [&str; 2] = [
    "INSERT INTO body_sender (account_id, digest, credential) SELECT * FROM",
    "AS v WHERE true ON CONFLICT (account_id, digest, credential) DO NOTHING",
];

/// A row of [`BODY`].
pub(super) fn body_row(account: i64, digest: Vec<u8>, body: Packed, now: i64) -> [Value; 5] {
    [account.into(), digest.into(), body.size.into(), body.content.into(), now.into()]
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    Done,
    /// Nothing was written: what was known before is no longer so.
    Overtaken,
}

/// A transaction with what all that is written in it has in common.
struct Writer<'a> {
    connection: &'a mut sqlx::AnyConnection,
    dialect: Dialect,
    account: i64,
    /// The next identifier of those that were taken for it.
    next: i64,
    ids: &'a Ids,
    events: events::Events,
    named: shared::Named,
}

impl Writer<'_> {
    fn identifier(&mut self) -> i64 {
        self.next += 1;
        self.next - 1
    }
}

/// Writes it, whole or not at all.
pub(super) async fn write(
    database: &Database,
    account: i64,
    incoming: &Incoming,
    known: &Known,
    plan: &mut Plan,
    ids: &Ids,
) -> Result<Written, DatabaseError> {
    let next = database.identifiers(identifiers(plan)).await?;
    let bodies = bodies(account, incoming, plan);
    let mut writing: Writing = database.write().await?;
    let dialect = database.dialect();
    let (events, named) = (events::Events::default(), shared::Named::default());
    let mut writer = Writer { connection: writing.connection(), dialect, account, next, ids, events, named };
    if !is_still_so(&mut writer, incoming, known, plan).await? {
        return Ok(Written::Overtaken);
    }
    bodies.execute(writer.connection, dialect, &[], INSERT_BODY).await?;
    senders(account, incoming).execute(writer.connection, dialect, &[], INSERT_BODY_SENDER).await?;
    let is_late = known.standing(&incoming.report) == Standing::Late;
    let agent = match &known.agent {
        Some(agent) if is_late => sources::late(&mut writer, incoming, agent).await?,
        _ => sources::agent(&mut writer, incoming, known).await?,
    };
    for scope in known.dropped.iter().filter(|_| !is_late) {
        sources::leave_behind(&mut writer, scope).await?;
    }
    let mut looked = Vec::new();
    for planned in &plan.sources {
        let place = sources::place(&mut writer, known, planned).await?;
        // Before the source's time moves on: what it leaves behind was seen at the former.
        for scope in &planned.untold {
            sources::leave_behind(&mut writer, scope).await?;
        }
        let source = sources::source(&mut writer, incoming, known, planned, [agent, place]).await?;
        looked.extend(scope::scopes(&mut writer, incoming, planned, [place, source]).await?);
        for scope in &planned.gone {
            scope::gone(&mut writer, scope, planned.observed_at).await?;
        }
    }
    entities::write(&mut writer, &looked).await?;
    sources::bump_others(&mut writer, known, plan).await?;
    let events = std::mem::take(&mut writer.events);
    events.write(writer.connection, dialect, account).await?;
    shared::note(&mut writer).await?;
    writing.commit().await?;
    Ok(Written::Done)
}

/// How many identifiers it takes at the most.
fn identifiers(plan: &Plan) -> usize {
    let contents = plan.sources.iter().flat_map(|source| &source.scopes).filter_map(|scope| scope.content.as_ref());
    let rows: usize = contents
        .map(|content| {
            let delta = &content.delta;
            delta.nodes.added.len()
                + delta.nodes.changed.len()
                + delta.namespaces.added.len()
                + delta.namespaces.changed.len()
                + delta.workloads.added.len()
                + delta.workloads.changed.len()
                + delta.pods.added.len()
                + delta.pods.changed.len()
                + delta.containers.added.len()
                + delta.containers.changed.len()
                + delta.used.len()
        })
        .sum();
    let scopes: usize = plan.sources.iter().map(|source| source.scopes.len()).sum();
    // The agent; a place and a row for each source.
    1 + 2 * plan.sources.len() + scopes + rows
}

/// Bodies that are to be kept, which the plan has no more need of: each once, and all in the order in which others write them, too.
fn bodies(account: i64, incoming: &Incoming, plan: &mut Plan) -> Rows {
    let mut bodies: BTreeMap<Vec<u8>, Packed> = std::mem::take(&mut plan.others).into_iter().collect();
    for scope in plan.sources.iter_mut().flat_map(|source| &mut source.scopes) {
        if let Some(content) = &mut scope.content {
            bodies.extend(std::mem::take(&mut content.bodies));
        }
    }
    let mut rows = Rows::new(&BODY);
    for (digest, body) in bodies {
        rows.push(body_row(account, digest, body, incoming.received_at));
    }
    rows
}

/// That its sender has sent the bodies that came with it, which are in their order.
fn senders(account: i64, incoming: &Incoming) -> Rows {
    let mut rows = Rows::new(&BODY_SENDER);
    if let Some(credential) = incoming.credential {
        let mut digests: Vec<Vec<u8>> = incoming.bodies.keys().map(words::pack_digest).collect();
        digests.sort_unstable();
        for digest in digests {
            rows.push([account.into(), digest.into(), credential.into()]);
        }
    }
    rows
}

/// Whether what the plan is based on is still so. What it is about is locked from here on.
async fn is_still_so(
    writer: &mut Writer<'_>,
    Incoming { kind, report, .. }: &Incoming,
    known: &Known,
    plan: &Plan,
) -> Result<bool, sqlx::Error> {
    // Nobody removes the account before this is through. Its number of events is not part of its key.
    let lock = if writer.dialect == Dialect::Postgres { " FOR KEY SHARE" } else { "" };
    let text = format!("SELECT id FROM account WHERE id = $1{lock}");
    let account: Option<i64> = sqlx::query_scalar(sqlx::AssertSqlSafe(text))
        .bind(writer.account)
        .fetch_optional(&mut *writer.connection)
        .await?;
    if account.is_none() {
        return Ok(false);
    }
    if known.agent.is_none() {
        let uuid = super::known::agent_uuid(kind, report).to_string();
        let agent =
            sqlx::query("SELECT id FROM agent WHERE account_id = $1 AND uuid = $2").bind(writer.account).bind(uuid);
        if agent.fetch_optional(&mut *writer.connection).await?.is_some() {
            return Ok(false);
        }
    }
    if !are_agents_as_before(writer, known, plan).await? {
        return Ok(false);
    }
    let mut scopes: Vec<&KnownScope> = plan.sources.iter().flat_map(touched).collect();
    scopes.sort_unstable_by_key(|scope| scope.id);
    let mut rows = Rows::new(&[Column::Integer]);
    for scope in &scopes {
        rows.push([scope.id.into()]);
    }
    let lock = match writer.dialect {
        Dialect::Sqlite => "",
        Dialect::Postgres => " ORDER BY t.id FOR UPDATE OF t",
    };
    let after = format!("AS v CROSS JOIN scope t WHERE t.account_id = $1 AND t.id = v.column1{lock}");
    let select =
        ["SELECT t.id AS id, t.source_id AS source_id, t.told_digest AS told, t.base_digest AS base FROM", &after];
    let found = rows.fetch(writer.connection, writer.dialect, &[writer.account.into()], select).await?;
    if found.len() != scopes.len() {
        return Ok(false);
    }
    for row in found {
        let id: i64 = row.try_get("id")?;
        let (told, base): (Option<Vec<u8>>, Option<Vec<u8>>) = (row.try_get("told")?, row.try_get("base")?);
        let source: i64 = row.try_get("source_id")?;
        let is_same = scopes
            .binary_search_by_key(&id, |scope| scope.id)
            .is_ok_and(|at| (scopes[at].source_id, &scopes[at].told, &scopes[at].base) == (source, &told, &base));
        if !is_same {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether the agents that it is about have told nothing since: its own, and those whose scopes it takes over. Their rows are locked in
/// the order of their numbers, as everybody does, so that nobody waits for somebody who waits for them.
async fn are_agents_as_before(writer: &mut Writer<'_>, known: &Known, plan: &Plan) -> Result<bool, sqlx::Error> {
    let own = known.agent.as_ref().map(|agent| (agent.id, agent.revision));
    let others = plan.sources.iter().flat_map(touched).chain(&known.dropped);
    let agents: BTreeMap<i64, i64> = others.map(|scope| (scope.agent_id, scope.agent_revision)).chain(own).collect();
    let mut rows = Rows::new(&[Column::Integer]);
    for id in agents.keys() {
        rows.push([(*id).into()]);
    }
    let lock = match writer.dialect {
        Dialect::Sqlite => "",
        Dialect::Postgres => " ORDER BY t.id FOR UPDATE OF t",
    };
    let after = format!("AS v CROSS JOIN agent t WHERE t.account_id = $1 AND t.id = v.column1{lock}");
    let select = ["SELECT t.id AS id, t.revision AS revision FROM", &after];
    let found = rows.fetch(writer.connection, writer.dialect, &[writer.account.into()], select).await?;
    let found = found.iter().map(|row| Ok((row.try_get("id")?, row.try_get("revision")?)));
    Ok(found.collect::<Result<BTreeMap<i64, i64>, sqlx::Error>>()? == agents)
}

/// Scopes whose rows are altered.
fn touched(planned: &SourcePlan) -> impl Iterator<Item = &KnownScope> {
    let known = planned.scopes.iter().filter_map(|ScopePlan { known, .. }| known.as_ref());
    known.chain(&planned.gone).chain(&planned.untold)
}
