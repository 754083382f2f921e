//! A daemon of a test's own, which it may kill, stop and start again.

use std::{
    fmt, fs, io,
    process::{Child, Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicU16, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use stocktake_core::conformance::Daemon;

/// The limit is for a machine that is stuck, not a measure of anything.
const LIMIT: Duration = Duration::from_mins(3);

/// One process. It ends when this goes.
pub struct Process {
    name: &'static str,
    log: String,
    command: Box<dyn Fn() -> Command + Send + Sync>,
    is_ready: Box<dyn Fn() -> bool + Send + Sync>,
    child: Mutex<Option<Child>>,
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Process {
    /// Starts `command`, with its output in the file `log`, and waits until it `is_ready`.
    #[must_use]
    pub fn start(
        name: &'static str,
        log: String,
        command: impl Fn() -> Command + Send + Sync + 'static,
        is_ready: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Self {
        let child = Mutex::new(None);
        let process = Self { name, log, command: Box::new(command), is_ready: Box::new(is_ready), child };
        Daemon::start(&process).unwrap_or_else(|error| panic!("{error}"));
        process
    }

    /// The process that runs now.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.lock().expect("no holder panics").as_ref().map(Child::id)
    }

    /// Kills it, and is back when it answers again.
    pub fn restart(&self) {
        Daemon::kill(self).and_then(|()| Daemon::start(self)).unwrap_or_else(|error| panic!("{error}"));
    }

    fn signal(&self, signal: Signal) -> io::Result<u32> {
        let child = self.child.lock().expect("no holder panics");
        let child = child.as_ref().ok_or_else(|| io::Error::other(format!("{} does not run", self.name)))?;
        kill_process(Pid::from_child(child), signal)?;
        Ok(child.id())
    }

    fn fail<T>(&self, what: &str) -> io::Result<T> {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let end = lines[lines.len().saturating_sub(15)..].join("\n");
        Err(io::Error::other(format!("{} {what}; the end of its log:\n{end}", self.name)))
    }
}

impl Daemon for Process {
    fn kill(&self) -> io::Result<()> {
        let Some(mut child) = self.child.lock().expect("no holder panics").take() else { return Ok(()) };
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    fn start(&self) -> io::Result<()> {
        let mut child = self.child.lock().expect("no holder panics");
        let log = fs::File::options().create(true).append(true).open(&self.log)?;
        let mut command = (self.command)();
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let started = child.insert(command.spawn()?);
        let began = Instant::now();
        while !(self.is_ready)() {
            if let Some(status) = started.try_wait()? {
                return self.fail(&format!("ended with {status}"));
            }
            if began.elapsed() > LIMIT {
                return self.fail(&format!("did not answer within {LIMIT:?}"));
            }
            thread::sleep(Duration::from_millis(30));
        }
        Ok(())
    }

    fn hang(&self) -> io::Result<()> {
        let pid = self.signal(Signal::STOP)?;
        let began = Instant::now();
        // The signal is sent at once, and each thread stops when it can.
        while !fs::read_to_string(format!("/proc/{pid}/stat"))?.contains(") T ") {
            if began.elapsed() > LIMIT {
                return self.fail("cannot be stopped");
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    fn resume(&self) -> io::Result<()> {
        self.signal(Signal::CONT).map(drop)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.kill());
    }
}

/// A port of this machine that nobody listens on, and that is given to nobody else: neither by this function again, nor by
/// the kernel to a connection, which takes it from 32768 on (`net.ipv4.ip_local_port_range`).
#[must_use]
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Another process of tests begins elsewhere.
    let first = u16::try_from(std::process::id() % 10_000).expect("it is less than 10,000");
    (0..12_000)
        .map(|_| 20_000 + (first + NEXT.fetch_add(1, Relaxed)) % 12_000)
        .find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a port")
}
