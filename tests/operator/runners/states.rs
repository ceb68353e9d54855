//! What a binding says where it cannot do what it is asked for: the reason, and the sentence with the cure.

use std::time::Duration;

use serde_json::{Value, json};

use super::runner::{Generation, Pod, TOKEN, binding, config_object, config_toml, list, runner_object};
use crate::world::{INSTALLATION, Namespace, OPERATOR, kubectl, pause, wait_for};

const LIMIT: Duration = Duration::from_mins(2);

/// The key of these bindings. It has no DSN in the deprecated form.
pub const KEY: &str = "states";

/// A server that nobody asks.
const OTHER_DSN: &str = "https://0123456789abcdef0123456789abcdef@errors.example.com/1";

/// A binding that a person must look after.
pub struct State {
    name: &'static str,
    /// What somebody has before there is the binding.
    objects: Vec<Value>,
    spec: Value,
    /// `Ready`, or the condition that says it of a runner that is configured.
    condition: &'static str,
    reason: &'static str,
    cure: &'static str,
}

impl State {
    fn new(name: &'static str, runner: Value, objects: Vec<Value>, reason: &'static str, cure: &'static str) -> Self {
        let mut spec = json!({"clientKeyRef": {"name": KEY}});
        spec["runner"] = runner;
        Self { name, objects, spec, condition: "Ready", reason, cure }
    }

    fn with(mut self, field: &str, value: Value) -> Self {
        self.spec[field] = value;
        self
    }

    fn said_by(mut self, condition: &'static str) -> Self {
        self.condition = condition;
        self
    }

    /// A runner that takes the variable.
    fn environment(
        name: &'static str,
        generation: Generation,
        change: impl FnOnce(&mut Pod),
        reason: &'static str,
        cure: &'static str,
    ) -> Self {
        let mut pod = Pod::new(generation);
        change(&mut pod);
        let runner = json!({"environment": {"workloadRef": {"name": name}}});
        Self::new(name, runner, vec![pod.deployment(name, 0)], reason, cure)
    }

    /// A runner without pods that mounts a config.toml from an object of `kind`.
    fn config(name: &'static str, kind: &str, config: Option<Value>, reason: &'static str, cure: &'static str) -> Self {
        let mut pod = Pod::new(Generation::NineteenThree);
        pod.mounts(kind, name);
        let objects = config.into_iter().chain([pod.deployment(name, 0)]).collect();
        Self::new(name, config_runner(kind, name), objects, reason, cure)
    }

    fn toml(name: &'static str, text: &str, cure: &'static str) -> Self {
        Self::config(name, "secret", Some(config_object("secret", name, text)), "ConfigInvalid", cure)
    }
}

fn config_runner(kind: &str, name: &str) -> Value {
    let reference = if kind == "secret" { "secretRef" } else { "configMapRef" };
    json!({"configToml": {reference: {"name": name}, "workloadRef": {"name": name}}})
}

/// Those that are told at once, for runners without pods.
pub fn at_rest() -> Vec<State> {
    let values = "extraEnvFrom: {SENTRY_DSN: {secretKeyRef: {name: states-dsn, key: SENTRY_DSN}}}";
    let (newest, dsn) = (Generation::NineteenThree, format!("sentry_dsn = \"{OTHER_DSN}\"\n"));
    let config = config_toml("build");
    let takes_dsn = |pod: &mut Pod| pod.takes_dsn("states-dsn");
    let mut too_old = State::environment(
        "runner-too-old",
        newest,
        takes_dsn,
        "RunnerTooOld",
        "use a newer one, or runner.configToml",
    );
    too_old.objects[0]["spec"]["template"]["spec"]["containers"][0]["image"] = "localhost/gitlab-runner:v19.1.0".into();
    let mut wins = State::environment(
        "config-toml-wins",
        newest,
        |pod| {
            takes_dsn(pod);
            pod.mounts("secret", "config-toml-wins");
        },
        "ConfigTomlWins",
        "take the line out",
    );
    wins.objects.push(config_object("secret", "config-toml-wins", &(dsn.clone() + &config)));
    vec![
        State::environment("env-missing", newest, |_| {}, "EnvMissing", values),
        too_old,
        wins,
        State::toml("no-toml", &format!("concurrent = 4\ntoken = \"{TOKEN}\n"), "correct it"),
        State::toml("two-keys", &(dsn.clone() + &dsn + &config), "Remove one of them"),
        State::toml("key-in-a-table", &(config.clone() + &dsn), "move it above the first table"),
        State::config("no-config", "secret", None, "ConfigNotFound", "create it, or correct configToml"),
        State::new(
            "no-workload",
            config_runner("secret", "no-workload"),
            Vec::new(),
            "WorkloadNotFound",
            "create it, or correct workloadRef",
        ),
        deprecated_missing(),
        State::environment("no-key", newest, takes_dsn, "ClientKeyNotFound", "create it, or correct clientKeyRef")
            .with("clientKeyRef", json!({"name": "nobody"})),
    ]
}

