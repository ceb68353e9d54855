//! Postgres goes away, hangs, or answers too late to be heard.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use error_tracking_operator::{
    dsn::PublicKey,
    store::{Connection, connection::PoolSize},
};

use sqlx::AssertSqlSafe;

use crate::{
    client::{self, Client},
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

/// Sends the event until it is stored, as an SDK that keeps what a 503 refused. How often it was refused.
async fn send_until_stored(world: &World, address: std::net::SocketAddr, number: u32) -> u32 {
    let post = world.post("store", format!("{{\"event_id\":\"{number:032x}\",\"message\":\"hello\"}}"));
    for refused in 0..100 {
        let answer = client::send(address, &post).await;
        if answer.status == 200 {
            return refused;
        }
        assert_eq!(answer.status, 503, "{}", answer.body);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("event {number} is never stored");
}

#[tokio::test]
async fn a_gate_that_is_held_for_long_costs_no_event() {
    let mut world = World::start().await;
    world.end().await;
    let login = world.admin.installation().ingest_role(world.project);
    // Sessions that give up many times within the deadline of a request, and sessions as they are, which do once.
    for (round, setting, held, most_refused) in
        [(0, Some("100ms"), Duration::from_secs(2), Some(0)), (1, None, Duration::from_secs(7), None)]
    {
        let limit = setting.unwrap_or("5s");
        world.execute(&format!("ALTER ROLE {login} SET lock_timeout = '{limit}'")).await;
        let serving = world.serve_again().await;
        let mut holding = world.pool.begin().await.unwrap();
        let gate = format!("LOCK TABLE {}.ingest_gate IN EXCLUSIVE MODE", world.project.schema());
        sqlx::raw_sql(AssertSqlSafe(gate)).execute(&mut *holding).await.unwrap();
        let waiting =
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
        let hold = async {
            until("a batch waits", async || world.count(waiting).await > 0).await;
            tokio::time::sleep(held).await;
            holding.rollback().await.unwrap();
        };
        let events = (0..8).map(|event| send_until_stored(&world, serving.address, round * 8 + event + 1));
        let (refused, ()) = tokio::join!(futures::future::join_all(events), hold);
        let refused: u32 = refused.into_iter().sum();
        assert!(most_refused.is_none_or(|most| refused <= most), "{refused} were refused");
        assert_eq!(world.stored().await, i64::from(round + 1) * 8);
        assert_eq!(world.count("SELECT count(*) FROM {schema}.quarantine").await, 0);
        until("nobody waits any more", async || world.count(waiting).await == 0).await;
        serving.shutdown.cancel();
        serving.server.await.unwrap().unwrap();
    }
}
