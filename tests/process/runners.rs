//! GitLab Runner is configured with a key: what is written where, what is left alone, and what is taken out again. No pod
//! runs here; `tests/operator/runners` has those.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    rotation::instance_reports,
    world::{Namespace, World, eventually, manifest},
};

const LIMIT: Duration = Duration::from_mins(1);
const BINDING: &str = "RunnerBinding";
pub const CONFIG: &str = "# fleet\r\nconcurrent = 4\r\n\r\n[[runners]]\r\n  token = \"glrt-not-a-token\"\r\n";

async fn world() -> World {
    World::with_values(&["runnerBinding.enabled=true"]).await
}

fn workload(name: &str, mounts: &Value, volumes: &Value, more: &Value) -> Value {
    let mut container = json!({"name": "runner", "image": "gitlab/gitlab-runner:v19.3.0", "volumeMounts": mounts});
    container.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let labels = json!({"app": name});
    let pods = json!({"terminationGracePeriodSeconds": 3600, "containers": [container], "volumes": volumes});
    let template = json!({"metadata": {"labels": labels}, "spec": pods});
    manifest("Deployment", name, json!({"replicas": 0, "selector": {"matchLabels": labels}, "template": template}))
}

async fn fleet(namespace: &Namespace, name: &str) {
    fleet_with(namespace, name, CONFIG, false).await;
}

/// A config.toml in an object that was made by hand.
pub async fn config_by_hand(namespace: &Namespace, kind: &str, name: &str, text: &str, immutable: bool) {
    let text = if kind == "Secret" { BASE64_STANDARD.encode(text) } else { text.to_owned() };
    let object = json!({
        "apiVersion": "v1", "kind": kind, "metadata": {"name": name}, "immutable": immutable,
        "data": {"config.toml": text},
    });
    let by_hand = PostParams { field_manager: Some("kubectl-create".into()), ..PostParams::default() };
    namespace.api(kind).create(&by_hand, &serde_json::from_value(object).unwrap()).await.unwrap();
}

/// A Secret with a config.toml, made by hand, and a Deployment that mounts it and has no pods.
pub async fn fleet_with(namespace: &Namespace, name: &str, text: &str, immutable: bool) {
    config_by_hand(namespace, "Secret", name, text, immutable).await;
    let mounts = json!([{"name": "config", "mountPath": "/etc/gitlab-runner"}]);
    let volumes = json!([{"name": "config", "secret": {"secretName": name}}]);
    namespace.apply(&workload(name, &mounts, &volumes, &json!({}))).await;
}

async fn bind(namespace: &Namespace, name: &str, runner: &Value) {
    namespace.apply(&binding(name, runner)).await;
}

fn binding(name: &str, runner: &Value) -> Value {
    manifest(BINDING, name, json!({"clientKeyRef": {"name": "app"}, "runner": runner}))
}

pub fn by_config(name: &str) -> Value {
    json!({"configToml": {"secretRef": {"name": name}, "workloadRef": {"name": name}}})
}

async fn edit(namespace: &Namespace, name: &str, text: &str) {
    let by_hand = PatchParams { field_manager: Some("kubectl-edit".into()), ..PatchParams::default() };
    let patch = json!({"data": {"config.toml": BASE64_STANDARD.encode(text)}});
    namespace.api("Secret").patch(name, &by_hand, &Patch::Merge(&patch)).await.unwrap();
}

/// It is looked at again, as it is now and then.
async fn wake(namespace: &Namespace, binding: &str) {
    static TIMES: AtomicU32 = AtomicU32::new(0);
    let times = TIMES.fetch_add(1, Ordering::Relaxed).to_string();
    namespace.patch(BINDING, binding, json!({"metadata": {"annotations": {"errortracking.dev/woken": times}}})).await;
}

async fn config(namespace: &Namespace, name: &str) -> String {
    namespace.secret(name, "config.toml").await.unwrap()
}

/// The file with this DSN behind its last global key.
fn with(dsn: &str) -> String {
    CONFIG.replace("concurrent = 4\r\n", &format!("concurrent = 4\r\nsentry_dsn = \"{dsn}\"\r\n"))
}

async fn dsn(namespace: &Namespace) -> String {
    namespace.secret("app-dsn", "SENTRY_DSN").await.unwrap()
}

