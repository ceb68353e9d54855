//! What a flood of invented names can make, and what it cannot: everything is stored, and what is new is bounded.

use error_tracking_operator::{
    dsn::ProjectId,
    protocol::{
        event::Level,
        session::{SessionCounts, Sessions},
    },
    store::{
        admin::{DeletionPolicy, Flood, FloodKind},
        console::{IssueOrder, List, Search, Snapshot},
        ingest::{Applied, Batch, Row, SessionRow, ingest_batch},
    },
};
use jiff::{SignedDuration, Timestamp};
use sqlx::{AssertSqlSafe, PgPool};
use uuid::Uuid;

use crate::{
    Store, applied, project_identity, row, send,
    support::{hours::early_in_an_hour, versions::PROJECT_UP_TO_6},
};

const STORED: &str = "SELECT count(*) FROM {schema}.events";
const COUNTED: &str = "SELECT coalesce(sum(events), 0)::bigint FROM {schema}.issue_counters";
const ISSUES: &str = "SELECT count(*) FROM {schema}.issues";
const RELEASES: &str = "SELECT count(*) FROM {schema}.releases";
const ENVIRONMENTS: &str = "SELECT count(*) FROM {schema}.environments";
const TAG_KEYS: &str = "SELECT count(*) FROM {schema}.tag_keys";
const OVERFLOW: &str = "Events beyond the limit of new issues an hour";
const DEADLOCKS: &str = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";

/// A project with these limits an hour.
async fn limited(store: &Store, limits: &[(&str, i64)]) -> (ProjectId, PgPool) {
    early_in_an_hour().await;
    let (shop, ingest) = store.ingesting("shop").await;
    for (kind, an_hour) in limits {
        store
            .execute(shop, &format!("UPDATE {{schema}}.flood_limits SET an_hour = {an_hour} WHERE kind = '{kind}'"))
            .await;
    }
    (shop, ingest)
}

/// What the limits know happened an hour before.
async fn an_hour_passes(store: &Store, project: ProjectId) {
    store
        .execute(
            project,
            "UPDATE {schema}.flood_limits SET hour = hour - interval '1 hour';
             UPDATE {schema}.issue_counters SET users_hour = users_hour - interval '1 hour'",
        )
        .await;
}

/// An event that nothing is known of: of an issue, a release, an environment, a user and with a tag of its own.
fn invented() -> Row {
    let word = || format!("{:x}", rand::random::<u128>());
    Row {
        release: Some(word()),
        environment: Some(word()),
        user_hash: Some(rand::random()),
        tags: vec![(word(), word())],
        grouping_hash: rand::random(),
        ..row(0)
    }
}

/// As many events, each changed from a usual one of the first issue.
fn rows(count: usize, change: impl Fn(&mut Row)) -> Vec<Row> {
    let changed = || {
        let mut row = row(1);
        change(&mut row);
        row
    };
    std::iter::repeat_with(changed).take(count).collect()
}

/// `category outcome reason xQUANTITY` of each row, but for what was accepted.
async fn outcomes(store: &Store, project: ProjectId) -> Vec<String> {
    let query = format!(
        "SELECT category || ' ' || outcome || ' ' || reason || ' x' || sum(quantity)
         FROM {}.outcomes_since(now() - interval '1 hour') GROUP BY category, outcome, reason ORDER BY 1",
        project.schema()
    );
    sqlx::query_scalar(AssertSqlSafe(query)).fetch_all(&store.pool).await.unwrap()
}

async fn floods(store: &Store, project: ProjectId) -> Vec<Flood> {
    store.admin.observe_project(project).await.unwrap().unwrap().floods
}

#[tokio::test]
async fn the_limits_are_the_documented_ones() {
    let store = Store::create().await;
    let shop = store.project("shop").await;
    let limits =
        "SELECT string_agg(concat_ws(' ', kind, an_hour, in_all), ', ' ORDER BY kind) FROM {schema}.flood_limits";
    assert_eq!(
        store.text(shop, limits).await,
        "environments 200, issues 1000, releases 500, tags 500 10000, users 100000 1000000"
    );
    assert_eq!(floods(&store, shop).await, []);
    assert_eq!(store.admin.flooded_projects().await.unwrap(), []);
}

