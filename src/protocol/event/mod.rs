//! The event a client reports: a typed core of what we group by and show. [`parse`] makes it from
//! whatever JSON an SDK sent; everything else stays in the payload, which is stored as received.

pub mod attributes;
mod context;
mod crawlers;
mod csp;
mod derived;
mod exception;
mod inferred;
pub(super) mod lenient;
mod lineage;
mod message;
mod notes;
mod parse;
pub(super) mod receipt;
mod repair;
mod server_name;
mod stacktrace;
mod tags;
pub(super) mod text;
pub(super) mod timestamp;
mod title;
mod user;
mod user_agent;
pub(super) mod version;

use std::{fmt, str::FromStr};

use jiff::Timestamp;

pub use self::{
    crawlers::crawler,
    exception::MAX_VALUE_CHARS,
    inferred::Insertion,
    message::MAX_MESSAGE_CHARS,
    notes::{MAX_NOTES, Note, notes},
    parse::{EventError, MAX_BYTES, MAX_CLEANED_BYTES, parse, parse_core},
    receipt::{Receipt, clock_drift},
    repair::repaired,
    server_name::server_name,
    stacktrace::MAX_FRAMES,
    tags::{MAX_TAG_CHARS, MAX_TAGS},
    title::UNLABELED,
};
use crate::dsn::hex;

/// 16 bytes, not all zero; written as 32 lower-case hex digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId(pub [u8; 16]);

impl fmt::Display for EventId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&hex(&self.0))
    }
}

impl FromStr for EventId {
    type Err = InvalidEventId;

    /// 32 hex digits of any case, or the same with the dashes of a UUID.
    fn from_str(text: &str) -> Result<Self, InvalidEventId> {
        let dashes = [8, 13, 18, 23];
        let is_dash = |position| text.len() == 36 && dashes.contains(&position);
        let mut id = [0; 16];
        let mut digits = 0;
        for (position, byte) in text.bytes().enumerate() {
            if is_dash(position) && byte == b'-' {
                continue;
            }
            let digit = char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            let pair: &mut u8 = id.get_mut(digits / 2).ok_or(InvalidEventId)?;
            *pair = *pair << 4 | digit.ok_or(InvalidEventId)?;
            digits += 1;
        }
        if digits == 32 && id != [0; 16] { Ok(Self(id)) } else { Err(InvalidEventId) }
    }
}

/// The text is not the id of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event id is 32 hex digits, not all zero")]
pub struct InvalidEventId;

/// Severity; the number is what the store keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i16)]
pub enum Level {
    Debug = 10,
    Info = 20,
    Warning = 30,
    #[default]
    Error = 40,
    Fatal = 50,
}

impl Level {
    /// The protocol's own word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Fatal => "fatal",
        }
    }

    fn from_name(name: &str) -> Self {
        match name {
            "debug" => Self::Debug,
            "info" | "log" => Self::Info,
            "warning" => Self::Warning,
            "fatal" | "critical" => Self::Fatal,
            _ => Self::Error,
        }
    }

    /// Python's `logging` numbers, which are also what the store keeps.
    #[must_use]
    pub fn from_number(number: i64) -> Self {
        match number {
            10 => Self::Debug,
            20 => Self::Info,
            30 => Self::Warning,
            50 => Self::Fatal,
            _ => Self::Error,
        }
    }
}

/// What an event item carries besides errors: old SDKs send their traces the same way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EventType {
    /// An error, a message or a report; [`Event::kind`] tells them apart.
    #[default]
    Error,
    /// A performance trace, which is no error.
    Transaction,
    /// What a user wrote about an error.
    Feedback,
}

/// What we understood of an event.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Event {
    pub event_id: EventId,
    pub r#type: EventType,
    pub timestamp: Timestamp,
    pub level: Level,
    /// One of the names the protocol knows; `other` for the rest and when absent.
    pub platform: String,
    pub release: Option<String>,
    /// Which build of the release; at most 64 characters.
    pub dist: Option<String>,
    pub environment: Option<String>,
    pub transaction: Option<String>,
    pub logger: Option<String>,
    pub server_name: Option<String>,
    pub log_entry: Option<LogEntry>,
    /// Oldest cause first; the outermost exception is last.
    pub exceptions: Vec<Exception>,
    /// Exceptions that came in the middle of a chain too long to be kept.
    pub dropped_exceptions: usize,
    /// Frames of a top-level `stacktrace` or of the crashed (or only) thread.
    pub stacktrace: Vec<Frame>,
    /// Frames that came in the middle of that stack trace and were not kept; see [`MAX_FRAMES`].
    pub dropped_frames: usize,
    /// A report of a browser that something broke the page's Content Security Policy.
    pub csp: Option<Csp>,
    pub fingerprint: Vec<String>,
    pub user: User,
    /// Without query and fragment.
    pub request_url: Option<String>,
    /// `User-Agent` of the request that the event happened in.
    pub user_agent: Option<String>,
    /// What its request says of browser, system and device and its contexts do not, to be stored with it.
    pub inferred: Option<Insertion>,
    /// First 50 pairs, key and value at most 200 characters: the application's own, then those that
    /// other attributes say.
    pub tags: Vec<(String, String)>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogEntry {
    /// The template, when it differs from `formatted`.
    pub message: Option<String>,
    pub formatted: String,
    pub has_params: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exception {
    pub r#type: Option<String>,
    pub value: Option<String>,
    pub module: Option<String>,
    /// The SDK made the exception up (a signal, a hang): its type says nothing.
    pub synthetic: bool,
    pub handled: Option<bool>,
    /// Name of what caught it: `django`, `onerror`; `generic` if it has none.
    pub mechanism: Option<String>,
    /// Oldest call first; the frame that raised is last.
    pub frames: Vec<Frame>,
    /// Frames that came in the middle and were not kept; see [`MAX_FRAMES`].
    pub dropped_frames: usize,
    pub lineage: Lineage,
}

/// How an exception belongs to the others of its event, as newer SDKs say it in `mechanism`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lineage {
    /// `exception_id`, unique within the event.
    pub id: Option<u32>,
    /// `parent_id`: the exception that this one is a member or a cause of.
    pub parent: Option<u32>,
    /// `is_exception_group`: it holds several others, as Python's `ExceptionGroup` and JavaScript's `AggregateError`.
    pub is_group: bool,
    /// Attribute of the parent that holds it: `__cause__`, `exceptions[0]`.
    pub source: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    pub function: Option<String>,
    pub module: Option<String>,
    pub filename: Option<String>,
    pub abs_path: Option<String>,
    /// Library of a native frame.
    pub package: Option<String>,
    pub lineno: Option<u32>,
    pub colno: Option<u32>,
    pub in_app: Option<bool>,
    pub pre_context: Vec<String>,
    pub context_line: Option<String>,
    pub post_context: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Csp {
    /// As `script-src`.
    pub directive: String,
    /// Host of what was blocked, or `self`, `inline`, `eval`, `data:`, `blob:`.
    pub blocked: String,
}

/// The person an event happened to, as the SDK named them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    pub id: Option<String>,
    pub username: Option<String>,
    pub email: Option<String>,
    pub ip_address: Option<String>,
}
