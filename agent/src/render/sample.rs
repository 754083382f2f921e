//! Small inventories for tests, made by hand through the model.

use std::collections::BTreeMap;

use jiff::Timestamp;
use stocktake_core::{
    Digest,
    labels::Labels,
    model::{
        Agent, Cluster, Container, ContainerKind, ContainerState, Coverage, DigestFact, Host, Image, Inventory,
        MissingReason, Namespace, Node, Platform, Pod, Provenance, Report, RuntimeVersion, SCHEMA_VERSION, Scope,
        ScopeEntry, ScopeId, Shown, Source, Workload,
    },
    normalise, scope_digest,
};

/// Of an image that no repository serves.
pub(crate) const MANIFEST: &str = "sha256:3333333333333333333333333333333333333333333333333333333333333333";
/// Its configuration's.
pub(crate) const CONFIG: &str = "sha256:4444444444444444444444444444444444444444444444444444444444444444";
/// Under this one `example.com/app` is served.
pub(crate) const SERVED: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";

pub(crate) fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn known(digest: &str) -> DigestFact {
    DigestFact::known(digest.parse::<Digest>().unwrap(), Provenance::CONTAINERD_MANIFEST)
}

/// A source with its scopes.
pub(crate) type Seen = (Source, Vec<(ScopeId, Coverage, Scope)>);

/// An inventory of what was seen.
pub(crate) fn inventory(sources: Vec<Seen>) -> Inventory {
    let mut bodies = BTreeMap::new();
    let seal = |(mut source, scopes): Seen| {
        for (id, coverage, mut body) in scopes {
            let counts = normalise(&mut body);
            let digest = coverage.has_seen().then(|| scope_digest(&body));
            bodies.extend(digest.clone().map(|digest| (digest, body)));
            source.scopes.push(ScopeEntry { id, coverage, digest, counts });
        }
        source
    };
    let report = Report {
        schema: SCHEMA_VERSION.into(),
        id: "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap(),
        agent: Agent { version: "0.1.0".into(), hostname: Some("web-7".into()), ..Agent::default() },
        created_at: time("2021-11-17T18:47:36.987654321Z"),
        sequence: None,
        valid_for_seconds: None,
        sources: sources.into_iter().map(seal).collect(),
    };
    Inventory::new(report, bodies)
}

/// A source of `kind`, which is its name too.
pub(crate) fn source(kind: &str) -> Source {
    Source {
        collector: kind.into(),
        kind: kind.into(),
        runtime: Some(RuntimeVersion { name: kind.into(), version: "v1.21.5-eks-bc4871b".into() }),
        cluster: None,
        host: None,
        observed_at: time("2021-11-17T18:47:30Z"),
        coverage: Coverage::Complete,
        shown: Shown::All,
        cost: None,
        warnings: Vec::new(),
        scopes: Vec::new(),
    }
}

pub(crate) fn docker(containers: Vec<Container>, images: Vec<Image>) -> Seen {
    let host = Host { machine_id: Some("m".into()), hostname: Some("web-7".into()) };
    let body = Scope { containers, images, ..Scope::default() };
    (Source { host: Some(host), ..source("docker") }, vec![(ScopeId::host(), Coverage::Complete, body)])
}

/// One container on a host, asked for as `image`.
pub(crate) fn one_container(image: &str, names: &[&str], repo_digests: &[&str]) -> Inventory {
    let mut of = Image::unresolved("i", MissingReason::NotReported);
    of.names = names.iter().map(|name| (*name).into()).collect();
    of.repo_digests = repo_digests.iter().map(|digest| digest.parse().unwrap()).collect();
    inventory(vec![docker(vec![container("c", image)], vec![of])])
}

/// One container on a host, asked for as `image`, of an image that was never in a registry.
pub(crate) fn side_loaded(image: &str) -> Inventory {
    inventory(vec![docker(vec![container("c", image)], vec![side_image("i")])])
}

pub(crate) fn side_image(id: &str) -> Image {
    Image {
        manifest_digest: known(MANIFEST),
        config_digest: known(CONFIG),
        platform: Some(Platform { os: "linux".into(), architecture: "amd64".into(), variant: None }),
        ..Image::unresolved(id, MissingReason::SinglePlatform)
    }
}

pub(crate) fn container(id: &str, image: &str) -> Container {
    Container {
        id: Some(id.into()),
        name: format!("name-of-{id}").into(),
        image: Some(image.into()),
        image_ref: Some("i".into()),
        state: ContainerState::Running,
        ..Container::default()
    }
}

