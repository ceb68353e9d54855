//! Which installation uses a database, where projects are, and what is kept without an object.

use error_tracking_operator::{
    dsn::ProjectId,
    store::{
        Admin, StoreError,
        admin::{DeletionPolicy, Leader, Location, Phase},
    },
};

use crate::{Store, key_identity, project_identity, public_key, row, send, support::postgres::Database};

fn leader(namespace: &str) -> Leader {
    Leader {
        namespace: namespace.to_owned(),
        namespace_uid: format!("uid-of-{namespace}"),
        lease: "error-tracking-operator".to_owned(),
    }
}

#[tokio::test]
async fn a_second_installation_is_refused_while_the_first_lives() {
    let database = Database::create().await;
    let pool = database.pool();
    let first = Admin::lead(pool.clone(), 7, leader("one")).await.unwrap();
    // Another process of the same installation is no other.
    Admin::lead(pool.clone(), 8, leader("one")).await.unwrap();

    // Whatever its epoch is.
    let refused = Admin::lead(pool.clone(), 99, leader("two")).await.unwrap_err();
    assert_eq!(
        refused.message(),
        "the database is led by the installation of namespace one (Lease error-tracking-operator): use a database of \
         your own"
    );
    let other_lease = Leader { lease: "second".into(), ..leader("one") };
    assert!(matches!(Admin::lead(pool.clone(), 9, other_lease).await, Err(StoreError::LedByAnother { .. })));
    assert!(matches!(first.check_lead().await, Err(StoreError::Fenced { stored: 8, ours: 7 })), "nothing was claimed");

    // A leader that looks is alive; one that did not for 90 s is not.
    let current = Admin::lead(pool.clone(), 10, leader("one")).await.unwrap();
    let age = |seconds: u32| {
        format!("UPDATE errortracking.owner SET seen_at = clock_timestamp() - interval '{seconds} seconds'")
    };
    sqlx::raw_sql(sqlx::AssertSqlSafe(age(80))).execute(&pool).await.unwrap();
    assert!(current.check_lead().await.unwrap());
    assert!(matches!(Admin::lead(pool.clone(), 99, leader("two")).await, Err(StoreError::LedByAnother { .. })));
    sqlx::raw_sql(sqlx::AssertSqlSafe(age(100))).execute(&pool).await.unwrap();
    let second = Admin::lead(pool.clone(), 99, leader("two")).await.unwrap();
    // The first one comes back: it gives way and does not raise its epoch.
    assert!(matches!(current.check_lead().await, Err(StoreError::LedByAnother { .. })));
    second.check_lead().await.unwrap();

    // A backup of before there were owners.
    sqlx::raw_sql("TRUNCATE errortracking.owner").execute(&pool).await.unwrap();
    second.check_lead().await.unwrap();
    assert!(matches!(Admin::lead(pool, 100, leader("one")).await, Err(StoreError::LedByAnother { .. })));
}

#[tokio::test]
async fn a_command_acts_in_the_leaders_epoch() {
    let store = Store::create().await;
    let shop = store.project("shop").await;
    let beside = Admin::attach(store.pool.clone()).await.unwrap();
    assert_eq!((beside.epoch(), beside.installation()), (1, store.admin.installation()));
    beside.record_location(shop, None).await.unwrap();
    store.admin.check_lead().await.unwrap();
    Admin::connect(store.pool.clone(), 2).await.unwrap();
    assert!(matches!(beside.record_location(shop, None).await, Err(StoreError::Fenced { .. })));
}

#[tokio::test]
async fn the_catalog_says_where_a_project_is() {
    let (catalog, elsewhere) = (Store::create().await, Store::create().await);
    let identity = project_identity("shop", "u1");
    let policy = DeletionPolicy::Retain;
    for name in ["a", "b"] {
        catalog.project(name).await;
    }
    let shop = catalog.admin.allocate_project(&identity, None, policy).await.unwrap();
    let location = Location { secret: "pg".into(), server: "pg.web.svc:5432/app".into() };
    catalog.admin.record_location(shop, Some(&location)).await.unwrap();
    assert_eq!(elsewhere.admin.find_project(&identity).await.unwrap(), None);
    elsewhere.admin.restore_project(shop, &identity, policy).await.unwrap();
    assert_eq!(elsewhere.admin.find_project(&identity).await.unwrap(), Some(shop));
    elsewhere.admin.migrate_project(shop).await.unwrap();

    let state = catalog.admin.observe_object("shop-u1").await.unwrap().unwrap();
    assert_eq!((state.project_id.get(), state.location), (3, Some(location)));
    let state = elsewhere.admin.observe_object("shop-u1").await.unwrap().unwrap();
    assert_eq!((state.project_id.get(), state.location.is_none(), state.migrated()), (3, true, true));
    // Its number is not given out a second time.
    assert_eq!(catalog.project("c").await.get(), 4);
    for store in [&elsewhere, &catalog] {
        store.admin.retire_project(shop, DeletionPolicy::Delete).await.unwrap();
        assert!(store.admin.observe_object("shop-u1").await.unwrap().is_none());
    }
}

