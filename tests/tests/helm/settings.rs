//! Values that meet each other, are taken away, or cannot be meant.

use serde_json::{Value, json};

use crate::{least, merged, named, of_kind, refusal, render, rendered::file};

/// A release with a server, and these settings of its table `[server]`.
fn with_server(settings: &Value) -> Value {
    json!({"server": {"enabled": true, "config": {"server": settings}}})
}

/// The same, of a server that wants certificates.
fn with_closed_server(settings: &Value) -> Value {
    let tls = json!({"server": {"tls": {"existingSecret": "tls"},
        "config": {"server": {"tls": {"client_ca": "/etc/stocktake-tls/ca.crt"}}}}});
    merged(&with_server(settings), &tls)
}

fn toml_of(objects: &[Value], component: &str, name: &str) -> toml::Table {
    file(objects, component, name).parse().unwrap()
}

fn container<'a>(objects: &'a [Value], component: &str) -> &'a Value {
    let workload = named(objects, "Deployment", &format!("st-stocktake-{component}"));
    &workload["spec"]["template"]["spec"]["containers"][0]
}

#[test]
fn a_null_takes_away_what_is_said_by_default() {
    for credentials in [json!(null), json!({"stocktake": null}), json!({"stocktake": {"accountRoutes": {"a": null}}})] {
        let objects = render(&merged(&least(), &json!({"credentials": credentials})));
        let config = toml_of(&objects, "agent", "agent.toml");
        assert!(config["targets"]["stocktake"].get("token_file").is_some(), "{config}");
    }
    let plain = render(&with_server(&json!({})));
    for nothing in [json!({"tls": null}), json!({"listen": null}), json!({"health_listen": null}), json!(null)] {
        assert_eq!(render(&with_server(&nothing)), plain, "{nothing}");
    }
    let objects = render(&json!({"server": {"enabled": true, "credentials": null}}));
    assert_eq!(of_kind(&objects, "Secret").len(), 0);
}

#[test]
fn agents_of_a_release_have_certificates_for_its_server() {
    let certificate = json!({"cert_file": "/etc/clients/tls.crt", "key_file": "/etc/clients/tls.key", "ca_file": "/etc/clients/ca.crt"});
    let volume = json!([{"name": "clients", "secret": {"secretName": "clients"}}]);
    let mount = json!([{"name": "clients", "mountPath": "/etc/clients", "readOnly": true}]);
    let values = merged(
        &with_closed_server(&json!({})),
        &json!({"config": {"targets": {"stocktake": certificate}}, "credentials": {"stocktake": {"token": "t"}},
            "agent": {"extraVolumes": volume, "extraVolumeMounts": mount}}),
    );
    let objects = render(&values);
    let config = toml_of(&objects, "agent", "agent.toml");
    let expected = toml::toml! {
        url = "https://st-stocktake-server.inventory.svc:8228"
        token_file = "/run/secrets/stocktake/stocktake-token"
        cert_file = "/etc/clients/tls.crt"
        key_file = "/etc/clients/tls.key"
        ca_file = "/etc/clients/ca.crt"
    };
    assert_eq!(config["targets"]["stocktake"].as_table(), Some(&expected));
    let mounts = container(&objects, "agent")["volumeMounts"].as_array().unwrap();
    assert!(mounts.contains(&mount[0]), "{mounts:?}");
    // Another one that is named stays.
    let other = json!({"config": {"targets": {"stocktake": {"url": "https://proxy.example.com"}}}});
    let config = toml_of(&render(&merged(&values, &other)), "agent", "agent.toml");
    assert_eq!(config["targets"]["stocktake"]["url"].as_str(), Some("https://proxy.example.com"));
}

/// YAML makes 1.2345678e+07 of 12345678.
#[test]
fn credentials_without_quotes_are_refused() {
    for (wrong, told) in [
        (json!({"stocktake": {"token": 12_345_678}}), "credentials.stocktake.token"),
        (json!({"anchore": {"password": 0}}), "credentials.anchore.password"),
        (json!({"anchore": {"accountRoutes": {"a": {"password": 1}}}}), "credentials.anchore.accountRoutes.a.password"),
        (json!({"anchore": {"password": true}}), "credentials.anchore.password"),
    ] {
        let refused = refusal(&merged(&least(), &json!({"credentials": wrong})));
        assert!(refused.contains(told) && refused.contains("put it in quotes"), "{wrong}: {refused}");
    }
    let refused = refusal(&merged(&least(), &json!({"credentials": {"stocktake": "t"}})));
    assert!(refused.contains("credentials.stocktake: a table is expected"), "{refused}");
}

