//! Traces, received by who reads OTLP.

use std::{
    sync::mpsc::{Receiver, channel},
    time::Duration,
};

use axum::{Router, body::Bytes, http::StatusCode, routing::post};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::any_value::Value,
    trace::v1::{Span, status::StatusCode as SpanStatus},
};
use prost::Message as _;
use stocktake_core::model::Coverage;

use super::{denied, good, look, seconds, telemetry};
use crate::{
    config::{Place, TelemetrySettings},
    deliver::{Failure, Sent},
    isolate::Bound,
    telemetry::serve,
};

/// A receiver that answers so, its address, and what it was sent.
async fn receiver(code: StatusCode) -> (Bound<()>, String, Receiver<ExportTraceServiceRequest>) {
    let (sender, received) = channel();
    let receive = move |body: Bytes| {
        let sender = sender.clone();
        async move {
            sender.send(ExportTraceServiceRequest::decode(body).unwrap()).unwrap();
            code
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().route("/v1/traces", post(receive));
    let answering = super::super::serve::answer(listener, router);
    (Bound(tokio::spawn(answering)), endpoint, received)
}

fn settings(endpoint: String) -> TelemetrySettings {
    TelemetrySettings { listen: Place::Off, socket: Place::Off, otlp_endpoint: Some(endpoint) }
}

fn spans(request: &ExportTraceServiceRequest) -> impl Iterator<Item = &Span> {
    let scopes = request.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
    scopes.flat_map(|scope| &scope.spans)
}

/// What was received once there are so many spans in it. What is sent last may come later than the agent waits for it.
fn wait(received: &Receiver<ExportTraceServiceRequest>, count: usize) -> Vec<ExportTraceServiceRequest> {
    let mut requests = Vec::new();
    while requests.iter().flat_map(spans).count() < count {
        requests.push(received.recv_timeout(Duration::from_mins(1)).expect("more spans"));
    }
    requests.extend(received.try_iter());
    requests
}

fn attribute(span: &Span, key: &str) -> Option<Value> {
    span.attributes.iter().find(|attribute| attribute.key == key)?.value.clone()?.value
}

fn text(value: &str) -> Value {
    Value::StringValue(value.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_span_for_each_collection_and_each_delivery() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (_receiver, endpoint, received) = receiver(StatusCode::OK).await;
    let (telemetry, _) = telemetry(&["a", "b"], &["x"]);
    telemetry.looked(&good("a"));
    let serving = serve(&settings(endpoint + "/"), &telemetry).unwrap();
    telemetry.looked(&good("a"));
    telemetry.looked(&look("b", denied("no"), &[]));
    telemetry.delivered("x", 7, &Sent { bytes: 1000, requests: 2 }, seconds(3));
    let failure = Failure::Later { after: None, status: "503".into(), message: "tired".into() };
    telemetry.not_delivered("x", 8, &failure, seconds(1), None);
    serving.stop().await;
    telemetry.looked(&look("a", Coverage::Complete, &[]));

    let requests = wait(&received, 4);
    let resource = requests[0].resource_spans[0].resource.as_ref().unwrap();
    let service = resource.attributes.iter().find(|it| it.key == "service.name").unwrap();
    assert_eq!(service.value.clone().unwrap().value, Some(text("stocktake-agent")));
    let spans: Vec<&Span> = requests.iter().flat_map(spans).collect();
    let names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["collect", "collect", "deliver", "deliver"], "none before it was asked for and none after");
    let took = |span: &Span| span.end_time_unix_nano - span.start_time_unix_nano;
    assert_eq!((took(spans[0]), took(spans[2])), (31_000_000, 3_000_000_000));
    assert_eq!(attribute(spans[0], "collector"), Some(text("a")));
    assert_eq!(attribute(spans[0], "containers"), Some(Value::IntValue(3)));
    assert_eq!(attribute(spans[1], "coverage"), Some(text("denied")));
    assert_eq!(attribute(spans[2], "bytes"), Some(Value::IntValue(1000)));
    assert_eq!(attribute(spans[3], "report"), Some(Value::IntValue(8)));
    let ended = |span: &Span| span.status.as_ref().map(|status| (status.code(), status.message.clone()));
    assert_eq!(ended(spans[0]), Some((SpanStatus::Ok, String::new())));
    assert_eq!(ended(spans[1]), Some((SpanStatus::Error, "no".to_owned())));
    assert_eq!(ended(spans[3]), Some((SpanStatus::Error, "tired".to_owned())));
}

/// Nothing waits for them but the end, and that not for long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_takes_nothing_stands_in_nobodys_way() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (_receiver, endpoint, received) = receiver(StatusCode::FORBIDDEN).await;
    for endpoint in [endpoint, "http://127.0.0.1:1".to_owned()] {
        let (telemetry, _) = telemetry(&["a"], &[]);
        let serving = serve(&settings(endpoint), &telemetry).unwrap();
        telemetry.looked(&good("a"));
        serving.stop().await;
        assert!(telemetry.status().ready);
    }
    assert_eq!(wait(&received, 1).len(), 1);
}
