//! What is stored together under one mark: a batch, or a part of one that the store did not take as a whole.
//!
//! A record owns everything that a later attempt needs, also one of another process: `format` writes it down. `stream`
//! gives out the marks.

mod format;
mod stream;

use std::collections::BTreeMap;

pub use self::{
    format::FormatError,
    stream::{Mark, Stream, Streams},
};
use super::{
    outcomes::{Category, Contents},
    pipeline::Unit,
};
use crate::{
    dsn::PublicKey,
    store::ingest::{Batch, FeedbackRow, Outcome, OutcomeRow, Row, SessionRow, UsageLimit},
};

/// Rows of one or several units, one unit behind the other.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    pub mark: Mark,
    pub rows: Vec<Row>,
    pub sessions: Vec<SessionRow>,
    pub feedback: Vec<FeedbackRow>,
    pub outcomes: Vec<OutcomeRow>,
    /// Whose they are, in their order.
    pub shares: Vec<Share>,
}

/// How many of a record's rows are of one unit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// Number of the unit within the batch.
    pub unit: usize,
    /// Whose it is; `None` for what the process itself tells.
    pub key: Option<PublicKey>,
    pub rows: usize,
    pub sessions: usize,
    pub feedback: usize,
    pub outcomes: usize,
}

impl Share {
    /// It has something beside events.
    fn has_reports(&self) -> bool {
        self.sessions + self.feedback + self.outcomes > 0
    }
}

impl Record {
    /// Everything that `units` bring, in their order.
    #[must_use]
    pub fn new(mark: Mark, units: Vec<Unit>) -> Self {
        let mut record = Self::empty(mark);
        for (number, unit) in units.into_iter().enumerate() {
            let Unit { key, rows, sessions, feedback, outcomes } = unit;
            record.shares.push(Share {
                unit: number,
                key,
                rows: append(&mut record.rows, rows),
                sessions: append(&mut record.sessions, sessions),
                feedback: append(&mut record.feedback, feedback),
                outcomes: append(&mut record.outcomes, outcomes),
            });
        }
        record
    }

    fn empty(mark: Mark) -> Self {
        let (rows, sessions, feedback, outcomes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { mark, rows, sessions, feedback, outcomes, shares: Vec::new() }
    }

    /// How many units have something beside events in it.
    #[must_use]
    pub fn reporting_units(&self) -> usize {
        self.shares.iter().filter(|share| share.has_reports()).count()
    }

    /// The units that have a share in it.
    pub fn units(&self) -> impl Iterator<Item = usize> {
        self.shares.iter().map(|share| share.unit)
    }

    /// What each unit has in it.
    pub fn contents(&self) -> impl Iterator<Item = (&Share, Contents)> {
        let mut rows = self.rows.iter();
        self.shares
            .iter()
            .map(move |share| (share, Contents::of(rows.by_ref().take(share.rows), share.sessions, share.feedback)))
    }

    /// The outcome `accepted` of its events, by key and category. It follows from the rows, so that the parts of a
    /// record count each event once.
    #[must_use]
    pub fn accepted(&self) -> Vec<OutcomeRow> {
        let mut counts = BTreeMap::<(Option<&PublicKey>, &str), OutcomeRow>::new();
        let mut rows = self.rows.iter();
        for share in &self.shares {
            for row in rows.by_ref().take(share.rows) {
                let category = Category::from(row.kind).as_str();
                let counted = counts.entry((share.key.as_ref(), category)).or_insert_with(|| OutcomeRow {
                    received_at: row.received_at,
                    key: share.key.clone(),
                    category: category.into(),
                    outcome: Outcome::Accepted,
                    reason: "".into(),
                    quantity: 0,
                });
                counted.quantity += 1;
            }
        }
        counts.into_values().collect()
    }

    /// As the store takes it. `outcomes` are the record's own and those of [`Self::accepted`].
    #[must_use]
    pub fn batch<'a>(
        &'a self,
        outcomes: &'a [OutcomeRow],
        limits: &'a [UsageLimit],
        own_streams: &'a [uuid::Uuid],
    ) -> Batch<'a> {
        Batch {
            stream: self.mark.stream,
            sequence: self.mark.sequence,
            rows: &self.rows,
            sessions: &self.sessions,
            feedback: &self.feedback,
            outcomes,
            limits,
            own_streams,
        }
    }

    /// Smaller records in place of one that the store rejects, under marks of their own that rise with their order:
    /// what is beside the events goes unit by unit, and events alone in halves.
    ///
    /// A single event, or what one unit has beside its events, comes back as it is.
    #[must_use]
    pub fn split(self, marks: &mut Stream) -> Vec<Self> {
        match (self.rows.len(), self.reporting_units()) {
            (..=1, 0) => vec![self],
            (_, 0) => self.halves(marks),
            _ => self.by_kind(marks),
        }
    }

    fn halves(self, marks: &mut Stream) -> Vec<Self> {
        let mut first = Self { rows: self.rows, ..Self::empty(marks.next_mark()) };
        let mut second = Self::empty(marks.next_mark());
        second.rows = first.rows.split_off(first.rows.len() / 2);
        let mut room = first.rows.len();
        for share in self.shares {
            let rows = share.rows.min(room);
            room -= rows;
            for (half, rows) in [(&mut first, rows), (&mut second, share.rows - rows)] {
                if rows > 0 {
                    half.shares.push(Share { rows, ..share.clone() });
                }
            }
        }
        vec![first, second]
    }

    fn by_kind(self, marks: &mut Stream) -> Vec<Self> {
        let Self { rows, sessions, feedback, outcomes, shares, .. } = self;
        let (mut sessions, mut feedback, mut outcomes) =
            (sessions.into_iter(), feedback.into_iter(), outcomes.into_iter());
        let mut records = Vec::new();
        let mut events = Vec::new();
        for share in shares {
            let reports = Share { rows: 0, ..share.clone() };
            if reports.has_reports() {
                records.push(Self {
                    sessions: sessions.by_ref().take(share.sessions).collect(),
                    feedback: feedback.by_ref().take(share.feedback).collect(),
                    outcomes: outcomes.by_ref().take(share.outcomes).collect(),
                    shares: vec![reports],
                    ..Self::empty(marks.next_mark())
                });
            }
            if share.rows > 0 {
                events.push(Share { rows: share.rows, unit: share.unit, key: share.key, ..Share::default() });
            }
        }
        if !rows.is_empty() {
            records.push(Self { rows, shares: events, ..Self::empty(marks.next_mark()) });
        }
        records
    }
}

