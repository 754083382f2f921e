//! One collection: which lists to ask for, and what their answers and refusals say of each scope.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::OnceLock,
};

use futures_util::{StreamExt as _, stream};
use stocktake_core::{
    CollectError, ObservedScope, ScopeSink, Selection,
    model::{Coverage, Scope, ScopeId, ScopeKind, Warning},
    nearest,
};

use crate::{
    api::Api,
    cluster::{self, ClusterView},
    error::{FailureKind, one_line},
    list::{Pager, Position, Step},
    pods::{self, DeniedLinks, OwnerLists, Stray, list_namespace},
    scope::NamespaceScope,
    settings::Settings,
    wire,
};

/// Namespaces that are listed at the same time, where each is listed on its own.
const CONCURRENT_LISTS: usize = 4;

/// Looks at the selected scopes. The answer is the coverage of the list of scopes.
pub(crate) async fn collect(
    api: &Api,
    settings: &Settings,
    select: &Selection,
    sink: &mut dyn ScopeSink,
) -> Result<Coverage, CollectError> {
    for warning in &api.warnings {
        sink.warning(warning.clone());
    }
    let mut look = Look {
        api,
        settings,
        sink,
        denied: DeniedLinks::default(),
        stray: Stray::default(),
        has_seen: false,
        error: None,
    };
    let coverage = look.scopes(select).await?;
    for warning in [look.denied.warning(), look.stray.warning()].into_iter().flatten() {
        look.sink.warning(warning);
    }
    match look.error {
        Some(error) if !look.has_seen => Err(error),
        _ => Ok(coverage),
    }
}

/// A collection under way.
struct Look<'a> {
    api: &'a Api,
    settings: &'a Settings,
    sink: &'a mut dyn ScopeSink,
    denied: DeniedLinks,
    stray: Stray,
    /// Whether anything of any scope was seen.
    has_seen: bool,
    /// The first error, which is the collection's if nothing was seen.
    error: Option<CollectError>,
}

impl Look<'_> {
    async fn scopes(&mut self, select: &Selection) -> Result<Coverage, CollectError> {
        let selector = &self.settings.namespaces;
        let mut namespaces = None;
        let wanted = self.settings.cluster_objects && select.includes(&ScopeId::cluster());
        // Where namespaces are chosen by pattern, their names are needed whether or not they are reported.
        if wanted || (*select == Selection::All && !selector.is_exact()) {
            let view: ClusterView = cluster::look(self.api, selector).await?;
            if wanted {
                self.emit(view.scope);
            }
            namespaces = Some(view.namespaces);
        }
        if let Selection::Only(scopes) = select {
            let asked = scopes.iter().filter(|scope| scope.kind == ScopeKind::Namespace).map(|scope| &scope.name);
            let names = asked.filter(|name| selector.matches(name)).map(ToString::to_string).collect();
            self.each(names, None).await;
            return Ok(Coverage::Complete);
        }

        let mut exact: BTreeSet<String> = selector.exact_names().map(str::to_owned).collect();
        // What was not asked for, or refused, is not known to be absent.
        if let Some(Ok(known)) = &namespaces {
            self.say_what_does_not_exist(&mut exact, known);
        }
        match namespaces {
            Some(Ok(known)) if !selector.is_exact() => {
                exact.extend(known.into_iter().filter(|name| selector.matches(name)));
                self.everything(exact, None).await
            }
            Some(Err(error)) if !selector.is_exact() => self.everything(exact, Some(error)).await,
            _ => {
                tracing::debug!(
                    namespaces = exact.len(),
                    "listing pods namespace by namespace, because they are named"
                );
                self.each(exact, None).await;
                Ok(Coverage::Complete)
            }
        }
    }

    /// A namespace that is named and does not exist is empty, and more likely misspelt. Takes those out of `exact`.
    fn say_what_does_not_exist(&mut self, exact: &mut BTreeSet<String>, known: &BTreeSet<String>) {
        exact.retain(|name| {
            let exists = known.contains(name);
            if !exists {
                let hint = match nearest(name, known.iter().map(String::as_str)) {
                    Some(word) => format!("; did you mean `{word}`?"),
                    None => "; remove it from `namespaces`, or create it".into(),
                };
                self.sink.warning(Warning::new(format!("the cluster has no namespace `{name}`{hint}")));
                self.sink.scope(ObservedScope::complete(ScopeId::namespace(name), Scope::default()));
            }
            exists
        });
    }

    /// Lists each namespace on its own. `guess` is one that nobody named: that it may not be read says nothing.
    async fn each(&mut self, names: BTreeSet<String>, guess: Option<&str>) {
        let (api, settings) = (self.api, self.settings);
        let down = OnceLock::new();
        let lists = stream::iter(names).map(|name| list_namespace(api, settings, name, &down));
        let mut lists = lists.buffer_unordered(CONCURRENT_LISTS);
        while let Some(listed) = lists.next().await {
            let is_denied_guess =
                guess == Some(&*listed.scope.id.name) && matches!(listed.scope.coverage, Coverage::Denied { .. });
            if !is_denied_guess {
                self.emit(listed.scope);
            }
            self.denied.merge(listed.denied);
            self.stray.merge(listed.stray);
            self.error = self.error.take().or(listed.error);
        }
    }

    /// Lists all pods of the cluster at once, and namespace by namespace where that is not allowed.
    ///
    /// `expected` are the selected namespaces that are known to exist or are named; `unlisted` says why they are not all
    /// that exist.
    async fn everything(
        &mut self,
        expected: BTreeSet<String>,
        unlisted: Option<CollectError>,
    ) -> Result<Coverage, CollectError> {
        tracing::debug!("listing the pods of all namespaces at once");
        let mut sweep = Sweep { expected, ..Sweep::default() };
        let mut owners = OwnerLists::new(self.api, None);
        let mut pager = Pager::new(self.api, pods::query(self.settings, None));
        let mut is_first = true;
        let broken = loop {
            match pager.next().await {
                Ok(Some(Step::Page { items, position })) => {
                    owners.prepare(&items).await;
                    sweep.take(items, &owners, self.settings)?;
                    for scope in sweep.finished(position, &owners) {
                        self.emit(scope);
                    }
                }
                Ok(Some(Step::Restarted)) => sweep.restart(),
                Ok(None) => break None,
                Err(failure) if is_first && failure.kind == FailureKind::Forbidden => {
                    return Ok(self.what_is_allowed(sweep.expected, unlisted, failure.error).await);
                }
                Err(failure) => break Some(failure.error),
            }
            is_first = false;
        };
        self.denied.merge(std::mem::take(&mut owners.denied));
        self.stray.merge(std::mem::take(&mut sweep.stray));

        let Some(error) = broken else { return Ok(Coverage::Complete) };
        for scope in sweep.cut_short(&error) {
            self.emit(scope);
        }
        let coverage = match unlisted {
            None => Coverage::Complete,
            Some(_) if self.has_seen => {
                Coverage::Partial { reason: format!("not all pods could be listed: {}", error.full_message()) }
            }
            Some(_) => Coverage::from_error(&error),
        };
        self.error = self.error.take().or(Some(error));
        Ok(coverage)
    }

    /// Lists what may be listed after the list of all pods was refused.
    async fn what_is_allowed(
        &mut self,
        mut names: BTreeSet<String>,
        unlisted: Option<CollectError>,
        refused: CollectError,
    ) -> Coverage {
        tracing::debug!(reason = %refused.full_message(), "listing pods namespace by namespace");
        let Some(unlisted) = unlisted else {
            self.each(names, None).await;
            return Coverage::Complete;
        };
        let own = self.api.own_namespace.clone();
        let guess = self.settings.namespaces.matches(&own) && names.insert(own.clone());
        self.each(names, guess.then_some(own.as_str())).await;
        let advice = "or name in `namespaces` those that it may list";
        if !self.has_seen {
            let message = format!("{refused}, {advice}; it may list no nodes and no namespaces either");
            self.error = Some(match refused {
                CollectError::Denied { source: Some(source), .. } => CollectError::denied(message, source),
                _ => CollectError::Denied { message, source: None },
            });
        }
        Coverage::Partial { reason: format!("there may be more namespaces: {}; {advice}", unlisted.full_message()) }
    }

    fn emit(&mut self, scope: ObservedScope) {
        self.has_seen |= matches!(scope.coverage, Coverage::Complete | Coverage::Partial { .. });
        self.sink.scope(scope);
    }
}

