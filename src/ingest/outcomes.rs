//! What became of everything that was sent: for `/metrics`, and for the store, where it is kept by hour, key, category
//! and reason. The store gets them with the batches, so that a batch that is sent again counts once.

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use jiff::Timestamp;
use parking_lot::{Mutex, MutexGuard};
use prometheus::IntCounterVec;

use super::reading::{ItemOutcome, ItemResult};
use crate::{
    dsn::PublicKey,
    filters::FilterReason,
    protocol::{client_report::Discarded, envelope::ItemKind, rate_limits::ReasonCode},
    store::ingest::{EventKind, Outcome, OutcomeRow, Row},
};

/// Different outcomes that wait for the store; what comes on top is summed up as `other`. Clients name the reasons of
/// what they discard.
const MAX_PENDING: usize = 2_000;

/// Of those, what clients say they discarded: one that invents reasons must not push out what we count ourselves.
const MAX_DISCARDED: usize = 500;

/// Kind of what was sent, in Sentry's words. A closed set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Category {
    Error,
    Security,
    Session,
    Feedback,
    UserReport,
    Transaction,
    Attachment,
    Profile,
    Replay,
    Monitor,
    Log,
    Span,
    MetricBucket,
    TraceMetric,
    /// What is about no data of its own: a report of losses, or an item of a type we do not know.
    Default,
}

impl Category {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Security => "security",
            Self::Session => "session",
            Self::Feedback => "feedback",
            Self::UserReport => "user_report_v2",
            Self::Transaction => "transaction",
            Self::Attachment => "attachment",
            Self::Profile => "profile",
            Self::Replay => "replay",
            Self::Monitor => "monitor",
            Self::Log => "log_item",
            Self::Span => "span",
            Self::MetricBucket => "metric_bucket",
            Self::TraceMetric => "trace_metric",
            Self::Default => "default",
        }
    }

    /// Of an item of an envelope.
    #[must_use]
    pub fn of(kind: &ItemKind) -> Self {
        match kind {
            ItemKind::Event => Self::Error,
            ItemKind::Security => Self::Security,
            ItemKind::Session | ItemKind::Sessions => Self::Session,
            ItemKind::Feedback => Self::Feedback,
            ItemKind::UserReport => Self::UserReport,
            ItemKind::Transaction => Self::Transaction,
            ItemKind::Attachment => Self::Attachment,
            ItemKind::Profile | ItemKind::ProfileChunk => Self::Profile,
            ItemKind::ReplayEvent | ItemKind::ReplayRecording | ItemKind::ReplayVideo => Self::Replay,
            ItemKind::CheckIn => Self::Monitor,
            ItemKind::Log => Self::Log,
            ItemKind::Span => Self::Span,
            ItemKind::TraceMetric => Self::TraceMetric,
            ItemKind::Statsd | ItemKind::MetricBuckets => Self::MetricBucket,
            ItemKind::ClientReport | ItemKind::Unknown(_) => Self::Default,
        }
    }
}

impl From<EventKind> for Category {
    fn from(kind: EventKind) -> Self {
        match kind {
            EventKind::Error | EventKind::Default => Self::Error,
            EventKind::Csp => Self::Security,
        }
    }
}

/// How much of each category something has. Its own counts are none of it: they are given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contents(pub [(Category, u64); 4]);

impl Contents {
    #[must_use]
    pub fn of<'a>(rows: impl IntoIterator<Item = &'a Row>, sessions: usize, feedback: usize) -> Self {
        let (mut errors, mut security) = (0, 0);
        for row in rows {
            match Category::from(row.kind) {
                Category::Security => security += 1,
                _ => errors += 1,
            }
        }
        let (sessions, feedback) = (sessions as u64, feedback as u64);
        Self([
            (Category::Error, errors),
            (Category::Security, security),
            (Category::Session, sessions),
            (Category::Feedback, feedback),
        ])
    }
}

