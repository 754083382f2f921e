//! What one sees and another ought to, and everything that must not pass for that.

use super::*;

pub(super) fn beside_kubernetes() -> World {
    World::default().cluster("api", vec![shop(vec![in_pod("p1", running(Some(id('a')), "web"))])]).host(
        "containerd",
        "containerd",
        vec![
            k8s_io(vec![
                in_pod("p1", running(Some(id('a')), "web")),
                in_pod("p2", running(Some(id('b')), "ghost")),
                Container { kind: ContainerKind::Sandbox, ..in_pod("p1", running(Some(id('c')), "sandbox")) },
                Container { created_at: Some(time(101)), ..in_pod("p3", running(Some(id('d')), "too-new")) },
                Container { state: ContainerState::Exited, ..in_pod("p4", running(Some(id('e')), "ended")) },
            ]),
            (ScopeId::namespace("default"), scope(vec![running(Some("ctr".into()), "ctr")], Vec::new())),
        ],
    )
}

#[test]
fn what_runs_on_a_node_beside_the_orchestrator_is_found() {
    let unknown = FindingKind::UnknownToOrchestrator;
    let unified = beside_kubernetes().unify();
    assert_eq!(found(&unified), [(unknown, "ghost", vec!["api"]), (unknown, "ctr", vec!["api"])]);
    assert!(unified.findings.iter().all(|finding| finding.node_name.as_deref() == Some(NODE)));
}

/// Who looks at one node has its pods of all namespaces in one scope.
#[test]
fn what_runs_beside_the_pods_of_one_node_is_found() {
    let of_node = |shown| {
        let mut world = beside_kubernetes();
        let cluster = world.sources.remove(0);
        let bodies = cluster.scopes.iter().filter_map(|entry| world.scopes.get(entry.digest.as_ref()?));
        let mut whole = Scope::default();
        for body in bodies {
            whole.nodes.extend(body.nodes.clone());
            whole.pods.extend(body.pods.clone());
            whole.containers.extend(body.containers.clone());
        }
        let mut world = world.add("agent", "kubernetes", cluster.cluster, None, vec![(ScopeId::node(NODE), whole)]);
        world.sources.last_mut().unwrap().shown = shown;
        world.unify()
    };
    let unknown = FindingKind::UnknownToOrchestrator;
    let unified = of_node(Shown::All);
    assert_eq!(found(&unified), [(unknown, "ghost", vec!["agent"]), (unknown, "ctr", vec!["agent"])]);
    let scopes = unified.findings.iter().flat_map(|finding| &finding.not_seen_by).map(|point| &point.scope);
    assert!(scopes.into_iter().all(|scope| *scope == ScopeId::node(NODE)));
    assert!(found(&of_node(Shown::Part)).is_empty(), "settings that choose namespaces may hide it");
}

/// Settings may show no container of a pod that waits; its sandbox runs all the same.
#[test]
fn a_pod_without_containers_is_known_too() {
    let sandbox = Container { kind: ContainerKind::Sandbox, ..in_pod("p1", running(Some(id('a')), "sandbox")) };
    let mut pods = scope(vec![in_pod("p1", running(None, "web"))], Vec::new());
    pods.containers.clear();
    let unified = World::default()
        .cluster("api", vec![(ScopeId::namespace("shop"), pods)])
        .host("containerd", "containerd", vec![k8s_io(vec![sandbox])])
        .unify();
    assert_eq!(found(&unified), []);
}

#[test]
fn nothing_is_found_where_something_was_not_seen() {
    let names =
        |world: World| found(&world.unify()).into_iter().map(|(_, name, _)| name.to_owned()).collect::<Vec<_>>();
    assert_eq!(names(beside_kubernetes().partly("api", &ScopeId::namespace("shop"))), ["ctr"]);
    assert_eq!(names(beside_kubernetes().partly("containerd", &ScopeId::namespace("k8s.io"))), ["ctr"]);
    assert_eq!(names(beside_kubernetes().partly("containerd", &ScopeId::namespace("default"))), ["ghost"]);
    let mut unlisted = beside_kubernetes();
    unlisted.sources[0].coverage = Coverage::Partial { reason: "a test".into() };
    assert_eq!(names(unlisted), [""; 0]);
    // A namespace that the settings leave out is not looked at, and says nothing.
    let mut narrow = beside_kubernetes();
    narrow.sources[0].scopes.retain(|entry| entry.id != ScopeId::namespace("shop"));
    assert_eq!(names(narrow), [""; 0]);
    // With a label selector even a complete scope does not hold every pod.
    let mut selected = beside_kubernetes();
    selected.sources[0].shown = Shown::Part;
    assert_eq!(names(selected), [""; 0]);
    // Another machine is no node of the cluster.
    let mut elsewhere = beside_kubernetes();
    elsewhere.sources[1].host = Some(Host { machine_id: Some("f".repeat(32)), hostname: None });
    elsewhere.sources[0].scopes.retain(|entry| entry.id != ScopeId::namespace("shop"));
    assert_eq!(names(elsewhere), [""; 0]);
}

/// A collector that tells a node's processes by names of its own would accuse every pod.
#[test]
fn what_could_not_be_recognised_is_not_found() {
    let called = |name: &str| running(Some(name.into()), name);
    let node = beside_kubernetes().host(
        "exec",
        "exec",
        vec![(ScopeId::host(), scope(vec![called("pid-4026531836")], Vec::new()))],
    );
    let node = node.host(
        "podman",
        "docker",
        vec![(ScopeId::host(), scope(vec![running(Some(id('f')), "rogue")], Vec::new()))],
    );
    let unknown: Vec<_> = found(&node.unify()).into_iter().map(|(_, name, _)| name.to_owned()).collect();
    assert_eq!(unknown, ["ghost", "ctr", "rogue"], "an id that was drawn at random would have been recognised");
}

