//! Old events and the issues without any go.

use error_tracking_operator::store::admin::{DeletionPolicy, Expired};
use jiff::{SignedDuration, Timestamp};

use crate::{Store, applied, row, send};

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
