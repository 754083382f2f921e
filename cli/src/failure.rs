//! Why a command cannot be done.

use std::io;

use crate::exit::Exit;

/// Why a command cannot be done, as a person is told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The server refused, or there is nothing of a name.
    #[error("{0}")]
    Refused(String),
    /// An option that does not fit the others, or a file that is named and cannot be read.
    #[error("{0}")]
    Usage(String),
    /// There is no answer, or none that Stocktake's server would give.
    #[error("{0}")]
    Unavailable(String),
    /// The user or token is not known, or may not do this.
    #[error("{0}")]
    Denied(String),
    /// The configuration, or a file that it names, is wrong.
    #[error("{0}")]
    Config(String),
    /// The output cannot be written.
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
}

impl Failure {
    /// What the process ends with.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Refused(_) => Exit::Refused,
            Self::Usage(_) => Exit::Usage,
            Self::Unavailable(_) => Exit::Unavailable,
            Self::Denied(_) => Exit::Denied,
            Self::Config(_) => Exit::Config,
            // The reader of the output has seen enough (`| head`).
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Success,
            Self::Output(_) => Exit::Software,
        }
    }

    /// Whether nobody is there to be told.
    pub(crate) fn is_silent(&self) -> bool {
        self.exit() == Exit::Success
    }
}
