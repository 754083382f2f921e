use std::collections::BTreeMap;

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::{
    ConfigError, Digest,
    labels::Labels,
    model::{
        Agent, Cluster, Container, ContainerKind, ContainerState, Counts, Coverage, Host, Image, Inventory,
        MissingReason, Namespace, Node, Pod, Provenance, Report, SCHEMA_VERSION, ScopeEntry, ScopeId, Shown, Source,
        Text, Workload,
    },
    normalise, scope_digest,
};

fn filters(value: serde_json::Value) -> Filters {
    ConfigError::deserialize(value).unwrap()
}

fn labels(keys: &[&str]) -> Labels {
    keys.iter().map(|key| ((*key).to_owned(), format!("value of {key}"))).collect()
}

fn source(collector: &str, kind: &str) -> Source {
    let is_cluster = kind == "kubernetes";
    Source {
        collector: collector.into(),
        kind: kind.into(),
        runtime: None,
        cluster: is_cluster.then(|| Cluster { uid: Some("cluster".into()), name: None }),
        host: (!is_cluster).then(|| Host { machine_id: Some("machine".into()), hostname: None }),
        observed_at: Timestamp::UNIX_EPOCH,
        coverage: Coverage::Complete,
        shown: Shown::All,
        cost: None,
        warnings: Vec::new(),
        scopes: Vec::new(),
    }
}

/// A report of sources with one scope each.
fn report(seen: Vec<(Source, ScopeId, Scope)>) -> (Report, BTreeMap<Digest, Scope>) {
    let mut scopes = BTreeMap::new();
    let mut sources = Vec::new();
    for (mut source, id, mut body) in seen {
        let counts = normalise(&mut body);
        let digest = scope_digest(&body);
        source.scopes.push(ScopeEntry { id, coverage: Coverage::Complete, digest: Some(digest.clone()), counts });
        scopes.insert(digest, body);
        sources.push(source);
    }
    let report = Report {
        schema: SCHEMA_VERSION.to_owned(),
        id: Uuid::nil(),
        agent: Agent::default(),
        created_at: Timestamp::UNIX_EPOCH,
        sequence: None,
        valid_for_seconds: None,
        sources,
    };
    (report, scopes)
}

fn id(number: usize) -> Text {
    format!("{number:064x}").into()
}

/// An image by its manifest.
fn image(number: usize, names: &[&str]) -> Image {
    let manifest = Digest::sha256(&number.to_be_bytes());
    Image {
        names: names.iter().map(|name| (*name).into()).collect(),
        manifest_digest: crate::model::DigestFact::known(manifest, Provenance("test".into())),
        ..Image::unresolved(format!("image-{number}"), MissingReason::NotReported)
    }
}

fn container(number: usize, name: &str, image: Option<usize>) -> Container {
    Container {
        id: Some(id(number)),
        name: name.into(),
        image_ref: image.map(|image| format!("image-{image}").into()),
        state: ContainerState::Running,
        ..Container::default()
    }
}

/// Docker knows names, the containerd beneath it only ids.
fn docker_and_moby() -> (Report, BTreeMap<Digest, Scope>) {
    let docker = Scope {
        containers: vec![
            Container { image: Some("nginx:1.27".into()), workload: Some("w".into()), ..container(1, "web", Some(1)) },
            Container { image: Some("example.com/app:1".into()), ..container(2, "app", Some(2)) },
        ],
        images: vec![image(1, &["nginx:1.27"]), image(2, &["example.com/app:1"])],
        workloads: vec![Workload { id: "w".into(), kind: "compose_service".into(), ..Workload::default() }],
        ..Scope::default()
    };
    let moby = Scope {
        containers: vec![container(1, &id(1), Some(7)), container(2, &id(2), None)],
        images: vec![Image::unresolved("image-7", MissingReason::NotInStore)],
        ..Scope::default()
    };
    report(vec![
        (source("docker", "docker"), ScopeId::host(), docker),
        (source("containerd", "containerd"), ScopeId::namespace("moby"), moby),
    ])
}

