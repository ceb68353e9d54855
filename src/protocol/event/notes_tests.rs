use jiff::Timestamp;
use proptest::prelude::*;

use super::{
    super::{Receipt, parse},
    *,
};

fn noted(payload: &str) -> Vec<String> {
    notes(payload.as_bytes()).into_iter().map(|note| format!("{}: {}", note.path, note.what)).collect()
}

#[test]
fn what_was_passed_over_is_told_with_its_place() {
    for (payload, expected) in [
        (r#"{"release":"1","level":40,"user":{"id":5},"tags":[["a",1]],"extra":{"a":[[]]},"message":5}"#, &[][..]),
        (r#"{"transaction":null,"user":null,"exception":null,"timestamp":null,"fingerprint":[null]}"#, &[]),
        (r#"{"transaction":5}"#, &["transaction: expected text, found 5"]),
        (
            r#"{"release":["1"],"user":"ann"}"#,
            &[
                "release: expected a release: at most 200 characters, no slash, not latest, found a list",
                "user: expected an object, found \"ann\"",
            ],
        ),
        (
            r#"{"release":"a/b"}"#,
            &["release: expected a release: at most 200 characters, no slash, not latest, found \"a/b\""],
        ),
        (
            r#"{"timestamp":"yesterday"}"#,
            &["timestamp: expected a time of RFC 3339 or unix seconds, found \"yesterday\""],
        ),
        (
            r#"{"event_id":"00000000000000000000000000000000"}"#,
            &["event_id: expected 32 hex digits, not all zero, found \"00000000000000000000000000000000\""],
        ),
        (
            r#"{"exception":{"values":[{"type":"E"},{"type":5,"mechanism":{"handled":"no"},
                "stacktrace":{"frames":[{"lineno":1},{"lineno":[],"colno":-1,"in_app":1,"pre_context":["a",5]}]}}]}}"#,
            &[
                "exception.values[1].type: expected text, found 5",
                "exception.values[1].mechanism.handled: expected true or false, found \"no\"",
                "exception.values[1].stacktrace.frames[1].lineno: expected a number that is not negative, found a list",
                "exception.values[1].stacktrace.frames[1].colno: expected a number that is not negative, found -1",
                "exception.values[1].stacktrace.frames[1].in_app: expected true or false, found 1",
                "exception.values[1].stacktrace.frames[1].pre_context[1]: expected text, found 5",
            ],
        ),
        (
            r#"{"exception":[5],"fingerprint":"x"}"#,
            &["exception[0]: expected an object, found 5", "fingerprint: expected a list, found \"x\""],
        ),
        (
            r#"{"exception":{"sentry.interfaces.Stacktrace":[5]},"sentry.interfaces.Threads":5,"csp":{"blocked-uri":5}}"#,
            &[
                "exception.sentry.interfaces.Stacktrace[0]: expected an object, found 5",
                "sentry.interfaces.Threads: expected a list of objects, found 5",
                "csp.blocked-uri: expected text, found 5",
            ],
        ),
        (r#"{"exception":{"type":true}}"#, &["exception.type: expected text, found true"]),
        ("[]", &[": expected an object, found a list"]),
        (r#"{"transaction":5,"#, &["transaction: expected text, found 5"]),
    ] {
        assert_eq!(noted(payload), expected, "{payload}");
    }
}

#[test]
fn the_number_of_notes_is_limited() {
    let frames = ["{\"lineno\":[]}"; 100].join(",");
    assert_eq!(noted(&format!("{{\"stacktrace\":[{frames}]}}")).len(), MAX_NOTES);
    assert_eq!(noted(&format!("{{\"extra\":{}{}}}", "[".repeat(5000), "]".repeat(5000))), [""; 0]);
}

/// The notes and the parser are two walks: what one calls unusable the other must not have used.
#[test]
fn what_is_noted_was_not_used() {
    let read =
        |payload: &str| parse(payload.as_bytes(), &Receipt::at(Timestamp::UNIX_EPOCH, EventId([1; 16]))).unwrap();
    let empty = read("{}");
    let mut count = 0;
    let names = Interface::Event.attributes().iter().flat_map(|attribute| attribute.names);
    for name in names.map(|name| std::str::from_utf8(name).unwrap()) {
        for value in
            ["5", "-1", "1.5", "true", "\"x\"", "\"a/b\"", "[5]", "[\"x\"]", "[[\"a\",\"b\"]]", "{\"a\":1}", "1e300"]
        {
            let payload = format!("{{\"{name}\":{value}}}");
            if !noted(&payload).is_empty() {
                count += 1;
                assert_eq!(read(&payload), empty, "{payload}: {:?}", noted(&payload));
            }
        }
    }
    assert!(count > 100, "{count}");
}

proptest! {
    #[test]
    fn any_bytes_have_notes_or_none(payload: Vec<u8>, text in "[\\[\\]{},:\"0-9a-e]{0,40}") {
        prop_assert!(notes(&payload).len() <= MAX_NOTES);
        let _ = (notes(text.as_bytes()), notes(format!("{{\"exception\":{text}").as_bytes()));
    }
}
