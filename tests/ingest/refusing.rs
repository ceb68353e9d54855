//! Requests that are refused: the right status, Sentry's error body, nothing stored, a counter.

use crate::{
    client::{self, Request},
    wire::gzip,
    world::{EVENT, World},
};

#[tokio::test]
async fn bad_requests_are_refused_with_their_reason_and_nothing_is_stored() {
    let world = World::start().await;
    let key = world.key.as_str();
    let event = |envelope: &str| world.post("envelope", envelope.to_owned());
    let mismatch = format!("{{\"dsn\":\"https://{key}@errors.example.com/999\"}}\n{{\"type\":\"event\"}}\n{EVENT}");
    let too_large = format!("{{\"message\":\"{}\"}}", "x".repeat(1 << 20));
    let bomb = gzip(&vec![b' '; 110 << 20]);
    let cases = [
        ("no route", world_get("/"), 404, "no_route"),
        ("other route", Request::post("/api/1/unreal/", ""), 404, "no_route"),
        ("GET", world_get(&world.path("envelope")), 405, "no_route"),
        ("image without a key", world_get(&world.path("store")), 401, "missing_key"),
        ("image without an event", world_get(&format!("{}?sentry_key={key}", world.path("store"))), 400, "empty_body"),
        ("project is no number", Request::post("/api/shop/store/", EVENT), 400, "bad_project_id"),
        ("no key", Request::post(world.path("store"), EVENT), 401, "missing_key"),
        ("no key, no dsn", Request::post(world.path("envelope"), "{}\n"), 401, "missing_key"),
        (
            "bad header",
            Request::post(world.path("store"), EVENT).header("X-Sentry-Auth", "nonsense"),
            401,
            "bad_authentication",
        ),
        (
            "version 8",
            Request::post(format!("{}?sentry_key={key}&sentry_version=8", world.path("store")), EVENT),
            400,
            "bad_authentication",
        ),
        ("other project", Request::post(format!("/api/999/store/?sentry_key={key}"), EVENT), 403, "unknown_key"),
        ("empty", event(""), 400, "empty_body"),
        ("header is no object", event("[]\n"), 400, "invalid_envelope"),
        ("item is cut", event("{}\n{\"type\":\"event\",\"length\":100}\n{}"), 400, "invalid_envelope"),
        ("dsn of another project", event(&mismatch), 400, "invalid_envelope"),
        ("event is no JSON", world.post("store", "{\"message\""), 400, "invalid_event"),
        ("event is too large", world.post("store", too_large.clone()), 413, "too_large"),
        (
            "event in envelope is too large",
            event(&format!("{{}}\n{{\"type\":\"event\"}}\n{too_large}")),
            413,
            "too_large",
        ),
        ("bad gzip", world.post("store", "not gzip").header("Content-Encoding", "gzip"), 400, "corrupt_encoding"),
        ("empty gzip", world.post("store", "").header("Content-Encoding", "gzip"), 400, "empty_body"),
        (
            "unknown coding",
            world.post("store", EVENT).header("Content-Encoding", "compress"),
            415,
            "unsupported_encoding",
        ),
        (
            "two codings",
            world.post("store", EVENT).header("Content-Encoding", "gzip, gzip"),
            415,
            "unsupported_encoding",
        ),
        ("bomb to store", world.post("store", bomb.clone()).header("Content-Encoding", "gzip"), 413, "too_large"),
        ("bomb to envelope", world.post("envelope", bomb.clone()).header("Content-Encoding", "gzip"), 413, "too_large"),
        ("body is too large", world.post("envelope", vec![b' '; (20 << 20) + 1]), 413, "too_large"),
        ("body is too large, chunked", world.post("envelope", vec![b' '; (20 << 20) + 1]).chunked(), 413, "too_large"),
    ];
    for (name, request, status, reason) in cases {
        let line = format!("errortracking_ingest_outcomes_total{{outcome=\"refused\",reason=\"{reason}\"}}");
        let before = world.metric(&line).await;
        let answer = world.send(&request).await;
        assert_eq!(answer.status, status, "{name}: {}", answer.body);
        let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        let behind = body["causes"].as_array().into_iter().flatten().map(|cause| cause.as_str().unwrap());
        let (detail, behind) = (body["detail"].as_str().unwrap(), behind.collect::<Vec<_>>().join(", "));
        let said = if behind.is_empty() { detail.to_owned() } else { format!("{detail}: {behind}") };
        assert_eq!(answer.header("x-sentry-error"), Some(said.as_str()), "{name}: {}", answer.body);
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "{name}");
        assert_eq!(answer.header("retry-after"), None, "{name}");
        assert_eq!(world.metric(&line).await, before + 1, "{name}");
    }
    assert_eq!(world.stored().await, 0);
    assert_eq!(world.send(&world.post("store", EVENT)).await.status, 200, "the server still serves");
}

