//! Client keys come and go while the server runs.

use std::time::Duration;

use error_tracking_operator::dsn::PublicKey;
use serde_json::json;
use tokio::time::Instant;

use crate::{
    client::Client,
    world::{EVENT, World, until},
};

#[tokio::test]
async fn an_unknown_key_is_refused_and_nothing_is_stored() {
    let world = World::start().await;
    let stranger = PublicKey::from_random([9; 16]);
    for endpoint in ["store", "envelope"] {
        let answer = world.send(&world.post_with(&stranger, endpoint, EVENT)).await;
        assert_eq!(answer.status, 403, "{}", answer.body);
        let said =
            "event submission rejected with_reason: ProjectId: the key is unknown, disabled or of another project";
        assert_eq!(answer.header("x-sentry-error"), Some(said));
        assert!(!answer.body.contains(stranger.as_str()));
    }
    assert_eq!(world.stored().await, 0);
}

#[tokio::test]
async fn a_key_works_from_the_moment_it_is_committed() {
    let world = World::start().await;
    for number in 2..12 {
        let key = PublicKey::from_random([number; 16]);
        world.mint(i32::from(number), &key).await;
        let answer = world.send(&world.post_with(&key, "store", EVENT)).await;
        assert_eq!(answer.status, 200, "key {number}: {}", answer.body);
    }
    assert_eq!(world.stored().await, 10);
}

#[tokio::test]
async fn a_revoked_key_is_refused_within_two_seconds() {
    let world = World::start().await;
    // One key that the table knows, and one that was only looked up.
    let fresh = PublicKey::from_random([2; 16]);
    let fresh_id = world.mint(2, &fresh).await;
    for (key, key_id) in [(fresh, fresh_id), (world.key.clone(), world.key_id)] {
        let request = world.post_with(&key, "store", EVENT);
        let mut client = Client::connect(world.address).await.unwrap();
        assert_eq!(client.send(&request).await.unwrap().status, 200);
        world.admin.revoke_key(key_id).await.unwrap();
        let revoked = Instant::now();
        while client.send(&request).await.unwrap().status != 403 {
            assert!(revoked.elapsed() < Duration::from_secs(2), "still accepted");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // It stays refused.
        for _ in 0..20 {
            assert_eq!(client.send(&request).await.unwrap().status, 403);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

#[tokio::test]
async fn a_flood_of_unknown_keys_does_not_keep_a_known_one_out() {
    let world = World::start().await;
    let mut client = Client::connect(world.address).await.unwrap();
    let mut statuses = Vec::new();
    for number in 0..200_u8 {
        let mut random = [0xff; 16];
        random[0] = number;
        let stranger = PublicKey::from_random(random);
        statuses.push(client.send(&world.post_with(&stranger, "store", EVENT)).await.unwrap().status);
        assert_eq!(client.send(&world.post("store", EVENT)).await.unwrap().status, 200);
    }
    assert!(statuses.iter().all(|status| matches!(status, 403 | 503)), "{statuses:?}");
    assert_eq!(world.stored().await, 200);
}

#[tokio::test]
async fn the_store_is_told_when_a_key_was_last_used() {
    let mut world = World::start().await;
    world.send(&world.post("store", EVENT)).await;
    world.end().await;
    let key_id = world.key_id;
    let used = "SELECT count(*) FROM errortracking.client_keys WHERE last_used_at > now() - interval '1 minute'
                AND last_used_at = date_trunc('second', last_used_at) AND key_id = ";
    assert_eq!(world.count(&format!("{used}{key_id}")).await, 1);
    assert_eq!(world.count("SELECT count(*) FROM errortracking.ingest_instances").await, 1);
}

#[tokio::test]
async fn the_store_is_told_at_once_that_a_new_key_is_known() {
    let mut world = World::start().await;
    let behind = "SELECT count(*) FROM errortracking.settings AS s LEFT JOIN errortracking.ingest_instances AS i
                  USING (project_id) WHERE s.version IS DISTINCT FROM i.settings_version";
    until("the first settings are told", async || world.count(behind).await == 0).await;
    for number in 2..5 {
        let minted = Instant::now();
        world.mint(i32::from(number), &PublicKey::from_random([number; 16])).await;
        until("the settings are told", async || world.count(behind).await == 0).await;
        // The poll comes within a second, and the reports of every ten would not be in time.
        assert!(minted.elapsed() < Duration::from_secs(3), "{:?}", minted.elapsed());
    }
    let lives = "SELECT count(*) FROM errortracking.ingest_instances WHERE ended_at IS NULL";
    assert_eq!(world.count(lives).await, 1);
    world.end().await;
    let ended = "SELECT count(*) FROM errortracking.ingest_instances WHERE ended_at = seen_at AND ended_clean";
    assert_eq!(world.count(ended).await, 1);
    // The same pod with another process.
    let again = world.serve_again().await;
    until("it lives again", async || world.count(lives).await == 1).await;
    // One that is killed says nothing.
    again.server.abort();
    assert!(again.server.await.is_err());
    assert_eq!((world.count(lives).await, world.count(ended).await), (1, 0));
}

#[tokio::test]
async fn a_changed_password_is_used_without_a_restart() {
    let world = World::start().await;
    assert_eq!(world.send(&world.post("store", EVENT)).await.status, 200);
    world.change_password("second").await;
    // The time of the login before is over: it is of no use any more, and neither are its connections.
    world.execute("UPDATE errortracking.former_logins SET valid_until = now() - interval '1 second'").await;
    assert_eq!(world.admin.drop_former_logins().await.unwrap(), 1);
    until("events are stored with the new password", async || {
        world.send(&world.post("store", EVENT)).await.status == 200
    })
    .await;
    assert!(world.stored().await >= 2);
}

#[tokio::test]
async fn a_project_that_is_not_active_takes_nothing_until_it_is() {
    let mut world = World::start_set(json!({"active": false})).await;
    let session = "{}\n{\"type\":\"session\"}\n{}\n";
    for (endpoint, body) in [("store", EVENT), ("envelope", session), ("envelope", "{}\n")] {
        let answer = world.send(&world.post(endpoint, body)).await;
        assert_eq!(answer.status, 403, "{}", answer.body);
        assert!(answer.header("x-sentry-error").unwrap().contains("active: false"));
    }
    assert_eq!(world.stored().await, 0);
    world.record(json!({})).await;
    until("events are stored", async || world.send(&world.post("store", EVENT)).await.status == 200).await;
    assert_eq!(world.stored().await, 1);
    world.end().await;
    assert!(world.outcomes().await.iter().any(|line| line.starts_with("error refused inactive_project")));
}
