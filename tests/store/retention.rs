//! Old events and the issues without any go.

use std::time::Duration;

use error_tracking_operator::{
    dsn::ProjectId,
    store::{
        Admin,
        admin::{DeletionPolicy, Expired},
    },
};
use jiff::{SignedDuration, Timestamp};
use sqlx::AssertSqlSafe;

use crate::{Store, applied, row, send, support};

fn days(days: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * days)
}

#[tokio::test]
async fn what_is_past_the_retention_goes_and_the_rest_stays() {
    let store = Store::create().await;
    let now = Timestamp::now();
    let identity = crate::project_identity("shop", "u1");
    let policy = DeletionPolicy::Retain;
    let shop = store.admin.allocate_project(&identity, None, policy).await.unwrap();
    store.admin.migrate_project(shop).await.unwrap();
    // As if the project had begun 70 days ago: the first partition ends 40 days ago.
    store.admin.ensure_partitions(shop, now - days(70)).await.unwrap();
    store.admin.ensure_partitions(shop, now).await.unwrap();
    let role = store.admin.ensure_ingest_role(shop, &"secret".into()).await.unwrap();
    let ingest = store.database.pool_as(&role, "secret");

    let at = |hash: u8, ago: i64| {
        let mut row = row(hash);
        row.received_at = now - days(ago);
        row.timestamp = row.received_at;
        row.user_hash = Some(ago);
        row.tags = vec![("k".to_owned(), "v".to_owned())];
        row
    };
    let rows = [at(1, 60), at(2, 60), at(2, 35), at(3, 35), at(3, 1), at(4, 20)];
    assert_eq!(send(&ingest, shop, &rows).await, applied(6, 0));

    let expired = store.admin.drop_expired(shop, 30, now).await.unwrap();
    assert_eq!(expired, Expired { partitions: 1, events: 2, issues: 2 });
    assert_eq!(store.admin.drop_expired(shop, 30, now).await.unwrap(), Expired::default());
    for (table, left) in [
        ("events", 2),
        ("issues", 2),
        ("issue_counters", 2),
        ("issue_hashes", 2),
        ("issue_users", 3),
        ("issue_tags", 2),
        ("issue_hours", 2),
        ("issue_environment_hours", 2),
        // One of all releases for each.
        ("issue_environments", 4),
        ("expired_issues", 0),
    ] {
        assert_eq!(store.number(shop, &format!("SELECT count(*) FROM {{schema}}.{table}")).await, left, "{table}");
    }
    let state = store.admin.observe_project(shop).await.unwrap().unwrap();
    assert!(state.partitions_ready(now), "{:?}", state.partitions);

    // An issue that was forgotten is a new one when it happens again.
    assert_eq!(send(&ingest, shop, &[row(1)]).await, applied(1, 0));
    assert_eq!(store.number(shop, "SELECT max(issue_id) & 4294967295 FROM {schema}.issues").await, 5);
}

#[tokio::test]
async fn what_ingest_left_beside_events_goes_too() {
    let store = Store::create().await;
    let shop = store.project("shop").await;
    store
        .execute(
            shop,
            "INSERT INTO {schema}.quarantine (event_id, received_at, reason, payload)
                SELECT gen_random_uuid(), now() - ago, 'bad', '' FROM unnest('{29 days,31 days}'::interval[]) AS ago;
             INSERT INTO {schema}.outcomes (hour, reason, quantity)
                SELECT now() - ago, 'too_large', 1 FROM unnest('{29 days,31 days}'::interval[]) AS ago;
             INSERT INTO errortracking.ingest_instances (project_id, instance, settings_version, seen_at)
                SELECT project_id, ago::text, 1, now() - ago
                FROM errortracking.projects, unnest('{30 days,32 days}'::interval[]) AS ago",
        )
        .await;
    store.admin.drop_expired(shop, 30, Timestamp::now()).await.unwrap();
    for table in ["{schema}.quarantine", "{schema}.outcomes", "errortracking.ingest_instances"] {
        assert_eq!(store.number(shop, &format!("SELECT count(*) FROM {table}")).await, 1, "{table}");
    }
}

#[tokio::test]
async fn an_interrupted_removal_of_a_partition_is_finished() {
    let store = Store::create().await;
    let shop = store.project("shop").await;
    let now = Timestamp::now();
    let first = store.admin.observe_project(shop).await.unwrap().unwrap().partitions[0];
    let leaf = format!("events_{}", first.from.strftime("%Y%m%d"));
    store
        .execute(
            shop,
            &format!(
                "DELETE FROM {{schema}}.partitions WHERE relname = '{leaf}';
                 ALTER TABLE {{schema}}.events DETACH PARTITION {{schema}}.{leaf}"
            ),
        )
        .await;
    assert_eq!(store.admin.drop_expired(shop, 30, now).await.unwrap().partitions, 1);
    assert_eq!(store.admin.drop_expired(shop, 30, now).await.unwrap().partitions, 0);
}

