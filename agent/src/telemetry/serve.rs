//! Answering over HTTP how the agent is.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
    serve::Listener,
};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::task::JoinSet;

use super::{
    Telemetry,
    exposition::{OPEN_METRICS, exposed},
    socket::{self, SocketFile},
};
use crate::{
    config::{DEFAULT_LISTEN, Place, TelemetrySettings},
    isolate::Bound,
};

/// Who is connected at a time. Others wait.
const CONNECTIONS_AT_MOST: usize = 64;

/// How long a request may take to arrive, and a connection may be idle.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why it cannot be answered how the agent is.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    #[error("cannot serve health and metrics at {address} (`listen` of `[telemetry]`; `off` to do without): {source}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("cannot serve the status at {path} (`socket` of `[telemetry]`; `off` to do without): {source}")]
    Socket { path: String, source: io::Error },
    #[error("cannot send traces to {endpoint} (`otlp_endpoint` of `[telemetry]`): {reason}")]
    Traces { endpoint: String, reason: String },
}

/// What answers. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Serving {
    settings: TelemetrySettings,
    telemetry: Telemetry,
    /// Where it can be reached.
    address: Option<SocketAddr>,
    _tasks: Vec<Bound<()>>,
    _file: Option<SocketFile>,
}

/// Answers how the agent is, where the settings say. Has to be called within a runtime.
///
/// What the settings name has to work. Of what they do not name a part may be missing, which is logged: another agent on the
/// same machine has what it usually has.
pub(crate) fn serve(settings: &TelemetrySettings, telemetry: &Telemetry) -> Result<Serving, ServeError> {
    let (mut tasks, mut address) = (Vec::new(), None);
    if let Some(listener) = listen(&settings.listen)? {
        address = listener.local_addr().ok();
        tasks.push(Bound(tokio::spawn(answer(listener, router(telemetry, false)))));
    }
    let mut file = None;
    if let Some((listener, of_listener)) = socket::listen(&settings.socket)? {
        file = Some(of_listener);
        tasks.push(Bound(tokio::spawn(answer(listener, router(telemetry, true)))));
    }
    if let Some(endpoint) = &settings.otlp_endpoint {
        telemetry.trace_to(endpoint).map_err(|reason| ServeError::Traces { endpoint: endpoint.clone(), reason })?;
    }
    let telemetry = telemetry.clone();
    let serving = Serving { settings: settings.clone(), telemetry, address, _tasks: tasks, _file: file };
    tracing::info!(address = ?serving.address, "health and metrics are served");
    Ok(serving)
}

impl Serving {
    /// Where health and metrics are served.
    #[cfg(test)]
    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Complains if it is to be otherwise from now on, which only another agent can do.
    pub(crate) fn keep(&self, settings: &TelemetrySettings) {
        if *settings != self.settings {
            tracing::warn!("what `[telemetry]` says now counts when the agent is started again");
        }
    }

    /// Ends it, and sends what is left of traces.
    pub(crate) async fn stop(self) {
        let telemetry = self.telemetry.clone();
        drop(self);
        // It may wait for a receiver.
        let _ = tokio::task::spawn_blocking(move || telemetry.stop_tracing()).await;
    }
}

fn listen(place: &Place<SocketAddr>) -> Result<Option<tokio::net::TcpListener>, ServeError> {
    let (address, is_wanted) = match place {
        Place::Off => return Ok(None),
        Place::Usual => (DEFAULT_LISTEN, false),
        Place::At(address) => (*address, true),
    };
    let listening = TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        tokio::net::TcpListener::from_std(listener)
    });
    match listening {
        Ok(listener) => Ok(Some(listener)),
        Err(source) if is_wanted => Err(ServeError::Listen { address, source }),
        Err(source) => {
            tracing::warn!("{}", ServeError::Listen { address, source });
            Ok(None)
        }
    }
}

fn router(telemetry: &Telemetry, is_socket: bool) -> Router {
    let router =
        Router::new().route("/livez", get(livez)).route("/readyz", get(readyz)).route("/metrics", get(metrics));
    // What hosts and targets say of themselves is for who may read the agent's files.
    let router = if is_socket { router.route("/status", get(status)) } else { router };
    router
        .fallback(async || (StatusCode::NOT_FOUND, "there is /livez, /readyz and /metrics\n"))
        .with_state(telemetry.clone())
}

pub(super) async fn answer(mut listener: impl Listener, router: Router) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            (stream, _) = listener.accept(), if connections.len() < CONNECTIONS_AT_MOST => {
                let service = TowerToHyperService::new(router.clone());
                let mut builder = http1::Builder::new();
                builder.timer(TokioTimer::new()).header_read_timeout(PATIENCE);
                let connection = builder.serve_connection(TokioIo::new(stream), service);
                connections.spawn(async move {
                    if let Err(error) = connection.await {
                        tracing::debug!("a connection that asked how the agent is ended: {error}");
                    }
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn livez(State(telemetry): State<Telemetry>) -> Response {
    if telemetry.is_alive() {
        "alive\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "what reports has done nothing for too long; the log may say why\n")
            .into_response()
    }
}

async fn readyz(State(telemetry): State<Telemetry>) -> Response {
    let status = telemetry.status();
    let (code, word) =
        if status.ready { (StatusCode::OK, "ready") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ready") };
    let mut body = format!("{word}\n");
    for reason in &status.reasons {
        body.push_str(reason);
        body.push('\n');
    }
    for remark in &status.remarks {
        body.push_str("remark: ");
        body.push_str(remark);
        body.push('\n');
    }
    (code, body).into_response()
}

async fn metrics(State(telemetry): State<Telemetry>, headers: HeaderMap) -> Response {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    match exposed(&telemetry, accepted.into_iter().any(|value| value.contains(OPEN_METRICS))) {
        Ok((body, media_type)) => ([(header::CONTENT_TYPE, media_type)], body).into_response(),
        Err(error) => {
            tracing::error!("cannot write metrics: {error}; report this");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

async fn status(State(telemetry): State<Telemetry>) -> Response {
    match serde_json::to_string(&telemetry.status()) {
        Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(error) => {
            tracing::error!("cannot write the status: {error}; report this");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
