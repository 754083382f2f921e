//! A receiver of webhooks, which answers as it is told.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Instant,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
};
use serde_json::Value;
use tokio::net::TcpListener;

use super::until;

/// A request that came.
#[derive(Debug, Clone)]
pub(super) struct Got {
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) answered: u16,
    pub(super) at: Instant,
}

impl Got {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    /// Number of the event.
    pub(super) fn event(&self) -> i64 {
        self.json()["data"]["id"].as_i64().unwrap()
    }
}

/// Status and `Retry-After`.
type Answer = (u16, Option<&'static str>);

#[derive(Clone, Default)]
struct Told {
    got: Arc<Mutex<Vec<Got>>>,
    /// What the next requests are answered, then 204.
    answers: Arc<Mutex<VecDeque<Answer>>>,
}

/// A server on loopback.
pub(super) struct Receiver {
    port: u16,
    told: Told,
    task: tokio::task::JoinHandle<()>,
}

impl Receiver {
    pub(super) async fn start() -> Self {
        Self::at(0, Told::default()).await
    }

    async fn at(port: u16, told: Told) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let app = Router::new().fallback(take).with_state(told.clone());
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { port, told, task }
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook", self.port)
    }

    /// Answers the next requests so.
    pub(super) fn answer(&self, answers: &[Answer]) {
        self.told.answers.lock().unwrap().extend(answers);
    }

    /// Goes away. What it got is remembered.
    pub(super) async fn down(self) -> Down {
        self.task.abort();
        let _ = self.task.await;
        Down { port: self.port, told: self.told }
    }

    /// All that came.
    pub(super) fn got(&self) -> Vec<Got> {
        self.told.got.lock().unwrap().clone()
    }

    /// Numbers of the events that it took, in their order.
    pub(super) fn taken(&self) -> Vec<i64> {
        self.got().iter().filter(|got| got.answered < 300).map(Got::event).collect()
    }

    /// All that came, once that is so many.
    pub(super) async fn wait(&self, count: usize) -> Vec<Got> {
        let got = until(async || self.got(), |got| got.len() >= count).await;
        assert!(got.len() >= count, "{} of {count} came: {got:?}", got.len());
        got
    }
}

/// A receiver that is down.
pub(super) struct Down {
    port: u16,
    told: Told,
}

impl Down {
    pub(super) async fn up(self) -> Receiver {
        Receiver::at(self.port, self.told).await
    }
}

async fn take(State(told): State<Told>, headers: HeaderMap, body: Bytes) -> (StatusCode, HeaderMap) {
    let (status, after) = told.answers.lock().unwrap().pop_front().unwrap_or((204, None));
    told.got.lock().unwrap().push(Got { headers, body, answered: status, at: Instant::now() });
    let mut headers = HeaderMap::new();
    headers.extend(after.map(|after| (axum::http::header::RETRY_AFTER, after.parse().unwrap())));
    (StatusCode::from_u16(status).unwrap(), headers)
}
