//! Times as SDKs write them: RFC 3339, the same without a zone or with a space, or unix seconds.

use super::lenient::Lenient;
use jiff::{SignedDuration, Timestamp, civil::DateTime, tz::TimeZone};

/// A timestamp of any of the shapes, or nothing.
#[derive(Default)]
pub(in crate::protocol) struct Moment(pub(in crate::protocol) Option<Timestamp>);

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

#[cfg(test)]
mod tests {
    use super::{super::lenient::Any, *};

    fn read(json: &str) -> Option<String> {
        serde_json::from_str::<Any<Moment>>(json).unwrap().0.0.map(|moment| moment.to_string())
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
}
