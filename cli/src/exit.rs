//! What the process's exit code says, after `sysexits.h` where there is a word for it.

use std::process::ExitCode;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// What was asked for was done.
    Success,
    /// The server refused it, or there is nothing of the name that was said.
    Refused,
    /// The command line is wrong.
    Usage,
    /// The server cannot be reached, or is none of Stocktake's (`EX_UNAVAILABLE`).
    Unavailable,
    /// The program itself failed, or could not write (`EX_SOFTWARE`).
    Software,
    /// The server does not know the user or token, or they may not do this (`EX_NOPERM`).
    Denied,
    /// The configuration is wrong (`EX_CONFIG`).
    Config,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Success => 0,
            Exit::Refused => 1,
            Exit::Usage => 2,
            Exit::Unavailable => 69,
            Exit::Software => 70,
            Exit::Denied => 77,
            Exit::Config => 78,
        })
    }
}
