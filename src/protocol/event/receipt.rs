//! How an event arrived: what its own JSON cannot say, and what its clock is measured against.

use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};

use super::EventId;
use crate::settings::DEFAULT_RETENTION_DAYS;

/// A clock may be ahead by this much; what is later was never read from a right clock.
const MAX_AHEAD: SignedDuration = SignedDuration::from_secs(60);

/// A clock that is off by less is close enough: time zones are wrong by an hour, networks by minutes.
const MIN_DRIFT: SignedDuration = SignedDuration::from_mins(55);

/// The circumstances of one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    pub received_at: Timestamp,
    /// Wins over the id inside the event.
    pub envelope_id: Option<EventId>,
    /// For an event that brings no id.
    pub generated_id: EventId,
    /// The client's clock when it sent, from the envelope's header.
    pub sent_at: Option<Timestamp>,
    /// Who sent the request, seen through the proxies that are trusted.
    pub client_ip: Option<IpAddr>,
    /// `User-Agent` of the request that brought the event.
    pub user_agent: Option<String>,
    /// Events older than this many days would be deleted at once.
    pub retention_days: u32,
}

impl Receipt {
    /// An event of which nothing is known but when it came.
    #[must_use]
    pub fn at(received_at: Timestamp, generated_id: EventId) -> Self {
        Self {
            received_at,
            envelope_id: None,
            generated_id,
            sent_at: None,
            client_ip: None,
            user_agent: None,
            retention_days: DEFAULT_RETENTION_DAYS,
        }
    }

    /// The time to believe: `claimed`, moved by what the client's clock is wrong; if it is absent, in the
    /// future or older than the retention, the time of receipt.
    pub(super) fn believable(&self, claimed: Option<Timestamp>) -> Timestamp {
        let drift = clock_drift(self.sent_at, self.received_at);
        let max_age = SignedDuration::from_hours(i64::from(self.retention_days) * 24);
        let corrected = claimed.and_then(|claimed| claimed.checked_add(drift).ok());
        let fits = |claimed: &Timestamp| {
            let age = self.received_at.duration_since(*claimed);
            age >= -MAX_AHEAD && age <= max_age
        };
        corrected.filter(fits).unwrap_or(self.received_at)
    }
}

/// What to add to a client's timestamps: how far its clock was behind when it sent, if that is more than
/// delays and time zones explain.
#[must_use]
pub fn clock_drift(sent_at: Option<Timestamp>, received_at: Timestamp) -> SignedDuration {
    let drift = sent_at.map(|sent_at| received_at.duration_since(sent_at)).unwrap_or_default();
    if drift.abs() >= MIN_DRIFT { drift } else { SignedDuration::ZERO }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt(sent_at: Option<&str>, retention_days: u32) -> Receipt {
        let received_at = "2026-11-22T10:00:00Z".parse().unwrap();
        let sent_at = sent_at.map(|sent_at| sent_at.parse().unwrap());
        Receipt { sent_at, retention_days, ..Receipt::at(received_at, EventId([1; 16])) }
    }

    #[test]
    fn what_the_clock_cannot_have_shown_becomes_the_time_of_receipt() {
        for (claimed, retention_days, expected) in [
            ("2026-11-22T10:01:00Z", 90, "2026-11-22T10:01:00Z"),
            ("2026-11-22T10:01:01Z", 90, "2026-11-22T10:00:00Z"),
            ("2026-08-24T10:00:00Z", 90, "2026-08-24T10:00:00Z"),
            ("2026-08-24T09:59:59Z", 90, "2026-11-22T10:00:00Z"),
            ("2026-11-21T10:00:00Z", 1, "2026-11-21T10:00:00Z"),
            ("2026-11-21T09:59:59Z", 1, "2026-11-22T10:00:00Z"),
            ("2017-01-01T00:00:00Z", 3650, "2017-01-01T00:00:00Z"),
            ("-009999-01-02T01:59:59Z", 3650, "2026-11-22T10:00:00Z"),
            ("9999-12-30T22:00:00Z", 90, "2026-11-22T10:00:00Z"),
        ] {
            let found = receipt(None, retention_days).believable(claimed.parse().ok());
            assert_eq!(found, expected.parse().unwrap(), "{claimed} {retention_days}");
        }
        assert_eq!(receipt(None, 90).believable(None), receipt(None, 90).received_at);
    }

    #[test]
    fn a_clock_that_is_off_by_an_hour_is_set_right() {
        for (sent_at, claimed, expected) in [
            // An hour behind, an hour ahead, years behind.
            ("2026-11-22T09:00:00Z", "2026-11-22T08:59:00Z", "2026-11-22T09:59:00Z"),
            ("2026-11-22T11:00:00Z", "2026-11-22T10:59:00Z", "2026-11-22T09:59:00Z"),
            ("1970-01-01T00:10:00Z", "1970-01-01T00:05:00Z", "2026-11-22T09:55:00Z"),
            // To the second.
            ("2026-11-22T09:05:00Z", "2026-11-22T09:04:00Z", "2026-11-22T09:59:00Z"),
            ("2026-11-22T09:05:01Z", "2026-11-22T09:04:00Z", "2026-11-22T09:04:00Z"),
            ("2026-11-22T10:55:00Z", "2026-11-22T10:54:00Z", "2026-11-22T09:59:00Z"),
            ("2026-11-22T10:54:59Z", "2026-11-22T10:54:00Z", "2026-11-22T10:00:00Z"),
            // Out of the calendar.
            ("-009999-01-02T01:59:59Z", "9999-12-30T22:00:00Z", "2026-11-22T10:00:00Z"),
        ] {
            let found = receipt(Some(sent_at), 90).believable(claimed.parse().ok());
            assert_eq!(found, expected.parse().unwrap(), "{sent_at} {claimed}");
        }
    }
}
