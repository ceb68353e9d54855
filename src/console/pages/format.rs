//! How numbers and times are written on every page. Pure: the clock reading comes in.

use jiff::Timestamp;

/// A point in time, ready for `<time datetime title>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// RFC 3339, for machines.
    pub datetime: String,
    /// `2026-11-22 14:03:09 UTC`
    pub absolute: String,
    /// `5 min ago`
    pub relative: String,
}

impl Moment {
    #[must_use]
    pub fn new(at: Timestamp, now: Timestamp) -> Self {
        Self {
            datetime: at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            absolute: at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
            relative: relative(at, now),
        }
    }
}

/// One unit is enough to decide what to look at. Clocks differ between machines, so what lies a
/// little in the future counts as now.
fn relative(at: Timestamp, now: Timestamp) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    let seconds = now.duration_since(at).as_secs();
    let ago = |count: i64, unit: &str| format!("{count} {unit}{} ago", if count == 1 { "" } else { "s" });
    match seconds {
        ..10 => "just now".to_owned(),
        10..MINUTE => format!("{seconds} s ago"),
        MINUTE..HOUR => format!("{} min ago", seconds / MINUTE),
        HOUR..DAY => format!("{} h ago", seconds / HOUR),
        _ if seconds < 60 * DAY => ago(seconds / DAY, "day"),
        _ if seconds < 730 * DAY => ago(seconds / (30 * DAY), "month"),
        _ => ago(seconds / (365 * DAY), "year"),
    }
}

/// `1234567` → `1,234,567`
#[must_use]
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// `1 event`, `2 events`
#[must_use]
pub fn counted(number: u64, singular: &str) -> String {
    format!("{} {singular}{}", count(number), if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_one_unit() {
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        for (at, relative) in [
            ("2026-11-22T12:00:30Z", "just now"),
            ("2026-11-22T11:59:55Z", "just now"),
            ("2026-11-22T11:59:18Z", "42 s ago"),
            ("2026-11-22T11:01:00Z", "59 min ago"),
            ("2026-11-22T10:59:00Z", "1 h ago"),
            ("2026-11-21T12:00:00Z", "1 day ago"),
            ("2026-10-01T12:00:00Z", "52 days ago"),
            ("2026-01-01T12:00:00Z", "10 months ago"),
            ("2023-01-01T12:00:00Z", "3 years ago"),
        ] {
            assert_eq!(Moment::new(at.parse().unwrap(), now).relative, relative, "{at}");
        }
    }

    #[test]
    fn a_moment_carries_the_exact_time_for_people_and_machines() {
        let at = "2026-11-22T09:05:07.25Z".parse().unwrap();
        let moment = Moment::new(at, at);
        assert_eq!(moment.datetime, "2026-11-22T09:05:07Z");
        assert_eq!(moment.absolute, "2026-11-22 09:05:07 UTC");
    }

    #[test]
    fn counts_are_grouped_by_thousands() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1_234_567, "1,234,567"),
            (u64::MAX, "18,446,744,073,709,551,615"),
        ] {
            assert_eq!(count(number), text);
        }
        assert_eq!(counted(1, "event"), "1 event");
        assert_eq!(counted(1200, "user"), "1,200 users");
    }
}
