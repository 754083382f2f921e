//! The chart in a real cluster: it comes up, reports under its own account, changes, goes back, and goes without a trace.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::MetadataExt as _,
    thread,
};

use serde_json::{Value, json};
use stocktake_tests::{
    bed,
    cleanup::Cleanup,
    daemon::free_port,
    needs,
    server::{self, Server},
    tools, wait_until,
};

use crate::{
    kept::{self, Shell},
    merged, objects,
    release::{Release, import_images, remove_images, values, with_api_server},
};

/// In one test: the bed has one node, and what is in it is what other tests expect when this ends. They wait for the cluster most of
/// the time, so two go on at once; of those with roles in `shop`, which have the same names, one.
#[test]
fn the_chart_is_installed_in_a_real_cluster() {
    needs!("kubernetes");
    let _images = Cleanup::new(remove_images);
    import_images();
    let _monitors = objects::defined("servicemonitors.yaml");
    objects::the_api_server_takes_what_is_rendered();
    objects::openshift_refuses_nothing();
    thread::scope(|scope| {
        scope.spawn(|| {
            telemetry_moves_and_is_turned_off_and_on();
            server_and_nodes_are_installed_with_it();
        });
        of_two_replicas_one_reports_and_the_other_takes_its_place();
        an_agent_is_installed_reports_and_goes_without_a_trace();
        a_server_over_postgresql_is_installed();
    });
}

fn free_address() -> String {
    format!("127.0.0.1:{}", free_port())
}

/// The secret of a token of a server's database.
fn token(database: &str) -> String {
    let mut command = server::command(&["token", "add", "helm", "--database"]);
    tools::output(command.arg(database)).trim().to_owned()
}

fn asked(server: &Server, path: &str) -> Vec<Value> {
    let answer = server.ask("GET", path, &Value::Null);
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    serde_json::from_str::<Value>(&answer.body).unwrap()["items"].as_array().unwrap().clone()
}

/// What the API server has refused to the release's accounts since then: by its latest answer, as it takes it a moment to know of a new role.
fn refused(namespace: &str, since: &str) -> Vec<String> {
    let log = fs::read_to_string(format!("{}/log/kubernetes-audit.log", bed::RUN)).unwrap();
    let account = format!("system:serviceaccount:{namespace}:");
    let mut latest = BTreeMap::new();
    for line in log.lines().filter(|line| line.contains(&account)) {
        let entry: Value = serde_json::from_str(line).unwrap();
        // Without the `Z`, seconds come before their fractions.
        if entry["requestReceivedTimestamp"].as_str().unwrap() < since.trim_end_matches('Z') {
            continue;
        }
        let asked = format!("{} {}", entry["verb"].as_str().unwrap(), entry["requestURI"].as_str().unwrap());
        latest.insert(asked, entry["responseStatus"]["code"].as_i64());
    }
    assert!(!latest.is_empty(), "{account} has asked nothing");
    latest.into_iter().filter(|(_, code)| *code == Some(403)).map(|(asked, _)| asked).collect()
}

fn an_agent_is_installed_reports_and_goes_without_a_trace() {
    let server = Server::sqlite();
    let release = Release::new("helm-agent");
    let before = release.everything();
    let listen = free_address();
    let first = values(&json!({
        "config": {
            "agent": {"interval": "5s"},
            "telemetry": {"listen": listen},
            "targets": {"stocktake": {"url": server.url()}},
            "collectors": {"kubernetes": {"cluster": "bed"}}
        },
        "credentials": {"stocktake": {"token": token(server.database())}},
        "agent": {"podDisruptionBudget": {"enabled": true}},
        "networkPolicy": {"enabled": true}, "serviceMonitor": {"enabled": true},
        "test": {"address": listen, "timeout": "3m"},
    }));

    release.apply("install", &first);
    release.act("test");
    let sources = asked(&server, "/v1/sources");
    assert_eq!((sources.len(), &sources[0]["coverage"]), (1, &json!("complete")), "{sources:?}");
    let seen = asked(&server, "/v1/pods?limit=1000");
    let agent = release.pods("agent").remove(0);
    let mut names = seen.iter().filter_map(|pod| pod["name"].as_str());
    assert!(names.any(|name| name == agent), "{agent} is not in {seen:?}");
    let pod = release.get(&["pod", &agent]);
    assert_eq!(pod["spec"]["serviceAccountName"], json!("st-stocktake-agent"));
    assert_eq!(refused(&release.namespace, ""), [""; 0], "the role lacks something");
    objects::what_is_installed_is_about_its_pods(&release);
    let installed = release.everything();

    a_role_in_a_namespace_is_enough(&release, &first);

    release.act("rollback");
    release.act("test");
    assert_eq!(release.roles_in("shop"), [""; 0]);
    let of_release = |objects: Vec<String>| -> Vec<String> {
        // Names that the cluster has made up, and Helm's own notes.
        let lasting =
            |name: &String| !["pod/", "replicaset", "secret/", "pods.metrics"].iter().any(|kind| name.contains(kind));
        objects.into_iter().filter(lasting).collect()
    };
    assert_eq!(of_release(release.everything()), of_release(installed));

    release.leaves(&before);
}

