//! Reports at random, and after each the database compared with a model of what it has to hold.

mod claims;
mod counted;
mod heartbeats;
mod named;
mod places;
mod several;

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use sqlx::Row as _;
use stocktake_core::{
    Digest,
    model::{
        Agent, Cluster, Container, ContainerState, Coverage, Host, Image, MissingReason, Pod, Report, SCHEMA_VERSION,
        Scope, ScopeEntry, ScopeId, Shown, Source, Workload,
    },
    normalise,
    wire::{Outcome, append_frame},
};
use uuid::Uuid;

use super::*;
use crate::{testing::databases, words};

/// Who sends what is not said to be another's.
const SENDER: Sender = Sender { account: 1, credential: 100 };

/// An agent that looks at a cluster whose namespaces hold what is said.
struct Made {
    id: Uuid,
    run: u128,
    sequence: u64,
    now: Timestamp,
}

type Told = (ScopeId, Coverage, Option<Scope>);

impl Made {
    fn new(id: u128) -> Self {
        Self { id: Uuid::from_u128(id), run: 1, sequence: 0, now: Timestamp::now() - SignedDuration::from_hours(10) }
    }

    /// The next report, of scopes as they are told.
    fn report(&mut self, told: &[Told], coverage: Coverage) -> Incoming {
        self.sequence += 1;
        self.now += SignedDuration::from_secs(60);
        let mut bodies = BTreeMap::new();
        let mut scopes = Vec::new();
        for (id, coverage, scope) in told {
            let mut scope = scope.clone();
            let counts = scope.as_mut().map(normalise).unwrap_or_default();
            let digest = scope.map(|scope| {
                let body = serde_json::to_vec(&scope).unwrap();
                let digest = Digest::sha256(&body);
                bodies.insert(digest.clone(), body.into());
                digest
            });
            scopes.push(ScopeEntry { id: id.clone(), coverage: coverage.clone(), digest, counts });
        }
        let source = Source {
            collector: "prod".into(),
            kind: "kubernetes".into(),
            runtime: None,
            cluster: Some(Cluster { uid: Some("c-1".into()), name: Some("prod".into()) }),
            host: None,
            observed_at: self.now,
            coverage,
            shown: Shown::All,
            warnings: Vec::new(),
            cost: None,
            scopes,
        };
        let report = Report {
            schema: SCHEMA_VERSION.into(),
            id: Uuid::now_v7(),
            agent: Agent {
                id: Some(self.id),
                run: Some(Uuid::from_u128(self.run)),
                version: "1".into(),
                hostname: Some("h".into()),
            },
            created_at: self.now,
            sequence: Some(self.sequence),
            valid_for_seconds: Some(180),
            sources: vec![source],
        };
        let manifest = serde_json::to_vec(&report).unwrap();
        Incoming {
            kind: "stocktake",
            credential: Some(SENDER.credential),
            report,
            manifest: Some((Digest::sha256(&manifest), manifest.into())),
            bodies,
            earlier: BTreeMap::new(),
            is_whole: true,
            skew: 0,
            received_at: Timestamp::now().as_millisecond(),
        }
    }
}

/// What is in a namespace: for each pod the state of its container and its image.
type Pods = BTreeMap<String, (ContainerState, String)>;

fn scope(pods: &Pods) -> Scope {
    let mut scope = Scope::default();
    for (name, (state, image)) in pods {
        let workload = name.split('-').next().unwrap_or_default();
        scope.workloads.push(Workload {
            id: workload.into(),
            kind: "Deployment".into(),
            name: workload.into(),
            ..Workload::default()
        });
        scope.pods.push(Pod { uid: name.into(), name: name.into(), workload: Some(workload.into()), ..Pod::default() });
        scope.containers.push(Container {
            id: Some(format!("{name}{image}").into()),
            name: "app".into(),
            pod_uid: Some(name.into()),
            state: *state,
            image: Some(image.into()),
            image_ref: Some(image.into()),
            ..Container::default()
        });
        scope.images.push(Image { names: vec![image.into()], ..Image::unresolved(image, MissingReason::NotReported) });
    }
    scope
}

