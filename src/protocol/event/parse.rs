//! One walk over the JSON of an event, straight into its typed core.

use jiff::Timestamp;
use serde::{
    Deserialize,
    de::{MapAccess, SeqAccess},
};

use super::{
    Event, EventId, Exception, Frame, Level, LogEntry, User,
    csp::Report,
    exception::Exceptions,
    lenient::{Any, Attributes, Lenient, Object, Values, assign, skip, value},
    message::Message,
    repair::repaired,
    stacktrace::{Stacktrace, Threads},
    tags::Tags,
    text::{Strict, Text},
    timestamp::{Moment, plausible},
    user::Request,
    version,
};

/// Longest event in bytes, after decompression.
pub const MAX_BYTES: usize = 1 << 20;

const MAX_FINGERPRINT_PARTS: usize = 100;

/// What the protocol knows; the rest is `other`.
const PLATFORMS: [&str; 28] = [
    "as3",
    "c",
    "cfml",
    "cocoa",
    "csharp",
    "dart",
    "elixir",
    "flutter",
    "go",
    "groovy",
    "haskell",
    "java",
    "javascript",
    "kotlin",
    "lua",
    "native",
    "node",
    "objc",
    "other",
    "perl",
    "php",
    "powershell",
    "python",
    "ruby",
    "rust",
    "swift",
    "unity",
    "unreal",
];

/// Why an event was refused. No attribute of the wrong type is a reason.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// 413.
    #[error("envelope exceeded size limits for type 'event' (https://develop.sentry.dev/sdk/envelopes/#size-limits)")]
    TooLarge,
    /// 400.
    #[error("invalid JSON data")]
    InvalidJson(#[source] serde_json::Error),
    /// 400.
    #[error("an event must be a JSON object")]
    NotAnObject,
}

/// Reads an event leniently: an attribute of the wrong type is as good as absent.
///
/// Its id is the envelope's, else its own, else `generated_id`; a time that the client's clock cannot
/// have shown becomes `received_at`.
pub fn parse(
    payload: &[u8],
    received_at: Timestamp,
    envelope_id: Option<EventId>,
    generated_id: EventId,
) -> Result<Event, EventError> {
    if payload.len() > MAX_BYTES {
        return Err(EventError::TooLarge);
    }
    let draft = match read(payload) {
        Err(error) => match repaired(payload) {
            Some(payload) => read(&payload).map_err(EventError::InvalidJson)?,
            None => return Err(EventError::InvalidJson(error)),
        },
        Ok(draft) => draft,
    };
    let draft = draft.ok_or(EventError::NotAnObject)?;
    let event_id = envelope_id.or(draft.event_id).unwrap_or(generated_id);
    Ok(draft.into_event(event_id, received_at))
}

fn read(payload: &[u8]) -> Result<Option<Draft>, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(payload);
    let Any(Object(draft)) = Any::deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(draft)
}

/// The attributes as they come, some of which have several names.
#[derive(Default)]
struct Draft {
    event_id: Option<EventId>,
    timestamp: Option<Timestamp>,
    level: Option<Level>,
    platform: Option<String>,
    release: Option<String>,
    environment: Option<String>,
    transaction: Option<String>,
    culprit: Option<String>,
    logger: Option<String>,
    server_name: Option<String>,
    site: Option<String>,
    log_entry: Option<LogEntry>,
    message: Option<LogEntry>,
    exceptions: Vec<Exception>,
    stacktrace: Vec<Frame>,
    thread: Vec<Frame>,
    csp: Option<Report>,
    fingerprint: Vec<String>,
    user: Option<User>,
    request: Option<Request>,
    tags: Tags,
}

