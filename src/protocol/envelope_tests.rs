use proptest::prelude::*;

use super::*;

const ID: &str = "9ec79c33ec9942ab8353589fcb2e04dc";

fn parsed(body: &str) -> Result<Envelope, EnvelopeError> {
    parse(&Bytes::copy_from_slice(body.as_bytes()))
}

fn items(body: &str) -> Vec<(String, String)> {
    let envelope = parsed(body).unwrap_or_else(|error| panic!("{body:?}: {error}"));
    let text = |item: &Item| String::from_utf8_lossy(&item.payload).into_owned();
    envelope.items.iter().map(|item| (item.kind.name().to_owned(), text(item))).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(kind, payload)| ((*kind).to_owned(), (*payload).to_owned())).collect()
}

#[test]
fn items_are_cut_to_the_byte() {
    for (body, expected) in [
        ("{}", &[][..]),
        ("{}\n", &[]),
        ("{}\n\n\n", &[]),
        ("{}\r\n", &[]),
        ("{}\n{\"type\":\"event\"}\n{}", &[("event", "{}")]),
        ("{}\n{\"type\":\"event\",\"length\":2}\n{}\n", &[("event", "{}")]),
        ("{}\n{\"type\":\"event\",\"length\":null}\n{}\n", &[("event", "{}")]),
        ("{}\n{\"type\":\"event\",\"length\":3}\n{}\r\n", &[("event", "{}\r")]),
        ("{}\n{\"type\":\"event\"}\n{}\r\n", &[("event", "{}\r")]),
        ("{}\n{\"type\":\"attachment\",\"length\":3}\na\nb\n\n", &[("attachment", "a\nb")]),
        ("{}\n{\"type\":\"attachment\",\"length\":0}\n", &[("attachment", "")]),
        ("{}\n{\"type\":\"attachment\",\"length\":0}", &[("attachment", "")]),
        (
            "{}\n{\"type\":\"attachment\",\"length\":0}\n\n{\"type\":\"event\"}\n{}",
            &[("attachment", ""), ("event", "{}")],
        ),
        (
            "{}\n{\"type\":\"session\"}\n{\"a\":1}\n{\"type\":\"tomorrow\"}\nx",
            &[("session", "{\"a\":1}"), ("unknown", "x")],
        ),
    ] {
        assert_eq!(items(body), pairs(expected), "{body:?}");
    }
}

#[test]
fn malformed_envelopes_are_refused_with_their_reason() {
    use EnvelopeError as E;
    for (body, error) in [
        ("", E::Empty),
        ("\n{}", E::MissingHeader),
        ("[]\n", E::InvalidHeader),
        ("{", E::InvalidHeader),
        ("{} {}", E::InvalidHeader),
        ("\u{feff}{}\n", E::InvalidHeader),
        ("{\"event_id\":\"nonsense\"}\n", E::InvalidHeader),
        ("{\"event_id\":\"00000000000000000000000000000000\"}\n", E::InvalidHeader),
        ("{\"dsn\":\"nonsense\"}\n", E::InvalidHeader),
        ("{\"event_id\":\"00000000000000000000000000000001\",\"event_id\":7}\n", E::InvalidHeader),
        ("{}\n{}\n{}", E::InvalidItemHeader),
        ("{}\nnonsense\n{}", E::InvalidItemHeader),
        ("{}\n{\"type\":\"event\",\"length\":\"2\"}\n{}", E::InvalidItemHeader),
        ("{}\n{\"type\":\"event\",\"length\":-1}\n{}", E::InvalidItemHeader),
        ("{}\n{\"type\":\"event\",\"length\":3}\n{}", E::UnexpectedEnd),
        ("{}\n{\"type\":\"event\",\"length\":18446744073709551615}\n{}", E::UnexpectedEnd),
        ("{}\n{\"type\":\"event\",\"length\":1}\n{}", E::MissingNewline),
    ] {
        assert_eq!(parsed(body), Err(error), "{body:?}");
    }
}

