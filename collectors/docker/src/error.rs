//! From the client library's errors to what the agent does next.

use std::{fmt, io};

use bollard::errors::Error;
use stocktake_core::CollectError;

/// What was being asked, for the message.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Action {
    Connect,
    Version,
    Info,
    Containers,
    Images,
    Events,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "cannot connect to",
            Self::Version => "cannot read the version of",
            Self::Info => "cannot read the description of",
            Self::Containers => "cannot list the containers of",
            Self::Images => "cannot list the images of",
            Self::Events => "cannot follow the events of",
        })
    }
}

/// `daemon` is its address.
pub(crate) fn collect_error(daemon: &dyn fmt::Display, action: Action, error: Error) -> CollectError {
    let what = format!("{action} docker at {daemon}");
    match &error {
        Error::SocketNotFoundError(_) => CollectError::Unavailable {
            message: format!("{what}: no such socket; start the daemon or set `host`"),
            source: None,
        },
        Error::DockerResponseServerError { status_code: 401 | 403, message } => CollectError::Denied {
            message: format!("{what}: refused: {message}; an authorization plug-in has to allow GET requests"),
            source: None,
        },
        Error::DockerResponseServerError { status_code, message } if *status_code < 500 => {
            CollectError::Protocol { message: format!("{what}: status {status_code}: {message}"), source: None }
        }
        Error::JsonDataError { .. } => CollectError::protocol(format!("{what}: unreadable answer"), error),
        _ if tls_error(&error).is_some() => {
            let hint = match tls_error(&error) {
                Some(rustls::Error::AlertReceived(_)) => {
                    "check the client's certificate and key (`tls.cert_file`, `tls.key_file`), which the daemon refuses"
                }
                _ => "check the certificate authority (`tls.ca_file`), which has to vouch for the daemon",
            };
            CollectError::denied(format!("{} docker at {daemon}: {hint}", Action::Connect), error)
        }
        _ => match io_error_kind(&error) {
            Some(io::ErrorKind::PermissionDenied) => CollectError::denied(
                format!("{what}: permission denied; run as root or as a member of the socket's group"),
                error,
            ),
            Some(io::ErrorKind::NotFound) => CollectError::Unavailable {
                message: format!("{what}: no such socket; start the daemon or set `host`"),
                source: None,
            },
            Some(io::ErrorKind::FileTooLarge) => CollectError::protocol(what, error),
            Some(io::ErrorKind::ConnectionRefused) => CollectError::Unavailable {
                message: format!("{what}: nothing listens there; start the daemon or set `host`"),
                source: None,
            },
            _ => CollectError::unavailable(what, error),
        },
    }
}

/// The operating system's word for what went wrong, however deep in the chain it is.
fn io_error_kind(error: &Error) -> Option<io::ErrorKind> {
    chain(error).find_map(|error| Some(error.downcast_ref::<io::Error>()?.kind()))
}

/// What TLS has against the other side.
fn tls_error(error: &Error) -> Option<&rustls::Error> {
    chain(error).find_map(|error| error.downcast_ref())
}

/// An error and what caused it. That of an input/output error made by a library is not in its `source()`.
fn chain<'a>(error: &'a Error) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    let first: &'a (dyn std::error::Error + 'static) = error;
    std::iter::successors(Some(first), |error| match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inner) => Some(inner),
        None => error.source(),
    })
}
