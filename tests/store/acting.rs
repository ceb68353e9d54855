//! What people do to issues, what events make of that, and undo: on the console's login.

use std::collections::BTreeMap;

use error_tracking_operator::{
    dsn::ProjectId,
    store::{
        StoreError,
        console::{
            Action, Activity, Change, Criterion, Happened, Ignoring, Issue, IssueOrder, IssueState, IssueStatus, List,
            MAX_ISSUES, Outcome, Resolution, Search, Snapshot, StatusRule, Term, Undo, Undone,
        },
        ingest::{Batch, Row, ingest_batch},
    },
};
use jiff::{SignedDuration, Timestamp};
use sqlx::{AssertSqlSafe, PgPool};
use uuid::Uuid;

use crate::{Store, applied, row, send};

const DEADLOCKS: &str = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";

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

    /// The id of the issue with this number.
    fn id(&self, number: i64) -> i64 {
        self.shop.as_i64() << 32 | number
    }

    async fn send(&self, rows: &[Row]) {
        assert_eq!(send(&self.ingest, self.shop, rows).await, applied(rows.len() as u64, 0));
    }

    /// Issues 1 to `last`, of the hashes of the same numbers.
    async fn issues(&self, last: u8) {
        for hash in 1..=last {
            self.send(&[row(hash)]).await;
        }
    }

    /// As anna; what came of it, and the batch.
    async fn act(&self, numbers: &[i64], action: Action) -> (Vec<Outcome>, Uuid) {
        self.act_as("anna", numbers, action).await
    }

    async fn act_as(&self, actor: &str, numbers: &[i64], action: Action) -> (Vec<Outcome>, Uuid) {
        let issues: Vec<i64> = numbers.iter().map(|number| self.id(*number)).collect();
        let batch = Uuid::new_v4();
        let mut change = Change::begin(&self.console).await.unwrap();
        let outcomes: BTreeMap<i64, Outcome> =
            change.act(self.shop, &issues, &action, actor, batch).await.unwrap().into_iter().collect();
        change.commit().await.unwrap();
        assert_eq!(outcomes.len(), numbers.len(), "{outcomes:?}");
        (issues.iter().map(|issue| outcomes[issue]).collect(), batch)
    }

    /// Does what must change every issue; the batch.
    async fn change(&self, numbers: &[i64], action: Action) -> Uuid {
        let (outcomes, batch) = self.act(numbers, action.clone()).await;
        assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Changed), "{action:?}: {outcomes:?}");
        batch
    }

    async fn undo(&self, batch: Uuid) -> Undo {
        let mut change = Change::begin(&self.console).await.unwrap();
        let undo = change.undo(self.shop, batch, "ben").await.unwrap();
        change.commit().await.unwrap();
        undo
    }

    /// Undoes what must be as the batch made it, all of it.
    async fn restore(&self, batch: Uuid) {
        let undo = self.undo(batch).await;
        let is_restored = |(_, undone): &(i64, Undone)| *undone == Undone::Restored;
        assert!(
            matches!(&undo, Undo::Done(issues) if !issues.is_empty() && issues.iter().all(is_restored)),
            "{undo:?}"
        );
    }

    async fn snapshot(&self) -> Snapshot {
        Snapshot::begin(&self.console).await.unwrap()
    }

    async fn issue(&self, number: i64) -> Option<Issue> {
        self.snapshot().await.issue(self.shop, self.id(number)).await.unwrap()
    }

    async fn status(&self, number: i64) -> (IssueStatus, StatusRule) {
        let issue = self.issue(number).await.unwrap();
        (issue.status, issue.rule)
    }

    async fn is_unresolved(&self, number: i64) -> bool {
        self.status(number).await == (IssueStatus::Unresolved, StatusRule::Plain)
    }

    async fn activity(&self, number: i64) -> Vec<Activity> {
        self.snapshot().await.activity(self.shop, self.id(number), 100).await.unwrap()
    }

    /// Numbers of the issues that the list shows under a status, the smallest first.
    async fn listed(&self, status: IssueStatus) -> Vec<u32> {
        let (scope, query) = (Search::default(), Search::status(status));
        let order = IssueOrder::LastSeen;
        let list = List { scope: &scope, query: &query, each: &[], order, after: None, limit: 100 };
        let listing = self.snapshot().await.list(self.shop, list).await.unwrap();
        let mut numbers: Vec<u32> = listing.issues.iter().map(Issue::number).collect();
        numbers.sort_unstable();
        numbers
    }

    async fn unresolved(&self) -> u64 {
        let unresolved = [Search::status(IssueStatus::Unresolved)];
        self.snapshot().await.counts(self.shop, &Search::default(), &unresolved).await.unwrap()[0]
    }

    async fn number(&self, query: &str) -> i64 {
        self.store.number(self.shop, query).await
    }
}

fn released(hash: u8, release: Option<&str>) -> Row {
    Row { release: release.map(str::to_owned), ..row(hash) }
}

fn of_user(hash: u8, user: i64) -> Row {
    Row { user_hash: Some(user), ..row(hash) }
}

/// `#` stands for the number of the case, so that no release is of two.
struct Regression {
    name: &'static str,
    /// Of events of the issue, one after the other, before it is resolved.
    seen: &'static [&'static str],
    resolution: Resolution,
    /// Of an event that comes then.
    release: Option<&'static str>,
    reopens: bool,
}

