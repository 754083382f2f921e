use super::*;
use crate::deliver::http::testing::{Server, answer};

fn shop() -> Vec<Seen> {
    vec![cluster(&[("shop", &[], 2)])]
}

fn paths(server: &FakeAnchore) -> Vec<String> {
    server.with(|state| state.documents.iter().map(|document| document.path.clone()).collect())
}

#[tokio::test]
async fn each_version_of_the_server_gets_its_document_at_its_path() {
    for (version, path) in [
        ("3.1.0", "/v1/enterprise/inventories"),
        ("4.6.2", "/v1/enterprise/inventories"),
        ("4.7.0", "/v1/enterprise/kubernetes-inventory"),
        ("4.9.4", "/v1/enterprise/kubernetes-inventory"),
        ("5.0.0", "/v2/kubernetes-inventory"),
        ("5.26.0", "/v2/kubernetes-inventory"),
    ] {
        let server = FakeAnchore::new(version).await;
        let sent = deliver(&mut quiet(&server, json!({})), shop()).await.unwrap();
        assert_eq!((paths(&server), sent.requests), (vec![path.to_owned()], 2), "{version}");
        assert_eq!(server.contexts(), ["admin: prod/shop"]);
    }
}

#[tokio::test]
async fn kai_s_servers_get_kai_s_document() {
    let server = FakeAnchore::new("4.6.0").await;
    // What answers 200 with a list, and what answers 201 and 204 with nothing, are successes alike.
    deliver(&mut quiet(&server, json!({"api": "kai"})), shop()).await.unwrap();
    server.with(|state| {
        let results = &state.documents[0].body["results"];
        assert_eq!(results[0]["images"][0]["tag"], "example.com/shop-0:1");
    });
}

#[tokio::test]
async fn a_server_that_does_not_tell_its_version_is_found_out() {
    for version in ["5.26.0", "4.7.0", "4.6.0"] {
        let server = FakeAnchore::new(version).await;
        server.with(|state| state.tells_version = false);
        let mut target = quiet(&server, json!({}));
        deliver(&mut target, shop()).await.unwrap();
        let sent = deliver(&mut target, vec![cluster(&[("shop", &[], 3)])]).await.unwrap();
        assert_eq!(sent.requests, 1, "{version}: what was found is kept");
    }
}

#[tokio::test]
async fn the_server_is_upgraded_and_downgraded_under_the_agent() {
    let server = FakeAnchore::new("4.6.0").await;
    let mut target = quiet(&server, json!({}));
    for (pods, version) in ["4.6.0", "4.8.0", "5.26.0", "4.6.0"].into_iter().enumerate() {
        server.with(|state| state.version = version);
        deliver(&mut target, vec![cluster(&[("shop", &[], pods)])]).await.unwrap();
    }
    let expected = [
        "/v1/enterprise/inventories",
        "/v1/enterprise/kubernetes-inventory",
        "/v2/kubernetes-inventory",
        "/v1/enterprise/inventories",
    ];
    assert_eq!(paths(&server), expected);
}

#[tokio::test]
async fn an_api_that_was_set_is_not_left() {
    let server = FakeAnchore::new("4.6.0").await;
    let (status, message) = later(deliver(&mut quiet(&server, json!({"api": "v2"})), shop()).await.unwrap_err());
    assert_eq!(status, "404");
    assert!(message.contains("/v2/kubernetes-inventory answered 404") && message.contains("check `url`"), "{message}");
}

#[tokio::test]
async fn who_is_no_anchore_at_all_is_told() {
    let server = Server::http(|_| answer(404, &[], "nothing here")).await;
    let mut target = target_at(&server.url(), &json!({"registration": {"enabled": false}}));
    let (status, message) = later(deliver(&mut target, shop()).await.unwrap_err());
    assert_eq!(status, "404");
    assert!(message.contains("check `url`"), "{message}");
}