/// Instead of one for all.
fn a_role_in_a_namespace_is_enough(release: &Release, values: &Value) {
    release.apply("upgrade", &merged(values, &json!({"rbac": {"namespaces": ["shop"]}})));
    assert!(release.everything().iter().all(|object| !object.contains("clusterrole")), "{:?}", release.everything());
    let name = "st-stocktake-agent";
    assert_eq!(release.roles_in("shop"), [format!("role/{name}"), format!("rolebinding/{name}")]);
    release.act("test");
    // The pod before, which was gone by then, had lost its role.
    let pod = release.get(&["pod", &release.pods("agent")[0]]);
    let started = &pod["status"]["containerStatuses"][0]["state"]["running"]["startedAt"];
    let mut refused = refused(&release.namespace, started.as_str().unwrap());
    // The cluster's uid is in no namespace of those, and it does without.
    refused.retain(|asked| !asked.contains("kube-system"));
    assert_eq!(refused, [""; 0], "the role lacks something");
}

/// A file `config` that leads to a cluster which is not there.
const ELSEWHERE: &str = "config={apiVersion: v1, kind: Config, current-context: a, \
    clusters: [{name: a, cluster: {server: 'https://127.0.0.1:1'}}], \
    contexts: [{name: a, context: {cluster: a, user: a}}], users: [{name: a, user: {token: t}}]}";

