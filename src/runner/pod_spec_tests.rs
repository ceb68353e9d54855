use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    super::{
        ConfigSource,
        ObjectKind::{ConfigMap, Secret},
        Version,
    },
    *,
};

const OURS: SecretKey<'static> = SecretKey { name: "runners-dsn", key: "SENTRY_DSN" };
const CONFIG: ConfigSource<'static> = ConfigSource { kind: Secret, name: "runner-config", key: "config.toml" };

/// A template with one container, whose other fields are given, and volumes.
fn template(container: &Value, volumes: &Value) -> Value {
    let mut runner = json!({"name": "runner", "image": "gitlab/gitlab-runner:v18.9.0"});
    runner.as_object_mut().unwrap().extend(container.as_object().unwrap().clone());
    json!({"metadata": {"labels": {"app": "runner"}}, "spec": {"containers": [runner], "volumes": volumes}})
}

fn read(template: &Value) -> RunnerPod {
    RunnerPod::read(template, None).unwrap()
}

/// As GitLab's chart: the `ConfigMap` is mounted aside, and a script in it copies config.toml at start.
fn chart() -> Value {
    json!({
        "metadata": {"annotations": {"checksum/configmap": "0000"}},
        "spec": {
            "terminationGracePeriodSeconds": 3600,
            "initContainers": [{
                "name": "configure", "image": "gitlab/gitlab-runner:alpine-v18.9.0", "command": ["sh", "/configmaps/configure"],
                "volumeMounts": [{"name": "runner-secrets", "mountPath": "/secrets"},
                                 {"name": "configmaps", "mountPath": "/configmaps", "readOnly": true}],
            }],
            "containers": [{
                "name": "runner", "image": "gitlab/gitlab-runner:alpine-v18.9.0",
                "command": ["/usr/bin/dumb-init", "--", "/bin/bash", "/configmaps/entrypoint"],
                "env": [{"name": "CI_SERVER_URL", "value": "https://gitlab.example"}],
                "volumeMounts": [{"name": "etc-gitlab-runner", "mountPath": "/home/gitlab-runner/.gitlab-runner"},
                                 {"name": "configmaps", "mountPath": "/configmaps"}],
            }],
            "volumes": [{"name": "runner-secrets", "emptyDir": {"medium": "Memory"}},
                        {"name": "etc-gitlab-runner", "emptyDir": {"medium": "Memory"}},
                        {"name": "configmaps", "configMap": {"name": "fleet-gitlab-runner"}}],
        },
    })
}

#[test]
fn the_runner_is_the_container_with_a_runners_image() {
    let containers = |images: &[(&str, &str)]| {
        let all: Vec<_> = images.iter().map(|(name, image)| json!({"name": name, "image": image})).collect();
        json!({"spec": {"containers": all}})
    };
    let two = containers(&[("proxy", "mesh/proxy:1"), ("main", "gitlab/gitlab-runner:v19.2.1")]);
    for (template, named, container, version) in [
        (&two, None, "main", Some((19, 2))),
        (&two, Some("proxy"), "proxy", None),
        (&containers(&[("a", "own/image:v3.1.0"), ("b", "other")]), None, "a", None),
        (&containers(&[("h", "gitlab/gitlab-runner-helper:v1.1.1"), ("r", "gitlab/gitlab-runner")]), None, "r", None),
        (&json!({"spec": {"containers": [{"name": "bare"}]}}), None, "bare", None),
    ] {
        let pod = RunnerPod::read(template, named).unwrap();
        let version = version.map(|(major, minor)| Version { major, minor });
        assert_eq!((pod.container(), pod.version()), (container, version));
    }
    let refused = |template: &Value, named| RunnerPod::read(template, named).unwrap_err().to_string();
    assert_eq!(refused(&two, Some("runner")), "the pod template has no container runner; it has proxy, main");
    assert_eq!(refused(&json!({"spec": {"containers": []}}), None), "the pod template has no containers");
    assert_eq!(refused(&json!({}), None), "the pod template has no containers");
    assert_eq!(refused(&json!({"spec": {"containers": "SECRET"}}), None), PodSpecError::Unreadable.to_string());
}

