//! kai's report: images by namespace (`POST /v1/enterprise/inventories`; kai 0.2 to 0.5).

use jiff::Timestamp;
use serde::Deserialize;
use stocktake_core::model::{Coverage, Scope, ScopeId};

use super::{
    inventories::Told,
    report::{self, image},
};
use crate::ingest::Incoming;

/// What its reports are kept as.
pub(super) const COLLECTOR: &str = "kai";

#[derive(Debug, Deserialize)]
pub(super) struct InventoryReport {
    pub(super) cluster_name: String,
    /// kai says `kubernetes`; anything may stand here.
    #[serde(default)]
    pub(super) inventory_type: String,
    #[serde(default)]
    timestamp: Option<Timestamp>,
    #[serde(default)]
    results: Vec<Namespace>,
}

#[derive(Debug, Deserialize)]
struct Namespace {
    /// Omitted when it is empty.
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    images: Option<Vec<ReportedImage>>,
}

#[derive(Debug, Deserialize)]
struct ReportedImage {
    #[serde(default)]
    tag: String,
    #[serde(default, rename = "repoDigest")]
    repo_digest: Option<String>,
}

impl InventoryReport {
    /// What it tells of.
    pub(super) fn told(&self) -> Told {
        let context = |Namespace { namespace, .. }: &Namespace| match namespace.as_str() {
            "" => self.cluster_name.clone(),
            namespace => format!("{}/{namespace}", self.cluster_name),
        };
        let contexts = self.results.iter().map(context).collect();
        Told { collector: COLLECTOR, cluster: self.cluster_name.clone(), contexts }
    }

    pub(super) fn incoming(self, request: &[u8]) -> Incoming {
        let scopes = self.results.into_iter().map(|Namespace { namespace, images }| {
            let images = images.unwrap_or_default().into_iter().map(|ReportedImage { tag, repo_digest }| {
                let id = format!("{tag}@{}", repo_digest.as_deref().unwrap_or_default());
                image(id, &tag, repo_digest.as_deref().filter(|digest| !digest.is_empty()))
            });
            let id = if namespace.is_empty() { ScopeId::cluster() } else { ScopeId::namespace(namespace) };
            (id, Coverage::Complete, Scope { images: images.collect(), ..Scope::default() })
        });
        let scopes = scopes.collect();
        let runtime = if self.inventory_type == "ecs" { "ecs" } else { "kubernetes" };
        report::Told { kind: COLLECTOR, runtime, cluster: self.cluster_name, timestamp: self.timestamp, scopes }
            .incoming(request)
    }
}
