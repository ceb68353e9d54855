//! The API server or Postgres is away, refuses or says nothing, and everything goes on afterwards. Each test prints the
//! time until the operator has caught up.

use std::{process::Command, time::Duration};

use serde_json::json;
use tokio::time::sleep;

use crate::world::{Mode, Namespace, Operator, World, eventually};

/// What the operator may take to catch up after the API server is back.
const CATCHES_UP: Duration = Duration::from_secs(30);

/// Changes that nobody told the operator of while it saw nothing.
async fn change_everything(namespace: &Namespace) {
    namespace.delete("Secret", "shop-dsn").await;
    namespace.key("new", "shop").await;
    namespace.delete("ClientKey", "old").await;
    namespace.patch("ErrorTrackingProject", "shop", json!({"spec": {"displayName": "Shop"}})).await;
}

/// Waits until those are reconciled; an operator that ended is started again, as the kubelet does.
async fn caught_up(world: &World, operator: &mut Operator, namespace: &Namespace, what: &str) {
    let mut ends = 0;
    let mut missing: Vec<&str> = Vec::new();
    eventually(&format!("caught up after {what}"), CATCHES_UP, async || {
        ends += u32::from(world.revive(operator).await);
        let new = namespace.condition("ClientKey", "new", "Ready").await;
        let generation = namespace.field("ErrorTrackingProject", "shop", "/metadata/generation").await;
        let seen = namespace.field("ErrorTrackingProject", "shop", "/status/observedGeneration").await;
        let now: Vec<&str> = [
            ("the new key", new.as_ref().is_some_and(|ready| ready.status == "True")),
            ("the deleted Secret", namespace.get("Secret", "shop-dsn").await.is_some()),
            ("the deleted key", namespace.get("ClientKey", "old").await.is_none()),
            ("the changed project", seen == generation),
        ]
        .into_iter()
        .filter_map(|(part, done)| (!done).then_some(part))
        .collect();
        if now != missing {
            println!("not yet: {now:?}, {new:?}");
            missing = now;
        }
        missing.is_empty().then_some(())
    })
    .await;
    println!("the operator was started again {ends} times");
}

/// A world with a project and two keys.
async fn shop() -> (World, Operator, Namespace) {
    let world = World::new().await;
    let operator = world.start_and_lead().await;
    let namespace = world.namespace("web").await;
    namespace.ready_project("shop").await;
    namespace.key("old", "shop").await;
    namespace.ready("ClientKey", "old").await;
    (world, operator, namespace)
}

#[tokio::test]
async fn an_api_server_that_refuses_for_a_while_is_caught_up_with() {
    let (world, mut operator, namespace) = shop().await;
    world.api_server.set(Mode::Refuse);
    change_everything(&namespace).await;
    sleep(Duration::from_secs(20)).await;
    world.api_server.set(Mode::Forward);
    caught_up(&world, &mut operator, &namespace, "20 s of refused connections").await;
}

#[tokio::test]
async fn an_api_server_that_is_silent_for_a_while_is_caught_up_with() {
    let (world, mut operator, namespace) = shop().await;
    world.api_server.set(Mode::Silent);
    change_everything(&namespace).await;
    sleep(Duration::from_secs(20)).await;
    world.api_server.set(Mode::Forward);
    caught_up(&world, &mut operator, &namespace, "20 s of silence").await;
}

#[tokio::test]
async fn connections_that_a_firewall_forgot_are_noticed() {
    let (world, mut operator, namespace) = shop().await;
    // Shorter than the lease: nothing but the dead connections tells.
    world.api_server.set(Mode::Silent);
    sleep(Duration::from_secs(2)).await;
    world.api_server.set(Mode::Forward);
    sleep(Duration::from_secs(1)).await;
    change_everything(&namespace).await;
    caught_up(&world, &mut operator, &namespace, "2 s of silence, in which every connection died").await;
}

#[tokio::test]
async fn an_api_server_that_has_forgotten_the_past_is_listed_again() {
    let (world, mut operator, namespace) = shop().await;
    world.api_server.set(Mode::Refuse);
    change_everything(&namespace).await;
    // A new one keeps no history: watches that go on from before are answered 410.
    restart_api_server().await;
    eventually("the API server answers", Duration::from_mins(1), async || {
        namespace.api("Secret").list(&kube::api::ListParams::default()).await.ok()
    })
    .await;
    world.api_server.set(Mode::Forward);
    caught_up(&world, &mut operator, &namespace, "a restart of the API server").await;
}

