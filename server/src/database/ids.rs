//! Identifiers of rows, taken in blocks.

use tokio::sync::Mutex;

use super::{Database, DatabaseError};

/// How many are taken at once, at the least.
const BLOCK: i64 = 4096;

/// Those that were taken and not yet given.
#[derive(Debug, Default)]
pub(super) struct Ids(Mutex<std::ops::Range<i64>>);

impl Ids {
    pub(super) async fn take(&self, database: &Database, count: usize) -> Result<i64, DatabaseError> {
        let count = i64::try_from(count).unwrap_or(i64::MAX / 2);
        let mut left = self.0.lock().await;
        if left.end - left.start < count {
            let block = count.max(BLOCK);
            let mut writing = database.write().await?;
            let next: i64 = sqlx::query_scalar("UPDATE id_block SET next = next + $1 RETURNING next")
                .bind(block)
                .fetch_one(writing.connection())
                .await?;
            writing.commit().await?;
            *left = next - block..next;
        }
        let first = left.start;
        left.start += count;
        Ok(first)
    }
}
