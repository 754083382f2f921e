use std::collections::BTreeSet;

use super::*;
use crate::deliver::anchore::{
    batch::{Limits, batches},
    document::{Format, load},
};

fn many() -> Vec<Seen> {
    let names: Vec<String> = (0..30).map(|number| format!("ns-{number:02}")).collect();
    let namespaces: Vec<Of<'_>> =
        names.iter().enumerate().map(|(number, name)| (name.as_str(), &[][..], number)).collect();
    vec![cluster(&namespaces)]
}

/// Containers that the server has, by namespace.
fn stored(server: &FakeAnchore) -> usize {
    server.with(|state| state.stored.values().map(BTreeSet::len).sum())
}

const ALL: usize = 30 * 29 / 2;

#[tokio::test]
async fn a_namespace_is_in_one_body_and_its_nodes_are_with_it() {
    let server = FakeAnchore::new("5.26.0").await;
    deliver(&mut quiet(&server, json!({"max_namespaces": 7})), many()).await.unwrap();
    server.with(|state| {
        let sizes: Vec<usize> = state.documents.iter().map(|document| document.namespaces().len()).collect();
        assert_eq!(sizes, [7, 7, 7, 7, 2]);
        let times: BTreeSet<&str> =
            state.documents.iter().map(|document| document.body["timestamp"].as_str().unwrap()).collect();
        assert_eq!(times.len(), 1, "all of one report");
    });
    assert_eq!(stored(&server), ALL);
}

/// For many limits, with both documents: bodies are as large as they may be and never larger.
#[test]
fn no_body_is_larger_than_the_limit() {
    let target = target_at("http://127.0.0.1:1", &json!({"registration": {"enabled": false}}));
    let inventory = sample::inventory(many());
    for format in [Format::Pods, Format::Images] {
        for bytes in [2000, 2500, 3001, 5000, 20_000, 100_000, 1 << 30] {
            let load = load(&inventory, format, &target.plan.reading).unwrap();
            let queue = batches(load.units, Limits { bytes, namespaces: None }, "admin");
            let sizes: Vec<usize> = queue.iter().map(|batch| batch.body().unwrap().len()).collect();
            assert!(sizes.iter().all(|size| *size <= bytes), "{format:?} {bytes}: {sizes:?}");
            let total: usize = sizes.iter().sum();
            assert!(queue.len() <= 2 + total / (bytes / 3), "{format:?} {bytes}: {sizes:?}");
            let items: Vec<(String, usize)> = queue
                .iter()
                .flat_map(|batch| &batch.units)
                .flat_map(|unit| unit.items.iter().map(|item| (unit.name.clone(), item.position)))
                .collect();
            assert_eq!(items.len(), ALL, "each once");
            assert_eq!(items.iter().collect::<BTreeSet<_>>().len(), ALL);
            let names: BTreeSet<&str> =
                queue.iter().flat_map(|batch| &batch.units).map(|unit| unit.name.as_str()).collect();
            assert_eq!(names.len(), 30, "one without pods too");
        }
    }
}

#[test]
fn only_a_namespace_that_is_too_large_by_itself_is_divided() {
    let target = target_at("http://127.0.0.1:1", &json!({"registration": {"enabled": false}}));
    let inventory = sample::inventory(vec![cluster(&[("large", &[], 100), ("small", &[], 2), ("tiny", &[], 1)])]);
    let load = load(&inventory, Format::Pods, &target.plan.reading).unwrap();
    let queue = batches(load.units, Limits { bytes: 20_000, namespaces: None }, "admin");
    let of: Vec<Vec<&str>> =
        queue.iter().map(|batch| batch.units.iter().map(|unit| unit.name.as_str()).collect()).collect();
    assert!(queue.len() >= 3, "{of:?}");
    let small = of.iter().filter(|names| names.contains(&"small")).count();
    assert_eq!((small, of.last().unwrap().contains(&"tiny")), (1, true), "{of:?}");
}

#[tokio::test]
async fn what_is_too_large_for_the_server_is_sent_in_halves() {
    let server = FakeAnchore::new("5.26.0").await;
    server.with(|state| state.most_bytes = 30_000);
    let mut target = quiet(&server, json!({}));
    deliver(&mut target, many()).await.unwrap();
    assert_eq!(stored(&server), ALL, "no namespace had to be divided");
    let arrived = server.with(|state| {
        assert!(state.documents.iter().all(|document| document.bytes <= 30_000));
        state.arrived
    });
    // What was learnt is used for the next report.
    deliver(&mut target, many()).await.unwrap();
    server.with(|state| {
        let refused = arrived - state.documents.len() / 2;
        assert!(refused > 0 && state.arrived - arrived < arrived, "{} after {arrived}", state.arrived);
    });
}

#[tokio::test]
async fn a_namespace_is_divided_if_the_server_takes_it_in_no_other_way() {
    let server = FakeAnchore::new("5.26.0").await;
    server.with(|state| state.most_bytes = 10_000);
    deliver(&mut quiet(&server, json!({})), vec![cluster(&[("large", &[], 100)])]).await.unwrap();
    server.with(|state| {
        let sent: usize = state.documents.iter().map(|of| of.body["pods"].as_array().unwrap().len()).sum();
        assert_eq!(sent, 100, "each pod once");
    });
}

#[tokio::test]
async fn a_single_pod_that_is_too_large_is_refused_and_the_others_are_not() {
    let server = FakeAnchore::new("5.26.0").await;
    server.with(|state| state.most_bytes = 5000);
    let (source, mut scopes) = cluster(&[("good", &[], 2), ("large", &[], 3)]);
    scopes[2].2.pods[1].labels = labels(&[("x", "y".repeat(6000).leak())]);
    let failure = deliver(&mut quiet(&server, json!({})), vec![(source, scopes)]).await.unwrap_err();
    assert!(matches!(&failure, Failure::Refused { status, .. } if status == "413"), "{failure:?}");
    let sent: usize =
        server.with(|state| state.documents.iter().map(|of| of.body["pods"].as_array().map_or(0, Vec::len)).sum());
    assert_eq!(sent, 4);
}

#[tokio::test]
async fn a_body_that_fails_does_not_stop_the_next() {
    use crate::deliver::http::testing::answer;
    let server = FakeAnchore::new("5.26.0").await;
    server.with(|state| state.fault = Some(Box::new(|number, _| (number == 2).then(|| answer(500, &[], "oops")))));
    let mut target = quiet(&server, json!({"max_namespaces": 1}));
    let parcel = parcel(vec![cluster(&[("a", &[], 1), ("b", &[], 1), ("c", &[], 1)])]);
    assert_eq!(later(target.deliver(&parcel).await.unwrap_err()).0, "500");
    assert_eq!(server.contexts(), ["admin: prod/a", "admin: prod/c"]);
    target.deliver(&parcel).await.unwrap();
    assert_eq!(server.contexts(), ["admin: prod/a", "admin: prod/b", "admin: prod/c"]);
}
