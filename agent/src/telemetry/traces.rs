//! Traces by OTLP over HTTP: a span for each collection and one for each delivery.
//!
//! They are made from what is told of a collection that has ended, and not by following what is logged, so that an agent that
//! sends none does nothing for them.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use opentelemetry::{
    KeyValue,
    trace::{Span as _, SpanKind, Status, Tracer as _, TracerProvider as _},
};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::{
    Resource,
    trace::{SdkTracer, SdkTracerProvider},
};
use tokio::runtime::Handle;

use crate::{
    deliver::{Failure, Sent},
    environment::USER_AGENT,
    follow::Update,
};

/// How long sending some of them may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long the last of them may keep the agent from ending.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Bytes of an answer that are read. It says how many spans were not taken, if any.
const ANSWER_AT_MOST: usize = 1 << 16;

/// Where traces go, if anywhere.
#[derive(Debug, Default)]
pub(super) struct Traces(Mutex<Option<Tracing>>);

#[derive(Debug)]
struct Tracing {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

impl Traces {
    /// Sends them to a receiver from now on: the base of its URLs. Has to be called within a runtime.
    pub(super) fn start(&self, endpoint: &str) -> Result<(), String> {
        let url = format!("{}/v1/traces", endpoint.trim_end_matches('/'));
        let client = reqwest::Client::builder().user_agent(USER_AGENT).timeout(PATIENCE).build();
        let client = client.map_err(|error| error.to_string())?;
        let sender =
            Sender { client, runtime: Handle::current(), url: url.clone(), has_failed: AtomicBool::new(false) };
        let exporter = SpanExporter::builder().with_http().with_http_client(sender).with_endpoint(url);
        let exporter = exporter.with_protocol(Protocol::HttpBinary).with_timeout(PATIENCE).build();
        let exporter = exporter.map_err(|error| error.to_string())?;
        let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        let resource = Resource::builder().with_service_name("stocktake-agent").with_attribute(version).build();
        let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build();
        let tracer = provider.tracer("stocktake-agent");
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Tracing { provider, tracer });
        Ok(())
    }

    /// Sends what is left, and no more. Waits for it.
    pub(super) fn stop(&self) {
        let tracing = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Tracing { provider, .. }) = tracing
            && let Err(error) = provider.shutdown_with_timeout(LAST_WORDS)
        {
            tracing::warn!("the last traces were not sent: {error}");
        }
    }

    /// A collection has ended.
    pub(super) fn looked(&self, update: &Update) {
        self.span("collect", SpanKind::Internal, update.look.took, || {
            let source = &update.source;
            let incomplete = source.scopes.iter().filter(|entry| !entry.coverage.is_complete()).count();
            let containers: usize = source.scopes.iter().map(|entry| entry.counts.containers).sum();
            let attributes = vec![
                KeyValue::new("collector", source.collector.to_string()),
                KeyValue::new("kind", source.kind.to_string()),
                KeyValue::new("coverage", source.coverage.status()),
                KeyValue::new("timed_out", update.look.timed_out),
                KeyValue::new("scopes", number(source.scopes.len())),
                KeyValue::new("scopes_incomplete", number(incomplete)),
                KeyValue::new("scopes_changed", number(update.changed.len())),
                KeyValue::new("containers", number(containers)),
            ];
            let status = match source.coverage.reason() {
                Some(reason) => Status::error(reason.to_owned()),
                None if update.look.timed_out => Status::error("timed out"),
                None => Status::Ok,
            };
            (attributes, status)
        });
    }

    /// An attempt to deliver a report has ended.
    pub(super) fn delivered(&self, target: &str, sequence: u64, took: Duration, outcome: Result<&Sent, &Failure>) {
        self.span("deliver", SpanKind::Client, took, || {
            let mut attributes =
                vec![KeyValue::new("target", target.to_owned()), KeyValue::new("report", number(sequence))];
            let status = match outcome {
                Ok(sent) => {
                    attributes.push(KeyValue::new("bytes", number(sent.bytes)));
                    attributes.push(KeyValue::new("requests", number(sent.requests)));
                    Status::Ok
                }
                Err(Failure::Later { status, message, .. } | Failure::Refused { status, message }) => {
                    attributes.push(KeyValue::new("status", status.clone()));
                    Status::error(message.clone())
                }
            };
            (attributes, status)
        });
    }

    /// A span that ends now, if anybody wants it.
    fn span(&self, name: &'static str, kind: SpanKind, took: Duration, says: impl FnOnce() -> (Vec<KeyValue>, Status)) {
        let tracing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Tracing { tracer, .. }) = tracing.as_ref() else { return };
        let (attributes, status) = says();
        let end = SystemTime::now();
        let start = end.checked_sub(took).unwrap_or(end);
        let builder = tracer.span_builder(name).with_kind(kind).with_start_time(start).with_attributes(attributes);
        let mut span = builder.start(tracer);
        span.set_status(status);
        span.end_with_timestamp(end);
    }
}

/// OTLP knows no unsigned numbers.
fn number(count: impl TryInto<i64>) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}

/// Sends with the agent's own client, on the agent's own threads: what calls it has none that could.
#[derive(Debug)]
struct Sender {
    client: reqwest::Client,
    runtime: Handle,
    url: String,
    /// Whether people were told that traces are not taken, and not yet that they are.
    has_failed: AtomicBool,
}

#[async_trait]
impl HttpClient for Sender {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        let outcome = self.runtime.spawn(async move { send(&client, request).await }).await;
        let outcome = outcome.map_err(HttpError::from).and_then(|outcome| outcome);
        let failure = match &outcome {
            Ok(response) if response.status().is_success() => None,
            Ok(response) => Some(response.status().to_string()),
            Err(error) => Some(error.to_string()),
        };
        match (failure, self.has_failed.load(Ordering::Relaxed)) {
            (Some(failure), false) => tracing::warn!("traces are not taken by {} and are lost: {failure}", self.url),
            (None, true) => tracing::info!("traces are taken by {} again", self.url),
            _ => {}
        }
        let has_failed = !outcome.as_ref().is_ok_and(|response| response.status().is_success());
        self.has_failed.store(has_failed, Ordering::Relaxed);
        outcome
    }
}

async fn send(client: &reqwest::Client, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
    let mut answer = client.execute(reqwest::Request::try_from(request)?).await?;
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        if body.len() + chunk.len() > ANSWER_AT_MOST {
            return Err("the answer does not end".into());
        }
        body.extend_from_slice(&chunk);
    }
    let mut response = Response::builder().status(answer.status());
    if let Some(headers) = response.headers_mut() {
        headers.clone_from(answer.headers());
    }
    Ok(response.body(body.into())?)
}