/// Ends the API server of the local cluster as a crash would; it is started again within seconds.
async fn restart_api_server() {
    let name = std::env::var("ERROR_TRACKING_CLUSTER").unwrap_or_else(|_| "test".into());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/hack/cluster.sh");
    let ended = tokio::task::spawn_blocking(move || {
        Command::new(script).args(["restart", "--name", &name, "kube-apiserver"]).status().unwrap().success()
    });
    assert!(ended.await.unwrap(), "ERROR_TRACKING_CLUSTER names the local cluster");
}

#[tokio::test]
async fn postgres_goes_away_and_comes_back() {
    for (mode, what) in [(Mode::Refuse, "refused connections"), (Mode::Silent, "silence")] {
        let (world, operator, namespace) = shop().await;
        world.postgres.set(mode);
        let message = namespace.reason("ErrorTrackingProject", "shop", "DatabaseReady", "DatabaseUnavailable").await;
        println!("{what}: {message}");
        let key = namespace.condition("ClientKey", "shop", "Ready").await.unwrap();
        assert_eq!(key.status, "True", "what is published stays published");
        namespace.delete("ClientKey", "old").await;
        namespace.gone("ClientKey", "old").await;
        namespace.key("new", "shop").await;
        sleep(Duration::from_secs(3)).await;
        world.postgres.set(Mode::Forward);
        eventually(&format!("Ready again after {what}"), CATCHES_UP, async || {
            let project = namespace.condition("ErrorTrackingProject", "shop", "Ready").await?;
            let new = namespace.condition("ClientKey", "new", "Ready").await?;
            (project.status == "True" && new.status == "True").then_some(())
        })
        .await;
        eventually("the deleted key is revoked", CATCHES_UP, async || {
            let live =
                world.sql("SELECT name FROM errortracking.client_keys WHERE revoked_at IS NULL ORDER BY 1").await;
            (live == "new\nshop").then_some(())
        })
        .await;
        drop(operator);
    }
}

/// Nothing tells the operator that Postgres is silent when the deletions begin: each of them waits for an answer.
#[tokio::test]
async fn deletions_while_postgres_is_silent_end_and_are_made_good() {
    let (world, operator, namespace) = shop().await;
    let names: Vec<_> = (0..24).map(|number| format!("key-{number}")).collect();
    for name in &names {
        namespace.key(name, "shop").await;
    }
    for name in &names {
        namespace.ready("ClientKey", name).await;
    }
    world.postgres.set(Mode::Silent);
    for name in &names {
        namespace.delete("ClientKey", name).await;
    }
    eventually("every deleted key is gone", Duration::from_mins(1), async || {
        let left = namespace.list("ClientKey").await.len();
        (left == 2).then_some(())
    })
    .await;
    assert_eq!(operator.probe("/livez").await.unwrap().0, 200);
    world.postgres.set(Mode::Forward);
    eventually("every deleted key is revoked", CATCHES_UP, async || {
        let live = world.sql("SELECT name FROM errortracking.client_keys WHERE revoked_at IS NULL ORDER BY 1").await;
        (live == "old\nshop").then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_secret_of_the_operators_database_lacks_a_key() {
    let (world, operator, namespace) = shop().await;
    let secret = world.chart.database_secret.clone();
    world.home().patch("Secret", &secret, json!({"data": {"dbname": null}})).await;
    // The connection that stands is used for another minute: a Secret may be written in two steps.
    let message = eventually("the project says why", Duration::from_secs(150), async || {
        let found = namespace.condition("ErrorTrackingProject", "shop", "DatabaseReady").await?;
        (found.status == "False").then_some(found.message)
    })
    .await;
    println!("{message}");
    assert!(message.contains("dbname") && message.contains(&secret), "{message}");
    world.publish_database(&world.connection()).await;
    eventually("Ready again", CATCHES_UP, async || {
        let found = namespace.condition("ErrorTrackingProject", "shop", "Ready").await?;
        (found.status == "True").then_some(())
    })
    .await;
    drop(operator);
}