#[tokio::test]
async fn the_oldest_event_is_found_behind_empty_partitions() {
    let store = Store::create().await;
    let shop = store.project("shop").await;
    let now = Timestamp::now();
    // As if nobody had looked after it for 70 days; the first partition stays empty.
    let blog = store
        .admin
        .allocate_project(&crate::project_identity("blog", "u1"), None, DeletionPolicy::Retain)
        .await
        .unwrap();
    store.admin.migrate_project(blog).await.unwrap();
    for ago in [70, 0] {
        store.admin.ensure_partitions(blog, now - days(ago)).await.unwrap();
    }
    let role = store.admin.ensure_ingest_role(blog, &"secret".into()).await.unwrap();
    let ingest = store.database.pool_as(&role, "secret");
    assert_eq!(store.admin.oldest_event(blog).await.unwrap(), None);
    let empty = store.admin.project_bytes(blog).await.unwrap();
    let rows = [3, 20, 9].map(|ago| {
        let mut row = row(1);
        row.received_at = now - days(ago);
        row
    });
    assert_eq!(send(&ingest, blog, &rows).await, applied(3, 0));
    let oldest = store.admin.oldest_event(blog).await.unwrap().unwrap();
    assert_eq!(oldest.as_microsecond(), rows[1].received_at.as_microsecond());
    assert!(store.admin.project_bytes(blog).await.unwrap() > empty);
    // The project without events is another one's matter.
    assert_eq!(store.admin.oldest_event(shop).await.unwrap(), None);
    store.admin.retire_project(shop, DeletionPolicy::Delete).await.unwrap();
    assert_eq!(store.admin.project_bytes(shop).await.unwrap(), 0);
}

#[tokio::test]
async fn what_a_project_received_is_told_by_reason() {
    let store = Store::create().await;
    let shop = store.project("shop").await;
    store
        .execute(
            shop,
            "INSERT INTO {schema}.outcome_counts (hour, outcome, key_id, category, reason, part, quantity) VALUES
                (date_trunc('hour', now()), 'accepted', 1, 'error', '', 0, 7),
                (date_trunc('hour', now()), 'accepted', 1, 'security', '', 1, 2),
                (date_trunc('hour', now()), 'accepted', 1, 'session', '', 0, 100),
                (date_trunc('hour', now()), 'rate_limited', 1, 'error', 'project_quota', 0, 3),
                (date_trunc('hour', now()), 'rate_limited', 2, 'error', 'project_quota', 1, 1),
                (date_trunc('hour', now()), 'dropped', 1, 'transaction', 'unsupported_item', 0, 5),
                (date_trunc('hour', now() - interval '30 hours'), 'filtered', 1, 'error', 'crawler', 0, 9)",
        )
        .await;
    let usage = store.admin.project_usage(shop, Timestamp::now() - days(1)).await.unwrap();
    let told: Vec<_> = usage.outcomes.iter().map(|of| (of.outcome.as_str(), of.reason.as_str(), of.quantity)).collect();
    assert_eq!(told, [("accepted", "", 9), ("dropped", "unsupported_item", 5), ("rate_limited", "project_quota", 4)]);
    assert_eq!(usage.oldest_event, None);
    assert!(usage.bytes > 0);
}

/// What was read of a table: blocks of its own, and entries of its indexes.
struct Reads {
    blocks: i64,
    index_entries: i64,
}

impl Reads {
    /// Sessions tell what they did when they end; `column` says when all of them have.
    async fn of(store: &Store, project: ProjectId, table: &str, column: &str, expected: i64) -> Self {
        let of = |view: &str, what: &str| {
            format!("SELECT {what}::bigint FROM {view} WHERE schemaname = '{{schema}}' AND relname = '{table}'")
        };
        let told = async || store.number(project, &of("pg_stat_user_tables", column)).await >= expected;
        support::ingest::until("the sessions have told what they did", told).await;
        Self {
            blocks: store.number(project, &of("pg_statio_user_tables", "heap_blks_read + heap_blks_hit")).await,
            index_entries: store.number(project, &of("pg_stat_user_indexes", "sum(idx_tup_read)")).await,
        }
    }
}

