//! The JSON of items that are no events: one object, read as leniently as an event.

use serde::Deserialize;

use super::event::{
    lenient::{Any, Attributes, Lenient, Object},
    repaired,
};

/// Longest payload of such an item in bytes.
pub(super) const MAX_BYTES: usize = 1 << 20;

/// Why nothing of an item can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    TooLarge,
    InvalidJson,
    NotAnObject,
}

/// The attributes of the object that the payload is.
pub(super) fn read<T: Attributes>(payload: &[u8]) -> Result<T, Unreadable> {
    if payload.len() > MAX_BYTES {
        return Err(Unreadable::TooLarge);
    }
    let attributes = parse(payload).or_else(|error| match repaired(payload) {
        Some(payload) => parse(&payload),
        None => Err(error),
    });
    attributes.map_err(|_| Unreadable::InvalidJson)?.ok_or(Unreadable::NotAnObject)
}

fn parse<T: Attributes>(payload: &[u8]) -> Result<Option<T>, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(payload);
    let Any(Object(attributes)) = Any::deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(attributes)
}

/// How many: a number or a string of one, never negative; what is larger than any true count is the largest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count(pub(super) u32);

impl Lenient for Count {
    fn from_text(text: &str) -> Self {
        text.trim().parse().map_or_else(|_| Self::default(), Self::from_integer)
    }

    fn from_integer(number: i128) -> Self {
        Self(u32::try_from(number.max(0)).unwrap_or(u32::MAX))
    }

    fn from_float(number: f64) -> Self {
        Self::from_text(&number.trunc().to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_read_from_whatever_says_it() {
        for (json, expected) in [
            ("3", 3),
            ("3.9", 3),
            ("\" 3 \"", 3),
            ("-3", 0),
            ("-0.5", 0),
            ("null", 0),
            ("true", 0),
            ("[3]", 0),
            ("{\"a\":3}", 0),
            ("\"many\"", 0),
            ("4294967296", u32::MAX),
            ("1e300", 0),
        ] {
            assert_eq!(serde_json::from_str::<Any<Count>>(json).unwrap().0.0, expected, "{json}");
        }
    }
}
