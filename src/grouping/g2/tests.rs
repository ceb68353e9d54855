use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    dsn::hex,
    grouping::{g1, samples},
    protocol::event::{self, EventId, Receipt},
};

fn event(payload: &str) -> Event {
    event::parse(payload.as_bytes(), &Receipt::at(jiff::Timestamp::UNIX_EPOCH, EventId([1; 16]))).unwrap()
}

fn group(payload: &Value) -> Grouping {
    g2(&event(&payload.to_string()))
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
            json!({"exception": [{"type": "SIGSEGV", "value": "v", "mechanism": {"synthetic": true}}]}),
            "exception",
            &["exception", "value:v"],
        ),
        (json!({"threads": [{"stacktrace": frames}], "message": "m"}), "stacktrace", &["frame:app|view"]),
        (
            json!({"csp": {"effective_directive": "img-src", "blocked_uri": "inline"}, "message": "m"}),
            "csp",
            &["csp:img-src", "blocked:inline"],
        ),
        (json!({"message": "user 5"}), "message", &["message:user <int>"]),
        (
            json!({"logentry": {"message": "user {UserId}", "formatted": "user 5"}}),
            "message",
            &["message:user {UserId}"],
        ),
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
        (json!({"fingerprint": ["{{ default }}", "a"], "message": "m"}), "custom", &["message:m", "fingerprint:a"]),
    ] {
        let found = group(&payload);
        let components: Vec<String> = components.iter().map(ToString::to_string).collect();
        assert_eq!((found.kind.name(), found.components), (kind, components), "{payload}");
    }
}

#[test]
fn a_hash_of_one_version_is_none_of_the_other() {
    let payload = json!({"message": "m"});
    let (old, new) = (g1(&event(&payload.to_string())), group(&payload));
    assert_eq!((old.version, new.version, &old.components), (1, 2, &new.components));
    assert_ne!(old.hash, new.hash);
}

/// A stored hash must mean the same for ever: if this fails after a release, [`VERSION`] has to change.
#[test]
fn hashes_of_version_2_stay_as_they_are() {
    for (payload, expected) in [
        (
            json!({"exception": [exception("KeyError")]}),
            "f70a2da36afcdf8a3deb075fc2ca579b32bedcf8ec08c17566fdb320ecab923c",
        ),
        (json!({"message": "user 5"}), "c3b62a328c95327ab23f6e3e042cae6d5dbc6f2069baaca9d668ec9e33feaaf4"),
        (json!({}), "4dd27a8029e9c7bfca6b4616d76a5d80ec98c19202985e307ca28a7d6593efdb"),
    ] {
        assert_eq!(hex(&group(&payload).hash), expected, "{payload}");
    }
}

#[test]
fn what_counted_is_told_with_its_reason() {
    let payload = json!({"platform": "java", "exception": [{"type": "E", "value": "v", "stacktrace": {"frames": [
        {"module": "org.springframework.Servlet", "function": "run"},
        {"module": "com.shop.Cart", "function": "lambda$pay$3"},
    ]}}]});
    let (grouping, parts) = explain(&event(&payload.to_string()));
    assert_eq!(grouping, group(&payload));
    let parts: Vec<String> = parts.iter().map(|part| format!("{} {}: {}", part.counts, part.what, part.why)).collect();
    for expected in [
        "true type:E: names the error",
        "false part of lambda$pay$3: made up: javac, kotlinc and scalac: lambdas, anonymous classes, accessors",
        "true frame com.shop.Cart|lambda$pay$: no frame is known to be nearer",
        "false frame org.springframework.Servlet|run: of a runtime or framework",
        "false value v: the frames tell more",
    ] {
        assert!(parts.iter().any(|part| part == expected), "{expected}: {parts:#?}");
    }
}

proptest! {
    #[test]
    fn any_text_is_grouped(text in "\\PC{0,200}|[ -~]{0,200}", platform in "native|python|php|java|javascript|rust|csharp|other") {
        let frame = json!({"module": text, "function": text, "filename": text, "package": text});
        group(&json!({"message": text, "platform": platform, "fingerprint": [text]}));
        let exception = json!({"type": text, "value": text, "stacktrace": {"frames": [frame]}});
        group(&json!({"platform": platform, "exception": [exception]}));
    }

    #[test]
    fn any_family_of_exceptions_is_grouped(
        lineages in proptest::collection::vec((0_u8..6, 0_u8..6, any::<bool>(), "(exceptions\\[0\\]|cause|)"), 0..8)
    ) {
        let exceptions: Vec<Value> = lineages.iter().map(|(id, parent, is_group, source)| json!({
            "type": format!("E{id}"),
            "mechanism": {"exception_id": id, "parent_id": parent, "is_exception_group": is_group, "source": source},
        })).collect();
        let payload = json!({"exception": exceptions}).to_string();
        let event = event(&payload);
        prop_assert!(!event.title().is_empty());
        prop_assert!(!g2(&event).components.is_empty());
    }

    /// As the issue of a build and of the next one.
    #[test]
    fn a_number_that_a_compiler_counts_up_does_not_matter(one in 1_u32..1000, other in 1_u32..1000) {
        for (platform, name) in [
            ("java", "lambda$pay$#"), ("java", "access$#00"), ("csharp", "<Pay>b__#_0"), ("go", "Pay.func#"),
            ("rust", "shop::pay::{closure##}"), ("ruby", "_app_views_cart_html_erb__8#11223344_7021#"),
            ("php", "{closure:App\\Cart::pay():#}"), ("swift", "closure ## in Cart.pay()"), ("python", "memo at 0x7f#"),
        ] {
            let with = |number: u32| {
                let function = name.replace("##", &format!("#{number}")).replace('#', &number.to_string());
                let function = if name.contains("##") { name.replace("##", &format!("#{number}")) } else { function };
                let frame = json!({"module": "shop", "function": function});
                group(&json!({"platform": platform, "exception": [{"type": "E", "stacktrace": {"frames": [frame]}}]})).hash
            };
            prop_assert_eq!(with(one), with(other), "{} {}", platform, name);
        }
    }
}

/// How many groups the sample events make, and which of them `g1` made otherwise.
#[test]
fn sample_events_are_grouped_by_both_versions() {
    let samples = samples();
    if samples.is_empty() {
        println!("skipped: no sample events");
    }
    let mut groups: BTreeMap<[u8; 32], Vec<([u8; 32], String)>> = BTreeMap::new();
    for (name, payload) in samples {
        let event = event(&payload);
        let grouping = g2(&event);
        println!("{name}: {} {:?}: {:?}", grouping.kind.name(), event.title(), grouping.components);
        groups.entry(grouping.hash).or_default().push((g1(&event).hash, name));
    }
    for members in groups.values().filter(|members| members.iter().any(|(old, _)| *old != members[0].0)) {
        println!("one group by g2, several by g1: {:?}", members.iter().map(|(_, name)| name).collect::<Vec<_>>());
    }
}
