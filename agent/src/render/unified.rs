//! For people: each container once, by where it runs, and what its sources do not agree on.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

use stocktake_core::{
    model::{ContainerKind, Finding, FindingKind, ScopeKind, Source, VantagePoint},
    unify::{ContainerView, UnifiedView},
};

use super::{
    by_source::{incomplete, place},
    layout::{paragraph, write},
    line::{
        Digests, Line, Summary, age, columns, container_name, count, image_name, pod_name, short_id, why, workload_name,
    },
};

/// Names that are written out of those that a finding is about.
const NAMED: usize = 4;

/// Writes a section a cluster and host, then the findings.
pub(crate) fn unified(view: &UnifiedView<'_>, width: Option<usize>, out: &mut impl io::Write) -> io::Result<()> {
    let mut sections: BTreeMap<Option<String>, Section<'_, '_>> = BTreeMap::new();
    for source in &view.inventory.report.sources {
        sections.entry(place(source)).or_default().sources.push(source);
    }
    for container in &view.containers {
        // Orchestrators come first: what belongs to a cluster is told there, on whatever host it runs.
        let place = container.seen.first().and_then(|seen| place(seen.source));
        sections.entry(place).or_default().containers.push(container);
    }
    // What failed, or may not say who it is, comes last.
    let unknown = sections.remove(&None);
    let known = sections.into_iter().map(|(place, section)| (place.unwrap_or_default(), section));
    let all = known.chain(unknown.map(|section| ("place not known".to_owned(), section)));
    for (index, (place, section)) in all.enumerate() {
        if index > 0 {
            writeln!(out)?;
        }
        section.write(&place, width, out)?;
    }
    findings(view, width, out)
}

#[derive(Default)]
struct Section<'v, 'a> {
    sources: Vec<&'a Source>,
    containers: Vec<&'v ContainerView<'a>>,
}

impl Section<'_, '_> {
    fn write(&self, place: &str, width: Option<usize>, out: &mut impl io::Write) -> io::Result<()> {
        let runtimes = self.sources.iter().filter_map(|source| {
            let runtime = source.runtime.as_ref()?;
            let name =
                if runtime.name == source.collector { String::new() } else { format!("{} is ", source.collector) };
            Some(format!("{name}{} {}", runtime.name, runtime.version))
        });
        let runtimes: Vec<String> = runtimes.collect();
        let runtimes = if runtimes.is_empty() { String::new() } else { format!(": {}", runtimes.join(", ")) };
        paragraph(&format!("{place}{runtimes}"), 0, width, out)?;
        let mut lines: Vec<Line> = self
            .containers
            .iter()
            .filter(|view| view.container.kind != ContainerKind::Sandbox)
            .map(|v| line(v))
            .collect();
        // One source for all says nothing with each.
        let who: BTreeSet<String> = lines.iter().map(|line| line.seen_by.clone()).collect();
        if who.len() == 1 && who.iter().all(|who| !who.contains(',')) {
            for line in &mut lines {
                line.seen_by.clear();
            }
        }
        if !lines.is_empty() {
            write(columns(&lines, width), 2, width, out)?;
        }
        if self.sources.iter().any(|source| source.scopes.iter().any(|scope| scope.digest.is_some())) {
            let mut summary = Summary::default();
            for ContainerView { container, .. } in &self.containers {
                summary.add(container.kind, container.state, container.image_ref.as_deref());
            }
            paragraph(&summary.to_string(), 2, width, out)?;
        }
        for source in &self.sources {
            incomplete(source, |status, what, reason| {
                let collector = &source.collector;
                let what = if what == "source" { collector.to_string() } else { format!("{collector}, {what}") };
                paragraph(&format!("{status} {what}: {reason}"), 2, width, out)
            })?;
        }
        Ok(())
    }
}

