//! Keys behind the door that the operator uses: the integrated backend.

use error_tracking_operator::{
    backend::{Backend, BackendError, DsnSource, Integrated, KeyId, Keys, PublishedKey},
    dsn::{Dsn, ProjectId, PublicKey},
    rotation::State,
};

use crate::{Store, key_identity, of_shop, public_key};

impl Store {
    fn backend(&self) -> Backend {
        Backend::Integrated(Integrated::new(self.admin.clone()))
    }

    /// What a pass over the `ClientKey` with this uid sees.
    async fn observe(&self, key_uid: &str) -> Keys {
        self.backend().observe(of_shop(key_uid)).await.unwrap()
    }
}

fn published(project: ProjectId, public_key: &PublicKey, id: &str) -> PublishedKey {
    let dsn =
        Dsn { endpoint: "http://shop-ingest.web.svc".into(), public_key: public_key.clone(), project_id: project };
    PublishedKey { dsn: dsn.expose().into(), id: Some(KeyId::new(id)), retiring: None }
}

#[tokio::test]
async fn a_key_is_made_changed_and_revoked_behind_the_door() {
    let store = Store::create().await;
    let (backend, owner) = (store.backend(), key_identity("shop", "k1"));
    let before = store.observe("k1").await;
    assert!(!before.are_accepted() && before.active().is_none(), "there is no project yet");
    let early = backend.mint(&mut before.clone(), &owner).await.unwrap_err();
    assert!(matches!(early, BackendError::ProjectNotReady) && early.retryable(), "{early}");

    let shop = store.project("shop").await;
    let mut keys = store.observe("k1").await;
    let unseen = keys.clone();
    let minted = backend.mint(&mut keys, &owner).await.unwrap();
    assert!(matches!(minted.dsn, DsnSource::Endpoint(project) if project == shop));
    assert_eq!(keys.active().unwrap().id, minted.id);
    // A crash before the key was known: it is minted again, and is the same.
    assert_eq!(backend.mint(&mut unseen.clone(), &owner).await.unwrap().public_key, minted.public_key);

    backend.set_enabled("k1", false).await.unwrap();
    let limit = Some(error_tracking_operator::settings::RateLimit { events: 5, window_seconds: 60 });
    backend.set_rate_limit("k1", limit).await.unwrap();
    let observed = store.observe("k1").await;
    let active = observed.active().unwrap();
    assert_eq!((active.enabled, active.rate_limit), (false, limit));
    let unknown = backend.published(of_shop("k1"), &KeyId::new("glet_1"), None).await.unwrap_err();
    assert!(matches!(unknown, BackendError::UnknownKey(_)), "{unknown}");

    assert_eq!(backend.revoke_keys_of("k1").await.unwrap(), 1);
    assert_eq!(backend.revoke_keys_of("k1").await.unwrap(), 0);
    let mut keys = store.observe("k1").await;
    assert!(keys.active().is_none());
    let next = backend.mint(&mut keys, &owner).await.unwrap();
    assert_ne!(next.public_key, minted.public_key, "a revoked key is never the answer again");
}

#[tokio::test]
async fn a_new_object_finds_the_key_that_a_lost_one_left() {
    let store = Store::create().await;
    store.project("shop").await;
    let backend = store.backend();
    let mut keys = store.observe("k1").await;
    let minted = backend.mint(&mut keys, &key_identity("shop", "k1")).await.unwrap();

    let mut keys = store.observe("k2").await;
    assert!(keys.active().is_none());
    backend.take_over(&mut keys, &key_identity("shop", "k2")).await.unwrap();
    assert_eq!(keys.active().unwrap().id, minted.id);
    assert!(store.observe("k1").await.active().is_none());
}