fn deprecated_missing() -> State {
    let name = "deprecated-missing";
    let mut pod = Pod::new(Generation::Raven);
    pod.mounts("secret", name);
    let objects = vec![config_object("secret", name, &config_toml(name)), pod.deployment(name, 0)];
    let cure = "set extraKeys.deprecatedDSN: true in the spec of ClientKey states";
    State::new(name, config_runner("secret", name), objects, "DeprecatedDSNMissing", cure)
}

/// The others, but for those that need a second hand or Runners.
pub fn further() -> Vec<State> {
    let (dsn, config) = (format!("sentry_dsn = \"{OTHER_DSN}\"\n"), config_toml("build"));
    let of_helm = |object: &mut Value| {
        object["metadata"]["labels"] = json!({"app.kubernetes.io/managed-by": "Helm"});
        object["metadata"]["annotations"] = json!({"meta.helm.sh/release-name": "fleet"});
    };
    let mut helms = config_object("configmap", "drifted-helm", &config);
    of_helm(&mut helms);
    let mut wins = State::environment(
        "chart-value-wins",
        Generation::NineteenThree,
        |pod| {
            pod.takes_dsn("states-dsn");
            pod.copies("chart-value-wins");
        },
        "ConfigTomlWins",
        "leave the value sentryDsn of the chart empty",
    );
    let mut file = config_object("configmap", "chart-value-wins", &(dsn + &config));
    of_helm(&mut file);
    wins.objects.push(file);
    let mut immutable = config_object("secret", "immutable", &config);
    immutable["immutable"] = true.into();
    let mut other_key = config_object("secret", "no-entry", &config);
    other_key["stringData"] = json!({"other.toml": config});
    let mut container = State::config(
        "no-container",
        "secret",
        Some(config_object("secret", "no-container", &config)),
        "ContainerNotFound",
        "Correct container",
    );
    container.spec["runner"]["configToml"]["container"] = "manager".into();
    let mut not_mounted = State::config(
        "not-mounted",
        "secret",
        Some(config_object("secret", "elsewhere", &config)),
        "ConfigNotFound",
        "correct configToml, or mount it",
    );
    not_mounted.spec["runner"]["configToml"]["secretRef"] = json!({"name": "elsewhere"});
    let mut short = Pod::new(Generation::Eighteen);
    short.mounts_by_sub_path("secret", "grace-too-short");
    let short = vec![config_object("secret", "grace-too-short", &config), short.deployment("grace-too-short", 1)];
    vec![
        State::config("drifted-helm", "configmap", Some(helms), "Drifted", "set the value sentryDsn of GitLab's chart"),
        wins,
        State::config("immutable", "secret", Some(immutable), "ConfigImmutable", "make another one"),
        State::config("no-entry", "secret", Some(other_key), "ConfigNotFound", "add it, or correct configToml"),
        not_mounted,
        container,
        State::new(
            "grace-too-short",
            config_runner("secret", "grace-too-short"),
            short,
            "GraceTooShort",
            "say with minimumGracePeriod that less is enough",
        )
        .with("restart", "Rolling".into())
        .said_by("RolledOut"),
    ]
}