#[tokio::test]
async fn an_event_of_a_later_release_reopens_what_was_resolved_in_one() {
    use Resolution::{InCurrentRelease as Current, InNextRelease as Next, Now};
    let named = |release: &str| Resolution::InRelease(release.to_owned());
    let case = |name, seen, resolution, release, reopens| Regression { name, seen, resolution, release, reopens };
    let cases = [
        case("plain, any release", &["#@1.0.0"], Now, Some("#@1.0.0"), true),
        case("plain, no release", &["#@1.0.0"], Now, None, true),
        case("the same", &["#@1.0.0"], Current, Some("#@1.0.0"), false),
        case("none", &["#@1.0.0"], Current, None, false),
        case("later by version", &["#@1.9.0"], Current, Some("#@1.10.0"), true),
        case("earlier by version, first seen now", &["#@1.10.0"], Current, Some("#@1.9.9"), false),
        case("an old pod", &["#@1.0.0", "#@1.1.0"], Current, Some("#@1.0.0"), false),
        case("the last event was of an old pod", &["#@1.1.0", "#@1.0.0"], Current, Some("#@1.1.0"), true),
        case("the release after its candidate", &["#@2.0.0-rc.1"], Current, Some("#@2.0.0"), true),
        case("a candidate of the same release", &["#@2.0.0"], Current, Some("#@2.0.0-rc.2"), false),
        case("candidates by number", &["#@2.0.0-rc.9"], Current, Some("#@2.0.0-rc.10"), true),
        case("a later build", &["#@2.0.0+9"], Current, Some("#@2.0.0+10"), true),
        case("an earlier build", &["#@2.0.0+10"], Current, Some("#@2.0.0+9"), false),
        case("another package", &["a#@2.0.0"], Current, Some("b#@1.0.0"), true),
        case("without a version, seen later", &["b-#"], Current, Some("a-#"), true),
        case("without a version, seen earlier", &["a-#", "b-#"], Current, Some("a-#"), false),
        case("one without a version, seen later", &["#@1.0.0"], Current, Some("1f3a-#"), true),
        case("one without a version, seen earlier", &["1f3a-#", "#@1.0.0"], Current, Some("1f3a-#"), false),
        case("next, the current", &["#@1.0.0"], Next, Some("#@1.0.0"), false),
        case("next, none", &["#@1.0.0"], Next, None, false),
        case("next, seen earlier", &["#@1.0.0", "#@1.1.0"], Next, Some("#@1.0.0"), false),
        case("next, first seen then", &["#@1.0.0"], Next, Some("#@1.1.0"), true),
        case("next, without a version", &["a-#"], Next, Some("b-#"), true),
        case("named, the same", &["#@1.0.0"], named("#@3.0.0"), Some("#@3.0.0"), false),
        case("named, before it", &["#@1.0.0"], named("#@3.0.0"), Some("#@2.0.0"), false),
        case("named, after it", &["#@1.0.0"], named("#@3.0.0"), Some("#@3.0.1"), true),
        case("named without a version, not seen yet", &["a-#"], named("c-#"), Some("b-#"), false),
        case("named without a version, seen", &["a-#", "b-#"], named("a-#"), Some("b-#"), true),
    ];
    let world = World::create().await;
    for (number, case) in (1_u8..).zip(&cases) {
        let fill = |text: &str| text.replace('#', &format!("{number}"));
        for release in case.seen {
            world.send(&[released(number, Some(&fill(release)))]).await;
        }
        let resolution = match &case.resolution {
            Resolution::InRelease(release) => Resolution::InRelease(fill(release)),
            other => other.clone(),
        };
        world.change(&[number.into()], Action::Resolve(resolution)).await;
        world.send(&[released(number, case.release.map(&fill).as_deref())]).await;
        assert_eq!(world.is_unresolved(number.into()).await, case.reopens, "{}", case.name);
        let issue = world.issue(number.into()).await.unwrap();
        assert_eq!(issue.events, case.seen.len() as u64 + 1, "{}: every event counts", case.name);
        let newest = world.activity(number.into()).await.remove(0);
        if case.reopens {
            let release = case.release.map(&fill);
            assert_eq!((newest.what, newest.actor), (Happened::Regression { release }, None), "{}", case.name);
        } else {
            assert!(matches!(newest.what, Happened::Status(IssueStatus::Resolved, _)), "{}", case.name);
        }
    }
}

#[tokio::test]
async fn what_is_resolved_says_in_which_release_and_an_event_of_before_does_not_reopen_it() {
    let world = World::create().await;
    world.send(&[released(1, Some("shop@1.0.0"))]).await;
    world.send(&[released(2, None)]).await;
    let (outcomes, _) = world.act(&[1, 2], Action::Resolve(Resolution::InCurrentRelease)).await;
    assert_eq!(outcomes, [Outcome::Changed, Outcome::WithoutRelease]);
    let in_first = (IssueStatus::Resolved, StatusRule::ResolvedIn("shop@1.0.0".to_owned()));
    assert_eq!(world.status(1).await, in_first);
    let mut late = released(1, Some("shop@2.0.0"));
    late.received_at -= SignedDuration::from_secs(10);
    world.send(&[late]).await;
    assert_eq!(world.status(1).await, in_first);
    world.send(&[released(1, Some("shop@0.9.0")), released(1, None), released(1, Some("shop@2.0.0"))]).await;
    assert!(world.is_unresolved(1).await, "one of a batch is enough");

    world.change(&[1], Action::Resolve(Resolution::InNextRelease)).await;
    assert_eq!(world.status(1).await, (IssueStatus::Resolved, StatusRule::ResolvedInNext));
    let (outcomes, _) = world.act(&[1], Action::Resolve(Resolution::InNextRelease)).await;
    assert_eq!(outcomes, [Outcome::Unchanged]);
    world.change(&[1], Action::Resolve(Resolution::Now)).await;
    assert_eq!(world.status(1).await, (IssueStatus::Resolved, StatusRule::Plain));
    world.change(&[1], Action::Reopen).await;
    assert!(world.is_unresolved(1).await);
}

