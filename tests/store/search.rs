//! What the list of errors finds, on the console's login: figures of a filter are those of its events.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use error_tracking_operator::{
    dsn::ProjectId,
    protocol::event::Level,
    store::{
        console::{
            Action, Assignee, Bounds, Change, Criterion, Issue, IssueCursor, IssueOrder, IssueState, IssueStatus, List,
            Pattern, Resolution, Search, Snapshot, Term,
        },
        ingest::Row,
    },
};
use jiff::{SignedDuration, Timestamp};
use sqlx::{AssertSqlSafe, PgPool, Row as _};
use uuid::Uuid;

use crate::{Store, applied, row, send};

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

    async fn send(&self, rows: &[Row]) {
        assert_eq!(send(&self.ingest, self.shop, rows).await, applied(rows.len() as u64, 0));
    }

    async fn snapshot(&self) -> Snapshot {
        Snapshot::begin(&self.console).await.unwrap()
    }

    async fn found(&self, search: &Search) -> Vec<Issue> {
        let mut snapshot = self.snapshot().await;
        let everything = Search::default();
        let each = [everything.clone(), search.clone()];
        let wanted = List { each: &each, ..list(&everything, search, 1000) };
        let found = snapshot.list(self.shop, wanted).await.unwrap();
        assert_eq!(found.total, found.issues.len() as u64, "{search:?}");
        // As a scope it has the same as a query, and what is counted beside it is of the scope.
        let scoped = snapshot.list(self.shop, List { each: &each, ..list(search, &everything, 1000) }).await.unwrap();
        assert_eq!((&scoped.issues, scoped.total), (&found.issues, found.total), "{search:?}");
        assert_eq!(scoped.counts, [found.total, found.total], "{search:?}");
        assert_eq!(found.counts, snapshot.counts(self.shop, &everything, &each).await.unwrap(), "{search:?}");
        found.issues
    }

    /// Numbers of the issues that have all of these, the smallest first.
    async fn numbers(&self, terms: &[Term]) -> Vec<u32> {
        let mut numbers: Vec<_> =
            self.found(&Search { terms: terms.to_vec() }).await.iter().map(Issue::number).collect();
        numbers.sort_unstable();
        numbers
    }

    async fn act(&self, number: i64, action: Action) {
        let mut change = Change::begin(&self.console).await.unwrap();
        let issue = self.shop.as_i64() << 32 | number;
        change.act(self.shop, &[issue], &action, "anna", Uuid::new_v4()).await.unwrap();
        change.commit().await.unwrap();
    }
}

fn list<'s>(scope: &'s Search, query: &'s Search, limit: u32) -> List<'s> {
    List { scope, query, each: &[], order: IssueOrder::LastSeen, after: None, limit }
}

fn is(criterion: Criterion) -> Term {
    Term::new(criterion)
}

fn not(criterion: Criterion) -> Term {
    Term { is_negated: true, criterion }
}

fn environment(name: &str) -> Criterion {
    Criterion::Environment(vec![Pattern::exactly(name)])
}

fn release(name: &str) -> Criterion {
    Criterion::Release(vec![Pattern::exactly(name)])
}

fn tag(key: &str, values: &[&str]) -> Criterion {
    Criterion::Tag { key: key.to_owned(), values: values.iter().map(|value| (*value).to_owned()).collect() }
}

/// An event of the issue, of an environment and a release.
fn event(hash: u8, environment: Option<&str>, release: Option<&str>) -> Row {
    Row { environment: environment.map(str::to_owned), release: release.map(str::to_owned), ..row(hash) }
}

