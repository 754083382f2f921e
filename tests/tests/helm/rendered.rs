//! What is rendered: configurations that the programs themselves take, and roles that are those of `deploy/kubernetes`.

use std::fs;

use serde_json::{Value, json};
use stocktake_tests::{agent::Agent, repository, server};

use crate::{least, merged, named, of_kind, python, refusal, render};

/// Settings of every kind: tables in tables, lists, numbers, truths, and signs that TOML and JSON write alike or not.
fn settings() -> Value {
    json!({
        "agent": {"interval": "2m", "timeout": "45s", "spool_max_size": "64MiB"},
        "filters": {
            "labels": {"exclude": ["internal.example.com/*", "/^\"quoted\\\\ <&>\u{e9}$/"]},
            "containers": {"exclude": ["istio-proxy"]}
        },
        "telemetry": {"listen": "0.0.0.0:17900", "socket": "off"},
        "collectors": {
            "kubernetes": {"cluster": "prod", "cluster_objects": false, "max_requests_per_minute": 60, "namespaces": {"include": ["shop"]}},
            "other": {"type": "docker", "host": "unix:///srv/docker.sock"},
        },
        "targets": {
            "stocktake": {"url": "https://stocktake.example.com", "timeout": "10s"},
            "enterprise": {
                "type": "anchore", "url": "https://anchore.example.com", "user": "stocktake", "max_namespaces": 1_000_000,
                "account_routes": {"team-a/b": {"namespaces": ["a-*"], "user": "a"}, "team-c": {"namespaces": ["c-*"]}},
                "registration": {"enabled": false}
            },
            "file": {"path": "/var/lib/stocktake/reports.ndjson", "keep": 3},
        }
    })
}

/// What a component's file says.
pub(crate) fn file<'a>(objects: &'a [Value], component: &str, name: &str) -> &'a str {
    named(objects, "ConfigMap", &format!("st-stocktake-{component}"))["data"][name].as_str().unwrap()
}

/// Has the agent read a configuration, without a cluster that would answer.
fn agent_takes(config: &str, variables: &[(&str, &str)]) {
    // No runtime is there: 69 is what `check` ends with behind the configuration.
    let mut agent = Agent::with_config("check", config, &[]).env("HOME", "/nonexistent");
    let kubeconfig = agent.folder().join("kubeconfig");
    fs::write(
        &kubeconfig,
        "{apiVersion: v1, kind: Config, current-context: a, clusters: [{name: a, cluster: {server: 'https://127.0.0.1:1'}}], \
         contexts: [{name: a, context: {cluster: a, user: a}}], users: [{name: a, user: {token: t}}]}",
    )
    .unwrap();
    agent = agent.env("KUBECONFIG", &kubeconfig).env("NODE_NAME", "node-1").env("HOST_IP", "127.0.0.1");
    for (name, value) in variables {
        agent = agent.env(name, value);
    }
    let told = agent.run();
    assert!(told.stdout.contains("configuration"), "{config}\n{}\n{}", told.stdout, told.stderr);
}

