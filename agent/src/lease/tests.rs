use std::{collections::BTreeMap, fs, path::Path};

use serde_json::json;
use uuid::Uuid;

use super::{
    Turn,
    record::{cluster, turn},
};
use crate::config::LeaseSettings;

fn noted(pairs: &[(&str, String)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| (format!("stocktake/{key}"), value.clone())).collect()
}

#[test]
fn the_first_is_the_agent_that_all_are_from_then_on() {
    let (own, other) = (Uuid::now_v7(), Uuid::now_v7());
    let first = turn(&BTreeMap::new(), "a", own);
    assert_eq!((first.id, first.is_own_next), (own, true));
    let written = noted(&[
        ("agent-id", first.id.to_string()),
        ("agent-run", first.run.to_string()),
        ("last-holder", "a".to_owned()),
    ]);
    let second = turn(&written, "b", other);
    assert_eq!((second.id, second.is_own_next), (own, false));
    assert!(second.run > first.run, "{second:?} is no later than {first:?}");
    assert!(turn(&written, "a", own).is_own_next);
}

#[test]
fn a_run_is_later_than_those_before_whatever_the_clock_says() {
    // In the year 2500.
    let ahead = Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, 16_725_225_600, 0));
    let written = noted(&[("agent-run", ahead.to_string()), ("last-holder", "a".to_owned())]);
    let Turn { run, .. } = turn(&written, "b", Uuid::now_v7());
    assert!(run > ahead, "{run} is no later than {ahead}");
    assert!(turn(&noted(&[("agent-run", "nonsense".to_owned())]), "b", Uuid::now_v7()).run < ahead);
}

/// Two clusters, of which the first one's context is the current one.
const KUBECONFIG: &str = "{apiVersion: v1, kind: Config, current-context: a,
    clusters: [{name: a, cluster: {server: 'https://127.0.0.1:1'}}, {name: b, cluster: {server: 'https://127.0.0.1:2'}}],
    contexts: [{name: a, context: {cluster: a, user: u}}, {name: b, context: {cluster: b, user: u, namespace: inventory}}],
    users: [{name: u, user: {token: t}}]}";

async fn address(path: &Path, context: Option<&str>) -> Result<(String, String), String> {
    let settings: LeaseSettings =
        serde_json::from_value(json!({"name": "a", "kubeconfig": path, "context": context})).unwrap();
    cluster(&settings).await.map(|config| (config.cluster_url.to_string(), config.default_namespace))
}

#[tokio::test]
async fn a_kubeconfig_that_is_named_says_whose_lease_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kubeconfig");
    fs::write(&path, KUBECONFIG).unwrap();
    assert_eq!(address(&path, None).await, Ok(("https://127.0.0.1:1/".to_owned(), "default".to_owned())));
    assert_eq!(address(&path, Some("b")).await, Ok(("https://127.0.0.1:2/".to_owned(), "inventory".to_owned())));
    for (path, context) in [(&path, Some("c")), (&folder.path().join("none"), None)] {
        let told = address(path, context).await.unwrap_err();
        assert!(told.contains(&path.display().to_string()), "{told}");
    }
}