#[test]
fn headers_are_read() {
    let header = format!(
        r#"{{"event_id":"{ID}","dsn":"https://abc:secret@errors.example:8443/prefix/42","sent_at":"2026-11-22T10:00:00Z","trace":{{}},"sdk":{{"name":"sentry.python","version":"2.68.0","packages":[]}},"new":[1]}}"#
    );
    let envelope = parsed(&header).unwrap();
    assert_eq!(envelope.event_id.unwrap().to_string(), ID);
    assert_eq!(envelope.sent_at.unwrap().to_string(), "2026-11-22T10:00:00Z");
    assert_eq!(envelope.sdk.as_deref(), Some("sentry.python/2.68.0"));
    let dsn = envelope.dsn.as_ref().unwrap();
    assert_eq!((dsn.public_key.as_str(), dsn.project_id.get()), ("abc", 42));
    let (project, key) = (dsn.project_id, dsn.public_key.clone());
    assert_eq!(envelope.check_dsn(project, &key), Ok(()));
    assert_eq!(envelope.check_dsn(ProjectId::new(7).unwrap(), &key), Err(EnvelopeError::ProjectMismatch));
    assert_eq!(envelope.check_dsn(project, &"other".parse().unwrap()), Err(EnvelopeError::KeyMismatch));
}

#[test]
fn an_unreadable_sent_at_does_not_cost_the_envelope() {
    for sent_at in ["null", "\"yesterday\"", "{}", "true"] {
        assert_eq!(parsed(&format!("{{\"sent_at\":{sent_at}}}")).unwrap().sent_at, None, "{sent_at}");
    }
}