#[tokio::test]
async fn one_line_of_a_config_toml_follows_the_key_and_goes_with_its_binding() {
    let world = world().await;
    let operator = world.start_and_lead().await;
    let namespace = world.namespace("ci").await;
    namespace.project_without_pods("shop").await;
    let overlap = json!({"minimum": "1s", "silence": "0s", "holders": "Visible"});
    namespace.key_with("app", json!({"projectRef": {"name": "shop"}, "rotation": {"overlap": overlap}})).await;
    fleet(&namespace, "fleet").await;
    bind(&namespace, "fleet", &by_config("fleet")).await;
    namespace.ready(BINDING, "fleet").await;
    let first = dsn(&namespace).await;
    assert_eq!(config(&namespace, "fleet").await, with(&first));
    namespace.reason(BINDING, "fleet", "RolledOut", "AllPodsCurrent").await;
    let observed = namespace.field(BINDING, "fleet", "/status/observedKeyID").await;
    assert_eq!(observed, namespace.field("ClientKey", "app", "/status/active/keyID").await);

    // At rest nothing is written, whatever wakes the pass; the Events of before may come late.
    let mark = world.at_rest().await;
    wake(&namespace, "fleet").await;
    sleep(Duration::from_secs(2)).await;
    assert!(world.writes_of(&operator, &mark).is_empty(), "{:?}", world.writes_of(&operator, &mark));

    world.age_keys("app").await;
    namespace.patch("ClientKey", "app", json!({"spec": {"rotation": {"requestedAt": world.now().await}}})).await;
    eventually("config.toml has the next key", LIMIT, async || {
        let next = dsn(&namespace).await;
        (next != first && config(&namespace, "fleet").await == with(&next)).then_some(())
    })
    .await;
    namespace.ready(BINDING, "fleet").await;

    // Somebody puts it back: that is told, and stays.
    eventually("the status says so", LIMIT, async || {
        let observed = namespace.field(BINDING, "fleet", "/status/observedKeyID").await;
        (observed == namespace.field("ClientKey", "app", "/status/active/keyID").await).then_some(())
    })
    .await;
    edit(&namespace, "fleet", &with(&first)).await;
    wake(&namespace, "fleet").await;
    let message = namespace.reason(BINDING, "fleet", "Stalled", "Drifted").await;
    assert!(message.contains("key SENTRY_DSN of Secret app-dsn") && !message.contains(&first), "{message}");
    wake(&namespace, "fleet").await;
    sleep(Duration::from_secs(2)).await;
    assert_eq!(config(&namespace, "fleet").await, with(&first), "it is not written again");

    // Put right by hand, it is ours to take out.
    let next = dsn(&namespace).await;
    edit(&namespace, "fleet", &with(&next)).await;
    wake(&namespace, "fleet").await;
    namespace.ready(BINDING, "fleet").await;
    namespace.delete(BINDING, "fleet").await;
    namespace.gone(BINDING, "fleet").await;
    assert_eq!(config(&namespace, "fleet").await, CONFIG);
    assert!(!operator.log().contains("glrt-not-a-token"));
}

