//! Every value does something: set away from its default, what is rendered is another. And every one is in the schema.

use std::fs;

use serde_json::{Value, json};
use stocktake_tests::repository;

use crate::{least, merged, python, render_all, restricted::assert_restricted};

/// Everything that the chart can make, so that whatever a value is about is there.
fn everything() -> Value {
    let budget = json!({"podDisruptionBudget": {"enabled": true}});
    merged(
        &least(),
        &json!({
            "credentials": {"stocktake": {"token": "t"}},
            "agent": merged(&budget, &json!({"replicas": 2})),
            "node": {"enabled": true},
            "server": merged(&budget, &json!({"enabled": true, "config": {"metrics": {"public": true}}})),
            "networkPolicy": {"enabled": true},
            "serviceMonitor": {"enabled": true},
        }),
    )
}

/// What else has to be so for a value to have an effect.
fn beside(path: &str) -> Value {
    match path {
        "agent.spool.existingClaim" => json!({"agent": {"replicas": 1}}),
        "server.replicas" => json!({"server": {"database": "postgresql"}}),
        "serviceMonitor.tlsConfig" => json!({"server": {"tls": {"existingSecret": "tls"}}}),
        _ => json!({}),
    }
}

/// Another value than the default, and a good one.
fn away(path: &str, default: &Value) -> Value {
    let last = path.rsplit('.').next().unwrap();
    let listed = match path {
        "config.telemetry.listen" => json!("0.0.0.0:17821"),
        "config.targets" => json!({"file": {"path": "/var/lib/stocktake/reports.ndjson"}}),
        "config.collectors.kubernetes" => json!({"cluster": "prod"}),
        "config.agent" | "node.config.agent" => json!({"interval": "2m"}),
        "config.filters" | "node.config.filters" => json!({"labels": {"exclude": ["internal/*"]}}),
        "node.config.telemetry" => json!({"socket": "off"}),
        "node.config.targets" => json!({"stdout": {}}),
        "credentials" => json!({"stocktake": {"token": "another"}}),
        "rbac.namespaces" => json!(["shop"]),
        "agent.strategy" => json!({"type": "Recreate"}),
        "agent.replicas" => json!(3),
        "networkPolicy.egressPorts" => json!([6443]),
        "server.config.server.listen" => json!("0.0.0.0:8229"),
        "server.config.inventory" => json!({"image_ttl_days": 7}),
        "server.config.limits" => json!({"requests_per_second": 100}),
        "server.config.metrics" => json!({"public": true}),
        "server.config.agentless" => json!({"looks_at_once": 0}),
        "server.config.notify" => json!({"timeout": "3s"}),
        "server.database" => json!("postgresql"),
        "server.service.type" => json!("NodePort"),
        "server.persistence.accessModes" => json!(["ReadWriteMany"]),
        "serviceMonitor.interval" => json!("30s"),
        "serviceMonitor.scrapeTimeout" | "agent.lease.renew" => json!("5s"),
        "serviceMonitor.relabelings" | "serviceMonitor.metricRelabelings" => {
            json!([{"action": "labeldrop", "regex": "pod"}])
        }
        "agent.lease.duration" => json!("60s"),
        "test.timeout" => json!("5m"),
        "test.address" => json!("127.0.0.1:17820"),
        _ => of_name(last),
    };
    if listed.is_null() { of_type(path, default) } else { listed }
}

