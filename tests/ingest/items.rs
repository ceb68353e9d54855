//! Envelopes of several items: each is kept in its table, or has exactly one outcome.

use error_tracking_operator::dsn::PublicKey;
use jiff::{Timestamp, ToSpan};
use serde_json::json;

use crate::{
    client::Client,
    wire::{envelope, event_envelope},
    world::{EVENT, World},
};

const ID: &str = "9ec79c33ec9942ab8353589fcb2e04dc";

fn header() -> String {
    json!({"event_id": ID, "sent_at": Timestamp::now().to_string()}).to_string()
}

fn started() -> String {
    (Timestamp::now() - 5.minutes()).to_string()
}

/// One update of one session.
fn session(sid: u128, sequence: u32, status: &str) -> String {
    json!({
        "sid": format!("{sid:032x}"), "seq": sequence, "init": sequence == 0, "started": started(), "status": status,
        "did": "ann", "errors": u32::from(status == "errored"), "attrs": {"release": "shop@1.0", "environment": "production"},
    })
    .to_string()
}

fn sessions() -> String {
    let aggregate = json!({"started": started(), "exited": 5, "errored": 2, "crashed": 1});
    json!({"aggregates": [aggregate], "attrs": {"release": "shop@1.0", "environment": "production"}}).to_string()
}

const CLIENT_REPORT: &str = r#"{"discarded_events":[{"category":"error","reason":"queue_overflow","quantity":7},
    {"category":"session","reason":"network_error","quantity":2}]}"#;

const HEALTH: &str =
    "SELECT release || ' ' || environment || ': ' || sessions || ' sessions, ' || errored || ' errored, '
    || crashed || ' crashed, ' || healthy || ' healthy, ' || users || ' users'
    FROM {schema}.release_health(now() - interval '1 day')";

