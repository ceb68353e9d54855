//! Runners of one project, each with a key and a binding of its own, through a rotation of all keys.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;
use serde_json::Value;

use super::{
    LIMIT,
    logs::{Logs, PodLog},
    runner::{FAILURE, Runner, list},
    states,
};
use crate::{
    rotation::{ask_for_rotation, refused},
    world::{Namespace, pause, sql, wait_for},
};

pub struct Fleet<'a> {
    pub namespace: &'a Namespace,
    project: String,
    pub runners: Vec<Runner>,
    pub logs: Logs,
    /// First characters of the public key of each runner, before the rotation.
    old: BTreeMap<String, String>,
    asked: Timestamp,
    /// Every DSN that there was.
    dsns: BTreeSet<String>,
    /// What was told of each runner last.
    told: RefCell<BTreeMap<String, String>>,
}

/// What the doubles sent, and what became of it.
pub struct Counts {
    pub sent: u64,
    pub stored: u64,
    /// Everything but 200.
    pub refused: u64,
    pub jobs_cut: usize,
    /// Runners of which every event was sent and stored.
    pub whole: BTreeSet<String>,
}

/// The keys of an object.
pub struct Keys {
    /// Of each, the older one first.
    pub states: String,
    /// Of the one that the Secret names.
    id: String,
    /// First characters of that one's public key.
    active: String,
    published: Option<Timestamp>,
    /// When the key before ended.
    retired: Option<Timestamp>,
}

impl<'a> Fleet<'a> {
    /// Runners with pods, and their bindings.
    pub fn start(namespace: &'a Namespace, project: String, runners: Vec<Runner>) -> Self {
        let logs = Logs::follow(&namespace.0);
        let mut fleet = Self {
            namespace,
            project,
            runners: Vec::new(),
            logs,
            old: BTreeMap::new(),
            asked: Timestamp::now(),
            dsns: BTreeSet::new(),
            told: RefCell::default(),
        };
        fleet.add(runners);
        fleet
    }

    /// What people have comes first, and has pods when it is bound.
    fn add(&mut self, runners: Vec<Runner>) {
        let keys: Vec<_> = runners.iter().map(Runner::key).collect();
        let objects: Vec<_> = runners.iter().flat_map(Runner::objects).collect();
        let bindings: Vec<_> = runners.iter().map(Runner::binding).collect();
        self.namespace.apply(&list(&keys));
        self.namespace.kubectl(&["wait", "--for=condition=Ready", "etk", "--all", "--timeout=120s"]);
        self.namespace.try_create(&list(&objects)).unwrap();
        let pods: u32 = runners.iter().map(|runner| runner.replicas).sum();
        wait_for(&format!("{pods} pods of {} runners run", runners.len()), LIMIT, || {
            let path = "jsonpath={.items[*].status.readyReplicas}";
            let ready = self.namespace.kubectl(&["get", "deploy", "-l", "runner", "-o", path]);
            (ready.split(' ').filter_map(|ready| ready.parse::<u32>().ok()).sum::<u32>() == pods).then_some(())
        });
        self.namespace.apply(&list(&bindings));
        self.runners.extend(runners);
    }

    /// Runners whose pods begin with a job. They are bound before they have pods, which then begin with the DSN.
    pub fn add_with_jobs(&mut self, runners: Vec<Runner>) {
        let without_pods: Vec<_> = runners.iter().map(|runner| Runner { replicas: 0, ..runner.clone() }).collect();
        let keys: Vec<_> = runners.iter().map(Runner::key).collect();
        let objects: Vec<_> = without_pods.iter().flat_map(Runner::objects).collect();
        let bindings: Vec<_> = runners.iter().map(Runner::binding).collect();
        for manifests in [keys, objects, bindings] {
            self.namespace.apply(&list(&manifests));
        }
        self.runners.extend(runners.clone());
        self.await_configured();
        // Of a pod of the same second nobody knows whether it was earlier.
        pause(Duration::from_millis(1100));
        for Runner { name, replicas, .. } in runners {
            self.namespace.kubectl(&["scale", &format!("deploy/{name}"), &format!("--replicas={replicas}")]);
        }
        self.await_errors();
    }

    /// Until every binding says that its runner has the key of the Secret.
    pub fn await_configured(&self) {
        self.await_each(
            "is configured",
            |_| true,
            || {
                let (keys, bindings) = (self.keys(), self.bindings());
                let configured = |name: &String, status: &Value| {
                    let observed = status["observedKeyID"].as_str();
                    said(status, "Configured")["status"] == "True" && observed == keys.get(name).map(|keys| &*keys.id)
                };
                bindings.into_iter().filter(|(name, status)| configured(name, status)).map(|(name, _)| name).collect()
            },
        );
    }

    /// Until every runner's own error is in the project.
    pub fn await_errors(&self) {
        self.await_each("has its error in the project", |_| true, || self.stored().into_keys().collect());
    }

    pub fn await_rolled_out(&self, which: impl Fn(&Runner) -> bool) {
        self.await_each("is rolled out", which, || {
            let rolled_out =
                |(name, status): (String, Value)| (said(&status, "RolledOut")["status"] == "True").then_some(name);
            self.bindings().into_iter().filter_map(rolled_out).collect()
        });
    }

