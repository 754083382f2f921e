//! Their requests.

use axum::{
    body::Bytes,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::{ecs::EcsInventory, inventories, kai::InventoryReport, kubernetes::KubernetesInventory};
use crate::{
    access::Reporter,
    app::App,
    http::Problem,
    ingest::{Incoming, has_nul},
};

/// What Anchore's agents post.
pub(crate) fn routes() -> axum::Router<App> {
    axum::Router::new()
        .route("/v1/enterprise/inventories", post(kai).get(inventories::list_v1))
        .route("/v2/inventories", get(inventories::list_v2).delete(inventories::delete))
        .route("/v1/enterprise/kubernetes-inventory", post(kubernetes))
        .route("/v2/kubernetes-inventory", post(kubernetes))
        .route("/v1/enterprise/ecs-inventory", post(ecs))
        .route("/v2/ecs-inventory", post(ecs))
}

/// An error as Anchore's agents and tools print it.
pub(super) struct ForeignProblem(Problem);

impl From<Problem> for ForeignProblem {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl IntoResponse for ForeignProblem {
    fn into_response(self) -> Response {
        let Self(problem) = self;
        let status = problem.status;
        let kind = status.canonical_reason().unwrap_or("error").to_lowercase().replace(' ', "_");
        let body = json!({
            "code": status.as_u16(),
            "httpcode": status.as_u16(),
            "error_type": kind,
            "message": problem.title,
            "detail": {},
        });
        let mut response = problem.into_response();
        let headers = std::mem::take(response.headers_mut());
        let mut answer = (status, axum::Json(body)).into_response();
        if let Some(after) = headers.get("retry-after") {
            answer.headers_mut().insert("retry-after", after.clone());
        }
        answer
    }
}

async fn kai(Reporter(caller): Reporter, State(app): State<App>, bytes: Bytes) -> Result<Response, ForeignProblem> {
    let report: InventoryReport = parse(&bytes)?;
    app.ingest.take(caller.account_id, &named(report.incoming(&bytes))?).await?;
    Ok((StatusCode::OK, axum::Json(json!([]))).into_response())
}

async fn kubernetes(
    Reporter(caller): Reporter,
    State(app): State<App>,
    bytes: Bytes,
) -> Result<StatusCode, ForeignProblem> {
    let report: KubernetesInventory = parse(&bytes)?;
    if let Some(container) = report.without_pod() {
        return Err(
            Problem::bad_request(format!("container `{container}` is of a pod that the report does not hold")).into()
        );
    }
    app.ingest.take(caller.account_id, &named(report.incoming(&bytes))?).await?;
    Ok(StatusCode::CREATED)
}

async fn ecs(Reporter(caller): Reporter, State(app): State<App>, bytes: Bytes) -> Result<StatusCode, ForeignProblem> {
    let report: EcsInventory = parse(&bytes)?;
    // The agent tries its credentials with a report of no cluster.
    if report.cluster_arn != "validating-creds" {
        app.ingest.take(caller.account_id, &named(report.incoming(&bytes))?).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    if has_nul(bytes) {
        return Err(Problem::bad_request("the body has a text with a NUL character in it"));
    }
    let mut json = serde_json::Deserializer::from_slice(bytes);
    serde_path_to_error::deserialize(&mut json)
        .map_err(|error| Problem::bad_request(format!("the body is no report of this kind: {error}")))
}

/// A cluster without a name is nobody's.
fn named(incoming: Incoming) -> Result<Incoming, Problem> {
    match incoming.report.agent.hostname.as_deref() {
        None | Some("") => Err(Problem::bad_request("the report does not name its cluster")),
        Some(_) => Ok(incoming),
    }
}
