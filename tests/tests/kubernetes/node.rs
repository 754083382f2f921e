//! One node, as an agent on it sees it: through the API server and through its kubelet.

use std::sync::PoisonError;

use futures_util::StreamExt as _;
use serde_json::{Value, json};
use stocktake_collector_kubernetes::KubernetesCollector;
use stocktake_core::{
    CollectorPlugin, ConfigError, Context, RuntimeCollector, ScopeChange, Selection,
    model::{Coverage, Pod, Scope, ScopeId, Text},
};
use stocktake_tests::{agent::Agent, bed, cleanup::Cleanup, needs, report::Report, tools};

use crate::{
    BATCH, Sink,
    account::{Account, KUBELET, KUBELET_CA, granting, objects, permissions},
    collect, namespace,
};

const NODE: &str = "node = 'bed-node'";

fn node() -> ScopeId {
    ScopeId::node("bed-node")
}

fn kubelet(rest: &str) -> String {
    format!("{NODE}\n[collectors.k.kubelet]\nurl = '{KUBELET}'\nca_file = '{KUBELET_CA}'\n{rest}")
}

/// All that was seen, sorted. What changes from one look to the next is how often a container was restarted, and its state.
fn flat(scopes: &[&Scope]) -> Value {
    let mut pods: Vec<Pod> = scopes.iter().flat_map(|scope| &scope.pods).cloned().collect();
    for pod in &mut pods {
        pod.workload = None;
    }
    let mut containers: Vec<Value> = Vec::new();
    for scope in scopes {
        for container in &scope.containers {
            let mut value = serde_json::to_value(container).unwrap();
            if container.name == "main" {
                let object = value.as_object_mut().unwrap();
                let steady = ["name", "kind", "pod_uid", "image", "node_name"];
                object.retain(|key, _| steady.contains(&key.as_str()));
            }
            containers.push(value);
        }
    }
    let sorted = |mut values: Vec<Value>| {
        values.sort_by_key(Value::to_string);
        values.dedup();
        values
    };
    let json = |values: Vec<Value>| json!(sorted(values));
    let value = |pod: &Pod| serde_json::to_value(pod).unwrap();
    let owners = scopes.iter().flat_map(|scope| &scope.workloads).map(|owner| serde_json::to_value(owner).unwrap());
    json!({
        "pods": json(pods.iter().map(value).collect()),
        "containers": json(containers),
        "owners": json(owners.collect()),
        "images": json(scopes.iter().flat_map(|scope| &scope.images).map(|image| json!(image.id)).collect()),
    })
}

fn everything(report: &Report) -> Value {
    let scopes: Vec<&Scope> = report.bodies("k").map(|(_, scope)| scope).collect();
    flat(&scopes)
}

#[test]
fn a_node_by_the_api_server_is_what_the_cluster_has_on_it() {
    needs!("kubernetes");
    let _shared = BATCH.read().unwrap_or_else(PoisonError::into_inner);
    let whole = collect("reader", "").exits(0).report();
    let alone = collect("reader", NODE).exits(0).report();
    let scopes: Vec<&ScopeId> = alone.source("k").scopes.iter().map(|entry| &entry.id).collect();
    assert_eq!(scopes, [&node()]);
    assert!(alone.source("k").warnings.is_empty(), "{:?}", alone.source("k").warnings);
    assert_eq!(everything(&alone), everything(&whole), "the bed has one node");
    let of_cluster = &whole.scope("k", &ScopeId::cluster()).nodes;
    assert_eq!(&alone.scope("k", &node()).nodes, of_cluster);
}

