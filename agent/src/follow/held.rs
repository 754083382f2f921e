//! What is held of a source between two looks, and how a look changes it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use stocktake_core::{
    Digest, Selection,
    model::{Coverage, Scope, ScopeEntry, ScopeId, Source, Warning},
};

/// A source after a look at it.
#[derive(Debug)]
pub(crate) struct Update {
    /// All that is known of it now, with all its scopes.
    pub(crate) source: Source,
    /// The scopes of which something else is known than after the look before, by kind and name.
    pub(crate) changed: Vec<Change>,
    /// The scopes that were listed after the look before, and are no more: they do not exist.
    pub(crate) gone: Vec<ScopeId>,
    /// The bodies of those scopes of which the content differs.
    pub(crate) bodies: BTreeMap<Digest, Scope>,
    /// Whether there was no look before.
    pub(crate) is_first: bool,
    /// How looking went.
    pub(crate) look: Look,
}

/// How a look went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Look {
    /// How long it took.
    pub(crate) took: Duration,
    /// Whether it had no complete answer within the collector's `timeout`.
    pub(crate) timed_out: bool,
    /// Within which time from its end another one ends, be it without an answer.
    pub(crate) next_within: Duration,
}

/// A scope of which something else is known.
#[derive(Debug)]
pub(crate) struct Change {
    /// What is known now.
    pub(crate) entry: ScopeEntry,
    /// Whether its content is another, which is in the update's bodies then, or only its coverage.
    pub(crate) has_new_content: bool,
}

impl Update {
    /// The content of a scope, if it is another.
    pub(crate) fn body(&self, change: &Change) -> Option<&Scope> {
        let digest = change.entry.digest.as_ref().filter(|_| change.has_new_content)?;
        self.bodies.get(digest)
    }
}

/// What is held of a source: what it says of itself, and of each scope its line in the manifest. Never a body.
///
/// - A look at everything replaces the list. A scope that is not in it is gone if the list is complete. If it is not, the
///   scope stays, with a coverage that says that it was not seen.
/// - A look at some scopes speaks of those alone. The list's coverage stays that of the last look at everything, and no
///   scope is ever gone: an empty one stays listed as empty until a complete list is without it. One that was not listed and
///   is handed over empty is not listed either, because it may not exist. One that was to be looked at and was not handed
///   over stays, with a coverage that says so.
/// - A scope of which nothing was seen keeps the digest and the counts of what was seen last. Its coverage says that they are
///   old: whoever has the content need not get it again, and must not take it for gone.
/// - What the source says of itself is that of the latest look that could ask. `observed_at` is when the latest look
///   began, be it at some scopes: those are looked at only while the runtime tells what changes, and then the others are as
///   they were. What the runtime warned of is that of the latest look at everything, and of the one after it.
/// - A source that turns out to be another cluster or machine has another list, as if it were complete.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// Without scopes. None before the first look.
    header: Option<Source>,
    entries: BTreeMap<ScopeId, ScopeEntry>,
    /// Of the latest look at everything.
    warnings: Vec<Warning>,
}

impl Held {
    /// Whether there was a look.
    pub(super) fn has_looked(&self) -> bool {
        self.header.is_some()
    }

    /// Whether the list of scopes and each scope in it were seen completely when they were looked at last.
    pub(super) fn is_complete(&self) -> bool {
        self.header.as_ref().is_some_and(|header| header.coverage.is_complete())
            && self.entries.values().all(|entry| entry.coverage.is_complete())
    }

    /// Whether the runtime warned of that when it was looked at last.
    pub(super) fn has_warned(&self, warning: &Warning) -> bool {
        self.header.as_ref().is_some_and(|header| header.warnings.contains(warning))
    }

    /// Digests of the content of what is selected.
    pub(super) fn digests(&self, select: &Selection) -> BTreeMap<ScopeId, Digest> {
        let selected = self.entries.values().filter(|entry| select.includes(&entry.id));
        selected.filter_map(|entry| Some((entry.id.clone(), entry.digest.clone()?))).collect()
    }

    /// Takes in what a look at `select` saw. The first look has to be at everything.
    pub(super) fn merge(
        &mut self,
        select: &Selection,
        mut seen: Source,
        mut bodies: BTreeMap<Digest, Scope>,
    ) -> Update {
        let held = self.header.take();
        let is_first = held.is_none();
        let scopes = std::mem::take(&mut seen.scopes);
        let (header, entries, gone) = match (select, held) {
            (Selection::Only(named), Some(held)) => {
                let entries = self.renewed(named, scopes, &seen.coverage, &bodies);
                (self.after_some(held, seen), entries, Vec::new())
            }
            (_, held) => {
                let ends_list =
                    seen.coverage.is_complete() || held.as_ref().is_some_and(|held| is_another(held, &seen));
                let (entries, gone) = self.replaced(scopes, &seen.coverage, ends_list);
                (self.after_all(held, seen), entries, gone)
            }
        };
        self.entries.retain(|id, _| !gone.contains(id));
        let mut changed = Vec::new();
        for entry in entries {
            let before = self.entries.insert(entry.id.clone(), entry.clone());
            if before.as_ref() != Some(&entry) {
                let has_new_content = before.and_then(|before| before.digest) != entry.digest;
                changed.push(Change { entry, has_new_content });
            }
        }
        let new = changed.iter().filter(|change| change.has_new_content);
        let needed: BTreeSet<&Digest> = new.filter_map(|change| change.entry.digest.as_ref()).collect();
        bodies.retain(|digest, _| needed.contains(digest));
        let source = Source { scopes: self.entries.values().cloned().collect(), ..header.clone() };
        self.header = Some(header);
        Update { source, changed, gone, bodies, is_first, look: Look::default() }
    }

