//! What users say about an error: the item `user_report` of older SDKs, and the item `feedback`, which is an event
//! with the words in a context (<https://develop.sentry.dev/application-architecture/feedback-architecture/>).

use serde::de::MapAccess;
use sha2::{Digest, Sha256};

use super::{
    event::{
        EventId,
        attributes::{ContextsAttribute, EventAttribute, FeedbackAttribute},
        lenient::{Attributes, Object, assign, skip, value},
        text::{Strict, Text},
    },
    item::{self, Unreadable},
};

/// Longest item in bytes.
pub const MAX_BYTES: usize = item::MAX_BYTES;

/// Longest message, in characters.
pub const MAX_MESSAGE_CHARS: usize = 4096;

/// Longest name and address, in characters.
const MAX_NAME_CHARS: usize = 128;
const MAX_EMAIL_CHARS: usize = 254;
const MAX_URL_CHARS: usize = 2048;

/// What a user wrote, and who it was. What was not given is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserReport {
    /// The event it is about.
    pub event_id: Option<EventId>,
    pub name: String,
    pub email: String,
    pub message: String,
    /// The page it was written on; only feedback says.
    pub url: String,
}

impl UserReport {
    /// An id for an item `user_report`, which has none. The same words about the same event have the same id, so that
    /// a report that is sent again is kept once.
    #[must_use]
    pub fn id(&self) -> EventId {
        let mut hash = Sha256::new();
        hash.update(self.event_id.unwrap_or_default().0);
        for text in [&self.name, &self.email, &self.message, &self.url] {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text);
        }
        let mut id = EventId::default();
        for (to, from) in id.0.iter_mut().zip(hash.finalize()) {
            *to = from;
        }
        id
    }
}

/// Why nothing is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UserReportError {
    #[error("a user report is longer than {MAX_BYTES} bytes")]
    TooLarge,
    #[error("a user report must be a JSON object")]
    InvalidJson,
    #[error("a user report that does not name an event")]
    MissingEventId,
    #[error("feedback that says nothing")]
    MissingMessage,
}

impl From<Unreadable> for UserReportError {
    fn from(unreadable: Unreadable) -> Self {
        match unreadable {
            Unreadable::TooLarge => Self::TooLarge,
            Unreadable::InvalidJson | Unreadable::NotAnObject => Self::InvalidJson,
        }
    }
}

/// Reads an item `user_report`.
pub fn parse(payload: &[u8]) -> Result<UserReport, UserReportError> {
    let draft: Draft = item::read(payload)?;
    let report = draft.into_report();
    report.event_id.map_or(Err(UserReportError::MissingEventId), |_| Ok(report))
}

/// Reads what the user wrote out of the event that an item `feedback` is.
pub fn parse_feedback(event: &[u8]) -> Result<UserReport, UserReportError> {
    let event: FeedbackEvent = item::read(event)?;
    let report = event.feedback.unwrap_or_default().into_report();
    if report.message.trim().is_empty() { Err(UserReportError::MissingMessage) } else { Ok(report) }
}

/// The attributes of both, whose names differ.
#[derive(Default)]
struct Draft {
    event_id: Option<EventId>,
    name: Option<String>,
    email: Option<String>,
    message: Option<String>,
    url: Option<String>,
}

impl Draft {
    fn into_report(self) -> UserReport {
        UserReport {
            event_id: self.event_id,
            name: self.name.unwrap_or_default(),
            email: self.email.unwrap_or_default(),
            message: self.message.unwrap_or_default(),
            url: self.url.unwrap_or_default(),
        }
    }
}

impl Attributes for Draft {
    fn read<'de, A: MapAccess<'de>>(&mut self, name: &str, object: &mut A) -> Result<(), A::Error> {
        match FeedbackAttribute::named(name.as_bytes()) {
            Some(FeedbackAttribute::AssociatedEventId) => {
                let id: Strict<64> = value(object)?;
                assign(&mut self.event_id, id.0.and_then(|id| id.trim().parse().ok()));
            }
            Some(FeedbackAttribute::Name) => assign(&mut self.name, value::<Text<MAX_NAME_CHARS>, A>(object)?.0),
            Some(FeedbackAttribute::ContactEmail) => {
                assign(&mut self.email, value::<Text<MAX_EMAIL_CHARS>, A>(object)?.0);
            }
            Some(FeedbackAttribute::Message) => {
                assign(&mut self.message, value::<Text<MAX_MESSAGE_CHARS>, A>(object)?.0);
            }
            Some(FeedbackAttribute::Url) => assign(&mut self.url, value::<Strict<MAX_URL_CHARS>, A>(object)?.0),
            Some(FeedbackAttribute::ReplayId | FeedbackAttribute::Source) | None => skip(object)?,
        }
        Ok(())
    }
}

