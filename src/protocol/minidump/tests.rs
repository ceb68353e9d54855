use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::protocol::event::{self, Event, EventId, Level, Receipt};

const CONTENT_TYPE: Option<&str> = Some("multipart/form-data; boundary=b");

fn form(parts: &[(&str, &[u8])]) -> Bytes {
    let mut body = Vec::new();
    for (name, text) in parts {
        body.extend(format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"f\"\r\n\r\n").bytes());
        body.extend(*text);
        body.extend(b"\r\n");
    }
    body.extend(b"--b--\r\n");
    body.into()
}

fn uploaded(parts: &[(&str, &[u8])]) -> Upload {
    let parts = [parts, &[(DUMP_FIELD, b"MDMP dump")]].concat();
    parse(CONTENT_TYPE, &form(&parts)).unwrap()
}

fn json(upload: &Upload) -> Value {
    serde_json::from_slice(&upload.event).unwrap()
}

fn event(upload: &Upload) -> Event {
    event::parse(&upload.event, &Receipt::at(Timestamp::UNIX_EPOCH, EventId([1; 16]))).unwrap()
}

#[test]
fn a_dump_alone_is_a_fatal_event() {
    for (content_type, body) in [
        (Some("application/octet-stream"), &b"MDMP dump"[..]),
        (Some("application/x-dmp"), b"PMDM dump"),
        (None, b"\x1f\x8b dump"),
    ] {
        let upload = parse(content_type, &Bytes::from_static(body)).unwrap();
        assert_eq!(upload.dump, body);
        let event = event(&upload);
        assert_eq!(
            (event.level, event.platform.as_str(), event.title().as_str()),
            (Level::Fatal, "native", "Minidump")
        );
        assert_eq!(event.main_exception().unwrap().handled, Some(false));
    }
}

