//! By what distinct users are counted.

use jiff::{Timestamp, ToSpan};
use serde_json::json;

use crate::{
    client,
    wire::envelope,
    world::{Serving, World},
};

/// An event and a session of the same user.
async fn send(world: &World, serving: Option<&Serving>) {
    let event = r#"{"message":"m","user":{"id":"7"}}"#;
    let session = json!({
        "sid": "00000000-0000-0000-0000-000000000001", "did": "ann", "init": true, "status": "ok",
        "started": (Timestamp::now() - 5.minutes()).to_string(), "attrs": {"release": "shop@1.0"},
    });
    let items = [("event", event), ("session", &session.to_string())];
    let address = serving.map_or(world.address, |serving| serving.address);
    let answer = client::send(address, &world.post("envelope", envelope("{}", &items))).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
}

/// What stands for the users of the one event and the one session.
async fn hashes(world: &World) -> [i64; 2] {
    let of_session = world.count("SELECT user_hash FROM {schema}.session_users").await;
    [world.count("SELECT user_hash FROM {schema}.issue_users").await, of_session]
}

#[tokio::test]
async fn the_same_user_is_another_one_in_each_new_project() {
    let (shop, blog) = (World::start().await, World::start().await);
    assert_eq!(shop.project, blog.project, "of two installations, with the same number");
    for world in [&shop, &blog] {
        send(world, None).await;
    }
    let (in_shop, in_blog) = (hashes(&shop).await, hashes(&blog).await);
    assert!(in_shop.iter().all(|hash| !in_blog.contains(hash)), "{in_shop:?} {in_blog:?}");

    // Another process of the project counts by the same key.
    let again = shop.serve_another().await;
    send(&shop, Some(&again)).await;
    assert_eq!(hashes(&shop).await, in_shop);
    again.shutdown.cancel();
    again.server.await.unwrap().unwrap();
}

/// SHA-256 over "errortracking user", a zero byte, the number 1 in eight bytes, and `id:7` or `ann`.
const BY_NUMBER: [i64; 2] = [8_322_575_319_953_869_719, -3_869_000_253_952_581_435];

#[tokio::test]
async fn a_project_of_the_version_before_counts_its_users_as_it_did() {
    let mut world = World::start().await;
    world.end().await;
    world.execute("UPDATE errortracking.projects SET user_key = NULL").await;
    let serving = world.serve_again().await;
    send(&world, Some(&serving)).await;
    assert_eq!(hashes(&world).await, BY_NUMBER);
    serving.shutdown.cancel();
    serving.server.await.unwrap().unwrap();
}
