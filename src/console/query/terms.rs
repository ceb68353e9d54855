//! What the terms of a query mean, by their keys.

use jiff::{SignedDuration, Timestamp, ToSpan, civil::Date, tz::TimeZone};

use super::{
    Mistake, Reader,
    scan::{Operator, Scanned, Word},
};
use crate::{
    protocol::event::Level,
    store::console::{Assignee, Bounds, Criterion, IssueState, IssueStatus, Pattern},
};

/// Keys that are not those of tags, for people.
pub const KEYS: &str =
    "is, assigned, level, environment, release, firstRelease, firstSeen, lastSeen, timesSeen and users";
const OWN_KEYS: [&str; 10] = [
    "is",
    "assigned",
    "level",
    "environment",
    "release",
    "firstRelease",
    "firstSeen",
    "lastSeen",
    "timesSeen",
    "users",
];

const LEVELS: [Level; 5] = [Level::Debug, Level::Info, Level::Warning, Level::Error, Level::Fatal];
/// An error is new for so long.
pub const NEW: SignedDuration = SignedDuration::from_hours(24);

pub fn criterion(found: &Scanned, reader: Reader<'_>) -> Result<Criterion, Mistake> {
    let Some(key) = &found.key else { return text(&found.values[0]) };
    let values = &found.values;
    let lower = key.text.to_ascii_lowercase();
    let is_compared = matches!(lower.as_str(), "timesseen" | "users" | "firstseen" | "lastseen");
    if let Some((_, column)) = found.operator.filter(|_| !is_compared) {
        let sentence = format!(
            "{} is not a number or a time: only timesSeen, users, firstSeen and lastSeen are compared.",
            key.text
        );
        return Err(Mistake::new(column, sentence));
    }
    if let Some(second) = values.get(1).filter(|_| is_compared) {
        return Err(Mistake::new(second.column, format!("{} takes one value, and not a list.", key.text)));
    }
    let operator = found.operator.map(|(operator, _)| operator);
    Ok(match lower.as_str() {
        "is" => Criterion::Is(each(values, |value| state(value, reader.now))?),
        "assigned" => Criterion::Assigned(each(values, |value| assignee(value, reader.me))?),
        "level" => Criterion::Level(each(values, level)?),
        "environment" => Criterion::Environment(patterns(values)),
        "release" => Criterion::Release(patterns(values)),
        "firstrelease" | "first-release" => Criterion::FirstRelease(patterns(values)),
        "timesseen" => Criterion::Events(number(&values[0], operator)?),
        "users" => Criterion::Users(number(&values[0], operator)?),
        "firstseen" => Criterion::FirstSeen(time(&values[0], operator, reader.now)?),
        "lastseen" => Criterion::LastSeen(time(&values[0], operator, reader.now)?),
        _ => tag(key, values)?,
    })
}

/// Our own and those of tags, as far as they begin so, in capitals or not.
pub fn keys<'t>(tags: &'t [String], start: &'t str) -> impl Iterator<Item = &'t str> {
    // Others need quotes, which a key cannot have.
    let is_plain = |key: &&str| key.chars().all(|letter| letter.is_ascii_alphanumeric() || "._-".contains(letter));
    let tags = tags.iter().map(String::as_str).filter(is_plain).filter(|key| is_tag(key));
    OWN_KEYS.into_iter().chain(tags).filter(move |key| begins(key, start))
}

#[must_use]
pub fn is_tag(key: &str) -> bool {
    !OWN_KEYS.iter().any(|own| own.eq_ignore_ascii_case(key)) && !key.eq_ignore_ascii_case("first-release")
}

