//! A record as bytes: a version, then the fields of that version one behind the other (postcard's format, which has no
//! names). A version that was released never changes: a field more is another version, and this program reads all.
//!
//! Only this file knows the bytes; the types of other rooms may change under it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer};
use uuid::Uuid;

use super::{Mark, Record, Share};
use crate::{
    dsn::PublicKey,
    protocol::{
        event::{EventId, Level},
        session::{SessionCounts, SessionState, Sessions},
        user_report::UserReport,
    },
    store::ingest::{EventKind, FeedbackKind, FeedbackRow, Outcome, OutcomeRow, Row, SessionRow},
};

/// First byte of what is written.
const VERSION: u8 = 1;

/// Why bytes are no record.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    #[error("the record is empty")]
    Empty,
    /// Of a newer release: left for that.
    #[error("the record has version {0}, and this release reads up to {VERSION}")]
    UnknownVersion(u8),
    #[error("the record is damaged: {0}")]
    Damaged(#[from] postcard::Error),
    /// The bytes are whole, and their meaning is not.
    #[error("the record holds no valid {0}")]
    Invalid(&'static str),
}

impl Record {
    /// The bytes that [`Self::decode`] reads, in this and all later releases.
    pub fn encode(&self) -> Result<Vec<u8>, FormatError> {
        Ok(postcard::to_extend(&V1::of(self), vec![VERSION])?)
    }

    /// Reads what any release up to this one has written.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        match bytes.split_first() {
            None => Err(FormatError::Empty),
            Some((1, fields)) => postcard::from_bytes::<V1<'_>>(fields)?.record(),
            Some((version, _)) => Err(FormatError::UnknownVersion(*version)),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct V1<'a> {
    stream: [u8; 16],
    sequence: i64,
    #[serde(borrow)]
    rows: Vec<RowV1<'a>>,
    sessions: Vec<SessionV1<'a>>,
    feedback: Vec<FeedbackV1<'a>>,
    outcomes: Vec<OutcomeV1<'a>>,
    shares: Vec<ShareV1<'a>>,
}

/// Nanoseconds of Unix time.
type Nanoseconds = i128;

#[derive(Serialize, Deserialize)]
struct RowV1<'a> {
    event_id: [u8; 16],
    received_at: Nanoseconds,
    timestamp: Nanoseconds,
    level: i16,
    kind: &'a str,
    title: &'a str,
    culprit: &'a str,
    exception_type: Option<&'a str>,
    exception_value: Option<&'a str>,
    platform: &'a str,
    release: Option<&'a str>,
    environment: Option<&'a str>,
    user_hash: Option<i64>,
    tags: Vec<(&'a str, &'a str)>,
    grouping_version: i16,
    grouping_hash: [u8; 32],
    older_grouping: Option<(i16, [u8; 32])>,
    #[serde(serialize_with = "bytes")]
    payload: &'a [u8],
}

#[derive(Serialize, Deserialize)]
struct SessionV1<'a> {
    started: Nanoseconds,
    release: &'a str,
    environment: Option<&'a str>,
    user_hash: Option<i64>,
    sessions: SessionsV1,
}

#[derive(Serialize, Deserialize)]
enum SessionsV1 {
    One { sid: [u8; 16], seq: i64, init: bool, state: i16 },
    Many { exited: u32, errored: u32, crashed: u32, abnormal: u32, unhandled: u32 },
}

#[derive(Serialize, Deserialize)]
struct FeedbackV1<'a> {
    feedback_id: [u8; 16],
    received_at: Nanoseconds,
    kind: &'a str,
    event_id: Option<[u8; 16]>,
    name: &'a str,
    email: &'a str,
    message: &'a str,
    url: &'a str,
}

#[derive(Serialize, Deserialize)]
struct OutcomeV1<'a> {
    received_at: Nanoseconds,
    key: Option<&'a str>,
    category: &'a str,
    outcome: &'a str,
    reason: &'a str,
    quantity: u64,
}

#[derive(Serialize, Deserialize)]
struct ShareV1<'a> {
    unit: usize,
    key: Option<&'a str>,
    rows: usize,
    sessions: usize,
    feedback: usize,
    outcomes: usize,
}

impl<'a> V1<'a> {
    fn of(record: &'a Record) -> Self {
        let Record { mark: Mark { stream, sequence }, rows, sessions, feedback, outcomes, shares } = record;
        Self {
            stream: stream.into_bytes(),
            sequence: *sequence,
            rows: rows.iter().map(RowV1::of).collect(),
            sessions: sessions.iter().map(SessionV1::of).collect(),
            feedback: feedback.iter().map(FeedbackV1::of).collect(),
            outcomes: outcomes.iter().map(OutcomeV1::of).collect(),
            shares: shares.iter().map(ShareV1::of).collect(),
        }
    }

