//! Why a file of SQLite cannot be used, of which SQLite itself says no more than that it cannot be opened.

use std::{
    fs::{self, Metadata},
    io::ErrorKind,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Access, AtFlags, CWD, accessat},
    io::Errno,
    process::geteuid,
};

/// What is in the way of a file that is to be read and written, and what to do; none if nothing is seen to be.
pub(super) fn obstacle(named: &Path) -> Option<String> {
    let file = target(named);
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (place, who) = (folder.display(), geteuid().as_raw());
    match fs::metadata(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Some(format!("the folder {place} is not there: make it, and let the server's user (uid {who}) write in it"))
        }
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Some(format!(
            "the server's user (uid {who}) may not get to the folder {place}: let it pass through those above"
        )),
        Err(error) if error.kind() == ErrorKind::NotADirectory => {
            Some(format!("a part of {place} is no folder: name a file in one"))
        }
        Ok(found) if !found.is_dir() => Some(format!("{place} is no folder: name a file in one")),
        Ok(found) => in_folder(&file, folder, &found),
        Err(_) => None,
    }
}

fn in_folder(file: &Path, folder: &Path, of_folder: &Metadata) -> Option<String> {
    let who = geteuid().as_raw();
    match fs::metadata(file) {
        Ok(found) if found.is_dir() => {
            return Some(format!("it is a folder: name a file in it, such as {}", file.join("inventory.db").display()));
        }
        Ok(found) if !found.is_file() => return Some("it is no regular file: name one".to_owned()),
        Ok(found) => match access(file, Access::READ_OK | Access::WRITE_OK) {
            Err(Errno::ROFS) => return Some("its file system is read-only: name a file on another one".to_owned()),
            Err(Errno::ACCESS | Errno::PERM) => {
                return Some(format!(
                    "the server's user (uid {who}) may not read and write it ({}): give it to that user, and what lies beside it and ends in \
                     -wal or -shm",
                    owner(&found)
                ));
            }
            _ => {}
        },
        Err(_) => {}
    }
    // Its journal lies beside it.
    match access(folder, Access::WRITE_OK | Access::EXEC_OK) {
        Err(Errno::ROFS) => {
            Some(format!("the file system of {} is read-only: name a file on another one", folder.display()))
        }
        Err(Errno::ACCESS | Errno::PERM) => Some(format!(
            "the server's user (uid {who}) may not make files in {} ({}): give that folder to it, or name a file in another one",
            folder.display(),
            owner(of_folder)
        )),
        _ => None,
    }
}

/// Where a symbolic link leads, whether something is there or not.
fn target(named: &Path) -> PathBuf {
    if let Ok(file) = fs::canonicalize(named) {
        return file;
    }
    match (fs::read_link(named), named.parent()) {
        (Ok(target), Some(folder)) => folder.join(target),
        _ => named.to_owned(),
    }
}

fn access(path: &Path, wanted: Access) -> Result<(), Errno> {
    accessat(CWD, path, wanted, AtFlags::EACCESS)
}

fn owner(found: &Metadata) -> String {
    format!("it belongs to uid {}, gid {}, with mode {:04o}", found.uid(), found.gid(), found.mode() & 0o7777)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::database::Database;

    #[tokio::test]
    async fn a_file_that_cannot_be_opened_is_named_with_why_and_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        fs::write(at("text"), "not a database, and too long to be taken for an empty one").unwrap();
        symlink(at("gone/inventory.db"), at("link")).unwrap();
        for (path, why) in [
            (at("missing/inventory.db"), format!("the folder {} is not there: make it", at("missing"))),
            (at("link"), format!("the folder {} is not there: make it", at("gone"))),
            (at("text/inventory.db"), format!("{} is no folder", at("text"))),
            (at(""), "it is a folder: name a file in it, such as ".to_owned()),
            ("/dev/null".to_owned(), "it is no regular file".to_owned()),
            (at("text"), "file is not a database: if it was the inventory, restore a backup; another file".to_owned()),
        ] {
            let error = Database::open(&path).await.err().unwrap().to_string();
            assert!(error.contains(&format!("{path}: ")) && error.contains(&why), "{path}: {error}");
        }
    }
}
