//! What is sent with keys that are not accepted any more is told to the store, and what anybody makes up is not.

use std::time::Duration;

use error_tracking_operator::{dsn::PublicKey, store::admin::RefusedUse};
use tokio::time::Instant;

use crate::{
    client::{Client, Request},
    wire::gzip,
    world::{EVENT, World, until},
};

const NAMED: &str = r#"{"message":"hello","server_name":"web-7d9f-x2"}"#;

/// A world where key 2 is dead already.
async fn with_dead_key() -> (World, PublicKey, i64) {
    let world = World::start().await;
    let dead = PublicKey::from_random([2; 16]);
    let key_id = world.mint(2, &dead).await;
    world.admin.revoke_key(key_id).await.unwrap();
    until("the dead key is refused", async || {
        world.send(&Request::new("GET", format!("{}?sentry_key={}", world.path("store"), dead.as_str()))).await.status
            == 403
    })
    .await;
    (world, dead, key_id)
}

async fn told(world: &World) -> Vec<RefusedUse> {
    world.admin.refused_uses("client-key-2").await.unwrap()
}

#[tokio::test]
async fn a_dead_key_in_use_is_told_with_its_client_and_address() {
    let (mut world, dead, key_id) = with_dead_key().await;
    let envelope = format!("{{}}\n{{\"type\":\"event\"}}\n{NAMED}\n");
    let compressed = world.post_with(&dead, "envelope", gzip(envelope.as_bytes())).header("Content-Encoding", "gzip");
    assert_eq!(world.send(&compressed).await.status, 403);
    // A minute has not passed: nobody looks into it.
    let other = NAMED.replace("web-7d9f-x2", "web-2");
    assert_eq!(world.send(&world.post_with(&dead, "store", other)).await.status, 403);
    assert_eq!(world.stored().await, 0);
    world.end().await;
    let [used] = &*told(&world).await else { panic!("one key") };
    assert_eq!((used.key_id, used.public_key_prefix.as_str()), (key_id, dead.prefix()));
    assert!(used.events >= 3 && used.last_age < Duration::from_mins(1), "{used:?}");
    assert_eq!(used.sentry_client.as_deref(), Some("test/1.0"));
    assert_eq!(used.server_name.as_deref(), Some("web-7d9f-x2"));
    assert_eq!(used.addresses.iter().map(|of| of.address.to_string()).collect::<Vec<_>>(), ["127.0.0.1"]);
    let by_key = "SELECT key_id || ' ' || outcome || ' ' || reason FROM {schema}.outcomes_since(now())";
    assert_eq!(
        world.texts(by_key).await,
        [format!("{key_id} refused inactive_key")],
        "apart from keys that are made up"
    );
}

#[tokio::test]
async fn an_envelope_that_brings_its_dead_key_itself_is_told_too() {
    let (mut world, dead, _) = with_dead_key().await;
    let dsn = format!("http://{}@ingest/{}", dead.as_str(), world.project);
    let envelope = format!("{{\"dsn\":\"{dsn}\"}}\n{{\"type\":\"event\"}}\n{NAMED}\n");
    assert_eq!(world.send(&Request::post(world.path("envelope"), envelope)).await.status, 403);
    world.end().await;
    assert_eq!(told(&world).await[0].server_name.as_deref(), Some("web-7d9f-x2"));
}

#[tokio::test]
async fn a_body_that_cannot_be_read_costs_its_own_request_alone() {
    for (name, body, coding) in [
        ("no gzip", b"nonsense".to_vec(), Some("gzip")),
        ("unknown coding", NAMED.into(), Some("compress")),
        ("bomb", gzip(&vec![b' '; 64 << 20]), Some("gzip")),
        ("large", vec![b' '; 3 << 20], None),
        ("no JSON", b"<html>".to_vec(), None),
        ("empty", Vec::new(), None),
    ] {
        let (mut world, dead, _) = with_dead_key().await;
        let request = world.post_with(&dead, "store", body);
        let request = match coding {
            Some(coding) => request.header("Content-Encoding", coding),
            None => request,
        };
        assert_eq!(world.send(&request).await.status, 403, "{name}");
        assert_eq!(world.send(&world.post("store", EVENT)).await.status, 200, "{name}");
        world.end().await;
        let [used] = &*told(&world).await else { panic!("{name}: one key") };
        assert_eq!((used.server_name.as_deref(), used.addresses.len()), (None, 1), "{name}");
    }
}

#[tokio::test]
async fn a_body_that_never_comes_is_not_waited_for() {
    let (world, dead, _) = with_dead_key().await;
    let began = Instant::now();
    let mut stream = tokio::net::TcpStream::connect(world.address).await.unwrap();
    let head = format!(
        "POST {} HTTP/1.1\r\nHost: ingest\r\nX-Sentry-Auth: Sentry sentry_key={}\r\nContent-Length: 1000\r\n\r\n{{",
        world.path("store"),
        dead.as_str()
    );
    tokio::io::AsyncWriteExt::write_all(&mut stream, head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    tokio::io::AsyncReadExt::read_exact(&mut stream, &mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 403");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test]
async fn keys_that_are_made_up_leave_nothing() {
    let (mut world, dead, _) = with_dead_key().await;
    let mut client = Client::connect(world.address).await.unwrap();
    for number in 0..200_u8 {
        let mut random = [0xee; 16];
        random[0] = number;
        let stranger = PublicKey::from_random(random);
        let status = client.send(&world.post_with(&stranger, "store", NAMED)).await.unwrap().status;
        assert!(matches!(status, 403 | 503), "{status}");
    }
    // They do not push out what is told of a key that was one.
    until("the dead key has its turn", async || {
        world.send(&world.post_with(&dead, "store", NAMED)).await.status == 403
    })
    .await;
    world.end().await;
    assert_eq!(world.count("SELECT count(*) FROM errortracking.refused_keys").await, 1);
    assert_eq!(told(&world).await[0].server_name.as_deref(), Some("web-7d9f-x2"));
}
