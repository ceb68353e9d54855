//! Projects: ids, schemas, leaders.

use error_tracking_operator::{
    dsn::ProjectId,
    store::{
        Admin, StoreError,
        admin::{DeletionPolicy, Location, Phase, SchemaOwner},
    },
};
use jiff::{SignedDuration, Timestamp};

use crate::{Store, project_identity, row, send};

#[tokio::test]
async fn allocating_again_gives_the_same_id() {
    let store = Store::create().await;
    let shop = store.project("shop").await;
    let again = store.admin.allocate_project(&project_identity("shop", "u1"), None, DeletionPolicy::Retain).await;
    assert_eq!(again.unwrap(), shop);
    assert_ne!(store.project("blog").await, shop);
}

#[tokio::test]
async fn new_ids_are_above_everything_seen() {
    let store = Store::create().await;
    let allocate = async |name: &str, floor: Option<u64>| {
        let floor = floor.map(|floor| ProjectId::new(floor).unwrap());
        let identity = project_identity(name, "u1");
        store.admin.allocate_project(&identity, floor, DeletionPolicy::Delete).await.unwrap().get()
    };
    assert_eq!(allocate("a", None).await, 1);
    assert_eq!(allocate("b", Some(40)).await, 41);
    assert_eq!(allocate("c", Some(7)).await, 42);
    // A backup brought an older sequence back.
    sqlx::query("SELECT setval('errortracking.project_ids', 3)").execute(&store.pool).await.unwrap();
    assert_eq!(allocate("d", None).await, 43);
}

/// What a status claims is an offer of whoever may write it.
#[tokio::test]
async fn a_number_that_cannot_have_been_given_out_uses_none_up() {
    let store = Store::create().await;
    let id = |number: u64| ProjectId::new(number).unwrap();
    let allocate = async |name: &str, floor: u64| {
        let identity = project_identity(name, "u1");
        store.admin.allocate_project(&identity, Some(id(floor)), DeletionPolicy::Delete).await.unwrap().get()
    };
    let last = ProjectId::MAX - 1;
    assert_eq!(allocate("a", last).await, 1);
    assert_eq!(allocate("b", 10_002).await, 2, "one more than can have been lost");
    assert_eq!(store.admin.largest_credible_number().await.unwrap(), id(10_002));
    assert_eq!(allocate("c", 10_002).await, 10_003);

    // The row of an object that claimed the last number before there was a bound.
    store.admin.restore_project(id(last), &project_identity("forged", "u1"), DeletionPolicy::Retain).await.unwrap();
    assert_eq!(allocate("d", 1).await, 10_004);
    assert_eq!(store.admin.next_number().await.unwrap(), Some(id(10_005)));
}

#[tokio::test]
async fn the_next_number_can_be_lowered_to_one_that_nobody_had() {
    let store = Store::create().await;
    let id = |number: u64| ProjectId::new(number).unwrap();
    store.project("shop").await;
    sqlx::query("SELECT setval('errortracking.project_ids', 2147483647)").execute(&store.pool).await.unwrap();
    assert_eq!(store.admin.next_number().await.unwrap(), None);
    assert!(store.admin.allocate_project(&project_identity("b", "u1"), None, DeletionPolicy::Retain).await.is_err());

    let taken = store.admin.set_next_number(id(1)).await.unwrap().unwrap();
    assert_eq!((taken.number, taken.name.as_str()), (id(1), "shop"));
    assert_eq!(store.admin.next_number().await.unwrap(), None);
    assert_eq!(store.admin.set_next_number(id(2)).await.unwrap(), None);
    assert_eq!(store.project("blog").await, id(2));

    // Numbers that were given out further on are passed when the sequence comes near.
    store.admin.restore_project(id(15_000), &project_identity("far", "u1"), DeletionPolicy::Retain).await.unwrap();
    assert_eq!(store.admin.set_next_number(id(4_000)).await.unwrap(), None);
    assert_eq!(store.project("wiki").await, id(4_000));
    sqlx::query("SELECT setval('errortracking.project_ids', 5000)").execute(&store.pool).await.unwrap();
    assert_eq!(store.project("last").await, id(15_001));
}

#[tokio::test]
async fn ids_of_deleted_projects_are_not_used_again() {
    let store = Store::create().await;
    let shop = store.project("shop").await;
    store.admin.retire_project(shop, DeletionPolicy::Delete).await.unwrap();
    let state = store.admin.observe_project(shop).await.unwrap().unwrap();
    assert_eq!((state.phase, state.schema_owner), (Phase::Deleted, SchemaOwner::Absent));
    assert!(store.admin.observe_object("shop-u1").await.unwrap().is_none());
    assert_ne!(store.project("shop").await, shop);
}

