//! Takes reports: reads frames, finds what changed, and writes it in one transaction.

use crate::database::Database;

/// Takes reports.
pub(crate) struct Ingest {
    database: Database,
}

impl Ingest {
    pub(crate) fn new(database: Database) -> Self {
        Self { database }
    }
}
