//! An agent that runs while a test does something else.

use std::{
    io::Read,
    process::Child,
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::{agent::Run, wait_until};

/// What a process has said so far.
#[derive(Debug, Clone, Default)]
struct Said(Arc<Mutex<Vec<u8>>>);

impl Said {
    /// Reads on another thread until the process closes it.
    fn read(mut from: impl Read + Send + 'static) -> (Self, JoinHandle<()>) {
        let said = Self::default();
        let to = said.clone();
        let reader = thread::spawn(move || {
            let mut buffer = vec![0; 1 << 16];
            while let Ok(count @ 1..) = from.read(&mut buffer) {
                to.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&buffer[..count]);
            }
        });
        (said, reader)
    }

    fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The process, which ends when this goes.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stdout: Said,
    stderr: Said,
    readers: Vec<JoinHandle<()>>,
    /// Holds the configuration as long as the process needs it.
    _folder: TempDir,
}

impl Running {
    pub(crate) fn new(mut child: Child, folder: TempDir) -> Self {
        let (stdout, of_stdout) = Said::read(child.stdout.take().expect("it is piped"));
        let (stderr, of_stderr) = Said::read(child.stderr.take().expect("it is piped"));
        Self { child, stdout, stderr, readers: vec![of_stdout, of_stderr], _folder: folder }
    }

    /// The process's number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The whole lines that it has printed so far.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let bytes = self.stdout.bytes();
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        String::from_utf8_lossy(&bytes[..whole]).lines().map(str::to_owned).collect()
    }

    /// What it has told people so far.
    #[must_use]
    pub fn told(&self) -> String {
        String::from_utf8_lossy(&self.stderr.bytes()).into_owned()
    }

    /// Waits until a line that it prints behind the first `skip` ones is what is wanted, and returns how many lines there
    /// are up to and with that. Fails the test if the process ends before.
    #[track_caller]
    pub fn wait_for(&mut self, what: &str, skip: usize, is_wanted: impl Fn(&str) -> bool) -> usize {
        let mut found = None;
        wait_until(what, || {
            let ended = self.child.try_wait().expect("a child can be waited for");
            found = self.lines().iter().skip(skip).position(|line| is_wanted(line)).map(|place| skip + place + 1);
            assert!(found.is_some() || ended.is_none(), "ended while waiting for {what}: {}", self.told());
            found.is_some()
        });
        found.expect("it was waited for")
    }

    /// Asks it to end, as a service manager does, and waits for that.
    #[must_use]
    pub fn terminate(self) -> Run {
        self.signal(Signal::TERM);
        self.finish()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("a process of the test's own");
    }

    /// Kills it, which it cannot prevent, and waits for that.
    pub fn kill(self) {
        self.signal(Signal::KILL);
        drop(self.finish());
    }

    /// Waits until it has told people something. Fails the test if the process ends before.
    #[track_caller]
    pub fn wait_until_told(&mut self, part: &str) {
        wait_until(part, || {
            let told = self.told();
            let ended = self.child.try_wait().expect("a child can be waited for");
            assert!(told.contains(part) || ended.is_none(), "ended before it said {part:?}: {told}");
            told.contains(part)
        });
    }

    /// Waits for its end.
    #[must_use]
    pub fn finish(mut self) -> Run {
        let status = self.child.wait().expect("the agent ends");
        for reader in self.readers.drain(..) {
            reader.join().expect("reading does not panic");
        }
        let text = |said: &Said| String::from_utf8(said.bytes()).expect("the agent writes UTF-8");
        Run { code: status.code(), stdout: text(&self.stdout), stderr: text(&self.stderr) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already, where all went well.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