fn names(report: &Report, scopes: &BTreeMap<Digest, Scope>, collector: &str) -> Vec<String> {
    let source = report.sources.iter().find(|source| source.collector == collector).unwrap();
    let bodies = source.scopes.iter().map(|entry| &scopes[entry.digest.as_ref().unwrap()]);
    bodies.flat_map(|body| &body.containers).map(|container| container.name.to_string()).collect()
}

#[test]
fn a_container_goes_from_every_source_by_any_spelling_of_its_image() {
    let digest = Digest::sha256(&1usize.to_be_bytes());
    for pattern in [
        "nginx",
        "nginx:1.27",
        "ngin*",
        "docker.io/library/*",
        "docker.io/library/nginx:1.27",
        "/docker\\.io/.*/",
        digest.as_str(),
    ] {
        let (report, scopes) = docker_and_moby();
        let (report, scopes, removed) =
            filters(json!({"images": {"exclude": [pattern]}})).remove_containers(report, scopes);
        assert_eq!(names(&report, &scopes, "docker"), ["app"], "{pattern}");
        assert_eq!(names(&report, &scopes, "containerd"), [id(2)], "{pattern}");
        let docker = removed["docker"].by(Rule::Excluded(Setting::Images, 0)).unwrap();
        assert_eq!(docker.to_string(), "1 container, 1 workload, 1 image", "{pattern}");
        let moby = removed["containerd"].by(Rule::Excluded(Setting::Images, 0)).unwrap();
        assert_eq!(moby.to_string(), "1 container, 1 image", "{pattern}");
        let expected = format!("container `{}` (known as `", id(1));
        assert!(moby.examples[0].to_string().starts_with(&expected), "{}", moby.examples[0]);
        assert!(report.sources.iter().all(Source::is_complete), "a filter narrows, and hides nothing");
    }
}

#[test]
fn other_names_do_not_go() {
    for pattern in ["nginx:1.26", "library/nginx", "inx", "docker.io/nginx", "example.com/nginx"] {
        let (before, scopes) = docker_and_moby();
        let filters = filters(json!({"images": {"exclude": [pattern]}}));
        let (report, scopes, removed) = filters.remove_containers(before.clone(), scopes);
        assert_eq!(report, before, "{pattern}");
        assert!(removed.is_empty() && scopes.len() == 2);
    }
}

#[test]
fn what_is_included_is_included_everywhere() {
    let (report, scopes) = docker_and_moby();
    let (report, scopes, removed) = filters(json!({"containers": ["web"]})).remove_containers(report, scopes);
    assert_eq!(names(&report, &scopes, "docker"), ["web"]);
    assert_eq!(names(&report, &scopes, "containerd"), [id(1)], "its name is known to docker");
    assert_eq!(
        removed["docker"].by(Rule::NotIncluded(Setting::Containers)).unwrap().to_string(),
        "1 container, 1 image"
    );
    let counts = &report.sources[0].scopes[0].counts;
    assert_eq!((counts.containers, counts.images, counts.workloads), (1, 1, 1));
}

