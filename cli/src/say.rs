//! What is said to the person who started the program, on stderr.

use std::io::{self, Write as _};

/// Something worth knowing.
pub(crate) fn note(message: &str) {
    say("", message);
}

/// Something that is less good than it could be.
pub(crate) fn warning(message: &str) {
    say("warning: ", message);
}

/// Something that cannot be done.
pub(crate) fn error(message: &str) {
    say("error: ", message);
}

fn say(prefix: &str, message: &str) {
    let message = message.lines().map(plain).collect::<Vec<_>>().join("\n");
    // Should stderr be closed, nobody is there.
    let _ = writeln!(io::stderr(), "{prefix}{message}");
}

/// The text with each control character replaced: no escape sequence of others' may reach the terminal.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { char::REPLACEMENT_CHARACTER } else { character }).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn control_characters_do_not_come_through() {
        assert_eq!(super::plain("a\u{1b}[31mb\nc\u{9b}d"), "a\u{fffd}[31mb\u{fffd}c\u{fffd}d");
        assert_eq!(super::plain("…/team/app:1.0"), "…/team/app:1.0");
    }
}
