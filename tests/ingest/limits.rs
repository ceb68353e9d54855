//! Rate limits of keys and quotas of projects: as many events as they say, and answers that make SDKs wait.

use std::sync::Arc;

use error_tracking_operator::{dsn::PublicKey, settings::RateLimit};
use jiff::Timestamp;
use serde_json::json;
use tokio::task::JoinSet;

use crate::{
    client::{Answer, Client, Request},
    wire::{envelope, event_envelope},
    world::{EVENT, Start, World},
};

/// A window that does not end while a test runs, but at midnight.
const DAY: u32 = 86_400;

/// What SDKs are told at most.
const SIX_HOURS: u32 = 21_600;

fn limit(events: u32) -> Start {
    Start { rate_limit: Some(RateLimit { events, window_seconds: DAY }), ..Start::default() }
}

/// The quota's window is a minute of the clock: waits for the next one if this one is nearly over.
async fn early_in_a_minute() {
    let second = u64::try_from(Timestamp::now().as_second().rem_euclid(60)).unwrap();
    if second > 35 {
        tokio::time::sleep(std::time::Duration::from_secs(61 - second)).await;
    }
}

fn session() -> String {
    let started = Timestamp::now().to_string();
    json!({"sid": uuid::Uuid::new_v4().to_string(), "init": true, "started": started, "attrs": {"release": "1.0"}})
        .to_string()
}

async fn sessions(world: &World) -> i64 {
    world.count("SELECT coalesce(sum(total), 0)::bigint FROM {schema}.sessions").await
}

/// Checks all that an SDK may look at to find out that it must wait for events, and for nothing else.
fn assert_limited(answer: &Answer, scope_and_reason: &str) {
    assert_eq!((answer.status, answer.body.as_str()), (429, ""), "PHP reads the limits of an empty answer only");
    let seconds: u32 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=SIX_HOURS).contains(&seconds), "{seconds}");
    let limits = answer.header("x-sentry-rate-limits").unwrap();
    assert_eq!(limits, format!("{seconds}:default;error;security:{scope_and_reason}"));
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
}

#[tokio::test]
async fn a_key_sends_as_many_events_as_its_limit_says_and_everything_else() {
    let mut world = World::start_with(limit(5)).await;
    let report = r#"{"csp-report":{"document-uri":"https://shop.example/","effective-directive":"img-src"}}"#;
    let security = || {
        Request::post(format!("{}?sentry_key={}", world.path("security"), world.key.as_str()), report)
            .header("Content-Type", "application/csp-report")
    };
    let mut client = Client::connect(world.address).await.unwrap();
    for (number, request) in (1..).zip([
        world.post("store", EVENT),
        world.post("envelope", event_envelope(&"1".repeat(32), EVENT)),
        security(),
        world.post("envelope", envelope("{}", &[("session", &session()), ("event", EVENT)])),
        world.post("store", EVENT),
    ]) {
        let answer = client.send(&request).await.unwrap();
        assert_eq!(answer.status, 200, "event {number}: {}", answer.body);
        assert_eq!(answer.header("x-sentry-rate-limits"), None, "event {number}");
        assert_eq!(world.stored().await, number);
    }
    assert_eq!(sessions(&world).await, 1);
    for request in [
        world.post("store", EVENT),
        world.post("envelope", event_envelope(&"2".repeat(32), EVENT)),
        security(),
        Request::new("GET", format!("{}?sentry_key={}&sentry_data=e30=", world.path("store"), world.key.as_str())),
    ] {
        assert_limited(&client.send(&request).await.unwrap(), "key:key_rate_limit");
    }
    let both = world.post("envelope", envelope("{}", &[("event", EVENT), ("session", &session())]));
    let answer = client.send(&both).await.unwrap();
    assert_eq!(answer.status, 200, "the session is taken: {}", answer.body);
    assert!(answer.header("x-sentry-rate-limits").unwrap().ends_with(":default;error;security:key:key_rate_limit"));
    assert_eq!(answer.header("retry-after"), None, "Ruby, PHP, Rust and Node would send nothing at all for so long");
    let alone = client.send(&world.post("envelope", envelope("{}", &[("session", &session())]))).await.unwrap();
    assert_eq!((alone.status, alone.header("x-sentry-rate-limits")), (200, None));
    assert_eq!((world.stored().await, sessions(&world).await), (5, 3));
    world.end().await;
    let expected = [
        "error accepted x4",
        "error rate_limited key_rate_limit x4",
        "security accepted x1",
        "security rate_limited key_rate_limit x1",
    ];
    assert_eq!(world.outcomes().await, expected);
}