#[tokio::test]
async fn every_item_is_kept_or_counted_once() {
    let mut world = World::start().await;
    let user_report = json!({"event_id": ID, "name": "Ann", "email": "ann@shop.example", "comments": "it broke"});
    let feedback = json!({"event_id": ID, "contexts": {"feedback": {
        "message": "slow today", "contact_email": "bob@shop.example", "name": "Bob", "url": "https://shop.example/cart",
    }}});
    let (session, sessions) = (session(1, 0, "ok"), sessions());
    let (user_report, feedback) = (user_report.to_string(), feedback.to_string());
    let items = [
        ("session", session.as_str()),
        ("attachment", "some bytes\nof a file"),
        ("event", EVENT),
        ("sessions", &sessions),
        ("client_report", CLIENT_REPORT),
        ("user_report", &user_report),
        ("feedback", &feedback),
        ("transaction", "{}"),
        ("event", r#"{"message":"a second one"}"#),
        ("from_the_future", "{}"),
        ("span", "{}"),
        ("check_in", "{}"),
        ("replay_recording", "{}\nabc"),
        ("log", "{}"),
    ];
    let answer = world.send(&world.post("envelope", envelope(&header(), &items))).await;
    assert_eq!((answer.status, answer.id().as_deref()), (200, Some(ID)), "{}", answer.body);

    assert_eq!(world.stored().await, 1);
    assert_eq!(world.payloads().await, [EVENT]);
    assert_eq!(
        world.texts(HEALTH).await,
        ["shop@1.0 production: 9 sessions, 2 errored, 1 crashed, 6 healthy, 1 users"]
    );
    let written = "SELECT kind || ': ' || name || ' ' || email || ' ' || message || ' ' || url || ' '
                   || coalesce(event_id::text, '-') FROM {schema}.user_feedback ORDER BY 1";
    let expected = [
        "feedback: Bob bob@shop.example slow today https://shop.example/cart -",
        "report: Ann ann@shop.example it broke  9ec79c33-ec99-42ab-8353-589fcb2e04dc",
    ];
    assert_eq!(world.texts(written).await, expected);

    world.end().await;
    let expected = [
        "attachment dropped attachment x1",
        "default dropped unsupported_item x1",
        "error accepted x1",
        "error client_discard queue_overflow x7",
        "error dropped duplicate_item x1",
        "log_item dropped unsupported_item x1",
        "monitor dropped unsupported_item x1",
        "replay dropped unsupported_item x1",
        "session client_discard network_error x2",
        "span dropped unsupported_item x1",
        "transaction dropped unsupported_item x1",
    ];
    assert_eq!(world.outcomes().await, expected);
}

#[tokio::test]
async fn each_key_has_its_own_outcomes() {
    let mut world = World::start().await;
    let second = PublicKey::from_random([2; 16]);
    let second_id = world.mint(2, &second).await;
    let transaction = envelope("{}", &[("transaction", "{}")]);
    for _ in 0..2 {
        assert_eq!(world.send(&world.post_with(&second, "envelope", transaction.clone())).await.status, 200);
    }
    assert_eq!(world.send(&world.post("envelope", transaction)).await.status, 200);
    world.send(&world.post_with(&PublicKey::from_random([9; 16]), "store", EVENT)).await;
    world.end().await;
    let by_key = "SELECT key_id || ' ' || category || ' ' || reason || ' ' || quantity
                  FROM {schema}.outcomes_since(now()) ORDER BY key_id";
    let expected = [
        "0 error unknown_key 1".to_owned(),
        format!("{} transaction unsupported_item 1", world.key_id),
        format!("{second_id} transaction unsupported_item 2"),
    ];
    assert_eq!(world.texts(by_key).await, expected);
}

#[tokio::test]
async fn a_session_that_is_sent_again_counts_once_and_its_later_states_change_it() {
    let world = World::start().await;
    let mut client = Client::connect(world.address).await.unwrap();
    for (name, sid, sequence, status, health) in [
        ("it begins", 1, 0, "ok", "1 sessions, 0 errored, 0 crashed, 1 healthy, 1 users"),
        ("again", 1, 0, "ok", "1 sessions, 0 errored, 0 crashed, 1 healthy, 1 users"),
        ("another", 2, 0, "ok", "2 sessions, 0 errored, 0 crashed, 2 healthy, 1 users"),
        ("an error", 1, 1, "errored", "2 sessions, 1 errored, 0 crashed, 1 healthy, 1 users"),
        ("the crash", 1, 2, "crashed", "2 sessions, 0 errored, 1 crashed, 1 healthy, 1 users"),
        ("the crash again", 1, 2, "crashed", "2 sessions, 0 errored, 1 crashed, 1 healthy, 1 users"),
        ("the error comes late", 1, 1, "errored", "2 sessions, 0 errored, 1 crashed, 1 healthy, 1 users"),
        ("the other ends", 2, 1, "exited", "2 sessions, 0 errored, 1 crashed, 1 healthy, 1 users"),
    ] {
        let session = session(sid, sequence, status);
        let answer = client.send(&world.post("envelope", envelope("{}", &[("session", &session)]))).await.unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (200, "{}"), "{name}");
        assert_eq!(world.texts(HEALTH).await, [format!("shop@1.0 production: {health}")], "{name}");
    }
    assert_eq!(world.stored().await, 0);
}

