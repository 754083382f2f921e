//! For people: columns side by side, two blanks in between, without borders.

use std::io::{self, Write};

use textwrap::core::display_width;

use crate::say::plain;

/// Writes rows below their heads. Nothing is cut: a line may be wider than the terminal.
pub(crate) fn write(heads: &[&str], rows: &[Vec<String>], out: &mut impl Write) -> io::Result<()> {
    let heads: Vec<String> = heads.iter().map(|head| (*head).to_owned()).collect();
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| plain(cell)).collect()).collect();
    let lines = || std::iter::once(&heads).chain(&rows);
    let width = |column| lines().filter_map(|line| line.get(column)).map(|cell: &String| display_width(cell)).max();
    let widths: Vec<usize> = (0..heads.len()).map(|column| width(column).unwrap_or_default()).collect();
    for line in lines() {
        let mut text = String::new();
        for (cell, width) in line.iter().zip(&widths) {
            text.push_str(cell);
            text.extend(std::iter::repeat_n(' ', width.saturating_sub(display_width(cell)) + 2));
        }
        writeln!(out, "{}", text.trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn columns_stand_two_blanks_apart() {
        let rows =
            [vec!["a".to_owned(), String::new(), "z\u{1b}".to_owned()], vec!["日本語".into(), "b".into(), "c".into()]];
        let mut out = Vec::new();
        super::write(&["ONE", "TWO", "THREE"], &rows, &mut out).unwrap();
        let expected = "ONE     TWO  THREE\na            z\u{fffd}\n日本語  b    c\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