/// Pod and sandbox go from both, though one knows the static pod by another uid, and nothing is left to be wondered at.
#[test]
fn a_pod_goes_with_its_last_container_and_not_before() {
    let pod = |uid: &str, hash: Option<&str>, name: &str| Pod {
        uid: uid.into(),
        name: name.into(),
        namespace: "shop".into(),
        config_hash: hash.map(Into::into),
        ..Pod::default()
    };
    let of = |pod: &str, container: Container| Container {
        pod_uid: Some(pod.into()),
        node_name: Some("node".into()),
        ..container
    };
    let sandbox = |pod: &str, number| Container {
        kind: ContainerKind::Sandbox,
        ..of(pod, container(number, &id(number), Some(9)))
    };
    let cluster = Scope {
        pods: vec![pod("a", None, "both"), pod("b", None, "one"), pod("mirror", Some("hash"), "static")],
        containers: vec![
            of("a", container(1, "web", None)),
            of("a", container(2, "helper", None)),
            of("b", container(3, "helper", None)),
            // Not made yet: only its name joins it to what the runtime has of an earlier attempt.
            of("mirror", Container { id: None, ..container(0, "helper", None) }),
        ],
        ..Scope::default()
    };
    let runtime = Scope {
        pods: vec![pod("a", None, "both"), pod("b", None, "one"), pod("hash", None, "static")],
        containers: vec![
            of("a", container(1, "web", None)),
            of("a", container(2, "helper", None)),
            of("b", container(3, "helper", None)),
            sandbox("a", 11),
            sandbox("b", 12),
            sandbox("hash", 13),
        ],
        images: vec![image(9, &["registry.k8s.io/pause:3.6"])],
        ..Scope::default()
    };
    let nodes = Scope {
        nodes: vec![Node { name: "node".into(), machine_id: Some("machine".into()), ..Node::default() }],
        ..Scope::default()
    };
    let (mut report, mut scopes) = report(vec![
        (source("kubernetes", "kubernetes"), ScopeId::namespace("shop"), cluster),
        (source("containerd", "containerd"), ScopeId::namespace("k8s.io"), runtime),
    ]);
    let digest = scope_digest(&nodes);
    report.sources[0].scopes.push(ScopeEntry {
        id: ScopeId::cluster(),
        coverage: Coverage::Complete,
        digest: Some(digest.clone()),
        counts: Counts::default(),
    });
    scopes.insert(digest, nodes);

    let excluding = filters(json!({"containers": {"exclude": ["helper"]}}));
    let (report, scopes, removed) = excluding.remove_containers(report, scopes);
    let body = |source: usize| &scopes[report.sources[source].scopes[0].digest.as_ref().unwrap()];
    for source in [0, 1] {
        let pods: Vec<&str> = body(source).pods.iter().map(|pod| pod.name.as_str()).collect();
        assert_eq!(pods, ["both"], "{}", report.sources[source].collector);
    }
    assert_eq!(names(&report, &scopes, "containerd"), ["web", id(11).as_str()]);
    let taken = removed["containerd"].by(Rule::Excluded(Setting::Containers, 0)).unwrap();
    assert_eq!(taken.to_string(), "2 containers, 2 sandboxes, 2 pods");
    let inventory = Inventory::new(report, scopes);
    assert_eq!(inventory.unified.unwrap().findings, []);
}

#[test]
fn an_excluded_sandbox_goes_alone_and_no_include_asks_for_one() {
    let scope = Scope {
        pods: vec![Pod { uid: "p".into(), ..Pod::default() }],
        containers: vec![
            Container { pod_uid: Some("p".into()), image: Some("web:1".into()), ..container(1, "web", Some(1)) },
            Container { pod_uid: Some("p".into()), kind: ContainerKind::Sandbox, ..container(2, "x", Some(9)) },
        ],
        images: vec![image(1, &["web:1"]), image(9, &["registry.k8s.io/pause:3.6"])],
        ..Scope::default()
    };
    for (setting, left) in [
        (json!({"images": {"exclude": ["*/pause"]}}), vec!["web".to_owned()]),
        (json!({"images": ["web"]}), vec!["web".to_owned(), "x".to_owned()]),
        (json!({"images": ["nothing"]}), vec![]),
    ] {
        let seen = (source("containerd", "containerd"), ScopeId::namespace("k8s.io"), scope.clone());
        let (report, scopes) = report(vec![seen]);
        let (report, scopes, _) = filters(setting).remove_containers(report, scopes);
        assert_eq!(names(&report, &scopes, "containerd"), left);
    }
}

