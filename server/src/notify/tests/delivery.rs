//! Delivery: each event once at the least, in order, whatever happens in between.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{receiver::Receiver, servers, settings, subscribe, until};
use crate::{
    app::{App, Retention},
    config::NotifySettings,
    notify,
    testing::Served,
};

/// Begins to deliver.
fn deliver(served: &Served) -> JoinHandle<()> {
    tokio::spawn(notify::always(served.app.clone()))
}

/// Another process over the same database.
fn restarted(served: &Served, settings: NotifySettings) -> App {
    App::new(served.app.database.clone(), served.app.vault.clone(), Retention::default(), settings)
}

/// Numbers of the account's events, of a kind.
async fn events(served: &Served, who: &str, entity: &str) -> Vec<i64> {
    let changes = served.get("/v1/changes?limit=1000", who).await.json();
    let changes = changes["items"].as_array().unwrap().clone();
    changes.iter().filter(|change| change["entity"] == entity).map(|change| change["id"].as_i64().unwrap()).collect()
}

async fn told(served: &Served, who: &str, made: &Value) -> Value {
    served.get(&format!("/v1/subscriptions/{}", made["id"]), who).await.json()
}

/// Waits until something holds of a subscription.
async fn comes_to(served: &Served, who: &str, made: &Value, holds: impl Fn(&Value) -> bool) -> Value {
    let told = until(async || told(served, who, made).await, &holds).await;
    assert!(holds(&told), "it does not come to that: {told}");
    told
}

/// Which process delivers, if any.
async fn holder(served: &Served) -> String {
    let query = sqlx::query_scalar("SELECT holder FROM lease WHERE name = 'notify'");
    query.fetch_one(served.app.database.pool()).await.unwrap()
}

#[tokio::test]
async fn a_watch_fires_on_a_new_image_with_a_signature_that_can_be_checked() {
    for served in servers().await {
        let account = served.account("shop").await;
        let (writer, agent) = (account.with("read-write"), account.with("inventory-agent"));
        let receiver = Receiver::start().await;
        let delivering = deliver(&served);
        served.report(agent, &[("web", "shop", "nginx:1"), ("db", "back", "redis:7")]).await;
        let watch = json!({"subscription_type": "runtime_inventory", "subscription_key": "prod/shop"});
        let watch = served.ask("POST", "/v2/subscriptions", writer, watch).await.json();
        let path = format!("/v1/subscriptions/{}", watch["subscription_id"].as_str().unwrap());
        // It goes nowhere yet, and nowhere later.
        served.report(agent, &[("web", "shop", "nginx:1.5"), ("db", "back", "redis:7")]).await;
        let channel = json!({"channel": {"type": "webhook", "url": receiver.url()}});
        let made = served.ask("PATCH", &path, writer, channel).await.json();
        served.report(agent, &[("web", "shop", "nginx:2"), ("db", "back", "redis:8")]).await;
        let got = receiver.wait(1).await.remove(0);
        let event = got.json();
        for (field, expected) in [
            ("specversion", json!("1.0")),
            ("type", json!("stocktake.image.appeared")),
            ("source", json!("/stocktake/accounts/shop")),
            ("subject", json!("prod/shop")),
            ("datacontenttype", json!("application/json")),
        ] {
            assert_eq!(event[field], expected, "{event}");
        }
        assert_eq!(event["data"]["image"]["image"], "nginx:2");
        assert_eq!(got.header("content-type"), "application/cloudevents+json; charset=utf-8");
        // By the specification, and not by what signs.
        let secret = STANDARD.decode(made["secret"].as_str().unwrap().strip_prefix("whsec_").unwrap()).unwrap();
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &secret);
        let signed = [got.header("webhook-id"), ".", got.header("webhook-timestamp"), "."].concat();
        let signed = [signed.as_bytes(), &got.body].concat();
        let signature = STANDARD.decode(got.header("webhook-signature").strip_prefix("v1,").unwrap()).unwrap();
        ring::hmac::verify(&key, &signed, &signature).unwrap();
        let sent_at: i64 = got.header("webhook-timestamp").parse().unwrap();
        assert!((jiff::Timestamp::now().as_second() - sent_at).abs() < 60);
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(receiver.got().len(), 1, "nothing else is of it");
        delivering.abort();
    }
}

