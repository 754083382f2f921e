//! Where notifications go, as the database keeps it: encrypted, bound to its subscription, and read with the key that has encrypted it.

use std::time::Duration;

use serde_json::{Value, json};
use sqlx::Row as _;

use super::{receiver::Receiver, servers, subscribe, until};
use crate::{
    agentless,
    app::App,
    notify::{self, SHELF},
    secrets::{KeySource, Used, Vault, rotate, used},
    testing::{KEY, Served},
};

fn vault(keys: &[&str]) -> Vault {
    Vault::new(KeySource::Environment(keys.join(" ").into()))
}

fn new_key() -> String {
    "0e".repeat(32)
}

/// Another process over the same database, which has these keys.
fn with(served: &Served, vault: Vault) -> Served {
    Served::again(App::new(
        served.app.database.clone(),
        vault,
        served.app.retention,
        served.app.notify.settings.clone(),
    ))
}

async fn run(served: &Served, text: &'static str) {
    sqlx::query(text).execute(served.app.database.pool()).await.unwrap();
}

async fn told(served: &Served, who: &str) -> Vec<Value> {
    let list = served.get("/v1/subscriptions", who).await;
    assert_eq!(list.status, 200, "{}", list.text);
    list.json()["items"].as_array().unwrap().clone()
}

/// What stands in the columns of secrets.
async fn kept(served: &Served) -> Vec<u8> {
    let rows =
        sqlx::query("SELECT sealed FROM subscription WHERE sealed IS NOT NULL").fetch_all(served.app.database.pool());
    rows.await.unwrap().iter().flat_map(|row| row.get::<Vec<u8>, _>(0)).collect()
}

#[tokio::test]
async fn what_is_secret_of_a_channel_is_encrypted_and_without_a_key_refused() {
    for served in servers().await {
        let account = served.account("shop").await;
        let writer = account.with("read-write");
        let url = "https://hooks.example.com/services/hidden";
        let made = subscribe(&served, writer, json!({}), url).await;
        let bytes = kept(&served).await;
        let secret = made["secret"].as_str().unwrap();
        assert!(bytes.len() > url.len() + secret.len());
        for part in ["hidden", "https", "whsec_", &secret[10..20]] {
            assert!(!bytes.windows(part.len()).any(|window| window == part.as_bytes()), "{part}");
        }
        let none = with(&served, Vault::default());
        let body = json!({"name": "x", "channel": {"type": "slack", "url": url}});
        for (method, path) in
            [("POST", "/v1/subscriptions".to_owned()), ("PATCH", format!("/v1/subscriptions/{}", made["id"]))]
        {
            let refused = none.ask(method, &path, writer, body.clone()).await;
            assert_eq!(refused.status, 409, "{}", refused.text);
            for part in ["openssl rand", "`key_file` of `[secrets]`", "STOCKTAKE_SECRET_KEY"] {
                assert!(refused.text.contains(part), "{}", refused.text);
            }
        }
        assert_eq!(told(&none, writer).await.len(), 1);
        assert_eq!(kept(&served).await, bytes, "nothing was changed");
        // What needs no secret needs no key.
        let made = none.ask("POST", "/v1/subscriptions", writer, json!({"name": "x"})).await;
        assert_eq!(made.status, 201, "{}", made.text);
    }
}

#[tokio::test]
async fn what_cannot_be_read_says_so_and_is_in_nobodys_way() {
    for served in servers().await {
        let account = served.account("shop").await;
        let (writer, agent) = (account.with("read-write"), account.with("inventory-agent"));
        let receiver = Receiver::start().await;
        let url = receiver.url();
        for _ in 0..4 {
            subscribe(&served, writer, json!({"events": ["image.appeared"]}), &url).await;
        }
        let before = told(&served, writer).await;
        assert!(before.iter().all(|one| one["problem"].is_null()), "{before:?}");
        let ids: Vec<i64> = before.iter().map(|one| one["id"].as_i64().unwrap()).collect();
        // Of a later version; of a key that there is not; and another one's, which is not seen before it is needed.
        let place = |id: i64| format!("WHERE id = {id}");
        for text in [
            format!("UPDATE subscription SET wanted = '[7]' {}", place(ids[0])),
            format!("UPDATE subscription SET key_id = '0123456789abcdef' {}", place(ids[1])),
            format!(
                "UPDATE subscription SET sealed = (SELECT sealed FROM subscription {}) {}",
                place(ids[3]),
                place(ids[2])
            ),
        ] {
            sqlx::query(sqlx::AssertSqlSafe(text)).execute(served.app.database.pool()).await.unwrap();
        }
        let after = told(&served, writer).await;
        let problem = |index: usize| after[index]["problem"].as_str().unwrap_or_default();
        assert!(problem(0).contains("remove it, and make it again") && after[0]["on"].is_null(), "{after:?}");
        assert!(problem(1).contains("the key 0123456789abcdef, which the server does not have"), "{after:?}");
        assert_eq!((problem(2), problem(3)), ("", ""));
        let csv = served.get("/v1/subscriptions?format=csv", writer).await;
        assert_eq!((csv.status.as_u16(), csv.text.lines().count()), (200, 5), "{}", csv.text);

        let delivering = tokio::spawn(notify::always(served.app.clone()));
        served.report(agent, &[("web", "shop", "nginx:1")]).await;
        receiver.wait(1).await;
        for (index, why) in [(1, "which the server does not have"), (2, "is not what was encrypted here")] {
            let path = format!("/v1/subscriptions/{}", ids[index]);
            let one = async || served.get(&path, writer).await.json();
            let one = until(one, |one| one["delivery"]["error"].is_string()).await;
            assert!(one["delivery"]["error"].as_str().unwrap_or_default().contains(why), "{one}");
        }
        assert_eq!(receiver.got().len(), 1, "one of four can be read");

        let path = format!("/v1/subscriptions/{}", ids[0]);
        let one = served.get(&path, writer).await;
        assert_eq!((one.status.as_u16(), &one.json()), (200, &after[0]), "{}", one.text);
        let refused = served.ask("PATCH", &path, writer, json!({"name": "x"})).await;
        assert!(refused.status == 409 && refused.text.contains("make it again"), "{}", refused.text);
        // Said again, it is what is sent to.
        let channel = json!({"channel": {"type": "webhook", "url": url}});
        let again = served.ask("PATCH", &format!("/v1/subscriptions/{}", ids[1]), writer, channel).await;
        assert_eq!((again.status.as_u16(), &again.json()["problem"]), (200, &Value::Null), "{}", again.text);
        receiver.wait(2).await;
        assert_eq!(served.ask("DELETE", &path, writer, Value::Null).await.status, 204);
        delivering.abort();
    }
}