/// Machines that were cloned with their id: it says of none which node it is.
#[test]
fn a_machine_id_that_two_have_joins_nothing() {
    let mut world = beside_kubernetes();
    world.sources[0].scopes.retain(|entry| entry.id != ScopeId::namespace("shop"));
    let mut clone = world.sources[1].clone();
    clone.collector = "clone".into();
    clone.host = Some(Host { machine_id: Some(MACHINE.into()), hostname: Some("host-2".into()) });
    world.sources.push(clone);
    assert_eq!(found(&world.unify()), []);
    let copied = Container { created_at: Some(time(1)), ..running(Some(id('a')), "web") };
    let host = || vec![(ScopeId::host(), scope(vec![copied.clone()], Vec::new()))];
    let mut world = World::default().host("one", "docker", host()).host("two", "docker", host());
    world.sources[1].host = Some(Host { machine_id: Some(MACHINE.into()), hostname: Some("host-2".into()) });
    assert_eq!(world.unify().containers.len(), 2, "a container in the image that the machines were made from");
}

#[test]
fn a_pods_container_that_the_runtime_lacks_is_found() {
    let missing = FindingKind::UnknownToRuntime;
    let pods = |more: Vec<Container>| {
        let mut containers = vec![in_pod("p1", running(Some(id('a')), "web"))];
        containers.extend(more);
        shop(containers)
    };
    let world = |api, runtime| {
        World::default().cluster("api", vec![api]).host("containerd", "containerd", vec![k8s_io(runtime)])
    };
    let web = || in_pod("p1", running(Some(id('a')), "web"));
    let lost = || in_pod("p2", running(Some(id('b')), "lost"));
    let unified = world(pods(vec![lost()]), vec![web()]).unify();
    assert_eq!(found(&unified), [(missing, "lost", vec!["containerd"])]);
    let partly = world(pods(vec![lost()]), vec![web()]).partly("containerd", &ScopeId::namespace("k8s.io"));
    assert!(partly.unify().findings.is_empty());
    // By default a runtime's collector leaves out what has ended, and it may have ended a moment ago.
    let mut running = world(pods(vec![lost()]), vec![web()]);
    running.sources[1].shown = Shown::Running;
    assert!(running.unify().findings.is_empty());
    let waiting = Container { state: ContainerState::Waiting, ..lost() };
    assert!(world(pods(vec![waiting]), vec![web()]).unify().findings.is_empty(), "it does not run");
    // Times are told in whole seconds, cut.
    let new = Container { started_at: Some(time(99)), ..lost() };
    assert!(world(pods(vec![new]), vec![web()]).unify().findings.is_empty(), "it started after the runtime was asked");
    // A runtime that shows no pod of the cluster may be narrowed to others by its settings.
    assert!(world(pods(vec![lost()]), vec![]).unify().findings.is_empty());
    // Pods on other nodes are none of its business.
    let elsewhere = Container { node_name: Some("node-2".into()), ..lost() };
    let api = (ScopeId::namespace("shop"), scope(vec![on_node(web()), elsewhere], Vec::new()));
    assert!(world(api, vec![web()]).unify().findings.is_empty());
}

/// A kubelet's Docker (cri-dockerd) runs what is no pod's too, of which the CRI does not tell.
#[test]
fn what_is_no_pods_is_not_expected_of_who_tells_of_pods_alone() {
    let web = || in_pod("p1", running(Some(id('a')), "web"));
    let unified = World::default()
        .host("cri", "cri", vec![(ScopeId::host(), scope(vec![web()], Vec::new()))])
        .host(
            "docker",
            "docker",
            vec![(ScopeId::host(), scope(vec![web(), running(Some(id('b')), "plain")], Vec::new()))],
        )
        .unify();
    assert_eq!(found(&unified), []);
}

/// A `ctr` container in the CRI plug-in's own namespace: containerd has it, and the CRI does not tell of it.
#[test]
fn a_container_that_hides_from_the_cri_is_found() {
    let web = || in_pod("p1", running(Some(id('a')), "web"));
    let unified = World::default()
        .host("containerd", "containerd", vec![k8s_io(vec![web(), running(Some("hidden".into()), "hidden")])])
        .host("cri", "cri", vec![(ScopeId::host(), scope(vec![web()], Vec::new()))])
        .unify();
    assert_eq!(found(&unified), [(FindingKind::UnknownToRuntime, "hidden", vec!["cri"])]);
    // containerd's own namespaces are no business of the CRI's.
    let unified = World::default()
        .host(
            "containerd",
            "containerd",
            vec![
                k8s_io(vec![web()]),
                (ScopeId::namespace("default"), scope(vec![running(Some("ctr".into()), "ctr")], Vec::new())),
            ],
        )
        .host("cri", "cri", vec![(ScopeId::host(), scope(vec![web()], Vec::new()))])
        .unify();
    assert!(unified.findings.is_empty(), "{:?}", unified.findings);
}

#[test]
fn a_finding_that_does_not_recur_is_none() {
    let world = beside_kubernetes();
    let mut again = Conclusions::of(&world.sources, &world.scopes);
    assert!(!again.findings().is_empty());
    again.confirm(&again.known_findings());
    assert_eq!(again.unified(), world.unify());
    let mut partial = beside_kubernetes();
    partial.sources[0].coverage = Coverage::Partial { reason: "a test".into() };
    again.confirm(&Conclusions::of(&partial.sources, &partial.scopes).known_findings());
    assert_eq!(again.findings(), []);
}
