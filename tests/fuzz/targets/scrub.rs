//! Scrubbing: what comes out is JSON that a second walk leaves as it is, and no secret is in it.

use error_tracking_operator::{
    protocol::{
        event,
        event::{EventError, MAX_BYTES},
    },
    scrub::Scrubber,
    settings::Privacy,
};
use serde_json::{Value, json};

use super::receipt;

const SECRET: &str = "hunter2planted";

fn strict() -> Scrubber {
    Scrubber::new(&Privacy {
        scrub_ip_addresses: true,
        sensitive_fields: vec!["pin".into()],
        safe_fields: vec!["author".into()],
        ..Privacy::default()
    })
}

pub fn check(input: &[u8]) {
    for scrubber in [Scrubber::new(&Privacy::default()), strict()] {
        let Ok(cleaned) = scrubber.clean(input, None) else { continue };
        let text = std::str::from_utf8(&cleaned.payload).expect("UTF-8");
        assert!(!text.contains('\0'), "NUL");
        if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(text) {
            panic!("cleaned and not JSON: {error}");
        }
        match event::parse(&cleaned.payload, &receipt()) {
            Ok(event) => super::event::check_event(&event),
            Err(EventError::TooLarge(_)) => assert!(text.len() > MAX_BYTES),
            Err(error) => panic!("cleaned and not an event: {error}"),
        }
        let again = scrubber.clean(&cleaned.payload, None).expect("what was cleaned can be cleaned");
        assert!(again.payload == cleaned.payload, "cleaned twice is not cleaned once");
        assert_eq!((again.scrubbed, again.repaired), (0, 0), "something was left to do");
        let (explained, _) = scrubber.explain(input, None).expect("what can be cleaned can be explained");
        assert!(explained == cleaned, "explained in another way than cleaned");
    }
    let text = String::from_utf8_lossy(input.get(..4096).unwrap_or(input));
    let scrubber = strict();
    let once = scrubber.text(&text);
    assert!(scrubber.text(&once) == once, "text cleaned twice is not cleaned once");
}

/// Secrets put into an event of any shape, where nothing needs to stay readable.
pub fn check_planted(input: &[u8]) {
    let Ok(Value::Object(event)) = serde_json::from_slice::<Value>(input) else { return };
    // Numbers that are the same for the same input, so that a failure comes back.
    let mut number = input
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3));
    let mut below = |bound: u64| {
        number ^= number << 13;
        number ^= number >> 7;
        number ^= number << 17;
        usize::try_from(number % bound).unwrap_or_default()
    };
    let mut planted = [
        json!({"password": SECRET}),
        json!({"ApiKey": [SECRET, {"a": SECRET}]}),
        json!({"x-auth-token": {"deep": {"deeper": SECRET}}}),
        json!({"client_secret": format!("{SECRET}\u{0}\n\"")}),
        json!(format!("Bearer {SECRET}")),
        json!(format!("postgres://app:{SECRET}@db.example/shop")),
        json!(format!("password={SECRET}")),
        json!(format!("-----BEGIN RSA PRIVATE KEY-----\n{SECRET}\n-----END RSA PRIVATE KEY-----")),
        json!({"Cookie": format!("sessionid={SECRET}; csrftoken={SECRET}")}),
        json!("4111111111111111 or DE89370400440532013000 or 078-05-1120"),
    ][below(10)]
    .clone();
    for _ in 0..below(5) {
        planted = match below(4) {
            0 => json!([1, planted]),
            1 => json!({"a": planted, "b": null}),
            2 => Value::from(json!([planted]).to_string()),
            _ => Value::from(json!({"a": planted}).to_string()),
        };
    }
    // In the place of something that is there, if there is any.
    let place = ["extra", "contexts", "unknown", "user", "breadcrumbs", "exception", "request"][below(7)];
    let planted = match place {
        "contexts" => json!({"app": {"a": planted}}),
        "user" => json!({"data": planted}),
        "breadcrumbs" => json!({"values": [{"data": {"a": planted}}]}),
        "exception" => json!([{"stacktrace": {"frames": [{"vars": {"a": planted}}]}}]),
        "request" => json!({"data": planted, "env": {"A": planted}, "headers": [["X-A", planted.to_string()]]}),
        _ => planted,
    };
    let mut event = event;
    event.insert(place.to_owned(), planted);
    let payload = Value::Object(event).to_string();
    let cleaned = Scrubber::new(&Privacy::default()).clean(payload.as_bytes(), None).expect("JSON of an object");
    let stored = String::from_utf8_lossy(&cleaned.payload);
    let whole_numbers = [SECRET, "4111111111111111 or DE89", "or 078-05-1120"];
    for secret in whole_numbers {
        assert!(!stored.contains(secret), "{secret} of {place} was stored: {}", around(&stored, secret));
    }
}

fn around(text: &str, found: &str) -> String {
    let at = text.find(found).unwrap_or_default();
    let from = text.floor_char_boundary(at.saturating_sub(200));
    let to = text.floor_char_boundary((at + 100).min(text.len()));
    text[from..to].to_owned()
}
