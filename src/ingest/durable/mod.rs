//! Where what was accepted survives this process. A request is answered 200 when its part of a record is durable,
//! whatever that takes.
//!
//! [`Postgres`] is durable after a commit. Another place can stand before it: it takes over what Postgres has left,
//! each part under the mark that it was tried with, and lets the writer go on under a new stream.

mod postgres;

use tokio::time::Instant;

pub use self::postgres::Postgres;
use super::{
    record::{Record, Stream},
    refusal::Refusal,
};

/// A place that keeps records.
pub trait Durable: Send + 'static {
    /// Returns when every part of `record` is durable, or will not be made so here; about at `deadline`. Parts get
    /// their marks from `marks`, which `record` has its own from.
    fn keep(&self, record: Record, marks: &mut Stream, deadline: Instant) -> impl Future<Output = Kept> + Send;
}

/// What became of the units of a record.
#[derive(Debug)]
pub struct Kept {
    /// One for each unit, by its number.
    pub verdicts: Vec<Verdict>,
    /// Parts that are not durable, in the order of their marks. An attempt whose answer was lost may still be under
    /// way: under another mark, such a part could be stored twice.
    pub left: Vec<Record>,
}

/// Whether all of a unit is durable.
pub type Verdict = Result<(), NotStored>;

impl Kept {
    /// Of a record with so many units, of which nothing is known to be wrong yet.
    fn new(units: usize) -> Self {
        Self { verdicts: vec![Ok(()); units], left: Vec::new() }
    }

    /// This part is not durable, for that reason.
    fn leave(&mut self, part: Record, reason: NotStored) {
        for unit in part.units() {
            if let Some(verdict) = self.verdicts.get_mut(unit) {
                *verdict = verdict.and(Err(reason));
            }
        }
        self.left.push(part);
    }
}

/// Why what was accepted is not durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotStored {
    /// Nobody could take it in time.
    Unavailable,
    /// The database says no, to whatever is sent.
    Refused,
    /// The database does not take what was sent.
    Rejected,
}

impl From<NotStored> for Refusal {
    fn from(not_stored: NotStored) -> Self {
        match not_stored {
            NotStored::Unavailable => Self::DatabaseUnavailable,
            NotStored::Refused => Self::DatabaseRefused,
            NotStored::Rejected => Self::EventRejected,
        }
    }
}
