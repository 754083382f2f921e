//! What changes while a list is being read.

use stocktake_tests::cluster::{self, Cluster, READER};

use crate::{assert_complete_is_true, assert_whole, cluster, collect_by, complete_pods};

/// Lists come from the server's memory otherwise, in one page.
const IN_PAGES: &str = "timeout = '1m'\nlist = 'pages'";

#[test]
fn what_changes_between_two_pages_is_told_as_it_was_or_as_it_is() {
    if !cluster::is_wanted() {
        return;
    }
    let cluster = cluster();
    the_storage_is_compacted(&cluster);
    the_role_is_revoked(&cluster);
}

/// The version that the first page is of is gone when the second is asked for: the list begins again.
fn the_storage_is_compacted(cluster: &Cluster) {
    let fault = "the storage compacted between two pages";
    let (mut audit, before) = (cluster.audit(), cluster.pods());
    let run = collect_by(cluster, IN_PAGES, || {
        cluster.delete_pod("alpha", "web-3");
        cluster.create_pod("gamma", "late");
        cluster.compact();
    })
    .exits(0);
    let after = cluster.pods();
    assert_complete_is_true(&run, &[&before, &after], fault);
    let entries = audit.entries();
    let is_page = |uri: &str| uri.contains("/pods?") && uri.contains("continue=");
    let gone = entries.iter().filter(|entry| entry.code == 410 && is_page(&entry.uri)).count();
    assert_eq!(gone, 1, "{fault}: {entries:#?}");
    // Nothing of it was on the first page.
    assert_eq!(complete_pods(&run.report())["gamma"], after["gamma"], "{fault}");
    assert_whole(cluster, fault);
}

fn the_role_is_revoked(cluster: &Cluster) {
    let fault = "the role revoked between two pages";
    let pods = cluster.pods();
    let run = collect_by(cluster, IN_PAGES, || cluster.revoke(None, READER));
    assert_complete_is_true(&run, &[&pods], fault);
    cluster.grant_all();
    assert_whole(cluster, fault);
}
