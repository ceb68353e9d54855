//! Transactions of others that stay open: they may make the operator wait, and never ingest.

use std::time::{Duration, Instant};

use error_tracking_operator::store::{
    Admin,
    admin::{DeletionPolicy, PodGrant},
};
use jiff::{SignedDuration, Timestamp};
use sqlx::AssertSqlSafe;

use crate::{Store, applied, row, send, support::versions::BACK_TO_6};

/// Longest that a batch may take while somebody waits: a second of a lock, and what this machine needs.
const PATIENCE: Duration = Duration::from_secs(3);

/// What `pg_dump` holds from its beginning to its end: a lock on each table that lets everybody but DDL go on.
async fn dump(store: &Store) -> sqlx::Transaction<'static, sqlx::Postgres> {
    let mut transaction = store.database.superuser().begin().await.unwrap();
    let tables: Vec<(String,)> = sqlx::query_as(
        "SELECT format('%I.%I', relnamespace::regnamespace, relname) FROM pg_class
         WHERE relkind IN ('r', 'p') AND relnamespace::regnamespace::text ~ '^(errortracking|project_.*)$'",
    )
    .fetch_all(&mut *transaction)
    .await
    .unwrap();
    for (table,) in tables {
        let lock = format!("LOCK TABLE {table} IN ACCESS SHARE MODE");
        sqlx::raw_sql(AssertSqlSafe(lock)).execute(&mut *transaction).await.unwrap();
    }
    transaction
}

/// The schema as a version before left it: the last migrations are not applied yet.
async fn before_the_last_migration(store: &Store) {
    sqlx::raw_sql(BACK_TO_6).execute(&store.pool).await.unwrap();
}

#[tokio::test]
async fn a_migration_of_the_server_waits_for_a_dump_and_ingest_does_not_wait_for_it() {
    let store = Store::create().await;
    let (shop, ingest) = store.ingesting("shop").await;
    before_the_last_migration(&store).await;
    let dumping = dump(&store).await;
    let sending = async {
        let mut slowest = Duration::ZERO;
        for _ in 0..40 {
            let began = Instant::now();
            assert_eq!(send(&ingest, shop, &[row(1)]).await, applied(1, 0));
            // This one looks the project up in the catalog.
            error_tracking_operator::store::ingest::find_key(&ingest, shop, &crate::public_key()).await.unwrap();
            slowest = slowest.max(began.elapsed());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        slowest
    };
    let began = Instant::now();
    let (waited, slowest) = tokio::join!(Admin::connect(store.pool.clone(), 1), sending);
    let waited = waited.unwrap_err();
    assert!(waited.waits_for_a_transaction(), "{waited:?}");
    assert!(slowest < PATIENCE, "{slowest:?}");
    assert!(began.elapsed() < Duration::from_secs(10));
    dumping.rollback().await.unwrap();
    let admin = Admin::connect(store.pool.clone(), 1).await.unwrap();
    assert!(admin.observe_project(shop).await.unwrap().unwrap().role_exists);
}

#[tokio::test]
async fn a_tenant_cannot_keep_the_operator_from_its_migration() {
    let store = Store::create().await;
    let (shop, ingest) = store.ingesting("shop").await;
    before_the_last_migration(&store).await;
    let mut held = ingest.begin().await.unwrap();
    sqlx::raw_sql("SET idle_in_transaction_session_timeout = 0; SET statement_timeout = 0")
        .execute(&mut *held)
        .await
        .unwrap();
    sqlx::query("SELECT errortracking.find_key($1, 'x')").bind(shop.as_i64()).execute(&mut *held).await.unwrap();
    let waited = Admin::connect(store.pool.clone(), 1).await.unwrap_err();
    assert!(waited.waits_for_a_transaction(), "it may be a batch: {waited:?}");
    // A minute later it is none. The test does not wait for it.
    let ended = "SELECT count(*) FROM pg_stat_activity WHERE usename ~ '_ingest$' AND datname = current_database()
        AND state = 'idle in transaction'";
    assert_eq!(store.number(shop, ended).await, 1);
    assert_eq!(store.admin.end_transactions_older_than(Duration::ZERO).await.unwrap(), 1);
    Admin::connect(store.pool.clone(), 1).await.unwrap();
    assert!(sqlx::query("SELECT 1").execute(&mut *held).await.is_err());
}

#[tokio::test]
async fn retention_goes_on_beside_a_dump_and_ingest_does_not_wait() {
    let store = Store::create().await;
    let now = Timestamp::now();
    let identity = crate::project_identity("shop", "u1");
    let shop = store.admin.allocate_project(&identity, None, DeletionPolicy::Retain).await.unwrap();
    store.admin.migrate_project(shop).await.unwrap();
    // The day of the limit is in a partition that stays.
    store.admin.ensure_partitions(shop, now - SignedDuration::from_hours(24 * 20)).await.unwrap();
    store.admin.ensure_partitions(shop, now).await.unwrap();
    let role = store.admin.ensure_ingest_role(shop, &"secret".into()).await.unwrap();
    let ingest = store.database.pool_as(&role, "secret");
    let mut old = row(1);
    old.received_at = now - SignedDuration::from_hours(24 * 12);
    old.timestamp = old.received_at;
    assert_eq!(send(&ingest, shop, &[old, row(2)]).await, applied(2, 0));

    let dumping = dump(&store).await;
    let sending = async {
        let mut slowest = Duration::ZERO;
        for hash in 3..23 {
            let began = Instant::now();
            assert_eq!(send(&ingest, shop, &[row(hash)]).await, applied(1, 0));
            slowest = slowest.max(began.elapsed());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        slowest
    };
    let (expired, slowest) = tokio::join!(store.admin.drop_expired(shop, 10, now), sending);
    let expired = expired.unwrap();
    assert_eq!((expired.events, expired.issues), (1, 1), "{expired:?}");
    assert!(slowest < PATIENCE, "{slowest:?}");
    dumping.rollback().await.unwrap();
}

/// Making a schema takes long on a busy server, and others get their numbers meanwhile; never two at once.
#[tokio::test]
async fn a_project_gets_its_number_while_the_schema_of_another_is_made() {
    let store = Store::create().await;
    let shop = store.project("shop").await;
    let allocate = async |name: &str| {
        store.admin.allocate_project(&crate::project_identity(name, "u1"), None, DeletionPolicy::Retain).await
    };
    let mut making = store.pool.begin().await.unwrap();
    sqlx::raw_sql("LOCK TABLE errortracking.schema_version IN ROW SHARE MODE").execute(&mut *making).await.unwrap();
    assert_eq!(allocate("blog").await.unwrap().get(), shop.get() + 1);
    assert_eq!(store.admin.grant_pods(shop, 1, Some(10)).await.unwrap(), PodGrant::Granted);
    making.rollback().await.unwrap();

    let mut numbering = store.pool.begin().await.unwrap();
    sqlx::raw_sql("SELECT FROM errortracking.schema_version FOR UPDATE").execute(&mut *numbering).await.unwrap();
    let waited = allocate("news").await.unwrap_err();
    assert!(waited.retryable(), "{waited:?}");
    numbering.rollback().await.unwrap();
    assert_eq!(allocate("news").await.unwrap().get(), shop.get() + 2);
}
