//! How long the console's pages take and how much memory it has: `make bench-console`.
//!
//! The console is a process in front of a real Postgres with `fsync`; one project has all errors and events. Pages are asked
//! for one after the other first, and then by readers while a real ingest server takes events. Times are from the request to
//! the last byte on loopback. The last line sums up.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a measurement that cannot go on ends")]
#![expect(clippy::print_stdout, reason = "what it is for")]

mod fill;
#[path = "../operator/machine.rs"]
mod machine;
mod pages;
mod process;
#[path = "../../tests/support/mod.rs"]
mod support;

use std::{
    env,
    time::{Duration, Instant},
};

use tokio::{task::JoinSet, time::interval};

use self::{
    fill::Load,
    pages::{Kind, Pages, Times},
    process::Console,
    support::{client::Client, ingest::World},
};

/// Pages of each kind, one after the other.
const EACH: u64 = 300;
/// Readers who open a page each ten seconds.
const READERS: u64 = 200;
const PAUSE: Duration = Duration::from_secs(10);
/// Events a second that ingest takes meanwhile, over as many connections.
const EVENTS_A_SECOND: u64 = 2_000;
const SENDERS: u64 = 8;

#[tokio::main]
async fn main() {
    // `cargo bench` passes --bench.
    println!("machine: {}", machine::describe());
    let number = |name: &str, default: u64| -> u64 {
        env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
    };
    let load = Load { events: number("BENCH_EVENTS", 1_000_000), issues: number("BENCH_ISSUES", 10_000) };
    let seconds = number("BENCH_SECONDS", 60).clamp(1, 600);
    println!("load: {} events of {} errors; {READERS} readers for {seconds} s", load.events, load.issues);
    let world = World::start().await;
    let began = Instant::now();
    load.fill(&world).await;
    println!("filled: {:.0} s", began.elapsed().as_secs_f64());
    let stored = world.count("SELECT count(*) FROM {schema}.events").await;
    let issues = world.count("SELECT count(*) FROM {schema}.issues").await;
    assert_eq!((stored.cast_unsigned(), issues.cast_unsigned()), (load.events, load.issues), "everything is stored");

    let console = Console::start(&world).await;
    println!("console at rest: {} MiB", console.peak_mib());
    let before = scans(&world).await;
    let mut times = Times::default();
    let mut client = Client::connect(console.address).await.unwrap();
    for kind in Kind::ALL {
        let mut pages = Pages::new(kind, load);
        for _ in 0..EACH {
            times.take(kind, &mut client, &mut pages).await;
        }
    }
    println!("one after the other:\n{times}");
    println!("console: {} MiB at the peak", console.peak_mib());
    let after = scans(&world).await;
    println!("sequential scans of events: {}, which read {} rows", after.0 - before.0, after.1 - before.1);

    let stored = world.stored().await;
    let until = Instant::now() + Duration::from_secs(seconds);
    let (busy, sent) = tokio::join!(read(console.address, load, until), send(&world, until));
    println!("by {READERS} readers, while {sent} events were sent in {seconds} s:\n{busy}");
    println!("of those {} are stored", world.stored().await - stored);
    for kind in Kind::ALL {
        println!("{kind}: p95 {:.1} times what it was alone", busy.percentile(kind, 95) / times.percentile(kind, 95));
    }
    println!("longest answer: {} bytes", times.longest.max(busy.longest));
    println!(
        "console: list p95 {:.0} ms, search p95 {:.0} ms, details p95 {:.0} ms, RSS {} MB",
        times.percentile(Kind::List, 95),
        times.percentile(Kind::Search, 95),
        times.percentile(Kind::Details, 95),
        console.peak_mib()
    );
}

/// Sequential scans of the tables that events are in, since the server started, and the rows that they read: those of
/// partitions that are empty read none.
async fn scans(world: &World) -> (i64, i64) {
    // Sessions tell about themselves at most once a second.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let sum = async |column: &str| {
        let query = format!(
            "SELECT coalesce(sum(s.{column}), 0)::bigint
             FROM pg_stat_user_tables AS s JOIN {{schema}}.partitions AS p ON p.relname = s.relname
             WHERE s.schemaname = '{{schema}}'"
        );
        world.count(&query).await
    };
    (sum("seq_scan").await, sum("seq_tup_read").await)
}

async fn read(address: std::net::SocketAddr, load: Load, until: Instant) -> Times {
    let mut readers = JoinSet::new();
    for reader in 0..READERS {
        readers.spawn(async move {
            let mut times = Times::default();
            let kinds = Kind::ALL.map(|kind| (kind, Pages::new(kind, load).skip(reader * 7)));
            let mut kinds = kinds.into_iter().collect::<Vec<_>>();
            let first =
                PAUSE.mul_f64(f64::from(u32::try_from(reader).unwrap()) / f64::from(u32::try_from(READERS).unwrap()));
            tokio::time::sleep(first).await;
            let mut ticks = interval(PAUSE);
            let mut turn = usize::try_from(reader).unwrap();
            while Instant::now() < until {
                ticks.tick().await;
                let count = kinds.len();
                let (kind, pages) = &mut kinds[turn % count];
                turn += 1;
                // A browser's connection has ended after ten seconds of rest.
                let mut client = Client::connect(address).await.unwrap();
                times.take(*kind, &mut client, pages).await;
            }
            times
        });
    }
    let mut all = Times::default();
    while let Some(times) = readers.join_next().await {
        all.add(times.unwrap());
    }
    all
}

/// How many were accepted.
async fn send(world: &World, until: Instant) -> u64 {
    let mut senders = JoinSet::new();
    for sender in 0..SENDERS {
        let address = world.address;
        let requests: Vec<_> = (0..1000).map(|number| fill::request(world, sender * 1000 + number)).collect();
        senders.spawn(async move {
            let mut client = Client::connect(address).await.unwrap();
            let mut ticks = interval(Duration::from_secs(SENDERS) / u32::try_from(EVENTS_A_SECOND).unwrap());
            let mut accepted = 0;
            for request in requests.iter().cycle() {
                ticks.tick().await;
                if Instant::now() >= until {
                    break;
                }
                let answer = client.send(request).await.unwrap();
                assert_eq!(answer.status, 200, "{}", answer.body);
                accepted += 1;
            }
            accepted
        });
    }
    let mut accepted = 0;
    while let Some(sent) = senders.join_next().await {
        accepted += sent.unwrap();
    }
    accepted
}
