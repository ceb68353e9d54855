use serde_json::{Value, json};

use super::*;

const DSN: &str = "http://0a1b2c3d@runners-ingest.ci.svc/7";

fn wanted() -> Wanted {
    Wanted { secret: "runners-dsn".into(), entry: DSN_ENTRY, dsn: DSN.into() }
}

/// The reason; of what is configured or due, one of our own.
fn reason(configured: &Configured) -> &'static str {
    match configured {
        Configured::Yes(_) => "Yes",
        Configured::Due => "Due",
        Configured::Awaited(reason, _) | Configured::Stalled(reason, _) => reason.as_str(),
    }
}

fn sentence(configured: &Configured) -> &str {
    match configured {
        Configured::Due => "",
        Configured::Yes(message) | Configured::Awaited(_, message) | Configured::Stalled(_, message) => message,
    }
}

fn pod(image: &str, more: &Value) -> RunnerPod {
    let mut container = json!({"name": "runner", "image": image});
    container.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    RunnerPod::read(&json!({"spec": {"containers": [container]}}), None).unwrap()
}

#[test]
fn the_variable_counts_where_the_runner_reads_it_and_nothing_wins_over_it() {
    let from = |name: &str, key: &str| json!({"env": [{"name": "SENTRY_DSN", "valueFrom": {"secretKeyRef": {"name": name, "key": key}}}]});
    let (ours, none) = (from("runners-dsn", "SENTRY_DSN"), json!({}));
    let (new, old) = ("gitlab/gitlab-runner:alpine-v19.3.0", "gitlab/gitlab-runner:v18.9.0");
    let file = |text: &str| SeenConfig::read("ConfigMap fleet".into(), false, text);
    let helms = |text: &str| SeenConfig::read("ConfigMap fleet".into(), true, text);
    let (set, empty) = ("sentry_dsn = \"https://fake@other.example/1\"\n", "concurrent = 4\nsentry_dsn = \"\"\n");
    for (case, image, env, configs, expected, says) in [
        ("as it should be", new, &ours, vec![], "Yes", "has SENTRY_DSN from Secret runners-dsn"),
        ("a file without it", new, &ours, vec![file("concurrent = 4\n")], "Yes", "from Secret runners-dsn"),
        ("missing", new, &none, vec![], "EnvMissing", "extraEnvFrom: {SENTRY_DSN: {secretKeyRef: {name: runners-dsn"),
        ("of another Secret", new, &from("other", "dsn"), vec![], "EnvMissing", "from key dsn of Secret other"),
        ("a value", new, &json!({"env": [{"name": "SENTRY_DSN", "value": DSN}]}), vec![], "EnvMissing", "as a value"),
        ("too old", old, &ours, vec![], "RunnerTooOld", "only runners since 19.2"),
        ("old, with an empty one in the file", old, &ours, vec![file(empty)], "Yes", "from Secret runners-dsn"),
        ("new, with an empty one in the file", new, &ours, vec![file(empty)], "Yes", "from Secret runners-dsn"),
        (
            "the file wins",
            new,
            &ours,
            vec![file(set)],
            "ConfigTomlWins",
            "in line 1, and that wins over SENTRY_DSN: take",
        ),
        (
            "the chart's file wins",
            new,
            &ours,
            vec![helms(set)],
            "ConfigTomlWins",
            "leave the value sentryDsn of the chart",
        ),
        ("the second file wins", new, &ours, vec![file(empty), file(set)], "ConfigTomlWins", "in line 1"),
        ("a file that is no TOML", new, &ours, vec![file("= 4")], "Yes", "cannot be read"),
        ("of an unknown version", "gitlab/gitlab-runner:latest", &ours, vec![], "Yes", "does not tell its version"),
        ("a digest", "runner@sha256:00", &ours, vec![], "Yes", "runners before 19.2 do not read it"),
    ] {
        let pod = pod(image, env);
        let found = environment(&Container { workload: "Deployment fleet", pod: &pod }, &wanted(), &configs);
        assert_eq!(reason(&found), expected, "{case}: {found:?}");
        assert!(sentence(&found).contains(says), "{case}: {found:?}");
        assert!(!sentence(&found).contains("0a1b2c3d") && !sentence(&found).contains("other.example"), "{found:?}");
    }
}

