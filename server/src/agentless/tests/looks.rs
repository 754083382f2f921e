//! Whole looks at a cluster that is made up: what comes of them in the inventory.

use std::time::Duration;

use tokio::task::AbortHandle;

use super::{
    cluster::{ANSWERS, HANGS, REFUSES},
    *,
};
use crate::{
    agentless::{Agentless, schedule},
    app::App,
    config::AgentlessSettings,
};

/// A server that looks. It stops, as one that is killed, when this goes.
pub(super) struct Looking {
    pub(super) served: Served,
    task: AbortHandle,
}

impl Drop for Looking {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Looking {
    /// One on each database, whose looks may take so long.
    pub(super) async fn all(look_timeout: Duration) -> Vec<Self> {
        let all = Served::all().await.into_iter();
        all.map(|served| Self::over(served.app.clone(), look_timeout)).collect()
    }

    /// A server of its own over the same database.
    fn over(app: App, look_timeout: Duration) -> Self {
        let settings = AgentlessSettings { look_timeout, looks_at_once: 2, ..AgentlessSettings::of_tests() };
        let app = App { agentless: Agentless::new(settings).into(), ..app };
        let task = tokio::spawn(schedule::always(app.clone())).abort_handle();
        Self { served: Served::again(app), task }
    }

    async fn status(&self, name: &str) -> Value {
        self.served.get(&format!("{SOURCES}/{name}"), &admin()).await.json()["status"].clone()
    }

