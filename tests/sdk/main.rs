//! Real SDKs, old and new, send to the real ingest server in front of a real Postgres; what they sent is read back as
//! the console reads it. `make sdk-matrix` installs the SDKs first and runs this; the table is its result.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail the test")]
#![expect(clippy::disallowed_methods, reason = "the tasks of a test end with its runtime")]

#[path = "../support/mod.rs"]
mod support;

mod outcome;
mod recorder;
mod rows;
mod stored;

use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use tokio::{task::spawn_blocking, time::sleep};

use self::{
    outcome::Outcome,
    recorder::Recorder,
    rows::{ROWS, Row},
    stored::Stored,
    support::ingest::World,
};

/// Longest run of one sample, and the wait for what it sent to be in the store.
const RUN_SECONDS: &str = "60";
const STORED_WITHIN: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the SDKs: make sdk-matrix"]
async fn what_every_sdk_sends_is_in_the_store() {
    let prepared = std::env::var_os("ERROR_TRACKING_SDKS").expect("ERROR_TRACKING_SDKS is set by hack/sdk-matrix.sh");
    let prepared = PathBuf::from(prepared);
    let mut outcomes = Vec::new();
    for row in ROWS {
        outcomes.push(outcome_of(row, &prepared.join(row.folder())).await);
    }
    outcome::print(&outcomes);
    let seen = outcomes.iter().filter(|outcome| outcome.is_seen()).count();
    println!("sdks: {seen} of {} seen", outcomes.len());
    assert_eq!(seen, outcomes.len(), "SDKs that were not understood");
}

/// The script left either `run`, which sends with `SENTRY_DSN`, or `missing`, which says why there is none.
async fn outcome_of(row: &'static Row, prepared: &Path) -> Outcome {
    if !prepared.join("run").exists() {
        let why = std::fs::read_to_string(prepared.join("missing"));
        return Outcome::not_installed(row, why.unwrap_or_else(|_| "the script did not prepare it".into()).trim());
    }
    // A project of its own for each: nothing that one SDK sent is taken for another's.
    let mut world = World::start().await;
    let recorder = Recorder::start(world.address).await;
    let key = world.key.as_str();
    let secret = if row.secret_in_dsn { ":fedcba9876543210" } else { "" };
    let dsn = format!("http://{key}{secret}@{}/{}", recorder.address, world.project);
    let script = prepared.join("run");
    let output = spawn_blocking(move || run(&script, &dsn)).await.unwrap();
    let mut stored = Stored::read(&world).await;
    let mut waited = Duration::ZERO;
    while waited < STORED_WITHIN && !stored.is_complete(row) {
        sleep(Duration::from_millis(100)).await;
        waited += Duration::from_millis(100);
        stored = Stored::read(&world).await;
    }
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8_lossy(&printed).replace(key, "<key>");
    let ended = output.status.success().then_some(()).ok_or_else(|| output.status.to_string());
    let outcome = Outcome::of(row, &recorder.requests(), &stored, ended, printed);
    world.end().await;
    outcome
}

fn run(script: &Path, dsn: &str) -> Output {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", RUN_SECONDS, "bash"]).arg(script);
    command.env("SENTRY_DSN", dsn).stdin(Stdio::null()).output().unwrap()
}
