//! Reports as the agents send them, and what becomes of them.

mod integrations;
mod reads;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sqlx::Row as _;
use stocktake_core::wire::Outcome;

use super::{
    ecs::EcsInventory,
    inventories::{Asked, InventoryItem, Wanted, piece},
    kai::InventoryReport,
    kubernetes::KubernetesInventory,
};
use crate::{
    app::{App, Retention},
    database::Database,
    ingest::{Incoming, Ingest, Removal, remove},
    testing::databases,
};

const DIGEST: &str = "sha256:21a3deaa0d32a8057914f36584b5288d2e5ecc984380bc0118285c70fa8c9300";
const UID: &str = "0190f0c4-7b1e-7cc2-8f1e-0123456789ab";

fn kai(timestamp: &str, images: &Value) -> Incoming {
    let body = json!({"timestamp": timestamp, "cluster_name": "eks-prod", "inventory_type": "kubernetes",
        "results": [{"namespace": "default", "images": images}, {"namespace": "empty", "images": []}],
        "serverVersionMetadata": {"major": "1", "minor": "21+", "gitVersion": "v1.21.5"}})
    .to_string();
    serde_json::from_str::<InventoryReport>(&body).unwrap().incoming(body.as_bytes())
}

/// Context, name, repository digest if any, and whether it is gone.
async fn uses(database: &Database) -> Vec<(String, String, Option<String>, bool)> {
    let rows = sqlx::query(
        "SELECT scope.context, image_name.name, image_use.gone_at, image_digest.digest FROM image_use \
         JOIN scope ON scope.id = image_use.scope_id JOIN image_name ON image_name.id = image_use.name_id \
         LEFT JOIN image_digest ON image_digest.image_id = image_use.image_id AND image_digest.kind = 'repo' \
         ORDER BY scope.context, image_name.name",
    );
    let rows = rows.fetch_all(database.pool()).await.unwrap();
    rows.iter()
        .map(|row| {
            let is_gone = row.get::<Option<i64>, _>("gone_at").is_some();
            (row.get("context"), row.get("name"), row.get("digest"), is_gone)
        })
        .collect()
}

fn used(context: &str, name: &str, digest: Option<&str>, is_gone: bool) -> (String, String, Option<String>, bool) {
    (context.into(), name.into(), digest.map(Into::into), is_gone)
}

#[tokio::test]
async fn kai_tells_of_images_and_of_nothing_else() {
    for database in databases().await {
        let ingest = Ingest::new(database.clone());
        let images = json!([{"tag": "alpine:3", "repoDigest": DIGEST}, {"tag": "nginx:1.25"}]);
        let first = kai("2021-11-17T18:47:36Z", &images);
        assert_eq!(ingest.take(1, &first).await.unwrap().outcome, Outcome::Accepted);
        let again = kai("2021-11-17T18:47:36Z", &images);
        assert_eq!(ingest.take(1, &again).await.unwrap().outcome, Outcome::Known);
        let context = "eks-prod/default";
        assert_eq!(
            uses(&database).await,
            [used(context, "alpine:3", Some(DIGEST), false), used(context, "nginx:1.25", None, false)]
        );
        ingest.take(1, &kai("2021-11-17T18:52:36Z", &json!([{"tag": "nginx:1.25"}]))).await.unwrap();
        assert_eq!(
            uses(&database).await,
            [used(context, "alpine:3", Some(DIGEST), true), used(context, "nginx:1.25", None, false)]
        );
    }
}

fn batch(namespace: &str, uid: &str, container: &str) -> Incoming {
    let pod = format!("{}{}", &UID[..35], &uid[..1]);
    let body = json!({"cluster_name": "prod", "timestamp": Timestamp::now().to_string(), "serverVersionMetadata": null,
        "namespaces": [{"uid": format!("{}{}", &UID[..35], &namespace[..1]), "name": namespace, "labels": {"team": "a"}}],
        "nodes": [{"uid": UID, "name": "node-1", "arch": "amd64", "kubelet_version": "v1.29.1"}],
        "pods": [{"uid": pod, "name": "web-1", "namespace_uid": format!("{}{}", &UID[..35], &namespace[..1]), "node_uid": UID}],
        "containers": [{"id": format!("containerd://{container}"), "name": "app", "image_tag": "nginx:1.25", "image_digest": DIGEST, "pod_uid": pod}]})
    .to_string();
    serde_json::from_str::<KubernetesInventory>(&body).unwrap().incoming(body.as_bytes())
}

