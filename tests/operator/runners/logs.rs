//! What the doubles say on their standard output, read while they run: nothing of a pod can be read when it is gone.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use serde::Deserialize;

use crate::world::{pause, try_kubectl};

/// A line of a double: what happened, and what holds at that time.
#[derive(Clone, Debug, Deserialize)]
pub struct Line {
    pub time: Timestamp,
    pub event: String,
    /// Eight characters of the public key that it sends with; empty when it does not.
    pub key: String,
    pub captured: u64,
    pub sent: u64,
    /// Answers by status.
    pub statuses: BTreeMap<String, u64>,
}

/// The lines of a pod, and whose pod it is.
#[derive(Clone, Debug, Default)]
pub struct PodLog {
    pub runner: String,
    pub lines: Vec<Line>,
}

impl PodLog {
    /// When it sends with this key, the first time and the last.
    pub fn with(&self, key: &str) -> Option<(Timestamp, Timestamp)> {
        let mut times = self.lines.iter().filter(|line| line.key == key).map(|line| line.time);
        let first = times.next()?;
        Some((first, times.next_back().unwrap_or(first)))
    }

    pub fn says(&self, event: &str) -> Option<&Line> {
        self.lines.iter().find(|line| line.event == event)
    }
}

/// Follows the logs of all doubles of a namespace.
pub struct Logs(Arc<Followed>);

struct Followed {
    namespace: String,
    over: AtomicBool,
    pods: Mutex<BTreeMap<String, PodLog>>,
    readers: Mutex<Vec<Child>>,
}

impl Logs {
    pub fn follow(namespace: &str) -> Self {
        let followed = Arc::new(Followed {
            namespace: namespace.to_owned(),
            over: AtomicBool::new(false),
            pods: Mutex::default(),
            readers: Mutex::default(),
        });
        let looking = Arc::clone(&followed);
        std::thread::spawn(move || looking.look_for_pods());
        Self(followed)
    }

    /// By name.
    pub fn pods(&self) -> BTreeMap<String, PodLog> {
        lock(&self.0.pods).clone()
    }

    pub fn of(&self, runner: &str) -> Vec<PodLog> {
        self.pods().into_values().filter(|pod| pod.runner == runner).collect()
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Relaxed);
        for mut reader in lock(&self.0.readers).drain(..) {
            let _ = reader.kill();
            let _ = reader.wait();
        }
    }
}

impl Followed {
    fn look_for_pods(self: Arc<Self>) {
        let running =
            "{range .items[?(@.status.phase==\"Running\")]}{.metadata.name} {.metadata.labels.runner}{\"\\n\"}{end}";
        let running = format!("jsonpath={running}");
        while !self.is_over() {
            let pods = try_kubectl(&["-n", &self.namespace, "get", "pods", "-l", "runner", "-o", &running]);
            for (pod, runner) in pods.unwrap_or_default().lines().filter_map(|line| line.split_once(' ')) {
                let new = PodLog { runner: runner.to_owned(), lines: Vec::new() };
                let known = lock(&self.pods).contains_key(pod);
                if !known {
                    lock(&self.pods).insert(pod.to_owned(), new);
                    let (reading, pod) = (Arc::clone(&self), pod.to_owned());
                    std::thread::spawn(move || reading.read(&pod));
                }
            }
            pause(Duration::from_millis(500));
        }
    }

    /// Until the double has said its last, or its pod is gone.
    fn read(&self, pod: &str) {
        while !self.is_over() {
            self.read_once(pod);
            let ended = lock(&self.pods).get(pod).is_some_and(|log| log.says("exiting").is_some());
            if ended || try_kubectl(&["-n", &self.namespace, "get", "pod", pod]).is_err() {
                return;
            }
            pause(Duration::from_millis(200));
        }
    }

    fn read_once(&self, pod: &str) {
        let mut reader = Command::new("kubectl")
            .args(["-n", &self.namespace, "logs", "--follow", pod])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let output = reader.stdout.take().unwrap();
        lock(&self.readers).push(reader);
        let mut lines = Vec::new();
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            // Standard error is between them.
            let Ok(line) = serde_json::from_str::<Line>(&line) else { continue };
            lines.push(line);
            let mut pods = lock(&self.pods);
            let known = &mut pods.entry(pod.to_owned()).or_default().lines;
            // A log that is read once more begins with what is known already.
            if lines.len() > known.len() {
                known.clone_from(&lines);
            }
        }
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
