//! The forms in which an inventory is printed.

mod by_image;
mod by_source;
mod json;
mod layout;
mod line;
mod plain;
mod table;
mod unified;

pub(crate) use by_source::describe;
pub(crate) use json::{json, ndjson};
pub(crate) use layout::terminal_width;
pub(crate) use plain::plain;
pub(crate) use table::{TableView, table};
