//! A line to a real daemon that breaks, or goes dead, after so many bytes: the way to have an answer end anywhere.

use std::{
    io::{Read, Write},
    net::Shutdown,
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use tempfile::TempDir;

/// What happens when the limit is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The line is closed, and so is each further one.
    Close,
    /// The line stays open, and nothing comes any more.
    Silence,
}

/// A socket that passes on to another one until `limit` bytes have come back over all its connections together.
#[derive(Debug)]
pub struct Relay {
    socket: PathBuf,
    passed: Arc<AtomicU64>,
    _folder: TempDir,
}

impl Relay {
    /// A relay to the daemon at `target`.
    #[must_use]
    pub fn new(target: &str, limit: u64, end: End) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let socket = folder.path().join("relay.sock");
        let listener = UnixListener::bind(&socket).expect("a socket");
        let passed = Arc::new(AtomicU64::new(0));
        let (target, counter) = (target.to_owned(), Arc::clone(&passed));
        thread::spawn(move || {
            let left = Arc::new(Mutex::new(limit));
            for client in listener.incoming().flatten() {
                let daemon = UnixStream::connect(&target).expect("the daemon that is relayed to");
                let pair = || Some((client.try_clone().ok()?, daemon.try_clone().ok()?));
                let (Some((up_from, up_to)), Some((down_to, down_from))) = (pair(), pair()) else { continue };
                thread::spawn(move || {
                    drop(std::io::copy(&mut &up_from, &mut &up_to));
                    drop(up_to.shutdown(Shutdown::Write));
                });
                let (left, counter) = (Arc::clone(&left), Arc::clone(&counter));
                thread::spawn(move || pass(&down_from, &down_to, &left, &counter, end));
            }
        });
        Self { socket, passed, _folder: folder }
    }

    /// Where it listens.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// How many bytes came back so far.
    #[must_use]
    pub fn passed(&self) -> u64 {
        self.passed.load(Ordering::SeqCst)
    }
}

fn pass(mut daemon: &UnixStream, mut client: &UnixStream, left: &Mutex<u64>, passed: &AtomicU64, end: End) {
    let mut buffer = vec![0; 4096];
    while let Ok(count @ 1..) = daemon.read(&mut buffer) {
        let allowed = {
            let mut left = left.lock().expect("no holder panics");
            let allowed = (*left).min(count as u64);
            *left -= allowed;
            allowed
        };
        passed.fetch_add(allowed, Ordering::SeqCst);
        let part = &buffer[..usize::try_from(allowed).expect("no more than was read")];
        if client.write_all(part).is_err() {
            break;
        }
        if part.len() < count {
            if end == End::Silence {
                // Until the client gives up and the other direction ends, which ends the daemon's side too.
                while let Ok(1..) = daemon.read(&mut buffer) {}
            }
            break;
        }
    }
    drop(client.shutdown(Shutdown::Both));
    drop(daemon.shutdown(Shutdown::Both));
}
