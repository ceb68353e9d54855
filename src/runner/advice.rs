//! The lines that people paste, where the operator does not write: values of GitLab's chart, and what keeps Argo CD and
//! Flux from undoing what it did write. Each is whole YAML and ends with a line end.

use super::{ConfigSource, SecretKey};

/// Values of GitLab's chart `gitlab-runner` for runners since 19.2: `SENTRY_DSN` from the Secret of a `ClientKey`.
/// `sentryDsn` stays empty, because a DSN in config.toml wins over the variable.
#[must_use]
pub fn chart_environment(secret: &SecretKey<'_>) -> String {
    let (name, key) = (scalar(secret.name), scalar(secret.key));
    format!("sentryDsn: \"\"\nextraEnvFrom:\n  SENTRY_DSN:\n    secretKeyRef:\n      name: {name}\n      key: {key}\n")
}

/// As [`chart_environment`], in one line for a sentence.
#[must_use]
pub fn chart_environment_line(secret: &SecretKey<'_>) -> String {
    let (name, key) = (scalar(secret.name), scalar(secret.key));
    format!("extraEnvFrom: {{SENTRY_DSN: {{secretKeyRef: {{name: {name}, key: {key}}}}}}}")
}

/// Lines of a container for runners since 19.2, for workloads of one's own.
#[must_use]
pub fn container_environment(secret: &SecretKey<'_>) -> String {
    let (name, key) = (scalar(secret.name), scalar(secret.key));
    format!("env:\n- name: SENTRY_DSN\n  valueFrom:\n    secretKeyRef:\n      name: {name}\n      key: {key}\n")
}

/// What to know of the chart's value `sentryDsn`, one sentence a line, with a comment sign before each: it can stand
/// above [`chart_environment`]. The DSN itself is in the Secret, and is not repeated.
#[must_use]
pub fn chart_sentry_dsn(secret: &SecretKey<'_>) -> String {
    let SecretKey { name, key } = secret;
    format!(
        "# For runners before 19.2, set the value sentryDsn to what key {key} of Secret {name} holds.\n\
         # The chart writes it in clear into a ConfigMap and into the Secrets of its releases.\n\
         # Nothing renews it: set it again after each rotation, with helm upgrade, which restarts the runner.\n\
         # An edit of the ConfigMap would be lost with the next helm upgrade, and running pods do not see it.\n"
    )
}

/// For `spec` of an Argo CD Application that has the object with config.toml in its sources: Argo CD leaves the key as
/// it is.
#[must_use]
pub fn argo_config(namespace: &str, source: &ConfigSource<'_>) -> String {
    let ConfigSource { kind, name, key } = source;
    // RFC 6901 for the pointer.
    let pointer = format!("/data/{}", key.replace('~', "~0").replace('/', "~1"));
    argo("\"\"", &kind.to_string(), namespace, name, &pointer)
}

/// For `spec` of an Argo CD Application that has a Runner of the GitLab Runner Operator in its sources.
#[must_use]
pub fn argo_runner(namespace: &str, runner: &str) -> String {
    argo("apps.gitlab.com", "Runner", namespace, runner, "/spec/sentryDsn")
}

/// Without `RespectIgnoreDifferences` Argo CD shows no difference, and still writes its own value with the next sync.
fn argo(group: &str, kind: &str, namespace: &str, name: &str, pointer: &str) -> String {
    let (namespace, name, pointer) = (scalar(namespace), scalar(name), scalar(pointer));
    format!(
        "ignoreDifferences:\n- group: {group}\n  kind: {kind}\n  namespace: {namespace}\n  name: {name}\n  \
         jsonPointers:\n  - {pointer}\nsyncPolicy:\n  syncOptions:\n  - RespectIgnoreDifferences=true\n"
    )
}

/// For the manifest of the object with config.toml that a Flux Kustomization applies: Flux makes the object once, and
/// leaves it alone from then on. There is no way to leave alone one key of it.
#[must_use]
pub fn flux_config() -> String {
    "metadata:\n  annotations:\n    kustomize.toolkit.fluxcd.io/ssa: IfNotPresent\n".to_owned()
}

/// For `spec` of a Flux `HelmRelease` that makes a Runner of the GitLab Runner Operator and corrects drift. A
/// Kustomization needs nothing, as long as its Runner has no `sentryDsn`.
#[must_use]
pub fn flux_runner(runner: &str) -> String {
    let name = scalar(runner);
    format!(
        "driftDetection:\n  mode: enabled\n  ignore:\n  - paths:\n    - /spec/sentryDsn\n    target:\n      kind: \
         Runner\n      name: {name}\n"
    )
}

