//! `ingest_batch`: exactly once, exact counts, whatever else happens at the time.

use std::collections::HashSet;

use error_tracking_operator::{
    protocol::event::UNLABELED,
    store::{
        StoreError,
        ingest::{Applied, Batch, Quarantined, Row, ingest_batch, quarantine},
    },
};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::{Store, applied, row, send};

const COUNTED: &str = "SELECT coalesce(sum(events), 0)::bigint FROM {schema}.issue_counters";
const STORED: &str = "SELECT count(*) FROM {schema}.events";
const STATUS: &str = "SELECT string_agg(status, ' ' ORDER BY title) FROM {schema}.issues";
const REGRESSIONS: &str = "SELECT count(*) FROM {schema}.issue_activity WHERE kind = 'regression'";
const TITLE: &str = "SELECT title FROM {schema}.issues";
const USERS: &str = "SELECT string_agg(users::text, ' ' ORDER BY users DESC) FROM {schema}.issue_counters";
const A_MOMENT_AGO: SignedDuration = SignedDuration::from_secs(-60);
const VALUES: &str = "SELECT count(*) FROM {schema}.issue_tags WHERE value IS NOT NULL";

#[tokio::test]
async fn an_event_fills_every_table() {
    let store = Store::create().await;
    let (shop, ingest) = store.ingesting("shop").await;
    let mut event = row(1);
    event.user_hash = Some(-7);
    event.tags = vec![("browser".to_owned(), "Firefox".to_owned())];
    assert_eq!(send(&ingest, shop, &[event]).await, applied(1, 0));
    let all = "SELECT count(*) FROM {schema}.events AS e
        JOIN {schema}.issues AS i USING (issue_id)
        JOIN {schema}.issue_counters AS c USING (issue_id)
        JOIN {schema}.issue_hashes AS h USING (issue_id)
        JOIN {schema}.issue_hours AS o USING (issue_id)
        JOIN {schema}.issue_users AS u USING (issue_id, user_hash)
        JOIN {schema}.issue_tags AS t USING (issue_id)
        JOIN {schema}.tag_keys AS k USING (key_id)
        JOIN {schema}.releases AS r USING (release_id)
        JOIN {schema}.environments AS n USING (env_id)
        WHERE i.title = 'ValueError: 1' AND i.status = 'unresolved' AND i.first_release_id = e.release_id
            AND r.release = 'shop@1.0' AND n.environment = 'production'
            AND (k.key, t.value) = ('browser', 'Firefox') AND t.first_seen = e.ts
            AND (c.events, c.users, o.events) = (1, 1, 1) AND c.first_seen = e.ts AND c.last_seen = e.ts
            AND c.latest_event_id = e.event_id AND c.latest_received_at = e.received_at
            AND i.issue_id = (1::bigint << 32) + 1";
    assert_eq!(store.number(shop, all).await, 1);
}

#[tokio::test]
async fn a_batch_is_applied_once() {
    let store = Store::create().await;
    let (shop, ingest) = store.ingesting("shop").await;
    let stream = Uuid::new_v4();
    let rows = [row(1), row(2)];
    let batch = Batch { stream, sequence: 5, rows: &rows, ..Batch::default() };
    assert_eq!(ingest_batch(&ingest, shop, &batch).await.unwrap(), applied(2, 0));
    let again = Applied::default();
    assert_eq!(ingest_batch(&ingest, shop, &batch).await.unwrap(), again);
    let older = Batch { stream, sequence: 4, rows: &[row(3)], ..Batch::default() };
    assert_eq!(ingest_batch(&ingest, shop, &older).await.unwrap(), again);
    let next = Batch { stream, sequence: 6, rows: &[row(3)], ..Batch::default() };
    assert_eq!(ingest_batch(&ingest, shop, &next).await.unwrap(), applied(1, 0));
    let empty = Batch { stream, sequence: 7, rows: &[], ..Batch::default() };
    assert_eq!(ingest_batch(&ingest, shop, &empty).await.unwrap(), applied(0, 0));
    assert_eq!(store.number(shop, COUNTED).await, 3);
}

