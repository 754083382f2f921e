//! An account that has something of everything, and the words by which it is known.

use jiff::Timestamp;
use serde_json::{Value, json};
use stocktake_core::{
    Digest,
    model::{
        Agent, Container, Coverage, Host, Image, MissingReason, Report, SCHEMA_VERSION, Scope, ScopeEntry, ScopeId,
        Shown, Source, Workload,
    },
    normalise,
    wire::{self, append_frame},
};
use uuid::Uuid;

use crate::testing::{Account, PASSWORD, Served};

/// The digest of its images.
pub(super) const DIGEST: &str = "sha256:7ed7ed7ed7ed7ed7ed7ed7ed7ed7ed7ed7ed7ed7ed7ed7ed7ed7ed7ed7ed7ed7";

/// Words that stand in what it is answered, and in no other account's answers.
pub(super) const MARKS: [&str; 18] = [
    "redcluster",
    "redspace",
    "rednode",
    "redpod",
    "redhost",
    "redecs",
    "redkai",
    "redvalue",
    "redowner",
    "redintegration",
    "redagentless",
    "redsubscription",
    "redhooks",
    "redreason",
    "red-user",
    "red-read-only",
    "7ed7ed7ed7ed",
    "0red",
];

/// A UUID that ends so.
pub(super) fn uid(end: &str) -> String {
    format!("7ed00000-0000-4000-8000-{end:0>12}")
}

pub(super) struct Red {
    pub(super) account: Account,
    /// A request of the manifest protocol, and the same without what it is about.
    pub(super) report: Vec<u8>,
    pub(super) manifest: Vec<u8>,
    /// Of its only integration.
    pub(super) integration: String,
    /// Keys of a source and a container.
    pub(super) source: i64,
    pub(super) container: i64,
    /// Of a subscription and a watch.
    pub(super) subscription: i64,
    pub(super) watch: String,
}

