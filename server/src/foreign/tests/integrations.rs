//! Registration and health, as k8s-inventory 1.7 and later goes about them.

use axum::http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    foreign::integrations::{save, save_health},
    testing::Served,
};

const REGISTRATION: &str = "/v2/system/integrations/registration";
const LIST: &str = "/v2/system/integrations";
const MINUTE: i64 = 60_000;

/// What `doRegister` of k8s-inventory 1.8 sends (hand-written from its source).
fn registration(instance: &str) -> Value {
    json!({"registration_id": "0190f0c4-7b1e-7cc2-8f1e-0123456789ab", "registration_instance_id": instance,
        "type": "k8s_inventory_agent", "name": "k8s-inventory", "description": "of the shop", "version": "1.8.4",
        "started_at": "2024-06-25T10:12:53Z", "uptime": 2.000_123, "username": "agent", "explicitly_account_bound": [],
        "namespaces": ["shop"], "configuration": null, "cluster_name": "prod", "namespace": "anchore",
        "health_report_interval": 60})
}

fn health(error: &str) -> Value {
    let mut batch = json!({"batch_index": 1, "send_timestamp": "2024-06-26T14:02:40Z"});
    if !error.is_empty() {
        batch["error"] = error.into();
    }
    json!({"uuid": "740c06a3-4c69-4b91-8e85-154cd53e9764", "protocol_version": 1, "timestamp": "2024-06-26T14:02:43Z",
        "uptime": 200.023, "health_report_interval": 60, "health_data": {"type": "k8s_inventory_agent", "version": 1,
        "errors": [], "account_k8s_inventory_reports": {"shop": {"report_timestamp": "2024-06-26T14:02:38Z",
        "account_name": "shop", "sent_as_user": "agent", "batch_size": 1,
        "last_successful_index": if error.is_empty() { 1 } else { -1 }, "has_errors": !error.is_empty(), "batches": [batch]}}}})
}

#[tokio::test]
async fn an_agent_registers_once_and_is_the_same_when_it_starts_again() {
    for served in Served::all().await {
        let shop = served.account("shop").await;
        let agent = shop.with("inventory-agent");
        // What k8s-inventory asks first, without credentials: from 5.11 on it registers.
        let version = served.get("/version", "").await.json();
        assert_eq!((&version["api"]["version"], &version["service"]["version"]), (&json!("2"), &json!("5.11.0")));
        let first = served.ask("POST", REGISTRATION, agent, registration("one")).await;
        assert_eq!(first.status, StatusCode::CREATED, "{}", first.text);
        let first = first.json();
        for (key, value) in [
            ("account_name", json!("shop")),
            ("username", json!("agent")),
            ("health_report_interval", json!(60)),
            ("started_at", json!("2024-06-25T10:12:53Z")),
            ("namespaces", json!(["shop"])),
            ("registration_instance_id", json!("one")),
        ] {
            assert_eq!(first[key], value, "{key}");
        }
        // What is not known is left out.
        assert_eq!(
            (first.get("last_seen"), first.get("reported_status"), first.get("configuration")),
            (None, None, None)
        );
        assert_eq!(first["integration_status"]["state"], "registered");
        let again = served.ask("POST", REGISTRATION, agent, registration("one")).await;
        assert_eq!((again.status, &again.json()["uuid"]), (StatusCode::OK, &first["uuid"]));
        let other = served.ask("POST", REGISTRATION, agent, registration("two")).await;
        assert_eq!(other.status, StatusCode::CREATED);
        assert_ne!(other.json()["uuid"], first["uuid"]);
        let list = served.get(LIST, shop.with("read-only")).await.json();
        assert_eq!(list["items"].as_array().unwrap().len(), 2);
        assert_eq!(list["items"][0].get("description"), None, "a summary");
    }
}

#[tokio::test]
async fn what_goes_wrong_with_an_agents_reports_is_told_of_the_integration() {
    for served in Served::all().await {
        let shop = served.account("shop").await;
        let (agent, reader) = (shop.with("inventory-agent"), shop.with("read-only"));
        let uuid = served.ask("POST", REGISTRATION, agent, registration("one")).await.json()["uuid"].clone();
        let path = format!("{LIST}/{}", uuid.as_str().unwrap());
        let report = async |error: &str| {
            let answer = served.ask("POST", &format!("{path}/health-report"), agent, health(error)).await;
            assert_eq!((answer.status, answer.text.as_str()), (StatusCode::CREATED, ""));
            served.get(&path, reader).await.json()
        };
        let known = report("").await;
        assert_eq!(known["integration_status"]["state"], "active");
        assert_eq!((&known["reported_status"]["state"], &known["accounts"]), (&json!("healthy"), &json!(["shop"])));
        assert_eq!((&known["uptime"], known["last_seen"].is_string()), (&json!(200.023), true));
        assert_eq!(known["description"], "of the shop");
        assert_eq!(served.get(&format!("{LIST}?only_degraded=true"), reader).await.json(), json!({"items": []}));
        let known = report("502 Bad Gateway").await;
        let status = &known["reported_status"];
        assert_eq!(status["state"], "unhealthy");
        assert_eq!(status["details"]["errors"], json!(["account `shop`, batch 1: 502 Bad Gateway"]));
        let degraded = served.get(&format!("{LIST}?only_degraded=true"), reader).await.json();
        assert_eq!(degraded["items"][0]["uuid"], uuid);
    }
}