#[tokio::test]
async fn each_term_finds_its_issues() {
    let world = World::create().await;
    let now = Timestamp::now();
    let old = |row: Row| Row { timestamp: now - SignedDuration::from_hours(48), ..row };
    let tagged = |row: Row, tags: &[(&str, &str)]| Row {
        tags: tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        ..row
    };
    world.send(&[tagged(row(1), &[("browser", "Firefox"), ("cart", "100%_\\")])]).await;
    world.send(&[old(tagged(row(2), &[("browser", "Chrome")]))]).await;
    world.send(&[Row { title: "Payment timed out: 100%_\\ Grösse".to_owned(), level: Level::Fatal, ..row(3) }]).await;
    let earlier = now - SignedDuration::from_mins(1);
    world.send(&[Row { release: None, timestamp: earlier, ..row(4) }, row(4)]).await;
    let users = [Some(1), Some(2), None].map(|user_hash| Row { user_hash, ..row(5) });
    world.send(&users).await;
    world.act(1, Action::Resolve(Resolution::Now)).await;
    world.send(&[row(1)]).await;
    world.act(2, Action::Resolve(Resolution::Now)).await;
    world.act(3, Action::Assign(Some("ada%".to_owned()))).await;

    let text = |text: &str| is(Criterion::Text(Pattern::exactly(text)));
    let state = |state| is(Criterion::Is(vec![state]));
    let any_of = |pieces: &[&str]| Pattern(pieces.iter().map(|piece| (*piece).to_owned()).collect());
    let since = |hours| Bounds { from: Some(now - SignedDuration::from_hours(hours)), before: None };
    for (term, numbers) in [
        (state(IssueState::Status(IssueStatus::Unresolved)), vec![1, 3, 4, 5]),
        (is(Criterion::Is(vec![IssueState::Status(IssueStatus::Resolved), IssueState::Assigned])), vec![2, 3]),
        (not(Criterion::Is(vec![IssueState::Assigned])), vec![1, 2, 4, 5]),
        (state(IssueState::Unassigned), vec![1, 2, 4, 5]),
        (state(IssueState::Regressed), vec![1]),
        (state(IssueState::New { since: now - SignedDuration::from_hours(24) }), vec![1, 3, 4, 5]),
        (is(Criterion::Assigned(vec![Assignee::Named(Pattern::exactly("ada%"))])), vec![3]),
        (is(Criterion::Assigned(vec![Assignee::Named(any_of(&["", "%"]))])), vec![3]),
        (is(Criterion::Assigned(vec![Assignee::Named(any_of(&["ada_", ""]))])), vec![]),
        (is(Criterion::Assigned(vec![Assignee::Nobody])), vec![1, 2, 4, 5]),
        (not(Criterion::Assigned(vec![Assignee::Named(Pattern::exactly("ada%"))])), vec![1, 2, 4, 5]),
        (is(Criterion::Level(vec![Level::Fatal, Level::Info])), vec![3]),
        (is(Criterion::FirstRelease(vec![Pattern::exactly("")])), vec![4]),
        (is(Criterion::FirstRelease(vec![any_of(&["shop@", ""])])), vec![1, 2, 3, 5]),
        (is(Criterion::FirstSeen(since(24))), vec![1, 3, 4, 5]),
        (is(Criterion::LastSeen(Bounds { from: None, before: since(24).from })), vec![2]),
        (is(Criterion::Events(Bounds { from: Some(2), before: Some(3) })), vec![1, 4]),
        (is(Criterion::Users(Bounds { from: Some(1), before: None })), vec![5]),
        (is(tag("browser", &["Firefox"])), vec![1]),
        (is(tag("browser", &["Firefox", "Chrome"])), vec![1, 2]),
        (is(tag("browser", &[])), vec![1, 2]),
        (not(tag("browser", &["Firefox"])), vec![2, 3, 4, 5]),
        (is(tag("cart", &["100%_\\"])), vec![1]),
        (is(tag("none", &["x"])), vec![]),
        (is(tag("none", &[])), vec![]),
        (text("TIMED out"), vec![3]),
        (text("100%_\\"), vec![3]),
        (text("100_"), vec![]),
        (text("valueerror"), vec![1, 2, 3, 4, 5]),
        (text("GRÖSSE"), vec![3]),
        (text("größe"), vec![]),
        (text("OUT: 100%_\\ grösse"), vec![3]),
        (is(Criterion::Text(any_of(&["pay", "out"]))), vec![3]),
        (is(Criterion::Text(any_of(&["ValueError: ", "2"]))), vec![2]),
    ] {
        assert_eq!(world.numbers(std::slice::from_ref(&term)).await, numbers, "{term:?}");
    }
    assert_eq!(world.numbers(&[is(tag("browser", &["Firefox"])), text("ValueError: 2")]).await, [0_u32; 0]);
    let together = Search {
        terms: vec![text("ValueError"), text("nowhere"), is(environment("production")), is(environment("beta"))],
    };
    let futile = world.snapshot().await.futile(world.shop, &together).await.unwrap();
    assert_eq!(futile, [false, true, false, true]);

    // What is merged is found by its tags, under the number of the other.
    world.act(2, Action::Merge { into: world.shop.as_i64() << 32 | 4 }).await;
    assert_eq!(world.numbers(&[is(tag("browser", &["Chrome"]))]).await, [4]);
    assert_eq!(world.numbers(&[is(tag("browser", &[]))]).await, [1, 4]);
    assert_eq!(world.numbers(&[not(tag("browser", &[]))]).await, [3, 5]);

    // What a term may say, by its beginning.
    let mut snapshot = world.snapshot().await;
    let valued = |values: &[(&str, u64)]| values.iter().map(|(value, n)| ((*value).to_owned(), *n)).collect::<Vec<_>>();
    for (key, start, expected) in [
        ("browser", "", &[("Chrome", 1), ("Firefox", 1)][..]),
        ("browser", "FIRE", &[("Firefox", 1)]),
        ("cart", "100%_\\", &[("100%_\\", 1)]),
        ("cart", "100_", &[]),
        ("none", "", &[]),
    ] {
        let found = snapshot.tag_values_beginning(world.shop, key, start, 10).await.unwrap();
        assert_eq!(found, valued(expected), "{key}:{start}");
    }
    assert_eq!(snapshot.assignees_beginning(world.shop, "ADA%", 10).await.unwrap(), ["ada%"]);
    assert!(snapshot.assignees_beginning(world.shop, "a%", 10).await.unwrap().is_empty());
}

