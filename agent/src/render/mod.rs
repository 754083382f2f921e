//! The forms in which an inventory is printed.

mod json;
mod layout;
mod table;

pub(crate) use json::{json, ndjson};
pub(crate) use layout::terminal_width;
pub(crate) use table::table;
