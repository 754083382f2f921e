//! What is here of an agent and of the scopes that its report is about.

use std::collections::{HashMap, HashSet};

use sqlx::{AnyConnection, Row as _, any::AnyRow};
use stocktake_core::model::{Agent, Cluster, Report, ScopeEntry, ScopeId, Source};
use uuid::Uuid;

use super::{
    Incoming,
    order::{Runs, Standing},
    place::{Place, scope_kind},
};
use crate::{
    database::{Column, Database, DatabaseError, Dialect, Rows},
    words::indexed,
};

/// What was read before it is written. Whoever writes makes sure that it is still so.
#[derive(Debug, Default)]
pub(crate) struct Known {
    pub(crate) agent: Option<KnownAgent>,
    /// Whether this bundle is here.
    is_known_bundle: bool,
    /// Whether the agent's identity is another credential's, and this one may not report under it.
    pub(crate) is_anothers: bool,
    pub(crate) places: HashMap<Place, i64>,
    /// Former names of places that the report calls otherwise.
    pub(crate) renamed: HashMap<i64, String>,
    /// Rows of the agent's sources, by collector.
    pub(crate) sources: HashMap<String, i64>,
    pub(crate) scopes: HashMap<ScopeKey, KnownScope>,
    /// Places that were known by a name, which is here, and whose uid the report tells.
    pub(crate) named: HashMap<i64, String>,
    /// Where the agent's sources looked last, by collector.
    former: HashMap<String, Former>,
    /// Scopes that follow a source which the report does not name any more.
    pub(crate) dropped: Vec<KnownScope>,
}

#[derive(Debug)]
pub(crate) struct KnownAgent {
    pub(crate) id: i64,
    pub(crate) revision: i64,
    pub(crate) runs: Runs,
}

/// Where a source looked last.
#[derive(Debug, Clone)]
struct Former {
    id: i64,
    place: Place,
    /// What the source has called its cluster.
    cluster_name: Option<String>,
}

impl Former {
    /// Whether a source that looks at a cluster calls it what it has called this one.
    fn is_called(&self, cluster: &Cluster) -> bool {
        self.place.kind == "cluster" && self.cluster_name == cluster.name
    }

    /// Whether nobody has told the cluster's uid.
    fn is_named(&self) -> bool {
        self.place.key == indexed(self.cluster_name.as_deref().unwrap_or_default())
    }
}

/// What identifies a scope in an account.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ScopeKey {
    pub(crate) place: i64,
    pub(crate) kind: String,
    pub(crate) collector: String,
    pub(crate) scope_kind: String,
    pub(crate) name: String,
}

#[derive(Debug, Clone)]
pub(crate) struct KnownScope {
    pub(crate) id: i64,
    pub(crate) source_id: i64,
    pub(crate) agent_id: i64,
    pub(crate) agent_revision: i64,
    pub(crate) coverage: String,
    pub(crate) told: Option<Vec<u8>>,
    pub(crate) base: Option<Vec<u8>>,
    pub(crate) follows: bool,
    /// When it was seen last, whoever saw it.
    pub(crate) seen_at: i64,
    pub(crate) is_gone: bool,
    /// Whether whoever told of it last has not been heard of for longer than they promised.
    pub(crate) is_silent: bool,
}

impl KnownScope {
    /// Whether what a line of its own source's report says of it, besides its body, is what is here.
    pub(crate) fn is_as_told(&self, source: i64, line: &ScopeEntry) -> bool {
        let coverage = &line.coverage;
        self.source_id == source && self.follows == coverage.has_seen() && self.coverage == coverage.status()
    }
}

impl ScopeKey {
    pub(crate) fn new(place: i64, kind: &str, collector: &str, scope: &ScopeId) -> Self {
        Self {
            place,
            kind: kind.to_owned(),
            collector: collector.to_owned(),
            scope_kind: scope_kind(scope.kind).to_owned(),
            name: indexed(&scope.name).into_owned(),
        }
    }
}

/// What identifies the agent: its own word, or the machine's name for one that has none.
pub(crate) fn agent_uuid(kind: &str, report: &Report) -> Uuid {
    let name = report.agent.hostname.as_deref().unwrap_or_default();
    report.agent.id.unwrap_or_else(|| Uuid::new_v5(&Uuid::NAMESPACE_DNS, format!("{kind}.{name}").as_bytes()))
}

