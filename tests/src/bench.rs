//! What the benchmarks share.

pub mod fill;
pub mod made;
pub mod pods;
pub mod process;
pub mod reporter;
pub mod served;
pub mod table;
