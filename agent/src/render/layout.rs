//! Fitting a table into a terminal: one line a row, shortened where it can best be spared.

use std::io;

use comfy_table::{ColumnConstraint, Table, Width, presets};

use super::plain::plain;

/// Which part of a text that is too long is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Elide {
    /// `nightly-backup` becomes `nightly…`.
    End,
    /// `web-5d4f8c7b9-x2k9p` becomes `web-5d…x2k9p`: generated names differ at both ends.
    Middle,
    /// `registry.example.com/team/app:1.0` becomes `…/team/app:1.0`: what tells images apart is at the end.
    Start,
}

/// A column before it is fitted.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub(crate) title: String,
    /// Columns are not made narrower than this.
    pub(crate) min: usize,
    pub(crate) elide: Elide,
    pub(crate) cells: Vec<String>,
}

impl Column {
    fn natural_width(&self) -> usize {
        self.cells.iter().map(|cell| cell.chars().count()).chain([self.title.len()]).max().unwrap_or_default()
    }
}

/// Blank columns between two columns.
const GAP: usize = 2;

/// Width of the terminal that stdout is, or of the one that `COLUMNS` describes. `None` for a pipe: nothing is cut.
pub(crate) fn terminal_width() -> Option<usize> {
    let from_environment = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    from_environment
        .or_else(|| terminal_size::terminal_size_of(io::stdout()).map(|(width, _)| usize::from(width.0)))
        .filter(|width| *width > 0)
}

/// Writes columns side by side, `indent` blanks in, within `width`.
pub(crate) fn write(
    mut columns: Vec<Column>,
    indent: usize,
    width: Option<usize>,
    out: &mut impl io::Write,
) -> io::Result<()> {
    columns.retain(|column| column.cells.iter().any(|cell| !cell.is_empty()));
    for cell in columns.iter_mut().flat_map(|column| &mut column.cells) {
        *cell = plain(cell);
    }
    let widths = fit(&columns, width.map(|width| width.saturating_sub(indent)));
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(columns.iter().map(|column| &column.title));
    let rows = columns.first().map_or(0, |column| column.cells.len());
    for row in 0..rows {
        let cells = columns.iter().zip(&widths).map(|(column, width)| {
            column.cells.get(row).map(|cell| elide(cell, *width, column.elide)).unwrap_or_default()
        });
        table.add_row(cells);
    }
    let last = widths.len().saturating_sub(1);
    for (index, (column, width)) in table.column_iter_mut().zip(&widths).enumerate() {
        let gap = if index == last { 0 } else { GAP };
        column.set_padding((0, u16::try_from(gap).unwrap_or_default()));
        let width = u16::try_from(width + gap).unwrap_or(u16::MAX);
        column.set_constraint(ColumnConstraint::Absolute(Width::Fixed(width)));
    }
    for line in table.lines() {
        writeln!(out, "{:indent$}{}", "", line.trim_end())?;
    }
    Ok(())
}

/// The width in which nothing of the columns is cut.
pub(crate) fn full_width(columns: &[Column]) -> usize {
    let shown = columns.iter().filter(|column| column.cells.iter().any(|cell| !cell.is_empty()));
    shown.map(|column| column.natural_width() + GAP).sum::<usize>().saturating_sub(GAP)
}

/// Writes a text in as many lines as it takes, those after the first further in.
pub(crate) fn paragraph(text: &str, indent: usize, width: Option<usize>, out: &mut impl io::Write) -> io::Result<()> {
    let (first, further) = (" ".repeat(indent), " ".repeat(indent + 2));
    let options = textwrap::Options::new(width.unwrap_or(usize::MAX))
        .initial_indent(&first)
        .subsequent_indent(&further)
        .break_words(false)
        .word_splitter(textwrap::WordSplitter::NoHyphenation);
    textwrap::wrap(&plain(text), options).iter().try_for_each(|line| writeln!(out, "{line}"))
}

/// Takes from the column that has most to spare until all fit or none can give.
fn fit(columns: &[Column], width: Option<usize>) -> Vec<usize> {
    let mut widths: Vec<usize> = columns.iter().map(Column::natural_width).collect();
    let Some(limit) = width else { return widths };
    let gaps = GAP * columns.len().saturating_sub(1);
    while widths.iter().sum::<usize>() + gaps > limit {
        let spare = |(index, width): (usize, &usize)| (width.saturating_sub(columns[index].min), index);
        match widths.iter().enumerate().map(spare).max() {
            Some((spare, index)) if spare > 0 => widths[index] -= 1,
            _ => break,
        }
    }
    widths
}

fn elide(text: &str, width: usize, how: Elide) -> String {
    let length = text.chars().count();
    if length <= width {
        return text.to_owned();
    }
    let keep = width.saturating_sub(1);
    let (head, tail) = match how {
        Elide::End => (keep, 0),
        Elide::Middle => (keep - keep / 2, keep / 2),
        Elide::Start => (0, keep),
    };
    text.chars().take(head).chain(['…']).chain(text.chars().skip(length - tail)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_out_what_matters_least() {
        assert_eq!(elide("nightly-backup", 8, Elide::End), "nightly…");
        assert_eq!(elide("web-5d4f8c7b9-x2k9p", 12, Elide::Middle), "web-5d…x2k9p");
        assert_eq!(elide("registry.example.com/team/app:1.0", 14, Elide::Start), "…/team/app:1.0");
        assert_eq!(elide("short", 5, Elide::End), "short");
    }

    #[test]
    fn the_widest_gives_first_and_none_more_than_it_can() {
        let column =
            |text: &str, min| Column { title: "T".into(), min, elide: Elide::End, cells: vec![text.to_owned()] };
        let columns = [column("aaaaaaaaaaaaaaaaaaaa", 5), column("bbbbbbbbbb", 5)];
        assert_eq!(fit(&columns, None), [20, 10]);
        assert_eq!(fit(&columns, Some(22)), [10, 10]);
        assert_eq!(fit(&columns, Some(3)), [5, 5]);
    }
}
