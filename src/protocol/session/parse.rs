//! One walk over the JSON of an item; an attribute of the wrong type is as good as absent.

use jiff::{SignedDuration, Timestamp};
use serde::de::{MapAccess, SeqAccess};

use super::{
    super::{
        event::{
            EventId,
            lenient::{Any, Attributes, Lenient, Object, assign, skip, value},
            text::{Flag, Strict, Text},
            timestamp::Moment,
            version,
        },
        item::{self, Count},
    },
    MAX_AGGREGATES, ParsedSessions, SessionClock, SessionCounts, SessionError, SessionState, SessionUpdate, Sessions,
};

/// A clock may be ahead by this much.
const MAX_AHEAD: SignedDuration = SignedDuration::from_secs(60);

/// What is older belongs to hours that nobody looks at any more.
const MAX_AGE: SignedDuration = SignedDuration::from_hours(5 * 24);

/// Longest name of a user, in characters.
const MAX_USER_CHARS: usize = 200;

impl SessionClock {
    /// The moment by our clock.
    fn corrected(self, claimed: Timestamp) -> Timestamp {
        claimed.checked_add(self.drift).unwrap_or(claimed)
    }

    fn check(self, moment: Timestamp) -> Result<(), SessionError> {
        match self.received_at.duration_since(moment) {
            age if age > MAX_AGE => Err(SessionError::TooOld),
            age if age < -MAX_AHEAD => Err(SessionError::InFuture),
            _ => Ok(()),
        }
    }
}

/// Reads an item `session`. Its release and the time it started must be there; without an id it counts as a session
/// of its own.
pub fn parse_session(payload: &[u8], clock: SessionClock) -> Result<SessionUpdate, SessionError> {
    let draft: UpdateDraft = item::read(payload)?;
    let attributes = draft.attributes;
    let release = version::release(attributes.release).ok_or(SessionError::InvalidRelease)?;
    let started = clock.corrected(draft.started.ok_or(SessionError::MissingStarted)?);
    let updated = draft.timestamp.map_or(clock.received_at, |claimed| clock.corrected(claimed));
    clock.check(started)?;
    // An update from before the start is the start's.
    clock.check(updated.max(started))?;
    let errors = draft.errors.unwrap_or_default().0;
    let least = if errors > 0 { SessionState::Errored } else { SessionState::Healthy };
    let state = draft.state.unwrap_or_default().max(least);
    let sessions = match draft.sid {
        Some(sid) => {
            let seq = draft.seq.unwrap_or_else(|| clock.received_at.as_millisecond());
            Sessions::One { sid: sid.0, seq, init: draft.init.unwrap_or_default(), state }
        }
        None => Sessions::Many(SessionCounts::one(state)),
    };
    let environment = version::environment(attributes.environment);
    Ok(SessionUpdate { started, user: draft.user, release, environment, sessions })
}

/// Reads an item `sessions`: the aggregates that can be counted, and why the others are not.
pub fn parse_sessions(payload: &[u8], clock: SessionClock) -> Result<ParsedSessions, SessionError> {
    let draft: AggregatesDraft = item::read(payload)?;
    let release = version::release(draft.attributes.release).ok_or(SessionError::InvalidRelease)?;
    let environment = version::environment(draft.attributes.environment);
    let mut parsed = ParsedSessions::default();
    for aggregate in draft.aggregates.kept {
        let total = aggregate.counts.total();
        match aggregate.started(clock) {
            Ok(_) if total == 0 => {}
            Ok(started) => parsed.updates.push(SessionUpdate {
                started,
                user: aggregate.user,
                release: release.clone(),
                environment: environment.clone(),
                sessions: Sessions::Many(aggregate.counts),
            }),
            Err(error) => parsed.drop(error, total),
        }
    }
    parsed.drop(SessionError::TooManyAggregates, draft.aggregates.beyond);
    Ok(parsed)
}

impl ParsedSessions {
    fn drop(&mut self, error: SessionError, quantity: u64) {
        if quantity == 0 {
            return;
        }
        match self.dropped.iter_mut().find(|(known, _)| *known == error) {
            Some((_, dropped)) => *dropped += quantity,
            None => self.dropped.push((error, quantity)),
        }
    }
}

/// The attributes of a `session` as they come.
#[derive(Default)]
struct UpdateDraft {
    sid: Option<EventId>,
    user: Option<String>,
    seq: Option<i64>,
    init: Option<bool>,
    started: Option<Timestamp>,
    timestamp: Option<Timestamp>,
    state: Option<SessionState>,
    errors: Option<Count>,
    attributes: SessionAttributes,
}

impl Attributes for UpdateDraft {
    fn read<'de, A: MapAccess<'de>>(&mut self, name: &str, object: &mut A) -> Result<(), A::Error> {
        match name {
            "sid" => assign(&mut self.sid, identifier(value(object)?)),
            "did" => assign(&mut self.user, user(value(object)?)),
            "seq" => assign(&mut self.seq, value::<Seq, A>(object)?.0),
            "init" => assign(&mut self.init, value::<Flag, A>(object)?.0),
            "started" => assign(&mut self.started, value::<Moment, A>(object)?.0),
            "timestamp" => assign(&mut self.timestamp, value::<Moment, A>(object)?.0),
            "status" => assign(&mut self.state, value::<Strict<64>, A>(object)?.0.as_deref().map(state)),
            "errors" => assign(&mut self.errors, Some(value::<Count, A>(object)?)),
            "attrs" => self.attributes = value::<Object<_>, A>(object)?.0.unwrap_or_default(),
            _ => skip(object)?,
        }
        Ok(())
    }
}

