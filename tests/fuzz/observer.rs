//! One target: what it is given, how often, what went wrong and with which input.

use std::{
    cell::{Cell, RefCell},
    fs::{self, File},
    os::unix::fs::FileExt,
    panic::{self, AssertUnwindSafe},
    path::Path,
    process::ExitCode,
    sync::Once,
    time::{Duration, Instant},
};

use bolero::TargetLocation;

use crate::{
    mutation::{Input, Mutations},
    targets::{self, Target},
};

/// An input that takes longer on one core is a crash: nobody may keep a worker of ours busy with one request.
const SLOW: Duration = Duration::from_secs(1);

/// How long bolero looks for a smaller input that fails in the same way.
const SHRINK: Duration = Duration::from_secs(3);

/// Runs `target` for `time` or to its first failure, and prints "N runs, C crashes, M MiB", with a line "crash: …"
/// before it. The input under way is in `TARGET.running`, for the case that this process ends with it.
pub fn run(target: &'static Target, time: Duration, output: &Path) {
    let running = output.join(format!("{}.running", target.name));
    let noted = File::create(&running).expect("the input can be noted");
    let observer = Observer { target, running: noted, runs: Cell::new(0), failure: RefCell::default() };
    // What it holds is whole after each input, whether the target panicked or not.
    let shared = AssertUnwindSafe(&observer);
    // bolero panics when it has found and shrunk a failure.
    let ended = panic::catch_unwind(AssertUnwindSafe(|| {
        bolero::test(location(target))
            .with_generator(Mutations::of((target.seeds)()))
            .with_test_time(time)
            .with_shrink_time(SHRINK)
            .for_each(|input: &Input| shared.observe(&input.0));
    }));
    let failure = observer.failure.into_inner();
    match &failure {
        Some(failure) => {
            let file = output.join(format!("{}-failed.input", target.name));
            fs::write(&file, &failure.input).expect("the input can be kept");
            println!(
                "crash: {}; again: FUZZ_REPLAY={} make test-fuzz",
                failure.what.replace('\n', " "),
                file.display()
            );
        }
        None => ended.unwrap_or_else(|panic| panic::resume_unwind(panic)),
    }
    let _ = fs::remove_file(running);
    println!("{} runs, {} crashes, {} MiB", observer.runs.get(), u8::from(failure.is_some()), peak_memory());
}

fn location(target: &Target) -> TargetLocation {
    TargetLocation {
        package_name: env!("CARGO_PKG_NAME"),
        manifest_dir: env!("CARGO_MANIFEST_DIR"),
        module_path: module_path!(),
        file: file!(),
        line: line!(),
        // As its macro writes it for the `main` of a program.
        item_path: "fuzz::main::__bolero_item_path__",
        test_name: Some(target.name.to_owned()),
    }
}

struct Observer {
    target: &'static Target,
    running: File,
    runs: Cell<u64>,
    failure: RefCell<Option<Failure>>,
}

/// The smallest input that failed as the first one did.
struct Failure {
    place: String,
    what: String,
    input: Vec<u8>,
}

impl Observer {
    /// Panics if the target fails at the same place as before, or for the first time.
    fn observe(&self, input: &[u8]) {
        let length = u64::try_from(input.len()).unwrap_or_default();
        let noted = self.running.set_len(length).and_then(|()| self.running.write_all_at(input, 0));
        noted.expect("the input can be noted");
        self.runs.set(self.runs.get() + 1);
        let Err((place, what)) = checked(self.target, input) else { return };
        let mut known = self.failure.borrow_mut();
        match known.as_mut() {
            Some(failure) if failure.place != place => return,
            Some(failure) if failure.input.len() <= input.len() => {}
            _ => *known = Some(Failure { place, what, input: input.to_vec() }),
        }
        drop(known);
        panic!("found");
    }
}

/// Where and how the target fails with this input.
fn checked(target: &Target, input: &[u8]) -> Result<(), (String, String)> {
    note_panics();
    let began = Instant::now();
    let result = panic::catch_unwind(AssertUnwindSafe(|| (target.check)(input)));
    let took = began.elapsed();
    if result.is_err() {
        let (place, what) = PANIC.take().unwrap_or_default();
        return Err((place, what));
    }
    // Other programs want the cores, too: only the time that this one had counts.
    if took > SLOW {
        let before = processor_time();
        let began = Instant::now();
        let _ = panic::catch_unwind(AssertUnwindSafe(|| (target.check)(input)));
        let took = processor_time().zip(before).map_or(began.elapsed(), |(after, before)| after.saturating_sub(before));
        if took > SLOW {
            return Err(("slow".to_owned(), format!("slow: {} bytes took {} ms", input.len(), took.as_millis())));
        }
    }
    Ok(())
}

thread_local! {
    /// Place and text of the last panic.
    static PANIC: RefCell<Option<(String, String)>> = const { RefCell::new(None) };
}

/// In front of bolero's own hook, which keeps the texts to itself.
fn note_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let next = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            let place = panic.location().map(ToString::to_string).unwrap_or_default();
            let what: String = panic.to_string().chars().take(1500).collect();
            PANIC.set(Some((place, what)));
            next(panic);
        }));
    });
}

/// Time that this thread had a core.
fn processor_time() -> Option<Duration> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

/// Most memory that this process had, in MiB.
fn peak_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or_default() / 1024
}

/// Runs the target that the file's name begins with once, with the file's bytes.
pub fn replay(file: &Path) -> ExitCode {
    let name = file.file_name().and_then(|name| name.to_str()).and_then(|name| name.split('-').next());
    let target = name.and_then(targets::named).expect("the file's name begins with that of a target");
    let result = checked(target, &fs::read(file).expect("the file can be read"));
    if let Err((_, what)) = &result {
        println!("{:12} crash: {what}", target.name);
    }
    println!("fuzz: 1 runs, {} crashes", u8::from(result.is_err()));
    if result.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
