//! What the process's exit code says, after `sysexits.h` where there is a word for it.

use std::process::ExitCode;

use crate::observe::Observation;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Everything that was asked for was done, and every scope seen completely.
    Success,
    /// Something could not be seen; what could be is printed.
    Incomplete,
    /// The command line is wrong.
    Usage,
    /// No runtime could be reached (`EX_UNAVAILABLE`).
    Unavailable,
    /// The agent itself failed (`EX_SOFTWARE`).
    Software,
    /// The configuration is wrong (`EX_CONFIG`).
    Config,
}

impl Exit {
    /// What a look at several runtimes comes to.
    pub(crate) fn of(observations: &[Observation]) -> Self {
        if observations.iter().all(|observation| observation.source.is_complete()) {
            Self::Success
        } else if observations.iter().any(|observation| observation.reached) {
            Self::Incomplete
        } else {
            Self::Unavailable
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Success => 0,
            Exit::Incomplete => 1,
            Exit::Usage => 2,
            Exit::Unavailable => 69,
            Exit::Software => 70,
            Exit::Config => 78,
        })
    }
}
