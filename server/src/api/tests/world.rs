//! A small inventory that was written by hand: a cluster `prod`, a Docker host `h1`, and the cluster's node `node-1` as a
//! collector on it sees it; and another account that has one container, the same as one of these.

use std::marker::PhantomData;

use axum::extract::Query;

use crate::{
    api::{
        answer::{Page, View},
        asked::{Asked, Asks, Cursor},
    },
    app::{App, Retention},
    database::{Database, Dialect},
    http::Problem,
    testing::databases,
    words,
};

pub(super) const HOUR: i64 = 3_600_000;
pub(super) const DAY: i64 = 24 * HOUR;

pub(super) const INDEX: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";
pub(super) const MANIFEST: &str = "sha256:2222222222222222222222222222222222222222222222222222222222222222";
pub(super) const CONFIG: &str = "sha256:3333333333333333333333333333333333333333333333333333333333333333";
pub(super) const REDIS: &str = "sha256:4444444444444444444444444444444444444444444444444444444444444444";
pub(super) const REPO: &str = "sha256:5555555555555555555555555555555555555555555555555555555555555555";

pub(super) struct World {
    pub(super) app: App,
    pub(super) now: i64,
}

/// One in each database.
pub(super) async fn worlds() -> Vec<World> {
    let mut worlds = Vec::new();
    for database in databases().await {
        let now = crate::api::answer::now();
        let world = World { app: App::usual(database, Retention::default()), now };
        world.fill().await;
        worlds.push(world);
    }
    worlds
}

/// The parameters of a view.
pub(super) fn asked<V: View>(query: &str) -> Result<Asked, Problem> {
    let uri = format!("/?{query}").parse().unwrap();
    let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(&uri).unwrap();
    let Asks(asked, ..) = Asks::<V>(Asked::read(pairs, V::TAKES)?, PhantomData);
    Ok(asked)
}

impl World {
    pub(super) async fn run(&self, statements: &str) {
        run(&self.app.database, statements).await;
    }

    /// What an account is answered.
    pub(super) async fn ask<V: View>(&self, account: i64, query: &str) -> Page<V::Line> {
        V::page(&self.app, account, &asked::<V>(query).unwrap()).await.unwrap()
    }

    /// All pages, and how many there were.
    pub(super) async fn all<V: View>(&self, query: &str) -> (Vec<V::Line>, usize) {
        let (mut lines, mut pages, mut asked) = (Vec::new(), 0, asked::<V>(query).unwrap());
        loop {
            let page = V::page(&self.app, 1, &asked).await.unwrap();
            lines.extend(page.items);
            pages += 1;
            let Some(next) = page.next else { return (lines, pages) };
            // As a client would: it has only the text.
            let query = format!("{query}&after={}", Cursor::text(&next));
            asked = super::world::asked::<V>(&query).unwrap();
        }
    }

    pub(super) fn with_ttl(&self, ttl_days: i64) -> Self {
        let retention = Retention { ttl_days, ..Retention::default() };
        Self { app: App { retention, ..self.app.clone() }, now: self.now }
    }

    /// Bytes as this database writes them.
    pub(super) fn blob(&self, bytes: &[u8]) -> String {
        let hex = words::hex(bytes);
        match self.app.database.dialect() {
            Dialect::Sqlite => format!("X'{hex}'"),
            Dialect::Postgres => format!("'\\x{hex}'::bytea"),
        }
    }

    async fn fill(&self) {
        self.sources(1, 0).await;
        self.sources(2, 100).await;
        self.images(1, 0).await;
        self.images(2, 100).await;
        self.rows().await;
        let twin = self.blob(&words::pack(RUNTIME_ID));
        self.run(&format!(
            "INSERT INTO image_use VALUES (2, 141, 111, 121, 131, 1, 5, NULL, NULL);
             INSERT INTO pod (account_id, id, scope_id, key, uid, name, node_name, labels_id, first_seen_at)
               VALUES (2, 171, 111, 1, {twin}, 'web-1', 'node-1', 151, 5);
             INSERT INTO container (account_id, id, scope_id, key, image_use_id, pod_id, runtime_id, name, kind, state, first_seen_at)
               VALUES (2, 181, 111, 1, 141, 171, {twin}, 'nginx', 0, 2, 5);
             INSERT INTO event VALUES (2, 101, 5, 1, 1, 181, 111, NULL);"
        ))
        .await;
    }