/// Present rows: by context and pod, the container's state and image; and those that were not confirmed.
async fn rows(
    database: &Database,
) -> (BTreeMap<(String, String), (ContainerState, String)>, BTreeSet<(String, String)>) {
    let rows = sqlx::query(
        "SELECT scope.name AS scope, pod.name AS pod, container.state, image_name.name AS image, container.last_seen_at, \
         pod.last_seen_at AS pod_seen, workload.name AS workload \
         FROM container JOIN scope ON scope.id = container.scope_id JOIN pod ON pod.id = container.pod_id \
         JOIN image_use ON image_use.id = container.image_use_id JOIN image_name ON image_name.id = image_use.name_id \
         JOIN workload ON workload.id = coalesce(container.workload_id, pod.workload_id) \
         WHERE container.gone_at IS NULL AND pod.gone_at IS NULL AND workload.gone_at IS NULL",
    )
    .fetch_all(database.pool())
    .await
    .unwrap();
    let (mut present, mut unconfirmed) = (BTreeMap::new(), BTreeSet::new());
    for row in rows {
        let key: (String, String) = (row.get("scope"), row.get("pod"));
        let seen = (row.get::<Option<i64>, _>("last_seen_at"), row.get::<Option<i64>, _>("pod_seen"));
        assert_eq!(seen.0.is_some(), seen.1.is_some(), "{key:?}");
        if seen.0.is_some() {
            unconfirmed.insert(key.clone());
        }
        let workload: String = row.get("workload");
        assert!(key.1.starts_with(&workload));
        let before = present.insert(key, (words::state(row.get("state")), row.get("image")));
        assert!(before.is_none(), "a container stands there twice");
    }
    (present, unconfirmed)
}

/// The log has to come to what the rows say.
async fn check_events(database: &Database) {
    for (entity, table) in [(1_i64, "container"), (2, "image_use")] {
        let events = sqlx::query("SELECT id, kind, entity_id FROM event WHERE entity = $1 ORDER BY id").bind(entity);
        let mut present = BTreeSet::new();
        for row in events.fetch_all(database.pool()).await.unwrap() {
            let id: i64 = row.get("entity_id");
            match row.get::<i64, _>("kind") {
                1 => assert!(present.insert(id), "{table} {id} appeared twice"),
                2 => assert!(present.remove(&id), "{table} {id} disappeared without having appeared"),
                _ => assert!(present.contains(&id), "{table} {id} changed and is not there"),
            }
        }
        let text = format!("SELECT id FROM {table} WHERE gone_at IS NULL");
        let rows: Vec<i64> = sqlx::query_scalar(sqlx::AssertSqlSafe(text)).fetch_all(database.pool()).await.unwrap();
        assert_eq!(present, rows.into_iter().collect(), "{table}");
    }
    let numbers: Vec<i64> =
        sqlx::query_scalar("SELECT id FROM event ORDER BY id").fetch_all(database.pool()).await.unwrap();
    assert!(numbers.iter().zip(1..).all(|(number, expected)| *number == expected), "numbers without gaps");
}

/// Image uses count their containers.
async fn check_uses(database: &Database) {
    let rows = sqlx::query(
        "SELECT image_use.containers, image_use.gone_at, (SELECT count(*) FROM container \
         WHERE container.image_use_id = image_use.id AND container.gone_at IS NULL) AS counted FROM image_use",
    );
    for row in rows.fetch_all(database.pool()).await.unwrap() {
        assert_eq!(row.get::<i64, _>("containers"), row.get::<i64, _>("counted"));
        assert_eq!(row.get::<i64, _>("containers") == 0, row.get::<Option<i64>, _>("gone_at").is_some());
    }
}