#[tokio::test]
async fn issues_beyond_the_limit_are_one() {
    let store = Store::create().await;
    let (shop, ingest) = limited(&store, &[("issues", 20)]).await;
    assert_eq!(send(&ingest, shop, &[row(1)]).await, applied(1, 0));
    let mut last = Vec::new();
    for _ in 0..3 {
        last = rows(30, |row| row.grouping_hash = rand::random());
        assert_eq!(send(&ingest, shop, &last).await, applied(30, 0));
        // What is known goes on as if nothing was.
        assert_eq!(send(&ingest, shop, &[row(1)]).await, applied(1, 0));
    }
    assert_eq!(send(&ingest, shop, &last).await, applied(0, 30), "sent again");
    assert_eq!(store.number(shop, STORED).await, 94);
    assert_eq!(store.number(shop, COUNTED).await, 94);
    assert_eq!(store.number(shop, ISSUES).await, 21);
    assert_eq!(store.number(shop, "SELECT last FROM {schema}.issue_numbers").await, 21);
    assert_eq!(outcomes(&store, shop).await, ["error limited too_many_issues x71"]);
    let usage = store.admin.project_usage(shop, Timestamp::now()).await.unwrap();
    assert_eq!(usage.outcomes, [], "nothing is dropped");

    let role = store.admin.ensure_console_role(&"console".into()).await.unwrap();
    let console = store.database.pool_as(&role, "console");
    let mut snapshot = Snapshot::begin(&console).await.unwrap();
    let everything = Search::default();
    let (scope, query, order) = (&everything, &everything, IssueOrder::LastSeen);
    let everything = List { scope, query, each: &[], order, after: None, limit: 100 };
    let listed = snapshot.list(shop, everything).await.unwrap().issues;
    assert_eq!(listed.len(), 21);
    let of = |title: &str| listed.iter().find(|issue| issue.title == title).unwrap();
    let overflow = of(OVERFLOW);
    assert_eq!((overflow.level, overflow.culprit.as_str(), overflow.events), (Level::Warning, "", 71));
    assert!(snapshot.latest_event(shop, overflow).await.unwrap().is_some());
    assert_eq!(listed.iter().map(|issue| issue.events).max(), Some(71));
    snapshot.end().await.unwrap();

    // In the next hour an error that was one too many has its own issue.
    an_hour_passes(&store, shop).await;
    let mut again = last[0].clone();
    again.event_id = row(1).event_id;
    assert_eq!(send(&ingest, shop, &[again]).await, applied(1, 0));
    assert_eq!(store.number(shop, ISSUES).await, 22);
    assert_eq!(outcomes(&store, shop).await, ["error limited too_many_issues x71"]);
}

/// Every event of the batch is there already, whatever it is grouped by now.
#[tokio::test]
async fn events_that_are_there_make_no_issue_for_those_beyond_the_limit() {
    let store = Store::create().await;
    let (shop, ingest) = limited(&store, &[("issues", 1)]).await;
    let known = rows(5, |_| {});
    assert_eq!(send(&ingest, shop, &known).await, applied(5, 0));
    let regrouped: Vec<Row> = known.into_iter().map(|row| Row { grouping_hash: rand::random(), ..row }).collect();
    assert_eq!(send(&ingest, shop, &regrouped).await, applied(0, 5));
    assert_eq!(store.number(shop, ISSUES).await, 1);
    assert_eq!(store.number(shop, "SELECT count(*) FROM {schema}.issue_hashes").await, 1);
    assert!(outcomes(&store, shop).await.is_empty());
}