#[tokio::test]
async fn a_receiver_that_was_down_gets_all_in_order_and_each_once() {
    for served in servers().await {
        let account = served.account("shop").await;
        let (writer, agent) = (account.with("read-write"), account.with("inventory-agent"));
        let receiver = Receiver::start().await;
        let made = subscribe(&served, writer, json!({"cluster": "prod"}), &receiver.url()).await;
        let delivering = deliver(&served);
        served.report(agent, &[("web", "shop", "nginx:1")]).await;
        receiver.wait(2).await;
        let down = receiver.down().await;
        for version in 2..30 {
            served.report(agent, &[("web", "shop", &format!("nginx:{version}")), ("db", "back", "redis:7")]).await;
        }
        let failing = comes_to(&served, writer, &made, |told| told["delivery"]["attempts"].as_i64() > Some(0)).await;
        assert!(failing["delivery"]["error"].as_str().unwrap().contains("refused"), "{failing}");
        assert!(failing["delivery"]["failing_since"].is_string() && failing["delivery"]["next_attempt_at"].is_string());
        let receiver = down.up().await;
        let all = [events(&served, writer, "container").await, events(&served, writer, "image").await].concat();
        let last = *all.iter().max().unwrap();
        receiver.wait(all.len()).await;
        assert_eq!(receiver.taken(), (1..=last).collect::<Vec<_>>());
        let well = comes_to(&served, writer, &made, |told| told["delivery"]["taken"] == last).await;
        assert_eq!((&well["delivery"]["attempts"], &well["delivery"]["error"]), (&json!(0), &Value::Null));
        delivering.abort();
    }
}

#[tokio::test]
async fn a_server_that_is_killed_goes_on_where_it_was() {
    for served in servers().await {
        let account = served.account("shop").await;
        let (writer, agent) = (account.with("read-write"), account.with("inventory-agent"));
        let receiver = Receiver::start().await;
        // The third is not taken, and in between the server is killed.
        receiver.answer(&[(204, None), (204, None), (503, Some("3600"))]);
        let made = subscribe(&served, writer, json!({"events": ["image.appeared"]}), &receiver.url()).await;
        let delivering = deliver(&served);
        served
            .report(agent, &[("a", "shop", "a:1"), ("b", "shop", "b:1"), ("c", "shop", "c:1"), ("d", "shop", "d:1")])
            .await;
        receiver.wait(3).await;
        comes_to(&served, writer, &made, |told| told["delivery"]["attempts"] == 1).await;
        delivering.abort();
        let _ = delivering.await;
        served.report(agent, &[("e", "shop", "e:1")]).await;
        // Nobody has given the lease back: over PostgreSQL another process waits until it is sure.
        let app = restarted(&served, settings());
        let delivering = tokio::spawn(notify::always(app));
        receiver.wait(6).await;
        let images = events(&served, writer, "image").await;
        let appeared: Vec<i64> =
            images.into_iter().filter(|id| receiver.got().iter().any(|got| got.event() == *id)).collect();
        assert_eq!(appeared.len(), 5);
        assert_eq!(receiver.taken(), appeared, "in order, and none twice");
        delivering.abort();
    }
}

#[tokio::test]
async fn one_replica_delivers_and_another_takes_its_place_at_once_if_it_stops() {
    for served in servers().await {
        let account = served.account("shop").await;
        let (writer, agent) = (account.with("read-write"), account.with("inventory-agent"));
        let receiver = Receiver::start().await;
        let made = subscribe(&served, writer, json!({"events": ["image.appeared"]}), &receiver.url()).await;
        let first = deliver(&served);
        served.report(agent, &[("a", "shop", "a:1")]).await;
        receiver.wait(1).await;
        let delivers = holder(&served).await;
        let second = if served.app.database.dialect() == crate::database::Dialect::Postgres {
            Some(tokio::spawn(notify::always(restarted(&served, settings()))))
        } else {
            None
        };
        served.report(agent, &[("b", "shop", "b:1")]).await;
        let last = receiver.wait(2).await[1].event();
        // Its answer is on its way: what is under way at the end is delivered again.
        comes_to(&served, writer, &made, |told| told["delivery"]["taken"].as_i64() >= Some(last)).await;
        served.app.notify.stopping.cancel();
        first.await.unwrap();
        assert_ne!(holder(&served).await, delivers, "it was given back");
        served.report(agent, &[("c", "shop", "c:1")]).await;
        let second = second.unwrap_or_else(|| tokio::spawn(notify::always(restarted(&served, settings()))));
        receiver.wait(3).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        let images: Vec<Value> = receiver.got().iter().map(|got| got.json()["data"]["image"]["image"].take()).collect();
        assert_eq!(images, ["a:1", "b:1", "c:1"]);
        second.abort();
    }
}