impl Known {
    pub(crate) async fn load(database: &Database, account: i64, incoming: &Incoming) -> Result<Self, DatabaseError> {
        let Incoming { report, received_at, .. } = incoming;
        let mut connection = database.read().await?;
        let mut known = Self::default();
        known.load_agent(&mut connection, account, incoming).await?;
        if report.sequence.is_none() || report.agent.run.is_none() {
            let bundle = sqlx::query("SELECT 1 AS known FROM bundle WHERE account_id = $1 AND report_id = $2")
                .bind(account)
                .bind(report.id.to_string())
                .fetch_optional(&mut *connection)
                .await?;
            known.is_known_bundle = bundle.is_some();
        }
        known.load_dropped(&mut connection, account, report, *received_at).await?;
        for source in &report.sources {
            let id = known.load_place(&mut connection, account, source, &report.agent).await?;
            let own = known.sources.get(source.collector.as_str()).copied();
            let text = format!(
                "{COLUMNS} FROM scope {OF} WHERE scope.account_id = $1 AND scope.gone_at IS NULL AND scope.place_id = $2 AND scope.kind = $3 AND scope.collector = $4 OR {OWN} $5"
            );
            let scopes = sqlx::query(sqlx::AssertSqlSafe(text))
                .bind(account)
                .bind(id)
                .bind(source.kind.to_string())
                .bind(source.collector.to_string())
                .bind(own)
                .fetch_all(&mut *connection)
                .await?;
            for row in &scopes {
                known.scopes.insert(key(row)?, scope(row, *received_at)?);
            }
            if let Some(id) = id {
                known.load_gone(&mut connection, database.dialect(), [account, id], source, *received_at).await?;
            }
        }
        Ok(known)
    }

    async fn load_agent(
        &mut self,
        connection: &mut AnyConnection,
        account: i64,
        incoming: &Incoming,
    ) -> Result<(), DatabaseError> {
        let Incoming { kind, report, received_at, .. } = incoming;
        let agent = sqlx::query("SELECT id, kind, revision, runs FROM agent WHERE account_id = $1 AND uuid = $2")
            .bind(account)
            .bind(agent_uuid(kind, report).to_string())
            .fetch_optional(&mut *connection)
            .await?;
        let Some(row) = agent else { return Ok(()) };
        let id = row.try_get("id")?;
        // Not "none": every report would be new again, and an old one undo a newer.
        let mut runs: Runs =
            serde_json::from_str(row.try_get("runs")?).map_err(|error| sqlx::Error::Decode(error.into()))?;
        let row_kind: String = row.try_get("kind")?;
        if row_kind != *kind {
            // Agents name their id, and all others' are computed from what anybody may know: an agent that names such a one is not it, and
            // whatever an agent was taken for there is nothing to those.
            self.is_anothers = *kind == "stocktake";
            runs = Runs::default();
        } else if let Some(run) = report.agent.run {
            let may_owner_report = match runs.another(run, incoming.owner()) {
                Some(owner) => is_of_use(connection, owner, *received_at).await?,
                None => true,
            };
            self.is_anothers = !runs.see_by(run, incoming.owner(), may_owner_report);
        }
        self.agent = Some(KnownAgent { id, revision: row.try_get("revision")?, runs });
        self.load_sources(connection, [account, id]).await
    }

    /// The row of where a source looks, if there is one.
    async fn load_place(
        &mut self,
        connection: &mut AnyConnection,
        account: i64,
        source: &Source,
        agent: &Agent,
    ) -> Result<Option<i64>, DatabaseError> {
        let place = self.place(source, agent);
        let row = sqlx::query("SELECT id, name FROM place WHERE account_id = $1 AND kind = $2 AND key = $3")
            .bind(account)
            .bind(place.kind)
            .bind(place.key.clone())
            .fetch_optional(&mut *connection)
            .await?;
        let found = match row {
            Some(row) => Some((row.try_get("id")?, row.try_get("name")?)),
            None => match self.places.get(&place) {
                Some(id) => Some((*id, place.name.clone())),
                None => self.by_name(connection, account, source).await?,
            },
        };
        let Some((id, name)) = found else { return Ok(None) };
        if name != place.name {
            self.renamed.insert(id, name);
        }
        self.places.insert(place, id);
        Ok(Some(id))
    }

