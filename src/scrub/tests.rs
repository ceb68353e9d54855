use serde_json::{Value, json};

use super::{table::TABLE, *};
use crate::protocol::event::attributes::Interface;

fn clean(scrubber: &Scrubber, attributes: &str) -> String {
    let payload = format!("{{{attributes}}}");
    let cleaned = scrubber.clean(payload.as_bytes(), None).unwrap_or_else(|error| panic!("{error}: {payload}"));
    let is_borrowed = matches!(cleaned.payload, Cow::Borrowed(_));
    assert_eq!(is_borrowed, cleaned.scrubbed + cleaned.repaired == 0, "{payload}");
    serde_json::from_slice::<Value>(&cleaned.payload).unwrap();
    let text = String::from_utf8(cleaned.payload.into_owned()).unwrap();
    text[1..text.len() - 1].to_owned()
}

fn check(scrubber: &Scrubber, rows: &[(&str, &str)], title: &str) {
    for (input, stored) in rows {
        let stored = if *stored == "…" { input } else { stored };
        assert_eq!(clean(scrubber, input), *stored, "{title}");
        assert_eq!(clean(scrubber, stored), *stored, "again: {title}");
    }
}

#[test]
fn every_rule_does_what_the_table_says() {
    let scrubber = Scrubber::new(&Privacy::default());
    for (title, rows) in TABLE {
        check(&scrubber, rows, title);
    }
}

