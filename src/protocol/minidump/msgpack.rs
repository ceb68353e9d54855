//! `MessagePack`, as far as it says the same as JSON: sentry-native leaves its event and breadcrumbs in it.

use serde_json::{Map, Value};

/// Deeper values than this are refused.
const MAX_DEPTH: usize = 64;

/// A map, which must fill `bytes`, and how many values it is of: at most `limit`.
pub(super) fn object(bytes: &[u8], limit: usize) -> Option<(Map<String, Value>, usize)> {
    let mut reader = Reader { rest: bytes, left: limit };
    match reader.value(0)? {
        Value::Object(object) if reader.rest.is_empty() => Some((object, limit - reader.left)),
        _ => None,
    }
}

/// Values one behind the other, and how many they are of: at most `limit`.
pub(super) fn values(bytes: &[u8], limit: usize) -> Option<(Vec<Value>, usize)> {
    let mut reader = Reader { rest: bytes, left: limit };
    let mut values = Vec::new();
    while !reader.rest.is_empty() {
        values.push(reader.value(0)?);
    }
    Some((values, limit - reader.left))
}

struct Reader<'a> {
    /// What is left to read.
    rest: &'a [u8],
    /// How many more values may come.
    left: usize,
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: usize) -> Option<Value> {
        if depth > MAX_DEPTH {
            return None;
        }
        self.left = self.left.checked_sub(1)?;
        let [format] = self.array()?;
        Some(match format {
            0x00..=0x7f => format.into(),
            0x80..=0x8f => self.map(usize::from(format & 0x0f), depth)?,
            0x90..=0x9f => self.list(usize::from(format & 0x0f), depth)?,
            0xa0..=0xbf => self.text(usize::from(format & 0x1f))?,
            0xc2 => false.into(),
            0xc3 => true.into(),
            0xc4..=0xc6 => {
                // JSON has no bytes.
                let length = self.length(1 << (format - 0xc4))?;
                self.take(length).map(|_| Value::Null)?
            }
            0xc7..=0xc9 => {
                let length = self.length(1 << (format - 0xc7))?;
                self.take(length.checked_add(1)?).map(|_| Value::Null)?
            }
            0xca => f64::from(f32::from_be_bytes(self.array()?)).into(),
            0xcb => f64::from_be_bytes(self.array()?).into(),
            0xcc => u8::from_be_bytes(self.array()?).into(),
            0xcd => u16::from_be_bytes(self.array()?).into(),
            0xce => u32::from_be_bytes(self.array()?).into(),
            0xcf => u64::from_be_bytes(self.array()?).into(),
            0xd0 => i8::from_be_bytes(self.array()?).into(),
            0xd1 => i16::from_be_bytes(self.array()?).into(),
            0xd2 => i32::from_be_bytes(self.array()?).into(),
            0xd3 => i64::from_be_bytes(self.array()?).into(),
            0xd4..=0xd8 => self.take(1 + (1 << (format - 0xd4))).map(|_| Value::Null)?,
            0xd9..=0xdb => {
                let length = self.length(1 << (format - 0xd9))?;
                self.text(length)?
            }
            0xdc | 0xdd => {
                let length = self.length(2 << (format - 0xdc))?;
                self.list(length, depth)?
            }
            0xde | 0xdf => {
                let length = self.length(2 << (format - 0xde))?;
                self.map(length, depth)?
            }
            0xe0..=0xff => i8::from_be_bytes([format]).into(),
            0xc0 => Value::Null,
            // The one format that is never used.
            0xc1 => return None,
        })
    }

    /// No room is set aside for what a length promises: each item takes a byte at least.
    fn list(&mut self, length: usize, depth: usize) -> Option<Value> {
        let mut list = Vec::new();
        for _ in 0..length {
            list.push(self.value(depth + 1)?);
        }
        Some(list.into())
    }

    fn map(&mut self, length: usize, depth: usize) -> Option<Value> {
        let mut object = Map::new();
        for _ in 0..length {
            let key = match self.value(depth + 1)? {
                Value::String(key) => key,
                // As text each level would be twice as long as the one inside.
                Value::Array(_) | Value::Object(_) => return None,
                scalar => scalar.to_string(),
            };
            object.insert(key, self.value(depth + 1)?);
        }
        Some(object.into())
    }

    fn text(&mut self, length: usize) -> Option<Value> {
        self.take(length).map(|text| String::from_utf8_lossy(text).into())
    }

    /// A length of 1, 2 or 4 bytes.
    fn length(&mut self, bytes: usize) -> Option<usize> {
        Some(self.take(bytes)?.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)))
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*array)
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn every_format_is_read() {
        for (bytes, expected) in [
            (&b"\xc0"[..], json!(null)),
            (b"\xc2\xc3", json!(false)),
            (b"\x05", json!(5)),
            (b"\xff", json!(-1)),
            (b"\xcc\xff", json!(255)),
            (b"\xcd\x01\x00", json!(256)),
            (b"\xce\x00\x01\x00\x00", json!(65536)),
            (b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", json!(u64::MAX)),
            (b"\xd0\x80", json!(-128)),
            (b"\xd1\x80\x00", json!(-32768)),
            (b"\xd2\x80\x00\x00\x00", json!(i32::MIN)),
            (b"\xd3\x80\x00\x00\x00\x00\x00\x00\x00", json!(i64::MIN)),
            (b"\xca\x3f\xc0\x00\x00", json!(1.5)),
            (b"\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00", json!(1.5)),
            (b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00", json!(null)),
            (b"\xa2ab", json!("ab")),
            (b"\xd9\x02ab", json!("ab")),
            (b"\xda\x00\x02ab", json!("ab")),
            (b"\xdb\x00\x00\x00\x02ab", json!("ab")),
            (b"\xa1\xff", json!("\u{fffd}")),
            (b"\xc4\x02ab", json!(null)),
            (b"\xd6\xff\x00\x00\x00\x00", json!(null)),
            (b"\xc7\x01\x05x", json!(null)),
            (b"\x92\x01\xa1b", json!([1, "b"])),
            (b"\xdc\x00\x01\x01", json!([1])),
            (b"\xdd\x00\x00\x00\x01\x01", json!([1])),
            (b"\x82\xa1a\x01\x05\xc0", json!({"a": 1, "5": null})),
            (b"\xde\x00\x01\xa1a\x01", json!({"a": 1})),
            (b"\xdf\x00\x00\x00\x01\xa1a\x01", json!({"a": 1})),
        ] {
            assert_eq!(values(bytes, 100).unwrap().0[0], expected, "{bytes:x?}");
        }
    }

    #[test]
    fn what_is_cut_or_lies_is_refused() {
        let deep = [0x91].repeat(1000);
        for bytes in [
            &b"\xa2a"[..],
            b"\x92\x01",
            b"\xdd\xff\xff\xff\xff\x01",
            b"\xdb\xff\xff\xff\xff",
            b"\xcd\x01",
            b"\xc1",
            &deep,
        ] {
            assert_eq!(values(bytes, 100), None, "{bytes:x?}");
        }
        assert_eq!(object(b"\x81\xa1a\x01\x05", 100), None, "something follows");
        assert_eq!(object(b"\x81\x81\xa1a\x01\x05", 100), None, "a map is no name");
        assert_eq!(object(b"\x05", 100), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let _ = (values(&bytes, 1_000), object(&bytes, 1_000));
        }
    }
}
