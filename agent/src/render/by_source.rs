//! For people: a section a source, a line for each container that it saw.

use std::{collections::HashMap, io};

use jiff::Timestamp;
use stocktake_core::{
    identity::choose_repo_digest,
    model::{ContainerKind, Coverage, Image, Inventory, Pod, Scope, ScopeEntry, ScopeKind, Source, Workload},
};

use super::{
    layout::{paragraph, write},
    line::{Digests, Line, Summary, age, columns, container_name, image_name, pod_name, short_id, why, workload_name},
    plain::plain,
};

/// Writes all sources, one after the other.
pub(crate) fn by_source(inventory: &Inventory, width: Option<usize>, out: &mut impl io::Write) -> io::Result<()> {
    for (index, source) in inventory.report.sources.iter().enumerate() {
        if index > 0 {
            writeln!(out)?;
        }
        section(inventory, source, width, out)?;
    }
    Ok(())
}

fn section(inventory: &Inventory, source: &Source, width: Option<usize>, out: &mut impl io::Write) -> io::Result<()> {
    let body = |entry: &ScopeEntry| entry.digest.as_ref().and_then(|digest| inventory.scopes.get(digest));
    let scopes: Vec<(&ScopeEntry, &Scope)> =
        source.scopes.iter().filter_map(|entry| Some((entry, body(entry)?))).collect();

    let heading = describe(source).map_or_else(String::new, |what| format!(": {what}"));
    writeln!(out, "{}", plain(&format!("{}{heading}", source.collector)))?;
    let lines: Vec<Line> = scopes.iter().flat_map(|(entry, scope)| lines(entry, scope, source.observed_at)).collect();
    if !lines.is_empty() {
        write(columns(&lines, width), 2, width, out)?;
    }
    if !scopes.is_empty() {
        let mut summary = Summary::default();
        for container in scopes.iter().flat_map(|(_, scope)| &scope.containers) {
            summary.add(container.kind, container.state, container.image_ref.as_deref());
        }
        paragraph(&summary.to_string(), 2, width, out)?;
    }
    incomplete(source, |status, what, reason| paragraph(&format!("{status} {what}: {reason}"), 2, width, out))
}

/// Which runtime it is and where, as far as that is known.
pub(crate) fn describe(source: &Source) -> Option<String> {
    let runtime = source.runtime.as_ref().map(|runtime| format!("{} {}", runtime.name, runtime.version));
    let what: Vec<String> = runtime.into_iter().chain(place(source)).collect();
    (!what.is_empty()).then(|| what.join(", "))
}

/// The cluster or host that a source looks at.
pub(crate) fn place(source: &Source) -> Option<String> {
    let cluster = source.cluster.as_ref().and_then(|cluster| cluster.name.as_ref().or(cluster.uid.as_ref()));
    let host = source.host.as_ref().and_then(|host| host.hostname.as_ref().or(host.machine_id.as_ref()));
    cluster.map(|name| format!("cluster {name}")).or_else(|| host.map(|name| format!("host {name}")))
}

/// What was not seen, and why. It belongs to the data: a table without it would pass for the whole.
pub(crate) fn incomplete(source: &Source, mut line: impl FnMut(&str, &str, &str) -> io::Result<()>) -> io::Result<()> {
    let mut tell = |what: &str, coverage: &Coverage| match coverage.reason() {
        Some(reason) => line(&coverage.status().to_uppercase(), what, reason),
        None => Ok(()),
    };
    tell("source", &source.coverage)?;
    source.scopes.iter().try_for_each(|entry| tell(&entry.id.to_string(), &entry.coverage))
}

fn lines(entry: &ScopeEntry, scope: &Scope, observed_at: Timestamp) -> Vec<Line> {
    let pods: HashMap<&str, &Pod> = scope.pods.iter().map(|pod| (pod.uid.as_str(), pod)).collect();
    let images: HashMap<&str, &Image> = scope.images.iter().map(|image| (image.id.as_str(), image)).collect();
    let workloads: HashMap<&str, &Workload> =
        scope.workloads.iter().map(|workload| (workload.id.as_str(), workload)).collect();
    let namespace = if entry.id.kind == ScopeKind::Namespace { entry.id.name.as_str() } else { "" };
    let mut lines: Vec<_> = scope
        .containers
        .iter()
        .filter(|container| container.kind != ContainerKind::Sandbox)
        .map(|container| {
            let pod = container.pod_uid.as_deref().and_then(|uid| pods.get(uid).copied());
            let workload = container.workload.as_deref().or_else(|| pod.and_then(|pod| pod.workload.as_deref()));
            let image = container.image_ref.as_deref().and_then(|id| images.get(id).copied());
            let requested = container.image.as_deref();
            let repo = image.and_then(|image| choose_repo_digest(&image.repo_digests, requested));
            let since = container.started_at.or(container.created_at);
            // The pods of a node are of many namespaces.
            let of_pod = pod.filter(|_| entry.id.kind == ScopeKind::Node).map(|pod| pod.namespace.as_str());
            let namespace = of_pod.unwrap_or(namespace);
            let line = Line {
                namespace: namespace.to_owned(),
                pod: pod_name(pod, namespace),
                name: container_name(&container.name, container.id.as_deref(), container.kind),
                state: container.state.as_str(),
                why: why(container.state_reason.as_deref(), container),
                image: image_name(requested, image),
                digests: Digests::of(image, container.image_missing, repo),
                workload: workload_name(workload.and_then(|id| workloads.get(id).copied())),
                node: container.node_name.as_deref().unwrap_or_default().to_owned(),
                id: short_id(container.id.as_deref()),
                seen_by: String::new(),
                age: since.map(|since| age(observed_at.as_second() - since.as_second())).unwrap_or_default(),
            };
            ((pod.map(|pod| (&pod.namespace, &pod.name)), container.kind, &container.name), line)
        })
        .collect();
    lines.sort_by_key(|(key, _)| *key);
    lines.into_iter().map(|(_, line)| line).collect()
}
