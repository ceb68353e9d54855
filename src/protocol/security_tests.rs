use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::protocol::event::{self, Event, EventId, Level, Receipt};

const JSON: Option<&str> = Some("application/csp-report");

fn parsed(body: &str) -> Reports {
    parse(JSON, body.as_bytes(), &Request::default()).unwrap_or_else(|error| panic!("{body}: {error}"))
}

fn event(payload: &[u8]) -> Event {
    event::parse(payload, &Receipt::at(Timestamp::UNIX_EPOCH, EventId([1; 16]))).unwrap()
}

#[test]
fn both_spellings_of_a_report_become_the_same_event() {
    let old = r#"{"csp-report":{"document-uri":"https://shop.example/cart","referrer":"https://search.example/",
        "blocked-uri":"https://cdn.example/a.js","violated-directive":"script-src 'self'","original-policy":"script-src 'self'",
        "effective-directive":"script-src","disposition":"enforce","status-code":200,"line-number":"7","column-number":3,
        "source-file":"https://shop.example/app.js","script-sample":"eval(","unknown":[1]}}"#;
    let new = r#"[{"type":"csp-violation","age":5,"url":"https://shop.example/cart","user_agent":"Firefox/1","body":{
        "documentURL":"https://shop.example/cart","referrer":"https://search.example/","blockedURL":"https://cdn.example/a.js",
        "violatedDirective":"script-src 'self'","effectiveDirective":"script-src","originalPolicy":"script-src 'self'",
        "disposition":"enforce","statusCode":200,"lineNumber":7,"columnNumber":3,"sourceFile":"https://shop.example/app.js",
        "sample":"eval("}}]"#;
    let request =
        Request { release: Some("1.4"), environment: Some("production"), user_agent: Some("Firefox/1"), referer: None };
    let of = |body: &str| {
        let reports = parse(JSON, body.as_bytes(), &request).unwrap();
        assert_eq!((reports.events.len(), reports.skipped), (1, vec![]));
        serde_json::from_slice::<Value>(&reports.events[0]).unwrap()
    };
    let expected = json!({
        "type": "csp", "logger": "csp", "level": "warning", "platform": "javascript", "release": "1.4", "environment": "production",
        "csp": {
            "document_uri": "https://shop.example/cart", "referrer": "https://search.example/", "blocked_uri": "https://cdn.example/a.js",
            "violated_directive": "script-src 'self'", "effective_directive": "script-src", "original_policy": "script-src 'self'",
            "disposition": "enforce", "source_file": "https://shop.example/app.js", "script_sample": "eval(", "status_code": 200,
            "line_number": 7, "column_number": 3,
        },
        "request": {"url": "https://shop.example/cart", "headers": [["User-Agent", "Firefox/1"], ["Referer", "https://search.example/"]]},
        "tags": {"effective-directive": "script-src", "blocked-uri": "https://cdn.example/a.js"},
    });
    assert_eq!(of(old), expected);
    assert_eq!(of(new), expected);
}

#[test]
fn a_report_is_an_event_with_a_title() {
    let reports = parsed(
        r#"{"csp-report":{"violated-directive":"img-src 'self'","blocked-uri":"https://cdn.example/a.png","document-uri":"https://h/x?y=1"}}"#,
    );
    let event = event(&reports.events[0]);
    assert_eq!((event.title().as_str(), event.kind()), ("Blocked 'img-src' from 'cdn.example'", "csp"));
    assert_eq!((event.level, event.logger.as_deref()), (Level::Warning, Some("csp")));
    assert_eq!(event.request_url.as_deref(), Some("https://h/x"));
    let tags: Vec<_> = event.tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(
        tags,
        ["blocked-uri=https://cdn.example/a.png", "effective-directive=img-src", "url=https://h/x", "logger=csp"]
    );
}

#[test]
fn what_the_report_does_not_say_the_request_does() {
    let request =
        Request { user_agent: Some("Firefox/1"), referer: Some("https://shop.example/"), ..Request::default() };
    let body = br#"[{"type":"csp-violation","url":"https://h/x","body":{"effectiveDirective":"img-src"}}]"#;
    let event = event(&parse(JSON, body, &request).unwrap().events[0]);
    assert_eq!((event.request_url.as_deref(), event.user_agent.as_deref()), (Some("https://h/x"), Some("Firefox/1")));
}