#[tokio::test]
async fn releases_and_environments_beyond_the_limit_have_no_number() {
    let store = Store::create().await;
    let (shop, ingest) = limited(&store, &[("releases", 10), ("environments", 5)]).await;
    assert_eq!(send(&ingest, shop, &[row(1)]).await, applied(1, 0));
    let flood = |row: &mut Row| {
        (row.release, row.environment) = (Some(Uuid::new_v4().to_string()), Some(Uuid::new_v4().to_string()));
    };
    for _ in 0..3 {
        assert_eq!(send(&ingest, shop, &rows(30, flood)).await, applied(30, 0));
        assert_eq!(send(&ingest, shop, &[row(1)]).await, applied(1, 0));
    }
    assert_eq!(store.number(shop, STORED).await, 94);
    assert_eq!((store.number(shop, RELEASES).await, store.number(shop, ENVIRONMENTS).await), (10, 5));
    let known = "SELECT count(*) FROM {schema}.events JOIN {schema}.releases USING (release_id)
        JOIN {schema}.environments USING (env_id) WHERE (release, environment) = ('shop@1.0', 'production')";
    assert_eq!(store.number(shop, known).await, 4);
    let without = "SELECT count(*) FROM {schema}.events WHERE release_id IS NULL";
    assert_eq!(store.number(shop, without).await, 81);
    let expected = ["error limited too_many_environments x86", "error limited too_many_releases x81"];
    assert_eq!(outcomes(&store, shop).await, expected);

    an_hour_passes(&store, shop).await;
    assert_eq!(send(&ingest, shop, &rows(3, flood)).await, applied(3, 0));
    assert_eq!((store.number(shop, RELEASES).await, store.number(shop, ENVIRONMENTS).await), (13, 8));
    assert_eq!(outcomes(&store, shop).await, expected);
}

#[tokio::test]
async fn sessions_of_invented_releases_are_bounded_too() {
    let store = Store::create().await;
    let (shop, ingest) = limited(&store, &[("releases", 2), ("environments", 1)]).await;
    let session = |release: &str, environment: &str| SessionRow {
        started: Timestamp::now(),
        release: release.to_owned(),
        environment: Some(environment.to_owned()),
        user_hash: None,
        sessions: Sessions::Many(SessionCounts { exited: 3, ..SessionCounts::default() }),
    };
    let send = async |sessions: &[SessionRow]| {
        let batch = Batch { stream: Uuid::new_v4(), sequence: 1, sessions, ..Batch::default() };
        assert_eq!(ingest_batch(&ingest, shop, &batch).await.unwrap(), applied(0, 0));
    };
    send(&[session("a", "production")]).await;
    send(&[session("b", "made up"), session("c", "production"), session("d", "made up too")]).await;
    send(&[session("a", "production"), session("e", "production")]).await;
    assert_eq!((store.number(shop, RELEASES).await, store.number(shop, ENVIRONMENTS).await), (2, 1));
    let health = "SELECT string_agg(concat_ws(' ', release, environment, sessions), ', ' ORDER BY release)
        FROM {schema}.release_health(now() - interval '1 hour')";
    assert_eq!(store.text(shop, health).await, "a production 6, b 3");
    let expected = ["session dropped too_many_releases x9", "session limited too_many_environments x3"];
    assert_eq!(outcomes(&store, shop).await, expected);
    assert_eq!(floods(&store, shop).await.len(), 2);
}

#[tokio::test]
async fn tags_beyond_the_limit_are_not_indexed() {
    let store = Store::create().await;
    let (shop, ingest) = limited(&store, &[("tags", 10)]).await;
    store.execute(shop, "UPDATE {schema}.flood_limits SET in_all = 15 WHERE kind = 'tags'").await;
    let flood = |row: &mut Row| {
        row.tags = vec![("os".to_owned(), "Linux".to_owned()), (Uuid::new_v4().to_string(), "1".to_owned())];
    };
    assert_eq!(
        send(&ingest, shop, &rows(1, |row| row.tags = vec![("os".into(), "Linux".into())])).await,
        applied(1, 0)
    );
    for (hours, keys, unindexed) in [(0, 10, 51), (1, 15, 106), (2, 15, 166)] {
        for _ in 0..3 {
            assert_eq!(send(&ingest, shop, &rows(20, flood)).await, applied(20, 0));
        }
        assert_eq!(store.number(shop, TAG_KEYS).await, keys, "after {hours} hours");
        let expected = [format!("error limited too_many_tags x{unindexed}")];
        assert_eq!(outcomes(&store, shop).await, expected, "after {hours} hours");
        an_hour_passes(&store, shop).await;
    }
    let pairs = "SELECT count(*) FROM {schema}.issue_tags";
    assert_eq!(store.number(shop, pairs).await, 15, "the issue's own os is among them");
    assert_eq!(
        send(&ingest, shop, &rows(1, |row| row.tags = vec![("os".into(), "Plan 9".into())])).await,
        applied(1, 0)
    );
    assert_eq!(store.number(shop, pairs).await, 16);

    // Keys that no issue has any more make room.
    store.execute(shop, "DELETE FROM {schema}.issue_tags WHERE value = '1'").await;
    store.admin.drop_expired(shop, 30, Timestamp::now()).await.unwrap();
    assert_eq!(store.number(shop, TAG_KEYS).await, 1);
    assert_eq!(send(&ingest, shop, &rows(12, flood)).await, applied(12, 0));
    assert_eq!(store.number(shop, TAG_KEYS).await, 11);
}

