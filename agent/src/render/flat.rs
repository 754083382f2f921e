//! A container as a flat record: the columns of the CSV, and the properties of a CycloneDX component.

use stocktake_core::{
    model::{DigestFact, UnifiedImage},
    unify::ContainerView,
};

/// A field: its name, and what a container has for it. What is not known is absent.
pub(super) type Field = (&'static str, fn(&ContainerView<'_>) -> Option<String>);

/// The fields in the order in which they are written. Names and order stay: a new one comes last.
pub(super) const FIELDS: [Field; 25] = [
    ("cluster", |view| of_cluster(view, |cluster| cluster.name.clone())),
    ("cluster_uid", |view| of_cluster(view, |cluster| cluster.uid.clone())),
    ("host", |view| view.seen.iter().find_map(|seen| seen.source.host.as_ref()?.hostname.clone())),
    ("node", |view| view.node_name().map(str::to_owned)),
    ("scope", |view| view.seen.first().map(|seen| seen.entry.id.to_string())),
    ("namespace", |view| view.pod().map(|pod| pod.namespace.to_string())),
    ("workload_kind", |view| view.workload().map(|workload| workload.kind.to_string())),
    ("workload_namespace", |view| {
        view.workload().and_then(|workload| workload.namespace.as_ref()).map(ToString::to_string)
    }),
    ("workload", |view| view.workload().map(|workload| workload.name.to_string())),
    ("pod", |view| view.pod().map(|pod| pod.name.to_string())),
    ("pod_uid", |view| view.pod().map(|pod| pod.uid.to_string())),
    ("container", |view| Some(view.container.name.to_string())),
    ("container_id", |view| view.container.id.as_ref().map(ToString::to_string)),
    ("kind", |view| Some(view.container.kind.to_string())),
    ("state", |view| Some(view.container.state.to_string())),
    ("state_reason", |view| view.container.state_reason.as_ref().map(ToString::to_string)),
    ("started_at", |view| view.container.started_at.map(|time| time.to_string())),
    ("image", |view| view.container.image.as_ref().map(ToString::to_string)),
    ("image_missing", |view| view.container.image_missing.map(|reason| reason.to_string())),
    ("platform", |view| view.image.and_then(|image| Some(image.image.platform.as_ref()?.to_string()))),
    ("repo_digest", |view| view.container.repo_digest.as_ref().map(ToString::to_string)),
    ("index_digest", |view| digest(view.image, |image| &image.image.index_digest)),
    ("manifest_digest", |view| digest(view.image, |image| &image.image.manifest_digest)),
    ("config_digest", |view| digest(view.image, |image| &image.image.config_digest)),
    ("collectors", |view| Some(view.collectors().join(" "))),
];

fn of_cluster(
    view: &ContainerView<'_>,
    field: fn(&stocktake_core::model::Cluster) -> Option<String>,
) -> Option<String> {
    view.seen.iter().find_map(|seen| seen.source.cluster.as_ref()).and_then(field)
}

fn digest(image: Option<&UnifiedImage>, of: fn(&UnifiedImage) -> &DigestFact) -> Option<String> {
    image.and_then(|image| of(image).digest()).map(ToString::to_string)
}
