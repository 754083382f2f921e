//! A process with all its descendants: they are a group of their own, and end together.

use std::{io, process::ExitStatus};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::{
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command},
    signal::unix::{self, SignalKind},
};

/// A running process that leads a group. When it goes out of scope, however that comes, the group is killed: the agent's
/// deadline drops the collector at any await. A descendant that has left the group on purpose (setsid(2)) is not found.
pub(crate) struct Process {
    child: Child,
    /// The process's id, which is the group's too.
    id: Pid,
    /// Tells that some child of the agent has changed.
    changes: unix::Signal,
}

/// The other ends of its standard streams.
pub(crate) struct Pipes {
    pub(crate) stdin: ChildStdin,
    pub(crate) stdout: ChildStdout,
    pub(crate) stderr: ChildStderr,
}

impl Process {
    /// Starts `command`, the streams of which are pipes.
    pub(crate) fn start(mut command: Command) -> io::Result<(Self, Pipes)> {
        // Before there is a child, so that its end is not missed.
        let changes = unix::signal(SignalKind::child())?;
        let mut child = command.process_group(0).kill_on_drop(true).spawn()?;
        let id = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        match (id, pipes) {
            (Some(id), (Some(stdin), Some(stdout), Some(stderr))) => {
                Ok((Self { child, id, changes }, Pipes { stdin, stdout, stderr }))
            }
            // It cannot happen; if it did, the child is killed as it is dropped.
            _ => Err(io::Error::other("the process has no id or no pipes")),
        }
    }

    /// Waits until the process has ended, and leaves it unreaped: as long as it is, its id is not given to another group,
    /// and [`Self::finish`] kills nobody else's.
    pub(crate) async fn ended(&mut self) -> io::Result<()> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        while waitid(WaitId::Pid(self.id), options)?.is_none() {
            self.changes.recv().await;
        }
        Ok(())
    }

    /// Kills what there still is of the group. Not asked first: who prints an inventory has nothing to tidy up.
    pub(crate) fn kill(&self) {
        // Reaped, the process no longer vouches for the group's id. By then the group was killed.
        if self.child.id().is_some() {
            // It fails where nobody is left, or where all have become other users', whom only root may kill.
            if let Err(error) = kill_process_group(self.id, Signal::KILL) {
                tracing::debug!(%error, group = self.id.as_raw_nonzero(), "cannot kill a process group");
            }
        }
    }

    /// Kills what there still is of the group, and reaps the process.
    pub(crate) async fn finish(mut self) -> io::Result<ExitStatus> {
        self.kill();
        self.child.wait().await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // tokio reaps the process once it has ended.
        self.kill();
    }
}
