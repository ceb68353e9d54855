//! How much memory an ingest process takes while clients try to make it take more: `make bench-ingest-memory`.
//!
//! The process is a real one in front of a real Postgres. The attacks come one after the other, with one key, while a
//! client with another key sends an event every 50 ms and must be served. The last line sums up.

#![expect(clippy::panic, reason = "a measurement that cannot go on ends")]
#![expect(clippy::print_stdout, reason = "what it is for")]

#[path = "../operator/machine.rs"]
mod machine;
#[path = "../../tests/support/mod.rs"]
mod support;

use std::{env, process::ExitCode, time::Duration};

use self::support::attacks::{Battlefield, LIMIT_MIB, Way};

/// Longest time of one attack.
const MOST_SECONDS: u64 = 30;

#[tokio::main]
async fn main() -> ExitCode {
    // `cargo bench` passes --bench.
    println!("machine: {}", machine::describe());
    let seconds = env::var("BENCH_SECONDS").map_or(20, |text| text.parse().unwrap_or_else(|_| panic!("a number")));
    let seconds = seconds.clamp(1, MOST_SECONDS);
    println!("load: {} attacks of {seconds} s; one good event every 50 ms", Way::ALL.len());
    println!("The process has no cgroup of its own: its peak is compared with the limit of a pod.");
    let mut field = Battlefield::prepare().await;
    println!("at rest: {} MiB, {} MiB of them not of files", field.process.peak_mib(), field.process.anonymous_mib());
    let (mut peak, mut failed) = (0, false);
    for way in Way::ALL {
        let outcome = field.attack(way, Duration::from_secs(seconds)).await;
        let alive = field.process.is_alive();
        println!(
            "{}: peak {} MiB; good client {} of {} accepted; attackers: {}{}",
            way.describe(),
            outcome.peak_mib,
            outcome.accepted,
            outcome.sent,
            outcome.told,
            if alive { "" } else { "; THE PROCESS DIED" }
        );
        peak = peak.max(outcome.peak_mib);
        failed |= !alive || outcome.accepted < outcome.sent || outcome.peak_mib > LIMIT_MIB;
        if !alive {
            break;
        }
    }
    let (stored, accepted) = field.stored_and_accepted().await;
    println!(
        "good events: {accepted} accepted, {stored} stored; at the end {} MiB not of files",
        field.process.anonymous_mib()
    );
    println!("ingest memory: peak {peak} MiB of {LIMIT_MIB} MiB, {} attacks", Way::ALL.len());
    if failed || stored < accepted { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