#[tokio::test]
async fn what_a_receiver_refuses_is_a_dead_letter_that_can_be_tried_again() {
    for served in servers().await {
        let account = served.account("shop").await;
        let (writer, agent) = (account.with("read-write"), account.with("inventory-agent"));
        let receiver = Receiver::start().await;
        receiver.answer(&[(204, None), (422, None), (204, None)]);
        let made = subscribe(&served, writer, json!({"events": ["image.appeared"]}), &receiver.url()).await;
        let delivering = deliver(&served);
        served.report(agent, &[("a", "shop", "a:1"), ("b", "shop", "b:1"), ("c", "shop", "c:1")]).await;
        let got = receiver.wait(3).await;
        let refused = got[1].event();
        let path = format!("/v1/dead-letters?subscription={}", made["id"]);
        let letters = async || served.get(&path, writer).await.json()["items"].as_array().unwrap().clone();
        let letter = letters().await.remove(0);
        assert_eq!((&letter["event"], &letter["replaying"]), (&json!(refused), &json!(false)));
        assert!(letter["reason"].as_str().unwrap().contains("422"), "{letter}");
        let replay = json!({"subscription": made["id"], "events": [refused + 1000]});
        let answer = served.ask("POST", "/v1/dead-letters/replay", writer, replay).await;
        assert_eq!(answer.json(), json!({"events": 0}), "{}", answer.text);
        let replay = json!({"subscription": made["id"], "events": [refused]});
        let answer = served.ask("POST", "/v1/dead-letters/replay", writer, replay).await;
        assert_eq!(answer.json(), json!({"events": 1}), "{}", answer.text);
        let got = receiver.wait(4).await;
        assert_eq!(got[3].event(), refused);
        assert_eq!(got[3].header("webhook-id"), got[1].header("webhook-id"));
        assert_eq!(until(letters, Vec::is_empty).await, [json!(null); 0]);
        delivering.abort();
    }
}

#[tokio::test]
async fn a_number_that_is_given_again_after_a_restore_has_another_webhook_id() {
    for served in servers().await {
        let account = served.account("shop").await;
        let (writer, agent) = (account.with("read-write"), account.with("inventory-agent"));
        let receiver = Receiver::start().await;
        subscribe(&served, writer, json!({"events": ["container.appeared"]}), &receiver.url()).await;
        let delivering = deliver(&served);
        served.report(agent, &[("a", "shop", "a:1")]).await;
        let first = receiver.wait(1).await.remove(0);
        delivering.abort();
        // As from a copy that was made before all this.
        for text in [
            "DELETE FROM event",
            "UPDATE account SET last_event = 0",
            "UPDATE subscription SET taken = 0",
            "UPDATE lease SET holder = ''",
        ] {
            sqlx::query(text).execute(served.app.database.pool()).await.unwrap();
        }
        let served = Served::again(restarted(&served, settings()));
        let delivering = deliver(&served);
        served.report(agent, &[("a", "shop", "a:1"), ("b", "shop", "b:1")]).await;
        let second = receiver.wait(2).await.remove(1);
        assert_eq!(first.event(), second.event(), "the number is given again");
        assert_ne!(first.header("webhook-id"), second.header("webhook-id"));
        assert_ne!(first.json()["id"], second.json()["id"]);
        delivering.abort();
    }
}

#[tokio::test]
async fn a_receiver_that_is_gone_is_sent_nothing_any_more() {
    for served in servers().await {
        let account = served.account("shop").await;
        let (writer, agent) = (account.with("read-write"), account.with("inventory-agent"));
        let receiver = Receiver::start().await;
        receiver.answer(&[(410, None)]);
        let made = subscribe(&served, writer, json!({"events": ["image.appeared"]}), &receiver.url()).await;
        let delivering = deliver(&served);
        served.report(agent, &[("a", "shop", "a:1"), ("b", "shop", "b:1")]).await;
        let told = comes_to(&served, writer, &made, |told| told["active"] == false).await;
        assert!(told["delivery"]["error"].as_str().unwrap().contains("410"), "{told}");
        served.report(agent, &[("a", "shop", "a:2")]).await;
        tokio::time::sleep(Duration::from_millis(1500)).await;
        assert_eq!(self::told(&served, writer, &made).await["delivery"]["error"], told["delivery"]["error"]);
        assert_eq!(receiver.got().len(), 1, "nothing is sent behind that");
        let path = format!("/v1/subscriptions/{}", made["id"]);
        served.ask("PATCH", &path, writer, json!({"active": true})).await;
        served.report(agent, &[("c", "shop", "c:1")]).await;
        let got = receiver.wait(2).await;
        assert_eq!(got[1].json()["data"]["image"]["image"], "c:1");
        delivering.abort();
    }
}

