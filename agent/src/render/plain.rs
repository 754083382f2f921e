//! Text for people in which nothing but text is left.

/// The text with each control character replaced: labels and messages come from others, and neither a line break nor an
/// escape sequence of theirs may reach the terminal.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { char::REPLACEMENT_CHARACTER } else { character }).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn control_characters_do_not_come_through() {
        assert_eq!(super::plain("a\u{1b}[31mb\nc\u{9b}d"), "a�[31mb�c�d");
        assert_eq!(super::plain("…/team/app:1.0"), "…/team/app:1.0");
    }
}