fn of_two_replicas_one_reports_and_the_other_takes_its_place() {
    let server = Server::sqlite();
    let release = Release::new("helm-lease");
    // In a pod, the Lease is that of the pod's cluster all the same.
    release.kubectl(&["create", "configmap", "kubeconfig", "--from-literal", ELSEWHERE]);
    let before = release.everything();
    // Both are on the bed's only node, and of its network there is one.
    release.apply(
        "install",
        &values(&json!({
            "config": {
                "agent": {"interval": "5s"}, "telemetry": {"listen": "off"},
                "targets": {"stocktake": {"url": server.url()}}, "collectors": {"kubernetes": {"cluster": "bed"}}
            },
            "credentials": {"stocktake": {"token": token(server.database())}},
            "agent": {
                "replicas": 2, "lease": {"duration": "6s", "renew": "2s"},
                "extraEnv": with_api_server(&[json!({"name": "KUBECONFIG", "value": "/kubeconfig/config"})]),
                "extraVolumes": [{"name": "kubeconfig", "configMap": {"name": "kubeconfig"}}],
                "extraVolumeMounts": [{"name": "kubeconfig", "mountPath": "/kubeconfig", "readOnly": true}]
            },
        })),
    );
    let holder = || {
        let leases = release.get(&["leases", "--field-selector=metadata.name=st-stocktake-agent"]);
        let holder = leases["items"][0]["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned();
        release.pods("agent").into_iter().find(|pod| holder.starts_with(&format!("{pod}_")))
    };
    let reports = || asked(&server, "/v1/agents")[0]["reported_at"].clone();
    wait_until("a first report", || holder().is_some() && !asked(&server, "/v1/agents").is_empty());
    let agents = asked(&server, "/v1/agents");
    assert_eq!((agents.len(), release.pods("agent").len()), (1, 2), "{agents:?}");
    assert_eq!(refused(&release.namespace, ""), [""; 0], "the role lacks something");

    let passes_on = |end: &dyn Fn(&str)| {
        let first = holder().expect("a holder");
        end(&first);
        wait_until("another agent to hold the lease", || holder().is_some_and(|now| now != first));
        let said = reports();
        wait_until("it to report", || reports() != said);
        let agents = asked(&server, "/v1/agents");
        assert_eq!(agents.len(), 1, "the other is another agent to the server: {agents:?}");
        first
    };
    // Told to stop, it gives it back.
    passes_on(&|pod| drop(release.kubectl(&["delete", "pod", pod])));
    // What hangs gives nothing back. When it goes on it finds that it is not its turn, and ends; what is started again stands by.
    let restarts = |pod: &str| release.get(&["pod", pod])["status"]["containerStatuses"][0]["restartCount"].as_i64();
    let before_that = Cell::new(None);
    let hung = passes_on(&|pod| {
        before_that.set(restarts(pod));
        release.signal(pod, "STOP").unwrap();
    });
    // Where it took long until here, it was killed because its probes fail, and there may be nobody at the moment.
    drop(release.signal(&hung, "CONT"));
    wait_until("the one that hung to be started again", || restarts(&hung) > before_that.get());
    assert_ne!(holder().as_ref(), Some(&hung));

    a_lease_that_is_missing_is_made(&release, || holder().is_some());
    release.leaves(&before);
}

/// As where the release comes without, because Argo CD leaves it out. It goes with the release all the same.
fn a_lease_that_is_missing_is_made(release: &Release, is_held: impl Fn() -> bool) {
    release.kubectl(&["delete", "lease", "st-stocktake-agent"]);
    wait_until("the lease to be made anew", is_held);
    assert_eq!(refused(&release.namespace, ""), [""; 0], "the role lacks something");
}

/// Ports, probes and Services are what the settings before have left there, too, to who applies on the server's side.
fn telemetry_moves_and_is_turned_off_and_on() {
    let release = Release::new("helm-telemetry");
    let (first, second) = (free_address(), free_address());
    let listening = |listen: &str| {
        values(
            &json!({"config": {"telemetry": {"listen": listen}, "targets": {"stdout": {}}, "collectors": {"kubernetes": {"cluster": "bed"}}}}),
        )
    };
    let port = |listen: &str| listen.rsplit_once(':').map(|(_, port)| port.parse::<u16>().unwrap());
    for (action, listen) in [
        ("install", &*first),
        ("upgrade", "off"),
        ("upgrade", &first),
        ("upgrade", &second),
        ("upgrade", "off"),
        ("upgrade", "off"),
    ] {
        release.apply(action, &listening(listen));
        let container =
            release.get(&["deployment", "st-stocktake-agent"])["spec"]["template"]["spec"]["containers"][0].clone();
        let ports: Vec<_> =
            container["ports"].as_array().into_iter().flatten().map(|port| port["containerPort"].as_u64()).collect();
        let expected = port(listen).map(u64::from);
        assert_eq!(ports, expected.map(Some).into_iter().collect::<Vec<_>>(), "{listen}: {container}");
        let socket = "/run/stocktake/agent.sock";
        for (probe, command) in [
            ("livenessProbe", json!(["stocktake-agent", "status", "--socket", socket, "--alive"])),
            ("readinessProbe", json!(["stocktake-agent", "status", "--socket", socket])),
        ] {
            let expected_command = if expected.is_some() { &Value::Null } else { &command };
            assert_eq!(container[probe]["exec"]["command"], *expected_command, "{listen}: {container}");
            assert_eq!(container[probe]["httpGet"]["port"].as_u64(), expected, "{listen}: {container}");
        }
        let services = release.get(&["services"])["items"].as_array().unwrap().clone();
        let ports: Vec<_> = services.iter().map(|service| service["spec"]["ports"][0]["port"].as_u64()).collect();
        assert_eq!(ports, expected.map(Some).into_iter().collect::<Vec<_>>(), "{listen}: {services:?}");
    }
    release.act("uninstall");
}

/// A folder of the bed's node that is root's, as new volumes are. What a pod needs is done by the cluster.
fn volume(name: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir_in("/var/lib/stocktake-bed").unwrap();
    let volume = json!({
        "apiVersion": "v1", "kind": "PersistentVolume",
        "metadata": {"name": name, "labels": {"app.kubernetes.io/instance": "st"}},
        "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": name,
            "persistentVolumeReclaimPolicy": "Retain", "local": {"path": folder.path()},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions":
                [{"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]}]}]}}}
    });
    create(&volume);
    folder
}

fn create(object: &Value) {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), object.to_string()).unwrap();
    tools::output(tools::kubectl().args(["create", "-f"]).arg(file.path()));
}

fn server_and_nodes_are_installed_with_it() {
    let release = Release::new("helm-whole");
    let (data, spool) = (volume("helm-whole"), volume("helm-whole-spool"));
    create(&json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": "spool", "namespace": release.namespace},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "helm-whole-spool",
            "resources": {"requests": {"storage": "1Gi"}}}
    }));
    let before = release.everything();

    let (agent, node, listen) = (free_address(), free_address(), free_address());
    let whole = values(&json!({
        "config": {
            "agent": {"interval": "5s"}, "telemetry": {"listen": agent},
            "targets": {"stocktake": {"url": format!("http://{listen}")}}, "collectors": {"kubernetes": {"cluster": "bed"}}
        },
        "agent": {"spool": {"existingClaim": "spool"}},
        "node": {
            "enabled": true, "sockets": {"containerd": "/run/stocktake-bed/containerd/containerd.sock"},
            "config": {"telemetry": {"listen": node}, "collectors": {"kubernetes": {"cluster": "bed"}}}
        },
        "server": {
            "enabled": true, "config": {"server": {"listen": listen}}, "readinessProbe": {"periodSeconds": 1},
            "persistence": {"storageClass": "helm-whole", "size": "1Gi"}, "credentials": {"adminPassword": server::PASSWORD}
        },
        "test": {"address": node, "timeout": "3s"},
    }));
    release.apply("install", &whole);
    // The agents run and have nothing to say who they are with, which the test tells.
    let told = release.test_failure();
    assert!(told.contains("st-stocktake-test"), "{told}");
    let agents = (release.pods("agent"), release.pods("node"));
    let shell = Shell::new(&release);
    // As the notes say.
    let add = "kubectl exec deployment/st-stocktake-server -- stocktake-server token add st --config /etc/stocktake/server.toml";
    let whole = merged(
        &whole,
        &json!({"credentials": {"stocktake": {"token": shell.run(add).trim()}}, "test": {"timeout": "3m"},
            "server": {"persistence": {"keep": true}}}),
    );
    release.apply("upgrade", &whole);
    release.act("test");
    // What waited was theirs.
    assert_eq!((release.pods("agent"), release.pods("node")), agents, "credentials have made other pods");
    nodes_are_seen_by_their_runtimes(&listen);
    for folder in [&data, &spool] {
        assert_eq!(fs::metadata(folder.path()).unwrap().gid(), 65532, "whose user could write there?");
    }
    assert!(spool.path().join("spool").is_dir(), "the agent's spool is elsewhere");

    kept::a_damaged_database_is_restored(&shell, &listen, data.path());
    is_there(&release, &before, &["clusterrole.", "daemonset.", "persistentvolumeclaim/st-", "secret/st-"]);
    kept::an_inventory_outlives_its_release(&release, &whole, &listen, &before);
    assert!(data.path().join("inventory.db").exists(), "the volume itself was to be retained");
}

