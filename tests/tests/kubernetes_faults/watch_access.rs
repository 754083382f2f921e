//! Rights and tokens that change while an agent watches. Each watch asks for itself again once the line is cut; one that is
//! open goes on whatever is revoked.

use serde_json::{Value, json};
use stocktake_core::model::{Coverage, ScopeId};
use stocktake_tests::{
    cluster::{self, Cluster, Options, READER},
    gate::Gate,
};

use crate::{
    consumer::Consumer,
    watch::{SOON, watching},
};

#[test]
fn what_may_no_longer_be_watched_is_not_gone_and_is_watched_again_when_it_may_be() {
    if !cluster::is_wanted() {
        return;
    }
    let cluster = Cluster::start("watch-access", Options::default());
    cluster.grant_all();
    for name in ["alpha", "beta"] {
        cluster.create_namespace(name);
        cluster.create_pods(name, "web", 20, 0);
    }
    the_role_is_revoked(&cluster);
    the_nodes_are_granted_later(&cluster);
    the_token_is_replaced(&cluster);
    the_version_is_refused(&cluster);
}

fn is_denied(coverage: Option<&Coverage>) -> bool {
    matches!(coverage, Some(Coverage::Denied { .. }))
}

/// Nothing may be seen, and all of it is held.
fn assert_all_is_kept(consumer: &mut Consumer<'_>, cluster: &Cluster) {
    let pods = cluster.pods();
    consumer.take();
    assert_eq!(consumer.pods(), pods, "{}", consumer.told());
}

fn the_role_is_revoked(cluster: &Cluster) {
    let gate = Gate::new(cluster.port());
    let mut consumer = watching(cluster, gate.port(), SOON, "the role revoked");
    cluster.revoke(None, READER);
    gate.cut();
    consumer.wait("a refusal", |consumer| {
        consumer.coverages().count() > 2 && consumer.coverages().all(|coverage| !coverage.is_complete())
    });
    assert!(is_denied(consumer.coverage()), "{:?}", consumer.coverage());
    // Two looks later it is refused as before.
    let reports = consumer.reports();
    consumer.wait("another look", |consumer| consumer.reports() > reports + 1);
    assert_all_is_kept(&mut consumer, cluster);

    consumer.delete_pod("alpha", "web-1");
    cluster.create_pod("beta", "unseen");
    cluster.grant_all();
    consumer.assert_equal_to_a_fresh_list();
    consumer.assert_watches("alpha");
    drop(consumer.end());
}

/// What was refused when the watches began is asked for again while they stand.
fn the_nodes_are_granted_later(cluster: &Cluster) {
    let without_nodes = ["pods", "namespaces"];
    let rule = |group: &str, resources: &[&str]| json!({ "apiGroups": [group], "resources": resources, "verbs": ["get", "list", "watch"] });
    cluster.revoke(None, READER);
    let rules = [rule("", &without_nodes), rule("apps", &["replicasets"]), rule("batch", &["jobs"])];
    cluster.grant(None, "without-nodes", &json!(rules));
    cluster.create("/api/v1/nodes", &json!({ "metadata": { "name": "n1" } }));
    let mut consumer = Consumer::start(cluster, cluster.port(), SOON, "the nodes granted later");
    let of_cluster = ScopeId::cluster();
    consumer.wait("what may be seen", |consumer| consumer.is_told() && consumer.coverage_of(&of_cluster).is_some());
    assert!(matches!(consumer.coverage_of(&of_cluster), Some(Coverage::Partial { .. })), "{}", consumer.told());
    cluster.grant(None, "nodes", &json!([rule("", &["nodes"])]));
    consumer.assert_equal_to_a_fresh_list();
    assert!(!consumer.has_lost(), "the watches stand all the while: {}", consumer.told());
    consumer.delete_pod("beta", "web-2");
    consumer.assert_watches("alpha");
    drop(consumer.end());
    cluster.revoke(None, "without-nodes");
    cluster.revoke(None, "nodes");
    cluster.grant_all();
}

/// The server takes another token from its next start on, and the agent's file is replaced some time after.
fn the_token_is_replaced(cluster: &Cluster) {
    let mut consumer = watching(cluster, cluster.port(), SOON, "the token replaced");
    cluster.accept_token("second");
    cluster.api_server().restart();
    consumer.wait("a refusal", |consumer| is_denied(consumer.coverage()));
    consumer.wait("the reason", |consumer| {
        consumer.coverages().all(|coverage| coverage.reason().is_some_and(|reason| reason.contains("(401)")))
    });
    assert_all_is_kept(&mut consumer, cluster);
    consumer.delete_pod("alpha", "web-3");
    cluster.write_token("second");
    consumer.assert_equal_to_a_fresh_list();
    consumer.assert_watches("alpha");
    drop(consumer.end());
}

/// As right after an API server's start, when it has not read its access rules: nobody may ask for its version.
fn the_version_is_refused(cluster: &Cluster) {
    let bindings = ["system:discovery", "system:public-info-viewer"]
        .map(|name| format!("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/{name}"));
    let rules = bindings.each_ref().map(|path| cluster.get(path));
    for path in &bindings {
        cluster.delete(path);
    }
    stocktake_tests::wait_until("the version to be refused", || !may_ask_for_the_version(cluster));
    let mut consumer = Consumer::start(cluster, cluster.port(), SOON, "the version refused");
    consumer.wait("a report", |consumer| consumer.coverage().is_some());
    let reason = consumer.coverage().and_then(Coverage::reason).unwrap_or_default();
    assert!(reason.contains("does not say who it is"), "{reason}\n{}", consumer.told());
    for binding in rules {
        let (role, subjects) = (&binding["roleRef"], &binding["subjects"]);
        let again =
            json!({ "metadata": { "name": binding["metadata"]["name"] }, "roleRef": role, "subjects": subjects });
        cluster.create("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", &again);
    }
    consumer.assert_equal_to_a_fresh_list();
    drop(consumer.end());
}

fn may_ask_for_the_version(cluster: &Cluster) -> bool {
    let attributes = json!({ "verb": "get", "path": "/version" });
    let review = json!({ "spec": {
        "user": cluster::AGENT, "groups": ["system:authenticated"], "nonResourceAttributes": attributes,
    } });
    let answer: Value = cluster.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", &review).unwrap();
    answer["status"]["allowed"] == true
}