    fn record(self) -> Result<Record, FormatError> {
        let Self { stream, sequence, rows, sessions, feedback, outcomes, shares } = self;
        let record = Record {
            mark: Mark { stream: Uuid::from_bytes(stream), sequence },
            rows: rows.into_iter().map(RowV1::row).collect::<Result<_, _>>()?,
            sessions: sessions.into_iter().map(SessionV1::row).collect::<Result<_, _>>()?,
            feedback: feedback.into_iter().map(FeedbackV1::row).collect::<Result<_, _>>()?,
            outcomes: outcomes.into_iter().map(OutcomeV1::row).collect::<Result<_, _>>()?,
            shares: shares.into_iter().map(ShareV1::share).collect::<Result<_, _>>()?,
        };
        let all = |count: fn(&Share) -> usize| record.shares.iter().map(count).fold(0, usize::saturating_add);
        let shared = [
            (all(|share| share.rows), record.rows.len()),
            (all(|share| share.sessions), record.sessions.len()),
            (all(|share| share.feedback), record.feedback.len()),
            (all(|share| share.outcomes), record.outcomes.len()),
        ];
        if shared.iter().all(|(shared, there)| shared == there) {
            Ok(record)
        } else {
            Err(FormatError::Invalid("share"))
        }
    }
}

impl<'a> RowV1<'a> {
    fn of(row: &'a Row) -> Self {
        let Row { event_id, received_at, timestamp, level, kind, title, culprit, .. } = row;
        let Row { exception_type, exception_value, platform, release, environment, user_hash, tags, .. } = row;
        let Row { grouping_version, grouping_hash, older_grouping, payload, .. } = row;
        Self {
            event_id: event_id.0,
            received_at: received_at.as_nanosecond(),
            timestamp: timestamp.as_nanosecond(),
            level: *level as i16,
            kind: kind.as_str(),
            title,
            culprit,
            exception_type: exception_type.as_deref(),
            exception_value: exception_value.as_deref(),
            platform,
            release: release.as_deref(),
            environment: environment.as_deref(),
            user_hash: *user_hash,
            tags: tags.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect(),
            grouping_version: *grouping_version,
            grouping_hash: *grouping_hash,
            older_grouping: *older_grouping,
            payload,
        }
    }

    fn row(self) -> Result<Row, FormatError> {
        Ok(Row {
            event_id: EventId(self.event_id),
            received_at: timestamp(self.received_at)?,
            timestamp: timestamp(self.timestamp)?,
            level: Level::from_number(self.level.into()),
            kind: EventKind::parse(self.kind).ok_or(FormatError::Invalid("kind of event"))?,
            title: self.title.to_owned(),
            culprit: self.culprit.to_owned(),
            exception_type: self.exception_type.map(str::to_owned),
            exception_value: self.exception_value.map(str::to_owned),
            platform: self.platform.to_owned(),
            release: self.release.map(str::to_owned),
            environment: self.environment.map(str::to_owned),
            user_hash: self.user_hash,
            tags: self.tags.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
            grouping_version: self.grouping_version,
            grouping_hash: self.grouping_hash,
            older_grouping: self.older_grouping,
            payload: self.payload.to_owned(),
        })
    }
}

impl<'a> SessionV1<'a> {
    fn of(row: &'a SessionRow) -> Self {
        let SessionRow { started, release, environment, user_hash, sessions } = row;
        Self {
            started: started.as_nanosecond(),
            release,
            environment: environment.as_deref(),
            user_hash: *user_hash,
            sessions: match *sessions {
                Sessions::One { sid, seq, init, state } => SessionsV1::One { sid, seq, init, state: state as i16 },
                Sessions::Many(SessionCounts { exited, errored, crashed, abnormal, unhandled }) => {
                    SessionsV1::Many { exited, errored, crashed, abnormal, unhandled }
                }
            },
        }
    }

    fn row(self) -> Result<SessionRow, FormatError> {
        Ok(SessionRow {
            started: timestamp(self.started)?,
            release: self.release.to_owned(),
            environment: self.environment.map(str::to_owned),
            user_hash: self.user_hash,
            sessions: match self.sessions {
                SessionsV1::One { sid, seq, init, state } => {
                    let known = [
                        SessionState::Healthy,
                        SessionState::Errored,
                        SessionState::Unhandled,
                        SessionState::Abnormal,
                        SessionState::Crashed,
                    ];
                    let state = known.into_iter().find(|known| *known as i16 == state);
                    Sessions::One { sid, seq, init, state: state.ok_or(FormatError::Invalid("session"))? }
                }
                SessionsV1::Many { exited, errored, crashed, abnormal, unhandled } => {
                    Sessions::Many(SessionCounts { exited, errored, crashed, abnormal, unhandled })
                }
            },
        })
    }
}

