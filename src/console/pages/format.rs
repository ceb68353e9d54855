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

/// `5 older frames are in the raw JSON.`, from `older frame`; nothing for none.
#[must_use]
pub fn in_raw_json(number: usize, singular: &str) -> Option<String> {
    let are = if number == 1 { "is" } else { "are" };
    (number > 0).then(|| format!("{} {are} in the raw JSON.", counted(number as u64, singular)))
}

/// What stands below a text of which only the first characters are shown, where that is so.
#[must_use]
pub fn cut_note(shown: usize, all: usize) -> Option<String> {
    let numbers = || (count(shown as u64), count(all as u64));
    (shown < all)
        .then(numbers)
        .map(|(shown, all)| format!("The first {shown} of {all} characters; the raw JSON has all."))
}

/// What stands below a text that fills all of `limit`: whatever came after was not kept.
#[must_use]
pub fn full(text: Option<&str>, limit: usize) -> Option<String> {
    let is_full = text?.chars().count() >= limit;
    is_full.then(|| format!("The first {} characters; the raw JSON has all.", count(limit as u64)))
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

    #[test]
    fn what_is_left_out_is_told_in_numbers() {
        assert_eq!(in_raw_json(0, "older frame"), None);
        assert_eq!(in_raw_json(1, "older frame").unwrap(), "1 older frame is in the raw JSON.");
        assert_eq!(in_raw_json(1300, "older frame").unwrap(), "1,300 older frames are in the raw JSON.");
        assert_eq!(cut_note(200, 200), None);
        assert_eq!(cut_note(200, 1234).unwrap(), "The first 200 of 1,234 characters; the raw JSON has all.");
    }
}
