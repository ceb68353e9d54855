//! What ingest instances report of themselves, and when that was.

use std::time::Duration;

use error_tracking_operator::{
    dsn::{ProjectId, PublicKey},
    store::{
        Admin,
        admin::{Ended, IngestInstance, KeyObjects},
        ingest::{Report, look_up_key, report},
    },
};
use jiff::Timestamp;
use sqlx::PgPool;

use crate::{Store, key_identity, of_shop, public_key};

const DAY: Duration = Duration::from_hours(24);

/// A project with one key, and the next one, for which instances are asked.
struct Reporting {
    store: Store,
    project: ProjectId,
    ingest: PgPool,
    key: PublicKey,
}

impl Reporting {
    async fn start() -> Self {
        let store = Store::create().await;
        let (project, ingest) = store.ingesting("shop").await;
        let identity = key_identity("shop", "k1");
        let key = store.admin.mint_key(project, &identity, 1, &public_key(), &"s".into()).await.unwrap();
        store.admin.succeed_key(of_shop("k1"), key.key_id, 2, &public_key(), &"s".into()).await.unwrap();
        Self { store, project, ingest, key: key.public_key }
    }

    /// The key was used so long before the report, by what the instance says.
    async fn used(&self, instance: &str, age: Duration) {
        let key_usage = [(self.key.clone(), age)];
        let told = Report { instance, settings_version: 7, ending: false, key_usage: &key_usage, refused: &[] };
        report(&self.ingest, self.project, &told).await.unwrap();
    }

    async fn tell(&self, instance: &str, settings_version: i64, ending: bool) {
        let told = Report { instance, settings_version, ending, key_usage: &[], refused: &[] };
        report(&self.ingest, self.project, &told).await.unwrap();
    }

    /// As an instance of the version before does, by the clock of its node.
    async fn heartbeat(&self, instance: &str, used_at: &str) {
        let call = format!(
            "SELECT errortracking.heartbeat($1, $2, 3, ARRAY[$3], ARRAY[clock_timestamp() + interval '{used_at}'], '{{}}', '{{}}')"
        );
        sqlx::query(sqlx::AssertSqlSafe(call))
            .bind(self.project.as_i64())
            .bind(instance)
            .bind(self.key.as_str())
            .execute(&self.ingest)
            .await
            .unwrap();
    }

    /// How long ago the key was used last; whole seconds are kept of it.
    async fn last_used(&self) -> Option<Duration> {
        let key = &self.store.admin.keys_of("k1").await.unwrap()[0];
        key.last_used_at.map(|at| Timestamp::now().duration_since(at).unsigned_abs())
    }

    /// As if the instance had reported last so long ago.
    async fn seen(&self, instance: &str, ago: Duration) {
        let seconds = ago.as_secs();
        let change = format!(
            "UPDATE errortracking.ingest_instances SET seen_at = now() - interval '{seconds} s' WHERE instance = '{instance}'"
        );
        self.store.execute(self.project, &change).await;
    }

    async fn forget_use(&self) {
        self.store.execute(self.project, "UPDATE errortracking.client_keys SET last_used_at = NULL").await;
    }

    async fn instances(&self) -> Vec<IngestInstance> {
        self.store.admin.observe_keys(of_shop("k1")).await.unwrap().instances.unwrap()
    }
}

fn about(found: Option<Duration>, expected: Duration) -> bool {
    found.is_some_and(|found| found.abs_diff(expected) < Duration::from_secs(20))
}

