//! One walk over the JSON of an event, straight into its typed core.

use jiff::Timestamp;
use serde::{
    Deserialize,
    de::{Error as _, MapAccess, SeqAccess},
};
use serde_json::value::RawValue;

use super::{
    Event, EventId, EventType, Exception, Frame, Level, LogEntry,
    attributes::EventAttribute as Known,
    context::Contexts,
    csp::Report,
    derived,
    exception::Exceptions,
    inferred::Surroundings,
    lenient::{Any, Attributes, Kept, Lenient, Object, Values, assign, skip, value},
    message::Message,
    receipt::Receipt,
    repair::repaired,
    stacktrace::{Stacktrace, Threads},
    tags::Tags,
    text::{Strict, Text},
    timestamp::Moment,
    user::{NamedUser, Request, Sdk},
    version,
};

/// Longest event in bytes, after decompression.
pub const MAX_BYTES: usize = 1 << 20;

/// Longest event that was cleaned: `[Filtered]` may be longer than what it stands for.
pub const MAX_CLEANED_BYTES: usize = 2 * MAX_BYTES;

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
    /// 413. Holds the most bytes that an event may have.
    #[error(
        "envelope exceeded size limits for type 'event': at most {0} bytes \
         (https://develop.sentry.dev/sdk/envelopes/#size-limits)"
    )]
    TooLarge(usize),
    /// 400.
    #[error("invalid JSON data")]
    InvalidJson(#[source] serde_json::Error),
    /// 400.
    #[error("an event must be a JSON object")]
    NotAnObject,
}

/// Reads an event leniently: an attribute of the wrong type is as good as absent.
///
/// Its id is the envelope's, else its own, else the generated one; a time that cannot be believed becomes
/// the time of receipt.
pub fn parse(payload: &[u8], receipt: &Receipt) -> Result<Event, EventError> {
    parsed::<true>(payload, receipt)
}

/// As [`parse`], without the source lines of the frames: all that a group, a title and a search need, in half the time.
pub fn parse_core(payload: &[u8], receipt: &Receipt) -> Result<Event, EventError> {
    parsed::<false>(payload, receipt)
}

fn parsed<const LINES: bool>(payload: &[u8], receipt: &Receipt) -> Result<Event, EventError> {
    if payload.len() > MAX_CLEANED_BYTES {
        return Err(EventError::TooLarge(MAX_CLEANED_BYTES));
    }
    let repaired = match read::<LINES>(payload) {
        Ok(draft) => return Ok(draft.ok_or(EventError::NotAnObject)?.into_event(receipt, payload)),
        Err(error) => repaired(payload).ok_or(EventError::InvalidJson(error))?,
    };
    let draft = read::<LINES>(&repaired).map_err(EventError::InvalidJson)?.ok_or(EventError::NotAnObject)?;
    // Nothing can be put into a payload that is no JSON.
    Ok(Event { inferred: None, ..draft.into_event(receipt, &repaired) })
}

fn read<const LINES: bool>(payload: &[u8]) -> Result<Option<Draft<LINES>>, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(payload);
    let Any(Object(draft)) = Any::deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(draft)
}

/// The attributes as they come, some of which have several names.
#[derive(Default)]
struct Draft<const LINES: bool> {
    event_id: Option<EventId>,
    r#type: Option<EventType>,
    timestamp: Option<Timestamp>,
    level: Option<Level>,
    platform: Option<String>,
    release: Option<String>,
    dist: Option<String>,
    environment: Option<String>,
    transaction: Option<String>,
    culprit: Option<String>,
    logger: Option<String>,
    server_name: Option<String>,
    site: Option<String>,
    log_entry: Option<LogEntry>,
    message: Option<LogEntry>,
    exceptions: Kept<Exception>,
    stacktrace: Kept<Frame>,
    thread: Kept<Frame>,
    csp: Option<Report>,
    fingerprint: Vec<String>,
    user: Option<NamedUser>,
    request: Option<Request>,
    contexts: Option<Contexts>,
    /// Where in memory the text of the contexts ends.
    contexts_end: Option<usize>,
    sdk: Option<Sdk>,
    tags: Tags,
}

