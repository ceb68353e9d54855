//! What no schema would let in today: objects of another version, and two that want the same.

use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use crate::world::{World, manifest};

/// Stored by a version whose schema allowed more: its rules are loosened for the moment of the write.
#[tokio::test]
async fn an_object_that_cannot_be_read_says_so_and_stops_nobody() {
    let world = World::new().await;
    let operator = world.start_and_lead().await;
    let namespace = world.namespace("web").await;
    for (plural, kind, spec) in [
        ("errortrackingprojects", "ErrorTrackingProject", json!({"deletionPolicy": "Shred"})),
        ("clientkeys", "ClientKey", json!({"enabled": true})),
    ] {
        let definition = world.chart.definition(plural);
        let mut loose = definition.clone();
        for version in loose["spec"]["versions"].as_array_mut().unwrap() {
            version["schema"] =
                json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
            version.as_object_mut().unwrap().remove("selectableFields");
        }
        world.chart.apply(&world.client, &loose, true).await;
        // The API server takes a moment to serve the new schema.
        let odd = manifest(kind, "odd", spec);
        for attempt in 0.. {
            match namespace.try_apply(&odd).await {
                Ok(_) => break,
                Err(error) if attempt > 50 => panic!("{error}"),
                Err(_) => sleep(Duration::from_millis(100)).await,
            }
        }
        world.chart.apply(&world.client, &definition, true).await;
        sleep(Duration::from_secs(1)).await;
    }

    namespace.ready_project("shop").await;
    for kind in ["ErrorTrackingProject", "ClientKey"] {
        let message = namespace.reason(kind, "odd", "Stalled", "Invalid").await;
        println!("{kind}: {message}");
        assert_eq!(namespace.condition(kind, "odd", "Ready").await.unwrap().status, "False");
    }
    for kind in ["ErrorTrackingProject", "ClientKey"] {
        namespace.delete(kind, "odd").await;
        namespace.gone(kind, "odd").await;
    }
    drop(operator);
}

#[tokio::test]
async fn two_keys_that_want_one_secret_do_not_fight_over_it() {
    let world = World::new().await;
    let operator = world.start_and_lead().await;
    let namespace = world.namespace("web").await;
    namespace.ready_project("shop").await;
    let spec = json!({"projectRef": {"name": "shop"}, "secretTemplate": {"name": "shared"}});
    namespace.key_with("first", spec.clone()).await;
    namespace.ready("ClientKey", "first").await;
    let dsn = namespace.secret("shared", "SENTRY_DSN").await;
    namespace.key_with("second", spec).await;
    let message = namespace.reason("ClientKey", "second", "Stalled", "SecretConflict").await;
    println!("{message}");
    let mark = world.mark();
    sleep(Duration::from_secs(15)).await;
    let writes: Vec<_> = world.writes_since(&mark).iter().map(ToString::to_string).collect();
    assert_eq!(writes, Vec::<String>::new(), "a conflict is no reason to write");
    assert_eq!(namespace.secret("shared", "SENTRY_DSN").await, dsn);

    namespace.delete("ClientKey", "first").await;
    namespace.gone("ClientKey", "first").await;
    namespace.ready("ClientKey", "second").await;
    drop(operator);
}