#[test]
fn a_config_toml_is_written_where_nobody_else_keeps_it() {
    let pod = pod("gitlab/gitlab-runner:v18.9.0", &json!({}));
    let container = Container { workload: "Deployment fleet", pod: &pod };
    let owner = |name: &str| Some(Owner { name: name.into(), is_helm: name == "Helm" });
    let (never, had) = (Before::default(), Before { had_it: true, drifted: false });
    let drifted = Before { had_it: false, drifted: true };
    let other = "sentry_dsn = \"https://fake@other.example/1\"\n";
    let ours = format!("sentry_dsn = \"{DSN}\"\n");
    let table = "[[runners]]\ntoken = \"glrt-fake\"\nsentry_dsn = \"x\"\n";
    for (case, text, owner, immutable, reload, before, expected, says) in [
        ("without it", "", None, false, Reload::Hot, never, "Due", ""),
        ("another one, by hand", other, None, false, Reload::Hot, never, "Due", ""),
        ("there", &*ours, None, false, Reload::Hot, had, "Yes", "has the DSN of key SENTRY_DSN"),
        ("there, and kept by Helm", &*ours, owner("Helm"), false, Reload::Hot, never, "Yes", "has the DSN"),
        ("there, by subPath", &*ours, None, false, Reload::SubPath, never, "Yes", "read when a pod begins"),
        (
            "kept by Helm",
            "",
            owner("Helm"),
            false,
            Reload::CopiedAtStart,
            never,
            "Drifted",
            "set the value sentryDsn of",
        ),
        ("kept by Argo CD", other, owner("Argo CD"), false, Reload::Hot, never, "Drifted", "is kept by Argo CD"),
        ("immutable", other, None, true, Reload::Immutable, never, "ConfigImmutable", "make another one"),
        (
            "put back",
            other,
            None,
            false,
            Reload::Hot,
            had,
            "Drifted",
            "set it to what key SENTRY_DSN of Secret runners-dsn",
        ),
        ("given up", other, None, false, Reload::Hot, drifted, "Drifted", "apply this RunnerBinding anew"),
        ("put right by its owner", &*ours, None, false, Reload::Hot, drifted, "Yes", "has the DSN"),
        ("not mounted", "", None, false, Reload::NotMounted, never, "ConfigNotFound", "or mount it"),
        ("no TOML", "concurrent 4", None, false, Reload::Hot, never, "ConfigInvalid", "the error is in line 1"),
        ("in a table", table, None, false, Reload::Hot, never, "ConfigInvalid", "inside the table runners"),
        (
            "twice",
            "sentry_dsn = \"a\"\nsentry_dsn = \"b\"\n",
            None,
            false,
            Reload::Hot,
            never,
            "ConfigInvalid",
            "twice",
        ),
        ("no string", "sentry_dsn = 4\n", None, false, Reload::Hot, never, "ConfigInvalid", "not a string"),
    ] {
        let object = ConfigObject {
            kind: ObjectKind::Secret,
            name: "config",
            key: "config.toml",
            text,
            owner,
            immutable,
            reload,
        };
        let found = config_toml(&container, &wanted(), &object, before);
        assert_eq!(reason(&found), expected, "{case}: {found:?}");
        assert!(sentence(&found).contains(says), "{case}: {found:?}");
        for secret in ["0a1b2c3d", "other.example", "glrt-fake"] {
            assert!(!sentence(&found).contains(secret), "{case}: {found:?}");
        }
    }
}

#[test]
fn a_runner_of_the_other_operator_is_written_where_no_job_is_cut() {
    let owner = Some(Owner { name: "argocd-controller".into(), is_helm: false });
    let (never, had) = (Before::default(), Before { had_it: true, drifted: false });
    let short = Restarts::GraceTooShort { seconds: 30, least: 3600 };
    for (case, dsn, owner, pods, restarts, before, expected, says) in [
        ("new, without pods", None, None, 0, Restarts::Never, never, "Due", ""),
        ("new, with pods", None, None, 2, Restarts::Never, never, "RestartNotAllowed", "Set restart: Rolling"),
        ("with pods that may be replaced", None, None, 2, Restarts::Allowed, never, "Due", ""),
        ("with pods that are given no time", None, None, 2, short, never, "GraceTooShort", "given 30 s to end"),
        ("there", Some(DSN), None, 2, Restarts::Never, had, "Yes", "is the DSN of key SENTRY_DSN"),
        (
            "of another manager",
            Some("x"),
            owner,
            0,
            Restarts::Allowed,
            never,
            "Drifted",
            "is kept by argocd-controller",
        ),
        ("taken out again", None, None, 0, Restarts::Allowed, had, "Drifted", "is another one now"),
    ] {
        let object = RunnerObject { name: "fleet", sentry_dsn: dsn, owner, pods, restarts };
        let found = runner(&wanted(), &object, before);
        assert_eq!(reason(&found), expected, "{case}: {found:?}");
        assert!(sentence(&found).contains(says), "{case}: {found:?}");
    }
}

#[test]
fn the_dsn_has_the_form_that_the_runner_takes() {
    let version = |minor: u32| Some(Version { major: 14, minor });
    for (asked, version, expected) in [
        (crd::DsnForm::Auto, version(6), DsnForm::Deprecated),
        (crd::DsnForm::Auto, version(7), DsnForm::Modern),
        (crd::DsnForm::Auto, None, DsnForm::Modern),
        (crd::DsnForm::Modern, version(6), DsnForm::Modern),
        (crd::DsnForm::Deprecated, None, DsnForm::Deprecated),
    ] {
        assert_eq!(form(asked, version), expected, "{asked:?} {version:?}");
    }
    for (form, version, refused) in [
        (DsnForm::Modern, None, false),
        (DsnForm::Modern, version(7), false),
        // Somebody says Modern for a runner that cannot take it.
        (DsnForm::Modern, version(6), true),
        (DsnForm::Deprecated, None, true),
    ] {
        let checked = check(&wanted(), form, version);
        assert_eq!(checked.is_err(), refused, "{form:?} {version:?}");
        if let Err(found) = checked {
            assert_eq!(reason(&found), "DSNInvalid");
            assert!(sentence(&found).contains("raven: dsn missing private key"), "{found:?}");
        }
    }
    let told = no_deprecated("runners", "runners-dsn", version(6));
    assert!(sentence(&told).contains("extraKeys.deprecatedDSN: true in the spec of ClientKey runners"), "{told:?}");
}