impl<const LINES: bool> Attributes for Draft<LINES> {
    fn read<'de, A: MapAccess<'de>>(&mut self, name: &str, object: &mut A) -> Result<(), A::Error> {
        let Some(known) = Known::named(name.as_bytes()) else { return skip(object) };
        match known {
            Known::EventId => {
                let text: Strict<64> = value(object)?;
                assign(&mut self.event_id, text.0.and_then(|text| text.trim().parse().ok()));
            }
            Known::Type => assign(&mut self.r#type, value::<TypeName, A>(object)?.0),
            Known::Timestamp => assign(&mut self.timestamp, value::<Moment, A>(object)?.0),
            Known::Level => assign(&mut self.level, value::<LevelName, A>(object)?.0),
            Known::Platform => assign(&mut self.platform, value::<Strict<64>, A>(object)?.0),
            Known::Release => assign(&mut self.release, value::<Text<1024>, A>(object)?.0),
            Known::Dist => assign(&mut self.dist, value::<Text<64>, A>(object)?.0),
            Known::Environment => assign(&mut self.environment, value::<Strict<1024>, A>(object)?.0),
            Known::Transaction => assign(&mut self.transaction, value::<Strict<200>, A>(object)?.0),
            Known::Culprit => assign(&mut self.culprit, value::<Strict<200>, A>(object)?.0),
            Known::Logger => assign(&mut self.logger, value::<Strict<64>, A>(object)?.0),
            Known::ServerName => assign(&mut self.server_name, value::<Strict<256>, A>(object)?.0),
            Known::Site => assign(&mut self.site, value::<Strict<256>, A>(object)?.0),
            Known::LogEntry => assign(&mut self.log_entry, value::<Message, A>(object)?.0),
            Known::Message => assign(&mut self.message, value::<Message, A>(object)?.0),
            Known::Exception => {
                replace_kept(&mut self.exceptions, value::<Values<Exceptions<LINES>>, A>(object)?.0.into_kept());
            }
            Known::Stacktrace => {
                replace_kept(&mut self.stacktrace, value::<Stacktrace<LINES>, A>(object)?.0);
            }
            Known::Threads => {
                replace_kept(&mut self.thread, value::<Values<Threads<LINES>>, A>(object)?.0.into_frames());
            }
            Known::Csp => assign(&mut self.csp, value::<Object<Report>, A>(object)?.0),
            Known::Fingerprint => replace(&mut self.fingerprint, value::<Fingerprint, A>(object)?.0),
            Known::User => assign(&mut self.user, value::<Object<NamedUser>, A>(object)?.0),
            Known::Request => assign(&mut self.request, value::<Object<Request>, A>(object)?.0),
            Known::Contexts => {
                let text = object.next_value::<&RawValue>()?.get();
                let Any(Object(contexts)) = serde_json::from_str(text).map_err(A::Error::custom)?;
                if contexts.is_some() {
                    (self.contexts, self.contexts_end) = (contexts, Some(text.as_bytes().as_ptr_range().end.addr()));
                }
            }
            Known::Sdk => assign(&mut self.sdk, value::<Object<Sdk>, A>(object)?.0),
            Known::Tags => {
                let tags: Tags = value(object)?;
                assign(&mut self.tags.environment, tags.environment);
                replace(&mut self.tags.pairs, tags.pairs);
            }
            Known::StartTimestamp
            | Known::Received
            | Known::TransactionInfo
            | Known::Project
            | Known::KeyId
            | Known::Version
            | Known::Checksum
            | Known::Template
            | Known::Breadcrumbs
            | Known::Nel
            | Known::Hpkp
            | Known::ExpectCt
            | Known::ExpectStaple
            | Known::Extra
            | Known::Modules
            | Known::DebugMeta => skip(object)?,
        }
        Ok(())
    }
}

/// The last list of a repeated attribute that is not empty counts.
fn replace<T>(list: &mut Vec<T>, found: Vec<T>) {
    if !found.is_empty() {
        *list = found;
    }
}

fn replace_kept<T>(list: &mut Kept<T>, found: Kept<T>) {
    if !found.is_empty() {
        *list = found;
    }
}

impl<const LINES: bool> Draft<LINES> {
    fn into_event(mut self, receipt: &Receipt, payload: &[u8]) -> Event {
        // Old clients send the stack trace of their only exception beside it.
        if let [only] = &mut *self.exceptions.items
            && only.frames.is_empty()
        {
            let frames = std::mem::take(&mut self.stacktrace);
            (only.frames, only.dropped_frames) = (frames.items, frames.dropped);
        }
        let stacktrace = if self.stacktrace.is_empty() { self.thread } else { self.stacktrace };
        let platform = platform(self.platform.as_deref());
        let request = self.request.unwrap_or_default();
        let infer_ip = self.sdk.unwrap_or_default().infer_ip;
        let user = self.user.unwrap_or_default();
        let transaction = self.transaction.or(self.culprit);
        self.tags.add("server_name", self.server_name.clone());
        self.tags.add("site", self.site);
        let contexts = self.contexts.unwrap_or_default();
        // A browser sends what happens in it; what a program behind a tunnel calls itself says nothing.
        let sender =
            receipt.user_agent.as_deref().filter(|agent| platform == "javascript" && agent.starts_with("Mozilla/"));
        let surroundings = Surroundings::new(&contexts, request.user_agent.as_deref().or(sender));
        let contexts_end = self.contexts_end.map(|end| end - payload.as_ptr().addr());
        let insertion = surroundings.insertion(payload, contexts_end);
        let sources = derived::Sources {
            surroundings,
            exceptions: &self.exceptions.items,
            request_url: request.url.as_deref(),
            transaction: transaction.as_deref(),
            logger: self.logger.as_deref(),
            dist: self.dist.as_deref(),
        };
        derived::add(&mut self.tags, sources);
        Event {
            event_id: receipt.envelope_id.or(self.event_id).unwrap_or(receipt.generated_id),
            r#type: self.r#type.unwrap_or_default(),
            timestamp: receipt.believable(self.timestamp),
            level: self.level.unwrap_or_default(),
            user: user.resolve(request.remote_address, infer_ip, &platform, receipt.client_ip),
            platform,
            release: version::release(self.release),
            dist: self.dist,
            environment: version::environment(self.environment).or_else(|| version::environment(self.tags.environment)),
            transaction,
            logger: self.logger,
            server_name: self.server_name,
            log_entry: self.log_entry.or(self.message),
            exceptions: self.exceptions.items,
            dropped_exceptions: self.exceptions.dropped,
            stacktrace: stacktrace.items,
            dropped_frames: stacktrace.dropped,
            csp: self.csp.and_then(Report::into_csp),
            fingerprint: self.fingerprint,
            request_url: request.url,
            user_agent: request.user_agent,
            inferred: insertion,
            tags: self.tags.pairs,
        }
    }
}

fn platform(name: Option<&str>) -> String {
    let name = name.unwrap_or_default().trim().to_ascii_lowercase();
    if PLATFORMS.contains(&name.as_str()) { name } else { "other".to_owned() }
}

/// What is neither a trace nor feedback is an error, whatever its SDK calls it.
#[derive(Default)]
struct TypeName(Option<EventType>);

impl Lenient for TypeName {
    fn from_text(name: &str) -> Self {
        Self(Some(match name {
            "transaction" => EventType::Transaction,
            "feedback" => EventType::Feedback,
            _ => EventType::Error,
        }))
    }
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
