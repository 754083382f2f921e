//! Who may reach whom by the network policies, and how Prometheus asks.

use serde_json::{Value, json};

use crate::{least, merged, named, render};

/// Ports of a rule, as the policy says them.
fn ports(rule: &Value) -> Vec<(u64, &str)> {
    let ports = rule["ports"].as_array().unwrap().iter();
    ports.map(|port| (port["port"].as_u64().unwrap(), port["protocol"].as_str().unwrap_or("TCP"))).collect()
}

fn policy(objects: &[Value], component: &str) -> Value {
    named(objects, "NetworkPolicy", &format!("st-stocktake-{component}"))["spec"].clone()
}

#[test]
fn pods_may_connect_to_what_the_chart_knows_that_they_ask() {
    let by_default = [443, 6443, 8228, 5432];
    let with_server = |listen: &str| json!({"server": {"enabled": true, "config": {"server": {"listen": listen}}}});
    let with_kubelet =
        |kubelet: Value| json!({"node": {"config": {"collectors": {"kubernetes": {"kubelet": kubelet}}}}});
    let given = |ports: Value| json!({"networkPolicy": {"egressPorts": ports}});
    for (values, of_agent, of_node) in [
        (json!({}), &[][..], &[][..]),
        // The pod's port, not the Service's.
        (with_server("0.0.0.0:9443"), &[9443], &[9443]),
        (with_server("0.0.0.0:8228"), &[8228], &[8228]),
        (with_kubelet(json!({})), &[], &[10250]),
        (with_kubelet(json!({"url": "https://$HOST_IP:10260/"})), &[], &[10260]),
        (with_kubelet(json!({"url": "https://10.0.0.1"})), &[], &[10250]),
        (with_kubelet(Value::Null), &[], &[]),
        (merged(&with_server("[::]:9443"), &with_kubelet(json!({}))), &[9443], &[9443, 10250]),
    ] {
        let every = json!({"node": {"enabled": true}, "networkPolicy": {"enabled": true}});
        let values = merged(&merged(&least(), &every), &values);
        let objects = render(&values);
        let nothing_given = render(&merged(&values, &given(json!([]))));
        let has_server = values["server"]["enabled"] == true;
        let components = [("agent", of_agent), ("node", of_node), ("server", &[])];
        for (component, own) in components.into_iter().take(if has_server { 3 } else { 2 }) {
            let egress = policy(&objects, component)["egress"].clone();
            assert_eq!(ports(&egress[0]), [(53, "UDP"), (53, "TCP"), (5353, "UDP"), (5353, "TCP")], "{component}");
            let further = own.iter().filter(|port| !by_default.contains(port));
            let expected: Vec<_> = by_default.iter().chain(further).map(|port| (*port, "TCP")).collect();
            assert_eq!(ports(&egress[1]), expected, "{component}: {values}");
            assert_eq!(egress.as_array().unwrap().len(), 2, "{component}: {egress}");
            // They do not come from the values.
            let egress = policy(&nothing_given, component)["egress"].clone();
            let own: Vec<_> = own.iter().map(|port| (*port, "TCP")).collect();
            let rules = egress.as_array().unwrap().iter().skip(1);
            assert_eq!(rules.flat_map(ports).collect::<Vec<_>>(), own, "{component}: {values}");
        }
    }
}

/// Who may ask by a rule: teams, or the release itself.
fn teams(rule: &Value) -> Vec<String> {
    let peers = rule["from"].as_array().into_iter().flatten();
    peers
        .map(|peer| peer["namespaceSelector"]["matchLabels"]["team"].as_str().unwrap_or("release").to_owned())
        .collect()
}

#[test]
fn the_server_is_asked_by_agents_and_its_health_by_prometheus() {
    let from = |team: &str| json!([{"namespaceSelector": {"matchLabels": {"team": team}}}]);
    let certificates = json!({"server": {"enabled": true, "tls": {"existingSecret": "tls"},
        "config": {"server": {"tls": {"client_ca": "/etc/stocktake-tls/ca.crt"}}}}});
    let values = merged(&certificates, &json!({"networkPolicy": {"enabled": true}}));
    let named_from = json!({"networkPolicy": {"metricsFrom": from("metrics"), "serverFrom": from("users")}});
    let rules = |values: &Value, component: &str| -> Vec<(Vec<u64>, Vec<String>)> {
        let ingress = policy(&render(values), component)["ingress"].clone();
        let rules = ingress.as_array().unwrap().iter();
        rules.map(|rule| (ports(rule).into_iter().map(|(port, _)| port).collect(), teams(rule))).collect()
    };
    let of = |port: u64, peers: &[&str]| (vec![port], peers.iter().map(|peer| (*peer).to_owned()).collect());
    assert_eq!(rules(&values, "server"), [of(8228, &[]), of(8229, &[])]);
    let named_from = merged(&values, &named_from);
    assert_eq!(rules(&named_from, "server"), [of(8228, &["users", "release"]), of(8229, &["metrics", "release"])]);
    assert_eq!(rules(&named_from, "agent"), [of(17820, &["metrics", "release"])]);
    // Without one of its own, health is where all the rest is.
    let open = merged(&named_from, &json!({"server": {"config": {"server": {"tls": null}}}}));
    assert_eq!(rules(&open, "server"), [of(8228, &["users", "release"])]);
}

/// It asks at addresses of pods, of which no certificate is.
#[test]
fn prometheus_is_told_whose_certificate_the_server_has() {
    let monitored = |values: Value| {
        let public = json!({"serviceMonitor": {"enabled": true}, "server": {"enabled": true, "config": {"metrics": {"public": true}}}});
        let objects = render(&merged(&public, &values));
        let monitor = named(&objects, "ServiceMonitor", "st-stocktake")["spec"]["endpoints"].clone();
        assert_eq!((&monitor[0]["scheme"], &monitor[0]["tlsConfig"]), (&json!("http"), &Value::Null), "{monitor}");
        (monitor[1]["scheme"].as_str().unwrap().to_owned(), monitor[1]["tlsConfig"].clone())
    };
    let tls = json!({"server": {"tls": {"existingSecret": "certificate"}}});
    let own = json!({"serverName": "st-stocktake-server.inventory.svc", "ca": {"secret": {"name": "certificate", "key": "ca.crt"}}});
    assert_eq!(monitored(tls.clone()), ("https".to_owned(), own));
    let other = json!({"serverName": "stocktake.example.com"});
    let said = json!({"serviceMonitor": {"tlsConfig": other}});
    assert_eq!(monitored(merged(&tls, &said)), ("https".to_owned(), other));
    // By HTTP there is none to look at.
    assert_eq!(monitored(said.clone()), ("http".to_owned(), Value::Null));
    let health = json!({"server": {"config": {"server": {"tls": {"client_ca": "/etc/stocktake-tls/ca.crt"}}}}});
    assert_eq!(monitored(merged(&merged(&tls, &health), &said)), ("http".to_owned(), Value::Null));
}
