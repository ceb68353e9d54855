//! What a project asks for reaches ingest, with the limits of its keys.

use error_tracking_operator::{
    settings::{Filters, Privacy, RateLimit, Settings},
    store::{
        Admin, StoreError,
        admin::{DeletionPolicy, ProjectSettings, password_digest},
        ingest::changed_settings,
    },
};

use crate::{Store, key_identity, public_key, support::versions::BACK_TO_6};

fn recorded(ingest: Settings) -> ProjectSettings {
    ProjectSettings { deletion_policy: DeletionPolicy::Retain, display_name: None, platform: None, ingest }
}

fn shops() -> Settings {
    Settings {
        privacy: Privacy {
            scrub_ip_addresses: true,
            sensitive_fields: vec!["diagnosis".into(), "größe\"\\".into()],
            ..Privacy::default()
        },
        filters: Filters { ignore_errors: vec![r"re:^Abort\w+".into()], ..Filters::default() },
        trusted_proxies: vec!["10.0.0.0/8".into()],
        events_per_minute: Some(6000),
        retention_days: 30,
        active: false,
    }
}

#[tokio::test]
async fn what_a_project_asks_for_reaches_ingest_and_the_same_again_is_no_change() {
    let store = Store::create().await;
    let (shop, ingest) = store.ingesting("shop").await;
    let before = changed_settings(&ingest, shop, 0).await.unwrap().1.unwrap();
    assert_eq!((before.settings, before.keys), (Settings::default(), vec![]));
    let state = store.admin.observe_project(shop).await.unwrap().unwrap();
    assert_eq!(state.settings, Some(recorded(Settings::default())), "a new project has nothing to record");

    store.admin.record_settings(shop, &recorded(shops())).await.unwrap();
    let changed = changed_settings(&ingest, shop, before.version).await.unwrap().1.unwrap();
    assert!(changed.version > before.version);
    assert_eq!(changed.settings, shops());
    assert_eq!(changed_settings(&ingest, shop, changed.version).await.unwrap().1, None);
    let state = store.admin.observe_project(shop).await.unwrap().unwrap();
    assert_eq!(state.settings, Some(recorded(shops())));

    let renamed = ProjectSettings { display_name: Some("Shop".into()), ..recorded(shops()) };
    store.admin.record_settings(shop, &renamed).await.unwrap();
    assert_eq!(changed_settings(&ingest, shop, changed.version).await.unwrap().1, None, "nothing for ingest");
    assert_eq!(store.admin.observe_project(shop).await.unwrap().unwrap().settings, Some(renamed));

    // Another project has its own.
    let (blog, blog_login) = store.ingesting("blog").await;
    assert_eq!(changed_settings(&blog_login, blog, 0).await.unwrap().1.unwrap().settings, Settings::default());
}

#[tokio::test]
async fn settings_that_cannot_be_read_are_recorded_again() {
    let store = Store::create().await;
    let (shop, ingest) = store.ingesting("shop").await;
    for edited in [
        "UPDATE errortracking.settings SET ingest = '{\"active\": \"perhaps\"}'",
        "UPDATE errortracking.settings SET ingest = '{\"filters\": 3}'",
    ] {
        store.execute(shop, edited).await;
        let error = changed_settings(&ingest, shop, 0).await.unwrap_err();
        assert!(error.to_string().contains("the settings of project 1 cannot be read"), "{error}");
        assert!(!error.retryable());
        assert_eq!(store.admin.observe_project(shop).await.unwrap().unwrap().settings, None);
        store.admin.record_settings(shop, &recorded(shops())).await.unwrap();
        assert_eq!(changed_settings(&ingest, shop, 0).await.unwrap().1.unwrap().settings, shops());
    }
    store.execute(shop, "DELETE FROM errortracking.settings").await;
    assert_eq!(store.admin.observe_project(shop).await.unwrap().unwrap().settings, None);
    store.admin.record_settings(shop, &recorded(shops())).await.unwrap();
    assert_eq!(changed_settings(&ingest, shop, 0).await.unwrap().1.unwrap().settings, shops());
}

