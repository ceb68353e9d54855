//! Bindings that would configure the same runner. The older one wins. Pure.

use serde_json::Value;

use crate::{crd::RunnerBinding, operator::cluster::cache::digest};

/// What tells runners from each other without reading the whole object: of the workload or the Runner, and of the object
/// with the config.toml, 0 without one.
#[must_use]
pub fn fingerprints(spec: &Value) -> (i64, u64) {
    let runner = &spec["runner"];
    let workload = [&runner["environment"]["workloadRef"], &runner["configToml"]["workloadRef"]];
    let workload = workload.into_iter().find(|workload| workload.is_object());
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let target = workload.map_or_else(
        || format!("Runner/{}", text(&runner["runnerRef"]["name"])),
        |workload| format!("{}/{}", workload["kind"].as_str().unwrap_or("Deployment"), text(&workload["name"])),
    );
    let config = ["secretRef", "configMapRef"].into_iter().find_map(|kind| {
        let reference = &runner["configToml"][kind];
        reference.is_object().then(|| digest(format!("{kind}/{}", text(&reference["name"])).as_bytes()).max(1))
    });
    (digest(target.as_bytes()).cast_signed(), config.unwrap_or_default())
}

/// Whether both would configure one container, one Runner, or one config.toml with different keys.
#[must_use]
pub fn collide(one: &RunnerBinding, other: &RunnerBinding) -> bool {
    let same_workload = one.workload().zip(other.workload()).is_some_and(|((workload, container), (same, also))| {
        workload == same && (container.is_none() || also.is_none() || container == also)
    });
    let (ours, theirs) = (&one.spec.runner, &other.spec.runner);
    let same_runner = ours.runner_ref.is_some() && ours.runner_ref == theirs.runner_ref;
    let same_config = ours.config_toml.as_ref().zip(theirs.config_toml.as_ref()).is_some_and(|(config, also)| {
        let same = config.secret_ref == also.secret_ref && config.config_map_ref == also.config_map_ref;
        same && (one.spec.client_key_ref != other.spec.client_key_ref || one.spec.dsn_form != other.spec.dsn_form)
    });
    same_workload || same_runner || same_config
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_container_has_one_binding() {
        let environment = |name: &str, container: Option<&str>| {
            let mut target = json!({"environment": {"workloadRef": {"kind": "Deployment", "name": name}}});
            if let Some(container) = container {
                target["environment"]["container"] = container.into();
            }
            target
        };
        let config = |workload: &str, secret: &str| json!({"configToml": {"secretRef": {"name": secret}, "workloadRef": {"name": workload}}});
        let runner = |name: &str| json!({"runnerRef": {"name": name}});
        for (case, one, other, other_key, expected) in [
            ("the same", environment("a", None), environment("a", None), false, true),
            ("a container of it", environment("a", Some("x")), environment("a", None), false, true),
            ("two containers", environment("a", Some("x")), environment("a", Some("y")), false, false),
            ("two workloads", environment("a", None), environment("b", None), false, false),
            ("two ways", environment("a", None), config("a", "c"), false, true),
            ("one config.toml for two workloads", config("a", "c"), config("b", "c"), false, false),
            ("one config.toml with two keys", config("a", "c"), config("b", "c"), true, true),
            ("one Runner", runner("a"), runner("a"), false, true),
            ("two Runners", runner("a"), runner("b"), false, false),
            ("a Runner and a workload", runner("a"), environment("a", None), false, false),
        ] {
            let spec = |target: &Value, key: &str| json!({"clientKeyRef": {"name": key}, "runner": target});
            let (one, other) = (spec(&one, "runners"), spec(&other, if other_key { "others" } else { "runners" }));
            let binding = |spec: &Value| RunnerBinding::new("a", serde_json::from_value(spec.clone()).unwrap());
            assert_eq!(collide(&binding(&one), &binding(&other)), expected, "{case}");
            let ((target, config), (also, same)) = (fingerprints(&one), fingerprints(&other));
            assert!(!expected || target == also || (config != 0 && config == same), "{case} is looked at");
        }
    }
}
