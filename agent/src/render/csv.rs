//! One row a container, for spreadsheets: RFC 4180 with a header.

use std::io::{self, Write};

use csv::{Terminator, WriterBuilder};
use stocktake_core::{model::ContainerKind, unify::UnifiedView};

use super::flat::FIELDS;

/// Every container but those that only hold a pod's namespaces, in the order of the unified view. What is not known is
/// an empty cell.
pub(super) fn csv(view: &UnifiedView<'_>, out: &mut impl Write) -> io::Result<()> {
    let mut writer = WriterBuilder::new().terminator(Terminator::CRLF).from_writer(out);
    writer.write_record(FIELDS.map(|(name, _)| name)).map_err(io_error)?;
    for container in &view.containers {
        if container.container.kind != ContainerKind::Sandbox {
            let cells = FIELDS.map(|(_, value)| value(container).map(text).unwrap_or_default());
            writer.write_record(cells).map_err(io_error)?;
        }
    }
    writer.flush()
}

/// The crate's own conversion hides that a reader has closed the pipe.
fn io_error(error: ::csv::Error) -> io::Error {
    match error.into_kind() {
        ::csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}

/// A cell that a spreadsheet takes for text. What it would take for a formula gets an apostrophe before it, for names of
/// images and reasons of states are written by others (OWASP, "CSV Injection"); so does what begins with an
/// apostrophe, so that taking away the first one of a cell gives back the value.
fn text(value: String) -> String {
    if value.starts_with(['=', '+', '-', '@', '\t', '\r', '\'']) { format!("'{value}") } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::sample;

    #[test]
    fn a_spreadsheet_meets_no_formula() {
        for value in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "'=1"] {
            assert_eq!(text(value.to_owned()), format!("'{value}"));
        }
        for value in ["", "nginx:1.27", "a=b", "1-2"] {
            assert_eq!(text(value.to_owned()), value);
        }
    }

    #[test]
    fn whatever_a_cell_holds_it_stays_one_cell() {
        let image = "a,\"b\"\r\nc;d";
        let inventory = sample::one_container(image, &[], &[]);
        let mut out = Vec::new();
        csv(&UnifiedView::of(&inventory).unwrap(), &mut out).unwrap();
        let mut reader = ::csv::Reader::from_reader(out.as_slice());
        let column = reader.headers().unwrap().iter().position(|name| name == "image").unwrap();
        let rows: Vec<_> = reader.records().collect::<Result<_, _>>().unwrap();
        assert_eq!(rows.len(), 1);
        assert_eq!(&rows[0][column], image);
    }

    #[test]
    fn nothing_is_a_header() {
        let mut out = Vec::new();
        csv(&UnifiedView::of(&sample::inventory(Vec::new())).unwrap(), &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.lines().count(), 1);
        assert!(text.starts_with("cluster,cluster_uid,host,") && text.ends_with(",collectors\r\n"), "{text}");
    }
}
