//! Who takes reports in tests: the server's side of `docs/protocol.md` in memory, strict, and with faults on demand.
//!
//! It is what the protocol says and nothing of a server besides. It stands where no real server exists yet, and where a sound one
//! could not be made to fail.

mod faults;
mod ledger;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{HeaderMap, Response, StatusCode},
    routing::post,
};
use stocktake_core::wire;

pub use self::{
    faults::Fault,
    ledger::{Accepted, Ledger},
};
use crate::{daemon::free_port, service::Service};

/// A receiver, which ends when this goes.
#[derive(Debug)]
pub struct Receiver {
    service: Service,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    ledger: Mutex<Ledger>,
    faults: Mutex<faults::Faults>,
    /// What every request has to bring, if anything.
    token: Mutex<Option<String>>,
}

impl Receiver {
    /// Starts one on a port that nobody has, and that nobody gets while another one is to come back there.
    #[must_use]
    pub fn start() -> Self {
        Self::at(([127, 0, 0, 1], free_port()).into(), Ledger::default())
    }

    /// Starts one at an address, with what another one had.
    #[must_use]
    pub fn at(address: SocketAddr, ledger: Ledger) -> Self {
        let shared = Arc::new(Shared { ledger: Mutex::new(ledger), ..Shared::default() });
        let router = Router::new()
            .route(&format!("/{}", wire::REPORTS), post(reports))
            .route(&format!("/{}", wire::SCOPES), post(scopes))
            .with_state(Arc::clone(&shared));
        Self { service: Service::start(address, router), shared }
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.service.address()
    }

    /// What it has.
    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        lock(&self.shared.ledger)
    }

    /// Answers the next requests so, one fault a request, and then soundly.
    pub fn then(&self, faults: impl IntoIterator<Item = Fault>) {
        lock(&self.shared.faults).next.extend(faults);
    }

    /// Answers every request so, until told otherwise.
    pub fn always(&self, fault: Option<Fault>) {
        lock(&self.shared.faults).always = fault;
    }

    /// Answers soundly from now on.
    pub fn soundly(&self) {
        *lock(&self.shared.faults) = faults::Faults::default();
    }

    /// Demands a token from now on.
    pub fn demand(&self, token: &str) {
        *lock(&self.shared.token) = Some(token.to_owned());
    }

    /// Ends it, and hands out what it has.
    #[must_use]
    pub fn end(self) -> Ledger {
        let Self { service, shared } = self;
        drop(service);
        std::mem::take(&mut *lock(&shared.ledger))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn reports(State(shared): State<Arc<Shared>>, request: Request) -> Response<Body> {
    answer(&shared, request, Ledger::take_report).await
}

async fn scopes(State(shared): State<Arc<Shared>>, request: Request) -> Response<Body> {
    answer(&shared, request, Ledger::take_scopes).await
}

async fn answer(
    shared: &Shared,
    request: Request,
    take: impl Fn(&mut Ledger, &HeaderMap, &Bytes) -> (StatusCode, String),
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let fault = lock(&shared.faults).take();
    let (body, answered) = match fault {
        None => (body, faults::Answered::Soundly),
        Some(fault) => match fault.before(body).await {
            faults::Before::Answer(response) => return response,
            faults::Before::GoOn(body, answered) => (body, answered),
        },
    };
    let Ok(bytes) = axum::body::to_bytes(body, usize::MAX).await else { return plain(StatusCode::BAD_REQUEST, "cut") };
    let authorization = parts.headers.get("authorization").and_then(|value| value.to_str().ok());
    let demanded = lock(&shared.token).as_ref().map(|token| format!("Bearer {token}"));
    if demanded.is_some() && authorization != demanded.as_deref() {
        return plain(StatusCode::UNAUTHORIZED, "no such token");
    }
    let (status, text) = take(&mut lock(&shared.ledger), &parts.headers, &bytes);
    match answered {
        faults::Answered::Not => faults::cut(),
        faults::Answered::Soundly => Response::builder()
            .status(status)
            .header("content-type", if status.is_success() { "application/json" } else { "application/problem+json" })
            .body(Body::from(text))
            .expect("a response"),
    }
}

fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    Response::builder().status(status).body(Body::from(text)).expect("a response")
}