/// Numbers of one issue: events, first and last seen.
type Figures = BTreeMap<i64, (i64, Timestamp, Timestamp)>;

/// What SQL over the events says of a filter, by the issue that is shown.
async fn of_events(world: &World, condition: &str) -> Figures {
    let query = format!(
        "SELECT coalesce(t.merged_into, e.issue_id) AS issue_id, count(*) AS events, min(e.ts) AS first_seen,
            max(e.ts) AS last_seen
         FROM {schema}.events AS e
         LEFT JOIN {schema}.environments AS n USING (env_id)
         LEFT JOIN {schema}.releases AS r USING (release_id)
         LEFT JOIN {schema}.issue_triage AS t ON t.issue_id = e.issue_id
         WHERE {condition} GROUP BY 1",
        schema = world.shop.schema()
    );
    let rows = sqlx::query(AssertSqlSafe(query)).fetch_all(&world.store.pool).await.unwrap();
    let time = |row: &sqlx::postgres::PgRow, name| row.get::<jiff_sqlx::Timestamp, _>(name).to_jiff();
    rows.iter()
        .map(|row| (row.get("issue_id"), (row.get("events"), time(row, "first_seen"), time(row, "last_seen"))))
        .collect()
}

#[tokio::test]
async fn figures_of_a_filter_are_those_of_its_events() {
    let world = World::create().await;
    let now = Timestamp::now();
    let environments = [Some("production"), Some("beta"), Some("prod_eu"), None];
    let releases = [Some("shop@1"), Some("shop@2"), None];
    // Every seventh combination of issue, environment, release and age, in batches.
    let mut rows = Vec::new();
    for number in 0..2000_u32 {
        let pick = |of: usize, by: u32| (number.wrapping_mul(by) as usize >> 3) % of;
        let mut event = event(
            u8::try_from(pick(40, 2_654_435_761)).unwrap(),
            environments[pick(4, 40503)],
            releases[pick(3, 2_246_822_519)],
        );
        event.timestamp = now - SignedDuration::from_mins(i64::from(number % 97) * 41);
        rows.push(event);
    }
    for batch in rows.chunks(300) {
        world.send(batch).await;
    }
    world.act(7, Action::Merge { into: world.shop.as_i64() << 32 | 8 }).await;
    world.act(9, Action::Merge { into: world.shop.as_i64() << 32 | 8 }).await;

    let starting = Criterion::Environment(vec![Pattern(vec!["prod".to_owned(), String::new()])]);
    for (terms, condition) in [
        (vec![is(environment("beta"))], "n.environment = 'beta'"),
        (vec![is(environment(""))], "n.environment IS NULL"),
        (vec![not(environment("beta"))], "n.environment IS DISTINCT FROM 'beta'"),
        (vec![is(starting)], "n.environment IN ('production', 'prod_eu')"),
        (vec![is(Criterion::Environment(vec![Pattern(vec!["prod_".to_owned(), String::new()])]))], {
            "n.environment = 'prod_eu'"
        }),
        (vec![is(release("shop@2"))], "r.release = 'shop@2'"),
        (vec![not(release(""))], "r.release IS NOT NULL"),
        (vec![is(environment("beta")), is(release("shop@1"))], "n.environment = 'beta' AND r.release = 'shop@1'"),
        (vec![is(environment("beta")), not(release("shop@1"))], {
            "n.environment = 'beta' AND r.release IS DISTINCT FROM 'shop@1'"
        }),
        (vec![is(environment("beta")), is(environment("production"))], "false"),
        (vec![is(environment("nowhere"))], "false"),
    ] {
        let found = world.found(&Search { terms: terms.clone() }).await;
        let figures: Figures = found
            .iter()
            .map(|issue| (issue.id, (i64::try_from(issue.events).unwrap(), issue.first_seen, issue.last_seen)))
            .collect();
        assert_eq!(figures, of_events(&world, condition).await, "{terms:?}");
        assert!(found.is_sorted_by_key(|issue| std::cmp::Reverse((issue.last_seen, issue.id))), "{terms:?}");
    }

    // Hours, those of one issue and of all.
    let since = now - SignedDuration::from_hours(30);
    let beta = Search { terms: vec![is(environment("beta"))] };
    let ids: Vec<_> = world.found(&beta).await.iter().map(|issue| issue.id).collect();
    let mut snapshot = world.snapshot().await;
    let by_issue = snapshot.listed_hours(world.shop, &beta, &ids, since).await.unwrap();
    let trend = snapshot.trend(world.shop, &beta, since).await.unwrap();
    let sum: u64 = by_issue.values().flatten().map(|(_, events)| events).sum();
    let expected = world
        .store
        .number(
            world.shop,
            &format!(
                "SELECT count(*) FROM {{schema}}.events JOIN {{schema}}.environments USING (env_id)
                 WHERE environment = 'beta' AND date_trunc('hour', ts, 'UTC') >= '{since}'"
            ),
        )
        .await;
    assert_eq!(i64::try_from(sum), Ok(expected));
    assert_eq!(trend.iter().map(|(_, events)| events).sum::<u64>(), sum);
    let all: u64 =
        snapshot.trend(world.shop, &Search::default(), since).await.unwrap().iter().map(|(_, events)| events).sum();
    assert!(all > sum);

    let choices = snapshot.choices(world.shop, &beta, 10).await.unwrap();
    assert_eq!(choices.environments, [("beta".to_owned(), ids.len() as u64)]);
    assert_eq!(choices.levels, [(Level::Error, ids.len() as u64)]);
    let of_release = of_events(&world, "n.environment = 'beta' AND r.release = 'shop@1'").await;
    assert!(choices.releases.contains(&("shop@1".to_owned(), of_release.len() as u64)), "{choices:?}");

    let everything = Search::default();
    // What may be typed is what there is, with the same numbers.
    let all = snapshot.choices(world.shop, &everything, 10).await.unwrap();
    assert_eq!(snapshot.environments_beginning(world.shop, "", 10).await.unwrap(), all.environments);
    assert_eq!(snapshot.releases_beginning(world.shop, "SHOP@", 10).await.unwrap(), all.releases);
    let prod: Vec<_> = all.environments.into_iter().filter(|(name, _)| name.starts_with("prod_")).collect();
    assert_eq!(snapshot.environments_beginning(world.shop, "prod_", 10).await.unwrap(), prod);
    // Leafing through neither skips nor repeats, in every order.
    for order in IssueOrder::ALL {
        let (mut seen, mut after): (Vec<i64>, Option<IssueCursor>) = (Vec::new(), None);
        loop {
            let page = List { order, after, ..list(&everything, &beta, 7) };
            let page = snapshot.list(world.shop, page).await.unwrap();
            assert_eq!(page.total, ids.len() as u64, "wherever the page begins");
            let page = page.issues;
            let Some(last) = page.last() else { break };
            after = Some(order.after(last));
            seen.extend(page.iter().map(|issue| issue.id));
        }
        assert_eq!(seen.len(), ids.len());
        assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), ids.iter().copied().collect(), "{order:?}");
    }
}

