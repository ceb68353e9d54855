//! Who leads, how the lead passes on, and what one that has lost it can still do.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::time::sleep;

use crate::world::{Operator, World, eventually};

/// A planned handover is done by then, with a standby.
const HANDOVER: Duration = Duration::from_secs(2);
/// Without a word from the leader: the lease runs for 15 s, and is looked at every 2 s.
const TAKEOVER: Duration = Duration::from_secs(25);

async fn holder(world: &World) -> String {
    let lease = world.home().field("Lease", &world.chart.lease, "/spec/holderIdentity").await;
    lease.as_str().unwrap_or_default().to_owned()
}

/// A leader, and another that stands by.
async fn pair(world: &World) -> (Operator, Operator) {
    let leader = world.start_as("first", &[]).await;
    leader.leads().await;
    let standby = world.start_as("second", &[]).await;
    eventually("the second stands by", Duration::from_secs(20), async || standby.logged("Standing by").then_some(()))
        .await;
    (leader, standby)
}

#[tokio::test]
async fn a_leader_that_is_asked_to_end_hands_over_within_two_seconds() {
    let world = World::new().await;
    let (mut leader, standby) = pair(&world).await;
    let namespace = world.namespace("web").await;
    namespace.ready_project("shop").await;
    let began = Instant::now();
    leader.signal("TERM");
    eventually("the standby holds the lease", HANDOVER, async || (holder(&world).await == standby.pod).then_some(()))
        .await;
    standby.leads().await;
    println!("handover, until the standby reconciles: {:.2} s", began.elapsed().as_secs_f64());
    assert!(leader.ended(Duration::from_secs(10)).await.success(), "it ends as it was asked to");
    namespace.key("other", "shop").await;
    namespace.ready("ClientKey", "other").await;
}

#[tokio::test]
async fn a_standby_takes_over_from_a_leader_that_was_killed() {
    let world = World::new().await;
    let (leader, standby) = pair(&world).await;
    let began = Instant::now();
    leader.kill();
    eventually("the standby holds the lease", TAKEOVER, async || (holder(&world).await == standby.pod).then_some(()))
        .await;
    standby.leads().await;
    println!("takeover, until the standby reconciles: {:.2} s", began.elapsed().as_secs_f64());
}

#[tokio::test]
async fn a_leader_that_wakes_up_too_late_has_no_effect() {
    let world = World::new().await;
    let (mut frozen, leader) = pair(&world).await;
    let namespace = world.namespace("web").await;
    namespace.ready_project("shop").await;
    // In the middle of its work: passes are under way, and more of them wait.
    for number in 0..40 {
        namespace.project_without_pods(&format!("p{number}")).await;
        namespace.key(&format!("k{number}"), &format!("p{number}")).await;
    }
    sleep(Duration::from_millis(300)).await;
    frozen.signal("STOP");
    eventually("the other leads", TAKEOVER, async || (holder(&world).await == leader.pod).then_some(())).await;
    leader.leads().await;
    for number in 0..40 {
        namespace.ready("ErrorTrackingProject", &format!("p{number}")).await;
        namespace.ready("ClientKey", &format!("k{number}")).await;
    }
    // What the frozen one still believes to be its work.
    namespace.patch("ClientKey", "shop", json!({"spec": {"enabled": false}})).await;
    namespace.ready("ClientKey", "shop").await;
    namespace.delete("ErrorTrackingProject", "p0").await;
    namespace.delete("ClientKey", "k0").await;
    namespace.gone("ErrorTrackingProject", "p0").await;
    namespace.gone("ClientKey", "k0").await;
    let state = async || {
        world
            .sql(
                "SELECT (SELECT epoch FROM errortracking.installation), count(*), count(DISTINCT client_key_uid),
                    sum(key_id) FROM errortracking.client_keys WHERE revoked_at IS NULL",
            )
            .await
    };
    let before = state().await;

    let mark = world.mark();
    frozen.signal("CONT");
    let status = frozen.ended(Duration::from_secs(15)).await;
    assert!(!status.success(), "it must say that it lost the lease");
    let late = world.writes_of(&frozen, &mark);
    let landed: Vec<_> = late.iter().filter(|write| write.code < 300).map(ToString::to_string).collect();
    println!("writes of the one that woke up: {}, with an effect: {}", late.len(), landed.len());
    assert_eq!(landed, Vec::<String>::new());
    assert_eq!(state().await, before, "it changed something in Postgres");
    assert_eq!(holder(&world).await, leader.pod);
    assert_eq!(world.sql("SELECT count(*) FROM errortracking.client_keys WHERE revoked_at IS NULL").await, "40");
}
