//! Objects of any size, made by tenants: the operator keeps what it needs of them, and reads a bounded part at a time.

#[path = "../support/noise.rs"]
mod noise;

use std::ops::Range;

use futures::{StreamExt as _, stream};
use kube::api::{DynamicObject, PostParams};
use serde_json::{Value, json};

use self::noise::noise;
use crate::world::{Namespace, Operator, World, eventually};

/// Half of the chart's limit, in KiB: there are fewer objects than it must withstand.
const MOST: u64 = 128 << 10;

async fn create(namespace: &Namespace, manifests: impl Iterator<Item = Value>) {
    let create = async |manifest: Value| {
        let api = namespace.api(manifest["kind"].as_str().unwrap());
        let object: DynamicObject = serde_json::from_value(manifest).unwrap();
        api.create(&PostParams::default(), &object).await.unwrap();
    };
    stream::iter(manifests).for_each_concurrent(4, create).await;
}

fn large_key(number: u64) -> Value {
    let note = noise(number, 4_000);
    let annotations: serde_json::Map<_, _> = (0..55).map(|n| (format!("note-{n}"), note.clone().into())).collect();
    json!({
        "apiVersion": "errortracking.dev/v1alpha1", "kind": "ClientKey", "metadata": {"name": format!("large-{number}")},
        "spec": {"projectRef": {"name": "shop"}, "secretTemplate": {"annotations": annotations}},
    })
}

fn large_secret(number: u64) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": format!("foreign-{number}"), "labels": {
            "app.kubernetes.io/managed-by": "error-tracking-operator", "errortracking.dev/client-key": "nobody",
        }},
        "stringData": {"note": noise(number, 250_000)},
    })
}

fn annotated_project(number: u64) -> Value {
    json!({
        "apiVersion": "errortracking.dev/v1alpha1", "kind": "ErrorTrackingProject",
        "metadata": {"name": format!("noted-{number}"), "annotations": {"note": noise(number, 60_000)}},
        "spec": {"backend": {"integrated": {"ingest": {"replicas": 0}}}},
    })
}

async fn serves(operator: &Operator, bystander: &Namespace, project: &str) {
    bystander.ready_project(project).await;
    let (now, most) = (operator.memory("VmRSS"), operator.memory("VmHWM"));
    println!("{project}: {} MiB, {} MiB at most", now >> 10, most >> 10);
    assert!(most < MOST, "{} MiB", most >> 10);
}

#[tokio::test]
async fn large_objects_of_one_namespace_do_not_fill_the_memory() {
    let world = World::direct().await;
    let (tenant, bystander) = (world.namespace("flood").await, world.namespace("web").await);
    tenant.project_without_pods("shop").await;
    create(&tenant, (0..200).map(large_secret)).await;
    let large_keys = async |numbers: Range<u64>| {
        world.store_unchecked(&tenant, &numbers.map(large_key).collect::<Vec<_>>()).await;
    };
    // Of a definition that had no bounds for the whole.
    large_keys(0..80).await;
    create(&tenant, (0..100).map(annotated_project)).await;
    // Everything is listed at the start.
    let operator = world.start_and_lead().await;
    serves(&operator, &bystander, "first").await;
    // And what changes is shown by watches.
    create(&tenant, (200..300).map(large_secret)).await;
    large_keys(80..120).await;
    serves(&operator, &bystander, "second").await;
    // A key that asks for more than a Secret may have is told so, and nothing else is held up.
    let refused = eventually("a large key is told", std::time::Duration::from_mins(2), async || {
        let stalled = tenant.condition("ClientKey", "large-0", "Stalled").await?;
        (stalled.status == "True").then_some(stalled.message)
    })
    .await;
    assert!(refused.contains("annotations"), "{refused}");
    // All of it can be deleted again.
    for kind in ["ClientKey", "ErrorTrackingProject"] {
        for object in tenant.list(kind).await {
            tenant.delete(kind, &object.metadata.name.unwrap()).await;
        }
    }
    eventually("the flood is gone", std::time::Duration::from_mins(2), async || {
        let left = tenant.list("ClientKey").await.len() + tenant.list("ErrorTrackingProject").await.len();
        (left == 0).then_some(())
    })
    .await;
    serves(&operator, &bystander, "third").await;
}
