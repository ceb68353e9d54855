//! Sessions, from which release health is counted: the item `session` updates one, the item `sessions` reports
//! many that were counted by the client, as servers do. The rules are Relay's
//! (<https://develop.sentry.dev/sdk/telemetry/sessions/>).

mod parse;

use jiff::{SignedDuration, Timestamp};

pub use self::parse::{parse_session, parse_sessions};
use super::item::{self, Unreadable};

/// Longest item in bytes.
pub const MAX_BYTES: usize = item::MAX_BYTES;

/// More aggregates than this in one item are dropped.
pub const MAX_AGGREGATES: usize = 100;

/// What is counted of a session, or of several that began at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionUpdate {
    /// By the client's clock, its drift taken out.
    pub started: Timestamp,
    /// The distinct user, in the client's words: to be hashed before it is stored.
    pub user: Option<String>,
    pub release: String,
    pub environment: Option<String>,
    pub sessions: Sessions,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sessions {
    /// A newer state of one session.
    One {
        sid: [u8; 16],
        /// The newer one of two updates has the higher number.
        seq: i64,
        /// The client's first update of this session.
        init: bool,
        state: SessionState,
    },
    /// Sessions that are over, and those without an id.
    Many(SessionCounts),
}

/// How a session is counted. The worse is the greater; the number is what the store keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i16)]
pub enum SessionState {
    #[default]
    Healthy = 0,
    Errored = 1,
    /// An error that no handler took, and the process went on.
    Unhandled = 2,
    Abnormal = 3,
    Crashed = 4,
}

/// Sessions by how they ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionCounts {
    /// Without any error.
    pub exited: u32,
    pub errored: u32,
    pub crashed: u32,
    pub abnormal: u32,
    pub unhandled: u32,
}

/// When an item arrived, and by how much the client's clock is wrong.
#[derive(Clone, Copy, Debug)]
pub struct SessionClock {
    pub received_at: Timestamp,
    /// Added to what the client's clock has shown; zero: it is right.
    pub drift: SignedDuration,
}

/// Why sessions are not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum SessionError {
    #[error("a session is longer than {MAX_BYTES} bytes")]
    TooLarge,
    #[error("a session must be a JSON object")]
    InvalidJson,
    #[error("a session without a release, or with one that is none")]
    InvalidRelease,
    #[error("a session that does not say when it started")]
    MissingStarted,
    #[error("a session of more than five days ago")]
    TooOld,
    #[error("a session that is yet to come")]
    InFuture,
    #[error("more than {MAX_AGGREGATES} aggregates in one item")]
    TooManyAggregates,
}

impl SessionError {
    /// For the count of what was dropped.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::InvalidJson => "invalid_session",
            Self::InvalidRelease => "invalid_release",
            Self::MissingStarted => "missing_started",
            Self::TooOld => "session_too_old",
            Self::InFuture => "session_in_future",
            Self::TooManyAggregates => "too_many_aggregates",
        }
    }
}

impl From<Unreadable> for SessionError {
    fn from(unreadable: Unreadable) -> Self {
        match unreadable {
            Unreadable::TooLarge => Self::TooLarge,
            Unreadable::InvalidJson | Unreadable::NotAnObject => Self::InvalidJson,
        }
    }
}

/// What an item `sessions` holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParsedSessions {
    pub updates: Vec<SessionUpdate>,
    /// Sessions left out of them, in the order of their reasons' first.
    pub dropped: Vec<(SessionError, u64)>,
}

impl SessionCounts {
    /// How many there are in all.
    #[must_use]
    pub fn total(&self) -> u64 {
        [self.exited, self.errored, self.crashed, self.abnormal, self.unhandled].into_iter().map(u64::from).sum()
    }

    fn one(state: SessionState) -> Self {
        let mut counts = Self::default();
        let slot = match state {
            SessionState::Healthy => &mut counts.exited,
            SessionState::Errored => &mut counts.errored,
            SessionState::Unhandled => &mut counts.unhandled,
            SessionState::Abnormal => &mut counts.abnormal,
            SessionState::Crashed => &mut counts.crashed,
        };
        *slot = 1;
        counts
    }
}
