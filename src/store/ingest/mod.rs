//! What an ingest pod calls, with a login that may execute these functions and read no table.

mod batch;
mod instance;
mod reports;
mod user_key;
mod words;

use std::{net::IpAddr, time::Duration};

use jiff::Timestamp;
use uuid::Uuid;

pub(in crate::store) use self::instance::rate_limit;
pub use self::{
    batch::{ingest_batch, quarantine, tag_value_hash},
    instance::{changed_settings, find_key, look_up_key, report},
    reports::{FeedbackRow, OutcomeRow, SessionRow, Usage, UsageLimit},
    user_key::UserKey,
    words::{EventKind, FeedbackKind, Outcome},
};
use crate::{
    dsn::PublicKey,
    protocol::event::{EventId, Level},
    settings::{RateLimit, Settings},
};

/// Connections that the pool of an ingest pod opens at most: two writers, and keys and reports together.
pub const CONNECTIONS_A_POD: u32 = 3;

/// One event, ready to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub event_id: EventId,
    /// Fixed when the request was accepted and kept over retries and replays.
    pub received_at: Timestamp,
    /// When it happened, by the client's clock.
    pub timestamp: Timestamp,
    pub level: Level,
    pub kind: EventKind,
    pub title: String,
    pub culprit: String,
    pub exception_type: Option<String>,
    pub exception_value: Option<String>,
    pub platform: String,
    pub release: Option<String>,
    pub environment: Option<String>,
    /// Keyed hash of the user's identity.
    pub user_hash: Option<i64>,
    pub tags: Vec<(String, String)>,
    pub grouping_version: i16,
    pub grouping_hash: [u8; 32],
    /// Version and hash by which an older program has stored the same error, where the newer hash is not known to be
    /// stored yet: the issue of the older one is claimed.
    pub older_grouping: Option<(i16, [u8; 32])>,
    /// zstd of the event's JSON.
    pub payload: Vec<u8>,
}

/// Rows of one project under one mark. A stream is one writer: its sequence numbers rise, and batch `n`
/// is sent again until it is known to be applied before batch `n + 1` is sent. Any of the lists may be empty.
#[derive(Clone, Copy, Debug, Default)]
pub struct Batch<'a> {
    pub stream: Uuid,
    pub sequence: i64,
    pub rows: &'a [Row],
    pub sessions: &'a [SessionRow],
    pub feedback: &'a [FeedbackRow],
    pub outcomes: &'a [OutcomeRow],
    /// Windows whose sums the answer is to tell.
    pub limits: &'a [UsageLimit],
    /// Whose events those sums leave out: a process knows what its own writers have taken before they commit it.
    pub own_streams: &'a [Uuid],
}

/// What became of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// `false`: this (stream, sequence) was applied before; nothing was done now.
    pub applied: bool,
    pub stored: u64,
    /// Events whose id was there already: in this batch, in this partition, or in one next to it that begins or ends
    /// within an hour of the batch.
    pub duplicates: u64,
    /// Of the windows asked for, with this batch, in their order; a key that the project does not have is left out.
    /// Empty when nothing was done now.
    pub usage: Vec<Usage>,
}

/// What an instance follows of its project, and the version it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedSettings {
    pub version: i64,
    pub settings: Settings,
    /// What users are counted by; `None`: the project's number. The same in every version.
    pub user_key: Option<UserKey>,
    /// The public keys accepted now, each with its limit; without one it may send any number of events.
    pub keys: Vec<(PublicKey, Option<RateLimit>)>,
}

/// What an instance reports about itself.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    pub instance: &'a str,
    pub settings_version: i64,
    /// The instance ends, and everything that it accepted is committed.
    pub ending: bool,
    /// How long ago each key was last used, of those that were since the report before.
    pub key_usage: &'a [(PublicKey, Duration)],
    pub refused: &'a [RefusedKey],
}

/// What a key of the project sent that is not accepted any more, since the report before. Whoever sends says what it
/// likes of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedKey {
    pub key: PublicKey,
    /// Since the last request.
    pub age: Duration,
    /// Requests.
    pub events: u64,
    pub sentry_client: Option<String>,
    pub server_name: Option<String>,
    /// The other ends of the connections, and how long ago each sent last.
    pub addresses: Vec<(IpAddr, Duration)>,
}

/// A row that Postgres does not take, kept aside with what it said.
#[derive(Clone, Copy, Debug)]
pub struct Quarantined<'a> {
    pub event_id: EventId,
    pub received_at: Timestamp,
    pub reason: &'a str,
    pub payload: &'a [u8],
}