#[tokio::test]
async fn an_event_id_counts_once() {
    let store = Store::create().await;
    let (shop, ingest) = store.ingesting("shop").await;
    let event = row(1);
    let twice = [event.clone(), row(2), event.clone()];
    assert_eq!(send(&ingest, shop, &twice).await, applied(2, 1));
    // Later, accepted a second time, and grouped differently: no issue comes into being for it.
    let mut retried = event.clone();
    retried.received_at += SignedDuration::from_secs(1);
    retried.grouping_hash = [9; 32];
    assert_eq!(send(&ingest, shop, &[retried.clone()]).await, applied(0, 1));
    assert_eq!(send(&ingest, shop, &[retried, row(1)]).await, applied(1, 1));
    assert_eq!(store.number(shop, COUNTED).await, 3);
    assert_eq!(store.number(shop, STORED).await, 3);
    assert_eq!(store.number(shop, "SELECT count(*) FROM {schema}.issues").await, 2);
    assert_eq!(store.number(shop, "SELECT count(*) FROM {schema}.issue_hashes").await, 2);
}

/// Two partitions that meet `ahead` of now.
async fn with_a_boundary(
    store: &Store,
    project: error_tracking_operator::dsn::ProjectId,
    ahead: SignedDuration,
) -> Timestamp {
    let boundary = Timestamp::now() + ahead;
    let midnight = store.admin.observe_project(project).await.unwrap().unwrap().partitions[0].from;
    store
        .execute(
            project,
            &format!(
                "ALTER TABLE {{schema}}.events DETACH PARTITION {{schema}}.events_{0};
                 ALTER TABLE {{schema}}.events ATTACH PARTITION {{schema}}.events_{0}
                    FOR VALUES FROM ('{midnight}') TO ('{boundary}');
                 UPDATE {{schema}}.partitions SET n = n + 10 WHERE n > 1;
                 INSERT INTO {{schema}}.partitions SELECT 2, '{boundary}', to_at, 'events_b' FROM {{schema}}.partitions
                    WHERE n = 1;
                 UPDATE {{schema}}.partitions SET to_at = '{boundary}' WHERE n = 1;
                 UPDATE {{schema}}.partitions SET n = n - 9 WHERE n > 10;
                 CREATE TABLE {{schema}}.events_b (LIKE {{schema}}.events);
                 CREATE UNIQUE INDEX ON {{schema}}.events_b (event_id)",
                midnight.strftime("%Y%m%d")
            ),
        )
        .await;
    let (to,): (String,) = sqlx::query_as(sqlx::AssertSqlSafe(format!(
        "SELECT to_at::text FROM {}.partitions WHERE n = 2",
        project.schema()
    )))
    .fetch_one(&store.pool)
    .await
    .unwrap();
    store
        .execute(
            project,
            &format!(
                "ALTER TABLE {{schema}}.events ATTACH PARTITION {{schema}}.events_b
                    FOR VALUES FROM ('{boundary}') TO ('{to}')"
            ),
        )
        .await;
    boundary
}

#[tokio::test]
async fn an_event_id_counts_once_over_the_end_of_a_partition() {
    let store = Store::create().await;
    let (shop, ingest) = store.ingesting("shop").await;
    let boundary = with_a_boundary(&store, shop, A_MOMENT_AGO).await;
    let second = SignedDuration::from_secs(1);

    let mut before = row(1);
    before.received_at = boundary - second;
    let mut after = before.clone();
    after.received_at = boundary + second;
    assert_eq!(send(&ingest, shop, &[before.clone()]).await, applied(1, 0));
    assert_eq!(send(&ingest, shop, &[after.clone()]).await, applied(0, 1));

    // The later one first, as a replay of what was accepted before brings it; then both in one batch.
    (before.event_id, after.event_id) = (row(1).event_id, before.event_id);
    after.event_id = before.event_id;
    assert_eq!(send(&ingest, shop, &[after]).await, applied(1, 0));
    assert_eq!(send(&ingest, shop, &[before.clone()]).await, applied(0, 1));
    before.event_id = row(1).event_id;
    let mut after = before.clone();
    after.received_at = boundary + second;
    assert_eq!(send(&ingest, shop, &[before, after]).await, applied(1, 1));
    assert_eq!(store.number(shop, STORED).await, 3);
    assert_eq!(store.number(shop, COUNTED).await, 3);
}

