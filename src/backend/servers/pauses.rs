//! How long a server asks to be left alone, read from its answer. Pure.

use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use jiff::{Timestamp, fmt::rfc2822};

/// Where a refusal does not say how long, or nothing that can be meant.
const UNTOLD: Duration = Duration::from_mins(1);
/// No server closes its door for longer.
pub(super) const LONGEST: Duration = Duration::from_hours(1);
/// What is longer cannot be meant.
const ABSURD: i64 = 24 * 60 * 60;
/// Smaller than any time since 1970 that a server may mean: seconds from now.
const EPOCH_FROM: i64 = 1_000_000_000;

/// Names of what is left and of when there is more: Sentry's, then GitLab's.
const REMAINING: [(&str, &str); 2] =
    [("x-sentry-rate-limit-remaining", "x-sentry-rate-limit-reset"), ("ratelimit-remaining", "ratelimit-reset")];

/// The pause that an answer asks for. `now` counts only for an answer that does not tell its own time: a server with a
/// wrong clock reckons by it.
pub(super) fn pause(status: StatusCode, headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let now = text(headers, header::DATE.as_str()).and_then(http_date).unwrap_or(now);
    if status == StatusCode::TOO_MANY_REQUESTS {
        let told =
            retry_after(headers, now).or_else(|| REMAINING.iter().find_map(|(_, reset)| until(headers, reset, now)));
        return Some(told.unwrap_or(UNTOLD));
    }
    let spent = |name: &str| text(headers, name).is_some_and(|left| left.trim() == "0");
    REMAINING.iter().filter(|(left, _)| spent(left)).filter_map(|(_, reset)| until(headers, reset, now)).max()
}

/// RFC 9110: seconds or a date.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let told = text(headers, header::RETRY_AFTER.as_str())?;
    match told.trim().parse::<f64>() {
        // Parts of a second are no form of the header, and are sent.
        Ok(seconds) if seconds.is_finite() => plausible(seconds.ceil()),
        _ => seconds_until(http_date(told)?, now),
    }
}

fn until(headers: &HeaderMap, name: &str, now: Timestamp) -> Option<Duration> {
    let told: i64 = text(headers, name)?.trim().parse().ok()?;
    if told < EPOCH_FROM {
        return in_seconds(told);
    }
    seconds_until(Timestamp::from_second(told).ok()?, now)
}

fn seconds_until(then: Timestamp, now: Timestamp) -> Option<Duration> {
    in_seconds(then.as_second().saturating_sub(now.as_second()))
}

#[expect(clippy::cast_possible_truncation, reason = "saturates, and what is too large is absurd either way")]
fn plausible(seconds: f64) -> Option<Duration> {
    in_seconds(seconds as i64)
}

fn in_seconds(seconds: i64) -> Option<Duration> {
    let seconds = u64::try_from(seconds).ok().filter(|_| seconds <= ABSURD)?;
    Some(Duration::from_secs(seconds).clamp(Duration::from_secs(1), LONGEST))
}

fn http_date(text: &str) -> Option<Timestamp> {
    rfc2822::DateTimeParser::new().parse_timestamp(text.trim()).ok()
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(status: u16, headers: &[(&'static str, &'static str)]) -> Option<u64> {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        // A clock that is wrong by years, which the answers' own Date overrules.
        let ours = Timestamp::from_second(1_500_000_000).unwrap();
        pause(StatusCode::from_u16(status).unwrap(), &headers, ours).map(|pause| pause.as_secs())
    }

    const DATE: (&str, &str) = ("date", "Tue, 14 Nov 2023 22:13:20 GMT"); // 1_700_000_000

    #[test]
    fn a_refusal_says_how_long_in_every_form() {
        for (case, headers, seconds) in [
            ("seconds", vec![("retry-after", "7")], 7),
            ("with blanks", vec![("retry-after", " 7 ")], 7),
            ("parts of a second", vec![("retry-after", "1.2")], 2),
            ("at once", vec![("retry-after", "0")], 1),
            ("hours", vec![("retry-after", "7200")], 3600),
            ("a date", vec![DATE, ("retry-after", "Tue, 14 Nov 2023 22:14:00 GMT")], 40),
            ("a date that is over", vec![DATE, ("retry-after", "Tue, 14 Nov 2023 22:13:00 GMT")], 60),
            ("a date by our clock", vec![("retry-after", "Fri, 14 Jul 2017 02:40:30 GMT")], 30),
            ("nothing", vec![], 60),
            ("words", vec![("retry-after", "soon")], 60),
            ("negative", vec![("retry-after", "-5")], 60),
            ("years", vec![("retry-after", "99999999999999999999999")], 60),
            ("no number", vec![("retry-after", "NaN")], 60),
            ("Sentry's reset", vec![DATE, ("x-sentry-rate-limit-reset", "1700000012")], 12),
            ("GitLab's reset", vec![DATE, ("ratelimit-reset", "1700000012")], 12),
            ("the drafts' reset", vec![("ratelimit-reset", "12")], 12),
            ("both", vec![DATE, ("retry-after", "3"), ("ratelimit-reset", "1700000012")], 3),
            ("a reset that is over", vec![DATE, ("ratelimit-reset", "1699999000")], 60),
        ] {
            assert_eq!(read(429, &headers), Some(seconds), "{case}");
        }
    }

    #[test]
    fn a_spent_allowance_is_a_pause_before_there_is_a_refusal() {
        for (case, headers, seconds) in [
            (
                "Sentry",
                vec![DATE, ("x-sentry-rate-limit-remaining", "0"), ("x-sentry-rate-limit-reset", "1700000005")],
                Some(5),
            ),
            ("GitLab", vec![DATE, ("ratelimit-remaining", "0"), ("ratelimit-reset", "1700000005")], Some(5)),
            ("something left", vec![DATE, ("ratelimit-remaining", "1"), ("ratelimit-reset", "1700000005")], None),
            ("reset is over", vec![DATE, ("ratelimit-remaining", "0"), ("ratelimit-reset", "1699999999")], None),
            ("no reset", vec![DATE, ("ratelimit-remaining", "0")], None),
            ("nothing", vec![], None),
            ("Retry-After of something else", vec![("retry-after", "7")], None),
        ] {
            assert_eq!(read(200, &headers), seconds, "{case}");
        }
    }
}