fn line(view: &ContainerView<'_>) -> Line {
    let ContainerView { container, image, seen } = view;
    let pod = view.pod();
    let image = image.map(|image| &image.image);
    // Within a cluster a namespace is the cluster's; a container without a pod is in one of its runtime's, if in any.
    let of_host = seen.iter().all(|seen| seen.entry.id.kind == ScopeKind::Namespace);
    let namespace = match (pod, seen.first()) {
        (Some(pod), _) => pod.namespace.as_str(),
        (None, Some(seen)) if of_host => seen.entry.id.name.as_str(),
        _ => "",
    };
    let since = container.started_at.or_else(|| seen.iter().find_map(|seen| seen.container.created_at));
    let observed_at = seen.first().map(|seen| seen.source.observed_at);
    let exited = seen.iter().find(|seen| seen.container.exit_code.is_some()).or(seen.first());
    let is_exited = container.state.as_str() == "exited";
    Line {
        namespace: namespace.to_owned(),
        pod: pod_name(pod, namespace),
        name: container_name(&container.name, container.id.as_deref(), container.kind),
        state: container.state.as_str(),
        why: match (&container.state_reason, exited) {
            (None, Some(seen)) if is_exited => why(None, seen.container),
            (reason, _) => reason.as_ref().map(ToString::to_string),
        },
        image: image_name(container.image.as_deref(), image),
        digests: Digests::of(image, container.image_missing, container.repo_digest.as_ref()),
        workload: workload_name(view.workload()),
        node: view.node_name().unwrap_or_default().to_owned(),
        id: short_id(container.id.as_deref()),
        seen_by: view.collectors().join(", "),
        age: since
            .zip(observed_at)
            .map(|(since, observed)| age(observed.as_second() - since.as_second()))
            .unwrap_or_default(),
    }
}

/// Findings of one kind between the same vantage points, on one line.
fn findings(view: &UnifiedView<'_>, width: Option<usize>, out: &mut impl io::Write) -> io::Result<()> {
    let mut alike: BTreeMap<(FindingKind, String, String, Option<&str>), Vec<String>> = BTreeMap::new();
    for Finding { kind, container, node_name, seen_by, not_seen_by } in &view.unified.findings {
        let Some(found) = view.containers.get(*container) else { continue };
        let pod = found.pod().map(|pod| format!("{}/{}/", pod.namespace, pod.name)).unwrap_or_default();
        let container = found.container;
        let name = format!("{pod}{}", container_name(&container.name, container.id.as_deref(), container.kind));
        let key = (*kind, points(seen_by), points(not_seen_by), node_name.as_deref());
        alike.entry(key).or_default().push(name);
    }
    if alike.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nfindings")?;
    for ((kind, seen_by, not_seen_by, node), names) in alike {
        let on_node = node.map(|node| format!(" on node {node}")).unwrap_or_default();
        let what = count(names.len(), "container");
        let said = match kind {
            FindingKind::UnknownToOrchestrator => {
                format!("{what} of {seen_by}{on_node}, which {not_seen_by} does not know")
            }
            FindingKind::UnknownToRuntime => {
                format!("{what} that {seen_by} sees running{on_node} and {not_seen_by} does not have")
            }
            FindingKind::ContradictingDigests => {
                format!("{what} made from one image by {seen_by} and from another by {not_seen_by}")
            }
            FindingKind::Other => format!("{what}: {seen_by} and {not_seen_by} disagree"),
        };
        let shown = names.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
        let more = names.len().saturating_sub(NAMED);
        let more = if more == 0 { String::new() } else { format!(" +{more}") };
        paragraph(&format!("{said}: {shown}{more}"), 2, width, out)?;
    }
    Ok(())
}

fn points(points: &[VantagePoint]) -> String {
    let name = |point: &VantagePoint| match point.scope.name.as_str() {
        "" => point.collector.to_string(),
        scope => format!("{} ({scope})", point.collector),
    };
    points.iter().map(name).collect::<Vec<_>>().join(", ")
}