#[tokio::test]
async fn a_use_is_as_old_as_the_instance_says_within_what_can_be() {
    let world = Reporting::start().await;
    let (minute, hour) = (Duration::from_mins(1), Duration::from_hours(1));
    // The first report of an instance may tell of anything.
    world.used("pod-1", hour).await;
    assert!(about(world.last_used().await, hour));
    // What is older than the report before was told with that one: the answer is on the side of the one who waits.
    for (since_last_report, age, counts_as) in [
        (Duration::ZERO, Duration::from_secs(3), Duration::from_secs(3)),
        (Duration::ZERO, DAY, minute),
        (hour, 30 * minute, 30 * minute),
        (hour, DAY, hour + minute),
        // Cut off from the database, with events that waited.
        (30 * hour, 29 * hour, 29 * hour),
        (Duration::ZERO, Duration::MAX, minute),
    ] {
        world.seen("pod-1", since_last_report).await;
        world.forget_use().await;
        world.used("pod-1", age).await;
        let found = world.last_used().await;
        assert!(about(found, counts_as), "{since_last_report:?} {age:?}: {found:?}");
    }
    // An older use takes nothing back.
    world.used("pod-1", Duration::ZERO).await;
    world.used("pod-2", hour).await;
    assert!(about(world.last_used().await, Duration::ZERO));

    for nonsense in ["NaN", "Infinity", "-Infinity", "-86400"] {
        world.forget_use().await;
        sqlx::query("SELECT errortracking.report($1, 'pod-1', 7, false, ARRAY[$2], ARRAY[$3::double precision], '[]')")
            .bind(world.project.as_i64())
            .bind(world.key.as_str())
            .bind(nonsense.parse::<f64>().unwrap())
            .execute(&world.ingest)
            .await
            .unwrap();
        assert!(about(world.last_used().await, if nonsense.starts_with('-') { Duration::ZERO } else { minute }));
    }
}

#[tokio::test]
async fn the_newest_use_of_any_key_is_observed_with_the_project() {
    let world = Reporting::start().await;
    let observed = async || world.store.admin.observe_project(world.project).await.unwrap().unwrap().keys_used_at;
    assert_eq!(observed().await, None);
    let identity = key_identity("other", "k2");
    let other = world.store.admin.mint_key(world.project, &identity, 1, &public_key(), &"s".into()).await.unwrap();
    world.used("pod-1", Duration::from_secs(30)).await;
    let used = world.store.admin.keys_of("k1").await.unwrap()[0].last_used_at;
    assert_eq!((observed().await, used.is_some()), (used, true));
    let key_usage = [(other.public_key, Duration::ZERO)];
    let told = Report { instance: "pod-1", settings_version: 7, ending: false, key_usage: &key_usage, refused: &[] };
    report(&world.ingest, world.project, &told).await.unwrap();
    world.store.admin.revoke_key(other.key_id).await.unwrap();
    assert!(observed().await > used);
    // That of another project is its own.
    let blog = world.store.project("blog").await;
    assert_eq!(world.store.admin.observe_project(blog).await.unwrap().unwrap().keys_used_at, None);
}

#[tokio::test]
async fn the_clock_of_a_node_does_not_count() {
    let world = Reporting::start().await;
    for _ in 0..2 {
        world.heartbeat("pod-1", "1 day").await;
        assert!(about(world.last_used().await, Duration::ZERO), "a day ahead");
    }
    world.forget_use().await;
    world.heartbeat("pod-1", "-1 day").await;
    assert!(about(world.last_used().await, Duration::from_mins(1)), "a day behind");
    assert_eq!(world.instances().await[0].settings_version, 3);
}

