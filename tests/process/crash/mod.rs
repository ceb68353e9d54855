//! The operator is killed before and after every step of its plans, and the next process finishes what it began.
//!
//! A run: objects are made and settle; then something changes, an operator starts that dies at one point, and another
//! starts that is left alone. What must hold then is in [`invariants`]. Which points there are is found by running each
//! scenario once with an operator that only writes down what it reaches, so the list cannot go stale.

mod invariants;
mod runners;
mod scenarios;
mod servers;

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    path::PathBuf,
    time::{Duration, Instant},
};

use tokio::{task::JoinHandle, time::sleep};

use self::{invariants::violations, scenarios::Scenario, servers::Servers};
use crate::world::{Mark, Mode, Namespace, Operator, World};

/// Longest time from the start of the next operator until everything is as it should be.
const SETTLES: Duration = Duration::from_secs(30);
/// Longest time until an armed operator has reached its point.
const DIES: Duration = Duration::from_secs(15);
/// Runs of the selection that every `make test` makes.
const SELECTION: usize = 20;

/// A selection of points, spread over all scenarios.
#[tokio::test]
async fn the_operator_is_killed_at_some_of_its_steps() {
    let report = Laboratory::new().await.run(Some(SELECTION)).await;
    assert_eq!(report.violations, Vec::<String>::new());
    assert!(report.runs >= SELECTION, "{} runs", report.runs);
}

/// Every point of every scenario: `make crash-operator`.
#[tokio::test]
#[ignore = "takes ten minutes: make crash-operator"]
async fn the_operator_is_killed_at_every_step() {
    let selection = std::env::var("CRASH_RUNS").ok().map(|runs| runs.parse().expect("CRASH_RUNS is a number"));
    let report = Laboratory::new().await.run(selection).await;
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("crash-operator");
    std::fs::create_dir_all(&folder).unwrap();
    let points = report.points.iter().fold(String::new(), |text, point| text + point + "\n");
    std::fs::write(folder.join("points"), &points).unwrap();
    std::fs::write(folder.join("violations"), report.violations.join("\n")).unwrap();
    println!("{points}");
    println!("fault points: {}, runs: {}, violations: {}", report.points.len(), report.runs, report.violations.len());
    assert_eq!(report.violations, Vec::<String>::new());
}

#[derive(Default)]
struct Report {
    /// "controller/step/side", and "server/method/side" for what a server was asked.
    points: BTreeSet<String>,
    /// Runs in which the operator died at its point.
    runs: usize,
    violations: Vec<String>,
}

struct Laboratory {
    world: World,
    namespace: Namespace,
    servers: Servers,
    operator: Option<Operator>,
    number: usize,
    /// What is applied again once it is gone.
    applying: Option<JoinHandle<()>>,
    /// The run before: its objects stay for one run, in which nothing may be written to them.
    settled: Option<(String, Mark)>,
    report: Report,
}

impl Laboratory {
    async fn new() -> Self {
        let servers = Servers::start();
        let world = World::with_values(&[&servers.allowed(), "runnerBinding.enabled=true"]).await;
        let namespace = world.namespace("crash").await;
        servers.publish_tokens(&namespace).await;
        let operator = Some(world.start_and_lead().await);
        let report = Report::default();
        Self { world, namespace, servers, operator, number: 0, applying: None, settled: None, report }
    }

    /// All runs, or `selection` of them.
    async fn run(mut self, selection: Option<usize>) -> Report {
        let mut runs = Vec::new();
        let wanted = std::env::var("CRASH_SCENARIOS").unwrap_or_default();
        for scenario in Scenario::ALL.into_iter().filter(|scenario| format!("{scenario:?}").contains(&wanted)) {
            let reached = self.discover(scenario).await;
            println!("{scenario:?} reaches {}", reached.join(" "));
            for point in reached {
                runs.push((scenario, point.clone()));
                self.report.points.insert(point);
            }
        }
        let selection = selection.unwrap_or(runs.len()).min(runs.len());
        let began = Instant::now();
        for index in 0..selection {
            // A point that is not reached this time, as one of objects that the run before has left, gives its place to the
            // next.
            let candidates = &runs[index * runs.len() / selection..(index + 1) * runs.len() / selection];
            for (scenario, point) in candidates {
                if self.crash(*scenario, point).await {
                    break;
                }
            }
            println!("{}/{selection} after {:.0} s", index + 1, began.elapsed().as_secs_f64());
        }
        self.report
    }

    /// The points that a scenario reaches, in their order.
    async fn discover(&mut self, scenario: Scenario) -> Vec<String> {
        let name = self.prepare(scenario).await;
        let log = self.world.folder().join(format!("{name}.points"));
        self.stop();
        self.applying = scenario.act(&self.world, &self.servers, &self.namespace, &name).await;
        self.servers.forget_calls();
        self.operator = Some(self.start(&[("ERROR_TRACKING_FAULT_LOG", log.to_str().unwrap())]).await);
        self.finish(scenario, &name, None).await;
        // The last step is over when its effect is seen, its point is reached a moment later.
        sleep(Duration::from_millis(200)).await;
        let mut points: Vec<String> = Vec::new();
        let reached = std::fs::read_to_string(log).unwrap_or_default();
        for point in reached.lines().map(str::to_owned).chain(self.servers.points(&name)) {
            if !points.contains(&point) {
                points.push(point);
            }
        }
        self.judge_the_run_before(scenario, &name).await;
        points
    }

