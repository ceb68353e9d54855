//! What needs nothing is not written, what others write is put back once, and what belongs to others stays.

use std::time::Duration;

use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::world::{Namespace, Operator, World, eventually, manifest};

/// Edited or deleted by hand: back by then.
const PUT_BACK: Duration = Duration::from_secs(5);
/// Time in which nothing may be written.
const IDLE: Duration = Duration::from_secs(20);

async fn shop() -> (World, Operator, Namespace) {
    let world = World::new().await;
    let operator = world.start_and_lead().await;
    let namespace = world.namespace("web").await;
    namespace.ready_project("shop").await;
    (world, operator, namespace)
}

/// Writes to what is in `namespace`, as lines.
fn writes(world: &World, mark: &crate::world::Mark) -> Vec<String> {
    world.writes_since(mark).iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn nothing_is_written_for_objects_that_need_nothing() {
    let (world, operator, _namespace) = shop().await;
    let mark = world.at_rest().await;
    sleep(IDLE).await;
    assert_eq!(writes(&world, &mark), Vec::<String>::new());
    drop(operator);
    // Neither by one that starts and looks at everything anew.
    let mark = world.mark();
    let operator = world.start_and_lead().await;
    sleep(Duration::from_secs(3)).await;
    assert_eq!(writes(&world, &mark), Vec::<String>::new());
    drop(operator);
}

#[tokio::test]
async fn whether_events_come_is_written_once_an_hour() {
    let (world, mut operator, namespace) = shop().await;
    let kind = "ErrorTrackingProject";
    namespace.reason(kind, "shop", "Receiving", "NoEventYet").await;
    for (used_at, hour, writes_expected) in [
        ("2026-11-29T01:10:00Z", "2026-11-29T01:00:00Z", 1),
        ("2026-11-29T01:59:00Z", "2026-11-29T01:00:00Z", 0),
        ("2026-11-29T02:01:00Z", "2026-11-29T02:00:00Z", 1),
    ] {
        // One that starts looks at once; one that runs does within ten minutes.
        let mark = world.at_rest().await;
        drop(operator);
        world.execute(&format!("UPDATE errortracking.client_keys SET last_used_at = '{used_at}'")).await;
        operator = world.start_and_lead().await;
        eventually("the hour is told", Duration::from_secs(10), async || {
            let receiving = namespace.condition(kind, "shop", "Receiving").await?;
            (receiving.reason == "EventReceived" && receiving.message.contains(hour)).then_some(())
        })
        .await;
        sleep(Duration::from_secs(3)).await;
        let written = writes(&world, &mark);
        assert_eq!(written.len(), writes_expected, "{used_at}: {written:?}");
    }
    assert_eq!(namespace.condition(kind, "shop", "Ready").await.unwrap().status, "True");
}

#[tokio::test]
async fn a_flood_is_told_while_it_lasts() {
    let (world, mut operator, namespace) = shop().await;
    let kind = "ErrorTrackingProject";
    for (ago, met, told, is_written) in
        [("0 min", 2_345, true, true), ("30 min", 2_999, true, false), ("61 min", 2_999, false, true)]
    {
        // One that starts looks at once; one that runs does within a minute of a flood, and ten after it.
        let mark = world.at_rest().await;
        drop(operator);
        let flood = format!(
            "an_hour = 1000, since = '2026-11-29T01:10:00Z', last_at = clock_timestamp() - interval '{ago}', met = {met}"
        );
        world.execute(&format!("UPDATE errortracking.floods SET {flood} WHERE kind = 'issues'")).await;
        operator = world.start_and_lead().await;
        eventually("what comes is told", Duration::from_secs(10), async || {
            let flooded = namespace.condition(kind, "shop", "Flooded").await;
            (flooded.is_some_and(|flooded| flooded.reason == "TooManyNewIssues") == told).then_some(())
        })
        .await;
        sleep(Duration::from_secs(3)).await;
        let written = writes(&world, &mark);
        assert_eq!(!written.is_empty(), is_written, "{ago}: {written:?}");
    }
    assert_eq!(namespace.condition(kind, "shop", "Ready").await.unwrap().status, "True");
}

#[tokio::test]
async fn the_same_manifests_applied_again_and_again_by_another_manager_change_nothing() {
    let (world, operator, namespace) = shop().await;
    let spec = json!({"backend": {"integrated": {"ingest": {"replicas": 0}}}});
    let manifests = [
        manifest("ErrorTrackingProject", "shop", spec),
        manifest("ClientKey", "shop", json!({"projectRef": {"name": "shop"}})),
    ];
    let apply = async |manager: &str| {
        for manifest in &manifests {
            let api = namespace.api(manifest["kind"].as_str().unwrap());
            api.patch("shop", &PatchParams::apply(manager).force(), &Patch::Apply(manifest)).await.unwrap();
        }
    };
    apply("argocd-controller").await;
    let mark = world.at_rest().await;
    for _ in 0..20 {
        apply("argocd-controller").await;
        apply("kustomize-controller").await;
        sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(writes(&world, &mark), Vec::<String>::new());
    drop(operator);
}

#[tokio::test]
async fn a_secret_that_is_edited_or_deleted_is_put_back_with_the_same_key() {
    let (world, operator, namespace) = shop().await;
    let dsn = namespace.secret("shop-dsn", "SENTRY_DSN").await.unwrap();
    namespace.patch("Secret", "shop-dsn", json!({"stringData": {"SENTRY_DSN": "wrong"}})).await;
    let back = async || (namespace.secret("shop-dsn", "SENTRY_DSN").await.as_ref() == Some(&dsn)).then_some(());
    eventually("edited Secret put back", PUT_BACK, back).await;
    namespace.patch("Secret", "shop-dsn", json!({"stringData": {"EXTRA": "x"}})).await;
    eventually("added entry taken out", PUT_BACK, async || {
        namespace.secret("shop-dsn", "EXTRA").await.is_none().then_some(())
    })
    .await;
    namespace.delete("Secret", "shop-dsn").await;
    eventually("deleted Secret put back", PUT_BACK, back).await;
    namespace.delete("Secret", "shop-database").await;
    eventually("deleted login put back", PUT_BACK, async || namespace.get("Secret", "shop-database").await).await;
    drop((operator, world));
}

#[tokio::test]
async fn a_status_that_a_user_edits_is_put_right_once() {
    let (world, operator, namespace) = shop().await;
    let mark = world.at_rest().await;
    let before = [
        namespace.field("ErrorTrackingProject", "shop", "/status").await,
        namespace.field("ClientKey", "shop", "/status").await,
    ];
    let condition = json!([{"type": "Ready", "status": "False", "reason": "Edited", "message": "by hand",
        "lastTransitionTime": "2020-01-01T00:00:00Z"}]);
    namespace
        .patch_status("ErrorTrackingProject", "shop", json!({"status": {"projectID": 4711, "conditions": condition}}))
        .await;
    namespace
        .patch_status("ClientKey", "shop", json!({"status": {"secretName": "other", "conditions": condition}}))
        .await;
    let now = async || {
        [
            namespace.field("ErrorTrackingProject", "shop", "/status").await,
            namespace.field("ClientKey", "shop", "/status").await,
        ]
    };
    eventually("the status is put right", PUT_BACK, async || {
        (now().await.map(without_times) == before.clone().map(without_times)).then_some(())
    })
    .await;
    sleep(Duration::from_secs(2)).await;
    let written = writes(&world, &mark);
    assert!(written.iter().filter(|line| line.contains("/status ")).count() <= 2, "{written:#?}");
    drop(operator);
}

/// Transition times change when somebody else changed the status.
fn without_times(mut status: Value) -> Value {
    for condition in status["conditions"].as_array_mut().into_iter().flatten() {
        condition.as_object_mut().unwrap().remove("lastTransitionTime");
    }
    status
}

#[tokio::test]
async fn labels_of_argo_cd_on_a_resource_do_not_reach_its_children() {
    let (world, operator, namespace) = shop().await;
    let label = "app.kubernetes.io/instance";
    let tracking = "argocd.argoproj.io/tracking-id";
    let mark = world.mark();
    for kind in ["ErrorTrackingProject", "ClientKey"] {
        let metadata =
            json!({"labels": {label: "gitops"}, "annotations": {tracking: "gitops:errortracking.dev/x:web/shop"}});
        namespace.patch(kind, "shop", json!({"metadata": metadata})).await;
    }
    // A change of the spec shows that the operator has seen them.
    namespace.patch("ClientKey", "shop", json!({"spec": {"secretTemplate": {"labels": {"team": "web"}}}})).await;
    namespace.ready("ClientKey", "shop").await;
    eventually("the template's label is there", PUT_BACK, async || {
        (namespace.field("Secret", "shop-dsn", "/metadata/labels/team").await == "web").then_some(())
    })
    .await;
    for kind in ["Secret", "Service", "Deployment", "ServiceAccount", "NetworkPolicy", "PodDisruptionBudget"] {
        for child in namespace.list(kind).await {
            let labels = child.metadata.labels.unwrap_or_default();
            let annotations = child.metadata.annotations.unwrap_or_default();
            assert_ne!(labels.get(label).map(String::as_str), Some("gitops"), "{kind} {:?}", child.metadata.name);
            assert!(!annotations.contains_key(tracking), "{kind} {:?}", child.metadata.name);
        }
    }
    let touched = writes(&world, &mark);
    assert!(!touched.iter().any(|line| line.contains("deployments")), "{touched:#?}");
    drop(operator);
}
