use super::*;

fn shop() -> Vec<Seen> {
    vec![cluster(&[("shop", &[], 2)])]
}

/// The last health report.
fn health(server: &FakeAnchore) -> Value {
    server.with(|state| state.health.last().cloned().unwrap_or(Value::Null))
}

fn errors(server: &FakeAnchore) -> Vec<String> {
    let health = health(server);
    let errors = health["health_data"]["errors"].as_array().cloned().unwrap_or_default();
    errors.iter().map(|error| error.as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn the_agent_registers_and_says_how_it_is() {
    let server = FakeAnchore::new("5.26.0").await;
    let settings = json!({"registration": {"name": "edge", "description": "at the edge", "health_interval": "30s"}});
    let mut target = target(&server, &settings);
    deliver(&mut target, shop()).await.unwrap();
    until(|| server.with(|state| state.health.len() >= 2)).await;
    let registration = server.with(|state| state.registrations[0].clone());
    for (key, value) in [
        ("type", json!("k8s_inventory_agent")),
        ("name", json!("edge")),
        ("description", json!("at the edge")),
        ("username", json!("agent")),
        ("health_report_interval", json!(30)),
        ("version", json!(env!("CARGO_PKG_VERSION"))),
        ("configuration", json!({})),
    ] {
        assert_eq!(registration[key], value, "{key}");
    }
    let data = &health(&server)["health_data"];
    assert_eq!(data["errors"], json!([]));
    let account = &data["account_k8s_inventory_reports"]["admin"];
    assert_eq!(account["report_timestamp"], "2021-11-17T18:47:36Z");
    assert_eq!(account["sent_as_user"], "agent");
    assert_eq!((&account["batch_size"], &account["last_successful_index"]), (&json!(1), &json!(1)));
    assert_eq!((&account["has_errors"], &account["batches"][0]["batch_index"]), (&json!(false), &json!(1)));
    assert_eq!(account["batches"][0].get("error"), None);
}

#[tokio::test]
async fn an_inventory_never_waits_for_a_registration() {
    for status in [400, 401, 403, 409, 500] {
        let server = FakeAnchore::new("5.26.0").await;
        server.with(|state| state.registration = Some(status));
        let mut target = target(&server, &json!({}));
        deliver(&mut target, shop()).await.unwrap();
        assert_eq!(server.contexts(), ["admin: prod/shop"]);
        // It is tried again and again, and made as soon as it is allowed.
        server.with(|state| state.registration = None);
        until(|| server.with(|state| !state.health.is_empty())).await;
    }
}

#[tokio::test]
async fn an_older_server_is_not_registered_with_until_it_is_upgraded() {
    let server = FakeAnchore::new("5.10.0").await;
    let mut target = target(&server, &json!({}));
    deliver(&mut target, shop()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    server.with(|state| {
        assert!(state.registrations.is_empty());
        state.version = "5.11.0";
    });
    until(|| server.with(|state| !state.health.is_empty())).await;
}

#[tokio::test]
async fn a_restart_is_the_same_integration() {
    let server = FakeAnchore::new("5.26.0").await;
    for _ in 0..2 {
        server.with(|state| state.health.clear());
        let mut target = target(&server, &json!({}));
        deliver(&mut target, shop()).await.unwrap();
        until(|| server.with(|state| !state.health.is_empty())).await;
    }
    server.with(|state| assert_eq!((state.registrations.len(), state.integrations.len()), (2, 1)));
    // Who configures an identity has it.
    let mut target = target(&server, &json!({"registration": {"id": "cluster-a"}}));
    deliver(&mut target, shop()).await.unwrap();
    until(|| server.with(|state| state.registrations.len() == 3)).await;
    server.with(|state| assert_eq!(state.registrations[2]["registration_id"], "cluster-a"));
}

#[tokio::test]
async fn an_integration_that_was_deleted_is_made_again() {
    let server = FakeAnchore::new("5.26.0").await;
    let mut target = target(&server, &json!({}));
    deliver(&mut target, shop()).await.unwrap();
    until(|| server.with(|state| !state.health.is_empty())).await;
    server.with(|state| state.integrations.clear());
    until(|| server.with(|state| state.registrations.len() == 2)).await;
}

#[tokio::test]
async fn what_was_not_seen_is_unhealthy() {
    let server = FakeAnchore::new("5.26.0").await;
    let mut target = target(&server, &json!({}));
    let (source, mut scopes) = cluster(&[("denied", &[], 2), ("shop", &[], 2)]);
    scopes[1].1 = denied();
    deliver(&mut target, vec![(source, scopes)]).await.unwrap();
    let expected = ["kubernetes: namespace denied: denied: may not list pods"];
    until(|| errors(&server) == expected).await;
    // A collection that failed as a whole sends nothing, and is told too.
    let (source, _) = cluster(&[]);
    let gone = Coverage::Failed { reason: "nobody home".into() };
    deliver(&mut target, vec![(stocktake_core::model::Source { coverage: gone, ..source }, Vec::new())]).await.unwrap();
    until(|| errors(&server) == ["kubernetes: failed: nobody home"]).await;
    deliver(&mut target, shop()).await.unwrap();
    until(|| errors(&server).is_empty()).await;
}

#[tokio::test]
async fn what_was_not_delivered_is_unhealthy() {
    use crate::deliver::http::testing::answer;
    let server = FakeAnchore::new("5.26.0").await;
    server.with(|state| state.fault = Some(Box::new(|number, _| (number == 2).then(|| answer(500, &[], "oops")))));
    let mut target = target(&server, &json!({"max_namespaces": 1}));
    let parcel = parcel(vec![cluster(&[("a", &[], 1), ("b", &[], 1)])]);
    target.deliver(&parcel).await.unwrap_err();
    until(|| errors(&server).len() == 1).await;
    assert!(errors(&server)[0].starts_with("not delivered to account admin: "), "{:?}", errors(&server));
    let account = health(&server)["health_data"]["account_k8s_inventory_reports"]["admin"].clone();
    assert_eq!((&account["has_errors"], &account["last_successful_index"]), (&json!(true), &json!(1)));
    assert!(account["batches"][1]["error"].as_str().unwrap().contains("oops"), "{account}");
    target.deliver(&parcel).await.unwrap();
    until(|| errors(&server).is_empty()).await;
}

#[tokio::test]
async fn nothing_is_said_before_there_is_something_to_say() {
    let server = FakeAnchore::new("5.26.0").await;
    let mut target = target(&server, &json!({}));
    let agent = parcel(shop()).report.agent.clone();
    target.integration.start(&agent);
    until(|| server.with(|state| !state.registrations.is_empty())).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    server.with(|state| assert!(state.health.is_empty(), "an empty health report would look healthy"));
    deliver(&mut target, shop()).await.unwrap();
    until(|| server.with(|state| !state.health.is_empty())).await;
}

#[tokio::test]
async fn a_target_that_is_gone_says_nothing_more() {
    let server = FakeAnchore::new("5.26.0").await;
    let mut target = target(&server, &json!({}));
    deliver(&mut target, shop()).await.unwrap();
    until(|| server.with(|state| !state.health.is_empty())).await;
    let task = target.integration.task.clone().unwrap();
    drop(target);
    until(|| task.is_finished()).await;
}