#[tokio::test]
async fn environments_and_releases_of_an_issue_are_bounded_and_that_is_told() {
    let world = World::create().await;
    let gaps = async || world.snapshot().await.gaps(world.shop).await.unwrap();
    let name = |number: u32| format!("env-{number:02}");
    let rows: Vec<_> = (0..15).map(|number| event(1, Some(&name(number)), None)).collect();
    world.send(&rows).await;
    assert!(!gaps().await.crowded);
    let rows: Vec<_> = (10..30).map(|number| event(1, Some(&name(number)), None)).collect();
    world.send(&rows).await;
    world.send(&[event(1, Some("env-29"), None), event(2, Some("env-29"), None)]).await;
    let counted = "SELECT string_agg(env_id || 'x' || events, ' ' ORDER BY env_id)
        FROM {schema}.issue_environments WHERE issue_id & 1 = 1 AND (env_id = -1 OR events = 2) AND release_id = 0";
    assert_eq!(world.store.text(world.shop, counted).await, "-1x11 11x2 12x2 13x2 14x2 15x2");
    let environments = "SELECT count(*) FROM {schema}.issue_environments WHERE issue_id & 1 = 1 AND release_id = 0";
    assert_eq!(world.store.number(world.shop, environments).await, 21);
    assert!(gaps().await.crowded);
    assert_eq!(world.numbers(&[is(environment("env-19"))]).await, [1]);
    assert_eq!(world.numbers(&[is(environment("env-29"))]).await, [2]);
    let hours = "SELECT sum(events)::bigint FROM {schema}.issue_environment_hours WHERE env_id = -1";
    assert_eq!(world.store.number(world.shop, hours).await, 11);

    let fill = "INSERT INTO {schema}.issue_environments
        SELECT (1::bigint << 32) + 3, 1, r, 1, now(), now() FROM generate_series(1001, 1500) AS r";
    world.store.execute(world.shop, fill).await;
    world.send(&[event(3, Some("env-00"), Some("one-too-many"))]).await;
    let others = "SELECT events FROM {schema}.issue_environments WHERE release_id = -1 AND env_id = 1";
    assert_eq!(world.store.number(world.shop, others).await, 1);
    assert_eq!(world.store.number(world.shop, DIFFERING).await, 1, "those that were filled in");
}

