//! What the platform team sets for the whole installation: limits of a namespace, and how a new version spreads.

use std::time::Duration;

use serde_json::json;

use crate::world::{INSTALLATION, Namespace, OPERATOR, alone, kubectl, try_kubectl, wait_for};

const SOON: Duration = Duration::from_secs(30);

/// Other arguments of the operator, until the end of the test.
struct Arguments {
    before: Vec<String>,
}

impl Arguments {
    /// Each as "--name=value"; takes the place of what is set under this name.
    fn set(changes: &[&str]) -> Self {
        let path = "jsonpath={.spec.template.spec.containers[0].args}";
        let before = kubectl(&["get", "deploy", OPERATOR, "-n", INSTALLATION, "-o", path]);
        let before: Vec<String> = serde_json::from_str(&before).unwrap();
        let name = |argument: &str| argument.split('=').next().unwrap_or_default().to_owned();
        let kept = before.iter().filter(|old| changes.iter().all(|new| name(new) != name(old)));
        replace(&kept.map(String::as_str).chain(changes.iter().copied()).collect::<Vec<_>>());
        Self { before }
    }
}

impl Drop for Arguments {
    fn drop(&mut self) {
        replace(&self.before.iter().map(String::as_str).collect::<Vec<_>>());
    }
}

fn replace(arguments: &[&str]) {
    let patch =
        json!([{"op": "replace", "path": "/spec/template/spec/containers/0/args", "value": arguments}]).to_string();
    kubectl(&["patch", "deploy", OPERATOR, "-n", INSTALLATION, "--type=json", "-p", &patch]);
    kubectl(&["rollout", "status", "deploy", OPERATOR, "-n", INSTALLATION, "--timeout=120s"]);
}

/// Projects of other namespaces, as the one that was upgraded, left alone until the end of the test: with one rollout at
/// a time any of them could have the turn.
struct Others(Vec<[String; 2]>);

impl Others {
    fn pause(besides: &Namespace) -> Self {
        let names = "jsonpath={range .items[*]}{.metadata.namespace} {.metadata.name}{\"\\n\"}{end}";
        let found = kubectl(&["get", "etp", "--all-namespaces", "-o", names]);
        let found = found.lines().filter_map(|line| line.split_once(' '));
        let others = found.filter(|(namespace, _)| *namespace != besides.0);
        let others = Self(others.map(|(namespace, name)| [namespace.to_owned(), name.to_owned()]).collect());
        others.annotate("errortracking.dev/paused=true");
        others
    }

    fn annotate(&self, annotation: &str) {
        for [namespace, name] in &self.0 {
            // One that is gone meanwhile needs nothing.
            let _ = try_kubectl(&["annotate", "--overwrite", "-n", namespace, "etp", name, annotation]);
        }
    }
}

impl Drop for Others {
    fn drop(&mut self) {
        self.annotate("errortracking.dev/paused-");
    }
}

#[test]
fn a_namespace_gets_as_many_projects_and_keys_as_it_may_have_the_oldest_first() {
    let _turn = alone();
    let namespace = Namespace::new("limits");
    let none = "{backend: {integrated: {ingest: {replicas: 0}}}, deletionPolicy: Delete}";
    namespace.project("old", none);
    namespace.key("old", "{projectRef: {name: old}}");
    namespace.wait_ready("etk/old");
    let arguments = Arguments::set(&["--max-projects-per-namespace=1", "--max-keys-per-namespace=1"]);
    namespace.project("new", none);
    namespace.key("new", "{projectRef: {name: old}}");
    for object in ["etp/new", "etk/new"] {
        wait_for(&format!("{object} is past the limit"), SOON, || {
            (namespace.condition(object, "Stalled", "reason") == "LimitExceeded").then_some(())
        });
        println!("{}", namespace.condition(object, "Stalled", "message"));
    }
    assert!(!namespace.exists("deploy/new-ingest") && !namespace.exists("secret/new-dsn"));
    namespace.wait_ready("etp/old");
    namespace.kubectl(&["delete", "etk/old"]);
    namespace.wait_ready("etk/new");
    namespace.kubectl(&["delete", "etk/new", "etp/old"]);
    namespace.wait_ready("etp/new");
    drop(arguments);
}

#[test]
fn a_version_that_does_not_come_up_stays_at_its_first_project() {
    let _turn = alone();
    let namespace = Namespace::new("rollouts");
    for name in ["a", "b"] {
        namespace.project(name, "{backend: {integrated: {ingest: {replicas: 1}}}}");
    }
    let image = |name: &str| namespace.get(&format!("deploy/{name}-ingest"), ".spec.template.spec.containers[0].image");
    for name in ["a", "b"] {
        namespace.wait_ready(&format!("etp/{name}"));
        wait_for("nothing is under way", SOON, || {
            (namespace.condition(&format!("etp/{name}"), "Reconciling", "status") == "False").then_some(())
        });
    }
    let _others = Others::pause(&namespace);
    let good = image("a");
    let broken = "localhost/error-tracking-operator:broken";
    let arguments = Arguments::set(&[&format!("--image={broken}"), "--max-rollouts=1"]);
    let (first, other) = wait_for("one project gets the version", Duration::from_mins(2), || {
        [("a", "b"), ("b", "a")].into_iter().find(|(first, _)| image(first) == broken)
    });
    let (first, other) = (format!("etp/{first}"), format!("etp/{other}"));
    let reconciling = |object: &str| namespace.condition(object, "Reconciling", "reason");
    wait_for("the other waits for its turn", SOON, || (reconciling(&other) == "RolloutWaiting").then_some(()));
    wait_for("the rollout is halted", Duration::from_mins(4), || {
        (reconciling(&other) == "RolloutHalted").then_some(())
    });
    println!("{}", namespace.condition(&other, "IngestReady", "message"));
    println!("{}", namespace.condition(&first, "IngestReady", "message"));
    for object in [&first, &other] {
        assert_eq!(namespace.condition(object, "Ready", "status"), "True", "{object} still receives events");
    }
    let held = other.trim_start_matches("etp/");
    assert_eq!(image(held), good);

    // Everything else follows its spec.
    namespace.project(
        held,
        "{backend: {integrated: {ingest: {replicas: 1, podTemplate: {metadata: {labels: {team: web}}}}}}}",
    );
    wait_for("the template follows with the old version", SOON, || {
        let deployment = format!("deploy/{held}-ingest");
        (namespace.get(&deployment, ".spec.template.metadata.labels.team") == "web").then_some(())
    });
    assert_eq!(image(held), good);

    drop(arguments);
    wait_for("the version before is back everywhere", SOON, || {
        ["a", "b"].iter().all(|name| image(name) == good).then_some(())
    });
    for object in [&first, &other] {
        wait_for("nothing is under way", Duration::from_mins(1), || (reconciling(object) == "Idle").then_some(()));
    }
}