#[test]
fn labels_and_annotations_go_by_key_from_everything_that_has_any() {
    let secret = "kubectl.kubernetes.io/last-applied-configuration";
    let (wanted, unwanted) = (["team", "internal/a"], ["example.com/owner", "other", secret]);
    let mut scope = Scope {
        nodes: vec![Node { labels: labels(&wanted), annotations: labels(&unwanted), ..Node::default() }],
        namespaces: vec![Namespace { labels: labels(&wanted), annotations: labels(&unwanted), ..Namespace::default() }],
        pods: vec![Pod { labels: labels(&wanted), annotations: labels(&unwanted), ..Pod::default() }],
        containers: vec![Container { labels: labels(&["team", "internal/a", secret]), ..container(1, "web", None) }],
        ..Scope::default()
    };
    // Whoever asks for it by name does not get it either.
    let filters = filters(json!({
        "labels": {"exclude": ["nothing", "internal/*"]},
        "annotations": {"include": ["example.com/*", secret]},
    }));
    let removed = filters.clean(&mut scope);
    let kept =
        [&scope.nodes[0].labels, &scope.namespaces[0].labels, &scope.pods[0].labels, &scope.containers[0].labels];
    assert!(kept.into_iter().all(|map| *map == labels(&["team"])), "{kept:?}");
    let kept = [&scope.nodes[0].annotations, &scope.namespaces[0].annotations, &scope.pods[0].annotations];
    assert!(kept.into_iter().all(|map| *map == labels(&["example.com/owner"])), "{kept:?}");
    assert_eq!(removed.by(Rule::Excluded(Setting::Labels, 0)), None);
    assert_eq!(removed.by(Rule::Excluded(Setting::Labels, 1)).unwrap().to_string(), "4 labels");
    assert_eq!(removed.by(Rule::NotIncluded(Setting::Annotations)).unwrap().to_string(), "3 annotations");
    assert_eq!(removed.by(Rule::Secret).unwrap().to_string(), "1 label, 3 annotations");
    assert_eq!(removed.truncated(), 0);
    assert_eq!(filters.describe(Rule::Excluded(Setting::Labels, 1)), "filters.labels.exclude `internal/*`");
    assert_eq!(filters.clean(&mut scope), Removed::default());
}

#[test]
fn what_is_cut_is_counted_and_said_and_still_leads_where_it_led() {
    let long = |text: &str| Text::from(format!("{text}{}", "x".repeat(1 << 20)));
    let mut scope = Scope {
        pods: vec![Pod { uid: long("pod"), name: "p".into(), ..Pod::default() }],
        containers: vec![
            Container {
                pod_uid: Some(long("pod")),
                labels: Labels::from([
                    ("big".into(), long("")),
                    ("hidden".into(), long("")),
                    (long("k"), Text::default()),
                ]),
                ..container(1, "web", None)
            },
            Container { name: long("one"), image_ref: Some(long("image")), ..container(2, "", None) },
            Container { name: long("one-"), ..container(3, "", None) },
        ],
        images: vec![Image::unresolved(long("image"), MissingReason::NotReported)],
        ..Scope::default()
    };
    let removed = filters(json!({"labels": {"exclude": ["hidden"]}})).clean(&mut scope);
    let counts = normalise(&mut scope);
    assert_eq!((counts.dangling_references, counts.duplicates, counts.containers), (0, 0, 3));
    assert_eq!(removed.truncated(), 8, "2 pod uids, 2 names, 2 image keys, a value, a key");
    assert!(serde_json::to_string(&scope).unwrap().len() < 20_000);
    let warning = removed.limits_warning("host", Some(&scope)).unwrap().message;
    assert!(warning.starts_with("8 texts and labels of host were cut"), "{warning}");
    assert!(warning.contains("container `web` (label `big`): a value of more than 4096 bytes"), "{warning}");
    assert!(!warning.contains("hidden") && warning.len() < 2000, "{warning}");
    scope.containers.retain(|container| container.name != "web");
    let warning = removed.limits_warning("host", Some(&scope)).unwrap().message;
    assert!(!warning.contains("web"), "what was filtered since is not named: {warning}");
}