#[tokio::test]
async fn an_ignored_issue_reopens_when_its_rule_is_met() {
    let world = World::create().await;
    world.issues(5).await;
    world.send(&[of_user(4, 1), of_user(4, 2)]).await;
    let soon = Timestamp::from_second(Timestamp::now().as_second() + 60).unwrap();
    for (number, ignoring) in [
        (1, Ignoring::Forever),
        (2, Ignoring::Until(soon)),
        (3, Ignoring::MoreEvents(3)),
        (4, Ignoring::MoreUsers(2)),
        (5, Ignoring::Until(Timestamp::now())),
    ] {
        world.change(&[number], Action::Ignore(ignoring)).await;
    }
    assert_eq!(world.status(1).await, (IssueStatus::Ignored, StatusRule::Plain));
    assert_eq!(world.status(2).await.1, StatusRule::IgnoredUntil(soon));
    assert_eq!(world.status(3).await.1, StatusRule::IgnoredUntilEvents(4));
    assert_eq!(world.status(4).await.1, StatusRule::IgnoredUntilUsers(4));

    // A user who is known, and one who is not; of the others one event each.
    world.send(&[row(1), row(2), row(3), row(3), of_user(4, 1), of_user(4, 3), row(5)]).await;
    assert_eq!(world.listed(IssueStatus::Ignored).await, [1, 2, 3, 4]);
    assert!(world.is_unresolved(5).await);
    world.send(&[row(1), row(3), of_user(4, 9)]).await;
    assert_eq!(world.listed(IssueStatus::Ignored).await, [1, 2]);
    let mut later = row(2);
    later.received_at = soon + SignedDuration::from_secs(1);
    world.send(&[later]).await;
    assert_eq!(world.listed(IssueStatus::Ignored).await, [1]);
    for number in 2..=5 {
        assert!(world.is_unresolved(number).await, "{number}");
        let newest = world.activity(number).await.remove(0);
        assert_eq!((newest.what, newest.actor, newest.batch), (Happened::Unignored, None, None), "{number}");
    }
}

#[tokio::test]
async fn each_action_is_told_and_can_be_undone() {
    let world = World::create().await;
    world.issues(3).await;
    let anna = || Some("anna".to_owned());
    let untouched = world.issue(1).await.unwrap();
    world.change(&[2], Action::Ignore(Ignoring::MoreEvents(7))).await;
    let ignored = world.issue(2).await.unwrap();
    let until = Timestamp::from_second(2_000_000_000).unwrap();
    let release = "shop@1.0".to_owned();
    for (action, what) in [
        (Action::Resolve(Resolution::Now), Happened::Status(IssueStatus::Resolved, StatusRule::Plain)),
        (
            Action::Resolve(Resolution::InCurrentRelease),
            Happened::Status(IssueStatus::Resolved, StatusRule::ResolvedIn(release)),
        ),
        (
            Action::Resolve(Resolution::InNextRelease),
            Happened::Status(IssueStatus::Resolved, StatusRule::ResolvedInNext),
        ),
        (
            Action::Ignore(Ignoring::Until(until)),
            Happened::Status(IssueStatus::Ignored, StatusRule::IgnoredUntil(until)),
        ),
        (
            Action::Ignore(Ignoring::MoreUsers(5)),
            Happened::Status(IssueStatus::Ignored, StatusRule::IgnoredUntilUsers(5)),
        ),
        (Action::Assign(Some("cleo".to_owned())), Happened::Assigned { from: None, to: Some("cleo".to_owned()) }),
        (Action::Comment("it was the plum".to_owned()), Happened::Comment("it was the plum".to_owned())),
        (Action::Delete, Happened::Deleted),
        (Action::Merge { into: world.id(3) }, Happened::Merged { into: world.id(3) }),
    ] {
        let batch = world.change(&[1, 2], action.clone()).await;
        let told = world.activity(if matches!(action, Action::Merge { .. }) { 3 } else { 1 }).await;
        let done = told.iter().find(|done| done.issue == world.id(1) && done.batch == Some(batch)).unwrap();
        assert_eq!((&done.what, &done.actor, &done.undone), (&what, &anna(), &None), "{action:?}");

        world.restore(batch).await;
        assert_eq!(world.issue(1).await.unwrap(), untouched, "{action:?}");
        assert_eq!(world.issue(2).await.unwrap(), ignored, "{action:?}");
        let told = world.activity(1).await;
        let done = told.iter().find(|done| done.batch == Some(batch)).unwrap();
        assert_eq!(done.undone.as_ref().unwrap().actor, "ben", "{action:?}");
        let again = Undo::Done(vec![(world.id(1), Undone::Before), (world.id(2), Undone::Before)]);
        assert_eq!(world.undo(batch).await, again, "{action:?}");
    }
    let batch = world.change(&[2], Action::Reopen).await;
    world.restore(batch).await;
    assert_eq!(world.issue(2).await.unwrap(), ignored);
    let first = world.activity(1).await.pop().unwrap();
    assert_eq!((first.what, first.actor), (Happened::FirstSeen { release: Some("shop@1.0".to_owned()) }, None));
    assert_eq!(first.at, untouched.first_seen);
    assert_eq!(world.snapshot().await.activity(world.shop, world.id(1), 2).await.unwrap().len(), 2);
    // Rules hold after an undo as before.
    for _ in 0..7 {
        world.send(&[row(2)]).await;
    }
    assert!(world.is_unresolved(2).await);
}

