//! Hand-made sources: each test is a situation that the bed shows too, reduced to what decides it.

mod findings;

use jiff::Timestamp;

use super::*;
use ContainerState::{Exited, Paused, Running, Stopped, Unknown, Waiting};

use crate::{
    RepoDigest,
    model::{
        Agent, Cluster, Container, ContainerKind, ContainerState, Coverage, DigestFact, FindingKind, Host, Image,
        Inventory, JoinedBy, MissingReason, Node, Pod, Provenance, Report, RuntimeVersion, ScopeEntry, ScopeId, Shown,
        Text, UnifiedContainer,
    },
    normalise, scope_digest,
};

const MACHINE: &str = "0123456789abcdef0123456789abcdef";
const NODE: &str = "node-1";

fn id(letter: char) -> Text {
    letter.to_string().repeat(64).into()
}

fn digest(text: &str) -> Digest {
    Digest::sha256(text.as_bytes())
}

fn known(text: &str) -> DigestFact {
    DigestFact::known(digest(text), Provenance("test".into()))
}

fn time(second: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + second).unwrap()
}

/// A report that is being put together.
#[derive(Default)]
struct World {
    sources: Vec<Source>,
    scopes: BTreeMap<Digest, Scope>,
}

impl World {
    fn host(self, collector: &str, kind: &str, scopes: Vec<(ScopeId, Scope)>) -> Self {
        let host = Host { machine_id: Some(MACHINE.into()), hostname: Some("host-1".into()) };
        self.add(collector, kind, None, Some(host), scopes)
    }

    fn cluster(self, collector: &str, mut scopes: Vec<(ScopeId, Scope)>) -> Self {
        let node = Node {
            name: NODE.into(),
            machine_id: Some(MACHINE.into()),
            operating_system: Some("linux".into()),
            architecture: Some("amd64".into()),
            ..Node::default()
        };
        scopes.push((ScopeId::cluster(), Scope { nodes: vec![node], ..Scope::default() }));
        let cluster = Cluster { uid: Some("c1".into()), name: None };
        self.add(collector, "kubernetes", Some(cluster), None, scopes)
    }

    fn add(
        mut self,
        collector: &str,
        kind: &str,
        cluster: Option<Cluster>,
        host: Option<Host>,
        scopes: Vec<(ScopeId, Scope)>,
    ) -> Self {
        let mut entries = Vec::new();
        for (id, mut body) in scopes {
            let counts = normalise(&mut body);
            let digest = scope_digest(&body);
            entries.push(ScopeEntry { id, coverage: Coverage::Complete, digest: Some(digest.clone()), counts });
            self.scopes.insert(digest, body);
        }
        self.sources.push(Source {
            collector: collector.into(),
            kind: kind.into(),
            runtime: Some(RuntimeVersion { name: kind.into(), version: "1".into() }),
            cluster,
            host,
            observed_at: time(100),
            coverage: Coverage::Complete,
            shown: Shown::All,
            cost: None,
            warnings: Vec::new(),
            scopes: entries,
        });
        self
    }

    /// The coverage of one source's scope becomes partial.
    fn partly(mut self, collector: &str, scope: &ScopeId) -> Self {
        let entries =
            self.sources.iter_mut().filter(|source| source.collector == collector).flat_map(|s| &mut s.scopes);
        for entry in entries.filter(|entry| entry.id == *scope) {
            entry.coverage = Coverage::Partial { reason: "a test".into() };
        }
        self
    }

    fn unify(&self) -> Unified {
        let unified = unify(&self.sources, &self.scopes);
        let backwards: Vec<Source> = self.sources.iter().rev().cloned().collect();
        assert_eq!(unified, unify(&backwards, &self.scopes), "the order of the sources matters");
        let written = serde_json::to_string(&Conclusions::of(&self.sources, &self.scopes)).unwrap();
        assert_eq!(written, serde_json::to_string(&unified).unwrap(), "what is never held is written otherwise");
        unified
    }
}

