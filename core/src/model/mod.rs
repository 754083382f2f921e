//! The report model: what every collector fills, every target sends and the server keeps.
//!
//! Field names are the Kubernetes, CRI and OCI words in `snake_case`, the same in Rust, JSON and documentation.
//! Readers accept fields and words that they do not know (a report may come from a newer agent); writers leave out
//! what is not known instead of writing an empty value. The published form is `docs/schema/inventory.v1.json`.

mod container;
mod image;
mod node;
mod pod;
mod report;
mod scope;
mod unified;
mod workload;

/// A text of the model. To clone one costs nothing: up to 23 bytes stand in the value itself, and of a longer one all
/// clones share the same. Whoever reads the same text again and again, such as a node's name in each of its pods, does well
/// to clone the first.
pub use smol_str::SmolStr as Text;

pub use container::{Container, ContainerKind, ContainerState};
pub use image::{DigestFact, Image, MissingReason, Platform, Provenance};
pub use node::{Namespace, Node};
pub use pod::Pod;
pub use report::{
    Agent, Cluster, Cost, Host, Inventory, Report, RuntimeVersion, SCHEMA_VERSION, Shown, Source, Warning,
};
pub use scope::{Counts, Coverage, Scope, ScopeEntry, ScopeId, ScopeKind};
pub use unified::{Finding, FindingKind, JoinedBy, Sighting, Unified, UnifiedContainer, UnifiedImage, VantagePoint};
pub use workload::Workload;

/// JSON Schema of an [`Inventory`], the document that `stocktake-agent collect --format json` prints.
#[must_use]
pub fn inventory_schema() -> schemars::Schema {
    schemars::schema_for!(Inventory)
}
