//! The objects of one kind that wait for a pass. An object waits at most once, and never has two passes at a time.
//! Changed objects come before routine ones; a failing one has its own pause. Our own writes ask for no pass.

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use rand::RngExt;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use super::metrics::QueueMetrics;

/// First and longest pause after a failed pass.
const BACKOFF: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_mins(5);

/// Namespace and name of an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectName {
    pub namespace: Box<str>,
    pub name: Box<str>,
}

impl ObjectName {
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

/// How soon a pass is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// Nobody waits for it: a periodic pass, or the first one after a start.
    Routine,
    /// Something happened to the object or to what it owns.
    Changed,
}

/// How a pass went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// Another look after this time.
    Again(Duration),
    /// Nothing more until something happens.
    Await,
    /// Another attempt after a pause that grows with each failure.
    Failed,
    /// There is no such object any more.
    Gone,
}

/// Resource versions of the last writes of this process. A watch event that shows one of them needs no pass. All queues
/// share them: the API server gives out a version once.
#[derive(Clone, Debug, Default)]
pub struct Echoes(Arc<Mutex<Versions>>);

#[derive(Debug, Default)]
struct Versions {
    known: HashSet<Box<str>>,
    oldest_first: VecDeque<Box<str>>,
}

impl Echoes {
    /// Far more than the writes whose events can be under way.
    const REMEMBERED: usize = 8_192;

    pub fn wrote(&self, version: Option<&str>) {
        let Some(version) = version else { return };
        let mut versions = self.0.lock();
        if versions.known.insert(version.into()) {
            versions.oldest_first.push_back(version.into());
        }
        if versions.oldest_first.len() > Self::REMEMBERED
            && let Some(oldest) = versions.oldest_first.pop_front()
        {
            versions.known.remove(&oldest);
        }
    }

    fn contains(&self, version: &str) -> bool {
        self.0.lock().known.contains(version)
    }
}

#[derive(Debug)]
pub struct Queue {
    state: Mutex<QueueState>,
    wake: Notify,
    echoes: Echoes,
    metrics: QueueMetrics,
}

#[derive(Debug, Default)]
struct QueueState {
    items: HashMap<ObjectName, Item>,
    changed: VecDeque<ObjectName>,
    routine: VecDeque<ObjectName>,
    waiting: BTreeSet<(Instant, ObjectName)>,
    running: usize,
    /// Objects that were there at the start and have had no pass yet.
    unseen: HashSet<ObjectName>,
}

#[derive(Debug)]
struct Item {
    phase: Phase,
    failures: u32,
    /// Versions that watches showed during the pass under way. When it ends, it is known which are its own.
    shown: Vec<Box<str>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    Waiting(Instant),
    Queued { urgency: Urgency, since: Instant },
    Running { since: Instant, again: Option<Urgency>, early: bool },
}

impl QueueState {
    fn enqueue(&mut self, name: &ObjectName, urgency: Urgency, now: Instant) {
        match urgency {
            Urgency::Changed => self.changed.push_back(name.clone()),
            Urgency::Routine => self.routine.push_back(name.clone()),
        }
        if let Some(item) = self.items.get_mut(name) {
            item.phase = Phase::Queued { urgency, since: now };
        }
    }

    fn wait_until(&mut self, name: &ObjectName, due: Instant) {
        if let Some(item) = self.items.get_mut(name) {
            item.phase = Phase::Waiting(due);
            self.waiting.insert((due, name.clone()));
        }
    }

    /// The name at the head of a lane, without those that have been moved to the other one meanwhile.
    fn pop(&mut self, lane: Urgency) -> Option<(ObjectName, Instant)> {
        let names = if lane == Urgency::Changed { &mut self.changed } else { &mut self.routine };
        while let Some(name) = names.pop_front() {
            if let Some(Item { phase: Phase::Queued { urgency, since }, .. }) = self.items.get(&name)
                && *urgency == lane
            {
                return Some((name, *since));
            }
        }
        None
    }
}

impl Queue {
    #[must_use]
    pub fn new(echoes: Echoes, metrics: QueueMetrics) -> Self {
        Self { state: Mutex::default(), wake: Notify::new(), echoes, metrics }
    }

    /// Asks for a first look at everything that is there at the start; [`Self::started`] tells when it is done.
    pub fn seed(&self, names: &[ObjectName]) {
        self.state.lock().unseen.extend(names.iter().cloned());
        for name in names {
            self.push(name, Urgency::Routine);
        }
    }

    /// Whether everything that was there at the start has had a pass, however it went.
    #[must_use]
    pub fn started(&self) -> bool {
        self.state.lock().unseen.is_empty()
    }

