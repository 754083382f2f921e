//! What a run means: a document, or an error that says what to do next.

use std::{io, os::unix::process::ExitStatusExt as _, path::Path, process::ExitStatus};

use serde_json::error::Category;
use stocktake_core::{
    CollectError,
    exec::{Document, Exit},
    model::SCHEMA_VERSION,
};

use crate::{
    lines::printable,
    program::Program,
    run::{Finished, Interrupted},
};

/// What was printed, if the program says that it means it.
pub(crate) fn document(program: &Program, run: Result<Finished, Interrupted>) -> Result<Document, CollectError> {
    let path = program.path.display();
    match run {
        Ok(Finished { status, output, last_line }) => match failure(status) {
            None => read(&program.path, &output),
            Some((exit, what)) => {
                let said = last_line.map_or_else(|| "it says nothing on stderr".to_owned(), |line| clip(&line));
                Err(error(exit, format!("{path} {what}: {said}")))
            }
        },
        Err(Interrupted::NotStarted(error)) => Err(not_started(&program.path, error)),
        Err(Interrupted::TooLong) => Err(protocol(format!(
            "{path} prints more than {} bytes and was killed; raise `max_output_bytes` if that is right",
            program.max_output
        ))),
        Err(Interrupted::Pipe(error)) => Err(CollectError::unavailable(format!("cannot talk to {path}"), error)),
    }
}

/// What went wrong by the program's own account; `None` if nothing did.
fn failure(status: ExitStatus) -> Option<(Exit, String)> {
    let Some(code) = status.code() else {
        let signal = status.signal().unwrap_or_default();
        return Some((Exit::Protocol, format!("was killed by signal {signal}")));
    };
    let (exit, what) = match Exit::from_code(code) {
        Some(Exit::Success) => return None,
        Some(exit @ Exit::Unavailable) => (exit, "cannot reach its runtime"),
        Some(exit @ Exit::Denied) => (exit, "is refused by its runtime"),
        Some(exit @ Exit::Unsupported) => (exit, "cannot read this kind or version of its runtime"),
        Some(exit @ Exit::Protocol) => (exit, "does not understand its runtime"),
        Some(exit @ Exit::Config) => (exit, "refuses its settings (`settings`, or its arguments in `command`)"),
        Some(exit @ Exit::Software) => (exit, "has a bug"),
        None => (Exit::Protocol, "failed"),
    };
    Some((exit, format!("{what} (exit code {code})")))
}

fn error(exit: Exit, message: String) -> CollectError {
    match exit {
        Exit::Unavailable => CollectError::Unavailable { message, source: None },
        Exit::Denied => CollectError::Denied { message, source: None },
        // Wrong settings are wrong until a person changes them, with which the collector is built anew.
        Exit::Unsupported | Exit::Config => CollectError::Unsupported { message },
        Exit::Success | Exit::Software | Exit::Protocol => protocol(message),
    }
}

fn not_started(path: &Path, error: io::Error) -> CollectError {
    let what = format!("cannot start {}", path.display());
    if error.raw_os_error() == Some(rustix::io::Errno::NOEXEC.raw_os_error()) {
        return CollectError::Unsupported {
            message: format!("{what}: this machine does not know how; a script begins with a line like `#!/bin/sh`"),
        };
    }
    match error.kind() {
        io::ErrorKind::PermissionDenied => CollectError::denied(
            format!("{what}: permission denied; let the agent's user run it, from a file system that is not `noexec`"),
            error,
        ),
        io::ErrorKind::NotFound => {
            CollectError::unavailable(format!("{what}: it, or the interpreter that it names, is gone"), error)
        }
        _ => CollectError::unavailable(what, error),
    }
}

