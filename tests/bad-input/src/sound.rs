//! What holds of everything that is made of others' words, whatever they were.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use stocktake_core::{
    Digest,
    model::{
        Agent, Cluster, Counts, Coverage, Host, Inventory, Report, SCHEMA_VERSION, Scope, ScopeEntry, ScopeId, Shown,
        Sighting, Source,
    },
    normalise, scope_digest,
    unify::{Conclusions, Document, UnifiedView, unify},
};
use uuid::Uuid;

use crate::{Choices, broken};

/// Bytes of a report that one byte of an answer may become. What is named short in an answer (a key of one letter, an
/// empty object) has longer names in a report, and an image is described once for each of its manifests.
const MAX_GROWTH: usize = 64;

/// What a scope holds without any input worth speaking of.
const SMALL: usize = 1 << 14;

/// Checks what a converter makes of a spoiled document, alone and together with the whole one. The first choice is which of
/// `recorded` it is, or that there is none and the other bytes are the document.
pub fn converter(choices: &[u8], recorded: &[Value], scope: impl Fn(&[u8]) -> Option<Scope>) {
    let Some((first, rest)) = choices.split_first() else { return };
    let whole = &recorded[usize::from(*first) % recorded.len()];
    let spoiled = if *first == u8::MAX { rest.to_vec() } else { broken(whole, &mut Choices::new(rest)) };
    let of = |text: &[u8]| Some(normalised(scope(text)?, text.len()));
    let whole = of(whole.to_string().as_bytes()).expect("what was recorded can be converted");
    let Some(other) = of(&spoiled) else { return };
    let mut scopes = vec![whole.clone(), whole, other];
    scopes.rotate_left(spoiled.len() % 3);
    together(scopes);
}

/// Checks the report reader: what may be read is written alike again, and whatever it says can be looked up and unified.
pub fn report(text: &[u8]) {
    let Ok(inventory) = serde_json::from_slice::<Inventory>(text) else { return };
    let inventory = read_back(&inventory);
    let _ = UnifiedView::of(&inventory);
    unified(inventory.report, inventory.scopes);
}

/// Brings a scope that was made of `input` bytes into its normal form, and checks that it is one: no larger than such an
/// answer deserves, ids unique, references resolving, and the same when it is read back.
#[must_use]
pub fn normalised(mut scope: Scope, input: usize) -> Scope {
    let size = json(&scope).len();
    assert!(size <= SMALL + MAX_GROWTH * input, "{input} bytes became {size}");
    let _ = normalise(&mut scope);
    let (before, again) = (scope.clone(), normalise(&mut scope));
    assert_eq!((again.dangling_references, again.duplicates), (0, 0), "not normal after the first time");
    assert_eq!(before, scope, "the second time changes something");

    let images = unique("image", scope.images.iter().map(|image| image.id.as_str()));
    let pods = unique("pod", scope.pods.iter().map(|pod| pod.uid.as_str()));
    let workloads = unique("workload", scope.workloads.iter().map(|workload| workload.id.as_str()));
    unique("node", scope.nodes.iter().map(|node| node.name.as_str()));
    unique("namespace", scope.namespaces.iter().map(|namespace| namespace.name.as_str()));
    unique("container", scope.containers.iter().filter_map(|container| container.id.as_deref()));
    let owned = scope.pods.iter().filter_map(|pod| pod.workload.as_deref());
    let owned = owned.chain(scope.containers.iter().filter_map(|container| container.workload.as_deref()));
    assert!(owned.into_iter().all(|id| workloads.contains(id)), "an owner that is not there");
    for container in &scope.containers {
        assert!(container.pod_uid.as_deref().is_none_or(|uid| pods.contains(uid)), "{container:?}");
        assert!(container.image_ref.as_deref().is_none_or(|id| images.contains(id)), "{container:?}");
        assert_eq!(container.image_ref.is_none(), container.image_missing.is_some(), "{container:?}");
    }
    let read = read_back(&scope);
    assert_eq!(scope_digest(&read), scope_digest(&scope));
    scope
}

