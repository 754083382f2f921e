//! For people: a line a container, within the width of the terminal.

use std::io;

use stocktake_core::{model::Inventory, unify::UnifiedView};

use super::{by_image::by_image, by_source::by_source, unified::unified};

/// Which view of a report is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TableView {
    /// Each container once, by where it runs.
    Unified,
    /// What each source said, by source.
    BySource,
    /// Each image once, with what each source calls it.
    ByImage,
}

pub(crate) fn table(
    inventory: &Inventory,
    view: TableView,
    width: Option<usize>,
    out: &mut impl io::Write,
) -> io::Result<()> {
    match (view, UnifiedView::of(inventory)) {
        (TableView::Unified, Some(view)) => unified(&view, width, out)?,
        (TableView::ByImage, Some(view)) => by_image(&view, width, out)?,
        (TableView::BySource, _) | (_, None) => by_source(inventory, width, out)?,
    }
    if width.is_some() || view == TableView::ByImage {
        writeln!(out, "\ndigests: m manifest, i index, c config, r repository (index or manifest)")?;
    }
    Ok(())
}
