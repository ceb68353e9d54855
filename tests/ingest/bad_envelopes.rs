//! Envelopes that are cut, lie about their lengths, or hold too much.

use std::fmt::Write;

use crate::{
    client::Client,
    wire::envelope,
    world::{EVENT, World},
};

const ID: &str = "9ec79c33ec9942ab8353589fcb2e04dc";

#[tokio::test]
async fn an_envelope_that_is_cut_anywhere_is_answered_and_stored_at_most_once() {
    let world = World::start().await;
    let mut client = Client::connect(world.address).await.unwrap();
    let started = jiff::Timestamp::now().to_string();
    let session = format!(r#"{{"sid":"{ID}","init":true,"started":"{started}","attrs":{{"release":"1.0"}}}}"#);
    let report = format!(r#"{{"event_id":"{ID}","comments":"it broke"}}"#);
    let header = format!(r#"{{"event_id":"{ID}","sent_at":"{started}"}}"#);
    let with_lengths =
        envelope(&header, &[("session", &session), ("attachment", "a\nb"), ("event", EVENT), ("user_report", &report)]);
    let without = format!(
        "{header}\n{{\"type\":\"session\"}}\n{session}\n{{\"type\":\"event\"}}\n{EVENT}\n{{\"type\":\"user_report\"}}\n{report}\n"
    );
    let mut statuses = [0_u32; 2];
    for whole in [with_lengths, without.into_bytes()] {
        for length in 0..=whole.len() {
            let answer = client.send(&world.post("envelope", &whole[..length])).await.unwrap();
            match answer.status {
                200 => statuses[0] += 1,
                400 => statuses[1] += 1,
                other => panic!("cut at {length}: {other} {}", answer.body),
            }
        }
        assert_eq!(world.stored().await, 1);
        assert_eq!(world.count("SELECT sum(total)::bigint FROM {schema}.sessions").await, 1);
        assert_eq!(world.count("SELECT count(*) FROM {schema}.user_feedback").await, 1);
    }
    println!("{} accepted, {} refused", statuses[0], statuses[1]);
    let event = br#"{"message":"m","exception":[{"type":"E","value":"\u00e4"}],"extra":{"a":[1,2.5e3,true,null]}}"#;
    for length in 0..event.len() {
        let answer = client.send(&world.post("store", &event[..length])).await.unwrap();
        assert_eq!(answer.status, 400, "cut at {length}: {}", answer.body);
    }
    assert_eq!(world.stored().await, 1);
}

#[tokio::test]
async fn lengths_that_lie_and_too_many_items_are_refused() {
    let world = World::start().await;
    let with_length = |length: &str| format!("{{}}\n{{\"type\":\"event\",\"length\":{length}}}\n{EVENT}\n");
    let right = EVENT.len();
    let items = |number: usize| {
        let mut envelope = "{}\n".to_owned();
        for number in 0..number {
            write!(envelope, "{{\"type\":\"from_the_future\"}}\n{number}\n").unwrap();
        }
        envelope
    };
    for (name, body, status, events) in [
        ("right", with_length(&right.to_string()), 200, 1),
        ("null", with_length("null"), 200, 1),
        ("too long", with_length(&(right + 5).to_string()), 400, 0),
        ("up to the end, with the newline", with_length(&(right + 1).to_string()), 200, 1),
        ("too short", with_length(&(right - 1).to_string()), 400, 0),
        ("zero", with_length("0"), 400, 0),
        ("2^64 - 1", with_length("18446744073709551615"), 400, 0),
        ("2^64", with_length("18446744073709551616"), 400, 0),
        ("2^63", with_length("9223372036854775808"), 400, 0),
        ("negative", with_length("-1"), 400, 0),
        ("fraction", with_length("1.5"), 400, 0),
        ("text", with_length("\"35\""), 400, 0),
        ("twice", with_length(&format!("{right},\"length\":1")), 400, 0),
        ("500 items", items(500), 200, 0),
        ("501 items", items(501), 400, 0),
        ("100,000 items", items(100_000), 400, 0),
        ("no type", format!("{{}}\n{{}}\n{EVENT}\n"), 400, 0),
        ("type is no text", format!("{{}}\n{{\"type\":5}}\n{EVENT}\n"), 400, 0),
        ("header is an array", format!("[]\n{{\"type\":\"event\"}}\n{EVENT}\n"), 400, 0),
        ("byte order mark", format!("\u{feff}{{}}\n{{\"type\":\"event\"}}\n{EVENT}\n"), 400, 0),
        ("blank lines at the end", format!("{}\n\n\n", with_length(&right.to_string())), 200, 1),
        ("only blanks", " \n \n".into(), 400, 0),
    ] {
        let before = world.stored().await;
        let answer = world.send(&world.post("envelope", body)).await;
        assert_eq!(answer.status, status, "{name}: {}", answer.body);
        assert_eq!(world.stored().await - before, events, "{name}");
        if status == 400 {
            let said = answer.header("x-sentry-error").unwrap();
            assert!(said.starts_with("invalid event envelope: "), "{name}: {said}");
        }
    }
}
