//! What is said to the person who started the program, on stderr and beside the log: which runtimes are used, what is
//! wrong and what to do.

use std::{
    io::{self, Write as _},
    sync::OnceLock,
};

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::{cli::LogFormat, render::plain};

static FORMAT: OnceLock<LogFormat> = OnceLock::new();

/// In which form to say it from now on: a program that reads the log as JSON is not to meet anything else.
pub(crate) fn in_format(format: LogFormat) {
    // The first counts, as with the log.
    let _ = FORMAT.set(format);
}

/// Something worth knowing.
pub(crate) fn note(message: &str) {
    say("INFO", "", message);
}

/// Something worth knowing, with the parts of it for programs.
pub(crate) fn detailed_note(message: &str, fields: Map<String, Value>) {
    say_with("INFO", "", message, fields);
}

/// Something that is less good than it could be.
pub(crate) fn warning(message: &str) {
    say("WARN", "warning: ", message);
}

/// Something that cannot be done.
pub(crate) fn error(message: &str) {
    say("ERROR", "error: ", message);
}

fn say(level: &str, prefix: &str, message: &str) {
    say_with(level, prefix, message, Map::new());
}

fn say_with(level: &str, prefix: &str, message: &str, mut fields: Map<String, Value>) {
    let text = match FORMAT.get() {
        // The fields are those of the log's lines.
        Some(LogFormat::Json) => {
            fields.insert("message".to_owned(), message.into());
            serde_json::json!({
                "timestamp": Timestamp::now(),
                "level": level,
                "fields": fields,
                "target": "stocktake_agent",
            })
            .to_string()
        }
        _ => format!("{prefix}{}", message.lines().map(plain).collect::<Vec<_>>().join("\n")),
    };
    // Should stderr be closed, nobody is there.
    let _ = writeln!(io::stderr(), "{text}");
}