#[test]
fn a_pod_has_its_grace() {
    assert_eq!(read(&chart()).termination_grace_period_seconds(), 3600);
    assert_eq!(read(&template(&json!({}), &json!(null))).termination_grace_period_seconds(), 30);
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn the_mount_says_whether_the_runner_sees_a_change() {
    let secret = json!([{"name": "config", "secret": {"secretName": "runner-config"}}]);
    let mount = |path: &str| json!({"volumeMounts": [{"name": "config", "mountPath": path}]});
    let with = |mut container: Value, more: Value| {
        container.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        container
    };
    let etc = mount("/etc/gitlab-runner");
    let items = |key: &str, path: &str| json!([{"key": key, "path": path}]);
    for (what, container, volumes, reload) in [
        ("whole", etc.clone(), secret.clone(), Reload::Hot),
        ("slash at the end", mount("/etc/gitlab-runner/"), secret.clone(), Reload::Hot),
        ("home", mount("/home/gitlab-runner/.gitlab-runner"), secret.clone(), Reload::Hot),
        (
            "other home",
            with(mount("/data/.gitlab-runner"), json!({"env": [{"name": "HOME", "value": "/data"}]})),
            secret.clone(),
            Reload::Hot,
        ),
        (
            "projected",
            etc.clone(),
            json!([{"name": "config", "projected": {"sources": [
                {"configMap": {"name": "runner-config"}},
                {"secret": {"name": "runner-config", "items": items("config.toml", "config.toml")}},
            ]}}]),
            Reload::Hot,
        ),
        (
            "said by an argument",
            with(mount("/config"), json!({"args": ["run", "--config", "/config/config.toml"]})),
            secret.clone(),
            Reload::Hot,
        ),
        (
            "said with an equals sign",
            with(mount("/config"), json!({"args": ["run", "--config=/config/config.toml"]})),
            secret.clone(),
            Reload::Hot,
        ),
        (
            "said in a script",
            with(mount("/config"), json!({"command": ["sh", "-c", "exec gitlab-runner run -c /config/config.toml"]})),
            secret.clone(),
            Reload::Hot,
        ),
        (
            "said by a variable",
            with(mount("/config"), json!({"env": [{"name": "CONFIG_FILE", "value": "/config/config.toml"}]})),
            secret.clone(),
            Reload::Hot,
        ),
        (
            "another name in the volume",
            with(mount("/config"), json!({"args": ["run", "-c", "/config/runner.toml"]})),
            json!([{"name": "config", "secret": {"secretName": "runner-config",
                                                 "items": items("config.toml", "runner.toml")}}]),
            Reload::Hot,
        ),
        (
            "a script that copies something else",
            with(etc.clone(), json!({"command": ["sh", "-c", "cp /ca/ca.crt /tmp/; exec gitlab-runner run"]})),
            secret.clone(),
            Reload::Hot,
        ),
        (
            "subPath of the file",
            json!({"volumeMounts": [{"name": "config", "mountPath": "/etc/gitlab-runner/config.toml",
                                     "subPath": "config.toml"}]}),
            secret.clone(),
            Reload::SubPath,
        ),
        (
            "subPath of its folder",
            json!({"volumeMounts": [{"name": "config", "mountPath": "/etc/gitlab-runner", "subPath": "a"}]}),
            json!([{"name": "config", "secret": {"secretName": "runner-config",
                                                 "items": items("config.toml", "a/config.toml")}}]),
            Reload::SubPath,
        ),
        (
            "subPathExpr",
            json!({"volumeMounts": [{"name": "config", "mountPath": "/etc/gitlab-runner/config.toml",
                                     "subPathExpr": "$(FILE)"}]}),
            secret.clone(),
            Reload::SubPath,
        ),
        (
            "subPath of another file",
            json!({"volumeMounts": [{"name": "config", "mountPath": "/etc/gitlab-runner/ca.crt", "subPath": "ca.crt"}]}),
            secret.clone(),
            Reload::NotMounted,
        ),
        ("mounted aside", mount("/config"), secret.clone(), Reload::CopiedAtStart),
        (
            "copied by a script",
            with(
                mount("/config"),
                json!({"command": ["sh", "-c"], "args": [
                    "cp /config/config.toml /etc/gitlab-runner/ && exec gitlab-runner run",
                ]}),
            ),
            secret.clone(),
            Reload::CopiedAtStart,
        ),
        (
            "copied from where the runner would look",
            with(
                etc.clone(),
                json!({"args": ["install -m 600 /etc/gitlab-runner/config.toml /tmp\ngitlab-runner run"]}),
            ),
            secret.clone(),
            Reload::CopiedAtStart,
        ),
        (
            "another file is said",
            with(etc.clone(), json!({"args": ["run", "--config", "/tmp/config.toml"]})),
            secret.clone(),
            Reload::CopiedAtStart,
        ),
        (
            "a relative file is said",
            with(etc.clone(), json!({"args": ["run", "--config", "config.toml"]})),
            secret.clone(),
            Reload::CopiedAtStart,
        ),
        ("another Secret", etc.clone(), json!([{"name": "config", "secret": {"secretName": "b"}}]), Reload::NotMounted),
        (
            "a ConfigMap of the same name",
            etc.clone(),
            json!([{"name": "config", "configMap": {"name": "runner-config"}}]),
            Reload::NotMounted,
        ),
        (
            "another key",
            etc.clone(),
            json!([{"name": "config", "secret": {"secretName": "runner-config", "items": items("b", "config.toml")}}]),
            Reload::NotMounted,
        ),
        ("no mount", json!({}), secret.clone(), Reload::NotMounted),
        ("no volume", etc.clone(), json!(null), Reload::NotMounted),
    ] {
        let pod = read(&template(&container, &volumes));
        assert_eq!(pod.reload(&CONFIG, false), reload, "{what}");
        let immutable = if reload == Reload::NotMounted { reload } else { Reload::Immutable };
        assert_eq!(pod.reload(&CONFIG, true), immutable, "{what}");
    }
}

#[test]
fn what_an_init_container_takes_is_copied() {
    let chart_config = ConfigSource { kind: ConfigMap, name: "fleet-gitlab-runner", key: "config.toml" };
    let mut template = chart();
    assert_eq!(read(&template).reload(&chart_config, false), Reload::CopiedAtStart);
    assert_eq!(read(&template).reload(&chart_config, true), Reload::Immutable);
    assert_eq!(read(&template).reload(&CONFIG, false), Reload::NotMounted);
    template["spec"]["containers"][0]["volumeMounts"][1].take();
    template["spec"]["containers"][0]["volumeMounts"].as_array_mut().unwrap().pop();
    assert_eq!(read(&template).reload(&chart_config, false), Reload::CopiedAtStart);
    template["spec"]["initContainers"] = json!([]);
    assert_eq!(read(&template).reload(&chart_config, false), Reload::NotMounted);
}

#[test]
fn the_last_entry_of_the_variable_counts_and_env_goes_first() {
    let key = |name: &str, key: &str| json!({"name": "SENTRY_DSN", "valueFrom": {"secretKeyRef": {"name": name, "key": key}}});
    let ours = key("runners-dsn", "SENTRY_DSN");
    let literal = json!({"name": "SENTRY_DSN", "value": "https://fake@errors.example/7"});
    let from = |name: &str| json!({"secretRef": {"name": name}});
    let other = |what: &str| Environment::FromOther { what: what.to_owned() };
    for (env, env_from, environment, unknown) in [
        (json!(null), json!(null), Environment::Missing, vec![]),
        (json!([ours]), json!(null), Environment::FromOurSecret, vec![]),
        (json!([ours, literal]), json!(null), Environment::Literal, vec![]),
        (json!([literal, ours]), json!([from("b")]), Environment::FromOurSecret, vec![]),
        (json!([{"name": "SENTRY_DSN"}]), json!([from("runners-dsn")]), Environment::Literal, vec![]),
        (json!([key("b", "dsn")]), json!(null), other("key dsn of Secret b"), vec![]),
        (json!([key("runners-dsn", "OLD")]), json!(null), other("key OLD of Secret runners-dsn"), vec![]),
        (
            json!([{"name": "SENTRY_DSN", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}}]),
            json!(null),
            other("key k of ConfigMap c"),
            vec![],
        ),
        (
            json!([{"name": "SENTRY_DSN", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]),
            json!(null),
            other("field metadata.name of the pod"),
            vec![],
        ),
        (
            json!([{"name": "SENTRY_DSN", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}}]),
            json!(null),
            other("something else"),
            vec![],
        ),
        (
            json!([
                {"name": "DSN", "valueFrom": {"secretKeyRef": {"name": "runners-dsn", "key": "SENTRY_DSN"}}},
                {"name": "SENTRY_DSN", "value": "$(DSN)"},
            ]),
            json!(null),
            Environment::FromOurSecret,
            vec![],
        ),
        (
            json!([
                {"name": "SENTRY_DSN", "value": "$(DSN)"},
                {"name": "DSN", "valueFrom": {"secretKeyRef": {"name": "runners-dsn", "key": "SENTRY_DSN"}}},
            ]),
            json!(null),
            Environment::Literal,
            vec![],
        ),
        (json!([{"name": "OTHER", "value": "a"}]), json!([from("runners-dsn")]), Environment::FromOurSecret, vec![]),
        (
            json!(null),
            json!([from("a"), from("runners-dsn"), from("b"), {"configMapRef": {"name": "c"}}]),
            Environment::FromOurSecret,
            vec!["Secret b", "ConfigMap c"],
        ),
        (
            json!(null),
            json!([from("a"), {"prefix": "X_", "secretRef": {"name": "b"}}]),
            Environment::Missing,
            vec!["Secret a"],
        ),
        (
            json!(null),
            json!([{"prefix": "SENTRY_", "secretRef": {"name": "runners-dsn"}}]),
            Environment::Missing,
            vec!["Secret runners-dsn"],
        ),
        (
            json!(null),
            json!([{"configMapRef": {"name": "runners-dsn"}}]),
            Environment::Missing,
            vec!["ConfigMap runners-dsn"],
        ),
    ] {
        let pod = read(&template(&json!({"env": env, "envFrom": env_from}), &json!([])));
        assert_eq!(pod.environment(&OURS), environment, "{env} {env_from}");
        assert_eq!(pod.unknown_sources(&OURS), unknown, "{env} {env_from}");
        assert!(!format!("{pod:?}").contains("fake@"), "{pod:?}");
    }
}