#[test]
fn what_a_runtime_says_of_itself_is_cut_too() {
    let mut source = source(&"d".repeat(9), "docker");
    let long = "y".repeat(1 << 20);
    source.coverage = Coverage::Failed { reason: long.clone() };
    source.host = Some(Host { machine_id: None, hostname: Some(long.clone()) });
    source.scopes.push(ScopeEntry {
        id: ScopeId::namespace(long.clone()),
        coverage: Coverage::Denied { reason: long },
        digest: None,
        counts: Counts::default(),
    });
    assert_eq!(limit_source(&mut source).truncated(), 4);
    assert!(serde_json::to_string(&source).unwrap().len() < 12_000);
    assert!(limit_source(&mut source).is_empty());
}

/// What each of up to three sources says of one container. `is_evil` things have a name with `evil` in it.
#[derive(Debug, Clone)]
struct Drawn {
    name: bool,
    image: usize,
    label: bool,
    pod: Option<usize>,
    seen_by: [bool; 3],
    is_sandbox: bool,
}

fn drawn() -> impl Strategy<Value = Vec<Drawn>> {
    let one = (any::<bool>(), 0usize..5, any::<bool>(), proptest::option::of(0usize..3), any::<[bool; 3]>(), 0u8..5);
    let one = one.prop_map(|(name, image, label, pod, seen_by, kind)| Drawn {
        name,
        image,
        label,
        pod,
        seen_by,
        is_sandbox: kind == 0 && pod.is_some(),
    });
    proptest::collection::vec(one, 0..12)
}

/// Images 0 and 1 have a evil name somewhere: 0 as it was asked for in the cluster, 1 in the runtime's list.
fn look(drawn: &[Drawn]) -> (Report, BTreeMap<Digest, Scope>) {
    let places = [
        ("cluster", "kubernetes", ScopeId::namespace("n")),
        ("docker", "docker", ScopeId::host()),
        ("containerd", "containerd", ScopeId::namespace("moby")),
    ];
    let look = |place: usize| {
        let mut scope = Scope::default();
        let seen =
            drawn.iter().enumerate().filter(|(_, drawn)| drawn.seen_by[place] && !(place == 0 && drawn.is_sandbox));
        for (number, drawn) in seen {
            let known = place < 2;
            let name = match (known, drawn.name) {
                (true, true) => format!("evil-container-{number}").into(),
                (true, false) => format!("good-{number}").into(),
                (false, _) => id(number),
            };
            let requested = match (place, drawn.image) {
                (0, 0) => Some("example.com/evil/zero:1".into()),
                (0 | 1, image) => Some(format!("example.com/good:{image}").into()),
                _ => None,
            };
            let names: &[&str] = if (place, drawn.image) == (1, 1) { &["evil-one:1"] } else { &[] };
            scope.images.push(image(drawn.image, names));
            let pod = drawn.pod.map(|pod| Text::from(format!("pod-{pod}")));
            scope.pods.extend(pod.iter().map(|uid| Pod { uid: uid.clone(), name: uid.clone(), ..Pod::default() }));
            let label = if drawn.label { "evil-label" } else { "fine" };
            scope.containers.push(Container {
                image: requested,
                pod_uid: pod,
                kind: if drawn.is_sandbox { ContainerKind::Sandbox } else { ContainerKind::Regular },
                labels: labels(&[label]),
                ..container(number, &name, Some(drawn.image))
            });
        }
        scope
    };
    let evil = filters(json!({"labels": {"exclude": ["evil-*"]}}));
    report(
        places
            .into_iter()
            .enumerate()
            .map(|(place, (collector, kind, scope))| {
                let mut body = look(place);
                let _ = evil.clean(&mut body);
                (source(collector, kind), scope, body)
            })
            .collect(),
    )
}

