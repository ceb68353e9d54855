//! What clients threw away themselves: the only trace of events that were never sent. The words are the SDKs' own
//! (<https://develop.sentry.dev/sdk/telemetry/client-reports/>), bounded here because they become rows.

use serde::de::{MapAccess, SeqAccess};

use super::{
    event::{
        lenient::{Any, Attributes, Lenient, Object, assign, skip, value},
        text::Text,
    },
    item::{self, Count, Unreadable},
};

/// Longest item in bytes.
pub const MAX_BYTES: usize = item::MAX_BYTES;

/// Pairs of category and reason that one report tells apart; what comes after them is [`OTHER`].
pub const MAX_ENTRIES: usize = 100;

/// Category and reason of what is one too many.
pub const OTHER: &str = "other";

/// Longest category or reason, in characters.
const MAX_CHARS: usize = 64;

/// Category or reason that a report does not name.
const UNKNOWN: &str = "unknown";

/// How many of a kind the client discarded, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discarded {
    /// As `error`, `transaction`, `session`.
    pub category: String,
    /// As `queue_overflow`, `before_send`, `ratelimit_backoff`.
    pub reason: String,
    pub quantity: u64,
}

/// Why nothing of a report is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientReportError {
    #[error("a client report is longer than {MAX_BYTES} bytes")]
    TooLarge,
    #[error("a client report must be a JSON object")]
    InvalidJson,
}

impl From<Unreadable> for ClientReportError {
    fn from(unreadable: Unreadable) -> Self {
        match unreadable {
            Unreadable::TooLarge => Self::TooLarge,
            Unreadable::InvalidJson | Unreadable::NotAnObject => Self::InvalidJson,
        }
    }
}

/// Reads an item `client_report`: at most [`MAX_ENTRIES`] pairs and one for the rest, in their first order, each
/// once and none of zero. The letters of both words are ASCII letters, digits and `_.:-`.
pub fn parse(payload: &[u8]) -> Result<Vec<Discarded>, ClientReportError> {
    let report: Report = item::read(payload)?;
    Ok(report.entries.0)
}

#[derive(Default)]
struct Report {
    entries: Entries,
}

impl Attributes for Report {
    fn read<'de, A: MapAccess<'de>>(&mut self, name: &str, object: &mut A) -> Result<(), A::Error> {
        match name {
            // The last three come from relays in front of us, which drop as clients do.
            "discarded_events" | "rate_limited_events" | "filtered_events" | "filtered_sampling_events" => {
                for entry in value::<Entries, A>(object)?.0 {
                    self.entries.add(entry);
                }
            }
            _ => skip(object)?,
        }
        Ok(())
    }
}

#[derive(Default)]
struct Entries(Vec<Discarded>);

impl Entries {
    fn add(&mut self, mut entry: Discarded) {
        let known = |entries: &mut Vec<Discarded>, entry: &Discarded| {
            let same = |other: &&mut Discarded| other.category == entry.category && other.reason == entry.reason;
            entries.iter_mut().find(same).map(|known| known.quantity += entry.quantity).is_some()
        };
        if entry.quantity == 0 || known(&mut self.0, &entry) {
            return;
        }
        if self.0.len() >= MAX_ENTRIES {
            (entry.category, entry.reason) = (OTHER.to_owned(), OTHER.to_owned());
            if known(&mut self.0, &entry) {
                return;
            }
        }
        self.0.push(entry);
    }
}

impl Lenient for Entries {
    fn from_list<'de, A: SeqAccess<'de>>(mut list: A) -> Result<Self, A::Error> {
        let mut entries = Self::default();
        while let Some(Any(Object(entry))) = list.next_element::<Any<Object<DiscardedDraft>>>()? {
            if let Some(DiscardedDraft { category, reason, quantity }) = entry {
                let (category, reason) = (word(category.as_deref()), word(reason.as_deref()));
                entries.add(Discarded { category, reason, quantity: u64::from(quantity.0) });
            }
        }
        Ok(entries)
    }
}

#[derive(Default)]
struct DiscardedDraft {
    category: Option<String>,
    reason: Option<String>,
    quantity: Count,
}

impl Attributes for DiscardedDraft {
    fn read<'de, A: MapAccess<'de>>(&mut self, name: &str, object: &mut A) -> Result<(), A::Error> {
        match name {
            "category" => assign(&mut self.category, value::<Text<MAX_CHARS>, A>(object)?.0),
            "reason" => assign(&mut self.reason, value::<Text<MAX_CHARS>, A>(object)?.0),
            "quantity" => self.quantity = value(object)?,
            _ => skip(object)?,
        }
        Ok(())
    }
}

