//! What only a broken or hostile containerd does: an in-process fake over a real socket, with scripted answers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

mod changes;
mod fake;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use fake::{Answer, End, FakeContainerd, field};
use serde_json::json;
use stocktake_collector_containerd::ContainerdCollector;
use stocktake_core::{
    CollectError, CollectorPlugin as _, ConfigError, Context, Digest, ObservedScope, RuntimeCollector as _, ScopeSink,
    Selection,
    model::{Coverage, MissingReason, ScopeId, Warning},
};

const NAMESPACES: &str = "/containerd.services.namespaces.v1.Namespaces/List";
const CONTAINERS: &str = "/containerd.services.containers.v1.Containers/ListStream";
const SNAPSHOTS: &str = "/containerd.services.snapshots.v1.Snapshots/List";
const IMAGES: &str = "/containerd.services.images.v1.Images/List";
const CONTENT: &str = "/containerd.services.content.v1.Content/Read";

#[derive(Default)]
struct Sink(BTreeMap<ScopeId, ObservedScope>);

impl ScopeSink for Sink {
    fn scope(&mut self, scope: ObservedScope) {
        self.0.insert(scope.id.clone(), scope);
    }

    fn warning(&mut self, warning: Warning) {
        panic!("{}", warning.message);
    }
}

async fn collect(daemon: &FakeContainerd) -> (Result<Coverage, CollectError>, Sink) {
    let settings = ConfigError::deserialize(json!({"address": daemon.socket(), "states": ["all"]})).unwrap();
    let collector = ContainerdCollector::new(settings, Context::default()).unwrap();
    let mut sink = Sink::default();
    let result = collector.collect(&Selection::All, &mut sink).await;
    (result, sink)
}

/// One namespace with one container on the image `a:1`, except where `faulty` has an answer of its own.
fn daemon(faulty: impl Fn(&str, &[u8]) -> Option<Answer> + Send + Sync + 'static) -> FakeContainerd {
    FakeContainerd::start(move |path, request| {
        faulty(path, request).unwrap_or_else(|| {
            Answer::one(match path {
                NAMESPACES => field(1, field(1, "default")),
                CONTAINERS => field(1, [field(1, "web"), field(3, "a:1"), field(6, "overlayfs")].concat()),
                IMAGES => field(1, [field(1, "a:1"), field(3, field(2, Digest::sha256(b"0").as_str()))].concat()),
                _ => Vec::new(),
            })
        })
    })
}

#[track_caller]
fn scope(sink: &Sink) -> &ObservedScope {
    &sink.0[&ScopeId::namespace("default")]
}

#[tokio::test]
async fn a_list_of_containers_without_end_is_given_up() {
    let huge =
        field(1, [field(1, "web"), field(2, [field(1, "key"), field(2, vec![b'x'; 8 << 20])].concat())].concat());
    let daemon =
        daemon(move |path, _| (path == CONTAINERS).then(|| Answer { messages: vec![huge.clone()], end: End::Endless }));
    let (result, sink) = collect(&daemon).await;
    assert_eq!(result.unwrap(), Coverage::Complete, "the list of namespaces was seen");
    let Coverage::Failed { reason } = &scope(&sink).coverage else { panic!("{:?}", scope(&sink)) };
    assert!(reason.starts_with("cannot list containers of containerd at /"), "{reason}");
    assert!(reason.ends_with("the list is larger than 256 MiB"), "{reason}");
    assert!(daemon.sent() < 320 << 20, "{} MiB were read", daemon.sent() >> 20);
}

/// Without snapshots the containers are there, and what they were made from is told by their names alone.
#[tokio::test]
async fn a_list_of_snapshots_without_end_is_given_up() {
    let snapshots = field(1, [field(1, vec![b'x'; 1 << 16]), field(2, "b")].concat()).repeat(100);
    let daemon = daemon(move |path, _| {
        (path == SNAPSHOTS).then(|| Answer { messages: vec![snapshots.clone()], end: End::Endless })
    });
    let (_, sink) = collect(&daemon).await;
    let Coverage::Partial { reason } = &scope(&sink).coverage else { panic!("{:?}", scope(&sink)) };
    assert!(reason.contains("list overlayfs snapshots") && reason.ends_with("larger than 256 MiB"), "{reason}");
    assert_eq!(scope(&sink).body.containers.len(), 1);
}

#[tokio::test]
async fn a_message_that_is_too_large_is_refused() {
    let huge = field(9, vec![0; 65 << 20]);
    let daemon = daemon(move |path, _| (path == IMAGES).then(|| Answer::one(huge.clone())));
    let (_, sink) = collect(&daemon).await;
    let Coverage::Failed { reason } = &scope(&sink).coverage else { panic!("{:?}", scope(&sink)) };
    assert!(reason.contains("cannot list images"), "{reason}");
}

/// Each document of it names nine others: an image by whoever could have it pulled. The rest of the namespace was
/// seen.
#[tokio::test]
async fn an_image_of_documents_without_end_is_unreadable() {
    let asked = Arc::<AtomicUsize>::default();
    let counter = Arc::clone(&asked);
    let daemon = daemon(move |path, request| {
        (path == CONTENT).then(|| {
            let seed = counter.fetch_add(1, Ordering::Relaxed);
            assert!(String::from_utf8_lossy(request).contains("sha256:"), "{request:?}");
            let manifest = |number| json!({"digest": Digest::sha256(format!("{seed}/{number}").as_bytes())});
            let index = json!({"manifests": (0..9).map(manifest).collect::<Vec<_>>()});
            Answer::one(field(2, index.to_string()))
        })
    });
    let (_, sink) = collect(&daemon).await;
    assert_eq!(scope(&sink).coverage, Coverage::Complete);
    assert_eq!(asked.load(Ordering::Relaxed), 1000);
    let image = &scope(&sink).body.images[0];
    assert_eq!(image.config_digest, stocktake_core::model::DigestFact::missing(MissingReason::Unreadable));
}

/// It names itself, and one document a hundred times.
#[tokio::test]
async fn an_image_that_goes_in_circles_is_read_once() {
    let asked = Arc::<AtomicUsize>::default();
    let counter = Arc::clone(&asked);
    let itself = json!({"digest": Digest::sha256(b"0")});
    let index = json!({"manifests": vec![itself; 100]}).to_string();
    let daemon = daemon(move |path, _| {
        (path == CONTENT).then(|| {
            counter.fetch_add(1, Ordering::Relaxed);
            Answer::one(field(2, &index))
        })
    });
    let (_, sink) = collect(&daemon).await;
    assert_eq!(scope(&sink).coverage, Coverage::Complete);
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_document_that_is_too_large_is_not_read_to_its_end() {
    let part = field(2, vec![b' '; 1 << 20]);
    let daemon =
        daemon(move |path, _| (path == CONTENT).then(|| Answer { messages: vec![part.clone()], end: End::Endless }));
    let (_, sink) = collect(&daemon).await;
    assert_eq!(scope(&sink).coverage, Coverage::Complete);
    let image = &scope(&sink).body.images[0];
    assert_eq!(image.manifest_digest, stocktake_core::model::DigestFact::missing(MissingReason::Unreadable));
    assert!(daemon.sent() < 16 << 20, "{} MiB were read", daemon.sent() >> 20);
}
