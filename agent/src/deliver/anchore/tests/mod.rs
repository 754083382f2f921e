//! The target against a server that is as strict as the real one is known to be.
//!
//! Anchore's own agent (`k8s-inventory` 1.8, and `kai` before it) has defects that its users ran into. Each with the test that
//! shows that they are not here:
//!
//! | defect of Anchore's agents | test |
//! |---|---|
//! | namespaces that cannot be listed are none: an empty report is sent as a success | `documents::a_cluster_of_which_nothing_was_seen_is_not_sent_as_empty` |
//! | one namespace that fails loses the report of all | `documents::one_namespace_that_fails_takes_no_other_with_it` |
//! | an untagged `nginx` loses the `:latest` that was pulled; without a digest it is sent as `nginx:` | `documents::names_have_the_tag_that_was_pulled_and_never_a_colon_alone` |
//! | `missing-tag-policy: insert` does nothing | `documents::the_missing_tag_is_inserted_or_the_image_dropped_as_it_is_set` |
//! | uids that the server refuses, references that lead nowhere: all is refused | `documents::one_strange_uid_does_not_spoil_the_document` and the server of every test |
//! | settings that documentation and chart name and nobody reads | `settings::a_key_that_nobody_reads_is_an_error` |
//! | a route's pattern is not anchored: `default` is `my-default-x` too | `routing::a_pattern_is_of_the_whole_name` |
//! | of several routes one is chosen at random, and a namespace is sent once a match | `routing::a_namespace_goes_to_one_account_and_always_the_same` |
//! | a route without credentials sends nothing and calls that a success | `routing::a_route_without_credentials_is_sent_with_the_targets` |
//! | a refusal (403) moves a team's inventory into the default account | `routing::a_refusal_moves_nothing_into_another_account_and_loses_nothing` |
//! | so does an account that is not found (404) | `routing::an_account_that_is_not_there_moves_nothing_either` |
//! | labels that may not be read are missing labels | `routing::labels_that_may_not_be_read_decide_nothing` |
//! | a limit of bytes is a threshold: a body exceeds it, by a whole namespace at the most | `batches::no_body_is_larger_than_the_limit` |
//! | a body that is too large for the server is lost | `batches::what_is_too_large_for_the_server_is_sent_in_halves` |
//! | what was not taken is logged and lost | `delivery::what_is_not_taken_stays_and_only_the_rest_is_sent_again` |
//! | `https://host/base` breaks; only 200 is a success (`kai`) | `delivery::kai_s_servers_get_kai_s_document`, `http::tests::settings` |
//! | a page to log in with status 200 is a success (`kai`) | `delivery::a_page_to_log_in_is_no_success` |
//! | the API that was found once is taken for good until it is gone | `delivery::the_server_is_upgraded_and_downgraded_under_the_agent` |
//! | without `/version` there is no inventory | `delivery::a_server_that_does_not_tell_its_version_is_found_out` |
//! | a proxy of the environment is ignored (`kai`); no certificate authority of one's own | `http::tests::connections` |
//! | a report of another account's password in the log | `http::tests::secrets` |
//! | no inventory before the registration, and none at all if it is refused | `integrations::an_inventory_never_waits_for_a_registration` |
//! | each restart is another integration | `integrations::a_restart_is_the_same_integration` |
//! | a collection that failed is healthy | `integrations::what_was_not_seen_is_unhealthy` |
//! | a delivery that failed is healthy (with `errors: []`) | `integrations::what_was_not_delivered_is_unhealthy` |
//! | an empty health report, which looks healthy, while there is nothing to say | `integrations::nothing_is_said_before_there_is_something_to_say` |
//! | hosts cannot be reported at all | `hosts` |

mod batches;
mod delivery;
mod documents;
mod fake;
mod hosts;
mod integrations;
mod routing;
mod settings;

use std::{collections::BTreeMap, io, sync::Arc, time::Duration};

use serde_json::{Value, json};
use stocktake_core::{
    Digest,
    labels::Labels,
    model::{
        Cluster, Container, ContainerState, Coverage, Host, Image, Inventory, MissingReason, Namespace, Node, Pod,
        Scope, ScopeId,
    },
};

use self::fake::FakeAnchore;
use super::{AnchoreTarget, Pace, hosts::uid};
use crate::{
    deliver::{Bodies, Failure, Parcel, Sent, Target as _, TargetContext, http::testing::install_provider},
    render::sample::{self, Seen},
};

struct InMemory(BTreeMap<Digest, Vec<u8>>);

impl Bodies for InMemory {
    fn body(&self, digest: &Digest) -> io::Result<Option<Vec<u8>>> {
        Ok(self.0.get(digest).cloned())
    }
}