fn by_id(inventory: &Inventory) -> Vec<(Text, crate::model::FindingKind)> {
    let unified = inventory.unified.as_ref().unwrap();
    let about =
        |finding: &crate::model::Finding| (unified.containers[finding.container].id.clone().unwrap(), finding.kind);
    unified.findings.iter().map(about).collect()
}

proptest! {
    #[test]
    fn nothing_excluded_is_left_anywhere_and_once_is_enough(drawn in drawn()) {
        let (report, scopes) = look(&drawn);
        let before = Inventory::new(report.clone(), scopes.clone());
        let filters = filters(json!({
            "images": {"exclude": ["*/evil/*", "evil-one"]},
            "containers": {"exclude": ["/evil-.*/"]},
        }));
        let (report, scopes, removed) = filters.remove_containers(report, scopes);
        let after = Inventory::new(report.clone(), scopes.clone());
        let text = serde_json::to_string(&after).unwrap();
        prop_assert!(!text.contains("evil"), "{text}");

        // Every container goes from all sources or from none.
        for (number, drawn) in drawn.iter().enumerate() {
            let id = id(number);
            let entries = report.sources.iter().flat_map(|source| &source.scopes);
            let bodies = entries.map(|entry| &scopes[entry.digest.as_ref().unwrap()]);
            let sightings = bodies.flat_map(|body| &body.containers).filter(|c| c.id.as_deref() == Some(&*id));
            let expected = drawn.seen_by.iter().enumerate().filter(|(place, seen)| **seen && !(*place == 0 && drawn.is_sandbox));
            let (left, all) = (sightings.count(), expected.count());
            prop_assert!(left == 0 || left == all, "{id}: {left} of {all}");
        }
        // What is normal stays so, and the digests are of what is there.
        for (digest, scope) in &scopes {
            let mut again = scope.clone();
            let counts = normalise(&mut again);
            prop_assert_eq!(counts.dangling_references + counts.duplicates, 0);
            prop_assert_eq!((&scope_digest(scope), &again), (digest, scope));
        }
        let found = by_id(&before);
        prop_assert!(by_id(&after).iter().all(|finding| found.contains(finding)), "a filter made a finding");

        let (again, bodies, none) = filters.remove_containers(report.clone(), scopes.clone());
        prop_assert_eq!((again, bodies, none.len()), (report, scopes, 0));
        prop_assert_eq!(removed.is_empty(), after == before);
    }

    #[test]
    fn includes_are_idempotent_too(drawn in drawn()) {
        let (report, scopes) = look(&drawn);
        let filters = filters(json!({"images": {"include": ["example.com/good:*", "evil-one"], "exclude": ["*:4"]}}));
        let (report, scopes, _) = filters.remove_containers(report, scopes);
        let (again, bodies, none) = filters.remove_containers(report.clone(), scopes.clone());
        prop_assert_eq!((again, bodies, none.len()), (report, scopes, 0));
    }

    #[test]
    fn cleaning_twice_is_cleaning_once(
        keys in proptest::collection::btree_map("[ab]{0,3}(é{0,600})?", "\\PC{0,20}(é{0,4000})?", 0..8)
    ) {
        let keys = Labels::from(keys);
        let pods = vec![Pod { labels: keys.clone(), annotations: keys, ..Pod::default() }];
        let mut scope = Scope { pods, ..Scope::default() };
        let filters = filters(json!({"labels": {"exclude": ["a*"]}, "annotations": ["b*", "?"]}));
        let _ = filters.clean(&mut scope);
        let once = scope.clone();
        prop_assert!(filters.clean(&mut scope).is_empty());
        prop_assert_eq!(&scope, &once);
        prop_assert!(scope.pods[0].labels.keys().all(|key| !key.starts_with('a')));
        let longest = scope.pods[0].labels.iter().chain(&scope.pods[0].annotations).map(|(k, v)| (k.len(), v.len())).max();
        prop_assert!(longest.is_none_or(|(key, value)| key <= 512 && value <= 4096));
    }
}