    async fn sources(&self, account: i64, plus: i64) {
        let (now, recently, long_ago, days_ago) =
            (self.now, self.now - 60_000, self.now - 2 * HOUR, self.now - 2 * DAY);
        let agent = "agent (account_id, id, uuid, kind, version, runs, report_id, reported_at, received_at, valid_for, first_seen_at, revision)";
        let source = "source (account_id, id, agent_id, place_id, collector, kind, observed_at, coverage, shown, warnings, first_seen_at)";
        let scope = "scope (account_id, id, place_id, source_id, collector, kind, scope_kind, name, context, coverage, counts, follows, seen_at, first_seen_at, changed_at)";
        let id = |id: i64| id + plus;
        self.run(&format!(
            "INSERT INTO {agent} VALUES ({account}, {a1}, 'a1', 'stocktake', '1', '{{}}', 'r', {now}, {recently}, {HOUR}, 1, 1),
               ({account}, {a2}, 'a2', 'stocktake', '1', '{{}}', 'r', {now}, {long_ago}, {HOUR}, 1, 1),
               ({account}, {a3}, 'a3', 'stocktake', '1', '{{}}', 'r', {now}, {recently}, NULL, 1, 1);
             INSERT INTO place VALUES ({account}, {a1}, 'cluster', 'uid', 'prod'), ({account}, {a2}, 'host', 'm1', 'h1'),
               ({account}, {a3}, 'host', 'm2', 'node-1');
             INSERT INTO {source} VALUES ({account}, {a1}, {a1}, {a1}, 'kubernetes', 'kubernetes', {recently}, 'complete', 'all', '[]', 1),
               ({account}, {a2}, {a2}, {a2}, 'docker', 'docker', {long_ago}, 'complete', 'all', '[]', 1),
               ({account}, {a3}, {a3}, {a3}, 'containerd', 'containerd', {recently}, 'complete', 'all', '[\"slow\"]', 1);
             INSERT INTO {scope} VALUES
               ({account}, {web}, {a1}, {a1}, 'kubernetes', 'kubernetes', 'namespace', 'web', 'prod/web', 'complete', '{{}}', 1, 1, 1, 1),
               ({account}, {db}, {a1}, {a1}, 'kubernetes', 'kubernetes', 'namespace', 'db', 'prod/db', 'partial', '{{}}', 0, {days_ago}, 1, 1),
               ({account}, {h1}, {a2}, {a2}, 'docker', 'docker', 'host', 'h1', 'h1', 'complete', '{{}}', 1, 1, 1, 1),
               ({account}, {node}, {a3}, {a3}, 'containerd', 'containerd', 'namespace', 'k8s.io', 'node-1/k8s.io', 'complete', '{{}}', 1, 1, 1, 1);",
            a1 = id(1), a2 = id(2), a3 = id(3), web = id(11), db = id(12), h1 = id(13), node = id(14),
        ))
        .await;
    }

