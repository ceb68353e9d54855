//! Text that others wrote, made fit to be shown. In comes what an SDK or another user sent, out goes text that only
//! says something. Pages, terminals and logs call it. Pure.

/// Whether a character does something to the text around it, or shows nothing: control characters, which terminals
/// obey; the marks that turn the direction of text round (`U+202E` makes `exe.cod` of `doc.exe`); those without width,
/// with which two names look the same. Joiners stay: Persian and families of emoji are written with them. Neither
/// ends of lines nor tabs act.
#[must_use]
pub fn acts(character: char) -> bool {
    matches!(
        character,
        '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}'
    ) || (character.is_control() && !matches!(character, '\n' | '\t'))
}

/// The text with `�` for each character that [`acts`].
#[must_use]
pub fn visible(text: &str) -> String {
    text.replace("\r\n", "\n").replace(acts, "\u{fffd}")
}

/// The text in one line, with a blank for what [`acts`] and for ends of lines and tabs.
#[must_use]
pub fn in_one_line(text: &str) -> String {
    text.replace(|character: char| acts(character) || character.is_control(), " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_turn_itself_round() {
        assert_eq!(visible("a\u{202e}b\u{1b}[31mc\r\nd\te"), "a\u{fffd}b\u{fffd}[31mc\nd\te");
        assert_eq!(visible("pay\u{200b}\u{2060}\u{feff}\u{61c}"), "pay\u{fffd}\u{fffd}\u{fffd}\u{fffd}");
        assert_eq!(visible("👩\u{200d}🚀 می\u{200c}خواهم"), "👩\u{200d}🚀 می\u{200c}خواهم");
    }

    #[test]
    fn a_line_ends_where_we_end_it() {
        assert_eq!(in_one_line("a\u{1b}[2J\nb\tc\u{9b}\u{202e}d\u{200b}"), "a [2J b c  d ");
    }
}
