//! Requests that are accepted, in all the ways clients send them.

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{
    client::{Client, Request},
    wire::{event_envelope, gzip, zlib},
    world::{EVENT, World},
};

const ID: &str = "9ec79c33ec9942ab8353589fcb2e04dc";

fn envelope(id: &str) -> Vec<u8> {
    event_envelope(id, EVENT)
}

#[tokio::test]
async fn every_way_to_send_an_event_stores_it_once() {
    let world = World::start().await;
    let key = world.key.as_str().to_owned();
    let id = |number: u32| format!("{number:032x}");
    let big = format!("{{\"message\":\"{}\"}}", "x".repeat(200_000));
    let query = format!("?sentry_key={key}&sentry_version=7&sentry_client=sentry.javascript.node%2F10.63.0");
    let in_envelope = format!(
        "{{\"event_id\":\"{}\",\"dsn\":\"https://{key}@errors.example.com/{}\"}}\n{{\"type\":\"event\"}}\n{EVENT}",
        id(6),
        world.project
    );
    let basic = format!("Basic {}", STANDARD.encode(format!("{key}:")));
    let requests = [
        ("envelope", world.post("envelope", envelope(&id(1)))),
        ("store", world.post("store", EVENT)),
        ("gzip", world.post("envelope", gzip(&envelope(&id(2)))).header("Content-Encoding", "gzip")),
        ("zlib", world.post("store", zlib(EVENT.as_bytes())).header("Content-Encoding", "deflate")),
        ("no encoding (Ruby)", world.post("envelope", envelope(&id(3))).header("Content-Encoding", "")),
        ("chunked (Node)", world.post("envelope", envelope(&id(4))).chunked()),
        ("chunked and large", world.post("store", big.clone()).chunked()),
        ("large and gzip", world.post("store", gzip(big.as_bytes())).header("Content-Encoding", "gzip")),
        ("query", Request::post(world.path("envelope") + &query, envelope(&id(5)))),
        ("dsn in the envelope", Request::post(world.path("envelope"), in_envelope)),
        ("basic", Request::post(world.path("store"), EVENT).header("Authorization", basic)),
        ("raven", world.post("store", STANDARD.encode(zlib(EVENT.as_bytes())))),
        ("base64", world.post("store", STANDARD.encode(EVENT))),
        (
            "envelope to store",
            world.post("store", envelope(&id(7))).header("Content-Type", "application/x-sentry-envelope"),
        ),
    ];
    for (number, (name, request)) in requests.iter().enumerate() {
        let answer = world.send(request).await;
        assert_eq!(answer.status, 200, "{name}: {}", answer.body);
        assert_eq!(answer.id().map(|id| id.len()), Some(32), "{name}: {}", answer.body);
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "{name}");
        assert_eq!(answer.header("retry-after"), None, "{name}");
        assert_eq!(world.stored().await, i64::try_from(number + 1).unwrap(), "{name}");
    }
    let stored = world.metric("errortracking_ingest_events_total{outcome=\"stored\"}").await;
    assert_eq!(stored, requests.len() as u64);
}

#[tokio::test]
async fn any_prefix_leads_to_the_project() {
    let world = World::start().await;
    let project = world.project;
    for (number, path) in [
        format!("/api/v4/error_tracking/collector/api/{project}/store/"),
        format!("/errortracking/api/v1/projects/api/{project}/store/"),
        format!("//api///{project}/store"),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = world.send(&Request::post(format!("{path}?sentry_key={}", world.key.as_str()), EVENT)).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        assert_eq!(world.stored().await, i64::try_from(number + 1).unwrap(), "{path}");
    }
}

#[tokio::test]
async fn an_event_is_stored_under_the_envelopes_id_and_counted_once() {
    let world = World::start().await;
    let with_own_id = format!(
        "{{\"event_id\":\"{ID}\"}}\n{{\"type\":\"event\"}}\n{{\"event_id\":\"{}\",\"message\":\"hello\"}}",
        "f".repeat(32)
    );
    let mut client = Client::connect(world.address).await.unwrap();
    for attempt in 0..3 {
        let answer = client.send(&world.post("envelope", with_own_id.clone())).await.unwrap();
        assert_eq!((answer.status, answer.id().as_deref()), (200, Some(ID)), "attempt {attempt}");
        assert_eq!(world.stored().await, 1);
    }
    let sent = format!("SELECT count(*) FROM {{schema}}.events WHERE event_id = '{ID}'");
    assert_eq!(world.count(&sent).await, 1);
    assert_eq!(world.metric("errortracking_ingest_events_total{outcome=\"duplicate\"}").await, 2);
}