#[tokio::test]
async fn one_bad_item_does_not_void_the_others() {
    let too_large = format!(r#"{{"message":"{}"}}"#, "x".repeat(1 << 20));
    let old = session(1, 0, "ok").replace(&Timestamp::now().to_string()[..4], "2001");
    let cases = [
        ("event", "nonsense", "error refused invalid_event x1"),
        ("event", "[]", "error refused invalid_event x1"),
        ("event", &too_large, "error refused too_large x1"),
        ("session", "nonsense", "session dropped invalid_session x1"),
        ("session", "{}", "session dropped invalid_session x1"),
        ("session", &old, "session dropped invalid_session x1"),
        ("sessions", r#"{"aggregates":[]}"#, "session dropped invalid_session x1"),
        ("client_report", "nonsense", "default dropped invalid_report x1"),
        ("user_report", r#"{"comments":"about nothing"}"#, "user_report_v2 dropped invalid_report x1"),
        ("feedback", r#"{"contexts":{}}"#, "feedback dropped invalid_report x1"),
        ("from_the_future", "nonsense", "default dropped unsupported_item x1"),
        ("event", "", "error refused invalid_event x1"),
    ];
    for (number, (kind, payload, outcome)) in (1..).zip(cases) {
        let mut world = World::start().await;
        let good = session(number, 0, "ok");
        let event = r#"{"message":"the good one"}"#;
        let mut items = vec![(kind, payload), ("session", &good)];
        if kind != "event" {
            items.push(("event", event));
        }
        let answer = world.send(&world.post("envelope", envelope(&header(), &items))).await;
        assert_eq!((answer.status, answer.id().as_deref()), (200, Some(ID)), "{kind} {payload:.40}: {}", answer.body);
        let counted = "SELECT coalesce(sum(total), 0)::bigint FROM {schema}.sessions";
        assert_eq!(world.count(counted).await, 1, "{kind} {payload:.40}");
        assert_eq!(world.stored().await, i64::from(kind != "event"), "{kind} {payload:.40}");
        world.end().await;
        let expected: Vec<_> = ["error accepted x1"].into_iter().filter(|_| kind != "event").collect();
        let mut told = world.outcomes().await;
        told.retain(|line| !expected.contains(&line.as_str()));
        assert_eq!(told, [outcome], "{kind} {payload:.40}");
    }
}

#[tokio::test]
async fn an_envelope_of_nothing_but_a_bad_event_is_refused_and_counted_once() {
    let mut world = World::start().await;
    for (payload, status) in [("nonsense", 400), ("5", 400), ("", 400)] {
        let answer = world.send(&world.post("envelope", event_envelope(ID, payload))).await;
        assert_eq!(answer.status, status, "{payload}: {}", answer.body);
    }
    assert_eq!(world.stored().await, 0);
    world.end().await;
    assert_eq!(world.outcomes().await, ["error refused invalid_event x3"]);
}

#[tokio::test]
async fn an_envelope_of_headers_is_answered_and_brings_nothing() {
    let mut world = World::start().await;
    for (body, expected) in [
        ("{}".to_owned(), "{}".to_owned()),
        ("{}\n".to_owned(), "{}".to_owned()),
        ("{}\n\n\n".to_owned(), "{}".to_owned()),
        (format!("{{\"event_id\":\"{ID}\"}}\n"), format!("{{\"id\":\"{ID}\"}}")),
    ] {
        let answer = world.send(&world.post("envelope", body.clone())).await;
        assert_eq!((answer.status, answer.body), (200, expected), "{body:?}");
    }
    world.end().await;
    assert_eq!(world.outcomes().await, [""; 0]);
}

#[tokio::test]
async fn of_two_of_what_an_envelope_has_one_of_the_second_is_counted() {
    let mut world = World::start().await;
    let feedback = |text: &str| json!({"contexts": {"feedback": {"message": text}}}).to_string();
    let (first, second) = (feedback("slow today"), feedback("and so is the other page"));
    let report = |text: &str| json!({"event_id": ID, "comments": text}).to_string();
    let (third, fourth) = (report("it broke"), report("it broke again"));
    let items = [("feedback", &*first), ("feedback", &second), ("user_report", &third), ("user_report", &fourth)];
    let answer = world.send(&world.post("envelope", envelope(&header(), &items))).await;
    assert_eq!((answer.status, answer.id().as_deref()), (200, Some(ID)));
    let messages = world.texts("SELECT message FROM {schema}.user_feedback ORDER BY 1").await;
    assert_eq!(messages, ["it broke", "it broke again", "slow today"]);
    world.end().await;
    assert_eq!(world.outcomes().await, ["feedback dropped duplicate_item x1"]);
}

#[tokio::test]
async fn a_transaction_under_the_name_of_an_event_is_answered_and_counted() {
    let mut world = World::start().await;
    let transaction = json!({"event_id": ID, "type": "transaction", "transaction": "/cart"}).to_string();
    for request in [world.post("store", transaction.clone()), world.post("envelope", event_envelope(ID, &transaction))]
    {
        let answer = world.send(&request).await;
        assert_eq!((answer.status, answer.id().as_deref()), (200, Some(ID)), "{}", answer.body);
    }
    assert_eq!(world.stored().await, 0);
    world.end().await;
    assert_eq!(world.outcomes().await, ["transaction dropped unsupported_item x2"]);
}
