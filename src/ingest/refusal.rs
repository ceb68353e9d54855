//! Every answer that is not 200, in Sentry's own words: clients log `detail`, Ruby logs `X-Sentry-Error`.

use http::StatusCode;

use super::{body::BodyError, limits::Exceeded, outcomes::OutcomeReason};
use crate::{
    protocol::{
        auth::AuthError,
        encoding::{DecodeError, EncodingError},
        envelope::EnvelopeError,
        event::EventError,
        minidump::MinidumpError,
        security::SecurityError,
    },
    scrub::CleanError,
};

/// Seconds until a client should try again. Whole seconds: Python drops a limit of `2.5`.
pub const RETRY_AFTER_SECONDS: u32 = 5;

/// Why a request was not accepted. `Display` is the answer's `detail`.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("no such endpoint")]
    NoRoute,
    #[error("only POST is allowed")]
    Method,
    #[error("bad project path parameter")]
    BadProjectId,
    #[error(transparent)]
    Authentication(#[from] AuthError),
    /// A key that the project does not have, or a project that is not served here.
    #[error("event submission rejected with_reason: ProjectId")]
    UnknownKey,
    /// A key of the project that has ended or is disabled. The answer is that for an unknown one: which of them is not told.
    #[error("event submission rejected with_reason: ProjectId")]
    InactiveKey,
    /// `active: false`
    #[error("event submission rejected with_reason: ProjectState")]
    Inactive,
    #[error("client keys cannot be checked at the moment")]
    KeysUnavailable,
    /// The project names the origins that may send, and the page's is not among them.
    #[error("invalid origin")]
    ForbiddenOrigin,
    #[error("too many events: the limit is reached for {} s", .0.seconds)]
    RateLimited(Exceeded),
    #[error("empty request body")]
    EmptyBody,
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error(transparent)]
    Encoding(#[from] EncodingError),
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error("{}", EnvelopeError::DETAIL)]
    Envelope(#[from] EnvelopeError),
    #[error(transparent)]
    Event(#[from] EventError),
    #[error("invalid JSON data")]
    Json(#[from] CleanError),
    #[error(transparent)]
    Security(#[from] SecurityError),
    #[error(transparent)]
    Minidump(#[from] MinidumpError),
    #[error("too many requests at once")]
    Crowded,
    #[error("too many events are waiting to be stored")]
    Overloaded,
    #[error("events cannot be stored at the moment")]
    DatabaseUnavailable,
    /// The database is there and says no: missing rights, another schema. People have to mend it.
    #[error("events cannot be stored at the moment")]
    DatabaseRefused,
    #[error("the event cannot be stored")]
    EventRejected,
}

impl Refusal {
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Encoding(_) | Self::Security(SecurityError::MediaType) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::NoRoute => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Authentication(AuthError::InvalidKey | AuthError::UnsupportedVersion(_))
            | Self::BadProjectId
            | Self::EmptyBody
            | Self::Body(BodyError::Broken)
            | Self::Decode(DecodeError::Corrupt | DecodeError::Empty)
            | Self::Envelope(_)
            | Self::Event(EventError::InvalidJson(_) | EventError::NotAnObject)
            | Self::Json(_)
            | Self::Security(_)
            | Self::Minidump(_)
            | Self::EventRejected => StatusCode::BAD_REQUEST,
            Self::Authentication(AuthError::Missing | AuthError::Malformed | AuthError::MultipleKeys) => {
                StatusCode::UNAUTHORIZED
            }
            Self::UnknownKey | Self::InactiveKey | Self::Inactive | Self::ForbiddenOrigin => StatusCode::FORBIDDEN,
            Self::RateLimited(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Body(BodyError::TimedOut) => StatusCode::REQUEST_TIMEOUT,
            Self::Body(BodyError::TooLarge(_))
            | Self::Decode(DecodeError::TooLarge(_))
            | Self::Event(EventError::TooLarge(_)) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::KeysUnavailable
            | Self::Body(BodyError::Overloaded)
            | Self::Crowded
            | Self::Overloaded
            | Self::DatabaseUnavailable
            | Self::DatabaseRefused => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    #[must_use]
    pub fn reason(&self) -> OutcomeReason {
        match self {
            Self::NoRoute | Self::Method => OutcomeReason::NoRoute,
            Self::BadProjectId => OutcomeReason::BadProjectId,
            Self::Authentication(AuthError::Missing) => OutcomeReason::MissingKey,
            Self::Authentication(_) => OutcomeReason::BadAuthentication,
            Self::UnknownKey => OutcomeReason::UnknownKey,
            Self::InactiveKey => OutcomeReason::InactiveKey,
            Self::Inactive => OutcomeReason::Inactive,
            Self::KeysUnavailable => OutcomeReason::KeysUnavailable,
            Self::ForbiddenOrigin => OutcomeReason::ForbiddenOrigin,
            Self::RateLimited(exceeded) if exceeded.project => OutcomeReason::ProjectQuota,
            Self::RateLimited(_) => OutcomeReason::KeyRateLimit,
            Self::EmptyBody | Self::Decode(DecodeError::Empty) | Self::Envelope(EnvelopeError::Empty) => {
                OutcomeReason::EmptyBody
            }
            Self::Body(BodyError::TimedOut | BodyError::Broken) => OutcomeReason::BrokenBody,
            Self::Body(BodyError::TooLarge(_))
            | Self::Decode(DecodeError::TooLarge(_))
            | Self::Event(EventError::TooLarge(_)) => OutcomeReason::TooLarge,
            Self::Body(BodyError::Overloaded) | Self::Crowded | Self::Overloaded => OutcomeReason::Overloaded,
            Self::Encoding(_) => OutcomeReason::UnsupportedEncoding,
            Self::Decode(DecodeError::Corrupt) => OutcomeReason::CorruptEncoding,
            Self::Envelope(_) => OutcomeReason::InvalidEnvelope,
            Self::Event(EventError::InvalidJson(_) | EventError::NotAnObject) | Self::Json(_) | Self::Minidump(_) => {
                OutcomeReason::InvalidEvent
            }
            Self::Security(_) => OutcomeReason::InvalidReport,
            Self::DatabaseUnavailable => OutcomeReason::DatabaseUnavailable,
            Self::DatabaseRefused => OutcomeReason::DatabaseRefused,
            Self::EventRejected => OutcomeReason::Rejected,
        }
    }

    /// What is behind `detail`, for the answer's `causes`.
    #[must_use]
    pub fn causes(&self) -> Vec<String> {
        match self {
            Self::UnknownKey | Self::InactiveKey => {
                vec!["the key is unknown, disabled or of another project".to_owned()]
            }
            Self::Inactive => vec!["the project takes no events (active: false)".to_owned()],
            Self::Envelope(cause) => vec![cause.to_string()],
            Self::Event(EventError::InvalidJson(cause)) => vec![cause.to_string()],
            Self::Json(cause) => vec![cause.to_string()],
            _ => Vec::new(),
        }
    }

    /// `detail` and its causes in one line.
    #[must_use]
    pub fn explained(&self) -> String {
        let causes = self.causes();
        if causes.is_empty() { self.to_string() } else { format!("{self}: {}", causes.join(", ")) }
    }

    /// Only for 503: Ruby, PHP and Rust take it as a limit on whatever status it comes with.
    #[must_use]
    pub fn retry_after(&self) -> Option<u32> {
        (self.status() == StatusCode::SERVICE_UNAVAILABLE).then_some(RETRY_AFTER_SECONDS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_have_the_status_and_words_of_the_protocol() {
        for (refusal, status, detail) in [
            (Refusal::NoRoute, 404, "no such endpoint"),
            (Refusal::Method, 405, "only POST is allowed"),
            (Refusal::BadProjectId, 400, "bad project path parameter"),
            (AuthError::Missing.into(), 401, "missing authorization information"),
            (AuthError::Malformed.into(), 401, "bad x-sentry-auth header"),
            (AuthError::MultipleKeys.into(), 401, "multiple authorization payloads detected"),
            (AuthError::InvalidKey.into(), 400, "bad sentry DSN public key"),
            (AuthError::UnsupportedVersion(8).into(), 400, "unsupported protocol version (8)"),
            (Refusal::UnknownKey, 403, "event submission rejected with_reason: ProjectId"),
            (Refusal::InactiveKey, 403, "event submission rejected with_reason: ProjectId"),
            (BodyError::TooLarge(20 << 20).into(), 413, "request body exceeds 20971520 bytes"),
            (DecodeError::Empty.into(), 400, "empty request body"),
            (DecodeError::TooLarge(1).into(), 413, "request body is larger than 1 bytes after decoding"),
            (EncodingError.into(), 415, "unsupported content encoding"),
            (EnvelopeError::UnexpectedEnd.into(), 400, "invalid event envelope"),
        ] {
            assert_eq!((refusal.status().as_u16(), refusal.to_string().as_str()), (status, detail));
            assert_eq!(refusal.retry_after(), None, "{refusal:?}");
        }
        assert_eq!(Refusal::from(EnvelopeError::UnexpectedEnd).causes(), ["unexpected end of file"]);
    }

    #[test]
    fn nobody_is_told_whether_a_key_was_one_of_the_projects() {
        let (ended, unknown) = (Refusal::InactiveKey, Refusal::UnknownKey);
        assert_eq!((ended.status(), ended.explained()), (unknown.status(), unknown.explained()));
    }

    #[test]
    fn only_what_passes_by_itself_asks_to_come_back() {
        for refusal in [
            Refusal::KeysUnavailable,
            Refusal::Crowded,
            Refusal::Overloaded,
            BodyError::Overloaded.into(),
            Refusal::DatabaseUnavailable,
            Refusal::DatabaseRefused,
        ] {
            assert_eq!((refusal.status().as_u16(), refusal.retry_after()), (503, Some(RETRY_AFTER_SECONDS)));
        }
    }

    #[test]
    fn an_event_that_not_even_quarantine_took_counts_as_lost() {
        let reason = Refusal::EventRejected.reason();
        assert_eq!((reason.outcome().as_str(), reason.as_str()), ("lost", "rejected"));
    }
}
