//! From observations to one report: everything in its normal form, without the containers that are not to be reported.

use std::collections::BTreeMap;

use jiff::Timestamp;
use stocktake_core::{
    Digest,
    filter::{Filters, Removed, limit_source},
    model::{Agent, Counts, Report, SCHEMA_VERSION, Scope, ScopeEntry, Text, Warning},
    normalise, scope_digest,
};
use uuid::Uuid;

use crate::observe::Observation;

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
    let mut scopes = BTreeMap::new();
    let mut sources = Vec::new();
    for Observation { mut source, bodies, .. } in observations {
        let mut of_scopes = Vec::with_capacity(bodies.len());
        for (entry, (body, removed)) in source.scopes.iter_mut().zip(bodies) {
            let (body, warning) = seal(entry, body, &removed);
            scopes.extend(body);
            source.warnings.extend(warning);
            of_scopes.push(removed);
        }
        let of_source = limit_source(&mut source);
        source.warnings.extend(of_source.limits_warning("what it says of itself", None));
        sources.push((source, of_source, of_scopes));
    }
    sources.sort_by(|(a, ..), (b, ..)| a.collector.cmp(&b.collector));
    let mut cleaned = Vec::new();
    let sources = sources.into_iter().map(|(source, of_source, of_scopes)| {
        cleaned.push((of_source, of_scopes));
        source
    });
    let sources = sources.collect();
    let report =
        Report { schema: SCHEMA_VERSION.to_owned(), id: Uuid::now_v7(), agent, created_at: Timestamp::now(), sources };
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
    Assembled { report, scopes, removed }
}

/// Brings a body into the form that a digest is of, and fills in the scope's line in the manifest. The body of a scope of
/// which nothing was seen is none. What had to be mended in it is said.
fn seal(entry: &mut ScopeEntry, mut body: Scope, removed: &Removed) -> (Option<(Digest, Scope)>, Option<Warning>) {
    entry.counts = normalise(&mut body);
    entry.counts.truncated = removed.truncated();
    let Counts { duplicates, dangling_references, .. } = entry.counts;
    let warning = (duplicates + dangling_references > 0).then(|| {
        Warning::new(format!(
            "the runtime's answer about {} contradicts itself: {duplicates} entries with the key of another were dropped, \
             {dangling_references} references to what is not there cut; report it to who makes the runtime or its collector",
            entry.id
        ))
    });
    entry.digest = entry.coverage.has_seen().then(|| scope_digest(&body));
    (entry.digest.clone().map(|digest| (digest, body)), warning)
}