#[tokio::test]
async fn an_instance_says_what_it_follows_and_that_it_ends() {
    let world = Reporting::start().await;
    world.tell("pod-1", 41, false).await;
    world.tell("pod-1", 42, false).await;
    world.tell("pod-2", 40, false).await;
    world.seen("pod-2", DAY).await;
    let [first, second] = &*world.instances().await else { panic!("two instances") };
    assert_eq!((first.instance.as_str(), first.settings_version, first.ended), ("pod-1", 42, None));
    assert_eq!((second.instance.as_str(), second.settings_version, second.ended), ("pod-2", 40, None));
    assert!(about(Some(first.seen_age), Duration::ZERO) && about(Some(second.seen_age), DAY));

    world.tell("pod-1", 42, true).await;
    let ended = |of: &str, all: &[IngestInstance]| all.iter().find(|found| found.instance == of).unwrap().ended;
    let clean = |ended: Option<Ended>| ended.map(|Ended { age, clean }| (about(Some(age), Duration::ZERO), clean));
    let all = world.instances().await;
    assert_eq!(all[0].instance, "pod-2", "those that have not ended come first");
    assert_eq!((clean(ended("pod-1", &all)), ended("pod-2", &all)), (Some((true, true)), None));

    // A pod that is gone without a last report.
    for _ in 0..2 {
        world.store.admin.mark_instance_gone(world.project, "pod-2").await.unwrap();
    }
    world.store.admin.mark_instance_gone(world.project, "pod-1").await.unwrap();
    let all = world.instances().await;
    assert_eq!(clean(ended("pod-2", &all)), Some((true, false)));
    assert_eq!(clean(ended("pod-1", &all)), Some((true, true)), "what it said itself stays");

    // Containers that were started again, also with the version before.
    world.tell("pod-1", 43, false).await;
    world.heartbeat("pod-2", "0 s").await;
    assert!(world.instances().await.iter().all(|instance| instance.ended.is_none()));
    world.store.project("blog").await;
    let of_blog = KeyObjects { project_uid: "blog-u1", client_key_uid: "k1" };
    assert_eq!(world.store.admin.observe_keys(of_blog).await.unwrap().instances, Some(vec![]));
}

#[tokio::test]
async fn an_operator_that_leads_no_more_marks_nothing() {
    let world = Reporting::start().await;
    world.tell("pod-1", 1, false).await;
    let newer = Admin::connect(world.store.pool.clone(), 2).await.unwrap();
    newer.mark_instance_gone(world.project, "somebody").await.unwrap();
    assert!(world.store.admin.mark_instance_gone(world.project, "pod-1").await.is_err());
    assert_eq!(world.instances().await[0].ended, None);
}

#[tokio::test]
async fn an_instance_is_known_until_no_overlap_can_wait_for_it() {
    let world = Reporting::start().await;
    for (instance, seen, ended) in [
        ("ended", "25 hours", Some(("25 hours", true))),
        ("just ended", "23 hours", Some(("23 hours", true))),
        ("gone", "32 days", Some(("30 days", false))),
        ("gone long ago", "60 days", Some(("32 days", false))),
        ("silent", "30 days", None),
        ("silent for long", "32 days", None),
    ] {
        world.tell(instance, 1, false).await;
        let (at, clean) =
            ended.map_or(("NULL".to_owned(), false), |(ago, clean)| (format!("now() - interval '{ago}'"), clean));
        let change = format!(
            "UPDATE errortracking.ingest_instances
             SET seen_at = now() - interval '{seen}', ended_at = {at}, ended_clean = {clean} WHERE instance = '{instance}'"
        );
        world.store.execute(world.project, &change).await;
    }
    world.store.admin.drop_expired(world.project, 30, Timestamp::now()).await.unwrap();
    let mut left: Vec<_> = world.instances().await.into_iter().map(|instance| instance.instance).collect();
    left.sort();
    assert_eq!(left, ["gone", "just ended", "silent"]);
}

#[tokio::test]
async fn a_login_of_the_version_before_may_report() {
    let store = Store::create().await;
    let (shop, ingest) = store.ingesting("shop").await;
    let group = store.admin.installation().ingest_group();
    let told = Report { instance: "pod-1", settings_version: 1, ending: false, key_usage: &[], refused: &[] };
    let may = async || {
        let grants_ok = store.admin.observe_project(shop).await.unwrap().unwrap().grants_ok;
        let reports = report(&ingest, shop, &told).await.is_ok();
        [grants_ok, reports, look_up_key(&ingest, shop, &public_key()).await.is_ok()]
    };
    // As the version before left it.
    for function in ["report", "look_up_key"] {
        store.execute(shop, &format!("REVOKE EXECUTE ON FUNCTION errortracking.{function} FROM {group}")).await;
    }
    assert_eq!(may().await, [false; 3]);
    let migration = include_str!("../../migrations/server/0008_key_usage.sql");
    let (_, grants) = migration.split_once("\nDO ").unwrap();
    store.execute(shop, &format!("DO {grants}")).await;
    assert_eq!(may().await, [true; 3]);
}
