//! Files that settings and kubeconfigs name.

use std::{fs, io, os::unix::fs::FileTypeExt as _, path::Path};

use stocktake_core::ConfigError;

/// Reads a file, see [`check`].
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    check(path)?;
    fs::read(path)
}

/// Reads a file of text, see [`check`].
pub(crate) fn read_text(path: &Path) -> io::Result<String> {
    check(path)?;
    fs::read_to_string(path)
}

/// Whether `path` is a regular file, or a link to one. Reading anything else may take for ever (a named pipe to which
/// nobody writes) or as much memory as there is (`/dev/zero`), and no deadline of the agent's interrupts a read.
pub(crate) fn check(path: &Path) -> io::Result<()> {
    let kind = fs::metadata(path)?.file_type();
    let what = if kind.is_file() {
        return Ok(());
    } else if kind.is_dir() {
        "a directory"
    } else if kind.is_fifo() {
        "a named pipe"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    };
    Err(io::Error::new(io::ErrorKind::InvalidInput, format!("it is {what}, not a regular file")))
}

/// The complaint about a file that a setting names.
pub(crate) fn unreadable(key: &str, path: &Path, error: &io::Error) -> ConfigError {
    let hint = match error.kind() {
        io::ErrorKind::NotFound if path.starts_with("~") => "write the whole path; `~` is not understood here",
        io::ErrorKind::NotFound => "correct the path, or create the file",
        io::ErrorKind::PermissionDenied => "let the agent's user read it",
        io::ErrorKind::InvalidInput => "write the path of a regular file",
        _ => "check the file",
    };
    ConfigError::new(key, format!("cannot read `{}`: {error}", path.display())).hint(hint)
}
