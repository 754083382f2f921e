//! The cluster's own objects: nodes and namespaces.

use std::collections::BTreeSet;

use stocktake_core::{
    CollectError, ObservedScope,
    model::{Coverage, Namespace, Node, Scope, ScopeId, Text},
    select::NameSelector,
};

use crate::{
    api::Api,
    convert::{convert_namespace, convert_node},
    error::{Failure, FailureKind},
    list::{Query, Way, list_all},
};

/// What was seen of the cluster as a whole.
pub(crate) struct ClusterView {
    pub(crate) scope: ObservedScope,
    /// The names of all namespaces, selected or not; why not, if they could not be listed.
    pub(crate) namespaces: Result<BTreeSet<Text>, CollectError>,
}

/// Lists nodes and namespaces; in the scope's body only the selected ones.
///
/// An error means that the API server answers nobody, or not these credentials: there is no point in asking on.
pub(crate) async fn look(api: &Api, selector: &NameSelector) -> Result<ClusterView, CollectError> {
    let namespaces = passable(list_all(api, Query::core("namespaces"), Way::Cache, convert_namespace).await)?;
    let nodes = list_all(api, Query::core("nodes"), Way::Cache, convert_node).await.map_err(CollectError::from);

    Ok(view(nodes, namespaces, selector))
}

/// The cluster's scope, as far as it could be seen.
pub(crate) fn view(
    nodes: Result<Vec<Node>, CollectError>,
    namespaces: Result<Vec<Namespace>, CollectError>,
    selector: &NameSelector,
) -> ClusterView {
    let coverage = match (&nodes, &namespaces) {
        (Ok(_), Ok(_)) => Coverage::Complete,
        (Err(nodes), Err(namespaces)) => {
            let reason = format!("{}; {}", nodes.full_message(), namespaces.full_message());
            let is_denied = |error| matches!(error, &CollectError::Denied { .. });
            if is_denied(nodes) && is_denied(namespaces) {
                Coverage::Denied { reason }
            } else {
                Coverage::Failed { reason }
            }
        }
        (Err(error), Ok(_)) => Coverage::Partial { reason: format!("without nodes: {}", error.full_message()) },
        (Ok(_), Err(error)) => Coverage::Partial { reason: format!("without namespaces: {}", error.full_message()) },
    };
    let mut body = Scope { nodes: nodes.unwrap_or_default(), ..Scope::default() };
    let namespaces = namespaces.map(|namespaces| {
        let names = namespaces.iter().map(|namespace| namespace.name.clone()).collect();
        body.namespaces = namespaces.into_iter().filter(|namespace| selector.matches(&namespace.name)).collect();
        names
    });
    ClusterView { scope: ObservedScope { id: ScopeId::cluster(), coverage, body }, namespaces }
}

/// Takes apart the failures after which other requests may still succeed.
fn passable<T>(result: Result<T, Failure>) -> Result<Result<T, CollectError>, CollectError> {
    match result {
        Err(Failure { kind: FailureKind::Unreachable | FailureKind::Silent | FailureKind::Unauthenticated, error }) => {
            Err(error)
        }
        other => Ok(other.map_err(CollectError::from)),
    }
}