    /// Asks for a rotation of every key, and waits until the Secrets name the next ones.
    pub fn rotate(&mut self) {
        self.dsns.extend(states::dsns(self.namespace));
        self.old = self.keys().into_iter().map(|(name, keys)| (name, keys.active)).collect();
        // A request of the second in which a key was made does nothing.
        pause(Duration::from_millis(1100));
        self.asked = Timestamp::now();
        for runner in &self.runners {
            ask_for_rotation(self.namespace, &runner.name);
        }
        self.await_keys("has another key in its Secret", |_| true, "overlap published");
        self.dsns.extend(states::dsns(self.namespace));
    }

    /// Until the keys before have ended.
    pub fn await_ends(&self, which: impl Fn(&Runner) -> bool) {
        self.await_keys("has one key left", which, "retired published");
    }

    fn await_keys(&self, what: &str, which: impl Fn(&Runner) -> bool, states: &str) {
        self.await_each(what, which, || {
            self.keys().into_iter().filter(|(_, keys)| keys.states == states).map(|(name, _)| name).collect()
        });
    }

    /// Until each pod of these runners sends with the next key or has ended.
    pub fn await_next_keys(&self, which: impl Fn(&Runner) -> bool) {
        let keys = self.keys();
        self.await_each("sends with the next key", which, || {
            let pods = self.logs.pods();
            let has_it = |name: &&String| {
                let next = &keys[*name].active;
                let moved = |pod: &PodLog| {
                    pod.says("exiting").is_some() || pod.lines.last().is_some_and(|last| last.key == *next)
                };
                let mut pods = pods.values().filter(|pod| pod.runner == **name);
                pods.clone().any(|pod| pod.with(next).is_some()) && pods.all(moved)
            };
            keys.keys().filter(has_it).cloned().collect()
        });
    }

    /// Until the job that the first pod of each began with has come to its end.
    pub fn await_jobs(&self, runners: &[&Runner]) {
        for runner in runners {
            wait_for(&format!("the job of {} is over", runner.name), LIMIT, || {
                self.tell();
                let first = self.logs.of(&runner.name).into_iter().min_by_key(|pod| pod.lines[0].time)?;
                first.says("job_finished").or(first.says("job_cut")).map(|_| ())
            });
        }
    }

    /// Until `done` names each of these runners.
    fn await_each(&self, what: &str, which: impl Fn(&Runner) -> bool, done: impl Fn() -> BTreeSet<String>) {
        let names: Vec<_> = self.runners.iter().filter(|runner| which(runner)).map(|runner| &runner.name).collect();
        wait_for(&format!("each of {} runners {what}", names.len()), LIMIT, || {
            self.tell();
            let done = done();
            names.iter().all(|name| done.contains(*name)).then_some(())
        });
    }

    /// Prints what the bindings say of their pods when it is another thing than before.
    fn tell(&self) {
        let mut told = self.told.borrow_mut();
        for (name, status) in self.bindings() {
            let Some(message) = said(&status, "RolledOut")["message"].as_str() else { continue };
            let ours = self.runners.iter().any(|runner| runner.name == name);
            if ours && told.get(&name).is_none_or(|before| before != message) {
                println!("{:6.1} s  {name}: {message}", self.seconds(Timestamp::now()));
                told.insert(name, message.to_owned());
            }
        }
    }

    /// Since the rotation was asked for.
    #[expect(clippy::cast_precision_loss, reason = "of minutes")]
    fn seconds(&self, at: Timestamp) -> f64 {
        at.duration_since(self.asked).as_millis() as f64 / 1000.0
    }

    pub fn dsns(&self) -> Vec<String> {
        self.dsns.iter().cloned().collect()
    }

    /// The status of every binding.
    fn bindings(&self) -> BTreeMap<String, Value> {
        let bindings: Value = serde_json::from_str(&self.namespace.kubectl(&["get", "etr", "-o", "json"])).unwrap();
        let named =
            |binding: &Value| (binding["metadata"]["name"].as_str().unwrap().to_owned(), binding["status"].clone());
        bindings["items"].as_array().unwrap().iter().map(named).collect()
    }

    /// The keys of every object.
    pub fn keys(&self) -> BTreeMap<String, Keys> {
        let project = &self.project;
        let milliseconds = |time: &str| format!("(extract(epoch FROM max({time})) * 1000)::bigint");
        let (published, retired) = (milliseconds("published_at"), milliseconds("revoked_at"));
        let rows = sql(&format!(
            "SELECT name, string_agg(state, ' ' ORDER BY ordinal), max(key_id) FILTER (WHERE state = 'published'),
                 max(left(public_key, 8)) FILTER (WHERE state = 'published'), {published}, {retired}
             FROM errortracking.client_keys WHERE project_id = {project} GROUP BY name"
        ));
        let at = |milliseconds: &str| Timestamp::from_millisecond(milliseconds.parse().ok()?).ok();
        let read = |row: &str| {
            let mut columns = row.split('|');
            let mut next = || columns.next().unwrap();
            let name = next().to_owned();
            let (states, id, active) = (next().to_owned(), next().to_owned(), next().to_owned());
            (name, Keys { states, id, active, published: at(next()), retired: at(next()) })
        };
        rows.lines().map(read).collect()
    }