#[tokio::test]
async fn a_retained_project_comes_back_to_its_namespace_only() {
    let store = Store::create().await;
    let (shop, ingest) = store.ingesting("shop").await;
    send(&ingest, shop, &[row(1)]).await;
    store.admin.retire_project(shop, DeletionPolicy::Retain).await.unwrap();
    assert_eq!(store.admin.observe_project(shop).await.unwrap().unwrap().phase, Phase::Retained);

    let mut stranger = project_identity("shop", "u2");
    stranger.namespace_uid = "namespace-2".to_owned();
    let other = store.admin.allocate_project(&stranger, None, DeletionPolicy::Retain).await.unwrap();
    assert_ne!(other, shop);

    let back = store.admin.allocate_project(&project_identity("shop", "u3"), None, DeletionPolicy::Retain).await;
    assert_eq!(back.unwrap(), shop);
    let state = store.admin.observe_object("shop-u3").await.unwrap().unwrap();
    assert_eq!((state.phase, state.schema_owner, state.ingest_role), (Phase::Active, SchemaOwner::Ours, None));
    assert_eq!(store.number(shop, "SELECT count(*) FROM {schema}.events").await, 1);
}

#[tokio::test]
async fn the_end_of_a_lost_object_leaves_its_successor_alone() {
    let store = Store::create().await;
    let (shop, _) = store.ingesting("shop").await;
    let successor = project_identity("shop", "u2");
    assert_eq!(store.admin.allocate_project(&successor, None, DeletionPolicy::Retain).await.unwrap(), shop);
    for policy in [DeletionPolicy::Retain, DeletionPolicy::Delete] {
        store.admin.retire_project_of(shop, "shop-u1", policy).await.unwrap();
    }
    let state = store.admin.observe_object("shop-u2").await.unwrap().unwrap();
    assert_eq!((state.phase, state.schema_owner), (Phase::Active, SchemaOwner::Ours));
    assert!(state.role_exists, "its pods log in with that");
    store.admin.retire_project_of(shop, "shop-u2", DeletionPolicy::Delete).await.unwrap();
    assert!(store.admin.observe_object("shop-u2").await.unwrap().is_none());
}

#[tokio::test]
async fn a_lost_row_is_put_back_with_its_id() {
    let store = Store::create().await;
    let shop = ProjectId::new(17).unwrap();
    let identity = project_identity("shop", "u1");
    for _ in 0..2 {
        store.admin.restore_project(shop, &identity, DeletionPolicy::Retain).await.unwrap();
    }
    assert_eq!(store.project("blog").await.get(), 18);
    let stolen = store.admin.restore_project(shop, &project_identity("wiki", "u1"), DeletionPolicy::Retain).await;
    assert!(matches!(stolen, Err(StoreError::SchemaMismatch { .. })), "{stolen:?}");
}

#[tokio::test]
async fn migrating_twice_at_once_is_migrating_once() {
    let store = Store::create().await;
    let identity = project_identity("shop", "u1");
    let shop = store.admin.allocate_project(&identity, None, DeletionPolicy::Retain).await.unwrap();
    let (first, second) = tokio::join!(store.admin.migrate_project(shop), store.admin.migrate_project(shop));
    first.unwrap();
    second.unwrap();
    let state = store.admin.observe_project(shop).await.unwrap().unwrap();
    assert!(state.migrated(), "{state:?}");
    assert_eq!(state.schema_version, Admin::project_schema_version());
}

#[tokio::test]
async fn connecting_twice_at_once_finds_one_installation() {
    let store = Store::create().await;
    let (first, second) = tokio::join!(Admin::connect(store.pool.clone(), 1), Admin::connect(store.pool.clone(), 1));
    assert_eq!(first.unwrap().installation(), second.unwrap().installation());
    assert!(store.admin.server().fsync);
    assert!(!store.admin.server().synchronous_standby);
}