#[tokio::test]
async fn what_is_not_taken_for_too_long_is_a_dead_letter_and_what_is_new_is_tried() {
    for served in servers().await {
        let account = served.account("shop").await;
        let (writer, agent) = (account.with("read-write"), account.with("inventory-agent"));
        let down = Receiver::start().await.down().await;
        let url = "http://127.0.0.1:1/hook";
        let made = subscribe(&served, writer, json!({"events": ["image.appeared"]}), url).await;
        let settings = NotifySettings { give_up_after: Duration::from_secs(1), ..settings() };
        let delivering = tokio::spawn(notify::always(restarted(&served, settings)));
        served.report(agent, &[("a", "shop", "a:1"), ("b", "shop", "b:1")]).await;
        let path = format!("/v1/dead-letters?subscription={}", made["id"]);
        let letters = async || served.get(&path, writer).await.json();
        let letters = until(letters, |letters| letters["items"].as_array().unwrap().len() == 2).await;
        assert_eq!(letters["items"].as_array().unwrap().len(), 2, "{letters}");
        assert!(letters["items"][0]["reason"].as_str().unwrap().contains("not taken for too long"), "{letters}");
        let receiver = down.up().await;
        let channel = json!({"channel": {"type": "webhook", "url": receiver.url()}});
        served.ask("PATCH", &format!("/v1/subscriptions/{}", made["id"]), writer, channel).await;
        served.report(agent, &[("c", "shop", "c:1")]).await;
        assert_eq!(receiver.wait(1).await[0].json()["data"]["image"]["image"], "c:1");
        delivering.abort();
    }
}

#[tokio::test]
async fn what_was_removed_with_age_before_it_was_sent_is_told() {
    for served in servers().await {
        let account = served.account("shop").await;
        let (writer, agent) = (account.with("read-write"), account.with("inventory-agent"));
        let receiver = Receiver::start().await;
        subscribe(&served, writer, json!({"events": ["image.appeared"]}), &receiver.url()).await;
        served.report(agent, &[("a", "shop", "a:1"), ("b", "shop", "b:1")]).await;
        let images = events(&served, writer, "image").await;
        let delete = sqlx::query("DELETE FROM event WHERE id <= $1").bind(images[0]);
        delete.execute(served.app.database.pool()).await.unwrap();
        let delivering = deliver(&served);
        let got = receiver.wait(2).await;
        assert_eq!(got[0].json()["type"], "stocktake.events.removed");
        assert_eq!(got[0].json()["data"], json!({"first": 1, "last": images[0]}));
        assert_eq!(got[1].event(), images[1]);
        delivering.abort();
    }
}

#[tokio::test]
async fn what_was_removed_with_age_and_is_not_taken_for_too_long_is_a_dead_letter_too() {
    for served in servers().await {
        let account = served.account("shop").await;
        let (writer, agent) = (account.with("read-write"), account.with("inventory-agent"));
        let made = subscribe(&served, writer, json!({}), "http://127.0.0.1:1/hook").await;
        served.report(agent, &[("a", "shop", "a:1")]).await;
        sqlx::query("DELETE FROM event").execute(served.app.database.pool()).await.unwrap();
        let settings = NotifySettings { give_up_after: Duration::from_secs(1), ..settings() };
        let delivering = tokio::spawn(notify::always(restarted(&served, settings)));
        let well = comes_to(&served, writer, &made, |told| told["delivery"]["taken"] == 2).await;
        let letters = served.get(&format!("/v1/dead-letters?subscription={}", made["id"]), writer).await.json();
        let letter = &letters["items"][0];
        assert_eq!((&letter["first"], &letter["event"]), (&json!(1), &json!(2)), "{letters} {well}");
        let receiver = Receiver::start().await;
        let (path, channel) =
            (format!("/v1/subscriptions/{}", made["id"]), json!({"type": "webhook", "url": receiver.url()}));
        let changed = served.ask("PATCH", &path, writer, json!({"channel": channel})).await;
        assert_eq!(changed.status, 200, "{}", changed.text);
        let replay = json!({"subscription": made["id"]});
        assert_eq!(served.ask("POST", "/v1/dead-letters/replay", writer, replay).await.json()["events"], 1);
        let got = receiver.wait(1).await.remove(0).json();
        assert_eq!((&got["data"]["first"], &got["data"]["last"]), (&json!(1), &json!(2)), "{got}");
        delivering.abort();
    }
}

