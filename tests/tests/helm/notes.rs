//! What Helm prints behind an installation: the commands that are of use, and nothing that cannot work.

use serde_json::{Value, json};

use crate::{least, merged, render};

fn notes(values: &Value) -> String {
    let objects = render(values);
    let notes = objects.iter().find(|object| object["kind"] == "Notes").unwrap();
    let text = notes["text"].as_str().unwrap().to_owned();
    assert!(!text.starts_with('\n') && !text.contains("\n\n\n"), "{text}");
    text
}

#[test]
fn credentials_that_are_missing_are_asked_for() {
    let anchore = json!({"config": {"targets": {"anchore": {"url": "https://a", "user": "u"}}}});
    let without = notes(&merged(&least(), &anchore));
    assert!(without.contains("--from-literal=anchore-password=…"), "{without}");
    assert!(without.contains("--from-literal=stocktake-token=…"), "{without}");
    for given in [
        json!({"credentials": {"stocktake": {"token": "t"}}}),
        json!({"existingSecret": "tokens"}),
        json!({"injectSecretsViaEnv": true}),
        json!({"config": {"targets": {"stocktake": {"token_file": "/etc/token"}}}}),
    ] {
        let told = notes(&merged(&least(), &given));
        assert!(!told.contains("create secret"), "{given}: {told}");
    }
    // The release's own server makes one.
    let own = notes(&json!({"server": {"enabled": true}}));
    assert!(own.contains("-- stocktake-server token add st --config /etc/stocktake/server.toml)\""), "{own}");
}

#[test]
fn the_test_is_named_once_where_there_is_one() {
    let nodes = json!({"node": {"enabled": true}});
    let quiet = json!({"config": {"telemetry": {"listen": "off"}}});
    let nodes_alone = merged(&nodes, &json!({"agent": {"enabled": false}}));
    let node_listens = json!({"node": {"config": {"telemetry": {"listen": "0.0.0.0:17820"}}}});
    for (values, expected) in [
        (nodes.clone(), 1),
        (nodes_alone.clone(), 1),
        (merged(&nodes_alone, &quiet), 0),
        (merged(&nodes, &quiet), 0),
        (merged(&merged(&nodes, &quiet), &node_listens), 1),
    ] {
        let values = merged(&least(), &values);
        let told = notes(&values);
        assert_eq!(told.matches("helm -n inventory test st").count(), expected, "{values}: {told}");
        assert_eq!(crate::of_kind(&render(&values), "Pod").len(), expected, "{values}");
    }
}

#[test]
fn what_is_not_there_is_not_told_of() {
    let told = notes(&least());
    assert!(told.contains("helm -n inventory test st") && told.contains("stocktake-agent check"), "{told}");
    assert!(!told.contains("daemonset") && !told.contains("The server is at"), "{told}");
    // Nobody could be asked by the test. It may be written without quotes, which is false in YAML; a target may need no setting.
    for listen in [json!("off"), json!(false)] {
        let values = json!({"config": {"telemetry": {"listen": listen}, "targets": {"stdout": {}}}});
        let objects = render(&values);
        assert!(!notes(&values).contains("test st"));
        let config = crate::named(&objects, "ConfigMap", "st-stocktake-agent")["data"]["agent.toml"].as_str().unwrap();
        assert!(config.contains("listen = \"off\""), "{config}");
        assert!(objects.iter().all(|object| object["kind"] != "Service" && object["kind"] != "Pod"), "{objects:?}");
    }
}