#[tokio::test]
async fn the_quota_of_the_project_is_for_all_its_keys_together() {
    early_in_a_minute().await;
    let mut world = World::start_set(json!({"eventsPerMinute": 6})).await;
    let second = PublicKey::from_random([2; 16]);
    world.mint(2, &second).await;
    let mut statuses = Vec::new();
    for number in 0..10 {
        let key = if number % 2 == 0 { &world.key } else { &second };
        let answer = world.send(&world.post_with(key, "store", EVENT)).await;
        if answer.status == 429 {
            assert_limited(&answer, "project:project_quota");
        }
        statuses.push(answer.status);
    }
    assert_eq!(statuses, [[200; 6].as_slice(), &[429; 4]].concat());
    assert_eq!(world.stored().await, 6);
    world.end().await;
    let expected = [
        "error accepted x3",
        "error accepted x3",
        "error rate_limited project_quota x2",
        "error rate_limited project_quota x2",
    ];
    assert_eq!(world.outcomes().await, expected);
}

#[tokio::test]
async fn a_limit_on_one_key_leaves_the_others_alone() {
    let world = World::start_with(limit(1)).await;
    let second = PublicKey::from_random([2; 16]);
    world.mint(2, &second).await;
    let of = async |key| world.send(&world.post_with(key, "store", EVENT)).await.status;
    assert_eq!([of(&world.key).await, of(&world.key).await], [200, 429]);
    for _ in 0..5 {
        assert_eq!(of(&second).await, 200);
    }
    assert_eq!(world.stored().await, 6);
}

#[tokio::test]
async fn reports_of_browsers_count_towards_the_limit_too() {
    let world = World::start_with(limit(3)).await;
    let report = r#"{"csp-report":{"document-uri":"https://shop.example/","effective-directive":"img-src"}}"#;
    let request = Request::post(format!("{}?sentry_key={}", world.path("security"), world.key.as_str()), report)
        .header("Content-Type", "application/csp-report");
    let mut statuses = Vec::new();
    for _ in 0..6 {
        statuses.push(world.send(&request).await.status);
    }
    assert_eq!((statuses, world.stored().await), ([200, 200, 200, 429, 429, 429].to_vec(), 3));
}

