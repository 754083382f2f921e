//! A Docker daemon over a real socket that does what a healthy one cannot be made to do.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use tempfile::TempDir;

/// What the daemon does when it is asked for the path at which it fails.
#[derive(Debug, Clone)]
pub enum Fault {
    /// It never answers.
    Hang,
    /// It closes the connection without an answer.
    Close,
    /// It announces a body and closes the connection in the middle of it.
    CloseInBody,
    /// It answers in a language of its own.
    Garbage,
    /// It answers with success and a body.
    Body(&'static str),
    /// It answers with a status and an error message.
    Status(u16, &'static str),
    /// It sends a body that does not end, some hundred kilobytes a second.
    Endless,
    /// The same, as fast as it is read.
    Flood,
}

/// A daemon with one fault. It lives until the end of the test's process.
#[derive(Debug)]
pub struct FakeDocker {
    socket: PathBuf,
    sent: Arc<AtomicU64>,
    _folder: TempDir,
}

impl FakeDocker {
    /// A daemon without containers that has `fault` at `path` and is healthy otherwise.
    #[must_use]
    pub fn new(path: &'static str, fault: Fault) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let socket = folder.path().join("docker.sock");
        let listener = UnixListener::bind(&socket).expect("a socket");
        let sent = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&sent);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (fault, counter) = (fault.clone(), Arc::clone(&counter));
                // What fails here is the client having gone away, which is its right.
                thread::spawn(move || drop(serve(&stream, path, &fault, &counter)));
            }
        });
        Self { socket, sent, _folder: folder }
    }

    /// Where it listens.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// How many bytes of a body without end were taken from it.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

fn serve(mut stream: &UnixStream, faulty: &str, fault: &Fault, sent: &AtomicU64) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut request = String::new();
        if reader.read_line(&mut request)? == 0 {
            return Ok(());
        }
        let mut header = String::from("-");
        while !header.trim().is_empty() {
            header.clear();
            if reader.read_line(&mut header)? == 0 {
                return Ok(());
            }
        }
        let path = request.split_whitespace().nth(1).unwrap_or_default();
        let path = path.split('?').next().unwrap_or_default();
        if path != faulty {
            answer(stream, "200 OK", healthy(path))?;
            continue;
        }
        match fault {
            Fault::Hang => {
                // Until the client gives up.
                reader.read_to_end(&mut Vec::new())?;
                return Ok(());
            }
            Fault::Close => return Ok(()),
            Fault::CloseInBody => {
                stream.write_all(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 4000\r\n\r\n[{\"Id\":",
                )?;
                return Ok(());
            }
            Fault::Garbage => return stream.write_all(b"\x00\x01\x02 220 smtp.example.com ESMTP\r\n\r\n"),
            Fault::Body(body) => answer(stream, "200 OK", body)?,
            Fault::Status(status, message) => {
                answer(stream, &format!("{status} Whatever"), &format!("{{\"message\":\"{message}\"}}"))?;
            }
            Fault::Endless | Fault::Flood => {
                let flood = matches!(fault, Fault::Flood);
                let size = if flood { 1 << 16 } else { 1 << 10 };
                let chunk = format!("{size:x}\r\n{}\r\n", " ".repeat(size));
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n[\r\n")?;
                loop {
                    stream.write_all(chunk.as_bytes())?;
                    sent.fetch_add(size as u64, Ordering::Relaxed);
                    if !flood {
                        // Not a wait for anything: it is what makes the answer slow.
                        thread::sleep(Duration::from_millis(2));
                    }
                }
            }
        }
    }
}

fn answer(mut stream: &UnixStream, status: &str, body: &str) -> std::io::Result<()> {
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn healthy(path: &str) -> &'static str {
    match path {
        "/version" => {
            r#"{"Version":"20.10.24","ApiVersion":"1.41","MinAPIVersion":"1.12","Os":"linux","Arch":"amd64"}"#
        }
        "/info" => r#"{"ID":"fake","Name":"fake","Driver":"overlay2","DriverStatus":[]}"#,
        // One, so that a collector has a reason to ask for the images.
        "/containers/json" => {
            r#"[{"Id":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","Names":["/one"],"Image":"example.com/one:1",
               "ImageID":"sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb","Created":1700000000,
               "State":"running","Status":"Up","Labels":{},"Command":"x","Ports":[],"Mounts":[]}]"#
        }
        "/images/json" => "[]",
        _ => "{}",
    }
}