#[test]
fn a_node_by_its_kubelet_is_what_the_api_server_says_of_it() {
    needs!("kubernetes");
    let _shared = BATCH.read().unwrap_or_else(PoisonError::into_inner);
    let by_api = collect("admin", NODE).exits(0).report();
    let by_kubelet = collect("admin", &kubelet("")).exits(0).report();
    assert!(by_kubelet.source("k").warnings.is_empty(), "{:?}", by_kubelet.source("k").warnings);
    let (api, own) = (by_api.scope("k", &node()), by_kubelet.scope("k", &node()));
    assert_eq!(own.nodes, api.nodes);

    // The mirror of a static pod has a uid of its own, the time at which it was made, and a word that it is a mirror.
    let mirror = api.pods.iter().find(|pod| pod.config_hash.is_some()).expect("a static pod").clone();
    let hash = mirror.config_hash.clone().unwrap();
    let mut api = api.clone();
    for pod in api.pods.iter_mut().filter(|pod| pod.uid == mirror.uid) {
        pod.uid.clone_from(&hash);
        pod.created_at = None;
        pod.annotations = pod
            .annotations
            .iter()
            .filter(|(key, _)| *key != "kubernetes.io/config.mirror")
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
    }
    for container in api.containers.iter_mut().filter(|container| container.pod_uid.as_ref() == Some(&mirror.uid)) {
        container.pod_uid = Some(hash.clone());
    }
    assert_eq!(flat(&[own]), flat(&[&api]));
}

/// Whoever looks at the cluster and whoever looks at the node see one container, also of a static pod.
#[test]
fn a_node_and_its_cluster_are_one_inventory() {
    needs!("kubernetes");
    let _shared = BATCH.read().unwrap_or_else(PoisonError::into_inner);
    let admin = bed::kubeconfig("admin");
    let config = format!(
        "[collectors.k]\ntype = 'kubernetes'\nkubeconfig = '{admin}'\n{}\n\
         [collectors.whole]\ntype = 'kubernetes'\nkubeconfig = '{admin}'\n\
         [collectors.c]\ntype = 'containerd'\naddress = '{}'\nnamespaces = ['k8s.io']\n",
        kubelet(""),
        bed::CONTAINERD
    );
    let mut found = (0, 0, Vec::new());
    // One of the bed's pods never rests, and may be started again between what one collector sees and what another does. It
    // rests ever longer, so that there is soon a look without that.
    for _ in 0..5 {
        let report = Agent::collect(&config, &["--format", "json"]).run().exits(0).report();
        let unified = report.inventory.unified.as_ref().expect("a unified view");
        let joined = unified.containers.iter().filter(|container| {
            let seen = |collector: &str| container.seen.iter().any(|seen| seen.collector == collector);
            seen("k") && seen("whole")
        });
        found = (joined.count(), report.containers("whole"), unified.findings.clone());
        if found.0 == found.1 && found.2.is_empty() {
            break;
        }
    }
    let (joined, whole, findings) = found;
    assert_eq!(joined, whole);
    assert!(whole > 10 && findings.is_empty(), "{whole} containers, {findings:?}");
}

#[test]
fn nothing_is_listed_of_the_cluster_for_one_node() {
    needs!("kubernetes");
    let _shared = BATCH.read().unwrap_or_else(PoisonError::into_inner);
    for (file, extra) in [
        ("clusterrole-node.yaml", json!({ "node": "$NODE_NAME" })),
        (
            "clusterrole-kubelet.yaml",
            json!({ "node": "bed-node", "kubelet": { "url": KUBELET, "ca_file": KUBELET_CA } }),
        ),
    ] {
        let mut whole = objects(file);
        let granted = permissions(&mut whole);
        let name = format!("node-requests-{}", file.trim_end_matches(".yaml"));
        let account = Account::new(&name, &granting(whole, &granted), &granted);
        let config = json!({ "collectors": { "k": account.settings(&extra) } });
        let mut config: toml::Table = toml::Table::try_from(config).unwrap();
        config["collectors"]["k"].as_table_mut().unwrap().insert("type".into(), "kubernetes".into());
        let run = Agent::collect(&config.to_string(), &["--format", "json"]).env("NODE_NAME", "bed-node").run();
        assert!(run.exits(0).report().containers("k") > 10);

        let mut requests = account.requests();
        requests.sort();
        let names = tools::output(tools::kubectl().args([
            "get",
            "replicasets,jobs",
            "-A",
            "-o",
            "jsonpath={range .items[*]}{.apiVersion} {.metadata.namespace} {.kind} {.metadata.name}{\"\\n\"}{end}",
        ]));
        let mut expected: Vec<String> = names
            .lines()
            .map(|line| {
                let words: Vec<&str> = line.split(' ').collect();
                let resource = format!("{}s", words[2].to_lowercase());
                format!("/apis/{}/namespaces/{}/{resource}/{}", words[0], words[1], words[3])
            })
            .collect();
        expected.extend(["/version", "/api/v1/namespaces/kube-system", "/api/v1/nodes/bed-node"].map(str::to_owned));
        if file == "clusterrole-node.yaml" {
            expected.push("/api/v1/pods?resourceVersion=0&fieldSelector=spec.nodeName%3Dbed-node".to_owned());
        }
        expected.sort();
        assert_eq!(requests, expected, "{file}");
    }
}