    /// Waits until the status is as it should be.
    pub(super) async fn wait(&self, name: &str, what: impl Fn(&Value) -> bool) -> Value {
        for _ in 0..600 {
            let status = self.status(name).await;
            if what(&status) {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{name}: {}", self.status(name).await);
    }

    pub(super) async fn containers(&self) -> Vec<(String, String)> {
        let answer = self.served.get("/v1/containers", &admin()).await.json();
        let items = answer["items"].as_array().unwrap();
        let text = |item: &Value, key: &str| item[key].as_str().unwrap_or_default().to_owned();
        items.iter().map(|item| (text(item, "name"), text(item, "status"))).collect()
    }

    /// Has it looked at at once.
    pub(super) async fn look(&self, name: &str) {
        self.served.ask("PATCH", &format!("{SOURCES}/{name}"), &admin(), json!({})).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_seen_is_in_the_inventory_and_stale_when_it_is_not_seen_any_more() {
    for looking in Looking::all(Duration::from_secs(30)).await {
        let cluster = Cluster::new().await;
        let served = &looking.served;
        let tested = served.ask("POST", "/v1/agentless/test", &admin(), source(&cluster, "prod")).await.json();
        assert_eq!(
            (&tested["coverage"], &tested["runtime"]),
            (&json!("complete"), &json!("kubernetes v1.33.0")),
            "{tested}"
        );
        assert_eq!(looking.containers().await, [], "nothing is kept of a test");

        add(served, source(&cluster, "prod")).await;
        let status = looking.wait("prod", |status| status["looked_at"].is_string()).await;
        assert_eq!((&status["coverage"], &status["failures"]), (&json!("complete"), &json!(0)), "{status}");
        assert_eq!(looking.containers().await, [("app".to_owned(), "present".to_owned())]);
        let agents = served.get("/v1/agents", &admin()).await.json();
        assert_eq!(
            (&agents["items"][0]["kind"], &agents["items"][0]["hostname"]),
            (&json!("agentless"), &json!("prod"))
        );
        let sources = served.get("/v1/sources", &admin()).await.json();
        assert_eq!(sources["items"][0]["cluster"], "prod");

        cluster.set(REFUSES);
        looking.look("prod").await;
        let status = looking.wait("prod", |status| status["failures"] == 1).await;
        assert_eq!(status["coverage"], "denied", "{status}");
        assert_eq!(looking.containers().await, [("app".to_owned(), "stale".to_owned())]);
        assert!(status["seen_at"].as_str().unwrap() < status["looked_at"].as_str().unwrap());

        cluster.set(ANSWERS);
        // It is tried again by itself.
        looking.wait("prod", |status| status["failures"] == 0 && status["coverage"] == "complete").await;
        assert_eq!(looking.containers().await, [("app".to_owned(), "present".to_owned())]);

        served.ask("DELETE", &format!("{SOURCES}/prod"), &admin(), Value::Null).await;
        assert_eq!(looking.containers().await.len(), 1, "what was seen stays, and ages");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_hangs_does_not_keep_others_waiting() {
    for looking in Looking::all(Duration::from_secs(2)).await {
        let (hanging, sound) = (Cluster::new().await, Cluster::new().await);
        hanging.set(HANGS);
        for number in 0..3 {
            add(&looking.served, source(&hanging, &format!("hangs-{number}"))).await;
        }
        for number in 0..3 {
            let status = looking.wait(&format!("hangs-{number}"), |status| status["looked_at"].is_string()).await;
            assert_eq!(status["coverage"], "failed");
            assert!(status["reason"].as_str().unwrap().contains("within 2s"), "{status}");
        }
        // By now one of two places is always free for what has not failed.
        add(&looking.served, source(&sound, "sound")).await;
        looking.wait("sound", |status| status["coverage"] == "complete").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_at_what_was_removed_is_given_up_and_tells_nothing() {
    for looking in Looking::all(Duration::from_secs(30)).await {
        let cluster = Cluster::new().await;
        cluster.set(HANGS);
        add(&looking.served, source(&cluster, "prod")).await;
        looking.wait("prod", |status| status["looking"] == true).await;
        looking.served.ask("DELETE", &format!("{SOURCES}/prod"), &admin(), Value::Null).await;
        // Its place is free again before the look would have ended by itself.
        for number in 0..2 {
            add(&looking.served, source(&cluster, &format!("other-{number}"))).await;
        }
        looking.wait("other-1", |status| status["looking"] == true).await;
        assert_eq!(looking.served.get("/v1/agents", &admin()).await.json()["items"], json!([]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_servers_one_looks_and_the_other_takes_over() {
    for first in Looking::all(Duration::from_secs(30)).await {
        let cluster = Cluster::new().await;
        cluster.set(HANGS);
        add(&first.served, source(&cluster, "prod")).await;
        first.wait("prod", |status| status["looking"] == true).await;
        let database = first.served.app.database.clone();
        let second = Looking::over(first.served.app.clone(), Duration::from_secs(30));
        cluster.set(ANSWERS);
        // It is killed in the middle of a look. That its lease has ended is not waited for.
        drop(first);
        let text = "UPDATE agentless SET lease_until = lease_until - 31000 WHERE lease_by IS NOT NULL";
        sqlx::query(text).execute(database.pool()).await.unwrap();
        let status = second.wait("prod", |status| status["coverage"] == "complete").await;
        assert_eq!(status["failures"], 0, "{status}");
        assert_eq!(cluster.looks(), 1, "one has looked");
        assert_eq!(second.containers().await, [("app".to_owned(), "present".to_owned())]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_that_cannot_be_opened_says_nothing_of_the_cluster() {
    for looking in Looking::all(Duration::from_secs(30)).await {
        let cluster = Cluster::new().await;
        add(&looking.served, source(&cluster, "prod")).await;
        looking.wait("prod", |status| status["coverage"] == "complete").await;
        let text = "UPDATE agentless SET id = id + 1000, next_at = 0, interval_seconds = 60";
        sqlx::query(text).execute(looking.served.app.database.pool()).await.unwrap();
        let status = looking.wait("prod", |status| status["failures"] == 1).await;
        assert!(status["reason"].as_str().unwrap().contains("store it again"), "{status}");
        assert_eq!(looking.containers().await, [("app".to_owned(), "present".to_owned())]);
    }
}
