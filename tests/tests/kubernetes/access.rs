//! Five users, each of whom may see something else: what is refused is said, and never passes for empty.

use std::sync::PoisonError;

use stocktake_core::model::{Coverage, ScopeId};
use stocktake_tests::{needs, report::Report};

use crate::{BATCH, collect, namespace};

const ALL: [&str; 8] =
    ["batch", "default", "empty", "kube-node-lease", "kube-public", "kube-system", "restricted", "shop"];

fn statuses<'a>(report: &'a Report, names: &[&str]) -> Vec<&'a str> {
    names.iter().map(|name| report.coverage("k", &namespace(name)).status()).collect()
}

#[track_caller]
fn reason<'a>(report: &'a Report, scope: &ScopeId, words: &[&str]) -> &'a str {
    let reason = report.coverage("k", scope).reason().expect("it was not seen completely");
    for word in words {
        assert!(reason.contains(word), "{reason:?} does not say {word:?}");
    }
    reason
}

#[test]
fn admin_and_reader_see_everything() {
    needs!("kubernetes");
    for user in ["admin", "reader"] {
        let report = collect(user, "").exits(0).report();
        assert_eq!(report.namespaces("k"), ALL, "{user}");
        let source = report.source("k");
        assert!(source.is_complete() && source.warnings.is_empty(), "{user}: {:?}", source.warnings);
        assert!(source.cluster.as_ref().unwrap().uid.is_some());
        assert_eq!(report.entry("k", &ScopeId::cluster()).counts.nodes, 1);
        assert_eq!(report.entry("k", &namespace("restricted")).counts.containers, 1);
    }
}

#[test]
fn who_may_read_two_namespaces_gets_these_completely_and_the_others_denied() {
    needs!("kubernetes");
    let _shared = BATCH.read().unwrap_or_else(PoisonError::into_inner);
    let report = collect("partial", "").exits(1).report();
    assert_eq!(report.namespaces("k"), ALL, "the list of namespaces may be read");
    assert!(report.source("k").coverage.is_complete());
    assert_eq!(statuses(&report, &["shop", "batch"]), ["complete", "complete"]);
    let others: Vec<&str> = ALL.into_iter().filter(|name| !["shop", "batch"].contains(name)).collect();
    assert_eq!(statuses(&report, &others), ["denied"; 6]);
    reason(&report, &namespace("restricted"), &["grant `list` on `pods`", "namespace `restricted`"]);
    assert!(report.entry("k", &namespace("restricted")).digest.is_none(), "nothing was seen, so there is no body");

    let Coverage::Partial { reason } = report.coverage("k", &ScopeId::cluster()) else { panic!("no nodes") };
    assert!(reason.contains("nodes"), "{reason}");
    assert_eq!(report.scope("k", &ScopeId::cluster()).namespaces.len(), ALL.len());

    // Everything that admin sees in these, but for owners that may not be read, of which a warning tells.
    let complete = collect("admin", "").exits(0).report();
    for scope in ["shop", "batch"] {
        let names = |report: &Report| {
            let scope = report.scope("k", &namespace(scope));
            scope
                .containers
                .iter()
                .map(|container| (container.pod_uid.clone(), container.name.clone()))
                .collect::<Vec<_>>()
        };
        assert_eq!(names(&report), names(&complete), "{scope}");
    }
    let warnings = &report.source("k").warnings;
    assert!(warnings.iter().any(|warning| warning.message.contains("replicasets")), "{warnings:?}");
}

#[test]
fn who_may_read_one_namespace_names_it() {
    needs!("kubernetes");
    let run = collect("limited", "namespaces = ['shop']");
    let report = run.report();
    assert_eq!(report.namespaces("k"), ["shop"]);
    assert_eq!(statuses(&report, &["shop"]), ["complete"]);
    assert!(report.source("k").coverage.is_complete(), "what was asked for was seen");
    assert!(report.source("k").warnings.is_empty(), "{:?}", report.source("k").warnings);
    assert_eq!(report.entry("k", &namespace("shop")).counts.containers, 12);
    // Nodes and namespaces are the cluster's own scope: not seen, and not called empty.
    let cluster_is_complete =
        report.find_entry("k", &ScopeId::cluster()).is_none_or(|entry| entry.coverage.is_complete());
    assert_eq!(run.code, Some(i32::from(!cluster_is_complete)), "{run}");
    assert!(!cluster_is_complete || report.find_entry("k", &ScopeId::cluster()).is_none());
}

#[test]
fn who_names_nothing_and_may_list_nothing_is_told_what_to_do() {
    needs!("kubernetes");
    for user in ["limited", "nobody"] {
        let report = collect(user, "").exits(1).report();
        let coverage = &report.source("k").coverage;
        assert!(matches!(coverage, Coverage::Denied { .. }), "{user}: {coverage:?}");
        let reason = coverage.reason().unwrap();
        assert!(reason.contains("grant `list` on `pods` in a ClusterRole"), "{user}: {reason}");
        assert!(reason.contains("`namespaces`"), "{user} is not told about the setting: {reason}");
        assert_eq!(report.containers("k"), 0);
        let complete = report.source("k").scopes.iter().filter(|entry| entry.coverage.is_complete());
        assert_eq!(complete.count(), 0, "{user}: nothing that was not seen is complete");
    }
}

#[test]
fn a_namespace_that_is_named_and_refused_is_denied_and_the_others_are_reported() {
    needs!("kubernetes");
    let report = collect("limited", "namespaces = ['shop', 'restricted']").exits(1).report();
    assert_eq!(statuses(&report, &["restricted", "shop"]), ["denied", "complete"]);
    let report = collect("nobody", "namespaces = ['shop']").exits(1).report();
    assert_eq!(statuses(&report, &["shop"]), ["denied"]);
    reason(&report, &namespace("shop"), &["grant `list` on `pods`", "`shop`", "nobody"]);
}

/// With names beside patterns, those that are named are looked at even where the cluster's namespaces may not be listed.
#[test]
fn a_forbidden_cluster_wide_list_falls_back_to_the_names_that_were_given() {
    needs!("kubernetes");
    let report = collect("limited", "namespaces = ['shop', 'team-*']").exits(1).report();
    assert_eq!(statuses(&report, &["shop"]), ["complete"]);
    let Coverage::Partial { reason } = &report.source("k").coverage else { panic!("{:?}", report.source("k")) };
    assert!(reason.contains("namespaces"), "{reason}");
}
