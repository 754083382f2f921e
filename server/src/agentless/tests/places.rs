//! Sources that are made to look elsewhere: what was seen before is not taken for gone.

use std::time::Duration;

use super::{
    cluster::{ANSWERS, HANGS, REFUSES, UNNAMED},
    looks::Looking,
    *,
};

/// Pods, by name, and how they are.
async fn pods(served: &Served) -> Vec<(String, String)> {
    let answer = served.get("/v1/pods?status=all", &admin()).await.json();
    let text = |item: &Value, key: &str| item[key].as_str().unwrap_or_default().to_owned();
    let items = answer["items"].as_array().unwrap_or_else(|| panic!("{answer}"));
    let mut all: Vec<_> = items.iter().map(|item| (text(item, "name"), text(item, "status"))).collect();
    all.sort();
    all
}

async fn agents(served: &Served) -> usize {
    served.get("/v1/agents", &admin()).await.json()["items"].as_array().unwrap().len()
}

/// Makes the source lead to where this one does, without its schedule.
async fn lead_to(looking: &Looking, cluster: &Cluster) -> Answer {
    let body = json!({"kubernetes": source(cluster, "prod")["kubernetes"]});
    looking.served.ask("PATCH", &format!("{SOURCES}/prod"), &admin(), body).await
}

fn present(name: &str) -> (String, String) {
    (name.to_owned(), "present".to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_seen_of_another_cluster_ages_and_is_not_gone() {
    for looking in Looking::all(Duration::from_secs(30)).await {
        let (first, second) = (Cluster::new().await, Cluster::new().await);
        second.be(2);
        add(&looking.served, source(&first, "prod")).await;
        looking.wait("prod", |status| status["coverage"] == "complete").await;
        assert_eq!(pods(&looking.served).await, [present("app-1")]);

        // Where it cannot be seen what is there, nothing is said of either.
        second.set(REFUSES);
        let status = lead_to(&looking, &second).await.json()["status"].clone();
        for key in ["seen_at", "looked_at", "coverage", "reason"] {
            assert_eq!(status[key], Value::Null, "nobody has looked there: {status}");
        }
        let status = looking.wait("prod", |status| status["failures"] == 1).await;
        assert_eq!((&status["coverage"], &status["seen_at"]), (&json!("denied"), &Value::Null), "{status}");
        assert_eq!((pods(&looking.served).await, agents(&looking.served).await), (vec![present("app-1")], 1));

        second.set(ANSWERS);
        looking.wait("prod", |status| status["coverage"] == "complete").await;
        assert_eq!(pods(&looking.served).await, [present("app-1"), present("app-2")]);
        assert_eq!(agents(&looking.served).await, 2);
        let changes = looking.served.get("/v1/changes?limit=1000", &admin()).await.json();
        let changes = changes["items"].as_array().unwrap();
        assert!(!changes.is_empty() && changes.iter().all(|change| change["change"] == "appeared"), "{changes:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_cluster_at_another_address_is_the_same() {
    for looking in Looking::all(Duration::from_secs(2)).await {
        let (first, second) = (Cluster::new().await, Cluster::new().await);
        add(&looking.served, source(&first, "prod")).await;
        looking.wait("prod", |status| status["coverage"] == "complete").await;
        lead_to(&looking, &second).await;
        looking.wait("prod", |status| status["coverage"] == "complete").await;
        assert_eq!((pods(&looking.served).await, agents(&looking.served).await), (vec![present("app-1")], 1));
        // And it is still that one when it is not seen for a while.
        second.set(HANGS);
        looking.look("prod").await;
        looking.wait("prod", |status| status["failures"] == 1).await;
        assert_eq!(pods(&looking.served).await, [("app-1".to_owned(), "stale".to_owned())]);
        assert_eq!(agents(&looking.served).await, 1);
        // Another credential for the same place changes nothing of what is known of it.
        let status = lead_to(&looking, &second).await.json()["status"].clone();
        assert!(status["seen_at"].is_string(), "{status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_cluster_at_the_same_address_is_another() {
    for looking in Looking::all(Duration::from_secs(30)).await {
        let cluster = Cluster::new().await;
        add(&looking.served, source(&cluster, "prod")).await;
        let first = looking.wait("prod", |status| status["coverage"] == "complete").await;
        cluster.be(2);
        looking.look("prod").await;
        looking.wait("prod", |status| status["looked_at"] != first["looked_at"]).await;
        assert_eq!(pods(&looking.served).await, [present("app-1"), present("app-2")]);
    }
}

/// Has it looked at again as it is now, and waits for that.
async fn again(looking: &Looking) -> Value {
    let before = looking.wait("prod", |status| status["looked_at"].is_string()).await;
    looking.look("prod").await;
    looking.wait("prod", |status| status["looked_at"] != before["looked_at"]).await
}

/// What has changed, as `CHANGE ENTITY`.
async fn changes(served: &Served) -> Vec<String> {
    let changes = served.get("/v1/changes?limit=1000", &admin()).await.json();
    let text = |change: &Value, key: &str| change[key].as_str().unwrap_or_default().to_owned();
    let items = changes["items"].as_array().unwrap_or_else(|| panic!("{changes}"));
    items.iter().map(|change| format!("{} {}", text(change, "change"), text(change, "entity"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_does_not_say_who_it_is_any_more_is_the_same() {
    for looking in Looking::all(Duration::from_secs(30)).await {
        let cluster = Cluster::new().await;
        add(&looking.served, source(&cluster, "prod")).await;
        looking.wait("prod", |status| status["coverage"] == "complete").await;
        let metrics = looking.served.get("/metrics", &admin()).await.text;
        assert!(metrics.contains(r#"reports_total{protocol="agentless",outcome="accepted"} 1"#), "{metrics}");
        let before = changes(&looking.served).await;
        for mood in [UNNAMED, ANSWERS] {
            cluster.set(mood);
            assert_eq!(again(&looking).await["coverage"], "complete");
            assert_eq!((pods(&looking.served).await, agents(&looking.served).await), (vec![present("app-1")], 1));
        }
        assert_eq!(changes(&looking.served).await, before, "nothing has come or gone");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_says_who_it_is_later_on_is_there_once() {
    for looking in Looking::all(Duration::from_secs(30)).await {
        let cluster = Cluster::new().await;
        cluster.set(UNNAMED);
        add(&looking.served, source(&cluster, "prod")).await;
        looking.wait("prod", |status| status["coverage"] == "complete").await;
        assert_eq!(pods(&looking.served).await, [present("app-1")]);
        let before = changes(&looking.served).await;
        for mood in [ANSWERS, UNNAMED, ANSWERS] {
            cluster.set(mood);
            assert_eq!(again(&looking).await["coverage"], "complete");
            let containers = looking.containers().await;
            assert_eq!((containers, agents(&looking.served).await), (vec![("app".into(), "present".into())], 1));
        }
        assert_eq!(changes(&looking.served).await, before, "nothing has come or gone");
        // From now on it is told from others.
        cluster.be(2);
        again(&looking).await;
        let containers = vec![("app".to_owned(), "present".to_owned()); 2];
        assert_eq!((looking.containers().await, agents(&looking.served).await), (containers, 2));
    }
}
