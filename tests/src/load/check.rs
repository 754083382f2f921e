//! Compares what a server has with what agents have told it: through its answers, and in its database.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use serde::Deserialize;
use serde_json::Value;
use sqlx::{AnyConnection, Connection as _, Row as _, any::install_default_drivers};
use uuid::Uuid;

use super::{agent::Agent, client::Client, world::Rows};

/// What is amiss.
#[derive(Debug, Default)]
pub struct Found {
    /// Reports that were acknowledged and are not there.
    pub missing: usize,
    /// Places that are as no report, or number of whole reports, would have left them; and whatever contradicts itself.
    pub half_applied: usize,
    told: Vec<String>,
}

impl Found {
    /// Whether nothing is amiss.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.missing == 0 && self.half_applied == 0
    }

    /// What is amiss, for people.
    #[must_use]
    pub fn told(&self) -> String {
        // What follows says the same again.
        self.told.iter().take(20).map(String::as_str).collect::<Vec<_>>().join("\n")
    }

    pub(super) fn add(&mut self, other: Self) {
        self.missing += other.missing;
        self.half_applied += other.half_applied;
        self.told.extend(other.told);
    }

    fn half(&mut self, what: String) {
        self.half_applied += 1;
        self.told.push(what);
    }
}

/// By place, scope and pod (or container): the image, and what else is compared.
type Told<T> = BTreeMap<String, BTreeMap<(String, String), (String, T)>>;

pub(super) async fn check(agents: &[Agent], reader: &Client, urls: &[String], database: &str) -> Found {
    install_default_drivers();
    let mut found = Found::default();
    let url = if database.contains("://") { database.to_owned() } else { format!("sqlite://{database}") };
    let mut connection = AnyConnection::connect(&url).await.expect("the server's database");
    acknowledged(&mut connection, agents, &mut found).await;
    consistent(&mut connection, &mut found).await;
    events(&mut connection, &mut found).await;
    if !database.contains("://") {
        let sound: String = scalar(&mut connection, "PRAGMA integrity_check").await;
        if sound != "ok" {
            found.half(format!("PRAGMA integrity_check: {sound}"));
        }
    }
    let places: BTreeSet<&str> = agents.iter().map(Agent::place).collect();
    let rows = in_database(&mut connection, &places, &mut found).await;
    for url in urls {
        let answers = answered(reader, url, &places, &mut found).await;
        changes(reader, url, &mut found).await;
        compare(agents, &rows, &answers, &mut found);
    }
    drop(connection.close().await);
    found
}

/// Whether each place is as acknowledged reports, and perhaps the one in doubt, have left it.
fn compare(agents: &[Agent], rows: &Told<bool>, answers: &Told<String>, found: &mut Found) {
    let none = (BTreeMap::new(), BTreeMap::new());
    for agent in agents {
        let row = rows.get(agent.place()).unwrap_or(&none.0);
        let answer = answers.get(agent.place()).unwrap_or(&none.1);
        let is_as = |expected: &&Rows| {
            let in_rows = expected.iter().map(|(key, row)| (key.clone(), (row.image.clone(), row.is_confirmed)));
            let in_answers =
                expected.iter().map(|(key, row)| (key.clone(), (row.image.clone(), row.state.as_str().to_owned())));
            *row == in_rows.collect() && *answer == in_answers.collect()
        };
        if !agent.possible().iter().any(is_as) {
            let possible = agent.possible();
            found.half(format!("{}: {row:?} and {answer:?} are neither of {possible:?}", agent.place()));
        }
    }
}

/// What a server's row of an agent says of the reports that are here.
#[derive(Deserialize)]
struct Run {
    id: Uuid,
    last: u64,
    missing: Vec<(u64, u64)>,
}