#[tokio::test]
async fn whatever_is_reported_the_rows_are_what_was_told_and_nothing_else() {
    for database in databases().await {
        let ingest = Ingest::new(database.clone());
        let mut random = fastrand::Rng::with_seed(7);
        let mut agent = Made::new(1);
        let mut model: BTreeMap<String, Pods> = BTreeMap::new();
        let mut unconfirmed: BTreeSet<(String, String)> = BTreeSet::new();
        for round in 0..120 {
            let mut told = Vec::new();
            for namespace in ["a", "b", "c"] {
                if random.u8(..8) == 0 {
                    // Not in the list, which is complete: it is gone.
                    model.remove(namespace);
                    unconfirmed.retain(|(scope, _)| scope != namespace);
                    continue;
                }
                let now = model.get(namespace).cloned().unwrap_or_default();
                told.push(tell(&mut random, namespace, now, &mut model, &mut unconfirmed));
            }
            let incoming = agent.report(&told, Coverage::Complete);
            let receipt = ingest.take(1, &incoming).await.unwrap();
            assert_eq!(receipt.outcome, Outcome::Accepted);
            if random.bool() {
                assert_eq!(ingest.take(1, &incoming).await.unwrap().outcome, Outcome::Known);
            }
            let expected = model
                .iter()
                .flat_map(|(scope, pods)| {
                    pods.iter().map(move |(pod, row)| ((scope.clone(), pod.clone()), row.clone()))
                })
                .collect();
            assert_eq!(rows(&database).await, (expected, unconfirmed.clone()), "round {round}");
            check_events(&database).await;
            check_uses(&database).await;
        }
    }
}

/// Lets something happen in a namespace, and tells it well or badly.
fn tell(
    random: &mut fastrand::Rng,
    namespace: &str,
    mut pods: Pods,
    model: &mut BTreeMap<String, Pods>,
    unconfirmed: &mut BTreeSet<(String, String)>,
) -> Told {
    let id = ScopeId::namespace(namespace);
    for _ in 0..random.usize(..4) {
        let pod = format!("{}-{}", ["web", "db"][random.usize(..2)], random.u8(..6));
        if random.u8(..3) == 0 {
            pods.remove(&pod);
        } else {
            let state = [ContainerState::Running, ContainerState::Waiting][random.usize(..2)];
            pods.insert(pod, (state, format!("nginx:{}", random.u8(..3))));
        }
    }
    match random.u8(..6) {
        0 => {
            let coverage = Coverage::Failed { reason: "no answer".into() };
            model.entry(namespace.to_owned()).or_default();
            (id, coverage, None)
        }
        1 => {
            let kept = model.entry(namespace.to_owned()).or_default();
            pods.retain(|_, _| random.bool());
            let was_known = !kept.is_empty() || unconfirmed.iter().any(|(scope, _)| scope == namespace);
            for (pod, row) in &pods {
                kept.insert(pod.clone(), row.clone());
                unconfirmed.remove(&(namespace.to_owned(), pod.clone()));
            }
            if was_known {
                let left = kept.keys().filter(|pod| !pods.contains_key(*pod));
                unconfirmed.extend(left.map(|pod| (namespace.to_owned(), pod.clone())));
            }
            (id, Coverage::Partial { reason: "the rest did not answer".into() }, Some(scope(&pods)))
        }
        _ => {
            unconfirmed.retain(|(scope, _)| scope != namespace);
            let told = scope(&pods);
            model.insert(namespace.to_owned(), pods);
            (id, Coverage::Complete, Some(told))
        }
    }
}

