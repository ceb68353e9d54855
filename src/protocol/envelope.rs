//! The envelope: one line of headers, then items of one header line and a payload each. Cut to the
//! byte as <https://develop.sentry.dev/sdk/envelopes/> says; payloads are slices of the body, never copies.

use bytes::Bytes;
use jiff::Timestamp;
use serde::de::MapAccess;

use super::event::{
    EventId,
    lenient::{Any, Attributes, Object, skip, value},
    text::Strict,
    timestamp,
};
use crate::dsn::{ProjectId, PublicKey};

/// More items than this in one envelope are refused.
pub const MAX_ITEMS: usize = 500;

/// Longest header line in bytes. The trace context inside it may be as long as a `baggage` header, 8 KiB.
pub const MAX_HEADER_BYTES: usize = 16 << 10;

/// What one request to `/envelope/` carries.
#[derive(Clone, Debug, PartialEq)]
pub struct Envelope {
    /// Wins over the id inside the event.
    pub event_id: Option<EventId>,
    /// Names the key when the request itself does not (tunnels).
    pub dsn: Option<EnvelopeDsn>,
    /// The client's clock when it sent; absent when unreadable.
    pub sent_at: Option<Timestamp>,
    /// Name and version of the SDK that sent it, as `sentry.python/2.68.0`; absent when unreadable.
    pub sdk: Option<String>,
    pub items: Vec<Item>,
}

/// What a DSN says about who sends; where to is known, as the envelope has arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvelopeDsn {
    pub public_key: PublicKey,
    pub project_id: ProjectId,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    pub kind: ItemKind,
    pub payload: Bytes,
}

/// `type` of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ItemKind {
    Event,
    Transaction,
    Security,
    Attachment,
    UserReport,
    Feedback,
    Session,
    Sessions,
    ClientReport,
    CheckIn,
    Profile,
    ProfileChunk,
    ReplayEvent,
    ReplayRecording,
    ReplayVideo,
    Log,
    Span,
    TraceMetric,
    Statsd,
    MetricBuckets,
    /// A type that newer clients may have: skipped, never refused.
    Unknown(String),
}

/// Why an envelope was refused, all 400; the text is for `causes`, below [`EnvelopeError::DETAIL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    #[error("empty request body")]
    Empty,
    #[error("missing envelope header")]
    MissingHeader,
    #[error("invalid envelope header")]
    InvalidHeader,
    #[error("invalid item header")]
    InvalidItemHeader,
    #[error("missing newline after header or payload")]
    MissingNewline,
    #[error("unexpected end of file")]
    UnexpectedEnd,
    #[error("too many individual items")]
    TooManyItems,
    #[error("project id mismatch")]
    ProjectMismatch,
    #[error("public key mismatch")]
    KeyMismatch,
}

impl EnvelopeError {
    /// Sentry's own `detail` for all of them.
    pub const DETAIL: &'static str = "invalid event envelope";
}

impl Envelope {
    /// A DSN in the envelope must not contradict the request it came with.
    pub fn check_dsn(&self, project_id: ProjectId, key: &PublicKey) -> Result<(), EnvelopeError> {
        match &self.dsn {
            Some(dsn) if dsn.project_id != project_id => Err(EnvelopeError::ProjectMismatch),
            Some(dsn) if dsn.public_key != *key => Err(EnvelopeError::KeyMismatch),
            _ => Ok(()),
        }
    }
}

impl ItemKind {
    const NAMES: [(Self, &'static str); 20] = [
        (Self::Event, "event"),
        (Self::Transaction, "transaction"),
        (Self::Security, "security"),
        (Self::Attachment, "attachment"),
        (Self::UserReport, "user_report"),
        (Self::Feedback, "feedback"),
        (Self::Session, "session"),
        (Self::Sessions, "sessions"),
        (Self::ClientReport, "client_report"),
        (Self::CheckIn, "check_in"),
        (Self::Profile, "profile"),
        (Self::ProfileChunk, "profile_chunk"),
        (Self::ReplayEvent, "replay_event"),
        (Self::ReplayRecording, "replay_recording"),
        (Self::ReplayVideo, "replay_video"),
        (Self::Log, "log"),
        (Self::Span, "span"),
        (Self::TraceMetric, "trace_metric"),
        (Self::Statsd, "statsd"),
        (Self::MetricBuckets, "metric_buckets"),
    ];

    fn from_name(name: &str) -> Self {
        let known = Self::NAMES.iter().find(|(_, known)| *known == name);
        known.map_or_else(|| Self::Unknown(name.to_owned()), |(kind, _)| kind.clone())
    }

    /// A word of a closed set, fit for a metric's label: every unknown type is `unknown`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        Self::NAMES.iter().find(|(kind, _)| kind == self).map_or("unknown", |(_, name)| name)
    }
}

