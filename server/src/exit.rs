//! What the process's exit code says, after `sysexits.h` where there is a word for it.

use std::process::ExitCode;

use crate::database::DatabaseError;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// What was asked for was done.
    Success,
    /// It was not done, for a reason that was said.
    Failure,
    /// The command line is wrong.
    Usage,
    /// The database cannot be reached or used (`EX_UNAVAILABLE`).
    Unavailable,
    /// The server itself failed (`EX_SOFTWARE`).
    Software,
    /// The configuration is wrong (`EX_CONFIG`).
    Config,
}

impl Exit {
    /// What a database that cannot be opened comes to.
    pub(crate) fn of(error: &DatabaseError) -> Self {
        match error {
            DatabaseError::Unknown(_) => Self::Config,
            DatabaseError::File(..) | DatabaseError::Migrate(_) | DatabaseError::Sql(_) => Self::Unavailable,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Success => 0,
            Exit::Failure => 1,
            Exit::Usage => 2,
            Exit::Unavailable => 69,
            Exit::Software => 70,
            Exit::Config => 78,
        })
    }
}
