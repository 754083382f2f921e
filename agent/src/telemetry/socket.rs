//! The socket at which the agent is asked how it is.

use std::{
    fs,
    io::{self, ErrorKind},
    os::unix::{
        fs::PermissionsExt as _,
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

/// A socket that listens, and its file, which is gone when this is dropped.
#[derive(Debug)]
pub(super) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            tracing::debug!(socket = %self.0.display(), "cannot remove the socket: {error}");
        }
    }
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
        Ok(metadata) if is_socket(&metadata) => fs::remove_file(path)?,
        Ok(_) => return Err(io::Error::new(ErrorKind::AlreadyExists, "something else is there")),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let socket = UnixSocket::new_stream()?;
    // Before there is a file: on Linux it gets these permissions, so that nobody else can connect in between.
    let handle: OwnedFd = socket.as_fd().try_clone_to_owned()?;
    fs::File::from(handle).set_permissions(fs::Permissions::from_mode(0o600))?;
    socket.bind(path)?;
    let file = SocketFile(path.to_owned());
    Ok((socket.listen(WAITING)?, file))
}

fn is_socket(metadata: &fs::Metadata) -> bool {
    std::os::unix::fs::FileTypeExt::is_socket(&metadata.file_type())
}