#[tokio::test]
async fn each_key_comes_with_its_own_limit() {
    let store = Store::create().await;
    let (shop, ingest) = store.ingesting("shop").await;
    let mut keys = Vec::new();
    for name in ["k1", "k2", "k3", "k4"] {
        let identity = key_identity(name, name);
        keys.push(store.admin.mint_key(shop, &identity, 1, &public_key(), &"s".into()).await.unwrap());
        assert_eq!(keys[keys.len() - 1].rate_limit, None);
    }
    let limit = |events, window_seconds| Some(RateLimit { events, window_seconds });
    store.admin.set_keys_rate_limit("k2", limit(1000, 60)).await.unwrap();
    store.admin.set_keys_rate_limit("k4", limit(5, 86400)).await.unwrap();
    store.admin.set_keys_enabled("k3", false).await.unwrap();
    let followed = changed_settings(&ingest, shop, 0).await.unwrap().1.unwrap();
    let expected = [(0, None), (1, limit(1000, 60)), (3, limit(5, 86400))];
    assert_eq!(followed.keys, expected.map(|(key, limit)| (keys[key].public_key.clone(), limit)));
    assert_eq!(store.admin.keys_of("k2").await.unwrap()[0].rate_limit, limit(1000, 60));

    store.admin.set_keys_rate_limit("k2", limit(1000, 60)).await.unwrap();
    assert_eq!(changed_settings(&ingest, shop, followed.version).await.unwrap().1, None, "the same limit");
    let mut version = followed.version;
    for changed in [limit(1000, 61), limit(1001, 61), None] {
        store.admin.set_keys_rate_limit("k2", changed).await.unwrap();
        let followed = changed_settings(&ingest, shop, version).await.unwrap().1.expect("another version");
        assert_eq!(followed.keys[1], (keys[1].public_key.clone(), changed));
        version = followed.version;
    }
    store.admin.revoke_key(keys[0].key_id).await.unwrap();
    store.admin.set_keys_rate_limit("k1", limit(1, 1)).await.unwrap();
    assert_eq!(store.admin.keys_of("k1").await.unwrap()[0].rate_limit, None, "a revoked key stays as it was");
    for nonsense in [limit(0, 60), limit(1, 0), limit(1, 86401)] {
        let refused = store.admin.set_keys_rate_limit("k2", nonsense).await;
        assert!(matches!(refused, Err(StoreError::Rejected { .. })), "{refused:?}");
    }
}

/// As the fourth migration left a database.
const WITHOUT_SETTINGS: &str = "
    DROP FUNCTION errortracking.changed_settings;
    DROP TRIGGER ingest_changed ON errortracking.settings;
    DROP FUNCTION errortracking.ingest_changed;
    ALTER TABLE errortracking.settings DROP COLUMN ingest;
    CREATE OR REPLACE TRIGGER settings_changed
    AFTER INSERT OR DELETE OR UPDATE OF project_id, public_key, enabled, revoked_at ON errortracking.client_keys
    FOR EACH ROW EXECUTE FUNCTION errortracking.settings_changed();
    ALTER TABLE errortracking.client_keys DROP COLUMN rate_limit_events, DROP COLUMN rate_limit_seconds;
    UPDATE errortracking.schema_version SET version = 4;";

#[tokio::test]
async fn logins_of_the_version_before_follow_the_settings_at_once_and_keep_their_password() {
    let store = Store::create().await;
    let (shop, ingest) = store.ingesting("shop").await;
    let key = store.admin.mint_key(shop, &key_identity("k1", "k1"), 1, &public_key(), &"s".into()).await.unwrap();
    store.execute(shop, BACK_TO_6).await;
    store.execute(shop, WITHOUT_SETTINGS).await;
    assert!(changed_settings(&ingest, shop, 0).await.is_err());

    let admin = Admin::connect(store.pool.clone(), 2).await.unwrap();
    let followed = changed_settings(&ingest, shop, 0).await.unwrap().1.unwrap();
    assert_eq!((followed.settings, followed.keys), (Settings::default(), vec![(key.public_key.clone(), None)]));
    let state = admin.observe_project(shop).await.unwrap().unwrap();
    assert!(state.login_ready(password_digest(&"secret".into())), "{state:?}");
    assert_eq!(state.settings, Some(recorded(Settings::default())), "an upgrade is no reason to write");

    // What the version before asks is still answered, also about changes that it knows nothing of.
    let keys = "SELECT public_keys FROM errortracking.changed_keys($1, $2)";
    let keys_before = async |version: i64| -> Option<(Vec<String>,)> {
        sqlx::query_as(keys).bind(shop.as_i64()).bind(version).fetch_optional(&ingest).await.unwrap()
    };
    let expected = Some((vec![key.public_key.as_str().to_owned()],));
    assert_eq!(keys_before(0).await, expected);
    assert_eq!(keys_before(followed.version).await, None);
    admin.record_settings(shop, &recorded(shops())).await.unwrap();
    assert_eq!(keys_before(followed.version).await, expected);
}
