//! A binding that is deleted takes out what it wrote and nothing else.

use std::time::Duration;

use super::{
    fleet::Fleet,
    runner::{Generation, Runner, Way, config_toml, list},
    states::decoded,
};
use crate::world::{kubectl, pause, wait_for};

const LIMIT: Duration = Duration::from_secs(30);

/// One of them is to leave what it wrote.
pub fn every_binding_is_undone(fleet: &Fleet<'_>) {
    let namespace = fleet.namespace;
    let stays = Runner::new(Way::Mounted, Generation::NineteenThree).name;
    let patch = r#"{"spec": {"deletionPolicy": "Leave"}}"#;
    namespace.kubectl(&["patch", "etr", &stays, "--type=merge", "-p", patch]);
    let (written, pods) = (files(fleet), pods(fleet));
    for (runner, text) in fleet.runners.iter().zip(&written) {
        let Some(text) = text else { continue };
        let without = text.split_inclusive('\n').filter(|line| !line.starts_with("sentry_dsn = "));
        assert_eq!(without.collect::<String>(), config_toml(&runner.name), "{}: only the key was written", runner.name);
        assert_ne!(*text, config_toml(&runner.name));
    }
    let names: Vec<_> = fleet.runners.iter().map(|runner| runner.name.as_str()).collect();
    namespace.kubectl(&[&["delete", "etr", "--timeout=60s"], names.as_slice()].concat());
    let expected: Vec<_> = fleet
        .runners
        .iter()
        .zip(written)
        .map(|(runner, text)| text.map(|text| if runner.name == stays { text } else { config_toml(&runner.name) }))
        .collect();
    wait_for("every file is as it was before, but for one", LIMIT, || (files(fleet) == expected).then_some(()));
    for runner in fleet.runners.iter().filter(|runner| runner.way == Way::RunnerRef) {
        let spec = namespace.get(&format!("runners.apps.gitlab.com/{}", runner.name), ".spec");
        assert!(!spec.contains("sentryDsn") && spec.contains("runner-token"), "{}", runner.name);
    }
    pause(Duration::from_secs(5));
    assert_eq!(self::pods(fleet), pods, "nothing is restarted");
}

/// A binding goes also when the cluster does not know Runners any more. Ends the runners of the GitLab Runner Operator.
pub fn nothing_is_left_to_undo(fleet: &Fleet<'_>) {
    let namespace = fleet.namespace;
    let runner = Runner::new(Way::RunnerRef, Generation::Eighteen);
    namespace.apply(&list(&[runner.binding()]));
    let written = || namespace.get(&format!("etr/{}", runner.name), ".status.dsnDigest");
    wait_for(&format!("{} has its DSN once more", runner.name), LIMIT, || (!written().is_empty()).then_some(()));
    kubectl(&["delete", "crd", "runners.apps.gitlab.com", "--timeout=60s"]);
    namespace.kubectl(&["delete", "etr", &runner.name, "--timeout=60s"]);
}

/// The config.toml of each runner that has one.
fn files(fleet: &Fleet<'_>) -> Vec<Option<String>> {
    let read = |runner: &Runner| {
        let kind = runner.config_object()?;
        let text = fleet.namespace.get(&format!("{kind}/{}", runner.name), ".data.config\\.toml");
        // A line end at the end is lost on its way from kubectl.
        Some(if kind == "secret" { decoded(&text) } else { text + "\n" })
    };
    fleet.runners.iter().map(read).collect()
}

/// Uid and restarts of each pod, but for those that the GitLab Runner Operator replaces.
fn pods(fleet: &Fleet<'_>) -> Vec<String> {
    let path = "jsonpath={range .items[*]}{.metadata.uid} {.status.containerStatuses[*].restartCount}{\"\\n\"}{end}";
    let pods = |runner: &Runner| {
        fleet.namespace.kubectl(&["get", "pods", "-l", &format!("runner={}", runner.name), "-o", path])
    };
    fleet.runners.iter().filter(|runner| runner.way != Way::RunnerRef).map(pods).collect()
}