/// How many were appended.
fn append<T>(all: &mut Vec<T>, mut more: Vec<T>) -> usize {
    let count = more.len();
    if all.is_empty() {
        *all = more;
    } else {
        all.append(&mut more);
    }
    count
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::{
        ingest::prepare,
        protocol::{
            session::{SessionCounts, Sessions},
            user_report::UserReport,
        },
        store::ingest::FeedbackKind,
    };

    fn key(number: u8) -> PublicKey {
        PublicKey::from_random([number; 16])
    }

    fn row(number: u8) -> Row {
        let id = crate::protocol::event::EventId([number; 16]);
        Row { event_id: id, ..prepare::tests::row(br#"{"message":"hello","user":{"id":7},"release":"1.0"}"#) }
    }

    fn session() -> SessionRow {
        SessionRow {
            started: Timestamp::now(),
            release: "1.0".into(),
            environment: None,
            user_hash: Some(-7),
            sessions: Sessions::Many(SessionCounts { exited: 3, ..SessionCounts::default() }),
        }
    }

    fn feedback() -> FeedbackRow {
        let report = UserReport { message: "it broke".into(), ..UserReport::default() };
        FeedbackRow { feedback_id: report.id(), received_at: Timestamp::now(), kind: FeedbackKind::Report, report }
    }

    /// Two units of different keys, with events and something beside them, and one of the process itself.
    pub(super) fn record(marks: &mut Stream) -> Record {
        let unit = |number: u8| Unit {
            key: Some(key(number)),
            rows: (0..3).map(|n| row(10 * number + n)).collect(),
            sessions: vec![session()],
            feedback: vec![feedback()],
            ..Unit::default()
        };
        let outcomes = Record::new(marks.next_mark(), vec![unit(1)]).accepted();
        let told = Unit { outcomes, ..Unit::default() };
        Record::new(marks.next_mark(), vec![unit(1), told, unit(2)])
    }

    fn ids(record: &Record) -> Vec<u8> {
        record.rows.iter().map(|row| row.event_id.0[0]).collect()
    }

    #[test]
    fn parts_have_all_of_a_record_once_under_rising_marks() {
        let mut marks = Streams::default().open();
        let whole = record(&mut marks);
        assert_eq!((whole.rows.len(), whole.reporting_units()), (6, 3));
        let accepted = whole.accepted();
        let counted: Vec<_> = accepted.iter().map(|row| (row.key.clone(), row.quantity)).collect();
        assert_eq!(counted, [(Some(key(1)), 3), (Some(key(2)), 3)]);

        let mut waiting = std::collections::VecDeque::from([whole.clone()]);
        let (mut rows, mut reports, mut last) = (Vec::new(), Vec::new(), whole.mark);
        while let Some(part) = waiting.pop_front() {
            if part != whole {
                assert!(part.mark.stream == last.stream && part.mark.sequence > last.sequence, "{part:?}");
                last = part.mark;
            }
            match (part.rows.len(), part.reporting_units()) {
                (1, 0) => rows.extend(ids(&part).into_iter().zip(part.units())),
                (0, 1) => {
                    reports.push((part.units().next(), part.sessions.len(), part.feedback.len(), part.outcomes.len()));
                }
                _ => waiting.extend(part.split(&mut marks)),
            }
        }
        rows.sort_unstable();
        assert_eq!(rows, [(10, 0), (11, 0), (12, 0), (20, 2), (21, 2), (22, 2)]);
        assert_eq!(reports, [(Some(0), 1, 1, 0), (Some(1), 0, 0, 1), (Some(2), 1, 1, 0)]);
    }

    #[test]
    fn halves_that_cut_a_unit_count_its_events_once() {
        let mut marks = Streams::default().open();
        let unit = Unit { key: Some(key(1)), rows: (0..5).map(row).collect(), ..Unit::default() };
        let halves = Record::new(marks.next_mark(), vec![unit]).split(&mut marks);
        let counts: Vec<_> = halves.iter().map(|half| (ids(half), half.accepted()[0].quantity)).collect();
        assert_eq!(counts, [(vec![0, 1], 2), (vec![2, 3, 4], 3)]);
    }
}
