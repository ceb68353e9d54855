//! Client keys, and what ingest sees of them.

use std::time::Duration;

use error_tracking_operator::{
    dsn::ProjectId,
    rotation::State,
    settings::RateLimit,
    store::{
        StoreError,
        admin::{DeletionPolicy, KeyObjects, KeyRow},
        ingest::{Report, changed_settings, find_key, report},
    },
};
use jiff::{SignedDuration, Timestamp};

use crate::{Store, heartbeat_of_the_version_before, key_identity, of_shop, public_key};

/// What one look shows, without its time.
async fn observe(store: &Store, project_uid: &str, key_uid: &str) -> (Option<ProjectId>, Vec<KeyRow>) {
    let seen = store.admin.observe_keys(KeyObjects { project_uid, client_key_uid: key_uid }).await.unwrap();
    assert!(seen.now.duration_since(Timestamp::now()).abs() < SignedDuration::from_mins(1));
    (seen.project, seen.keys)
}

#[tokio::test]
async fn a_key_goes_through_its_life_and_each_change_can_be_repeated() {
    let store = Store::create().await;
    let (shop, ingest) = store.ingesting("shop").await;
    let identity = key_identity("shop", "k1");
    let states = async || {
        let keys = store.admin.keys_of("k1").await.unwrap();
        keys.iter().map(|key| key.state).collect::<Vec<_>>()
    };
    let accepted = async || changed_settings(&ingest, shop, 0).await.unwrap().1.unwrap().keys.len();
    let first = store.admin.mint_key(shop, &identity, 1, &public_key(), &"s".into()).await.unwrap();
    let limit = Some(RateLimit { events: 5, window_seconds: 60 });
    store.admin.set_keys_rate_limit("k1", limit).await.unwrap();
    let succeed = async |active, ordinal| {
        let seen = store.admin.succeed_key(of_shop("k1"), active, ordinal, &public_key(), &"s".into()).await.unwrap();
        assert_eq!(seen.keys, store.admin.observe_keys(of_shop("k1")).await.unwrap().keys, "as the next look shows");
        seen
    };
    assert_eq!(store.admin.observe_keys(of_shop("k1")).await.unwrap().instances, None, "nobody asks");
    let next = succeed(first.key_id, 2).await;
    assert_eq!((next.project, next.instances, next.keys.len()), (Some(shop), Some(vec![]), 2));
    let next = next.keys[1].clone();
    let again = &succeed(first.key_id, 2).await.keys;
    assert_eq!((again.len(), &again[1]), (2, &next), "the same one after a crash");
    assert_eq!((next.state, next.rate_limit), (State::Minted, limit));
    let version = changed_settings(&ingest, shop, 0).await.unwrap().1.unwrap().version;
    assert!(next.settings_version > 0 && next.settings_version <= version, "{} {version}", next.settings_version);
    assert!(changed_settings(&ingest, shop, next.settings_version - 1).await.unwrap().1.is_some());
    assert_eq!((states().await, accepted().await), (vec![State::Published, State::Minted], 2));

    let named_at = Timestamp::from_second(1_700_000_000).unwrap();
    for _ in 0..2 {
        let seen = store.admin.publish_key(of_shop("k1"), next.key_id, Some(named_at)).await.unwrap();
        assert_eq!(seen.keys, store.admin.observe_keys(of_shop("k1")).await.unwrap().keys, "as the next look shows");
        assert_eq!((states().await, accepted().await), (vec![State::Overlap, State::Published], 2));
    }
    let keys = store.admin.keys_of("k1").await.unwrap();
    assert_eq!(keys[1].published_at, Some(named_at));
    assert!(keys[0].retiring_since.is_some() && keys[1].retiring_since.is_none());
    store.admin.publish_key(of_shop("k1"), next.key_id, None).await.unwrap();
    assert_eq!(store.admin.keys_of("k1").await.unwrap()[1].published_at, None, "the Secret is about to be written");

    assert!(!store.admin.end_key("k2", first.key_id, false).await.unwrap(), "it is not that object's");
    assert!(store.admin.end_key("k1", first.key_id, false).await.unwrap());
    assert!(!store.admin.end_key("k1", first.key_id, false).await.unwrap());
    assert_eq!((states().await, accepted().await), (vec![State::Retired, State::Published], 1));
    assert!(!store.admin.restore_key("k2", first.key_id, 90).await.unwrap());
    assert!(store.admin.restore_key("k1", first.key_id, 90).await.unwrap());
    assert!(!store.admin.restore_key("k1", first.key_id, 90).await.unwrap());
    let restored = &store.admin.keys_of("k1").await.unwrap()[0];
    assert_eq!((restored.state, restored.restored, restored.ended_at), (State::Overlap, true, None));
    assert_eq!(accepted().await, 2);

    assert!(store.admin.end_key("k1", first.key_id, false).await.unwrap());
    assert!(!store.admin.restore_key("k1", first.key_id, 0).await.unwrap(), "it ended too long ago");
    assert!(!store.admin.end_key("k1", first.key_id, true).await.unwrap(), "it was refused already");
    assert!(!store.admin.restore_key("k1", first.key_id, 90).await.unwrap(), "for good");
    assert_eq!(states().await, [State::Revoked, State::Published]);
    assert_eq!(succeed(first.key_id, 3).await.keys.len(), 2, "one that has ended gets no successor");
}

