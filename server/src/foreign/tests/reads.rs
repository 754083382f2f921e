//! What Anchore's tools ask, over HTTP.

use axum::http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{DIGEST, UID};
use crate::testing::Served;

/// A UUID that ends so.
fn uid(end: &str) -> String {
    format!("{}{end}", &UID[..36 - end.len()])
}

/// A cluster with a namespace, a node, and so many pods with a container each.
fn cluster(pods: usize) -> Value {
    let pod = |number: usize| {
        json!({"uid": uid(&format!("{number:04}")), "name": format!("web-{number}"), "namespace_uid": uid("aaaa"),
            "node_uid": uid("bbbb"), "labels": {"app": "web"}, "annotations": {"a": "b"}})
    };
    let container = |number: usize| {
        json!({"id": format!("containerd://{number:064x}"), "name": "app", "image_tag": "nginx:1.25",
            "image_digest": DIGEST, "pod_uid": uid(&format!("{number:04}"))})
    };
    json!({"cluster_name": "prod", "timestamp": Timestamp::now().to_string(),
        "namespaces": [{"uid": uid("aaaa"), "name": "shop", "labels": {"team": "a"}, "annotations": {"x": "y"}}],
        "nodes": [{"uid": uid("bbbb"), "name": "node-1", "labels": {}, "kubelet_version": "v1.29.1"}],
        "pods": (0..pods).map(pod).collect::<Vec<_>>(), "containers": (0..pods).map(container).collect::<Vec<_>>()})
}

fn lines(answer: &Value, key: &str) -> Vec<Value> {
    answer[key].as_array().unwrap_or_else(|| panic!("no `{key}` in {answer}")).clone()
}

#[tokio::test]
async fn what_runs_in_a_cluster_is_told_under_their_names() {
    for served in Served::all().await {
        let shop = served.account("shop").await;
        let (agent, reader) = (shop.with("inventory-agent"), shop.with("read-only"));
        let taken = served.ask("POST", "/v2/kubernetes-inventory", agent, cluster(2)).await;
        assert_eq!((taken.status, taken.text.as_str()), (StatusCode::CREATED, ""));
        let list = async |path: &str, key: &str| {
            let answer = served.get(&format!("{path}?page=1"), reader).await;
            assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text);
            let mut lines = lines(&answer.json(), key);
            for line in &mut lines {
                assert!(line.get("last_seen").is_none_or(Value::is_string));
                line.as_object_mut().unwrap().remove("last_seen");
            }
            lines
        };
        let namespace = json!({"uid": uid("aaaa"), "name": "shop", "labels": {"team": "a"}, "annotations": {"x": "y"}});
        assert_eq!(list("/v2/kubernetes-namespaces", "namespaces").await, [namespace]);
        let node = json!({"uid": uid("bbbb"), "name": "node-1", "labels": {}, "annotations": {}});
        assert_eq!(list("/v2/kubernetes-nodes", "namespaces").await, [node]);
        let pod = json!({"id": uid("0001"), "name": "web-1", "account_name": "shop", "labels": {"app": "web"},
            "annotations": {}, "node_id": uid("bbbb"), "namespace_id": uid("aaaa")});
        let pods = list("/v2/kubernetes-pods", "namespaces").await;
        assert_eq!((pods.len(), pods.contains(&pod)), (2, true), "{pods:?}");
        let container = json!({"id": format!("{:064x}", 1), "name": "app", "pod_id": uid("0001"), "account_name": "shop",
            "context": "prod/shop", "image_tag": "nginx:1.25", "image_digest": DIGEST});
        let containers = list("/v2/kubernetes-containers", "containers").await;
        assert_eq!((containers.len(), containers.contains(&container)), (2, true), "{containers:?}");
        for (path, end, name) in
            [("namespaces", "aaaa", "shop"), ("nodes", "bbbb", "node-1"), ("pods", "0001", "web-1")]
        {
            let single = served.get(&format!("/v2/kubernetes-{path}/{}", uid(end)), reader).await;
            assert_eq!((single.status, &single.json()["name"]), (StatusCode::OK, &json!(name)), "{}", single.text);
            for unknown in [uid("ffff"), "x".to_owned(), "%25".to_owned()] {
                let missing = served.get(&format!("/v2/kubernetes-{path}/{unknown}"), reader).await;
                assert_eq!((missing.status, &missing.json()["httpcode"]), (StatusCode::NOT_FOUND, &json!(404)));
            }
        }
        let gone = served.ask("DELETE", "/v2/kubernetes-namespaces?cluster_name=prod", shop.with("admin"), Value::Null);
        assert_eq!(gone.await.status, StatusCode::NO_CONTENT);
        assert_eq!(list("/v2/kubernetes-containers", "containers").await, [] as [Value; 0]);
    }
}

