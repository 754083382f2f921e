//! What is said to the person who started the program, on stderr and beside the log.

use std::{
    io::{self, Write as _},
    sync::OnceLock,
};

use jiff::Timestamp;

use crate::cli::LogFormat;

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

/// Something that is less good than it could be.
pub(crate) fn warning(message: &str) {
    say("WARN", "warning: ", message);
}

/// Something that cannot be done.
pub(crate) fn error(message: &str) {
    say("ERROR", "error: ", message);
}

fn say(level: &str, prefix: &str, message: &str) {
    let text = match FORMAT.get() {
        Some(LogFormat::Json) => serde_json::json!({
            "timestamp": Timestamp::now(),
            "level": level,
            "fields": { "message": message },
            "target": "stocktake_server",
        })
        .to_string(),
        _ => format!("{prefix}{}", message.lines().map(plain).collect::<Vec<_>>().join("\n")),
    };
    // Should stderr be closed, nobody is there.
    let _ = writeln!(io::stderr(), "{text}");
}

/// The text with each control character replaced: no escape sequence of others' may reach the terminal.
fn plain(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { char::REPLACEMENT_CHARACTER } else { character }).collect()
}