#[tokio::test]
async fn a_leader_of_before_changes_no_key() {
    let store = Store::create().await;
    let shop = store.project("shop").await;
    let key = store.admin.mint_key(shop, &key_identity("shop", "k1"), 1, &public_key(), &"s".into()).await.unwrap();
    store.execute(shop, "UPDATE errortracking.installation SET epoch = epoch + 1").await;
    let fenced = |error: StoreError| assert!(matches!(error, StoreError::Fenced { .. }), "{error}");
    fenced(store.admin.succeed_key(of_shop("k1"), key.key_id, 2, &public_key(), &"s".into()).await.unwrap_err());
    fenced(store.admin.publish_key(of_shop("k1"), key.key_id, Some(Timestamp::now())).await.unwrap_err());
    fenced(store.admin.end_key("k1", key.key_id, true).await.unwrap_err());
    fenced(store.admin.restore_key("k1", key.key_id, 90).await.unwrap_err());
    assert_eq!(store.admin.keys_of("k1").await.unwrap(), [key]);
}

#[tokio::test]
async fn minting_again_gives_the_same_key() {
    let store = Store::create().await;
    let shop = store.project("shop").await;
    let identity = key_identity("shop", "k1");
    let first = store.admin.mint_key(shop, &identity, 1, &public_key(), &"s".into()).await.unwrap();
    let again = store.admin.mint_key(shop, &identity, 1, &public_key(), &"s".into()).await.unwrap();
    assert_eq!(first, again);
    let next = store.admin.mint_key(shop, &identity, 2, &public_key(), &"s".into()).await.unwrap();
    assert_ne!(next.public_key, first.public_key);

    store.admin.revoke_key(first.key_id).await.unwrap();
    let renewed = store.admin.mint_key(shop, &identity, 1, &public_key(), &"s".into()).await.unwrap();
    assert_ne!(renewed.public_key, first.public_key);
    assert_eq!(store.admin.keys_of("k1").await.unwrap().len(), 3);
    assert_eq!(store.admin.revoke_keys_of("k1").await.unwrap(), 2);
    assert_eq!(store.admin.revoke_keys_of("k1").await.unwrap(), 0);
}

#[tokio::test]
async fn one_look_shows_the_project_of_a_key_and_all_that_was_minted_for_it() {
    let store = Store::create().await;
    let shop = store.project("shop").await;
    let project_uid = store.admin.observe_project(shop).await.unwrap().unwrap().identity.object_uid;
    assert_eq!(observe(&store, &project_uid, "k1").await, (Some(shop), vec![]));
    for ordinal in [1, 2] {
        let identity = key_identity("shop", "k1");
        store.admin.mint_key(shop, &identity, ordinal, &public_key(), &"s".into()).await.unwrap();
    }
    let minted = store.admin.keys_of("k1").await.unwrap();
    assert_eq!(minted.len(), 2);
    assert_eq!(observe(&store, &project_uid, "k1").await, (Some(shop), minted.clone()));
    assert_eq!(observe(&store, "another", "k1").await, (None, minted));

    store.admin.retire_project(shop, DeletionPolicy::Retain).await.unwrap();
    let (project, keys) = observe(&store, &project_uid, "k1").await;
    assert_eq!(project, None, "a project that is gone takes no keys");
    assert!(keys.iter().all(|key| key.state == State::Revoked));
}

