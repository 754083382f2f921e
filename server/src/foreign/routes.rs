//! Their requests.

use axum::{
    Extension,
    body::Bytes,
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
    routing::{MethodRouter, get, post},
};

use super::{
    answer::{Foreign, ForeignProblem, parse},
    clusters,
    ecs::EcsInventory,
    integrations,
    inventories::{self, Wanted},
    kai::InventoryReport,
    kubernetes::KubernetesInventory,
    reads, subscriptions,
};
use crate::{access::Reporter, app::App, http::Problem, ingest::Incoming, metrics::Reported};

/// What Anchore's agents and tools ask, by path.
pub(crate) fn table() -> Vec<(String, MethodRouter<App>)> {
    let table = [
        ("/v1/enterprise/inventories", post(kai).get(inventories::list_v1)),
        ("/v1/enterprise/inventories/clusters", get(clusters::list).post(clusters::create)),
        ("/v1/enterprise/inventories/clusters/{cluster_name}", get(clusters::get).delete(clusters::delete)),
        ("/v2/inventories", get(inventories::list_v2).delete(inventories::delete)),
        ("/v1/enterprise/kubernetes-inventory", post(kubernetes)),
        ("/v2/kubernetes-inventory", post(kubernetes)),
        ("/v1/enterprise/ecs-inventory", post(ecs)),
        ("/v2/ecs-inventory", post(ecs)),
        ("/v2/kubernetes-namespaces", get(reads::namespaces).delete(reads::delete_namespaces)),
        ("/v2/kubernetes-namespaces/{uid}", get(reads::namespace)),
        ("/v2/kubernetes-nodes", get(reads::nodes)),
        ("/v2/kubernetes-nodes/{uid}", get(reads::node)),
        ("/v2/kubernetes-pods", get(reads::pods)),
        ("/v2/kubernetes-pods/{uid}", get(reads::pod)),
        ("/v2/kubernetes-containers", get(reads::containers)),
        ("/v2/ecs-services", get(reads::services)),
        ("/v2/ecs-tasks", get(reads::tasks)),
        ("/v2/ecs-containers", get(reads::ecs_containers)),
        ("/v2/subscriptions", get(subscriptions::list).post(subscriptions::create)),
        ("/v2/subscriptions/{id}", get(subscriptions::get).put(subscriptions::change).delete(subscriptions::delete)),
        ("/v2/system/integrations", get(integrations::list)),
        ("/v2/system/integrations/registration", post(integrations::register)),
        ("/v2/system/integrations/{uuid}", get(integrations::get).delete(integrations::delete)),
        ("/v2/system/integrations/{uuid}/health-report", post(integrations::health)),
    ];
    table.map(|(path, methods)| (path.to_owned(), methods)).into()
}

/// Answers with what is in the inventory by what kai has told of these namespaces: who reports may know no more.
async fn kai(
    Foreign(Reporter(caller)): Foreign<Reporter>,
    State(app): State<App>,
    bytes: Bytes,
) -> Result<Response, ForeignProblem> {
    let report: InventoryReport = parse(&bytes)?;
    let told = report.told();
    let reported = take(&app, caller.account_id, report.incoming(&bytes)).await?;
    let answer = inventories::answer(app, caller.account_id, Wanted::told(told), None).await?;
    Ok((reported, answer).into_response())
}

async fn kubernetes(
    Foreign(Reporter(caller)): Foreign<Reporter>,
    State(app): State<App>,
    bytes: Bytes,
) -> Result<Response, ForeignProblem> {
    let report: KubernetesInventory = parse(&bytes)?;
    if let Some(container) = report.without_pod() {
        return Err(
            Problem::bad_request(format!("container `{container}` is of a pod that the report does not hold")).into()
        );
    }
    let reported = take(&app, caller.account_id, report.incoming(&bytes)).await?;
    Ok((StatusCode::CREATED, reported).into_response())
}

async fn ecs(
    Foreign(Reporter(caller)): Foreign<Reporter>,
    State(app): State<App>,
    bytes: Bytes,
) -> Result<Response, ForeignProblem> {
    let report: EcsInventory = parse(&bytes)?;
    // The agent tries its credentials with a report of no cluster.
    if report.cluster_arn == "validating-creds" {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let reported = take(&app, caller.account_id, report.incoming(&bytes)).await?;
    Ok((StatusCode::NO_CONTENT, reported).into_response())
}

/// Takes a report, and says what became of it for the metrics. A cluster without a name is nobody's.
async fn take(app: &App, account: i64, incoming: Incoming) -> Result<Extension<Reported>, Problem> {
    if incoming.report.agent.hostname.as_deref().is_none_or(str::is_empty) {
        return Err(Problem::bad_request("the report does not name its cluster"));
    }
    Ok(Extension(app.ingest.take(account, &incoming).await?.outcome.into()))
}