/// Why something that was sent is not in the store. A closed set: it is a label of a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OutcomeReason {
    NoRoute,
    BadProjectId,
    MissingKey,
    BadAuthentication,
    UnknownKey,
    /// A key of the project that has ended or is disabled.
    InactiveKey,
    Inactive,
    KeysUnavailable,
    ForbiddenOrigin,
    EmptyBody,
    BrokenBody,
    TooLarge,
    UnsupportedEncoding,
    CorruptEncoding,
    InvalidEnvelope,
    InvalidEvent,
    InvalidSession,
    InvalidReport,
    DuplicateItem,
    Attachment,
    UnsupportedItem,
    TooManyItems,
    KeyRateLimit,
    ProjectQuota,
    /// A filter of the project.
    Filtered(FilterReason),
    Quarantined,
    /// Not even quarantine took it.
    Rejected,
    Overloaded,
    DatabaseUnavailable,
    DatabaseRefused,
}

impl OutcomeReason {
    const PLAIN: [Self; 29] = [
        Self::NoRoute,
        Self::BadProjectId,
        Self::MissingKey,
        Self::BadAuthentication,
        Self::UnknownKey,
        Self::InactiveKey,
        Self::Inactive,
        Self::KeysUnavailable,
        Self::ForbiddenOrigin,
        Self::EmptyBody,
        Self::BrokenBody,
        Self::TooLarge,
        Self::UnsupportedEncoding,
        Self::CorruptEncoding,
        Self::InvalidEnvelope,
        Self::InvalidEvent,
        Self::InvalidSession,
        Self::InvalidReport,
        Self::DuplicateItem,
        Self::Attachment,
        Self::UnsupportedItem,
        Self::TooManyItems,
        Self::KeyRateLimit,
        Self::ProjectQuota,
        Self::Quarantined,
        Self::Rejected,
        Self::Overloaded,
        Self::DatabaseUnavailable,
        Self::DatabaseRefused,
    ];

    /// Every reason there is.
    fn all() -> impl Iterator<Item = Self> {
        Self::PLAIN.into_iter().chain(FilterReason::ALL.map(Self::Filtered))
    }

    /// The label `outcome`, which says who has to do something about it, and the label `reason`.
    fn labels(self) -> (Outcome, &'static str) {
        match self {
            Self::NoRoute => (Outcome::Refused, "no_route"),
            Self::BadProjectId => (Outcome::Refused, "bad_project_id"),
            Self::MissingKey => (Outcome::Refused, "missing_key"),
            Self::BadAuthentication => (Outcome::Refused, "bad_authentication"),
            Self::UnknownKey => (Outcome::Refused, "unknown_key"),
            Self::InactiveKey => (Outcome::Refused, "inactive_key"),
            Self::Inactive => (Outcome::Refused, "inactive_project"),
            Self::EmptyBody => (Outcome::Refused, "empty_body"),
            Self::BrokenBody => (Outcome::Refused, "broken_body"),
            Self::TooLarge => (Outcome::Refused, "too_large"),
            Self::UnsupportedEncoding => (Outcome::Refused, "unsupported_encoding"),
            Self::CorruptEncoding => (Outcome::Refused, "corrupt_encoding"),
            Self::InvalidEnvelope => (Outcome::Refused, "invalid_envelope"),
            Self::InvalidEvent => (Outcome::Refused, "invalid_event"),
            Self::InvalidSession => (Outcome::Dropped, "invalid_session"),
            Self::InvalidReport => (Outcome::Dropped, "invalid_report"),
            Self::DuplicateItem => (Outcome::Dropped, "duplicate_item"),
            Self::Attachment => (Outcome::Dropped, "attachment"),
            Self::UnsupportedItem => (Outcome::Dropped, "unsupported_item"),
            Self::TooManyItems => (Outcome::Dropped, "too_many_items"),
            Self::KeyRateLimit => (Outcome::RateLimited, ReasonCode::KeyRateLimit.name()),
            Self::ProjectQuota => (Outcome::RateLimited, ReasonCode::ProjectQuota.name()),
            Self::ForbiddenOrigin => (Outcome::Filtered, "forbidden_origin"),
            Self::Filtered(reason) => (Outcome::Filtered, reason.name()),
            Self::Quarantined => (Outcome::Quarantined, "quarantined"),
            Self::KeysUnavailable => (Outcome::Lost, "keys_unavailable"),
            Self::Rejected => (Outcome::Lost, "rejected"),
            Self::Overloaded => (Outcome::Lost, "overloaded"),
            Self::DatabaseUnavailable => (Outcome::Lost, "database_unavailable"),
            Self::DatabaseRefused => (Outcome::Lost, "database_refused"),
        }
    }

    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.labels().1
    }

    #[must_use]
    pub fn outcome(self) -> Outcome {
        self.labels().0
    }
}

