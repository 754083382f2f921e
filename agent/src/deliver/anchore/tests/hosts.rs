use stocktake_core::model::Source;

use super::*;

fn containerd(scopes: Vec<(&str, Coverage, Scope)>) -> Seen {
    let host = Host { machine_id: Some("m".into()), hostname: Some("web-7".into()) };
    let source = Source { host: Some(host), ..sample::source("containerd") };
    (source, scopes.into_iter().map(|(name, coverage, scope)| (ScopeId::namespace(name), coverage, scope)).collect())
}

fn of(containers: Vec<Container>) -> Scope {
    let images = vec![Image::unresolved("i", MissingReason::NotReported)];
    Scope { containers, images, ..Scope::default() }
}

/// A container as containerd's CRI sees it, of a pod.
fn of_pod(id: &str, pod: &str) -> Scope {
    let container = Container { pod_uid: Some(pod.into()), ..sample::container(id, "nginx:1.27") };
    let pod = Pod { uid: pod.into(), name: "web-0".into(), namespace: "shop".into(), ..Pod::default() };
    Scope { pods: vec![pod], ..of(vec![container]) }
}

#[tokio::test]
async fn a_docker_host_is_a_cluster_of_one_node_with_a_pod_for_each_container() {
    let server = FakeAnchore::new("5.26.0").await;
    let [one, two] = ["1", "2"].map(|digit| digit.repeat(64));
    deliver(&mut quiet(&server, json!({})), vec![docker(&[&one, &two])]).await.unwrap();
    let [one, two] = [one, two].map(|id| format!("docker://{id}"));
    server.with(|state| {
        let body = &state.documents[0].body;
        assert_eq!(body["cluster_name"], "web-7");
        assert_eq!(body["namespaces"][0]["name"], "docker");
        assert_eq!(body["nodes"][0]["name"], "web-7");
        assert_eq!(body["nodes"][0]["container_runtime_version"], "docker://v1.21.5-eks-bc4871b");
        assert_eq!(body["serverVersionMetadata"], Value::Null);
        let pods = body["pods"].as_array().unwrap();
        let containers = body["containers"].as_array().unwrap();
        assert_eq!((pods.len(), containers.len()), (2, 2));
        assert!(pods.iter().all(|pod| pod["node_uid"] == body["nodes"][0]["uid"]));
        let mut ids: Vec<&str> = containers.iter().map(|container| container["id"].as_str().unwrap()).collect();
        ids.sort_unstable();
        assert_eq!(ids, [one.as_str(), two.as_str()]);
        assert_eq!(containers[0]["image_tag"], "nginx:1.27");
    });
}

#[tokio::test]
async fn older_servers_get_a_hosts_images() {
    let server = FakeAnchore::new("4.6.0").await;
    deliver(&mut quiet(&server, json!({})), vec![docker(&["1", "2"])]).await.unwrap();
    assert_eq!(server.contexts(), ["admin: web-7/docker"]);
    server.with(|state| {
        assert_eq!(state.documents[0].body["results"][0]["images"], json!([{"tag": "nginx:1.27"}]));
    });
}

#[tokio::test]
async fn uids_are_the_same_each_time_and_another_hosts_are_others() {
    let server = FakeAnchore::new("5.26.0").await;
    let mut target = quiet(&server, json!({}));
    deliver(&mut target, vec![docker(&["1"])]).await.unwrap();
    deliver(&mut quiet(&server, json!({})), vec![docker(&["1"])]).await.unwrap();
    let (mut other, scopes) = docker(&["1"]);
    other.host = Some(Host { machine_id: Some("other".into()), hostname: Some("web-7".into()) });
    deliver(&mut target, vec![(other, scopes)]).await.unwrap();
    server.with(|state| {
        let bodies: Vec<&Value> = state.documents.iter().map(|document| &document.body).collect();
        assert_eq!(bodies[0], bodies[1]);
        for (list, key) in [("namespaces", "uid"), ("nodes", "uid"), ("pods", "uid"), ("containers", "pod_uid")] {
            assert_ne!(bodies[0][list][0][key], bodies[2][list][0][key], "{list}");
        }
        assert_eq!(bodies[0]["pods"][0]["uid"], "9afd1cde-2949-510d-8747-6db613d2aa28", "also in the next version");
    });
}

