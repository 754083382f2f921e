//! Who looks, when, and who takes over.

use std::time::Duration;

use axum::http::StatusCode;
use futures_util::future::join_all;

use super::*;
use crate::{
    agentless::{
        SHELF,
        lease::{self, Looker, Which, finish, renew},
        store::{self, Extent, Latest, Said, Source},
    },
    database::{Database, DatabaseError},
    secrets::{KeySource, Rotated, Sealed, Vault, rotate},
    testing::KEY,
};

/// How long a look may take.
const TIMEOUT: Duration = Duration::from_mins(1);

async fn run(database: &Database, text: &'static str) {
    sqlx::query(text).execute(database.pool()).await.unwrap();
}

/// What a look came to.
fn latest() -> Latest {
    Latest {
        at: 0,
        took: 5,
        coverage: "complete".into(),
        reason: None,
        scopes: "{\"complete\":2}".into(),
        warnings: "[\"less than it could be\"]".into(),
        seen_as: None,
    }
}

/// Takes what is due, with every key that there is.
async fn take(database: &Database, by: &str, which: Which, most: usize) -> Result<Vec<Source>, DatabaseError> {
    let rows = sqlx::query("SELECT DISTINCT key_id FROM agentless WHERE key_id IS NOT NULL").fetch_all(database.pool());
    let keys: Vec<String> = rows.await.unwrap().iter().map(|row| sqlx::Row::get(row, 0)).collect();
    lease::take(database, Looker { by, keys: &keys, timeout: TIMEOUT }, which, most).await
}

async fn taken(database: &Database, by: &str) -> Option<Source> {
    let mut sound = take(database, by, Which::Sound, 10).await.unwrap();
    sound.extend(take(database, by, Which::Failing, 10).await.unwrap());
    assert!(sound.len() < 2);
    sound.pop()
}

#[tokio::test]
async fn one_looks_and_another_takes_over_when_its_lease_has_ended() {
    for served in Served::all().await {
        let database = &served.app.database;
        add(&served, nobody("prod")).await;
        let first = taken(database, "a").await.expect("it is due");
        assert_eq!((first.looks, first.name.as_str()), (1, "prod"));
        assert!(taken(database, "b").await.is_none(), "somebody looks");
        assert!(renew(database, "a", &first).await.unwrap());
        assert!(!renew(database, "b", &first).await.unwrap());
        let status = served.get(SOURCES, &admin()).await.json();
        assert_eq!(status["items"][0]["status"]["looking"], true);

        // As if it were killed half a minute ago.
        run(database, "UPDATE agentless SET lease_until = lease_until - 31000").await;
        let second = taken(database, "b").await.expect("nobody looks any more");
        assert_eq!(second.looks, 2, "its report is the newer one");
        assert!(!renew(database, "a", &first).await.unwrap(), "it was taken over");
        assert!(!finish(database, "a", &first, &latest(), (true, Duration::ZERO)).await.unwrap());
        assert!(finish(database, "b", &second, &latest(), (true, Duration::from_mins(5))).await.unwrap());
        assert!(taken(database, "a").await.is_none(), "it is not due for five minutes");
        let status = served.get(SOURCES, &admin()).await.json()["items"][0]["status"].clone();
        assert_eq!((&status["looking"], &status["coverage"]), (&json!(false), &json!("complete")));
        assert_eq!(
            (&status["scopes"], &status["warnings"]),
            (&json!({"complete": 2}), &json!(["less than it could be"]))
        );
        assert!(status["next_look_at"].as_str().unwrap() > status["looked_at"].as_str().unwrap(), "{status}");
        assert_eq!(status["looked_at"], status["seen_at"]);
    }
}

/// A lease has to end, be noticed and be taken within the minute that is promised.
#[test]
fn a_killed_servers_work_is_taken_over_within_a_minute() {
    assert!(lease::LASTS + Duration::from_secs(10) < Duration::from_mins(1));
    assert!(2 * lease::RENEWED < lease::LASTS);
}

#[tokio::test]
async fn many_servers_take_each_source_once() {
    for served in Served::all().await {
        for number in 0..20 {
            add(&served, nobody(&format!("cluster-{number}"))).await;
        }
        let database = &served.app.database;
        let servers = (0..8).map(|number| async move {
            let name = number.to_string();
            let (mut all, mut some) = (Vec::new(), 1);
            while some > 0 {
                let taken = take(database, &name, Which::Sound, 2).await.unwrap();
                some = taken.len();
                all.extend(taken);
            }
            all
        });
        let mut ids: Vec<i64> = join_all(servers).await.into_iter().flatten().map(|source| source.id).collect();
        let found = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), found, "no source is taken twice");
        // Who finds that another one was quicker takes what is left the next time.
        let left = take(database, "last", Which::Sound, 20).await.unwrap().len();
        assert_eq!(found + left, 20);
    }
}