#[test]
fn a_prefix_completes_the_key() {
    let ours = SecretKey { name: "runners-dsn", key: "DSN" };
    let env_from = json!({"envFrom": [{"prefix": "SENTRY_", "secretRef": {"name": "runners-dsn"}}]});
    assert_eq!(read(&template(&env_from, &json!([]))).environment(&ours), Environment::FromOurSecret);
}

fn entry() -> impl Strategy<Value = (bool, bool)> {
    // Whether it names the variable, and whether it takes it from our Secret.
    (any::<bool>(), any::<bool>())
}

proptest! {
    #[test]
    fn only_the_last_entry_of_the_name_decides(entries in prop::collection::vec(entry(), 0..8)) {
        let variable = |(named, ours): &(bool, bool)| {
            let name = if *named { "SENTRY_DSN" } else { "OTHER" };
            let secret = if *ours { "runners-dsn" } else { "b" };
            json!({"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": "SENTRY_DSN"}}})
        };
        let env: Vec<_> = entries.iter().map(variable).collect();
        let found = read(&template(&json!({"env": env}), &json!([]))).environment(&OURS);
        let expected = match entries.iter().rev().find(|(named, _)| *named) {
            Some((_, true)) => Environment::FromOurSecret,
            Some(_) => Environment::FromOther { what: "key SENTRY_DSN of Secret b".to_owned() },
            None => Environment::Missing,
        };
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn hot_is_said_only_of_a_whole_mount_where_the_runner_looks(
        path in "(/etc/gitlab-runner|/config|/home/gitlab-runner/.gitlab-runner)/?",
        sub_path in prop::option::of("(config.toml|a|)"),
        args in prop::collection::vec("(run|--config|/config/config.toml|cp|/etc/gitlab-runner/config.toml|-c)", 0..5),
    ) {
        let mount = json!({"name": "config", "mountPath": path, "subPath": sub_path});
        let volumes = json!([{"name": "config", "secret": {"secretName": "runner-config"}}]);
        let pod = read(&template(&json!({"volumeMounts": [mount], "args": args}), &volumes));
        if pod.reload(&CONFIG, false) == Reload::Hot {
            prop_assert!(sub_path.is_none_or(|path| path.is_empty()));
            let default = !path.starts_with("/config");
            prop_assert!(default || args.contains(&"/config/config.toml".to_owned()));
            prop_assert!(!args.contains(&"cp".to_owned()) || !args.iter().any(|word| word.ends_with("config.toml")));
        }
    }

    #[test]
    fn no_command_is_too_strange(command in prop::collection::vec("\\PC{0,40}", 0..4), path in "\\PC{0,20}") {
        let mount = json!({"name": "config", "mountPath": path});
        let volumes = json!([{"name": "config", "secret": {"secretName": "runner-config"}}]);
        let _ = read(&template(&json!({"volumeMounts": [mount], "command": command}), &volumes)).reload(&CONFIG, false);
    }
}
