//! Text from outside that is shown to people.

/// Whether the character is invisible and changes what a terminal or a page shows: control characters, and those that turn the
/// direction of text or join what belongs apart, such as U+202E. A file name can contain all of them.
#[must_use]
pub fn is_deceptive(c: char) -> bool {
    let turns_direction = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}');
    c.is_control() || turns_direction || matches!(c, '\u{2028}' | '\u{2029}' | '\u{2066}'..='\u{2069}')
}

/// The text on one line, with a space for each such character.
#[must_use]
pub fn on_one_line(text: &str) -> String {
    text.replace(is_deceptive, " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_deceives_is_left() {
        assert_eq!(on_one_line("a\u{1b}[31mb\nc\u{202e}d\u{2066}e"), "a [31mb c d e");
        assert_eq!(on_one_line("état 状态 →"), "état 状态 →");
    }
}