#[tokio::test]
async fn a_key_that_was_revoked_after_the_backup_does_not_come_back() {
    let store = Store::create().await;
    let shop = store.project("shop").await;
    let backend = store.backend();
    // In the backup the former object of this name has its key. Since then it was deleted, which revoked the key, and
    // its successor got another one, which only the Secret remembers now.
    let revoked = backend.mint(&mut store.observe("k1").await, &key_identity("shop", "k1")).await.unwrap();
    let (owner, current) = (key_identity("shop", "k2"), public_key());

    let mut keys = store.observe("k2").await;
    backend.take_over(&mut keys, &owner).await.unwrap();
    assert_eq!(keys.active().unwrap().id, revoked.id, "all that the database knows");
    for _ in 0..2 {
        backend.put_back(&mut keys, "shop-u1", &owner, &published(shop, &current, "7")).await.unwrap();
        assert_eq!(keys.active().unwrap().public_key, current);
    }
    let living = store.admin.living_keys().await.unwrap();
    let living: Vec<_> = living.into_iter().map(|(_, row)| row.public_key).collect();
    assert_eq!(living, std::slice::from_ref(&current));
    assert_eq!(store.observe("k2").await.active().unwrap().public_key, current);

    // A Secret that names the revoked one, as an older one does, brings nothing back.
    let mut keys = store.observe("k2").await;
    backend.put_back(&mut keys, "shop-u1", &owner, &published(shop, &revoked.public_key, "1")).await.unwrap();
    assert_eq!(keys.active().unwrap().public_key, current);
}

#[tokio::test]
async fn the_key_that_was_in_its_overlap_comes_back_with_the_one_that_the_secret_names() {
    let store = Store::create().await;
    let shop = store.project("shop").await;
    let (backend, owner) = (store.backend(), key_identity("shop", "k1"));
    let states = |keys: &Keys| keys.all().iter().map(|key| (key.public_key.clone(), key.state)).collect::<Vec<_>>();
    let (first, second, third) = (public_key(), public_key(), public_key());
    let rotated = |public_key, former: &PublicKey| PublishedKey {
        retiring: Some(former.clone()),
        ..published(shop, public_key, "7")
    };
    // The database knows neither.
    let mut keys = store.observe("k1").await;
    backend.put_back(&mut keys, "shop-u1", &owner, &rotated(&second, &first)).await.unwrap();
    let both = [(first.clone(), State::Overlap), (second.clone(), State::Published)];
    assert_eq!(states(&keys), both);
    assert_eq!(states(&store.observe("k1").await), both);
    // It knows the key before, which was the active one then; the one before that had ended.
    backend.put_back(&mut keys, "shop-u1", &owner, &rotated(&third, &second)).await.unwrap();
    let now = [(first, State::Retired), (second, State::Overlap), (third, State::Published)];
    assert_eq!(states(&keys), now);
    assert_eq!(states(&store.observe("k1").await), now);
}

#[tokio::test]
async fn a_published_key_is_put_back_unless_it_is_somebody_elses() {
    let store = Store::create().await;
    let shop = store.project("shop").await;
    let blog = store.project("blog").await;
    let (backend, owner, lost) = (store.backend(), key_identity("shop", "k1"), public_key());

    let mut keys = store.observe("k1").await;
    for (case, unusable) in [
        ("another project's", published(blog, &lost, "7")),
        ("no DSN", PublishedKey { dsn: "nothing".into(), id: None, retiring: None }),
    ] {
        backend.put_back(&mut keys, "shop-u1", &owner, &unusable).await.unwrap();
        assert!(keys.active().is_none(), "{case}");
    }
    backend.put_back(&mut keys, "shop-u1", &owner, &published(shop, &lost, "7")).await.unwrap();
    let active = keys.active().unwrap();
    assert_eq!((active.id.as_str(), &active.public_key), ("7", &lost));

    let mut keys = store.observe("k2").await;
    backend.put_back(&mut keys, "shop-u1", &key_identity("other", "k2"), &published(shop, &lost, "7")).await.unwrap();
    assert!(keys.active().is_none(), "the key of another object was taken");
}