#[tokio::test]
async fn a_schema_of_somebody_else_is_not_touched() {
    let store = Store::create().await;
    let identity = project_identity("shop", "u1");
    let shop = store.admin.allocate_project(&identity, None, DeletionPolicy::Retain).await.unwrap();
    store.execute(shop, "CREATE SCHEMA {schema}; CREATE TABLE {schema}.treasure ()").await;
    let migrated = store.admin.migrate_project(shop).await;
    assert!(matches!(migrated, Err(StoreError::SchemaMismatch { .. })), "{migrated:?}");
    assert_eq!(store.admin.observe_project(shop).await.unwrap().unwrap().schema_owner, SchemaOwner::Other);
    let dropped = store.admin.retire_project(shop, DeletionPolicy::Delete).await;
    assert!(matches!(dropped, Err(StoreError::SchemaMismatch { .. })), "{dropped:?}");
    store.execute(shop, "TABLE {schema}.treasure").await;
}

#[tokio::test]
async fn an_older_leader_has_no_effect() {
    let store = Store::create().await;
    let shop = store.project("shop").await;
    let newer = Admin::connect(store.pool.clone(), 2).await.unwrap();

    let refused = store.admin.allocate_project(&project_identity("blog", "u1"), None, DeletionPolicy::Retain).await;
    assert!(matches!(refused, Err(StoreError::Fenced { stored: 2, ours: 1 })), "{refused:?}");
    let refused = store.admin.retire_project(shop, DeletionPolicy::Delete).await;
    assert!(matches!(refused, Err(StoreError::Fenced { .. })), "{refused:?}");
    let refused = store.admin.ensure_ingest_role(shop, &"secret".into()).await;
    assert!(matches!(refused, Err(StoreError::Fenced { .. })), "{refused:?}");
    let refused = store.admin.clone().claim(1).await;
    assert!(matches!(refused, Err(StoreError::Fenced { .. })), "{refused:?}");

    newer.migrate_project(shop).await.unwrap();
    assert_eq!(newer.observe_project(shop).await.unwrap().unwrap().phase, Phase::Active);
    assert!(newer.observe_object("blog-u1").await.unwrap().is_none());
}

#[tokio::test]
async fn two_partitions_are_always_ahead() {
    let store = Store::create().await;
    let identity = project_identity("shop", "u1");
    let shop = store.admin.allocate_project(&identity, None, DeletionPolicy::Retain).await.unwrap();
    store.admin.migrate_project(shop).await.unwrap();
    let now = Timestamp::now();
    assert!(!store.admin.observe_project(shop).await.unwrap().unwrap().partitions_ready(now));

    assert_eq!(store.admin.ensure_partitions(shop, now).await.unwrap().len(), 3);
    assert!(store.admin.ensure_partitions(shop, now).await.unwrap().is_empty());
    // Time goes by, for longer than the operator makes ahead.
    for days in [31, 40, 200] {
        let now = now + SignedDuration::from_hours(24 * days);
        store.admin.ensure_partitions(shop, now).await.unwrap();
        let state = store.admin.observe_project(shop).await.unwrap().unwrap();
        assert!(state.partitions_ready(now), "{days}: {:?}", state.partitions);
        for pair in state.partitions.windows(2) {
            assert_eq!(pair[0].to, pair[1].from);
        }
    }
}