    /// A watch showed this version of the object or of what it owns; `None`: that something is gone.
    pub fn shown(&self, name: &ObjectName, version: Option<&str>) {
        let Some(version) = version else { return self.push(name, Urgency::Changed) };
        if self.echoes.contains(version) {
            return;
        }
        let mut state = self.state.lock();
        if let Some(item) = state.items.get_mut(name)
            && matches!(item.phase, Phase::Running { .. })
        {
            item.shown.push(version.into());
            return;
        }
        drop(state);
        self.push(name, Urgency::Changed);
    }

    /// Asks for a pass. One that is asked for already is not repeated; one under way is followed by another.
    pub fn push(&self, name: &ObjectName, urgency: Urgency) {
        let now = Instant::now();
        let mut state = self.state.lock();
        let item =
            state.items.entry(name.clone()).or_insert(Item { phase: Phase::Idle, failures: 0, shown: Vec::new() });
        match &mut item.phase {
            Phase::Running { again, .. } => {
                *again = (*again).max(Some(urgency));
                return;
            }
            Phase::Queued { urgency: queued, .. } if *queued >= urgency => return,
            // It moves to the other lane, where it counts only once.
            Phase::Queued { .. } => {
                state.enqueue(name, urgency, now);
                drop(state);
                self.wake.notify_one();
                return;
            }
            Phase::Waiting(due) => {
                let due = *due;
                state.waiting.remove(&(due, name.clone()));
            }
            Phase::Idle => {}
        }
        state.enqueue(name, urgency, now);
        self.metrics.added(1);
        drop(state);
        self.wake.notify_one();
    }

    /// The next object to look at; [`Self::done`] must follow.
    pub async fn next(&self) -> ObjectName {
        loop {
            let notified = self.wake.notified();
            let due = match self.take() {
                Ok(name) => return name,
                Err(due) => due,
            };
            match due {
                Some(due) => tokio::select! {
                    () = notified => {}
                    () = sleep_until(due) => {}
                },
                None => notified.await,
            }
        }
    }

    /// The next one that is due, or when the next one will be.
    fn take(&self) -> Result<ObjectName, Option<Instant>> {
        let now = Instant::now();
        let mut state = self.state.lock();
        while state.waiting.first().is_some_and(|(due, _)| *due <= now) {
            let Some((_, name)) = state.waiting.pop_first() else { break };
            let failed = state.items.get(&name).is_some_and(|item| item.failures > 0);
            state.enqueue(&name, Urgency::Routine, now);
            self.metrics.added(1);
            if failed {
                self.metrics.retries.inc();
            }
        }
        let Some((name, since)) = state.pop(Urgency::Changed).or_else(|| state.pop(Urgency::Routine)) else {
            return Err(state.waiting.first().map(|(due, _)| *due));
        };
        if let Some(item) = state.items.get_mut(&name) {
            // It did not wait for the pause after its last failure to end.
            let early = item.failures > 0 && matches!(item.phase, Phase::Queued { urgency: Urgency::Changed, .. });
            item.phase = Phase::Running { since: now, again: None, early };
        }
        state.running += 1;
        self.metrics.taken(now.saturating_duration_since(since));
        let more = !state.changed.is_empty() || !state.routine.is_empty();
        drop(state);
        if more {
            self.wake.notify_one();
        }
        Ok(name)
    }

    /// Takes in how the pass over `name` went. Returns the pause before another attempt, when it failed.
    pub fn done(&self, name: &ObjectName, done: Done) -> Option<Duration> {
        let now = Instant::now();
        let mut state = self.state.lock();
        state.running = state.running.saturating_sub(1);
        state.unseen.remove(name);
        let item = state.items.get_mut(name)?;
        let Phase::Running { since, again, early } = item.phase else { return None };
        let news = std::mem::take(&mut item.shown).iter().any(|version| !self.echoes.contains(version));
        let again = again.max(news.then_some(Urgency::Changed));
        self.metrics.worked(now.saturating_duration_since(since));
        let mut pause = None;
        match done {
            Done::Failed => {
                // Only attempts that waited their pause out make it grow; triggers from outside do not.
                if !early {
                    item.failures += 1;
                }
                let wait = if again.is_some() { *BACKOFF.start() } else { backoff(item.failures) };
                pause = Some(wait);
                state.wait_until(name, now + wait);
            }
            Done::Gone | Done::Await | Done::Again(_) => {
                item.failures = 0;
                match (again, done) {
                    (Some(urgency), _) => {
                        state.enqueue(name, urgency, now);
                        self.metrics.added(1);
                    }
                    (None, Done::Again(after)) => state.wait_until(name, now + after),
                    _ => {
                        state.items.remove(name);
                    }
                }
            }
        }
        drop(state);
        self.wake.notify_one();
        pause
    }