#[tokio::test]
async fn all_secrets_get_another_key_and_what_is_delivered_goes_on() {
    for served in servers().await {
        let account = served.account("shop").await;
        let (writer, agent) = (account.with("read-write"), account.with("inventory-agent"));
        let receiver = Receiver::start().await;
        subscribe(&served, writer, json!({"events": ["image.appeared"]}), &receiver.url()).await;
        let source = json!({"name": "prod", "kubernetes": {"server": "https://127.0.0.1:1", "token": "hunter2",
            "insecure_skip_tls_verify": true}});
        assert_eq!(served.ask("POST", "/v1/agentless/sources", writer, source).await.status, 201);
        run(&served, "UPDATE agentless SET enabled = 0").await;
        let (database, new) = (&served.app.database, new_key());
        let shelves = [&agentless::SHELF, &SHELF];
        let of_key = |keys: &Vault| {
            let key_id = keys.ids().unwrap().remove(0);
            ["source", "subscription"].map(|of| Used { key_id: key_id.clone(), of, count: 1 })
        };
        assert_eq!(used(database, &shelves).await.unwrap(), of_key(&vault(&[KEY])));
        let rotated = rotate(database, &vault(&[&new, KEY]), &shelves).await.unwrap();
        assert_eq!((rotated.done, rotated.unreadable.len()), (2, 0));
        assert_eq!(used(database, &shelves).await.unwrap(), of_key(&vault(&[&new])));
        let only = with(&served, vault(&[&new]));
        let told = told(&only, writer).await;
        assert_eq!(told[0]["problem"], Value::Null, "{told:?}");
        let delivering = tokio::spawn(notify::always(only.app.clone()));
        only.report(agent, &[("web", "shop", "nginx:1")]).await;
        receiver.wait(1).await;
        delivering.abort();
        let rotated = rotate(database, &vault(&["b".repeat(64).as_str()]), &shelves).await.unwrap();
        let mut of: Vec<&str> = rotated.unreadable.iter().map(|one| one.of.as_str()).collect();
        of.sort_unstable();
        assert_eq!((rotated.done, of), (0, vec!["source `prod`", "subscription `a test's`"]));
    }
}

#[tokio::test]
async fn what_the_database_does_not_say_is_not_what_the_receiver_fails_in() {
    for served in servers().await {
        let account = served.account("shop").await;
        let (writer, agent) = (account.with("read-write"), account.with("inventory-agent"));
        let (late, soon) = (Receiver::start().await, Receiver::start().await);
        let of = |context: &str| json!({"events": ["image.appeared"], "context": context});
        let made = subscribe(&served, writer, of("prod/back"), &late.url()).await;
        subscribe(&served, writer, of("prod"), &soon.url()).await;
        let delivering = tokio::spawn(notify::always(served.app.clone()));
        served.report(agent, &[("web", "shop", "nginx:1")]).await;
        soon.wait(1).await;
        // Both are known by now, and of one it was not read yet where it goes.
        run(&served, "ALTER TABLE subscription RENAME COLUMN sealed TO hidden").await;
        served.report(agent, &[("web", "shop", "nginx:1"), ("db", "back", "redis:7")]).await;
        soon.wait(2).await;
        // Long enough for an attempt, and for what is written down of it.
        tokio::time::sleep(Duration::from_millis(1500)).await;
        let state = sqlx::query_as("SELECT attempts, error FROM subscription WHERE id = $1");
        let state: (i64, Option<String>) =
            state.bind(made["id"].as_i64()).fetch_one(served.app.database.pool()).await.unwrap();
        run(&served, "ALTER TABLE subscription RENAME COLUMN hidden TO sealed").await;
        assert_eq!((state, late.got().len()), ((0, None), 0));
        assert_eq!(late.wait(1).await[0].json()["data"]["image"]["image"], "redis:7");
        delivering.abort();
    }
}
