//! Numbers of cards: an issuer's digits in front, a check digit at the end, and not a part of something longer.

use std::sync::LazyLock;

use regex::{Captures, Regex};

#[expect(clippy::expect_used, reason = "a constant, and a test tries it")]
static CARD: LazyLock<Regex> = LazyLock::new(|| {
    let issuers = "3[47][0-9]|4[0-9]{3}|5[1-5][0-9]{2}|2[2-7][0-9]{2}|65[0-9]{2}|6011";
    Regex::new(&format!(r"(?-u:\b)(?:{issuers})(?:[-\s]?[0-9]){{12}}(?-u:\b)")).expect("the pattern is valid")
});

/// `text` with each card number as `replacement`; `None` if it has none.
pub(super) fn without_cards(text: &str, replacement: &str) -> Option<String> {
    let mut is_changed = false;
    let replaced = CARD.replace_all(text, |found: &Captures<'_>| {
        let place = found.get(0).map_or(0..0, |found| found.range());
        if !is_alone(&text[..place.start], &text[place.end..]) || !has_check_digit(&found[0]) {
            return found[0].to_owned();
        }
        is_changed = true;
        replacement.to_owned()
    });
    let replaced = replaced.into_owned();
    is_changed.then_some(replaced)
}

/// Whether a number is that of a card.
pub(super) fn is_card(number: &str) -> bool {
    without_cards(number, "").is_some()
}

/// Whether it is no piece of a fraction, of a UUID or of another number.
fn is_alone(before: &str, behind: &str) -> bool {
    let before = before.as_bytes();
    let behind = behind.as_bytes();
    let goes_on_before = match before {
        [.., digit, b'.' | b','] => digit.is_ascii_digit(),
        [.., hex, b'-'] => hex.is_ascii_hexdigit(),
        _ => false,
    };
    let goes_on_behind = match behind {
        [b'.', digit, ..] => digit.is_ascii_digit(),
        [b'-', hex, ..] => hex.is_ascii_hexdigit(),
        _ => false,
    };
    !goes_on_before && !goes_on_behind
}

/// ISO/IEC 7812: every second digit from the end doubled, the sum of all digits is a multiple of ten.
fn has_check_digit(number: &str) -> bool {
    let digits = number.bytes().rev().filter(u8::is_ascii_digit).map(|digit| u32::from(digit - b'0'));
    let sum: u32 = digits
        .enumerate()
        .map(|(position, digit)| match (position % 2, digit * 2) {
            (0, _) => digit,
            (_, doubled @ 10..) => doubled - 9,
            (_, doubled) => doubled,
        })
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_are_told_from_other_numbers() {
        for (text, expected) in [
            ("4111111111111111", true),
            ("4111 1111 1111 1111", true),
            ("5105-1051-0510-5100", true),
            ("378282246310005", true),
            ("2223003122003222", true),
            ("paid with 4111111111111111.", true),
            ("4111111111111112", false),
            ("1234567812345670", false),
            ("0.4532015112830366", false),
            ("4532015112830366.5", false),
            ("41111111-1111-1111-8111-111111111111", false),
            ("4111111111111111-abcd", false),
            ("a4111111111111111", false),
            ("41111111111111111", false),
        ] {
            assert_eq!(is_card(text), expected, "{text}");
        }
    }
}
