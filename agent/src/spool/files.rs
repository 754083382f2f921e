//! The spool's folder: files that are whole or not there, and in memory what a disk does not take for now.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use stocktake_core::{
    Digest,
    wire::{FrameError, Frames, append_frame},
};

/// Beyond this a document in the spool is not one of ours: no report that was kept is as large.
const LARGEST_DOCUMENT: usize = 1 << 30;

const FOLDERS: [&str; 4] = ["reports", "scopes", "targets", "aside"];

/// A file while it is written. There is one: who works on the spool does so alone.
const UNFINISHED: &str = ".unfinished";

#[derive(Debug)]
pub(super) struct Files {
    dir: PathBuf,
    /// Held as long as this is.
    _lock: File,
    /// Bytes on disk, by path below the folder.
    sizes: BTreeMap<PathBuf, u64>,
    /// What could not be written yet, in the order of paths: reports are behind the scopes that they name only where they are
    /// written, which does not matter to who reads through this.
    unsaved: BTreeMap<PathBuf, Vec<u8>>,
    /// Why not, of the latest attempt.
    failure: Option<String>,
    /// Whether names of bodies were made since the folder was synced.
    has_new_bodies: bool,
}

impl Files {
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
        let lock = File::open(dir).map_err(|error| made.err().unwrap_or(error))?;
        lock.try_lock().map_err(|error| match error {
            fs::TryLockError::WouldBlock => io::Error::new(
                io::ErrorKind::ResourceBusy,
                "another agent uses it; stop that one, or give this one another `spool_dir`",
            ),
            fs::TryLockError::Error(error) => error,
        })?;
        let mut files = Self::of(dir, lock);
        for folder in FOLDERS {
            if let Err(error) = DirBuilder::new().recursive(true).mode(0o700).create(dir.join(folder)) {
                files.fail(&error);
            }
            files.take_stock(folder)?;
        }
        Ok(files)
    }

    /// Without making, locking or changing anything. An error if there is no such folder.
    pub(super) fn look(dir: &Path) -> io::Result<Self> {
        let explained =
            |error: io::Error| io::Error::new(error.kind(), format!("no spool at {}: {error}", dir.display()));
        let lock = File::open(dir).map_err(explained)?;
        let mut files = Self::of(dir, lock);
        FOLDERS.iter().try_for_each(|folder| files.take_stock(folder))?;
        Ok(files)
    }

    fn of(dir: &Path, lock: File) -> Self {
        Self {
            dir: dir.to_owned(),
            _lock: lock,
            sizes: BTreeMap::new(),
            unsaved: BTreeMap::new(),
            failure: None,
            has_new_bodies: false,
        }
    }

    /// Files of a folder with their sizes.
    fn take_stock(&mut self, folder: &str) -> io::Result<()> {
        let entries = match fs::read_dir(self.dir.join(folder)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            match entry.metadata() {
                Ok(metadata) => {
                    self.sizes.insert(Path::new(folder).join(entry.file_name()), metadata.len());
                }
                // Removed since, by the agent whose spool it is.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Bytes of reports and bodies, also of those that are not on disk yet.
    pub(super) fn size(&self) -> u64 {
        let on_disk = self.sizes.iter().filter(|(path, _)| path.starts_with("reports") || path.starts_with("scopes"));
        on_disk.map(|(_, size)| size).sum::<u64>() + self.unsaved_size()
    }

    /// Bytes that wait for a disk.
    pub(super) fn unsaved_size(&self) -> u64 {
        self.unsaved.values().map(|bytes| u64::try_from(bytes.len()).unwrap_or(u64::MAX)).sum()
    }

    /// Size of a file.
    pub(super) fn size_of(&self, path: &Path) -> u64 {
        let unsaved = self.unsaved.get(path).and_then(|bytes| u64::try_from(bytes.len()).ok());
        unsaved.or_else(|| self.sizes.get(path).copied()).unwrap_or_default()
    }

    /// Names of the files in a folder, in their order.
    pub(super) fn list(&self, folder: &str) -> Vec<PathBuf> {
        let paths = self.sizes.keys().chain(self.unsaved.keys()).filter(|path| path.starts_with(folder));
        let mut paths: Vec<PathBuf> = paths.cloned().collect();
        paths.sort();
        paths.dedup();
        paths
    }

    /// Writes a file so that it is there when the machine loses power. What the disk does not take stays in memory until
    /// [`Self::settle`] or the end of the process, and can be read meanwhile.
    pub(super) fn write(&mut self, path: &Path, bytes: Vec<u8>) {
        if path.starts_with("reports") && self.unsaved.keys().any(|unsaved| unsaved.starts_with("scopes")) {
            // Not before the bodies that it names.
            self.unsaved.insert(path.to_owned(), bytes);
            return;
        }
        match self.try_write(path, &bytes) {
            Ok(()) => {
                self.unsaved.remove(path);
            }
            Err(error) => {
                self.fail(&error);
                self.unsaved.insert(path.to_owned(), bytes);
            }
        }
    }

    fn try_write(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let is_body = path.starts_with("scopes");
        if !is_body && self.has_new_bodies {
            // What names bodies must not be there before them.
            File::open(self.dir.join("scopes"))?.sync_all()?;
            self.has_new_bodies = false;
        }
        let (unfinished, finished) = (self.dir.join(UNFINISHED), self.dir.join(path));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
        let written = file.write_all(bytes).and_then(|()| file.sync_all());
        let renamed = written.and_then(|()| fs::rename(&unfinished, &finished));
        if let Err(error) = renamed {
            // Half a file on a full disk helps nobody; where it cannot be removed it is written over next time.
            let _ = fs::remove_file(&unfinished);
            return Err(error);
        }
        self.sizes.insert(path.to_owned(), u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        self.has_new_bodies |= is_body;
        match finished.parent() {
            Some(folder) if !is_body => File::open(folder)?.sync_all(),
            _ => Ok(()),
        }
    }

    /// Writes what could not be written, as far as it can be now.
    pub(super) fn settle(&mut self) -> Result<(), String> {
        // Bodies before what names them.
        let mut paths: Vec<PathBuf> = self.unsaved.keys().cloned().collect();
        paths.sort_by_key(|path| !path.starts_with("scopes"));
        for path in paths {
            for folder in FOLDERS {
                // Of a folder that could not be made at first. Whether it could shows in what is written into it.
                let _ = DirBuilder::new().recursive(true).mode(0o700).create(self.dir.join(folder));
            }
            let Some(bytes) = self.unsaved.get(&path).cloned() else { continue };
            if let Err(error) = self.try_write(&path, &bytes) {
                self.fail(&error);
                break;
            }
            self.unsaved.remove(&path);
        }
        if self.unsaved.is_empty() {
            if self.failure.take().is_some() {
                tracing::info!("the spool can be written again");
            }
            return Ok(());
        }
        Err(self.failure.clone().unwrap_or_default())
    }

    /// Writes a file that may be an older one after the machine lost power.
    pub(super) fn write_lightly(&mut self, path: &Path, bytes: &[u8]) {
        let (unfinished, finished) = (self.dir.join(UNFINISHED), self.dir.join(path));
        if let Err(error) = fs::write(&unfinished, bytes).and_then(|()| fs::rename(&unfinished, &finished)) {
            self.fail(&error);
        }
    }

    fn fail(&mut self, error: &io::Error) {
        let message = format!("cannot write {}: {error}", self.dir.display());
        if self.failure.is_none() {
            tracing::error!(
                "{message}; what it would hold is kept in memory, and lost if the agent ends before it can be written"
            );
        }
        self.failure = Some(message);
    }

    /// The bytes of a file.
    pub(super) fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        match self.unsaved.get(path) {
            Some(bytes) => Ok(bytes.clone()),
            None => fs::read(self.dir.join(path)),
        }
    }

    /// Removes a file, if it is there.
    pub(super) fn remove(&mut self, path: &Path) {
        self.unsaved.remove(path);
        if self.sizes.remove(path).is_some()
            && let Err(error) = fs::remove_file(self.dir.join(path))
            && error.kind() != io::ErrorKind::NotFound
        {
            // It comes up again at the next start.
            self.fail(&error);
        }
    }

    /// Gives a file another name.
    pub(super) fn rename(&mut self, from: &Path, to: &Path) {
        if let Some(bytes) = self.unsaved.remove(from) {
            self.write(to, bytes);
        } else if let Some(size) = self.sizes.remove(from) {
            match fs::rename(self.dir.join(from), self.dir.join(to)) {
                Ok(()) => {
                    self.sizes.insert(to.to_owned(), size);
                }
                Err(error) => self.fail(&error),
            }
        }
    }

    /// Writes a document.
    pub(super) fn write_document(&mut self, path: &Path, document: &[u8]) -> io::Result<()> {
        let mut bytes = Vec::new();
        append_frame(&mut bytes, document, None)?;
        self.write(path, bytes);
        Ok(())
    }

    /// Reads a document. One that is damaged is `InvalidData`.
    pub(super) fn read_document(&self, path: &Path) -> io::Result<Vec<u8>> {
        let bytes = self.read(path)?;
        let damaged =
            |reason: String| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {reason}", path.display()));
        let document = Frames::new(&bytes, LARGEST_DOCUMENT)
            .next_document(|_| None::<&[u8]>)
            .map_err(|error: FrameError| damaged(error.to_string()))?;
        document.ok_or_else(|| damaged("it is empty".to_owned()))
    }

    pub(super) fn write_body(&mut self, digest: &Digest, body: &[u8]) -> io::Result<()> {
        if self.has_body(digest) { Ok(()) } else { self.write_document(&body_path(digest), body) }
    }

    pub(super) fn has_body(&self, digest: &Digest) -> bool {
        let path = body_path(digest);
        self.sizes.contains_key(&path) || self.unsaved.contains_key(&path)
    }

    /// A body; `None` if it is not here, `InvalidData` if it is damaged.
    pub(super) fn read_body(&self, digest: &Digest) -> io::Result<Option<Vec<u8>>> {
        let path = body_path(digest);
        match self.read_document(&path) {
            Ok(body) if Digest::sha256(&body) == *digest => Ok(Some(body)),
            Ok(_) => {
                let reason = format!("{}: it has another digest than its name says", path.display());
                Err(io::Error::new(io::ErrorKind::InvalidData, reason))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn remove_body(&mut self, digest: &Digest) {
        self.remove(&body_path(digest));
    }

    /// So that it is made anew when the scope is seen again.
    pub(super) fn put_body_aside(&mut self, digest: &Digest) {
        let from = body_path(digest);
        let to = Path::new("aside").join(format!("scope-{}.zst", digest.encoded()));
        self.rename(&from, &to);
    }

    /// The digests of all bodies.
    pub(super) fn bodies(&self) -> Vec<Digest> {
        let name = |path: PathBuf| path.file_name()?.to_str()?.strip_suffix(".zst").map(|hex| format!("sha256:{hex}"));
        self.list("scopes").into_iter().filter_map(name).filter_map(|digest| digest.parse().ok()).collect()
    }
}

/// Whether what was to be read is lost for good: damaged, removed, or on a part of the disk that cannot be read. Anything else,
/// such as too many open files, passes.
pub(super) fn is_lost(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::NotFound)
        || error.raw_os_error() == Some(libc::EIO)
}

fn body_path(digest: &Digest) -> PathBuf {
    Path::new("scopes").join(format!("{}.zst", digest.encoded()))
}
