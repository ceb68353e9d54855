//! The pages about events, releases, health and set-up, and what leads to an error.

use error_tracking_operator::{
    protocol::session::{SessionCounts, Sessions},
    store::{
        admin::ProjectIdentity,
        ingest::{Outcome, OutcomeRow, SessionRow},
    },
};
use jiff::{SignedDuration, Timestamp};
use regex::Regex;
use serde_json::json;

use crate::{
    client::{get, request},
    events,
    sign_in::{page, session, with_rights},
    steady,
    world::{World, project},
};

const UNKNOWN: &str = "0123456789abcdef0123456789abcdef";

fn outcome(outcome: Outcome, category: &'static str, reason: &'static str, hours: i64, quantity: u64) -> OutcomeRow {
    OutcomeRow {
        received_at: Timestamp::now() - SignedDuration::from_hours(hours),
        key: None,
        category: category.into(),
        outcome,
        reason: reason.into(),
        quantity,
    }
}

#[tokio::test]
async fn the_events_of_an_error_are_listed() {
    let world = World::start().await;
    let mut without_user = events::checkout();
    without_user["user"] = json!(null);
    without_user["release"] = json!(null);
    without_user["level"] = json!("fatal");
    world.send(&[events::checkout()]).await;
    world.send(&[without_user]).await;
    let listed = get(world.console, &world.path("issues/1/events")).await;
    assert_eq!(listed.status, 200);
    insta::assert_snapshot!(steady(&listed.body));
    let hostile = world.send(&[events::hostile()]).await;
    assert_eq!(hostile.len(), 1);
    let listed = get(world.console, &world.path("issues/2/events")).await.body;
    assert!(listed.contains("&#60;script&#62;") && !listed.contains("<script>"), "{listed}");
}