    /// Scopes that were gone and that the source tells of again. The others that are gone are no concern of the report's.
    async fn load_gone(
        &mut self,
        connection: &mut AnyConnection,
        dialect: Dialect,
        [account, place]: [i64; 2],
        source: &Source,
        now: i64,
    ) -> Result<(), DatabaseError> {
        let mut wanted = Rows::new(&[Column::Text, Column::Text]);
        for entry in &source.scopes {
            let key = ScopeKey::new(place, &source.kind, &source.collector, &entry.id);
            if !self.scopes.contains_key(&key) {
                wanted.push([key.scope_kind.as_str().into(), key.name.as_str().into()]);
            }
        }
        let first = [account.into(), place.into(), source.kind.as_str().into(), source.collector.as_str().into()];
        let (before, after) = (
            format!("{COLUMNS} FROM"),
            format!(
                "AS v CROSS JOIN scope {OF} WHERE scope.account_id = $1 AND scope.place_id = $2 AND scope.kind = $3 \
                 AND scope.collector = $4 AND scope.scope_kind = v.column1 AND scope.name = v.column2 AND scope.gone_at IS NOT NULL"
            ),
        );
        for row in &wanted.fetch(connection, dialect, &first, [&before, &after]).await? {
            self.scopes.insert(key(row)?, scope(row, now)?);
        }
        Ok(())
    }

    /// Where a source looks. One that could not reach its runtime may not tell; it looks where it looked before. So does one that may not
    /// see its cluster's uid any more and calls it what it called it before.
    pub(crate) fn place(&self, source: &Source, agent: &Agent) -> Place {
        let told = Place::of(source, agent);
        let Some(former) = self.former.get(source.collector.as_str()) else { return told };
        match (&source.cluster, &source.host) {
            (None, None) => former.place.clone(),
            (Some(cluster), _) if cluster.uid.is_none() && former.is_called(cluster) => {
                let name = if told.name.is_empty() { former.place.name.clone() } else { told.name };
                Place { name, ..former.place.clone() }
            }
            _ => told,
        }
    }

    /// The cluster that a source has looked at by its name alone, once it tells its uid: what is there stays what it is. Whoever else
    /// calls a cluster so means the same one; clusters that nobody has given a name are not one.
    async fn by_name(
        &mut self,
        connection: &mut AnyConnection,
        account: i64,
        source: &Source,
    ) -> Result<Option<(i64, String)>, DatabaseError> {
        let Some(cluster) = source.cluster.as_ref().filter(|cluster| cluster.uid.is_some()) else { return Ok(None) };
        let Some(former) = self.former.get(source.collector.as_str()) else { return Ok(None) };
        if !former.is_called(cluster) || !former.is_named() || self.named.contains_key(&former.id) {
            return Ok(None);
        }
        if former.place.key.is_empty() {
            let own = self.agent.as_ref().map(|agent| agent.id);
            let others =
                sqlx::query("SELECT id FROM source WHERE account_id = $1 AND place_id = $2 AND agent_id <> $3 LIMIT 1");
            if others.bind(account).bind(former.id).bind(own).fetch_optional(connection).await?.is_some() {
                return Ok(None);
            }
        }
        self.named.insert(former.id, former.place.key.clone());
        Ok(Some((former.id, former.place.name.clone())))
    }

    async fn load_sources(
        &mut self,
        connection: &mut AnyConnection,
        [account, agent]: [i64; 2],
    ) -> Result<(), DatabaseError> {
        let sources = sqlx::query(
            "SELECT source.id, source.collector, source.place_id, source.cluster_name, place.kind, place.key, place.name FROM source \
             JOIN place ON place.account_id = source.account_id AND place.id = source.place_id \
             WHERE source.account_id = $1 AND source.agent_id = $2",
        );
        for row in sources.bind(account).bind(agent).fetch_all(connection).await? {
            let collector: String = row.try_get("collector")?;
            let kind: String = row.try_get("kind")?;
            let kind = if kind == "cluster" { "cluster" } else { "host" };
            let place = Place { kind, key: row.try_get("key")?, name: row.try_get("name")? };
            self.sources.insert(collector.clone(), row.try_get("id")?);
            let (id, cluster_name) = (row.try_get("place_id")?, row.try_get("cluster_name")?);
            self.former.insert(collector, Former { id, place, cluster_name });
        }
        Ok(())
    }

