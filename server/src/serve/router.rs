//! What is served at which path, and what every request goes through.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    panic::AssertUnwindSafe,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, DefaultBodyLimit, MatchedPath, Request, State},
    http::{Method, StatusCode, header},
    middleware::{Next, from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get},
};
use futures_util::{FutureExt as _, TryStreamExt as _};
use http_body_util::{BodyExt as _, Limited};
use tokio::sync::Semaphore;
use tower_http::{compression::CompressionLayer, decompression::RequestDecompressionLayer};
use utoipa_axum::router::OpenApiRouter;

use super::{
    body::{Punctual, Shared},
    bounds::Bounds,
    health,
    rate::Rate,
};
use crate::{
    access, agentless, api,
    app::App,
    config::{Limits, Settings},
    foreign,
    http::Problem,
    ingest,
    memory::{self, Memory},
    metrics::{Protocol, Reported},
};

/// How long a request waits for its turn.
const TURN: Duration = Duration::from_secs(10);

/// How long the text of an error may be that somebody else than us has written.
const ERROR_TEXT: usize = 4096;

/// Paths, and what is served at each.
type Table = Vec<(String, MethodRouter<App>)>;

/// All that is served, a line for each room.
pub(super) fn router(app: App, settings: &Settings, bounds: Bounds) -> Router {
    let rooms = api::described(documented()).merge(served(foreign::table()));
    around(rooms, app, settings, bounds)
}

/// The same, bounded by what it has alone.
#[cfg(test)]
pub(crate) fn alone(app: App, settings: &Settings) -> Router {
    router(app, settings, Bounds::new(&settings.limits))
}

/// The rooms that describe themselves.
fn documented() -> OpenApiRouter<App> {
    api::routes().merge(access::routes()).merge(agentless::routes()).merge(ingest::routes())
}

fn served(table: Table) -> Router<App> {
    table.into_iter().fold(Router::new(), |router, (path, methods)| router.route(&path, methods))
}

/// What is served to whoever watches over the server, at an address of its own.
pub(super) fn health(app: App, settings: &Settings, bounds: Bounds) -> Router {
    finished(limited(served(metrics(settings)), &settings.limits, bounds), app)
}

/// What belongs to no room, and is bounded as they are.
fn beside(settings: &Settings) -> Table {
    let version = ("/version".to_owned(), get(health::version));
    metrics(settings).into_iter().chain([version]).collect()
}

fn metrics(settings: &Settings) -> Table {
    let metrics = if settings.metrics.public { get(health::public_metrics) } else { get(health::metrics) };
    vec![("/metrics".to_owned(), metrics)]
}

/// What is asked by whoever watches over the server, and never has to wait.
fn open() -> Table {
    vec![("/livez".to_owned(), get(health::livez)), ("/readyz".to_owned(), get(health::readyz))]
}

/// Every path that [`router`] serves, with the names of its parameters.
#[cfg(test)]
pub(crate) fn paths() -> Vec<String> {
    let (_, document) = documented().split_for_parts();
    let tables = [foreign::table(), beside(&Settings::default()), open()];
    let of_tables = tables.into_iter().flatten().map(|(path, _)| path);
    document.paths.paths.into_keys().chain([api::DOCUMENT.to_owned()]).chain(of_tables).collect()
}

/// The rooms, what is asked without credentials, and what every request goes through.
pub(super) fn around(rooms: Router<App>, app: App, settings: &Settings, bounds: Bounds) -> Router {
    let rooms = rooms.route_layer(from_fn_with_state(app.clone(), access::audited));
    finished(limited(rooms.merge(served(beside(settings))), &settings.limits, bounds), app)
}

fn finished(limited: Router<App>, app: App) -> Router {
    limited
        .merge(served(open()).method_not_allowed_fallback(wrong_method))
        .layer(from_fn(caught))
        .layer(CompressionLayer::new())
        .layer(from_fn_with_state(app.clone(), observed))
        .with_state(app)
}

/// What one client can take from the others is bounded. The outermost layer is the last.
fn limited(router: Router<App>, limits: &Limits, Bounds { requests, rate, memory }: Bounds) -> Router<App> {
    let bytes = |size: bytesize::ByteSize| usize::try_from(size.as_u64()).unwrap_or(usize::MAX);
    router
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn_with_state(bytes(limits.decompressed_bytes), not_too_long))
        .layer(RequestDecompressionLayer::new())
        .layer(from_fn_with_state((bytes(limits.request_bytes), limits.body_timeout), as_it_comes))
        .layer(from_fn_with_state(memory, within_memory))
        .layer(from_fn_with_state(requests, in_turn))
        .layer(from_fn_with_state(rate, not_too_often))
        .layer(from_fn_with_state((bytes(limits.request_bytes), limits.body_timeout), read_to_its_end))
        .layer(from_fn(as_problem))
}

async fn unknown_path() -> Problem {
    Problem::not_found("there is nothing at this path")
}

async fn wrong_method(method: Method) -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        format!("this path does not take {method}; `Allow` says what it takes"),
    )
}

async fn not_too_long(State(most): State<usize>, request: Request, next: Next) -> Response {
    next.run(request.map(|body| Body::new(Limited::new(held(body).map_err(innermost), most)))).await
}

