use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    dsn::hex,
    grouping::samples,
    protocol::event::{self, EventId, Receipt},
};

fn event(payload: &str) -> Event {
    event::parse(payload.as_bytes(), &Receipt::at(Timestamp::UNIX_EPOCH, EventId([1; 16]))).unwrap()
}

fn group(payload: &Value) -> Grouping {
    g1(&event(&payload.to_string()))
}

fn exception(name: &str) -> Value {
    json!({"type": name, "value": "user 5", "stacktrace": {"frames": [
        {"module": "lib", "function": "call", "in_app": false},
        {"module": "app", "function": "view", "in_app": true},
    ]}})
}

#[test]
fn what_an_event_has_first_decides() {
    let frames = json!({"frames": [{"module": "app", "function": "view"}]});
    for (payload, kind, components) in [
        (
            json!({"exception": [exception("E")], "message": "m"}),
            "exception",
            &["exception", "type:E", "frame:app|view"][..],
        ),
        (
            json!({"exception": [{"type": "E", "value": "user 5"}]}),
            "exception",
            &["exception", "type:E", "value:user <int>"],
        ),
        (
            json!({"exception": [{"type": "A"}, {"type": "B"}]}),
            "exception",
            &["exception", "type:A", "exception", "type:B"],
        ),
        (
            json!({"exception": [{"type": "SIGSEGV", "value": "v", "mechanism": {"synthetic": true}}]}),
            "exception",
            &["exception", "value:v"],
        ),
        (json!({"threads": [{"stacktrace": frames}], "message": "m"}), "stacktrace", &["frame:app|view"]),
        (json!({"stacktrace": frames}), "stacktrace", &["frame:app|view"]),
        (
            json!({"csp": {"effective_directive": "img-src", "blocked_uri": "inline"}, "message": "m"}),
            "csp",
            &["csp:img-src", "blocked:inline"],
        ),
        (json!({"message": "user 5"}), "message", &["message:user <int>"]),
        (json!({"logentry": {"message": "user %s", "params": ["5"]}}), "message", &["message:user %s"]),
        (json!({"logentry": {"message": "user %s", "formatted": "user 5"}}), "message", &["message:user %s"]),
        (json!({"logentry": {"message": "user 5", "formatted": "user 6"}}), "message", &["message:user <int>"]),
        (
            json!({"platform": "go", "transaction": "GET /"}),
            "unlabeled",
            &["<unlabeled event>", "platform:go", "GET /"],
        ),
        (
            // A page, and no function in it.
            json!({"platform": "javascript", "stacktrace": {"frames": [{"filename": "https://h/"}]}}),
            "unlabeled",
            &["<unlabeled event>", "platform:javascript", "/"],
        ),
        (
            json!({"fingerprint": ["a", "{{ level }}"], "message": "m"}),
            "custom",
            &["fingerprint:a", "fingerprint:error"],
        ),
        (json!({"fingerprint": ["{{ default }}", "a"], "message": "m"}), "custom", &["message:m", "fingerprint:a"]),
        (json!({"fingerprint": ["{{ default }}"], "message": "m"}), "message", &["message:m"]),
    ] {
        let found = group(&payload);
        assert_eq!(
            (found.kind.name(), found.components),
            (kind, components.iter().map(ToString::to_string).collect()),
            "{payload}"
        );
    }
}

#[test]
fn a_synthetic_exception_that_says_nothing_leaves_it_to_the_message() {
    let found = group(&json!({"exception": [{"type": "SIGSEGV", "mechanism": {"synthetic": true}}], "message": "m"}));
    assert_eq!((found.kind, found.components), (GroupingKind::Message, vec!["message:m".to_owned()]));
}

/// GitLab Runner reports every failure from the same frame of its logging hook, with the same type.
#[test]
fn errors_that_are_only_a_text_are_told_apart_by_it() {
    let failed = |value: &str| {
        let frames = json!({"frames": [{"module": "helpers/sentry", "function": "(*LogHook).Fire", "in_app": true}]});
        group(&json!({"platform": "go", "exception": [
            {"type": "*errors.errorString", "value": value, "stacktrace": frames},
        ]}))
    };
    let first = failed("Job 17 failed (system failure): open /builds/a/shop: denied");
    let expected =
        ["exception", "type:*errors.errorString", "value:Job <int> failed (system failure): open <path>: denied"];
    assert_eq!(first.components, expected);
    assert_eq!(first.hash, failed("Job 18 failed (system failure): open /builds/b/cart: denied").hash);
    assert_ne!(first.hash, failed("Job 17 failed: cannot reach docker").hash);
}

#[test]
fn the_outermost_exceptions_of_a_long_chain_count() {
    let chain: Vec<Value> = (0..15).map(|number| json!({"type": format!("E{number}")})).collect();
    let found = group(&json!({"exception": chain}));
    assert_eq!((found.components[1].as_str(), found.components.len()), ("type:E5", 2 * MAX_EXCEPTIONS));
}

#[test]
fn lists_of_components_never_look_the_same() {
    let lists: [&[&str]; 5] = [&["ab", "c"], &["a", "bc"], &["abc"], &["abc", ""], &[]];
    let hashes: std::collections::BTreeSet<_> =
        lists.iter().map(|list| hash(VERSION, &list.iter().map(ToString::to_string).collect::<Vec<_>>())).collect();
    assert_eq!(hashes.len(), lists.len());
}