#[test]
fn own_words_and_safe_names_bend_the_rules() {
    let privacy: Privacy = serde_json::from_value(json!({
        "sensitiveFields": ["Pin", " salary ", "", "email", "contraseña"],
        "safeFields": ["Author", "pinned"],
    }))
    .unwrap();
    let rows = [
        (
            r#""extra":{"user_PIN":"1","Salary":5,"author":"auth","pinned":"password"}"#,
            r#""extra":{"user_PIN":"[Filtered]","Salary":null,"author":"auth","pinned":"password"}"#,
        ),
        (
            r#""extra":{"author":{"password":"4111111111111111"},"authors":"x"}"#,
            r#""extra":{"author":{"password":"4111111111111111"},"authors":"x"}"#,
        ),
        (r#""extra":{"note":"the pin is 5"}"#, "…"),
        (r#""extra":{"contrase\u00f1a":"x"}"#, r#""extra":{"contrase\u00f1a":"[Filtered]"}"#),
        (
            r#""request":{"url":"/?pin=1&author=2","query_string":"pin=1&author=auth"}"#,
            r#""request":{"url":"/?pin=[Filtered]&author=2","query_string":"pin=[Filtered]&author=auth"}"#,
        ),
        (
            r#""tags":{"pin":"1"},"pin":"1","platform":"pin""#,
            r#""tags":{"pin":"[Filtered]"},"pin":"[Filtered]","platform":"pin""#,
        ),
        // `[Filtered]` would make all users one.
        (r#""user":{"id":"1","email":"ann@example.com"}"#, r#""user":{"id":"1","email":null}"#),
    ];
    check(&Scrubber::new(&privacy), &rows, "own words");
}

#[test]
fn without_scrubbing_json_is_still_mended() {
    let scrubber = Scrubber::new(&Privacy { scrub_data: false, ..Privacy::default() });
    let rows = [
        (r#""extra":{"password":"4111111111111111","a":"b@c.de"}"#, "…"),
        (r#""request":{"cookies":"session=x","url":"/?token=x","query_string":"token=x"}"#, "…"),
        (r#""extra":[NaN,"\ud83d"]"#, r#""extra":[null,"\ufffd"]"#),
    ];
    check(&scrubber, &rows, "off");
}

#[test]
fn addresses_go_if_that_is_wanted() {
    for scrub_data in [true, false] {
        let scrubber = Scrubber::new(&Privacy { scrub_data, scrub_ip_addresses: true, ..Privacy::default() });
        let rows = [
            (r#""user":{"ip_address":"10.0.0.1"}"#, r#""user":{"ip_address":null}"#),
            (r#""user":{"ip_address":"{{auto}}"}"#, r#""user":{"ip_address":null}"#),
            (
                r#""request":{"env":{"REMOTE_ADDR":"10.0.0.1"}},"sdk":{"client_ip":"::1"}"#,
                r#""request":{"env":{"REMOTE_ADDR":null}},"sdk":{"client_ip":null}"#,
            ),
            (
                r#""extra":{"a":"from 10.0.0.255:80, 2001:db8::1 and ::1"}"#,
                r#""extra":{"a":"from [ip]:80, [ip] and [ip]"}"#,
            ),
            (r#""message":"peer 192.168.1.20 at 12:34:56""#, r#""message":"peer [ip] at 12:34:56""#),
            (r#""extra":{"a":"std::fmt a::b 300.1.1.1 1.2.3"}"#, "…"),
        ];
        check(&scrubber, &rows, "addresses");
    }
}

#[test]
fn auto_is_the_address_of_the_client() {
    let scrubber = Scrubber::new(&Privacy::default());
    let address = Some("10.0.0.7".parse().unwrap());
    let payload = br#"{"user":{"ip_address":"{{auto}}"}}"#;
    let cleaned = scrubber.clean(payload, address).unwrap();
    assert_eq!(cleaned.payload, br#"{"user":{"ip_address":"10.0.0.7"}}"#.as_slice());
    assert_eq!((cleaned.scrubbed, cleaned.repaired), (0, 0));
    assert_eq!(scrubber.clean(payload, None).unwrap().payload, payload.as_slice());
}

#[test]
fn bytes_that_are_no_text_are_mended() {
    let scrubber = Scrubber::new(&Privacy::default());
    for (payload, stored, repaired) in [
        (&b"\xef\xbb\xbf{}"[..], "{}", 1),
        (b"{\"a\":\"\xff\xfeb\xe2\x82\"}", "{\"a\":\"\u{fffd}\u{fffd}b\u{fffd}\"}", 3),
        (b" {} \n", " {} \n", 0),
    ] {
        let cleaned = scrubber.clean(payload, None).unwrap();
        assert_eq!((cleaned.payload.as_ref(), cleaned.repaired), (stored.as_bytes(), repaired));
    }
}

#[test]
fn what_is_no_event_is_refused() {
    let scrubber = Scrubber::new(&Privacy::default());
    for json in ["[]", "\"a\"", "5", "null", "true", "NaN", " []"] {
        assert_eq!(scrubber.clean(json.as_bytes(), None), Err(CleanError::NotAnObject), "{json}");
    }
    for (json, at) in [
        ("", 0),
        ("{", 1),
        ("{]", 1),
        ("{,}", 1),
        (r#"{"a"}"#, 4),
        (r#"{"a":}"#, 5),
        (r#"{"a":1,}"#, 7),
        (r#"{"a":[1,]}"#, 8),
        (r#"{"a":1 "b":2}"#, 7),
        (r#"{"a":01}"#, 5),
        (r#"{"a":undefined}"#, 5),
        (r#"{"a":nullx}"#, 9),
        (r#"{"a":"\x41"}"#, 6),
        (r#"{"a":"\u12"}"#, 6),
        (r#"{"a":"b"#, 7),
        (r#"{"a":[1}"#, 7),
        (r#"{"password":{"a":1}"#, 19),
        (r"{} {}", 3),
        (r"{'a':1}", 1),
        ("xml", 0),
    ] {
        match scrubber.clean(json.as_bytes(), None) {
            Err(CleanError::InvalidJson { offset, .. }) => assert_eq!(offset, at, "{json}"),
            other => panic!("{json}: {other:?}"),
        }
    }
}

#[test]
fn depth_and_names_have_limits() {
    let scrubber = Scrubber::new(&Privacy::default());
    let nested = |depth: usize| format!("{{\"extra\":{}1{}}}", "[".repeat(depth), "]".repeat(depth));
    let cleaned = |payload: &str| {
        let cleaned = scrubber.clean(payload.as_bytes(), None).unwrap();
        (String::from_utf8(cleaned.payload.into_owned()).unwrap(), cleaned.repaired)
    };
    assert_eq!(cleaned(&nested(99)), (nested(99), 0));
    assert_eq!(cleaned(&nested(100)), (nested(99).replace('1', "null"), 1));
    assert_eq!(cleaned(&nested(100_000)), (nested(99).replace('1', "null"), 1));

    let (kept, long) = ("n".repeat(1000), format!("{}\u{0}\\ud83d", "n".repeat(1001)));
    assert_eq!(cleaned(&format!("{{\"{kept}\":1}}")), (format!("{{\"{kept}\":1}}"), 0));
    for (members, stored) in [
        ("L", "{}"),
        ("L,L", "{}"),
        ("L,\"a\":1", "{\"a\":1}"),
        ("\"a\":1,L", "{\"a\":1}"),
        ("\"a\":1,L,L,\"b\":2,L", "{\"a\":1,\"b\":2}"),
        ("L,L,\"secret\":1,L", "{\"secret\":null}"),
        ("\"extra\":{L},L", "{\"extra\":{}}"),
    ] {
        let payload = format!("{{{}}}", members.replace('L', &format!("\"{long}\":[{{\"a\":[]}}]")));
        let (found, repaired) = cleaned(&payload);
        assert_eq!((found.as_str(), repaired as usize), (stored, members.matches('L').count()), "{members}");
    }
    assert!(scrubber.clean(format!("{{\"{long}\":1,}}").as_bytes(), None).is_err());
}

#[test]
fn text_for_people_loses_only_its_secret_pieces() {
    let scrubber = Scrubber::new(&Privacy::default());
    for (text, cleaned) in [
        ("my password is wrong", "my password is wrong"),
        ("write to ann@example.com, card 4111111111111111", "write to [email], card [creditcard]"),
        ("see https://h/?password=x", "see https://h/?password=[Filtered]"),
    ] {
        assert_eq!(scrubber.text(text), cleaned);
    }
}

#[test]
fn an_older_name_is_cleaned_as_the_newer_one() {
    let scrubber = Scrubber::new(&Privacy { sensitive_fields: vec!["pin".into()], ..Privacy::default() });
    let mut count = 0;
    for interface in Interface::ALL {
        let around = match interface {
            Interface::Event => r#""NAME":VALUE"#,
            Interface::Exception => r#""exception":[{"NAME":VALUE}]"#,
            Interface::Feedback => r#""contexts":{"feedback":{"NAME":VALUE}}"#,
            Interface::Csp => r#""csp":{"NAME":VALUE}"#,
            other => {
                assert!(other.attributes().iter().all(|attribute| attribute.names.len() == 1), "{other:?}");
                continue;
            }
        };
        for names in interface.attributes().iter().map(|attribute| attribute.names) {
            for value in [
                r#""my password, ann@example.com""#,
                r#"[{"frames":[{"function":"token","vars":{"auth":1}}],"name":"ann@example.com"}]"#,
                r#"{"values":[{"stacktrace":{"frames":[{"function":"token"}]},"type":"auth","value":"secret"}]}"#,
                r#"{"message":"my password","email":"ann@example.com","pin":"1","headers":{"Cookie":"session=x"}}"#,
            ] {
                let cleaned = names.iter().map(|name| {
                    let name = std::str::from_utf8(name).unwrap();
                    clean(&scrubber, &around.replace("NAME", name).replace("VALUE", value)).replacen(name, "NAME", 1)
                });
                let cleaned: Vec<String> = cleaned.collect();
                assert!(cleaned.iter().all(|text| *text == cleaned[0]), "{cleaned:?}");
                count += cleaned.len() - 1;
            }
        }
    }
    assert!(count > 40, "{count}");
}

#[test]
fn changes_are_explained() {
    let scrubber = Scrubber::new(&Privacy::default());
    let payload = br#"{"request":{"headers":{"Authorization":"x"},"data":"{\"a\":[{\"secret\":1}]}"},
        "exception":{"values":[{"value":"ann@example.com 4111111111111111"}]},"extra":[NaN,"\ud83d",{"token":["\ud83d"]}],"contexts":{"\ud83d":1,"\u0000":2}}"#;
    let (cleaned, notes) = scrubber.explain(payload, None).unwrap();
    let notes: Vec<String> = notes.iter().map(|note| format!("{}: {}", note.path, note.rule.name())).collect();
    assert_eq!(
        notes,
        [
            "request.headers.Authorization: secret name",
            "request.data.a.0.secret: secret name",
            "exception.values.0.value: email address",
            "exception.values.0.value: card number",
            "extra.0: mended JSON",
            "extra.1: mended JSON",
            "extra.2.token: secret name",
            "contexts: mended JSON",
            "contexts: mended JSON",
        ]
    );
    assert_eq!((cleaned.scrubbed, cleaned.repaired), (4, 4));
    assert_eq!(scrubber.clean(payload, None).unwrap(), cleaned);
}

/// Each level is JSON but for its end, and holds a secret that only it shows: it is walked through twice.
#[test]
fn what_is_wrapped_again_and_again_is_not_looked_into_for_ever() {
    let mut text = "a@b ".repeat(5_000);
    for _ in 0..7 {
        let inner = json!(text).to_string();
        text = format!(r#"{{"a":{inner},"b":"4111 1111 1111 1111"}} x"#);
    }
    let payload = json!({"extra": {"text": text}}).to_string();
    let scrubber = Scrubber::new(&Privacy::default());
    let cleaned = scrubber.clean(payload.as_bytes(), None).unwrap().payload;
    let stored = String::from_utf8_lossy(&cleaned);
    assert!(!stored.contains("4111 1111") && serde_json::from_slice::<Value>(&cleaned).is_ok());
}

/// What `@sentry/node` 11 collects of a request unless it is told not to, as it comes where the SDK itself filters nothing.
#[test]
fn what_javascript_collects_by_default_loses_its_secrets_and_stays_usable() {
    let scrubber = Scrubber::new(&Privacy::default());
    let event = json!({
        "platform": "node",
        "transaction": "POST /checkout",
        "user": {"id": "5", "email": "ann@shop.example", "ip_address": "203.0.113.9"},
        "request": {
            "method": "POST",
            "url": "https://shop.example/checkout?token=planted-1&page=3",
            "query_string": "token=planted-2&page=3",
            "headers": {
                "host": "shop.example", "content-type": "application/json", "x-forwarded-for": "203.0.113.9",
                "user-agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
                "authorization": "Bearer planted-3", "cookie": "session=planted-4; theme=dark", "x-api-key": "planted-5",
                "x-csrf-token": "planted-6", "proxy-authorization": "Basic planted-7", "x-auth-request-token": "planted-8",
            },
            "cookies": {"session": "planted-9", "theme": "dark", "remember_me": "planted-10"},
            "data": r#"{"sku":"sku-1","password":"planted-11","card":"4111111111111111","nested":{"client_secret":"planted-12"}}"#,
        },
        "exception": {"values": [{"type": "Error", "value": "pay failed", "stacktrace": {"frames": [{
            "function": "pay", "in_app": true,
            "vars": {"password": "planted-13", "order": 5, "headers": {"Authorization": "planted-14"}},
        }]}}]},
        "breadcrumbs": [{
            "category": "http", "data": {"url": "https://pay.example/charge?api_key=planted-15&amount=5", "status_code": 402},
        }],
        "extra": {"arguments": ["--token", "planted-16", "--verbose"]},
    });
    let payload = event.to_string();
    let cleaned = String::from_utf8(scrubber.clean(payload.as_bytes(), None).unwrap().payload.into_owned()).unwrap();
    assert!(!cleaned.contains("planted") && !cleaned.contains("4111"), "{cleaned}");
    let cleaned: Value = serde_json::from_str(&cleaned).unwrap();
    for unchanged in [
        "/platform",
        "/transaction",
        "/user",
        "/request/method",
        "/request/headers/host",
        "/request/headers/user-agent",
        "/request/headers/content-type",
        "/request/headers/x-forwarded-for",
        "/request/cookies/theme",
        "/exception/values/0/value",
        "/exception/values/0/stacktrace/frames/0/vars/order",
        "/breadcrumbs/0/data/status_code",
    ] {
        assert_eq!(cleaned.pointer(unchanged), event.pointer(unchanged), "{unchanged}");
    }
    for (place, expected) in [
        ("/request/url", "https://shop.example/checkout?token=[Filtered]&page=3"),
        ("/request/query_string", "token=[Filtered]&page=3"),
        ("/breadcrumbs/0/data/url", "https://pay.example/charge?api_key=[Filtered]&amount=5"),
    ] {
        assert_eq!(cleaned.pointer(place).and_then(Value::as_str), Some(expected), "{place}");
    }
    assert!(cleaned["request"]["data"].as_str().unwrap().contains("sku-1"), "{cleaned}");
    assert_eq!(cleaned["extra"]["arguments"][2], "--verbose");
}
