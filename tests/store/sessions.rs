//! Sessions: each counts once, whatever comes twice, late or at the same time.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use error_tracking_operator::{
    dsn::ProjectId,
    protocol::session::{SessionCounts, SessionState, Sessions},
    store::ingest::{Batch, SessionRow, ingest_batch},
};
use jiff::{SignedDuration, Timestamp};
use rand::seq::SliceRandom;
use sqlx::{AssertSqlSafe, PgPool, Row as _};
use uuid::Uuid;

use crate::{Store, row};

const STATES: [SessionState; 5] = [
    SessionState::Healthy,
    SessionState::Errored,
    SessionState::Unhandled,
    SessionState::Abnormal,
    SessionState::Crashed,
];

/// One update of a session of release `shop@1.0` in production that began now.
fn update(sid: u8, seq: i64, init: bool, state: SessionState) -> SessionRow {
    SessionRow {
        started: Timestamp::now(),
        release: "shop@1.0".to_owned(),
        environment: Some("production".to_owned()),
        user_hash: None,
        sessions: Sessions::One { sid: [sid; 16], seq, init, state },
    }
}

async fn send(pool: &PgPool, project: ProjectId, sessions: &[SessionRow]) {
    let batch = Batch { stream: Uuid::new_v4(), sequence: 1, sessions, ..Batch::default() };
    assert!(ingest_batch(pool, project, &batch).await.unwrap().applied);
}

/// What `release_health` says of one release and environment, and what the model of it says.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Health {
    sessions: i64,
    errored: i64,
    crashed: i64,
    abnormal: i64,
    unhandled: i64,
    healthy: i64,
    users: i64,
    crashed_users: i64,
}

impl Health {
    fn add(&mut self, state: SessionState, quantity: u32) {
        let slot = match state {
            SessionState::Healthy => &mut self.healthy,
            SessionState::Errored => &mut self.errored,
            SessionState::Unhandled => &mut self.unhandled,
            SessionState::Abnormal => &mut self.abnormal,
            SessionState::Crashed => &mut self.crashed,
        };
        *slot += i64::from(quantity);
        self.sessions += i64::from(quantity);
    }
}

type ByRelease = BTreeMap<(String, Option<String>), Health>;

/// Of the last days; the two rates must follow from the numbers.
async fn health(store: &Store, project: ProjectId) -> ByRelease {
    let query = format!("SELECT * FROM {}.release_health(now() - interval '6 days')", project.schema());
    let rows = sqlx::query(AssertSqlSafe(query)).fetch_all(&store.pool).await.unwrap();
    let mut releases = ByRelease::new();
    for row in rows {
        let number = |column: &str| row.get::<i64, _>(column);
        let health = Health {
            sessions: number("sessions"),
            errored: number("errored"),
            crashed: number("crashed"),
            abnormal: number("abnormal"),
            unhandled: number("unhandled"),
            healthy: number("healthy"),
            users: number("users"),
            crashed_users: number("crashed_users"),
        };
        for (column, part, all) in [
            ("crash_free_sessions", health.crashed, health.sessions),
            ("crash_free_users", health.crashed_users, health.users),
        ] {
            let rate: Option<f64> = row.get(column);
            let expected = (all > 0)
                .then(|| 1.0 - f64::from(u32::try_from(part).unwrap()) / f64::from(u32::try_from(all).unwrap()));
            assert_eq!(rate, expected, "{column}: {health:?}");
        }
        releases.insert((row.get("release"), row.get("environment")), health);
    }
    releases
}

async fn only(store: &Store, project: ProjectId) -> Health {
    let releases = health(store, project).await;
    assert_eq!(releases.len(), 1, "{releases:?}");
    releases.into_values().next().unwrap()
}

#[tokio::test]
async fn a_session_counts_once_however_its_updates_come() {
    use SessionState::{Abnormal, Crashed, Errored, Healthy, Unhandled};
    let store = Store::create().await;
    let healthy = Health { sessions: 1, healthy: 1, ..Health::default() };
    let errored = Health { sessions: 1, errored: 1, ..Health::default() };
    let crashed = Health { sessions: 1, crashed: 1, ..Health::default() };
    let unhandled = Health { sessions: 1, unhandled: 1, ..Health::default() };
    for (number, (name, updates, expected)) in [
        ("begun and ended", vec![(1, true, Healthy), (2, false, Healthy)], healthy),
        ("crashed after it began", vec![(1, true, Healthy), (2, false, Crashed)], crashed),
        ("errors first, then a crash", vec![(1, true, Healthy), (2, false, Errored), (3, false, Crashed)], crashed),
        ("the crash comes first", vec![(2, false, Crashed), (1, true, Healthy)], crashed),
        ("sent again", vec![(1, true, Errored), (1, true, Errored), (1, true, Errored)], errored),
        (
            "the beginning sent again at the end",
            vec![(1, true, Healthy), (2, false, Errored), (1, true, Healthy)],
            errored,
        ),
        ("two of one number: the worse", vec![(5, true, Unhandled), (5, false, Healthy)], unhandled),
        ("two of one number, the worse last", vec![(5, true, Healthy), (5, false, Unhandled)], unhandled),
        ("a beginning that was never seen", vec![(2, false, Errored)], errored),
        ("taken back by a newer update", vec![(1, true, Abnormal), (2, false, Healthy)], healthy),
    ]
    .into_iter()
    .enumerate()
    {
        // Each update in a batch of its own, then all of them in one.
        for together in [false, true] {
            let (project, ingest) = store.ingesting(&format!("shop-{number}-{together}")).await;
            let updates: Vec<_> = updates.iter().map(|(seq, init, state)| update(7, *seq, *init, *state)).collect();
            for batch in updates.chunks(if together { updates.len() } else { 1 }) {
                send(&ingest, project, batch).await;
            }
            assert_eq!(only(&store, project).await, expected, "{name}, together: {together}");
        }
    }
}