fn scope(containers: Vec<Container>, images: Vec<Image>) -> Scope {
    let pods = containers.iter().filter_map(|container| container.pod_uid.clone());
    let pods =
        pods.map(|uid| Pod { name: format!("pod-{uid}").into(), namespace: "shop".into(), uid, ..Pod::default() });
    Scope { pods: pods.collect(), containers, images, ..Scope::default() }
}

fn running(id: Option<Text>, name: &str) -> Container {
    Container { id, name: name.into(), state: ContainerState::Running, ..Container::default() }
}

fn in_pod(uid: &str, container: Container) -> Container {
    Container { pod_uid: Some(uid.into()), ..container }
}

fn on_node(container: Container) -> Container {
    Container { node_name: Some(NODE.into()), ..container }
}

/// As the CRI plug-in's containers are in containerd.
fn k8s_io(containers: Vec<Container>) -> (ScopeId, Scope) {
    (ScopeId::namespace("k8s.io"), scope(containers, Vec::new()))
}

fn shop(containers: Vec<Container>) -> (ScopeId, Scope) {
    (ScopeId::namespace("shop"), scope(containers.into_iter().map(on_node).collect(), Vec::new()))
}

fn only<T>(mut items: Vec<T>) -> T {
    assert_eq!(items.len(), 1);
    items.remove(0)
}

fn collectors(container: &UnifiedContainer) -> Vec<&str> {
    container.seen.iter().map(|sighting| sighting.collector.as_str()).collect()
}

fn found(unified: &Unified) -> Vec<(FindingKind, &str, Vec<&str>)> {
    let not_seen_by = |finding: &'_ crate::model::Finding| -> Vec<String> {
        finding.not_seen_by.iter().map(|point| format!("{} {}", point.collector, point.scope)).collect()
    };
    assert!(unified.findings.iter().all(|finding| !not_seen_by(finding).is_empty()));
    unified
        .findings
        .iter()
        .map(|finding| {
            let name = unified.containers[finding.container].name.as_str();
            (finding.kind, name, finding.not_seen_by.iter().map(|point| point.collector.as_str()).collect())
        })
        .collect()
}

/// What Docker runs is in containerd's namespace `moby` too, under its id.
#[test]
fn a_docker_container_is_listed_once_although_moby_has_it() {
    let docker = Container { image: Some("shop/web:1".into()), ..running(Some(id('a')), "web") };
    let moby = Container { image: Some("docker.io/shop/web:1".into()), ..running(Some(id('a')), &id('a')) };
    let unified = World::default()
        .host("containerd", "containerd", vec![(ScopeId::namespace("moby"), scope(vec![moby], Vec::new()))])
        .host("docker", "docker", vec![(ScopeId::host(), scope(vec![docker], Vec::new()))])
        .unify();
    let container = only(unified.containers);
    assert_eq!(collectors(&container), ["docker", "containerd"], "the one that knows the name comes first");
    assert_eq!((container.name.as_str(), container.image.as_deref()), ("web", Some("shop/web:1")));
    assert_eq!(container.joined_by, Some(JoinedBy::RuntimeId));
    assert!(unified.findings.is_empty());
}

/// `ctr run … web` on two daemons, in two namespaces of one, and a machine of another kind that is called `web` too.
#[test]
fn an_id_that_a_person_chose_joins_nothing() {
    let web = || scope(vec![running(Some("web".into()), "web")], Vec::new());
    let unified = World::default()
        .host("one", "containerd", vec![(ScopeId::namespace("a"), web()), (ScopeId::namespace("b"), web())])
        .host("two", "containerd", vec![(ScopeId::namespace("a"), web())])
        .host("lxc", "lxc", vec![(ScopeId::host(), web())])
        .unify();
    assert_eq!(unified.containers.len(), 4);
}

#[test]
fn two_daemons_of_one_kind_share_containers_only_if_they_are_one() {
    let made = |second| Container { created_at: Some(time(second)), ..running(Some(id('a')), "web") };
    let host = |second| vec![(ScopeId::host(), scope(vec![made(second)], Vec::new()))];
    let twice = World::default().host("tcp", "docker", host(1)).host("unix", "docker", host(1)).unify();
    assert_eq!(twice.containers.len(), 1, "one daemon, configured twice");
    let two = World::default().host("old", "docker", host(1)).host("new", "docker", host(2)).unify();
    assert_eq!(two.containers.len(), 2, "a copied data folder");
}

