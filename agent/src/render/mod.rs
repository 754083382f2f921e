//! The forms in which an inventory is printed.

mod clusters;
mod csv;
mod cyclonedx;
mod exchange;
mod flat;
mod gaps;
mod json;
mod k8s_inventory;
mod kai;
mod layout;
mod missing_tag;
mod plain;
#[cfg(test)]
mod sample;
mod table;

pub(crate) use exchange::{Exchange, exchange};
pub(crate) use json::{json, ndjson};
pub(crate) use layout::terminal_width;
pub(crate) use missing_tag::MissingTag;
pub(crate) use plain::plain;
pub(crate) use table::{describe, table};
