//! What may be asked and kept.

use std::time::Duration;

use serde_json::json;
use stocktake_core::{CollectError, ScopeChange, model::Coverage};

use crate::{
    cluster::Cluster,
    fake::{Answer, FakeServer, list, pod},
    look::{Changes, collect, collector, healthy, look, look_at_watched, token},
};

const PODS: &str = "/api/v1/pods";

/// A page of pods a number, of three pages, or all of them at once.
fn in_pages(names: &'static [&'static str], each: usize) -> FakeServer {
    let pods = move |namespace: &'static str| (0..each).map(move |number| pod(namespace, &number.to_string()));
    healthy(names, move |request| {
        if request.query("limit").is_none() {
            return Answer::ok(&list(names.iter().flat_map(|name| pods(name)), None));
        }
        let page = request
            .query("continue")
            .map_or(0, |it| (0..names.len()).find(|page| it == next(names, *page)).unwrap() + 1);
        let next = (page + 1 < names.len()).then(|| next(names, page));
        Answer::ok(&list(pods(names[page]), next.as_deref()))
    })
}

/// Where the page after this one begins.
fn next(names: &[&str], page: usize) -> String {
    token(&format!("{}/", names[page + 1]))
}

#[tokio::test]
async fn pages_are_given_up_before_they_are_too_many_requests() {
    const NAMES: &[&str] = &["a", "b", "c", "d", "e", "f"];
    let server = in_pages(NAMES, 2);
    let (result, sink) = collect(&server, json!({"list": "pages", "max_requests_per_minute": 7})).await;
    assert_eq!(result.unwrap(), Coverage::Complete);
    for name in NAMES {
        assert_eq!(sink.namespace(name), ("complete", vec!["0", "1"]));
    }
    let because = "because one request more a page would exceed `max_requests_per_minute`";
    assert!(sink.warnings[0].ends_with(because), "{:?}", sink.warnings);
    let last = server.asked(|request| request.path == PODS).pop().unwrap();
    assert_eq!((last.query("resourceVersion"), last.query("limit")), (Some("0"), None));
    assert!(sink.cost.requests <= 7 && sink.cost.requests == server.requests() as u64, "{:?}", sink.cost);
}

#[tokio::test]
async fn what_may_not_be_asked_for_is_not_seen() {
    let names: Vec<String> = (0..10).map(|number| format!("n{number}")).collect();
    let server = FakeServer::start(|request| {
        let namespace = request.path.split('/').nth(4).unwrap();
        Answer::ok(&list([pod(namespace, "1")], None))
    });
    let settings = json!({"namespaces": names, "cluster_objects": false, "max_requests_per_minute": 7});
    let collector = collector(&server, settings);
    let (result, sink) = look(&collector).await;
    assert_eq!(result.unwrap(), Coverage::Complete);
    let count = |status| names.iter().filter(|name| sink.namespace(name).0 == status).count();
    assert_eq!((count("complete"), count("failed"), server.requests()), (7, 3, 7));
    let unseen = names.iter().find(|name| sink.namespace(name).0 == "failed").unwrap();
    assert!(sink.reason(unseen).contains("`max_requests_per_minute` are used up; raise it"), "{}", sink.reason(unseen));

    let (result, sink) = look(&collector).await;
    assert!(matches!(result, Err(CollectError::Unavailable { .. })), "{result:?}");
    assert_eq!((sink.cost.requests, server.requests()), (0, 7));
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(61)).await;
    tokio::time::resume();
    look(&collector).await.0.unwrap();
    assert_eq!(server.requests(), 14);
}

#[tokio::test]
async fn what_takes_too_much_memory_at_once_is_listed_in_pages() {
    let names = &["a", "b", "c"];
    let server = in_pages(names, 40);
    let (result, sink) = collect(&server, json!({"max_memory": "30KiB"})).await;
    assert_eq!(result.unwrap(), Coverage::Complete);
    for name in names {
        let (status, pods) = sink.namespace(name);
        assert_eq!((status, pods.len()), ("complete", 40));
    }
    assert!(sink.warnings[0].ends_with("because all at once would exceed `max_memory`"), "{:?}", sink.warnings);
    assert_eq!(server.requests_of(PODS), 4);
}