#[tokio::test]
async fn users_beyond_the_limit_of_an_issue_are_not_counted() {
    const USERS: &str = "SELECT string_agg(users::text, ' ' ORDER BY issue_id) FROM {schema}.issue_counters";
    let store = Store::create().await;
    let (shop, ingest) = limited(&store, &[("users", 50)]).await;
    let of = |hash: u8, users: std::ops::Range<i64>| -> Vec<Row> {
        users.map(|user| Row { user_hash: Some(user), ..row(hash) }).collect()
    };
    // At most a batch too many.
    for first in [0, 40, 80, 120] {
        assert_eq!(send(&ingest, shop, &of(1, first..first + 40)).await, applied(40, 0));
    }
    assert_eq!(send(&ingest, shop, &of(2, 0..10)).await, applied(10, 0));
    assert_eq!(store.text(shop, USERS).await, "80 10");
    // Who is known is none too many.
    assert_eq!(send(&ingest, shop, &of(1, 0..10)).await, applied(10, 0));
    assert_eq!(outcomes(&store, shop).await, ["error limited too_many_users x80"]);
    assert_eq!(store.number(shop, COUNTED).await, 180);

    an_hour_passes(&store, shop).await;
    assert_eq!(send(&ingest, shop, &of(1, 200..210)).await, applied(10, 0));
    assert_eq!(store.text(shop, USERS).await, "90 10");
    store.execute(shop, "UPDATE {schema}.flood_limits SET in_all = 90 WHERE kind = 'users'").await;
    an_hour_passes(&store, shop).await;
    assert_eq!(send(&ingest, shop, &of(1, 300..310)).await, applied(10, 0));
    assert_eq!(store.text(shop, USERS).await, "90 10", "in all");
    assert_eq!(store.number(shop, "SELECT count(*) FROM {schema}.issue_users").await, 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_at_once_stay_within_the_limits_and_lock_each_other_never() {
    const WRITERS: i64 = 8;
    const BATCHES: i64 = 10;
    const ROWS: i64 = 30;
    let store = Store::create().await;
    let limits = [("issues", 50), ("releases", 40), ("environments", 30), ("tags", 60), ("users", 20)];
    let (shop, ingest) = limited(&store, &limits).await;
    let writers = (0..WRITERS).map(|writer| {
        let ingest = ingest.clone();
        tokio::spawn(async move {
            let stream = Uuid::new_v4();
            for sequence in 1..=BATCHES {
                let mut rows: Vec<Row> = (0..ROWS).map(|n| if n % 3 == 0 { row(1) } else { invented() }).collect();
                for row in &mut rows {
                    row.user_hash = Some(rand::random());
                }
                let release = format!("{writer}-{sequence}");
                let counts = SessionCounts { exited: 1, ..SessionCounts::default() };
                let sessions = [SessionRow {
                    started: Timestamp::now(),
                    environment: Some(release.clone()),
                    release,
                    user_hash: None,
                    sessions: Sessions::Many(counts),
                }];
                let batch = Batch { stream, sequence, rows: &rows, sessions: &sessions, ..Batch::default() };
                assert_eq!(ingest_batch(&ingest, shop, &batch).await.unwrap(), applied(ROWS.unsigned_abs(), 0));
            }
        })
    });
    for writer in futures::future::join_all(writers).await {
        writer.unwrap();
    }
    let total = WRITERS * BATCHES * ROWS;
    assert_eq!(store.number(shop, STORED).await, total);
    assert_eq!(store.number(shop, COUNTED).await, total);
    for (what, limit) in [(ISSUES, 51), (RELEASES, 40), (ENVIRONMENTS, 30), (TAG_KEYS, 60)] {
        assert_eq!(store.number(shop, what).await, limit, "{what}");
    }
    let users = "SELECT max(users)::bigint FROM {schema}.issue_counters";
    assert!((20..=20 + WRITERS * ROWS).contains(&store.number(shop, users).await), "a batch of each writer too many");
    let known = "SELECT max(c.events)::bigint FROM {schema}.issue_counters AS c JOIN {schema}.issues USING (issue_id)
        WHERE title = 'ValueError: 1'";
    assert_eq!(store.number(shop, known).await, total / 3);
    let quantity = |reason: &str| {
        format!(
            "SELECT sum(quantity)::bigint FROM {{schema}}.outcome_counts WHERE category = 'error' AND reason = '{reason}'"
        )
    };
    let beyond = "SELECT c.events FROM {schema}.issue_counters AS c JOIN {schema}.issue_hashes USING (issue_id) WHERE version = 0";
    assert_eq!(store.number(shop, &quantity("too_many_issues")).await, store.number(shop, beyond).await);
    let unnamed = "SELECT count(*) FROM {schema}.events WHERE release_id IS NULL";
    assert_eq!(store.number(shop, &quantity("too_many_releases")).await, store.number(shop, unnamed).await);
    assert_eq!(store.number(shop, DEADLOCKS).await, 0);
}

#[tokio::test]
async fn the_status_hears_of_a_flood_until_an_hour_after_it() {
    let store = Store::create().await;
    let (shop, ingest) = limited(&store, &[("issues", 1)]).await;
    assert_eq!(send(&ingest, shop, &[row(1)]).await, applied(1, 0));
    assert_eq!(floods(&store, shop).await, []);
    assert_eq!(send(&ingest, shop, &rows(7, |row| row.grouping_hash = rand::random())).await, applied(7, 0));
    let first = floods(&store, shop).await;
    assert!(matches!(first[..], [Flood { kind: FloodKind::Issues, an_hour: 1, met: 7, .. }]), "{first:?}");
    assert_eq!(store.admin.flooded_projects().await.unwrap(), [project_identity("shop", "u1")]);
    // Written every ten seconds, however many batches come.
    assert_eq!(send(&ingest, shop, &[invented()]).await, applied(1, 0));
    assert_eq!(floods(&store, shop).await, first);
    let ago = async |minutes: i64| {
        let times = format!("last_at = last_at - interval '{minutes} min', since = since - interval '{minutes} min'");
        store.execute(shop, &format!("UPDATE errortracking.floods SET {times} WHERE kind = 'issues'")).await;
    };
    ago(2).await;
    assert_eq!(send(&ingest, shop, &[invented()]).await, applied(1, 0));
    let later = floods(&store, shop).await;
    assert_eq!((later[0].met, later[0].since), (9, first[0].since - SignedDuration::from_mins(2)));
    ago(61).await;
    assert_eq!(floods(&store, shop).await, []);
    assert_eq!(store.admin.flooded_projects().await.unwrap(), []);
    // The next one is another one.
    assert_eq!(send(&ingest, shop, &[invented()]).await, applied(1, 0));
    assert!(floods(&store, shop).await[0].since > first[0].since);
    // A clock that was ahead freezes nothing.
    store.execute(shop, "UPDATE {schema}.flood_limits SET hour = hour + interval '1 day'").await;
    ago(-24 * 60).await;
    assert_eq!(send(&ingest, shop, &[invented(), invented()]).await, applied(2, 0));
    assert_eq!(store.number(shop, "SELECT last FROM {schema}.issue_numbers").await, 3);
    assert!(floods(&store, shop).await[0].since <= Timestamp::now());

    store.admin.retire_project(shop, DeletionPolicy::Delete).await.unwrap();
    assert_eq!(store.number(shop, "SELECT count(*) FROM errortracking.floods").await, 0);
}

/// What the program before calls.
async fn send_as_before(pool: &PgPool, project: ProjectId, rows: &[Row]) -> Applied {
    let query = format!(
        "SELECT b.applied, b.stored, b.duplicates FROM (SELECT $1::uuid[] AS ids) AS r, {}.ingest(
            gen_random_uuid(), 1, ids, array_fill(now(), $2), array_fill(now(), $2), array_fill(40::smallint, $2),
            array_fill('error'::text, $2), array_fill('T'::text, $2), array_fill('c'::text, $2),
            array_fill(NULL::text, $2), array_fill(NULL::text, $2), array_fill('python'::text, $2), $3,
            array_fill(NULL::text, $2), array_fill(NULL::bigint, $2), array_fill(1::smallint, $2), $4,
            array_fill(''::bytea, $2), '{{}}', '{{}}', '{{}}', '{{}}', NULL, NULL, NULL, NULL
         ) AS b",
        project.schema()
    );
    let mut rows: Vec<&Row> = rows.iter().collect();
    rows.sort_by_key(|row| row.event_id);
    let (applied, stored, duplicates): (bool, i64, i64) = sqlx::query_as(AssertSqlSafe(query))
        .bind(rows.iter().map(|row| Uuid::from_bytes(row.event_id.0)).collect::<Vec<_>>())
        .bind(vec![i32::try_from(rows.len()).unwrap()])
        .bind(rows.iter().map(|row| row.release.clone()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.grouping_hash.to_vec()).collect::<Vec<_>>())
        .fetch_one(pool)
        .await
        .unwrap();
    Applied { applied, stored: stored.unsigned_abs(), duplicates: duplicates.unsigned_abs(), ..Applied::default() }
}

#[tokio::test]
async fn a_schema_with_events_gets_the_limits_and_the_program_before_runs_on_it() {
    early_in_an_hour().await;
    let store = Store::create().await;
    let shop = store.project("shop").await;
    let comment = store.text(shop, "SELECT obj_description('{schema}'::regnamespace, 'pg_namespace')").await;
    store
        .execute(
            shop,
            &format!(
                "DROP SCHEMA {{schema}} CASCADE; CREATE SCHEMA {{schema}}; COMMENT ON SCHEMA {{schema}} IS '{comment}'"
            ),
        )
        .await;
    for file in PROJECT_UP_TO_6 {
        store.execute(shop, &file.replace("{project}", &shop.to_string())).await;
    }
    store
        .execute(
            shop,
            "DELETE FROM errortracking.floods;
             UPDATE errortracking.projects SET schema_version = 6",
        )
        .await;
    store.admin.ensure_partitions(shop, Timestamp::now()).await.unwrap();
    let role = store.admin.ensure_ingest_role(shop, &"secret".into()).await.unwrap();
    let ingest = store.database.pool_as(&role, "secret");
    let tagged = rows(3, |row| {
        row.tags = vec![("os".to_owned(), "Linux".to_owned()), ("browser".to_owned(), "Lynx".to_owned())];
        row.user_hash = Some(1);
    });
    assert_eq!(send(&ingest, shop, &tagged).await, applied(3, 0));

    store.admin.migrate_project(shop).await.unwrap();
    let state = store.admin.observe_project(shop).await.unwrap().unwrap();
    assert!(state.migrated() && state.grants_ok);
    assert_eq!(store.number(shop, "SELECT total FROM {schema}.flood_limits WHERE kind = 'tags'").await, 2);
    store.execute(shop, "UPDATE {schema}.flood_limits SET an_hour = 4 WHERE kind IN ('issues', 'releases')").await;
    assert_eq!(send_as_before(&ingest, shop, &[row(1), row(2)]).await, applied(2, 0));
    let flood: Vec<Row> = std::iter::repeat_with(invented).take(10).collect();
    assert_eq!(send_as_before(&ingest, shop, &flood).await, applied(10, 0));
    assert_eq!(send(&ingest, shop, &tagged).await, applied(0, 3));
    assert_eq!(store.number(shop, STORED).await, 15);
    assert_eq!(store.number(shop, COUNTED).await, 15);
    assert_eq!((store.number(shop, ISSUES).await, store.number(shop, RELEASES).await), (6, 5));
    let expected = ["error limited too_many_issues x7", "error limited too_many_releases x6"];
    assert_eq!(outcomes(&store, shop).await, expected);
    let kinds: Vec<_> = floods(&store, shop).await.iter().map(|flood| flood.kind).collect();
    assert_eq!(kinds, [FloodKind::Issues, FloodKind::Releases]);
    let of_first = "SELECT users::bigint FROM {schema}.issue_counters ORDER BY issue_id LIMIT 1";
    assert_eq!(store.number(shop, of_first).await, 1);
}
