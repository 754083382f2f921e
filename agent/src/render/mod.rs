//! The forms in which an inventory is printed.

mod json;
mod layout;
mod plain;
mod table;

pub(crate) use json::{json, ndjson};
pub(crate) use layout::terminal_width;
pub(crate) use plain::plain;
pub(crate) use table::{describe, table};