#[test]
fn a_pod_of_a_side_loaded_image_shows_the_manifest_that_only_containerd_knows() {
    let container = |reference: &str| Container {
        image_ref: Some(reference.into()),
        ..in_pod("p1", running(Some(id('a')), "side"))
    };
    let of_api = Image { config_digest: known("config"), ..Image::unresolved("c", MissingReason::NotReported) };
    let of_containerd = Image {
        manifest_digest: known("manifest"),
        config_digest: known("config"),
        ..Image::unresolved("m", MissingReason::SinglePlatform)
    };
    let unified = World::default()
        .cluster("api", vec![(ScopeId::namespace("shop"), scope(vec![on_node(container("c"))], vec![of_api]))])
        .host(
            "containerd",
            "containerd",
            vec![(ScopeId::namespace("k8s.io"), scope(vec![container("m")], vec![of_containerd]))],
        )
        .unify();
    let (container, image) = (only(unified.containers), only(unified.images));
    assert_eq!(collectors(&container), ["api", "containerd"]);
    assert_eq!(container.image_ref, Some(digest("manifest").text().clone()));
    assert_eq!(image.image.id, digest("manifest").to_string());
    assert_eq!(image.image.index_digest, DigestFact::missing(MissingReason::SinglePlatform));
    assert_eq!(
        image.seen.iter().map(|sighting| sighting.collector.as_str()).collect::<Vec<_>>(),
        ["api", "containerd"]
    );
}

#[test]
fn a_container_that_the_api_server_has_no_id_of_yet_is_found_by_pod_and_name() {
    let attempt =
        |letter, second| Container { created_at: Some(time(second)), ..in_pod("p1", running(Some(id(letter)), "web")) };
    let waiting = Container { state: ContainerState::Waiting, ..in_pod("p1", running(None, "web")) };
    let unified = World::default()
        .cluster("api", vec![shop(vec![waiting])])
        .host(
            "containerd",
            "containerd",
            vec![k8s_io(vec![
                Container { state: ContainerState::Exited, ..attempt('a', 1) },
                attempt('b', 2),
                in_pod("p1", running(Some(id('c')), "helper")),
            ])],
        )
        .unify();
    let of_api = unified.containers.iter().find(|container| container.seen[0].collector == "api").unwrap();
    assert_eq!(of_api.joined_by, Some(JoinedBy::PodAndName));
    assert_eq!((of_api.id.as_deref(), of_api.state), (Some(id('b').as_str()), ContainerState::Running), "the newest");
    assert_eq!(unified.containers.len(), 3);
    assert!(unified.findings.is_empty(), "an earlier attempt, and a pod that is known: {:?}", unified.findings);
}

/// The same cluster, looked at with two users' rights.
#[test]
fn two_sources_of_one_cluster_tell_of_one_container() {
    let waiting = || Container { state: Waiting, ..in_pod("p1", running(None, "web")) };
    let unified = World::default()
        .cluster("all", vec![shop(vec![waiting()])])
        .cluster("some", vec![shop(vec![waiting()])])
        .unify();
    assert_eq!(collectors(&only(unified.containers)), ["all", "some"]);
}

/// The API server's mirror of a static pod has another uid than the kubelet's; that one is the configuration's hash, and
/// the same on each node that was given the same file.
#[test]
fn a_static_pod_is_found_by_its_hash_and_node() {
    let mirror = |node: &str| Pod {
        uid: format!("mirror-{node}").into(),
        name: format!("web-{node}").into(),
        namespace: "shop".into(),
        node_name: Some(node.into()),
        config_hash: Some("hash".into()),
        ..Pod::default()
    };
    let of = |node: &str| Container {
        node_name: Some(node.into()),
        ..in_pod(&format!("mirror-{node}"), running(None, "web"))
    };
    let api = Scope {
        pods: vec![mirror(NODE), mirror("node-2")],
        containers: vec![of(NODE), of("node-2")],
        ..Scope::default()
    };
    let unified = World::default()
        .cluster("api", vec![(ScopeId::namespace("shop"), api)])
        .host("containerd", "containerd", vec![k8s_io(vec![in_pod("hash", running(Some(id('a')), "web"))])])
        .unify();
    assert_eq!(unified.containers.len(), 2);
    let joined = unified.containers.iter().find(|container| container.seen.len() == 2).unwrap();
    assert_eq!(joined.joined_by, Some(JoinedBy::PodAndName));
    let other = unified.containers.iter().find(|container| container.seen.len() == 1).unwrap();
    assert_eq!(collectors(other), ["api"], "the other node's stays alone");
    assert!(unified.findings.is_empty(), "{:?}", unified.findings);
}

