//! Text, numbers and flags, as leniently as the protocol wants each of them.

use std::{borrow::Cow, collections::BTreeMap};

use serde::de::{MapAccess, SeqAccess};

use super::lenient::{Any, Lenient, Name, value};

/// Strings only, cut to `MAX` characters; the empty one counts as absent.
#[derive(Default)]
pub(in crate::protocol) struct Strict<const MAX: usize>(pub(in crate::protocol) Option<String>);

impl<const MAX: usize> Lenient for Strict<MAX> {
    fn from_text(text: &str) -> Self {
        Self(cleaned(text, MAX))
    }
}

/// Strings, numbers and booleans (in Python's spelling) as text, cut to `MAX` characters.
#[derive(Default)]
pub(in crate::protocol) struct Text<const MAX: usize>(pub(in crate::protocol) Option<String>);

impl<const MAX: usize> Lenient for Text<MAX> {
    fn from_text(text: &str) -> Self {
        Self(cleaned(text, MAX))
    }

    fn from_bool(value: bool) -> Self {
        Self(Some(if value { "True" } else { "False" }.to_owned()))
    }

    fn from_integer(number: i128) -> Self {
        Self(Some(number.to_string()))
    }

    /// `1.0` is `1`: Display writes a double without a fraction as an integer.
    fn from_float(number: f64) -> Self {
        Self(cleaned(&number.to_string(), MAX))
    }
}

/// Any value as text: lists and objects are written as JSON again.
#[derive(Default)]
pub(in crate::protocol) struct JsonText<const MAX: usize>(pub(in crate::protocol) Option<String>);

impl<const MAX: usize> Lenient for JsonText<MAX> {
    fn from_text(text: &str) -> Self {
        Self(cleaned(text, MAX))
    }

    fn from_bool(value: bool) -> Self {
        Self(Text::<MAX>::from_bool(value).0)
    }

    fn from_integer(number: i128) -> Self {
        Self(Text::<MAX>::from_integer(number).0)
    }

    fn from_float(number: f64) -> Self {
        Self(Text::<MAX>::from_float(number).0)
    }

    fn from_list<'de, A: SeqAccess<'de>>(list: A) -> Result<Self, A::Error> {
        Json::from_list(list).map(|json| Self(cleaned(&json.0, MAX)))
    }

    fn from_object<'de, A: MapAccess<'de>>(object: A) -> Result<Self, A::Error> {
        Json::from_object(object).map(|json| Self(cleaned(&json.0, MAX)))
    }
}

/// A value as JSON without blanks, its names in order. Not `serde_json::Value`, which refuses objects that
/// use `serde_json`'s own private names.
struct Json(String);

impl Default for Json {
    fn default() -> Self {
        Self("null".to_owned())
    }
}

impl Lenient for Json {
    fn from_text(text: &str) -> Self {
        Self(quoted(text))
    }

    fn from_bool(value: bool) -> Self {
        Self(value.to_string())
    }

    fn from_integer(number: i128) -> Self {
        Self(number.to_string())
    }

    fn from_float(number: f64) -> Self {
        Self(number.to_string())
    }

    fn from_list<'de, A: SeqAccess<'de>>(mut list: A) -> Result<Self, A::Error> {
        let mut items = Vec::new();
        while let Some(Any(Json(item))) = list.next_element()? {
            items.push(item);
        }
        Ok(Self(format!("[{}]", items.join(","))))
    }

    fn from_object<'de, A: MapAccess<'de>>(mut object: A) -> Result<Self, A::Error> {
        let mut attributes = BTreeMap::new();
        while let Some(name) = object.next_key::<Name<'_>>()? {
            attributes.insert(quoted(name.as_str()), value::<Json, A>(&mut object)?.0);
        }
        let attributes: Vec<String> = attributes.iter().map(|(name, value)| format!("{name}:{value}")).collect();
        Ok(Self(format!("{{{}}}", attributes.join(","))))
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A line or column: a number that is not negative, or a string of one.
#[derive(Default)]
pub(in crate::protocol) struct Number(pub(in crate::protocol) Option<u32>);

impl Lenient for Number {
    fn from_text(text: &str) -> Self {
        Self(text.trim().parse().ok())
    }

