//! The forms in which an inventory is printed.

mod by_image;
mod by_source;
mod changes;
pub(crate) mod clusters;
mod csv;
mod cyclonedx;
mod exchange;
mod flat;
mod gaps;
mod json;
pub(crate) mod k8s_inventory;
pub(crate) mod kai;
mod layout;
mod line;
mod missing_tag;
mod plain;
#[cfg(test)]
pub(crate) mod sample;
mod status;
mod stream;
mod table;
mod unified;

pub(crate) use by_source::describe;
pub(crate) use changes::Changes;
pub(crate) use exchange::{Exchange, exchange};
pub(crate) use gaps::gaps;
pub(crate) use json::{json, ndjson};
pub(crate) use layout::terminal_width;
pub(crate) use line::age;
pub(crate) use missing_tag::MissingTag;
pub(crate) use plain::plain;
pub(crate) use status::status;
pub(crate) use stream::ndjson_update;
pub(crate) use table::{TableView, table};
