//! Rights and tokens that change between two looks.

use serde_json::json;
use stocktake_core::model::{Coverage, ScopeId};
use stocktake_tests::cluster::{self, AGENT, Cluster, Options, READER};

use crate::{Pods, assert_complete_is_true, assert_whole, collect, complete};

#[test]
fn what_may_not_be_seen_is_denied_and_seen_again_when_it_may_be() {
    if !cluster::is_wanted() {
        return;
    }
    let cluster = Cluster::start("access", Options::default());
    cluster.grant_all();
    for name in ["alpha", "beta"] {
        cluster.create_namespace(name);
        cluster.create_pods(name, "web", 20, 0);
    }
    assert_whole(&cluster, "nothing");
    let pods = cluster.pods();
    the_role_is_revoked(&cluster, &pods);
    one_namespace_is_left(&cluster, &pods);
    the_token_is_replaced(&cluster, &pods);
}

fn the_role_is_revoked(cluster: &Cluster, pods: &Pods) {
    let fault = "the role revoked";
    cluster.revoke(None, READER);
    let run = collect(cluster);
    assert_complete_is_true(&run, &[pods], fault);
    assert_eq!((run.code, complete(&run)), (Some(1), 0), "{fault}: {run}");
    let report = run.report();
    assert!(matches!(report.source("k").coverage, Coverage::Denied { .. }), "{fault}: {run}");
    cluster.grant_all();
    assert_whole(cluster, fault);
}

/// The cluster's own objects and one namespace may still be seen.
fn one_namespace_is_left(cluster: &Cluster, pods: &Pods) {
    let fault = "all but one namespace revoked";
    cluster.revoke(None, READER);
    let list =
        |resources: &[&str]| json!([{ "apiGroups": [""], "resources": resources, "verbs": ["get", "list", "watch"] }]);
    cluster.grant(None, "objects", &list(&["namespaces", "nodes"]));
    cluster.grant(Some("alpha"), "pods", &list(&["pods"]));
    let run = collect(cluster).exits(1);
    assert_complete_is_true(&run, &[pods], fault);
    let report = run.report();
    assert!(report.coverage("k", &ScopeId::namespace("alpha")).is_complete(), "{fault}: {run}");
    let other = report.coverage("k", &ScopeId::namespace("beta"));
    assert!(matches!(other, Coverage::Denied { .. }), "{fault}: {run}");
    cluster.revoke(None, "objects");
    cluster.revoke(Some("alpha"), "pods");
    cluster.grant_all();
    assert_whole(cluster, fault);
}

/// The server takes another token, and the agent's file is replaced some time after.
fn the_token_is_replaced(cluster: &Cluster, pods: &Pods) {
    let fault = "the token replaced";
    cluster.accept_token("second");
    cluster.api_server().restart();
    let run = collect(cluster);
    assert_complete_is_true(&run, &[pods], fault);
    assert_eq!((run.code, complete(&run)), (Some(1), 0), "{fault}: {run}");
    assert!(matches!(run.report().source("k").coverage, Coverage::Denied { .. }), "{fault}: {run}");
    assert!(!format!("{run}").contains(&format!("Bearer {AGENT}")), "the token is told: {run}");
    cluster.write_token("second");
    assert_whole(cluster, fault);
}
