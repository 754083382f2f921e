use super::*;
use crate::deliver::http::testing::answer;

fn routes() -> Value {
    json!({"account_routes": {"team-a": {"namespaces": ["default", "a-*"]}, "team-b": {"namespaces": ["/b-\\d+/", "a-b"]}}})
}

#[tokio::test]
async fn a_pattern_is_of_the_whole_name() {
    let server = FakeAnchore::new("5.26.0").await;
    let seen = cluster(&[("default", &[], 1), ("my-default-x", &[], 1), ("b-1", &[], 1), ("b-1x", &[], 1)]);
    deliver(&mut quiet(&server, routes()), vec![seen]).await.unwrap();
    let expected = ["admin: prod/b-1x", "admin: prod/my-default-x", "team-a: prod/default", "team-b: prod/b-1"];
    assert_eq!(server.contexts(), expected);
}

#[tokio::test]
async fn a_namespace_goes_to_one_account_and_always_the_same() {
    for _ in 0..5 {
        let server = FakeAnchore::new("5.26.0").await;
        // Both routes cover it: the first by name has it.
        deliver(&mut quiet(&server, routes()), vec![cluster(&[("a-b", &[], 3)])]).await.unwrap();
        assert_eq!(server.contexts(), ["team-a: prod/a-b"]);
        server.with(|state| assert_eq!(state.documents.len(), 1));
    }
}

#[tokio::test]
async fn each_account_gets_the_nodes_of_its_own_pods() {
    let server = FakeAnchore::new("5.26.0").await;
    let mut target = quiet(&server, routes());
    deliver(&mut target, vec![cluster(&[("a-1", &[], 1), ("other", &[], 2)])]).await.unwrap();
    let nodes = |account: &str| -> Vec<String> {
        server.with(|state| {
            let document = state.documents.iter().find(|document| document.account == account).unwrap();
            let nodes = document.body["nodes"].as_array().unwrap().iter();
            nodes.map(|node| node["name"].as_str().unwrap().to_owned()).collect()
        })
    };
    assert_eq!(nodes("team-a"), ["node-1"]);
    assert_eq!(
        nodes("admin"),
        ["node-1", "node-2", "node-idle"],
        "the target's own account has those without pods too"
    );
}

#[tokio::test]
async fn a_route_without_credentials_is_sent_with_the_targets() {
    let server = FakeAnchore::new("5.26.0").await;
    server.with(|state| state.users.insert("b", ("secret-b", ["team-b"].into())));
    let mut settings = routes();
    settings["account_routes"]["team-b"]["user"] = json!("b");
    settings["account_routes"]["team-b"]["password"] = json!("secret-b");
    deliver(&mut quiet(&server, settings), vec![cluster(&[("a-1", &[], 1), ("b-1", &[], 1), ("c", &[], 1)])])
        .await
        .unwrap();
    let mut users =
        server.with(|state| state.documents.iter().map(|of| (of.account.clone(), of.user.clone())).collect::<Vec<_>>());
    users.sort();
    let expected = [("admin", "agent"), ("team-a", "agent"), ("team-b", "b")];
    assert_eq!(users, expected.map(|(account, user)| (account.to_owned(), user.to_owned())));
}

#[tokio::test]
async fn a_refusal_moves_nothing_into_another_account_and_loses_nothing() {
    let server = FakeAnchore::new("5.26.0").await;
    server.with(|state| state.users.insert("agent", ("hunter2", ["admin", "team-b"].into())));
    let mut target = quiet(&server, routes());
    let parcel = parcel(vec![cluster(&[("a-1", &[], 1), ("b-1", &[], 1), ("c", &[], 1)])]);
    let (status, message) = later(target.deliver(&parcel).await.unwrap_err());
    assert_eq!(status, "403");
    assert!(message.contains("syncInventory") && message.contains("grant these credentials"), "{message}");
    assert_eq!(server.contexts(), ["admin: prod/c", "team-b: prod/b-1"], "the others have theirs");
    // Somebody grants it.
    server.with(|state| state.users.insert("agent", ("hunter2", ["admin", "team-a", "team-b"].into())));
    target.deliver(&parcel).await.unwrap();
    assert_eq!(server.contexts(), ["admin: prod/c", "team-a: prod/a-1", "team-b: prod/b-1"]);
    server.with(|state| assert_eq!(state.documents.len(), 3, "and what was taken is not sent again"));
}

