//! `RunnerBinding`: runners, of which tests/runner has doubles, report their own failures, and go on while their key is
//! rotated. `make test-runner` goes through every way and generation; the last line is "runners: C of C combinations,
//! N sent, F refused, J jobs cut". Needs the image of the doubles in the cluster, and `runnerBinding.enabled`.

mod fleet;
mod logs;
mod runner;
mod runner_operator;
mod states;
mod undo;

use std::time::Duration;

use self::{
    fleet::Fleet,
    runner::{Generation, Runner, Way},
    runner_operator::RunnerOperator,
};
use crate::world::{Namespace, alone, beside_others, wait_for};

/// A minute for the rest and, for the kubelet's part, five.
const LIMIT: Duration = Duration::from_mins(12);
/// How long the jobs take, in seconds: from before the rotation until long after the Secret names the next key.
const JOB: u32 = 150;

#[test]
fn a_runner_reports_and_goes_on_across_a_rotation() {
    let _turn = beside_others();
    let namespace = Namespace::new("runners-short");
    let project = namespace.ready_project("shop", 1);
    let mut environment = Runner::new(Way::Environment, Generation::NineteenThree);
    (environment.rolling, environment.replicas) = (false, 1);
    let mounted = Runner::new(Way::Mounted, Generation::Raven);
    let mut states = states::at_rest();
    states.push(states::no_runner_operator());
    states::make_key(&namespace);
    states::prepare(&namespace, &states);
    let mut fleet = Fleet::start(&namespace, project, vec![environment.clone(), mounted.clone()]);
    states::bind(&namespace, &states);
    // A pod that changes has its files renewed at once, which else takes the kubelet a minute.
    let hurry = |look: &str| {
        let look = format!("look={look}");
        namespace.kubectl(&["annotate", "pods", "--overwrite", "-l", &format!("runner={}", mounted.name), &look]);
    };
    fleet.await_configured();
    hurry("first");
    fleet.await_errors();

    fleet.rotate();
    fleet.await_configured();
    hurry("second");
    namespace.kubectl(&["rollout", "restart", &format!("deploy/{}", environment.name)]);
    fleet.await_next_keys(|_| true);
    states::are_told(&namespace, &states, false);
    states::show(&namespace);
    states::no_secret_is_told(&namespace, &fleet.dsns());
    let counts = fleet.end();
    assert_eq!((counts.refused, counts.sent), (0, counts.stored));
}

#[test]
#[ignore = "make test-runner runs it: it takes a quarter of an hour, and removes the kind Runner"]
fn every_runner_goes_on_reporting_across_a_rotation() {
    let _turn = alone();
    let namespace = Namespace::new("runners");
    let project = namespace.ready_project("shop", 2);
    states::make_key(&namespace);
    let missing = [states::no_runner_operator()];
    states::bind(&namespace, &missing);
    states::are_told(&namespace, &missing, true);
    let _operator = RunnerOperator::install(&namespace);

    let combinations = Runner::combinations();
    let mut never = Runner::new(Way::SubPath, Generation::Eighteen);
    (never.name, never.rolling, never.job) = ("job-never".into(), false, Some(JOB));
    let mut rolling = Runner::new(Way::Environment, Generation::NineteenThree);
    (rolling.name, rolling.replicas, rolling.job) = ("job-rolling".into(), 1, Some(JOB));
    let mut fleet = Fleet::start(&namespace, project, combinations.clone());
    fleet.await_errors();
    fleet.await_rolled_out(|runner| runner.rolling);
    fleet.add_with_jobs(vec![never.clone(), rolling.clone()]);
    fleet.rotate();

    states_are_told(&namespace);
    fleet.await_jobs(&[&never, &rolling]);
    is_left_alone(&fleet, &never);
    fleet.await_ends(|runner| runner.name != never.name);
    fleet.await_next_keys(|runner| runner.name != never.name);
    is_replaced_after_its_job(&fleet, &rolling);
    the_old_key_lives_until_the_pod_is_gone(&fleet, &never);
    let moved = fleet.timeline();
    undo::every_binding_is_undone(&fleet);
    undo::nothing_is_left_to_undo(&fleet);
    states::no_secret_is_told(&namespace, &fleet.dsns());
    let counts = fleet.end();
    let passed =
        combinations.iter().filter(|runner| counts.whole.contains(&runner.name) && moved.contains(&runner.name));
    let passed = passed.count();
    println!(
        "runners: {passed} of {} combinations, {} sent, {} refused, {} jobs cut",
        combinations.len(),
        counts.sent,
        counts.refused,
        counts.jobs_cut
    );
    assert_eq!((counts.refused, counts.jobs_cut), (0, 0));
    assert_eq!(counts.sent, counts.stored);
    assert_eq!(passed, combinations.len());
}