    /// Measures how long the passes under way have taken so far. Returns the longest.
    pub fn observe_running(&self) -> Duration {
        let now = Instant::now();
        let state = self.state.lock();
        if state.running == 0 {
            self.metrics.unfinished(0.0, 0.0);
            return Duration::ZERO;
        }
        let running = state.items.values().filter_map(|item| match item.phase {
            Phase::Running { since, .. } => Some(now.saturating_duration_since(since).as_secs_f64()),
            _ => None,
        });
        let (sum, longest) = running.fold((0.0, 0.0_f64), |(sum, longest), time| (sum + time, longest.max(time)));
        self.metrics.unfinished(sum, longest);
        Duration::from_secs_f64(longest)
    }
}

/// Jitter: objects that failed together must not come back together.
fn backoff(failures: u32) -> Duration {
    let doubled = BACKOFF.start().saturating_mul(1 << failures.saturating_sub(1).min(16)).min(*BACKOFF.end());
    doubled.mul_f64(rand::rng().random_range(0.8..1.2))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ObjectName {
        ObjectName::new("web", text)
    }

    fn queue() -> Queue {
        Queue::new(Echoes::default(), QueueMetrics::unregistered())
    }

    #[tokio::test]
    async fn what_the_process_wrote_itself_is_no_news() {
        let queue = queue();
        queue.push(&name("a"), Urgency::Changed);
        let a = queue.next().await;
        // The event may come before the answer to the write.
        queue.shown(&a, Some("7"));
        queue.echoes.wrote(Some("7"));
        queue.done(&a, Done::Await);
        queue.shown(&a, Some("7"));
        assert!(queue.take().is_err());
        queue.shown(&a, Some("8"));
        let a = queue.next().await;
        queue.shown(&a, Some("9"));
        queue.done(&a, Done::Await);
        assert_eq!(queue.next().await, a, "somebody else wrote during the pass");
    }

    #[tokio::test]
    async fn an_object_waits_once_and_what_changed_comes_first() {
        let queue = queue();
        queue.seed(&[name("a"), name("b"), name("c")]);
        queue.push(&name("c"), Urgency::Changed);
        queue.push(&name("c"), Urgency::Changed);
        let mut order = Vec::new();
        for _ in 0..3 {
            let next = queue.next().await;
            queue.done(&next, Done::Await);
            order.push(next.name);
        }
        assert_eq!(order.iter().map(|name| &**name).collect::<Vec<_>>(), ["c", "a", "b"]);
        assert!(queue.take().is_err() && queue.started());
    }

    #[tokio::test]
    async fn a_change_during_a_pass_is_followed_by_another_pass() {
        let queue = queue();
        queue.push(&name("a"), Urgency::Changed);
        let a = queue.next().await;
        queue.push(&a, Urgency::Changed);
        assert!(queue.take().is_err(), "never two passes over one object");
        queue.done(&a, Done::Again(Duration::from_mins(10)));
        assert_eq!(queue.next().await, a);
    }

    #[test]
    fn the_pause_grows_with_each_failure_up_to_five_minutes() {
        let pauses: Vec<_> = (1..=12).map(|failures| backoff(failures).as_secs_f64()).collect();
        assert!(pauses[0] <= 1.2 && pauses[3] >= 6.4 && pauses[11] <= 360.0, "{pauses:?}");
        assert!(pauses[11] >= 240.0, "{pauses:?}");
    }

    #[tokio::test]
    async fn triggers_from_outside_do_not_make_the_pause_grow_and_a_success_ends_it() {
        let queue = queue();
        for _ in 0..10 {
            queue.push(&name("a"), Urgency::Changed);
            let a = queue.next().await;
            assert!(queue.done(&a, Done::Failed).unwrap().as_secs_f64() <= 1.2);
        }
        queue.push(&name("a"), Urgency::Changed);
        let a = queue.next().await;
        assert_eq!(queue.done(&a, Done::Await), None);
        assert!(queue.state.lock().items.is_empty(), "nothing is remembered of an object that needs nothing");
    }

    #[tokio::test]
    async fn an_object_is_looked_at_again_when_its_time_has_come() {
        let queue = queue();
        queue.push(&name("later"), Urgency::Changed);
        queue.push(&name("sooner"), Urgency::Changed);
        for pause in [40, 20] {
            let next = queue.next().await;
            queue.done(&next, Done::Again(Duration::from_millis(pause)));
        }
        assert_eq!(queue.next().await, name("sooner"));
        assert_eq!(queue.next().await, name("later"));
    }

    #[tokio::test]
    async fn many_workers_share_the_work() {
        let queue = std::sync::Arc::new(queue());
        let mut workers = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let queue = queue.clone();
            workers.spawn(async move {
                let mut done = 0;
                while let Ok(next) = tokio::time::timeout(Duration::from_millis(500), queue.next()).await {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    queue.done(&next, Done::Await);
                    done += 1;
                }
                done
            });
        }
        for number in 0..1_000 {
            queue.push(&name(&number.to_string()), Urgency::Changed);
        }
        let done: Vec<i32> = workers.join_all().await;
        assert_eq!(done.iter().sum::<i32>(), 1_000);
        assert!(done.iter().all(|done| *done > 50), "{done:?}");
    }
}