/// Docker's containers are containerd's too, in its namespace `moby`.
#[tokio::test]
async fn a_container_that_two_runtimes_see_is_there_once() {
    let server = FakeAnchore::new("5.26.0").await;
    let id = Digest::sha256(b"one").encoded().to_owned();
    // It calls it by its id.
    let moby = of(vec![Container { name: id.as_str().into(), ..sample::container(&id, "nginx:1.27") }]);
    let own = of(vec![sample::container("2", "redis:7")]);
    let namespaces = vec![("default", Coverage::Complete, own), ("moby", Coverage::Complete, moby)];
    let seen = vec![containerd(namespaces), docker(&[&id])];
    deliver(&mut quiet(&server, json!({})), seen).await.unwrap();
    let counts = server.with(|state| {
        let stored = state.stored.iter();
        stored.map(|((_, _, namespace), names)| (namespace.clone(), names.len())).collect::<Vec<_>>()
    });
    let expected = [("containerd.default", 1), ("containerd.moby", 0), ("docker", 1)];
    assert_eq!(counts, expected.map(|(name, count)| (name.to_owned(), count)));
    server.with(|state| assert_eq!(state.documents.len(), 1, "one host, one document"));
}

#[tokio::test]
async fn a_namespace_of_a_host_that_was_not_completely_seen_is_left_out() {
    let server = FakeAnchore::new("5.26.0").await;
    let mut target = quiet(&server, json!({}));
    let namespaces = vec![
        ("default", Coverage::Complete, of(vec![sample::container("2", "redis:7")])),
        ("other", Coverage::Partial { reason: "a container vanished".into() }, of(vec![sample::container("3", "x:1")])),
    ];
    let (docker, _) = docker(&[]);
    let failed = Source { coverage: Coverage::Failed { reason: "nobody home".into() }, ..docker };
    deliver(&mut target, vec![containerd(namespaces), (failed.clone(), Vec::new())]).await.unwrap();
    assert_eq!(server.contexts(), ["admin: web-7/containerd.default"]);
    let sent = deliver(&mut target, vec![(failed, Vec::new())]).await.unwrap();
    assert_eq!(sent, Sent::default(), "nothing was seen, so nothing is said");
}

#[tokio::test]
async fn what_has_no_process_and_what_holds_pods_open_is_not_sent() {
    let server = FakeAnchore::new("5.26.0").await;
    let ended = Container { state: ContainerState::Exited, ..sample::container("2", "job:1") };
    let pause = Container {
        kind: stocktake_core::model::ContainerKind::Sandbox,
        ..sample::container("3", "registry.k8s.io/pause:3.9")
    };
    let scope = of(vec![sample::container("1", "nginx:1.27"), ended, pause]);
    deliver(&mut quiet(&server, json!({})), vec![containerd(vec![("default", Coverage::Complete, scope)])])
        .await
        .unwrap();
    server.with(|state| {
        assert_eq!(state.documents[0].body["pods"].as_array().unwrap().len(), 1);
        assert_eq!(state.documents[0].body["containers"][0]["name"], "name-of-1");
    });
}

#[tokio::test]
async fn a_runtimes_pods_are_pods_and_two_of_one_name_are_two() {
    let server = FakeAnchore::new("5.26.0").await;
    let mut scope = of_pod("1", "pod-1");
    let Scope { pods, containers, .. } = of_pod("2", "pod-2");
    scope.pods.extend(pods);
    scope.containers.extend(containers);
    let other =
        Container { name: "sidecar".into(), pod_uid: Some("pod-1".into()), ..sample::container("3", "envoy:1") };
    scope.containers.push(other);
    deliver(&mut quiet(&server, json!({})), vec![containerd(vec![("k8s.io", Coverage::Complete, scope)])])
        .await
        .unwrap();
    server.with(|state| {
        let body = &state.documents[0].body;
        assert_eq!(body["namespaces"][0]["name"], "containerd.k8s.io");
        assert_eq!(body["pods"].as_array().unwrap().len(), 2);
        assert_eq!(body["pods"][0]["name"], "shop/web-0");
        assert_eq!(body["containers"].as_array().unwrap().len(), 3);
    });
}