/// Each in the words that people get.
fn states_are_told(namespace: &Namespace) {
    let mut states = states::at_rest();
    states.extend(states::further());
    states.extend(states::of_runners());
    states::prepare(namespace, &states);
    wait_for("the pods of bad states run", LIMIT, || {
        let ready = |name: &str| namespace.get(&format!("deploy/{name}"), ".status.readyReplicas") == "1";
        ["grace-too-short", "restart-not-allowed", "runner-grace"].into_iter().all(ready).then_some(())
    });
    states::bind(namespace, &states);
    states::are_told(namespace, &states, true);
    states::second_binding_is_told(namespace);
    let by_tool = "is kept by fleet-keeper, which would undo an edit";
    states::undone_write_is_told(namespace, "drifted-by-tool", "fleet-keeper", by_tool);
    states::undone_write_is_told(namespace, "drifted-by-hand", "kubectl-patch", "so it is left alone");
    states::show(namespace);
}

/// A runner whose binding restarts nothing has the key before, and says so.
fn is_left_alone(fleet: &Fleet<'_>, never: &Runner) {
    let (namespace, object) = (fleet.namespace, format!("etr/{}", never.name));
    let said = |field: &str| namespace.condition(&object, "RolledOut", field);
    assert_eq!((&*said("status"), &*said("reason")), ("False", "RestartRequired"));
    println!("{}", said("message"));
    let pods = fleet.logs.of(&never.name);
    assert_eq!(pods.len(), 1);
    assert!(pods[0].says("job_finished").is_some() && pods[0].says("stopping").is_none());
    let selector = format!("runner={}", never.name);
    let restarts = "jsonpath={.items[*].status.containerStatuses[*].restartCount}";
    assert_eq!(namespace.kubectl(&["get", "pods", "-l", &selector, "-o", restarts]), "0");
}

/// A runner whose binding restarts it ends its job first, and goes on reporting with the key that it has.
fn is_replaced_after_its_job(fleet: &Fleet<'_>, rolling: &Runner) {
    let mut pods = fleet.logs.of(&rolling.name);
    pods.sort_by_key(|pod| pod.lines[0].time);
    assert_eq!(pods.len(), 2, "it is replaced once");
    let line = |event: &str| pods[0].says(event).unwrap();
    let (told, finished) = (line("stopping"), line("job_finished"));
    assert!(told.time < finished.time && told.key == finished.key && told.sent < finished.sent);
    let (sent, seconds) = (finished.sent - told.sent, finished.time.duration_since(told.time).as_secs());
    println!("{} was told to end {seconds} s before its job ended, and sent {sent} events meanwhile", rolling.name);
}

fn the_old_key_lives_until_the_pod_is_gone(fleet: &Fleet<'_>, never: &Runner) {
    let (namespace, key) = (fleet.namespace, format!("etk/{}", never.name));
    assert_eq!(fleet.keys()[&never.name].states, "overlap published");
    println!("{}", namespace.condition(&key, "Rotating", "message"));
    let held_by = namespace.get(&key, ".status.retiring.heldBy[*]");
    assert!(held_by.contains("RunnerBinding") && held_by.contains(&never.name), "{held_by}");
    namespace.kubectl(&["delete", "pods", "--wait=false", "-l", &format!("runner={}", never.name)]);
    fleet.await_ends(|runner| runner.name == never.name);
    fleet.await_next_keys(|_| true);
}
