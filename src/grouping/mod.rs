//! Which events are the same error: `g1`, the first version of the grouping algorithm. Pure.

use sha2::{Digest, Sha256};

use crate::protocol::event::Event;

/// Version of the algorithm that [`g1`] is; kept beside each hash.
pub const VERSION: i16 = 1;

/// What decided the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupingKind {
    /// The fingerprint the application set.
    Custom,
    Exception,
    Stacktrace,
    Csp,
    Message,
    /// Nothing that tells events apart but platform and culprit.
    Unlabeled,
}

/// Events with the same hash are the same error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grouping {
    pub hash: [u8; 32],
    pub kind: GroupingKind,
    /// What the hash was made of, for people who ask why.
    pub components: Vec<String>,
}

/// The group of `event`.
#[must_use]
pub fn g1(event: &Event) -> Grouping {
    let components = vec![event.title()];
    let hash = Sha256::digest(&components[0]).into();
    Grouping { hash, kind: GroupingKind::Unlabeled, components }
}