/// A pod's clock may be a day ahead.
#[tokio::test]
async fn an_event_id_counts_once_over_a_boundary_that_is_still_to_come() {
    let store = Store::create().await;
    let (shop, ingest) = store.ingesting("shop").await;
    let boundary = with_a_boundary(&store, shop, SignedDuration::from_hours(23)).await;
    let second = SignedDuration::from_secs(1);
    let mut after = row(1);
    after.received_at = boundary + second;
    let mut before = after.clone();
    before.received_at = boundary - second;
    assert_eq!(send(&ingest, shop, &[after]).await, applied(1, 0));
    assert_eq!(send(&ingest, shop, &[before]).await, applied(0, 1));
}

/// Whoever sends an event again does so soon; a look into a neighbour that is further away is not worth it.
#[tokio::test]
async fn an_event_id_is_looked_for_beside_its_partition_within_an_hour_of_the_boundary() {
    let store = Store::create().await;
    let (shop, ingest) = store.ingesting("shop").await;
    let boundary = with_a_boundary(&store, shop, SignedDuration::from_hours(-3)).await;
    let mut stored = 0;
    for (before_minutes, after_minutes, is_known) in [(1, 1, true), (90, 59, true), (59, 90, false), (1, 61, false)] {
        let mut first = row(1);
        first.received_at = boundary - SignedDuration::from_mins(before_minutes);
        let mut again = first.clone();
        again.received_at = boundary + SignedDuration::from_mins(after_minutes);
        assert_eq!(send(&ingest, shop, &[first]).await, applied(1, 0));
        let counted = if is_known { applied(0, 1) } else { applied(1, 0) };
        assert_eq!(send(&ingest, shop, &[again]).await, counted, "{before_minutes} and {after_minutes} minutes");
        stored += counted.stored.cast_signed() + 1;
    }
    assert_eq!(store.number(shop, STORED).await, stored);

    // Whoever looks where it need not now finds nothing to look into.
    store.execute(shop, "UPDATE {schema}.partitions SET relname = 'nowhere' WHERE n = 1").await;
    assert_eq!(send(&ingest, shop, &[row(1)]).await, applied(1, 0), "usual events");
    let mut near = row(1);
    near.received_at = boundary + SignedDuration::from_mins(59);
    let batch = Batch { stream: Uuid::new_v4(), sequence: 1, rows: &[near], ..Batch::default() };
    assert!(ingest_batch(&ingest, shop, &batch).await.is_err());
}

/// The same events sent by several writers at a time, some accepted before and some after the boundary.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_writers_of_the_same_events_count_them_once() {
    let store = Store::create().await;
    let (shop, ingest) = store.ingesting("shop").await;
    let boundary = with_a_boundary(&store, shop, A_MOMENT_AGO).await;
    for round in 0..20 {
        let rows: Vec<Row> = (0..20).map(|n| row(round * 4 + n % 4)).collect();
        let writers = (0..6).map(|writer| {
            let mut rows = rows.clone();
            for row in &mut rows {
                let offset = SignedDuration::from_secs(if writer % 2 == 0 { 1 } else { -1 });
                row.received_at = boundary + offset;
            }
            rows.rotate_left(writer);
            let ingest = ingest.clone();
            tokio::spawn(async move { send(&ingest, shop, &rows).await })
        });
        let sent = futures::future::join_all(writers).await.into_iter().map(Result::unwrap);
        let (stored, duplicates) = sent.fold((0, 0), |sum, batch| (sum.0 + batch.stored, sum.1 + batch.duplicates));
        assert_eq!((stored, duplicates), (20, 100), "round {round}");
    }
    assert_eq!(store.number(shop, STORED).await, 400);
    assert_eq!(store.number(shop, COUNTED).await, 400);
    assert_eq!(store.number(shop, "SELECT count(*) FROM {schema}.issues").await, 80);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixteen_writers_end_with_exact_counts() {
    const WRITERS: u64 = 16;
    const BATCHES: u64 = 12;
    const ROWS: u64 = 60;
    let store = Store::create().await;
    let (shop, ingest) = store.ingesting("shop").await;
    let writers = (0..WRITERS).map(|_| {
        let ingest = ingest.clone();
        tokio::spawn(async move {
            let stream = Uuid::new_v4();
            let mut users = HashSet::new();
            for sequence in 0..BATCHES {
                let rows: Vec<Row> = (0..ROWS)
                    .map(|_| {
                        let mut row = row(rand::random::<u8>() % 40);
                        row.user_hash = Some(i64::from(rand::random::<u8>() % 50));
                        row.release = Some(format!("shop@{}", rand::random::<u8>() % 9));
                        row.tags = vec![("n".to_owned(), (rand::random::<u8>() % 20).to_string())];
                        row
                    })
                    .collect();
                users.extend(rows.iter().map(|row| (row.grouping_hash, row.user_hash)));
                // The caller's own retries are in there: a deadlock would still end in an error.
                let batch = Batch { stream, sequence: sequence.cast_signed(), rows: &rows, ..Batch::default() };
                assert_eq!(ingest_batch(&ingest, shop, &batch).await.unwrap(), applied(ROWS, 0));
            }
            users
        })
    });
    let users: HashSet<_> = futures::future::join_all(writers).await.into_iter().flat_map(Result::unwrap).collect();
    let total = (WRITERS * BATCHES * ROWS).cast_signed();
    assert_eq!(store.number(shop, STORED).await, total);
    assert_eq!(store.number(shop, COUNTED).await, total);
    assert_eq!(store.number(shop, "SELECT sum(events)::bigint FROM {schema}.issue_hours").await, total);
    assert_eq!(store.number(shop, "SELECT count(*) FROM {schema}.issues").await, 40);
    assert_eq!(store.number(shop, "SELECT last FROM {schema}.issue_numbers").await, 40);
    let distinct = i64::try_from(users.len()).unwrap();
    assert_eq!(store.number(shop, "SELECT sum(users)::bigint FROM {schema}.issue_counters").await, distinct);
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    assert_eq!(store.number(shop, deadlocks).await, 0);
}

