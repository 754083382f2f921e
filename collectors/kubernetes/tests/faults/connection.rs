//! Who is asked, as whom, and what is said of that.

use std::fs;

use serde_json::json;
use stocktake_collector_kubernetes::KubernetesCollector;
use stocktake_core::{
    CollectError, CollectorPlugin as _, ConfigError, Context, Location, RuntimeCollector as _, Selection,
    model::Coverage,
};

use crate::{
    fake::{Answer, FakeServer, list},
    look::{Sink, collect, collector, healthy},
};

#[tokio::test]
async fn a_token_is_read_again_for_every_request() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    fs::write(&file, "one\n").unwrap();
    let server = FakeServer::start(|request| match (request.path.as_str(), request.header("authorization")) {
        ("/version", "Bearer one" | "Bearer two") => Answer::ok(&json!({"gitVersion": "v1.33.1"})),
        ("/api/v1/namespaces/kube-system", "Bearer two") => Answer::ok(&json!({"metadata": {"uid": "u"}})),
        ("/api/v1/namespaces/kube-system", _) => Answer::status(403, "forbidden"),
        _ => Answer::status(401, "Unauthorized"),
    });
    let collector = collector(&server, json!({"token_file": file, "cluster": "prod"}));
    let location = |uid: Option<&str>| {
        Location::Cluster(stocktake_core::model::Cluster { uid: uid.map(str::to_owned), name: Some("prod".into()) })
    };
    let info = collector.probe().await.unwrap();
    assert_eq!((info.runtime.version.as_str(), info.location), ("v1.33.1", location(None)));
    fs::write(&file, "two").unwrap();
    assert_eq!(collector.probe().await.unwrap().location, location(Some("u")));
    fs::write(&file, "three").unwrap();
    let error = collector.probe().await.unwrap_err();
    assert!(matches!(error, CollectError::Denied { .. }), "{error:?}");
    assert!(error.to_string().ends_with(&format!("renew them: `token_file` {}", file.display())), "{error}");
    fs::remove_file(&file).unwrap();
    assert!(matches!(collector.probe().await.unwrap_err(), CollectError::Unavailable { .. }));
    fs::write(&file, "one").unwrap();
    collector.probe().await.unwrap();
}

#[tokio::test]
async fn a_connection_that_protects_nothing_is_remarked_on_once() {
    let server = healthy(&["a", "b"], |_| Answer::ok(&list([], None)));
    let (result, sink) = collect(&server, json!({"token": "hunter2"})).await;
    assert_eq!(result.unwrap(), Coverage::Complete);
    assert_eq!(sink.warnings.len(), 1, "{:?}", sink.warnings);
    assert!(
        sink.warnings[0].contains("unencrypted") && sink.warnings[0].contains(&server.url()),
        "{:?}",
        sink.warnings
    );
    assert!(!sink.warnings[0].contains("hunter2"));
    let (_, sink) = collect(&server, json!({})).await;
    assert_eq!(sink.warnings, [""; 0], "nothing is sent that could be read");
}

#[tokio::test]
async fn a_server_that_is_down_is_unavailable_and_named() {
    let server = FakeServer::start(|_| Answer::status(500, ""));
    let url = server.url();
    drop(server);
    let settings = ConfigError::deserialize(json!({"server": url})).unwrap();
    let collector = KubernetesCollector::new(settings, Context::default()).unwrap();
    let mut sink = Sink::default();
    for error in
        [collector.probe().await.unwrap_err(), collector.collect(&Selection::All, &mut sink).await.unwrap_err()]
    {
        assert!(matches!(error, CollectError::Unavailable { .. }));
        assert!(error.to_string().starts_with(&format!("cannot connect to the API server at {url}; ")), "{error}");
        assert!(error.full_message().ends_with("Connection refused (os error 111)"), "{}", error.full_message());
    }
    assert!(sink.scopes.is_empty());
}