    /// A collector that was taken out of the configuration tells nothing any more.
    async fn load_dropped(
        &mut self,
        connection: &mut AnyConnection,
        account: i64,
        report: &Report,
        now: i64,
    ) -> Result<(), DatabaseError> {
        let named: HashSet<&str> = report.sources.iter().map(|source| source.collector.as_str()).collect();
        let counts = report.sequence.is_some();
        for (_, id) in self.sources.iter().filter(|(collector, _)| counts && !named.contains(collector.as_str())) {
            let text =
                format!("{COLUMNS} FROM scope {OF} WHERE scope.account_id = $1 AND scope.follows = 1 AND {OWN} $2");
            let rows =
                sqlx::query(sqlx::AssertSqlSafe(text)).bind(account).bind(*id).fetch_all(&mut *connection).await?;
            for row in &rows {
                self.dropped.push(scope(row, now)?);
            }
        }
        Ok(())
    }

    /// What the report is to those that are here.
    pub(crate) fn standing(&self, report: &Report) -> Standing {
        let (Some(run), Some(sequence)) = (report.agent.run, report.sequence) else {
            return if self.is_known_bundle { Standing::Known } else { Standing::New };
        };
        self.agent.as_ref().map_or(Standing::New, |agent| agent.runs.standing(run, sequence))
    }
}

/// Whether somebody can still report with a credential. With the server's own, which is 0, it always can.
async fn is_of_use(connection: &mut AnyConnection, credential: i64, now: i64) -> Result<bool, sqlx::Error> {
    let found = sqlx::query(
        "SELECT id FROM api_token WHERE id = $1 AND coalesce(expires_at, $2) >= $2 \
         UNION ALL SELECT revision FROM account_user WHERE revision = $1",
    );
    let found = found.bind(credential).bind(now).fetch_optional(connection).await?;
    Ok(credential == 0 || found.is_some())
}

/// Scopes that a source told of last.
const OWN: &str = "scope.account_id = $1 AND scope.gone_at IS NULL AND scope.source_id =";

fn key(row: &AnyRow) -> Result<ScopeKey, sqlx::Error> {
    Ok(ScopeKey {
        place: row.try_get("place_id")?,
        kind: row.try_get("kind")?,
        collector: row.try_get("collector")?,
        scope_kind: row.try_get("scope_kind")?,
        name: row.try_get("name")?,
    })
}

const COLUMNS: &str = "SELECT scope.id, scope.source_id, scope.place_id, scope.kind, scope.collector, scope.scope_kind, scope.name, \
    scope.coverage, scope.told_digest, scope.base_digest, scope.follows, scope.seen_at, scope.gone_at, source.observed_at, \
    source.agent_id, agent.revision, agent.received_at, agent.valid_for";

/// Who told of a scope last.
const OF: &str = "JOIN source ON source.account_id = scope.account_id AND source.id = scope.source_id \
    JOIN agent ON agent.account_id = source.account_id AND agent.id = source.agent_id";

fn scope(row: &AnyRow, now: i64) -> Result<KnownScope, sqlx::Error> {
    let follows = row.try_get::<i64, _>("follows")? == 1;
    let (received_at, valid_for): (i64, Option<i64>) = (row.try_get("received_at")?, row.try_get("valid_for")?);
    Ok(KnownScope {
        id: row.try_get("id")?,
        source_id: row.try_get("source_id")?,
        agent_id: row.try_get("agent_id")?,
        agent_revision: row.try_get("revision")?,
        coverage: row.try_get("coverage")?,
        told: row.try_get("told_digest")?,
        base: row.try_get("base_digest")?,
        follows,
        seen_at: row.try_get(if follows { "observed_at" } else { "seen_at" })?,
        is_gone: row.try_get::<Option<i64>, _>("gone_at")?.is_some(),
        is_silent: valid_for.is_some_and(|valid_for| received_at + valid_for < now),
    })
}
