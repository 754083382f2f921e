//! Who is told: a receiver of webhooks, which notes what came when, and takes it.

use std::{
    fmt,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use jiff::Timestamp;
use serde_json::Value;

use crate::{daemon::free_port, service::Service};

/// What the server needs to have in its configuration to tell one of these.
pub const ALLOWED: &str = "[notify]\nallow_networks = ['127.0.0.0/8']\n";

/// A request that came.
#[derive(Debug, Clone)]
pub struct Hook {
    /// When.
    pub at: Timestamp,
    /// Its `webhook-id`.
    pub id: String,
    /// Its `webhook-timestamp`.
    pub timestamp: String,
    /// Its `webhook-signature`.
    pub signature: String,
    /// Its body, to the byte.
    pub body: Bytes,
}

impl Hook {
    /// The `CloudEvent` that it holds.
    #[must_use]
    pub fn event(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a webhook's body is JSON")
    }
}

#[derive(Default)]
struct Shared {
    count: AtomicUsize,
    /// None if they are only counted.
    hooks: Option<Mutex<Vec<Hook>>>,
}

/// A receiver, until it is stopped or goes.
pub struct Hooks {
    service: Service,
    shared: Arc<Shared>,
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hooks at {} with {}", self.address(), self.count())
    }
}

impl Hooks {
    /// One that keeps what comes, on a port that nobody has, and that nobody gets while another one is to come back there.
    #[must_use]
    pub fn start() -> Self {
        Self::at(([127, 0, 0, 1], free_port()).into())
    }

    /// One that keeps what comes.
    #[must_use]
    pub fn at(address: SocketAddr) -> Self {
        Self::serve(address, Shared { hooks: Some(Mutex::default()), ..Shared::default() })
    }

    /// One that only counts what comes, on a port that nobody has if it is 0.
    #[must_use]
    pub fn counting(address: SocketAddr) -> Self {
        Self::serve(address, Shared::default())
    }

    fn serve(address: SocketAddr, shared: Shared) -> Self {
        let shared = Arc::new(shared);
        let router = Router::new().route("/", post(take)).with_state(Arc::clone(&shared));
        Self { service: Service::start(address, router), shared }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.service.address()
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/", self.address())
    }

    /// How many have come.
    #[must_use]
    pub fn count(&self) -> usize {
        self.shared.count.load(Ordering::Relaxed)
    }

    /// Those that have come behind the first `skip` ones. None if they are only counted.
    #[must_use]
    pub fn behind(&self, skip: usize) -> Vec<Hook> {
        let hooks = self.shared.hooks.as_ref().map(|hooks| hooks.lock().unwrap_or_else(PoisonError::into_inner));
        hooks.map(|hooks| hooks.iter().skip(skip).cloned().collect()).unwrap_or_default()
    }

    /// Ends it: nobody listens at its address afterwards. Hands out all that has come.
    #[must_use]
    pub fn stop(self) -> Vec<Hook> {
        let Self { service, shared } = self;
        drop(service);
        let Some(hooks) = &shared.hooks else { return Vec::new() };
        std::mem::take(&mut *hooks.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn take(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    if let Some(hooks) = &shared.hooks {
        let hook = Hook {
            at: Timestamp::now(),
            id: header("webhook-id"),
            timestamp: header("webhook-timestamp"),
            signature: header("webhook-signature"),
            body,
        };
        hooks.lock().unwrap_or_else(PoisonError::into_inner).push(hook);
    }
    shared.count.fetch_add(1, Ordering::Relaxed);
    StatusCode::NO_CONTENT
}
