//! The text that a JSON string stands for, and the string that stands for a text.

use super::token::{code_unit, plain_length};

/// One piece of a string behind its plain part.
pub(crate) enum Piece {
    /// The closing quote.
    End,
    /// A character written so that every parser takes it.
    Character {
        length: usize,
        character: char,
    },
    /// Half a surrogate pair: no text.
    LoneSurrogate {
        length: usize,
    },
    /// NUL, which Postgres takes in no text.
    Nul {
        length: usize,
    },
    /// A control character that should have been escaped.
    Control {
        character: u8,
    },
    Invalid,
}

/// What `bytes` begins with: a quote, an escape or a control character.
pub(crate) fn piece(bytes: &[u8]) -> Piece {
    match bytes {
        [b'"', ..] => Piece::End,
        [b'\\', b'u', ..] => match (code_unit(bytes), bytes.get(6..).and_then(code_unit)) {
            (Some(high @ 0xd800..0xdc00), Some(low @ 0xdc00..0xe000)) => {
                let scalar = 0x1_0000 + (u32::from(high & 0x3ff) << 10) + u32::from(low & 0x3ff);
                char::from_u32(scalar).map_or(Piece::Invalid, |character| Piece::Character { length: 12, character })
            }
            (Some(0xd800..0xe000), _) => Piece::LoneSurrogate { length: 6 },
            (Some(0), _) => Piece::Nul { length: 6 },
            (Some(unit), _) => match char::from_u32(unit.into()) {
                Some(character) => Piece::Character { length: 6, character },
                None => Piece::Invalid,
            },
            (None, _) => Piece::Invalid,
        },
        [b'\\', letter, ..] => match letter {
            b'"' | b'\\' | b'/' => Piece::Character { length: 2, character: char::from(*letter) },
            b'n' => Piece::Character { length: 2, character: '\n' },
            b't' => Piece::Character { length: 2, character: '\t' },
            b'r' => Piece::Character { length: 2, character: '\r' },
            b'b' => Piece::Character { length: 2, character: '\u{8}' },
            b'f' => Piece::Character { length: 2, character: '\u{c}' },
            _ => Piece::Invalid,
        },
        [0, ..] => Piece::Nul { length: 1 },
        [character @ 1..0x20, ..] => Piece::Control { character: *character },
        _ => Piece::Invalid,
    }
}

/// Appends the text of the JSON string `raw`, which is without its quotes, mended as [`Piece`] says.
pub(crate) fn unescape(raw: &str, text: &mut String) {
    let mut rest = raw;
    loop {
        let (plain, special) = rest.split_at(plain_length(rest.as_bytes()));
        text.push_str(plain);
        let length = match piece(special.as_bytes()) {
            Piece::Character { length, character } => {
                text.push(character);
                length
            }
            Piece::LoneSurrogate { length } => {
                text.push(char::REPLACEMENT_CHARACTER);
                length
            }
            Piece::Nul { length } => length,
            Piece::Control { character } => {
                text.push(char::from(character));
                1
            }
            Piece::End | Piece::Invalid => return,
        };
        rest = &special[length..];
    }
}

/// Appends `text` as a JSON string without the quotes.
pub(crate) fn escape(text: &str, json: &mut Vec<u8>) {
    let mut rest = text.as_bytes();
    loop {
        let (plain, special) = rest.split_at(plain_length(rest));
        json.extend_from_slice(plain);
        let Some((byte, after)) = special.split_first() else { return };
        escape_byte(*byte, json);
        rest = after;
    }
}

/// Appends the escape of a quote, backslash or control character.
pub(crate) fn escape_byte(byte: u8, json: &mut Vec<u8>) {
    match byte {
        b'"' | b'\\' => json.extend([b'\\', byte]),
        b'\n' => json.extend(br"\n"),
        b'\t' => json.extend(br"\t"),
        b'\r' => json.extend(br"\r"),
        _ => json.extend(format!(r"\u{byte:04x}").as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_become_the_characters_they_stand_for() {
        for (raw, expected) in [
            ("plain text", "plain text"),
            (r#"\"\\\/\b\f\n\r\t"#, "\"\\/\u{8}\u{c}\n\r\t"),
            (r"pass\u0077ord", "password"),
            (r"\uD83D\uDE00 \ud83d", "\u{1f600} \u{fffd}"),
            ("a\0b\\u0000c\u{1}", "abc\u{1}"),
            ("ü\\u00fc", "üü"),
        ] {
            let mut text = String::new();
            unescape(raw, &mut text);
            assert_eq!(text, expected, "{raw}");
        }
    }

    #[test]
    fn text_is_escaped_as_serde_json_does() {
        for text in ["", "plain", "\"quoted\" \\ / \n\r\t", "\u{1}\u{7f}\u{1f600}"] {
            let mut json = Vec::from(b"\"");
            escape(text, &mut json);
            json.push(b'"');
            assert_eq!(serde_json::from_slice::<String>(&json).unwrap(), text);
        }
    }
}