#[tokio::test]
async fn what_is_changed_removed_or_disabled_is_no_longer_theirs() {
    for served in Served::all().await {
        let (database, path) = (&served.app.database, format!("{SOURCES}/prod"));
        add(&served, nobody("prod")).await;
        let source = taken(database, "a").await.unwrap();
        served.ask("PATCH", &path, &admin(), json!({"interval_seconds": 60})).await;
        assert!(!renew(database, "a", &source).await.unwrap());
        let source = taken(database, "a").await.expect("it is looked at as it is now");
        assert_eq!((source.interval, source.looks), (60, 2));
        served.ask("PATCH", &path, &admin(), json!({"enabled": false})).await;
        assert!(!renew(database, "a", &source).await.unwrap());
        assert!(taken(database, "a").await.is_none(), "it is disabled");
        served.ask("PATCH", &path, &admin(), json!({"enabled": true})).await;
        let source = taken(database, "a").await.unwrap();
        served.ask("DELETE", &path, &admin(), Value::Null).await;
        assert!(!finish(database, "a", &source, &latest(), (true, Duration::ZERO)).await.unwrap());
    }
}

#[tokio::test]
async fn what_fails_is_told_from_what_does_not() {
    for served in Served::all().await {
        let database = &served.app.database;
        add(&served, nobody("prod")).await;
        for failures in 1..3 {
            let source = taken(database, "a").await.unwrap();
            assert!(finish(database, "a", &source, &latest(), (false, Duration::ZERO)).await.unwrap());
            assert!(take(database, "a", Which::Sound, 1).await.unwrap().is_empty());
            let status = served.get(SOURCES, &admin()).await.json()["items"][0]["status"].clone();
            assert_eq!((&status["failures"], &status["seen_at"]), (&json!(failures), &Value::Null));
        }
        let source = take(database, "a", Which::Failing, 1).await.unwrap().swap_remove(0);
        assert!(finish(database, "a", &source, &latest(), (true, Duration::ZERO)).await.unwrap());
        assert!(take(database, "a", Which::Failing, 1).await.unwrap().is_empty());
        assert_eq!(take(database, "a", Which::Sound, 1).await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn all_credentials_get_another_key_in_one_go() {
    for served in Served::all().await {
        let database = &served.app.database;
        for number in 0..250 {
            add(&served, nobody(&format!("cluster-{number}"))).await;
        }
        let keys = |keys: &str| Vault::new(KeySource::Environment(keys.to_owned().into()));
        let new = "a".repeat(64);
        let sealed = async || -> Vec<Source> { take(database, "a", Which::Sound, 1000).await.unwrap() };
        let both = keys(&format!("{new} {KEY}"));
        let rotated = rotate(database, &both, &[&SHELF]).await.unwrap();
        assert_eq!((rotated.done, rotated.unreadable.len()), (250, 0));
        assert_eq!(rotate(database, &both, &[&SHELF]).await.unwrap().done, 0, "all have it already");
        let (sources, only) = (sealed().await, keys(&new));
        assert_eq!(sources.len(), 250);
        for source in &sources {
            let secret = only.open(source.bound(), source.sealed.as_ref().unwrap()).unwrap();
            assert_eq!(secrecy::ExposeSecret::expose_secret(&secret), TOKEN);
        }
        // Without the key that has encrypted them, all are named, and none is lost.
        let Rotated { done, unreadable } = rotate(database, &keys(&"b".repeat(64)), &[&SHELF]).await.unwrap();
        assert_eq!((done, unreadable.len()), (0, 250));
        let Sealed { key_id, .. } = sources[0].sealed.clone().unwrap();
        assert!(
            unreadable[0].why.contains(&key_id) && unreadable[0].of.starts_with("source `cluster-"),
            "{:?}",
            unreadable[0]
        );
    }
}

#[tokio::test]
async fn what_nobody_can_read_is_in_nobodys_way() {
    for served in Served::all().await {
        let database = &served.app.database;
        for name in ["bad", "other", "prod"] {
            add(&served, nobody(name)).await;
        }
        run(database, "UPDATE agentless SET kind = 'podman', next_at = 0 WHERE name = 'bad'").await;
        run(database, "UPDATE agentless SET selection = '[]', next_at = 0 WHERE name = 'other'").await;
        let names = |sources: Vec<Source>| sources.into_iter().map(|source| source.name).collect::<Vec<_>>();
        assert_eq!(names(take(database, "a", Which::Sound, 3).await.unwrap()), ["prod"]);
        run(database, "UPDATE agentless SET lease_until = NULL").await;
        assert_eq!(names(take(database, "a", Which::Sound, 1).await.unwrap()), ["prod"], "the others are put off");
        let all = served.get(SOURCES, &admin()).await.json();
        assert_eq!((all["items"].as_array().unwrap().len(), &all["items"][0]["name"]), (1, &json!("prod")));
        let bad = served.get(&format!("{SOURCES}/bad"), &admin()).await;
        assert!(bad.status == StatusCode::CONFLICT && bad.text.contains("store it again"), "{}", bad.text);
        let keys = Vault::new(KeySource::Environment(format!("{} {KEY}", "a".repeat(64)).into()));
        assert_eq!(rotate(database, &keys, &[&SHELF]).await.unwrap(), Rotated { done: 3, unreadable: Vec::new() });
        let gone = served.ask("DELETE", &format!("{SOURCES}/bad"), &admin(), Value::Null).await;
        assert_eq!(gone.status, StatusCode::NO_CONTENT);
    }
}

#[tokio::test]
async fn only_what_is_said_is_changed_and_only_of_what_was_meant() {
    for served in Served::all().await {
        let (database, path) = (&served.app.database, format!("{SOURCES}/prod"));
        add(&served, nobody("prod")).await;
        let read = taken(database, "a").await.unwrap();
        let update = async |extent, interval, is_enabled| {
            let said = Said { name: "prod", target: &read.target, sealed: None, interval, is_enabled };
            let mut writing = database.write().await.unwrap();
            let place = (read.account, read.id);
            let changed = store::update(database, writing.connection(), place, (extent, said)).await.unwrap();
            writing.commit().await.unwrap();
            changed.map(|source| (source.interval, source.is_enabled))
        };
        assert_eq!(update(Extent::Schedule, None, Some(false)).await, Some((300, false)));
        assert_eq!(update(Extent::Schedule, Some(60), None).await, Some((60, false)));
        assert_eq!(update(Extent::Selection, None, Some(true)).await, Some((60, true)));
        let mut other = nobody("prod");
        other["kubernetes"]["server"] = json!("https://127.0.0.1:2");
        let other = json!({"kubernetes": other["kubernetes"]});
        assert_eq!(served.ask("PATCH", &path, &admin(), other).await.status, StatusCode::OK);
        assert_eq!(update(Extent::Selection, None, None).await, None, "it leads elsewhere by now");
    }
}

#[tokio::test]
async fn a_server_looks_at_what_it_has_the_key_of() {
    for served in Served::all().await {
        let database = &served.app.database;
        add(&served, nobody("prod")).await;
        let certificate = Cluster::new().await.certificate().to_owned();
        let docker = json!({"host": "tcp://127.0.0.1:1", "certificate_authority": certificate});
        let made = add(&served, json!({"name": "host", "docker": docker})).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
        let other = ["0123456789abcdef".to_owned()];
        for keys in [&other[..], &[]] {
            assert_eq!(lease::locked(database, keys).await.unwrap(), 1);
            let looker = Looker { by: "a", keys, timeout: TIMEOUT };
            let taken = lease::take(database, looker, Which::Sound, 10).await.unwrap();
            assert_eq!(taken.iter().map(|source| source.name.as_str()).collect::<Vec<_>>(), ["host"]);
            run(database, "UPDATE agentless SET lease_until = NULL").await;
        }
        assert_eq!(take(database, "b", Which::Sound, 10).await.unwrap().len(), 2);
        let app = crate::app::App { vault: Vault::default(), ..served.app.clone() };
        let items = Served::over(app).await.get(SOURCES, &admin()).await.json()["items"].clone();
        assert_eq!(items[0]["status"]["reason"], Value::Null, "{items}");
        assert!(items[1]["status"]["reason"].as_str().unwrap().contains("has no key"), "{items}");
    }
}

#[tokio::test]
async fn what_takes_all_its_time_is_not_sound_and_failures_last_until_something_is_seen() {
    for served in Served::all().await {
        let (database, path) = (&served.app.database, format!("{SOURCES}/prod"));
        add(&served, nobody("prod")).await;
        let source = taken(database, "a").await.unwrap();
        let took = i64::try_from(TIMEOUT.as_millis()).unwrap();
        assert!(finish(database, "a", &source, &Latest { took, ..latest() }, (true, Duration::ZERO)).await.unwrap());
        assert!(take(database, "a", Which::Sound, 1).await.unwrap().is_empty());
        let source = take(database, "a", Which::Failing, 1).await.unwrap().remove(0);
        assert!(finish(database, "a", &source, &latest(), (false, Duration::ZERO)).await.unwrap());
        served.ask("PATCH", &path, &admin(), json!({})).await;
        let status = served.get(&path, &admin()).await.json()["status"].clone();
        assert_eq!(status["failures"], 1, "{status}");
        let source = take(database, "a", Which::Failing, 1).await.unwrap().remove(0);
        assert!(finish(database, "a", &source, &latest(), (true, Duration::ZERO)).await.unwrap());
        assert_eq!(take(database, "a", Which::Sound, 1).await.unwrap().len(), 1);
    }
}