    /// What the source says of itself after a look at everything.
    fn after_all(&mut self, held: Option<Source>, mut seen: Source) -> Source {
        self.warnings.clone_from(&seen.warnings);
        if let Some(held) = held
            && seen.runtime.is_none()
        {
            // Who could not be asked now is still who it was.
            (seen.runtime, seen.cluster, seen.host) = (held.runtime, held.cluster, held.host);
        }
        seen
    }

    /// What the source says of itself after a look at some scopes.
    fn after_some(&self, held: Source, seen: Source) -> Source {
        let mut warnings = self.warnings.clone();
        warnings.extend(seen.warnings.into_iter().filter(|warning| !self.warnings.contains(warning)));
        Source { observed_at: seen.observed_at, cost: seen.cost, warnings, ..held }
    }

    /// The scopes after a look at everything, and those that are gone.
    fn replaced(&self, scopes: Vec<ScopeEntry>, list: &Coverage, ends_list: bool) -> (Vec<ScopeEntry>, Vec<ScopeId>) {
        let mut entries: Vec<ScopeEntry> = scopes.into_iter().map(|entry| self.with_old_content(entry)).collect();
        let listed: BTreeSet<&ScopeId> = entries.iter().map(|entry| &entry.id).collect();
        let missing: Vec<&ScopeEntry> = self.entries.values().filter(|entry| !listed.contains(&entry.id)).collect();
        if ends_list {
            let gone = missing.into_iter().map(|entry| entry.id.clone()).collect();
            return (entries, gone);
        }
        let unseen: Vec<ScopeEntry> = missing.into_iter().map(|entry| unseen(entry, list)).collect();
        entries.extend(unseen);
        entries.sort_by(|a, b| a.id.cmp(&b.id));
        (entries, Vec::new())
    }

    /// The scopes of which a look at the named ones says something.
    fn renewed(
        &self,
        named: &BTreeSet<ScopeId>,
        scopes: Vec<ScopeEntry>,
        answer: &Coverage,
        bodies: &BTreeMap<Digest, Scope>,
    ) -> Vec<ScopeEntry> {
        let mut handed_over: BTreeMap<ScopeId, ScopeEntry> =
            scopes.into_iter().map(|entry| (entry.id.clone(), entry)).collect();
        let of_name = |id: &ScopeId| match (handed_over.remove(id), self.entries.get(id)) {
            (Some(entry), None) if may_not_exist(&entry, bodies) => None,
            (Some(entry), _) => Some(self.with_old_content(entry)),
            (None, Some(held)) => Some(unseen(held, answer)),
            (None, None) => None,
        };
        named.iter().filter_map(of_name).collect()
    }

    /// A scope of which nothing was seen, with what was seen of it last.
    fn with_old_content(&self, mut entry: ScopeEntry) -> ScopeEntry {
        if !entry.coverage.has_seen()
            && let Some(held) = self.entries.get(&entry.id)
        {
            entry.digest.clone_from(&held.digest);
            entry.counts = held.counts;
        }
        entry
    }
}

/// A scope that a look should have come to, and did not.
fn unseen(entry: &ScopeEntry, look: &Coverage) -> ScopeEntry {
    let reason = match look.reason() {
        Some(reason) => format!("it was not seen when it was looked at last: {reason}"),
        None => "it was not seen when it was looked at last; the collector did not say why".to_owned(),
    };
    ScopeEntry { coverage: Coverage::Failed { reason }, ..entry.clone() }
}

/// Whether this is all that a collector says of a scope that does not exist.
fn may_not_exist(entry: &ScopeEntry, bodies: &BTreeMap<Digest, Scope>) -> bool {
    let body = entry.digest.as_ref().and_then(|digest| bodies.get(digest));
    entry.coverage.is_complete() && body.is_none_or(|body| *body == Scope::default())
}

/// Whether two looks were at different clusters or machines. What is not known of one of them makes no difference.
fn is_another(held: &Source, seen: &Source) -> bool {
    let identity = |source: &Source| {
        let cluster = source.cluster.as_ref().and_then(|cluster| cluster.uid.clone());
        cluster.or_else(|| source.host.as_ref().and_then(|host| host.machine_id.clone()))
    };
    matches!((identity(held), identity(seen)), (Some(held), Some(seen)) if held != seen)
}
