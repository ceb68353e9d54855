//! What an overlap costs in a namespace whose pods come and go.

use std::time::{Duration, Instant};

use futures::{StreamExt as _, stream};
use serde_json::json;
use tokio::time::sleep;

use crate::world::{Namespace, World, eventually};

const KEY: &str = "ClientKey";
const PODS: usize = 500;
/// Pods that are replaced in each step, and how long a step is.
const REPLACED: usize = 10;
const STEP: Duration = Duration::from_millis(500);
const LIMIT: Duration = Duration::from_secs(30);
const MINUTE: u64 = 60;

/// For how long pods come and go; `OVERLAP_SECONDS` is another time.
fn churn() -> Duration {
    let seconds = std::env::var("OVERLAP_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(seconds.unwrap_or(45))
}

/// A pod of a workload of its own that takes both Secrets and never runs.
async fn pod(namespace: &Namespace, number: usize) {
    let secrets = ["long-dsn", "short-dsn"].map(|secret| json!({"secretRef": {"name": secret}}));
    let container = json!({"name": "app", "image": "none.example/none", "envFrom": secrets});
    namespace
        .apply(&json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": format!("pod-{number}")},
            "spec": {"schedulerName": "nobody", "terminationGracePeriodSeconds": 0, "containers": [container]},
        }))
        .await;
}

#[tokio::test]
async fn holders_that_come_and_go_cause_one_status_write_a_minute() {
    let world = World::new().await;
    let _operator = world.start_and_lead().await;
    let namespace = world.namespace("web").await;
    namespace.ready_project("shop").await;
    let keys = [("long", json!({})), ("short", json!({"minimum": "5s", "silence": "5s"}))];
    for (key, overlap) in &keys {
        namespace.key_with(key, json!({"projectRef": {"name": "shop"}, "rotation": {"overlap": overlap}})).await;
        namespace.ready(KEY, key).await;
        world.age_keys(key).await;
    }
    stream::iter(0..PODS).for_each_concurrent(8, async |number| pod(&namespace, number).await).await;
    for (key, _) in &keys {
        let request = json!({"metadata": {"annotations": {"errortracking.dev/rotate": world.now().await}}});
        namespace.patch(KEY, key, request).await;
        let what = format!("{key} says who holds the key before");
        eventually(&what, LIMIT, async || {
            (namespace.field(KEY, key, "/status/retiring/holders").await == json!(PODS)).then_some(())
        })
        .await;
    }

    eventually("the minimum is over", LIMIT, async || {
        let message = namespace.condition(KEY, "short", "Rotating").await?.message;
        message.contains("It ends when nothing was sent with it").then_some(())
    })
    .await;

    let (mark, began, mut next) = (world.mark(), Instant::now(), PODS);
    while began.elapsed() < churn() {
        // What is created now holds no key before once the minimum is over, so that the count changes as the names do.
        let numbers = next..next + REPLACED;
        stream::iter(numbers)
            .for_each_concurrent(8, async |number| {
                namespace.delete("Pod", &format!("pod-{}", number - PODS)).await;
                pod(&namespace, number).await;
            })
            .await;
        next += REPLACED;
        sleep(STEP).await;
    }
    let (seconds, replaced) = (began.elapsed().as_secs(), next - PODS);
    let writes = world.writes_since(&mark);
    for (key, _) in &keys {
        let of_key: Vec<_> = writes.iter().filter(|write| write.name == *key).collect();
        println!("{key}: {} status writes in {seconds} s, {replaced} of {PODS} pods replaced", of_key.len());
        // So many that are a minute apart.
        let most = usize::try_from(seconds / MINUTE + 1).unwrap();
        assert!(of_key.len() <= most, "{key}: {of_key:#?}");
        assert!(of_key.iter().all(|write| write.resource == "clientkeys/status"), "{key}: {of_key:#?}");
    }
}
