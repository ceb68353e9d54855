use std::{
    collections::BTreeMap,
    env, fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::{Value, json};

use super::*;

/// Real events, which a checkout may have beside it or name in `ERROR_TRACKING_SAMPLES`.
fn sample_events() -> BTreeMap<String, Vec<u8>> {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data/events");
    let directory = env::var_os("ERROR_TRACKING_SAMPLES").map_or_else(beside, PathBuf::from);
    let Ok(entries) = fs::read_dir(directory) else { return BTreeMap::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    let json = paths.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    json.map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(path).unwrap())).collect()
}

fn strict() -> Scrubber {
    Scrubber::new(&Privacy {
        scrub_ip_addresses: true,
        sensitive_fields: vec!["pin".into()],
        safe_fields: vec!["author".into()],
        ..Privacy::default()
    })
}

/// Whatever comes is refused or becomes JSON that is taken and that a second walk does not change.
fn check(payload: &[u8]) {
    for scrubber in [Scrubber::new(&Privacy::default()), strict()] {
        let Ok(cleaned) = scrubber.clean(payload, None) else { continue };
        let seen = String::from_utf8_lossy(payload);
        let text = std::str::from_utf8(&cleaned.payload).unwrap();
        assert!(!text.contains('\0') && !text.contains(r"\u0000") || text.contains(r"\\u0000"), "{seen}");
        serde_json::from_slice::<Value>(&cleaned.payload).unwrap_or_else(|error| panic!("{error}: {seen} → {text}"));
        let again = scrubber.clean(&cleaned.payload, None).unwrap();
        assert_eq!((String::from_utf8_lossy(&again.payload), again.repaired), (text.into(), 0), "{seen}");
        assert_eq!(again.scrubbed, 0, "{text}");
    }
}

/// Pieces of which something like JSON, and like the secrets that are looked for, is put together.
fn soup() -> impl Strategy<Value = Vec<u8>> {
    let pieces: Vec<&'static [u8]> = [
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "\"",
        "\\\"",
        "\\\\",
        "\\u0000",
        "\\ud83d",
        "\\ude00",
        "\\u0077",
        "\\n",
        "\n",
        "\0",
        " ",
        "1",
        "-1.5e3",
        "1e400",
        "0",
        "-",
        "true",
        "null",
        "NaN",
        "-Infinity",
        "4111111111111111",
        "4111 1111-1111 1111",
        "password",
        "token",
        "=",
        "&",
        ";",
        "?",
        "#",
        "cookie",
        "\"extra\":",
        "\"request\":",
        "\"data\":",
        "\"cookies\":",
        "\"headers\":",
        "\"tags\":",
        "\"message\":",
        "\"key\":",
        "\"value\":",
        "\"values\":",
        "\"exception\":",
        "\"pin\":",
        "ann@example.com",
        "//u:p@h",
        "://",
        "@",
        "Bearer ",
        "abc",
        "DE89370400440532013000",
        "078-05-1120",
        "/home/ann",
        "C:\\\\Users\\\\ann",
        "-----BEGIN PRIVATE KEY-----",
        "-----END",
        "10.0.0.1",
        "::1",
        "[Filtered]",
        "[email]",
        "%20",
        "ü",
    ]
    .map(str::as_bytes)
    .into_iter()
    .chain([&b"\xff"[..], b"\xe2\x82"])
    .collect();
    vec(select(pieces), 0..60).prop_map(|pieces| pieces.concat())
}

/// Texts of the same pieces, well quoted.
fn text() -> impl Strategy<Value = String> {
    soup().prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// JSON of texts, some of which are JSON in turn.
fn value() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![text().prop_map(Value::from), any::<i64>().prop_map(Value::from), Just(Value::Null)];
    let name = prop_oneof![
        select(vec![
            "password", "a", "cookie", "headers", "key", "value", "name", "data", "author", "pin", "vars", "values"
        ])
        .prop_map(str::to_owned),
        text()
    ];
    scalar.prop_recursive(6, 40, 4, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((name.clone(), inner.clone()), 0..4).prop_map(|members| members.into_iter().collect()),
            inner.prop_map(|value| Value::from(value.to_string())),
        ]
    })
}

const PLACES: [&str; 16] = [
    "message",
    "logentry",
    "extra",
    "contexts",
    "tags",
    "user",
    "request",
    "breadcrumbs",
    "exception",
    "threads",
    "stacktrace",
    "sdk",
    "sentry.interfaces.Http",
    "modules",
    "unknown",
    "debug_meta",
];

