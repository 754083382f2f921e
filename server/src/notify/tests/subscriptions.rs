//! Subscriptions over both interfaces.

use serde_json::{Value, json};

use super::servers;
use crate::{
    access::Bounds,
    config::Limits,
    notify::{
        channel::Channel,
        subscription::{self, Subscription, Unknown, Unopened},
    },
};

#[tokio::test]
async fn a_subscription_is_made_changed_and_removed_and_its_secrets_are_told_once() {
    for served in servers().await {
        let account = served.account("shop").await;
        let (writer, reader) = (account.with("read-write"), account.with("read-only"));
        let url = "https://hooks.example.com/services/hidden";
        let body = json!({"name": "new images", "on": {"events": ["image.appeared"], "context": "prod/shop"},
            "channel": {"type": "webhook", "url": url}});
        let made = served.ask("POST", "/v1/subscriptions", writer, body).await;
        assert_eq!(made.status, 201, "{}", made.text);
        let made = made.json();
        assert!(made["secret"].as_str().unwrap().starts_with("whsec_"));
        assert_eq!(made["channel"], json!({"type": "webhook", "target": "https://hooks.example.com"}));
        let path = format!("/v1/subscriptions/{}", made["id"]);
        let told = served.get(&path, reader).await;
        assert_eq!(told.json()["on"], json!({"events": ["image.appeared"], "context": "prod/shop"}));
        let list = served.get("/v1/subscriptions", reader).await;
        assert_eq!(list.json()["items"], json!([told.json()]));
        let csv = served.get("/v1/subscriptions?format=csv", reader).await;
        for text in [&told.text, &list.text, &csv.text] {
            assert!(
                !text.contains("hidden") && !text.contains("whsec_") && text.contains("hooks.example.com"),
                "{text}"
            );
        }
        let changed = served.ask("PATCH", &path, writer, json!({"active": false, "name": "another"})).await;
        assert_eq!(changed.status, 200, "{}", changed.text);
        let changed = changed.json();
        assert_eq!(
            (&changed["active"], &changed["name"], &changed["secret"]),
            (&json!(false), &json!("another"), &Value::Null)
        );
        assert_eq!((&changed["on"], &changed["channel"]), (&made["on"], &made["channel"]));
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let body = json!({"channel": {"type": "webhook", "url": "https://other.example.com", "secret": secret}});
        let changed = served.ask("PATCH", &path, writer, body).await.json();
        assert_eq!(
            (&changed["secret"], &changed["channel"]["target"]),
            (&json!(secret), &json!("https://other.example.com"))
        );
        assert_eq!(served.ask("DELETE", &path, writer, Value::Null).await.status, 204);
        assert_eq!(served.ask("DELETE", &path, writer, Value::Null).await.status, 404);
        assert_eq!(served.get(&path, reader).await.status, 404);
        let audit = served.get("/v1/audit", account.with("admin")).await.json();
        let said: Vec<&str> =
            audit["items"].as_array().unwrap().iter().filter_map(|line| line["action"].as_str()).collect();
        let logged: Vec<&&str> =
            said.iter().filter(|said| said.starts_with("subscription") || **said == "DELETE").collect();
        assert_eq!(
            logged,
            [&"DELETE", &"DELETE", &"subscription.change", &"subscription.change", &"subscription.create"]
        );
    }
}

#[tokio::test]
async fn what_cannot_be_subscribed_to_is_refused_and_changes_nothing() {
    for served in servers().await {
        let account = served.account("shop").await;
        let writer = account.with("read-write");
        for (body, told) in [
            (json!({"name": ""}), "`name` has to have 1 to 200 bytes"),
            (json!({"name": "a\u{0}"}), "`name` has to have"),
            (json!({"name": "a", "on": {"events": ["x"]}}), "there are no events `x`"),
            (json!({"name": "a", "on": {"contxt": "x"}}), "unknown field `contxt`"),
            (json!({"name": "a", "on": {"image": "A B"}}), "`image`"),
            (json!({"name": "a", "channel": {"type": "fax"}}), "unknown variant `fax`"),
            (json!({"name": "a", "channel": {"type": "webhook", "url": "hidden"}}), "cannot be read"),
            (json!(["a"]), "no JSON object"),
        ] {
            let answer = served.ask("POST", "/v1/subscriptions", writer, body.clone()).await;
            assert_eq!(answer.status, 400, "{body}: {}", answer.text);
            assert!(answer.text.contains(told) && !answer.text.contains("hidden"), "{body}: {}", answer.text);
        }
        let answer = served.ask("PATCH", "/v1/subscriptions/7", writer, json!({"name": "a"})).await;
        assert_eq!(answer.status, 404);
        assert_eq!(served.get("/v1/subscriptions", writer).await.json()["items"], json!([]));
    }
}

