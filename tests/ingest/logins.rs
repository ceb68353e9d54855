//! The login of a running ingest is replaced, as the installation's schedule or an edited Secret does it.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use error_tracking_operator::store::{
    Connection,
    admin::PodGrant,
    connection::PoolSize,
    tls::{SslMode, Tls},
};
use tokio::time::sleep;
use uuid::Uuid;

use crate::{
    client::Client,
    restartable::Restartable,
    support::authority::Authority,
    world::{EVENT, World, until},
};

const SENDERS: usize = 8;
const ROUNDS: usize = 3;

#[tokio::test]
async fn no_event_is_refused_while_the_login_is_replaced() {
    let world = World::start().await;
    // The limit of one pod is enough for it.
    assert_eq!(world.admin.grant_pods(world.project, 1, None).await.unwrap(), PodGrant::Granted);
    let ended = AtomicBool::new(false);
    let deliver = async |_| {
        let mut client = Client::connect(world.address).await.unwrap();
        let mut sent = 0;
        while !ended.load(Ordering::Relaxed) {
            let event = format!("{{\"event_id\":\"{}\",\"message\":\"hello\"}}", Uuid::new_v4().simple());
            let answer = client.send(&world.post("store", event)).await.unwrap();
            assert_eq!(answer.status, 200, "after {sent} events: {}", answer.body);
            sent += 1;
        }
        sent
    };
    let replace = async {
        for round in 0..ROUNDS {
            sleep(Duration::from_millis(300)).await;
            world.change_password(&format!("round-{round}")).await;
            let in_use = "SELECT count(*) FROM pg_stat_activity JOIN errortracking.projects ON usename = ingest_role";
            until("the new login is used", async || world.count(in_use).await > 0).await;
            let former = "SELECT count(*) FROM pg_stat_activity JOIN errortracking.former_logins ON usename = role";
            until("the former one is not", async || world.count(former).await == 0).await;
            world.execute("UPDATE errortracking.former_logins SET valid_until = now() - interval '1 s'").await;
            assert_eq!(world.admin.drop_former_logins().await.unwrap(), 1);
        }
        sleep(Duration::from_millis(300)).await;
        ended.store(true, Ordering::Relaxed);
    };
    let (sent, ()) = tokio::join!(futures::future::join_all((0..SENDERS).map(deliver)), replace);
    let sent: i64 = sent.into_iter().sum();
    assert!(sent > 100, "{sent} events are no load");
    assert_eq!(world.stored().await, sent);
    println!("{sent} events over {ROUNDS} replaced logins, 0 refused");
}

#[tokio::test]
async fn events_reach_a_postgres_of_a_private_ca() {
    let authority = Authority::create();
    let postgres = Restartable::start_secured(&authority);
    let tls = Tls { given: Some(SslMode::VerifyFull), authority: Some(authority.certificate()) };
    let owner = Connection { host: "localhost".into(), tls, ..postgres.superuser.clone() };
    let world = World::start_in(&owner, owner.pool(PoolSize { min: 0, max: 1 }, "tests"), &owner).await;
    assert_eq!(world.send(&world.post("store", EVENT)).await.status, 200);
    let encrypted =
        "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE ssl AND usename ~ '_ingest$'";
    assert!(world.count(encrypted).await > 0);
    assert_eq!(world.stored().await, 1);
}
