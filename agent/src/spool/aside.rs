//! What a target will never take: put aside with the reason, for a person to look at.

use std::{
    io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use stocktake_core::model::Report;

use super::files::Files;

/// Bytes of what may lie aside; beyond it the oldest goes.
const ROOM: u64 = 64 << 20;

/// A report that a target refused.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Aside {
    pub(crate) target: String,
    pub(crate) reason: String,
    pub(crate) report: Report,
}

/// Its bodies are not kept: those of scopes that are still as they were are there anyway.
pub(super) fn put(files: &mut Files, target: &str, sequence: u64, report: &Report, reason: &str) -> io::Result<()> {
    let aside = Aside { target: target.to_owned(), reason: reason.to_owned(), report: report.clone() };
    let path = Path::new("aside").join(format!("refused-{sequence:020}-{target}.zst"));
    files.write_document(&path, &serde_json::to_vec(&aside)?)?;
    let mut all: Vec<PathBuf> = files.list("aside");
    // By the number in the name, whatever stands before it.
    all.sort_by_key(|path| path.file_name().and_then(|name| name.to_str()?.split('-').nth(1)).map(str::to_owned));
    let mut size: u64 = all.iter().map(|path| files.size_of(path)).sum();
    for path in all {
        if size <= ROOM {
            break;
        }
        size -= files.size_of(&path);
        files.remove(&path);
    }
    Ok(())
}
