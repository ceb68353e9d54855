//! How much memory, time and how many requests many projects and keys cost the operator: `make bench-operator`.
//!
//! The operator runs as a process with the chart's rights, against a real API server and a real Postgres with `fsync`
//! on. Projects are Dedicated and have no pods. Machine, load and figure are printed; the last line sums up.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a measurement that cannot go on ends")]
#![expect(clippy::disallowed_methods, reason = "the tasks of a measurement end with it")]

mod follow;
mod load;
mod machine;
mod rotation;
#[path = "../../tests/support/mod.rs"]
mod support;
#[path = "../../tests/process/world/mod.rs"]
mod world;

use std::time::{Duration, Instant};

use tokio::time::sleep;

use self::{
    follow::Following,
    load::Load,
    world::{Operator, World, eventually},
};

/// Longest wait for anything: a run that takes longer has failed.
const LIMIT: Duration = Duration::from_hours(3);
/// What the database takes, as a sentence. A relation is a table, an index, a sequence or a TOAST table.
const FILES: &str = "SELECT format('%s MiB in the files of %s relations in %s schemas',
        pg_catalog.pg_database_size(pg_catalog.current_database()) / 1048576,
        (SELECT count(*) FROM pg_catalog.pg_class WHERE relkind IN ('r', 'i', 'S', 't', 'm')),
        (SELECT count(*) FROM pg_catalog.pg_namespace))";
/// Without a write for so long, everything is settled.
const QUIET: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() {
    // `cargo bench` passes --bench.
    println!("machine: {}", machine::describe());
    if std::env::var_os("BENCH_ROTATION").is_some() {
        return rotation::run().await;
    }
    let load = Load::from_environment();
    println!("load: {load}");
    let world = World::direct().await;
    let mut operator = world.start_and_lead().await;
    let following = Following::start(&world.client);

    let began = Instant::now();
    load.fill(&world).await;
    println!("created: {:.1} s", began.elapsed().as_secs_f64());
    following.all_ready(load.projects + load.keys(), LIMIT).await;
    println!("filled, everything Ready: {:.1} s", began.elapsed().as_secs_f64());
    settle(&world).await;
    let filled = memory(&operator, "after the fill");
    println!("database after the fill: {}", world.sql(FILES).await);

    let mark = world.mark();
    sleep(load.idle).await;
    let idle = world.writes_since(&mark);
    println!("idle for {} s: {} writes", load.idle.as_secs(), idle.len());
    idle.iter().take(10).for_each(|write| println!("  {write}"));

    operator.signal("TERM");
    operator.ended(Duration::from_secs(30)).await;
    let mark = world.mark();
    let began = Instant::now();
    operator = world.start().await;
    synced(&operator, load.projects + load.keys()).await;
    let cold_start = began.elapsed();
    sleep(QUIET).await;
    let cold_writes = world.writes_since(&mark);
    println!("cold start: {:.1} s, {} writes", cold_start.as_secs_f64(), cold_writes.len());
    cold_writes.iter().take(10).for_each(|write| println!("  {write}"));
    let restarted = memory(&operator, "after the cold start");

    let began = Instant::now();
    load.add_keys(&world).await;
    println!("{} more keys created: {:.1} s", load.new_keys, began.elapsed().as_secs_f64());
    following.all_ready(load.projects + load.keys() + load.new_keys, LIMIT).await;
    let ready = began.elapsed();
    println!("{} more keys Ready: {:.1} s", load.new_keys, ready.as_secs_f64());
    settle(&world).await;

    let changes = load.change(&world).await;
    println!(
        "one change, {} one after the other: p50 {:.0} ms, p99 {:.0} ms, longest {:.0} ms",
        changes.len(),
        percentile(&changes, 50),
        percentile(&changes, 99),
        percentile(&changes, 100)
    );

    let standby = world.start_as("standby", &[]).await;
    eventually("the standby stands by", LIMIT, async || standby.logged("Standing by").then_some(())).await;
    sleep(Duration::from_secs(5)).await;
    let began = Instant::now();
    operator.signal("TERM");
    eventually("the standby leads", LIMIT, async || {
        (standby.metric("errortracking_operator_leader_election_master_status", "").await == Some(1.0)).then_some(())
    })
    .await;
    println!("planned failover: {:.2} s until the standby leads", began.elapsed().as_secs_f64());
    synced(&standby, load.projects + load.keys() + load.new_keys).await;
    println!("planned failover: {:.2} s until it has looked at everything", began.elapsed().as_secs_f64());
    memory(&standby, "of the new leader");
    drop((operator, standby));
    world.abandon();

    println!(
        "operator: {} keys, {} projects, RSS {} MiB, cold start {:.1} s with {} writes, {} keys ready in {:.1} s, \
         change p99 {:.0} ms, idle writes {}",
        load.keys(),
        load.projects,
        filled.max(restarted) / 1024,
        cold_start.as_secs_f64(),
        cold_writes.len(),
        load.new_keys,
        ready.as_secs_f64(),
        percentile(&changes, 99),
        idle.len()
    );
}

/// Waits until nothing has been written for a while.
async fn settle(world: &World) {
    loop {
        let mark = world.mark();
        sleep(QUIET).await;
        let writes = world.writes_since(&mark).len();
        if writes == 0 {
            return;
        }
        println!("settling: {writes} writes in {} s", QUIET.as_secs());
    }
}

/// Waits until a new leader has looked at every object once.
async fn synced(operator: &Operator, objects: usize) {
    let objects = f64::from(u32::try_from(objects).unwrap());
    eventually("every object was looked at", LIMIT, async || {
        if let Some(synced) = operator.metric("errortracking_operator_synced", "").await {
            return (synced > 0.0).then_some(());
        }
        let passes = operator.metric("errortracking_operator_reconcile_total", "").await?;
        (passes >= objects).then_some(())
    })
    .await;
}

/// Prints memory and returns the resident part in KiB.
fn memory(operator: &Operator, when: &str) -> u64 {
    let (resident, peak) = (operator.memory("VmRSS"), operator.memory("VmHWM"));
    println!("memory {when}: {} MiB resident, {} MiB at the peak", resident / 1024, peak / 1024);
    resident
}

/// In milliseconds, by nearest rank.
fn percentile(times: &[Duration], percent: usize) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort();
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).map_or(f64::NAN, |time| time.as_secs_f64() * 1000.0)
}
