//! For programs: what differs since the last look, one line a thing.

use std::io::{self, Write};

use stocktake_core::model::{Report, ScopeId, Source};

use super::json::{report_line, scope_lines, source_line, tagged};
use crate::follow::Update;

/// One line for the report and one for the source that was looked at, as [`ndjson`](super::ndjson) has them; then one for
/// each scope of which something else is known, followed by everything in it if that differs, and one for each scope that
/// does not exist any more.
pub(crate) fn ndjson_update(report: &Report, update: &Update, out: &mut impl Write) -> io::Result<()> {
    let Source { collector, .. } = &update.source;
    report_line(report, out)?;
    source_line(&update.source, out)?;
    for change in &update.changed {
        scope_lines(collector, &change.entry, update.body(change), out)?;
    }
    update.gone.iter().try_for_each(|id: &ScopeId| tagged("scope_gone", Some(collector), None, id, out))
}