fn label(pod: &str, value: &str) {
    let _ = tools::output(tools::kubectl().args(["-n", "batch", "label", "--overwrite", "pod", pod, value]));
}

#[test]
fn what_changes_on_a_node_is_told_of_the_node_and_read_without_a_request() {
    needs!("kubernetes");
    let _alone = BATCH.write().unwrap_or_else(PoisonError::into_inner);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(follow_a_label());
}

async fn follow_a_label() {
    let settings = json!({ "kubeconfig": bed::kubeconfig("reader"), "node": "bed-node" });
    let collector = KubernetesCollector::new(ConfigError::deserialize(settings).unwrap(), Context::default()).unwrap();
    let mut changes = collector.changes();
    assert_eq!(changes.next().await.unwrap().unwrap(), ScopeChange::All);
    let mut first = Sink::default();
    collector.collect(&Selection::All, &mut first).await.unwrap();
    assert!(first.cost.requests > 0 && first.scopes.len() == 1);

    let pods = tools::output(tools::kubectl().args(["-n", "batch", "get", "pods", "-l", "app=nightly", "-o", "name"]));
    let pod = pods.trim().trim_start_matches("pod/").to_owned();
    let _cleanup = Cleanup::new(|| label(&pod, "watched-"));
    label(&pod, "watched=yes");
    let is_seen = async {
        loop {
            let change = changes.next().await.unwrap().unwrap();
            assert_eq!(change, ScopeChange::Scopes([node()].into()));
            let mut sink = Sink::default();
            collector.collect(&change.into(), &mut sink).await.unwrap();
            assert_eq!(sink.cost.requests, 0);
            assert_eq!(sink.scopes.len(), 1);
            let body = &sink.scopes[0].body;
            assert_eq!((body.nodes.len(), body.pods.len()), (1, first.scopes[0].body.pods.len()));
            if body.pods.iter().any(|pod| pod.labels.get("watched").is_some()) {
                break;
            }
        }
    };
    tokio::time::timeout(std::time::Duration::from_mins(1), is_seen).await.unwrap();
}

#[tokio::test]
async fn a_kubelet_is_looked_at_from_time_to_time() {
    needs!("kubernetes");
    let settings = json!({
        "kubeconfig": bed::kubeconfig("admin"), "node": "bed-node", "kubelet": { "url": KUBELET, "ca_file": KUBELET_CA },
    });
    let collector = KubernetesCollector::new(ConfigError::deserialize(settings).unwrap(), Context::default()).unwrap();
    assert!(collector.changes().next().await.is_none());
}

#[test]
fn a_kubelet_that_cannot_be_asked_is_said_and_done_without() {
    needs!("kubernetes");
    let down = format!("{NODE}\n[collectors.k.kubelet]\nurl = 'https://127.0.0.1:1'");
    let unknown = format!("{NODE}\n[collectors.k.kubelet]\nurl = '{KUBELET}'");
    for (user, settings, words) in [
        ("admin", down.as_str(), "cannot connect to the kubelet at https://127.0.0.1:1"),
        ("admin", unknown.as_str(), "cannot agree on TLS with the kubelet"),
        ("reader", &kubelet(""), "grant `get` on `nodes/pods`"),
    ] {
        let report = collect(user, settings).exits(0).report();
        let warnings: Vec<&str> = report.source("k").warnings.iter().map(|warning| warning.message.as_str()).collect();
        let [warning] = warnings[..] else { panic!("{warnings:?}") };
        assert!(warning.starts_with("the pods of node `bed-node` are listed by the API server"), "{warning}");
        assert!(warning.contains(words), "{warning}");
        assert!(report.coverage("k", &node()).is_complete());
        assert!(report.containers("k") > 10);
    }
}