fn word(text: Option<&str>) -> String {
    let safe = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | '.' | ':' | '-');
    match text.map(str::trim) {
        None | Some("") => UNKNOWN.to_owned(),
        Some(text) => text.chars().map(|character| if safe(character) { character } else { '_' }).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(json: &str) -> Vec<(String, String, u64)> {
        let entries = parse(json.as_bytes()).unwrap().into_iter();
        entries.map(|entry| (entry.category, entry.reason, entry.quantity)).collect()
    }

    #[test]
    fn what_was_discarded_is_read_from_every_list() {
        let json = r#"{"timestamp":1795341600,"discarded_events":[
            {"reason":"queue_overflow","category":"error","quantity":23},
            {"reason":"sample_rate","category":"transaction","quantity":"7"},
            {"reason":"queue_overflow","category":"error","quantity":2}],
            "rate_limited_events":[{"reason":"key_quota","category":"error","quantity":1}],
            "filtered_events":[{"reason":"error-message","category":"error","quantity":4}],
            "filtered_sampling_events":[{"reason":"Sampled:1","category":"transaction","quantity":5}]}"#;
        let expected = [
            ("error", "queue_overflow", 25),
            ("transaction", "sample_rate", 7),
            ("error", "key_quota", 1),
            ("error", "error-message", 4),
            ("transaction", "Sampled:1", 5),
        ];
        assert_eq!(parsed(json), expected.map(|(category, reason, n)| (category.to_owned(), reason.to_owned(), n)));
    }

    #[test]
    fn odd_words_and_quantities_do_no_harm() {
        let one = |entry: &str| parsed(&format!(r#"{{"discarded_events":[{entry}]}}"#));
        for (entry, expected) in [
            (r#"{"reason":"a b\n<c>","category":"ä"}"#.to_owned(), None),
            (r#"{"reason":"a b\n<c>","category":"ä","quantity":1}"#.to_owned(), Some(("_", "a_b__c_"))),
            (r#"{"reason":null,"category":["error"],"quantity":1}"#.to_owned(), Some(("unknown", "unknown"))),
            (r#"{"reason":" ","category":7,"quantity":1}"#.to_owned(), Some(("7", "unknown"))),
            (r#"{"reason":"a\u0000b","category":"error","quantity":1}"#.to_owned(), Some(("error", "ab"))),
            (r#"{"reason":"a","category":"error","quantity":-1}"#.to_owned(), None),
            (r#"{"reason":"a","category":"error","quantity":{}}"#.to_owned(), None),
            ("null".to_owned(), None),
            ("[1]".to_owned(), None),
        ] {
            let expected = expected.map(|(category, reason)| (category.to_owned(), reason.to_owned(), 1));
            assert_eq!(one(&entry), Vec::from_iter(expected), "{entry}");
        }
        let long = one(&format!(r#"{{"reason":"{}","category":"error","quantity":1}}"#, "r".repeat(5000)));
        assert_eq!(long[0].1.len(), MAX_CHARS);
        let most = one(r#"{"reason":"a","category":"error","quantity":1e12}"#);
        assert_eq!(most[0].2, u64::from(u32::MAX));
    }

    #[test]
    fn the_number_of_entries_is_bounded_and_their_sum_is_kept() {
        let entries: Vec<_> =
            (0..5000).map(|n| format!(r#"{{"reason":"r{n}","category":"error","quantity":2}}"#)).collect();
        let counted = parsed(&format!(r#"{{"discarded_events":[{}]}}"#, entries.join(",")));
        assert_eq!(counted.len(), MAX_ENTRIES + 1);
        assert_eq!(counted[MAX_ENTRIES].1, OTHER);
        assert_eq!(counted.iter().map(|(.., quantity)| quantity).sum::<u64>(), 10_000);
    }

    #[test]
    fn what_is_no_report_is_refused() {
        for (payload, expected) in [
            ("", Err(ClientReportError::InvalidJson)),
            ("[]", Err(ClientReportError::InvalidJson)),
            ("{\"discarded_events\":", Err(ClientReportError::InvalidJson)),
            ("{}", Ok(Vec::new())),
            ("{\"discarded_events\":{\"reason\":\"a\",\"quantity\":1}}", Ok(Vec::new())),
        ] {
            assert_eq!(parse(payload.as_bytes()), expected, "{payload}");
        }
        assert_eq!(parse(&vec![b' '; MAX_BYTES + 1]), Err(ClientReportError::TooLarge));
    }
}