#[tokio::test]
async fn watches_are_as_anchores_tools_know_them() {
    for served in servers().await {
        let account = served.account("shop").await;
        let (writer, reader) = (account.with("read-write"), account.with("read-only"));
        let new = |kind: &str, key: &str| json!({"subscription_type": kind, "subscription_key": key, "subscription_value": null});
        let made = served.ask("POST", "/v2/subscriptions", writer, new("runtime_inventory", "prod/shop")).await;
        assert_eq!(made.status, 200, "{}", made.text);
        let made = made.json();
        for (field, expected) in [
            ("subscription_key", json!("prod/shop")),
            ("subscription_type", json!("runtime_inventory")),
            ("subscription_value", Value::Null),
            ("account_name", json!("shop")),
            ("active", json!(true)),
        ] {
            assert_eq!(made[field], expected, "{field}");
        }
        let again = served.ask("POST", "/v2/subscriptions", writer, new("runtime_inventory", "prod/shop")).await;
        assert_eq!(again.status, 409, "{}", again.text);
        for (body, told) in [
            (new("tag_update", "nginx:1"), "no subscriptions of type `tag_update`"),
            (new("runtime_inventory", ""), "is a cluster"),
        ] {
            let answer = served.ask("POST", "/v2/subscriptions", writer, body).await;
            assert_eq!(answer.status, 400);
            assert!(answer.json()["message"].as_str().unwrap().contains(told), "{}", answer.text);
        }
        served.ask("POST", "/v2/subscriptions", writer, new("runtime_inventory", "test")).await;
        let listed = async |query: &str| {
            let list = served.get(&format!("/v2/subscriptions{query}"), reader).await.json();
            let items = list["items"].as_array().unwrap().clone();
            items.iter().map(|one| one["subscription_key"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(listed("").await, ["prod/shop", "test"]);
        assert_eq!(listed("?subscription_type=runtime_inventory&subscription_key=test").await, ["test"]);
        assert_eq!(listed("?subscription_type=tag_update").await, [""; 0]);
        let path = format!("/v2/subscriptions/{}", made["subscription_id"].as_str().unwrap());
        let body = json!({"active": false, "subscription_value": "x"});
        let changed = served.ask("PUT", &path, writer, body).await.json();
        assert_eq!((&changed["active"], &changed["subscription_value"]), (&json!(false), &json!("x")));
        let changed = served.ask("PUT", &path, writer, json!({"active": true})).await.json();
        assert_eq!((&changed["active"], &changed["subscription_value"]), (&json!(true), &json!("x")));
        // It is one of the native ones, too, where it is said where it goes.
        let native = format!("/v1/subscriptions/{}", made["subscription_id"].as_str().unwrap());
        let told = served.get(&native, reader).await.json();
        assert_eq!(told["on"], json!({"events": ["image.appeared"], "context": "prod/shop"}));
        let channel = json!({"channel": {"type": "webhook", "url": "https://a.example"}});
        assert_eq!(served.ask("PATCH", &native, writer, channel).await.status, 200);
        let refused = served.ask("PATCH", &native, writer, json!({"on": {}})).await;
        assert_eq!(refused.status, 400, "{}", refused.text);
        assert_eq!(served.ask("DELETE", &path, writer, Value::Null).await.status, 204);
        assert_eq!(served.get(&path, reader).await.status, 404);
        let plain = json!({"name": "no watch"});
        let plain = served.ask("POST", "/v1/subscriptions", writer, plain).await.json();
        let path = format!("/v2/subscriptions/{}", plain["id"]);
        for method in ["GET", "DELETE"] {
            assert_eq!(served.ask(method, &path, writer, Value::Null).await.status, 404, "{method}");
        }
    }
}

#[tokio::test]
async fn who_is_behind_keeps_nobody_else_from_the_log() {
    for served in servers().await {
        let account = served.account("shop").await;
        served.report(account.with("inventory-agent"), &[("web", "shop", "nginx:1")]).await;
        let account_id: i64 = sqlx::query_scalar("SELECT MAX(account_id) FROM event")
            .fetch_one(served.app.database.pool())
            .await
            .unwrap();
        let log = &served.app.notify.log;
        let all = u32::try_from(log.behind.available_permits()).unwrap();
        let places = log.behind.acquire_many(all).await.unwrap();
        let behind = log.backlog(&served.app, account_id, 0, 2);
        assert!(tokio::time::timeout(std::time::Duration::from_millis(200), behind).await.is_err());
        assert_eq!(log.after(&served.app, account_id, 0, 2).await.unwrap().entries.len(), 2);
        drop(places);
        assert_eq!(log.backlog(&served.app, account_id, 0, 2).await.unwrap().entries.len(), 2);
    }
}

#[tokio::test]
async fn what_was_taken_stays_taken_whoever_writes_what_was_before() {
    for served in servers().await {
        let account = served.account("shop").await;
        let made = super::subscribe(&served, account.with("read-write"), json!({}), "https://a.example").await;
        let (database, id) = (&served.app.database, made["id"].as_i64().unwrap());
        let account_id: i64 =
            sqlx::query_scalar("SELECT account_id FROM subscription").fetch_one(database.pool()).await.unwrap();
        let before = subscription::find(&mut database.read().await.unwrap(), account_id, id).await.unwrap().unwrap();
        sqlx::query("UPDATE subscription SET taken = 7").execute(database.pool()).await.unwrap();
        let mut writing = database.write().await.unwrap();
        assert!(subscription::save(writing.connection(), &before).await.unwrap());
        writing.commit().await.unwrap();
        let after = subscription::find(&mut database.read().await.unwrap(), account_id, id).await.unwrap().unwrap();
        assert_eq!((before.taken, after.taken), (0, 7));
    }
}

#[tokio::test]
async fn a_channel_is_opened_as_it_was_read_or_not_at_all() {
    for served in servers().await {
        let account = served.account("shop").await;
        let writer = account.with("read-write");
        let slack = json!({"name": "x", "channel": {"type": "slack", "url": "https://a.example/hidden"}});
        let made = served.ask("POST", "/v1/subscriptions", writer, slack).await.json();
        let (database, id) = (&served.app.database, made["id"].as_i64().unwrap());
        let account_id: i64 =
            sqlx::query_scalar("SELECT account_id FROM subscription").fetch_one(database.pool()).await.unwrap();
        let read =
            async || subscription::find(&mut database.read().await.unwrap(), account_id, id).await.unwrap().unwrap();
        let open = async |one: &Subscription| {
            let (revision, channel) = (one.revision, one.channel.as_ref().unwrap());
            let unopened = Unopened { account_id, id, revision, channel };
            subscription::channel(database, &served.app.vault, unopened).await
        };
        let before = read().await;
        assert!(matches!(open(&before).await, Ok(Channel::Slack { .. })));
        let webhook = json!({"channel": {"type": "webhook", "url": "https://a.example/hidden"}});
        let changed = served.ask("PATCH", &format!("/v1/subscriptions/{id}"), writer, webhook).await;
        assert_eq!(changed.status, 200, "{}", changed.text);
        // Of twenty that are handed over at once to the one, the other takes the last.
        assert!(matches!(open(&before).await, Err(Unknown::Changed)));
        assert!(matches!(open(&read().await).await, Ok(Channel::Webhook { .. })));
    }
}

#[tokio::test]
async fn an_account_has_no_more_subscriptions_than_it_may() {
    for served in servers().await {
        let (shop, other) = (served.account("shop").await, served.account("other").await);
        let limits = Limits { subscriptions_per_account: 2, ..Limits::default() };
        served.app.access.bound(Bounds::of(&limits));
        let make =
            async |who: &str| served.ask("POST", "/v1/subscriptions", who, json!({"name": "one", "on": {}})).await;
        let watch = async |who: &str| {
            let body = json!({"subscription_type": "runtime_inventory", "subscription_key": "prod"});
            served.ask("POST", "/v2/subscriptions", who, body).await
        };
        let writer = shop.with("read-write");
        assert_eq!(make(writer).await.status, 201);
        let watched = watch(writer).await;
        assert_eq!(watched.status, 200, "{}", watched.text);
        for refused in [make(writer).await, watch(writer).await] {
            let says = "has 2 subscriptions, which is the most (`subscriptions_per_account` of `[limits]`)";
            assert!(refused.status == 409 && refused.text.contains(says), "{}", refused.text);
        }
        assert_eq!(make(other.with("read-write")).await.status, 201, "another account has its own");
        let path = format!("/v2/subscriptions/{}", watched.json()["subscription_id"].as_str().unwrap());
        assert_eq!(served.ask("DELETE", &path, writer, Value::Null).await.status, 204);
        assert_eq!(make(writer).await.status, 201);
    }
}
