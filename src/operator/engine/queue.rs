//! The objects of one kind that wait for a pass. An object waits at most once, and never has two passes at a time.
//! Changed objects come before routine ones, and the namespaces take turns: none has more than half of the workers, so
//! that neither many objects nor slow ones of one tenant hold up the others. A failing object has its own pause, and so
//! has one that waits. Our own writes ask for no pass.

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

/// First and longest pause.
type Pauses = std::ops::RangeInclusive<Duration>;

/// After a failed pass.
const BACKOFF: Pauses = Duration::from_secs(1)..=Duration::from_mins(5);
/// While the object waits for something that no watch shows: a database, a right, or a taken name. What has stayed so
/// for long is looked at seldom.
const WAITS: Pauses = Duration::from_secs(10)..=Duration::from_mins(5);

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
    /// Another look after a pause that grows with each look that finds the object as it was.
    Waits,
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
    changed: Lane,
    routine: Lane,
    waiting: BTreeSet<(Instant, ObjectName)>,
    running: Running,
    /// Objects that were there at the start and have had no pass yet.
    unseen: HashSet<ObjectName>,
}

/// Names in the order of their coming, by namespace. The namespaces take turns.
#[derive(Debug, Default)]
struct Lane {
    /// Those that have names, the next one first.
    turns: VecDeque<Box<str>>,
    names: HashMap<Box<str>, VecDeque<ObjectName>>,
}

impl Lane {
    fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    fn push(&mut self, name: &ObjectName) {
        if let Some(names) = self.names.get_mut(&name.namespace) {
            names.push_back(name.clone());
        } else {
            self.turns.push_back(name.namespace.clone());
            self.names.insert(name.namespace.clone(), VecDeque::from([name.clone()]));
        }
    }

    /// The next name of a namespace that may have another pass.
    fn pop(&mut self, running: &Running) -> Option<ObjectName> {
        let turn = self.turns.iter().position(|namespace| running.has_room(namespace))?;
        let namespace = self.turns.remove(turn)?;
        let names = self.names.get_mut(&namespace)?;
        let name = names.pop_front();
        if names.is_empty() {
            self.names.remove(&namespace);
            // The room of a burst is given back.
            if self.names.is_empty() {
                *self = Self::default();
            }
        } else {
            self.turns.push_back(namespace);
        }
        name
    }
}

/// Passes under way.
#[derive(Debug, Default)]
struct Running {
    all: usize,
    by_namespace: HashMap<Box<str>, usize>,
    /// Most of one namespace; 0: any number.
    share: usize,
}

impl Running {
    fn has_room(&self, namespace: &str) -> bool {
        self.share == 0 || self.by_namespace.get(namespace).is_none_or(|running| *running < self.share)
    }

    fn begin(&mut self, namespace: &str) {
        self.all += 1;
        *self.by_namespace.entry(namespace.into()).or_default() += 1;
    }

    fn end(&mut self, namespace: &str) {
        self.all = self.all.saturating_sub(1);
        if let Some(running) = self.by_namespace.get_mut(namespace) {
            *running -= 1;
            if *running == 0 {
                self.by_namespace.remove(namespace);
            }
        }
    }
}

#[derive(Debug, Default)]
struct Item {
    phase: Phase,
    failures: u32,
    /// Looks in a row that found it waiting.
    waits: u32,
    /// Versions that watches showed during the pass under way. When it ends, it is known which are its own.
    shown: Vec<Box<str>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Idle,
    Waiting(Instant),
    Queued {
        urgency: Urgency,
        since: Instant,
    },
    Running {
        since: Instant,
        again: Option<Urgency>,
        early: bool,
    },
}