#[tokio::test]
async fn a_resolved_issue_comes_back_with_a_newer_event() {
    let store = Store::create().await;
    let (shop, ingest) = store.ingesting("shop").await;
    send(&ingest, shop, &[row(1), row(2)]).await;
    let late = row(1);
    store.execute(shop, "UPDATE {schema}.issues SET status = 'resolved', status_changed_at = now()").await;

    // Accepted before it was resolved, stored after.
    send(&ingest, shop, &[late]).await;
    assert_eq!(store.text(shop, STATUS).await, "resolved resolved");
    send(&ingest, shop, &[row(1), row(1)]).await;
    assert_eq!(store.text(shop, STATUS).await, "unresolved resolved");
    assert_eq!(store.number(shop, REGRESSIONS).await, 1);

    store.execute(shop, "UPDATE {schema}.issues SET status = 'ignored', status_changed_at = now()").await;
    send(&ingest, shop, &[row(1), row(2)]).await;
    assert_eq!(store.text(shop, STATUS).await, "ignored ignored");
    assert_eq!(store.number(shop, REGRESSIONS).await, 1);
}

#[tokio::test]
async fn the_text_is_of_the_newest_event() {
    let store = Store::create().await;
    let (shop, ingest) = store.ingesting("shop").await;
    let at = |seconds: i64, title: &str| {
        let mut row = row(1);
        row.timestamp = Timestamp::from_second(1_790_000_000 + seconds).unwrap();
        row.title = title.to_owned();
        row
    };
    send(&ingest, shop, &[at(20, "b"), at(30, "c"), at(10, "a")]).await;
    assert_eq!(store.text(shop, TITLE).await, "c");
    send(&ingest, shop, &[at(25, "older")]).await;
    assert_eq!(store.text(shop, TITLE).await, "c");
    send(&ingest, shop, &[at(40, "newer"), at(5, "oldest")]).await;
    assert_eq!(store.text(shop, TITLE).await, "newer");
    let mut unlabeled = at(50, UNLABELED);
    unlabeled.culprit = "elsewhere".to_owned();
    send(&ingest, shop, &[unlabeled]).await;
    assert_eq!(store.text(shop, TITLE).await, "newer", "a placeholder says less");
    assert_eq!(store.text(shop, "SELECT culprit FROM {schema}.issues").await, "elsewhere");
    let span = "SELECT extract(epoch FROM last_seen - first_seen)::bigint FROM {schema}.issue_counters";
    assert_eq!(store.number(shop, span).await, 45);
}

