use proptest::prelude::*;

use super::*;
use crate::{
    protocol::event::Level,
    store::console::{Assignee, Bounds, IssueState, IssueStatus, Pattern},
};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn reader() -> Reader<'static> {
    Reader { me: Some("ada"), now: at("2026-11-22T14:20:00Z") }
}

fn parsed(text: &str) -> Vec<(bool, Criterion)> {
    let query = parse(text, reader()).unwrap_or_else(|mistake| panic!("{text:?}: {mistake:?}"));
    query.parts.into_iter().map(|part| (part.term.is_negated, part.term.criterion)).collect()
}

fn glob(pieces: &[&str]) -> Pattern {
    Pattern(pieces.iter().map(|piece| (*piece).to_owned()).collect())
}

fn tag(key: &str, values: &[&str]) -> Criterion {
    Criterion::Tag { key: key.to_owned(), values: values.iter().map(|value| (*value).to_owned()).collect() }
}

#[test]
fn each_term_means_one_thing() {
    let exactly = Pattern::exactly;
    let from = |from: &str| Bounds { from: Some(at(from)), before: None };
    let before = |before: &str| Bounds { from: None, before: Some(at(before)) };
    for (text, criterion) in [
        ("is:unresolved", Criterion::Is(vec![IssueState::Status(IssueStatus::Unresolved)])),
        ("is:[resolved,ignored]", {
            Criterion::Is(vec![IssueState::Status(IssueStatus::Resolved), IssueState::Status(IssueStatus::Ignored)])
        }),
        ("is:assigned", Criterion::Is(vec![IssueState::Assigned])),
        ("is:unassigned", Criterion::Is(vec![IssueState::Unassigned])),
        ("is:regressed", Criterion::Is(vec![IssueState::Regressed])),
        ("is:new", Criterion::Is(vec![IssueState::New { since: at("2026-11-21T14:20:00Z") }])),
        ("assigned:me", Criterion::Assigned(vec![Assignee::Named(exactly("ada"))])),
        ("assigned:none", Criterion::Assigned(vec![Assignee::Nobody])),
        (r#"assigned:["me", bob*]"#, {
            Criterion::Assigned(vec![Assignee::Named(exactly("me")), Assignee::Named(glob(&["bob", ""]))])
        }),
        ("level:[ error , fatal ]", Criterion::Level(vec![Level::Error, Level::Fatal])),
        ("environment:prod*", Criterion::Environment(vec![glob(&["prod", ""])])),
        (r#"environment:"""#, Criterion::Environment(vec![exactly("")])),
        ("release:shop@1.2+3", Criterion::Release(vec![exactly("shop@1.2+3")])),
        ("firstRelease:1", Criterion::FirstRelease(vec![exactly("1")])),
        ("first-release:1", Criterion::FirstRelease(vec![exactly("1")])),
        ("timesSeen:7", Criterion::Events(Bounds { from: Some(7), before: Some(8) })),
        ("timesseen:>7", Criterion::Events(Bounds { from: Some(8), before: None })),
        ("users:>=7", Criterion::Users(Bounds { from: Some(7), before: None })),
        ("users:<7", Criterion::Users(Bounds { from: None, before: Some(7) })),
        ("users:<=7", Criterion::Users(Bounds { from: None, before: Some(8) })),
        ("firstSeen:-90m", Criterion::FirstSeen(from("2026-11-22T12:50:00Z"))),
        ("firstSeen:+1w", Criterion::FirstSeen(before("2026-11-15T14:20:00.000001Z"))),
        ("lastSeen:<-1d", Criterion::LastSeen(before("2026-11-21T14:20:00Z"))),
        ("lastSeen:2026-11-01", {
            Criterion::LastSeen(Bounds {
                from: Some(at("2026-11-01T00:00:00Z")),
                before: Some(at("2026-11-02T00:00:00Z")),
            })
        }),
        ("lastSeen:>2026-11-01", Criterion::LastSeen(from("2026-11-02T00:00:00Z"))),
        ("lastSeen:>=2026-11-01T12:00:00Z", Criterion::LastSeen(from("2026-11-01T12:00:00Z"))),
        ("browser:Firefox", tag("browser", &["Firefox"])),
        ("url:http://shop/a?b=c", tag("url", &["http://shop/a?b=c"])),
        (r#"browser:["Chrome Mobile", Firefox]"#, tag("browser", &["Chrome Mobile", "Firefox"])),
        ("browser:*", tag("browser", &[])),
        (r#"cart:"*""#, tag("cart", &["*"])),
        ("timeout", Criterion::Text(exactly("timeout"))),
        ("Key*plum", Criterion::Text(glob(&["Key", "plum"]))),
        (r#""KeyError: 'plum*' \"x\" \\ \n""#, Criterion::Text(exactly(r#"KeyError: 'plum*' "x" \ \n"#))),
        ("foo[0]", Criterion::Text(exactly("foo[0]"))),
        ("or", Criterion::Text(exactly("or"))),
    ] {
        assert_eq!(parsed(text), [(false, criterion.clone())], "{text}");
        assert_eq!(parsed(&format!(" !{text}\t")), [(true, criterion)], "!{text}");
    }
    assert!(parsed(" \t").is_empty());
    assert_eq!(parsed("a b:c").len(), 2);
}

#[test]
fn terms_know_where_they_stand() {
    let query = parse("  größe !is:ignored", reader()).unwrap();
    let places: Vec<_> = query.parts.iter().map(|part| (part.column, part.text.as_str())).collect();
    assert_eq!(places, [(3, "größe"), (9, "!is:ignored")]);
}

#[test]
fn a_mistake_has_a_column_and_a_cure() {
    for (text, column, cure) in [
        ("a OR b", 3, "level:[error, fatal]"),
        ("a AND b", 3, "leave \"AND\" out"),
        ("is:unresolved (a b)", 15, "in parentheses"),
        ("größe()", 6, "goes in quotes"),
        ("environment:(a", 13, "in parentheses"),
        ("!", 1, "right before the term"),
        ("a ! b", 3, "right before the term"),
        ("!!a", 1, "right before the term"),
        (":a", 1, "A key is missing"),
        ("KeyError: 'plum'", 10, "goes in quotes"),
        ("level:", 7, "A value is missing"),
        (r#"a "b"#, 3, "has no end"),
        (r#"a "b\""#, 3, "has no end"),
        (r#""a"b"#, 4, "A blank belongs"),
        ("level:[error", 7, "has no end"),
        ("level:[error,", 7, "has no end"),
        ("level:[]", 8, "A value is missing"),
        ("level:[error,,fatal]", 14, "A value is missing"),
        ("level:[error fatal]", 14, "A comma belongs"),
        ("level:[error]fatal", 14, "A blank belongs"),
        ("level:[error, faatal]", 15, "debug, info, warning, error or fatal"),
        ("is:open", 4, "unresolved, resolved, ignored"),
        ("timesSeen:many", 11, "timesSeen:>100"),
        ("timesSeen:>-1", 12, "timesSeen:>100"),
        ("timesSeen:99999999999", 11, "timesSeen:>100"),
        ("users:[1, 2]", 11, "not a list"),
        ("level:>error", 7, "only timesSeen"),
        ("firstSeen:yesterday", 11, "2026-11-01"),
        ("firstSeen:2026-11-31", 11, "2026-11-01"),
        ("firstSeen:-24", 11, "2026-11-01"),
        ("firstSeen:-99999w", 11, "2026-11-01"),
        ("firstSeen:-9h9", 11, "2026-11-01"),
        ("lastSeen:9999-12-31", 10, "2026-11-01"),
        ("a browser:Fire*", 11, "browser:* for any"),
        ("user.id:7", 1, "only a hash"),
        ("user:7", 1, "only a hash"),
        ("message:timeout", 1, "without a key"),
        ("stack.filename:a.py", 1, "not searched"),
        ("has:browser", 1, "browser:*"),
        ("*", 1, "Text to look for"),
        (r#"" ""#, 1, "Text to look for"),
    ] {
        let mistake = parse(text, reader()).expect_err(text);
        assert_eq!((mistake.column, mistake.sentence.contains(cure)), (column, true), "{text}: {mistake:?}");
    }
    let nobody = Reader { me: None, ..reader() };
    assert_eq!(parse("assigned:me", nobody).unwrap_err().column, 10);
}

#[test]
fn a_query_has_an_end() {
    let of = |text: &str| parse(text, reader()).map(|query| query.parts.len()).map_err(|mistake| mistake.column);
    assert_eq!(of(&"x".repeat(MAX_BYTES)), Ok(1));
    assert_eq!(of(&"x".repeat(MAX_BYTES + 1)), Err(1));
    assert_eq!(of(&"x ".repeat(MAX_TERMS)), Ok(20));
    assert_eq!(of(&"x ".repeat(MAX_TERMS + 1)), Err(41));
    let list = |count: usize| format!("a:[{}]", vec!["b"; count].join(","));
    assert_eq!(of(&list(MAX_VALUES)), Ok(1));
    assert_eq!(of(&list(MAX_VALUES + 1)), Err(1));
}

#[test]
fn a_term_that_we_write_is_read_as_meant() {
    for value in ["production", "", "Chrome Mobile", r#"a"b\c"#, "a*", "[x]", "(x)", ">1", "!x", "größe,1"] {
        let text = term("environment", value);
        assert_eq!(parsed(&text), [(false, Criterion::Environment(vec![Pattern::exactly(value)]))], "{text}");
    }
}

proptest! {
    #[test]
    fn no_text_is_too_strange(text in any::<String>()) {
        let _ = parse(&text, reader());
    }

    /// What is made of the grammar's own parts goes further.
    #[test]
    fn every_mistake_is_within_the_text(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "!", ":", "\"", "\\", "[", "]", ",", "(", ")", "*", ">", "<", "=", " ", "is", "level", "error", "timesSeen",
            "firstSeen", "-24h", "2026-11-01", "7", "OR", "ß", "\u{202e}",
        ]), 0..40),
    ) {
        let text = pieces.concat();
        match parse(&text, reader()) {
            Ok(query) => for part in query.parts {
                prop_assert!(text.chars().skip(part.column - 1).collect::<String>().starts_with(&part.text));
            },
            Err(mistake) => prop_assert!((1..=text.chars().count() + 1).contains(&mistake.column)),
        }
    }
}
