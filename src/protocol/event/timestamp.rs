//! Times as SDKs write them: RFC 3339, the same without a zone or with a space, or unix seconds.

use jiff::{SignedDuration, Timestamp, civil::DateTime, tz::TimeZone};
use serde::{Deserialize, Deserializer};

use super::lenient::{Any, Lenient};

/// A clock may be ahead by this much; what is later was never read from a right clock.
const MAX_AHEAD: SignedDuration = SignedDuration::from_secs(60);

/// What is older was set by a wrong clock or has been lying on a device longer than any chart shows.
const MAX_AGE: SignedDuration = SignedDuration::from_hours(90 * 24);

/// A timestamp of any of the shapes, or nothing.
#[derive(Default)]
pub(super) struct Moment(pub(super) Option<Timestamp>);

impl Lenient for Moment {
    fn from_text(text: &str) -> Self {
        Self(from_text(text.trim()))
    }

    fn from_integer(seconds: i128) -> Self {
        Self(i64::try_from(seconds).ok().and_then(|seconds| Timestamp::from_second(seconds).ok()))
    }

    fn from_float(seconds: f64) -> Self {
        // A double holds today's unix time to a quarter of a microsecond.
        let duration = SignedDuration::try_from_secs_f64(seconds).ok();
        let micros = duration.and_then(|duration| i64::try_from(duration.as_micros()).ok());
        Self(micros.and_then(|micros| Timestamp::from_microsecond(micros).ok()))
    }
}

fn from_text(text: &str) -> Option<Timestamp> {
    let without_zone = || text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok();
    text.parse().ok().or_else(|| without_zone().map(|zoned| zoned.timestamp()))
}

/// `claimed`, unless it is absent, in the future or too old: then the time of receipt.
pub(super) fn plausible(claimed: Option<Timestamp>, received_at: Timestamp) -> Timestamp {
    let believable = |claimed: &Timestamp| {
        let age = received_at.duration_since(*claimed);
        age >= -MAX_AHEAD && age <= MAX_AGE
    };
    claimed.filter(believable).unwrap_or(received_at)
}

/// For `#[serde(deserialize_with)]`: never an error for a value that is JSON.
pub(in crate::protocol) fn lenient<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    Any::<Moment>::deserialize(deserializer).map(|moment| moment.0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Option<String> {
        lenient(&mut serde_json::Deserializer::from_str(json)).unwrap().map(|moment| moment.to_string())
    }

    #[test]
    fn every_shape_of_a_timestamp_is_read() {
        for (json, expected) in [
            (r#""2026-11-22T10:00:00Z""#, Some("2026-11-22T10:00:00Z")),
            (r#""2026-11-22T12:00:00.5+02:00""#, Some("2026-11-22T10:00:00.5Z")),
            (r#""2026-11-22 10:00:00Z""#, Some("2026-11-22T10:00:00Z")),
            (r#""2026-11-22T10:00:00""#, Some("2026-11-22T10:00:00Z")),
            (r#""2026-11-22 10:00:00.123456""#, Some("2026-11-22T10:00:00.123456Z")),
            ("1795341600", Some("2026-11-22T10:00:00Z")),
            ("1795341600.25", Some("2026-11-22T10:00:00.25Z")),
            (r#""yesterday""#, None),
            ("99999999999999999", None),
            ("1e300", None),
            ("null", None),
            ("[1]", None),
        ] {
            assert_eq!(read(json).as_deref(), expected, "{json}");
        }
    }

    #[test]
    fn what_the_clock_cannot_have_shown_becomes_the_time_of_receipt() {
        let received: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
        for (claimed, expected) in [
            ("2026-11-22T10:01:00Z", "2026-11-22T10:01:00Z"),
            ("2026-11-22T10:01:01Z", "2026-11-22T10:00:00Z"),
            ("2026-08-24T10:00:00Z", "2026-08-24T10:00:00Z"),
            ("2026-08-24T09:59:59Z", "2026-11-22T10:00:00Z"),
        ] {
            assert_eq!(plausible(claimed.parse().ok(), received), expected.parse().unwrap(), "{claimed}");
        }
        assert_eq!(plausible(None, received), received);
    }
}