fn nodes_are_seen_by_their_runtimes(server: &str) {
    let sources = kept::told(server, "/v1/sources");
    let kinds: BTreeSet<_> = sources.iter().map(|source| source["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, BTreeSet::from(["containerd", "kubernetes"]), "{sources:?}");
    let hosts: Vec<_> = sources.iter().filter(|source| source["kind"] == "containerd").collect();
    assert!(hosts[0].to_string().contains("bed-node"), "not the node's name: {hosts:?}");
}

/// Objects of these kinds are the release's.
fn is_there(release: &Release, before: &[String], kinds: &[&str]) {
    let installed = release.everything();
    for kind in kinds {
        assert!(
            installed.iter().any(|object| object.starts_with(kind) && !before.contains(object)),
            "there is no {kind} in {installed:?}"
        );
    }
}

/// A database of somebody else's, which outlives the release.
fn a_server_over_postgresql_is_installed() {
    needs!("postgresql");
    let release = Release::new("helm-postgres");
    let before = release.everything();
    // Another replica, outside: what it tells of the release's it has from their database.
    let outside = Server::postgres();
    let (agent, listen) = (free_address(), free_address());
    let values = values(&json!({
        "config": {
            "agent": {"interval": "5s"}, "telemetry": {"listen": agent},
            "targets": {"stocktake": {"url": format!("http://{listen}")}}, "collectors": {"kubernetes": {"cluster": "bed"}}
        },
        "rbac": {"namespaces": ["shop"]},
        "credentials": {"stocktake": {"token": token(outside.database())}},
        "server": {
            "enabled": true, "database": "postgresql", "config": {"server": {"listen": listen}},
            "credentials": {"databaseUrl": outside.database()}
        },
        "test": {"address": agent, "timeout": "3m"},
    }));
    release.apply("install", &values);
    release.act("test");
    let namespaces: BTreeSet<String> = asked(&outside, "/v1/pods?limit=1000")
        .iter()
        .map(|pod| pod["namespace"].as_str().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(namespaces, BTreeSet::from(["shop".to_owned()]));
    assert_eq!(release.roles_in("shop").len(), 2);
    assert!(!release.everything().iter().any(|object| object.starts_with("persistentvolumeclaim")), "nobody uses it");

    is_there(&release, &before, &["deployment.", "secret/st-", "configmap/st-"]);
    release.leaves(&before);
    assert_eq!(release.roles_in("shop"), [""; 0]);
    assert_eq!(asked(&outside, "/v1/agents").len(), 1, "it is not the release's to remove");
}