/// Of replicas one reports, and the others stand by; nodes are of no use to each other.
#[test]
fn the_test_asks_one_replica_and_every_node() {
    let asked = |more: &Value| {
        let objects = render(&merged(&least(), more));
        let arguments = named(&objects, "Pod", "st-stocktake-test")["spec"]["containers"][0]["args"].clone();
        arguments.as_array().unwrap()[3..].iter().map(|it| it.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let (agent, node) = ("st-stocktake-agent.inventory.svc:17820", "--all=st-stocktake-node.inventory.svc:17820");
    let node_alone = json!({"agent": {"enabled": false}, "node": {"enabled": true}});
    for (more, expected) in [
        (json!({}), vec![agent]),
        (json!({"node": {"enabled": true}}), vec![agent, node]),
        (node_alone, vec![node]),
        (json!({"node": {"enabled": true}, "test": {"address": "a:1"}}), vec!["a:1", "--all=a:1"]),
    ] {
        assert_eq!(asked(&more), expected, "{more}");
    }
}

#[test]
fn the_agent_takes_its_configuration() {
    let all = json!({"config": settings(), "agent": {"replicas": 2}, "node": {
        "enabled": true, "sockets": {"docker": "/var/run/docker.sock", "cri": "/run/crio/crio.sock"},
        "config": {"agent": {"interval": "5m"}, "collectors": {"kubernetes": {"kubelet": {}}}}
    }});
    let objects = render(&all);
    agent_takes(file(&objects, "agent", "agent.toml"), &[]);
    agent_takes(file(&objects, "node", "agent.toml"), &[]);

    let rendered: toml::Table = file(&objects, "agent", "agent.toml").parse().unwrap();
    let mut expected: toml::Table = toml::Table::try_from(settings()).unwrap();
    expected["agent"].as_table_mut().unwrap().extend([
        ("spool_dir".to_owned(), "/var/lib/stocktake/spool".into()),
        ("lease".to_owned(), toml::toml! { name = "st-stocktake-agent" duration = "30s" renew = "10s" }.into()),
    ]);
    for (target, key, secret) in
        [("stocktake", "token_file", "stocktake-token"), ("enterprise", "password_file", "enterprise-password")]
    {
        let target = expected["targets"][target].as_table_mut().unwrap();
        target.insert(key.to_owned(), format!("/run/secrets/stocktake/{secret}").into());
    }
    let route = expected["targets"]["enterprise"]["account_routes"]["team-a/b"].as_table_mut().unwrap();
    route.insert("password_file".to_owned(), "/run/secrets/stocktake/enterprise-account-team-a_b".into());
    assert_eq!(rendered, expected);

    let node: toml::Table = file(&objects, "node", "agent.toml").parse().unwrap();
    assert_eq!(node["agent"]["interval"].as_str(), Some("5m"));
    let collectors: Vec<&String> = node["collectors"].as_table().unwrap().keys().collect();
    assert_eq!(collectors, ["containerd", "cri", "docker", "kubernetes"]);
    assert_eq!(node["collectors"]["docker"]["host"].as_str(), Some("unix:///host/docker/docker.sock"));
}

#[test]
fn secrets_come_by_the_environment_if_that_is_said() {
    let objects = render(
        &json!({"config": settings(), "injectSecretsViaEnv": true, "credentials": {"stocktake": {"token": "x"}}}),
    );
    assert_eq!(of_kind(&objects, "Secret").len(), 0);
    let variables = [("STOCKTAKE_TOKEN", "t"), ("ENTERPRISE_PASSWORD", "p"), ("ENTERPRISE_ACCOUNT_TEAM_A_B", "q")];
    agent_takes(file(&objects, "agent", "agent.toml"), &variables);
}

/// A server asks for a token besides the certificate.
#[test]
fn a_certificate_takes_no_credential_away() {
    let certificate = json!({"cert_file": "/etc/certificates/tls.crt", "key_file": "/etc/certificates/tls.key"});
    let target = merged(&least(), &json!({"config": {"targets": {"stocktake": certificate}}}));
    let token_of = |values: Value| {
        let objects = render(&merged(&target, &values));
        let config: toml::Table = file(&objects, "agent", "agent.toml").parse().unwrap();
        let target = config["targets"]["stocktake"].as_table().unwrap();
        let said = |key| target.get(key).map(|value| value.as_str().unwrap().to_owned());
        (said("token_file"), said("token_env"))
    };
    let file = (Some("/run/secrets/stocktake/stocktake-token".to_owned()), None);
    assert_eq!(token_of(json!({"credentials": {"stocktake": {"token": "t"}}})), file);
    assert_eq!(token_of(json!({"existingSecret": "tokens"})), file);
    assert_eq!(token_of(json!({"injectSecretsViaEnv": true})), (None, Some("STOCKTAKE_TOKEN".to_owned())));
    // The notes say how to make the Secret.
    assert_eq!(token_of(json!({"server": {"enabled": true}})), file);
    // Of another target, or of nobody: the certificate is all that there is.
    assert_eq!(token_of(json!({"credentials": {"other": {"token": "t"}}})), (None, None));
    assert_eq!(token_of(json!({})), (None, None));
    // A null takes it away.
    let none = |key: &str| json!({"existingSecret": "tokens", "config": {"targets": {"stocktake": {key: null}}}});
    assert_eq!(token_of(none("token_file")), (None, None));
    assert_eq!(token_of(none("token_env")), (None, None));
    // The release's own server is the target `stocktake`, and makes tokens for no other.
    let other = json!({"type": "stocktake", "url": "https://other.example.com", "cert_file": "/c", "key_file": "/k"});
    let objects = render(&json!({"server": {"enabled": true}, "config": {"targets": {"other": other}}}));
    let config: toml::Table = self::file(&objects, "agent", "agent.toml").parse().unwrap();
    assert!(config["targets"]["other"].get("token_file").is_none(), "{config}");
    assert!(config["targets"]["stocktake"].get("token_file").is_some(), "{config}");
}

#[test]
fn the_server_takes_its_configuration() {
    let values = json!({"server": {"enabled": true, "tls": {"existingSecret": "tls"}, "config": {
        "inventory": {"image_ttl_days": -1, "history_days": 7}, "limits": {"memory": "256MiB", "requests_per_second": 1000},
        "notify": {"allow_networks": ["10.0.0.0/8"]}
    }}});
    let objects = render(&values);
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("server.toml");
    fs::write(&config, file(&objects, "server", "server.toml")).unwrap();
    let database = folder.path().join("inventory.db");
    let mut command = server::command(&["migrate", "--config"]);
    let output = command.arg(&config).arg("--database").arg(&database).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // Agents of the release report to it unless another one is named.
    let agent: toml::Table = file(&objects, "agent", "agent.toml").parse().unwrap();
    assert_eq!(agent["targets"]["stocktake"]["url"].as_str(), Some("https://st-stocktake-server.inventory.svc:8228"));
}

#[test]
fn who_has_no_certificate_is_served_beside_a_server_that_wants_them() {
    let server = |config: Value| {
        json!({"serviceMonitor": {"enabled": true}, "server": {"enabled": true,
            "tls": {"existingSecret": "tls"}, "config": merged(&json!({"metrics": {"public": true}}), &config)}})
    };
    let monitored = |objects: &[Value]| {
        let endpoints =
            named(objects, "ServiceMonitor", "st-stocktake")["spec"]["endpoints"].as_array().unwrap().clone();
        (endpoints[1]["port"].clone(), endpoints[1]["scheme"].clone())
    };
    let probed = |objects: &[Value]| {
        let pod = &named(objects, "Deployment", "st-stocktake-server")["spec"]["template"]["spec"];
        ["livenessProbe", "readinessProbe"].map(|probe| pod["containers"][0][probe]["httpGet"].clone())
    };
    let objects = render(&server(json!({})));
    assert_eq!(monitored(&objects), (json!("http"), json!("https")));
    assert_eq!((&probed(&objects)[0]["port"], &probed(&objects)[0]["scheme"]), (&json!(8228), &json!("HTTPS")));
    assert!(!file(&objects, "server", "server.toml").contains("health_listen"));
    assert!(of_kind(&objects, "Service").iter().all(|(name, _)| !name.ends_with("-health")));

    let ca = json!({"server": {"tls": {"client_ca": "/etc/stocktake-tls/ca.crt"}}});
    let other = merged(&ca, &json!({"server": {"health_listen": "0.0.0.0:9000"}}));
    for (config, listen, port) in [(ca, "0.0.0.0:8229", 8229), (other, "0.0.0.0:9000", 9000)] {
        let objects = render(&server(config));
        let rendered: toml::Table = file(&objects, "server", "server.toml").parse().unwrap();
        assert_eq!(rendered["server"]["health_listen"].as_str(), Some(listen));
        assert_eq!(rendered["server"]["tls"]["client_ca"].as_str(), Some("/etc/stocktake-tls/ca.crt"));
        for probe in probed(&objects) {
            assert_eq!((&probe["port"], &probe["scheme"]), (&json!(port), &json!("HTTP")), "{probe}");
        }
        assert_eq!(monitored(&objects), (json!("health"), json!("http")));
        let ports = &named(&objects, "Service", "st-stocktake-server-health")["spec"]["ports"];
        assert_eq!((&ports[0]["name"], &ports[0]["port"]), (&json!("health"), &json!(port)));
        // Not where it may be reached from without.
        let ports = named(&objects, "Service", "st-stocktake-server")["spec"]["ports"].as_array().unwrap().len();
        assert_eq!(ports, 1);
    }
}

#[test]
fn no_secret_is_in_a_config_map() {
    let credentials = json!({"stocktake": {"token": "hidden-1"}, "enterprise": {"password": "hidden-2",
        "accountRoutes": {"team-a/b": {"password": "hidden-3"}}}});
    let server = json!({"enabled": true, "credentials":
        {"adminPassword": "hidden-4", "databaseUrl": "postgres://u:hidden-5@h/d", "secretKey": "hidden-6"}});
    let objects = render(&json!({"config": settings(), "credentials": credentials, "server": server}));
    for object in objects.iter().filter(|object| object["kind"] != "Secret") {
        assert!(!object.to_string().contains("hidden-"), "{object}");
    }
    let keys = |name| {
        let secret = named(&objects, "Secret", name)["data"].as_object().unwrap();
        let mut keys: Vec<_> = secret.keys().map(String::as_str).collect();
        keys.sort_unstable();
        keys
    };
    assert_eq!(keys("st-stocktake"), ["enterprise-account-team-a_b", "enterprise-password", "stocktake-token"]);
    assert_eq!(keys("st-stocktake-server"), ["admin-password", "database-url", "secret-key"]);

    for wrong in [
        json!({"config": {"targets": {"stocktake": {"token": "x"}}}}),
        json!({"config": {"targets": {"anchore": {"url": "https://a", "user": "u", "password": "x"}}}}),
        json!({"config": {"targets": {"anchore": {"url": "https://a", "user": "u",
            "account_routes": {"a": {"namespaces": ["a"], "user": "u", "password": "x"}}}}}}),
        json!({"config": {"collectors": {"kubernetes": {"token": "x"}}}}),
    ] {
        let refused = refusal(&merged(&least(), &wrong));
        assert!(refused.contains("would stand in a ConfigMap"), "{wrong}: {refused}");
    }
}

/// Whose pods are made anew by each of these: `config` is read at the start, in part or as a whole, and by the server credentials, too.
#[test]
fn other_settings_are_other_pods_and_credentials_those_of_the_server() {
    let pods = |values: &Value| -> Vec<(String, Value)> {
        let objects = render(values);
        let workloads = ["Deployment", "DaemonSet"].into_iter().flat_map(|kind| of_kind(&objects, kind));
        workloads.map(|(name, object)| (name.to_owned(), object["spec"]["template"].clone())).collect()
    };
    let before = merged(
        &least(),
        &json!({"credentials": {"stocktake": {"token": "a"}}, "node": {"enabled": true}, "server": {"enabled": true,
            "database": "postgresql", "credentials": {"adminPassword": "a", "databaseUrl": "postgres://a", "secretKey": "a"}}}),
    );
    let of_first = pods(&before);
    for (change, expected) in [
        (json!({"config": {"telemetry": {"listen": "0.0.0.0:17821"}}}), &["agent", "node"][..]),
        (json!({"config": {"agent": {"interval": "2m"}}}), &["agent", "node"]),
        (json!({"node": {"config": {"agent": {"interval": "2m"}}}}), &["node"]),
        (json!({"agent": {"replicas": 2}}), &["agent"]),
        // The running agent reads it, and keeps what waits for it.
        (json!({"credentials": {"stocktake": {"token": "b"}}}), &[]),
        (json!({"server": {"config": {"inventory": {"history_days": 7}}}}), &["server"]),
        (json!({"server": {"credentials": {"databaseUrl": "postgres://b"}}}), &["server"]),
        (json!({"server": {"credentials": {"secretKey": "b"}}}), &["server"]),
        // Of the first start alone.
        (json!({"server": {"credentials": {"adminPassword": "b"}}}), &[]),
        (json!({"commonLabels": {}, "test": {"timeout": "5m"}}), &[]),
    ] {
        let after = pods(&merged(&before, &change));
        let mut changed: Vec<&str> = of_first
            .iter()
            .filter(|(name, pod)| after.iter().any(|(other, now)| other == name && now != pod))
            .map(|(name, _)| name.strip_prefix("st-stocktake-").unwrap())
            .collect();
        changed.sort_unstable();
        assert_eq!(changed, expected, "{change}");
    }
}

/// A checksum of a password would tell it to whoever tries enough of them.
#[test]
fn checksums_of_credentials_are_too_short_to_tell_them() {
    let objects =
        render(&merged(&least(), &json!({"credentials": {"stocktake": {"token": "a"}}, "server": {"enabled": true}})));
    for (name, length) in [("st-stocktake-agent", None), ("st-stocktake-server", Some(4))] {
        let annotations = &named(&objects, "Deployment", name)["spec"]["template"]["metadata"]["annotations"];
        assert_eq!(annotations["checksum/credentials"].as_str().map(str::len), length, "{annotations}");
        assert_eq!(annotations["checksum/config"].as_str().map(str::len), Some(64), "{annotations}");
    }
}

#[test]
fn what_cannot_work_is_refused() {
    for (wrong, told) in [
        (json!({}), "there is nobody to report to"),
        (merged(&least(), &json!({"server": {"enabled": true, "replicas": 2}})), "SQLite is one server's"),
        (
            merged(&least(), &json!({"agent": {"replicas": 2, "spool": {"existingClaim": "c"}}})),
            "cannot have one spool",
        ),
    ] {
        let refused = refusal(&wrong);
        assert!(refused.contains(told), "{wrong}: {refused}");
    }
}

/// The rules of the roles of a kind in `deploy/kubernetes`.
fn published(name: &str) -> Value {
    let path = repository().join("deploy/kubernetes").join(name);
    let objects: Vec<Value> = serde_json::from_str(&python("chart.py", &["yaml", path.to_str().unwrap()], "")).unwrap();
    objects.iter().find_map(|object| object.get("rules").cloned()).unwrap()
}

#[test]
fn roles_are_the_least_that_was_measured() {
    let role = |values: Value, kind: &str, name: &str| {
        let objects = render(&merged(&least(), &values));
        named(&objects, kind, name)["rules"].clone()
    };
    let node = |collectors: Value| json!({"node": {"enabled": true, "config": {"collectors": collectors}}});
    let agent = role(json!({}), "ClusterRole", "inventory-st-stocktake-agent");
    assert_eq!(agent, published("clusterrole.yaml"));
    let name = "inventory-st-stocktake-node";
    assert_eq!(role(node(json!({})), "ClusterRole", name), published("clusterrole-node.yaml"));
    let kubelet = node(json!({"kubernetes": {"kubelet": {}}}));
    assert_eq!(role(kubelet, "ClusterRole", name), published("clusterrole-kubelet.yaml"));

    let objects = render(&merged(&least(), &json!({"rbac": {"namespaces": ["shop", "batch"]}})));
    assert_eq!(of_kind(&objects, "ClusterRole").len(), 0);
    let roles: Vec<_> = objects.iter().filter(|object| object["kind"] == "Role").collect();
    assert_eq!(roles.iter().map(|role| &role["metadata"]["namespace"]).collect::<Vec<_>>(), ["shop", "batch"]);
    assert!(roles.iter().all(|role| role["rules"] == published("role.yaml")), "{roles:?}");
    let config: toml::Table = file(&objects, "agent", "agent.toml").parse().unwrap();
    let kubernetes = &config["collectors"]["kubernetes"];
    assert_eq!(kubernetes["cluster_objects"].as_bool(), Some(false));
    assert_eq!(kubernetes["namespaces"].as_array().map(Vec::len), Some(2));

    // Who does not look at Kubernetes may nothing there, and has no token.
    let objects = render(&merged(&least(), &node(json!({"kubernetes": null}))));
    assert!(of_kind(&objects, "ClusterRole").iter().all(|(other, _)| *other != name));
    let pod = &named(&objects, "DaemonSet", "st-stocktake-node")["spec"]["template"]["spec"];
    assert_eq!(pod["automountServiceAccountToken"], json!(false));
}

#[test]
fn one_of_several_replicas_may_write_the_lease_and_nothing_else() {
    let single = render(&least());
    assert_eq!((of_kind(&single, "Lease").len(), of_kind(&single, "Role").len()), (0, 0));
    let several = render(&merged(&least(), &json!({"agent": {"replicas": 2}})));
    assert_eq!(of_kind(&several, "Lease").len(), 1);
    let rules = &named(&several, "Role", "st-stocktake-agent-lease")["rules"];
    let leases = json!({"apiGroups": ["coordination.k8s.io"], "resources": ["leases"]});
    // Where the Lease is not made with the release they make it, which cannot be allowed by name.
    let expected = json!([
        merged(&leases, &json!({"resourceNames": ["st-stocktake-agent"], "verbs": ["get", "update"]})),
        merged(&leases, &json!({"verbs": ["create"]})),
    ]);
    assert_eq!(*rules, expected);
}