#[tokio::test]
async fn pages_have_no_gaps_and_no_line_twice() {
    for served in Served::all().await {
        let shop = served.account("shop").await;
        let (agent, reader) = (shop.with("inventory-agent"), shop.with("read-only"));
        served.ask("POST", "/v2/kubernetes-inventory", agent, cluster(2500)).await;
        let page = async |page: i64, size: i64| -> Vec<String> {
            let answer = served.get(&format!("/v2/kubernetes-pods?page={page}&page_size={size}"), reader).await;
            let lines = lines(&answer.json(), "namespaces");
            lines.iter().map(|line| line["id"].as_str().unwrap().to_owned()).collect()
        };
        let whole = page(1, 10_000).await;
        let mut sorted = whole.clone();
        sorted.sort();
        sorted.dedup();
        assert_eq!((whole.len(), sorted.len()), (2500, 2500));
        let pages = [page(1, 1100).await, page(2, 1100).await, page(3, 1100).await, page(4, 1100).await];
        assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [1100, 1100, 300, 0]);
        assert_eq!(pages.concat(), whole);
        assert_eq!(page(2, i64::MAX).await, [""; 0]);
        for query in ["", "?page=0", "?page=x", "?page=1&page_size=0", "?page=1&size=2"] {
            let answer = served.get(&format!("/v2/kubernetes-pods{query}"), reader).await;
            assert_eq!((answer.status, &answer.json()["code"]), (StatusCode::BAD_REQUEST, &json!(400)), "{query}");
        }
    }
}

#[tokio::test]
async fn what_runs_in_ecs_is_told_under_their_names() {
    for served in Served::all().await {
        let shop = served.account("shop").await;
        let (agent, reader) = (shop.with("inventory-agent"), shop.with("read-only"));
        let arn = |rest: &str| format!("arn:aws:ecs:eu-west-1:1:{rest}");
        let body = json!({"timestamp": Timestamp::now().to_string(), "cluster_arn": arn("cluster/prod"),
            "containers": [{"arn": arn("container/c1"), "image_tag": "nginx:1.25", "image_digest": DIGEST, "task_arn": arn("task/t1")}],
            "tasks": [{"arn": arn("task/t1"), "service_arn": arn("service/web"), "tags": {"team": "a"}},
                {"arn": arn("task/t2"), "service_arn": "UNKNOWN"}],
            "services": [{"arn": arn("service/web")}]});
        assert_eq!(served.ask("POST", "/v2/ecs-inventory", agent, body).await.status, StatusCode::NO_CONTENT);
        let list = async |what: &str| lines(&served.get(&format!("/v2/ecs-{what}?page=1"), reader).await.json(), what);
        let (cluster_arn, service_arn) = (arn("cluster/prod"), arn("service/web"));
        assert_eq!(
            list("services").await,
            [json!({"arn": service_arn, "cluster_arn": cluster_arn, "tags": {}, "account_name": "shop"})]
        );
        let task = json!({"arn": arn("task/t1"), "cluster_arn": cluster_arn, "service_arn": service_arn,
            "task_definition_arn": "UNKNOWN", "tags": {"team": "a"}, "account_name": "shop"});
        let tasks = list("tasks").await;
        assert_eq!((tasks.len(), tasks.contains(&task)), (2, true), "{tasks:?}");
        assert!(tasks.iter().any(|task| task["service_arn"] == "UNKNOWN"));
        assert_eq!(
            list("containers").await,
            [json!({"arn": arn("container/c1"), "task_arn": arn("task/t1"), "account_name": "shop",
                "context": cluster_arn, "image_tag": "nginx:1.25", "image_digest": DIGEST})]
        );
        let pods = served.get("/v2/kubernetes-pods?page=1", reader).await.json();
        assert_eq!(pods, json!({"namespaces": []}), "tasks are no pods");
    }
}