#[tokio::test]
async fn users_are_counted_once_an_issue() {
    let store = Store::create().await;
    let (shop, ingest) = store.ingesting("shop").await;
    let of = |hash: u8, user: Option<i64>| {
        let mut row = row(hash);
        row.user_hash = user;
        row
    };
    send(&ingest, shop, &[of(1, Some(1)), of(1, Some(1)), of(1, Some(2)), of(2, Some(1)), of(1, None)]).await;
    send(&ingest, shop, &[of(1, Some(2)), of(1, Some(3)), of(2, None)]).await;
    assert_eq!(store.text(shop, USERS).await, "3 1");
}

#[tokio::test]
async fn values_of_a_tag_are_bounded() {
    let store = Store::create().await;
    let (shop, ingest) = store.ingesting("shop").await;
    for batch in 0..4 {
        let rows: Vec<Row> = (0..200)
            .map(|n| {
                let mut row = row(1);
                row.tags = vec![("request".to_owned(), format!("{batch}-{n}")), ("os".to_owned(), "Linux".to_owned())];
                row
            })
            .collect();
        assert_eq!(send(&ingest, shop, &rows).await, applied(200, 0));
    }
    assert_eq!(store.number(shop, VALUES).await, 501);
    assert_eq!(store.number(shop, "SELECT count(*) FROM {schema}.issue_tags WHERE value_hash = 0").await, 1);
}

#[tokio::test]
async fn what_is_acknowledged_is_on_disk_whatever_the_database_says() {
    let store = Store::create().await;
    let (shop, ingest) = store.ingesting("shop").await;
    let nothing = ["'{}'"; 20].join(", ");
    let calls = [format!("ingest_batch($1, 1, {nothing})"), "quarantine_event($1, now(), 'bad', '')".to_owned()];
    let settings = [("off", "on"), ("local", "on"), ("on", "on"), ("remote_apply", "remote_apply")];
    for ((setting, effective), call) in
        settings.iter().flat_map(|setting| calls.iter().map(move |call| (*setting, call)))
    {
        let mut transaction = ingest.begin().await.unwrap();
        sqlx::query("SELECT set_config('synchronous_commit', $1, true)")
            .bind(setting)
            .execute(&mut *transaction)
            .await
            .unwrap();
        let statement = format!("SELECT {}.{call}", shop.schema());
        sqlx::query(sqlx::AssertSqlSafe(statement)).bind(Uuid::new_v4()).execute(&mut *transaction).await.unwrap();
        let (now,): (String,) =
            sqlx::query_as("SELECT current_setting('synchronous_commit')").fetch_one(&mut *transaction).await.unwrap();
        assert_eq!(now, effective, "{setting}: {call}");
    }
}

#[tokio::test]
async fn an_event_is_kept_in_quarantine_once() {
    let store = Store::create().await;
    let (shop, ingest) = store.ingesting("shop").await;
    let bad = row(1);
    let aside = Quarantined { event_id: bad.event_id, received_at: bad.received_at, reason: "bad", payload: b"x" };
    for _ in 0..2 {
        quarantine(&ingest, shop, &aside).await.unwrap();
    }
    assert_eq!(store.number(shop, "SELECT count(*) FROM {schema}.quarantine").await, 1);
}

#[tokio::test]
async fn a_missing_partition_is_waited_for_and_a_bad_row_is_not() {
    let store = Store::create().await;
    let (shop, ingest) = store.ingesting("shop").await;
    let batch = async |row: Row| {
        let batch = Batch { stream: Uuid::new_v4(), sequence: 1, rows: &[row], ..Batch::default() };
        ingest_batch(&ingest, shop, &batch).await.unwrap_err()
    };
    let mut bad = row(1);
    bad.title = "a\0b".to_owned();
    let error = batch(bad).await;
    assert!(matches!(error, StoreError::Rejected { .. }), "{error:?}");
    for (days, what) in [(-400, "too old"), (3, "in the future")] {
        let mut odd = row(1);
        odd.received_at += SignedDuration::from_hours(24 * days);
        let error = batch(odd).await;
        assert!(matches!(error, StoreError::Rejected { .. }), "{what}: {error:?}");
    }
    store.execute(shop, "DELETE FROM {schema}.partitions").await;
    let error = batch(row(1)).await;
    assert!(matches!(error, StoreError::NoPartition { .. }) && error.retryable(), "{error:?}");
    assert_eq!(store.number(shop, COUNTED).await, 0);
}