#[tokio::test]
async fn what_was_taken_is_written_down_though_the_subscription_is_changed_at_once() {
    for served in servers().await {
        let account = served.account("shop").await;
        let (writer, agent) = (account.with("read-write"), account.with("inventory-agent"));
        let receiver = Receiver::start().await;
        let made = subscribe(&served, writer, json!({}), &receiver.url()).await;
        let delivering = deliver(&served);
        served.report(agent, &[("a", "shop", "a:1")]).await;
        receiver.wait(2).await;
        // Its answer is on its way.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let path = format!("/v1/subscriptions/{}", made["id"]);
        assert_eq!(served.ask("PATCH", &path, writer, json!({"name": "another"})).await.status, 200);
        comes_to(&served, writer, &made, |told| told["delivery"]["taken"] == 2).await;
        delivering.abort();
    }
}

#[tokio::test]
async fn nothing_is_sent_for_an_account_that_was_removed() {
    for served in servers().await {
        let account = served.account("shop").await;
        let (writer, agent) = (account.with("read-write"), account.with("inventory-agent"));
        let receiver = Receiver::start().await;
        receiver.answer(&[(503, Some("2")); 200]);
        subscribe(&served, writer, json!({}), &receiver.url()).await;
        let delivering = deliver(&served);
        served.report(agent, &[("a", "shop", "a:1")]).await;
        receiver.wait(1).await;
        served.app.access.delete_account(&crate::access::Actor::command_line(), "shop").await.unwrap();
        // Until that is known. Attempts are made 3 to 4 s apart, so that the next one would be seen.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let before = receiver.got().len();
        tokio::time::sleep(Duration::from_secs(8)).await;
        assert_eq!(receiver.got().len(), before);
        delivering.abort();
    }
}

#[tokio::test]
async fn a_subscription_that_cannot_be_read_keeps_nobody_from_the_others() {
    for served in servers().await {
        let account = served.account("shop").await;
        let (writer, agent) = (account.with("read-write"), account.with("inventory-agent"));
        let receiver = Receiver::start().await;
        let spoilt = subscribe(&served, writer, json!({}), &receiver.url()).await;
        subscribe(&served, writer, json!({"events": ["image.appeared"]}), &receiver.url()).await;
        let spoil = sqlx::query("UPDATE subscription SET wanted = '{\"later\": 1}' WHERE id = $1");
        spoil.bind(spoilt["id"].as_i64()).execute(served.app.database.pool()).await.unwrap();
        let delivering = deliver(&served);
        served.report(agent, &[("a", "shop", "a:1")]).await;
        let got = receiver.wait(1).await;
        assert_eq!(got[0].json()["type"], "stocktake.image.appeared");
        delivering.abort();
    }
}

#[tokio::test]
async fn what_is_tried_again_in_vain_is_a_dead_letter_again_and_what_is_new_goes_on() {
    for served in servers().await {
        let account = served.account("shop").await;
        let (writer, agent) = (account.with("read-write"), account.with("inventory-agent"));
        let receiver = Receiver::start().await;
        receiver.answer(&[(422, None), (503, Some("0")), (503, Some("0")), (503, Some("0"))]);
        let made = subscribe(&served, writer, json!({"events": ["image.appeared"]}), &receiver.url()).await;
        let delivering = deliver(&served);
        served.report(agent, &[("a", "shop", "a:1")]).await;
        let refused = receiver.wait(1).await[0].event();
        let path = format!("/v1/dead-letters?subscription={}", made["id"]);
        let replay = json!({"subscription": made["id"]});
        let again = async || served.ask("POST", "/v1/dead-letters/replay", writer, replay.clone()).await.json();
        assert_eq!(until(again, |again| again["events"] == 1).await["events"], 1);
        receiver.wait(2).await;
        served.report(agent, &[("a", "shop", "a:1"), ("b", "shop", "b:1")]).await;
        let got = receiver.wait(5).await;
        assert!(got[1..4].iter().all(|got| got.event() == refused));
        assert_eq!(got[4].json()["data"]["image"]["image"], "b:1");
        let letter = served.get(&path, writer).await.json()["items"][0].clone();
        assert_eq!((&letter["event"], &letter["replaying"]), (&json!(refused), &json!(false)), "{letter}");
        assert!(letter["reason"].as_str().unwrap().contains("503"), "{letter}");
        delivering.abort();
    }
}
