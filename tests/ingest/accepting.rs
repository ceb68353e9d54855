//! Requests that are accepted, in all the ways clients send them.

use std::io::Write;

use base64::{Engine, engine::general_purpose::STANDARD};
use flate2::{
    Compression,
    write::{GzEncoder, ZlibEncoder},
};

use crate::{
    client::{Client, Request},
    world::{EVENT, World},
};

const ID: &str = "9ec79c33ec9942ab8353589fcb2e04dc";

fn envelope(id: &str) -> String {
    format!("{{\"event_id\":\"{id}\"}}\n{{\"type\":\"event\"}}\n{EVENT}\n")
}

pub fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

pub fn zlib(plain: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
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
        ("gzip", world.post("envelope", gzip(envelope(&id(2)).as_bytes())).header("Content-Encoding", "gzip")),
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

#[tokio::test]
async fn other_items_are_accepted_and_counted() {
    let mut world = World::start().await;
    let session = "{}\n{\"type\":\"session\"}\n{\"started\":\"2026-11-22T10:00:00Z\"}\n";
    let answer = world.send(&world.post("envelope", session)).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "{}"));
    let mixed = format!(
        "{{}}\n{{\"type\":\"client_report\"}}\n{{}}\n{{\"type\":\"event\"}}\n{EVENT}\n{{\"type\":\"event\"}}\n{EVENT}\n\
         {{\"type\":\"attachment\",\"length\":3}}\nabc\n{{\"type\":\"from_the_future\"}}\n{{}}\n"
    );
    let answer = world.send(&world.post("envelope", mixed)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(world.stored().await, 1);
    let reasons = ["session", "client_report", "duplicate_item", "attachment", "unsupported_item"];
    for reason in reasons {
        let line = format!("errortracking_ingest_outcomes_total{{outcome=\"dropped\",reason=\"{reason}\"}}");
        assert_eq!(world.metric(&line).await, 1, "{reason}");
    }
    // The last heartbeat tells the store.
    world.end().await;
    let told = world.count("SELECT coalesce(sum(quantity), 0)::bigint FROM {schema}.outcomes").await;
    assert_eq!(told, i64::try_from(reasons.len()).unwrap());
}

#[tokio::test]
async fn samples_of_real_clients_are_all_stored_by_both_endpoints() {
    let Some(directory) = std::env::var_os("ERROR_TRACKING_SAMPLES") else {
        println!("skipped: ERROR_TRACKING_SAMPLES does not name a folder of events");
        return;
    };
    let world = World::start().await;
    let mut client = Client::connect(world.address).await.unwrap();
    let mut sent = 0;
    for file in std::fs::read_dir(directory).unwrap() {
        let path = file.unwrap().path();
        let event: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let event = serde_json::to_string(&event).unwrap();
        for endpoint in ["store", "envelope"] {
            sent += 1;
            let body = match endpoint {
                "store" => event.clone(),
                _ => format!("{{\"event_id\":\"{sent:032x}\"}}\n{{\"type\":\"event\"}}\n{event}\n"),
            };
            let answer = client.send(&world.post(endpoint, body)).await.unwrap();
            assert_eq!(answer.status, 200, "{} to {endpoint}: {}", path.display(), answer.body);
        }
    }
    // Some of the samples are one event under the same id.
    let duplicates = world.metric("errortracking_ingest_events_total{outcome=\"duplicate\"}").await;
    assert_eq!(world.stored().await + i64::try_from(duplicates).unwrap(), sent);
    println!("{sent} sent, {duplicates} of them duplicates");
}