/// Cuts a decoded request body into its items.
pub fn parse(body: &Bytes) -> Result<Envelope, EnvelopeError> {
    if body.is_empty() {
        return Err(EnvelopeError::Empty);
    }
    let (header, mut position) = line(body, 0);
    if header.trim_ascii().is_empty() {
        return Err(EnvelopeError::MissingHeader);
    }
    let header: Header = parse_header(header).ok_or(EnvelopeError::InvalidHeader)?;
    let mut envelope = Envelope {
        event_id: optional(header.event_id, |text| text.parse().ok())?,
        dsn: optional(header.dsn, parse_dsn)?,
        sent_at: header.sent_at,
        sdk: header.sdk,
        items: Vec::new(),
    };
    // One newline may follow the last item; several are tolerated. Found once: megabytes of blanks behind
    // hundreds of items would otherwise be read again for each of them.
    let end = body.trim_ascii_end().len();
    while position < end {
        if envelope.items.len() == MAX_ITEMS {
            return Err(EnvelopeError::TooManyItems);
        }
        let (item, next) = parse_item(body, position)?;
        envelope.items.push(item);
        position = next;
    }
    Ok(envelope)
}

/// The item that begins at `position`, and where the next one begins.
fn parse_item(body: &Bytes, position: usize) -> Result<(Item, usize), EnvelopeError> {
    let (header, start) = line(body, position);
    let ItemHeader { kind, length } = parse_header(header).ok_or(EnvelopeError::InvalidItemHeader)?;
    let kind = kind.ok_or(EnvelopeError::InvalidItemHeader)?;
    let start = start.min(body.len());
    let end = match length {
        None => start + line(body, start).0.len(),
        Some(length) => {
            let length = usize::try_from(length).map_err(|_| EnvelopeError::UnexpectedEnd)?;
            start.checked_add(length).filter(|end| *end <= body.len()).ok_or(EnvelopeError::UnexpectedEnd)?
        }
    };
    if !matches!(body.get(end), None | Some(b'\n')) {
        return Err(EnvelopeError::MissingNewline);
    }
    let item = Item { kind: ItemKind::from_name(&kind), payload: body.slice(start..end) };
    Ok((item, end + 1))
}

/// The bytes from `start` to the next newline or the end, and where what follows begins.
fn line(body: &[u8], start: usize) -> (&[u8], usize) {
    let rest = body.get(start..).unwrap_or_default();
    let length = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
    (&rest[..length], start + length + 1)
}

fn parse_header<T: Attributes>(line: &[u8]) -> Option<T> {
    let header = (line.len() <= MAX_HEADER_BYTES).then(|| serde_json::from_slice::<Any<Object<T>>>(line))?;
    header.ok()?.0.0
}

/// Absent or empty is none; what is there must be readable.
fn optional<T>(text: Option<String>, parse: impl Fn(&str) -> Option<T>) -> Result<Option<T>, EnvelopeError> {
    match text.filter(|text| !text.is_empty()) {
        None => Ok(None),
        Some(text) => parse(&text).map(Some).ok_or(EnvelopeError::InvalidHeader),
    }
}

/// `{scheme}://{public key}[:{secret}]@{host}[:{port}]{/path}/{project id}`
fn parse_dsn(text: &str) -> Option<EnvelopeDsn> {
    let (_, rest) = text.split_once("://").filter(|(scheme, _)| matches!(*scheme, "http" | "https"))?;
    let (user, rest) = rest.split_once('@')?;
    let (_, project_id) = rest.trim_end_matches('/').rsplit_once('/')?;
    let key = user.split_once(':').map_or(user, |(key, _)| key);
    Some(EnvelopeDsn { public_key: key.parse().ok()?, project_id: project_id.parse().ok()? })
}

/// The last value of a header that is repeated counts: a proxy that adds its own costs no event.
#[derive(Default)]
struct Header {
    event_id: Option<String>,
    dsn: Option<String>,
    sent_at: Option<Timestamp>,
    sdk: Option<String>,
}

impl Attributes for Header {
    /// A text where there is none is an error; of what only describes the client, nothing is.
    fn read<'de, A: MapAccess<'de>>(&mut self, name: &str, object: &mut A) -> Result<(), A::Error> {
        match name {
            "event_id" => self.event_id = object.next_value()?,
            "dsn" => self.dsn = object.next_value()?,
            "sent_at" => self.sent_at = value::<timestamp::Moment, A>(object)?.0,
            "sdk" => {
                let SdkName { name, version } = value::<Object<SdkName>, A>(object)?.0.unwrap_or_default();
                self.sdk = name.map(|name| match version {
                    Some(version) => format!("{name}/{version}"),
                    None => name,
                });
            }
            _ => skip(object)?,
        }
        Ok(())
    }
}

#[derive(Default)]
struct SdkName {
    name: Option<String>,
    version: Option<String>,
}

impl Attributes for SdkName {
    fn read<'de, A: MapAccess<'de>>(&mut self, name: &str, object: &mut A) -> Result<(), A::Error> {
        match name {
            "name" => self.name = value::<Strict<64>, A>(object)?.0,
            "version" => self.version = value::<Strict<64>, A>(object)?.0,
            _ => skip(object)?,
        }
        Ok(())
    }
}

#[derive(Default)]
struct ItemHeader {
    kind: Option<String>,
    length: Option<u64>,
}

impl Attributes for ItemHeader {
    fn read<'de, A: MapAccess<'de>>(&mut self, name: &str, object: &mut A) -> Result<(), A::Error> {
        match name {
            "type" => self.kind = Some(object.next_value()?),
            "length" => self.length = object.next_value()?,
            _ => skip(object)?,
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "envelope_tests.rs"]
mod tests;
