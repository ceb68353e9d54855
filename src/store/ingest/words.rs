//! Closed sets of words that rows are stored with. What has been stored stays readable: a word is added, not renamed.

use crate::protocol::event::Event;

/// What an event tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// An exception.
    Error,
    /// A browser's report that something broke a page's Content Security Policy.
    Csp,
    /// A message, or nothing.
    Default,
}

impl EventKind {
    const ALL: [Self; 3] = [Self::Error, Self::Csp, Self::Default];

    #[must_use]
    pub fn of(event: &Event) -> Self {
        Self::parse(event.kind()).unwrap_or(Self::Default)
    }

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Csp => "csp",
            Self::Default => "default",
        }
    }

    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// Which of the two items a user's words came with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedbackKind {
    Report,
    Feedback,
}

impl FeedbackKind {
    const ALL: [Self; 2] = [Self::Report, Self::Feedback];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Report => "report",
            Self::Feedback => "feedback",
        }
    }

    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// What became of something that was sent: says who has to do something about it. Those that Sentry has are called as
/// there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    Accepted,
    /// The request was answered with an error that repeating does not mend.
    Refused,
    RateLimited,
    /// The project does not want it.
    Filtered,
    /// Stored, in a form that makes nothing new, as the project had too much new in the hour. The database says so itself.
    Limited,
    /// Taken with the rest of its request, and not kept.
    Dropped,
    /// Postgres does not take it; it is kept aside.
    Quarantined,
    /// The client was told to come back, or that it cannot be stored.
    Lost,
    /// The client says that it did not send it.
    ClientDiscard,
}

impl Outcome {
    pub const ALL: [Self; 9] = [
        Self::Accepted,
        Self::Refused,
        Self::RateLimited,
        Self::Filtered,
        Self::Limited,
        Self::Dropped,
        Self::Quarantined,
        Self::Lost,
        Self::ClientDiscard,
    ];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::RateLimited => "rate_limited",
            Self::Filtered => "filtered",
            Self::Limited => "limited",
            Self::Dropped => "dropped",
            Self::Quarantined => "quarantined",
            Self::Lost => "lost",
            Self::ClientDiscard => "client_discard",
        }
    }

    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::event::{EventId, Receipt, parse};

    #[test]
    fn an_event_is_stored_under_the_protocols_word() {
        let receipt = Receipt::at(jiff::Timestamp::UNIX_EPOCH, EventId([1; 16]));
        for (json, kind) in [
            (r#"{"exception":[{"type":"E"}]}"#, EventKind::Error),
            (r#"{"csp":{"effective_directive":"img-src"}}"#, EventKind::Csp),
            (r#"{"message":"hello"}"#, EventKind::Default),
        ] {
            let event = parse(json.as_bytes(), &receipt).unwrap();
            assert_eq!((EventKind::of(&event), kind.as_str()), (kind, event.kind()), "{json}");
        }
    }

    #[test]
    fn every_word_is_read_as_it_is_written() {
        assert!(EventKind::ALL.into_iter().all(|kind| EventKind::parse(kind.as_str()) == Some(kind)));
        assert!(FeedbackKind::ALL.into_iter().all(|kind| FeedbackKind::parse(kind.as_str()) == Some(kind)));
        assert!(Outcome::ALL.into_iter().all(|outcome| Outcome::parse(outcome.as_str()) == Some(outcome)));
        assert_eq!(Outcome::parse("invalid"), None);
    }
}