#[test]
fn text_that_was_cut_off_in_a_character_is_mended() {
    let body = b"{\"csp-report\":{\"script-sample\":\"alert('\\ud83d\",\"document-uri\":\"https://h/\xff\"}}";
    let reports = parse(JSON, body, &Request::default()).unwrap();
    let csp = &serde_json::from_slice::<Value>(&reports.events[0]).unwrap()["csp"];
    assert_eq!(*csp, json!({"script_sample": "alert('\u{fffd}", "document_uri": "https://h/\u{fffd}"}));
}

#[test]
fn other_kinds_are_counted() {
    let violation = r#"{"type":"csp-violation","body":{"effectiveDirective":"img-src"}}"#;
    let many = format!("[{}]", [violation; MAX_EVENTS + 3].join(","));
    for (body, events, skipped) in [
        ("[]", 0, &[][..]),
        (&many, MAX_EVENTS, &[(Kind::TooMany, 3)]),
        (violation, 1, &[]),
        (
            r#"[{"type":"deprecation","body":{}},{"type":"crash"},{"type":"deprecation"},{"type":"intervention"},{"type":"network-error"}]"#,
            0,
            &[(Kind::Deprecation, 2), (Kind::Crash, 1), (Kind::Intervention, 1), (Kind::NetworkError, 1)],
        ),
        (r#"[{"type":"tomorrow"},5,null,{},{"type":"csp-violation","body":5}]"#, 0, &[(Kind::Other, 5)]),
    ] {
        let reports = parsed(body);
        assert_eq!((reports.events.len(), &*reports.skipped), (events, skipped), "{body}");
    }
}

#[test]
fn what_is_no_report_is_refused() {
    for (content_type, body, expected) in [
        (None, "{}", "invalid content type for a security report"),
        (Some("text/plain"), r#"{"csp-report":{}}"#, "invalid content type for a security report"),
        (JSON, " ", "empty request body"),
        (JSON, "{", "invalid JSON data"),
        (JSON, "{}x", "invalid JSON data"),
        (JSON, "{}", "not a security report"),
        (JSON, "5", "not a security report"),
        (JSON, r#"{"csp-report":5}"#, "not a security report"),
        (JSON, r#"{"expect-ct-report":{}}"#, "unsupported security report type expect-ct"),
        (JSON, r#"{"expect-staple-report":{}}"#, "unsupported security report type expect-staple"),
        (JSON, r#"{"known-pins":[],"hostname":"h"}"#, "unsupported security report type hpkp"),
    ] {
        let error = parse(content_type, body.as_bytes(), &Request::default()).unwrap_err();
        assert_eq!(error.to_string(), expected, "{content_type:?} {body}");
    }
    for content_type in ["application/json", "application/JSON; charset=utf-8", "application/reports+json"] {
        assert!(parse(Some(content_type), b"[]", &Request::default()).is_ok(), "{content_type}");
    }
}

#[test]
fn network_errors_are_counted() {
    for (body, count) in [
        ("[]", Some(0)),
        (r#"[{"type":"network-error","body":{}},{"type":"network-error"},5]"#, Some(3)),
        (r#"{"type":"network-error","body":{}}"#, Some(1)),
        ("{}", None),
        ("", None),
        ("nonsense", None),
    ] {
        assert_eq!(network_errors(body.as_bytes()).ok(), count, "{body}");
    }
}

proptest! {
    #[test]
    fn any_body_is_read_or_refused(body: Vec<u8>, text in r#"[\[{]("type"|"csp-report"|"body"|"csp-violation"|[:,{}\[\]0-9]){0,12}[\]}]?"#) {
        for body in [&body, text.as_bytes()] {
            if let Ok(reports) = parse(JSON, body, &Request::default()) {
                prop_assert!(reports.events.len() <= MAX_EVENTS);
                reports.events.iter().for_each(|payload| { event(payload); });
            }
            let _ = network_errors(body);
        }
    }
}