    /// One run; whether the operator died at the point.
    async fn crash(&mut self, scenario: Scenario, point: &str) -> bool {
        let name = self.prepare(scenario).await;
        self.stop();
        self.applying = scenario.act(&self.world, &self.servers, &self.namespace, &name).await;
        self.servers.forget_calls();
        self.servers.lose_answer(point, &name);
        let mut armed = self.start(&[("ERROR_TRACKING_FAULT", point)]).await;
        let started = Instant::now();
        while !armed.has_ended() && !self.servers.has_lost_answer() && started.elapsed() < DIES {
            sleep(Duration::from_millis(20)).await;
        }
        let died = armed.has_ended() || self.servers.has_lost_answer();
        if died {
            self.report.runs += 1;
        } else {
            // What the scenario did was seen in another order this time.
            println!("{scenario:?} {point}: not reached");
        }
        armed.kill();
        self.servers.clear_faults();
        self.servers.forget_calls();
        self.operator = Some(self.start(&[]).await);
        self.finish(scenario, &name, Some(point)).await;
        self.judge_the_run_before(scenario, &name).await;
        died
    }

    /// Makes the objects of a run and waits until everything is settled.
    async fn prepare(&mut self, scenario: Scenario) -> String {
        self.number += 1;
        let name = format!("r{}", self.number);
        scenario.prepare(&self.world, &self.servers, &self.namespace, &name).await;
        self.settle(&format!("{scenario:?} {name}: before the crash")).await;
        name
    }

    /// Waits until everything is as it should be after a crash.
    async fn finish(&mut self, scenario: Scenario, name: &str, point: Option<&str>) {
        if scenario.without_postgres() {
            // Nothing waits for Postgres; what is owed to it is done when it is back, here by the next process.
            scenario.objects_are_gone(&self.namespace, name).await;
            self.world.postgres.set(Mode::Forward);
            if point.is_some() {
                self.stop();
                self.operator = Some(self.start(&[]).await);
            }
        }
        if let Some(applying) = self.applying.take() {
            applying.await.unwrap();
        }
        self.settle(&format!("{scenario:?} {name}, killed at {}", point.unwrap_or("no point"))).await;
    }

    /// Two processes have looked at what the run before left, and had nothing to do with it. It goes now.
    async fn judge_the_run_before(&mut self, scenario: Scenario, name: &str) {
        let mark = self.world.mark();
        let Some((before, mark)) = self.settled.replace((name.to_owned(), mark)) else { return };
        let namespace = &self.namespace.name;
        let mut writes = self.world.writes_since(&mark);
        // A second removal of the finalizer can meet an object that is gone (404): it has no effect.
        writes.retain(|write| {
            write.namespace == *namespace && names_an_object_of(&write.name, &before) && write.code != 404
        });
        // Without Postgres every status says so.
        if !scenario.without_postgres() {
            for write in writes {
                self.violated(format!("{scenario:?} {name}: a write to {before}, which needed nothing: {write}"));
            }
        }
        for point in self.servers.points(&before) {
            self.violated(format!("{scenario:?} {name}: {point} of {before}, which needed nothing"));
        }
        scenarios::remove(&self.namespace, &before).await;
    }

    async fn settle(&mut self, run: &str) {
        let started = Instant::now();
        loop {
            let mut wrong = violations(&self.world, &self.namespace).await;
            wrong.extend(self.servers.violations(&self.world, &self.namespace).await);
            if wrong.is_empty() {
                println!("{run}: settled after {:.2} s", started.elapsed().as_secs_f64());
                return;
            }
            if started.elapsed() > SETTLES {
                let mut text = run.to_owned();
                for what in wrong {
                    let _ = write!(text, "\n    {what}");
                }
                self.violated(text);
                self.start_afresh().await;
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    fn violated(&mut self, violation: String) {
        println!("VIOLATION {violation}");
        if let Some(operator) = &self.operator {
            println!("{}", operator.log());
        }
        self.report.violations.push(violation);
    }

    /// The next runs must not suffer from what this one left.
    async fn start_afresh(&mut self) {
        self.settled = None;
        self.stop();
        scenarios::remove_everything(&self.namespace).await;
        self.world.execute(invariants::FORGET_EVERYTHING).await;
        self.operator = Some(self.start(&[]).await);
    }

    async fn start(&self, variables: &[(&str, &str)]) -> Operator {
        self.world.start_as("operator-0", variables).await
    }

    fn stop(&mut self) {
        if let Some(operator) = self.operator.take() {
            operator.kill();
        }
    }
}

/// Names are the run's, with a suffix after "-" or, in Events, after ".".
fn names_an_object_of(name: &str, run: &str) -> bool {
    name.strip_prefix(run).is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '.']))
}
