//! What the console's pages read, on the console's login.

use std::{collections::BTreeSet, time::Duration};

use error_tracking_operator::{
    dsn::ProjectId,
    protocol::{
        event::EventId,
        session::{SessionCounts, Sessions},
    },
    store::{
        console::{Action, Change, EventKey, Reception, Snapshot, Towards},
        ingest::{Batch, Outcome, OutcomeRow, Row, SessionRow, ingest_batch},
    },
};
use jiff::{SignedDuration, Timestamp};
use sqlx::PgPool;
use uuid::Uuid;

use crate::{Store, row, send};

struct World {
    store: Store,
    shop: ProjectId,
    ingest: PgPool,
    console: PgPool,
}

impl World {
    async fn create() -> Self {
        let store = Store::create().await;
        let (shop, ingest) = store.ingesting("shop").await;
        let role = store.admin.ensure_console_role(&"secret".into()).await.unwrap();
        let console = store.database.pool_as(&role, "secret");
        Self { store, shop, ingest, console }
    }

    fn id(&self, number: i64) -> i64 {
        self.shop.as_i64() << 32 | number
    }

    async fn snapshot(&self) -> Snapshot {
        Snapshot::begin(&self.console).await.unwrap()
    }

    /// An event of the issue of that hash, received so many seconds ago.
    async fn received(&self, hash: u8, seconds: i64) -> EventId {
        let event = row(hash);
        let id = event.event_id;
        let received_at = event.received_at - SignedDuration::from_secs(seconds);
        send(&self.ingest, self.shop, &[Row { received_at, ..event }]).await;
        id
    }

    async fn merge(&self, from: i64, into: i64) {
        let mut change = Change::begin(&self.console).await.unwrap();
        let merge = Action::Merge { into: self.id(into) };
        change.act(self.shop, &[self.id(from)], &merge, "anna", Uuid::new_v4()).await.unwrap();
        change.commit().await.unwrap();
    }

    /// Ids of the events of an issue in the order of the list, read in pages of so many.
    async fn listed(&self, number: i64, page: u32) -> Vec<EventId> {
        let (mut listed, mut after) = (Vec::new(), None);
        loop {
            let events = self.snapshot().await.events(self.shop, self.id(number), after, page).await.unwrap();
            let Some(last) = events.last() else { return listed };
            after = Some(last.key);
            listed.extend(events.iter().map(|event| event.key.event_id));
        }
    }

    async fn beside(&self, number: i64, from: Option<EventKey>, towards: Towards) -> Option<EventKey> {
        self.snapshot().await.event_beside(self.shop, self.id(number), from, towards).await.unwrap()
    }

    async fn tell(&self, outcomes: &[(&str, &str, i64, u64)]) {
        let rows: Vec<_> = outcomes
            .iter()
            .map(|(outcome, reason, hours, quantity)| OutcomeRow {
                received_at: Timestamp::now() - SignedDuration::from_hours(*hours),
                key: None,
                category: "error".into(),
                outcome: Outcome::parse(outcome).unwrap(),
                reason: (*reason).to_owned().into(),
                quantity: *quantity,
            })
            .collect();
        let batch = Batch { stream: Uuid::new_v4(), sequence: 1, outcomes: &rows, ..Batch::default() };
        assert!(ingest_batch(&self.ingest, self.shop, &batch).await.unwrap().applied);
    }
}

