//! Why the events of an error are one: what counted of the one that is shown.

use super::{format::in_raw_json, untrusted::visible};
use crate::{
    grouping::{self, GroupingKind, Part},
    protocol::event::Event,
};

/// Parts beyond are in the raw JSON for whoever needs them.
const MAX_PARTS: usize = 100;
const MAX_PART_CHARS: usize = 200;

#[derive(Debug)]
pub struct GroupedView {
    pub summary: &'static str,
    pub parts: Vec<PartView>,
    pub omitted: Option<String>,
}

#[derive(Debug)]
pub struct PartView {
    pub what: String,
    pub counts: bool,
    pub why: String,
}

impl GroupedView {
    /// As the newest grouping sees `event`. An error that is older keeps the events that an older one gave it.
    #[must_use]
    pub fn new(event: &Event) -> Self {
        let (grouping, parts) = grouping::explain(event);
        let omitted = in_raw_json(parts.len().saturating_sub(MAX_PARTS), "more part");
        let parts = parts.iter().take(MAX_PARTS).map(PartView::from).collect();
        Self { summary: summary(grouping.kind), parts, omitted }
    }
}

impl From<&Part> for PartView {
    fn from(Part { what, counts, why }: &Part) -> Self {
        let what: String = what.chars().take(MAX_PART_CHARS).collect();
        Self { what: visible(&what), counts: *counts, why: visible(why) }
    }
}

fn summary(kind: GroupingKind) -> &'static str {
    match kind {
        GroupingKind::Custom => "They have the same fingerprint, which the application sets.",
        GroupingKind::Exception => "They have exceptions of the same types, raised in the same calls.",
        GroupingKind::Stacktrace => "They have the same calls.",
        GroupingKind::Csp => "They break the same directive of a page's policy by the same source.",
        GroupingKind::Message => "They have the same message, but for numbers, ids and names in it.",
        GroupingKind::Unlabeled => "They say nothing of themselves but where they happened.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::event::{EventId, Receipt, parse};

    fn grouped(event: &str) -> GroupedView {
        let receipt = Receipt::at("2026-11-22T10:00:00Z".parse().unwrap(), EventId([1; 16]));
        GroupedView::new(&parse(event.as_bytes(), &receipt).unwrap())
    }

    #[test]
    fn every_kind_says_why() {
        for (event, expected) in [
            (r#"{"fingerprint":["pay"]}"#, "fingerprint"),
            (r#"{"exception":{"type":"KeyError","value":"x"}}"#, "exceptions"),
            (r#"{"stacktrace":{"frames":[{"function":"pay"}]}}"#, "calls"),
            (r#"{"csp":{"effective_directive":"img-src","blocked_uri":"https://a/"}}"#, "directive"),
            (r#"{"message":"order 5 failed"}"#, "message"),
            ("{}", "nothing"),
        ] {
            let grouped = grouped(event);
            assert!(grouped.summary.contains(expected), "{event} {grouped:?}");
            assert!(grouped.parts.iter().any(|part| part.counts), "{event} {grouped:?}");
        }
    }

    #[test]
    fn long_lists_and_texts_are_cut() {
        let frame = |number| format!(r#"{{"module":"{}{number}","function":"f"}}"#, "m".repeat(300));
        let frames: Vec<String> = (0..300).map(frame).collect();
        let grouped = grouped(&format!(r#"{{"stacktrace":{{"frames":[{}]}}}}"#, frames.join(",")));
        assert!(grouped.parts.len() == MAX_PARTS && grouped.omitted.is_some(), "{:?}", grouped.omitted);
        assert!(grouped.parts.iter().all(|part| part.what.chars().count() <= MAX_PART_CHARS));
    }
}
