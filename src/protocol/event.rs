//! The event a client reports: a typed core of what we group by and show.

use jiff::Timestamp;

/// 16 bytes; written as 32 lower-case hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId(pub [u8; 16]);

/// Severity; the number is what the store keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i16)]
pub enum Level {
    Debug = 10,
    Info = 20,
    Warning = 30,
    #[default]
    Error = 40,
    Fatal = 50,
}

/// What we understood of an event. Everything else stays in the payload, which is stored as received.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub event_id: EventId,
    pub timestamp: Timestamp,
    pub level: Level,
    /// Lower case; `other` when absent.
    pub platform: String,
    pub release: Option<String>,
    pub environment: Option<String>,
    pub transaction: Option<String>,
    pub logger: Option<String>,
    pub server_name: Option<String>,
    pub log_entry: Option<LogEntry>,
    /// Oldest cause first; the outermost exception is last.
    pub exceptions: Vec<Exception>,
    /// Frames of a top-level `stacktrace` or of the crashed (or only) thread.
    pub stacktrace: Vec<Frame>,
    pub fingerprint: Vec<String>,
    pub user: User,
    pub request_url: Option<String>,
    /// First 50 pairs, key and value at most 200 characters.
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
    pub synthetic: bool,
    pub handled: Option<bool>,
    /// Oldest call first; the frame that raised is last.
    pub frames: Vec<Frame>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Frame {
    pub function: Option<String>,
    pub module: Option<String>,
    pub filename: Option<String>,
    pub abs_path: Option<String>,
    pub lineno: Option<u32>,
    pub colno: Option<u32>,
    pub in_app: Option<bool>,
    pub pre_context: Vec<String>,
    pub context_line: Option<String>,
    pub post_context: Vec<String>,
}

/// The person an event happened to, as the SDK named them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    pub id: Option<String>,
    pub username: Option<String>,
    pub email: Option<String>,
    pub ip_address: Option<String>,
}
