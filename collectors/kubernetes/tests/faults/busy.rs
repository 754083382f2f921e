//! Servers that have too much to do.

use std::time::Duration;

use serde_json::json;
use stocktake_core::{CollectError, RuntimeCollector as _, model::Coverage};
use tokio::time::Instant;

use crate::{
    fake::{Answer, FakeServer, list, pod},
    look::{collect, collector, healthy},
};

const BUSY: &str = "too many requests, please try again later";

#[tokio::test]
async fn what_is_put_off_is_asked_for_again_when_the_server_says() {
    for (status, after, least) in [(429, Some("7"), 7), (503, Some("3"), 3), (429, None, 1)] {
        let server = healthy(&["a"], move |request| match (request.times, after) {
            (1, Some(after)) => Answer::status(status, BUSY).header("retry-after", after),
            (1, None) => Answer::status(status, BUSY),
            _ => Answer::ok(&list([pod("a", "1")], None)),
        });
        tokio::time::pause();
        let before = Instant::now();
        let (result, sink) = collect(&server, json!({})).await;
        let waited = before.elapsed();
        tokio::time::resume();
        assert_eq!(result.unwrap(), Coverage::Complete);
        assert_eq!(sink.namespace("a"), ("complete", vec!["1"]));
        let least = Duration::from_secs(least);
        assert!(waited >= least && waited < least * 2, "{status}: {waited:?}");
        assert_eq!((sink.cost.throttled, sink.cost.requests), (1, 4));
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_always_busy_is_given_up() {
    let server = healthy(&["a"], |_| Answer::status(429, BUSY));
    let before = Instant::now();
    let (result, sink) = collect(&server, json!({})).await;
    assert_eq!(result.unwrap(), Coverage::Complete, "the list of namespaces was seen");
    assert_eq!(sink.namespace("a"), ("failed", vec![]));
    let reason = sink.reason("a");
    assert!(
        reason.contains("has too much to do to list `pods` throughout the cluster (429); look less often"),
        "{reason}"
    );
    assert!(reason.ends_with(BUSY), "{reason}");
    assert!(before.elapsed() < Duration::from_secs(40), "{:?}", before.elapsed());
    assert_eq!((sink.cost.throttled, sink.cost.requests), (5, 8));

    let server = FakeServer::start(|_| Answer::status(429, BUSY).header("Retry-After", "3600"));
    let before = Instant::now();
    let (result, sink) = collect(&server, json!({})).await;
    assert!(matches!(result, Err(CollectError::Unavailable { .. })), "{result:?}");
    assert!(sink.scopes.values().all(|scope| !scope.coverage.is_complete()));
    assert!(before.elapsed() < Duration::from_secs(1), "an hour is for another look");
}

#[tokio::test]
async fn a_server_that_is_down_for_good_is_not_waited_for() {
    let server = FakeServer::start(|_| Answer::status(503, "no healthy upstream"));
    let error = collector(&server, json!({})).probe().await.unwrap_err();
    assert!(matches!(error, CollectError::Unavailable { .. }));
    assert_eq!(server.requests(), 1);
}
