use proptest::prelude::*;
use serde_json::json;

use super::{super::User, *};

const ID: &str = "9ec79c33ec9942ab8353589fcb2e04dc";

fn received_at() -> Timestamp {
    "2026-11-22T10:00:00Z".parse().unwrap()
}

fn try_parse(payload: &[u8]) -> Result<Event, EventError> {
    parse(payload, &Receipt::at(received_at(), EventId([1; 16])))
}

fn event(json: &str) -> Event {
    try_parse(json.as_bytes()).unwrap_or_else(|error| panic!("{json}: {error:?}"))
}

#[test]
fn only_what_is_no_json_object_is_refused() {
    for json in ["", "{", "{}x", "{\"a\"}", "nonsense", "{'a':1}", "\u{feff}{}", &"[".repeat(500)] {
        assert!(matches!(try_parse(json.as_bytes()), Err(EventError::InvalidJson(_))), "{json}");
    }
    for json in ["null", "5", "[]", "[{}]", "\"{}\"", "NaN"] {
        assert!(matches!(try_parse(json.as_bytes()), Err(EventError::NotAnObject)), "{json}");
    }
    assert_eq!(event("{}"), event(" \n{} \n"));
}

#[test]
fn the_size_is_limited_to_the_byte() {
    let with_length = |length: usize| format!("{{{}}}", " ".repeat(length - 2));
    assert!(try_parse(with_length(MAX_CLEANED_BYTES).as_bytes()).is_ok());
    assert!(matches!(try_parse(with_length(MAX_CLEANED_BYTES + 1).as_bytes()), Err(EventError::TooLarge(_))));
}

#[test]
fn an_attribute_of_the_wrong_type_is_as_good_as_absent() {
    let names = [
        "event_id",
        "timestamp",
        "level",
        "platform",
        "release",
        "environment",
        "transaction",
        "culprit",
        "logger",
        "server_name",
        "site",
        "logentry",
        "exception",
        "stacktrace",
        "threads",
        "csp",
        "fingerprint",
        "user",
        "request",
        "tags",
        "breadcrumbs",
        "contexts",
        "sdk",
        "type",
        "dist",
    ];
    let empty = event("{}");
    for name in names {
        for value in ["null", "[]", "{}", "[null]", "[[]]", "[{}]", "{\"a\":[{}]}", "{\"values\":{}}"] {
            assert_eq!(event(&format!("{{\"{name}\":{value}}}")), empty, "{name}: {value}");
        }
    }
    for name in
        ["environment", "transaction", "logger", "server_name", "platform", "exception", "user", "request", "tags"]
    {
        for value in ["5", "1.5", "true"] {
            assert_eq!(event(&format!("{{\"{name}\":{value}}}")), empty, "{name}: {value}");
        }
    }
}