#[tokio::test]
async fn events_are_listed_by_when_they_were_received_with_those_of_merged_issues() {
    let world = World::create().await;
    let mut received = Vec::new();
    for (hash, seconds) in [(1, 50), (2, 40), (1, 30), (3, 20), (2, 10), (1, 0)] {
        received.push((hash, world.received(hash, seconds).await));
    }
    let of = |hashes: &[u8]| -> Vec<EventId> {
        received.iter().rev().filter(|(hash, _)| hashes.contains(hash)).map(|(_, id)| *id).collect()
    };
    assert_eq!(world.listed(1, 50).await, of(&[1]));
    world.merge(2, 1).await;
    for page in [1, 2, 50] {
        assert_eq!(world.listed(1, page).await, of(&[1, 2]), "in pages of {page}");
    }
    let events = world.snapshot().await.events(world.shop, world.id(1), None, 1).await.unwrap();
    let event = &events[0];
    assert_eq!((event.release.as_deref(), event.environment.as_deref()), (Some("shop@1.0"), Some("production")));
    assert_eq!(event.stored.as_ref().unwrap().payload, b"payload");

    // From end to end and back.
    let mut walked = Vec::new();
    let mut at = world.beside(1, None, Towards::Newer).await;
    while let Some(key) = at {
        walked.insert(0, key.event_id);
        at = world.beside(1, Some(key), Towards::Newer).await;
        if let Some(newer) = at {
            assert_eq!(world.beside(1, Some(newer), Towards::Older).await, Some(key));
        }
    }
    assert_eq!(walked, of(&[1, 2]));
    assert_eq!(world.beside(1, None, Towards::Older).await.unwrap().event_id, of(&[1])[0]);
    assert_eq!(world.beside(9, None, Towards::Older).await, None);

    let found = world.snapshot().await.issue_of_event(world.shop, of(&[2])[0]).await.unwrap();
    assert_eq!(found, Some(world.id(2)));
    assert_eq!(world.snapshot().await.issue_of_event(world.shop, EventId([9; 16])).await.unwrap(), None);
}

/// Many come in one microsecond; each is on one page.
#[tokio::test]
async fn events_of_one_moment_are_told_apart_by_their_ids() {
    let world = World::create().await;
    let one = row(1);
    let rows: Vec<_> = (0..10).map(|_| Row { event_id: EventId(rand::random()), ..one.clone() }).collect();
    send(&world.ingest, world.shop, &rows).await;
    let sent: BTreeSet<EventId> = rows.iter().map(|row| row.event_id).collect();
    let listed = world.listed(1, 3).await;
    assert_eq!((listed.len(), listed.into_iter().collect::<BTreeSet<_>>()), (10, sent));
}