    fn from_integer(number: i128) -> Self {
        Self(u32::try_from(number).ok())
    }

    fn from_float(number: f64) -> Self {
        Self::from_text(&number.to_string())
    }
}

#[derive(Default)]
pub(in crate::protocol) struct Flag(pub(in crate::protocol) Option<bool>);

impl Lenient for Flag {
    fn from_bool(value: bool) -> Self {
        Self(Some(value))
    }
}

/// At most `max` characters of `text` without NUL, which Postgres takes in no text; none if nothing is left.
pub(in crate::protocol) fn cleaned(text: &str, max: usize) -> Option<String> {
    let text = cut(text, max);
    let text = if text.contains('\0') { text.replace('\0', "") } else { text.to_owned() };
    if text.is_empty() { None } else { Some(text) }
}

/// The first `max` characters.
pub(in crate::protocol) fn cut(text: &str, max: usize) -> &str {
    if text.len() <= max {
        return text;
    }
    text.char_indices().nth(max).map_or(text, |(end, _)| &text[..end])
}

/// At most `max` characters, of which the last says that some were cut off.
pub(in crate::protocol) fn shortened(text: &str, max: usize) -> Cow<'_, str> {
    if cut(text, max).len() == text.len() {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("{}…", cut(text, max.saturating_sub(1))))
}

#[cfg(test)]
mod tests {
    use super::{super::lenient::Any, *};

    fn read<T: Lenient>(json: &str) -> T {
        serde_json::from_str::<Any<T>>(json).unwrap().0
    }

    #[test]
    fn scalars_become_text_and_the_rest_nothing() {
        for (json, text) in [
            (r#""a""#, Some("a")),
            ("5", Some("5")),
            ("-5", Some("-5")),
            ("1.0", Some("1")),
            ("1.5", Some("1.5")),
            ("18446744073709551615", Some("18446744073709551615")),
            ("true", Some("True")),
            ("false", Some("False")),
            (r#""a\u0000b""#, Some("ab")),
            (r#""\u0000""#, None),
            (r#""äöüß12345678901234567890""#, Some("äöüß1234567890123456")),
            (r#""""#, None),
            ("null", None),
            ("[[1],{}]", None),
            (r#"{"a":[1]}"#, None),
        ] {
            assert_eq!(read::<Text<20>>(json).0.as_deref(), text, "{json}");
        }
    }

    #[test]
    fn strict_text_takes_strings_only() {
        for (json, text) in [(r#""a""#, Some("a")), ("5", None), ("true", None), ("[]", None), ("{}", None)] {
            assert_eq!(read::<Strict<8>>(json).0.as_deref(), text, "{json}");
        }
    }

    #[test]
    fn structures_are_written_as_json_again() {
        for (json, text) in [
            (r#"{ "b": 1, "a": [true, null] }"#, r#"{"a":[true,null],"b":1}"#),
            ("[1, 2]", "[1,2]"),
            (r#"{"a":"\u0000\n\"","a":1.5}"#, r#"{"a":1.5}"#),
            (r#"["\n\""]"#, r#"["\n\""]"#),
            (r#"{"$serde_json::private::RawValue":"{"}"#, r#"{"$serde_json::private::RawValue":"{"}"#),
            ("{}", "{}"),
            ("[]", "[]"),
            (r#""plain""#, "plain"),
            ("1.0", "1"),
        ] {
            assert_eq!(read::<JsonText<100>>(json).0.as_deref(), Some(text), "{json}");
        }
    }

    #[test]
    fn lines_are_small_positive_numbers() {
        for (json, number) in [("5", Some(5)), (r#""5""#, Some(5)), ("5.0", Some(5)), ("-1", None), ("5.5", None)] {
            assert_eq!(read::<Number>(json).0, number, "{json}");
        }
        assert_eq!(read::<Number>("4294967296").0, None);
    }
}
