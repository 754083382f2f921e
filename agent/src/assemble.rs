//! From observations to one report: without the containers that are not to be reported.

use std::collections::BTreeMap;

use jiff::Timestamp;
use stocktake_core::{
    Digest,
    filter::{Filters, Removed, limit_source},
    model::{Agent, Report, SCHEMA_VERSION, Scope, Source, Text},
};
use uuid::Uuid;

use crate::observe::{Content, Observation};

/// What is to be told of the runtimes.
pub(crate) struct Assembled {
    pub(crate) report: Report,
    /// Bodies by digest.
    pub(crate) scopes: BTreeMap<Digest, Scope>,
    /// What was taken out, by collector.
    pub(crate) removed: BTreeMap<Text, Removed>,
}

/// One report of all observations.
pub(crate) fn assemble(agent: Agent, observations: Vec<Observation>, filters: &Filters) -> Assembled {
    let (report, scopes, removed) = manifest(report(agent), observations, filters);
    Assembled { report, scopes, removed }
}

/// What is to be told of one runtime, and the bodies of its scopes.
pub(crate) fn of_source(observation: Observation, filters: &Filters) -> (Source, BTreeMap<Digest, Scope>) {
    let (mut report, scopes, _) = manifest(report(Agent::default()), vec![observation], filters);
    // One observation makes one source, whatever filters take out of it.
    (report.sources.swap_remove(0), scopes)
}

/// A report of nothing yet.
pub(crate) fn report(agent: Agent) -> Report {
    let (schema, id) = (SCHEMA_VERSION.to_owned(), Uuid::now_v7());
    Report {
        schema,
        id,
        agent,
        created_at: Timestamp::now(),
        sequence: None,
        valid_for_seconds: None,
        sources: Vec::new(),
    }
}

fn manifest(
    mut report: Report,
    observations: Vec<Observation>,
    filters: &Filters,
) -> (Report, BTreeMap<Digest, Scope>, BTreeMap<Text, Removed>) {
    let mut scopes = BTreeMap::new();
    let mut sources = Vec::new();
    for Observation { mut source, contents, .. } in observations {
        let mut of_scopes = Vec::with_capacity(contents.len());
        for (entry, Content { body, removed, mended }) in source.scopes.iter().zip(contents) {
            scopes.extend(entry.digest.clone().zip(body));
            source.warnings.extend(mended);
            of_scopes.push(removed);
        }
        let of_source = limit_source(&mut source);
        source.warnings.extend(of_source.limits_warning("what it says of itself", None));
        sources.push((source, of_source, of_scopes));
    }
    sources.sort_by(|(a, ..), (b, ..)| a.collector.cmp(&b.collector));
    let mut cleaned = Vec::new();
    report.sources.extend(sources.into_iter().map(|(source, of_source, of_scopes)| {
        cleaned.push((of_source, of_scopes));
        source
    }));
    let (mut report, scopes, mut removed) = if filters.selects_containers() {
        filters.remove_containers(report, scopes)
    } else {
        (report, scopes, BTreeMap::new())
    };
    for (source, (of_source, of_scopes)) in report.sources.iter_mut().zip(cleaned) {
        let removed = removed.entry(source.collector.clone()).or_default();
        removed.merge(of_source);
        for (entry, of_scope) in source.scopes.iter().zip(of_scopes) {
            // Only now, when it is known what is left to speak of.
            let body = entry.digest.as_ref().and_then(|digest| scopes.get(digest));
            source.warnings.extend(of_scope.limits_warning(&entry.id.to_string(), body));
            removed.merge(of_scope);
        }
    }
    (report, scopes, removed)
}