#[derive(Default)]
struct FeedbackEvent {
    feedback: Option<Draft>,
}

impl Attributes for FeedbackEvent {
    fn read<'de, A: MapAccess<'de>>(&mut self, name: &str, object: &mut A) -> Result<(), A::Error> {
        match EventAttribute::named(name.as_bytes()) {
            Some(EventAttribute::Contexts) => {
                if let Some(contexts) = value::<Object<Contexts>, A>(object)?.0 {
                    assign(&mut self.feedback, contexts.feedback);
                }
            }
            _ => skip(object)?,
        }
        Ok(())
    }
}

#[derive(Default)]
struct Contexts {
    feedback: Option<Draft>,
}

impl Attributes for Contexts {
    fn read<'de, A: MapAccess<'de>>(&mut self, name: &str, object: &mut A) -> Result<(), A::Error> {
        match ContextsAttribute::named(name.as_bytes()) {
            Some(ContextsAttribute::Feedback) => assign(&mut self.feedback, value::<Object<_>, A>(object)?.0),
            _ => skip(object)?,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0f0e0d0c0b0a09080706050403020100";

    fn report(name: &str, email: &str, message: &str) -> UserReport {
        UserReport {
            event_id: ID.parse().ok(),
            name: name.to_owned(),
            email: email.to_owned(),
            message: message.to_owned(),
            url: String::new(),
        }
    }

    #[test]
    fn a_report_needs_an_event_and_nothing_else() {
        for (json, expected) in [
            (
                format!(r#"{{"event_id":"{ID}","name":"Ann","email":"ann@example.com","comments":"It broke"}}"#),
                Ok(report("Ann", "ann@example.com", "It broke")),
            ),
            (
                format!(r#"{{"event_id":"{ID}","name":null,"email":[],"comments":"a\u0000b"}}"#),
                Ok(report("", "", "ab")),
            ),
            (format!(r#"{{"event_id":"{ID}","comments":"\ud800"}}"#), Ok(report("", "", "\u{fffd}"))),
            (r#"{"event_id":"x","comments":"It broke"}"#.to_owned(), Err(UserReportError::MissingEventId)),
            (r#"{"comments":"It broke"}"#.to_owned(), Err(UserReportError::MissingEventId)),
            ("[]".to_owned(), Err(UserReportError::InvalidJson)),
            ("{".to_owned(), Err(UserReportError::InvalidJson)),
        ] {
            assert_eq!(parse(json.as_bytes()), expected, "{json}");
        }
    }

    #[test]
    fn feedback_is_read_out_of_its_event() {
        let event = format!(
            r#"{{"type":"feedback","tags":{{"a":"b"}},"contexts":{{"os":{{}},"feedback":{{"message":"It broke",
            "contact_email":"ann@example.com","name":"Ann","url":"https://shop.example/cart",
            "associated_event_id":"{ID}"}}}}}}"#
        );
        let expected =
            UserReport { url: "https://shop.example/cart".to_owned(), ..report("Ann", "ann@example.com", "It broke") };
        assert_eq!(parse_feedback(event.as_bytes()), Ok(expected));
        for event in [
            "{}",
            r#"{"contexts":[]}"#,
            r#"{"contexts":{"feedback":"It broke"}}"#,
            r#"{"contexts":{"feedback":{"message":" "}}}"#,
        ] {
            assert_eq!(parse_feedback(event.as_bytes()), Err(UserReportError::MissingMessage), "{event}");
        }
    }

    #[test]
    fn long_texts_are_cut() {
        let json = format!(r#"{{"event_id":"{ID}","name":"{0}","comments":"{0}"}}"#, "ä".repeat(5000));
        let report = parse(json.as_bytes()).unwrap();
        assert_eq!(report.name.chars().count(), MAX_NAME_CHARS);
        assert_eq!(report.message.chars().count(), MAX_MESSAGE_CHARS);
        assert_eq!(parse(&vec![b' '; MAX_BYTES + 1]), Err(UserReportError::TooLarge));
    }

    #[test]
    fn the_same_words_about_the_same_event_are_one_report() {
        let first = report("Ann", "", "It broke");
        assert_eq!(first.id(), first.clone().id());
        for other in [report("Ann", "It broke", ""), report("AnnI", "", "t broke"), UserReport::default()] {
            assert_ne!(first.id(), other.id(), "{other:?}");
        }
    }
}
