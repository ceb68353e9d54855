//! Somebody has read the DSN out of a page, and sends what nobody has sent before.

use serde_json::json;

use crate::{client::Client, hours::early_in_an_hour, wire::event_envelope, world::World};

/// An event of which everything that can be made up is.
fn invented() -> String {
    let word = || uuid::Uuid::new_v4().simple().to_string();
    json!({
        "exception": {"values": [{"type": word(), "value": "no more"}]}, "fingerprint": [word()], "release": word(),
        "environment": word(), "tags": {(word()): word()}, "user": {"id": word()},
    })
    .to_string()
}

const USUAL: &str = r#"{"message":"usual","release":"shop@1.0","environment":"production","tags":{"os":"Linux"}}"#;

#[tokio::test]
async fn a_flood_through_a_public_key_makes_no_more_than_the_limits_let_in() {
    const FLOOD: usize = 100;
    early_in_an_hour().await;
    let mut world = World::start().await;
    world.execute("UPDATE {schema}.flood_limits SET an_hour = 20").await;
    let mut shop = Client::connect(world.address).await.unwrap();
    let mut stranger = Client::connect(world.address).await.unwrap();
    for _ in 0..FLOOD {
        let event_id = uuid::Uuid::new_v4().simple().to_string();
        let request = world.post("envelope", event_envelope(&event_id, &invented()));
        assert_eq!(stranger.send(&request).await.unwrap().status, 200);
        assert_eq!(shop.send(&world.post("store", USUAL)).await.unwrap().status, 200);
    }
    assert_eq!(world.stored().await, 2 * 100);
    let payloads = world.payloads().await;
    assert_eq!(payloads.iter().filter(|payload| payload.contains("no more")).count(), FLOOD, "each can be read");
    for (table, rows) in
        [("issues", 21), ("issue_hashes", 21), ("releases", 20), ("environments", 20), ("tag_keys", 20)]
    {
        assert_eq!(world.count(&format!("SELECT count(*) FROM {{schema}}.{table}")).await, rows, "{table}");
    }
    let usual =
        "SELECT events FROM {schema}.issues JOIN {schema}.issue_counters USING (issue_id) WHERE title = 'usual'";
    assert_eq!(world.count(usual).await, 100);
    let named = "SELECT count(*) FROM {schema}.events JOIN {schema}.releases USING (release_id)
        JOIN {schema}.environments USING (env_id) WHERE (release, environment) = ('shop@1.0', 'production')";
    assert_eq!(world.count(named).await, 100);
    // Those of the issue that holds the others.
    assert_eq!(world.count("SELECT max(users) FROM {schema}.issue_counters").await, 20);
    let floods = world.admin.observe_project(world.project).await.unwrap().unwrap().floods;
    assert_eq!(floods.len(), 5, "{floods:?}");

    world.end().await;
    let expected = [
        "error accepted x200",
        "error limited too_many_environments x81 of nobody",
        "error limited too_many_issues x81 of nobody",
        "error limited too_many_releases x81 of nobody",
        "error limited too_many_tags x81 of nobody",
        "error limited too_many_users x61 of nobody",
    ];
    assert_eq!(world.outcomes().await, expected);
}