#[tokio::test]
async fn a_new_object_of_the_same_name_takes_the_key_over() {
    let store = Store::create().await;
    let shop = store.project("shop").await;
    let first = store.admin.mint_key(shop, &key_identity("shop", "k1"), 1, &public_key(), &"s".into()).await.unwrap();
    let taken = store.admin.mint_key(shop, &key_identity("shop", "k2"), 1, &public_key(), &"s".into()).await.unwrap();
    assert_eq!(taken.key_id, first.key_id);
    assert!(store.admin.keys_of("k1").await.unwrap().is_empty());

    let mut stranger = key_identity("shop", "k3");
    stranger.namespace_uid = "namespace-2".to_owned();
    let other = store.admin.mint_key(shop, &stranger, 1, &public_key(), &"s".into()).await.unwrap();
    assert_ne!(other.key_id, first.key_id);
}

#[tokio::test]
async fn all_keys_of_a_lost_object_are_taken_over() {
    let store = Store::create().await;
    let shop = store.project("shop").await;
    let lost = key_identity("shop", "k1");
    let first = store.admin.mint_key(shop, &lost, 1, &public_key(), &"s".into()).await.unwrap();
    store.admin.revoke_key(first.key_id).await.unwrap();
    let second = store.admin.mint_key(shop, &lost, 2, &public_key(), &"s".into()).await.unwrap();

    let renewed = key_identity("shop", "k2");
    for _ in 0..2 {
        let keys = store.admin.take_keys_over(shop, &renewed).await.unwrap();
        let ids: Vec<_> = keys.iter().map(|key| (key.key_id, key.state)).collect();
        assert_eq!(ids, [(first.key_id, State::Revoked), (second.key_id, State::Published)]);
    }
    assert!(store.admin.keys_of("k1").await.unwrap().is_empty());
    // Whoever has keys of its own takes none.
    assert_eq!(store.admin.take_keys_over(shop, &renewed).await.unwrap().len(), 2);
    let mut stranger = key_identity("shop", "k3");
    stranger.namespace_uid = "namespace-2".to_owned();
    assert!(store.admin.take_keys_over(shop, &stranger).await.unwrap().is_empty());
    let blog = store.project("blog").await;
    assert!(store.admin.take_keys_over(blog, &key_identity("shop", "k4")).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_key_without_an_object_is_found_and_revoked_unless_it_was_taken_over() {
    let store = Store::create().await;
    let shop = store.project("shop").await;
    let orphan = key_identity("shop", "k1");
    let key = store.admin.mint_key(shop, &orphan, 1, &public_key(), &"s".into()).await.unwrap();
    let dead = store.admin.mint_key(shop, &key_identity("web", "k2"), 1, &public_key(), &"s".into()).await.unwrap();
    store.admin.revoke_key(dead.key_id).await.unwrap();
    assert_eq!(store.admin.living_keys().await.unwrap(), [(orphan, key.clone())]);

    assert!(!store.admin.end_key("k2", key.key_id, true).await.unwrap(), "it is not that object's");
    let again = key_identity("shop", "k3");
    store.admin.take_keys_over(shop, &again).await.unwrap();
    assert!(!store.admin.end_key("k1", key.key_id, true).await.unwrap(), "it was taken over meanwhile");
    assert_eq!(store.admin.living_keys().await.unwrap(), [(again, key.clone())]);
    assert!(store.admin.end_key("k3", key.key_id, true).await.unwrap());
    assert!(!store.admin.end_key("k3", key.key_id, true).await.unwrap());
    assert!(store.admin.living_keys().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_key_that_a_backup_lost_is_put_back() {
    let store = Store::create().await;
    let shop = store.project("shop").await;
    let blog = store.project("blog").await;
    let identity = key_identity("shop", "k1");
    let key = public_key();
    let adopted = store.admin.adopt_key(shop, &identity, 3, &key, Some(70)).await.unwrap();
    assert_eq!((adopted.key_id, adopted.ordinal, adopted.state), (70, 3, State::Published));
    assert_eq!(store.admin.adopt_key(shop, &identity, 3, &key, Some(70)).await.unwrap().key_id, adopted.key_id);

    let stolen = store.admin.adopt_key(blog, &key_identity("blog", "k2"), 1, &key, None).await;
    assert!(matches!(stolen, Err(StoreError::SchemaMismatch { .. })), "{stolen:?}");
    // Ids that are given out later are above the one that came back; one that is taken is not given twice.
    let next = store.admin.mint_key(shop, &identity, 4, &public_key(), &"s".into()).await.unwrap();
    assert_eq!(next.key_id, 71);
    let other = store.admin.adopt_key(shop, &key_identity("web", "k3"), 1, &public_key(), Some(71)).await.unwrap();
    assert_eq!(other.key_id, 72);
    store.admin.revoke_key(adopted.key_id).await.unwrap();
    assert_eq!(store.admin.adopt_key(shop, &identity, 3, &key, Some(70)).await.unwrap().state, State::Revoked);
}

#[tokio::test]
async fn an_id_that_somebody_made_up_uses_none_up() {
    let store = Store::create().await;
    let shop = store.project("shop").await;
    for (name, made_up) in [("k1", i64::MAX), ("k2", 1_000_000), ("k3", 0), ("k4", -1)] {
        let adopted =
            store.admin.adopt_key(shop, &key_identity(name, name), 1, &public_key(), Some(made_up)).await.unwrap();
        assert!(adopted.key_id < 10, "{made_up}: {}", adopted.key_id);
    }
    let next = store.admin.mint_key(shop, &key_identity("k5", "k5"), 1, &public_key(), &"s".into()).await.unwrap();
    assert!(next.key_id < 10, "{}", next.key_id);
}

#[tokio::test]
async fn ingest_sees_each_change_of_the_keys() {
    let store = Store::create().await;
    let (shop, ingest) = store.ingesting("shop").await;
    let identity = key_identity("shop", "k1");
    let first = changed_settings(&ingest, shop, 0).await.unwrap().1.expect("a version before the first key");
    assert!(first.keys.is_empty());
    assert_eq!(changed_settings(&ingest, shop, first.version).await.unwrap().1, None);

    let key = store.admin.mint_key(shop, &identity, 1, &public_key(), &"s".into()).await.unwrap();
    let minted = changed_settings(&ingest, shop, first.version).await.unwrap().1.unwrap();
    assert_eq!(minted.keys, [(key.public_key.clone(), None)]);
    assert!(minted.version > first.version);
    assert!(find_key(&ingest, shop, &key.public_key).await.unwrap());
    assert!(!find_key(&ingest, shop, &public_key()).await.unwrap());

    // The use of a key is no change of it.
    let usage = [(key.public_key.clone(), Duration::ZERO)];
    let outcomes = [("rate_limited", 3), ("too_large", 1)];
    for _ in 0..2 {
        let told = Report {
            instance: "pod-1",
            settings_version: minted.version,
            ending: false,
            key_usage: &usage,
            refused: &[],
        };
        report(&ingest, shop, &told).await.unwrap();
        heartbeat_of_the_version_before(&ingest, shop, &outcomes).await;
    }
    assert_eq!(changed_settings(&ingest, shop, minted.version).await.unwrap().1, None);
    assert!(store.admin.keys_of("k1").await.unwrap()[0].last_used_at.is_some());
    assert_eq!(store.number(shop, "SELECT sum(quantity)::bigint FROM {schema}.outcomes").await, 8);
    assert_eq!(store.number(shop, "SELECT count(*) FROM errortracking.ingest_instances").await, 1);

    store.admin.set_keys_enabled("k1", false).await.unwrap();
    let disabled = changed_settings(&ingest, shop, minted.version).await.unwrap().1.unwrap();
    assert!(disabled.keys.is_empty());
    assert!(!find_key(&ingest, shop, &key.public_key).await.unwrap());
    store.admin.set_keys_enabled("k1", true).await.unwrap();
    assert!(find_key(&ingest, shop, &key.public_key).await.unwrap());
    store.admin.revoke_key(key.key_id).await.unwrap();
    assert!(!find_key(&ingest, shop, &key.public_key).await.unwrap());
}