/// The kubelet knows the same pod by the hash alone.
#[test]
fn a_static_pod_of_the_kubelet_and_its_mirror_are_one() {
    let of = |uid: &str, node: &str| {
        let waiting = Container { state: Waiting, ..in_pod(uid, running(None, "web")) };
        let pod = Pod {
            uid: uid.into(),
            name: format!("web-{node}").into(),
            namespace: "shop".into(),
            node_name: Some(node.into()),
            config_hash: Some("hash".into()),
            ..Pod::default()
        };
        Scope {
            pods: vec![pod],
            containers: vec![Container { node_name: Some(node.into()), ..waiting }],
            ..Scope::default()
        }
    };
    let unified = World::default()
        .cluster("all", vec![(ScopeId::namespace("shop"), of("mirror", NODE))])
        .cluster("here", vec![(ScopeId::node(NODE), of("hash", NODE))])
        .cluster("there", vec![(ScopeId::node("node-2"), of("hash", "node-2"))])
        .unify();
    let seen: Vec<_> = unified.containers.iter().map(collectors).collect();
    assert_eq!(seen, [vec!["all", "here"], vec!["there"]], "the hash is the same on each node with that file");
}

#[test]
fn the_runtime_knows_the_process_and_the_orchestrator_why_there_is_none() {
    let state = |api: ContainerState, runtime: ContainerState| {
        let of_api = Container {
            state: api,
            state_reason: Some("CrashLoopBackOff".into()),
            ..in_pod("p1", running(Some(id('a')), "web"))
        };
        let of_runtime = Container { state: runtime, ..in_pod("p1", running(Some(id('a')), "web")) };
        let unified = World::default()
            .cluster("api", vec![shop(vec![of_api])])
            .host("containerd", "containerd", vec![k8s_io(vec![of_runtime])])
            .unify();
        let container = only(unified.containers);
        (container.state, container.state_reason.is_some())
    };
    assert_eq!(state(Running, Paused), (Paused, false));
    assert_eq!(state(Waiting, Running), (Running, false));
    assert_eq!(state(Running, Exited), (Exited, false));
    assert_eq!(state(Waiting, Exited), (Waiting, true));
    assert_eq!(state(Exited, Stopped), (Exited, true));
    assert_eq!(state(Running, Unknown), (Running, true));
}

/// Its id is the orchestrator's word for one attempt; an older one is another container.
#[test]
fn a_container_with_an_id_is_not_taken_for_an_older_attempt() {
    let of_api = Container { started_at: Some(time(50)), ..in_pod("p1", running(Some(id('a')), "web")) };
    let attempt = |letter, made, state| Container {
        created_at: Some(time(made)),
        state,
        ..in_pod("p1", running(Some(id(letter)), "web"))
    };
    let joined = |runtime| {
        let unified = World::default()
            .cluster("api", vec![shop(vec![of_api.clone()])])
            .host("containerd", "containerd", vec![k8s_io(vec![runtime])])
            .unify();
        unified.containers.len() == 1
    };
    assert!(!joined(attempt('b', 40, Exited)));
    assert!(joined(attempt('b', 60, Running)));
}