/// What Anchore's agents send of it: path and body.
pub(super) fn told() -> [(&'static str, Value); 3] {
    let now = Timestamp::now().to_string();
    let pod = json!({"uid": uid("1"), "name": "redpod", "namespace_uid": uid("2"), "node_uid": uid("3"),
        "labels": {"redlabel": "redvalue"}});
    let container = json!({"id": "containerd://0red", "name": "app", "image_tag": "registry.red/app:1",
        "image_digest": DIGEST, "pod_uid": uid("1")});
    let kubernetes = json!({"cluster_name": "redcluster", "timestamp": now, "pods": [pod], "containers": [container],
        "namespaces": [{"uid": uid("2"), "name": "redspace"}], "nodes": [{"uid": uid("3"), "name": "rednode"}]});
    let ecs = json!({"timestamp": now, "cluster_arn": "arn:redecs", "services": [{"arn": "arn:redecs/s"}],
        "tasks": [{"arn": "arn:redecs/t", "service_arn": "arn:redecs/s"}],
        "containers": [{"arn": "arn:redecs/c", "image_tag": "redecs:1", "task_arn": "arn:redecs/t", "image_digest": DIGEST}]});
    let images = json!([{"tag": "registry.red/app:1", "repoDigest": DIGEST}]);
    let kai = json!({"timestamp": now, "cluster_name": "redkai", "inventory_type": "kubernetes",
        "results": [{"namespace": "redspace", "images": images}]});
    [("/v2/kubernetes-inventory", kubernetes), ("/v2/ecs-inventory", ecs), ("/v1/enterprise/inventories", kai)]
}

pub(super) fn registration() -> Value {
    json!({"registration_id": uid("4"), "registration_instance_id": "one", "type": "k8s_inventory_agent",
        "name": "redintegration", "username": "red-user", "health_report_interval": 60})
}

/// A cluster that the server looks at itself. Nobody is there.
pub(super) fn agentless() -> Value {
    let cluster = json!({"server": "https://127.0.0.1:1", "token": "redsecret", "insecure_skip_tls_verify": true});
    json!({"name": "redagentless", "kubernetes": cluster})
}

/// Another one, in Anchore's words.
pub(super) fn cluster() -> Value {
    let config =
        json!({"credential_type": "token", "cluster_server": "https://127.0.0.1:1", "credential": "redsecret"});
    json!({"cluster_name": "redagentless", "inventory_type": "kubernetes", "cluster_config": config})
}

pub(super) fn subscription() -> Value {
    json!({"name": "redsubscription", "on": {"cluster": "redcluster"},
        "channel": {"type": "webhook", "url": "https://redhooks.example.com/"}})
}

pub(super) fn watch() -> Value {
    json!({"subscription_type": "runtime_inventory", "subscription_key": "redcluster/redspace"})
}

/// A host with a container, and the manifest that names it, as `stocktake-agent` sends them.
fn frames() -> [Vec<u8>; 2] {
    let mut scope = Scope {
        workloads: vec![Workload {
            id: "redowner".into(),
            kind: "compose_service".into(),
            name: "redowner".into(),
            ..Workload::default()
        }],
        containers: vec![Container {
            id: Some("7ed7ed7ed7ed".repeat(5).into()),
            name: "redhost-app".into(),
            workload: Some("redowner".into()),
            image: Some("registry.red/host:1".into()),
            image_ref: Some("1".into()),
            ..Container::default()
        }],
        images: vec![Image {
            names: vec!["registry.red/host:1".into()],
            ..Image::unresolved("1", MissingReason::NotReported)
        }],
        ..Scope::default()
    };
    let counts = normalise(&mut scope);
    let body = serde_json::to_vec(&scope).unwrap();
    let host = Host { hostname: Some("redhost".into()), ..Host::default() };
    let scopes = vec![ScopeEntry {
        id: ScopeId::host(),
        coverage: Coverage::Complete,
        digest: Some(Digest::sha256(&body)),
        counts,
    }];
    let source = Source {
        collector: "docker".into(),
        kind: "docker".into(),
        runtime: None,
        cluster: None,
        host: Some(host),
        observed_at: Timestamp::now(),
        coverage: Coverage::Complete,
        shown: Shown::All,
        warnings: Vec::new(),
        cost: None,
        scopes,
    };
    let agent = Agent {
        id: Some(Uuid::from_u128(0x7ed)),
        run: Some(Uuid::from_u128(1)),
        version: "1".into(),
        hostname: Some("redhost".into()),
    };
    let report = Report {
        schema: SCHEMA_VERSION.into(),
        id: Uuid::now_v7(),
        agent,
        created_at: Timestamp::now(),
        sequence: Some(1),
        valid_for_seconds: Some(86_400),
        sources: vec![source],
    };
    let mut manifest = Vec::new();
    append_frame(&mut manifest, &serde_json::to_vec(&report).unwrap(), None).unwrap();
    let mut whole = manifest.clone();
    append_frame(&mut whole, &body, None).unwrap();
    [whole, manifest]
}

impl Red {
    pub(super) async fn of(served: &Served) -> Self {
        let account = served.account("red").await;
        let (admin, agent) = (account.with("admin"), account.with("inventory-agent"));
        let user = json!({"name": "red-user", "role": "read-only", "password": PASSWORD});
        assert!(served.ask("POST", "/v1/users", admin, user).await.status.is_success());
        for (path, body) in told() {
            let answer = served.ask("POST", path, agent, body).await;
            assert!(answer.status.is_success(), "{path}: {}", answer.text);
        }
        let [report, manifest] = frames();
        let answer = served.send("", "POST", "/v1/reports", agent, wire::MEDIA_TYPE, report.clone()).await;
        assert!(answer.status.is_success(), "{}", answer.text);
        let integration = served.ask("POST", "/v2/system/integrations/registration", agent, registration()).await;
        let integration = integration.json()["uuid"].as_str().unwrap().to_owned();
        let made = served.ask("POST", "/v1/agentless/sources", admin, agentless()).await;
        assert!(made.status.is_success(), "{}", made.text);
        let first = async |path: &str| served.get(path, admin).await.json()["items"][0]["id"].as_i64().unwrap();
        let (source, container) = (first("/v1/sources").await, first("/v1/containers").await);
        let made = served.ask("POST", "/v1/subscriptions", admin, subscription()).await;
        assert!(made.status.is_success(), "{}", made.text);
        let subscription = made.json()["id"].as_i64().unwrap();
        let letter =
            "INSERT INTO dead_letter SELECT account_id, id, 1, 1, 0, 'redreason', 0 FROM subscription WHERE id = $1";
        sqlx::query(letter).bind(subscription).execute(served.app.database.pool()).await.unwrap();
        let made = served.ask("POST", "/v2/subscriptions", admin, watch()).await;
        assert!(made.status.is_success(), "{}", made.text);
        let watch = made.json()["subscription_id"].as_str().unwrap().to_owned();
        Self { account, report, manifest, integration, source, container, subscription, watch }
    }

    /// What parameters of paths and questions are where they mean something of this account.
    pub(super) fn value(&self, path: &str, name: &str) -> Vec<String> {
        let one = |text: &str| vec![text.to_owned()];
        match (path, name) {
            ("/v1/sources/{id}", "id") => vec![self.source.to_string()],
            ("/v1/subscriptions/{id}", "id") | (_, "subscription") => vec![self.subscription.to_string()],
            ("/v2/subscriptions/{id}", "id") => one(&self.watch),
            (_, "id") => vec![self.container.to_string()],
            ("/v1/accounts/{name}", "name") => one("red"),
            ("/v1/tokens/{name}", "name") => one("red-read-only"),
            ("/v1/agentless/sources/{name}" | "/v1/agentless/sources/{name}/test", "name") | (_, "cluster_name") => {
                one("redagentless")
            }
            (_, "name") => one("red-user"),
            (_, "uuid") => one(&self.integration),
            ("/v2/kubernetes-namespaces/{uid}", _) => vec![uid("2")],
            ("/v2/kubernetes-nodes/{uid}", _) => vec![uid("3")],
            (_, "uid") => vec![uid("1")],
            (_, "cluster") => one("redcluster"),
            (_, "context") => vec!["redcluster/redspace".to_owned(), "redhost".to_owned()],
            (_, "digest") => one(DIGEST),
            (_, "host") => vec!["redhost".to_owned(), "rednode".to_owned()],
            (_, "image") => vec![DIGEST.to_owned(), "registry.red/host:1".to_owned()],
            (_, "label") => one("redlabel=redvalue"),
            (_, "namespace") => one("redspace"),
            (_, "node") => one("rednode"),
            (_, "owner") => one("redowner"),
            (_, "repository") => one("registry.red/app"),
            (_, "tag") => one("1"),
            (_, "at") => vec![Timestamp::now().to_string()],
            (_, "since" | "seen_since") => one("2020-01-01T00:00:00Z"),
            (_, "status") => vec!["all".to_owned(), "present".to_owned()],
            (_, "format") => vec!["csv".to_owned(), "ndjson".to_owned()],
            (_, "limit") => one("1000"),
            (_, "sort") => one("-name"),
            _ => Vec::new(),
        }
    }
}