/// Label `outcome` of what clients say they did not send, and label `reason` of all of it: they choose the words.
const CLIENT_DISCARD: (Outcome, &str) = (Outcome::ClientDiscard, "by_client");

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Slot {
    key: Option<PublicKey>,
    category: Cow<'static, str>,
    outcome: Outcome,
    reason: Cow<'static, str>,
}

/// The counts. Clones share them.
#[derive(Clone)]
pub struct Outcomes {
    pending: Arc<Mutex<HashMap<Slot, u64>>>,
    counter: IntCounterVec,
}

impl Outcomes {
    /// `counter` has the labels `outcome` and `reason`; every pair shows from the start, as zero.
    #[must_use]
    pub fn new(counter: IntCounterVec) -> Self {
        let labels = OutcomeReason::all().map(OutcomeReason::labels).chain([CLIENT_DISCARD]);
        for (outcome, reason) in labels {
            counter.with_label_values(&[outcome.as_str(), reason]).inc_by(0);
        }
        Self { pending: Arc::default(), counter }
    }

    /// `key` only when it is one of the project's: strangers choose theirs.
    pub fn count(&self, key: Option<&PublicKey>, category: Category, reason: OutcomeReason, quantity: u64) {
        let (outcome, reason) = reason.labels();
        self.counter.with_label_values(&[outcome.as_str(), reason]).inc_by(quantity);
        let slot = Slot { key: key.cloned(), category: category.as_str().into(), outcome, reason: reason.into() };
        self.add(slot, quantity);
    }

    /// What of a request is not kept; what is kept counts as accepted once it is stored.
    pub fn count_items(&self, key: Option<&PublicKey>, items: Vec<ItemOutcome>) {
        for ItemOutcome { category, quantity, result, .. } in items {
            match result {
                ItemResult::Kept(_) => {}
                ItemResult::NotKept(reason, _) => self.count(key, category, reason, quantity),
                ItemResult::Discarded(discarded) => self.discarded(key, discarded),
            }
        }
    }

    /// What a client reports that it did not send, or that was taken from it on the way.
    fn discarded(&self, key: Option<&PublicKey>, discarded: Discarded) {
        let (outcome, reason) = CLIENT_DISCARD;
        self.counter.with_label_values(&[outcome.as_str(), reason]).inc_by(discarded.quantity);
        let slot =
            Slot { key: key.cloned(), category: discarded.category.into(), outcome, reason: discarded.reason.into() };
        self.add(slot, discarded.quantity);
    }

    /// The counts since the last call, for the store; they start again from zero.
    #[must_use]
    pub fn take(&self, now: Timestamp) -> Vec<OutcomeRow> {
        let pending = std::mem::take(&mut *self.lock());
        let row = |(slot, quantity): (Slot, u64)| OutcomeRow {
            received_at: now,
            key: slot.key,
            category: slot.category,
            outcome: slot.outcome,
            reason: slot.reason,
            quantity,
        };
        pending.into_iter().map(row).collect()
    }

