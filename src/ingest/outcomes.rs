//! What became of everything that was sent to us and is not an event in the store, by reason. Counted
//! twice: for `/metrics`, and for the store, which the heartbeat tells.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use prometheus::IntCounterVec;

/// Why something that was sent is not an event in the store. A closed set: it is a label of a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    NoRoute,
    BadProjectId,
    MissingKey,
    BadAuthentication,
    UnknownKey,
    KeysUnavailable,
    EmptyBody,
    BrokenBody,
    TooLarge,
    UnsupportedEncoding,
    CorruptEncoding,
    InvalidEnvelope,
    InvalidEvent,
    DuplicateItem,
    Session,
    ClientReport,
    Attachment,
    UnsupportedItem,
    Quarantined,
    /// Not even quarantine took it.
    Rejected,
    Overloaded,
    DatabaseUnavailable,
    DatabaseRefused,
}

impl Reason {
    const ALL: [Self; 23] = [
        Self::NoRoute,
        Self::BadProjectId,
        Self::MissingKey,
        Self::BadAuthentication,
        Self::UnknownKey,
        Self::KeysUnavailable,
        Self::EmptyBody,
        Self::BrokenBody,
        Self::TooLarge,
        Self::UnsupportedEncoding,
        Self::CorruptEncoding,
        Self::InvalidEnvelope,
        Self::InvalidEvent,
        Self::DuplicateItem,
        Self::Session,
        Self::ClientReport,
        Self::Attachment,
        Self::UnsupportedItem,
        Self::Quarantined,
        Self::Rejected,
        Self::Overloaded,
        Self::DatabaseUnavailable,
        Self::DatabaseRefused,
    ];

    /// The label `reason`, and the text that the store keeps.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoRoute => "no_route",
            Self::BadProjectId => "bad_project_id",
            Self::MissingKey => "missing_key",
            Self::BadAuthentication => "bad_authentication",
            Self::UnknownKey => "unknown_key",
            Self::KeysUnavailable => "keys_unavailable",
            Self::EmptyBody => "empty_body",
            Self::BrokenBody => "broken_body",
            Self::TooLarge => "too_large",
            Self::UnsupportedEncoding => "unsupported_encoding",
            Self::CorruptEncoding => "corrupt_encoding",
            Self::InvalidEnvelope => "invalid_envelope",
            Self::InvalidEvent => "invalid_event",
            Self::DuplicateItem => "duplicate_item",
            Self::Session => "session",
            Self::ClientReport => "client_report",
            Self::Attachment => "attachment",
            Self::UnsupportedItem => "unsupported_item",
            Self::Quarantined => "quarantined",
            Self::Rejected => "rejected",
            Self::Overloaded => "overloaded",
            Self::DatabaseUnavailable => "database_unavailable",
            Self::DatabaseRefused => "database_refused",
        }
    }

    /// The label `outcome`: who has to do something about it.
    #[must_use]
    pub fn outcome(self) -> &'static str {
        match self {
            Self::NoRoute
            | Self::BadProjectId
            | Self::MissingKey
            | Self::BadAuthentication
            | Self::UnknownKey
            | Self::EmptyBody
            | Self::BrokenBody
            | Self::TooLarge
            | Self::UnsupportedEncoding
            | Self::CorruptEncoding
            | Self::InvalidEnvelope
            | Self::InvalidEvent => "refused",
            Self::DuplicateItem | Self::Session | Self::ClientReport | Self::Attachment | Self::UnsupportedItem => {
                "dropped"
            }
            Self::Quarantined => "quarantined",
            Self::KeysUnavailable
            | Self::Rejected
            | Self::Overloaded
            | Self::DatabaseUnavailable
            | Self::DatabaseRefused => "lost",
        }
    }
}

/// The counts. Clones share them.
#[derive(Clone)]
pub struct Outcomes {
    pending: Arc<[AtomicU64; Reason::ALL.len()]>,
    counter: IntCounterVec,
}

impl Outcomes {
    /// `counter` has the labels `outcome` and `reason`; every pair shows from the start, as zero.
    #[must_use]
    pub fn new(counter: IntCounterVec) -> Self {
        for reason in Reason::ALL {
            counter.with_label_values(&[reason.outcome(), reason.as_str()]).inc_by(0);
        }
        Self { pending: Arc::new([const { AtomicU64::new(0) }; Reason::ALL.len()]), counter }
    }

    pub fn count(&self, reason: Reason, quantity: u64) {
        self.counter.with_label_values(&[reason.outcome(), reason.as_str()]).inc_by(quantity);
        self.add(reason, quantity);
    }

    /// The counts since the last call, for the store; they start again from zero.
    #[must_use]
    pub fn take(&self) -> Vec<(Reason, u64)> {
        let taken = Reason::ALL.into_iter().map(|reason| (reason, self.slot(reason).swap(0, Ordering::Relaxed)));
        taken.filter(|(_, quantity)| *quantity > 0).collect()
    }

    /// Puts back what [`Self::take`] gave and the store did not take.
    pub fn give_back(&self, taken: &[(Reason, u64)]) {
        for (reason, quantity) in taken {
            self.add(*reason, *quantity);
        }
    }

    fn add(&self, reason: Reason, quantity: u64) {
        self.slot(reason).fetch_add(quantity, Ordering::Relaxed);
    }

    fn slot(&self, reason: Reason) -> &AtomicU64 {
        // `ALL` lists the variants in their order, which a test checks.
        &self.pending[reason as usize]
    }
}

#[cfg(test)]
mod tests {
    use prometheus::Opts;

    use super::*;

    #[test]
    fn reasons_are_listed_in_order_and_have_names_of_their_own() {
        let mut names: Vec<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        for (position, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, position, "{reason:?}");
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Reason::ALL.len());
    }

    #[test]
    fn counts_that_the_store_did_not_take_are_told_again() {
        let counter = IntCounterVec::new(Opts::new("outcomes_total", "-"), &["outcome", "reason"]).unwrap();
        let outcomes = Outcomes::new(counter.clone());
        outcomes.count(Reason::Session, 2);
        let taken = outcomes.take();
        assert_eq!(taken, [(Reason::Session, 2)]);
        assert_eq!(outcomes.take(), []);
        outcomes.count(Reason::Session, 1);
        outcomes.give_back(&taken);
        assert_eq!(outcomes.take(), [(Reason::Session, 3)]);
        assert_eq!(counter.with_label_values(&["dropped", "session"]).get(), 3, "/metrics counts each once");
    }
}