/// Whoever walks in each transaction over what the ones before it deleted reads a table again and again.
#[tokio::test]
async fn what_goes_is_read_about_once_in_however_many_transactions() {
    const ROWS: i64 = 60_000;
    let store = Store::create().await;
    let shop = store.project("shop").await;
    let first = store.admin.observe_project(shop).await.unwrap().unwrap().partitions[0];
    let leaf = format!("events_{}", first.from.strftime("%Y%m%d"));
    // One row of each table stays. One issue has half of all users.
    let fill = format!(
        "INSERT INTO {{schema}}.events (received_at, event_id, issue_id, ts, level, payload)
            SELECT '{from}'::timestamptz + n * interval '1 ms', gen_random_uuid(), 1, now(), 1, ''
            FROM generate_series(1, {ROWS} + 1) AS n;
         INSERT INTO {{schema}}.session_users
            SELECT date_trunc('hour', now()) - CASE WHEN n > 0 THEN 40 ELSE 0 END * interval '1 day', n % 3, 1, n,
                false, false, false, false
            FROM generate_series(0, {ROWS}) AS n;
         INSERT INTO {{schema}}.issue_counters
            SELECT n, 1, 1, now(), now(), now() - interval '40 days', gen_random_uuid()
            FROM generate_series(1, 1200) AS n;
         INSERT INTO {{schema}}.issue_users
            SELECT CASE WHEN n = 0 THEN 5000 WHEN n % 2 = 0 THEN 7 ELSE n % 1200 + 1 END, n
            FROM generate_series(0, {ROWS}) AS n;
         ANALYZE {{schema}}.{leaf}; ANALYZE {{schema}}.session_users; ANALYZE {{schema}}.issue_users",
        from = first.from,
    );
    let session = store.database.pool();
    sqlx::raw_sql(AssertSqlSafe(fill.replace("{schema}", &shop.schema()))).execute(&session).await.unwrap();
    session.close().await;
    let tables = [&*leaf, "session_users", "issue_users"];
    let mut before = Vec::new();
    for table in tables {
        before.push(Reads::of(&store, shop, table, "n_tup_ins", ROWS + 1).await);
    }

    let sessions = store.database.pool();
    let admin = Admin::connect(sessions.clone(), 1).await.unwrap();
    let limit = first.from + SignedDuration::from_millis(ROWS + 1);
    let expired = admin.drop_expired(shop, 30, limit + days(30)).await.unwrap();
    assert_eq!(expired, Expired { partitions: 0, events: ROWS.unsigned_abs(), issues: 1200 });
    sessions.close().await;
    let mut read = Vec::new();
    for (table, before) in tables.iter().zip(&before) {
        let after = Reads::of(&store, shop, table, "n_tup_del", ROWS).await;
        assert_eq!(store.number(shop, &format!("SELECT count(*) FROM {{schema}}.{table}")).await, 1, "{table}");
        read.push(Reads {
            blocks: after.blocks - before.blocks,
            index_entries: after.index_entries - before.index_entries,
        });
    }
    // A look for the first and the last, and the walk; and each row that is deleted is one access.
    let blocks = store.number(shop, &format!("SELECT pg_relation_size('{{schema}}.{leaf}') / 8192")).await;
    assert!(read[0].blocks < ROWS + 4 * blocks, "{} accesses for {blocks} blocks", read[0].blocks);
    for (table, read) in tables.iter().zip(&read).skip(1) {
        assert!(read.index_entries < ROWS * 3 / 2, "{table}: {} entries", read.index_entries);
    }
}

#[tokio::test]
async fn an_interrupted_removal_goes_on_where_it_was() {
    let store = Store::create().await;
    let shop = store.project("shop").await;
    let first = store.admin.observe_project(shop).await.unwrap().unwrap().partitions[0];
    // Old rows among new ones, in blocks apart; and issues whose rows were left when they were forgotten.
    let fill = format!(
        "INSERT INTO {{schema}}.events (received_at, event_id, issue_id, ts, level, payload)
            SELECT '{from}'::timestamptz + CASE WHEN n % 400 < 3 THEN 1 ELSE 3 END * interval '1 hour',
                gen_random_uuid(), 1, now(), 1, '\\x0102'
            FROM generate_series(1, 20000) AS n;
         INSERT INTO {{schema}}.issue_users SELECT i, u FROM generate_series(1, 3) AS i, generate_series(1, 12000) AS u;
         INSERT INTO {{schema}}.expired_issues VALUES (1), (3)",
        from = first.from,
    );
    store.execute(shop, &fill).await;
    let now = first.from + days(30) + SignedDuration::from_hours(2);
    let old = format!(
        "SELECT count(*) FROM {{schema}}.events WHERE received_at < '{}'",
        first.from + SignedDuration::from_hours(2)
    );
    assert_eq!(store.number(shop, &old).await, 150);
    let mut interrupted = 0;
    let expired = loop {
        // Each attempt is ended a little later than the one before.
        let attempt = store.admin.drop_expired(shop, 30, now);
        match tokio::time::timeout(Duration::from_millis(10 * interrupted), attempt).await {
            Ok(expired) => break expired.unwrap(),
            Err(_) => interrupted += 1,
        }
        assert!(interrupted < 1000);
    };
    assert!(interrupted > 1, "nothing was interrupted");
    assert!(expired.events <= 150);
    assert_eq!(store.number(shop, &old).await, 0);
    assert_eq!(store.number(shop, "SELECT count(*) FROM {schema}.events").await, 19_850);
    let users = "SELECT count(*) FROM {schema}.issue_users";
    assert_eq!(store.number(shop, users).await, 12_000, "of the issue that is known");
    assert_eq!(store.number(shop, &format!("{users} WHERE issue_id = 2")).await, 12_000);
    assert_eq!(store.number(shop, "SELECT count(*) FROM {schema}.expired_issues").await, 0);
}
