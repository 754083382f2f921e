//! One collection: which lists to ask for, and what their answers and refusals say of each scope.

use std::{collections::BTreeSet, sync::OnceLock};

use futures_util::{StreamExt as _, stream};
use stocktake_core::{
    CollectError, ObservedScope, ScopeSink, Selection,
    model::{Coverage, Scope, ScopeId, ScopeKind, Text, Warning},
    nearest,
};

use crate::{
    api::Api,
    cluster::{self, ClusterView},
    error::FailureKind,
    list::{Lister, Position, Step, Way},
    pods::{self, DeniedLinks, OwnerLists, Stray, list_namespace},
    settings::Settings,
    sweep::Sweep,
};

/// What to do where namespaces cannot be listed.
const ADVICE: &str = "or name in `namespaces` those that it may list";

/// Namespaces that are listed at the same time, where each is listed on its own.
const CONCURRENT_LISTS: usize = 4;

/// Looks at the selected scopes. The answer is the coverage of the list of scopes.
pub(crate) async fn collect(
    api: &Api,
    settings: &Settings,
    select: &Selection,
    sink: &mut dyn ScopeSink,
) -> Result<Coverage, CollectError> {
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
            let names = asked.filter(|name| selector.matches(name)).cloned().collect();
            self.each(names, None).await;
            return Ok(Coverage::Complete);
        }

        let mut exact: BTreeSet<Text> = selector.exact_names().map(Text::from).collect();
        // What was not asked for, or refused, is not known to be absent.
        if let Some(Ok(known)) = &namespaces {
            nonexistent(&mut exact, known, self.settings, self.sink);
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

    /// Lists each namespace on its own. `guess` is one that nobody named: that it may not be read says nothing.
    async fn each(&mut self, names: BTreeSet<Text>, guess: Option<&str>) {
        let (api, settings) = (self.api, self.settings);
        let down = OnceLock::new();
        let lists = stream::iter(names).map(|name| list_namespace(api, settings, name.into(), &down));
        let mut lists = lists.buffered(CONCURRENT_LISTS);
        while let Some(listed) = lists.next().await {
            let is_denied_guess =
                guess == Some(&*listed.scope.id.name) && matches!(listed.scope.coverage, Coverage::Denied { .. });
            if !is_denied_guess {
                self.emit(listed.scope);
            }
            self.denied.merge(listed.denied);
            self.stray.merge(listed.stray);
            if let Some(remark) = listed.remark {
                self.sink.warning(remark);
            }
            self.error = self.error.take().or(listed.error);
        }
    }

    /// Lists all pods of the cluster at once, and namespace by namespace where that is not allowed.
    ///
    /// `expected` are the selected namespaces that are known to exist or are named; `unlisted` says why they are not all
    /// that exist.
    async fn everything(
        &mut self,
        expected: BTreeSet<Text>,
        unlisted: Option<CollectError>,
    ) -> Result<Coverage, CollectError> {
        let way = pods::way(self.settings, None);
        tracing::info!("listing the pods of all namespaces at once, {way}");
        let mut sweep = Sweep::of(expected);
        let mut owners = OwnerLists::new(self.api, None);
        let mut lister = Lister::new(self.api, pods::query(self.settings, None), way);
        let mut is_first = true;
        let broken = loop {
            match lister.next().await {
                Ok(Some(Step::Item(pod))) => {
                    sweep.take(pod, self.settings)?;
                    let is_too_much = lister.way() == Way::Cache && self.settings.exceeds_memory(sweep.bytes());
                    if is_too_much && lister.move_to(Way::Pages, "because all at once would exceed `max_memory`") {
                        sweep.restart();
                    }
                }
                Ok(Some(Step::Page(position))) => self.finish(&mut sweep, position, &mut owners).await,
                Ok(Some(Step::Restarted)) => sweep.restart(),
                Ok(None) => break None,
                Err(failure) if is_first && failure.kind == FailureKind::Forbidden => {
                    return Ok(self.what_is_allowed(sweep.expected, unlisted, failure.error).await);
                }
                Err(failure) => break Some(failure.error),
            }
            is_first = false;
        };
        if let Some(remark) = lister.remark() {
            self.sink.warning(remark);
        }
        self.denied.merge(std::mem::take(&mut owners.denied));
        self.stray.merge(std::mem::take(&mut sweep.stray));

        let Some(error) = broken else { return Ok(Coverage::Complete) };
        for scope in sweep.cut_short(&error, &owners) {
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

    /// Hands over the namespaces of which nothing more can come.
    async fn finish(&mut self, sweep: &mut Sweep, position: Position, owners: &mut OwnerLists<'_>) {
        let finished = sweep.finish(position);
        let needed = sweep.links(&finished);
        owners.prepare(needed, &mut sweep.texts).await;
        for name in finished {
            let scope = sweep.emit(name, owners, self.settings);
            self.emit(scope);
        }
    }

    /// Lists what may be listed after the list of all pods was refused.
    async fn what_is_allowed(
        &mut self,
        mut names: BTreeSet<Text>,
        unlisted: Option<CollectError>,
        refused: CollectError,
    ) -> Coverage {
        tracing::debug!(reason = %refused.full_message(), "listing pods namespace by namespace");
        let Some(unlisted) = unlisted else {
            self.each(names, None).await;
            return Coverage::Complete;
        };
        let own = Text::from(self.api.own_namespace.as_str());
        let guess = self.settings.namespaces.matches(&own) && names.insert(own.clone());
        self.each(names, guess.then_some(own.as_str())).await;
        if !self.has_seen {
            let message = format!("{refused}, {ADVICE}; it may list no nodes and no namespaces either");
            self.error = Some(match refused {
                CollectError::Denied { source: Some(source), .. } => CollectError::denied(message, source),
                _ => CollectError::Denied { message, source: None },
            });
        }
        Coverage::Partial { reason: format!("there may be more namespaces: {}; {ADVICE}", unlisted.full_message()) }
    }

    fn emit(&mut self, scope: ObservedScope) {
        self.has_seen |= matches!(scope.coverage, Coverage::Complete | Coverage::Partial { .. });
        self.sink.scope(scope);
    }
}

/// A namespace that is named and does not exist is empty, and more likely misspelt. Takes those out of `names`.
pub(crate) fn nonexistent(
    names: &mut BTreeSet<Text>,
    known: &BTreeSet<Text>,
    settings: &Settings,
    sink: &mut dyn ScopeSink,
) {
    let is_named = |name: &Text| settings.namespaces.exact_names().any(|exact| exact == name);
    names.retain(|name| {
        let exists = known.contains(name) || !is_named(name);
        if !exists {
            let hint = match nearest(name, known.iter().map(Text::as_str)) {
                Some(word) => format!("; did you mean `{word}`?"),
                None => "; remove it from `namespaces`, or create it".into(),
            };
            sink.warning(Warning::new(format!("the cluster has no namespace `{name}`{hint}")));
            sink.scope(ObservedScope::complete(ScopeId::namespace(name.clone()), Scope::default()));
        }
        exists
    });
}