#[test]
fn contradicting_digests_are_found_and_the_runtime_is_believed() {
    let of = |reference: &str, config: &str| {
        let image = Image { config_digest: known(config), ..Image::unresolved(reference, MissingReason::NotReported) };
        let container = in_pod("p1", running(Some(id('a')), "web"));
        (Container { image_ref: Some(reference.into()), ..container }, image)
    };
    let (of_api, api_image) = of("x", "config-1");
    let (of_runtime, runtime_image) = of("y", "config-2");
    let unified = World::default()
        .cluster("api", vec![(ScopeId::namespace("shop"), scope(vec![on_node(of_api)], vec![api_image]))])
        .host(
            "containerd",
            "containerd",
            vec![(ScopeId::namespace("k8s.io"), scope(vec![of_runtime], vec![runtime_image]))],
        )
        .unify();
    assert_eq!(found(&unified), [(FindingKind::ContradictingDigests, "web", vec!["api"])]);
    assert_eq!(only(unified.images).image.id, digest("config-2").to_string());
}

/// Built twice without a change: another index over the same manifest.
#[test]
fn another_index_of_the_same_manifest_is_no_contradiction() {
    let of = |reference: &str, index: &str| {
        let image = Image {
            index_digest: known(index),
            manifest_digest: known("manifest"),
            ..Image::unresolved(reference, MissingReason::NotReported)
        };
        (Container { image_ref: Some(reference.into()), ..running(Some(id('a')), "web") }, image)
    };
    let ((docker, docker_image), (moby, moby_image)) = (of("x", "index-1"), of("y", "index-2"));
    let moby = Container { name: id('a'), ..moby };
    let unified = World::default()
        .host("containerd", "containerd", vec![(ScopeId::namespace("moby"), scope(vec![moby], vec![moby_image]))])
        .host("docker", "docker", vec![(ScopeId::host(), scope(vec![docker], vec![docker_image]))])
        .unify();
    assert_eq!(found(&unified), []);
    assert_eq!(only(unified.images).image.index_digest, known("index-1"), "as the one that is closest to people says");
}

#[test]
fn the_repository_digest_is_that_of_the_name_that_was_asked_for() {
    let repo = |repository: &str, text: &str| RepoDigest { repository: repository.into(), digest: digest(text) };
    let image = Image {
        repo_digests: vec![repo("a.example.com/web", "one"), repo("docker.io/library/web", "two")],
        ..Image::unresolved("i", MissingReason::Ambiguous)
    };
    let container = |letter, name: &str| Container {
        image: Some(name.into()),
        image_ref: Some("i".into()),
        ..running(Some(id(letter)), name)
    };
    let unified = World::default()
        .host(
            "docker",
            "docker",
            vec![(
                ScopeId::host(),
                scope(
                    vec![container('a', "web:1"), container('b', "a.example.com/web:2"), container('c', "other")],
                    vec![image],
                ),
            )],
        )
        .unify();
    let chosen: BTreeMap<&str, Option<String>> = unified
        .containers
        .iter()
        .map(|container| (container.name.as_str(), container.repo_digest.as_ref().map(|repo| repo.digest.to_string())))
        .collect();
    assert_eq!(chosen["web:1"], Some(digest("two").to_string()));
    assert_eq!(chosen["a.example.com/web:2"], Some(digest("one").to_string()));
    assert_eq!(chosen["other"], None);
}

#[test]
fn a_view_resolves_what_it_refers_to_and_nothing_else() {
    let world = findings::beside_kubernetes();
    let report = Report {
        schema: "v1".into(),
        id: uuid::Uuid::nil(),
        agent: Agent::default(),
        created_at: time(200),
        sequence: None,
        valid_for_seconds: None,
        sources: world.sources,
    };
    let mut inventory = Inventory::new(report, world.scopes);
    let view = UnifiedView::of(&inventory).unwrap();
    assert_eq!(view.containers.len(), 6);
    let web = view.containers.iter().find(|view| view.container.name == "web").unwrap();
    assert_eq!((web.pod().unwrap().name.as_str(), web.node_name()), ("pod-p1", Some(NODE)));
    assert_eq!(web.collectors(), ["api", "containerd"]);
    // Somebody else's document may refer to anything.
    inventory.unified.as_mut().unwrap().containers[0].seen[0].index = 99;
    assert!(UnifiedView::of(&inventory).is_none());
}