    /// Puts back what [`Self::take`] gave and the store did not take. Not counted for `/metrics` again.
    pub fn give_back(&self, rows: Vec<OutcomeRow>) {
        for OutcomeRow { key, category, outcome, reason, quantity, .. } in rows {
            self.add(Slot { key, category, outcome, reason }, quantity);
        }
    }

    fn add(&self, mut slot: Slot, quantity: u64) {
        let mut pending = self.lock();
        let is_full = |pending: &HashMap<Slot, u64>| {
            let discarded = |known: &&Slot| known.outcome == Outcome::ClientDiscard;
            pending.len() >= MAX_PENDING
                || slot.outcome == Outcome::ClientDiscard && pending.keys().filter(discarded).count() >= MAX_DISCARDED
        };
        if !pending.contains_key(&slot) && is_full(&pending) {
            slot = Slot { key: None, category: Category::Default.as_str().into(), reason: "other".into(), ..slot };
        }
        *pending.entry(slot).or_default() += quantity;
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Slot, u64>> {
        self.pending.lock()
    }
}

#[cfg(test)]
mod tests {
    use prometheus::Opts;

    use super::*;

    fn outcomes() -> (Outcomes, IntCounterVec) {
        let counter = IntCounterVec::new(Opts::new("outcomes_total", "-"), &["outcome", "reason"]).unwrap();
        (Outcomes::new(counter.clone()), counter)
    }

    fn told(outcomes: &Outcomes) -> Vec<(bool, String, &'static str, String, u64)> {
        let rows = outcomes.take(Timestamp::UNIX_EPOCH);
        let mut told: Vec<_> = rows
            .into_iter()
            .map(|row| (row.key.is_some(), row.category.into(), row.outcome.as_str(), row.reason.into(), row.quantity))
            .collect();
        told.sort();
        told
    }

    #[test]
    fn every_reason_has_a_name_of_its_own() {
        let mut names: Vec<_> = OutcomeReason::all().map(OutcomeReason::as_str).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), OutcomeReason::all().count());
    }

    #[test]
    fn counts_that_the_store_did_not_take_are_told_again() {
        let (outcomes, counter) = outcomes();
        let key = PublicKey::from_random([1; 16]);
        outcomes.count(Some(&key), Category::Session, OutcomeReason::InvalidSession, 2);
        let taken = outcomes.take(Timestamp::UNIX_EPOCH);
        assert_eq!((taken.len(), outcomes.take(Timestamp::UNIX_EPOCH).len()), (1, 0));
        outcomes.count(Some(&key), Category::Session, OutcomeReason::InvalidSession, 1);
        outcomes.count(None, Category::Error, OutcomeReason::UnknownKey, 1);
        outcomes.give_back(taken);
        let expected = [
            (false, "error".into(), "refused", "unknown_key".into(), 1),
            (true, "session".into(), "dropped", "invalid_session".into(), 3),
        ];
        assert_eq!(told(&outcomes), expected);
        assert_eq!(counter.with_label_values(&["dropped", "invalid_session"]).get(), 3, "/metrics counts each once");
    }

    #[test]
    fn clients_that_invent_reasons_take_no_memory_for_each() {
        let (outcomes, counter) = outcomes();
        for number in 0..2 * MAX_PENDING {
            let reason = format!("reason-{number}");
            let discarded = Discarded { category: "error".into(), reason, quantity: 1 };
            outcomes.discarded(None, discarded);
        }
        let told = told(&outcomes);
        assert_eq!(told.len(), MAX_DISCARDED + 1);
        assert_eq!(told.iter().map(|(.., quantity)| quantity).sum::<u64>(), 2 * MAX_PENDING as u64);
        assert_eq!(counter.with_label_values(&["client_discard", "by_client"]).get(), 2 * MAX_PENDING as u64);
    }
}