/// A body whose parts wait until there is room for them.
fn held(body: Body) -> Body {
    Body::from_stream(body.into_data_stream().and_then(async |part| {
        memory::hold(part.len()).await.map_err(axum::Error::new)?;
        Ok(part)
    }))
}

async fn within_memory(State(memory): State<Memory>, request: Request, next: Next) -> Response {
    // A body that cannot be read is told as one that is wrong, which it is not.
    memory.within(next.run(request), |problem, _| problem.into_response()).await
}

/// The error within axum's own: how many of those are around it is how often a body was passed on, and an extractor that is to
/// tell one that is too long from one that is broken looks into two.
fn innermost(error: axum::Error) -> axum::BoxError {
    let mut inner = error.into_inner();
    loop {
        match inner.downcast::<axum::Error>() {
            Ok(error) => inner = error.into_inner(),
            Err(other) => return other,
        }
    }
}

/// How much of a body is read that nobody wants: so many times what it may have.
const UNWANTED: usize = 4;

async fn read_to_its_end(State((most, patience)): State<(usize, Duration)>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let (body, rest) = Shared::new(body);
    let response = next.run(Request::from_parts(parts, Body::new(body))).await;
    // Whoever is slow with it has had that time already.
    let _ = tokio::time::timeout(patience, rest.forget(most.saturating_mul(UNWANTED))).await;
    response
}

async fn as_it_comes(State((most, patience)): State<(usize, Duration)>, request: Request, next: Next) -> Response {
    let declared = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if declared.is_some_and(|declared: usize| declared > most) {
        let title = format!("a request's body may have {most} bytes at the most; send less at once");
        return Problem::new(StatusCode::PAYLOAD_TOO_LARGE, title).into_response();
    }
    let is_late = Arc::default();
    let body = |body| Punctual::new(Body::new(Limited::new(body, most)), patience, Arc::clone(&is_late));
    let response = next.run(request.map(|inner| Body::new(body(inner)))).await;
    if is_late.load(Relaxed) && !response.status().is_success() {
        // Nothing is wrong with what was sent: who takes it for that would not send it again.
        let title = "the body came too slowly; try again later";
        return Problem::new(StatusCode::REQUEST_TIMEOUT, title).into_response();
    }
    response
}

async fn not_too_often(State(rate): State<Arc<Option<Rate>>>, request: Request, next: Next) -> Response {
    let address = client(&request);
    match rate.as_ref().as_ref().map(|rate| rate.take(address, Instant::now())) {
        Some(Err(wait)) => {
            let title = "too many requests come from this address; try again later";
            Problem::new(StatusCode::TOO_MANY_REQUESTS, title).later(wait.as_secs() + 1).into_response()
        }
        _ => next.run(request).await,
    }
}

async fn in_turn(State(requests): State<Arc<Semaphore>>, request: Request, next: Next) -> Response {
    let Ok(Ok(_turn)) = tokio::time::timeout(TURN, requests.acquire_owned()).await else {
        let title = "the server is busy; try again later";
        return Problem::new(StatusCode::SERVICE_UNAVAILABLE, title).later(5).into_response();
    };
    next.run(request).await
}

/// A handler that panics fails its request and no other. What it says is in the log.
async fn caught(request: Request, next: Next) -> Response {
    AssertUnwindSafe(next.run(request)).catch_unwind().await.unwrap_or_else(|_| {
        let title = "the server has an error, which is in its log; report it";
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, title).into_response()
    })
}

/// Errors that libraries answer with, as text or with nothing, in the form of all others.
async fn as_problem(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let is_text = match response.headers().get(header::CONTENT_TYPE) {
        Some(kind) => kind.as_bytes().starts_with(b"text/plain"),
        None => true,
    };
    if response.status().as_u16() < 400 || !is_text {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let text = axum::body::to_bytes(body, ERROR_TEXT).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let title = if text.is_empty() { parts.status.canonical_reason().unwrap_or("error") } else { text.trim_end() };
    let problem = Problem::new(parts.status, title).into_response();
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.extend(problem.headers().clone());
    Response::from_parts(parts, problem.into_body())
}

/// Logs a request, and counts it.
async fn observed(State(app): State<App>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let route =
        request.extensions().get::<MatchedPath>().map_or_else(|| "none".to_owned(), |path| path.as_str().to_owned());
    let method = match *request.method() {
        Method::GET | Method::HEAD | Method::POST | Method::PUT | Method::PATCH | Method::DELETE | Method::OPTIONS => {
            request.method().to_string()
        }
        _ => "other".to_owned(),
    };
    let (client, path) = (client(&request), request.uri().path().to_owned());
    let response = next.run(request).await;
    let (status, took) = (response.status().as_u16(), began.elapsed());
    app.metrics.request(&method, &route, status, took);
    if let Some(protocol) = Protocol::of(&method, &route) {
        // A success without it was no report: ecs-inventory tries its credentials.
        let told = response.extensions().get::<Reported>().copied();
        let refused = (!response.status().is_success()).then(|| Reported::by(response.status()));
        if let Some(what) = told.or(refused) {
            app.metrics.report(protocol, what);
        }
    }
    tracing::debug!(%client, method, path, status, milliseconds = took.as_millis(), "request");
    response
}

fn client(request: &Request) -> IpAddr {
    let info = request.extensions().get::<ConnectInfo<SocketAddr>>();
    info.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |ConnectInfo(address)| address.ip())
}
