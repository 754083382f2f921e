//! The inventory server: keeps what agents report, for as long as it counts, and answers questions about it.
//!
//! Data travels one way: `ingest` takes reports apart and writes rows, `api` reads them. Both know nobody: `access` says who
//! asks, for which account, and what they may.

mod access;
mod api;
mod app;
mod database;
mod foreign;
mod http;
mod ingest;
#[cfg(test)]
mod testing;
mod words;

pub use app::App;
pub use database::{Database, DatabaseError};
