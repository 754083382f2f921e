//! Containers that several sources see: their identifiers are noted, so that whoever counts knows of which there is more than one row.

use super::Writer;
use crate::{
    database::{Column, DatabaseError, Rows},
    words,
};

/// Identifiers of the runtime that rows have from this transaction on.
#[derive(Default)]
pub(super) struct Named(Vec<Vec<u8>>);

impl Named {
    /// Adds one, as `words::pack` made it. What a person may have chosen twice says nothing.
    pub(super) fn push(&mut self, runtime_id: &[u8]) {
        if runtime_id.first() == Some(&words::RANDOM) {
            self.0.push(runtime_id.to_owned());
        }
    }
}

/// Notes those of them that another row has, too. Only once the account's events are numbered: from then on nobody else writes at the same
/// time, so that of two who tell of one container the later sees what the other told.
pub(super) async fn note(writer: &mut Writer<'_>) -> Result<(), DatabaseError> {
    let named = std::mem::take(&mut writer.named).0;
    if named.is_empty() {
        return Ok(());
    }
    let mut rows = Rows::new(&[Column::Bytes]);
    for runtime_id in named {
        rows.push([runtime_id.into()]);
    }
    let after = "AS v WHERE (SELECT COUNT(*) FROM container c WHERE c.account_id = $1 \
        AND substr(c.runtime_id, 1, 8) = substr(v.column1, 1, 8) AND c.runtime_id = v.column1) > 1 ON CONFLICT DO NOTHING";
    let before = "INSERT INTO shared_container (account_id, runtime_id) SELECT $1, v.column1 FROM";
    rows.execute(writer.connection, writer.dialect, &[writer.account.into()], [before, after]).await?;
    Ok(())
}