/// What is often written behind a key of ours; names that are in the data are not here.
#[must_use]
pub fn usual_values(key: &str) -> &'static [&'static str] {
    match key.to_ascii_lowercase().as_str() {
        "is" => &["unresolved", "new", "regressed", "ignored", "resolved", "assigned", "unassigned"],
        "assigned" => &["me", "none"],
        "level" => &["fatal", "error", "warning", "info", "debug"],
        "firstseen" | "lastseen" => &["-1h", "-24h", "-7d", "-30d"],
        "timesseen" => &[">10", ">100", ">1000"],
        "users" => &[">1", ">10", ">100"],
        _ => &[],
    }
}

/// In capitals or not.
#[must_use]
pub fn begins(text: &str, start: &str) -> bool {
    text.get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start))
}

fn each<T>(values: &[Word], one: impl Fn(&Word) -> Result<T, Mistake>) -> Result<Vec<T>, Mistake> {
    values.iter().map(one).collect()
}

fn pattern(word: &Word) -> Pattern {
    if word.is_quoted {
        Pattern::exactly(&word.text)
    } else {
        Pattern(word.text.split('*').map(str::to_owned).collect())
    }
}

fn patterns(values: &[Word]) -> Vec<Pattern> {
    values.iter().map(pattern).collect()
}

fn text(word: &Word) -> Result<Criterion, Mistake> {
    if word.text.chars().all(|character| character.is_whitespace() || (character == '*' && !word.is_quoted)) {
        return Err(Mistake::new(word.column, "Text to look for is missing here."));
    }
    Ok(Criterion::Text(pattern(word)))
}

fn state(word: &Word, now: Timestamp) -> Result<IssueState, Mistake> {
    Ok(match word.text.as_str() {
        "unresolved" => IssueState::Status(IssueStatus::Unresolved),
        "resolved" => IssueState::Status(IssueStatus::Resolved),
        "ignored" => IssueState::Status(IssueStatus::Ignored),
        "assigned" => IssueState::Assigned,
        "unassigned" => IssueState::Unassigned,
        "new" => IssueState::New { since: earlier(now, NEW) },
        "regressed" => IssueState::Regressed,
        _ => {
            let sentence = "An error is unresolved, resolved, ignored, assigned, unassigned, new or regressed.";
            return Err(Mistake::new(word.column, sentence));
        }
    })
}

fn assignee(word: &Word, me: Option<&str>) -> Result<Assignee, Mistake> {
    Ok(match (word.text.as_str(), me) {
        ("none", _) if !word.is_quoted => Assignee::Nobody,
        ("me", Some(me)) if !word.is_quoted => Assignee::Named(Pattern::exactly(me)),
        ("me", None) if !word.is_quoted => {
            return Err(Mistake::new(word.column, "Nobody is signed in: write a name instead of \"me\"."));
        }
        _ => Assignee::Named(pattern(word)),
    })
}

fn level(word: &Word) -> Result<Level, Mistake> {
    let named = LEVELS.into_iter().find(|level| level.name() == word.text);
    named.ok_or_else(|| Mistake::new(word.column, "A level is debug, info, warning, error or fatal."))
}

/// A whole value, by the index of values; `*` for any.
fn tag(key: &Word, values: &[Word]) -> Result<Criterion, Mistake> {
    let lower = key.text.to_ascii_lowercase();
    let cure = match lower.as_str() {
        "has" => Some("To find errors that have a tag, write its name with \"*\": browser:*.".to_owned()),
        "message" | "title" | "culprit" | "error.type" | "error.value" => {
            Some("Titles, culprits, types and values of exceptions are searched by text without a key.".to_owned())
        }
        _ if lower == "user" || lower.starts_with("user.") => {
            Some("Errors are not searched by user: of users only a hash is kept with an error.".to_owned())
        }
        _ if lower.starts_with("stack.") => Some("Stack traces are not searched.".to_owned()),
        _ => None,
    };
    if let Some(sentence) = cure {
        return Err(Mistake::new(key.column, sentence));
    }
    let is_any = |word: &Word| !word.is_quoted && word.text == "*";
    if values.iter().any(is_any) {
        return Ok(Criterion::Tag { key: key.text.clone(), values: Vec::new() });
    }
    if let Some(word) = values.iter().find(|word| !word.is_quoted && word.text.contains('*')) {
        let sentence = format!(
            "Values of tags are searched as a whole. Write the whole value, or {}:* for any. A value that has a \"*\" \
             goes in quotes.",
            key.text
        );
        return Err(Mistake::new(word.column, sentence));
    }
    Ok(Criterion::Tag { key: key.text.clone(), values: values.iter().map(|word| word.text.clone()).collect() })
}