/// A report that is on its way.
fn parcel(seen: Vec<Seen>) -> Arc<Parcel> {
    let Inventory { mut report, scopes, .. } = sample::inventory(seen);
    report.id = uuid::Uuid::now_v7();
    report.agent.id = Some("01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap());
    let bodies = scopes.iter().map(|(digest, scope)| (digest.clone(), serde_json::to_vec(scope).unwrap())).collect();
    Arc::new(Parcel { report, manifest: Vec::new(), bodies: Arc::new(InMemory(bodies)), base: None })
}

/// A target of that server, with more settings.
fn target(server: &FakeAnchore, more: &Value) -> AnchoreTarget {
    target_at(&server.server.url(), more)
}

fn target_at(url: &str, more: &Value) -> AnchoreTarget {
    install_provider();
    let mut settings = json!({"url": url, "user": "agent", "password": "hunter2"});
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let host = Host { machine_id: Some("m".into()), hostname: Some("web-7".into()) };
    let context = TargetContext { name: "anchore".into(), host, ..TargetContext::default() };
    let tick = Duration::from_millis(5);
    let pace = Pace { first: tick, version: tick, registration: tick, health: Some(tick) };
    AnchoreTarget::new(settings, context, pace).unwrap()
}

/// Without registering, which most tests are not about.
fn quiet(server: &FakeAnchore, mut more: Value) -> AnchoreTarget {
    more["registration"] = json!({"enabled": false});
    target(server, &more)
}

async fn deliver(target: &mut AnchoreTarget, seen: Vec<Seen>) -> Result<Sent, Failure> {
    target.deliver(&parcel(seen)).await
}

fn later(failure: Failure) -> (String, String) {
    match failure {
        Failure::Later { status, message, .. } => (status, message),
        other @ Failure::Refused { .. } => panic!("{other:?}"),
    }
}

fn node(name: &str) -> Node {
    Node {
        name: name.into(),
        uid: Some(uid(&["node", name]).into()),
        container_runtime_version: Some("containerd://1.6.20".into()),
        ..Node::default()
    }
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect::<BTreeMap<_, _>>().into()
}

/// A namespace of a cluster: its name, its labels, and how many pods it has, of one container each, on two nodes by turns.
type Of<'a> = (&'a str, &'a [(&'a str, &'a str)], usize);

fn content(namespace: &str, pods: usize) -> Scope {
    let mut scope = Scope::default();
    for number in 0..pods {
        let name = format!("{namespace}-{number}");
        let (uid, node) = (uid(&["pod", &name]), if number % 2 == 0 { "node-1" } else { "node-2" });
        scope.pods.push(Pod {
            uid: uid.as_str().into(),
            name: name.as_str().into(),
            namespace: namespace.into(),
            node_name: Some(node.into()),
            phase: Some("Running".into()),
            ..Pod::default()
        });
        scope.containers.push(Container {
            id: Some(Digest::sha256(name.as_bytes()).encoded().into()),
            name: "main".into(),
            pod_uid: Some(uid.into()),
            node_name: Some(node.into()),
            image: Some(format!("example.com/{name}:1").into()),
            image_missing: Some(MissingReason::NotReported),
            state: ContainerState::Running,
            ..Container::default()
        });
    }
    scope
}

/// A cluster with these namespaces.
fn cluster(namespaces: &[Of<'_>]) -> Seen {
    let object = |(name, of, _): &Of<'_>| Namespace {
        name: (*name).into(),
        uid: Some(uid(&["namespace", name]).into()),
        labels: labels(of),
        ..Namespace::default()
    };
    let own = Scope {
        nodes: vec![node("node-1"), node("node-2"), node("node-idle")],
        namespaces: namespaces.iter().map(object).collect(),
        ..Scope::default()
    };
    let mut scopes = vec![(ScopeId::cluster(), Coverage::Complete, own)];
    for (name, _, pods) in namespaces {
        scopes.push((ScopeId::namespace(*name), Coverage::Complete, content(name, *pods)));
    }
    let of = Cluster { uid: Some("uid".into()), name: Some("prod".into()) };
    (stocktake_core::model::Source { cluster: Some(of), ..sample::source("kubernetes") }, scopes)
}

/// A Docker host with containers of these ids.
fn docker(ids: &[&str]) -> Seen {
    let containers = ids.iter().map(|id| sample::container(id, "nginx:1.27")).collect();
    sample::docker(containers, vec![Image::unresolved("i", MissingReason::NotReported)])
}

fn denied() -> Coverage {
    Coverage::Denied { reason: "may not list pods".into() }
}

/// Waits until something is so.
async fn until(mut is_so: impl FnMut() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), wait).await.expect("it never came to that");
}