#[test]
fn the_name_of_an_sdk_never_costs_the_envelope() {
    for (sdk, expected) in [
        (r#"{"name":"sentry.go"}"#, Some("sentry.go")),
        (r#"{"name":"sentry.go","version":5}"#, Some("sentry.go")),
        (r#"{"version":"1"}"#, None),
        ("null", None),
        ("[]", None),
        (r#""sentry.go""#, None),
    ] {
        assert_eq!(parsed(&format!("{{\"sdk\":{sdk}}}")).unwrap().sdk.as_deref(), expected, "{sdk}");
    }
}

/// What a proxy or a broken client may do to lengths: every claim but the true one is noticed, or leaves
/// whole lines.
#[test]
fn lengths_that_lie_never_reach_beyond_the_body() {
    let event = r#"{"message":"hello"}"#;
    for claimed in (0..60).chain([1 << 20, u64::from(u32::MAX), u64::MAX - 1, u64::MAX]) {
        let body =
            format!("{{}}\n{{\"type\":\"event\",\"length\":{claimed}}}\n{event}\n{{\"type\":\"session\"}}\n{{}}\n");
        let first = parsed(&body).map(|envelope| envelope.items[0].payload.clone());
        match first {
            Ok(payload) if usize::try_from(claimed) == Ok(event.len()) => assert_eq!(payload, event),
            // Whatever ends before a newline is an item, as the format has it.
            Ok(payload) => assert!(payload.len() as u64 == claimed && payload != event, "{claimed}: {payload:?}"),
            Err(error) => assert!(
                matches!(
                    error,
                    EnvelopeError::MissingNewline | EnvelopeError::UnexpectedEnd | EnvelopeError::InvalidItemHeader
                ),
                "{claimed}: {error}"
            ),
        }
    }
}

#[test]
fn the_number_of_items_and_the_length_of_a_header_are_limited() {
    let with_items = |count| format!("{{}}\n{}", "{\"type\":\"event\"}\n{}\n".repeat(count));
    assert_eq!(parsed(&with_items(MAX_ITEMS)).unwrap().items.len(), MAX_ITEMS);
    assert_eq!(parsed(&with_items(MAX_ITEMS + 1)), Err(EnvelopeError::TooManyItems));
    let with_header = |length: usize| format!("{{{}}}", " ".repeat(length - 2));
    assert!(parsed(&with_header(MAX_HEADER_BYTES)).is_ok());
    assert_eq!(parsed(&with_header(MAX_HEADER_BYTES + 1)), Err(EnvelopeError::InvalidHeader));
}

#[test]
fn payloads_are_not_copied() {
    let body = Bytes::from_static(b"{}\n{\"type\":\"event\"}\n{\"message\":1}\n");
    let envelope = parse(&body).unwrap();
    assert!(body.as_ptr_range().contains(&envelope.items[0].payload.as_ptr()));
}

#[test]
fn every_known_type_has_its_own_name() {
    for (kind, name) in ItemKind::NAMES {
        assert_eq!((ItemKind::from_name(name), kind.name()), (kind.clone(), name));
    }
}

#[test]
fn an_envelope_cut_anywhere_is_refused_or_has_whole_items_only() {
    let event = r#"{"message":"hello world","level":"error"}"#;
    let whole = format!(
        "{{\"event_id\":\"{ID}\"}}\n{{\"type\":\"event\",\"length\":{}}}\n{event}\n{{\"type\":\"attachment\",\"length\":3}}\na\nb\n",
        event.len()
    );
    for length in 0..whole.len() {
        match parsed(&whole[..length]) {
            Ok(envelope) => {
                let payloads: Vec<&[u8]> = envelope.items.iter().map(|item| &*item.payload).collect();
                let complete: [&[&[u8]]; 3] = [&[], &[event.as_bytes()], &[event.as_bytes(), b"a\nb"]];
                assert!(complete.contains(&&*payloads), "cut at {length}: {payloads:?}");
            }
            Err(error) => assert_ne!(error, EnvelopeError::TooManyItems, "cut at {length}"),
        }
    }
}

proptest! {
    #[test]
    fn an_envelope_is_cut_at_every_byte_without_harm(
        payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20), 0..4), lie in -3_i64..4
    ) {
        let mut body = b"{\"dsn\":\"https://abc@h/1\"}\n".to_vec();
        for payload in &payloads {
            let length = i64::try_from(payload.len()).unwrap() + lie;
            body.extend(format!("{{\"type\":\"attachment\",\"length\":{length}}}\n").bytes());
            body.extend(payload);
            body.push(b'\n');
        }
        for length in 0..=body.len() {
            if let Ok(envelope) = parse(&Bytes::copy_from_slice(&body[..length])) {
                let total: usize = envelope.items.iter().map(|item| item.payload.len()).sum();
                prop_assert!(total <= length);
            }
        }
    }

    #[test]
    fn any_bytes_are_cut_or_refused(body: Vec<u8>) {
        let _ = parse(&body.into());
    }

    #[test]
    fn anything_after_a_good_header_is_cut_or_refused(lines in proptest::collection::vec(
        prop_oneof![r#"\{"type":"event"(,"length":[0-9]{1,3})?\}"#, "[ -~]{0,40}"], 0..10))
    {
        let _ = parsed(&format!("{{}}\n{}", lines.join("\n")));
    }

    #[test]
    fn items_come_out_as_they_went_in(payloads: Vec<Vec<u8>>) {
        let mut body = b"{}".to_vec();
        for payload in &payloads {
            body.extend(format!("\n{{\"type\":\"attachment\",\"length\":{}}}\n", payload.len()).bytes());
            body.extend(payload);
        }
        let envelope = parse(&body.into()).unwrap();
        let found: Vec<&[u8]> = envelope.items.iter().map(|item| &*item.payload).collect();
        prop_assert_eq!(found, payloads);
    }
}

#[test]
fn a_header_that_is_repeated_refuses_nothing() {
    let body = "{\"dsn\":\"nonsense\",\"sent_at\":\"2026-01-01T00:00:00Z\",\"sent_at\":\"2026-01-02T00:00:00Z\",\
                \"event_id\":\"0000000000000000000000000000000a\",\"event_id\":\"0000000000000000000000000000000b\",\
                \"dsn\":\"https://0123456789abcdef0123456789abcdef@errors.example/7\",\"trace\":{},\"trace\":{}}\n\
                {\"type\":\"attachment\",\"length\":9,\"type\":\"event\",\"length\":2}\n{}";
    let envelope = parsed(body).unwrap();
    assert_eq!(envelope.event_id, Some("0000000000000000000000000000000b".parse().unwrap()));
    assert_eq!(envelope.dsn.map(|dsn| dsn.project_id.as_i64()), Some(7));
    assert_eq!(envelope.sent_at.map(|at| at.to_string()).as_deref(), Some("2026-01-02T00:00:00Z"));
    assert_eq!((envelope.items.len(), &envelope.items[0].kind), (1, &ItemKind::Event));
}