/// A text of YAML, in quotes unless it is a word that cannot be read as anything else.
fn scalar(text: &str) -> String {
    let mut letters = text.chars();
    let plain = letters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '/')
        && letters.all(|letter| letter.is_ascii_alphanumeric() || "-._/~".contains(letter));
    let words = ["true", "false", "yes", "no", "on", "off", "y", "n", "null"];
    if plain && !words.contains(&text.to_ascii_lowercase().as_str()) {
        return text.to_owned();
    }
    // YAML has the escapes of JSON.
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::{super::ObjectKind, *};

    fn yaml(text: &str) -> Value {
        serde_yaml::from_str(text).unwrap()
    }

    #[test]
    fn the_chart_takes_the_variable_from_the_secret() {
        let secret = SecretKey { name: "runners-dsn", key: "SENTRY_DSN" };
        let lines = chart_environment(&secret);
        let expected = "sentryDsn: \"\"\nextraEnvFrom:\n  SENTRY_DSN:\n    secretKeyRef:\n      name: runners-dsn\n      \
                        key: SENTRY_DSN\n";
        assert_eq!(lines, expected);
        assert_eq!(yaml(&(chart_sentry_dsn(&secret) + &lines)), yaml(&lines));
        assert_eq!(yaml(&chart_environment_line(&secret))["extraEnvFrom"], yaml(&lines)["extraEnvFrom"]);
        let reference = json!({"name": "runners-dsn", "key": "SENTRY_DSN"});
        let variable = json!({"name": "SENTRY_DSN", "valueFrom": {"secretKeyRef": reference}});
        assert_eq!(yaml(&container_environment(&secret)), json!({"env": [variable]}));
    }

    #[test]
    fn argo_cd_leaves_alone_what_was_written() {
        let options = json!({"syncOptions": ["RespectIgnoreDifferences=true"]});
        for (lines, group, kind, name, pointer) in [
            (
                argo_config("ci", &ConfigSource { kind: ObjectKind::Secret, name: "runner", key: "config.toml" }),
                "",
                "Secret",
                "runner",
                "/data/config.toml",
            ),
            (
                argo_config("ci", &ConfigSource { kind: ObjectKind::ConfigMap, name: "7", key: "a~b/c" }),
                "",
                "ConfigMap",
                "7",
                "/data/a~0b~1c",
            ),
            (argo_runner("ci", "builds"), "apps.gitlab.com", "Runner", "builds", "/spec/sentryDsn"),
        ] {
            let ignored =
                json!({"group": group, "kind": kind, "namespace": "ci", "name": name, "jsonPointers": [pointer]});
            assert_eq!(yaml(&lines), json!({"ignoreDifferences": [ignored], "syncPolicy": options}), "{lines}");
        }
    }

    #[test]
    fn flux_leaves_alone_what_was_written() {
        let annotations = json!({"kustomize.toolkit.fluxcd.io/ssa": "IfNotPresent"});
        assert_eq!(yaml(&flux_config()), json!({"metadata": {"annotations": annotations}}));
        let ignored = json!({"paths": ["/spec/sentryDsn"], "target": {"kind": "Runner", "name": "builds"}});
        assert_eq!(yaml(&flux_runner("builds")), json!({"driftDetection": {"mode": "enabled", "ignore": [ignored]}}));
    }

    #[test]
    fn a_name_stays_a_text() {
        for name in ["true", "7", "1e3", "0x1f", "null", "no", "y", "on", "2026-11-29", "shop", "a.b-c", "", "a: b"] {
            assert_eq!(yaml(&format!("name: {}\n", scalar(name))), json!({"name": name}));
        }
    }

    proptest! {
        #[test]
        fn every_name_comes_back_from_yaml(name in "[a-z0-9]([a-z0-9.-]{0,8}[a-z0-9])?", key in "[-._a-zA-Z0-9]{1,8}") {
            let lines = yaml(&chart_environment(&SecretKey { name: &name, key: &key }));
            prop_assert_eq!(&lines["extraEnvFrom"]["SENTRY_DSN"]["secretKeyRef"], &json!({"name": name, "key": key}));
        }
    }
}