#[test]
fn a_name_said_twice_does_not_cost_the_event() {
    let found =
        event(r#"{"release":"1","release":"2","release":null,"exception":[{"type":"A","type":"B"}],"exception":[]}"#);
    assert_eq!((found.release.as_deref(), found.exceptions[0].r#type.as_deref()), (Some("2"), Some("B")));
}

#[test]
fn the_id_is_the_envelopes_else_its_own_else_a_new_one() {
    let (envelope_id, new) = (EventId([2; 16]), EventId([3; 16]));
    let dashed = "9EC79C33-EC99-42AB-8353-589FCB2E04DC";
    for (json, envelope_id, expected) in [
        (json!({"event_id": ID}), Some(envelope_id), envelope_id.to_string()),
        (json!({"event_id": ID}), None, ID.to_owned()),
        (json!({"event_id": dashed}), None, ID.to_owned()),
        (json!({"event_id": "0".repeat(32)}), None, new.to_string()),
        (json!({"event_id": "nonsense"}), None, new.to_string()),
        (json!({"event_id": format!("{ID}0")}), None, new.to_string()),
        (json!({}), None, new.to_string()),
    ] {
        let receipt = Receipt { envelope_id, ..Receipt::at(received_at(), new) };
        let found = parse(json.to_string().as_bytes(), &receipt).unwrap();
        assert_eq!(found.event_id.to_string(), expected, "{json}");
    }
}

#[test]
fn levels_are_names_or_the_numbers_of_python() {
    for (json, level) in [
        ("\"debug\"", Level::Debug),
        ("\"info\"", Level::Info),
        ("\"log\"", Level::Info),
        ("\"warning\"", Level::Warning),
        ("\"error\"", Level::Error),
        ("\"fatal\"", Level::Fatal),
        ("\"critical\"", Level::Fatal),
        ("\"nonsense\"", Level::Error),
        ("10", Level::Debug),
        ("50", Level::Fatal),
        ("11", Level::Error),
        ("null", Level::Error),
    ] {
        assert_eq!(event(&format!("{{\"level\":{json}}}")).level, level, "{json}");
    }
}

#[test]
fn what_strict_parsers_refuse_is_read() {
    let found = try_parse(b"{\"message\":\"a\xffb\"}").unwrap();
    assert_eq!(found.title(), "a\u{fffd}b");
    assert_eq!(event(r#"{"message":"a\ud83d"}"#).title(), "a\u{fffd}");
    assert_eq!(event(r#"{"message":"\ud83d\ude00"}"#).title(), "\u{1f600}");
    assert_eq!(event(r#"{"message":"a\u0000b","release":"1\u0000"}"#).title(), "ab");
    let found = event(
        r#"{"message":"m","extra":{"a":NaN,"b":-Infinity},"exception":[{"type":"E","value":NaN}],"timestamp":1e999}"#,
    );
    assert_eq!((found.title().as_str(), found.timestamp), ("E", received_at()));
    // Deeper than serde_json goes, but in a part that nobody reads.
    assert!(try_parse(format!("{{\"extra\":{}{}}}", "[".repeat(5000), "]".repeat(5000)).as_bytes()).is_ok());
}

#[test]
fn old_names_mean_the_same() {
    let old = event(
        r#"{"sentry.interfaces.Exception":[{"type":"E","value":"v"}],"sentry.interfaces.User":{"id":5},
            "sentry.interfaces.Http":{"url":"https://h/"},"sentry.interfaces.Message":{"message":"m"},
            "sentry.interfaces.Stacktrace":{"frames":[{"function":"f"}]},"culprit":"c"}"#,
    );
    let new = event(
        r#"{"exception":{"values":[{"type":"E","value":"v","stacktrace":{"frames":[{"function":"f"}]}}]},"user":{"id":"5"},
            "request":{"url":"https://h/"},"logentry":{"formatted":"m"},"transaction":"c"}"#,
    );
    assert_eq!(old, new);
    for name in ["threads", "sentry.interfaces.Threads"] {
        let found =
            event(&format!(r#"{{"{name}":[{{"crashed":true,"stacktrace":{{"frames":[{{"function":"f"}}]}}}}]}}"#));
        assert_eq!(found.stacktrace[0].function.as_deref(), Some("f"), "{name}");
    }
}

#[test]
fn attributes_complete_each_other() {
    let found = event(
        r#"{"tags":{"environment":"staging","a":"b"},"server_name":"web-1","site":"shop","user":{},
            "request":{"env":{"REMOTE_ADDR":"10.0.0.7"}},"platform":"Python","message":"m","logentry":{"message":"l"}}"#,
    );
    assert_eq!(found.environment.as_deref(), Some("staging"));
    let tags: Vec<_> = found.tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(tags, ["a=b", "server_name=web-1", "site=shop"]);
    assert_eq!(found.user.identity().as_deref(), Some("ip:10.0.0.7"));
    assert_eq!((found.platform.as_str(), found.title().as_str()), ("python", "l"));
    assert_eq!(event(r#"{"platform":"cobol"}"#).platform, "other");
    assert_eq!(event(r#"{"environment":"e","tags":[["environment","t"]]}"#).environment.as_deref(), Some("e"));
}

#[test]
fn what_people_search_by_becomes_a_tag() {
    let found = event(
        r#"{"tags":{"os":"own","a":"b"},"dist":7,"logger":"app","transaction":"GET /cart",
            "request":{"url":"https://h/cart?x=1","headers":{"User-Agent":"Firefox/1"}},
            "contexts":{"runtime":{"name":"CPython","version":"3.12.3"},"os":{"name":"Linux","version":"6.1"},
                "browser":{"name":"Firefox","version":"128"},"device":{"family":"Mac"},"trace":{"trace_id":"1"}},
            "exception":[{"type":"A","mechanism":{"type":"chained","handled":true}},
                {"type":"B","mechanism":{"type":"django","handled":false}},{"type":"C"}]}"#,
    );
    let tags: Vec<_> = found.tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let expected = [
        "os=own",
        "a=b",
        "runtime=CPython 3.12.3",
        "runtime.name=CPython",
        "os.name=Linux",
        "browser=Firefox 128",
        "browser.name=Firefox",
        "device=Mac",
        "mechanism=django",
        "handled=no",
        "transaction=GET /cart",
        "url=https://h/cart",
        "logger=app",
        "dist=7",
    ];
    assert_eq!(tags, expected);
    assert_eq!((found.dist.as_deref(), found.user_agent.as_deref()), (Some("7"), Some("Firefox/1")));
}

#[test]
fn derived_tags_leave_the_applications_own_their_room() {
    let own: serde_json::Map<_, _> = (0..60).map(|number| (format!("k{number:02}"), "v".into())).collect();
    let found = event(&json!({"tags": own, "transaction": "t", "logger": "l"}).to_string());
    assert_eq!(found.tags.len(), crate::protocol::event::MAX_TAGS);
    assert!(found.tags.iter().all(|(key, _)| key.starts_with('k')), "{:?}", found.tags);
}

#[test]
fn what_is_no_error_says_so() {
    for (json, expected) in [
        (r#""transaction""#, EventType::Transaction),
        (r#""feedback""#, EventType::Feedback),
        (r#""error""#, EventType::Error),
        (r#""default""#, EventType::Error),
        (r#""tomorrow""#, EventType::Error),
        ("5", EventType::Error),
        ("null", EventType::Error),
    ] {
        assert_eq!(event(&format!(r#"{{"type":{json}}}"#)).r#type, expected, "{json}");
    }
}

#[test]
fn circumstances_complete_what_the_event_says() {
    let receipt = Receipt {
        sent_at: Some("2026-11-22T08:00:00Z".parse().unwrap()),
        client_ip: Some("203.0.113.7".parse().unwrap()),
        ..Receipt::at(received_at(), EventId([1; 16]))
    };
    let payload = br#"{"platform":"javascript","timestamp":"2026-11-22T07:59:00Z"}"#;
    let found = parse(payload, &receipt).unwrap();
    assert_eq!(found.timestamp.to_string(), "2026-11-22T09:59:00Z");
    assert_eq!(found.user.identity().as_deref(), Some("ip:203.0.113.7"));
    let payload = br#"{"platform":"javascript","sdk":{"settings":{"infer_ip":"never"}}}"#;
    assert_eq!(parse(payload, &receipt).unwrap().user, User::default());
}

#[test]
fn fingerprints_are_lists_of_scalars() {
    let parts = event(r#"{"fingerprint":["{{ default }}",1.0,true,null,[1]]}"#).fingerprint;
    assert_eq!(parts, ["{{ default }}", "1", "True"]);
    assert!(event(r#"{"fingerprint":"x"}"#).fingerprint.is_empty());
}

/// JSON of any shape, with the names an event has.
fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let names = "event_id|timestamp|level|platform|release|environment|tags|user|id|request|url|exception|values|type|\
        value|mechanism|stacktrace|frames|function|filename|abs_path|lineno|pre_context|threads|logentry|message|params|\
        formatted|fingerprint|csp|blocked_uri|effective_directive|[a-z]{0,3}";
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        "\\PC{0,12}|[%{}()s: \\\\\u{0}\n]{0,8}".prop_map(Into::into),
    ];
    leaf.prop_recursive(6, 64, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
            proptest::collection::hash_map(names, inner, 0..5)
                .prop_map(|object| serde_json::Value::Object(object.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_bytes_are_an_event_or_refused(payload: Vec<u8>) {
        let _ = try_parse(&payload);
    }

    #[test]
    fn any_text_after_a_brace_is_an_event_or_refused(text in "[{}\\[\\]\",:a-eu0-9NaIn\\\\ -]{0,60}") {
        let _ = try_parse(format!("{{{text}").as_bytes());
    }

    #[test]
    fn any_json_object_is_an_event(value in any_json()) {
        let result = try_parse(value.to_string().as_bytes());
        prop_assert_eq!(result.is_ok(), value.is_object(), "{:?}", result);
        if let Ok(event) = result {
            prop_assert!(!event.title().is_empty());
            prop_assert!(!event.title().contains('\0') && !event.culprit().contains('\0'));
        }
    }
}
