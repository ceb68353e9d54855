//! Issues that come back, and issues that were made one: the table of hashes says where an event goes.

use serde_json::json;

use crate::{client::Client, world::World};

fn error(kind: &str, user: u32) -> String {
    json!({"exception": {"values": [{"type": kind, "value": "no more"}]}, "user": {"id": user}}).to_string()
}

const STATES: &str = "SELECT exception_type || ' ' || status || ' ' || events || ' events ' || users || ' users'
    FROM {schema}.issues JOIN {schema}.issue_counters USING (issue_id) ORDER BY 1";

const ACTIVITY: &str = "SELECT exception_type || ' ' || a.kind || ' by ' || coalesce(actor, 'ingest')
    FROM {schema}.issue_activity AS a JOIN {schema}.issues USING (issue_id) ORDER BY activity_id";

async fn set_status(world: &World, kind: &str, status: &str) {
    let set = format!("UPDATE {{schema}}.issues SET status = '{status}', status_changed_at = clock_timestamp()");
    world.execute(&format!("{set} WHERE exception_type = '{kind}'")).await;
}

#[tokio::test]
async fn a_resolved_issue_that_comes_back_reopens_and_says_so_once() {
    let world = World::start().await;
    let mut client = Client::connect(world.address).await.unwrap();
    for kind in ["Cured", "Ignored", "Open"] {
        assert_eq!(client.send(&world.post("store", error(kind, 1))).await.unwrap().status, 200);
    }
    set_status(&world, "Cured", "resolved").await;
    set_status(&world, "Ignored", "ignored").await;
    assert_eq!(world.texts(ACTIVITY).await, [""; 0]);
    for round in 2..4 {
        for kind in ["Cured", "Ignored", "Open"] {
            assert_eq!(client.send(&world.post("store", error(kind, round))).await.unwrap().status, 200);
        }
    }
    let expected =
        ["Cured unresolved 3 events 3 users", "Ignored ignored 3 events 3 users", "Open unresolved 3 events 3 users"];
    assert_eq!(world.texts(STATES).await, expected);
    assert_eq!(world.texts(ACTIVITY).await, ["Cured regression by ingest"]);

    set_status(&world, "Cured", "resolved").await;
    assert_eq!(client.send(&world.post("store", error("Cured", 1))).await.unwrap().status, 200);
    assert_eq!(world.texts(ACTIVITY).await, ["Cured regression by ingest"; 2]);
}

#[tokio::test]
async fn an_event_that_is_sent_again_does_not_reopen_its_issue() {
    let world = World::start().await;
    let event = json!({"event_id": "9ec79c33ec9942ab8353589fcb2e04dc", "exception": [{"type": "Cured"}]}).to_string();
    assert_eq!(world.send(&world.post("store", event.clone())).await.status, 200);
    set_status(&world, "Cured", "resolved").await;
    assert_eq!(world.send(&world.post("store", event)).await.status, 200);
    assert_eq!(world.texts(STATES).await.len(), 1);
    assert_eq!(world.count("SELECT count(*) FROM {schema}.issues WHERE status = 'resolved'").await, 1);
    assert_eq!(world.stored().await, 1);
}

#[tokio::test]
async fn events_of_merged_issues_go_to_the_one_that_is_left() {
    let world = World::start().await;
    let mut client = Client::connect(world.address).await.unwrap();
    let send = async |client: &mut Client, kind: &str, user| {
        assert_eq!(client.send(&world.post("store", error(kind, user))).await.unwrap().status, 200);
    };
    for user in 1..=2 {
        send(&mut client, "Kept", user).await;
        send(&mut client, "Merged", user).await;
    }
    // As a merge does: hashes and events move, the counters are summed up, the other issue goes.
    world
        .execute(
            "CREATE TEMP TABLE merge AS SELECT
                 (SELECT issue_id FROM {schema}.issues WHERE exception_type = 'Kept') AS kept,
                 (SELECT issue_id FROM {schema}.issues WHERE exception_type = 'Merged') AS merged;
             UPDATE {schema}.issue_hashes SET issue_id = kept FROM merge WHERE issue_id = merged;
             UPDATE {schema}.events SET issue_id = kept FROM merge WHERE issue_id = merged;
             UPDATE {schema}.issue_counters AS c SET events = c.events + m.events
             FROM merge, {schema}.issue_counters AS m WHERE c.issue_id = kept AND m.issue_id = merged;
             DELETE FROM {schema}.issue_counters USING merge WHERE issue_id = merged;
             DELETE FROM {schema}.issues USING merge WHERE issue_id = merged",
        )
        .await;
    send(&mut client, "Merged", 2).await;
    send(&mut client, "Merged", 3).await;
    send(&mut client, "Kept", 1).await;
    send(&mut client, "Another", 1).await;
    assert_eq!(world.stored().await, 8);
    assert_eq!(world.count("SELECT count(*) FROM {schema}.issues").await, 2);
    let counts = "SELECT events || ' events ' || users || ' users ' || (
                      SELECT count(*) FROM {schema}.issue_hashes AS h WHERE h.issue_id = c.issue_id
                  ) || ' hashes' FROM {schema}.issue_counters AS c ORDER BY issue_id";
    assert_eq!(world.texts(counts).await, ["7 events 3 users 2 hashes", "1 events 1 users 1 hashes"]);
}

#[tokio::test]
async fn hashes_of_an_older_grouping_stay_beside_the_new_ones() {
    let world = World::start().await;
    assert_eq!(world.send(&world.post("store", error("Kept", 1))).await.status, 200);
    // What another version of the grouping has left: its hash is no other issue's, and is left alone.
    world
        .execute(
            "INSERT INTO {schema}.issue_hashes (version, hash, issue_id)
             SELECT version + 1, hash, issue_id FROM {schema}.issue_hashes",
        )
        .await;
    assert_eq!(world.send(&world.post("store", error("Kept", 1))).await.status, 200);
    assert_eq!(world.count("SELECT count(*) FROM {schema}.issues").await, 1);
    assert_eq!(world.count("SELECT count(*) FROM {schema}.issue_hashes").await, 2);
    assert_eq!(world.stored().await, 2);
}