#[tokio::test]
async fn an_integration_that_misses_three_reports_is_inactive() {
    for served in Served::all().await {
        let shop = served.account("shop").await;
        let (database, reader) = (&served.app.database, shop.with("read-only"));
        let account: i64 =
            sqlx::query_scalar("SELECT id FROM account WHERE name = 'shop'").fetch_one(database.pool()).await.unwrap();
        let registration = serde_json::from_value(registration("one")).unwrap();
        let now = Timestamp::now().as_millisecond();
        let (uuid, _) = save(database, account, &registration, now - 10 * MINUTE).await.unwrap();
        let state = async || served.get(&format!("{LIST}/{uuid}"), reader).await.json()["integration_status"].clone();
        assert_eq!(state().await["state"], "inactive");
        let health = serde_json::from_value(health("")).unwrap();
        for (minutes, expected) in [(4, "inactive"), (2, "active")] {
            assert!(save_health(database, account, &uuid, &health, now - minutes * MINUTE).await.unwrap());
            assert_eq!(state().await["state"], expected);
        }
        let mut removing = crate::reap::Reaper::new(&served.app);
        removing.run(now).await.unwrap();
        assert_eq!(state().await["state"], "active");
        // It starts again, and has yet to say how it is.
        save(database, account, &registration, now).await.unwrap();
        assert_eq!(state().await["state"], "registered");
        removing.run(now + 401 * 24 * 60 * MINUTE).await.unwrap();
        assert_eq!(served.get(&format!("{LIST}/{uuid}"), reader).await.status, StatusCode::NOT_FOUND, "with age");
    }
}

#[tokio::test]
async fn an_active_integration_is_removed_only_by_force() {
    for served in Served::all().await {
        let shop = served.account("shop").await;
        let (agent, writer) = (shop.with("inventory-agent"), shop.with("read-write"));
        let uuid = served.ask("POST", REGISTRATION, agent, registration("one")).await.json()["uuid"].clone();
        let path = format!("{LIST}/{}", uuid.as_str().unwrap());
        served.ask("POST", &format!("{path}/health-report"), agent, health("")).await;
        let remove = async |path: &str| served.ask("DELETE", path, writer, Value::Null).await.status;
        assert_eq!(remove(&path).await, StatusCode::BAD_REQUEST);
        assert_eq!(remove(&format!("{path}?force=true")).await, StatusCode::NO_CONTENT);
        assert_eq!(remove(&path).await, StatusCode::NOT_FOUND);
        let gone = served.ask("POST", &format!("{path}/health-report"), agent, health("")).await;
        assert_eq!((gone.status, &gone.json()["code"]), (StatusCode::NOT_FOUND, &json!(404)));
    }
}

#[tokio::test]
async fn integrations_are_their_accounts_and_agents_do_not_read_them() {
    for served in Served::all().await {
        let (shop, other) = (served.account("shop").await, served.account("other").await);
        let agent = shop.with("inventory-agent");
        let uuid = served.ask("POST", REGISTRATION, agent, registration("one")).await.json()["uuid"].clone();
        let path = format!("{LIST}/{}", uuid.as_str().unwrap());
        let theirs = served.ask("POST", REGISTRATION, other.with("inventory-agent"), registration("one")).await;
        assert_eq!(
            theirs.status,
            StatusCode::CREATED,
            "the same identifiers in another account are another integration"
        );
        assert_ne!(theirs.json()["uuid"], uuid);
        assert_eq!(served.get(&path, other.with("admin")).await.status, StatusCode::NOT_FOUND);
        let spoof = served.ask("POST", &format!("{path}/health-report"), other.with("admin"), health("x")).await;
        assert_eq!(spoof.status, StatusCode::NOT_FOUND);
        let refused = served.get(LIST, agent).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN);
        // The words by which agents know why.
        assert!(refused.json()["message"].as_str().unwrap().contains("Not authorized. Requires permissions"));
        let reader = served.ask("POST", REGISTRATION, shop.with("read-only"), registration("three")).await;
        assert_eq!(reader.status, StatusCode::FORBIDDEN);
    }
}

#[tokio::test]
async fn what_is_no_registration_is_told_so() {
    let served = Served::all().await.swap_remove(0);
    let shop = served.account("shop").await;
    let agent = shop.with("inventory-agent");
    for (key, value) in [
        ("type", json!("toaster")),
        ("registration_id", json!("")),
        ("registration_id", Value::Null),
        ("username", Value::Null),
        ("health_report_interval", json!(29)),
        ("health_report_interval", json!(601)),
        ("started_at", json!("yesterday")),
        ("name", json!("a\0b")),
    ] {
        let mut body = registration("one");
        body[key] = value.clone();
        let answer = served.ask("POST", REGISTRATION, agent, body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{key}: {value}: {}", answer.text);
    }
    let mut long = registration("one");
    long["description"] = "x".repeat(300 << 10).into();
    assert_eq!(served.ask("POST", REGISTRATION, agent, long).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    let path = format!("{LIST}/no-uuid/health-report");
    assert_eq!(served.ask("POST", &path, agent, health("")).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(served.ask("POST", &path, agent, json!({})).await.status, StatusCode::BAD_REQUEST);
}
