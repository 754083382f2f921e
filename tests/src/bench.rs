//! What the benchmarks share.

pub mod fill;
pub mod process;
pub mod table;