#[tokio::test]
async fn a_batch_of_k8s_inventory_says_nothing_of_namespaces_that_it_does_not_name() {
    for database in databases().await {
        let ingest = Ingest::new(database.clone());
        ingest.take(1, &batch("alpha", "0", "aa")).await.unwrap();
        ingest.take(1, &batch("beta", "1", "bb")).await.unwrap();
        let rows = sqlx::query(
            "SELECT scope.context, pod.node_name, container.runtime_id, scope.follows FROM container \
             JOIN scope ON scope.id = container.scope_id JOIN pod ON pod.id = container.pod_id \
             WHERE container.gone_at IS NULL AND scope.gone_at IS NULL ORDER BY scope.context",
        );
        let rows = rows.fetch_all(database.pool()).await.unwrap();
        let found: Vec<(String, String, Vec<u8>, i64)> = rows
            .iter()
            .map(|row| (row.get("context"), row.get("node_name"), row.get("runtime_id"), row.get("follows")))
            .collect();
        let expected = [("prod/alpha", 0xaa), ("prod/beta", 0xbb)];
        let expected = expected.map(|(context, id)| (context.to_owned(), "node-1".to_owned(), vec![1, id], 2));
        assert_eq!(found, expected);
        let nodes: i64 = sqlx::query_scalar("SELECT count(*) FROM node WHERE gone_at IS NULL")
            .fetch_one(database.pool())
            .await
            .unwrap();
        assert_eq!(nodes, 1);
    }
}

#[tokio::test]
async fn tasks_of_ecs_are_pods_and_services_own_them() {
    for database in databases().await {
        let ingest = Ingest::new(database.clone());
        let cluster = "arn:aws:ecs:us-west-2:1:cluster/c";
        let body = json!({"cluster_arn": cluster, "timestamp": "2024-03-01T10:00:00Z",
            "containers": [{"arn": "arn:aws:ecs:us-west-2:1:container/c/t1/x", "image_tag": "nginx:1.25", "image_digest": DIGEST, "task_arn": "arn:t/t1"}],
            "tasks": [{"arn": "arn:t/t1", "service_arn": "arn:s/web", "tags": {"team": "a"}}, {"arn": "arn:t/t2", "service_arn": "UNKNOWN"}],
            "services": [{"arn": "arn:s/web"}]})
        .to_string();
        let incoming = serde_json::from_str::<EcsInventory>(&body).unwrap().incoming(body.as_bytes());
        ingest.take(1, &incoming).await.unwrap();
        let row = sqlx::query(
            "SELECT scope.context, workload.kind, workload.name, pod.name AS pod FROM container \
             JOIN scope ON scope.id = container.scope_id JOIN pod ON pod.id = container.pod_id \
             JOIN workload ON workload.id = coalesce(container.workload_id, pod.workload_id)",
        );
        let row = row.fetch_one(database.pool()).await.unwrap();
        let found: [String; 4] = [row.get("context"), row.get("kind"), row.get("name"), row.get("pod")];
        assert_eq!(found, [cluster, "ecs_service", "web", "t1"]);
    }
}

#[tokio::test]
async fn the_inventory_lists_what_the_time_to_live_lets_stand() {
    for database in databases().await {
        let app = App::usual(database.clone(), Retention::default());
        let now = Timestamp::now();
        let at = |minutes: i64| (now - SignedDuration::from_mins(minutes)).to_string();
        let both = json!([{"tag": "alpine:3", "repoDigest": DIGEST}, {"tag": "nginx:1.25"}]);
        app.ingest.take(1, &kai(&at(10), &both)).await.unwrap();
        app.ingest.take(1, &kai(&at(5), &json!([{"tag": "nginx:1.25"}]))).await.unwrap();
        let listed = |ttl_days| {
            let app = App { retention: Retention { ttl_days, ..Retention::default() }, ..app.clone() };
            async move { tags(&app, &Asked::default()).await }
        };
        assert_eq!(listed(120).await, ["alpine:3", "nginx:1.25"]);
        assert_eq!(listed(0).await, ["alpine:3", "nginx:1.25"]);
        assert_eq!(listed(-1).await, ["nginx:1.25"], "only what the latest report holds");
        let by_digest = Asked { image_digest: Some(DIGEST.into()), ..Asked::default() };
        assert_eq!(tags(&app, &by_digest).await, ["alpine:3"]);
        let elsewhere = Asked { context: Some("eks-prod/kube-system".into()), ..Asked::default() };
        assert_eq!(tags(&app, &elsewhere).await, [""; 0]);
        let found = items(&app, 1, &by_digest).await;
        let found = serde_json::to_value(&found[0]).unwrap();
        assert_eq!((&found["image_digest"], &found["inventory_type"]), (&json!(DIGEST), &json!("kubernetes")));
        assert_eq!(items(&app, 2, &Asked::default()).await, [], "another account's");
    }
}

async fn items(app: &App, account: i64, asked: &Asked) -> Vec<InventoryItem> {
    let wanted = std::sync::Arc::new(Wanted::by(asked.clone()));
    let (mut items, mut after) = (Vec::new(), Some(None));
    while let Some(at) = after {
        let (more, next) = piece(app.clone(), account, wanted.clone(), at).await.unwrap();
        items.extend(more);
        after = next;
    }
    items
}

async fn tags(app: &App, asked: &Asked) -> Vec<String> {
    let items = serde_json::to_value(items(app, 1, asked).await).unwrap();
    items.as_array().unwrap().iter().map(|item| item["image_tag"].as_str().unwrap().to_owned()).collect()
}