    async fn images(&self, account: i64, plus: i64) {
        let id = |id: i64| id + plus;
        let known = |digest: &str| format!(r#"{{"digest":"{digest}","from":"a_test"}}"#);
        let none = r#"{"missing":"not_reported"}"#;
        let facts = |index: &str, manifest: &str, config: &str| {
            format!(r#"{{"index_digest":{index},"manifest_digest":{manifest},"config_digest":{config}}}"#)
        };
        let (hash, hash2, hash3) = (self.blob(b"1"), self.blob(b"2"), self.blob(b"3"));
        self.run(&format!(
            "INSERT INTO image VALUES
               ({account}, {n}, {hash}, '{MANIFEST}', '{INDEX}', '{MANIFEST}', '{CONFIG}', 'linux/amd64', 10, '{}', 1),
               ({account}, {d}, {hash2}, '{MANIFEST}', NULL, NULL, '{CONFIG}', NULL, 20, '{}', 1),
               ({account}, {r}, {hash3}, '{REDIS}', NULL, '{REDIS}', NULL, NULL, NULL, '{}', 1);
             INSERT INTO image_digest VALUES ({account}, '{INDEX}', {n}, 'index'), ({account}, '{MANIFEST}', {n}, 'manifest'),
               ({account}, '{CONFIG}', {n}, 'config'), ({account}, '{CONFIG}', {d}, 'config'), ({account}, '{REPO}', {d}, 'repo'),
               ({account}, '{REDIS}', {r}, 'manifest'), ({account}, '{REDIS}', {r}, 'repo');
             INSERT INTO image_tag VALUES ({account}, 'docker.io/library/nginx', '1.25', {n}),
               ({account}, 'docker.io/library/redis', '7', {r}), ({account}, 'docker.io/library/redis', 'stable', {r});
             INSERT INTO image_name VALUES ({account}, {n1}, 'nginx:1.25', 'docker.io/library/nginx', '1.25'),
               ({account}, {n2}, 'redis:7', 'docker.io/library/redis', '7'),
               ({account}, {n3}, 'reg.example/x/cache:2', 'reg.example/x/cache', '2');
             INSERT INTO label_set VALUES ({account}, {l1}, {hash}, '{{\"app\":\"web\",\"tier\":\"a=b\"}}'),
               ({account}, {l2}, {hash2}, '{{\"app\":\"db\"}}');
             INSERT INTO label VALUES ({account}, 'app', 'web', {l1}), ({account}, 'tier', 'a=b', {l1}), ({account}, 'app', 'db', {l2});",
            facts(&known(INDEX), &known(MANIFEST), &known(CONFIG)),
            facts(none, none, &known(CONFIG)),
            facts(none, &known(REDIS), none),
            n = id(21), d = id(22), r = id(23), n1 = id(31), n2 = id(32), n3 = id(33), l1 = id(51), l2 = id(52),
        ))
        .await;
    }

    async fn rows(&self) {
        let (now, days_ago) = (self.now, self.now - 2 * DAY);
        let (one, two, three) =
            (self.blob(&words::pack(RUNTIME_ID)), self.blob(&words::pack(LOOKALIKE)), self.blob(&words::pack("dd00")));
        let pod = "pod (account_id, id, scope_id, key, uid, name, namespace, node_name, workload_id, labels_id, first_seen_at, last_seen_at, gone_at)";
        let container = "container (account_id, id, scope_id, key, image_use_id, pod_id, workload_id, labels_id, runtime_id, name, kind, state, first_seen_at, last_seen_at, gone_at)";
        self.run(&format!(
            "INSERT INTO image_use VALUES (1, 41, 11, 21, 31, 3, 5, NULL, NULL), (1, 42, 12, 23, 32, 1, 5, NULL, NULL),
               (1, 43, 13, 22, 31, 1, 5, NULL, NULL), (1, 44, 14, 21, 31, 1, 5, NULL, NULL), (1, 45, 13, 23, 33, 1, 5, NULL, NULL),
               (1, 46, 11, 23, 32, 0, 5, {days_ago}, {gone});
             INSERT INTO workload VALUES (1, 61, 11, 1, 'Deployment', 'web', NULL, 'apps/v1', 'u', 5, NULL, NULL),
               (1, 62, 12, 2, 'StatefulSet', 'db', NULL, 'apps/v1', 'u', 5, NULL, NULL);
             INSERT INTO {pod} VALUES (1, 71, 11, 1, {one}, 'web-1', NULL, 'node-1', 61, 51, 5, NULL, NULL),
               (1, 72, 11, 2, {two}, 'web-2', NULL, 'node-2', 61, 51, 5, NULL, NULL),
               (1, 73, 12, 3, {three}, 'db-0', NULL, 'node-2', 62, NULL, 5, NULL, NULL),
               (1, 74, 14, 4, {one}, 'web-1', 'web', NULL, NULL, NULL, 5, NULL, NULL);
             INSERT INTO {container} VALUES
               (1, 81, 11, 1, 41, 71, 61, NULL, {one}, 'nginx', 0, 2, 5, NULL, NULL),
               (1, 82, 11, 2, 41, 72, 61, NULL, NULL, 'nginx', 0, 0, 5, NULL, NULL),
               (1, 83, 12, 3, 42, 73, 62, NULL, {three}, 'redis', 0, 2, 5, NULL, NULL),
               (1, 84, 13, 4, 43, NULL, NULL, 52, NULL, 'alone', 0, 2, 5, NULL, NULL),
               (1, 85, 14, 5, 44, 74, NULL, NULL, {one}, 'nginx', 0, 2, 5, NULL, NULL),
               (1, 86, 11, 6, 46, NULL, NULL, NULL, NULL, 'old', 0, 5, 5, {days_ago}, {gone}),
               (1, 87, 11, 7, 41, 71, 61, NULL, NULL, 'setup', 1, 5, {days_ago}, {missed}, NULL),
               (1, 88, 13, 8, 45, NULL, NULL, NULL, {two}, 'cache', 0, 2, 5, NULL, NULL);
             INSERT INTO shared_container VALUES (1, {one});
             INSERT INTO event VALUES (1, 1, {days_ago}, 1, 1, 81, 11, NULL), (1, 2, {gone}, 2, 1, 86, 11, NULL),
               (1, 3, {gone}, 2, 2, 46, 11, NULL), (1, 4, {now}, 3, 1, 83, 12, '{{\"state\":[\"waiting\",\"running\"]}}'),
               (1, 5, {now}, 1, 1, 999, 12, NULL);",
            gone = self.now - DAY,
            missed = self.now - 3 * HOUR,
        ))
        .await;
    }
}

pub(super) const RUNTIME_ID: &str = "aabbccddeeff00112233445566778899aabbccddeeff00112233445566778899";
/// Begins like the other.
const LOOKALIKE: &str = "aabbccddeeff0011999999999999999999999999999999999999999999999999";

async fn run(database: &Database, statements: &str) {
    sqlx::raw_sql(sqlx::AssertSqlSafe(statements.to_owned())).execute(database.pool()).await.unwrap();
}
