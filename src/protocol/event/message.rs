//! The message of a log event: text, or a template with its parameters.

use serde::de::{MapAccess, SeqAccess};

use super::{
    LogEntry,
    attributes::MessageAttribute,
    lenient::{Any, Lenient, Name, assign, skip, value},
    text::{JsonText, Text, cut},
};

/// Characters kept of a message.
pub const MAX_MESSAGE_CHARS: usize = 8192;
const MAX_PARAMS: usize = 100;

/// A `logentry`, a `message`, or the older name of both; any scalar but `false` is a message.
#[derive(Default)]
pub(super) struct Message(pub(super) Option<LogEntry>);

impl Lenient for Message {
    fn from_text(text: &str) -> Self {
        Self(log_entry(None, MessageText::from_text(text).0, &Params::None))
    }

    fn from_bool(value: bool) -> Self {
        Self(if value { log_entry(None, MessageText::from_bool(true).0, &Params::None) } else { None })
    }

    fn from_integer(number: i128) -> Self {
        Self(log_entry(None, MessageText::from_integer(number).0, &Params::None))
    }

    fn from_float(number: f64) -> Self {
        Self(log_entry(None, MessageText::from_float(number).0, &Params::None))
    }

    fn from_object<'de, A: MapAccess<'de>>(mut object: A) -> Result<Self, A::Error> {
        let (mut message, mut formatted, mut params) = (None, None, Params::None);
        while let Some(name) = object.next_key::<Name<'_>>()? {
            match MessageAttribute::named(name.as_str().as_bytes()) {
                Some(MessageAttribute::Message) => {
                    assign(&mut message, value::<JsonText<MAX_MESSAGE_CHARS>, A>(&mut object)?.0);
                }
                Some(MessageAttribute::Formatted) => {
                    assign(&mut formatted, value::<JsonText<MAX_MESSAGE_CHARS>, A>(&mut object)?.0);
                }
                Some(MessageAttribute::Params) => params = value(&mut object)?,
                None => skip(&mut object)?,
            }
        }
        Ok(Self(log_entry(message, formatted, &params)))
    }
}

type MessageText = Text<MAX_MESSAGE_CHARS>;

fn log_entry(message: Option<String>, formatted: Option<String>, params: &Params) -> Option<LogEntry> {
    let formatted = formatted.or_else(|| message.as_deref().map(|message| format(message, params)))?;
    let message = message.filter(|message| *message != formatted);
    Some(LogEntry { message, formatted, has_params: !matches!(params, Params::None) })
}

#[derive(Default)]
enum Params {
    #[default]
    None,
    List(Vec<String>),
    Map(Vec<(String, String)>),
}

impl Lenient for Params {
    fn from_list<'de, A: SeqAccess<'de>>(mut list: A) -> Result<Self, A::Error> {
        let mut params = Vec::new();
        while let Some(param) = list.next_element::<Any<JsonText<MAX_MESSAGE_CHARS>>>()? {
            if params.len() < MAX_PARAMS {
                params.push(param.0.0.unwrap_or_default());
            }
        }
        Ok(if params.is_empty() { Self::None } else { Self::List(params) })
    }

    fn from_object<'de, A: MapAccess<'de>>(mut object: A) -> Result<Self, A::Error> {
        let mut params = Vec::new();
        while let Some(name) = object.next_key::<Name<'_>>()? {
            let param = value::<JsonText<MAX_MESSAGE_CHARS>, A>(&mut object)?.0.unwrap_or_default();
            if params.len() < MAX_PARAMS {
                params.push((name.as_str().to_owned(), param));
            }
        }
        Ok(if params.is_empty() { Self::None } else { Self::Map(params) })
    }
}

impl Params {
    fn at(&self, index: usize) -> Option<&str> {
        if let Self::List(list) = self { list.get(index).map(String::as_str) } else { None }
    }