/// What happened, to what, and how often.
async fn events(database: &Database) -> Vec<(i64, i64, i64)> {
    let text = "SELECT kind, entity, count(*) AS count FROM event GROUP BY kind, entity ORDER BY kind, entity";
    let rows = sqlx::query(text).fetch_all(database.pool()).await.unwrap();
    rows.iter().map(|row| (row.get("kind"), row.get("entity"), row.get("count"))).collect()
}

#[tokio::test]
async fn what_was_removed_has_disappeared_until_it_is_reported_again() {
    for database in databases().await {
        let app = App::usual(database.clone(), Retention { ttl_days: 0, ..Retention::default() });
        app.ingest.take(1, &batch("alpha", "0", "aa")).await.unwrap();
        let now = Timestamp::now().as_millisecond();
        let removed = async |account, what| remove(&database, account, what, now).await.unwrap();
        let (kind, context) = ("kubernetes", "prod/alpha");
        assert_eq!(tags(&app, &Asked::default()).await, ["nginx:1.25"]);
        assert_eq!(removed(2, Removal::Context { kind, context }).await, 0, "another account's");
        assert_eq!(
            removed(1, Removal::Image { kind, context, digest: DIGEST }).await,
            0,
            "an image that is still there"
        );
        assert_eq!(removed(1, Removal::Cluster { kind, name: "alpha" }).await, 0, "no such cluster");
        assert!(removed(1, Removal::Context { kind, context }).await > 0);
        assert_eq!(tags(&app, &Asked::default()).await, [""; 0], "though everything counts for ever");
        assert_eq!(removed(1, Removal::Context { kind, context }).await, 0, "once");
        let (container, image, once) = (1, 2, 1);
        let appeared_and_disappeared = [(1, container, once), (1, image, once), (2, container, once), (2, image, once)];
        assert_eq!(events(&database).await, appeared_and_disappeared);
        app.ingest.take(1, &batch("alpha", "0", "aa")).await.unwrap();
        assert_eq!(tags(&app, &Asked::default()).await, ["nginx:1.25"]);
        assert_eq!(events(&database).await[0], (1, container, 2));
        assert!(removed(1, Removal::Cluster { kind, name: "prod" }).await > 0);
        assert_eq!(tags(&app, &Asked::default()).await, [""; 0]);
    }
}

#[tokio::test]
async fn an_image_that_is_gone_is_removed_by_its_digest() {
    for database in databases().await {
        let app = App::usual(database.clone(), Retention::default());
        let now = Timestamp::now();
        let at = |minutes: i64| (now - SignedDuration::from_mins(minutes)).to_string();
        let both = json!([{"tag": "alpine:3", "repoDigest": DIGEST}, {"tag": "nginx:1.25"}]);
        app.ingest.take(1, &kai(&at(10), &both)).await.unwrap();
        app.ingest.take(1, &kai(&at(5), &json!([{"tag": "nginx:1.25"}]))).await.unwrap();
        let what = Removal::Image { kind: "kubernetes", context: "eks-prod/default", digest: DIGEST };
        let now = now.as_millisecond();
        assert_eq!(remove(&database, 1, what, now).await.unwrap(), 1);
        assert_eq!(tags(&app, &Asked::default()).await, ["nginx:1.25"]);
        assert_eq!(remove(&database, 1, what, now).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn an_image_that_is_only_listed_is_in_use_by_no_container() {
    for database in databases().await {
        let ingest = Ingest::new(database.clone());
        ingest.take(1, &kai("2021-11-17T18:47:36Z", &json!([{"tag": "alpine:3"}]))).await.unwrap();
        let text = "SELECT containers FROM image_use WHERE gone_at IS NULL";
        let containers: Vec<i64> = sqlx::query_scalar(text).fetch_all(database.pool()).await.unwrap();
        assert_eq!(containers, [0]);
        // Listed again with another one, it neither comes nor goes.
        let both = json!([{"tag": "alpine:3"}, {"tag": "nginx:1.25"}]);
        ingest.take(1, &kai("2021-11-17T18:52:36Z", &both)).await.unwrap();
        assert_eq!(events(&database).await, [(1, 2, 2)]);
    }
}

#[test]
fn a_container_whose_pod_is_not_told_of_is_not_left_out_without_a_word() {
    let pod = json!({"uid": UID, "name": "web-1", "namespace_uid": UID});
    let container = json!({"id": "containerd://aa", "name": "app", "image_tag": "nginx:1.25", "pod_uid": UID});
    let told = |pods: Value| {
        let body =
            json!({"cluster_name": "c", "timestamp": "2024-03-01T10:00:00Z", "pods": pods, "containers": [container]});
        serde_json::from_value::<KubernetesInventory>(body).unwrap()
    };
    assert_eq!(told(json!([pod])).without_pod(), None);
    assert_eq!(told(json!([])).without_pod(), Some("containerd://aa"));
}