#[test]
fn fields_beside_the_dump_make_the_event() {
    let native = b"\x83\xa7release\xa30.9\xa4user\x81\xa2id\x05\xa5level\xa5error";
    for (parts, expected, unreadable) in [
        (
            vec![("sentry", &br#"{"release":"1.0","tags":{"a":"1"},"level":"warning"}"#[..])],
            json!({"release": "1.0", "tags": {"a": "1"}, "level": "warning"}),
            0,
        ),
        (
            vec![
                ("sentry[release]", b"1.1"),
                ("sentry[tags][a]", b"2"),
                ("sentry[tags][b]", b"3"),
                ("sentry", br#"{"release":"1.0","tags":{"a":"1","c":"4"}}"#),
            ],
            json!({"release": "1.1", "tags": {"a": "2", "b": "3", "c": "4"}, "level": "fatal"}),
            0,
        ),
        (
            vec![("__sentry-event", &native[..]), ("sentry[release]", b"1.1")],
            json!({"release": "1.1", "user": {"id": 5}, "level": "error"}),
            0,
        ),
        (
            vec![("sentry__2", br#":"1.0"}"#), ("sentry__1", br#"{"release""#)],
            json!({"release": "1.0", "level": "fatal"}),
            0,
        ),
        (
            vec![
                ("sentry", b"[]"),
                ("__sentry-event", b"\x83"),
                ("sentry[a", b"x"),
                ("sentry[a][]", b"x"),
                ("sentry__1", b"{"),
            ],
            json!({"level": "fatal"}),
            5,
        ),
        (
            vec![("sentry", &b"{\"a\":NaN,\"b\":\"\\ud83d\xff\"}"[..])],
            json!({"a": null, "b": "\u{fffd}\u{fffd}", "level": "fatal"}),
            0,
        ),
        (vec![("sentry[a]", b"x"), ("sentry[a][b]", b"y")], json!({"a": "x", "level": "fatal"}), 1),
    ] {
        let upload = uploaded(&parts);
        let mut found = json(&upload);
        found.as_object_mut().unwrap().retain(|name, _| !matches!(name.as_str(), "platform" | "exception"));
        assert_eq!((found, upload.unreadable_parts), (expected, unreadable), "{parts:?}");
        assert_eq!(upload.dump, "MDMP dump");
    }
}

#[test]
fn an_exception_of_the_sdk_is_kept() {
    let upload = uploaded(&[("sentry", br#"{"exception":[{"type":"SIGSEGV"}],"platform":"c","message":"m"}"#)]);
    let event = event(&upload);
    assert_eq!((event.title().as_str(), event.platform.as_str()), ("SIGSEGV", "c"));
}

#[test]
fn breadcrumbs_of_both_files_are_put_in_order() {
    let one = |second: u8| [&b"\x81\xa9timestamp\xb42026-11-22T10:00:0"[..], &[b'0' + second], b"Z"].concat();
    let upload = uploaded(&[("__sentry-breadcrumb1", &[one(3), one(4)].concat()), ("__sentry-breadcrumb2", &one(1))]);
    let times: Vec<_> =
        json(&upload)["breadcrumbs"].as_array().unwrap().iter().map(|one| one["timestamp"].clone()).collect();
    assert_eq!(times, ["2026-11-22T10:00:01Z", "2026-11-22T10:00:03Z", "2026-11-22T10:00:04Z"]);
}

#[test]
fn other_parts_are_counted_and_left_out() {
    let upload = uploaded(&[("guid", b"x"), ("attachment", b"log"), ("sentryish", b"x")]);
    assert_eq!((upload.other_parts, upload.unreadable_parts), (3, 0));
    assert!(json(&upload).get("guid").is_none());
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat(MAX_BYTES));
    let upload = uploaded(&[("sentry", large.as_bytes()), ("attachment", large.as_bytes())]);
    assert_eq!((upload.other_parts, upload.unreadable_parts), (1, 1));
}

#[test]
fn what_holds_no_dump_is_refused() {
    for (content_type, body, error) in [
        (None, Bytes::new(), MinidumpError::Empty),
        (Some("application/octet-stream"), Bytes::from_static(b"nonsense"), MinidumpError::Invalid),
        (CONTENT_TYPE, form(&[("sentry", b"{}")]), MinidumpError::Missing),
        (CONTENT_TYPE, form(&[(DUMP_FIELD, b"nonsense")]), MinidumpError::Invalid),
        (CONTENT_TYPE, Bytes::from_static(b"nonsense"), MinidumpError::Multipart(MultipartError::NoBoundary)),
    ] {
        assert_eq!(parse(content_type, &body), Err(error), "{content_type:?} {body:?}");
    }
}

proptest! {
    #[test]
    fn any_fields_make_an_event(fields in proptest::collection::vec(
        (r"sentry(\[[a-c]?\]?){0,3}|sentry__[0-9]{0,11}|__sentry-(event|breadcrumb1)|[a-c]?", "[{\":,}a-c]{0,6}|\\PC{0,6}"), 0..6))
    {
        let parts: Vec<_> = fields.iter().map(|(name, text)| (name.as_str(), text.as_bytes())).collect();
        if !fields.iter().any(|(_, text)| text.contains("--b")) {
            event(&uploaded(&parts));
        }
    }
}

#[test]
fn parts_that_would_take_all_memory_are_not_read() {
    let (maps, objects) = (b"\x81\xa0\0".repeat(40_000), format!("{{\"a\":[{}0]}}", "{},".repeat(60_000)));
    let upload = uploaded(&[("__sentry-breadcrumb1", &maps), ("sentry", objects.as_bytes())]);
    assert_eq!(upload.unreadable_parts, 2);
    assert_eq!(event(&upload).title(), "Minidump");
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat(MAX_BYTES / 2));
    let upload = uploaded(&[("sentry", large.as_bytes()), ("sentry", large.as_bytes())]);
    assert_eq!(upload.unreadable_parts, 1, "together they are too long");
}