#[test]
fn health_has_a_port_of_its_own_or_none() {
    let objects = render(&with_closed_server(&json!({"listen": "0.0.0.0:8229"})));
    let config = toml_of(&objects, "server", "server.toml");
    assert_eq!(config["server"]["health_listen"].as_str(), Some("0.0.0.0:8230"));
    assert_eq!(container(&objects, "server")["livenessProbe"]["httpGet"]["port"], json!(8230));

    for off in [json!("off"), json!(false)] {
        let public = json!({"serviceMonitor": {"enabled": true}, "server": {"config": {"metrics": {"public": true}}}});
        let objects = render(&merged(&with_closed_server(&json!({"health_listen": off})), &public));
        assert!(!file(&objects, "server", "server.toml").contains("health_listen"));
        assert!(of_kind(&objects, "Service").iter().all(|(name, _)| !name.ends_with("-health")));
        for probe in ["livenessProbe", "readinessProbe"] {
            let probe = &container(&objects, "server")[probe];
            assert_eq!((&probe["tcpSocket"]["port"], &probe["httpGet"]), (&json!(8228), &Value::Null), "{off}");
        }
        // Prometheus has no certificate either.
        let endpoints = &named(&objects, "ServiceMonitor", "st-stocktake")["spec"]["endpoints"];
        assert_eq!((endpoints.as_array().unwrap().len(), &endpoints[0]["port"]), (1, &json!("telemetry")));
    }
}

#[test]
fn addresses_that_no_probe_reaches_are_refused() {
    let telemetry = |listen: &str| merged(&least(), &json!({"config": {"telemetry": {"listen": listen}}}));
    let node = json!({"agent": {"enabled": false}, "node": {"enabled": true}});
    for (wrong, key, component) in [
        (telemetry("127.0.0.1:17820"), "config.telemetry.listen", "agent"),
        (merged(&telemetry("[::1]:17820"), &node), "config.telemetry.listen", "node"),
        (with_server(&json!({"listen": "127.0.0.1:8228"})), "config.server.listen", "server"),
        (with_closed_server(&json!({"health_listen": "127.0.0.1:8229"})), "config.server.health_listen", "server"),
    ] {
        let refused = refusal(&wrong);
        assert!(refused.contains(key) && refused.contains(&format!("{component}.hostNetwork")), "{wrong}: {refused}");
        // Of the node's network it is reached.
        let _ = render(&merged(&wrong, &json!({component: {"hostNetwork": true}})));
    }
    for (key, wrong) in [("listen", json!(8228)), ("health_listen", json!("everywhere"))] {
        let refused = refusal(&with_server(&json!({key: wrong})));
        assert!(refused.contains(&format!("server.config.server.{key}: ")), "{wrong}: {refused}");
    }
}

/// A new volume is root's.
#[test]
fn a_claim_is_made_the_users_who_has_it() {
    let context = |agent: Value| {
        let objects = render(&merged(&least(), &json!({"agent": agent})));
        let pod = &named(&objects, "Deployment", "st-stocktake-agent")["spec"]["template"]["spec"];
        let context = pod["securityContext"].clone();
        // Those that are there without it are there still.
        assert_eq!(context["runAsNonRoot"], json!(true), "{context}");
        (context["fsGroup"].clone(), context["fsGroupChangePolicy"].clone())
    };
    let claim = json!({"spool": {"existingClaim": "spool"}});
    let said = |context: Value| merged(&claim, &json!({"podSecurityContext": context}));
    assert_eq!(context(json!({})), (Value::Null, Value::Null));
    assert_eq!(context(claim.clone()), (json!(65532), json!("OnRootMismatch")));
    for group in [json!(1000), json!(0), Value::Null] {
        assert_eq!(context(said(json!({"fsGroup": group}))), (group, json!("OnRootMismatch")));
    }
    assert_eq!(context(said(json!({"fsGroupChangePolicy": "Always"}))), (json!(65532), json!("Always")));
}

/// They do not read the configuration, which is another one before the pod is.
#[test]
fn commands_that_probe_name_the_socket() {
    for (socket, expected) in [(Value::Null, "/run/stocktake/agent.sock"), (json!("/run/other"), "/run/other")] {
        let telemetry = json!({"config": {"telemetry": {"listen": "off", "socket": socket}}});
        let objects = render(&merged(&least(), &telemetry));
        let command = |probe: &str| container(&objects, "agent")[probe]["exec"]["command"].clone();
        assert_eq!(command("livenessProbe"), json!(["stocktake-agent", "status", "--socket", expected, "--alive"]));
        assert_eq!(command("readinessProbe"), json!(["stocktake-agent", "status", "--socket", expected]));
    }
}

#[test]
fn the_lease_may_be_elsewhere_and_is_of_no_node() {
    let values = json!({"agent": {"replicas": 2}, "node": {"enabled": true}, "config": {"collectors": {"kubernetes": null},
        "agent": {"lease": {"kubeconfig": "/etc/kube/config", "context": "prod", "namespace": "leases"}}}});
    let objects = render(&merged(&least(), &values));
    let expected = toml::toml! {
        name = "st-stocktake-agent"
        duration = "30s"
        renew = "10s"
        kubeconfig = "/etc/kube/config"
        context = "prod"
        namespace = "leases"
    };
    assert_eq!(toml_of(&objects, "agent", "agent.toml")["agent"]["lease"].as_table(), Some(&expected));
    assert!(toml_of(&objects, "node", "agent.toml")["agent"].get("lease").is_none());
    // Nothing is looked at by it, and yet the Lease is asked for with its account.
    for (replicas, expected) in [(2, true), (1, false)] {
        let changed = json!({"agent": {"replicas": replicas}, "config": {"agent": {"lease": null}}});
        let objects = render(&merged(&merged(&least(), &values), &changed));
        let pod = &named(&objects, "Deployment", "st-stocktake-agent")["spec"]["template"]["spec"];
        assert_eq!(pod["automountServiceAccountToken"], json!(expected), "{replicas}");
    }
}
