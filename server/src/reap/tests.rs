#![allow(clippy::format_push_string, reason = "statements are put together")]

use sqlx::Row as _;

use super::*;
use crate::testing::databases;

/// 1000 days after the beginning of time.
const NOW: i64 = 1000 * DAY;

async fn run(database: &Database, text: &str) {
    let mut writing = database.write().await.unwrap();
    for statement in text.split(';').filter(|statement| !statement.trim().is_empty()) {
        sqlx::query(AssertSqlSafe(statement.to_owned())).execute(writing.connection()).await.unwrap();
    }
    writing.commit().await.unwrap();
}

async fn ids(database: &Database, table: &str) -> Vec<i64> {
    let text = format!("SELECT id FROM {table} ORDER BY id");
    let rows = sqlx::query(AssertSqlSafe(text)).fetch_all(database.pool()).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

async fn count(database: &Database, table: &str) -> i64 {
    let text = format!("SELECT count(*) FROM {table}");
    sqlx::query_scalar(AssertSqlSafe(text)).fetch_one(database.pool()).await.unwrap()
}

fn bytes(database: &Database, text: &str) -> String {
    match database.dialect() {
        Dialect::Sqlite => format!("X'{text}'"),
        Dialect::Postgres => format!("'\\x{text}'::bytea"),
    }
}

/// An account with a scope of a source that has a time to live of its own (2), and one of a source that has none (1).
async fn inventory(database: &Database) {
    let (told, base) = (bytes(database, "01"), bytes(database, "02"));
    let mut text = String::from("INSERT INTO account (id, name, created_at) VALUES (7, 'a', 0);");
    for (id, ttl) in [(1, "NULL"), (2, "900"), (3, "0")] {
        text += &format!(
            "INSERT INTO source (account_id, id, agent_id, place_id, collector, kind, observed_at, coverage, shown, warnings, ttl_days, \
             first_seen_at) VALUES (7, {id}, 1, 1, 'c{id}', 'docker', {NOW}, 'complete', '', '', {ttl}, 0);\
             INSERT INTO scope (account_id, id, place_id, source_id, collector, kind, scope_kind, name, context, coverage, counts, \
             told_digest, base_digest, follows, seen_at, first_seen_at, changed_at) VALUES (7, {id}, 1, {id}, 'c{id}', 'docker', \
             'host', 'h', 'h', 'complete', '', {told}, {base}, 1, 0, 0, 0);"
        );
    }
    run(database, &text).await;
}

fn app(database: &Database, ttl_days: i64, history_days: i64) -> App {
    App::usual(database.clone(), Retention { ttl_days, history_days, ..Retention::default() })
}

fn container(id: i64, scope: i64, image_use: i64, pod: &str, gone: &str) -> String {
    format!(
        "INSERT INTO container (account_id, id, scope_id, key, image_use_id, pod_id, name, kind, state, first_seen_at, gone_at) VALUES \
         (7, {id}, {scope}, {id}, {image_use}, {pod}, 'c', 0, 0, 0, {gone});"
    )
}

#[tokio::test]
async fn bodies_that_no_scope_names_go_after_an_hour() {
    for database in databases().await {
        inventory(&database).await;
        let mut text = String::new();
        for (digest, touched) in [("01", 0), ("02", 0), ("03", NOW - HOUR - 1), ("04", NOW - HOUR)] {
            let digest = bytes(&database, digest);
            text += &format!(
                "INSERT INTO body (account_id, digest, size, content, touched_at) VALUES (7, {digest}, 1, {digest}, {touched});"
            );
        }
        for (digest, sender) in [("03", 1), ("04", 1), ("04", 2)] {
            text += &format!("INSERT INTO body_sender VALUES (7, {}, {sender});", bytes(&database, digest));
        }
        let hash = bytes(&database, "01");
        text += &format!(
            "INSERT INTO api_token (account_id, id, name, hash, role, created_at) VALUES (9, 1, 'a', {hash}, 'inventory-agent', 0);"
        );
        run(&database, &text).await;
        assert_eq!(Reaper::new(&app(&database, 120, 400)).run(NOW).await.unwrap(), 3);
        let senders =
            sqlx::query("SELECT digest, credential FROM body_sender").fetch_all(database.pool()).await.unwrap();
        let senders: Vec<(Vec<u8>, i64)> = senders.iter().map(|row| (row.get(0), row.get(1))).collect();
        assert_eq!(senders, [(vec![4], 1)], "it goes with the body, and with the token");
        let rows = sqlx::query("SELECT digest FROM body ORDER BY digest").fetch_all(database.pool()).await.unwrap();
        assert_eq!(rows.iter().map(|row| row.get(0)).collect::<Vec<Vec<u8>>>(), [[1], [2], [4]]);
    }
}

#[tokio::test]
async fn history_goes_with_age() {
    for database in databases().await {
        inventory(&database).await;
        // More than a batch.
        let mut text = String::new();
        for id in 0..1200 {
            let at = if id < 1100 { NOW - 10 * DAY - 1 } else { NOW - 10 * DAY };
            text += &format!("INSERT INTO event VALUES (7, {id}, {at}, 1, 1, 1, 1, NULL);");
        }
        run(&database, &text).await;
        assert_eq!(Reaper::new(&app(&database, 120, 0)).run(NOW).await.unwrap(), 0, "history is kept for ever");
        assert_eq!(Reaper::new(&app(&database, 120, 10)).run(NOW).await.unwrap(), 1100);
        assert_eq!(ids(&database, "event").await, (1100..1200).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn what_is_gone_stays_for_as_long_as_it_counts_and_its_history_does() {
    for database in databases().await {
        inventory(&database).await;
        let (older, newer) = ((NOW - 500 * DAY - 1).to_string(), (NOW - 500 * DAY).to_string());
        let text = [
            container(1, 1, 9, "NULL", &older),
            container(2, 1, 9, "NULL", &newer),
            container(3, 1, 9, "NULL", "NULL"),
            container(4, 2, 9, "NULL", &older),
            container(5, 3, 9, "NULL", "0"),
            container(6, 2, 9, "NULL", &(NOW - 900 * DAY - 1).to_string()),
        ];
        run(&database, &text.concat()).await;
        for (ttl_days, history_days) in [(0, 10), (10, 0), (-1, 0)] {
            let mut reaper = Reaper::new(&app(&database, ttl_days, history_days));
            reaper.run(NOW).await.unwrap();
            assert!(ids(&database, "container").await.contains(&1), "{ttl_days} {history_days}");
        }
        Reaper::new(&app(&database, -1, 500)).run(NOW).await.unwrap();
        assert_eq!(ids(&database, "container").await, [2, 3, 4, 5]);
        Reaper::new(&app(&database, 499, 400)).run(NOW).await.unwrap();
        assert_eq!(ids(&database, "container").await, [3, 4, 5]);
    }
}

#[tokio::test]
async fn what_something_still_needs_stays() {
    for database in databases().await {
        inventory(&database).await;
        let image = bytes(&database, "aa");
        let text = format!(
            "INSERT INTO image (account_id, id, hash, identity, facts, first_seen_at) VALUES (7, 1, {image}, 'x', '', 0);\
             INSERT INTO image_name VALUES (7, 1, 'n', 'r', 't');\
             INSERT INTO image_use VALUES (7, 1, 1, 1, 1, 0, 0, 0, 0), (7, 2, 2, 1, 1, 0, 0, 0, NULL);\
             INSERT INTO pod (account_id, id, scope_id, key, uid, name, workload_id, first_seen_at, gone_at) VALUES \
             (7, 1, 1, 1, {image}, 'p', 1, 0, 0), (7, 2, 1, 2, {image}, 'p', 2, 0, NULL);\
             INSERT INTO workload (account_id, id, scope_id, key, kind, name, first_seen_at, gone_at) VALUES \
             (7, 1, 1, 1, 'Job', 'w', 0, 0), (7, 2, 1, 2, 'Job', 'w', 0, 0);\
             INSERT INTO node VALUES (7, 1, 1, 1, 'n', '', 0, NULL, 0), (7, 2, 1, 2, 'n', '', 0, NULL, NULL);\
             INSERT INTO namespace VALUES (7, 1, 1, 1, 'n', '', 0, NULL, 0);{}",
            container(1, 1, 1, "1", "NULL")
        );
        run(&database, &text).await;
        let app = app(&database, 120, 400);
        let mut reaper = Reaper::new(&app);
        reaper.run(NOW).await.unwrap();
        assert_eq!(ids(&database, "image_use").await, [1, 2], "a container has it");
        assert_eq!(ids(&database, "pod").await, [1, 2], "a container is in it");
        assert_eq!(ids(&database, "workload").await, [2], "a pod that is there is of it");
        assert_eq!(ids(&database, "node").await, [2]);
        assert_eq!(count(&database, "namespace").await, 0);
        run(&database, "UPDATE container SET gone_at = 0").await;
        reaper.run(NOW).await.unwrap();
        assert_eq!(ids(&database, "image_use").await, [2]);
        assert_eq!(ids(&database, "pod").await, [2]);
        let (page, _) = app.metrics.exposed(&database, &[], false).unwrap();
        assert!(page.contains("stocktake_server_rows_reaped_total{table=\"pod\"} 1"), "{page}");
    }
}

#[tokio::test]
async fn images_that_are_used_nowhere_go_with_all_they_are_found_by() {
    for database in databases().await {
        inventory(&database).await;
        let mut text = String::from("INSERT INTO image_name VALUES (7, 1, 'n', 'r', 't');");
        for (id, hash, seen) in [(1, "01", 0), (2, "02", 0), (3, "03", 0)] {
            let hash = bytes(&database, hash);
            text += &format!(
                "INSERT INTO image (account_id, id, hash, identity, facts, first_seen_at) VALUES (7, {id}, {hash}, 'x', '', {seen});\
                 INSERT INTO image_digest VALUES (7, 'sha256:1', {id}, 'manifest');\
                 INSERT INTO image_tag VALUES (7, 'r', 't', {id});"
            );
        }
        text += "INSERT INTO image_use VALUES (7, 1, 1, 1, 1, 0, 0, 0, NULL)";
        run(&database, &text).await;
        let mut reaper = Reaper::new(&app(&database, 120, 400));
        assert_eq!(reaper.run(NOW).await.unwrap(), 0);
        run(&database, "INSERT INTO image_use VALUES (7, 2, 1, 3, 1, 0, 0, 0, NULL)").await;
        assert_eq!(reaper.run(NOW + DAY).await.unwrap(), 3);
        assert_eq!(ids(&database, "image").await, [1, 3]);
        assert_eq!((count(&database, "image_digest").await, count(&database, "image_tag").await), (2, 2));
    }
}

#[tokio::test]
async fn names_and_labels_go_if_nothing_has_used_them_for_a_day() {
    for database in databases().await {
        inventory(&database).await;
        let (uid, image) = (bytes(&database, "01"), bytes(&database, "02"));
        let mut text = format!(
            "INSERT INTO image (account_id, id, hash, identity, facts, first_seen_at) VALUES (7, 1, {image}, 'x', '', 0);\
             INSERT INTO pod (account_id, id, scope_id, key, uid, name, labels_id, first_seen_at, gone_at) VALUES \
             (7, 1, 1, 1, {uid}, 'p', 1, 0, {NOW});"
        );
        for id in 1..=4 {
            let hash = bytes(&database, &format!("0{id}"));
            text += &format!(
                "INSERT INTO image_name VALUES (7, {id}, 'n{id}', 'r', 't');\
                 INSERT INTO label_set VALUES (7, {id}, {hash}, '');INSERT INTO label VALUES (7, 'k', 'v', {id});"
            );
        }
        text += "INSERT INTO image_use VALUES (7, 1, 1, 1, 1, 0, 0, 0, NULL)";
        run(&database, &text).await;
        let mut reaper = Reaper::new(&app(&database, 120, 400));
        assert_eq!(reaper.run(NOW).await.unwrap(), 0);
        assert_eq!(reaper.run(NOW + DAY - 1).await.unwrap(), 0);
        // The third comes into use meanwhile.
        let used = format!(
            "INSERT INTO image_use VALUES (7, 2, 1, 1, 3, 0, 0, 0, NULL);\
             INSERT INTO pod (account_id, id, scope_id, key, uid, name, labels_id, first_seen_at) VALUES (7, 2, 1, 2, {uid}, 'p', 3, 0)"
        );
        run(&database, &used).await;
        assert_eq!(reaper.run(NOW + DAY).await.unwrap(), 6, "two names, two sets and their labels");
        assert_eq!(ids(&database, "image_name").await, [1, 3]);
        assert_eq!(ids(&database, "label_set").await, [1, 3]);
        assert_eq!(count(&database, "label").await, 2);
    }
}

#[tokio::test]
async fn what_is_seen_once_is_no_longer_noted_as_seen_by_several() {
    for database in databases().await {
        inventory(&database).await;
        let [twice, once, never] = ["0301", "0302", "0303"].map(|id| bytes(&database, id));
        let mut text = format!("INSERT INTO shared_container VALUES (7, {twice}), (7, {once}), (7, {never});");
        for (id, runtime_id) in [(1, &twice), (2, &twice), (3, &once)] {
            text += &container(id, 1, 1, "NULL", "NULL");
            text += &format!("UPDATE container SET runtime_id = {runtime_id} WHERE id = {id};");
        }
        run(&database, &text).await;
        Reaper::new(&app(&database, 120, 400)).run(NOW).await.unwrap();
        let left = sqlx::query_scalar("SELECT runtime_id FROM shared_container").fetch_all(database.pool());
        let left: Vec<Vec<u8>> = left.await.unwrap();
        assert_eq!(left, [[3, 1]]);
    }
}

#[tokio::test]
async fn one_replica_removes_at_a_time() {
    for database in databases().await.into_iter().filter(|database| database.dialect() == Dialect::Postgres) {
        inventory(&database).await;
        run(&database, "INSERT INTO event VALUES (7, 1, 0, 1, 1, 1, 1, NULL)").await;
        let mut other = database.read().await.unwrap();
        sqlx::query("SELECT 1 FROM pg_advisory_lock($1)").bind(LOCK).execute(&mut *other).await.unwrap();
        let mut reaper = Reaper::new(&app(&database, 120, 400));
        assert_eq!(reaper.run(NOW).await.unwrap(), 0);
        sqlx::query("SELECT 1 FROM pg_advisory_unlock($1)").bind(LOCK).execute(&mut *other).await.unwrap();
        assert_eq!(reaper.run(NOW).await.unwrap(), 1);
        assert_eq!(reaper.run(NOW).await.unwrap(), 0, "the lock is given back");
    }
}

#[tokio::test]
async fn what_nobody_tells_of_any_more_goes_with_its_scope() {
    for database in databases().await {
        inventory(&database).await;
        // All sources were heard of at the beginning of time: 1 counts as usual, 2 for 900 days, 3 for ever.
        let rows = [1, 2, 3].map(|scope| container(scope, scope, 9, "NULL", "NULL")).concat();
        run(&database, &(rows + "UPDATE source SET observed_at = 0;")).await;
        Reaper::new(&app(&database, -1, 400)).run(NOW).await.unwrap();
        assert_eq!(ids(&database, "scope").await, [1, 3], "-1: until a report says otherwise");
        Reaper::new(&app(&database, 120, 1001)).run(NOW).await.unwrap();
        assert_eq!(ids(&database, "container").await, [1, 3], "as long as its history is kept");
        Reaper::new(&app(&database, 120, 400)).run(NOW).await.unwrap();
        assert_eq!((ids(&database, "scope").await, ids(&database, "container").await), (vec![3], vec![3]));
    }
}

#[tokio::test]
async fn who_did_what_which_bundles_came_and_what_was_not_taken_is_kept_for_so_long() {
    for database in databases().await {
        inventory(&database).await;
        let mut text = String::new();
        for (id, at) in [(1, NOW - 400 * DAY - 1), (2, NOW - 400 * DAY)] {
            text += &format!("INSERT INTO audit VALUES (7, {at}, {id}, 'w', NULL, 'a', 'o', 'ok');");
            text += &format!("INSERT INTO bundle VALUES (7, '{id}', {at});");
            text += &format!("INSERT INTO dead_letter VALUES (7, 1, {id}, {id}, {at}, 'r', 0);");
        }
        run(&database, &text).await;
        Reaper::new(&app(&database, 0, 400)).run(NOW).await.unwrap();
        assert_eq!(ids(&database, "audit").await, [2]);
        assert_eq!(count(&database, "bundle").await, 1);
        assert_eq!(count(&database, "dead_letter").await, 1);
    }
}