#[tokio::test]
async fn undo_leaves_what_changed_since_and_says_who_did_it() {
    let world = World::create().await;
    world.issues(6).await;
    let by =
        |by: Option<&str>, kind: &str| Undone::ChangedSince { by: by.map(str::to_owned), kind: Some(kind.to_owned()) };
    let batch = world.change(&[1, 2, 3, 4, 5, 6], Action::Resolve(Resolution::Now)).await;
    world.act_as("cleo", &[2], Action::Ignore(Ignoring::Forever)).await;
    world.send(&[row(3)]).await;
    world.act_as("cleo", &[4], Action::Delete).await;
    world.act_as("cleo", &[5], Action::Assign(Some("dan".to_owned()))).await;
    world.act_as("cleo", &[5], Action::Comment("seen".to_owned())).await;
    // Back to what it was, but by a decision of its own.
    world.act_as("cleo", &[6], Action::Reopen).await;
    world.act_as("dan", &[6], Action::Resolve(Resolution::Now)).await;
    let expected = [
        Undone::Restored,
        by(Some("cleo"), "ignored"),
        by(None, "regression"),
        by(Some("cleo"), "deleted"),
        Undone::Restored,
        by(Some("dan"), "resolved"),
    ];
    let expected = (1..).map(|number| world.id(number)).zip(expected).collect();
    assert_eq!(world.undo(batch).await, Undo::Done(expected));
    assert_eq!(world.listed(IssueStatus::Unresolved).await, [1, 3, 5]);
    assert_eq!(world.listed(IssueStatus::Ignored).await, [2]);
    assert_eq!(world.listed(IssueStatus::Resolved).await, [6]);
    assert_eq!(world.issue(5).await.unwrap().assignee.as_deref(), Some("dan"));

    let assigned = world.change(&[1, 2], Action::Assign(Some("anna".to_owned()))).await;
    world.change(&[1], Action::Resolve(Resolution::Now)).await;
    world.act_as("cleo", &[2], Action::Assign(None)).await;
    let expected = vec![(world.id(1), Undone::Restored), (world.id(2), by(Some("cleo"), "assigned"))];
    assert_eq!(world.undo(assigned).await, Undo::Done(expected));

    // The same name again is another decision, until that is undone.
    let first = world.change(&[3], Action::Assign(Some("anna".to_owned()))).await;
    world.act_as("cleo", &[3], Action::Assign(None)).await;
    let (_, again) = world.act_as("cleo", &[3], Action::Assign(Some("anna".to_owned()))).await;
    let since = Undo::Done(vec![(world.id(3), by(Some("cleo"), "assigned"))]);
    assert_eq!(world.undo(first).await, since);
    world.restore(again).await;
    assert_eq!(world.issue(3).await.unwrap().assignee, None);

    // What was merged goes with its target, and comes back with it alone.
    let merged = world.change(&[3], Action::Merge { into: world.id(5) }).await;
    let (_, deleted) = world.act_as("cleo", &[5], Action::Delete).await;
    let is_deletion = async |batch| {
        let mut change = Change::begin(&world.console).await.unwrap();
        change.is_deletion(world.shop, batch).await.unwrap()
    };
    assert!(is_deletion(deleted).await && !is_deletion(merged).await && !is_deletion(Uuid::new_v4()).await);
    assert_eq!(world.undo(merged).await, Undo::Done(vec![(world.id(3), by(Some("cleo"), "deleted"))]));
    assert!(world.issue(3).await.is_none() && world.issue(5).await.is_none());
    world.restore(deleted).await;
    world.restore(merged).await;
    assert!(world.issue(3).await.is_some() && world.issue(5).await.is_some());
}

#[tokio::test]
async fn a_batch_can_be_undone_for_a_day() {
    let world = World::create().await;
    world.issues(2).await;
    let age = async |batch: Uuid, hours: f32| {
        let older = format!("at = at - interval '{hours} hours' WHERE batch = '{batch}'");
        world.store.execute(world.shop, &format!("UPDATE {{schema}}.issue_actions SET {older}")).await;
    };
    let first = world.change(&[1], Action::Resolve(Resolution::Now)).await;
    let second = world.change(&[2], Action::Resolve(Resolution::Now)).await;
    age(first, 23.9).await;
    age(second, 24.0).await;
    world.restore(first).await;
    assert_eq!(world.undo(second).await, Undo::TooLate);
    assert_eq!(world.undo(Uuid::new_v4()).await, Undo::Unknown);
    assert_eq!(world.listed(IssueStatus::Resolved).await, [2]);
    world.store.admin.drop_expired(world.shop, 30, Timestamp::now() + SignedDuration::from_hours(30)).await.unwrap();
    assert_eq!(world.undo(second).await, Undo::Unknown, "retention forgets what cannot be undone any more");
}

