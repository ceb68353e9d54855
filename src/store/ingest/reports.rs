//! What comes beside events in a batch: sessions, feedback of users, outcomes, and the windows whose events are to be
//! counted over all pods. The function `ingest` takes each as a list of JSON objects, which are made here.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{FeedbackKind, Outcome};
use crate::{
    dsn::PublicKey,
    protocol::{
        event::EventId,
        session::{SessionUpdate, Sessions},
        user_report::UserReport,
    },
    store::StoreError,
};

/// Sessions of one release and environment that started at one time, ready to be counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRow {
    pub started: Timestamp,
    pub release: String,
    pub environment: Option<String>,
    /// Keyed hash of the distinct user.
    pub user_hash: Option<i64>,
    pub sessions: Sessions,
}

impl SessionRow {
    /// The row for an update whose user has this hash.
    #[must_use]
    pub fn new(update: SessionUpdate, user_hash: Option<i64>) -> Self {
        let SessionUpdate { started, release, environment, sessions, user: _ } = update;
        Self { started, release, environment, user_hash, sessions }
    }
}

/// Words of a user, ready to be stored: one row for one id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedbackRow {
    /// [`UserReport::id`] of a report, the event's own id of feedback.
    pub feedback_id: EventId,
    pub received_at: Timestamp,
    pub kind: FeedbackKind,
    pub report: UserReport,
}

/// How many of a kind had one fate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutcomeRow {
    /// Says the hour.
    pub received_at: Timestamp,
    /// The key they were sent with, if it is known.
    pub key: Option<PublicKey>,
    /// As Sentry names it: `error`, `session`, `default`.
    pub category: Cow<'static, str>,
    pub outcome: Outcome,
    /// Empty: the outcome says it all. Of what a client discarded, its own word.
    pub reason: Cow<'static, str>,
    pub quantity: u64,
}

/// A window in which events are counted: those with outcome `accepted` and category `error` or `security`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageLimit {
    /// `None`: the whole project.
    pub key: Option<PublicKey>,
    pub window_seconds: u32,
}

/// Events accepted in the window under way, by all writers that were not left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    pub key: Option<PublicKey>,
    pub window_seconds: u32,
    pub window_start: Timestamp,
    pub events: u64,
}

/// As the functions `apply_sessions` and `name_releases` read them.
#[derive(Default, Serialize)]
struct SessionJson<'a> {
    sid: Option<String>,
    seq: i64,
    init: bool,
    started: Timestamp,
    state: i16,
    release: Cow<'a, str>,
    environment: Option<Cow<'a, str>>,
    user_hash: Option<i64>,
    exited: u32,
    errored: u32,
    crashed: u32,
    abnormal: u32,
    unhandled: u32,
}

/// `None` for no rows: the function then does nothing for them.
pub(super) fn sessions_json(rows: &[SessionRow]) -> Result<Option<String>, StoreError> {
    list(rows, |row| {
        let json = SessionJson {
            started: row.started,
            release: without_nul(&row.release),
            environment: row.environment.as_deref().map(without_nul),
            user_hash: row.user_hash,
            ..SessionJson::default()
        };
        match row.sessions {
            Sessions::One { sid, seq, init, state } => {
                SessionJson { sid: Some(uuid(sid)), seq, init, state: state as i16, ..json }
            }
            Sessions::Many(counts) => SessionJson {
                exited: counts.exited,
                errored: counts.errored,
                crashed: counts.crashed,
                abnormal: counts.abnormal,
                unhandled: counts.unhandled,
                ..json
            },
        }
    })
}

/// As the function `apply_feedback` reads it.
#[derive(Serialize)]
struct FeedbackJson<'a> {
    feedback_id: String,
    event_id: Option<String>,
    received_at: Timestamp,
    kind: &'static str,
    name: Cow<'a, str>,
    email: Cow<'a, str>,
    message: Cow<'a, str>,
    url: Cow<'a, str>,
}

pub(super) fn feedback_json(rows: &[FeedbackRow]) -> Result<Option<String>, StoreError> {
    list(rows, |row| FeedbackJson {
        feedback_id: uuid(row.feedback_id.0),
        event_id: row.report.event_id.map(|id| uuid(id.0)),
        received_at: row.received_at,
        kind: row.kind.as_str(),
        name: without_nul(&row.report.name),
        email: without_nul(&row.report.email),
        message: without_nul(&row.report.message),
        url: without_nul(&row.report.url),
    })
}

/// As the functions `apply_outcomes` and `count_usage` read it.
#[derive(Serialize)]
struct OutcomeJson<'a> {
    received_at: Timestamp,
    key: Option<&'a str>,
    category: Cow<'a, str>,
    outcome: &'static str,
    reason: Cow<'a, str>,
    quantity: u32,
}

pub(super) fn outcomes_json(rows: &[OutcomeRow]) -> Result<Option<String>, StoreError> {
    list(rows, |row| OutcomeJson {
        received_at: row.received_at,
        key: row.key.as_ref().map(PublicKey::as_str),
        category: without_nul(&row.category),
        outcome: row.outcome.as_str(),
        reason: without_nul(&row.reason),
        // A sum of these does not overflow within the hour.
        quantity: u32::try_from(row.quantity).unwrap_or(u32::MAX),
    })
}

/// As the function `count_usage` reads it.
#[derive(Serialize)]
struct LimitJson<'a> {
    key: Option<&'a str>,
    window_seconds: i32,
    own_streams: &'a [String],
}

pub(super) fn limits_json(limits: &[UsageLimit], own_streams: &[Uuid]) -> Result<Option<String>, StoreError> {
    let own_streams: Vec<_> = own_streams.iter().map(Uuid::to_string).collect();
    list(limits, |limit| LimitJson {
        key: limit.key.as_ref().map(PublicKey::as_str),
        window_seconds: i32::try_from(limit.window_seconds).unwrap_or(i32::MAX),
        own_streams: &own_streams,
    })
}

/// As the function `count_usage` writes it.
#[derive(Deserialize)]
struct UsageJson {
    key: Option<String>,
    window_seconds: u32,
    window_start: i64,
    events: u64,
}

pub(super) fn usage_of(json: Option<&str>) -> Result<Vec<Usage>, StoreError> {
    let Some(json) = json else { return Ok(Vec::new()) };
    let rows: Vec<UsageJson> = serde_json::from_str(json).map_err(|error| unreadable(&error))?;
    let usage = rows.into_iter().map(|row| {
        Some(Usage {
            key: row.key.map(|key| key.parse()).transpose().ok()?,
            window_seconds: row.window_seconds,
            window_start: Timestamp::from_second(row.window_start).ok()?,
            events: row.events,
        })
    });
    // What was not sent as a key and a time does not come back as one.
    Ok(usage.flatten().collect())
}

fn list<'a, T, J: Serialize>(rows: &'a [T], json: impl Fn(&'a T) -> J) -> Result<Option<String>, StoreError> {
    if rows.is_empty() {
        return Ok(None);
    }
    let rows: Vec<J> = rows.iter().map(json).collect();
    serde_json::to_string(&rows).map(Some).map_err(|error| unreadable(&error))
}

fn unreadable(error: &serde_json::Error) -> StoreError {
    StoreError::Other { message: format!("JSON of a batch: {error}"), sqlstate: None }
}

fn uuid(bytes: [u8; 16]) -> String {
    Uuid::from_bytes(bytes).to_string()
}

/// Postgres takes none in any text, and would refuse the batch.
fn without_nul(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "")) } else { Cow::Borrowed(text) }
}
