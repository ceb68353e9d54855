//! What of an event was passed over, for people who ask why it is missing. [`super::parse`] drops what it
//! cannot use without a word, as most events have nothing to say about; this walk looks for just that.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{
    EventId,
    attributes::{Expected, Interface},
    lenient::{Lenient, Name},
    text::Number,
    timestamp::Moment,
    version,
};

/// More are not collected: whoever sends so many has read the first.
pub const MAX_NOTES: usize = 20;

/// One attribute that was as good as absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Where it stands, as `exception.values[0].stacktrace.frames[3].lineno`.
    pub path: String,
    /// What is wrong with it, as `expected a number, found a list`.
    pub what: String,
}

/// The attributes of an event that have another type than the protocol gives them. Pass the payload as
/// [`super::parse`] read it: where its JSON ends early, so do the notes.
#[must_use]
pub fn notes(payload: &[u8]) -> Vec<Note> {
    let mut notes = Notes { path: String::new(), found: Vec::new() };
    let mut deserializer = serde_json::Deserializer::from_slice(payload);
    let _ = Check { expected: Expected::Object(Interface::Event), notes: &mut notes }.deserialize(&mut deserializer);
    notes.found
}

impl Expected {
    fn words(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Scalar => "text, a number or a boolean",
            Self::Number => "a number that is not negative",
            Self::Flag => "true or false",
            Self::Time => "a time of RFC 3339 or unix seconds",
            Self::EventId => "32 hex digits, not all zero",
            Self::Release => "a release: at most 200 characters, no slash, not latest",
            Self::Environment => "an environment: at most 64 characters, no slash, not none",
            Self::Level => "a level",
            Self::Message => "a message",
            Self::Texts | Self::Scalars => "a list",
            Self::Object(_) => "an object",
            Self::Values(_) => "a list of objects",
            Self::Stacktrace => "an object with frames",
            Self::Pairs => "an object or a list of pairs",
            Self::Anything => "anything",
        }
    }

    /// What may stand for a piece of text that is not `text` itself.
    fn takes_scalars(self) -> bool {
        matches!(self, Self::Scalar | Self::Release | Self::Message | Self::Anything)
    }

    fn takes_text(self, text: &str) -> bool {
        let is_empty = text.trim().is_empty();
        match self {
            Self::Text | Self::Level => true,
            Self::Number => Number::from_text(text).0.is_some(),
            Self::Time => Moment::from_text(text).0.is_some(),
            Self::EventId => text.trim().parse::<EventId>().is_ok(),
            Self::Release => is_empty || version::release(Some(text.to_owned())).is_some(),
            Self::Environment => is_empty || version::environment(Some(text.to_owned())).is_some(),
            other => other.takes_scalars(),
        }
    }

    fn takes_number(self, number: f64) -> bool {
        match self {
            Self::Level => true,
            Self::Number => Number::from_float(number).0.is_some(),
            Self::Time => Moment::from_float(number).0.is_some(),
            other => other.takes_scalars(),
        }
    }
}

struct Notes {
    path: String,
    found: Vec<Note>,
}

impl Notes {
    fn add(&mut self, expected: Expected, found: &str) {
        if self.found.len() < MAX_NOTES {
            let what = format!("expected {}, found {found}", expected.words());
            self.found.push(Note { path: self.path.clone(), what });
        }
    }
}

/// Reads one value and keeps nothing of it but what is wrong.
struct Check<'a> {
    expected: Expected,
    notes: &'a mut Notes,
}

impl Check<'_> {
    /// Checks what stands one step further down the path.
    fn inside<E>(
        &mut self,
        step: fmt::Arguments<'_>,
        expected: Expected,
        read: impl FnOnce(Check<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let length = self.notes.path.len();
        self.notes.path.push_str(&step.to_string());
        read(Check { expected, notes: self.notes })?;
        self.notes.path.truncate(length);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Check<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.expected {
            // Nothing is looked for inside, however deep it is.
            Expected::Anything => deserializer.deserialize_ignored_any(IgnoredAny).map(|_| ()),
            _ => deserializer.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for Check<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any JSON value")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        if !self.expected.takes_text(text) {
            let start: String = text.chars().take(40).collect();
            self.notes.add(self.expected, &format!("{start:?}"));
        }
        Ok(())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        if !matches!(self.expected, Expected::Flag) && !self.expected.takes_scalars() {
            self.notes.add(self.expected, &value.to_string());
        }
        Ok(())
    }

    #[expect(clippy::cast_precision_loss, reason = "only the size of the number matters")]
    fn visit_i64<E: Error>(self, number: i64) -> Result<(), E> {
        self.visit_f64(number as f64)
    }

    #[expect(clippy::cast_precision_loss, reason = "only the size of the number matters")]
    fn visit_u64<E: Error>(self, number: u64) -> Result<(), E> {
        self.visit_f64(number as f64)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<(), E> {
        if !self.expected.takes_number(number) {
            self.notes.add(self.expected, &number.to_string());
        }
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        let item = match self.expected {
            Expected::Texts => Expected::Text,
            Expected::Scalars => Expected::Scalar,
            Expected::Values(interface) => Expected::Object(interface),
            Expected::Stacktrace => Expected::Object(Interface::Frame),
            Expected::Pairs => Expected::Anything,
            other => {
                self.notes.add(other, "a list");
                Expected::Anything
            }
        };
        for index in 0_usize.. {
            let mut more = false;
            self.inside(format_args!("[{index}]"), item, |check| {
                more = list.next_element_seed(check)?.is_some();
                Ok(())
            })?;
            if !more {
                break;
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut object: A) -> Result<(), A::Error> {
        let interface = match self.expected {
            Expected::Object(interface) | Expected::Values(interface) => Some(interface),
            Expected::Message => Some(Interface::Message),
            Expected::Stacktrace => Some(Interface::Stacktrace),
            Expected::Pairs => None,
            other => {
                self.notes.add(other, "an object");
                None
            }
        };
        while let Some(name) = object.next_key::<Name<'_>>()? {
            let known = interface.and_then(|interface| interface.attribute(name.as_str().as_bytes()));
            let expected = match self.expected {
                values @ Expected::Values(_) if name.as_str() == "values" => values,
                _ => known.map_or(Expected::Anything, |attribute| attribute.expected),
            };
            let dot = if self.notes.path.is_empty() { "" } else { "." };
            self.inside(format_args!("{dot}{}", name.as_str()), expected, |check| object.next_value_seed(check))?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "notes_tests.rs"]
mod tests;