    /// How many events of each runner are stored.
    fn stored(&self) -> BTreeMap<String, u64> {
        let project = &self.project;
        let rows = sql(&format!(
            "SELECT i.exception_value, sum(c.events) FROM project_{project}.issues AS i
             JOIN project_{project}.issue_counters AS c USING (issue_id) GROUP BY 1"
        ));
        let read = |row: &str| {
            let (error, events) = row.split_once('|')?;
            let name = error.strip_prefix(FAILURE)?.trim();
            Some((name.to_owned(), events.parse().unwrap()))
        };
        rows.lines().filter_map(read).collect()
    }

    /// Prints when each runner came by the next key. Returns those whose key before ended when none of their pods had
    /// it any more. A pod that begins has the next one, also before it says so.
    pub fn timeline(&self) -> BTreeSet<String> {
        println!("\nseconds after the rotation was asked for:");
        println!(
            "{:29}{:>11}{:>11}{:>11}{:>11}{:>11}{:>11}",
            "", "published", "configured", "first pod", "last pod", "last old", "old ended"
        );
        let (keys, bindings) = (self.keys(), self.bindings());
        let moved_in_time = |runner: &&Runner| {
            let (keys, status) = (&keys[&runner.name], &bindings[&runner.name]);
            let pods = self.logs.of(&runner.name);
            let begins: Vec<_> = pods.iter().filter_map(|pod| pod.with(&keys.active)).map(|(first, _)| first).collect();
            let last_old = pods.iter().filter_map(|pod| pod.with(&self.old[&runner.name])).map(|(_, last)| last).max();
            let configured = status["configuredAt"].as_str().and_then(|at| at.parse().ok());
            let (first, last) = (begins.iter().min().copied(), begins.iter().max().copied());
            let times = [keys.published, configured, first, last, last_old, keys.retired];
            let shown = |time: &Option<Timestamp>| time.map_or("-".into(), |time| format!("{:.1}", self.seconds(time)));
            println!("{:29}{}", runner.name, times.map(|time| format!("{:>11}", shown(&time))).concat());
            last.is_some() && last_old.is_some() && last_old < keys.retired
        };
        self.runners.iter().filter(moved_in_time).map(|runner| runner.name.clone()).collect()
    }

    /// Ends every runner, and counts what each sent.
    pub fn end(&self) -> Counts {
        let namespace = self.namespace;
        namespace.kubectl(&["delete", "deploy", "-l", "runner", "--wait=false"]);
        wait_for("every runner has ended", LIMIT, || {
            namespace.kubectl(&["get", "pods", "-l", "runner", "-o", "name"]).is_empty().then_some(())
        });
        // What they said last may still be on its way.
        pause(Duration::from_secs(3));
        let (pods, stored) = (self.logs.pods(), self.stored());
        let mut counts = Counts {
            sent: 0,
            stored: sql(&format!("SELECT count(*) FROM project_{}.events", self.project)).parse().unwrap(),
            refused: 0,
            jobs_cut: 0,
            whole: BTreeSet::new(),
        };
        println!("\n{:29}{:>6}{:>10}{:>10}{:>10}{:>10}", "", "pods", "captured", "sent", "stored", "refused");
        for runner in &self.runners {
            let pods: Vec<_> = pods.values().filter(|pod| pod.runner == runner.name).collect();
            let last: Vec<_> = pods.iter().filter_map(|pod| pod.lines.last()).collect();
            let (captured, sent): (Vec<u64>, Vec<u64>) = last.iter().map(|line| (line.captured, line.sent)).unzip();
            let (captured, sent): (u64, u64) = (captured.iter().sum(), sent.iter().sum());
            let answers = last.iter().flat_map(|line| &line.statuses);
            let refused: u64 = answers.filter(|(status, _)| *status != "200").map(|(_, count)| count).sum();
            let stored = stored.get(&runner.name).copied().unwrap_or_default();
            // Of one that was killed nobody knows what it sent.
            let said_their_last = pods.iter().all(|pod| pod.says("exiting").is_some());
            println!("{:29}{:>6}{captured:>10}{sent:>10}{stored:>10}{refused:>10}", runner.name, pods.len());
            if said_their_last && captured == sent && sent == stored && refused == 0 {
                counts.whole.insert(runner.name.clone());
            }
            counts.sent += sent;
            counts.refused += refused;
            let cut = |pod: &&&PodLog| pod.says("job_started").is_some() && pod.says("job_finished").is_none();
            counts.jobs_cut += pods.iter().filter(cut).count();
        }
        // As both ends count it.
        counts.refused = counts.refused.max(refused(namespace));
        counts
    }
}

/// A condition of a status.
fn said<'a>(status: &'a Value, kind: &str) -> &'a Value {
    let mut conditions = status["conditions"].as_array().into_iter().flatten();
    conditions.find(|condition| condition["type"] == kind).unwrap_or(&Value::Null)
}
