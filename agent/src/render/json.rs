//! For programs: one document, or one line a thing.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::Value;
use stocktake_core::{
    model::{ScopeEntry, ScopeId, Source},
    unify::Document,
};

/// One document.
pub(crate) fn json(of: &Document<'_>, indented: bool, out: &mut impl Write) -> io::Result<()> {
    document(of, indented, out)
}

/// One document, of whatever format.
pub(super) fn document(value: &impl Serialize, indented: bool, out: &mut impl Write) -> io::Result<()> {
    if indented { serde_json::to_writer_pretty(&mut *out, value) } else { serde_json::to_writer(&mut *out, value) }?;
    writeln!(out)
}

/// One line for the report, then one a source, then one a scope followed by one for each thing in it, then one for each
/// thing of the unified view. Each line says what it is (`type`) and where it was seen (`collector`, `scope`).
pub(crate) fn ndjson(document: &Document<'_>, out: &mut impl Write) -> io::Result<()> {
    let Document { report, scopes, unified } = document;
    let header = without(serde_json::to_value(report)?, "sources");
    line(out, &Line { kind: "report", collector: None, scope: None, body: &header })?;
    for source in &report.sources {
        let collector = source.collector.as_str();
        let header = without(serde_json::to_value(Source { scopes: Vec::new(), ..source.clone() })?, "scopes");
        line(out, &Line { kind: "source", collector: None, scope: None, body: &header })?;
        for entry in &source.scopes {
            let ScopeEntry { id, digest, .. } = entry;
            line(out, &Line { kind: "scope", collector: Some(collector), scope: None, body: entry })?;
            let Some(scope) = digest.as_ref().and_then(|digest| scopes.get(digest)) else { continue };
            let place = (collector, id);
            lines(out, "node", place, &scope.nodes)?;
            lines(out, "namespace", place, &scope.namespaces)?;
            lines(out, "workload", place, &scope.workloads)?;
            lines(out, "pod", place, &scope.pods)?;
            lines(out, "container", place, &scope.containers)?;
            lines(out, "image", place, &scope.images)?;
        }
    }
    of_all(out, "unified_container", unified.containers())?;
    of_all(out, "unified_image", unified.images())?;
    of_all(out, "finding", unified.findings().iter())
}

fn of_all<T: Serialize>(out: &mut impl Write, kind: &str, mut things: impl Iterator<Item = T>) -> io::Result<()> {
    things.try_for_each(|body| line(out, &Line { kind, collector: None, scope: None, body: &body }))
}

/// A list that has its own lines is not there, instead of empty.
fn without(mut value: Value, key: &str) -> Value {
    if let Some(object) = value.as_object_mut() {
        object.remove(key);
    }
    value
}

fn lines<T: Serialize>(
    out: &mut impl Write,
    kind: &str,
    (collector, scope): (&str, &ScopeId),
    things: &[T],
) -> io::Result<()> {
    things.iter().try_for_each(|body| line(out, &Line { kind, collector: Some(collector), scope: Some(scope), body }))
}

/// A thing with where it was seen. `type` and not `kind`, which is a field of things.
#[derive(Serialize)]
struct Line<'a, T> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    collector: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'a ScopeId>,
    #[serde(flatten)]
    body: &'a T,
}

fn line<T: Serialize>(out: &mut impl Write, line: &Line<'_, T>) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line).map_err(io::Error::from)?;
    writeln!(out)
}
