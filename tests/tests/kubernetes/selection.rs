//! Which namespaces, pods and containers are reported.

use std::collections::BTreeSet;

use stocktake_core::model::{ContainerState, Coverage};
use stocktake_tests::{needs, report::pod};

use crate::{collect, namespace};

#[test]
fn namespaces_are_chosen_by_name_glob_and_regular_expression() {
    needs!("kubernetes");
    for (settings, expected) in [
        ("['shop']", &["shop"][..]),
        ("['shop', 'batch']", &["batch", "shop"]),
        ("['kube-*']", &["kube-node-lease", "kube-public", "kube-system"]),
        ("['/shop|.*ch/']", &["batch", "shop"]),
        ("{ exclude = ['kube-*', 'default'] }", &["batch", "empty", "restricted", "shop"]),
        (
            "{ include = ['/.*t.*/', 'shop'], exclude = ['restricted', 'kube-?ystem'] }",
            &["batch", "default", "empty", "shop"],
        ),
    ] {
        let report = collect("reader", &format!("namespaces = {settings}")).exits(0).report();
        assert_eq!(report.namespaces("k"), expected, "{settings}");
    }
}

#[test]
fn a_namespace_that_does_not_exist_is_told_with_the_nearest() {
    needs!("kubernetes");
    let run = collect("reader", "namespaces = ['shopp', 'batch']").exits(0);
    let run = run.says("warning: k: the cluster has no namespace `shopp`; did you mean `shop`?");
    assert!(run.report().containers("k") >= 2);
}

#[test]
fn a_label_selector_chooses_pods() {
    needs!("kubernetes");
    for (selector, expected) in [
        ("app=web", &["shop/web", "shop/web"][..]),
        ("app in (db, secret-app)", &["restricted/secret", "shop/db"]),
        (
            "app,app notin (web, logs, side, debugged, pending-image, crashing, nightly, secret-app, static-web)",
            &["shop/db"],
        ),
    ] {
        let report = collect("reader", &format!("label_selector = '{selector}'")).exits(0).report();
        let pods = report.bodies("k").flat_map(|(_, scope)| &scope.pods);
        let mut found: Vec<String> =
            pods.map(|pod| format!("{}/{}", pod.namespace, pod.name.split('-').next().unwrap())).collect();
        found.sort();
        assert_eq!(found, expected, "{selector}");
        assert_eq!(report.coverage("k", &namespace("batch")), &Coverage::Complete, "chosen, and without such pods");
    }
}

#[test]
fn a_label_selector_that_the_server_refuses_is_named() {
    needs!("kubernetes");
    let run = collect("reader", "label_selector = 'app in web'");
    assert!(matches!(run.code, Some(1 | 78)), "{run}");
    assert!(format!("{}{}", run.stdout, run.stderr).contains("label_selector"), "{run}");
}

#[test]
fn what_does_not_run_can_be_left_out() {
    needs!("kubernetes");
    let all = collect("reader", "").exits(0).report();
    let running = collect("reader", "include_not_running = false").exits(0).report();
    let shop = running.scope("k", &namespace("shop"));
    for (_, scope) in running.bodies("k") {
        let stray = scope.containers.iter().find(|container| container.state != ContainerState::Running);
        // `crashing` may run at this very moment.
        assert_eq!(stray, None);
    }
    let names: BTreeSet<&str> = shop.containers.iter().map(|container| container.name.as_str()).collect();
    assert_eq!(names, BTreeSet::from(["db", "debugger", "helper", "logs", "main", "side", "web"]), "no setup");
    // A pod that is wanted and does not run yet stays, without containers; one that has ended does not.
    let pending = pod(shop, "pending-image");
    assert!(shop.containers.iter().all(|container| container.pod_uid.as_ref() != Some(&pending.uid)));
    let nightly = |report: &stocktake_tests::report::Report| {
        report.scope("k", &namespace("batch")).pods.iter().any(|pod| pod.name.starts_with("nightly-"))
    };
    assert!(nightly(&all) && !nightly(&running));
}