#[tokio::test]
async fn an_account_that_is_not_there_moves_nothing_either() {
    let server = FakeAnchore::new("5.26.0").await;
    server.with(|state| state.accounts.remove("team-a"));
    let mut target = quiet(&server, routes());
    let (status, message) =
        later(deliver(&mut target, vec![cluster(&[("a-1", &[], 1), ("c", &[], 1)])]).await.unwrap_err());
    assert_eq!(status, "404");
    assert!(message.contains("User account not found"), "{message}");
    assert_eq!(server.contexts(), ["admin: prod/c"]);
}

#[tokio::test]
async fn a_label_names_the_account_where_no_route_does() {
    let label = |more: &[(&str, Value)]| {
        let mut rule = json!({"key": "anchore.account"});
        rule.as_object_mut().unwrap().extend(more.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
        let mut settings = routes();
        settings["account_route_by_namespace_label"] = rule;
        settings
    };
    let of_b: &[(&str, &str)] = &[("anchore.account", "team-b")];
    let seen = || vec![cluster(&[("a-1", of_b, 1), ("labelled", of_b, 1), ("none", &[], 1)])];
    for (settings, none) in [
        (label(&[]), Some("admin: prod/none")),
        (label(&[("default_account", json!("team-a"))]), Some("team-a: prod/none")),
        (label(&[("ignore_missing_label", json!(true))]), None),
    ] {
        let server = FakeAnchore::new("5.26.0").await;
        deliver(&mut quiet(&server, settings), seen()).await.unwrap();
        let mut expected = vec!["team-a: prod/a-1", "team-b: prod/labelled"];
        expected.extend(none);
        expected.sort_unstable();
        assert_eq!(server.contexts(), expected);
    }
}

/// Who may not list namespaces has no labels, which is not the same as that there are none.
#[tokio::test]
async fn labels_that_may_not_be_read_decide_nothing() {
    // kai's document needs no uid of a namespace, so that these namespaces could be sent.
    let server = FakeAnchore::new("4.6.0").await;
    let (source, mut scopes) = cluster(&[("shop", &[("anchore.account", "team-b")], 1), ("a-1", &[], 1)]);
    scopes.remove(0);
    let mut settings = routes();
    settings["account_route_by_namespace_label"] = json!({"key": "anchore.account"});
    deliver(&mut quiet(&server, settings), vec![(source, scopes)]).await.unwrap();
    assert_eq!(server.contexts(), ["team-a: prod/a-1"]);
}

/// One team's password file is gone: the others' inventories still go.
#[tokio::test]
async fn a_password_that_cannot_be_read_is_one_accounts() {
    let server = FakeAnchore::new("5.26.0").await;
    let mut settings = routes();
    settings["account_routes"]["team-a"]["user"] = json!("a");
    settings["account_routes"]["team-a"]["password_file"] = json!("/nonexistent/password");
    let mut target = quiet(&server, settings);
    let seen = vec![cluster(&[("a-1", &[], 1), ("b-1", &[], 1)])];
    let (_, message) = later(deliver(&mut target, seen).await.unwrap_err());
    assert!(message.contains("`password_file` /nonexistent/password"), "{message}");
    assert_eq!(server.contexts(), ["team-b: prod/b-1"]);
}

#[tokio::test]
async fn an_account_that_is_refused_is_asked_once() {
    let server = FakeAnchore::new("5.26.0").await;
    server.with(|state| state.fault = Some(Box::new(|_, _| Some(answer(403, &[], "")))));
    let mut target = quiet(&server, json!({"max_namespaces": 1}));
    later(deliver(&mut target, vec![cluster(&[("a", &[], 1), ("b", &[], 1), ("c", &[], 1)])]).await.unwrap_err());
    server.with(|state| assert_eq!(state.arrived, 1));
}