#[test]
fn a_kubelet_whose_certificate_is_not_checked_is_warned_of() {
    needs!("kubernetes");
    let settings =
        format!("{NODE}\n[collectors.k.kubelet]\nurl = '{KUBELET}'\ndanger_accept_invalid_certificates = true");
    let report = collect("admin", &settings).exits(0).report();
    let warnings = &report.source("k").warnings;
    assert!(warnings.len() == 1 && warnings[0].message.contains("is not checked"), "{warnings:?}");
}

#[test]
fn a_node_is_selected_by_namespace_and_by_state() {
    needs!("kubernetes");
    for settings in [NODE.to_owned(), kubelet("")] {
        let both = format!("namespaces = ['shop', 'empty']\ninclude_not_running = false\n{settings}");
        let report = collect("admin", &both).exits(0).report();
        let scope = report.scope("k", &node());
        let of: Vec<&Text> = scope.pods.iter().map(|pod| &pod.namespace).collect();
        assert!(!of.is_empty() && of.iter().all(|namespace| **namespace == "shop"), "{of:?}");
        assert!(scope.containers.iter().all(|container| container.state.as_str() == "running"));
        let whole = collect("admin", "namespaces = ['shop']\ninclude_not_running = false").exits(0).report();
        assert_eq!(scope.containers.len(), whole.scope("k", &namespace("shop")).containers.len());
    }
}

#[test]
fn a_node_may_be_seen_in_some_namespaces_alone() {
    needs!("kubernetes");
    let settings = format!("{NODE}\nnamespaces = ['shop', 'restricted']");
    let report = collect("limited", &settings).exits(1).report();
    let Coverage::Partial { reason } = report.coverage("k", &node()) else { panic!("restricted may not be listed") };
    assert!(reason.contains("`restricted`") && reason.contains("without the node"), "{reason}");
    assert_eq!(report.scope("k", &node()).containers.len(), 12);
    let warnings = &report.source("k").warnings;
    assert!(warnings.iter().any(|warning| warning.message.contains("grant `get` on that")), "{warnings:?}");
}

#[test]
fn a_node_that_is_not_there_is_not_seen() {
    needs!("kubernetes");
    let report = collect("reader", "node = 'bed-nod'").exits(1).report();
    let Coverage::Failed { reason } = report.coverage("k", &ScopeId::node("bed-nod")) else {
        panic!("it was not seen")
    };
    assert!(reason.starts_with("the cluster has no node `bed-nod`; correct `node`"), "{reason}");
    let report = collect("nobody", NODE).exits(1).report();
    assert!(matches!(report.coverage("k", &node()), Coverage::Denied { .. }));
}

/// Who replaces all that it has of a namespace must not be given what one node has of it.
#[test]
fn a_node_is_in_tables_and_not_in_formats_by_namespace() {
    needs!("kubernetes");
    let config = format!("[collectors.k]\ntype = 'kubernetes'\nkubeconfig = '{}'\n{NODE}\n", bed::kubeconfig("reader"));
    for by_source in [&["--format", "table"][..], &["--format", "table", "--by-source"]] {
        let run = Agent::collect(&config, by_source).run().exits(0);
        let line = run.stdout.lines().find(|line| line.contains("db-0")).expect("its pods");
        assert_eq!(line.split_whitespace().next(), Some("shop"), "{line}");
    }
    let run = Agent::collect(&config, &["--format", "kai-json"]).run();
    assert_eq!(run.stdout.trim(), "", "{run}");
    assert!(run.stderr.contains("1 node alone (bed-node) is left out"), "{run}");
}
