//! JSON that is almost right: what SDKs are known to send and strict parsers refuse.

use std::borrow::Cow;

use crate::protocol::json::{Piece, piece, plain_length};

/// The payload with invalid UTF-8 and lone surrogate escapes as U+FFFD, and bare `NaN`, `Infinity` and
/// numbers no double can hold as `null`. `None` if there is nothing of that kind in it.
///
/// Python writes `NaN`; JavaScript and Ruby cut strings in the middle of a surrogate pair.
#[must_use]
pub fn repaired(payload: &[u8]) -> Option<Vec<u8>> {
    let text = String::from_utf8_lossy(payload);
    let bytes = text.as_bytes();
    let mut output = Vec::with_capacity(bytes.len());
    let mut changed = matches!(text, Cow::Owned(_));
    let (mut position, mut in_string) = (0, false);
    while let Some(rest) = bytes.get(position..).filter(|rest| !rest.is_empty()) {
        let token = if in_string { string_token(rest) } else { outer_token(rest) };
        in_string ^= token.is_quote;
        output.extend_from_slice(token.replacement.unwrap_or(&rest[..token.length]));
        changed |= token.replacement.is_some();
        position += token.length;
    }
    changed.then_some(output)
}

struct Token {
    length: usize,
    replacement: Option<&'static [u8]>,
    is_quote: bool,
}

impl Token {
    fn kept(length: usize) -> Self {
        Self { length, replacement: None, is_quote: false }
    }
}

/// The next piece of a string: what is plain, or one escape.
fn string_token(rest: &[u8]) -> Token {
    let plain = plain_length(rest);
    if plain > 0 {
        return Token::kept(plain);
    }
    match piece(rest) {
        Piece::End => Token { is_quote: true, ..Token::kept(1) },
        Piece::LoneSurrogate { length } => Token { replacement: Some(br"\ufffd"), ..Token::kept(length) },
        Piece::Character { length, .. } | Piece::Nul { length } => Token::kept(length),
        // A strict parser refuses the one and, where it may, keeps the other: both are its to judge.
        Piece::Control { .. } | Piece::Invalid => Token::kept(1),
    }
}

/// The next word, number or character between strings.
fn outer_token(rest: &[u8]) -> Token {
    let null = |length| Token { replacement: Some(b"null"), ..Token::kept(length) };
    for word in [&b"NaN"[..], b"Infinity", b"-Infinity"] {
        if rest.starts_with(word) {
            return null(word.len());
        }
    }
    let in_number = |byte: &&u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
    match rest[0] {
        b'"' => Token { is_quote: true, ..Token::kept(1) },
        b'-' | b'0'..=b'9' => {
            let length = rest.iter().take_while(in_number).count();
            let number = std::str::from_utf8(&rest[..length]).ok().and_then(|text| text.parse::<f64>().ok());
            if number.is_some_and(f64::is_infinite) { null(length) } else { Token::kept(length) }
        }
        _ => Token::kept(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_mistakes_are_mended_and_nothing_else_is_touched() {
        for (json, expected) in [
            (r#"{"a":NaN,"b":[Infinity,-Infinity]}"#, Some(r#"{"a":null,"b":[null,null]}"#)),
            (r#"{"a":"NaN \" Infinity"}"#, None),
            (r#"{"a":1e999,"b":-1e9}"#, Some(r#"{"a":null,"b":-1e9}"#)),
            (r#"["\ud83d"]"#, Some(r#"["\ufffd"]"#)),
            (r#"["\ude00x"]"#, Some(r#"["\ufffdx"]"#)),
            (r#"["\uD83D\uDE00"]"#, None),
            (r#"["\ud83d\ud83d\ude00"]"#, Some(r#"["\ufffd\ud83d\ude00"]"#)),
            (r#"["\\ud83d"]"#, None),
            (r#"["\u12"]"#, None),
            (r#"["\"#, None),
            ("", None),
        ] {
            let found = repaired(json.as_bytes());
            assert_eq!(found.as_deref(), expected.map(str::as_bytes), "{json}");
        }
        assert_eq!(repaired(b"[\"\xff\"]").as_deref(), Some("[\"\u{fffd}\"]".as_bytes()));
    }
}