/// A stored hash must mean the same for ever: if this fails, [`VERSION`] has to change.
#[test]
fn hashes_of_version_1_stay_as_they_are() {
    for (payload, expected) in [
        (
            json!({"exception": [exception("KeyError")]}),
            "583745877f2a8c9cd8d04d4ef8e1c1203cb17e31ea9d53d032fddfa95614051a",
        ),
        (json!({"message": "user 5"}), "88bd5c5dcf2178f52fc803a9ae8e27cb50f8b00aad0669ec223adeb6816ca2f6"),
        (json!({}), "47c3b69d0a555aa6dcf0bd3f6be755a0371cfb78f230e9604489f286462f275c"),
    ] {
        assert_eq!(hex(&group(&payload).hash), expected, "{payload}");
    }
}

/// Frames as an SDK may send them: names from a small set, so that equal neighbours occur.
fn any_frames() -> impl Strategy<Value = Vec<Value>> {
    let frame = ("[a-c]?", "[a-c]?", "(/srv/)?[a-c]\\.py", proptest::option::of(any::<bool>()));
    let frame = frame.prop_map(|(module, function, filename, in_app)| {
        json!({"module": module, "function": function, "filename": filename, "in_app": in_app})
    });
    proptest::collection::vec(frame, 0..40)
}

/// `payload` with its keys in the opposite order and unknown ones added everywhere.
fn disguised(payload: &Value) -> String {
    match payload {
        Value::Object(object) => {
            let fields = object.iter().rev().map(|(key, value)| format!("{}:{}", json!(key), disguised(value)));
            let fields: Vec<String> = ["\"unknown\":[1]".to_owned()].into_iter().chain(fields).collect();
            format!("{{{}}}", fields.join(","))
        }
        Value::Array(list) => format!("[{}]", list.iter().map(disguised).collect::<Vec<_>>().join(" , ")),
        other => other.to_string(),
    }
}

proptest! {
    #[test]
    fn lines_and_paths_do_not_matter(frames in any_frames(), line in 1_u32..1000) {
        let mut moved = frames.clone();
        for frame in &mut moved {
            frame["lineno"] = json!(line);
            frame["colno"] = json!(line);
            frame["abs_path"] = json!(format!("/somewhere/{line}/else"));
            frame["context_line"] = json!(format!("line {line}"));
            frame["vars"] = json!({"a": line});
        }
        let with = |frames: &[Value]| group(&json!({"exception": [{"type": "E", "stacktrace": {"frames": frames}}]}));
        prop_assert_eq!(with(&frames), with(&moved));
    }

    #[test]
    fn order_and_unknown_names_do_not_matter(frames in any_frames(), message in "\\PC{0,30}") {
        let payload = json!({
            "exception": {"values": [{"type": "E", "value": message, "stacktrace": {"frames": frames}}]},
            "message": message, "platform": "python", "tags": {"a": "1"},
        });
        prop_assert_eq!(group(&payload), g1(&event(&disguised(&payload))));
    }

    #[test]
    fn forms_of_lists_and_tags_do_not_matter(frames in any_frames(), tag in "[a-z]{1,8}") {
        let exception = json!({"type": "E", "value": "v", "stacktrace": {"frames": frames}});
        let fingerprint = json!(["{{ default }}", "{{ tags.a }}"]);
        let forms = [
            json!({"exception": [exception], "tags": {"a": tag}, "fingerprint": fingerprint}),
            json!({"exception": {"values": [exception]}, "tags": [["a", tag]], "fingerprint": fingerprint}),
            json!({"exception": exception, "tags": [{"key": "a", "value": tag}], "fingerprint": fingerprint}),
        ];
        let [first, second, third] = forms.map(|payload| group(&payload).hash);
        prop_assert_eq!(first, second);
        prop_assert_eq!(first, third);
    }

    #[test]
    fn another_type_is_another_error(frames in any_frames(), one in "[A-Z][a-z]{0,8}", other in "[A-Z][a-z]{0,8}") {
        let with = |name: &str| group(&json!({"exception": [{"type": name, "stacktrace": {"frames": frames}}]})).hash;
        prop_assert_eq!(with(&one) == with(&other), one == other);
    }

    #[test]
    fn numbers_in_a_message_do_not_matter(one: u32, other: u32) {
        let with = |number: u32| group(&json!({"message": format!("user {number} not found")})).hash;
        prop_assert_eq!(with(one), with(other));
    }

    #[test]
    fn any_text_is_grouped(text in "\\PC{0,200}|[ -~]{0,200}", platform in "native|python|php") {
        let frame = json!({"module": text, "function": text, "filename": text});
        group(&json!({"message": text, "platform": platform, "fingerprint": [text]}));
        group(&json!({"platform": platform, "exception": [{"value": text, "stacktrace": {"frames": [frame]}}]}));
    }
}

#[test]
fn sample_events_of_many_sdks_are_read_titled_and_grouped() {
    let samples = samples();
    if samples.is_empty() {
        println!("skipped: no sample events");
    }
    for (name, payload) in samples {
        let parsed = event(&payload);
        let title = parsed.title();
        assert!(!title.trim().is_empty(), "{name}");
        let grouping = g1(&parsed);
        let value: Value = serde_json::from_str(&payload).unwrap();
        assert_eq!(g1(&event(&disguised(&value))), grouping, "{name}");
        println!("{name}: {} {title:?} in {:?}: {:?}", grouping.kind.name(), parsed.culprit(), grouping.components);
    }
}
