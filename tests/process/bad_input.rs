//! What no schema would let in today: objects of another version, and two that want the same.

use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use crate::world::{World, manifest};

#[tokio::test]
async fn an_object_that_cannot_be_read_says_so_and_stops_nobody() {
    let world = World::new().await;
    let operator = world.start_and_lead().await;
    let namespace = world.namespace("web").await;
    for (kind, spec) in
        [("ErrorTrackingProject", json!({"deletionPolicy": "Shred"})), ("ClientKey", json!({"enabled": true}))]
    {
        world.store_unchecked(&namespace, &[manifest(kind, "odd", spec)]).await;
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
    let mark = world.at_rest().await;
    sleep(Duration::from_secs(15)).await;
    let writes: Vec<_> = world.writes_since(&mark).iter().map(ToString::to_string).collect();
    assert_eq!(writes, Vec::<String>::new(), "a conflict is no reason to write");
    assert_eq!(namespace.secret("shared", "SENTRY_DSN").await, dsn);

    namespace.delete("ClientKey", "first").await;
    namespace.gone("ClientKey", "first").await;
    namespace.ready("ClientKey", "second").await;
    drop(operator);
}