#[tokio::test]
async fn long_lists_of_events_are_leafed_through() {
    let world = World::start().await;
    world.send(&vec![events::message("again", "error"); 60]).await;
    let ids = Regex::new(r"<code>([0-9a-f]{32})</code>").unwrap();
    let shown = |page: &str| -> Vec<String> { ids.captures_iter(page).map(|found| found[1].to_owned()).collect() };
    let list = world.path("issues/1/events");
    let first = get(world.console, &list).await.body;
    assert!(first.contains("The first 50 of 60 events") && !first.contains(r#"rel="first""#), "{first}");
    let next = Regex::new(r#"rel="next" href="([^"]+)""#).unwrap().captures(&first).unwrap()[1].to_owned();
    // What comes meanwhile neither hides another nor shows one twice.
    world.send(&[events::message("again", "error")]).await;
    let second = get(world.console, &format!("{list}{next}")).await.body;
    assert!(second.contains("10 more of 61 events") && second.contains(r#"rel="first""#), "{second}");
    assert!(!second.contains(r#"rel="next""#), "{second}");
    let mut seen = [shown(&first), shown(&second)].concat();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 60);
    let beyond = get(world.console, &format!("{list}?after=0.{UNKNOWN}")).await;
    assert!(beyond.status == 200 && beyond.body.contains("Nothing comes after"), "{}", beyond.body);
}

#[tokio::test]
async fn events_lead_to_their_neighbours() {
    let world = World::start().await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.extend(world.send(&[events::checkout()]).await);
    }
    let place = |event: &str| world.path(&format!("issues/1/events/{event}"));
    for (end, id) in [("latest", ids[2]), ("oldest", ids[0])] {
        let answer = get(world.console, &place(end)).await;
        let expected = format!("../../../../../web/shop/issues/1/events/{id}");
        assert_eq!((answer.status, answer.header("location")), (303, expected.as_str()), "{end}");
    }
    let link = Regex::new(r#"rel="(prev|next)" data-key="." href="[./]*/web/shop/issues/1/events/(\w+)""#).unwrap();
    for (path, beside) in [
        (world.path("issues/1"), vec![("prev", ids[1])]),
        (place(&ids[2].to_string()), vec![("prev", ids[1])]),
        (place(&ids[1].to_string()), vec![("prev", ids[0]), ("next", ids[2])]),
        (place(&ids[0].to_string()), vec![("next", ids[1])]),
    ] {
        let body = get(world.console, &path).await.body;
        let seen: Vec<_> = link.captures_iter(&body).map(|found| (found[1].to_owned(), found[2].to_owned())).collect();
        let expected: Vec<_> = beside.iter().map(|(way, id)| ((*way).to_owned(), id.to_string())).collect();
        assert_eq!(seen, expected, "{path}");
    }
}

#[tokio::test]
async fn an_event_shows_what_led_to_it() {
    let world = World::start().await;
    let mut event = events::checkout();
    event["breadcrumbs"] =
        json!({"values": [{"timestamp": "2026-11-22T10:00:00Z", "category": "query", "message": "<b>SELECT"}]});
    event["request"]["headers"] = json!({"Accept": "text/html", "Cookie": "a=b"});
    event["threads"] =
        json!({"values": [{"id": 1, "name": "<i>main", "stacktrace": {"frames": [{"function": "run"}]}}]});
    world.send(&[event]).await;
    let shown = get(world.console, &world.path("issues/1")).await.body;
    for part in [
        "<dt>Pod</dt><dd>shop-7d4b9c-x2x</dd>",
        "<dt>Trace</dt><dd>0123456789abcdef0123456789abcdef</dd>",
        "&#60;b&#62;SELECT",
        "&#60;i&#62;main",
        "curl --globoff --request POST --url &#39;http://shop.web.svc/checkout&#39; --header &#39;Accept: text/html&#39;</code>",
        "Cookies, authorization and what was scrubbed are left out.",
        r##"<a href="#exception-1">ZeroDivisionError</a>"##,
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}

#[tokio::test]
async fn health_says_whether_a_project_receives_and_what_became_of_the_rest() {
    let world = World::start().await;
    let waiting = get(world.console, &world.path("health")).await;
    assert!(waiting.status == 200 && waiting.body.contains("Waiting for the first event."), "{}", waiting.body);
    world.send(&[events::checkout()]).await;
    let receiving = get(world.console, &world.path("health")).await.body;
    assert!(receiving.contains("Receiving: the last event came just now."), "{receiving}");
    world.make_keys().await;
    world
        .tell(&[
            outcome(Outcome::Accepted, "error", "", 0, 1200),
            outcome(Outcome::RateLimited, "error", "project_quota", 0, 34),
            outcome(Outcome::Filtered, "error", "crawler", 100, 5),
            outcome(Outcome::Limited, "error", "too_many_tags", 1, 2),
            outcome(Outcome::ClientDiscard, "<b>", "<script>sampled", 0, 9),
        ])
        .await;
    let dropping = get(world.console, &world.path("health")).await;
    assert_eq!(dropping.status, 200);
    insta::assert_snapshot!(steady(&dropping.body));
    // What is broken comes first.
    let projects = get(world.console, "/").await.body;
    assert!(projects.contains("Dropping: quota"), "{projects}");
}

#[tokio::test]
async fn set_up_waits_for_the_first_event_and_then_leads_to_it() {
    let world = World::start().await;
    let waiting = get(world.console, &world.path("setup")).await;
    assert_eq!(waiting.status, 200);
    assert!(waiting.body.contains("kubectl -n web get etp/shop"), "where to see whether it is ready");
    insta::assert_snapshot!(steady(&waiting.body));
    world.send(&[events::checkout()]).await;
    let received = get(world.console, &world.path("setup")).await.body;
    assert!(!received.contains("Waiting") && received.contains(r#"/web/shop/issues/1">SHOP-1</a>"#), "{received}");
}

#[tokio::test]
async fn releases_say_what_is_new_in_them() {
    let world = World::start().await;
    let none = get(world.console, &world.path("releases")).await.body;
    assert!(none.contains("No event has named a release yet."), "{none}");
    world.send(&[events::checkout()]).await;
    let sessions = SessionRow {
        started: Timestamp::now(),
        release: "shop@1.5.0".to_owned(),
        environment: None,
        user_hash: None,
        sessions: Sessions::Many(SessionCounts { exited: 997, crashed: 3, ..SessionCounts::default() }),
    };
    world.health(&[sessions]).await;
    let releases = get(world.console, &world.path("releases")).await;
    assert_eq!(releases.status, 200);
    insta::assert_snapshot!(steady(&releases.body));

    let one = get(world.console, &world.path("releases/shop@1.4.2")).await;
    assert!(one.status == 200 && one.body.contains("This release brought 1 new error."), "{}", one.body);
    for query in ["?query=release%3Ashop%401.4.2", "?query=firstRelease%3Ashop%401.4.2"] {
        assert!(one.body.contains(query), "{}", one.body);
        let errors = get(world.console, &world.path(&format!("issues{query}"))).await;
        assert!(errors.body.contains("row-link"), "{}", errors.body);
    }
    assert_eq!(get(world.console, &world.path("releases/shop%2F..%2F1")).await.status, 404);
}

#[tokio::test]
async fn what_people_type_leads_to_an_error() {
    let world = World::start().await;
    let id = world.send(&[events::checkout()]).await[0];
    let issue = "../web/shop/issues/1";
    let event = format!("{issue}/events/{id}");
    let uuid = uuid::Uuid::from_bytes(id.0).to_string();
    for (typed, place) in [
        ("SHOP-1".to_owned(), issue),
        ("shop-1".to_owned(), issue),
        ("web/SHOP-1".to_owned(), issue),
        ("1".to_owned(), issue),
        (world.issue_id(1).to_string(), issue),
        (id.to_string(), &event),
        (uuid, &event),
        ("https://errors.example/web/shop/issues/1".to_owned(), issue),
        (format!("https://errors.example/web/shop/issues/1/events/{id}"), &event),
        (format!("https://acme.sentry.io/issues/99/events/{id}/?project=1"), &event),
        (format!("https://gitlab.example/a/b/-/error_tracking/{}/details", world.issue_id(1)), issue),
    ] {
        let query: String = form_urlencoded::byte_serialize(typed.as_bytes()).collect();
        let answer = get(world.console, &format!("/-/go?q={query}")).await;
        assert_eq!((answer.status, answer.header("location")), (303, place), "{typed}: {}", answer.body);
    }
    let answer = get(world.console, &format!("/-/e/{id}")).await;
    assert_eq!((answer.status, answer.header("location")), (303, format!("../{event}").as_str()));
}

#[tokio::test]
async fn what_is_found_in_several_projects_is_chosen_from() {
    let world = World::start().await;
    world.send(&[events::checkout()]).await;
    let team = ProjectIdentity { object_uid: "team-shop".to_owned(), ..project("team", "shop") };
    let other = world.another_database(&team).await;
    other.send(&[events::message("<b>of the team", "error")]).await;
    world.publish_login("team.pg.uri", &other, "first").await;
    let found = world.await_page("/-/go?q=SHOP-1", |answer| answer.status == 200).await;
    for part in ["2 errors found", "team/shop", "web/shop", "&#60;b&#62;of the team"] {
        assert!(found.body.contains(part), "{part}: {}", found.body);
    }
    let one = get(world.console, "/-/go?q=team/SHOP-1").await;
    assert_eq!((one.status, one.header("location")), (303, "../team/shop/issues/1"));
}

#[tokio::test]
async fn addresses_of_these_pages_that_make_no_sense_have_a_page() {
    let world = World::start().await;
    world.send(&[events::checkout()]).await;
    for (path, status) in [
        (world.path("issues/1/events?after="), 400),
        (world.path("issues/1/events?after=x"), 400),
        (world.path("issues/1/events?after=1.x"), 400),
        (world.path(&format!("issues/1/events?after=-1.{UNKNOWN}")), 400),
        (world.path(&format!("issues/1/events?after=99999999999999999999.{UNKNOWN}")), 400),
        (world.path(&format!("issues/1/events?after=253402207201000000.{UNKNOWN}")), 400),
        (world.path(&format!("issues/1/events?after=253402207200000000.{UNKNOWN}")), 200),
        (world.path("issues/2/events"), 404),
        (world.path("issues/x/events"), 404),
        (world.path("issues/-1/events"), 404),
        (world.path("issues/4294967297/events"), 404),
        (world.path("issues/2/events/latest"), 404),
        (world.path("issues/2/events/oldest"), 404),
        (world.path("issues/1/events/newest"), 404),
        (world.path("releases?after=x"), 400),
        (world.path("releases?after=99999999999"), 400),
        (world.path("releases?after=-5"), 200),
        (world.path("releases/1"), 404),
        ("/web/none/health".to_owned(), 404),
        ("/web/none/setup".to_owned(), 404),
        ("/web/none/releases".to_owned(), 404),
        ("/web/none/issues/1/events".to_owned(), 404),
        ("/-/go".to_owned(), 200),
        ("/-/go?q=".to_owned(), 200),
        ("/-/go?q=%20".to_owned(), 200),
        ("/-/go?q=%00".to_owned(), 400),
        ("/-/go?q=%ff".to_owned(), 400),
        ("/-/go?q=%27%3B+DROP+TABLE+events".to_owned(), 400),
        (format!("/-/go?q={}", "1".repeat(5000)), 400),
        ("/-/go?q=https%3A%2F%2Fattacker.example%2F".to_owned(), 400),
        ("/-/go?q=SHOP-99".to_owned(), 404),
        ("/-/go?q=SH%2500OP-1".to_owned(), 400),
        ("/-/go?q=SH%00OP-1".to_owned(), 400),
        ("/-/go?q=we%00b%2FSHOP-1".to_owned(), 400),
        ("/-/go?q=99".to_owned(), 404),
        ("/-/go?q=9223372036854775807".to_owned(), 404),
        (format!("/-/go?q={UNKNOWN}"), 404),
        (format!("/-/e/{UNKNOWN}"), 404),
        ("/-/e/00000000000000000000000000000000".to_owned(), 404),
        ("/-/e/xyz".to_owned(), 404),
        ("/-/e".to_owned(), 404),
    ] {
        let answer = get(world.console, &path).await;
        let shown = &path[..path.len().min(80)];
        assert_eq!(answer.status, status, "{shown}: {}", answer.body);
        assert!(answer.body.contains("</html>"), "{shown}");
    }
    for path in
        ["issues/1/events", "issues/1/events/latest", "health", "setup", "releases"].map(|path| world.path(path))
    {
        let answer = request(world.console, "POST", &path, "localhost").await;
        assert_eq!((answer.status, answer.header("allow")), (405, "GET, HEAD"), "{path}");
    }
    for path in ["/-/go?q=1", "/-/e/0123456789abcdef0123456789abcdef"] {
        assert_eq!(request(world.console, "POST", path, "localhost").await.status, 405, "{path}");
    }
}

/// Not by the words, not by what was done for them.
#[tokio::test]
async fn what_one_may_not_see_is_not_found() {
    let (world, cluster) = with_rights(&["ada get issues web/", "bob get issues team/", "bob get events team/"]).await;
    let id = world.send(&[events::checkout()]).await[0];
    let (ada, bob) = (session(&world, "ada").await, session(&world, "bob").await);

    // Without the right to events: no event, and nothing that was read of one.
    for path in [format!("/web/shop/issues/1/events/{id}"), "/web/shop/issues/1/events".to_owned()] {
        let refused = page(&world, &ada, &path).await;
        assert!(refused.status == 404 && refused.body.contains("--subresource=events -n web"), "{}", refused.body);
    }
    let shown = page(&world, &ada, "/web/shop/issues/1").await.body;
    assert!(!shown.contains(&id.to_string()) && !shown.contains("event-bar"), "{shown}");
    let leads = page(&world, &ada, "/-/go?q=SHOP-1").await;
    assert_eq!((leads.status, leads.header("location")), (303, "../web/shop/issues/1"));
    assert_eq!(page(&world, &ada, &format!("/-/go?q={id}")).await.status, 404);
    // Of keys health says nothing to who may not see them.
    world.make_keys().await;
    let health = page(&world, &ada, "/web/shop/health").await;
    assert!(health.status == 200 && !health.body.contains("66666666"), "{}", health.body);

    // Somebody of another namespace. What was asked a moment ago is remembered.
    for path in ["/-/go?q=1".to_owned(), format!("/-/e/{UNKNOWN}")] {
        page(&world, &bob, &path).await;
    }
    let heading = Regex::new(r"(?s)<h1>.*").unwrap();
    let typed = Regex::new(r"Looked for <code>[^<]*</code>|--subresource|/(shop|none)\b").unwrap();
    for (there, not_there) in [
        ("/-/go?q=SHOP-1".to_owned(), "/-/go?q=NONE-1".to_owned()),
        ("/-/go?q=web/SHOP-1".to_owned(), "/-/go?q=web/NONE-1".to_owned()),
        ("/-/go?q=1".to_owned(), "/-/go?q=99".to_owned()),
        (format!("/-/go?q={}", world.issue_id(1)), "/-/go?q=4294967295000001".to_owned()),
        (format!("/-/go?q={id}"), format!("/-/go?q={UNKNOWN}")),
        (format!("/-/e/{id}"), format!("/-/e/{UNKNOWN}")),
        ("/web/shop/health".to_owned(), "/web/none/health".to_owned()),
        ("/web/shop/setup".to_owned(), "/web/none/setup".to_owned()),
        ("/web/shop/releases".to_owned(), "/web/none/releases".to_owned()),
        ("/web/shop/issues/1/events".to_owned(), "/web/none/issues/1/events".to_owned()),
        ("/web/shop/issues/1/events/oldest".to_owned(), "/web/none/issues/1/events/oldest".to_owned()),
    ] {
        cluster.asked();
        let hidden = page(&world, &bob, &there).await;
        let asked = cluster.asked();
        let absent = page(&world, &bob, &not_there).await;
        let asked_of_absent = cluster.asked();
        assert_eq!((hidden.status, absent.status), (404, 404), "{there}");
        assert_eq!(asked.len(), asked_of_absent.len(), "{there}: {asked:?} {asked_of_absent:?}");
        let words = |body: &str| heading.find(body).unwrap().as_str().to_owned();
        let steady = |body: &str| typed.replace_all(&words(body), "…").into_owned();
        assert_eq!(steady(&hidden.body), steady(&absent.body), "{there}");
    }
}
