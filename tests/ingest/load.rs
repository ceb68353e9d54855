//! Many clients at once, and a server that ends while they send.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use crate::{
    client::{Client, Request},
    world::{World, until},
};

const CONNECTIONS: u32 = 64;

fn event(number: u32) -> String {
    format!(
        "{{\"event_id\":\"{number:032x}\",\"exception\":{{\"values\":[{{\"type\":\"Error{}\",\"value\":\"no more\"}}]}},\
         \"user\":{{\"id\":\"{}\"}},\"tags\":{{\"shard\":\"{}\"}},\"release\":\"1.{}\"}}",
        number % 7,
        number % 100,
        number % 3,
        number % 5
    )
}

fn numbered(world: &World, number: u32) -> Request {
    world.post("store", event(number))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_event_of_64_connections_is_counted_exactly() {
    const EACH: u32 = 50;
    let world = Arc::new(World::start().await);
    let mut clients = JoinSet::new();
    for connection in 0..CONNECTIONS {
        let world = Arc::clone(&world);
        clients.spawn(async move {
            let mut client = Client::connect(world.address).await.unwrap();
            for number in 0..EACH {
                let answer = client.send(&numbered(&world, 1 + connection * EACH + number)).await.unwrap();
                assert_eq!(answer.status, 200, "{}", answer.body);
            }
        });
    }
    clients.join_all().await;
    assert_eq!(world.stored().await, i64::from(CONNECTIONS * EACH));
    assert_eq!(world.count("SELECT count(*) FROM {schema}.issues").await, 7);
    let stored = world.metric("errortracking_ingest_events_total{outcome=\"stored\"}").await;
    assert_eq!(stored, u64::from(CONNECTIONS * EACH));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_under_load_fails_no_request_and_loses_no_acknowledged_event() {
    let mut world = World::start().await;
    let numbers = Arc::new(AtomicU32::new(1));
    // As a Service does: a pod that is not ready gets no new connections; those it has go on.
    let endpoint = Arc::new(AtomicBool::new(true));
    let mut clients = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (numbers, endpoint) = (Arc::clone(&numbers), Arc::clone(&endpoint));
        let (address, request) = (world.address, numbers_of(&world));
        clients.spawn(async move {
            let mut acknowledged = 0;
            while endpoint.load(Ordering::Relaxed) {
                let mut client = Client::connect(address).await.unwrap();
                loop {
                    let request = request(numbers.fetch_add(1, Ordering::Relaxed));
                    let answer = client.send(&request).await.expect("no connection ends under a request");
                    assert_eq!(answer.status, 200, "{}", answer.body);
                    acknowledged += 1;
                    if answer.header("connection") == Some("close") {
                        break;
                    }
                }
            }
            acknowledged
        });
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let before = numbers.load(Ordering::Relaxed);
    world.shutdown.cancel();
    until("it is not ready", async || world.probe("/readyz").await.status == 503).await;
    endpoint.store(false, Ordering::Relaxed);
    world.end().await;
    let acknowledged: u32 = clients.join_all().await.into_iter().sum();
    assert!(acknowledged > before, "{before} before the drain, {acknowledged} in all");
    assert_eq!(world.stored().await, i64::from(acknowledged));
    assert!(Client::connect(world.address).await.is_err(), "nobody listens any more");
}

fn numbers_of(world: &World) -> impl Fn(u32) -> Request + Send + 'static {
    let template = world.post("store", "");
    move |number| template.clone().with_body(event(number))
}

/// Not a test of speed: prints what one connection count reaches, for people. Events of the size that
/// `ERROR_TRACKING_LOAD_BYTES` says (default: small), for `ERROR_TRACKING_LOAD_SECONDS`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn throughput_of_64_connections() {
    let number_of = |name| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let Some(seconds) = number_of("ERROR_TRACKING_LOAD_SECONDS") else {
        println!("left out: a measurement; ERROR_TRACKING_LOAD_SECONDS=5 takes it");
        return;
    };
    let world = Arc::new(World::start().await);
    let bodies: Arc<Vec<String>> =
        Arc::new(std::env::var_os("ERROR_TRACKING_SAMPLES").map_or_else(Vec::new, |folder| {
            let files = std::fs::read_dir(folder).unwrap();
            files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect()
        }));
    let numbers = Arc::new(AtomicU32::new(1));
    let deadline = Instant::now() + Duration::from_secs(seconds);
    let mut clients = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (world, numbers, bodies) = (Arc::clone(&world), Arc::clone(&numbers), Arc::clone(&bodies));
        clients.spawn(async move {
            let mut client = Client::connect(world.address).await.unwrap();
            let mut latencies = Vec::new();
            while Instant::now() < deadline {
                let number = numbers.fetch_add(1, Ordering::Relaxed);
                let sample = bodies.get(number as usize % bodies.len().max(1));
                let request = match sample {
                    None => numbered(&world, number),
                    Some(event) => {
                        let event = event.replace('\n', " ");
                        let body = format!("{{\"event_id\":\"{number:032x}\"}}\n{{\"type\":\"event\"}}\n{event}");
                        world.post("envelope", body)
                    }
                };
                let start = Instant::now();
                assert_eq!(client.send(&request).await.unwrap().status, 200);
                latencies.push(start.elapsed());
            }
            latencies
        });
    }
    let mut latencies: Vec<_> = clients.join_all().await.into_iter().flatten().collect();
    latencies.sort_unstable();
    let at = |share: usize| latencies[latencies.len() * share / 100];
    println!(
        "{} events in {seconds} s: {} events/s, p50 {:?}, p99 {:?}",
        latencies.len(),
        latencies.len() as u64 / seconds,
        at(50),
        at(99)
    );
    assert_eq!(world.stored().await, i64::try_from(latencies.len()).unwrap());
}