impl<'a> FeedbackV1<'a> {
    fn of(row: &'a FeedbackRow) -> Self {
        let FeedbackRow { feedback_id, received_at, kind, report } = row;
        let UserReport { event_id, name, email, message, url } = report;
        Self {
            feedback_id: feedback_id.0,
            received_at: received_at.as_nanosecond(),
            kind: kind.as_str(),
            event_id: event_id.map(|id| id.0),
            name,
            email,
            message,
            url,
        }
    }

    fn row(self) -> Result<FeedbackRow, FormatError> {
        Ok(FeedbackRow {
            feedback_id: EventId(self.feedback_id),
            received_at: timestamp(self.received_at)?,
            kind: FeedbackKind::parse(self.kind).ok_or(FormatError::Invalid("kind of feedback"))?,
            report: UserReport {
                event_id: self.event_id.map(EventId),
                name: self.name.to_owned(),
                email: self.email.to_owned(),
                message: self.message.to_owned(),
                url: self.url.to_owned(),
            },
        })
    }
}

impl<'a> OutcomeV1<'a> {
    fn of(row: &'a OutcomeRow) -> Self {
        let OutcomeRow { received_at, key, category, outcome, reason, quantity } = row;
        Self {
            received_at: received_at.as_nanosecond(),
            key: key.as_ref().map(PublicKey::as_str),
            category,
            outcome: outcome.as_str(),
            reason,
            quantity: *quantity,
        }
    }

    fn row(self) -> Result<OutcomeRow, FormatError> {
        Ok(OutcomeRow {
            received_at: timestamp(self.received_at)?,
            key: public_key(self.key)?,
            category: self.category.to_owned().into(),
            outcome: Outcome::parse(self.outcome).ok_or(FormatError::Invalid("outcome"))?,
            reason: self.reason.to_owned().into(),
            quantity: self.quantity,
        })
    }
}

impl<'a> ShareV1<'a> {
    fn of(share: &'a Share) -> Self {
        let Share { unit, key, rows, sessions, feedback, outcomes } = share;
        Self {
            unit: *unit,
            key: key.as_ref().map(PublicKey::as_str),
            rows: *rows,
            sessions: *sessions,
            feedback: *feedback,
            outcomes: *outcomes,
        }
    }

    fn share(self) -> Result<Share, FormatError> {
        let Self { unit, key, rows, sessions, feedback, outcomes } = self;
        Ok(Share { unit, key: public_key(key)?, rows, sessions, feedback, outcomes })
    }
}

fn bytes<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes)
}

fn timestamp(nanoseconds: Nanoseconds) -> Result<Timestamp, FormatError> {
    Timestamp::from_nanosecond(nanoseconds).map_err(|_| FormatError::Invalid("time"))
}

fn public_key(text: Option<&str>) -> Result<Option<PublicKey>, FormatError> {
    text.map(str::parse).transpose().map_err(|_| FormatError::Invalid("public key"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ingest::record::{Streams, tests::record};

    #[test]
    fn a_record_comes_back_as_it_was() {
        let mut record = record(&mut Streams::default().open());
        let one = Sessions::One { sid: [9; 16], seq: i64::MIN, init: true, state: SessionState::Abnormal };
        record.sessions[0] =
            SessionRow { sessions: one, environment: Some("live".into()), ..record.sessions[0].clone() };
        record.rows[0].tags = vec![("shard".into(), "ü\0".into())];
        record.rows[0].payload = vec![0, 255, 7];
        let bytes = record.encode().unwrap();
        assert_eq!(bytes[0], VERSION);
        assert_eq!(Record::decode(&bytes).unwrap(), record);
        let payloads: usize = record.rows.iter().map(|row| row.payload.len()).sum();
        assert!(bytes.len() < payloads + 2_000, "{} of {payloads}", bytes.len());
    }

    #[test]
    fn what_is_no_record_says_why() {
        let bytes = record(&mut Streams::default().open()).encode().unwrap();
        for (bytes, expected) in [
            (&[][..], "the record is empty"),
            (&[9, 1, 2], "the record has version 9, and this release reads up to 1"),
            (&bytes[..bytes.len() - 1], "the record is damaged: "),
        ] {
            let error = Record::decode(bytes).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
        let mut other = record(&mut Streams::default().open());
        other.shares[0].rows += 1;
        let error = Record::decode(&other.encode().unwrap()).unwrap_err().to_string();
        assert_eq!(error, "the record holds no valid share");
    }

    proptest! {
        /// Torn and overwritten bytes are refused or read, and never more is asked for than there is.
        #[test]
        fn damaged_bytes_do_no_harm(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>()) {
            let mut bytes = record(&mut Streams::default().open()).encode().unwrap();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            bytes.truncate(cut.index(bytes.len()) + 1);
            let _ = Record::decode(&bytes);
        }
    }
}