#[tokio::test]
async fn payloads_are_kept_in_their_row() {
    let store = Store::create().await;
    let (shop, ingest) = store.ingesting("shop").await;
    let mut event = row(1);
    event.payload = (0..7000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    send(&ingest, shop, &[event]).await;
    let toasted = "SELECT sum(pg_relation_size(c.reltoastrelid))::bigint FROM pg_inherits
        JOIN pg_class AS c ON c.oid = inhrelid WHERE inhparent = '{schema}.events'::regclass";
    assert_eq!(store.number(shop, toasted).await, 0);
    let stored = "SELECT max(pg_column_size(payload))::bigint FROM {schema}.events";
    assert!(store.number(shop, stored).await >= 7000, "compressed again");
}

#[tokio::test]
async fn a_failed_migration_says_which_and_leaves_nothing() {
    let store = Store::create().await;
    let identity = project_identity("shop", "u1");
    let shop = store.admin.allocate_project(&identity, None, DeletionPolicy::Retain).await.unwrap();
    // A schema of ours whose recorded version was lost: its tables are in the way.
    store.admin.migrate_project(shop).await.unwrap();
    store.execute(shop, "UPDATE errortracking.projects SET schema_version = 1").await;
    let error = store.admin.migrate_project(shop).await.unwrap_err();
    let StoreError::Migration { schema, migration, .. } = &error else { panic!("{error:?}") };
    assert_eq!((schema.as_str(), *migration), (shop.schema().as_str(), "0002_issues"));
    assert_eq!(store.admin.observe_project(shop).await.unwrap().unwrap().schema_version, 1);
}

#[tokio::test]
async fn a_database_that_is_away_is_worth_a_retry() {
    let store = Store::create().await;
    let mut connection = store.database.connection.clone();
    connection.port = 1;
    let pool = connection.pool(error_tracking_operator::store::connection::PoolSize { min: 0, max: 1 }, "tests");
    let error = Admin::connect(pool, 1).await.unwrap_err();
    assert!(error.retryable(), "{error:?}");

    let pool = store.database.pool_as("owner", "wrong password");
    let error = Admin::connect(pool, 1).await.unwrap_err();
    assert!(matches!(&error, StoreError::NotPermitted { .. }), "{error:?}");
    assert!(!error.to_string().contains("wrong password"));
}

#[tokio::test]
async fn what_is_retained_is_dropped_and_nothing_else() {
    let store = Store::create().await;
    let (shop, ingest) = store.ingesting("shop").await;
    send(&ingest, shop, &[row(1)]).await;
    assert_eq!(store.admin.drop_retained(shop).await.unwrap(), None, "it has its object");
    store.admin.retire_project(shop, DeletionPolicy::Retain).await.unwrap();
    assert_eq!(store.admin.drop_retained(shop).await.unwrap(), Some(Vec::new()), "its login went with its object");
    let schemas = "SELECT count(*) FROM pg_namespace WHERE nspname = '{schema}'";
    assert_eq!(store.number(shop, schemas).await, 0);
    let row = "SELECT state || ' ' || deletion_policy || ' ' || schema_version FROM errortracking.projects";
    assert_eq!(store.text(shop, row).await, "deleted Delete 0");
    assert_eq!(store.admin.drop_retained(shop).await.unwrap(), None, "it is gone");
    assert_eq!(store.admin.catalog_projects().await.unwrap(), []);
}

#[tokio::test]
async fn what_was_never_used_is_not_retained_and_what_is_retained_counts() {
    let store = Store::create().await;
    let retained = async |but_for: &str| store.admin.retained_in("namespace-1", but_for).await.unwrap();
    // As somebody who creates and deletes under another name again and again.
    for round in 0..3 {
        let (project, _) = store.ingesting(&format!("empty-{round}")).await;
        assert_eq!(store.admin.retire_project(project, DeletionPolicy::Retain).await.unwrap(), DeletionPolicy::Delete);
        assert_eq!(store.admin.observe_project(project).await.unwrap().unwrap().phase, Phase::Deleted);
    }
    let never_migrated = project_identity("never", "u1");
    let never = store.admin.allocate_project(&never_migrated, None, DeletionPolicy::Retain).await.unwrap();
    assert_eq!(store.admin.retire_project(never, DeletionPolicy::Retain).await.unwrap(), DeletionPolicy::Delete);
    assert_eq!(store.admin.catalog_projects().await.unwrap(), []);
    assert_eq!(retained("shop").await, 0);

    for table in ["events", "quarantine"] {
        let (project, ingest) = store.ingesting(table).await;
        if table == "events" {
            send(&ingest, project, &[row(1)]).await;
        } else {
            let aside = "INSERT INTO {schema}.quarantine (event_id, received_at, reason, payload)
                VALUES (gen_random_uuid(), now(), 'bad', 'x')";
            store.execute(project, aside).await;
        }
        for _ in 0..2 {
            let done = store.admin.retire_project(project, DeletionPolicy::Retain).await.unwrap();
            assert_eq!(done, DeletionPolicy::Retain, "{table}");
        }
    }
    assert_eq!(retained("shop").await, 2);
    assert_eq!(retained("events").await, 1, "its successor takes it over");
    assert_eq!(store.admin.retained_in("namespace-2", "shop").await.unwrap(), 0);

    // The row of a project whose events are in another database says nothing about them.
    let elsewhere = project_identity("elsewhere", "u1");
    let elsewhere = store.admin.allocate_project(&elsewhere, None, DeletionPolicy::Retain).await.unwrap();
    let location = Location { secret: "pg".into(), server: "pg:5432/errors".into() };
    store.admin.record_location(elsewhere, Some(&location)).await.unwrap();
    assert_eq!(store.admin.retire_project(elsewhere, DeletionPolicy::Retain).await.unwrap(), DeletionPolicy::Retain);
    assert_eq!(store.admin.observe_project(elsewhere).await.unwrap().unwrap().phase, Phase::Retained);
}