impl QueueState {
    fn enqueue(&mut self, name: &ObjectName, urgency: Urgency, now: Instant) {
        match urgency {
            Urgency::Changed => self.changed.push(name),
            Urgency::Routine => self.routine.push(name),
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

    /// The next name of a lane, without those that have been moved to the other one meanwhile.
    fn pop(&mut self, lane: Urgency) -> Option<(ObjectName, Instant)> {
        let names = if lane == Urgency::Changed { &mut self.changed } else { &mut self.routine };
        while let Some(name) = names.pop(&self.running) {
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

    /// So many workers take from the queue: one namespace gets at most half of them.
    pub fn share_among(&self, workers: u16) {
        self.state.lock().running.share = usize::from(workers / 2).max(1);
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
        let item = state.items.entry(name.clone()).or_default();
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
            let changed = matches!(item.phase, Phase::Queued { urgency: Urgency::Changed, .. });
            let early = item.failures > 0 && changed;
            if changed {
                item.waits = 0;
            }
            item.phase = Phase::Running { since: now, again: None, early };
        }
        state.running.begin(&name.namespace);
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
        state.running.end(&name.namespace);
        state.unseen.remove(name);
        let item = state.items.get_mut(name)?;
        let Phase::Running { since, again, early } = item.phase else { return None };
        let news = std::mem::take(&mut item.shown).iter().any(|version| !self.echoes.contains(version));
        let again = again.max(news.then_some(Urgency::Changed));
        self.metrics.worked(now.saturating_duration_since(since));
        let mut attempt_after = None;
        match done {
            Done::Failed => {
                // Only attempts that waited their pause out make it grow; triggers from outside do not.
                if !early {
                    item.failures += 1;
                }
                let wait = if again.is_some() { *BACKOFF.start() } else { pause(&BACKOFF, item.failures) };
                attempt_after = Some(wait);
                state.wait_until(name, now + wait);
            }
            Done::Gone | Done::Await | Done::Again(_) | Done::Waits => {
                item.failures = 0;
                item.waits = if done == Done::Waits { item.waits + 1 } else { 0 };
                let waits = item.waits;
                match (again, done) {
                    (Some(urgency), _) => {
                        state.enqueue(name, urgency, now);
                        self.metrics.added(1);
                    }
                    (None, Done::Again(after)) => state.wait_until(name, now + after),
                    (None, Done::Waits) => state.wait_until(name, now + pause(&WAITS, waits)),
                    _ => {
                        state.items.remove(name);
                    }
                }
            }
        }
        drop(state);
        self.wake.notify_one();
        attempt_after
    }

    /// Measures how long the passes under way have taken so far. Returns the longest.
    pub fn observe_running(&self) -> Duration {
        let now = Instant::now();
        let state = self.state.lock();
        if state.running.all == 0 {
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

/// The pause after the first time is the shortest, and each further one doubles it. Jitter: objects that failed together
/// must not come back together.
fn pause(pauses: &Pauses, times: u32) -> Duration {
    let doubled = pauses.start().saturating_mul(1 << times.saturating_sub(1).min(16)).min(*pauses.end());
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
        let pauses: Vec<_> = (1..=12).map(|failures| pause(&BACKOFF, failures).as_secs_f64()).collect();
        assert!(pauses[0] <= 1.2 && pauses[3] >= 6.4 && pauses[11] <= 360.0, "{pauses:?}");
        assert!(pauses[11] >= 240.0, "{pauses:?}");
    }

    #[tokio::test]
    async fn namespaces_take_turns_and_none_has_more_than_half_of_the_workers() {
        let queue = queue();
        queue.share_among(4);
        let of = |namespace: &str, number: u32| ObjectName::new(namespace, &number.to_string());
        for number in 0..1_000 {
            queue.push(&of("flood", number), Urgency::Changed);
        }
        queue.push(&of("web", 0), Urgency::Changed);
        queue.push(&of("web", 1), Urgency::Routine);
        queue.push(&of("blog", 0), Urgency::Routine);
        let mut taken = Vec::new();
        while let Ok(name) = queue.take() {
            taken.push(name);
        }
        // A flood of changes does not hold up the routine of others.
        assert_eq!(taken, [of("flood", 0), of("web", 0), of("flood", 1), of("web", 1), of("blog", 0)]);
        queue.done(&of("flood", 1), Done::Await);
        assert_eq!(queue.take(), Ok(of("flood", 2)));
        assert!(queue.take().is_err(), "it has its share again");
        queue.share_among(1);
        for running in [of("flood", 0), of("flood", 2)] {
            queue.done(&running, Done::Await);
        }
        assert_eq!(queue.take(), Ok(of("flood", 3)), "one worker serves everybody");
    }

    #[tokio::test]
    async fn what_stays_as_it_is_is_looked_at_ever_more_seldom_until_something_happens() {
        let queue = queue();
        let due = |queue: &Queue| {
            let state = queue.state.lock();
            let (due, _) = state.waiting.first().unwrap();
            due.saturating_duration_since(Instant::now()).as_secs_f64()
        };
        queue.push(&name("a"), Urgency::Changed);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            let a = queue.take().unwrap();
            queue.done(&a, Done::Waits);
            pauses.push(due(&queue));
            // As when its time has come.
            let mut state = queue.state.lock();
            state.waiting.clear();
            state.enqueue(&a, Urgency::Routine, Instant::now());
        }
        assert!(pauses[0] <= 12.0 && pauses[1] >= 15.0 && pauses[7] >= 230.0 && pauses[7] <= 360.0, "{pauses:?}");
        queue.push(&name("a"), Urgency::Changed);
        let a = queue.take().unwrap();
        queue.done(&a, Done::Waits);
        assert!(due(&queue) <= 12.0, "something happened to it");
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
