//! Feedback, outcomes and the windows of rate limits: exactly once, by key, and readable by nobody who only writes.

use error_tracking_operator::{
    dsn::{ProjectId, PublicKey},
    protocol::{
        event::EventId,
        session::{SessionCounts, Sessions},
        user_report::UserReport,
    },
    store::{
        StoreError,
        admin::DeletionPolicy,
        ingest::{
            Applied, Batch, FeedbackKind, FeedbackRow, Outcome, OutcomeRow, SessionRow, Usage, UsageLimit, ingest_batch,
        },
    },
};
use jiff::{SignedDuration, Timestamp};
use sqlx::{AssertSqlSafe, PgPool};
use uuid::Uuid;

use crate::{Store, applied, heartbeat_of_the_version_before, key_identity, public_key, row, send};

/// Every table that only `ingest` writes.
const TABLES: [&str; 6] =
    ["sessions", "session_seen", "session_users", "user_feedback", "outcome_counts", "key_usage_windows"];

fn feedback(message: &str) -> FeedbackRow {
    let report = UserReport {
        event_id: Some(EventId([7; 16])),
        name: "Ann".to_owned(),
        email: "ann@example.com".to_owned(),
        message: message.to_owned(),
        url: String::new(),
    };
    FeedbackRow { feedback_id: report.id(), received_at: Timestamp::now(), kind: FeedbackKind::Report, report }
}

fn outcome(key: Option<&PublicKey>, outcome: &str, reason: &str, quantity: u64) -> OutcomeRow {
    OutcomeRow {
        received_at: Timestamp::now(),
        key: key.cloned(),
        category: "error".into(),
        outcome: Outcome::parse(outcome).unwrap(),
        reason: reason.to_owned().into(),
        quantity,
    }
}

async fn told(pool: &PgPool, project: ProjectId, stream: Uuid, outcomes: &[OutcomeRow]) {
    let batch = Batch { stream, sequence: next(), outcomes, ..Batch::default() };
    assert!(ingest_batch(pool, project, &batch).await.unwrap().applied);
}

