//! Tags: short pairs to search by, as an object or as a list of pairs.

use serde::de::{IgnoredAny, MapAccess, SeqAccess};

use super::{
    lenient::{Any, Lenient, Name, assign, skip, value},
    text::{Text, cleaned, cut},
};

/// Tags kept of one event.
pub const MAX_TAGS: usize = 50;
/// Longest key, beyond which a tag is dropped, and longest value, beyond which it is cut.
pub const MAX_TAG_CHARS: usize = 200;

/// Attributes of the event have these names; a tag must not pretend to be one.
const RESERVED: [&str; 5] = ["release", "dist", "user", "filename", "function"];

#[derive(Default)]
pub(super) struct Tags {
    pub(super) pairs: Vec<(String, String)>,
    /// Old clients say the environment in a tag.
    pub(super) environment: Option<String>,
}

impl Tags {
    /// A tag that the application set. The first value of a repeated key counts.
    fn push(&mut self, name: &str, value: Option<String>) {
        let (Some(key), Some(value)) = (key(name), value.and_then(|value| one_line(&value))) else { return };
        if key == "environment" {
            self.environment.get_or_insert(value);
        } else if !RESERVED.contains(&key.as_str()) {
            self.insert(key, value);
        }
    }

    /// A tag that we make of an attribute, after those of the application.
    pub(super) fn add(&mut self, key: &str, value: Option<String>) {
        if let Some(value) = value.and_then(|value| one_line(&value)) {
            self.insert(key.to_owned(), value);
        }
    }

    fn insert(&mut self, key: String, value: String) {
        if self.pairs.len() < MAX_TAGS && self.pairs.iter().all(|(known, _)| *known != key) {
            self.pairs.push((key, value));
        }
    }
}

/// Blanks become dashes; a key of other characters than `a-zA-Z0-9_.:-` is none.
fn key(name: &str) -> Option<String> {
    let name = name.trim();
    let fits = (1..=MAX_TAG_CHARS).contains(&name.len());
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:- ".contains(&byte);
    (fits && name.bytes().all(allowed)).then(|| name.replace(' ', "-"))
}

fn one_line(value: &str) -> Option<String> {
    let value = cut(value.trim(), MAX_TAG_CHARS);
    cleaned(&value.replace(['\n', '\r'], " "), MAX_TAG_CHARS)
}

/// Room for blanks around a value that is trimmed before it is cut.
type TagText = Text<1024>;

impl Lenient for Tags {
    fn from_object<'de, A: MapAccess<'de>>(mut object: A) -> Result<Self, A::Error> {
        let mut tags = Self::default();
        while let Some(name) = object.next_key::<Name<'_>>()? {
            let tag = value::<TagText, A>(&mut object)?;
            tags.push(name.as_str(), tag.0);
        }
        Ok(tags)
    }

    fn from_list<'de, A: SeqAccess<'de>>(mut list: A) -> Result<Self, A::Error> {
        let mut tags = Self::default();
        while let Some(Any(Pair(name, tag))) = list.next_element()? {
            if let Some(name) = name {
                tags.push(&name, tag);
            }
        }
        Ok(tags)
    }
}

/// `[key, value]` or `{"key": …, "value": …}`.
#[derive(Default)]
struct Pair(Option<String>, Option<String>);

impl Lenient for Pair {
    fn from_list<'de, A: SeqAccess<'de>>(mut list: A) -> Result<Self, A::Error> {
        let mut text = || list.next_element::<Any<TagText>>().map(|text| text.and_then(|Any(text)| text.0));
        let pair = Self(text()?, text()?);
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(pair)
    }

    fn from_object<'de, A: MapAccess<'de>>(mut object: A) -> Result<Self, A::Error> {
        let mut pair = Self::default();
        while let Some(name) = object.next_key::<Name<'_>>()? {
            match name.as_str() {
                "key" => assign(&mut pair.0, value::<TagText, A>(&mut object)?.0),
                "value" => assign(&mut pair.1, value::<TagText, A>(&mut object)?.0),
                _ => skip(&mut object)?,
            }
        }
        Ok(pair)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Tags {
        serde_json::from_str::<Any<Tags>>(json).unwrap().0
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn both_forms_say_the_same() {
        let expected = pairs(&[("a", "1"), ("b-c", "True"), ("d", "x y")]);
        for json in [
            r#"{"a":1,"b c":true,"d":"x\ny","e":null,"f":"","g":[1],"a":"second"}"#,
            r#"[["a",1],["b c",true],["d","x\ny"],["e",null],["f",""],["g",[1]],["a","second"]]"#,
            r#"[{"key":"a","value":1},{"value":true,"key":" b c "},null,5,"x",[],["h"],{"key":"d","value":" x\ny "}]"#,
        ] {
            assert_eq!(read(json).pairs, expected, "{json}");
        }
        for none in ["null", "[]", "{}", "5", r#""x""#] {
            assert_eq!(read(none).pairs, [], "{none}");
        }
    }

    #[test]
    fn reserved_and_unfit_keys_are_dropped() {
        let json = r#"{"release":"1","dist":"1","user":"1","filename":"1","function":"1","ä":"1","a/b":"1","":"1",
            "environment":"staging","k.e:y-_9":"v"}"#;
        let tags = read(json);
        assert_eq!(tags.pairs, pairs(&[("k.e:y-_9", "v")]));
        assert_eq!(tags.environment.as_deref(), Some("staging"));
    }

    #[test]
    fn number_and_length_are_limited() {
        let many: serde_json::Map<_, _> = (0..60).map(|number| (format!("k{number:02}"), "v".into())).collect();
        assert_eq!(read(&serde_json::Value::Object(many).to_string()).pairs.len(), MAX_TAGS);
        let (fits, long) = ("k".repeat(MAX_TAG_CHARS), "k".repeat(MAX_TAG_CHARS + 1));
        let tags = read(&serde_json::json!({ &fits: long, &long: "v" }).to_string());
        assert_eq!(tags.pairs, [(fits.clone(), fits)]);
    }
}
