//! Pods with their owners: of one namespace, or page by page of all.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::OnceLock,
};

use stocktake_core::{
    CollectError, ObservedScope,
    model::{Coverage, Scope, ScopeId, Text, Warning},
};

use crate::{
    api::Api,
    convert::{convert_pod, has_ended},
    error::{Action, FailureKind},
    list::{Lister, Query, Step, Way, list_all},
    owners::{LINKS, Link, Owners},
    scope::PodScope,
    settings::{ListWay, Settings},
    texts::Texts,
    wire,
};

/// The list of pods that the settings select.
pub(crate) fn query(settings: &Settings, namespace: Option<String>) -> Query {
    // What is left out anyway need not be sent.
    let running = (!settings.include_not_running).then(|| "status.phase!=Succeeded,status.phase!=Failed".to_owned());
    // Nothing in a node's name needs escaping, which was checked.
    let of_node = settings.node.as_ref().map(|name| format!("spec.nodeName={name}"));
    let fields: Vec<String> = of_node.into_iter().chain(running).collect();
    let field_selector = (!fields.is_empty()).then(|| fields.join(","));
    Query { namespace, label_selector: settings.label_selector.clone(), field_selector, ..Query::core("pods") }
}

/// The namespaces that are listed one by one, or the cluster as a whole.
pub(crate) fn places(settings: &Settings) -> Vec<Option<String>> {
    let selector = &settings.namespaces;
    if selector.is_exact() { selector.exact_names().map(|name| Some(name.to_owned())).collect() } else { vec![None] }
}

/// How pods are listed, throughout the cluster or in one namespace.
///
/// The watch cache is searched as a whole for the pods of one namespace (Kubernetes before 1.31), of which etcd reads no
/// others: so many namespaces, one by one, are cheaper in pages. By node the watch cache has an index, and etcd reads all.
pub(crate) fn way(settings: &Settings, namespace: Option<&str>) -> Way {
    match (settings.list, namespace.filter(|_| settings.node.is_none())) {
        (ListWay::Pages, _) | (ListWay::Auto, Some(_)) => Way::Pages,
        (ListWay::Cache | ListWay::Stream, _) | (ListWay::Auto, None) => Way::Cache,
    }
}

/// Pods that a list holds and that are in no scope, because they are of another namespace than the list's or of none. No
/// API server lists such; what stands before one may.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Stray(usize);

impl Stray {
    /// Takes note of one.
    pub(crate) fn add(&mut self) {
        self.0 += 1;
    }

    /// Adds those of another list.
    pub(crate) fn merge(&mut self, other: Self) {
        self.0 += other.0;
    }

    /// The remark.
    pub(crate) fn warning(self) -> Option<Warning> {
        (self.0 > 0).then(|| {
            Warning::new(format!(
                "the API server listed {} pods without a namespace or of another than was asked for, which are left out; \
                 report it to who runs the server or a proxy before it",
                self.0
            ))
        })
    }
}

/// Whether the settings select the pod, of those of its namespace.
pub(crate) fn is_selected(pod: &wire::Pod, settings: &Settings) -> bool {
    settings.include_not_running || !has_ended(pod)
}

/// Adds a pod to its namespace's scope, if the settings select it.
pub(crate) fn add(scope: &mut PodScope, pod: wire::Pod, namespace: &Text, texts: &mut Texts, settings: &Settings) {
    if is_selected(&pod, settings) {
        scope.add(convert_pod(pod, namespace, texts), settings.include_not_running);
    }
}

/// What is said where `max_memory` ends a list of the pods of `place`.
pub(crate) fn over_memory(settings: &Settings, place: &str) -> CollectError {
    let limit = settings.max_memory.unwrap_or_default();
    let message = format!("the pods of {place} take more than the {limit} of `max_memory`; raise it");
    CollectError::Unavailable { message, source: None }
}

/// Links between pods and their outermost owners, listed when the first pod needs them.
pub(crate) struct OwnerLists<'a> {
    api: &'a Api,
    namespace: Option<String>,
    pub(crate) owners: Owners,
    asked: [bool; LINKS.len()],
    pub(crate) denied: DeniedLinks,
    failed: Option<String>,
}

impl<'a> OwnerLists<'a> {
    /// Of one namespace, or of the whole cluster.
    pub(crate) fn new(api: &'a Api, namespace: Option<String>) -> Self {
        let asked = [false; LINKS.len()];
        Self { api, namespace, owners: Owners::default(), asked, denied: DeniedLinks::default(), failed: None }
    }

    /// Lists what pods need and was not listed yet.
    pub(crate) async fn prepare(&mut self, needed: [bool; LINKS.len()], texts: &mut Texts) {
        for (position, ((link, asked), needed)) in LINKS.iter().zip(&mut self.asked).zip(needed).enumerate() {
            if *asked || !needed {
                continue;
            }
            *asked = true;
            let query = owner_query(link, self.namespace.clone());
            let action = query.action();
            let way = if self.namespace.is_some() { Way::Pages } else { Way::Cache };
            match list_all(self.api, query, way, |owned: wire::Owned| owned.metadata.unwrap_or_default()).await {
                Ok(all) => {
                    for owned in &all {
                        self.owners.add(position, owned, texts);
                    }
                }
                Err(failure) if failure.kind == FailureKind::Forbidden => self.denied.add(&action),
                // Such as a cluster that serves pods alone. Pods may still be owned by what another has made.
                Err(failure) if failure.kind == FailureKind::NotFound => {}
                Err(failure) => self.failed = Some(failure.error.full_message()),
            }
        }
    }