/// `to` is the first after what the value stands for.
fn bounds<T: Copy>(operator: Option<Operator>, from: T, to: T) -> Bounds<T> {
    let (from, before) = match operator {
        None => (Some(from), Some(to)),
        Some(Operator::Above) => (Some(to), None),
        Some(Operator::AtLeast) => (Some(from), None),
        Some(Operator::Below) => (None, Some(from)),
        Some(Operator::AtMost) => (None, Some(to)),
    };
    Bounds { from, before }
}

fn number(word: &Word, operator: Option<Operator>) -> Result<Bounds<i64>, Mistake> {
    let number: Option<u32> = word.text.parse().ok();
    let number = number.ok_or_else(|| Mistake::new(word.column, "A number belongs here, as in timesSeen:>100."))?;
    Ok(bounds(operator, number.into(), i64::from(number) + 1))
}

/// A day, a moment, or an age: `-24h` is since then, `+24h` until then.
fn time(word: &Word, operator: Option<Operator>, now: Timestamp) -> Result<Bounds<Timestamp>, Mistake> {
    let wrong = || {
        let sentence = "A time is an age, as -24h or +30d (m, h, d, w), a day, as 2026-11-01, or a moment, as \
                        2026-11-01T12:00:00Z, by UTC.";
        Mistake::new(word.column, sentence)
    };
    let moment = |at: Timestamp| at.checked_add(1.microsecond()).unwrap_or(at);
    let text = word.text.as_str();
    if let Some(age) = text.strip_prefix(['-', '+']) {
        let at = earlier(now, age_of(age).ok_or_else(wrong)?);
        let usual = if text.starts_with('-') { Operator::AtLeast } else { Operator::AtMost };
        return Ok(bounds(Some(operator.unwrap_or(usual)), at, moment(at)));
    }
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(bounds(operator, at, moment(at)));
    }
    // Longer texts may be days too, with something behind that would be lost.
    let day: Date = Some(text).filter(|text| text.len() == 10).and_then(|text| text.parse().ok()).ok_or_else(wrong)?;
    let start = |day: Date| day.to_zoned(TimeZone::UTC).map(|start| start.timestamp()).ok();
    let from = start(day).ok_or_else(wrong)?;
    let next = day.tomorrow().ok().and_then(start).ok_or_else(wrong)?;
    Ok(bounds(operator, from, next))
}

/// `24h`, at most a hundred years.
fn age_of(text: &str) -> Option<SignedDuration> {
    let unit = text.chars().last()?;
    let minutes = match unit {
        'm' => 1,
        'h' => 60,
        'd' => 24 * 60,
        'w' => 7 * 24 * 60,
        _ => return None,
    };
    let count: u32 = text.strip_suffix(unit)?.parse().ok()?;
    let minutes = i64::from(count).checked_mul(minutes).filter(|minutes| *minutes <= 100 * 366 * 24 * 60)?;
    Some(SignedDuration::from_mins(minutes))
}

/// The begin of a minute: what is asked for within one is the same. Saturates at the beginning of jiff's time.
#[must_use]
pub fn earlier(now: Timestamp, by: SignedDuration) -> Timestamp {
    let at = now.checked_sub(by).unwrap_or(Timestamp::MIN);
    Timestamp::from_second(at.as_second().div_euclid(60) * 60).unwrap_or(at)
}