#[tokio::test]
async fn merged_issues_count_as_one_and_an_undo_tells_them_apart() {
    let world = World::create().await;
    world.send(&[of_user(1, 1), of_user(1, 2), of_user(2, 2), of_user(2, 3), of_user(3, 3), row(4)]).await;
    let hash = |number: u8| {
        format!(
            "SELECT events FROM {{schema}}.issue_counters JOIN {{schema}}.issue_hashes USING (issue_id)
             WHERE hash = decode('{}', 'hex')",
            format!("{number:02x}").repeat(32)
        )
    };
    // Numbers follow the random ids of the events: name them by their hashes.
    let mut numbers = Vec::new();
    for number in 1..=4_u8 {
        let find = hash(number).replace("SELECT events", "SELECT issue_id & 4294967295");
        numbers.push(world.number(&find).await);
    }
    let [one, two, three, four] = numbers[..] else { panic!("{numbers:?}") };
    let before = world.issue(one).await.unwrap();

    let first = world.change(&[two], Action::Merge { into: world.id(one) }).await;
    let merged = world.issue(one).await.unwrap();
    assert_eq!((merged.events, merged.users, merged.merged), (4, 3, 1));
    assert_eq!(world.issue(two).await, None);
    assert_eq!(world.snapshot().await.merged_into(world.shop, world.id(two)).await.unwrap(), Some(world.id(one)));
    assert_eq!(world.unresolved().await, 3);
    assert_eq!(world.act(&[two], Action::Resolve(Resolution::Now)).await.0, [Outcome::Merged]);

    // An event of the merged one is one of the other: it counts there, is its latest, and reopens it.
    world.change(&[one], Action::Resolve(Resolution::Now)).await;
    let event = of_user(2, 4);
    world.send(std::slice::from_ref(&event)).await;
    let merged = world.issue(one).await.unwrap();
    assert_eq!((merged.events, merged.users, merged.latest.event_id), (5, 4, event.event_id));
    assert_eq!(merged.status, IssueStatus::Unresolved);
    let hours = world.snapshot().await.hours(world.shop, &[world.id(one)], Timestamp::UNIX_EPOCH).await.unwrap();
    assert_eq!(hours[&world.id(one)].iter().map(|(_, events)| events).sum::<u64>(), 5);

    // A chain has no second link: what was merged goes along, also back.
    let second = world.change(&[one], Action::Merge { into: world.id(three) }).await;
    assert_eq!(world.snapshot().await.merged_into(world.shop, world.id(two)).await.unwrap(), Some(world.id(three)));
    let merged = world.issue(three).await.unwrap();
    assert_eq!((merged.events, merged.users, merged.merged), (6, 4, 2));
    for (sources, into, outcomes) in [
        (vec![three], three, vec![Outcome::Cycle]),
        (vec![three], two, vec![Outcome::Cycle]),
        (vec![one], three, vec![Outcome::Unchanged]),
        (vec![one], four, vec![Outcome::Merged]),
        (vec![9], three, vec![Outcome::Gone]),
        (vec![four], 9, vec![Outcome::TargetGone]),
    ] {
        let (found, _) = world.act(&sources, Action::Merge { into: world.id(into) }).await;
        assert_eq!(found, outcomes, "{sources:?} into {into}");
    }
    // Into one that is merged is into what that leads to.
    let third = world.change(&[four], Action::Merge { into: world.id(two) }).await;
    assert_eq!(world.snapshot().await.merged_into(world.shop, world.id(four)).await.unwrap(), Some(world.id(three)));
    world.restore(third).await;

    let changed = Undone::ChangedSince { by: Some("anna".to_owned()), kind: Some("merged".to_owned()) };
    assert_eq!(world.undo(first).await, Undo::Done(vec![(world.id(two), changed)]));
    world.restore(second).await;
    assert_eq!(world.snapshot().await.merged_into(world.shop, world.id(two)).await.unwrap(), Some(world.id(one)));
    world.restore(first).await;
    let after = world.issue(one).await.unwrap();
    assert_eq!((after.events, after.users, after.merged), (before.events, before.users, 0));
    let split = world.issue(two).await.unwrap();
    assert_eq!((split.events, split.users, split.latest.event_id), (3, 3, event.event_id));

    // Into a deleted one.
    world.change(&[four], Action::Delete).await;
    let (outcomes, _) = world.act(&[one, four], Action::Merge { into: world.id(four) }).await;
    assert_eq!(outcomes, [Outcome::TargetGone, Outcome::Gone]);
}

#[tokio::test]
async fn a_rule_of_an_ignored_issue_counts_what_is_merged_into_it_from_then_on() {
    let world = World::create().await;
    world.issues(2).await;
    for _ in 0..9 {
        world.send(&[row(2)]).await;
    }
    world.change(&[1], Action::Ignore(Ignoring::MoreEvents(3))).await;
    let batch = world.change(&[2], Action::Merge { into: world.id(1) }).await;
    assert_eq!(world.status(1).await.1, StatusRule::IgnoredUntilEvents(14));
    world.send(&[row(1), row(2)]).await;
    assert_eq!(world.status(1).await.0, IssueStatus::Ignored);
    world.restore(batch).await;
    assert_eq!(world.status(1).await.1, StatusRule::IgnoredUntilEvents(3));
    world.send(&[row(1)]).await;
    assert!(world.is_unresolved(1).await);
}

#[tokio::test]
async fn a_deleted_issue_is_hidden_and_comes_back_by_undo_or_goes_after_a_day() {
    let world = World::create().await;
    world.issues(4).await;
    world.change(&[2], Action::Merge { into: world.id(1) }).await;
    let event = world.issue(3).await.unwrap().latest.event_id;
    let finds_event = async || world.snapshot().await.event(world.shop, event).await.unwrap().is_some();
    assert!(finds_event().await);
    let batch = world.change(&[1, 3], Action::Delete).await;
    assert!(!finds_event().await);
    assert_eq!(world.listed(IssueStatus::Unresolved).await, [4]);
    assert_eq!(world.unresolved().await, 1);
    let numbers = async || {
        let mut snapshot = world.snapshot().await;
        snapshot.projects(Timestamp::UNIX_EPOCH).await.unwrap().remove(0).numbers.unwrap()
    };
    assert_eq!((numbers().await.unresolved, numbers().await.events()), (1, 1));
    assert_eq!(world.act(&[1, 2], Action::Reopen).await.0, [Outcome::Gone; 2]);

    // The same error again is a new issue. After an undo that keeps what came to it.
    world.send(&[row(3)]).await;
    assert_eq!(world.listed(IssueStatus::Unresolved).await, [4, 5]);
    world.restore(batch).await;
    assert!(finds_event().await);
    assert_eq!(world.listed(IssueStatus::Unresolved).await, [1, 3, 4, 5]);
    world.send(&[row(1), row(2), row(3)]).await;
    assert_eq!(world.issue(1).await.unwrap().events, 4);
    assert_eq!((world.issue(3).await.unwrap().events, world.issue(5).await.unwrap().events), (1, 2));
    assert_eq!(numbers().await.events(), 8);

    world.change(&[1, 3], Action::Delete).await;
    world.store.execute(world.shop, "INSERT INTO {schema}.expired_issues VALUES (7)").await;
    let in_hours = |hours| Timestamp::now() + SignedDuration::from_hours(hours);
    world.store.admin.drop_expired(world.shop, 30, in_hours(23)).await.unwrap();
    assert_eq!(world.number("SELECT count(*) FROM {schema}.issues").await, 5);
    let expired = world.store.admin.drop_expired(world.shop, 30, in_hours(25)).await.unwrap();
    assert_eq!(expired.issues, 3);
    for (table, left) in [
        ("issues", 2),
        ("issue_counters", 2),
        ("issue_hashes", 2),
        ("issue_hours", 2),
        // One of all releases for each.
        ("issue_environments", 4),
        ("issue_environment_hours", 2),
        ("events", 3),
        ("issue_triage", 0),
        ("deleted_hashes", 0),
        ("issue_activity", 0),
        ("expired_issues", 0),
    ] {
        assert_eq!(world.number(&format!("SELECT count(*) FROM {{schema}}.{table}")).await, left, "{table}");
    }
    world.send(&[row(1)]).await;
    assert_eq!(world.listed(IssueStatus::Unresolved).await, [4, 5, 6]);
}