/// Sequence numbers that rise, whichever stream they are for.
fn next() -> i64 {
    static NEXT: std::sync::atomic::AtomicI64 = std::sync::atomic::AtomicI64::new(1);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

async fn minted(store: &Store, project: ProjectId, name: &str) -> (PublicKey, i64) {
    let identity = key_identity(name, &format!("{project}-{name}"));
    let key = store.admin.mint_key(project, &identity, 1, &public_key(), &"s".into()).await.unwrap();
    (key.public_key, key.key_id)
}

type Outcomes = Vec<(i64, String, String, String, i64)>;

/// Key, category, outcome, reason and quantity of each row.
async fn outcomes(pool: &PgPool, project: ProjectId, since: &str) -> Outcomes {
    let query = format!(
        "SELECT key_id, category, outcome, reason, quantity FROM {}.outcomes_since({since}) ORDER BY 1, 2, 3, 4",
        project.schema()
    );
    sqlx::query_as(AssertSqlSafe(query)).fetch_all(pool).await.unwrap()
}

fn expected(rows: &[(i64, &str, &str, &str, i64)]) -> Outcomes {
    let own = |text: &str| text.to_owned();
    rows.iter()
        .map(|(key, category, outcome, reason, n)| (*key, own(category), own(outcome), own(reason), *n))
        .collect()
}

#[tokio::test]
async fn feedback_is_kept_once() {
    let store = Store::create().await;
    let (shop, ingest) = store.ingesting("shop").await;
    let mut alone = feedback("NUL\0 is not stored");
    (alone.feedback_id, alone.kind, alone.report.event_id) = (EventId([9; 16]), FeedbackKind::Feedback, None);
    let rows = [feedback("It broke"), alone, feedback("It broke")];
    for _ in 0..2 {
        let batch = Batch { stream: Uuid::new_v4(), sequence: 1, feedback: &rows, ..Batch::default() };
        assert_eq!(ingest_batch(&ingest, shop, &batch).await.unwrap(), applied(0, 0));
    }
    let kept = "SELECT string_agg(concat_ws('|', kind, event_id, name, email, message, url), ' ' ORDER BY kind)
        FROM {schema}.user_feedback";
    assert_eq!(
        store.text(shop, kept).await,
        "feedback|Ann|ann@example.com|NUL is not stored| \
         report|07070707-0707-0707-0707-070707070707|Ann|ann@example.com|It broke|"
    );
}

#[tokio::test]
async fn outcomes_are_counted_by_hour_and_key() {
    let store = Store::create().await;
    let (shop, ingest) = store.ingesting("shop").await;
    let (blog, _) = store.ingesting("blog").await;
    let (key, key_id) = minted(&store, shop, "web").await;
    let (foreign, _) = minted(&store, blog, "blog").await;
    let now = Timestamp::now();
    let mut old = outcome(Some(&key), "filtered", "ignore_errors", 5);
    old.received_at -= SignedDuration::from_hours(3);
    let mut session = outcome(Some(&key), "dropped", "session_too_old", 2);
    session.category = "session".into();
    // Two streams of different parts of the table, one of them twice.
    let [one, two] = [0, 1].map(|part| Uuid::from_bytes([part; 16]));
    for stream in [one, two, one] {
        told(
            &ingest,
            shop,
            stream,
            &[
                outcome(Some(&key), "accepted", "", 10),
                outcome(Some(&key), "accepted", "", 1),
                outcome(None, "refused", "unknown\0_key", 1),
                outcome(Some(&foreign), "refused", "unknown_key", 1),
                outcome(Some(&public_key()), "refused", "unknown_key", u64::MAX),
                session.clone(),
                old.clone(),
            ],
        )
        .await;
    }
    let unknown = 3 * (2 + i64::from(u32::MAX));
    let hour = expected(&[
        (0, "error", "refused", "unknown_key", unknown),
        (key_id, "error", "accepted", "", 33),
        (key_id, "session", "dropped", "session_too_old", 6),
    ]);
    assert_eq!(outcomes(&store.pool, shop, &format!("'{now}'")).await, hour);
    let mut all = hour.clone();
    all.insert(2, expected(&[(key_id, "error", "filtered", "ignore_errors", 15)]).remove(0));
    assert_eq!(outcomes(&store.pool, shop, &format!("'{now}'::timestamptz - interval '3 hours'")).await, all);
    assert_eq!(store.number(shop, "SELECT count(DISTINCT part) FROM {schema}.outcome_counts").await, 2);
    assert_eq!(outcomes(&store.pool, blog, "'-infinity'").await, []);
}

#[tokio::test]
async fn outcomes_of_pods_of_the_version_before_are_read_with_the_others() {
    let store = Store::create().await;
    let (shop, ingest) = store.ingesting("shop").await;
    let dropped = [("session", 2), ("unknown_key", 3), ("overloaded", 4), ("quarantined", 5)];
    heartbeat_of_the_version_before(&ingest, shop, &dropped).await;
    told(&ingest, shop, Uuid::new_v4(), &[outcome(None, "lost", "overloaded", 1)]).await;
    assert_eq!(
        outcomes(&store.pool, shop, "now() - interval '1 hour'").await,
        expected(&[
            (0, "default", "dropped", "session", 2),
            (0, "default", "lost", "overloaded", 4),
            (0, "default", "quarantined", "quarantined", 5),
            (0, "default", "refused", "unknown_key", 3),
            (0, "error", "lost", "overloaded", 1),
        ])
    );
}

#[tokio::test]
async fn clients_cannot_fill_the_table_with_their_words() {
    let store = Store::create().await;
    let (shop, ingest) = store.ingesting("shop").await;
    let stream = Uuid::new_v4();
    for batch in 0..12 {
        let mut rows: Vec<_> =
            (0..100).map(|n| outcome(None, "client_discard", &format!("made up {batch}.{n}"), 1)).collect();
        rows.push(outcome(None, "client_discard", "before_send", 1));
        rows.push(outcome(None, "accepted", &format!("ours {batch}"), 1));
        told(&ingest, shop, stream, &rows).await;
    }
    let clients = "SELECT count(*) FROM {schema}.outcome_counts WHERE outcome = 'client_discard'";
    assert!((500..=610).contains(&store.number(shop, clients).await));
    let of = |reason| format!("SELECT sum(quantity)::bigint FROM {{schema}}.outcome_counts WHERE reason = '{reason}'");
    assert_eq!(store.number(shop, &of("before_send")).await, 12, "what was there is counted on");
    assert!(store.number(shop, &of("other")).await >= 600);
    let sum = "SELECT sum(quantity)::bigint FROM {schema}.outcome_counts WHERE outcome = 'client_discard'";
    assert_eq!(store.number(shop, sum).await, 12 * 101);
    assert_eq!(store.number(shop, "SELECT count(*) FROM {schema}.outcome_counts WHERE reason LIKE 'ours%'").await, 12);
}

/// The windows are so long that none ends during the test.
#[tokio::test]
async fn windows_are_summed_over_all_writers() {
    const LONG: u32 = 1 << 30;
    let store = Store::create().await;
    let (shop, ingest) = store.ingesting("shop").await;
    let (key, key_id) = minted(&store, shop, "web").await;
    let (other, _) = minted(&store, shop, "mobile").await;
    let limits = [
        UsageLimit { key: Some(key.clone()), window_seconds: LONG },
        UsageLimit { key: None, window_seconds: LONG },
        UsageLimit { key: Some(public_key()), window_seconds: LONG },
        UsageLimit { key: None, window_seconds: 0 },
    ];
    let mut transaction = outcome(Some(&key), "accepted", "", 1000);
    transaction.category = "transaction".into();
    let accepted = [
        outcome(Some(&key), "accepted", "", 3),
        outcome(Some(&other), "accepted", "", 4),
        outcome(Some(&key), "rate_limited", "key", 50),
        transaction,
    ];
    let batch = async |stream, sequence, outcomes: &[OutcomeRow]| {
        let batch = Batch { stream, sequence, outcomes, limits: &limits, ..Batch::default() };
        ingest_batch(&ingest, shop, &batch).await.unwrap()
    };
    let events = |applied: &Applied| applied.usage.iter().map(|usage| usage.events).collect::<Vec<_>>();
    let [one, two, three] = [Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4()];
    let mut sequence = 0;
    let first = batch(one, 1, &accepted).await;
    let start = first.usage[0].window_start;
    assert_eq!(start.as_second() % i64::from(LONG), 0);
    assert!((0..i64::from(LONG)).contains(&(Timestamp::now().as_second() - start.as_second())));
    let usage = |key: Option<&PublicKey>, events| Usage {
        key: key.cloned(),
        window_seconds: LONG,
        window_start: start,
        events,
    };
    assert_eq!(first.usage, [usage(Some(&key), 3), usage(None, 7)]);
    assert_eq!(batch(one, 1, &accepted).await, Applied::default(), "a batch sent again adds nothing");
    assert_eq!(events(&batch(two, 1, &accepted).await), [6, 14]);
    assert_eq!(events(&batch(two, 2, &[]).await), [6, 14], "asking counts nothing");
    let asking = Batch { stream: three, limits: &limits, ..Batch::default() };
    for (own_streams, expected) in [(&[][..], [6, 14]), (&[one], [3, 7]), (&[one, two], [0, 0]), (&[three], [6, 14])] {
        sequence += 1;
        let asking = Batch { sequence, own_streams, ..asking };
        assert_eq!(events(&ingest_batch(&ingest, shop, &asking).await.unwrap()), expected, "{own_streams:?}");
    }
    assert_eq!(events(&batch(one, 2, &accepted).await), [9, 21]);

    // The window of one writer has passed: it starts again, and that of the other is not in the sum.
    let passed = "UPDATE {schema}.key_usage_windows SET window_start = window_start - interval '1 day'";
    store.execute(shop, passed).await;
    assert_eq!(events(&batch(one, 3, &accepted).await), [3, 7]);
    assert_eq!(events(&batch(two, 3, &accepted).await), [6, 14]);
    let rows = format!("SELECT count(*) FROM {{schema}}.key_usage_windows WHERE key_id IN (0, {key_id})");
    assert_eq!(store.number(shop, &rows).await, 6, "a row a writer and window, however many have passed");
}

#[tokio::test]
async fn pods_of_the_version_before_go_on_storing() {
    let store = Store::create().await;
    let (shop, ingest) = store.ingesting("shop").await;
    let role = store.admin.installation().ingest_role(shop);
    // As it was before everything after the third migration, but for the login's rights.
    let functions = "{schema}.ingest_regrouped, {schema}.claim_issues, {schema}.ingest, {schema}.name_releases, {schema}.apply_sessions, {schema}.apply_feedback,
        {schema}.apply_outcomes, {schema}.count_usage, {schema}.outcomes_since, {schema}.release_health, {schema}.has_room,
        {schema}.room_for, {schema}.note_limited, {schema}.note_unnamed_sessions, {schema}.version_of,
        {schema}.is_later_release, {schema}.status_state, {schema}.detach_hashes, {schema}.reopen_issues, {schema}.lock_issues,
        {schema}.refused_issues, {schema}.set_status, {schema}.assign_issues, {schema}.comment_on_issues,
        {schema}.delete_issues, {schema}.move_limits, {schema}.merge_issues, {schema}.act_on_issues, {schema}.undo_action,
        {schema}.count_environments";
    let tables = TABLES.map(|table| format!("{{schema}}.{table}")).join(", ");
    store
        .execute(
            shop,
            &format!(
                "DROP VIEW {{schema}}.shown_issues;
                 DROP FUNCTION {functions};
                 DROP TABLE {tables}, {{schema}}.flood_limits, {{schema}}.issue_triage, {{schema}}.deleted_hashes,
                     {{schema}}.issue_actions, {{schema}}.issue_environments, {{schema}}.issue_environment_hours,
                     {{schema}}.environments_since;
                 ALTER TABLE {{schema}}.issue_counters DROP COLUMN users_hour, DROP COLUMN users_in_hour;
                 ALTER TABLE {{schema}}.issues DROP COLUMN is_hidden;
                 ALTER TABLE {{schema}}.issue_activity DROP COLUMN batch, DROP COLUMN before, DROP COLUMN after,
                     DROP COLUMN comment, DROP COLUMN undone_by, DROP COLUMN undone_at;
                 UPDATE errortracking.projects SET schema_version = 3"
            ),
        )
        .await;
    assert!(!store.admin.observe_project(shop).await.unwrap().unwrap().migrated());
    let old_call = async |stream: Uuid| {
        let nothing = ["'{}'"; 20].join(", ");
        let call = format!("SELECT applied FROM {}.ingest_batch($1, 1, {nothing})", shop.schema());
        let (applied,): (bool,) = sqlx::query_as(AssertSqlSafe(call)).bind(stream).fetch_one(&ingest).await.unwrap();
        applied
    };
    assert!(old_call(Uuid::new_v4()).await);
    store.admin.migrate_project(shop).await.unwrap();
    assert!(old_call(Uuid::new_v4()).await);

    // A new pod with the old login stores at once, and marks are common to both.
    assert_eq!(send(&ingest, shop, &[row(1)]).await, applied(1, 0));
    let stream = Uuid::new_v4();
    assert!(old_call(stream).await);
    let again = Batch { stream, sequence: 1, outcomes: &[outcome(None, "lost", "x", 1)], ..Batch::default() };
    assert!(!ingest_batch(&ingest, shop, &again).await.unwrap().applied);
    assert_eq!(store.number(shop, "SELECT count(*) FROM {schema}.outcome_counts").await, 0);
    let state = store.admin.observe_project(shop).await.unwrap().unwrap();
    assert!(state.migrated() && state.grants_ok, "{role}: {state:?}");
}

#[tokio::test]
async fn ingest_writes_what_it_cannot_read_and_the_console_reads_it() {
    let store = Store::create().await;
    let (shop, ingest) = store.ingesting("shop").await;
    let console = store.admin.ensure_console_role(&"secret".into()).await.unwrap();
    let console = store.database.pool_as(&console, "secret");
    let session = SessionRow {
        started: Timestamp::now(),
        release: "shop@1.0".to_owned(),
        environment: None,
        user_hash: Some(1),
        sessions: Sessions::Many(SessionCounts { crashed: 1, ..SessionCounts::default() }),
    };
    let batch = Batch {
        stream: Uuid::new_v4(),
        sequence: 1,
        rows: &[row(1)],
        sessions: &[session],
        feedback: &[feedback("It broke")],
        outcomes: &[outcome(None, "accepted", "", 1)],
        limits: &[UsageLimit { key: None, window_seconds: 60 }],
        own_streams: &[],
    };
    assert_eq!(ingest_batch(&ingest, shop, &batch).await.unwrap().usage.len(), 1);

    let schema = shop.schema();
    let inner = ["apply_sessions('[]')", "apply_feedback('[]')", "apply_outcomes(gen_random_uuid(), '[]')"];
    let reads = ["outcomes_since('-infinity')", "release_health('-infinity')"];
    for call in inner.iter().chain(&reads) {
        let call = format!("SELECT {schema}.{call}");
        let error = sqlx::query(AssertSqlSafe(call.clone())).execute(&ingest).await.unwrap_err();
        assert!(matches!(StoreError::from(error), StoreError::NotPermitted { .. }), "{call}");
    }
    for read in reads.map(str::to_owned).into_iter().chain(["user_feedback".to_owned()]) {
        let read = format!("SELECT FROM {schema}.{read}");
        let rows = sqlx::query(AssertSqlSafe(read.clone())).fetch_all(&console).await.unwrap();
        assert_eq!(rows.len(), 1, "{read}");
    }
    let writes = format!("DELETE FROM {schema}.user_feedback");
    assert!(sqlx::query(AssertSqlSafe(writes)).execute(&console).await.is_err());

    // Of a project that has gone the login stores nothing more, whatever came with events.
    store.admin.retire_project(shop, DeletionPolicy::Retain).await.unwrap();
    assert!(ingest_batch(&ingest, shop, &Batch { sequence: 2, ..batch }).await.is_err());
}

#[tokio::test]
async fn what_came_beside_events_goes_when_its_time_is_over() {
    let store = Store::create().await;
    let shop = store.project("shop").await;
    store
        .execute(
            shop,
            "INSERT INTO {schema}.sessions
                SELECT now() - ago, 1, 0, 1, 0, 0, 0, 0 FROM unnest('{29 days,31 days}'::interval[]) AS ago;
             INSERT INTO {schema}.session_users
                SELECT now() - ago, 1, 0, 1, false, false, false, false
                FROM unnest('{29 days,31 days}'::interval[]) AS ago;
             INSERT INTO {schema}.user_feedback
                SELECT gen_random_uuid(), NULL, now() - ago, 'report', '', '', '', ''
                FROM unnest('{29 days,31 days}'::interval[]) AS ago;
             INSERT INTO {schema}.outcome_counts
                SELECT now() - ago, 'lost', 0, 'error', '', 0, 1 FROM unnest('{29 days,31 days}'::interval[]) AS ago;
             INSERT INTO {schema}.session_seen
                SELECT gen_random_uuid(), 1, now() - interval '3 days', 1, 0, 0, NULL, true, now() - ago
                FROM unnest('{47 hours,49 hours}'::interval[]) AS ago;
             INSERT INTO {schema}.key_usage_windows
                SELECT 0, 60, gen_random_uuid(), now() - ago, 1 FROM unnest('{47 hours,49 hours}'::interval[]) AS ago",
        )
        .await;
    store.admin.drop_expired(shop, 30, Timestamp::now()).await.unwrap();
    for table in TABLES {
        assert_eq!(store.number(shop, &format!("SELECT count(*) FROM {{schema}}.{table}")).await, 1, "{table}");
    }
}