#[tokio::test]
async fn a_key_goes_on_until_the_last_runner_has_the_next() {
    let world = world().await;
    let _operator = world.start_and_lead().await;
    let namespace = world.namespace("ci").await;
    namespace.project_without_pods("shop").await;
    let overlap = json!({"minimum": "1s", "silence": "0s", "holders": "Visible"});
    namespace.key_with("app", json!({"projectRef": {"name": "shop"}, "rotation": {"overlap": overlap}})).await;
    let names: Vec<_> = (1..=10).map(|number| format!("fleet-{number}")).collect();
    for name in &names {
        fleet(&namespace, name).await;
        bind(&namespace, name, &by_config(name)).await;
        namespace.ready(BINDING, name).await;
    }
    // The last one cannot be written any more: it keeps the key before.
    let last = "fleet-10";
    namespace.patch("Secret", last, json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": "Helm"}}})).await;
    world.age_keys("app").await;
    namespace.patch("ClientKey", "app", json!({"spec": {"rotation": {"requestedAt": world.now().await}}})).await;
    let message = namespace.reason(BINDING, last, "Stalled", "Drifted").await;
    assert!(message.contains("is kept by Helm"), "{message}");
    eventually("it is named as who holds the key before", LIMIT, async || {
        // Who has it no longer is told once a minute.
        let held = namespace.field("ClientKey", "app", "/status/retiring/heldBy").await;
        held.as_array()?.contains(&json!({"kind": BINDING, "name": last, "pods": 1})).then_some(())
    })
    .await;
    sleep(Duration::from_secs(4)).await;
    let states = "SELECT string_agg(state, ', ' ORDER BY ordinal) FROM errortracking.client_keys";
    assert_eq!(world.sql(states).await, "overlap, published");

    namespace.patch("Secret", last, json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": null}}})).await;
    // Another spec is another try.
    namespace.patch(BINDING, last, json!({"spec": {"restart": "Rolling"}})).await;
    namespace.ready(BINDING, last).await;
    eventually("the key before has ended", LIMIT, async || {
        // Silence counts where somebody is there to tell.
        instance_reports(&world, "i-1", "1000000", 0).await;
        (world.sql(states).await == "retired, published").then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_keeps_a_runner_from_its_key_is_said_with_the_cure() {
    let world = world().await;
    let operator = world.start_and_lead().await;
    let namespace = world.namespace("ci").await;
    namespace.ready_project("shop").await;
    namespace.key("app", "shop").await;
    fleet(&namespace, "fleet").await;
    let environment = |name: &str| json!({"environment": {"workloadRef": {"name": name}}});
    let from = json!({"env": [{"name": "SENTRY_DSN", "valueFrom": {"secretKeyRef": {"name": "app-dsn", "key": "SENTRY_DSN"}}}]});
    namespace.apply(&workload("fine", &json!([]), &json!([]), &from)).await;
    fleet_with(&namespace, "broken", "token = \"glrt-not-a-token", false).await;
    fleet_with(&namespace, "fixed", CONFIG, true).await;
    let mut deprecated = binding("deprecated", &by_config("fleet"));
    deprecated["spec"]["dsnForm"] = "Deprecated".into();
    let mut other_key = binding("other-key", &by_config("fleet"));
    other_key["spec"]["clientKeyRef"]["name"] = "nobody".into();
    for (manifest, reason, says) in [
        (binding("fine", &environment("fine")), "Configured", "has SENTRY_DSN from Secret app-dsn"),
        (binding("second", &environment("fine")), "AlreadyBound", "RunnerBinding fine configures this runner"),
        (
            binding("missing", &environment("fleet")),
            "EnvMissing",
            "extraEnvFrom: {SENTRY_DSN: {secretKeyRef: {name: app-dsn",
        ),
        (binding("nothing", &environment("nothing")), "WorkloadNotFound", "There is no Deployment nothing"),
        (
            binding(
                "no-config",
                &json!({"configToml": {"secretRef": {"name": "absent"}, "workloadRef": {"name": "fixed"}}}),
            ),
            "ConfigNotFound",
            "There is no Secret absent",
        ),
        (binding("broken", &by_config("broken")), "ConfigInvalid", "is not valid TOML"),
        (binding("fixed", &by_config("fixed")), "ConfigImmutable", "make another one"),
        (deprecated, "DeprecatedDSNMissing", "set extraKeys.deprecatedDSN: true in the spec of ClientKey app"),
        (other_key, "ClientKeyNotFound", "There is no ClientKey nobody"),
    ] {
        let name = manifest["metadata"]["name"].as_str().unwrap().to_owned();
        // A second is what ages differ by.
        sleep(Duration::from_millis(1_100)).await;
        namespace.apply(&manifest).await;
        let message = namespace.reason(BINDING, &name, "Configured", reason).await;
        println!("{reason}: {message}");
        assert!(message.contains(says), "{name}: {message}");
        if name != "fine" {
            namespace.delete(BINDING, &name).await;
            namespace.gone(BINDING, &name).await;
        }
    }
    let events = serde_json::to_string(&namespace.list("Event").await).unwrap();
    for text in [events, operator.log()] {
        assert!(!text.contains("glrt-not-a-token"), "a token is told");
    }
}

#[tokio::test]
async fn nothing_is_done_where_the_installation_does_not_do_it() {
    let world = World::new().await;
    let _operator = world.start_and_lead().await;
    let namespace = world.namespace("ci").await;
    fleet(&namespace, "fleet").await;
    bind(&namespace, "fleet", &by_config("fleet")).await;
    let message = namespace.reason(BINDING, "fleet", "Stalled", "NotEnabled").await;
    assert!(message.contains("runnerBinding.enabled"), "{message}");
    assert_eq!(config(&namespace, "fleet").await, CONFIG);
    namespace.delete(BINDING, "fleet").await;
    namespace.gone(BINDING, "fleet").await;
}