#[tokio::test]
async fn what_is_not_taken_stays_and_only_the_rest_is_sent_again() {
    let server = FakeAnchore::new("5.26.0").await;
    let mut target = quiet(&server, json!({"max_namespaces": 1}));
    let parcel = parcel(vec![cluster(&[("a", &[], 1), ("b", &[], 0), ("c", &[], 1)])]);
    server.with(|state| {
        state.fault = Some(Box::new(|number, _| (number == 3).then(|| answer(503, &[("retry-after", "7")], "busy"))));
    });
    match target.deliver(&parcel).await.unwrap_err() {
        Failure::Later { after, status, message } => {
            assert_eq!((after, status.as_str()), (Some(Duration::from_secs(7)), "503"));
            assert!(message.contains("busy"), "{message}");
        }
        other @ Failure::Refused { .. } => panic!("{other:?}"),
    }
    let again = target.deliver(&parcel).await.unwrap();
    assert_eq!(again.requests, 1);
    let sent = target.deliver(&parcel).await.unwrap();
    assert_eq!(sent, Sent::default(), "nothing is left of it");
    let expected = vec![vec!["a"], vec!["b"], vec!["c"]];
    server.with(|state| {
        let found: Vec<Vec<&str>> = state.documents.iter().map(|document| document.namespaces()).collect();
        assert_eq!(found, expected);
    });
    // Another report is another.
    deliver(&mut target, vec![cluster(&[("a", &[], 2)])]).await.unwrap();
    server.with(|state| assert_eq!(state.documents.len(), 4));
}

#[tokio::test]
async fn a_page_to_log_in_is_no_success() {
    let server = FakeAnchore::new("5.26.0").await;
    server.with(|state| {
        state.fault = Some(Box::new(|number, _| match number {
            1 => Some(answer(200, &[("content-type", "text/html")], "<!DOCTYPE html><title>Log in</title>")),
            2 => Some(answer(302, &[("location", "https://login.example.com/")], "")),
            _ => None,
        }));
    });
    let mut target = quiet(&server, json!({}));
    let parcel = parcel(shop());
    let (status, message) = later(target.deliver(&parcel).await.unwrap_err());
    assert_eq!(status, "protocol");
    assert!(
        message.contains("is not JSON, as of a page to log in") && message.contains("<!DOCTYPE html>"),
        "{message}"
    );
    let (status, message) = later(target.deliver(&parcel).await.unwrap_err());
    assert_eq!(status, "302");
    assert!(message.contains("pointing to https://login.example.com/"), "{message}");
    target.deliver(&parcel).await.unwrap();
}

#[tokio::test]
async fn answers_that_are_success_with_and_without_a_body() {
    for (status, body) in [(200, "{}"), (201, ""), (202, "[1]"), (204, "")] {
        let server = FakeAnchore::new("5.26.0").await;
        server.with(|state| state.fault = Some(Box::new(move |_, _| Some(answer(status, &[], body)))));
        deliver(&mut quiet(&server, json!({})), shop()).await.unwrap();
    }
    // More than is read of an answer.
    let server = FakeAnchore::new("4.6.0").await;
    server.with(|state| state.fault = Some(Box::new(|_, _| Some(answer(200, &[], vec![b'['; 2 << 20])))));
    deliver(&mut quiet(&server, json!({})), shop()).await.unwrap();
}