fn world_get(path: &str) -> Request {
    Request::new("GET", path)
}

#[tokio::test]
async fn a_browser_may_ask_first() {
    let world = World::start().await;
    let answer = world.send(&Request::new("OPTIONS", world.path("envelope"))).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("access-control-allow-methods"), Some("POST"));
    assert_eq!(world.send(&Request::new("OPTIONS", "/elsewhere")).await.status, 404);
}

/// Events of this id are refused by the database.
const UNWELCOME: &str = "CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
         IF NEW.event_id = '00000000-0000-0000-0000-000000000007' THEN
             RAISE EXCEPTION 'seven is not welcome' USING ERRCODE = 'check_violation';
         END IF;
         RETURN NEW;
     END $$;
     CREATE TRIGGER refuse BEFORE INSERT ON {schema}.events FOR EACH ROW EXECUTE FUNCTION public.refuse()";

/// The statuses of events 1 to `events`. They wait behind a lock together, and so come in one batch.
async fn send_as_one_batch(world: &World, events: u32) -> Vec<u16> {
    let mut lock = world.pool.begin().await.unwrap();
    let table = format!("LOCK TABLE {}.ingest_marks IN ACCESS EXCLUSIVE MODE", world.project.schema());
    sqlx::query(sqlx::AssertSqlSafe(table)).execute(&mut *lock).await.unwrap();
    let sending = futures::future::join_all((1..=events).map(|number| {
        let body = format!("{{\"event_id\":\"{number:032x}\",\"message\":\"hello\"}}");
        let request = world.post("store", body);
        let address = world.address;
        async move { client::send(address, &request).await.status }
    }));
    let unlocking = async {
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        lock.rollback().await.unwrap();
    };
    tokio::join!(sending, unlocking).0
}

#[tokio::test]
async fn an_event_that_postgres_does_not_take_is_kept_aside_and_the_others_pass() {
    let world = World::start().await;
    world.execute(UNWELCOME).await;
    assert_eq!(send_as_one_batch(&world, 40).await, vec![200; 40]);
    assert_eq!(world.stored().await, 39);
    assert_eq!(world.count("SELECT count(*) FROM {schema}.quarantine").await, 1);
    assert_eq!(world.metric("errortracking_ingest_events_total{outcome=\"quarantined\"}").await, 1);
}

#[tokio::test]
async fn a_slow_postgres_takes_all_but_the_one_event_too() {
    let world = World::start().await;
    world.execute(UNWELCOME).await;
    // To find the event takes more statements than fit into the deadline of a commit.
    world
        .execute(
            "CREATE FUNCTION public.dawdle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 PERFORM pg_sleep(0.6);
                 RETURN NULL;
             END $$;
             CREATE TRIGGER dawdle BEFORE INSERT ON {schema}.events EXECUTE FUNCTION public.dawdle()",
        )
        .await;
    assert_eq!(send_as_one_batch(&world, 40).await, vec![200; 40]);
    assert_eq!(world.stored().await, 39);
}

#[tokio::test]
async fn a_body_that_names_no_key_may_not_be_large() {
    let world = World::start().await;
    let large = vec![b' '; (1 << 20) + 1];
    let answer = world.send(&Request::post(world.path("envelope"), large.clone())).await;
    assert_eq!((answer.status, answer.header("x-sentry-error")), (413, Some("request body exceeds 1048576 bytes")));
    let known = world.send(&world.post("envelope", large)).await;
    assert_eq!(known.status, 400, "read, and found to be no envelope: {}", known.body);
}