#[tokio::test]
async fn frames_of_the_protocol_are_read_with_dictionaries_from_the_database() {
    for database in databases().await {
        let ingest = Ingest::new(database.clone());
        let mut agent = Made::new(1);
        let pods = |state| Pods::from([("web-1".to_owned(), (state, "nginx:1".to_owned()))]);
        let told = |state| vec![(ScopeId::namespace("a"), Coverage::Complete, Some(scope(&pods(state))))];
        let first = agent.report(&told(ContainerState::Waiting), Coverage::Complete);
        let second = agent.report(&told(ContainerState::Running), Coverage::Complete);
        let parts = |incoming: &Incoming| {
            let manifest = incoming.manifest.clone().unwrap().1;
            (manifest, incoming.bodies.values().next().unwrap().clone())
        };
        let ((manifest, body), (next_manifest, next_body)) = (parts(&first), parts(&second));

        let mut bytes = Vec::new();
        append_frame(&mut bytes, &next_manifest, Some(&manifest)).unwrap();
        append_frame(&mut bytes, &next_body, Some(&body)).unwrap();
        let early = ingest.report(SENDER, None, bytes.clone().into()).await.unwrap_err();
        assert_eq!((early.status.as_u16(), early.kind), (409, problem::UNKNOWN_DICTIONARY));

        let mut alone = Vec::new();
        append_frame(&mut alone, &manifest, None).unwrap();
        let without_body = ingest.report(SENDER, None, alone.clone().into()).await.unwrap_err();
        assert_eq!((without_body.kind, without_body.digests.len()), (problem::MISSING_SCOPES, 1));
        let mut ahead = Vec::new();
        append_frame(&mut ahead, &body, None).unwrap();
        assert_eq!(ingest.scopes(SENDER, ahead.into()).await.unwrap().scopes, 1);
        assert_eq!(ingest.report(SENDER, None, alone.into()).await.unwrap().outcome, Outcome::Accepted);

        assert_eq!(ingest.report(SENDER, None, bytes.into()).await.unwrap().outcome, Outcome::Accepted);
        let present = rows(&database).await.0;
        assert_eq!(present[&("a".to_owned(), "web-1".to_owned())].0, ContainerState::Running);
        // Another account's documents are no dictionaries.
        let mut other = Vec::new();
        append_frame(&mut other, &next_manifest, Some(&manifest)).unwrap();
        assert!(ingest.report(Sender { account: 2, ..SENDER }, None, other.into()).await.is_err());
    }
}

#[tokio::test]
async fn what_partial_looks_keep_missing_keeps_its_time() {
    for database in databases().await {
        let ingest = Ingest::new(database.clone());
        let pod = |name: &str| (name.to_owned(), (ContainerState::Running, format!("{name}:1")));
        let all = Pods::from([pod("web-1"), pod("db-1")]);
        let mut agent = Made::new(1);
        let told = |pods: &Pods, coverage: Coverage| (ScopeId::namespace("a"), coverage, Some(scope(pods)));
        ingest.take(1, &agent.report(&[told(&all, Coverage::Complete)], Coverage::Complete)).await.unwrap();
        let seen_at = agent.now.as_millisecond();
        for state in [ContainerState::Waiting, ContainerState::Running, ContainerState::Waiting] {
            let part = Pods::from([("web-1".to_owned(), (state, "web-1:1".to_owned()))]);
            let coverage = Coverage::Partial { reason: "the rest did not answer".into() };
            ingest.take(1, &agent.report(&[told(&part, coverage)], Coverage::Complete)).await.unwrap();
            for table in ["container", "pod", "image_use", "workload"] {
                let text =
                    format!("SELECT last_seen_at FROM {table} WHERE last_seen_at IS NOT NULL AND gone_at IS NULL");
                let left: Vec<i64> =
                    sqlx::query_scalar(sqlx::AssertSqlSafe(text)).fetch_all(database.pool()).await.unwrap();
                assert_eq!(left, [seen_at], "{table}");
            }
        }
    }
}

/// Contexts of scopes that are there, with whether they follow their source.
async fn following(database: &Database) -> Vec<(String, i64)> {
    let rows = sqlx::query("SELECT context, follows FROM scope WHERE gone_at IS NULL ORDER BY context");
    let rows = rows.fetch_all(database.pool()).await.unwrap();
    rows.iter().map(|row| (row.get("context"), row.get("follows"))).collect()
}