/// The namespaces of a list of all pods while it is read.
#[derive(Default)]
struct Sweep {
    /// Namespaces that are reported even if no pod of theirs is met.
    expected: BTreeSet<String>,
    /// Seen in part.
    open: BTreeMap<String, NamespaceScope>,
    /// Handed over.
    done: BTreeSet<String>,
    position: Option<Position>,
    stray: Stray,
}

impl Sweep {
    /// Sorts pods into their namespaces.
    fn take(&mut self, pods: Vec<wire::Pod>, owners: &OwnerLists<'_>, settings: &Settings) -> Result<(), CollectError> {
        for pod in pods {
            let Some(namespace) = pod.metadata.namespace.clone() else {
                self.stray.add();
                continue;
            };
            if !settings.namespaces.matches(&namespace) {
                continue;
            }
            if self.done.contains(&namespace) {
                // Seen before the list began again.
                if !self.position.as_ref().is_some_and(|position| position.is_past(&namespace)) {
                    continue;
                }
                let message = format!(
                    "the API server listed pods of namespace `{}` again after its order had passed them; \
                     report it to who runs the server",
                    one_line(&namespace)
                );
                return Err(CollectError::Protocol { message, source: None });
            }
            let scope = self.open.entry(namespace.clone()).or_default();
            pods::add(scope, pod, &namespace, &owners.owners, settings);
        }
        Ok(())
    }

    /// Takes out the namespaces of which nothing more can come.
    fn finished(&mut self, position: Position, owners: &OwnerLists<'_>) -> Vec<ObservedScope> {
        let names: BTreeSet<&String> = self.expected.iter().chain(self.open.keys()).collect();
        let is_finished = |name: &&&String| position.is_past(name) && !self.done.contains(**name);
        let names: Vec<String> = names.iter().filter(is_finished).map(|name| (**name).clone()).collect();
        self.position = Some(position);
        let mut scopes = Vec::with_capacity(names.len());
        for name in names {
            let body = self.open.remove(&name).unwrap_or_default().into_body();
            scopes.push(ObservedScope { id: ScopeId::namespace(&name), coverage: owners.coverage(), body });
            self.done.insert(name);
        }
        scopes
    }

    /// Forgets what was seen in part.
    fn restart(&mut self) {
        self.open.clear();
        self.position = None;
        self.stray = Stray::default();
    }

    /// What is left when `error` ends the list before its time.
    fn cut_short(mut self, error: &CollectError) -> Vec<ObservedScope> {
        let mut names: BTreeSet<String> = self.expected.difference(&self.done).cloned().collect();
        names.extend(self.open.keys().cloned());
        let unfinished = names.into_iter().map(|name| {
            let scope = self.open.remove(&name).unwrap_or_default();
            let coverage = scope.coverage_after(error);
            ObservedScope { id: ScopeId::namespace(name), coverage, body: scope.into_body() }
        });
        unfinished.collect()
    }
}