impl Attributes for Draft {
    fn read<'de, A: MapAccess<'de>>(&mut self, name: &str, object: &mut A) -> Result<(), A::Error> {
        match name {
            "event_id" => {
                let text: Strict<64> = value(object)?;
                assign(&mut self.event_id, text.0.and_then(|text| text.trim().parse().ok()));
            }
            "timestamp" => assign(&mut self.timestamp, value::<Moment, A>(object)?.0),
            "level" => assign(&mut self.level, value::<LevelName, A>(object)?.0),
            "platform" => assign(&mut self.platform, value::<Strict<64>, A>(object)?.0),
            "release" => assign(&mut self.release, value::<Text<1024>, A>(object)?.0),
            "environment" => assign(&mut self.environment, value::<Strict<1024>, A>(object)?.0),
            "transaction" => assign(&mut self.transaction, value::<Strict<200>, A>(object)?.0),
            "culprit" => assign(&mut self.culprit, value::<Strict<200>, A>(object)?.0),
            "logger" => assign(&mut self.logger, value::<Strict<64>, A>(object)?.0),
            "server_name" => assign(&mut self.server_name, value::<Strict<256>, A>(object)?.0),
            "site" => assign(&mut self.site, value::<Strict<256>, A>(object)?.0),
            "logentry" | "sentry.interfaces.Message" => assign(&mut self.log_entry, value::<Message, A>(object)?.0),
            "message" => assign(&mut self.message, value::<Message, A>(object)?.0),
            "exception" | "sentry.interfaces.Exception" => {
                replace(&mut self.exceptions, value::<Values<Exceptions>, A>(object)?.0.into_vec());
            }
            "stacktrace" | "sentry.interfaces.Stacktrace" => {
                replace(&mut self.stacktrace, value::<Stacktrace, A>(object)?.0);
            }
            "threads" => replace(&mut self.thread, value::<Values<Threads>, A>(object)?.0.into_frames()),
            "csp" | "sentry.interfaces.Csp" => assign(&mut self.csp, value::<Object<Report>, A>(object)?.0),
            "fingerprint" => replace(&mut self.fingerprint, value::<Fingerprint, A>(object)?.0),
            "user" | "sentry.interfaces.User" => assign(&mut self.user, value::<Object<User>, A>(object)?.0),
            "request" | "sentry.interfaces.Http" => assign(&mut self.request, value::<Object<Request>, A>(object)?.0),
            "tags" => {
                let tags: Tags = value(object)?;
                assign(&mut self.tags.environment, tags.environment);
                replace(&mut self.tags.pairs, tags.pairs);
            }
            _ => skip(object)?,
        }
        Ok(())
    }
}

/// Of a list that is there twice the last one with something in it counts.
fn replace<T>(list: &mut Vec<T>, found: Vec<T>) {
    if !found.is_empty() {
        *list = found;
    }
}

impl Draft {
    fn into_event(mut self, event_id: EventId, received_at: Timestamp) -> Event {
        // Old clients send the stack trace of their only exception beside it.
        if let [only] = &mut *self.exceptions
            && only.frames.is_empty()
        {
            only.frames = std::mem::take(&mut self.stacktrace);
        }
        let request = self.request.unwrap_or_default();
        let mut user = self.user.unwrap_or_default();
        user.ip_address = user.ip_address.or(request.remote_address);
        self.tags.push("server_name", self.server_name.clone());
        self.tags.push("site", self.site);
        Event {
            event_id,
            timestamp: plausible(self.timestamp, received_at),
            level: self.level.unwrap_or_default(),
            platform: platform(self.platform.as_deref()),
            release: version::release(self.release),
            environment: version::environment(self.environment).or_else(|| version::environment(self.tags.environment)),
            transaction: self.transaction.or(self.culprit),
            logger: self.logger,
            server_name: self.server_name,
            log_entry: self.log_entry.or(self.message),
            exceptions: self.exceptions,
            stacktrace: if self.stacktrace.is_empty() { self.thread } else { self.stacktrace },
            csp: self.csp.and_then(Report::into_csp),
            fingerprint: self.fingerprint,
            user,
            request_url: request.url,
            tags: self.tags.pairs,
        }
    }
}

fn platform(name: Option<&str>) -> String {
    let name = name.unwrap_or_default().trim().to_ascii_lowercase();
    if PLATFORMS.contains(&name.as_str()) { name } else { "other".to_owned() }
}

#[derive(Default)]
struct LevelName(Option<Level>);

impl Lenient for LevelName {
    fn from_text(name: &str) -> Self {
        Self(Some(Level::from_name(name)))
    }

    fn from_integer(number: i128) -> Self {
        Self(Some(Level::from_number(i64::try_from(number).unwrap_or_default())))
    }
}

#[derive(Default)]
struct Fingerprint(Vec<String>);

impl Lenient for Fingerprint {
    fn from_list<'de, A: SeqAccess<'de>>(mut list: A) -> Result<Self, A::Error> {
        let mut parts = Vec::new();
        while let Some(Any(Text(part))) = list.next_element::<Any<Text<1024>>>()? {
            parts.extend(part.filter(|_| parts.len() < MAX_FINGERPRINT_PARTS));
        }
        Ok(Self(parts))
    }
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