#[tokio::test]
async fn a_namespace_that_takes_too_much_memory_is_seen_in_part() {
    let pods = |request: &crate::fake::Recorded| {
        let large = || (0..200).map(|number| pod("large", &number.to_string()));
        if request.path == PODS {
            let next = token("small/");
            match (request.query("limit"), request.query("continue")) {
                (None, _) => Answer::ok(&list(large().chain([pod("small", "1")]), None)),
                (_, None) => Answer::ok(&list(large(), Some(&next))),
                _ => Answer::ok(&list([pod("small", "1")], None)),
            }
        } else if request.path.contains("large") {
            Answer::ok(&list(large(), None))
        } else {
            Answer::ok(&list([pod("small", "1")], None))
        }
    };
    for settings in [json!({"max_memory": "30KiB"}), json!({"max_memory": "30KiB", "namespaces": ["large", "small"]})] {
        let server = healthy(&["large", "small"], pods);
        let (result, sink) = collect(&server, settings).await;
        assert_eq!(result.unwrap(), Coverage::Complete);
        let (status, pods) = sink.namespace("large");
        assert!(status == "partial" && (20..190).contains(&pods.len()), "{status} {}", pods.len());
        assert!(
            sink.reason("large").contains("take more than the 30.0 KiB of `max_memory`; raise it"),
            "{}",
            sink.reason("large")
        );
        assert_eq!(sink.namespace("small"), ("complete", vec!["1"]));
    }
}

#[tokio::test]
async fn what_takes_too_much_memory_is_no_longer_watched() {
    let cluster = Cluster::start(&["a"]);
    let settings = || json!({"max_memory": "30KiB"});
    let collector = collector(&cluster.server, settings());
    let mut changes = Changes::of(&collector);
    assert_eq!(changes.next().await, ScopeChange::All);
    look_at_watched(&collector, &cluster, settings()).await;
    for number in 0..30 {
        cluster.put("pods", pod("a", &number.to_string()));
    }
    changes.all().await;
    let sink = look_at_watched(&collector, &cluster, settings()).await;
    assert!((5_000..30_000).contains(&sink.cost.kept_bytes), "{}", sink.cost.kept_bytes);

    cluster.put("namespaces", json!({"metadata": {"name": "b"}}));
    for number in 0..100 {
        cluster.put("pods", pod("b", &number.to_string()));
    }
    while changes.may_end().await {}
    let lists = cluster.lists();
    let (result, sink) = look(&collector).await;
    assert_eq!(result.unwrap(), Coverage::Complete);
    assert!(cluster.lists() > lists, "it is listed");
    assert_eq!(sink.cost.kept_bytes, 0);
    assert_eq!(sink.namespace("a").1.len(), 30);
    Changes::of(&collector).ends().await;
}

#[tokio::test]
async fn a_subscription_goes_on_when_it_may_ask_again() {
    let cluster = Cluster::start(&["a"]);
    cluster.put("pods", pod("a", "1"));
    let settings = json!({"max_requests_per_minute": 14, "list": "cache"});
    let collector = collector(&cluster.server, settings);
    for _ in 0..2 {
        look(&collector).await.0.unwrap();
    }
    let error = Changes::of(&collector).error().await;
    assert!(error.to_string().contains("`max_requests_per_minute` are used up"), "{error}");
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(61)).await;
    tokio::time::resume();
    let mut changes = Changes::of(&collector);
    assert_eq!(changes.next().await, ScopeChange::All, "what was listed was never reported");
    look_at_watched(&collector, &cluster, json!({})).await;
    assert_eq!(cluster.server.asked(|request| !request.is_watch()).len(), 2 * 3 + 5 + 3);
}

#[tokio::test]
async fn more_watches_than_requests_are_not_begun() {
    let cluster = Cluster::start(&["a", "b", "c"]);
    let settings = json!({"namespaces": ["a", "b", "c"], "max_requests_per_minute": 10});
    let collector = collector(&cluster.server, settings);
    Changes::of(&collector).ends().await;
    assert_eq!(cluster.server.requests(), 0, "three a namespace, and nodes and namespaces");
    look(&collector).await.0.unwrap();
}