pub fn no_runner_operator() -> State {
    let runner = json!({"runnerRef": {"name": "operator-missing"}});
    let cure = "install the GitLab Runner Operator, or use runner.environment or runner.configToml";
    State::new("operator-missing", runner, Vec::new(), "RunnerOperatorMissing", cure)
}

/// Of Runners, whose pods would be replaced.
pub fn of_runners() -> Vec<State> {
    let reference = |name: &str| json!({"runnerRef": {"name": name}});
    let runner = |name: &str| vec![runner_object(name, Generation::Eighteen)];
    vec![
        State::new(
            "no-runner",
            reference("no-runner"),
            Vec::new(),
            "RunnerNotFound",
            "create it, or correct runnerRef",
        ),
        State::new(
            "restart-not-allowed",
            reference("restart-not-allowed"),
            runner("restart-not-allowed"),
            "RestartNotAllowed",
            "Set restart: Rolling",
        ),
        State::new(
            "runner-grace",
            reference("runner-grace"),
            runner("runner-grace"),
            "GraceTooShort",
            "say with minimumGracePeriod that less is enough",
        )
        .with("restart", "Rolling".into()),
    ]
}

/// The key of all of them.
pub fn make_key(namespace: &Namespace) {
    namespace.key(KEY, "{projectRef: {name: shop}}");
    namespace.wait_ready(&format!("etk/{KEY}"));
}

/// What they need, first: a runner with pods has them when it is bound.
pub fn prepare(namespace: &Namespace, states: &[State]) {
    let objects: Vec<_> = states.iter().flat_map(|state| state.objects.clone()).collect();
    if !objects.is_empty() {
        namespace.try_create(&list(&objects)).unwrap();
    }
}

pub fn bind(namespace: &Namespace, states: &[State]) {
    let bindings: Vec<_> = states.iter().map(|state| binding(state.name, &state.spec)).collect();
    namespace.apply(&list(&bindings));
}

/// Waits for what each says, and shows it as a platform engineer would see it.
pub fn are_told(namespace: &Namespace, states: &[State], described: bool) {
    for State { name, condition, reason, cure, .. } in states {
        is_told(namespace, name, condition, reason, cure);
        if described {
            println!("{}", namespace.kubectl(&["describe", "etr", name]));
        }
    }
}

fn is_told(namespace: &Namespace, name: &str, condition: &str, reason: &str, cure: &str) {
    let object = format!("etr/{name}");
    let told = wait_for(&format!("{name} says {reason}"), LIMIT, || {
        let said = namespace.condition(&object, condition, "reason");
        (said == reason).then(|| namespace.condition(&object, condition, "message"))
    });
    println!("    {told}");
    assert!(told.contains(cure), "{name} names the cure");
    assert_eq!(namespace.condition(&object, condition, "status"), "False");
    let at_fault = !matches!(reason, "ConfigNotFound" | "WorkloadNotFound" | "ClientKeyNotFound" | "RunnerNotFound");
    if condition == "Ready" && at_fault && !told.starts_with("No container") {
        assert_eq!(namespace.condition(&object, "Stalled", "reason"), reason, "{name}");
    }
}

/// Of two bindings for one container the older one wins.
pub fn second_binding_is_told(namespace: &Namespace) {
    // Times of the API server have whole seconds.
    pause(Duration::from_millis(1100));
    let environment = json!({"environment": {"workloadRef": {"name": "env-missing"}}});
    let cure = "RunnerBinding env-missing configures this runner and is older: delete it, or this one";
    let state = [State::new("already-bound", environment, Vec::new(), "AlreadyBound", cure)];
    bind(namespace, &state);
    are_told(namespace, &state, true);
}

