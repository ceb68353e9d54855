//! What became of each item of a request: what ingest counts, and what `decode` prints.

use std::ops::Range;

use crate::{
    ingest::{
        outcomes::{Category, OutcomeReason},
        refusal::Refusal,
    },
    protocol::{
        client_report::{ClientReportError, Discarded},
        session::SessionError,
        user_report::UserReportError,
    },
};

/// One item, or a part of one.
#[derive(Debug)]
pub struct ItemOutcome {
    /// Its place in the envelope, from 0. What comes without an envelope is one item.
    pub item: usize,
    pub category: Category,
    pub quantity: u64,
    pub result: ItemResult,
}

#[derive(Debug)]
pub enum ItemResult {
    /// These of the unit's rows, in the list of the category.
    Kept(Range<usize>),
    NotKept(OutcomeReason, Option<Cause>),
    /// The client says that it did not send this.
    Discarded(Discarded),
}

/// What is behind a reason, in the words of the room that said no.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error(transparent)]
    ClientReport(#[from] ClientReportError),
    #[error(transparent)]
    UserReport(#[from] UserReportError),
    /// An event; alone in its request, it is what the request is refused with.
    #[error("{}", .0.explained())]
    Event(#[from] Refusal),
}
