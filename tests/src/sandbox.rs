//! A machine made to measure: a mount namespace of its own, in which sockets and files are where a test wants them.

use std::{fmt::Write as _, path::Path, process::Command};

use crate::{agent, bed};

/// What a machine has, as a shell script that makes it so. Nothing of it is seen outside.
#[derive(Debug, Default)]
pub struct Machine {
    script: String,
}

impl Machine {
    /// A machine with an empty `/run` but for the bed.
    #[must_use]
    pub fn new() -> Self {
        let run = bed::RUN;
        let script = format!(
            "mkdir \"$SCRATCH/bed\" && mount --rbind {run} \"$SCRATCH/bed\" && mount -t tmpfs tmpfs /run\n\
             mkdir -p {run} && mount --rbind \"$SCRATCH/bed\" {run}\n"
        );
        Self { script }
    }

    /// The file or socket `source` is at `place` too.
    #[must_use]
    pub fn with(mut self, source: &str, place: &str) -> Self {
        writeln!(self.script, "mkdir -p \"$(dirname {place})\" && touch {place} && mount --bind {source} {place}")
            .expect("a string takes all");
        self
    }

    /// `link` leads to `target`.
    #[must_use]
    pub fn with_link(mut self, target: &str, link: &str) -> Self {
        writeln!(self.script, "mkdir -p \"$(dirname {link})\" && ln -s {target} {link}").expect("a string takes all");
        self
    }

    /// The agent on that machine. `scratch` is an empty folder of the test's.
    #[must_use]
    pub fn agent(&self, scratch: &Path, arguments: &[&str]) -> agent::Agent {
        let mut command = Command::new("/usr/bin/unshare");
        let script = format!("set -eu\n{}exec \"$@\"", self.script);
        command.args(["--mount", "--propagation", "private", "/bin/sh", "-c", &script, "sh"]);
        command.arg(agent::binary()).args(arguments);
        agent::Agent::through(command).env("SCRATCH", scratch)
    }
}