/// A secret that no rule may leave, and the value it hides in.
fn secret() -> impl Strategy<Value = (&'static str, String)> {
    let name = select(vec![
        "password",
        "Passwd",
        "client_secret",
        "API-Key",
        "apikey",
        "api_key",
        "Authorization",
        "credentials",
        "MYSQL_PWD",
        "privateKey",
        "private_key",
        "sessionToken",
        "csrf_token",
        "otp",
        "two-factor",
    ]);
    // Any letter in any case, plain or as an escape.
    let name = (name, vec((any::<bool>(), any::<bool>()), 20)).prop_map(|(name, spelling)| {
        let letters = name.chars().zip(spelling).map(|(letter, (upper, escaped))| {
            let letter = if upper { letter.to_ascii_uppercase() } else { letter.to_ascii_lowercase() };
            if escaped { format!("\\u{:04x}", u32::from(letter)) } else { letter.to_string() }
        });
        letters.collect::<String>()
    });
    prop_oneof![
        name.prop_map(|name| ("hunter2", format!(r#"{{"{name}":"hunter2"}}"#))),
        Just(("4111111111111111", r#""pays with 4111111111111111.""#.to_owned())),
        Just(("4111111111111111", "4111111111111111".to_owned())),
        Just(("hunter2", r#""with bearer hunter2""#.to_owned())),
        Just(("hunter2", r#""to https:\/\/app:hunter2@db.example""#.to_owned())),
        Just(("hunter2", r#""the \u0070assword: hunter2""#.to_owned())),
        Just(("DE89370400440532013000", r#""from DE89370400440532013000""#.to_owned())),
        Just(("078-05-1120", r#""is 078-05-1120""#.to_owned())),
        Just(("hunter2", r#""-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----""#.to_owned())),
    ]
}

/// Something around a value that does not make it less secret.
#[derive(Clone, Debug)]
enum Wrap {
    List,
    Member,
    Text,
}

fn wrapped(mut json: String, wraps: &[Wrap]) -> String {
    for wrap in wraps {
        json = match wrap {
            Wrap::List => format!("[1, {json}]"),
            Wrap::Member => format!(r#"{{"a":1,"b":{json} }}"#),
            // Text that is not itself a container is not taken for JSON.
            Wrap::Text => Value::from(format!("[{json}]")).to_string(),
        };
    }
    json
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_refused_or_become_json(payload: Vec<u8>) {
        check(&payload);
        let mut object = Vec::from(b"{\"a\":\"");
        object.extend(payload);
        object.extend(b"\"}");
        check(&object);
    }

    #[test]
    fn anything_like_json_is_refused_or_becomes_json(soup in soup()) {
        check(&soup);
        check(&[b"{\"extra\":", soup.as_slice(), b"}"].concat());
        check(&[b"{\"message\":\"", soup.as_slice(), b"\"}"].concat());
        check(&[b"{\"request\":{\"data\":\"", soup.as_slice(), b"\"}}"].concat());
    }

    #[test]
    fn any_value_in_any_place_is_cleaned_once(place in select(PLACES.to_vec()), value in value()) {
        let payload = json!({place: value}).to_string();
        check(payload.as_bytes());
        prop_assert!(strict().clean(payload.as_bytes(), None).is_ok());
    }

    #[test]
    fn any_text_is_cleaned_once(text in text(), key in select(vec!["url", "query_string", "data", "cookies", "fragment"])) {
        check(json!({"request": {key: text}, "message": text, "extra": text}).to_string().as_bytes());
        check(json!({"exception": [{"stacktrace": {"frames": [{"context_line": text}]}}]}).to_string().as_bytes());
        let scrubber = strict();
        let once = scrubber.text(&text).into_owned();
        prop_assert_eq!(scrubber.text(&once), once.as_str());
    }

    #[test]
    fn planted_secrets_never_survive(
        (secret, json) in secret(),
        wraps in vec(select(vec![Wrap::List, Wrap::Member, Wrap::Text]), 0..6),
        place in select(vec![
            r#""extra":"#, r#""contexts":{"a":"#, r#""unknown":"#, r#""user":{"data":"#, r#""request":{"data":"#,
            r#""request":{"headers":{"a":"#, r#""request":{"env":{"A":"#, r#""breadcrumbs":[{"data":"#, r#""message":"#,
            r#""exception":[{"stacktrace":{"frames":[{"vars":{"a":"#, r#""exception":[{"mechanism":{"data":"#,
            r#""exception":[{"value":"#, r#""logentry":{"params":"#,
        ]),
    ) {
        let mut payload = format!("{{{place}{}", wrapped(json, &wraps));
        let open: Vec<char> = place.chars().filter(|bracket| "{[".contains(*bracket)).collect();
        payload.extend(open.iter().rev().map(|bracket| if *bracket == '{' { '}' } else { ']' }));
        payload.push('}');
        let cleaned = Scrubber::new(&Privacy::default()).clean(payload.as_bytes(), None).unwrap();
        let stored = String::from_utf8_lossy(&cleaned.payload);
        // Text that people must be able to read may speak of a password.
        let is_inline = ["message", r#""value""#, "params"].iter().any(|name| place.contains(name));
        let is_prose = is_inline && payload.contains("assword: hunter2");
        prop_assert!(is_prose || !stored.contains(secret), "{} → {}", payload, stored);
        prop_assert!(cleaned.scrubbed > 0 || is_prose);
        check(payload.as_bytes());
    }

    #[test]
    fn changed_samples_are_refused_or_become_json(pick: prop::sample::Index, edits in vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let samples: Vec<Vec<u8>> = sample_events().into_values().filter(|payload| payload.len() < 10_000).collect();
        if !samples.is_empty() {
            let mut payload = pick.get(&samples).clone();
            for (at, byte) in edits {
                *at.get_mut(&mut payload) = byte;
            }
            check(&payload);
        }
    }
}

/// Only texts may differ, or be null where something stood under the name of a secret.
fn same_shape(before: &Value, after: &Value, path: &str, changes: &mut Vec<String>) {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            assert!(before.keys().eq(after.keys()), "{path}");
            for (name, value) in before {
                same_shape(value, &after[name], &format!("{path}.{name}"), changes);
            }
        }
        (Value::Array(before), Value::Array(after)) => {
            assert_eq!(before.len(), after.len(), "{path}");
            for (index, value) in before.iter().enumerate() {
                same_shape(value, &after[index], &format!("{path}.{index}"), changes);
            }
        }
        (before, after) if before == after => {}
        (Value::String(_), Value::String(_)) | (_, Value::Null) => changes.push(format!("{path}: {before} → {after}")),
        _ => panic!("{path}: {before} → {after}"),
    }
}

#[test]
fn sample_events_keep_their_shape() {
    let samples = sample_events();
    if samples.is_empty() {
        println!("skipped: no sample events");
    }
    let (scrubber, off) =
        (Scrubber::new(&Privacy::default()), Scrubber::new(&Privacy { scrub_data: false, ..Privacy::default() }));
    for (name, payload) in samples {
        check(&payload);
        let cleaned = scrubber.clean(&payload, None).unwrap();
        let mut changes = Vec::new();
        let [before, after] =
            [&payload, cleaned.payload.as_ref()].map(|json| serde_json::from_slice::<Value>(json).unwrap());
        same_shape(&before, &after, &name, &mut changes);
        assert_eq!(changes.is_empty(), cleaned.scrubbed == 0, "{name}");
        for change in &changes {
            println!("{change}");
        }
        assert!(matches!(off.clean(&payload, None).unwrap().payload, Cow::Borrowed(_)), "{name}");
    }
}

/// The shortest of a few runs, which is the one that nothing disturbed.
fn shortest(run: impl Fn()) -> Duration {
    let times = (0..3).map(|_| {
        let start = Instant::now();
        run();
        start.elapsed()
    });
    times.min().unwrap()
}

/// Eight times the length takes about eight times as long, not 64 times. Other work on the machine may get
/// in the way of one comparison, hardly of five.
fn assert_linear(piece: &str, clean: impl Fn(&str)) {
    let [short, long] = [1 << 15, 1 << 18].map(|length| piece.repeat(length / piece.len()));
    let is_linear = || shortest(|| clean(&long)) < shortest(|| clean(&short)) * 40;
    assert!((0..5).any(|_| is_linear()), "{piece}");
}

#[test]
fn time_grows_with_length_only() {
    let scrubber = strict();
    for piece in [
        "[",
        "{\"a\":",
        "[{\"password\":",
        "\"\\\\",
        "{\"cookies\":[{\"key\":",
        "1",
        "\"a\",",
        "{},",
        "{\"key\":1},{},",
        "{\"key\":1},",
    ] {
        for start in ["{\"extra\":", "{\"tags\":[{", "{\"tags\":["] {
            assert_linear(piece, |pieces| drop(scrubber.clean(format!("{start}{pieces}").as_bytes(), None)));
        }
    }
    for piece in [
        "a@",
        "a@a.",
        "\\",
        "\"",
        "[",
        "{\"a\":",
        "[\"",
        "//",
        "//u:",
        "//u:p/",
        "//u:p@",
        "token",
        "token ",
        "bearer ",
        "bearer",
        "4",
        "4-",
        "41 ",
        "078-05-",
        "DE89 ",
        "DE89ABCD",
        "-----BEGIN KEY-----",
        "?a=",
        "?token",
        "&token=x",
        "a=b;",
        "password",
        "otp",
        "::",
        "1.1.",
        "1:",
        "/home/",
        "C:\\Users\\",
        "\\u0077",
        "{\"cookie\":\"",
        "%41",
        "😀",
    ] {
        assert_linear(piece, |text| drop(scrubber.text(text)));
        assert_linear(piece, |text| {
            let request = json!({"url": text, "data": text, "cookies": text, "query_string": text});
            let payload = json!({"extra": text, "message": text, "request": request}).to_string();
            scrubber.clean(payload.as_bytes(), None).unwrap();
        });
    }
}
