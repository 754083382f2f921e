//! A list of all pods of a cluster, taken apart into namespaces while it is read.

use std::collections::{BTreeMap, BTreeSet};

use stocktake_core::{
    CollectError, ObservedScope,
    model::{Coverage, ScopeId, Text},
};

use crate::{
    error::one_line,
    list::Position,
    owners::LINKS,
    pods::{self, OwnerLists, Stray, over_memory},
    scope::PodScope,
    settings::Settings,
    texts::Texts,
    wire,
};

/// The namespaces of a list of all pods while it is read.
#[derive(Default)]
pub(crate) struct Sweep {
    /// Namespaces that are reported even if no pod of theirs is met.
    pub(crate) expected: BTreeSet<Text>,
    /// Seen in part.
    open: BTreeMap<Text, PodScope>,
    /// Handed over.
    done: BTreeSet<Text>,
    /// Of which more was seen than may be kept.
    cut: BTreeSet<Text>,
    /// Bytes that the pods of the open namespaces take.
    bytes: usize,
    position: Option<Position>,
    pub(crate) texts: Texts,
    pub(crate) stray: Stray,
}

impl Sweep {
    /// One that reports these namespaces in any case.
    pub(crate) fn of(expected: BTreeSet<Text>) -> Self {
        Self { expected, ..Self::default() }
    }

    /// Sorts a pod into its namespace.
    pub(crate) fn take(&mut self, pod: wire::Pod, settings: &Settings) -> Result<(), CollectError> {
        let namespace = pod.metadata.as_ref().and_then(|metadata| metadata.namespace.as_deref());
        let Some(namespace) = namespace.filter(|name| !name.is_empty()) else {
            self.stray.add();
            return Ok(());
        };
        if !settings.namespaces.matches(namespace) {
            return Ok(());
        }
        let namespace = self.texts.shared(namespace);
        if self.done.contains(&namespace) {
            // Seen before the list began again.
            if !self.position.as_ref().is_some_and(|position| position.is_past(&namespace)) {
                return Ok(());
            }
            let message = format!(
                "the API server listed pods of namespace `{}` again after its order had passed them; \
                 report it to who runs the server",
                one_line(&namespace)
            );
            return Err(CollectError::Protocol { message, source: None });
        }
        if settings.exceeds_memory(self.bytes) {
            self.cut.insert(namespace);
            return Ok(());
        }
        let scope = self.open.entry(namespace.clone()).or_default();
        let before = scope.kept_bytes();
        pods::add(scope, pod, &namespace, &mut self.texts, settings);
        self.bytes += scope.kept_bytes() - before;
        Ok(())
    }

    /// Bytes that the pods of unfinished namespaces take.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The namespaces of which nothing more can come, now that the list has come this far.
    pub(crate) fn finish(&mut self, position: Position) -> Vec<Text> {
        let names: BTreeSet<&Text> = self.expected.iter().chain(self.open.keys()).chain(&self.cut).collect();
        let is_finished = |name: &&&Text| position.is_past(name) && !self.done.contains(**name);
        let names = names.iter().filter(is_finished).map(|name| (**name).clone()).collect();
        self.position = Some(position);
        names
    }

    /// Which owners the pods of these namespaces have.
    pub(crate) fn links(&self, names: &[Text]) -> [bool; LINKS.len()] {
        let scopes = names.iter().filter_map(|name| self.open.get(name)).map(PodScope::links);
        scopes.fold([false; LINKS.len()], |mut needed, links| {
            needed.iter_mut().zip(links).for_each(|(needed, link)| *needed |= link);
            needed
        })
    }

    /// Takes out a finished namespace.
    pub(crate) fn emit(&mut self, name: Text, owners: &OwnerLists<'_>, settings: &Settings) -> ObservedScope {
        let scope = self.open.remove(&name).unwrap_or_default();
        let coverage = if self.cut.remove(&name) {
            scope.coverage_after(&over_memory(settings, &format!("namespace `{name}`")))
        } else {
            owners.coverage()
        };
        self.bytes -= scope.kept_bytes();
        self.done.insert(name.clone());
        ObservedScope { id: ScopeId::namespace(name), coverage, body: scope.into_body(&owners.owners) }
    }

    /// Forgets what was seen in part.
    pub(crate) fn restart(&mut self) {
        self.open.clear();
        self.cut.clear();
        self.bytes = 0;
        self.position = None;
        self.stray = Stray::default();
    }

    /// What is left when `error` ends the list before its time.
    pub(crate) fn cut_short(mut self, error: &CollectError, owners: &OwnerLists<'_>) -> Vec<ObservedScope> {
        let mut names: BTreeSet<Text> = self.expected.difference(&self.done).cloned().collect();
        names.extend(self.open.keys().cloned());
        names.extend(self.cut.iter().cloned());
        let unfinished = names.into_iter().map(|name| {
            let scope = self.open.remove(&name).unwrap_or_default();
            let coverage: Coverage = scope.coverage_after(error);
            ObservedScope { id: ScopeId::namespace(name), coverage, body: scope.into_body(&owners.owners) }
        });
        unfinished.collect()
    }
}
