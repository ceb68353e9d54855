//! Text that an SDK sent, made fit for a page. Pure.

/// What an SDK sent may be anything: control characters and the marks that turn the direction of
/// text round (`U+202E` makes `exe.cod` of `doc.exe`) are shown as `�` instead of acting, and so are those that show
/// nothing, with which two names look the same. Joiners stay: Persian and families of emoji are written with them.
#[must_use]
pub fn visible(text: &str) -> String {
    let acts = |character: char| {
        matches!(
            character,
            '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}'
        ) || (character.is_control() && !matches!(character, '\n' | '\t'))
    };
    text.replace("\r\n", "\n").chars().map(|character| if acts(character) { '\u{fffd}' } else { character }).collect()
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
}
