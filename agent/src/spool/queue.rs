//! Manifests in their order, and which bodies they name.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use stocktake_core::{Digest, model::Report};

use super::{
    Backlog, Waiting, digests,
    files::{Files, is_lost},
};

/// What is held of the reports that wait: the rest is read when it is their turn.
#[derive(Debug, Default)]
pub(super) struct Queue {
    reports: BTreeMap<u64, Entry>,
    /// How many manifests, those that targets have acknowledged last included, name a body.
    named: HashMap<Digest, u32>,
    /// The greatest number that was given.
    last: u64,
}

#[derive(Debug)]
struct Entry {
    made: Timestamp,
    size: u64,
}

impl Queue {
    /// What is on disk, and why some of it is not in the queue.
    pub(super) fn load(files: &mut Files) -> io::Result<(Self, Vec<String>)> {
        let (mut queue, mut damaged) = (Self::default(), Vec::new());
        queue.last = mark(files);
        for path in files.list("reports") {
            let Some(sequence) = sequence_of(&path) else {
                tracing::warn!("{} is no report and is left alone", path.display());
                continue;
            };
            queue.last = queue.last.max(sequence);
            match read(files, &path) {
                Ok((report, _)) => {
                    queue.name(digests(&report).cloned());
                    queue.reports.insert(sequence, Entry { made: report.created_at, size: files.size_of(&path) });
                }
                Err(error) if is_lost(&error) => {
                    damaged.push(error.to_string());
                    files.rename(&path, &aside(sequence));
                }
                Err(error) => return Err(error),
            }
        }
        Ok((queue, damaged))
    }

    /// The greatest number that was given; 0 if none was.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    pub(super) fn first(&self) -> Option<u64> {
        self.reports.keys().next().copied()
    }

    pub(super) fn first_behind(&self, sequence: u64) -> Option<u64> {
        self.reports.range(sequence + 1..).next().map(|(sequence, _)| *sequence)
    }

    /// When the oldest was made.
    pub(super) fn oldest(&self) -> Option<Timestamp> {
        self.reports.values().next().map(|entry| entry.made)
    }

    /// What waits for who has acknowledged all up to that.
    pub(super) fn behind(&self, sequence: u64) -> Backlog {
        let mut backlog = Backlog::default();
        for entry in self.reports.range(sequence + 1..).map(|(_, entry)| entry) {
            backlog.oldest.get_or_insert(entry.made);
            backlog.reports += 1;
            backlog.bytes += entry.size;
        }
        backlog
    }

    pub(super) fn push(
        &mut self,
        files: &mut Files,
        sequence: u64,
        report: &Report,
        manifest: &[u8],
    ) -> io::Result<()> {
        let path = path_of(sequence);
        files.write_document(&path, manifest)?;
        self.name(digests(report).cloned());
        self.reports.insert(sequence, Entry { made: report.created_at, size: files.size_of(&path) });
        self.last = sequence;
        files.write_lightly(Path::new(MARK), sequence.to_string().as_bytes());
        Ok(())
    }

    /// Writes another manifest in the place of one that names the same bodies.
    pub(super) fn rewrite(&mut self, files: &mut Files, sequence: u64, manifest: &[u8]) -> io::Result<()> {
        let path = path_of(sequence);
        files.write_document(&path, manifest)?;
        if let Some(entry) = self.reports.get_mut(&sequence) {
            entry.size = files.size_of(&path);
        }
        Ok(())
    }

    /// A report that is damaged is `InvalidData`.
    pub(super) fn read(files: &Files, sequence: u64) -> io::Result<Waiting> {
        let (report, manifest) = read(files, &path_of(sequence))?;
        Ok(Waiting { sequence, report, manifest })
    }

    /// Removes a report. Returns the bodies that no manifest names any more.
    pub(super) fn remove(&mut self, files: &mut Files, sequence: u64) -> Vec<Digest> {
        let named = match read(files, &path_of(sequence)) {
            Ok((report, _)) => digests(&report).cloned().collect(),
            // Its bodies stay until the next start.
            Err(_) => Vec::new(),
        };
        self.reports.remove(&sequence);
        files.remove(&path_of(sequence));
        self.unname(named)
    }

    /// Takes out a report that cannot be read.
    pub(super) fn put_aside(&mut self, files: &mut Files, sequence: u64) {
        self.reports.remove(&sequence);
        files.rename(&path_of(sequence), &aside(sequence));
    }

    pub(super) fn name(&mut self, digests: impl IntoIterator<Item = Digest>) {
        for digest in digests {
            *self.named.entry(digest).or_default() += 1;
        }
    }

    /// Returns those that no manifest names any more.
    pub(super) fn unname(&mut self, digests: impl IntoIterator<Item = Digest>) -> Vec<Digest> {
        let mut unnamed = Vec::new();
        for digest in digests {
            let Some(count) = self.named.get_mut(&digest) else { continue };
            *count -= 1;
            if *count == 0 {
                self.named.remove(&digest);
                unnamed.push(digest);
            }
        }
        unnamed
    }

    pub(super) fn names(&self, digest: &Digest) -> bool {
        self.named.contains_key(digest)
    }
}

/// The greatest number that was given, so that none is given twice when no report and no target is left to tell. Where this
/// is lost, too, reports are told apart by the agent's runs.
const MARK: &str = "sequence";

fn mark(files: &Files) -> u64 {
    let text = files.read(Path::new(MARK)).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    text.and_then(|text| text.trim().parse().ok()).unwrap_or_default()
}

/// With as many zeros as keep names in the order of numbers.
fn path_of(sequence: u64) -> PathBuf {
    Path::new("reports").join(format!("{sequence:020}.zst"))
}

fn aside(sequence: u64) -> PathBuf {
    Path::new("aside").join(format!("damaged-{sequence:020}.zst"))
}

pub(super) fn sequence_of(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.strip_suffix(".zst")?.parse().ok()
}

/// A manifest, and the same as it was written.
pub(super) fn read(files: &Files, path: &Path) -> io::Result<(Report, Vec<u8>)> {
    let manifest = files.read_document(path)?;
    let report = serde_json::from_slice(&manifest).map_err(|error| {
        io::Error::new(io::ErrorKind::InvalidData, format!("{}: no manifest: {error}", path.display()))
    })?;
    Ok((report, manifest))
}