#[tokio::test]
async fn what_another_database_says_uses_no_numbers_up_and_takes_none() {
    let (catalog, elsewhere) = (Store::create().await, Store::create().await);
    let (policy, identity) = (DeletionPolicy::Retain, project_identity("shop", "u1"));
    let number = |number| ProjectId::new(number).unwrap();
    assert!(!catalog.admin.may_have_number(number(1), &identity).await.unwrap(), "none was given out");
    let (blog, lost) = (catalog.project("blog").await, catalog.project("lost").await);
    catalog.execute(lost, "DELETE FROM errortracking.settings WHERE project_id = 2").await;
    catalog.execute(lost, "DELETE FROM errortracking.projects WHERE project_id = 2").await;
    for (id, may) in [(number(2_147_483_647), false), (number(3), false), (blog, false), (lost, true)] {
        assert_eq!(catalog.admin.may_have_number(id, &identity).await.unwrap(), may, "{id}");
    }
    let taken = catalog.admin.restore_project(blog, &identity, policy).await.unwrap_err();
    assert_eq!(taken.message(), "project 1 belongs to another ErrorTrackingProject");
    let shop = catalog.admin.allocate_project(&identity, None, policy).await.unwrap();
    assert!(catalog.admin.may_have_number(shop, &identity).await.unwrap());
    assert!(!catalog.admin.may_have_number(lost, &identity).await.unwrap(), "it has one");

    // The number that was made up there makes room for the one of the catalog.
    let made_up = number(2_147_483_000);
    elsewhere.admin.restore_project(made_up, &identity, policy).await.unwrap();
    elsewhere.admin.migrate_project(made_up).await.unwrap();
    elsewhere.admin.release_number(made_up).await.unwrap();
    elsewhere.admin.restore_project(shop, &identity, policy).await.unwrap();
    elsewhere.admin.migrate_project(shop).await.unwrap();
    assert_eq!(elsewhere.admin.observe_object("shop-u1").await.unwrap().unwrap().project_id, shop);
}

#[tokio::test]
async fn a_kept_project_is_listed_and_given_to_another_namespace() {
    let store = Store::create().await;
    let (shop, ingest) = store.ingesting("shop").await;
    let key = store.admin.mint_key(shop, &key_identity("shop", "k1"), 1, &public_key(), &"s".into()).await.unwrap();
    send(&ingest, shop, &[row(1)]).await;
    assert!(store.admin.has_events(shop).await.unwrap());
    let listed = store.admin.catalog_projects().await.unwrap();
    assert_eq!((listed.len(), listed[0].phase, listed[0].since), (1, Phase::Active, None));
    assert!(store.admin.project_bytes(shop).await.unwrap() > 100_000);

    // The cluster was lost: nothing was retired. The object of the new namespace has an empty project already.
    let mut target = project_identity("shop", "u2");
    target.namespace_uid = "namespace-2".to_owned();
    target.namespace = "web-2".to_owned();
    let empty = store.admin.allocate_project(&target, None, DeletionPolicy::Retain).await.unwrap();
    store.admin.migrate_project(empty).await.unwrap();
    assert!(!store.admin.has_events(empty).await.unwrap());
    store.admin.adopt_project(shop, &target, true, Some(empty)).await.unwrap();
    store.admin.retire_project(empty, DeletionPolicy::Delete).await.unwrap();

    let state = store.admin.observe_object("shop-u2").await.unwrap().unwrap();
    assert_eq!((state.project_id, state.phase, &*state.identity.namespace), (shop, Phase::Active, "web-2"));
    let mut identity = key_identity("shop", "k2");
    identity.namespace_uid = "namespace-2".to_owned();
    let keys = store.admin.take_keys_over(shop, &identity).await.unwrap();
    assert_eq!(keys.iter().map(|key| &key.public_key).collect::<Vec<_>>(), [&key.public_key]);
    let numbers: Vec<_> =
        store.admin.catalog_projects().await.unwrap().iter().map(|project| project.project_id).collect();
    assert_eq!(numbers, [shop], "the empty one is gone");

    // For an object that does not exist yet, it waits.
    let mut later = project_identity("later", "");
    later.namespace_uid = "namespace-3".to_owned();
    store.admin.adopt_project(shop, &later, false, None).await.unwrap();
    later.object_uid = "later-u9".to_owned();
    let taken = store.admin.allocate_project(&later, None, DeletionPolicy::Retain).await.unwrap();
    assert_eq!(taken, shop);
    let unknown = store.admin.adopt_project(ProjectId::new(99).unwrap(), &later, true, None).await;
    assert!(matches!(unknown, Err(StoreError::UnknownProject(_))), "{unknown:?}");
}
