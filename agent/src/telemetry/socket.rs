//! The socket at which the agent is asked how it is.

use std::{
    fs,
    io::{self, ErrorKind},
    os::unix::{
        fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
        io::{AsFd as _, OwnedFd},
        net::UnixStream,
    },
    path::{Path, PathBuf},
};

use tokio::net::{UnixListener, UnixSocket};

use super::serve::ServeError;
use crate::config::Place;

/// Connections that wait to be taken.
const WAITING: u32 = 16;

/// Where the socket usually is: the first is for who may write there, such as root.
pub(crate) fn usual_places() -> Vec<PathBuf> {
    let of_user = std::env::var_os("XDG_RUNTIME_DIR").filter(|folder| !folder.is_empty()).map(PathBuf::from);
    let folders = [Some(PathBuf::from("/run")), of_user].into_iter().flatten();
    folders.map(|folder| folder.join("stocktake").join("agent.sock")).collect()
}

/// The file of a socket that listens. It is gone when this is dropped, unless another agent has put its own there.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// Device and number.
    inode: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if inode(&self.path).is_ok_and(|inode| inode == self.inode)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::debug!(socket = %self.path.display(), "cannot remove the socket: {error}");
        }
    }
}

fn inode(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

/// Listens where it is said, or where it can; none is no error where nothing is said.
pub(super) fn listen(place: &Place<PathBuf>) -> Result<Option<(UnixListener, SocketFile)>, ServeError> {
    match place {
        Place::Off => Ok(None),
        Place::At(path) => {
            let failed = |source| ServeError::Socket { path: path.display().to_string(), source };
            listen_at(path).map(Some).map_err(failed)
        }
        Place::Usual => {
            let mut failures = Vec::new();
            for path in usual_places() {
                match listen_at(&path) {
                    Ok(listening) => return Ok(Some(listening)),
                    Err(error) => failures.push(format!("{}: {error}", path.display())),
                }
            }
            tracing::warn!(
                "`stocktake-agent status` cannot ask this agent, which has no socket (`socket` of `[telemetry]`): {}",
                failures.join("; ")
            );
            Ok(None)
        }
    }
}

fn listen_at(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    match fs::symlink_metadata(path) {
        Ok(_) if UnixStream::connect(path).is_ok() => {
            return Err(io::Error::new(ErrorKind::AddrInUse, "another agent answers there"));
        }
        Ok(metadata) if metadata.file_type().is_socket() => fs::remove_file(path)?,
        Ok(_) => return Err(io::Error::new(ErrorKind::AlreadyExists, "something else is there")),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let socket = UnixSocket::new_stream()?;
    // Before there is a file: on Linux it gets these permissions, so that nobody else can connect in between.
    let handle: OwnedFd = socket.as_fd().try_clone_to_owned()?;
    fs::File::from(handle).set_permissions(fs::Permissions::from_mode(0o600))?;
    socket.bind(path)?;
    let file = SocketFile { path: path.to_owned(), inode: inode(path)? };
    Ok((socket.listen(WAITING)?, file))
}