/// A node that its cluster is seen from, too: its pods are the cluster's.
#[tokio::test]
async fn a_pod_that_a_cluster_knows_is_the_clusters_and_while_that_is_not_known_nobodys() {
    let server = FakeAnchore::new("5.26.0").await;
    let mut target = quiet(&server, json!({}));
    let id = Digest::sha256(b"shop-0").encoded().to_owned();
    let of_node = || containerd(vec![("k8s.io", Coverage::Complete, of_pod(&id, &uid(&["pod", "shop-0"])))]);
    deliver(&mut target, vec![cluster(&[("shop", &[], 1)]), of_node()]).await.unwrap();
    let containers = |server: &FakeAnchore| {
        server.with(|state| {
            let stored = state.stored.iter();
            stored.map(|((_, cluster, of), names)| format!("{cluster}/{of}: {}", names.len())).collect::<Vec<_>>()
        })
    };
    assert_eq!(containers(&server), ["prod/shop: 1", "web-7/containerd.k8s.io: 0"]);
    // The API server is gone.
    let (source, _) = cluster(&[]);
    let gone = Source { cluster: None, coverage: Coverage::Failed { reason: "nobody home".into() }, ..source };
    deliver(&mut target, vec![(gone, Vec::new()), of_node()]).await.unwrap();
    assert_eq!(containers(&server), ["prod/shop: 1", "web-7/containerd.k8s.io: 0"], "nothing has moved");
    // A cluster that is completely seen does not know it: then it is the host's alone.
    deliver(&mut target, vec![cluster(&[("shop", &[], 0)]), of_node()]).await.unwrap();
    assert_eq!(containers(&server), ["prod/shop: 0", "web-7/containerd.k8s.io: 1"]);
}

#[tokio::test]
async fn hosts_can_be_left_out_and_routed() {
    let server = FakeAnchore::new("5.26.0").await;
    let seen = || vec![cluster(&[("shop", &[], 1)]), docker(&["1"])];
    deliver(&mut quiet(&server, json!({"hosts": false})), seen()).await.unwrap();
    assert_eq!(server.contexts(), ["admin: prod/shop"]);
    let routes = json!({
        "account_routes": {"team-a": {"namespaces": ["docker"]}},
        "account_route_by_namespace_label": {"key": "account", "ignore_missing_label": true},
    });
    deliver(&mut quiet(&server, routes), seen()).await.unwrap();
    assert_eq!(server.contexts(), ["admin: prod/shop", "team-a: web-7/docker"]);
}

/// `ctr` lets people choose ids: the same one in two namespaces, of two daemons or on two hosts is of two containers.
#[tokio::test]
async fn an_id_that_somebody_chose_is_made_unique() {
    let server = FakeAnchore::new("5.26.0").await;
    let drawn = "a".repeat(64);
    let scope = || of(vec![sample::container("etcd", "etcd:3"), sample::container(&drawn, "nginx:1")]);
    let (source, scopes) = containerd(vec![("a", Coverage::Complete, scope()), ("b", Coverage::Complete, scope())]);
    let other = Source { collector: "other".into(), ..source.clone() };
    deliver(&mut quiet(&server, json!({})), vec![(source, scopes.clone()), (other, scopes)]).await.unwrap();
    server.with(|state| {
        let containers = state.documents[0].body["containers"].as_array().unwrap();
        let ids: std::collections::BTreeSet<&str> = containers.iter().map(|of| of["id"].as_str().unwrap()).collect();
        assert_eq!((containers.len(), ids.len()), (8, 8));
        assert!(ids.iter().all(|id| id.starts_with("containerd://")), "{ids:?}");
    });
}