/// Environments of an issue whose numbers are not those of their releases together.
const DIFFERING: &str = "SELECT count(*) FROM (
    SELECT issue_id, env_id, sum(events), min(first_seen), max(last_seen)
    FROM {schema}.issue_environments WHERE release_id <> -2 GROUP BY 1, 2
    EXCEPT ALL
    SELECT issue_id, env_id, events, first_seen, last_seen FROM {schema}.issue_environments WHERE release_id = -2
) AS differing";

/// No statement of a list reads the events, and tags are found by the index of values.
#[tokio::test]
async fn lists_are_found_by_indexes() {
    let world = World::create().await;
    let fill = "INSERT INTO {schema}.issues (issue_id, kind, level, title, culprit, platform)
            SELECT i, 'error', 40, 'KeyError: ' || i, 'shop', 'python' FROM generate_series(1, 5000) AS i;
        INSERT INTO {schema}.issue_counters
            SELECT i, 1, 0, now(), now(), now(), gen_random_uuid() FROM generate_series(1, 5000) AS i;
        INSERT INTO {schema}.tag_keys (key) VALUES ('browser'), ('cart');
        INSERT INTO {schema}.issue_tags
            SELECT i, k, i * 10 + v, v::text, now()
            FROM generate_series(1, 5000) AS i, generate_series(1, 2) AS k, generate_series(0, 9) AS v;
        INSERT INTO {schema}.environments (environment) SELECT 'env-' || n FROM generate_series(1, 100) AS n;
        INSERT INTO {schema}.releases (release) SELECT 'shop@' || n FROM generate_series(1, 100) AS n;
        INSERT INTO {schema}.issue_environments
            SELECT i, 1 + i % 100, CASE r WHEN 0 THEN -2 ELSE 1 + (i + r) % 100 END, 1, now(), now()
            FROM generate_series(1, 5000) AS i, generate_series(0, 3) AS r;
        ANALYZE";
    world.store.execute(world.shop, fill).await;
    // Postgres counts scans; a session tells what it did when it ends.
    let scans = async |index: &str| {
        let query = format!(
            "SELECT ARRAY[
                (SELECT sum(idx_scan)::bigint FROM pg_stat_user_indexes
                  WHERE schemaname = '{{schema}}' AND indexrelname = '{index}'),
                (SELECT coalesce(sum(seq_scan + coalesce(idx_scan, 0)), 0)::bigint FROM pg_stat_user_tables
                  WHERE schemaname = '{{schema}}' AND relname LIKE 'events%'),
                (SELECT sum(seq_scan)::bigint FROM pg_stat_user_tables
                  WHERE schemaname = '{{schema}}' AND relname = 'issue_tags')]"
        );
        let query = query.replace("{schema}", &world.shop.schema());
        let (counts,): (Vec<i64>,) = sqlx::query_as(AssertSqlSafe(query)).fetch_one(&world.store.pool).await.unwrap();
        counts
    };
    let role = world.store.admin.installation().console_role();
    for (terms, index) in [
        (vec![is(tag("browser", &["7"]))], "issue_tags_value"),
        (vec![is(tag("browser", &[]))], "issue_tags_pkey"),
        (vec![is(environment("env-7"))], "issue_environments_environment"),
        (vec![is(release("shop@7"))], "issue_environments_release"),
    ] {
        let before = scans(index).await;
        let console = world.store.database.pool_as(&role, "secret");
        let mut snapshot = Snapshot::begin(&console).await.unwrap();
        let search = Search { terms };
        snapshot.list(world.shop, list(&Search::default(), &search, 51)).await.unwrap();
        snapshot.end().await.unwrap();
        console.close().await;
        let mut after = scans(index).await;
        for _ in 0..100 {
            if after[0] > before[0] {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            after = scans(index).await;
        }
        assert!(after[0] > before[0], "{index} was not used");
        assert_eq!(after[1..], before[1..], "{index}: scans of events, and of all tags");
    }
}
