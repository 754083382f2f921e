//! What a program says to people: into the log, line by line, and no more of it than anybody reads.

use std::mem;

/// Bytes of a line that are kept.
const MAX_LINE: usize = 1 << 10;
/// Bytes that one run may write into the log.
const MAX_LOGGED: usize = 64 << 10;

/// Takes what a program writes to standard error.
#[derive(Default)]
pub(crate) struct Lines {
    line: Vec<u8>,
    /// Whether the line was longer than what was kept of it.
    cut: bool,
    logged: usize,
    /// Lines that were not logged.
    dropped: usize,
    last: Option<String>,
}

impl Lines {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.extend(&rest[..end]);
            self.end_line();
            rest = &rest[end + 1..];
        }
        self.extend(rest);
    }

    /// Ends the last line if the program did not, and returns the last that has text.
    pub(crate) fn end(&mut self) -> Option<String> {
        self.end_line();
        if mem::take(&mut self.dropped) > 0 {
            tracing::warn!("the program says more on stderr than is logged; the rest was dropped");
        }
        self.last.take()
    }

    fn extend(&mut self, bytes: &[u8]) {
        let room = MAX_LINE - self.line.len();
        self.cut |= bytes.len() > room;
        self.line.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn end_line(&mut self) {
        let mut text = printable(&String::from_utf8_lossy(&self.line));
        self.line.clear();
        if mem::take(&mut self.cut) {
            text.push('…');
        }
        if text.is_empty() {
            return;
        }
        if self.logged + text.len() <= MAX_LOGGED {
            self.logged += text.len();
            tracing::info!("stderr: {text}");
        } else {
            self.dropped += 1;
        }
        self.last = Some(text);
    }
}

impl Drop for Lines {
    /// A program that is killed in the middle of a line has said something too.
    fn drop(&mut self) {
        self.end();
    }
}

/// The text with each control character replaced and without space around it: what a program says may be shown on a
/// terminal, which takes an escape sequence for an order.
pub(crate) fn printable(text: &str) -> String {
    let replace = |character: char| if character.is_control() { char::REPLACEMENT_CHARACTER } else { character };
    text.trim().chars().map(replace).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last(writes: &[&[u8]]) -> Option<String> {
        let mut lines = Lines::default();
        for bytes in writes {
            lines.push(bytes);
        }
        lines.end()
    }

    #[test]
    fn the_last_line_with_text_is_told_however_it_came() {
        assert_eq!(last(&[]), None);
        assert_eq!(last(&[b"\n \n"]), None);
        assert_eq!(last(&[b"one\ntw", b"o\n\n"]).as_deref(), Some("two"));
        assert_eq!(last(&[b"one\r\nno end"]).as_deref(), Some("no end"));
    }

    #[test]
    fn neither_a_terminal_nor_a_reader_of_text_is_harmed() {
        assert_eq!(last(&[b"\x1b[31mred\x07\xff\n"]).as_deref(), Some("\u{fffd}[31mred\u{fffd}\u{fffd}"));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut lines = Lines::default();
        for _ in 0..10_000 {
            lines.push(&[b'x'; 1000]);
        }
        assert!(lines.line.capacity() <= 2 * MAX_LINE);
        lines.push(b"\n");
        for _ in 0..1000 {
            lines.push(&[b'y'; 1000]);
            lines.push(b"\n");
        }
        lines.push(b"why it failed\n");
        assert!(lines.logged <= MAX_LOGGED && lines.dropped > 900, "{} {}", lines.logged, lines.dropped);
        assert_eq!(lines.end().as_deref(), Some("why it failed"));
        assert_eq!(last(&[&[b'x'; 5000]]).unwrap().chars().count(), MAX_LINE + 1);
    }
}
