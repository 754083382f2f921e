//! For programs: one document, or one line a thing.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::Value;
use stocktake_core::{
    model::{Report, Scope, ScopeEntry, ScopeId, Source},
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
    report_line(report, out)?;
    for source in &report.sources {
        source_line(source, out)?;
        for entry in &source.scopes {
            let body = entry.digest.as_ref().and_then(|digest| scopes.get(digest));
            scope_lines(&source.collector, entry, body, out)?;
        }
    }
    of_all(out, "unified_container", unified.containers())?;
    of_all(out, "unified_image", unified.images())?;
    of_all(out, "finding", unified.findings().iter())
}

/// A report without its sources.
pub(super) fn report_line(report: &Report, out: &mut impl Write) -> io::Result<()> {
    tagged("report", None, None, &without(serde_json::to_value(report)?, "sources"), out)
}

/// A source without its scopes.
pub(super) fn source_line(source: &Source, out: &mut impl Write) -> io::Result<()> {
    tagged("source", None, None, &without(serde_json::to_value(source)?, "scopes"), out)
}

/// A scope, and each thing in it.
pub(super) fn scope_lines(
    collector: &str,
    entry: &ScopeEntry,
    body: Option<&Scope>,
    out: &mut impl Write,
) -> io::Result<()> {
    tagged("scope", Some(collector), None, entry, out)?;
    let Some(Scope { nodes, namespaces, workloads, pods, containers, images }) = body else { return Ok(()) };
    let place = (collector, &entry.id);
    lines(out, "node", place, nodes)?;
    lines(out, "namespace", place, namespaces)?;
    lines(out, "workload", place, workloads)?;
    lines(out, "pod", place, pods)?;
    lines(out, "container", place, containers)?;
    lines(out, "image", place, images)
}

fn of_all<T: Serialize>(out: &mut impl Write, kind: &str, mut things: impl Iterator<Item = T>) -> io::Result<()> {
    things.try_for_each(|body| tagged(kind, None, None, &body, out))
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
    things.iter().try_for_each(|body| tagged(kind, Some(collector), Some(scope), body, out))
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

/// One line.
pub(super) fn tagged<T: Serialize>(
    kind: &str,
    collector: Option<&str>,
    scope: Option<&ScopeId>,
    body: &T,
    out: &mut impl Write,
) -> io::Result<()> {
    serde_json::to_writer(&mut *out, &Line { kind, collector, scope, body }).map_err(io::Error::from)?;
    writeln!(out)
}
