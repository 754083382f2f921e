//! What is asked without credentials: whether the server lives, whether it can serve, what it is, and how it fares.

use std::time::Duration;

use axum::{
    Json,
    extract::{FromRequestParts as _, Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;

use crate::{access::Reader, agentless, app::App, http::Problem, metrics::OPEN_METRICS};

/// How long the database may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// The version of Anchore Enterprise that agents are told they speak to. From 5.11 on k8s-inventory (1.7.0 and later) registers and
/// says how it is, and ends if that fails. ecs-inventory (1.5.0 and later) does so from 6.2 on, and k8s-inventory wants applications
/// from 6.0 on, which there are none of here: so it is the first version that has all that is served.
const AS_ANCHORE: &str = "5.11.0";

pub(super) async fn livez() -> &'static str {
    "alive\n"
}

pub(super) async fn readyz(State(app): State<App>) -> Response {
    let unready = |reason: String| (StatusCode::SERVICE_UNAVAILABLE, format!("not ready\n{reason}\n")).into_response();
    let wanted = app.database.schema_wanted();
    match tokio::time::timeout(PATIENCE, app.database.schema_version()).await {
        // A newer one is that of a replica that was renewed already.
        Ok(Ok(version)) if version >= wanted => "ready\n".into_response(),
        Ok(Ok(version)) => unready(format!("the schema's version is {version}, and has to be {wanted}")),
        Ok(Err(error)) => {
            tracing::warn!("not ready: the database cannot be used: {error}");
            unready("the database cannot be used".to_owned())
        }
        Err(_) => {
            tracing::warn!("not ready: the database does not answer");
            unready(format!("the database does not answer within {} s", PATIENCE.as_secs()))
        }
    }
}

/// As Anchore's: agents choose by it between v1 and v2, and whether to register.
pub(super) async fn version(State(app): State<App>) -> Response {
    let body = json!({
        "api": { "version": "2" },
        "db": { "schema_version": app.database.schema_wanted().to_string() },
        "service": { "version": AS_ANCHORE },
        "stocktake": { "version": env!("CARGO_PKG_VERSION") },
    });
    Json(body).into_response()
}

/// For everybody.
pub(super) async fn public_metrics(State(app): State<App>, request: Request) -> Response {
    exposed(&app, wants_open_metrics(request.headers())).await
}

/// For who may read.
pub(super) async fn metrics(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let (mut parts, _) = request.into_parts();
    let Reader(_) = Reader::from_request_parts(&mut parts, &app).await?;
    Ok(exposed(&app, wants_open_metrics(&parts.headers)).await)
}

fn wants_open_metrics(headers: &HeaderMap) -> bool {
    let mut accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.any(|value| value.contains(OPEN_METRICS))
}

async fn exposed(app: &App, is_open_metrics: bool) -> Response {
    // What only the database knows is missing where it does not answer, and the rest is not.
    let states = tokio::time::timeout(PATIENCE, agentless::states(&app.database)).await;
    let sources = states.ok().and_then(Result::ok).unwrap_or_default();
    match app.metrics.exposed(&app.database, &sources, is_open_metrics) {
        Ok((body, media_type)) => ([(header::CONTENT_TYPE, media_type)], body).into_response(),
        Err(error) => {
            tracing::error!("cannot write metrics: {error}; report this");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