#[tokio::test]
async fn a_batch_of_sessions_is_applied_once() {
    let store = Store::create().await;
    let (shop, ingest) = store.ingesting("shop").await;
    let counts = SessionCounts { exited: 5, errored: 4, crashed: 3, abnormal: 2, unhandled: 1 };
    let many = SessionRow { sessions: Sessions::Many(counts), ..update(0, 0, true, SessionState::Healthy) };
    let rows = [row(1)];
    let stream = Uuid::new_v4();
    let batch = Batch { stream, sequence: 3, rows: &rows, sessions: &[many.clone(), many], ..Batch::default() };
    for applied in [true, false, false] {
        assert_eq!(ingest_batch(&ingest, shop, &batch).await.unwrap().applied, applied);
    }
    let expected =
        Health { sessions: 30, errored: 8, crashed: 6, abnormal: 4, unhandled: 2, healthy: 10, ..Health::default() };
    assert_eq!(only(&store, shop).await, expected);
    // The first batch of a stream brought new names: its mark is the one that was sent.
    assert_eq!(store.number(shop, "SELECT seq FROM {schema}.ingest_marks").await, 3);
    assert_eq!(store.number(shop, "SELECT count(*) FROM {schema}.events").await, 1);
}

#[tokio::test]
async fn users_are_distinct_over_hours_and_sessions() {
    let store = Store::create().await;
    let (shop, ingest) = store.ingesting("shop").await;
    let now = Timestamp::now();
    let of = |sid, user: Option<i64>, hours_ago, state| SessionRow {
        user_hash: user,
        started: now - SignedDuration::from_hours(hours_ago),
        ..update(sid, 1, true, state)
    };
    send(
        &ingest,
        shop,
        &[
            of(1, Some(-1), 0, SessionState::Healthy),
            of(2, Some(-1), 0, SessionState::Crashed),
            of(3, Some(-1), 3, SessionState::Crashed),
            of(4, Some(2), 0, SessionState::Errored),
            of(5, None, 0, SessionState::Crashed),
        ],
    )
    .await;
    // Worse in the same hour, and a user whom an aggregate names.
    send(&ingest, shop, &[of(6, Some(2), 0, SessionState::Abnormal)]).await;
    let counts = SessionCounts { crashed: 1, ..SessionCounts::default() };
    send(&ingest, shop, &[SessionRow { sessions: Sessions::Many(counts), ..of(0, Some(3), 0, SessionState::Healthy) }])
        .await;
    let health = only(&store, shop).await;
    assert_eq!((health.users, health.crashed_users), (3, 2), "{health:?}");
    let worst = "SELECT string_agg(user_hash || CASE WHEN errored THEN 'e' ELSE '' END || CASE WHEN crashed THEN 'c'
            ELSE '' END || CASE WHEN abnormal THEN 'a' ELSE '' END, ' ' ORDER BY user_hash, hour)
        FROM {schema}.session_users";
    assert_eq!(store.text(shop, worst).await, "-1ec -1ec 2ea 3ec");
}

/// `session_seen` has forgotten it: only its beginning, or that it is young, says that it is not counted yet.
#[tokio::test]
async fn a_session_of_days_ago_is_not_counted_again_by_its_end() {
    let store = Store::create().await;
    let (shop, ingest) = store.ingesting("shop").await;
    let long = |seq, init, state| SessionRow {
        started: Timestamp::now() - SignedDuration::from_hours(49),
        ..update(1, seq, init, state)
    };
    send(&ingest, shop, &[long(1, true, SessionState::Healthy)]).await;
    store.execute(shop, "DELETE FROM {schema}.session_seen").await;
    send(&ingest, shop, &[long(2, false, SessionState::Crashed)]).await;
    assert_eq!(only(&store, shop).await, Health { sessions: 1, crashed: 1, ..Health::default() });
}

/// A session as the model of the tests knows it.
type Key = (Timestamp, String, Option<String>);

#[derive(Default)]
struct Model {
    sessions: HashMap<[u8; 16], (i64, SessionState, Key)>,
    aggregates: Vec<(Key, SessionCounts)>,
    users: BTreeMap<(String, Option<String>), Users>,
}

