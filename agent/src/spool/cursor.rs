//! Up to which report a target has them all, and the last one that it has.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use stocktake_core::Digest;

use super::{files::Files, queue};
use crate::deliver::Base;

#[derive(Debug)]
pub(super) struct Cursor {
    /// Number of the last report that the target has; 0 if it has none.
    pub(super) acknowledged: u64,
    /// Where that report is kept, so that the next one can be sent as what differs.
    base: PathBuf,
    /// The bodies that it names.
    named: Vec<Digest>,
}

/// What is on disk of it.
#[derive(Serialize, Deserialize)]
struct Saved {
    acknowledged: u64,
}

/// The cursors of these targets. One that is not known begins behind `last`. Those of others are removed.
pub(super) fn load(files: &mut Files, targets: &[String], last: u64) -> io::Result<BTreeMap<String, Cursor>> {
    let is_of_none = |path: &PathBuf| !targets.iter().any(|name| [saved_path(name), base_path(name)].contains(path));
    for path in files.list("targets").into_iter().filter(is_of_none) {
        if path.extension().is_some_and(|extension| extension == "json") {
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            tracing::warn!(target = %name, "this target is not configured any more; what it has is forgotten");
        }
        files.remove(&path);
    }
    targets.iter().map(|name| Ok((name.clone(), Cursor::load(files, name, last)?))).collect()
}

/// What is on disk of all cursors, by target.
pub(super) fn saved(files: &Files) -> Vec<(String, u64)> {
    let paths = files.list("targets").into_iter().filter(|path| path.extension().is_some_and(|it| it == "json"));
    let of = |path: PathBuf| {
        let saved: Saved = serde_json::from_slice(&files.read(&path).ok()?).ok()?;
        Some((path.file_stem()?.to_str()?.to_owned(), saved.acknowledged))
    };
    paths.filter_map(of).collect()
}

impl Cursor {
    fn load(files: &mut Files, name: &str, last: u64) -> io::Result<Self> {
        let acknowledged = match files.read(&saved_path(name)) {
            Ok(bytes) => match serde_json::from_slice::<Saved>(&bytes) {
                Ok(saved) => Some(saved.acknowledged),
                Err(error) => {
                    tracing::error!(
                        target = name,
                        "what the target has is damaged, and all that waits is delivered: {error}"
                    );
                    Some(0)
                }
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let cursor = Self { acknowledged: acknowledged.unwrap_or(last), base: base_path(name), named: Vec::new() };
        if acknowledged.is_none() {
            cursor.save(files, name)?;
        }
        Ok(cursor)
    }

    fn save(&self, files: &mut Files, name: &str) -> io::Result<()> {
        let saved = serde_json::to_vec(&Saved { acknowledged: self.acknowledged })?;
        files.write(&saved_path(name), saved);
        Ok(())
    }

    /// Goes on behind a report. `base`, its manifest, takes the place of the one before.
    pub(super) fn advance(
        &mut self,
        files: &mut Files,
        name: &str,
        sequence: u64,
        base: Option<&Vec<u8>>,
    ) -> io::Result<()> {
        self.acknowledged = self.acknowledged.max(sequence);
        self.save(files, name)?;
        base.map_or(Ok(()), |manifest| files.write_document(&self.base, manifest))
    }

    /// The bodies that its base names from now on. Returns those that it named before.
    pub(super) fn names(&mut self, named: Vec<Digest>) -> Vec<Digest> {
        std::mem::replace(&mut self.named, named)
    }

    /// The bodies that its base names.
    pub(super) fn named(&self) -> Vec<Digest> {
        self.named.clone()
    }

    /// The last report that was acknowledged and kept. Where it is damaged, there is none: reports are then sent as a whole.
    pub(super) fn base(&self, files: &Files) -> Option<Base> {
        let (report, manifest) = queue::read(files, &self.base).ok()?;
        Some(Base { report, manifest })
    }
}

fn saved_path(name: &str) -> PathBuf {
    Path::new("targets").join(format!("{name}.json"))
}

fn base_path(name: &str) -> PathBuf {
    Path::new("targets").join(format!("{name}.manifest.zst"))
}