    /// Coverage of a scope whose pods were all seen: an owner that could not be told is not yet a lie, but a server
    /// that failed to tell may tell next time.
    pub(crate) fn coverage(&self) -> Coverage {
        match &self.failed {
            None => Coverage::Complete,
            Some(reason) => {
                Coverage::Partial { reason: format!("the outermost owners of pods are not known: {reason}") }
            }
        }
    }
}

/// The objects that are a link, of one namespace or of all.
pub(crate) fn owner_query(link: &Link, namespace: Option<String>) -> Query {
    Query {
        api: link.api,
        resource: link.resource,
        qualified: Some(link.qualified()),
        namespace,
        metadata_only: true,
        ..Query::default()
    }
}

/// The links that may not be seen, for one remark on all of them.
#[derive(Debug, Default)]
pub(crate) struct DeniedLinks {
    refused: BTreeMap<String, BTreeSet<Option<String>>>,
    /// Whether each was asked for by name instead of all being listed.
    one_by_one: bool,
}

impl DeniedLinks {
    /// Takes note of one.
    pub(crate) fn add(&mut self, action: &Action) {
        if let Action::List { resource, namespace } | Action::Get { resource, namespace, .. } = action {
            self.refused.entry(resource.clone()).or_default().insert(namespace.clone());
            self.one_by_one |= matches!(action, Action::Get { .. });
        }
    }

    /// Adds those of another list.
    pub(crate) fn merge(&mut self, other: Self) {
        for (resource, namespaces) in other.refused {
            self.refused.entry(resource).or_default().extend(namespaces);
        }
        self.one_by_one |= other.one_by_one;
    }

    /// The remark.
    pub(crate) fn warning(&self) -> Option<Warning> {
        let verb = if self.one_by_one { "get" } else { "list" };
        let refused = self.refused.iter().map(|(resource, namespaces)| {
            let places: Vec<_> = namespaces.iter().flatten().map(|namespace| format!("`{namespace}`")).collect();
            if places.is_empty() { format!("`{resource}`") } else { format!("`{resource}` in {}", places.join(", ")) }
        });
        let refused = refused.collect::<Vec<_>>().join(" and ");
        (!refused.is_empty()).then(|| {
            Warning::new(format!(
                "pods of Deployments and CronJobs are shown under their ReplicaSets and Jobs, because the agent may not \
                 {verb} {refused}; grant `{verb}` on that to see the outermost owners"
            ))
        })
    }
}

/// One namespace, listed on its own.
pub(crate) struct Listed {
    pub(crate) scope: ObservedScope,
    pub(crate) denied: DeniedLinks,
    pub(crate) stray: Stray,
    pub(crate) remark: Option<Warning>,
    /// Why not all of it was seen.
    pub(crate) error: Option<CollectError>,
}

impl Listed {
    /// One that was not asked for.
    fn unseen(name: String, coverage: Coverage) -> Self {
        let scope = ObservedScope { id: ScopeId::namespace(name), coverage, body: Scope::default() };
        Self { scope, denied: DeniedLinks::default(), stray: Stray::default(), remark: None, error: None }
    }
}

/// Lists one namespace. `down` is set by the first that gets no answer, so that the others need not wait for one.
pub(crate) async fn list_namespace(api: &Api, settings: &Settings, name: String, down: &OnceLock<Coverage>) -> Listed {
    if let Some(coverage) = down.get() {
        return Listed::unseen(name, coverage.clone());
    }
    let mut texts = Texts::default();
    let namespace = Text::from(name.as_str());
    let mut lister = Lister::<wire::Pod>::new(api, query(settings, Some(name.clone())), way(settings, Some(&name)));
    let mut scope = PodScope::default();
    let mut stray = Stray::default();
    let error = loop {
        match lister.next().await {
            Ok(Some(Step::Item(pod))) => {
                let is_other = |metadata: &wire::ObjectMeta| metadata.namespace.as_ref().is_some_and(|it| *it != name);
                if pod.metadata.as_ref().is_some_and(is_other) {
                    stray.add();
                    continue;
                }
                add(&mut scope, pod, &namespace, &mut texts, settings);
                if settings.exceeds_memory(scope.kept_bytes()) {
                    break Some(over_memory(settings, &format!("namespace `{name}`")));
                }
            }
            Ok(Some(Step::Page(_))) => {}
            Ok(Some(Step::Restarted)) => (scope, stray) = (PodScope::default(), Stray::default()),
            Ok(None) => break None,
            Err(failure) => {
                if matches!(failure.kind, FailureKind::Unreachable | FailureKind::Silent | FailureKind::Unauthenticated)
                {
                    let _ = down.set(Coverage::from_error(&failure.error));
                }
                break Some(failure.error);
            }
        }
    };
    let mut owners = OwnerLists::new(api, Some(name.clone()));
    if down.get().is_none() {
        owners.prepare(scope.links(), &mut texts).await;
    }
    let coverage = error.as_ref().map_or_else(|| owners.coverage(), |error| scope.coverage_after(error));
    let scope = ObservedScope { id: ScopeId::namespace(name), coverage, body: scope.into_body(&owners.owners) };
    Listed { scope, denied: owners.denied, stray, remark: lister.remark(), error }
}
