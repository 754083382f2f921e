//! Collectors that are programs of their own: what such a program prints and how it exits, alike for the collector that
//! starts it and for [`main`], which makes such a program of any [`CollectorPlugin`](crate::CollectorPlugin).
//!
//! The protocol is in `docs/exec.md`. The types need nothing; `main` is behind the feature `exec`, which brings an async
//! runtime.

mod document;
mod exit;
#[cfg(feature = "exec")]
mod program;

pub use document::{Document, Runtime, ScopeDocument, document_schema};
pub use exit::Exit;
#[cfg(feature = "exec")]
pub use program::main;

/// Environment variable that tells a program what is wanted of it.
pub const REQUEST: &str = "STOCKTAKE_REQUEST";
/// Value of [`REQUEST`] where only who the runtime is is wanted. A program may ignore it and tell everything.
pub const REQUEST_PROBE: &str = "probe";
/// Value of [`REQUEST`] where everything is wanted.
pub const REQUEST_COLLECT: &str = "collect";
/// Environment variable that tells a program the collector's name in the agent's configuration.
pub const COLLECTOR: &str = "STOCKTAKE_COLLECTOR";