/// Somebody who puts a config.toml back within a second has it: one write, and then it is said.
pub fn undone_write_is_told(namespace: &Namespace, name: &'static str, manager: &str, cure: &'static str) {
    let text = config_toml(name);
    let mut pod = Pod::new(Generation::NineteenThree);
    pod.mounts("secret", name);
    let objects = vec![config_object("secret", name, &text), pod.deployment(name, 1)];
    let state = [State::new(name, config_runner("secret", name), objects, "Drifted", cure)];
    prepare(namespace, &state);
    namespace.kubectl(&["rollout", "status", &format!("deploy/{name}"), "--timeout=60s"]);
    let file = || decoded(&namespace.get(&format!("secret/{name}"), ".data.config\\.toml"));
    let mut put_back = 0;
    let mut keep = || {
        if file() != text {
            put_back += 1;
            let patch = json!({"stringData": {"config.toml": text}}).to_string();
            let manager = format!("--field-manager={manager}");
            namespace.kubectl(&["patch", "secret", name, "--type=merge", &manager, "-p", &patch]);
        }
    };
    bind(namespace, &state);
    wait_for(&format!("{name} is given up"), LIMIT, || {
        keep();
        (namespace.condition(&format!("etr/{name}"), "Ready", "reason") == "Drifted").then_some(())
    });
    let version = || namespace.get(&format!("secret/{name}"), ".metadata.resourceVersion");
    let given_up = version();
    // More passes change nothing.
    for look in 0..5 {
        namespace.kubectl(&["annotate", "etr", name, "--overwrite", &format!("look={look}")]);
        pause(Duration::from_secs(2));
        keep();
    }
    assert_eq!((version(), put_back), (given_up, 1), "{name} is written once");
    are_told(namespace, &state, true);
}

pub fn decoded(base64: &str) -> String {
    use base64::prelude::{BASE64_STANDARD, Engine as _};
    String::from_utf8(BASE64_STANDARD.decode(base64).unwrap()).unwrap()
}

/// Every DSN that a Secret of a key holds now.
pub fn dsns(namespace: &Namespace) -> Vec<String> {
    let selector = "errortracking.dev/client-key";
    let secrets = namespace.kubectl(&["get", "secrets", "-l", selector, "-o", "json"]);
    let secrets: Value = serde_json::from_str(&secrets).unwrap();
    let values =
        secrets["items"].as_array().unwrap().iter().flat_map(|secret| secret["data"].as_object().unwrap().values());
    values.map(|value| decoded(value.as_str().unwrap())).filter(|value| value.contains("://")).collect()
}

/// Neither what a file holds nor a DSN is in a log of the operator, an Event or a status.
pub fn no_secret_is_told(namespace: &Namespace, dsns: &[String]) {
    let selector = format!("app.kubernetes.io/name={OPERATOR}");
    let log = kubectl(&["logs", "-n", INSTALLATION, "-l", &selector, "--all-containers", "--tail=-1", "--prefix"]);
    assert!(log.contains("Leading."));
    let events = kubectl(&["get", "events", "--all-namespaces", "-o", "json"]);
    assert!(events.contains("DSNWritten"));
    let told = object_statuses(namespace);
    assert!(told.contains("observedKeyID"));
    assert!(dsns.len() > 1);
    // The public key alone would do.
    let keys = dsns.iter().map(|dsn| dsn.split_once("://").unwrap().1.split([':', '@']).next().unwrap());
    for secret in keys.chain([TOKEN, "errors.example.com", "build team"]) {
        for (place, text) in [("the operator's log", &log), ("an Event", &events), ("a status", &told)] {
            assert!(!text.contains(secret), "{place} holds what is secret, which begins with {}…", &secret[..4]);
        }
    }
    println!("no token, no DSN in {} bytes of logs, {} of Events, {} of statuses", log.len(), events.len(), told.len());
}

fn object_statuses(namespace: &Namespace) -> String {
    let objects: Value = serde_json::from_str(&namespace.kubectl(&["get", "etr,etk,etp", "-o", "json"])).unwrap();
    objects["items"].as_array().unwrap().iter().map(|object| object["status"].to_string()).collect()
}

/// As a platform engineer sees them.
pub fn show(namespace: &Namespace) {
    println!("{}", namespace.kubectl(&["get", "etr", "-o", "wide"]));
}