async fn acknowledged(connection: &mut AnyConnection, agents: &[Agent], found: &mut Found) {
    let rows = sqlx::query("SELECT uuid, runs FROM agent").fetch_all(&mut *connection).await.expect("agents");
    let read = |row: &sqlx::any::AnyRow| -> (Uuid, Vec<Run>) {
        let (uuid, runs): (String, String) = (row.get("uuid"), row.get("runs"));
        (uuid.parse().expect("a UUID"), serde_json::from_str(&runs).expect("runs"))
    };
    let known: BTreeMap<Uuid, Vec<Run>> = rows.iter().map(read).collect();
    for agent in agents {
        let runs = known.get(&agent.id()).map(Vec::as_slice).unwrap_or_default();
        // The server remembers the latest runs only.
        let oldest = runs.iter().map(|run| run.id).min();
        for (run, sequence) in agent.acknowledged() {
            let is_forgotten = oldest.is_some_and(|oldest| *run < oldest);
            let is_here = runs.iter().filter(|known| known.id == *run).any(|known| {
                let is_missing = known.missing.iter().any(|(first, last)| (*first..=*last).contains(sequence));
                *sequence <= known.last && !is_missing
            });
            if !is_here && !is_forgotten {
                found.missing += 1;
                found.told.push(format!("{}: number {sequence} was acknowledged and is not here", agent.place()));
            }
        }
    }
}

/// What must not be, each as a statement that counts it.
const NEVER: [(&str, &str); 9] = [
    (
        "image uses count other than their containers",
        "SELECT count(*) FROM image_use AS u WHERE u.containers <> (SELECT count(*) FROM container AS c \
         WHERE c.account_id = u.account_id AND c.image_use_id = u.id AND c.gone_at IS NULL) \
         OR (u.containers = 0) <> (u.gone_at IS NOT NULL)",
    ),
    (
        "scopes are of bodies that are not here",
        "SELECT count(*) FROM scope AS s WHERE (s.base_digest IS NOT NULL AND NOT EXISTS (SELECT 1 FROM body AS b \
         WHERE b.account_id = s.account_id AND b.digest = s.base_digest)) OR (s.told_digest IS NOT NULL AND NOT EXISTS \
         (SELECT 1 FROM body AS b WHERE b.account_id = s.account_id AND b.digest = s.told_digest))",
    ),
    (
        "containers stand there twice",
        "SELECT count(*) FROM (SELECT 1 AS one FROM container WHERE gone_at IS NULL \
         GROUP BY account_id, scope_id, key HAVING count(*) > 1) AS twice",
    ),
    (
        "pods stand there twice",
        "SELECT count(*) FROM (SELECT 1 AS one FROM pod WHERE gone_at IS NULL \
         GROUP BY account_id, scope_id, key HAVING count(*) > 1) AS twice",
    ),
    (
        "containers are in pods that are not there",
        "SELECT count(*) FROM container AS c WHERE c.gone_at IS NULL AND c.pod_id IS NOT NULL AND NOT EXISTS \
         (SELECT 1 FROM pod AS p WHERE p.account_id = c.account_id AND p.id = c.pod_id AND p.gone_at IS NULL)",
    ),
    (
        "containers are there in scopes that are gone",
        "SELECT count(*) FROM container AS c JOIN scope AS s ON s.account_id = c.account_id AND s.id = c.scope_id \
         WHERE c.gone_at IS NULL AND s.gone_at IS NOT NULL",
    ),
    (
        "containers are of nothing",
        "SELECT count(*) FROM container AS c WHERE NOT EXISTS (SELECT 1 FROM scope AS s WHERE s.account_id = c.account_id \
         AND s.id = c.scope_id) OR NOT EXISTS (SELECT 1 FROM image_use AS u WHERE u.account_id = c.account_id \
         AND u.id = c.image_use_id AND u.scope_id = c.scope_id)",
    ),
    (
        "pods have labels that are not here",
        "SELECT count(*) FROM pod AS p WHERE p.labels_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM label_set AS l \
         WHERE l.account_id = p.account_id AND l.id = p.labels_id)",
    ),
    (
        "the account counts other events than there are",
        "SELECT count(*) FROM account AS a WHERE a.last_event <> (SELECT count(*) FROM event AS e WHERE e.account_id = a.id) \
         OR a.last_event <> (SELECT coalesce(max(e.id), 0) FROM event AS e WHERE e.account_id = a.id)",
    ),
];

async fn consistent(connection: &mut AnyConnection, found: &mut Found) {
    for (what, statement) in NEVER {
        let count: i64 = scalar(connection, statement).await;
        if count != 0 {
            found.half(format!("{count} {what}"));
        }
    }
}

