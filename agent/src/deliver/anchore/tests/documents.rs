use super::*;
use crate::{
    deliver::anchore::document::{Format, load},
    render::{Exchange, MissingTag, clusters::seconds, exchange},
};

/// What the server gets is what `collect --format k8s-inventory` prints, and `kai-json`.
#[tokio::test]
async fn what_is_sent_is_what_is_printed() {
    for (version, format) in
        [("5.26.0", Exchange::K8sInventory(MissingTag::Digest)), ("4.6.0", Exchange::KaiJson(MissingTag::Digest))]
    {
        let server = FakeAnchore::new(version).await;
        let seen = vec![cluster(&[("empty", &[], 0), ("shop", &[("team", "a")], 3)])];
        let parcel = parcel(seen);
        let mut target = quiet(&server, json!({}));
        let sent = target.deliver(&parcel).await.unwrap();
        let mut printed = Vec::new();
        exchange(&parcel.inventory().unwrap(), &format, true, &mut printed).unwrap();
        let printed: Value = serde_json::from_slice(&printed).unwrap();
        server.with(|state| {
            assert_eq!(state.documents.len(), 1);
            assert_eq!(state.documents[0].body, printed);
            assert_eq!(sent.bytes, state.documents[0].bytes as u64);
            assert_eq!(state.documents[0].body["timestamp"], seconds(parcel.report.created_at));
        });
        assert_eq!(sent.requests, 2, "the version, and the inventory");
    }
}

#[tokio::test]
async fn one_namespace_that_fails_takes_no_other_with_it() {
    let server = FakeAnchore::new("5.26.0").await;
    let (source, mut scopes) = cluster(&[("denied", &[], 2), ("shop", &[], 2)]);
    scopes[1].1 = denied();
    deliver(&mut quiet(&server, json!({})), vec![(source, scopes)]).await.unwrap();
    assert_eq!(server.contexts(), ["admin: prod/shop"]);
}

#[tokio::test]
async fn a_cluster_of_which_nothing_was_seen_is_not_sent_as_empty() {
    let server = FakeAnchore::new("5.26.0").await;
    let mut target = quiet(&server, json!({}));
    // The list of namespaces failed, nodes and version did not.
    let (mut source, mut scopes) = cluster(&[("shop", &[], 2)]);
    source.coverage = Coverage::Failed { reason: "the API server is busy".into() };
    scopes.truncate(1);
    deliver(&mut target, vec![(source, scopes)]).await.unwrap();
    let (source, _) = cluster(&[]);
    let gone = Coverage::Failed { reason: "nobody home".into() };
    deliver(&mut target, vec![(stocktake_core::model::Source { coverage: gone, ..source }, Vec::new())]).await.unwrap();
    server.with(|state| assert_eq!((state.arrived, state.documents.len()), (0, 0)));
}

#[tokio::test]
async fn names_have_the_tag_that_was_pulled_and_never_a_colon_alone() {
    let server = FakeAnchore::new("5.26.0").await;
    let (source, mut scopes) = cluster(&[("shop", &[], 2)]);
    let shop = &mut scopes[1].2;
    let mut pulled = Image::unresolved("pulled", MissingReason::NotReported);
    pulled.names = vec!["docker.io/library/nginx:latest".into()];
    shop.images = vec![pulled];
    shop.containers[0].image = Some("nginx".into());
    shop.containers[0].image_ref = Some("pulled".into());
    shop.containers[0].image_missing = None;
    shop.containers[1].image = Some("nginx".into());
    deliver(&mut quiet(&server, json!({})), vec![(source, scopes)]).await.unwrap();
    let tags = |state: &mut fake::State| -> Vec<String> {
        let containers = state.documents[0].body["containers"].as_array().unwrap().iter();
        let mut tags: Vec<_> = containers.map(|of| of["image_tag"].as_str().unwrap().to_owned()).collect();
        tags.sort();
        tags
    };
    assert_eq!(server.with(tags), ["nginx", "nginx:latest"]);
}

#[tokio::test]
async fn the_missing_tag_is_inserted_or_the_image_dropped_as_it_is_set() {
    for (settings, expected) in [
        (json!({"missing_tag": "insert"}), vec!["nginx:UNKNOWN"]),
        (json!({"missing_tag": "insert", "missing_tag_insert": "none"}), vec!["nginx:none"]),
        (json!({"missing_tag": "drop"}), vec![]),
    ] {
        let server = FakeAnchore::new("5.26.0").await;
        let (source, mut scopes) = cluster(&[("shop", &[], 1)]);
        scopes[1].2.containers[0].image = Some("nginx".into());
        deliver(&mut quiet(&server, settings), vec![(source, scopes)]).await.unwrap();
        let tags: Vec<String> = server.with(|state| {
            let containers = state.documents[0].body["containers"].as_array().unwrap().iter();
            containers.map(|of| of["image_tag"].as_str().unwrap().to_owned()).collect()
        });
        assert_eq!(tags, expected);
    }
}

#[tokio::test]
async fn one_strange_uid_does_not_spoil_the_document() {
    let server = FakeAnchore::new("5.26.0").await;
    let (source, mut scopes) = cluster(&[("shop", &[], 2)]);
    let strange = "8f14e45fceea167a5a36dedd4bea2543";
    scopes[0].2.nodes[0].uid = Some("A1B2".into());
    scopes[1].2.pods[0].uid = strange.into();
    scopes[1].2.containers[0].pod_uid = Some(strange.into());
    for _ in 0..2 {
        deliver(&mut quiet(&server, json!({})), vec![(source.clone(), scopes.clone())]).await.unwrap();
    }
    server.with(|state| {
        assert_eq!(state.documents[0].body["pods"], state.documents[1].body["pods"], "the same uid each time");
        assert_eq!(state.documents[0].body["containers"].as_array().unwrap().len(), 2);
        assert!(state.documents[0].body["pods"].as_array().unwrap().iter().all(|pod| pod["node_uid"].is_string()));
    });
}

#[test]
fn what_is_left_out_is_told() {
    let (source, mut scopes) = cluster(&[("denied", &[], 2), ("shop", &[], 2)]);
    scopes[1].1 = denied();
    let target = {
        install_provider();
        target_at("http://127.0.0.1:1", &json!({"registration": {"enabled": false}}))
    };
    let load = load(&sample::inventory(vec![(source, scopes)]), Format::Pods, &target.plan.reading).unwrap();
    assert_eq!(load.gaps, ["kubernetes: namespace denied: denied: may not list pods"]);
    assert!(load.remarks.iter().any(|remark| remark.contains("1 namespace is left out")), "{:?}", load.remarks);
    assert_eq!(load.clusters, ["prod"]);
}