    fn named(&self, name: &str) -> Option<&str> {
        let Self::Map(map) = self else { return None };
        map.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// The template with its parameters filled in: `%s`, `%(name)s`, or, where it has none of these, `{}`,
/// `{0}`, `{name}`. A placeholder without a parameter stays as it is.
fn format(template: &str, params: &Params) -> String {
    if matches!(params, Params::None) {
        return template.to_owned();
    }
    let placeholder = if template.contains('%') { percent } else { braces };
    let sign = if template.contains('%') { '%' } else { '{' };
    let mut formatted = String::with_capacity(template.len());
    let (mut rest, mut next) = (template, 0);
    // A template may name a long parameter many times: nobody reads past the limit.
    while let Some(start) = rest.find(sign).filter(|_| formatted.len() <= 4 * MAX_MESSAGE_CHARS) {
        formatted.push_str(&rest[..start]);
        rest = &rest[start..];
        let (length, param) = placeholder(rest, params, &mut next).unwrap_or((1, &rest[..1]));
        formatted.push_str(param);
        rest = &rest[length..];
    }
    formatted.push_str(rest);
    cut(&formatted, MAX_MESSAGE_CHARS).to_owned()
}

/// Length of the `%` placeholder that `text` begins with, and what stands for it.
fn percent<'a>(text: &str, params: &'a Params, next: &mut usize) -> Option<(usize, &'a str)> {
    let rest = &text[1..];
    if rest.starts_with('%') {
        return Some((2, "%"));
    }
    let (name, rest) = match rest.strip_prefix('(') {
        Some(rest) => rest.split_once(')').map(|(name, rest)| (Some(name), rest))?,
        None => (None, rest),
    };
    let conversion = rest.trim_start_matches(|flag: char| flag.is_ascii_digit() || "+-#.".contains(flag));
    if !conversion.starts_with(|letter: char| letter.is_ascii_alphabetic()) {
        return None;
    }
    let param = match name {
        Some(name) => params.named(name)?,
        None => params.at(*next)?,
    };
    *next += 1;
    Some((text.len() - conversion.len() + 1, param))
}

/// The same for a placeholder in braces.
fn braces<'a>(text: &str, params: &'a Params, next: &mut usize) -> Option<(usize, &'a str)> {
    let (name, _) = text[1..].split_once('}')?;
    let param = if name.is_empty() {
        *next += 1;
        params.at(*next - 1)?
    } else {
        name.parse().ok().and_then(|index| params.at(index)).or_else(|| params.named(name))?
    };
    Some((name.len() + 2, param))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Option<LogEntry> {
        serde_json::from_str::<Any<Message>>(json).unwrap().0.0
    }

    #[test]
    fn every_shape_of_a_message_is_read() {
        for (json, formatted) in [
            (r#""hello""#, Some("hello")),
            ("5", Some("5")),
            ("1.5", Some("1.5")),
            ("true", Some("True")),
            ("false", None),
            ("null", None),
            (r#""""#, None),
            ("[1]", None),
            ("{}", None),
            (r#"{"formatted":"hello"}"#, Some("hello")),
            (r#"{"message":"hello"}"#, Some("hello")),
            (r#"{"message":"hello","formatted":"hello"}"#, Some("hello")),
            (r#"{"message":{"a":1}}"#, Some(r#"{"a":1}"#)),
        ] {
            let entry = formatted.map(|formatted| LogEntry { formatted: formatted.into(), ..LogEntry::default() });
            assert_eq!(read(json), entry, "{json}");
        }
    }

    #[test]
    fn parameters_are_filled_in() {
        for (template, params, formatted) in [
            ("user %s of %d", r#"["ann", 7]"#, "user ann of 7"),
            ("%s is 100%%", r"[5]", "5 is 100%"),
            ("%.2f and %-5d", "[1.5, 2]", "1.5 and 2"),
            ("%(who)s and %(who)s", r#"{"who":"ann"}"#, "ann and ann"),
            ("user {} of {}", r#"["ann", true]"#, "user ann of True"),
            ("{1} {0}", r#"["a", "b"]"#, "b a"),
            ("hello {name}", r#"{"name":{"a":1}}"#, r#"hello {"a":1}"#),
            ("%s and %s", r#"["one"]"#, "one and %s"),
            ("50% {} ü", r#"["x"]"#, "50% {} ü"),
            ("{ü} {", r#"["x"]"#, "{ü} {"),
            ("%(", r#"{"a":1}"#, "%("),
            ("none", r#"["x"]"#, "none"),
        ] {
            let entry = read(&format!(r#"{{"message":{},"params":{params}}}"#, serde_json::json!(template))).unwrap();
            assert_eq!((entry.formatted.as_str(), entry.has_params), (formatted, true), "{template}");
            assert_eq!(entry.message.as_deref(), (template != formatted).then_some(template));
        }
    }

    #[test]
    fn a_template_does_not_blow_up() {
        let (template, param) = ("{0}".repeat(2000), "x".repeat(8000));
        let entry = read(&serde_json::json!({"message": template, "params": [param]}).to_string()).unwrap();
        assert_eq!(entry.formatted.chars().count(), MAX_MESSAGE_CHARS);
    }
}