#[derive(Default)]
struct Users {
    all: BTreeSet<i64>,
    crashed: BTreeSet<i64>,
}

impl Model {
    fn take(&mut self, row: &SessionRow) {
        let key = (row.started, row.release.clone(), row.environment.clone());
        let crashed = match row.sessions {
            Sessions::One { sid, seq, state, .. } => {
                let known = self.sessions.entry(sid).or_insert_with(|| (seq, state, key.clone()));
                if (known.0, known.1) < (seq, state) {
                    (known.0, known.1) = (seq, state);
                }
                state == SessionState::Crashed
            }
            Sessions::Many(counts) => {
                self.aggregates.push((key, counts));
                counts.crashed > 0
            }
        };
        let users = self.users.entry((row.release.clone(), row.environment.clone())).or_default();
        users.all.extend(row.user_hash);
        users.crashed.extend(row.user_hash.filter(|_| crashed));
    }

    fn health(&self) -> ByRelease {
        let mut releases = ByRelease::new();
        for (_, state, (_, release, environment)) in self.sessions.values() {
            releases.entry((release.clone(), environment.clone())).or_default().add(*state, 1);
        }
        for ((_, release, environment), counts) in &self.aggregates {
            let health = releases.entry((release.clone(), environment.clone())).or_default();
            let quantities = [counts.exited, counts.errored, counts.unhandled, counts.abnormal, counts.crashed];
            STATES.into_iter().zip(quantities).for_each(|(state, quantity)| health.add(state, quantity));
        }
        for (release, health) in &mut releases {
            if let Some(users) = self.users.get(release) {
                health.users = users.all.len().try_into().unwrap();
                health.crashed_users = users.crashed.len().try_into().unwrap();
            }
        }
        releases
    }
}

/// What a fleet sends: updates of few sessions in any order and some of them twice, aggregates, events between them.
fn chaos(now: Timestamp) -> Vec<SessionRow> {
    let mut rows = Vec::new();
    for sid in 0..120_u8 {
        let place = SessionRow {
            started: now - SignedDuration::from_hours(i64::from(sid % 4)),
            release: format!("shop@{}", sid % 40),
            environment: (sid % 3 > 0).then(|| format!("e{}", sid % 3)),
            ..update(sid, 0, true, SessionState::Healthy)
        };
        for seq in 0..=i64::from(rand::random::<u8>() % 5) {
            let state = STATES[usize::from(rand::random::<u8>() % 5)];
            let sessions = Sessions::One { sid: [sid; 16], seq: seq / 2, init: seq == 0, state };
            let user_hash = rand::random::<bool>().then(|| i64::from(rand::random::<u8>() % 30));
            rows.push(SessionRow { sessions, user_hash, ..place.clone() });
        }
        if sid % 5 == 0 {
            let count = || u32::from(rand::random::<u8>() % 3);
            let counts = SessionCounts {
                exited: 1 + count(),
                errored: count(),
                crashed: count(),
                abnormal: count(),
                unhandled: count(),
            };
            rows.push(SessionRow { sessions: Sessions::Many(counts), user_hash: Some(i64::from(sid)), ..place });
        }
    }
    let again: Vec<_> =
        rows.iter().filter(|row| matches!(row.sessions, Sessions::One { .. }) && rand::random()).cloned().collect();
    rows.extend(again);
    rows.shuffle(&mut rand::rng());
    rows
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_writers_end_with_the_numbers_of_a_plain_recount() {
    const WRITERS: usize = 12;
    let store = Store::create().await;
    let (shop, ingest) = store.ingesting("shop").await;
    for round in 0..4 {
        let rows = chaos(Timestamp::now());
        let mut model = Model::default();
        for row in &rows {
            model.take(row);
        }
        let writers = rows.chunks(rows.len().div_ceil(WRITERS)).map(|rows| {
            let (rows, ingest) = (rows.to_vec(), ingest.clone());
            tokio::spawn(async move {
                let stream = Uuid::new_v4();
                for (sessions, sequence) in rows.chunks(9).zip(1..) {
                    // Events of the same issues and of new releases, whose locks are between those of sessions.
                    let mut events = [row(rand::random::<u8>() % 9), row(rand::random())];
                    events[0].release = Some(format!("shop@{}", rand::random::<u8>() % 60));
                    events[1].release = Some(format!("other@{round}.{}", rand::random::<u8>() % 20));
                    let batch = Batch { stream, sequence, rows: &events, sessions, ..Batch::default() };
                    for applied in [true, false] {
                        assert_eq!(ingest_batch(&ingest, shop, &batch).await.unwrap().applied, applied);
                    }
                }
            })
        });
        for writer in futures::future::join_all(writers).await {
            writer.unwrap();
        }
        assert_eq!(health(&store, shop).await, model.health(), "round {round}");
        store.execute(shop, "TRUNCATE {schema}.sessions, {schema}.session_seen, {schema}.session_users").await;
        // New names again, under other plans.
        store.execute(shop, "DELETE FROM {schema}.releases WHERE release LIKE 'shop@%'").await;
    }
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    assert_eq!(store.number(shop, deadlocks).await, 0);
}
