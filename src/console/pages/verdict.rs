//! Whether a project receives, in a word and in a sentence. Pure: the clock reading comes in.

use jiff::Timestamp;

use super::{
    format::{Moment, counted},
    untrusted::visible,
};
use crate::store::console::Reception;

/// A project without an event for so long is said to be silent.
const SILENT_DAYS: u64 = 3;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No event has come yet.
    Waiting,
    Receiving {
        last: Moment,
    },
    Silent {
        days: u64,
    },
    /// Some events do not get in; why.
    Dropping {
        why: String,
    },
}

impl Verdict {
    #[must_use]
    pub fn new(reception: &Reception, now: Timestamp) -> Self {
        if let Some(reason) = &reception.dropping {
            return Self::Dropping { why: why(reason) };
        }
        let Some(at) = reception.last_event else { return Self::Waiting };
        // A clock behind the database's makes it negative.
        match u64::try_from(now.duration_since(at).as_hours() / 24) {
            Ok(days) if days >= SILENT_DAYS => Self::Silent { days },
            _ => Self::Receiving { last: Moment::new(at, now) },
        }
    }

    /// `Silent 3 d`
    #[must_use]
    pub fn word(&self) -> String {
        match self {
            Self::Waiting => "Waiting".to_owned(),
            Self::Receiving { .. } => "Receiving".to_owned(),
            Self::Silent { days } => format!("Silent {days} d"),
            Self::Dropping { why } => format!("Dropping: {why}"),
        }
    }

    /// `Silent for 3 days.`
    #[must_use]
    pub fn sentence(&self) -> String {
        match self {
            Self::Waiting => "Waiting for the first event.".to_owned(),
            Self::Receiving { last } => format!("Receiving: the last event came {}.", last.relative),
            Self::Silent { days } => format!("Silent for {}.", counted(*days, "day")),
            Self::Dropping { why } => format!("Dropping: {why}."),
        }
    }

    /// Class of its colour.
    #[must_use]
    pub fn class(&self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Receiving { .. } => "receiving",
            Self::Silent { .. } => "silent",
            Self::Dropping { .. } => "dropping",
        }
    }
}

fn why(reason: &str) -> String {
    match reason {
        "project_quota" => "quota".to_owned(),
        "key_rate_limit" => "rate limit of a key".to_owned(),
        "database_unavailable" | "database_refused" => "database away".to_owned(),
        "overloaded" => "too many at once".to_owned(),
        other => visible(&other.replace('_', " ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_has_one_word_for_how_it_is() {
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        for (last, dropping, word, sentence) in [
            (None, None, "Waiting", "Waiting for the first event."),
            (Some("2026-11-22T11:55:00Z"), None, "Receiving", "Receiving: the last event came 5 min ago."),
            (Some("2026-11-19T12:00:01Z"), None, "Receiving", "Receiving: the last event came 2 days ago."),
            (Some("2026-11-19T12:00:00Z"), None, "Silent 3 d", "Silent for 3 days."),
            // A clock ahead of ours.
            (Some("2026-11-23T12:00:00Z"), None, "Receiving", "Receiving: the last event came just now."),
            (None, Some("project_quota"), "Dropping: quota", "Dropping: quota."),
            (
                Some("2026-11-22T11:55:00Z"),
                Some("key_rate_limit"),
                "Dropping: rate limit of a key",
                "Dropping: rate limit of a key.",
            ),
            (None, Some("of_later"), "Dropping: of later", "Dropping: of later."),
        ] {
            let last_event = last.map(|at| at.parse().unwrap());
            let verdict = Verdict::new(&Reception { last_event, dropping: dropping.map(str::to_owned) }, now);
            assert_eq!((verdict.word().as_str(), verdict.sentence().as_str()), (word, sentence));
        }
    }
}
