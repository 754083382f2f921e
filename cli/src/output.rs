//! Stdout, which is data.

use std::io::{self, BufWriter, IsTerminal as _, Stdout, Write};

/// Writes to stdout. On a terminal, control characters but line feeds and tabs come out as `?`: JSON and CSV hold what others
/// wrote, and a terminal would obey it. A pipe gets every byte.
pub(crate) struct Output<W: Write = Stdout> {
    out: BufWriter<W>,
    cleans: bool,
    /// The byte that begins a control character of two bytes, while the second is awaited.
    held: bool,
}

/// First byte of U+0080 to U+00BF in UTF-8, of which those up to U+009F are control characters.
const LEAD: u8 = 0xC2;

impl Output {
    /// Of this process.
    pub(crate) fn of_process() -> Self {
        let stdout = io::stdout();
        let cleans = stdout.is_terminal();
        Self::new(stdout, cleans)
    }
}

impl<W: Write> Output<W> {
    fn new(out: W, cleans: bool) -> Self {
        Self { out: BufWriter::new(out), cleans, held: false }
    }

    fn put(&mut self, byte: u8) -> io::Result<()> {
        if self.held {
            self.held = false;
            if (0x80..=0x9F).contains(&byte) {
                return self.out.write_all(b"?");
            }
            self.out.write_all(&[LEAD])?;
        }
        match byte {
            LEAD => {
                self.held = true;
                Ok(())
            }
            b'\n' | b'\t' => self.out.write_all(&[byte]),
            0..0x20 | 0x7F => self.out.write_all(b"?"),
            byte => self.out.write_all(&[byte]),
        }
    }
}

impl<W: Write> Write for Output<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.cleans {
            bytes.iter().try_for_each(|byte| self.put(*byte))?;
        } else {
            self.out.write_all(bytes)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(cleans: bool, parts: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut output = Output::new(&mut out, cleans);
        for part in parts {
            output.write_all(part).unwrap();
        }
        output.flush().unwrap();
        drop(output);
        out
    }

    #[test]
    fn a_terminal_gets_no_control_characters_however_they_are_cut() {
        let text = "a\u{1b}[31m\tb\r\u{9b}c\u{7f} \u{a9} ü\n".as_bytes();
        let clean = "a?[31m\tb??c? \u{a9} ü\n".as_bytes();
        assert_eq!(written(true, &[text]), clean);
        for cut in 0..text.len() {
            assert_eq!(written(true, &[&text[..cut], &text[cut..]]), clean, "cut at {cut}");
        }
    }

    #[test]
    fn a_pipe_gets_every_byte() {
        assert_eq!(written(false, &[b"a\x1b[31m", b"\xc2\x9b\n"]), b"a\x1b[31m\xc2\x9b\n");
    }
}
