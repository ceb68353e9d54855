//! What is run, and what must be true whatever the input is. A target panics when something is not.

mod credentials;
mod encoding;
mod envelope;
mod event;
mod grouping;
mod minidump;
mod reports;
mod scrub;
mod security;

use error_tracking_operator::protocol::event::{EventId, Receipt};

use crate::seeds;

pub struct Target {
    /// One word without a dash: files of its inputs begin with it.
    pub name: &'static str,
    pub seeds: fn() -> Vec<Vec<u8>>,
    pub check: fn(&[u8]),
}

pub const ALL: &[Target] = &[
    Target { name: "envelope", seeds: seeds::envelopes, check: envelope::check },
    Target { name: "event", seeds: seeds::events, check: event::check },
    Target { name: "scrub", seeds: seeds::events, check: scrub::check },
    Target { name: "secrets", seeds: seeds::events, check: scrub::check_planted },
    Target { name: "grouping", seeds: seeds::events, check: grouping::check },
    Target { name: "store", seeds: seeds::store_bodies, check: encoding::check_store },
    Target { name: "encoding", seeds: seeds::encoded, check: encoding::check },
    Target { name: "reports", seeds: seeds::reports, check: reports::check },
    Target { name: "security", seeds: seeds::security, check: security::check },
    Target { name: "minidump", seeds: seeds::minidumps, check: minidump::check },
    Target { name: "credentials", seeds: seeds::credentials, check: credentials::check },
    Target { name: "patterns", seeds: seeds::patterns, check: credentials::check_patterns },
    Target { name: "filters", seeds: seeds::events, check: grouping::check_filters },
];

pub fn named(name: &str) -> Option<&'static Target> {
    ALL.iter().find(|target| target.name == name)
}

/// 2026-11-22, when nothing else is known.
fn receipt() -> Receipt {
    Receipt::at("2026-11-22T10:00:00Z".parse().unwrap(), EventId([7; 16]))
}

/// Whether `part` lies inside of `whole` and was not copied.
fn is_slice_of(part: &[u8], whole: &[u8]) -> bool {
    part.is_empty()
        || whole.as_ptr_range().start <= part.as_ptr() && part.as_ptr_range().end <= whole.as_ptr_range().end
}
