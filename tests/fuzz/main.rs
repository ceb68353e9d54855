//! Random input for everything that strangers' bytes reach first: `make test-fuzz`, which says what can be set.
//! bolero makes the inputs and shrinks those that fail; the script gives each target a process with a share of the
//! time and a limit of memory.
//!
//! `fuzz list` names the targets, `fuzz run TARGET MILLISECONDS` and `fuzz replay FILE` run one.

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
mod targets;

use std::{
    env,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["list"] => targets::ALL.iter().for_each(|target| println!("{}", target.name)),
        ["run", name, milliseconds] => {
            let time = Duration::from_millis(milliseconds.parse().expect("milliseconds"));
            let output = PathBuf::from(env::var_os("FUZZ_OUTPUT").unwrap_or_else(|| "target/fuzz".into()));
            observer::run(targets::named(name).expect("a target"), time, &output);
        }
        ["replay", file] => return observer::replay(Path::new(file)),
        // As cargo asks for a list of tests.
        _ => {}
    }
    ExitCode::SUCCESS
}
