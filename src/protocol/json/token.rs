//! Where the tokens of JSON end. Nothing here allocates or knows what a token is for.

/// Every byte of a word set to the least significant bit.
const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
const HIGH_BITS: u64 = u64::from_ne_bytes([0x80; 8]);

/// Number of bytes in front of the first quote, backslash or control character.
#[inline]
pub(crate) fn plain_length(bytes: &[u8]) -> usize {
    let (words, rest) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let special = special_bytes(u64::from_le_bytes(*word));
        if special != 0 {
            return index * 8 + special.trailing_zeros() as usize / 8;
        }
    }
    let special = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | ..0x20));
    bytes.len() - rest.len() + special.unwrap_or(rest.len())
}

/// The high bit of each byte that ends the plain part of a string. Above the first such byte a borrow may
/// mark others too.
#[inline]
fn special_bytes(word: u64) -> u64 {
    let quote = word ^ (ONES * u64::from(b'"'));
    let backslash = word ^ (ONES * u64::from(b'\\'));
    let quotes = quote.wrapping_sub(ONES) & !quote;
    let backslashes = backslash.wrapping_sub(ONES) & !backslash;
    let controls = word.wrapping_sub(ONES * 0x20) & !word;
    (quotes | backslashes | controls) & HIGH_BITS
}

/// The number of a `\uXXXX` escape that `escape` begins with.
pub(super) fn code_unit(escape: &[u8]) -> Option<u16> {
    let digits = escape.strip_prefix(br"\u")?.get(..4)?;
    digits.iter().try_fold(0_u16, |unit, digit| {
        let digit = char::from(*digit).to_digit(16).and_then(|digit| u16::try_from(digit).ok())?;
        Some(unit << 4 | digit)
    })
}

/// Length of the number that `bytes` begins with; `None` if JSON has no such number.
#[inline]
pub(crate) fn number_length(bytes: &[u8]) -> Option<usize> {
    let digits = |from: usize| bytes.iter().skip(from).take_while(|byte| byte.is_ascii_digit()).count();
    let start = usize::from(bytes.first() == Some(&b'-'));
    let integer = digits(start);
    if integer == 0 || integer > 1 && bytes.get(start) == Some(&b'0') {
        return None;
    }
    let mut end = start + integer;
    if bytes.get(end) == Some(&b'.') {
        let fraction = digits(end + 1);
        end += 1 + fraction;
        if fraction == 0 {
            return None;
        }
    }
    if let Some(b'e' | b'E') = bytes.get(end) {
        end += 1 + usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        let exponent = digits(end);
        end += exponent;
        if exponent == 0 {
            return None;
        }
    }
    Some(end)
}

/// Whether a double can hold the number: asked of the very parser that reads the payload next.
pub(crate) fn is_finite(number: &[u8]) -> bool {
    let may_overflow = number.len() > 300 || number.iter().any(|byte| matches!(byte, b'e' | b'E'));
    !may_overflow || serde_json::from_slice::<f64>(number).is_ok()
}

/// End of the string whose opening quote is at `start`, behind its closing quote.
pub(crate) fn string_end(bytes: &[u8], start: usize) -> Option<usize> {
    let mut position = start + 1;
    loop {
        position += plain_length(bytes.get(position..)?);
        match bytes.get(position)? {
            b'"' => return Some(position + 1),
            b'\\' => position += 2,
            _ => position += 1,
        }
    }
}

/// End of the list or object that begins at `start`, however deep it is. What is inside is not checked but
/// for its strings: it is about to be dropped.
pub(crate) fn container_end(bytes: &[u8], start: usize) -> Option<usize> {
    let (mut position, mut depth) = (start, 0_usize);
    loop {
        match bytes.get(position)? {
            b'"' => {
                position = string_end(bytes, position)?;
                continue;
            }
            b'[' | b'{' => depth += 1,
            b']' | b'}' => {
                depth -= 1;
                if depth == 0 {
                    return Some(position + 1);
                }
            }
            _ => {}
        }
        position += 1;
    }
}

/// End of the value that begins at `start`.
pub(crate) fn value_end(bytes: &[u8], start: usize) -> Option<usize> {
    match bytes.get(start)? {
        b'"' => string_end(bytes, start),
        b'[' | b'{' => container_end(bytes, start),
        _ => {
            let in_scalar = |byte: &&u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
            let length = bytes[start..].iter().take_while(in_scalar).count();
            (length > 0).then_some(start + length)
        }
    }
}

/// The first position from `start` on that is no blank.
#[inline]
pub(crate) fn after_blanks(bytes: &[u8], start: usize) -> usize {
    let mut position = start;
    while let Some(b' ' | b'\n' | b'\r' | b'\t') = bytes.get(position) {
        position += 1;
    }
    position
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plain_part_of_a_string_ends_at_the_first_special_byte() {
        for length in 0..40 {
            for special in [b'"', b'\\', 0, 0x1f] {
                for filling in [b'a', b'!', b'#', b' ', 0x7f, 0x80, 0xff, b'[', b']'] {
                    let mut bytes = vec![filling; length];
                    assert_eq!(plain_length(&bytes), length);
                    bytes.extend([special, b'"', filling, 0]);
                    assert_eq!(plain_length(&bytes), length, "{filling} {special}");
                }
            }
        }
    }

    #[test]
    fn numbers_are_those_of_json() {
        for (json, length) in [
            ("0,", Some(1)),
            ("-0", Some(2)),
            ("120]", Some(3)),
            ("1.50e+10 ", Some(8)),
            ("1E5", Some(3)),
            ("01", None),
            ("-", None),
            ("1.", None),
            (".5", None),
            ("1e", None),
            ("1e+", None),
            ("", None),
        ] {
            assert_eq!(number_length(json.as_bytes()), length, "{json}");
        }
        assert!(!is_finite(b"1e400") && is_finite(b"-1.7976931348623157e+308") && !is_finite(&[b'9'; 400]));
    }

    #[test]
    fn what_is_dropped_ends_at_its_own_bracket() {
        for (json, end) in [
            (r#"{"a":["}"]},1"#, Some(11)),
            (r#""a\"b",1"#, Some(6)),
            ("-1.5e3,1", Some(6)),
            ("[[]", None),
            (r#""a\"#, None),
            (",", None),
        ] {
            assert_eq!(value_end(json.as_bytes(), 0), end, "{json}");
        }
        assert_eq!(container_end(&vec![b'['; 1 << 20], 0), None);
    }
}
