//! Pods with their owners: of one namespace, or page by page of all.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::OnceLock,
};

use stocktake_core::{
    CollectError, ObservedScope,
    model::{Coverage, Scope, ScopeId, Warning},
};

use crate::{
    api::{Api, METADATA_ONLY},
    convert::{convert_pod, has_ended},
    error::{Action, FailureKind},
    list::{Pager, Query, Step, list_all},
    owners::{LINKS, Owners, controller},
    scope::NamespaceScope,
    settings::Settings,
    wire,
};

/// The list of pods that the settings select.
pub(crate) fn query(settings: &Settings, namespace: Option<String>) -> Query {
    // What is left out anyway need not be sent.
    let field_selector = (!settings.include_not_running).then_some("status.phase!=Succeeded,status.phase!=Failed");
    Query { namespace, label_selector: settings.label_selector.clone(), field_selector, ..Query::core("pods") }
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

/// Adds a pod to its namespace's scope, if the settings select it.
pub(crate) fn add(scope: &mut NamespaceScope, pod: wire::Pod, namespace: &str, owners: &Owners, settings: &Settings) {
    if settings.include_not_running || !has_ended(&pod) {
        scope.add(convert_pod(pod, namespace, owners), settings.include_not_running);
    }
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

    /// Lists what `pods` need and was not listed yet.
    pub(crate) async fn prepare(&mut self, pods: &[wire::Pod]) {
        for (link, asked) in LINKS.iter().zip(&mut self.asked) {
            let is_owned =
                |pod: &wire::Pod| controller(&pod.metadata.owner_references).is_some_and(|owner| link.is(owner));
            if *asked || !pods.iter().any(is_owned) {
                continue;
            }
            *asked = true;
            let query = Query {
                api: link.api,
                resource: link.resource,
                qualified: Some(link.qualified()),
                namespace: self.namespace.clone(),
                accept: Some(METADATA_ONLY),
                ..Query::default()
            };
            let action = query.action();
            match list_all(self.api, query, |owned: wire::Owned| owned).await {
                Ok(all) => all.into_iter().for_each(|owned| self.owners.add(link, owned)),
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

/// The lists of links that were refused, for one remark on all of them.
#[derive(Debug, Default)]
pub(crate) struct DeniedLinks(BTreeMap<String, BTreeSet<Option<String>>>);

impl DeniedLinks {
    fn add(&mut self, action: &Action) {
        if let Action::List { resource, namespace } = action {
            self.0.entry(resource.clone()).or_default().insert(namespace.clone());
        }
    }

    /// Adds those of another list.
    pub(crate) fn merge(&mut self, other: Self) {
        for (resource, namespaces) in other.0 {
            self.0.entry(resource).or_default().extend(namespaces);
        }
    }

    /// The remark.
    pub(crate) fn warning(&self) -> Option<Warning> {
        let refused = self.0.iter().map(|(resource, namespaces)| {
            let places: Vec<_> = namespaces.iter().flatten().map(|namespace| format!("`{namespace}`")).collect();
            if places.is_empty() { format!("`{resource}`") } else { format!("`{resource}` in {}", places.join(", ")) }
        });
        let refused = refused.collect::<Vec<_>>().join(" and ");
        (!refused.is_empty()).then(|| {
            Warning::new(format!(
                "pods of Deployments and CronJobs are shown under their ReplicaSets and Jobs, because the agent may not \
                 list {refused}; grant `list` on that to see the outermost owners"
            ))
        })
    }
}

/// One namespace, listed on its own.
pub(crate) struct Listed {
    pub(crate) scope: ObservedScope,
    pub(crate) denied: DeniedLinks,
    pub(crate) stray: Stray,
    /// Why not all of it was seen.
    pub(crate) error: Option<CollectError>,
}

/// Lists one namespace. `down` is set by the first that gets no answer, so that the others need not wait for one.
pub(crate) async fn list_namespace(api: &Api, settings: &Settings, name: String, down: &OnceLock<Coverage>) -> Listed {
    if let Some(coverage) = down.get() {
        let scope = ObservedScope { id: ScopeId::namespace(name), coverage: coverage.clone(), body: Scope::default() };
        return Listed { scope, denied: DeniedLinks::default(), stray: Stray::default(), error: None };
    }
    let mut owners = OwnerLists::new(api, Some(name.clone()));
    let mut pager = Pager::new(api, query(settings, Some(name.clone())));
    let mut scope = NamespaceScope::default();
    let mut stray = Stray::default();
    let error = loop {
        match pager.next().await {
            Ok(Some(Step::Page { items, .. })) => {
                owners.prepare(&items).await;
                for pod in items {
                    if pod.metadata.namespace.as_ref().is_some_and(|namespace| *namespace != name) {
                        stray.add();
                        continue;
                    }
                    add(&mut scope, pod, &name, &owners.owners, settings);
                }
            }
            Ok(Some(Step::Restarted)) => scope = NamespaceScope::default(),
            Ok(None) => break None,
            Err(failure) => {
                if matches!(failure.kind, FailureKind::Unreachable | FailureKind::Unauthenticated) {
                    let _ = down.set(Coverage::from_error(&failure.error));
                }
                break Some(failure.error);
            }
        }
    };
    let coverage = error.as_ref().map_or_else(|| owners.coverage(), |error| scope.coverage_after(error));
    let scope = ObservedScope { id: ScopeId::namespace(name), coverage, body: scope.into_body() };
    Listed { scope, denied: owners.denied, stray, error }
}
