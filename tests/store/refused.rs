//! What is sent with keys that are not accepted any more.

use std::{net::IpAddr, time::Duration};

use error_tracking_operator::{
    dsn::{ProjectId, PublicKey},
    store::{
        admin::{KeyRow, RefusedUse},
        ingest::{RefusedKey, Report, look_up_key, report},
    },
};
use jiff::Timestamp;
use sqlx::PgPool;

use crate::{Store, key_identity, public_key};

fn address(number: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, number])
}

/// As an instance tells it, which read a clock that nobody sets.
fn sent(key: &PublicKey, age: u64, addresses: &[(u8, u64)]) -> RefusedKey {
    let address = |(number, age): &(u8, u64)| (address(*number), Duration::from_secs(*age));
    RefusedKey {
        key: key.clone(),
        age: Duration::from_secs(age),
        events: 10,
        sentry_client: Some("sentry.python/2.68.0".into()),
        server_name: Some("web-1".into()),
        addresses: addresses.iter().map(address).collect(),
    }
}

async fn tell(pool: &PgPool, project: ProjectId, instance: &str, refused: &[RefusedKey]) {
    let told = Report { instance, settings_version: 1, ending: false, key_usage: &[], refused };
    report(pool, project, &told).await.unwrap();
}

async fn mint(store: &Store, project: ProjectId, uid: &str, ordinal: i32) -> KeyRow {
    let identity = key_identity(uid, uid);
    store.admin.mint_key(project, &identity, ordinal, &public_key(), &"s".into()).await.unwrap()
}

fn addresses(of: &RefusedUse) -> Vec<IpAddr> {
    of.addresses.iter().map(|address| address.address).collect()
}

#[tokio::test]
async fn a_key_is_accepted_or_refused_or_not_of_the_project() {
    let store = Store::create().await;
    let (shop, ingest) = store.ingesting("shop").await;
    let (blog, blog_login) = store.ingesting("blog").await;
    let (alive, disabled, revoked) =
        (mint(&store, shop, "k1", 1).await, mint(&store, shop, "k9", 1).await, mint(&store, shop, "k1", 3).await);
    store.admin.set_keys_enabled("k9", false).await.unwrap();
    store.admin.revoke_key(revoked.key_id).await.unwrap();
    for (key, expected) in [
        (alive.public_key.clone(), Some(true)),
        (disabled.public_key, Some(false)),
        (revoked.public_key, Some(false)),
        (public_key(), None),
        (mint(&store, blog, "k2", 1).await.public_key, None),
    ] {
        assert_eq!(look_up_key(&ingest, shop, &key).await.unwrap(), expected);
    }
    assert_eq!(look_up_key(&blog_login, blog, &alive.public_key).await.unwrap(), None);
}

#[tokio::test]
async fn the_use_of_a_dead_key_is_kept_and_that_of_no_other() {
    let store = Store::create().await;
    let (shop, ingest) = store.ingesting("shop").await;
    let blog = store.project("blog").await;
    let (alive, dead) = (mint(&store, shop, "k1", 1).await, mint(&store, shop, "k1", 2).await);
    let strangers = mint(&store, blog, "k2", 1).await;
    for key in [&dead, &strangers] {
        store.admin.revoke_key(key.key_id).await.unwrap();
    }
    let keys = [&alive.public_key, &dead.public_key, &strangers.public_key, &public_key()];
    tell(&ingest, shop, "pod-1", &keys.map(|key| sent(key, 5, &[(1, 5), (2, 30)]))).await;

    assert_eq!(store.admin.refused_uses("k2").await.unwrap(), []);
    let [used] = &*store.admin.refused_uses("k1").await.unwrap() else { panic!("one key") };
    assert_eq!((used.key_id, used.public_key_prefix.as_str()), (dead.key_id, dead.public_key.prefix()));
    assert_eq!((used.events, addresses(used)), (10, vec![address(1), address(2)]));
    assert_eq!(used.sentry_client.as_deref(), Some("sentry.python/2.68.0"));
    assert_eq!(used.server_name.as_deref(), Some("web-1"));
    let near = |age: Duration, seconds| age.abs_diff(Duration::from_secs(seconds)) < Duration::from_secs(20);
    assert!(near(used.last_age, 5) && near(used.addresses[1].last_age, 30), "{used:?}");

    // Another instance tells of it too, and knows less.
    let again = RefusedKey { sentry_client: None, server_name: None, ..sent(&dead.public_key, 1, &[(2, 1), (3, 9)]) };
    tell(&ingest, shop, "pod-2", &[again]).await;
    let [used] = &*store.admin.refused_uses("k1").await.unwrap() else { panic!("one key") };
    assert_eq!((used.events, used.sentry_client.is_some(), used.server_name.is_some()), (20, true, true));
    assert_eq!(addresses(used), [address(2), address(1), address(3)]);
    assert_eq!(store.number(shop, "SELECT count(*) FROM errortracking.refused_keys").await, 1);
}