/// The log of events has to come to what the rows say.
async fn events(connection: &mut AnyConnection, found: &mut Found) {
    for (entity, table) in [(1_i64, "container"), (2, "image_use")] {
        let events = sqlx::query("SELECT kind, entity_id FROM event WHERE entity = $1 ORDER BY id").bind(entity);
        let mut present: BTreeSet<i64> = BTreeSet::new();
        for row in events.fetch_all(&mut *connection).await.expect("events") {
            let id: i64 = row.get("entity_id");
            let is_right = match row.get::<i64, _>("kind") {
                1 => present.insert(id),
                2 => present.remove(&id),
                _ => present.contains(&id),
            };
            if !is_right {
                found.half(format!("an event of {table} {id} does not follow from those before"));
            }
        }
        let text = format!("SELECT id FROM {table} WHERE gone_at IS NULL");
        let rows = sqlx::query_scalar(sqlx::AssertSqlSafe(text)).fetch_all(&mut *connection).await.expect("rows");
        if present != rows.into_iter().collect() {
            found.half(format!("the events do not come to what is there of {table}"));
        }
    }
}

/// What stands in rows of the agents' places. Others are of what was sent besides.
async fn in_database(connection: &mut AnyConnection, places: &BTreeSet<&str>, found: &mut Found) -> Told<bool> {
    let rows = sqlx::query(
        "SELECT place.key AS place, scope.name AS scope, coalesce(pod.name, container.name) AS name, image_name.name AS image, \
         container.last_seen_at AS seen FROM container \
         JOIN scope ON scope.account_id = container.account_id AND scope.id = container.scope_id \
         JOIN place ON place.account_id = scope.account_id AND place.id = scope.place_id \
         JOIN image_use ON image_use.account_id = container.account_id AND image_use.id = container.image_use_id \
         JOIN image_name ON image_name.account_id = container.account_id AND image_name.id = image_use.name_id \
         LEFT JOIN pod ON pod.account_id = container.account_id AND pod.id = container.pod_id \
         WHERE container.gone_at IS NULL",
    );
    let mut told: Told<bool> = BTreeMap::new();
    for row in rows.fetch_all(connection).await.expect("containers") {
        let key: (String, String) = (row.get("scope"), row.get("name"));
        let place: String = row.get("place");
        if !places.contains(place.as_str()) {
            continue;
        }
        let is_confirmed = row.get::<Option<i64>, _>("seen").is_none();
        if told.entry(place).or_default().insert(key.clone(), (row.get("image"), is_confirmed)).is_some() {
            found.half(format!("{key:?} stands in the database twice"));
        }
    }
    told
}

/// The inventory as anybody sees it.
async fn answered(reader: &Client, url: &str, places: &BTreeSet<&str>, found: &mut Found) -> Told<String> {
    let answer = reader.get(&format!("{url}/v1/containers?format=ndjson")).await.expect("the inventory");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let mut told: Told<String> = BTreeMap::new();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    for line in answer.text().lines() {
        let line: Value = serde_json::from_str(line).expect("a line of JSON");
        let place = if line["cluster"].is_null() { text(&line["host"]) } else { text(&line["cluster"]) };
        if !places.contains(place.as_str()) {
            continue;
        }
        let scope = text(&line["context"]).split_once('/').map(|(_, scope)| scope.to_owned()).unwrap_or_default();
        let name = if line["pod"].is_null() { text(&line["name"]) } else { text(&line["pod"]["name"]) };
        let key = (scope, name);
        let row = (text(&line["image"]), text(&line["state"]));
        if told.entry(place).or_default().insert(key.clone(), row).is_some() {
            found.half(format!("{key:?} is answered twice"));
        }
    }
    told
}

/// Changes as anybody sees them have numbers without gaps. The last pages: they are what a fault may have spoilt.
async fn changes(reader: &Client, url: &str, found: &mut Found) {
    let answer = reader.get(&format!("{url}/v1/changes?format=csv")).await.expect("changes");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let numbers = answer.text();
    let numbers = numbers.lines().skip(1).filter_map(|line| line.split(',').next()?.parse::<i64>().ok());
    let (mut gaps, mut last) = (String::new(), 0);
    for number in numbers {
        if number != last + 1 {
            write!(gaps, " {last}..{number}").expect("a string takes all");
        }
        last = number;
    }
    if !gaps.is_empty() {
        found.half(format!("changes have gaps:{gaps}"));
    }
}

async fn scalar<T>(connection: &mut AnyConnection, statement: &'static str) -> T
where
    T: Send + Unpin + for<'r> sqlx::Decode<'r, sqlx::Any> + sqlx::Type<sqlx::Any>,
{
    sqlx::query_scalar(statement).fetch_one(connection).await.unwrap_or_else(|error| panic!("{statement}: {error}"))
}
