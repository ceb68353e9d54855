//! Runs every target in a child process, as many at once as there are cores: a stack that overflows or memory that runs
//! out ends the process, and an input without an end never comes back.

use std::{
    env,
    fs::{self, File},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

use crate::{
    CHILD,
    observer::Totals,
    targets::{self, Target},
};

/// A child may take this much longer than its share: an input under way, and one that is shrunk.
const GRACE: Duration = Duration::from_mins(1);

const POLL: Duration = Duration::from_millis(50);

/// All targets, or those that are asked for, in `time` together.
pub fn run(time: Duration, output: &Path) -> Totals {
    let asked = env::var("FUZZ_TARGETS").unwrap_or_default();
    let asked: Vec<&str> = asked.split_whitespace().collect();
    let targets: Vec<&Target> =
        targets::ALL.iter().filter(|target| asked.is_empty() || asked.contains(&target.name)).collect();
    assert!(!targets.is_empty(), "FUZZ_TARGETS names none of the targets");
    let workers = thread::available_parallelism().map_or(1, usize::from).min(targets.len());
    let rounds = u32::try_from(targets.len().div_ceil(workers)).expect("few targets");
    let share = time / rounds;
    let queue = Mutex::new(targets.into_iter());
    let totals = Mutex::new(Totals::default());
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let Some(target) = queue.lock().unwrap().next() else { break };
                    let found = run_target(target, share, output);
                    println!("{:12} {found}", target.name);
                    totals.lock().unwrap().add(found);
                }
            });
        }
    });
    totals.into_inner().unwrap()
}

fn run_target(target: &Target, share: Duration, output: &Path) -> Totals {
    let log = output.join(format!("{}.log", target.name));
    let answer = output.join(format!("{}.answer", target.name));
    let mut child = Command::new(env::current_exe().expect("this program"))
        .env(CHILD, format!("{} {}", target.name, share.as_millis()))
        .stdin(Stdio::null())
        .stdout(File::create(&answer).expect("the answer can be written"))
        .stderr(File::create(&log).expect("the log can be written"))
        .spawn()
        .expect("the program starts once more");
    let how = wait(&mut child, share + GRACE);
    let answer = fs::read_to_string(&answer).unwrap_or_default();
    let said = answer.lines().rev().find_map(|line| line.parse::<Totals>().ok());
    for crash in answer.lines().filter(|line| line.starts_with("crash: ")) {
        println!("{:12} {crash}", target.name);
    }
    match said {
        Some(totals) if how.is_none() => totals,
        _ => {
            // What it was at when it ended.
            let kept = output.join(format!("{}-process.input", target.name));
            let _ = fs::rename(output.join(format!("{}.running", target.name)), &kept);
            let how = how.unwrap_or_else(|| "gave no answer".to_owned());
            println!("{:12} crash: the process {how}; {}", target.name, replay_hint(&kept));
            println!("{:12} its log: {}", target.name, log.display());
            Totals { crashes: 1, ..Totals::default() }
        }
    }
}

pub fn replay_hint(input: &Path) -> String {
    format!("again: FUZZ_REPLAY={} make test-fuzz", input.display())
}

/// Waits for a child; if it did not end well, says how it ended.
fn wait(child: &mut Child, limit: Duration) -> Option<String> {
    let began = Instant::now();
    // Nobody sends: a pause.
    let (_sender, pause) = mpsc::sync_channel::<()>(1);
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return None,
            Ok(Some(status)) => return Some(format!("ended with {status}")),
            Ok(None) if began.elapsed() < limit => drop(pause.recv_timeout(POLL)),
            Ok(None) | Err(_) => {
                let _ = child.kill();
                let _ = child.wait();
                return Some(format!("did not end within {} s", limit.as_secs()));
            }
        }
    }
}