/// What values of a name hold, wherever they are.
fn of_name(name: &str) -> Value {
    match name {
        "cpu" => json!("200m"),
        "memory" => json!("300Mi"),
        "size" => json!("2Gi"),
        "logFormat" => json!("text"),
        "pullPolicy" | "fsGroupChangePolicy" => json!("Always"),
        "dnsPolicy" => json!("Default"),
        "digest" => json!(format!("sha256:{}", "ab".repeat(32))),
        "minAvailable" => json!("50%"),
        "maxUnavailable" => json!("20%"),
        "tolerations" => json!([{"key": "dedicated", "operator": "Exists"}]),
        "affinity" => json!({"nodeAffinity": {}}),
        "topologySpreadConstraints" => {
            json!([{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}])
        }
        "extraArgs" => json!(["--verbose"]),
        "extraEnv" => json!([{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}]),
        "extraEnvFrom" => json!([{"secretRef": {"name": "more"}}]),
        "extraVolumes" => json!([{"name": "more", "emptyDir": {}}]),
        "extraVolumeMounts" => json!([{"name": "more", "mountPath": "/more"}]),
        "imagePullSecrets" => json!([{"name": "registry"}]),
        "metricsFrom" | "serverFrom" => json!([{"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}]),
        "extraEgress" => json!([{"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}]),
        "drop" => json!(["NET_RAW"]),
        "hostPath" | "docker" | "cri" | "containerd" => json!("/srv/other/other.sock"),
        _ => Value::Null,
    }
}

fn of_type(path: &str, default: &Value) -> Value {
    match default {
        Value::Bool(truth) => json!(!truth),
        Value::Number(number) => json!(number.as_f64().unwrap() + 1.0),
        Value::String(_) => json!("another"),
        Value::Object(_) => json!({"example.com/another": "value"}),
        other => panic!("say in `away` what {path} may be instead of {other}"),
    }
}

/// Whatever holds no further values, with its path.
fn leaves(path: &str, value: &Value, found: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(table) if !table.is_empty() => {
            for (key, value) in table {
                leaves(&if path.is_empty() { key.clone() } else { format!("{path}.{key}") }, value, found);
            }
        }
        leaf => found.push((path.to_owned(), leaf.clone())),
    }
}

/// All places of values, those that hold others included.
fn places(path: &str, value: &Value, found: &mut Vec<String>) {
    for (key, value) in value.as_object().into_iter().flatten() {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        places(&path, value, found);
        found.push(path);
    }
}

/// `values` with another one at a path, which takes the place of what is there.
fn set(values: &Value, path: &str, value: &Value) -> Value {
    let mut values = values.clone();
    let mut place = &mut values;
    for key in path.split('.') {
        place = place.as_object_mut().unwrap().entry(key).or_insert(json!({}));
    }
    *place = value.clone();
    values
}

fn at(path: &str, value: Value) -> Value {
    path.rsplit('.').fold(value, |inner, key| json!({ key: inner }))
}

fn defaults() -> Vec<(String, Value)> {
    let mut found = Vec::new();
    leaves("", &serde_json::from_str(&python("chart.py", &["values"], "")).unwrap(), &mut found);
    assert!(found.len() > 150, "only {} values were found", found.len());
    found
}

#[test]
fn every_value_changes_what_is_rendered() {
    let defaults = defaults();
    let mut asked = Vec::new();
    for (path, default) in &defaults {
        let base = merged(&everything(), &beside(path));
        let away = away(path, default);
        assert_ne!(away, *default, "{path} is set to its default");
        let is_set = base.pointer(&format!("/{}", path.replace('.', "/"))).is_some();
        asked.push(if is_set { set(&base, path, default) } else { base.clone() });
        asked.push(set(&base, path, &away));
    }
    let rendered = render_all(&asked);
    let mut without_effect = Vec::new();
    for ((path, _), pair) in defaults.iter().zip(rendered.chunks(2)) {
        match (&pair[0], &pair[1]) {
            (Ok(before), Ok(after)) if before != after => {}
            (Ok(_), Ok(_)) => without_effect.push(format!("{path} changes nothing")),
            (before, after) => {
                let errors = [before, after].into_iter().filter_map(|outcome| outcome.as_ref().err());
                without_effect.push(format!("{path}: {}", errors.cloned().collect::<Vec<_>>().join("; ")));
            }
        }
    }
    assert_eq!(without_effect, [""; 0], "of {} values", defaults.len());
    // What security contexts say is whoever's who sets them.
    let elsewhere = |(path, _): &(String, Value)| !path.to_lowercase().contains("securitycontext.");
    for ((path, _), pair) in defaults.iter().zip(rendered.chunks(2)).filter(|(it, _)| elsewhere(it)) {
        assert_restricted(pair[1].as_ref().unwrap(), path);
    }
}

#[test]
fn a_value_that_is_taken_away_is_not_needed_or_is_missed_by_name() {
    let mut places_of_all = Vec::new();
    places("", &serde_json::from_str(&python("chart.py", &["values"], "")).unwrap(), &mut places_of_all);
    let asked: Vec<Value> = places_of_all.iter().map(|path| set(&everything(), path, &Value::Null)).collect();
    let mut missed = 0;
    for (path, outcome) in places_of_all.iter().zip(render_all(&asked)) {
        let Err(error) = outcome else { continue };
        let name = path.rsplit('.').next().unwrap();
        assert!(error.contains(&format!("missing property '{name}'")), "{path}: {error}");
        missed += 1;
    }
    assert!((1..places_of_all.len() / 2).contains(&missed), "{missed} of {} are missed", places_of_all.len());
}

#[test]
fn the_schema_is_that_of_the_values() {
    let expected = python("schema.py", &[], "");
    let path = repository().join("deploy/helm/stocktake/values.schema.json");
    if std::env::var_os("STOCKTAKE_UPDATE_DOCS").is_some_and(|value| value == "1") {
        fs::write(&path, &expected).unwrap();
    }
    assert!(
        fs::read_to_string(&path).unwrap_or_default() == expected,
        "out of date: {}; run STOCKTAKE_UPDATE_DOCS=1 cargo test -p stocktake-tests --test helm schema",
        path.display()
    );
}

#[test]
fn what_is_no_value_or_of_another_type_is_refused() {
    for (wrong, told) in [
        (json!({"agnet": {"replicas": 2}}), "agnet"),
        (json!({"agent": {"replica": 2}}), "replica"),
        (json!({"agent": {"replicas": "two"}}), "replicas"),
        (json!({"config": {"colectors": {}}}), "colectors"),
        (json!({"image": {"tag": 1.0}}), "tag"),
        (json!({"server": {"database": "mysql"}}), "database"),
    ] {
        let refused = crate::refusal(&merged(&least(), &wrong));
        assert!(refused.contains(told), "{wrong}: {refused}");
    }
    // Whatever is free may be anything.
    let free = at("agent.affinity", json!({"podAntiAffinity": {"x": [1]}}));
    let _ = crate::render(&merged(&least(), &free));
}