#[tokio::test]
async fn what_a_source_saw_is_not_seen_again_by_one_that_cannot_look_or_looks_elsewhere() {
    for database in databases().await {
        let ingest = Ingest::new(database.clone());
        let pods = Pods::from([("web-1".to_owned(), (ContainerState::Running, "nginx:1".to_owned()))]);
        let told = [(ScopeId::namespace("a"), Coverage::Complete, Some(scope(&pods)))];
        let mut agent = Made::new(1);
        ingest.take(1, &agent.report(&told, Coverage::Complete)).await.unwrap();
        assert_eq!(following(&database).await, [("prod/a".to_owned(), 1)]);
        // It could not even ask who the runtime is.
        let mut blind = agent.report(&[], Coverage::Failed { reason: "no answer".into() });
        blind.report.sources[0].cluster = None;
        ingest.take(1, &blind).await.unwrap();
        assert_eq!(following(&database).await, [("prod/a".to_owned(), 0)]);
        assert_eq!(rows(&database).await.0.len(), 1, "failure is not emptiness");
        ingest.take(1, &agent.report(&told, Coverage::Complete)).await.unwrap();
        assert_eq!(following(&database).await, [("prod/a".to_owned(), 1)]);
        // The configuration names another cluster under the same name.
        let mut moved = agent.report(&told, Coverage::Complete);
        moved.report.sources[0].cluster = Some(Cluster { uid: Some("c-2".into()), name: Some("other".into()) });
        ingest.take(1, &moved).await.unwrap();
        assert_eq!(following(&database).await, [("other/a".to_owned(), 1)]);
        // And then none.
        let mut none = agent.report(&[], Coverage::Complete);
        none.report.sources.clear();
        ingest.take(1, &none).await.unwrap();
        assert_eq!(following(&database).await, [("other/a".to_owned(), 0)]);
        check_events(&database).await;
        check_uses(&database).await;
    }
}

#[tokio::test]
async fn labels_that_are_longer_than_an_index_takes_are_kept_whole() {
    for database in databases().await {
        let ingest = Ingest::new(database.clone());
        let mut random = fastrand::Rng::with_seed(1);
        let value: String = std::iter::repeat_with(|| random.alphanumeric()).take(4096).collect();
        let pods = Pods::from([("web-1".to_owned(), (ContainerState::Running, "nginx:1".to_owned()))]);
        let mut scope = scope(&pods);
        scope.containers[0].labels = [("key", value.as_str())].into();
        let told = [(ScopeId::namespace("a"), Coverage::Complete, Some(scope))];
        ingest.take(1, &Made::new(1).report(&told, Coverage::Complete)).await.unwrap();
        let labels: String =
            sqlx::query_scalar("SELECT labels FROM label_set").fetch_one(database.pool()).await.unwrap();
        assert!(labels.contains(&value));
    }
}

#[tokio::test]
async fn a_cluster_that_is_called_otherwise_takes_its_scopes_along_and_one_that_comes_back_is_the_same() {
    for database in databases().await {
        let ingest = Ingest::new(database.clone());
        let pods = Pods::from([("web-1".to_owned(), (ContainerState::Running, "nginx:1".to_owned()))]);
        let namespace = |name: &str| (ScopeId::namespace(name), Coverage::Complete, Some(scope(&pods)));
        let mut agent = Made::new(1);
        ingest.take(1, &agent.report(&[namespace("a"), namespace("b")], Coverage::Complete)).await.unwrap();
        let contexts = async || -> Vec<(i64, String, bool)> {
            let rows =
                sqlx::query("SELECT id, context, gone_at FROM scope ORDER BY context").fetch_all(database.pool());
            let gone = |row: &sqlx::any::AnyRow| row.get::<Option<i64>, _>("gone_at").is_some();
            rows.await.unwrap().iter().map(|row| (row.get("id"), row.get("context"), gone(row))).collect()
        };
        let before = contexts().await;
        assert_eq!(before.iter().map(|scope| scope.1.as_str()).collect::<Vec<_>>(), ["prod/a", "prod/b"]);
        // Nothing in the scopes is new.
        let mut renamed = agent.report(&[namespace("a")], Coverage::Complete);
        renamed.report.sources[0].cluster = Some(Cluster { uid: Some("c-1".into()), name: Some("shop".into()) });
        ingest.take(1, &renamed).await.unwrap();
        let [a, b] = [&before[0], &before[1]].map(|scope| scope.0);
        assert_eq!(contexts().await, [(a, "shop/a".to_owned(), false), (b, "shop/b".to_owned(), true)]);
        let mut back = agent.report(&[namespace("a"), namespace("b")], Coverage::Complete);
        back.report.sources[0].cluster.clone_from(&renamed.report.sources[0].cluster);
        ingest.take(1, &back).await.unwrap();
        assert_eq!(contexts().await, [(a, "shop/a".to_owned(), false), (b, "shop/b".to_owned(), false)]);
        assert_eq!(rows(&database).await.0.len(), 2);
    }
}
