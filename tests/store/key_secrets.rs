//! Secret keys, which only the deprecated form of a DSN has.

use error_tracking_operator::{
    backend::{Backend, BackendError, Integrated, KeyId},
    store::ingest::changed_settings,
};
use secrecy::ExposeSecret as _;

use crate::{Store, key_identity, public_key};

#[tokio::test]
async fn a_key_keeps_its_secret_key_and_gets_one_where_it_has_none() {
    let store = Store::create().await;
    let (shop, ingest) = store.ingesting("shop").await;
    let minted = store.admin.mint_key(shop, &key_identity("a", "k1"), 1, &public_key(), &"5e".into()).await.unwrap();
    let adopted = store.admin.adopt_key(shop, &key_identity("b", "k2"), 1, &public_key(), None).await.unwrap();
    let secret = async |key: i64| {
        let found = store.admin.key_secret(key).await.unwrap();
        found.map(|secret| secret.expose_secret().to_owned())
    };
    let make = async |key: i64, new: &str| {
        let kept = store.admin.make_key_secret(key, &new.into()).await.unwrap();
        kept.map(|secret| secret.expose_secret().to_owned())
    };
    assert_eq!(secret(minted.key_id).await.as_deref(), Some("5e"));
    assert_eq!(make(minted.key_id, "new").await.as_deref(), Some("5e"), "the Secret that is out there names it");
    assert_eq!(secret(adopted.key_id).await, None, "a Secret holds none");
    let version = changed_settings(&ingest, shop, 0).await.unwrap().1.unwrap().version;
    for _ in 0..2 {
        assert_eq!(make(adopted.key_id, "made").await.as_deref(), Some("made"));
        assert_eq!(secret(adopted.key_id).await.as_deref(), Some("made"));
    }
    assert_eq!(changed_settings(&ingest, shop, version).await.unwrap().1, None, "ingest has nothing to learn from it");

    // The owner of a database writes there what they like.
    for unfit in ["", "a@elsewhere.example/", "a b", &"x".repeat(65)] {
        sqlx::query("UPDATE errortracking.client_keys SET secret = $1 WHERE key_id = $2")
            .bind(unfit)
            .bind(adopted.key_id)
            .execute(&store.pool)
            .await
            .unwrap();
        assert_eq!(secret(adopted.key_id).await, None, "{unfit}");
        assert_eq!(make(adopted.key_id, "fit").await.as_deref(), Some("fit"), "{unfit}");
    }
    store.admin.revoke_key(minted.key_id).await.unwrap();
    assert_eq!((secret(minted.key_id).await, make(minted.key_id, "new").await), (None, None));
}

#[tokio::test]
async fn the_backend_makes_a_secret_key_once() {
    let store = Store::create().await;
    let shop = store.project("shop").await;
    let backend = Backend::Integrated(Integrated::new(store.admin.clone()));
    let adopted = store.admin.adopt_key(shop, &key_identity("a", "k1"), 1, &public_key(), None).await.unwrap();
    let key = KeyId::new(adopted.key_id.to_string());
    assert!(backend.secret_key("k1", &key).await.unwrap().is_none());
    let made = backend.make_secret_key(&key).await.unwrap().unwrap();
    assert_eq!(made.expose_secret().len(), 32);
    assert_eq!(backend.make_secret_key(&key).await.unwrap().unwrap().expose_secret(), made.expose_secret());
    assert_eq!(backend.secret_key("k1", &key).await.unwrap().unwrap().expose_secret(), made.expose_secret());
    let unknown = backend.make_secret_key(&KeyId::new("999")).await.unwrap_err();
    assert!(matches!(unknown, BackendError::UnknownKey(_)), "{unknown}");
}
