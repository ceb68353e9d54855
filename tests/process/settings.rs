//! What ingest follows reaches Postgres, and what has not changed is not written there.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::world::{Namespace, Operator, World, eventually};

/// From the edit to Postgres.
const FOLLOWED: Duration = Duration::from_secs(5);

async fn shop() -> (World, Operator, Namespace) {
    let world = World::new().await;
    let operator = world.start_and_lead().await;
    let namespace = world.namespace("web").await;
    namespace.ready_project("shop").await;
    (world, operator, namespace)
}

/// A spec of a project without pods.
fn spec(more: &Value) -> Value {
    let mut integrated = json!({"ingest": {"replicas": 0}});
    integrated.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"backend": {"integrated": integrated}})
}

/// What ingest would read, and the transactions that have written the rows.
async fn rows(world: &World) -> String {
    let settings = "SELECT version, ingest->'filters'->>'ignoreReleases', ingest->'filters'->>'ignoreErrors', xmin
        FROM errortracking.settings";
    let keys = "SELECT rate_limit_events, rate_limit_seconds, xmin FROM errortracking.client_keys";
    let projects = "SELECT xmin FROM errortracking.projects";
    [world.sql(settings).await, world.sql(keys).await, world.sql(projects).await].join("\n")
}

async fn ignored_releases(world: &World) -> String {
    world.sql("SELECT ingest->'filters'->>'ignoreReleases' FROM errortracking.settings").await
}

#[tokio::test]
async fn edited_filters_reach_postgres_and_a_second_apply_writes_nothing() {
    let (world, operator, namespace) = shop().await;
    let filters = spec(&json!({"filters": {"ignoreReleases": ["shop@0.*"]}}));
    namespace.project("shop", filters.clone()).await;
    eventually("the filter is in Postgres", FOLLOWED, async || {
        (ignored_releases(&world).await == r#"["shop@0.*"]"#).then_some(())
    })
    .await;
    let limited = json!({"projectRef": {"name": "shop"}, "rateLimit": {"events": 10, "window": "1m"}});
    namespace.key_with("shop", limited.clone()).await;
    eventually("the limit is in Postgres", FOLLOWED, async || {
        let limit = world.sql("SELECT rate_limit_events, rate_limit_seconds FROM errortracking.client_keys").await;
        (limit == "10|60").then_some(())
    })
    .await;
    namespace.ready("ErrorTrackingProject", "shop").await;
    namespace.ready("ClientKey", "shop").await;

    let mark = world.at_rest().await;
    let before = rows(&world).await;
    namespace.project("shop", filters.clone()).await;
    namespace.key_with("shop", limited).await;
    // A pass over both that has something else to look at.
    for kind in ["ErrorTrackingProject", "ClientKey"] {
        namespace.patch(kind, "shop", json!({"metadata": {"labels": {"team": "web"}}})).await;
    }
    sleep(Duration::from_secs(5)).await;
    assert_eq!(rows(&world).await, before);
    let writes: Vec<_> = world.writes_since(&mark).iter().map(ToString::to_string).collect();
    assert_eq!(writes, Vec::<String>::new());

    namespace.key("shop", "shop").await;
    namespace.project("shop", spec(&json!({}))).await;
    eventually("what is taken out goes", FOLLOWED, async || {
        let limit = world.sql("SELECT rate_limit_events, rate_limit_seconds FROM errortracking.client_keys").await;
        (limit == "|" && ignored_releases(&world).await == "[]").then_some(())
    })
    .await;
    drop(operator);
}

#[tokio::test]
async fn an_expression_that_does_not_compile_stalls_the_project_and_the_rest_is_followed() {
    let (world, operator, namespace) = shop().await;
    let filters = json!({"filters": {"ignoreErrors": ["re:(", "re:^Abort"], "ignoreReleases": ["shop@0.*"]}});
    namespace.project("shop", spec(&filters)).await;
    let message = namespace.reason("ErrorTrackingProject", "shop", "Stalled", "Invalid").await;
    println!("{message}");
    assert!(message.contains(r#"filters.ignoreErrors has "re:(""#), "{message}");
    eventually("the rest is in Postgres", FOLLOWED, async || {
        let errors = world.sql("SELECT ingest->'filters'->>'ignoreErrors' FROM errortracking.settings").await;
        (errors == r#"["re:^Abort"]"# && ignored_releases(&world).await == r#"["shop@0.*"]"#).then_some(())
    })
    .await;
    namespace.project("shop", spec(&json!({"filters": {"ignoreErrors": ["re:^Abort"]}}))).await;
    namespace.ready("ErrorTrackingProject", "shop").await;
    drop((operator, world));
}