fn labels(key: &str, value: &str) -> Labels {
    [(key.to_owned(), value.to_owned())].into()
}

fn pod(name: &str, phase: &str) -> Pod {
    Pod {
        uid: format!("uid-of-{name}").into(),
        name: name.into(),
        namespace: "shop".into(),
        node_name: Some("node-1".into()),
        phase: Some(phase.into()),
        ..Pod::default()
    }
}

fn of_pod(pod: &str, kind: ContainerKind, name: &str, image: &str, image_ref: &str) -> Container {
    Container {
        name: name.into(),
        kind,
        pod_uid: Some(format!("uid-of-{pod}").into()),
        node_name: Some("node-1".into()),
        image_ref: Some(image_ref.into()),
        // As runtimes draw them, so that two sightings are known to be of one container.
        ..container(Digest::sha256(format!("{pod} {name}").as_bytes()).encoded(), image)
    }
}

/// A cluster with a namespace of each sort: `shop` with pods, `empty`, and `secret`, which may not be looked into.
pub(crate) fn cluster() -> Seen {
    let denied = Coverage::Denied { reason: "may not list pods".into() };
    let of = Cluster { uid: Some("uid".into()), name: Some("eks-prod".into()) };
    let scopes = vec![
        (ScopeId::cluster(), Coverage::Complete, own()),
        (ScopeId::namespace("empty"), Coverage::Complete, Scope::default()),
        (ScopeId::namespace("secret"), denied, Scope::default()),
        (ScopeId::namespace("shop"), Coverage::Complete, shop()),
    ];
    (Source { cluster: Some(of), ..source("kubernetes") }, scopes)
}

/// A namespace with containers of each sort.
fn shop() -> Scope {
    let served: Image = Image {
        repo_digests: vec![format!("example.com/app@{SERVED}").parse().unwrap()],
        ..Image::unresolved("served", MissingReason::Ambiguous)
    };
    let unknown = Image::unresolved("unknown", MissingReason::NotReported);
    let web = Pod {
        labels: labels("app", "<web> & co"),
        annotations: labels("note", "a"),
        workload: Some("w".into()),
        ..pod("web", "Running")
    };
    let waiting = Container {
        id: None,
        state: ContainerState::Waiting,
        state_reason: Some("ImagePullBackOff".into()),
        ..of_pod("web", ContainerKind::Regular, "waiting", "example.com/later:1", "unknown")
    };
    Scope {
        pods: vec![web, pod("done", "Succeeded"), Pod { node_name: Some("gone".into()), ..pod("second", "Running") }],
        workloads: vec![Workload {
            id: "w".into(),
            kind: "Deployment".into(),
            name: "web".into(),
            namespace: Some("shop".into()),
            ..Workload::default()
        }],
        containers: vec![
            of_pod("web", ContainerKind::Init, "setup", "example.com/app:1.0", "served"),
            of_pod("web", ContainerKind::Regular, "app", "example.com/app:1.0", "served"),
            of_pod("web", ContainerKind::Regular, "pinned", &format!("example.com/app@{SERVED}"), "served"),
            of_pod("web", ContainerKind::Regular, "side", "example.com/side:2.0", "side"),
            of_pod("web", ContainerKind::Regular, "unknown", "example.com/bare", "unknown"),
            of_pod("web", ContainerKind::Ephemeral, "debugger", "example.com/debug:1", "unknown"),
            waiting,
            Container {
                state: ContainerState::Exited,
                ..of_pod("done", ContainerKind::Regular, "main", "example.com/job:1", "unknown")
            },
            of_pod("second", ContainerKind::Regular, "main", "example.com/app:1.0", "served"),
        ],
        images: vec![served, side_image("side"), unknown],
        ..Scope::default()
    }
}

/// The cluster's own objects.
fn own() -> Scope {
    let namespace = |name: &str| Namespace {
        name: name.into(),
        uid: Some(format!("uid-of-{name}").into()),
        ..Namespace::default()
    };
    let node = Node {
        name: "node-1".into(),
        uid: Some("uid-of-node-1".into()),
        container_runtime_version: Some("containerd://1.6.20".into()),
        kernel_version: Some("6.1".into()),
        kubelet_version: Some("v1.20.2".into()),
        operating_system: Some("linux".into()),
        architecture: Some("amd64".into()),
        labels: labels("zone", "a"),
        ..Node::default()
    };
    Scope {
        nodes: vec![node],
        namespaces: vec![namespace("shop"), namespace("empty"), namespace("secret")],
        ..Scope::default()
    }
}
