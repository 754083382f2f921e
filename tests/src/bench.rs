//! What the benchmarks share.

pub mod fill;
pub mod made;
pub mod process;
pub mod reporter;
pub mod table;