#[tokio::test]
async fn what_is_kept_is_bounded() {
    let store = Store::create().await;
    let (shop, ingest) = store.ingesting("shop").await;
    let dead = mint(&store, shop, "k1", 1).await;
    store.admin.revoke_key(dead.key_id).await.unwrap();
    let long = Some("x".repeat(1_000));
    for first in 0..10 {
        let new: Vec<_> = (0..8).map(|number| (first * 8 + number, 60 - u64::from(first))).collect();
        let sent = sent(&dead.public_key, 1, &new);
        let sent = RefusedKey { sentry_client: long.clone(), server_name: Some("web-1\u{202e}".into()), ..sent };
        tell(&ingest, shop, "pod-1", &[sent]).await;
    }
    let [used] = &*store.admin.refused_uses("k1").await.unwrap() else { panic!("one key") };
    assert_eq!((used.events, used.sentry_client.as_ref().map(String::len)), (100, Some(64)));
    assert_eq!(used.server_name.as_deref(), Some("web-1"));
    assert_eq!(used.addresses.len(), 16);
    assert!(addresses(used).iter().all(|address| *address >= self::address(64)), "the newest: {used:?}");
    assert_eq!(store.number(shop, "SELECT count(*) FROM errortracking.refused_addresses").await, 16);
    let odd =
        RefusedKey { addresses: vec![("fd00::1".parse().unwrap(), Duration::ZERO)], ..sent(&dead.public_key, 0, &[]) };
    tell(&ingest, shop, "pod-1", &[odd]).await;
    let [used] = &*store.admin.refused_uses("k1").await.unwrap() else { panic!("one key") };
    assert_eq!(used.addresses[0].address, "fd00::1".parse::<IpAddr>().unwrap());
}

#[tokio::test]
async fn nothing_is_left_an_hour_later() {
    let store = Store::create().await;
    let (shop, ingest) = store.ingesting("shop").await;
    let (blog, blog_login) = store.ingesting("blog").await;
    let dead = mint(&store, shop, "k1", 1).await;
    store.admin.revoke_key(dead.key_id).await.unwrap();
    let left = async || {
        let rows = "SELECT (SELECT count(*) FROM errortracking.refused_keys)
                         + (SELECT count(*) FROM errortracking.refused_addresses)";
        store.number(shop, rows).await
    };
    for by_a_report in [true, false] {
        tell(&ingest, shop, "pod-1", &[sent(&dead.public_key, 0, &[(1, 0), (2, 0)])]).await;
        // An address that is silent goes while the key is in use.
        let older = "UPDATE errortracking.refused_addresses SET last_at = now() - interval '61 minutes' WHERE address = '10.0.0.2'";
        store.execute(shop, older).await;
        assert_eq!(addresses(&store.admin.refused_uses("k1").await.unwrap()[0]), [address(1)]);
        tell(&ingest, shop, "pod-1", &[sent(&dead.public_key, 0, &[(1, 0)])]).await;
        assert_eq!(left().await, 2);

        store.execute(shop, "UPDATE errortracking.refused_keys SET last_at = now() - interval '59 minutes'").await;
        tell(&blog_login, blog, "pod-1", &[]).await;
        assert_eq!(left().await, 2);
        store.execute(shop, "UPDATE errortracking.refused_keys SET last_at = now() - interval '61 minutes'").await;
        assert_eq!(store.admin.refused_uses("k1").await.unwrap(), []);
        if by_a_report {
            tell(&blog_login, blog, "pod-1", &[]).await;
        } else {
            store.admin.drop_expired(shop, 30, Timestamp::now()).await.unwrap();
        }
        assert_eq!(left().await, 0, "{by_a_report}");
    }
}

#[tokio::test]
async fn instances_that_report_the_same_keys_at_once_do_not_wait_for_each_other_for_ever() {
    let store = Store::create().await;
    let (shop, ingest) = store.ingesting("shop").await;
    let mut keys = Vec::new();
    for ordinal in 1..9 {
        let dead = mint(&store, shop, "k1", ordinal).await;
        store.admin.revoke_key(dead.key_id).await.unwrap();
        keys.push(dead.public_key);
    }
    let reports = (0..8_usize).map(|instance| {
        let mut told: Vec<_> = keys.iter().map(|key| sent(key, 0, &[(1, 0), (2, 0), (3, 0)])).collect();
        told.rotate_left(instance);
        let ingest = ingest.clone();
        async move {
            for _ in 0..20 {
                tell(&ingest, shop, &format!("pod-{instance}"), &told).await;
            }
        }
    });
    futures::future::join_all(reports).await;
    let uses = store.admin.refused_uses("k1").await.unwrap();
    assert_eq!(uses.iter().map(|used| used.events).collect::<Vec<_>>(), [8 * 20 * 10; 8]);
}
