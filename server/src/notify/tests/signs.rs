//! Agents that fall silent and coverage that is lost, each told once.

use serde_json::{Value, json};

use super::servers;
use crate::{notify::signs::look, testing::Served};

async fn kinds(served: &Served, who: &str) -> Vec<String> {
    let changes = served.get("/v1/changes?limit=1000", who).await.json();
    let changes = changes["items"].as_array().unwrap().clone();
    let of = |change: &Value| format!("{}.{}", change["entity"], change["change"]).replace('"', "");
    changes.iter().map(of).filter(|kind| kind.starts_with("agent") || kind.starts_with("scope")).collect()
}

async fn set(served: &Served, text: &'static str) {
    sqlx::query(text).execute(served.app.database.pool()).await.unwrap();
}

#[tokio::test]
async fn silence_is_told_once_and_once_more_when_it_is_over() {
    for served in servers().await {
        let account = served.account("shop").await;
        let (reader, agent) = (account.with("read-only"), account.with("inventory-agent"));
        served.report(agent, &[("web", "shop", "nginx:1")]).await;
        let now = jiff::Timestamp::now().as_millisecond();
        let look = async |later: i64| look(&served.app, now + later).await.unwrap();
        set(&served, "UPDATE agent SET valid_for = 60000").await;
        look(0).await;
        assert_eq!(kinds(&served, reader).await, [""; 0]);
        look(120_000).await;
        look(180_000).await;
        assert_eq!(kinds(&served, reader).await, ["agent.silent"]);
        let events = served.get("/v1/events?since=2020-01-01T00:00:00Z&cluster=prod", reader).await.text;
        assert!(events.contains(r#""places":["prod"]"#) && events.contains(r#""silent":[false,true]"#), "{events}");
        let other = served.get("/v1/events?since=2020-01-01T00:00:00Z&cluster=test", reader).await.text;
        assert!(!other.contains("silent"), "{other}");
        set(&served, "UPDATE agent SET received_at = received_at + 120000").await;
        look(150_000).await;
        look(160_000).await;
        assert_eq!(kinds(&served, reader).await, ["agent.silent", "agent.heard"]);
        look(600_000).await;
        assert_eq!(kinds(&served, reader).await, ["agent.silent", "agent.heard", "agent.silent"]);
    }
}

#[tokio::test]
async fn coverage_is_told_once_when_it_is_lost_and_when_it_is_there_again() {
    for served in servers().await {
        let account = served.account("shop").await;
        let (reader, agent) = (account.with("read-only"), account.with("inventory-agent"));
        served.report(agent, &[("web", "shop", "nginx:1")]).await;
        // What is not seen completely from its beginning has lost nothing.
        look(&served.app, jiff::Timestamp::now().as_millisecond()).await.unwrap();
        assert_eq!(kinds(&served, reader).await, [""; 0]);
        let look = async || look(&served.app, jiff::Timestamp::now().as_millisecond() + 120_000).await.unwrap();
        look().await;
        let lose = "UPDATE scope SET coverage = 'denied', reason = 'no permission' WHERE name = 'shop'";
        set(&served, lose).await;
        look().await;
        look().await;
        set(&served, "UPDATE scope SET coverage = 'failed' WHERE name = 'shop'").await;
        look().await;
        set(&served, "UPDATE scope SET coverage = 'complete', reason = NULL WHERE name = 'shop'").await;
        look().await;
        look().await;
        assert_eq!(
            kinds(&served, reader).await,
            ["scope.coverage_lost", "scope.coverage_lost", "scope.coverage_regained"]
        );
        let changes = served.get("/v1/changes?context=prod/shop&limit=1000", reader).await.json();
        let details: Vec<&Value> = changes["items"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|change| change["entity"] == "scope")
            .map(|change| &change["detail"]["coverage"])
            .collect();
        assert_eq!(details, [&json!([null, "denied"]), &json!(["denied", "failed"]), &json!(["failed", "complete"])]);
        // What is gone is not told of again.
        set(&served, lose).await;
        look().await;
        set(&served, "UPDATE scope SET gone_at = 1 WHERE name = 'shop'").await;
        look().await;
        let noted: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM noted WHERE entity = 4 AND state = 'denied'")
            .fetch_one(served.app.database.pool())
            .await
            .unwrap();
        assert_eq!(noted, 0);
    }
}
