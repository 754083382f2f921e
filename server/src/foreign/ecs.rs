//! ecs-inventory's report (`POST /v2/ecs-inventory`): a cluster of Amazon ECS.

use std::collections::{BTreeMap, HashSet};

use jiff::Timestamp;
use serde::Deserialize;
use stocktake_core::{
    labels::Labels,
    model::{Container, Coverage, Pod, Scope, ScopeId, Workload},
};

use super::report::{Told, image};
use crate::ingest::Incoming;

#[derive(Debug, Deserialize)]
pub(super) struct EcsInventory {
    pub(super) cluster_arn: String,
    timestamp: Timestamp,
    #[serde(default)]
    containers: Vec<ReportedContainer>,
    #[serde(default)]
    tasks: Vec<Task>,
    #[serde(default)]
    services: Vec<Service>,
}

#[derive(Debug, Deserialize)]
struct ReportedContainer {
    arn: String,
    image_tag: String,
    image_digest: Option<String>,
    task_arn: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Task {
    arn: String,
    service_arn: Option<String>,
    #[serde(default)]
    tags: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Deserialize)]
struct Service {
    arn: String,
}

impl EcsInventory {
    /// A task is to a cluster of ECS what a pod is to one of Kubernetes, and a service what owns it.
    pub(super) fn incoming(self, request: &[u8]) -> Incoming {
        let mut scope = Scope::default();
        let named: HashSet<&str> = self.tasks.iter().filter_map(|task| task.service_arn.as_deref()).collect();
        for arn in self.services.iter().map(|service| service.arn.as_str()).chain(named) {
            // The agent writes UNKNOWN for a service that it could not find.
            if arn != "UNKNOWN" {
                let kind = "ecs_service".into();
                let (id, uid, name) = (arn.into(), Some(arn.into()), last(arn).into());
                scope.workloads.push(Workload { id, uid, kind, name, ..Workload::default() });
            }
        }
        for Task { arn, service_arn, tags } in &self.tasks {
            let labels = tags.iter().flatten().map(|(key, value)| (key.as_str(), value.as_str()));
            scope.pods.push(Pod {
                uid: arn.as_str().into(),
                name: last(arn).into(),
                workload: service_arn.as_deref().filter(|arn| *arn != "UNKNOWN").map(Into::into),
                labels: labels.collect::<Labels>(),
                ..Pod::default()
            });
        }
        for container in &self.containers {
            let digest = container.image_digest.as_deref().filter(|digest| !digest.is_empty());
            let id = format!("{}@{}", container.image_tag, digest.unwrap_or_default());
            scope.images.push(image(id.clone(), &container.image_tag, digest));
            scope.containers.push(Container {
                id: Some(container.arn.as_str().into()),
                name: last(&container.arn).into(),
                pod_uid: container.task_arn.as_deref().map(Into::into),
                image: Some(container.image_tag.as_str().into()),
                image_ref: Some(id.into()),
                ..Container::default()
            });
        }
        let scopes = vec![(ScopeId::cluster(), Coverage::Complete, scope)];
        let (kind, runtime) = ("ecs-inventory", "ecs");
        Told { kind, runtime, cluster: self.cluster_arn, timestamp: Some(self.timestamp), scopes }.incoming(request)
    }
}

/// What stands behind the last slash of an ARN.
fn last(arn: &str) -> &str {
    arn.rsplit_once('/').map_or(arn, |(_, name)| name)
}