#[tokio::test]
async fn a_body_that_the_server_does_not_want_is_refused() {
    let server = FakeAnchore::new("5.26.0").await;
    server.with(|state| state.fault = Some(Box::new(|_, _| Some(answer(400, &[], r#"{"message":"Bad Request"}"#)))));
    match deliver(&mut quiet(&server, json!({})), shop()).await.unwrap_err() {
        Failure::Refused { status, message } => {
            assert_eq!(status, "400");
            assert!(message.contains("Bad Request"), "{message}");
        }
        other @ Failure::Later { .. } => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_loses_nothing() {
    let mut target = target_at("http://127.0.0.1:1", &json!({"registration": {"enabled": false}}));
    let (status, message) = later(deliver(&mut target, shop()).await.unwrap_err());
    assert_eq!(status, "unreachable");
    assert!(message.starts_with("cannot connect to http://127.0.0.1:1/version"), "{message}");
}

#[tokio::test]
async fn a_wrong_password_is_told_and_keeps_the_report() {
    let server = FakeAnchore::new("5.26.0").await;
    let (status, message) = later(deliver(&mut quiet(&server, json!({"user": "nobody"})), shop()).await.unwrap_err());
    assert_eq!(status, "401");
    assert!(message.contains("check the credentials"), "{message}");
}

/// Each change is a report. Sent whole, a large cluster in which something always changes would be sent every few seconds.
#[tokio::test]
async fn what_stays_as_it_is_is_sent_again_from_time_to_time_alone() {
    let server = FakeAnchore::new("5.26.0").await;
    let mut target = quiet(&server, json!({}));
    let sent = async |target: &mut AnchoreTarget, seen: Seen| -> Vec<String> {
        server.with(|state| state.documents.clear());
        deliver(target, vec![seen]).await.unwrap();
        server.with(|state| {
            state.documents.iter().flat_map(|document| document.namespaces()).map(str::to_owned).collect()
        })
    };
    assert_eq!(sent(&mut target, cluster(&[("a", &[], 1), ("b", &[], 0), ("c", &[], 2)])).await, ["a", "b", "c"]);
    assert_eq!(sent(&mut target, cluster(&[("a", &[], 1), ("b", &[], 0), ("c", &[], 2)])).await, [""; 0]);
    assert_eq!(sent(&mut target, cluster(&[("a", &[("x", "y")], 1), ("b", &[], 1), ("c", &[], 2)])).await, ["a", "b"]);
    let (source, mut scopes) = cluster(&[("a", &[("x", "y")], 1), ("b", &[], 1), ("c", &[], 2)]);
    scopes[0].2.nodes[1].kernel_version = Some("6.1".into());
    assert_eq!(sent(&mut target, (source, scopes)).await, ["c"], "one of its pods is on the node that has changed");
    // Who has just started knows nothing.
    let mut restarted = quiet(&server, json!({"refresh": "1ms"}));
    assert_eq!(sent(&mut restarted, cluster(&[("a", &[], 1)])).await, ["a"]);
    tokio::time::sleep(Duration::from_millis(2)).await;
    assert_eq!(sent(&mut restarted, cluster(&[("a", &[], 1)])).await, ["a"], "a while ago");
}

#[tokio::test]
async fn older_servers_get_all_of_it_each_time() {
    for version in ["4.6.0", "4.9.0"] {
        let server = FakeAnchore::new(version).await;
        let mut target = quiet(&server, json!({}));
        for _ in 0..2 {
            deliver(&mut target, shop()).await.unwrap();
        }
        server.with(|state| assert_eq!(state.documents.len(), 2, "{version}"));
    }
}

/// A namespace that fails in between is as it was; one of which a part was taken is sent whole.
#[tokio::test]
async fn a_namespace_that_was_taken_in_part_is_not_known_to_be_there() {
    let server = FakeAnchore::new("5.26.0").await;
    server.with(|state| {
        state.most_bytes = 10_000;
        // The second half of it is not taken.
        state.fault = Some(Box::new(|number, _| (number == 3).then(|| answer(500, &[], "oops"))));
    });
    let mut target = quiet(&server, json!({}));
    deliver(&mut target, vec![cluster(&[("large", &[], 30)])]).await.unwrap_err();
    server.with(|state| {
        state.documents.clear();
        state.most_bytes = usize::MAX;
    });
    target.taken_bytes = None;
    deliver(&mut target, vec![cluster(&[("large", &[], 30)])]).await.unwrap();
    server.with(|state| {
        let sent: usize = state.documents.iter().map(|of| of.body["pods"].as_array().unwrap().len()).sum();
        assert_eq!(sent, 30);
    });
}