/// The same after it was written and read, which is also returned.
#[must_use]
pub fn read_back<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(value: &T) -> T {
    let text = json(value);
    let read = serde_json::from_slice(&text).expect("what was written can be read");
    assert_eq!(*value, read, "what is read is not what was written");
    read
}

/// Takes normalised scopes for those of a cluster, a Docker host and a containerd host on one machine, and checks what
/// comes of them together.
pub fn together(scopes: Vec<Scope>) {
    let mut bodies = BTreeMap::new();
    let mut sources: Vec<Source> = Vec::new();
    for (number, scope) in scopes.into_iter().enumerate() {
        let digest = scope_digest(&scope);
        sources.push(source(number, digest.clone()));
        bodies.insert(digest, scope);
    }
    let report = Report {
        schema: SCHEMA_VERSION.into(),
        id: Uuid::nil(),
        agent: Agent::default(),
        created_at: Timestamp::UNIX_EPOCH,
        sequence: None,
        valid_for_seconds: None,
        sources,
    };
    unified(report, bodies);
}

/// Unifies what a report's sources say, and checks the view: every sighting once, references resolving, the order of the
/// sources without effect.
pub fn unified(report: Report, bodies: BTreeMap<Digest, Scope>) {
    let view = unify(&report.sources, &bodies);
    let names: HashSet<&str> = report.sources.iter().map(|source| source.collector.as_str()).collect();
    if names.len() == report.sources.len() {
        let mut reversed = report.sources.clone();
        reversed.reverse();
        assert_eq!(unify(&reversed, &bodies), view, "the order of the sources has an effect");
    }

    let mut seen: Vec<Sighting> = view.containers.iter().flat_map(|container| container.seen.clone()).collect();
    seen.sort();
    let mut expected = Vec::new();
    for source in &report.sources {
        for entry in &source.scopes {
            let body = entry.digest.as_ref().and_then(|digest| bodies.get(digest));
            let count = body.map_or(0, |body| body.containers.len());
            let sighting = |index| Sighting { collector: source.collector.clone(), scope: entry.id.clone(), index };
            expected.extend((0..count).map(sighting));
        }
    }
    expected.sort();
    assert!(seen == expected, "{} sightings became {}", expected.len(), seen.len());
    for finding in &view.findings {
        assert!(finding.container < view.containers.len(), "{finding:?}");
    }
    unique("unified image", view.images.iter().map(|image| image.image.id.as_str()));

    let conclusions = Conclusions::of(&report.sources, &bodies);
    let written = json(&Document { report: &report, scopes: &bodies, unified: &conclusions });
    drop(conclusions);

    let inventory = Inventory { report, scopes: bodies, unified: Some(view) };
    assert_eq!(written, json(&inventory), "an inventory is written otherwise than its parts");
    assert!(UnifiedView::of(&inventory).is_some(), "the view refers to what is not there");
    let _ = read_back(&inventory);
}

fn source(number: usize, digest: Digest) -> Source {
    let host = || Some(Host { machine_id: Some("bed-machine-id".into()), hostname: Some("bed-node".into()) });
    let (kind, cluster, host, scope) = match number % 3 {
        0 => ("kubernetes", Some(Cluster { uid: Some("uid".into()), name: None }), None, ScopeId::namespace("shop")),
        1 => ("docker", None, host(), ScopeId::host()),
        _ => ("containerd", None, host(), ScopeId::namespace("k8s.io")),
    };
    Source {
        collector: format!("{kind}-{number}").into(),
        kind: kind.into(),
        runtime: None,
        cluster,
        host,
        observed_at: Timestamp::MAX,
        coverage: Coverage::Complete,
        shown: Shown::All,
        cost: None,
        warnings: Vec::new(),
        scopes: vec![ScopeEntry {
            id: scope,
            coverage: Coverage::Complete,
            digest: Some(digest),
            counts: Counts::default(),
        }],
    }
}

fn unique<'a>(what: &str, keys: impl Iterator<Item = &'a str>) -> BTreeSet<&'a str> {
    let mut all = BTreeSet::new();
    for key in keys {
        assert!(all.insert(key), "{what} `{key}` is there twice");
    }
    all
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("the model always serialises")
}