/// Sends events over `connections` until each of them is refused, at most `most` each; how many were taken.
async fn flood(world: &Arc<World>, address: std::net::SocketAddr, connections: u32, most: u32) -> u32 {
    let mut clients = JoinSet::new();
    for connection in 0..connections {
        let world = Arc::clone(world);
        // Of an issue of its own, so that no batch waits for another.
        let event = json!({"exception": [{"type": format!("Error{connection}")}]}).to_string();
        clients.spawn(async move {
            let mut client = Client::connect(address).await.unwrap();
            for taken in 0..most {
                let answer = client.send(&world.post("store", event.clone())).await.unwrap();
                if answer.status != 200 {
                    assert_limited(&answer, "key:key_rate_limit");
                    return taken;
                }
            }
            most
        });
    }
    clients.join_all().await.into_iter().sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_clients_at_once_do_not_get_past_the_limit() {
    const LIMIT: u32 = 2000;
    let world = Arc::new(World::start_with(limit(LIMIT)).await);
    assert_eq!(flood(&world, world.address, 64, LIMIT).await, LIMIT);
    assert_eq!(world.stored().await, i64::from(LIMIT));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_of_a_project_share_the_limit_but_for_what_is_under_way() {
    const LIMIT: u32 = 400;
    const CONNECTIONS: u32 = 4;
    let world = Arc::new(World::start_with(limit(LIMIT)).await);
    let other = world.serve_another().await;
    let (here, there) = tokio::join!(
        flood(&world, world.address, CONNECTIONS, LIMIT),
        flood(&world, other.address, CONNECTIONS, LIMIT)
    );
    println!("{here} and {there} of {LIMIT}");
    let taken = here + there;
    assert_eq!(world.stored().await, i64::from(taken));
    assert!(here > 0 && there > 0);
    // Each learns of the other with its own batches: what both had under way then comes on top.
    assert!((LIMIT..=LIMIT + 4 * CONNECTIONS).contains(&taken), "{taken}");
    other.shutdown.cancel();
    other.server.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_server_that_starts_anew_learns_of_the_window_with_its_first_event() {
    let mut world = World::start_with(limit(4)).await;
    let mut statuses = Vec::new();
    for _ in 0..5 {
        statuses.push(world.send(&world.post("store", EVENT)).await.status);
    }
    assert_eq!(statuses, [200, 200, 200, 200, 429]);
    world.end().await;
    let anew = world.serve_another().await;
    let mut client = Client::connect(anew.address).await.unwrap();
    let first = client.send(&world.post("store", EVENT)).await.unwrap();
    assert_eq!(first.status, 200, "nothing is known yet");
    for _ in 0..3 {
        assert_limited(&client.send(&world.post("store", EVENT)).await.unwrap(), "key:key_rate_limit");
    }
    assert_eq!(world.stored().await, 5);
    anew.shutdown.cancel();
    anew.server.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_a_filter_stops_or_nobody_can_read_uses_up_no_limit() {
    let mut start = limit(3);
    start.settings = serde_json::from_value(json!({"filters": {"ignoreErrors": ["noise"]}})).unwrap();
    let world = World::start_with(start).await;
    let mut statuses = Vec::new();
    for body in [EVENT, r#"{"message":"noise"}"#, "nonsense", EVENT, r#"{"message":"noise"}"#, EVENT, EVENT] {
        statuses.push(world.send(&world.post("store", body)).await.status);
    }
    assert_eq!(statuses, [200, 200, 400, 200, 200, 200, 429]);
    assert_eq!(world.stored().await, 3);
}

/// A browser sends many reports in one list.
#[tokio::test]
async fn a_list_of_reports_ends_where_the_limit_is() {
    let world = World::start_with(limit(3)).await;
    let report = |n| {
        format!(
            r#"{{"type":"csp-violation","body":{{"effectiveDirective":"img-src","blockedURL":"https://h{n}.example/","documentURL":"https://shop.example/"}}}}"#
        )
    };
    let list = format!("[{}]", (0..10).map(report).collect::<Vec<_>>().join(","));
    let request = world.post("security", list).header("Content-Type", "application/reports+json");
    let statuses = [world.send(&request).await.status, world.send(&request).await.status];
    assert_eq!((statuses, world.stored().await), ([200, 429], 3));
}

#[tokio::test]
async fn an_envelope_to_the_other_endpoint_counts_once() {
    let world = World::start_with(limit(3)).await;
    let mut statuses = Vec::new();
    for number in 1..=5 {
        let body = event_envelope(&format!("{number:032x}"), EVENT);
        let request = world.post("store", body).header("Content-Type", "application/x-sentry-envelope");
        statuses.push(world.send(&request).await.status);
    }
    assert_eq!((statuses, world.stored().await), ([200, 200, 200, 429, 429].to_vec(), 3));
    let session = envelope("{}", &[("session", &session())]);
    let request = world.post("store", session).header("Content-Type", "application/x-sentry-envelope");
    assert_eq!((world.send(&request).await.status, sessions(&world).await), (200, 1));
}