#[tokio::test]
async fn an_issue_among_many_events_is_read_by_its_index_alone() {
    let world = World::create().await;
    let many = format!(
        "INSERT INTO {{schema}}.events (received_at, event_id, issue_id, ts, level, payload)
            SELECT now() - n * interval '1 millisecond', gen_random_uuid(), {} + n % 50, now(), 40, '\\x00'
              FROM generate_series(1, 20000) AS n;
         ANALYZE {{schema}}.events",
        world.id(1)
    );
    world.store.execute(world.shop, &many).await;
    let events = world.snapshot().await.events(world.shop, world.id(1), None, 51).await.unwrap();
    assert_eq!(events.len(), 51);
    let key = events[10].key;
    world.snapshot().await.events(world.shop, world.id(1), Some(key), 51).await.unwrap();
    for (from, towards) in [(Some(key), Towards::Older), (Some(key), Towards::Newer), (None, Towards::Newer)] {
        world.beside(1, from, towards).await.unwrap();
    }
    world.snapshot().await.issue_of_event(world.shop, key.event_id).await.unwrap().unwrap();
    // A session tells what it read when it ends.
    world.console.close().await;
    let of_events = |column: &str, view: &str| {
        format!(
            "SELECT coalesce(sum({column}), 0)::bigint FROM {view} AS s
               JOIN pg_inherits ON inhrelid = s.relid WHERE inhparent = '{{schema}}.events'::regclass"
        )
    };
    let entries = of_events("idx_tup_read", "pg_stat_user_indexes");
    let mut read = 0;
    for _ in 0..100 {
        read = world.store.number(world.shop, &entries).await;
        if read > 100 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // Of 20,000, and 400 of the issue.
    assert!((100..400).contains(&read), "{read} entries of indexes were read");
    let scanned = world.store.number(world.shop, &of_events("seq_tup_read", "pg_stat_user_tables")).await;
    assert_eq!(scanned, 0, "rows were read one after the other");
}

#[tokio::test]
async fn whether_a_project_receives_is_told_by_its_last_event_and_what_is_kept_out_now() {
    let world = World::create().await;
    let reception = async || world.snapshot().await.reception(world.shop).await.unwrap();
    assert_eq!(reception().await, Reception::default());
    assert_eq!(world.snapshot().await.newest_issue(world.shop).await.unwrap(), None);
    world.received(1, 60).await;
    world.received(2, 0).await;
    // Not of now; nothing that was kept out.
    world
        .tell(&[("rate_limited", "project_quota", 3, 9), ("filtered", "crawler", 0, 9), ("client_discard", "x", 0, 9)])
        .await;
    let received = reception().await;
    assert!(received.last_event.unwrap() > Timestamp::now() - SignedDuration::from_secs(30));
    assert_eq!(received.dropping, None);
    assert_eq!(world.snapshot().await.newest_issue(world.shop).await.unwrap(), Some(world.id(2)));
    world.tell(&[("rate_limited", "key_rate_limit", 0, 2), ("rate_limited", "project_quota", 0, 5)]).await;
    assert_eq!(reception().await.dropping.as_deref(), Some("project_quota"));
    let numbers = world.snapshot().await.projects(Timestamp::UNIX_EPOCH).await.unwrap().remove(0).numbers.unwrap();
    assert_eq!((numbers.new, numbers.unresolved, numbers.events()), (2, 2, 2));
    assert_eq!(numbers.reception, reception().await);
    let later = Timestamp::now() + SignedDuration::from_hours(1);
    assert_eq!(world.snapshot().await.projects(later).await.unwrap()[0].numbers.as_ref().unwrap().new, 0);
}

#[tokio::test]
async fn what_became_of_things_is_told_by_the_hour_and_in_all() {
    let world = World::create().await;
    world
        .tell(&[
            ("accepted", "", 0, 10),
            ("accepted", "", 30, 100),
            ("rate_limited", "project_quota", 1, 3),
            ("client_discard", "sampled", 400, 7),
        ])
        .await;
    let now = Timestamp::now();
    let ago = |hours| now - SignedDuration::from_hours(hours);
    let mut deliveries = world.snapshot().await.deliveries(world.shop, ago(14 * 24), ago(23)).await.unwrap();
    deliveries.sort_by_key(|delivery| delivery.quantity);
    let seen: Vec<_> = deliveries
        .iter()
        .map(|delivery| (delivery.hour.is_some(), delivery.outcome, &*delivery.reason, delivery.quantity))
        .collect();
    assert_eq!(
        seen,
        [
            (true, Outcome::RateLimited, "project_quota", 3),
            (true, Outcome::Accepted, "", 10),
            (false, Outcome::Accepted, "", 100),
        ]
    );
}

#[tokio::test]
async fn releases_say_what_is_new_in_them_and_how_many_sessions_crashed() {
    let world = World::create().await;
    for (hash, release) in [(1, "shop@1.0"), (2, "shop@1.0"), (1, "shop@1.1"), (3, "shop@1.2")] {
        let released = Row { release: Some(release.to_owned()), ..row(hash) };
        send(&world.ingest, world.shop, &[released]).await;
    }
    let session = |hours: i64, counts: SessionCounts| SessionRow {
        started: Timestamp::now() - SignedDuration::from_hours(hours),
        release: "shop@1.1".to_owned(),
        environment: None,
        user_hash: None,
        sessions: Sessions::Many(counts),
    };
    let counts = SessionCounts { exited: 7, crashed: 3, ..SessionCounts::default() };
    let sessions = [session(0, counts), session(100, counts)];
    let batch = Batch { stream: Uuid::new_v4(), sequence: 1, sessions: &sessions, ..Batch::default() };
    ingest_batch(&world.ingest, world.shop, &batch).await.unwrap();
    let releases = async |after, limit| {
        let since = Timestamp::now() - SignedDuration::from_hours(24);
        world.snapshot().await.releases(world.shop, after, since, limit).await.unwrap()
    };
    let all = releases(None, 50).await;
    let seen: Vec<_> =
        all.iter().map(|release| (&*release.name, release.new_errors, release.sessions, release.crashed)).collect();
    assert_eq!(seen, [("shop@1.2", 1, 0, 0), ("shop@1.1", 0, 10, 3), ("shop@1.0", 2, 0, 0)]);
    assert_eq!(releases(None, 1).await, all[..1]);
    assert_eq!(releases(Some(all[0].id), 50).await, all[1..]);
    assert!(releases(Some(i32::MIN), 50).await.is_empty());
}
