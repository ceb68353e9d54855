//! Random input for everything that strangers' bytes reach first: `make test-fuzz`. Each target runs in a process of
//! its own for its share of the time; bolero makes the inputs and shrinks those that fail.
//!
//! - `FUZZ_SECONDS`: time in all, 60 by default; `FUZZ_TARGETS`: names of targets with blanks between, all by default
//! - `FUZZ_REPLAY`: a file of a failed input, whose name begins with that of its target: runs this one only
//! - `FUZZ_OUTPUT`: where inputs that fail and logs go, `target/fuzz` by default
//! - `ERROR_TRACKING_SAMPLES`: a folder of real events, to begin with them as well

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a target says what is wrong by a panic, and a test that cannot go on fails where it stands"
)]

mod dictionary;
mod mutation;
mod observer;
mod seeds;
mod supervisor;
mod targets;

use std::{env, path::PathBuf, process::ExitCode, time::Duration};

/// Names the target that a child process runs, and for how many milliseconds.
const CHILD: &str = "FUZZ_CHILD";

const DEFAULT_SECONDS: u64 = 60;

fn main() -> ExitCode {
    // `cargo test` without a name runs this as well, and cargo asks for a list of tests.
    if env::args().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    let output = PathBuf::from(env::var_os("FUZZ_OUTPUT").unwrap_or_else(|| "target/fuzz".into()));
    std::fs::create_dir_all(&output).expect("the output folder can be made");
    if let Ok(child) = env::var(CHILD) {
        let (name, milliseconds) = child.split_once(' ').expect("a name and a time");
        let time = Duration::from_millis(milliseconds.parse().expect("milliseconds"));
        println!("{}", observer::run(targets::named(name).expect("a target"), time, &output));
        return ExitCode::SUCCESS;
    }
    let totals = if let Some(file) = env::var_os("FUZZ_REPLAY") {
        observer::replay(&PathBuf::from(file))
    } else {
        let seconds = env::var("FUZZ_SECONDS").map_or(DEFAULT_SECONDS, |text| text.parse().expect("seconds"));
        supervisor::run(Duration::from_secs(seconds), &output)
    };
    println!("fuzz: {} runs, {} crashes", totals.runs, totals.crashes);
    if totals.crashes == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
