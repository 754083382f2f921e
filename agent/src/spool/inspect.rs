//! A spool looked at from outside, also while an agent uses it.

use std::{collections::BTreeMap, io, path::Path};

use stocktake_core::{
    Digest,
    model::{Report, Scope},
};

use super::{aside::Aside, cursor, files::Files, queue};
use crate::deliver::{Bodies, contents};

/// What is in a spool.
pub(crate) struct Inspection {
    files: Files,
    pub(crate) lying: Vec<Lying>,
}

/// A report in it.
pub(crate) struct Lying {
    pub(crate) sequence: u64,
    /// Bytes of the manifest on disk.
    pub(crate) size: u64,
    /// The report, or why it cannot be read.
    pub(crate) report: Result<Report, String>,
    /// The targets that have not acknowledged it, or who refused it.
    pub(crate) waits_for: String,
}

/// Looks at a spool, and changes nothing.
pub(crate) fn inspect(dir: &Path) -> io::Result<Inspection> {
    let files = Files::look(dir)?;
    let cursors = cursor::saved(&files);
    let mut lying = Vec::new();
    for path in files.list("reports") {
        let Some(sequence) = queue::sequence_of(&path) else { continue };
        let waiting = cursors.iter().filter(|(_, acknowledged)| *acknowledged < sequence);
        let waits_for = waiting.map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
        match queue::read(&files, &path) {
            Ok((report, _)) => {
                lying.push(Lying { sequence, size: files.size_of(&path), report: Ok(report), waits_for });
            }
            // Delivered since the folder was read.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                lying.push(Lying { sequence, size: files.size_of(&path), report: Err(error.to_string()), waits_for });
            }
        }
    }
    for path in files.list("aside") {
        let Ok(document) = files.read_document(&path) else { continue };
        let Ok(Aside { target, reason, report }) = serde_json::from_slice(&document) else { continue };
        let sequence = report.sequence.unwrap_or_default();
        let waits_for = format!("refused by {target}: {reason}");
        lying.push(Lying { sequence, size: files.size_of(&path), report: Ok(report), waits_for });
    }
    Ok(Inspection { files, lying })
}

impl Inspection {
    /// A report with the bodies that are there.
    pub(crate) fn contents(&self, report: Report) -> io::Result<(Report, BTreeMap<Digest, Scope>)> {
        contents(report, &self.files)
    }
}

impl Bodies for Files {
    fn body(&self, digest: &Digest) -> io::Result<Option<Vec<u8>>> {
        match self.read_body(digest) {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(None),
            read => read,
        }
    }
}

/// Drops reports of a spool that no agent uses; all of them with `None`. What was put aside under their numbers goes with
/// them. Returns the numbers that were there.
pub(crate) fn drop_reports(dir: &Path, sequences: Option<&[u64]>) -> io::Result<Vec<u64>> {
    // Before it is opened, which would make it.
    Files::look(dir)?;
    let mut files = Files::open(dir)?;
    let is_meant = |sequence: u64| sequences.is_none_or(|sequences| sequences.contains(&sequence));
    let mut dropped = Vec::new();
    for path in files.list("reports") {
        if let Some(sequence) = queue::sequence_of(&path).filter(|sequence| is_meant(*sequence)) {
            files.remove(&path);
            dropped.push(sequence);
        }
    }
    for path in files.list("aside") {
        // `refused-NUMBER-target`, `damaged-NUMBER`.
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        let number = name.split('-').nth(1).and_then(|number| number.parse().ok());
        if sequences.is_none() || number.is_some_and(is_meant) {
            files.remove(&path);
            dropped.extend(number.filter(|number| !dropped.contains(number)));
        }
    }
    files.settle().map_err(io::Error::other)?;
    Ok(dropped)
}
