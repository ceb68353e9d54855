//! One target: what it is given, how often, what went wrong and with which input.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fmt,
    fs::{self, File},
    os::unix::fs::FileExt,
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    str::FromStr,
    sync::{
        Mutex, Once, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use bolero::TargetLocation;

use crate::{
    mutation::{Input, Mutations},
    supervisor::replay_hint,
    targets::{self, Target},
};

/// An input that takes longer on one core is a crash: nobody may keep a worker of ours busy with one request.
const SLOW: Duration = Duration::from_secs(1);

/// How long bolero looks for a smaller input that fails in the same way.
const SHRINK: Duration = Duration::from_secs(3);

/// What is said at the end of a target, and of all.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    pub runs: u64,
    pub crashes: u64,
    /// Most memory that a process had, in MiB.
    pub memory: u64,
}

impl Totals {
    pub fn add(&mut self, other: Self) {
        self.runs += other.runs;
        self.crashes += other.crashes;
        self.memory = self.memory.max(other.memory);
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} runs, {} crashes, {} MiB", self.runs, self.crashes, self.memory)
    }
}

impl FromStr for Totals {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let numbers: Vec<u64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        match (numbers.as_slice(), text.ends_with(" MiB")) {
            (&[runs, crashes, memory], true) => Ok(Self { runs, crashes, memory }),
            _ => Err(()),
        }
    }
}

/// Runs `target` for `time`. A failure is reported once, by the place that panicked, and passed over from then on.
pub fn run(target: &'static Target, time: Duration, output: &Path) -> Totals {
    let began = Instant::now();
    let running = File::create(output.join(format!("{}.running", target.name))).expect("the input can be noted");
    let observer = Observer { target, output, running, runs: AtomicU64::new(0), found: Mutex::default() };
    while let Some(left) = time.checked_sub(began.elapsed()).filter(|left| !left.is_zero()) {
        // bolero panics when it has found and shrunk a failure.
        let ended = panic::catch_unwind(AssertUnwindSafe(|| {
            bolero::test(location(target))
                .with_generator(Mutations::of((target.seeds)()))
                .with_test_time(left)
                .with_shrink_time(SHRINK)
                .for_each(|input: &Input| observer.observe(&input.0));
        }));
        if let (Err(panic), false) = (ended, observer.report()) {
            panic::resume_unwind(panic);
        }
    }
    let _ = fs::remove_file(output.join(format!("{}.running", target.name)));
    let crashes = observer.found.lock().unwrap().len();
    Totals { runs: observer.runs.load(Relaxed), crashes: crashes as u64, memory: peak_memory() }
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

struct Observer<'a> {
    target: &'a Target,
    output: &'a Path,
    /// The input under way, for the case that this process ends with it.
    running: File,
    runs: AtomicU64,
    found: Mutex<BTreeMap<String, Failure>>,
}

/// The smallest input that failed at one place.
struct Failure {
    place: String,
    what: String,
    input: Vec<u8>,
    reported: bool,
}

impl Observer<'_> {
    /// Panics if the target fails in a way that is not reported yet.
    fn observe(&self, input: &[u8]) {
        let length = u64::try_from(input.len()).unwrap_or_default();
        let noted = self.running.set_len(length).and_then(|()| self.running.write_all_at(input, 0));
        noted.expect("the input can be noted");
        self.runs.fetch_add(1, Relaxed);
        let Err((place, what)) = checked(self.target, input) else { return };
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Failure { place: place.clone(), what, input: input.to_vec(), reported: false };
        let failure = found.entry(place.clone()).or_insert_with(new);
        if failure.reported {
            return;
        }
        if input.len() < failure.input.len() {
            failure.input = input.to_vec();
        }
        drop(found);
        panic!("found");
    }

    /// Tells of what is new and keeps its input; says whether there was anything.
    fn report(&self) -> bool {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let mut is_new = false;
        for failure in found.values_mut().filter(|failure| !failure.reported) {
            failure.reported = true;
            is_new = true;
            failure.input = reduced(self.target, &failure.place, &failure.input);
            let file = self.output.join(format!("{}-{:08x}.input", self.target.name, checksum(&failure.place)));
            fs::write(&file, &failure.input).expect("the input can be kept");
            println!("crash: {}; {}", failure.what.replace('\n', " "), replay_hint(&file));
        }
        is_new
    }
}

/// The input without what it does not need to fail at the same place. bolero leaves out changes; this leaves out bytes
/// of the seed.
fn reduced(target: &Target, place: &str, input: &[u8]) -> Vec<u8> {
    let began = Instant::now();
    let mut input = input.to_vec();
    let mut piece = input.len() / 2;
    while piece > 0 {
        let mut from = 0;
        while from < input.len() && began.elapsed() < SHRINK {
            let without = [&input[..from], &input[input.len().min(from + piece)..]].concat();
            match checked(target, &without) {
                Err((same, _)) if same == place => input = without,
                _ => from += piece,
            }
        }
        piece /= 2;
    }
    input
}

/// Same for the same failure, so that its file is found again.
fn checksum(place: &str) -> u32 {
    place.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
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

fn peak_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or_default() / 1024
}

/// Runs a target once, with the input of a file.
pub fn replay(file: &PathBuf) -> Totals {
    let name = file.file_name().and_then(|name| name.to_str()).and_then(|name| name.split('-').next());
    let target = name.and_then(targets::named).expect("the file's name begins with that of a target");
    let input = fs::read(file).expect("the file can be read");
    let result = checked(target, &input);
    if let Err((_, what)) = &result {
        println!("{:12} crash: {what}", target.name);
    }
    Totals { runs: 1, crashes: u64::from(result.is_err()), memory: peak_memory() }
}
