//! What unifying costs, on a made-up cluster of 10,000 pods whose nodes' containerds are all read too: figure, floor
//! and ratio. The floor is what is done with the same report anyway: hashing its scopes.
//!
//! `cargo run --release --package stocktake-tests --bin bench-unify`
#![allow(clippy::print_stdout, reason = "a benchmark prints")]

use std::{collections::BTreeMap, time::Instant};

use jiff::Timestamp;
use stocktake_core::{
    Digest,
    model::{
        Cluster, Container, ContainerState, Coverage, DigestFact, Host, Image, MissingReason, Node, Pod, Provenance,
        Scope, ScopeEntry, ScopeId, Shown, Source, Text,
    },
    normalise, scope_digest,
    unify::unify,
};

const NODES: usize = 100;
const PODS_A_NODE: usize = 100;
const CONTAINERS_A_POD: usize = 2;
const NAMESPACES: usize = 50;
const IMAGES: usize = 300;

fn main() {
    let (mut sources, mut bodies) = (Vec::new(), BTreeMap::new());
    let mut hashing = std::time::Duration::ZERO;
    for (collector, cluster, host, scopes) in reports() {
        let mut entries = Vec::new();
        for (id, mut body) in scopes {
            let began = Instant::now();
            let counts = normalise(&mut body);
            let digest = scope_digest(&body);
            hashing += began.elapsed();
            entries.push(ScopeEntry { id, coverage: Coverage::Complete, digest: Some(digest.clone()), counts });
            bodies.insert(digest, body);
        }
        sources.push(Source {
            kind: if cluster.is_some() { "kubernetes" } else { "containerd" }.into(),
            collector,
            runtime: None,
            cluster,
            host,
            observed_at: Timestamp::UNIX_EPOCH,
            coverage: Coverage::Complete,
            shown: Shown::All,
            cost: None,
            warnings: Vec::new(),
            scopes: entries,
        });
    }
    let mut runs: Vec<_> = (0..5)
        .map(|_| {
            let began = Instant::now();
            let unified = unify(&sources, &bodies);
            (began.elapsed(), unified.containers.len(), unified.images.len(), unified.findings.len())
        })
        .collect();
    runs.sort();
    let (median, containers, images, findings) = runs[2];
    let sightings: usize = bodies.values().map(|scope| scope.containers.len()).sum();
    println!("{sightings} sightings of {containers} containers and {images} images, {findings} findings");
    println!("unify                      {:8.1} ms (median of 5)", millis(median));
    println!("normalise and hash, floor  {:8.1} ms", millis(hashing));
    println!("ratio                      {:8.2}", median.as_secs_f64() / hashing.as_secs_f64());
}

fn millis(duration: std::time::Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

type Observed = (Text, Option<Cluster>, Option<Host>, Vec<(ScopeId, Scope)>);

/// The cluster, and each node's containerd.
fn reports() -> Vec<Observed> {
    let mut namespaces: BTreeMap<usize, Scope> = BTreeMap::new();
    let mut nodes = Vec::new();
    let mut hosts = Vec::new();
    for node in 0..NODES {
        let name = Text::from(format!("node-{node}"));
        nodes.push(Node { name: name.clone(), machine_id: Some(name.clone()), ..Node::default() });
        let mut runtime = Scope::default();
        for pod in 0..PODS_A_NODE {
            let namespace = (node + pod) % NAMESPACES;
            let scope = namespaces.entry(namespace).or_default();
            let uid = Text::from(format!("{node:08}-0000-4000-8000-{pod:012}"));
            let of_pod = Pod {
                uid: uid.clone(),
                name: format!("pod-{pod}-on-{node}").into(),
                namespace: format!("namespace-{namespace}").into(),
                node_name: Some(name.clone()),
                ..Pod::default()
            };
            for container in 0..CONTAINERS_A_POD {
                let number = (node * PODS_A_NODE + pod) * CONTAINERS_A_POD + container;
                let image = images(number % IMAGES);
                let seen = |image: &Image| Container {
                    id: Some(Digest::sha256(&number.to_le_bytes()).encoded().into()),
                    name: format!("container-{container}").into(),
                    pod_uid: Some(uid.clone()),
                    image_ref: Some(image.id.clone()),
                    state: ContainerState::Running,
                    ..Container::default()
                };
                scope.containers.push(Container { node_name: Some(name.clone()), ..seen(&image[0]) });
                runtime.containers.push(seen(&image[1]));
                let [of_api, of_runtime] = image;
                scope.images.push(of_api);
                runtime.images.push(of_runtime);
            }
            scope.pods.push(of_pod.clone());
            runtime.pods.push(of_pod);
        }
        let host = Host { machine_id: Some(name.to_string()), hostname: Some(name.to_string()) };
        hosts.push((name, None, Some(host), vec![(ScopeId::namespace("k8s.io"), runtime)]));
    }
    let mut scopes: Vec<(ScopeId, Scope)> = namespaces
        .into_iter()
        .map(|(namespace, scope)| (ScopeId::namespace(format!("namespace-{namespace}")), scope))
        .collect();
    scopes.push((ScopeId::cluster(), Scope { nodes, ..Scope::default() }));
    let cluster = Cluster { uid: Some("cluster".into()), name: None };
    hosts.push(("cluster".into(), Some(cluster), None, scopes));
    hosts
}

/// An image as the API server tells it, and as containerd does.
fn images(number: usize) -> [Image; 2] {
    let digest = |what: &str| Digest::sha256(format!("{what} {number}").as_bytes());
    let known = |what: &str| DigestFact::known(digest(what), Provenance::CONTAINERD_MANIFEST);
    let of_api = format!("registry.example.com/team/app-{number}@{}", digest("index"));
    [
        Image {
            repo_digests: of_api.parse().into_iter().collect(),
            ..Image::unresolved(of_api, MissingReason::Ambiguous)
        },
        Image {
            index_digest: known("index"),
            manifest_digest: known("manifest"),
            config_digest: known("config"),
            ..Image::unresolved(digest("index").as_str(), MissingReason::NotReported)
        },
    ]
}
