//! Postgres goes away, hangs, or answers too late to be heard.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use error_tracking_operator::{
    dsn::PublicKey,
    store::{Connection, connection::PoolSize},
};

use crate::{
    client::Client,
    proxy::{self, Faults},
    restartable::Restartable,
    support::postgres::Database,
    world::{EVENT, World, until},
};

/// An event that is long enough for the proxy to know a batch by it.
fn long_event(number: u32) -> String {
    let words = (0..2000).map(|word: u32| word.wrapping_mul(2_654_435_761).to_string()).collect::<Vec<_>>().join(" ");
    format!("{{\"event_id\":\"{number:032x}\",\"message\":\"hello\",\"extra\":{{\"words\":\"{words}\"}}}}")
}

async fn behind_proxy(faults: &Faults) -> World {
    let database = Database::create().await;
    let owner = &database.connection;
    let server = format!("{}:{}", owner.host, owner.port).parse().unwrap();
    let reached = Connection { port: proxy::start(server, faults.clone()).await.port(), ..owner.clone() };
    World::start_in(owner, database.superuser(), &reached).await
}

#[tokio::test]
async fn a_stopped_postgres_is_503_and_a_started_one_is_used_again() {
    let postgres = Restartable::start();
    let owner = postgres.superuser.clone();
    let world = World::start_in(&owner, owner.pool(PoolSize { min: 0, max: 1 }, "tests"), &owner).await;
    let mut client = Client::connect(world.address).await.unwrap();
    assert_eq!(client.send(&world.post("store", EVENT)).await.unwrap().status, 200);

    postgres.stop();
    let answer = client.send(&world.post("store", EVENT)).await.unwrap();
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert!(answer.header("retry-after").unwrap().parse::<u32>().is_ok());
    let asked = Instant::now();
    let next = client.send(&world.post("store", EVENT)).await.unwrap();
    assert_eq!(next.status, 503, "{}", next.body);
    assert!(asked.elapsed() < Duration::from_secs(2), "it is known to be away: {:?}", asked.elapsed());
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    let stranger = PublicKey::from_random([9; 16]);
    let unknown = client.send(&world.post_with(&stranger, "store", EVENT)).await.unwrap();
    assert_eq!(unknown.status, 503, "nobody can tell whether the key is valid: {}", unknown.body);
    assert!(world.metric("errortracking_ingest_events_total{outcome=\"lost\"}").await >= 1);
    assert_eq!(world.probe("/livez").await.status, 200);

    postgres.start_again();
    until("events are stored again", async || world.send(&world.post("store", EVENT)).await.status == 200).await;
    until("unknown keys are refused again", async || {
        world.send(&world.post_with(&stranger, "store", EVENT)).await.status == 403
    })
    .await;
    assert_eq!(world.stored().await, 2);
}

#[tokio::test]
async fn a_commit_whose_answer_was_lost_counts_once() {
    let faults = Faults::default();
    let world = behind_proxy(&faults).await;
    for number in 1..=10 {
        faults.lose_answers.store(1, Ordering::Relaxed);
        let answer = world.send(&world.post("store", long_event(number))).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(faults.lose_answers.load(Ordering::Relaxed), 0, "the answer was lost");
        assert_eq!(world.stored().await, i64::from(number));
    }
    // The mark, not the event's id, recognised the second attempt.
    assert_eq!(world.metric("errortracking_ingest_events_total{outcome=\"duplicate\"}").await, 0);
}

#[tokio::test]
async fn a_silent_network_is_503_and_does_not_need_a_restart() {
    let faults = Faults::default();
    let world = behind_proxy(&faults).await;
    assert_eq!(world.send(&world.post("store", EVENT)).await.status, 200);
    faults.silent.store(true, Ordering::Relaxed);
    let answers = futures::future::join_all((0..4).map(async |_| world.send(&world.post("store", EVENT)).await)).await;
    assert_eq!(answers.iter().map(|answer| answer.status).collect::<Vec<_>>(), [503; 4]);
    faults.silent.store(false, Ordering::Relaxed);
    until("events are stored again", async || world.send(&world.post("store", EVENT)).await.status == 200).await;
    assert_eq!(world.stored().await, 2);
}

#[tokio::test]
async fn what_is_lost_counts_the_same_everywhere_also_when_a_client_does_not_wait() {
    let faults = Faults::default();
    let mut world = behind_proxy(&faults).await;
    assert_eq!(world.send(&world.post("store", EVENT)).await.status, 200);
    faults.silent.store(true, Ordering::Relaxed);
    let post = world.post("store", EVENT);
    let waits = futures::future::join_all((0..4).map(async |_| world.send(&post).await.status));
    let leaves = tokio::time::timeout(Duration::from_secs(1), world.send(&post));
    let (answers, left) = tokio::join!(waits, leaves);
    assert_eq!(answers, [503; 4]);
    assert!(left.is_err(), "it did not wait for its answer");
    let lost = async || {
        let reason = "errortracking_ingest_outcomes_total{outcome=\"lost\",reason=\"database_unavailable\"}";
        [world.metric("errortracking_ingest_events_total{outcome=\"lost\"}").await, world.metric(reason).await]
    };
    until("all that was lost is counted", async || lost().await == [5, 5]).await;
    faults.silent.store(false, Ordering::Relaxed);
    until("events are stored again", async || world.send(&world.post("store", EVENT)).await.status == 200).await;
    // The first of those were refused as well.
    let [events, outcomes] = lost().await;
    assert_eq!(events, outcomes);
    world.end().await;
    let told = world.outcomes().await;
    assert!(told.contains(&format!("error lost database_unavailable x{outcomes}")), "{told:?}");
}