/// What a status says about health. A status of a newer SDK is hardly one of a healthy session.
fn state(status: &str) -> SessionState {
    match status {
        "ok" | "exited" => SessionState::Healthy,
        "crashed" => SessionState::Crashed,
        "abnormal" => SessionState::Abnormal,
        "unhandled" => SessionState::Unhandled,
        _ => SessionState::Errored,
    }
}

fn identifier(text: Strict<64>) -> Option<EventId> {
    text.0.and_then(|text| text.trim().parse().ok())
}

/// The nil UUID stands for nobody.
fn user(text: Text<MAX_USER_CHARS>) -> Option<String> {
    let text = text.0?;
    let text = text.trim();
    let nil = !text.is_empty() && text.len() >= 32 && text.bytes().all(|byte| matches!(byte, b'0' | b'-'));
    (!text.is_empty() && !nil).then(|| text.to_owned())
}

#[derive(Default)]
struct Seq(Option<i64>);

impl Lenient for Seq {
    fn from_text(text: &str) -> Self {
        text.trim().parse().map_or_else(|_| Self::default(), Self::from_integer)
    }

    /// The protocol has 64 bits without a sign; the upper half is as good as its lowest.
    fn from_integer(number: i128) -> Self {
        Self((number >= 0).then(|| i64::try_from(number).unwrap_or(i64::MAX)))
    }

    fn from_float(number: f64) -> Self {
        Self::from_text(&number.trunc().to_string())
    }
}

#[derive(Default)]
struct SessionAttributes {
    release: Option<String>,
    environment: Option<String>,
}

impl Attributes for SessionAttributes {
    fn read<'de, A: MapAccess<'de>>(&mut self, name: &str, object: &mut A) -> Result<(), A::Error> {
        match name {
            // Longer than a release may be, so that a long one is told from one that was cut.
            "release" => assign(&mut self.release, value::<Text<1024>, A>(object)?.0),
            "environment" => assign(&mut self.environment, value::<Strict<1024>, A>(object)?.0),
            _ => skip(object)?,
        }
        Ok(())
    }
}

/// The attributes of a `sessions` as they come.
#[derive(Default)]
struct AggregatesDraft {
    aggregates: Aggregates,
    attributes: SessionAttributes,
}

impl Attributes for AggregatesDraft {
    fn read<'de, A: MapAccess<'de>>(&mut self, name: &str, object: &mut A) -> Result<(), A::Error> {
        match name {
            "aggregates" => self.aggregates = value(object)?,
            "attrs" => self.attributes = value::<Object<_>, A>(object)?.0.unwrap_or_default(),
            _ => skip(object)?,
        }
        Ok(())
    }
}

/// The first [`MAX_AGGREGATES`], and the sessions in those after them.
#[derive(Default)]
struct Aggregates {
    kept: Vec<Aggregate>,
    beyond: u64,
}

impl Lenient for Aggregates {
    fn from_list<'de, A: SeqAccess<'de>>(mut list: A) -> Result<Self, A::Error> {
        let mut aggregates = Self::default();
        while let Some(Any(Object(aggregate))) = list.next_element::<Any<Object<Aggregate>>>()? {
            match aggregate {
                Some(aggregate) if aggregates.kept.len() < MAX_AGGREGATES => aggregates.kept.push(aggregate),
                Some(aggregate) => aggregates.beyond += aggregate.counts.total(),
                None => {}
            }
        }
        Ok(aggregates)
    }
}

#[derive(Default)]
struct Aggregate {
    started: Option<Timestamp>,
    user: Option<String>,
    counts: SessionCounts,
}

impl Aggregate {
    fn started(&self, clock: SessionClock) -> Result<Timestamp, SessionError> {
        let started = clock.corrected(self.started.ok_or(SessionError::MissingStarted)?);
        clock.check(started)?;
        Ok(started)
    }
}

impl Attributes for Aggregate {
    fn read<'de, A: MapAccess<'de>>(&mut self, name: &str, object: &mut A) -> Result<(), A::Error> {
        let counts = &mut self.counts;
        let slot = match name {
            "exited" => &mut counts.exited,
            "errored" => &mut counts.errored,
            "crashed" => &mut counts.crashed,
            "abnormal" => &mut counts.abnormal,
            "unhandled" => &mut counts.unhandled,
            "started" => {
                assign(&mut self.started, value::<Moment, A>(object)?.0);
                return Ok(());
            }
            "did" => {
                assign(&mut self.user, user(value(object)?));
                return Ok(());
            }
            _ => return skip(object),
        };
        *slot = value::<Count, A>(object)?.0;
        Ok(())
    }
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