/// A batch that had looked the hash up before, and a hash that a newer grouping gave meanwhile.
#[tokio::test]
async fn an_event_that_still_finds_a_deleted_issue_is_the_last_one() {
    let world = World::create().await;
    world.issues(1).await;
    world.change(&[1], Action::Delete).await;
    let hash = "INSERT INTO {schema}.issue_hashes SELECT 2, hash, issue_id FROM {schema}.deleted_hashes";
    world.store.execute(world.shop, hash).await;
    let again = Row { grouping_version: 2, ..row(1) };
    world.send(std::slice::from_ref(&again)).await;
    assert_eq!(world.listed(IssueStatus::Unresolved).await, [0; 0]);
    world.send(&[Row { event_id: row(1).event_id, ..again }]).await;
    assert_eq!(world.listed(IssueStatus::Unresolved).await, [2]);
}

#[tokio::test]
async fn merged_issues_stay_for_as_long_as_one_of_them_has_events() {
    let world = World::create().await;
    world.issues(4).await;
    world.change(&[2], Action::Merge { into: world.id(1) }).await;
    world.change(&[3], Action::Merge { into: world.id(4) }).await;
    // Of one pair the merged issue is old, of the other the one that is left.
    let age = "UPDATE {schema}.issue_counters SET latest_received_at = now() - interval '40 days'
        WHERE issue_id & 4294967295 IN (2, 4)";
    world.store.execute(world.shop, age).await;
    let now = Timestamp::now();
    assert_eq!(world.store.admin.drop_expired(world.shop, 30, now).await.unwrap().issues, 0);
    assert_eq!(world.snapshot().await.merged_into(world.shop, world.id(2)).await.unwrap(), Some(world.id(1)));
    let rest = age.replace("(2, 4)", "(1)");
    world.store.execute(world.shop, &rest).await;
    assert_eq!(world.store.admin.drop_expired(world.shop, 30, now).await.unwrap().issues, 2);
    assert_eq!(world.listed(IssueStatus::Unresolved).await, [4]);
    assert_eq!(world.number("SELECT count(*) FROM {schema}.issue_triage").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn people_and_ingest_act_on_the_same_issues_at_once() {
    const HASHES: u8 = 12;
    const BATCHES: i64 = 40;
    const ROWS: u8 = 20;
    let world = World::create().await;
    world.issues(HASHES).await;
    let writers = (0..4).map(|_| {
        let (ingest, shop) = (world.ingest.clone(), world.shop);
        tokio::spawn(async move {
            let stream = Uuid::new_v4();
            for sequence in 0..BATCHES {
                let rows: Vec<Row> = (0..ROWS)
                    .map(|_| Row {
                        title: format!("{}", rand::random::<u8>()),
                        release: Some(format!("shop@1.{}", sequence / 10)),
                        user_hash: Some(i64::from(rand::random::<u8>() % 9)),
                        ..row(1 + rand::random::<u8>() % HASHES)
                    })
                    .collect();
                let batch = Batch { stream, sequence, rows: &rows, ..Batch::default() };
                assert_eq!(ingest_batch(&ingest, shop, &batch).await.unwrap(), applied(ROWS.into(), 0));
            }
        })
    });
    let people = (0..3).map(|person| {
        let (console, shop) = (world.console.clone(), world.shop);
        tokio::spawn(async move {
            let id = |number: u8| shop.as_i64() << 32 | i64::from(number);
            for round in 0..30_u32 {
                let some = || 1 + rand::random::<u8>() % HASHES;
                let action = match rand::random::<u8>() % 7 {
                    0 => Action::Resolve(Resolution::Now),
                    1 => Action::Resolve(Resolution::InCurrentRelease),
                    2 => Action::Ignore(Ignoring::MoreEvents(5)),
                    3 => Action::Assign(Some(format!("{person}"))),
                    4 => Action::Delete,
                    _ => Action::Merge { into: id(some()) },
                };
                let issues: Vec<i64> = (0..4).map(|_| id(some())).collect();
                let batch = Uuid::new_v4();
                let mut change = Change::begin(&console).await.unwrap();
                change.act(shop, &issues, &action, "anna", batch).await.unwrap();
                change.commit().await.unwrap();
                if round % 2 == 0 || action == Action::Delete {
                    let mut change = Change::begin(&console).await.unwrap();
                    change.undo(shop, batch, "ben").await.unwrap();
                    change.commit().await.unwrap();
                }
            }
        })
    });
    let all: Vec<_> = writers.chain(people).collect();
    for one in all {
        one.await.unwrap();
    }
    assert_eq!(world.number(DEADLOCKS).await, 0);
    let total = 4 * BATCHES * i64::from(ROWS) + i64::from(HASHES);
    assert_eq!(world.number("SELECT sum(events)::bigint FROM {schema}.issue_counters").await, total);
    assert_eq!(world.number("SELECT sum(events)::bigint FROM {schema}.shown_issues").await, total, "nothing is lost");
    let astray =
        "SELECT count(*) FROM {schema}.issue_triage AS t LEFT JOIN {schema}.issues AS i ON i.issue_id = t.merged_into
        WHERE t.merged_into IS NOT NULL AND (i.issue_id IS NULL OR i.is_hidden)";
    assert_eq!(world.number(astray).await, 0, "each leads to one that is shown");
    assert_eq!(world.number("SELECT count(*) FROM {schema}.deleted_hashes").await, 0);
    let hidden = "SELECT count(*) FROM {schema}.issues AS i LEFT JOIN {schema}.issue_triage AS t USING (issue_id)
        WHERE i.is_hidden <> (t.merged_into IS NOT NULL)";
    assert_eq!(world.number(hidden).await, 0);
    // Told apart again, each has its own.
    world
        .store
        .execute(
            world.shop,
            "UPDATE {schema}.issue_triage SET merged_into = NULL; UPDATE {schema}.issues SET is_hidden = false",
        )
        .await;
    let users = "SELECT count(*) FROM {schema}.issue_counters AS c
        WHERE users <> (SELECT count(*) FROM {schema}.issue_users AS u WHERE u.issue_id = c.issue_id)";
    assert_eq!(world.number(users).await, 0);
}

#[tokio::test]
async fn the_consoles_login_acts_by_two_functions_and_writes_nothing_else() {
    let world = World::create().await;
    world.issues(2).await;
    world.change(&[1], Action::Comment("as it was".to_owned())).await;
    let schema = world.shop.schema();
    let relations: Vec<(String,)> = sqlx::query_as(
        "SELECT format('%I.%I', relnamespace::regnamespace, relname) FROM pg_class
         WHERE relnamespace::regnamespace::text ~ '^(errortracking|project_.*)$' AND relkind IN ('r', 'p')",
    )
    .fetch_all(&world.store.pool)
    .await
    .unwrap();
    let mut refused: Vec<String> = Vec::new();
    for (relation,) in relations {
        refused.push(format!("DELETE FROM {relation}"));
        refused.push(format!("INSERT INTO {relation} DEFAULT VALUES"));
    }
    refused.extend([
        format!("UPDATE {schema}.issue_activity SET comment = 'as it was not'"),
        format!("UPDATE {schema}.issues SET status = 'resolved'"),
        format!("UPDATE {schema}.issue_triage SET assignee = 'mallory'"),
        format!("SELECT FROM {schema}.issue_actions"),
        format!("SELECT FROM {schema}.deleted_hashes"),
        format!("SELECT {schema}.detach_hashes('{{1}}')"),
        format!("SELECT {schema}.merge_issues(gen_random_uuid(), now(), 'mallory', 1, '{{2}}')"),
        format!("SELECT {schema}.lock_issues('{{1}}')"),
        format!("SELECT {schema}.reopen_issues('{{1}}', '{{now}}', '{{1}}', '{{t}}')"),
    ]);
    for statement in refused {
        let mut transaction = world.console.begin_with("BEGIN READ WRITE").await.unwrap();
        let error = sqlx::query(AssertSqlSafe(statement.clone())).execute(&mut *transaction).await.unwrap_err();
        assert!(matches!(StoreError::from(error), StoreError::NotPermitted { .. }), "{statement}");
    }
    let mut functions: Vec<(String,)> = sqlx::query_as(
        "SELECT proname::text FROM pg_proc WHERE pronamespace = $1::regnamespace AND prosecdef
            AND has_function_privilege($2, oid, 'EXECUTE')",
    )
    .bind(&schema)
    .bind(world.store.admin.installation().console_role())
    .fetch_all(&world.store.pool)
    .await
    .unwrap();
    functions.sort();
    assert_eq!(functions, [("act_on_issues".to_owned(),), ("undo_action".to_owned(),)]);
    // And ingest does not act.
    let mut change = Change::begin(&world.ingest).await.unwrap();
    let act = change.act(world.shop, &[world.id(1)], &Action::Delete, "mallory", Uuid::new_v4()).await;
    assert!(matches!(act, Err(StoreError::NotPermitted { .. })), "{act:?}");
}

#[tokio::test]
async fn what_is_too_much_or_empty_is_rejected_and_the_same_again_changes_nothing() {
    let world = World::create().await;
    world.issues(2).await;
    let act = async |issues: &[i64], action: &Action, actor: &str, batch: Uuid| {
        let mut change = Change::begin(&world.console).await.unwrap();
        let acted = change.act(world.shop, issues, action, actor, batch).await?;
        change.commit().await?;
        Ok::<_, StoreError>(acted)
    };
    let long = |length| "ü".repeat(length);
    let id = [world.id(1)];
    let many: Vec<i64> = (0..=i64::from(MAX_ISSUES)).collect();
    for (issues, action, actor) in [
        (&id[..], Action::Reopen, String::new()),
        (&id, Action::Reopen, long(257)),
        (&id, Action::Comment(String::new()), long(1)),
        (&id, Action::Comment(long(4097)), long(1)),
        (&id, Action::Assign(Some(String::new())), long(1)),
        (&id, Action::Assign(Some(long(257))), long(1)),
        (&id, Action::Resolve(Resolution::InRelease(long(251))), long(1)),
        (&id, Action::Ignore(Ignoring::MoreEvents(0)), long(1)),
        (&id, Action::Ignore(Ignoring::MoreUsers(1_000_000_001)), long(1)),
        (&many, Action::Reopen, long(1)),
    ] {
        let rejected = act(issues, &action, &actor, Uuid::new_v4()).await;
        assert!(matches!(rejected, Err(StoreError::Rejected { .. })), "{action:?}: {rejected:?}");
    }
    let batch = Uuid::new_v4();
    let comment = Action::Comment(long(4096));
    for _ in 0..2 {
        let acted = act(&[id[0], id[0], 7], &comment, &long(256), batch).await.unwrap();
        assert_eq!(acted.last(), Some(&(id[0], Outcome::Changed)));
    }
    assert_eq!(world.number("SELECT count(*) FROM {schema}.issue_activity").await, 1);
    for (action, actor) in [(Action::Delete, long(256)), (comment, "mallory".to_owned())] {
        let rejected = act(&id, &action, &actor, batch).await;
        assert!(matches!(rejected, Err(StoreError::Rejected { .. })), "{rejected:?}");
    }
    let mut change = Change::begin(&world.console).await.unwrap();
    change.act(world.shop, &id, &Action::Delete, "anna", Uuid::new_v4()).await.unwrap();
    drop(change);
    assert!(world.issue(1).await.is_some(), "what is dropped is rolled back");
}

#[tokio::test]
async fn ten_thousand_issues_are_acted_on_at_once() {
    let world = World::create().await;
    let fill = format!(
        "INSERT INTO {{schema}}.issues (issue_id, kind, level, title, culprit, platform)
            SELECT {first} + n, 'error', 40, 'E ' || n, '', 'python' FROM generate_series(1, {MAX_ISSUES}) AS n;
         INSERT INTO {{schema}}.issue_counters
            SELECT issue_id, 3, 2, now(), now(), now(), gen_random_uuid() FROM {{schema}}.issues;
         INSERT INTO {{schema}}.issue_hashes
            SELECT 1, sha256(title::bytea), issue_id FROM {{schema}}.issues",
        first = world.id(0),
    );
    world.store.execute(world.shop, &fill).await;
    let numbers: Vec<i64> = (1..=i64::from(MAX_ISSUES)).collect();
    let everything: i64 = numbers.len().try_into().unwrap();
    for (action, numbers, shown) in [
        (Action::Resolve(Resolution::InNextRelease), &numbers[..], everything),
        (Action::Ignore(Ignoring::MoreEvents(5)), &numbers, everything),
        (Action::Assign(Some("anna".to_owned())), &numbers, everything),
        (Action::Delete, &numbers, 0),
        (Action::Merge { into: world.id(1) }, &numbers[1..], 1),
    ] {
        let batch = world.change(numbers, action.clone()).await;
        assert_eq!(world.number("SELECT count(*) FROM {schema}.shown_issues").await, shown, "{action:?}");
        world.restore(batch).await;
        assert_eq!(world.number("SELECT count(*) FROM {schema}.shown_issues").await, everything, "{action:?}");
    }
    let untouched = "SELECT count(*) FROM {schema}.shown_issues
        WHERE status = 'unresolved' AND status_changed_at IS NULL AND assignee IS NULL";
    assert_eq!(world.number(untouched).await, everything);
    assert_eq!(world.number("SELECT count(*) FROM {schema}.issue_hashes").await, everything);
}

/// During an upgrade, the console may come before the migration of a project.
#[tokio::test]
async fn a_schema_that_is_not_migrated_yet_is_read_as_before() {
    let world = World::create().await;
    world.issues(2).await;
    let back = "DROP VIEW {schema}.shown_issues; DROP TABLE {schema}.issue_triage CASCADE;
        DROP FUNCTION {schema}.act_on_issues, {schema}.undo_action;
        ALTER TABLE {schema}.issue_activity DROP COLUMN batch, DROP COLUMN before, DROP COLUMN after,
            DROP COLUMN comment, DROP COLUMN undone_by, DROP COLUMN undone_at;
        DROP TABLE {schema}.issue_environments, {schema}.issue_environment_hours, {schema}.environments_since;
        INSERT INTO {schema}.issue_activity (issue_id, kind) SELECT issue_id, 'regression' FROM {schema}.issues";
    world.store.execute(world.shop, back).await;
    let role = world.store.admin.installation().console_role();
    world.store.execute(world.shop, &format!("REVOKE ALL ON SCHEMA {{schema}} FROM {role}")).await;
    world.store.admin.ensure_console_role(&"secret".into()).await.unwrap();

    assert_eq!(world.listed(IssueStatus::Unresolved).await, [1, 2]);
    assert_eq!((world.issue(1).await.unwrap().events, world.status(1).await.1), (1, StatusRule::Plain));
    let mut snapshot = world.snapshot().await;
    assert!(!snapshot.has_environments(world.shop).await.unwrap());
    let regressed = Search { terms: vec![Term::new(Criterion::Is(vec![IssueState::Regressed]))] };
    let each = [regressed, Search::status(IssueStatus::Unresolved)];
    let counts = snapshot.counts(world.shop, &Search::default(), &each).await.unwrap();
    assert_eq!(counts, [0, 2], "none has changed its status");
    assert_eq!(snapshot.merged_into(world.shop, world.id(1)).await.unwrap(), None);
    let since = Timestamp::UNIX_EPOCH;
    assert_eq!(snapshot.hours(world.shop, &[world.id(1)], since).await.unwrap().len(), 1);
    assert_eq!(snapshot.projects(since).await.unwrap()[0].numbers.as_ref().unwrap().unresolved, 2);
    let told: Vec<Happened> =
        snapshot.activity(world.shop, world.id(1), 9).await.unwrap().into_iter().map(|done| done.what).collect();
    let first = Happened::FirstSeen { release: Some("shop@1.0".to_owned()) };
    assert_eq!(told, [Happened::Regression { release: None }, first]);
}
