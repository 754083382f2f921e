//! To who follows its events.

use futures_util::{FutureExt as _, StreamExt as _, stream::BoxStream};
use serde_json::json;
use stocktake_collector_containerd::ContainerdCollector;
use stocktake_core::{
    CollectError, CollectorPlugin as _, ConfigError, Context, RuntimeCollector as _, ScopeChange, model::ScopeId,
};

use crate::{
    NAMESPACES,
    fake::{Answer, End, FakeContainerd, field},
};

const SUBSCRIBE: &str = "/containerd.services.events.v1.Events/Subscribe";

/// A containerd with the namespaces `default` and `team-a`, which answers a subscription so.
fn daemon(messages: Vec<Vec<u8>>, end: End) -> FakeContainerd {
    FakeContainerd::start(move |path, _| match path {
        SUBSCRIBE => Answer { messages: messages.clone(), end },
        NAMESPACES => Answer::one([field(1, field(1, "default")), field(1, field(1, "team-a"))].concat()),
        _ => Answer::one(Vec::new()),
    })
}

fn event(namespace: &str, topic: &str) -> Vec<u8> {
    [field(2, namespace), field(3, topic)].concat()
}

fn changes(daemon: &FakeContainerd) -> BoxStream<'static, Result<ScopeChange, CollectError>> {
    let settings = ConfigError::deserialize(json!({"address": daemon.socket()})).unwrap();
    ContainerdCollector::new(settings, Context::default()).unwrap().changes()
}

/// Everything that is told, up to an error.
async fn told(messages: Vec<Vec<u8>>, end: End) -> (Vec<ScopeChange>, CollectError) {
    let daemon = daemon(messages, end);
    let mut changes = changes(&daemon);
    let mut told = Vec::new();
    loop {
        match changes.next().await.expect("it ends with an error") {
            Ok(change) => told.push(change),
            Err(error) => {
                assert!(changes.next().await.is_none(), "nothing comes after an error");
                return (told, error);
            }
        }
    }
}

/// As long as nothing happens not even the head of an answer comes.
#[tokio::test]
async fn a_subscription_stands_though_nothing_is_told() {
    let daemon = daemon(Vec::new(), End::Silence);
    let mut changes = changes(&daemon);
    for _ in 0..2 {
        assert_eq!(changes.next().await.unwrap().unwrap(), ScopeChange::All);
    }
    assert!(changes.next().now_or_never().is_none());
}

#[tokio::test]
async fn without_events_it_cannot_be_told_what_changes() {
    let (told, error) = told(Vec::new(), End::Status("12")).await;
    assert!(matches!(error, CollectError::Unsupported { .. }), "{error:?}");
    assert!(told.len() <= 1, "{told:?}");
}

#[tokio::test]
async fn a_refusal_is_denied() {
    let (_, error) = told(Vec::new(), End::Status("7")).await;
    assert!(matches!(error, CollectError::Denied { .. }), "{error:?}");
    assert!(error.full_message().starts_with("cannot follow the events of containerd at /"), "{error:?}");
}

#[tokio::test]
async fn an_end_of_any_kind_is_an_error() {
    for end in [End::Status("0"), End::Cut, End::Status("14"), End::Status("1")] {
        let (_, error) = told(vec![event("default", "/containers/create")], end).await;
        assert!(matches!(error, CollectError::Unavailable { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn what_is_no_event_is_an_error() {
    let (_, error) = told(vec![b"\xff\xff\xff".to_vec()], End::Silence).await;
    assert!(error.full_message().starts_with("cannot follow the events of containerd at /"), "{error:?}");
}

#[tokio::test]
async fn an_event_that_is_too_large_is_refused() {
    let (_, error) = told(vec![field(9, vec![0; 5 << 20])], End::Silence).await;
    assert!(error.full_message().starts_with("cannot follow the events of containerd at /"), "{error:?}");
}

/// They come faster than anyone reads, and there is a look for them all the same.
#[tokio::test]
async fn events_without_end_are_followed() {
    let daemon = daemon(vec![event("team-a", "/containers/update")], End::Endless);
    let mut changes = changes(&daemon);
    let in_namespace = ScopeChange::Scopes([ScopeId::namespace("team-a")].into());
    for expected in [ScopeChange::All, ScopeChange::All, in_namespace.clone(), in_namespace] {
        assert_eq!(changes.next().await.unwrap().unwrap(), expected);
    }
}