#[tokio::test]
async fn kai_is_told_what_of_its_report_is_in_the_inventory() {
    for served in Served::all().await {
        let shop = served.account("shop").await;
        let agent = shop.with("inventory-agent");
        // Another agent's, of the same namespace: who only reports is not told of it.
        let mut other = cluster(1);
        other["containers"][0]["image_tag"] = "secret:1".into();
        served.ask("POST", "/v2/kubernetes-inventory", agent, other).await;
        let results: Vec<Value> = (0..120)
            .map(|number| json!({"namespace": format!("n{number}"), "images": [{"tag": "alpine:3", "repoDigest": DIGEST}]}))
            .chain([json!({"namespace": "shop", "images": [{"tag": "nginx:1.25"}]}), json!({"namespace": "empty", "images": []})])
            .collect();
        let report = json!({"timestamp": Timestamp::now().to_string(), "cluster_name": "prod",
            "inventory_type": "kubernetes", "results": results});
        let answer = served.ask("POST", "/v1/enterprise/inventories", agent, report).await;
        assert_eq!(answer.status, StatusCode::OK);
        let items = answer.json();
        let items = items.as_array().unwrap();
        assert_eq!(items.len(), 121, "{}", answer.text);
        let shop = items.iter().find(|item| item["context"] == "prod/shop").unwrap();
        assert_eq!((&shop["image_tag"], &shop["image_digest"]), (&json!("nginx:1.25"), &json!("unknown")));
        assert!(shop["created_at"].is_string() && shop["last_seen"].is_string() && !answer.text.contains("secret"));
    }
}

#[tokio::test]
async fn the_inventory_is_listed_over_many_contexts() {
    for served in Served::all().await {
        let shop = served.account("shop").await;
        let (agent, reader) = (shop.with("inventory-agent"), shop.with("read-only"));
        let images = json!([{"tag": "alpine:3", "repoDigest": DIGEST}, {"tag": "nginx:1.25"}]);
        let results: Vec<Value> =
            (0..130).map(|number| json!({"namespace": format!("n{number:03}"), "images": images})).collect();
        let report = json!({"timestamp": Timestamp::now().to_string(), "cluster_name": "prod", "results": results});
        served.ask("POST", "/v1/enterprise/inventories", agent, report).await;
        let v2 = served.get("/v2/inventories", reader).await;
        let v2 = lines(&v2.json(), "items");
        let contexts: Vec<&str> = v2.iter().map(|item| item["context"].as_str().unwrap()).collect();
        assert!(contexts.len() == 260 && contexts.is_sorted());
        assert_eq!(served.get("/v1/enterprise/inventories", reader).await.json(), Value::Array(v2));
        let of = async |query: &str| {
            lines(&served.get(&format!("/v2/inventories?{query}"), reader).await.json(), "items").len()
        };
        assert_eq!(of(&format!("image_digest={DIGEST}")).await, 130);
        assert_eq!(of(&format!("image_digest={DIGEST}&context=prod/n007")).await, 1);
        assert_eq!(of("context=prod/n129&inventory_type=kubernetes").await, 2);
        assert_eq!(of("inventory_type=ecs").await, 0);
    }
}

#[tokio::test]
async fn an_account_that_there_is_not_is_told_in_the_words_that_agents_know() {
    let served = Served::all().await.swap_remove(0);
    let admin = crate::testing::basic("admin", crate::testing::PASSWORD);
    let answer = served.ask_in("nobody", "POST", "/v2/kubernetes-inventory", &admin, cluster(1)).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    let body = answer.json();
    assert!(body["message"].as_str().unwrap().contains("User account not found"), "{body}");
    assert_eq!((&body["httpcode"], body["detail"].is_object()), (&json!(404), true));
    let unknown = served.get("/v2/inventories", "").await;
    assert_eq!((unknown.status, &unknown.json()["code"]), (StatusCode::UNAUTHORIZED, &json!(401)));
    assert!(unknown.headers.contains_key("www-authenticate"));
}