fn read(path: &Path, output: &[u8]) -> Result<Document, CollectError> {
    let path = path.display();
    if output.trim_ascii().is_empty() {
        return Err(protocol(format!(
            "{path} prints nothing; where there is nothing, print a scope without containers"
        )));
    }
    // To the deserialiser a list of the fields' values is as good as an object, and an empty one a document.
    if output.trim_ascii_start().starts_with(b"[") {
        return Err(protocol(format!("{path} prints a JSON list; a document is an object")));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(output);
    let document: Result<Document, _> = serde_path_to_error::deserialize(&mut deserializer);
    let document = document.map_err(|error| {
        let place =
            Some(error.path().to_string()).filter(|place| !matches!(place.as_str(), "." | "?")).unwrap_or_default();
        unreadable(&path.to_string(), &place, &error.into_inner())
    })?;
    deserializer.end().map_err(|error| unreadable(&path.to_string(), "", &error))?;
    if document.schema != SCHEMA_VERSION {
        let message = format!(
            "{path} writes version `{}` of the document, and this agent reads `{SCHEMA_VERSION}`; update the older of both",
            clip(&document.schema)
        );
        return Err(CollectError::Unsupported { message });
    }
    Ok(document)
}

fn unreadable(path: &str, place: &str, error: &serde_json::Error) -> CollectError {
    let what = match error.classify() {
        Category::Eof => "prints a document that is cut off",
        Category::Syntax | Category::Io => "prints no JSON document",
        Category::Data => "prints a document that cannot be read",
    };
    let place = if place.is_empty() { String::new() } else { format!("{}: ", clip(place)) };
    // Not as a source: a string of the document, which the parser quotes, may be of any length.
    protocol(format!("{path} {what}: {place}{}", clip(&error.to_string())))
}

fn protocol(message: String) -> CollectError {
    CollectError::Protocol { message, source: None }
}

/// What others have written, in a size for a message. The end is kept: it has the place in the document.
fn clip(text: &str) -> String {
    const HALF: usize = 150;
    let text = printable(text);
    let length = text.chars().count();
    if length <= 2 * HALF {
        return text;
    }
    let start: String = text.chars().take(HALF).collect();
    let end: String = text.chars().skip(length - HALF).collect();
    format!("{start}…{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(output: &str) -> String {
        let error = read(Path::new("/x"), output.as_bytes()).unwrap_err();
        assert!(matches!(error, CollectError::Protocol { .. } | CollectError::Unsupported { .. }), "{error:?}");
        error.full_message()
    }

    #[test]
    fn what_is_no_document_is_said_with_its_place() {
        for (output, told) in [
            ("", "/x prints nothing; "),
            (" \n", "/x prints nothing; "),
            ("ok", "/x prints no JSON document: expected value at line 1 column 1"),
            ("{} {}", "/x prints no JSON document: trailing characters at line 1 column 4"),
            (r#"{"scopes": [{"containers": ["#, "/x prints a document that is cut off: scopes[0].containers"),
            ("[]", "/x prints a JSON list; a document is an object"),
            ("null", "/x prints a document that cannot be read: invalid type: null"),
            (r#"{"scopes": [{"containers": [{"id": "a"}]}]}"#, "scopes[0].containers[0]: missing field `name`"),
            (r#"{"scopes": [{"containers": 5}]}"#, "scopes[0].containers: invalid type: integer `5`"),
            (r#"{"coverage": "complete"}"#, "coverage: invalid type: string \"complete\""),
            (r#"{"schema": "v2"}"#, "/x writes version `v2` of the document, and this agent reads `v1`"),
            ("{\"\u{1b}[31m\": 1}", "/x prints no JSON document: control character"),
        ] {
            let message = complaint(output);
            assert!(message.contains(told), "{output:?}: {message}");
        }
    }

    #[test]
    fn a_message_is_short_and_harmless_whatever_was_printed() {
        let long = "x\\u001b".repeat(100_000);
        let message = complaint(&format!(r#"{{"coverage": "{long}"}}"#));
        assert!(message.len() < 1000 && message.contains('…') && message.contains("line 1 column"), "{message}");
        assert!(!message.contains('\u{1b}'), "{message}");
        let nested = complaint(&"{\"x\":".repeat(100_000));
        assert!(nested.len() < 1000, "{nested}");
    }

    #[test]
    fn exit_codes_say_what_to_do_next() {
        let kind = |status: i32| {
            let (exit, message) = failure(ExitStatus::from_raw(status))?;
            Some((error(exit, String::new()), message))
        };
        assert!(kind(0).is_none());
        for (code, told) in [(70, "has a bug"), (76, "does not understand"), (1, "failed (exit code 1)"), (127, "127")]
        {
            let (error, message) = kind(code << 8).unwrap();
            assert!(matches!(error, CollectError::Protocol { .. }) && message.contains(told), "{code}: {message}");
        }
        for code in [69, 75] {
            assert!(matches!(kind(code << 8), Some((CollectError::Unavailable { .. }, _))));
        }
        assert!(matches!(kind(77 << 8), Some((CollectError::Denied { .. }, _))));
        for code in [65, 78] {
            assert!(matches!(kind(code << 8), Some((CollectError::Unsupported { .. }, _))));
        }
        let (error, message) = kind(9).unwrap();
        assert!(matches!(error, CollectError::Protocol { .. }) && message.contains("signal 9"), "{message}");
    }
}
