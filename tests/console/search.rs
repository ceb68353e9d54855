//! What the list of errors finds, and what it says of a query that means nothing.

use regex::Regex;
use serde_json::{Value, json};

use crate::{
    client::{Answer, get},
    events,
    sign_in::{page, session, with_rights},
    world::World,
};

/// An event of an environment, a release and a level.
fn event(text: &str, environment: &str, release: &str, level: &str) -> Value {
    let mut event = events::message(text, level);
    event["environment"] = json!(environment);
    event["release"] = json!(release);
    event
}

/// Three errors; only the first was seen in beta and of release 2, never at once.
async fn three_errors() -> World {
    let world = World::start().await;
    world.send(&[event("first", "production", "shop@2", "error")]).await;
    world.send(&[event("first", "beta", "shop@1", "error"), event("first", "production", "shop@1", "error")]).await;
    world.send(&[event("second", "production", "shop@1", "fatal")]).await;
    world.send(&[events::checkout()]).await;
    world
}

async fn list(world: &World, parameters: &str) -> Answer {
    get(world.console, &world.path(&format!("issues?{parameters}"))).await
}

fn titles(answer: &Answer) -> Vec<String> {
    let titles = Regex::new(r#"class="row-link"[^>]*>([^<]*)</a>"#).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    let mut titles: Vec<_> = titles.captures_iter(&answer.body).map(|found| found[1].to_owned()).collect();
    titles.sort();
    titles
}

#[tokio::test]
async fn a_query_finds_errors() {
    let world = three_errors().await;
    let checkout = "CheckoutFailed: the cart of customer 5 cannot be priced";
    for (parameters, expected) in [
        ("", vec![checkout, "first", "second"]),
        ("query=", vec![checkout, "first", "second"]),
        ("query=level%3Afatal", vec!["second"]),
        ("query=!level%3Afatal", vec![checkout, "first"]),
        ("query=FIRST", vec!["first"]),
        ("query=zerodivisionerror", vec![]),
        ("query=cart%3Aempty", vec![checkout]),
        ("query=is%3Aregressed", vec![]),
        ("query=is%3Anew+users%3A0", vec!["first", "second"]),
        ("query=environment%3Abeta", vec!["first"]),
        ("environment=beta", vec!["first"]),
        ("environment=beta&query=release%3Ashop%402", vec![]),
        ("environment=production&query=release%3Ashop%402", vec!["first"]),
        ("environment=production&period=24h&sort=events", vec![checkout, "first", "second"]),
        ("query=lastSeen%3A%2B1h", vec![]),
        ("status=resolved", vec![]),
    ] {
        assert_eq!(titles(&list(&world, parameters).await), expected, "{parameters}");
    }
}

#[tokio::test]
async fn figures_of_a_filter_are_of_its_events_and_what_is_not_says_so() {
    let world = three_errors().await;
    let figures = Regex::new(r#"(?s)>first</a>.*?data-label="Events">(\d+)<"#).unwrap();
    let events = |body: &str| figures.captures(body).unwrap()[1].to_owned();
    let all = list(&world, "").await.body;
    assert_eq!(events(&all), "3");
    assert!(!all.contains("all environments."), "{all}");
    let beta = list(&world, "environment=beta").await.body;
    assert_eq!(events(&beta), "1");
    assert!(beta.contains("Users and levels: all environments.") && !beta.contains("are not counted"), "{beta}");
    assert!(beta.contains(r#"<option value="beta" selected>beta</option>"#), "{beta}");
    assert!(beta.contains(r#"Unresolved <span class="count">1</span>"#), "tabs count what is in the environment");
    assert!(beta.contains("1 event in the last 24 hours"), "the charts are of the environment");
    let both = list(&world, "environment=production&query=release%3Ashop%401").await.body;
    assert_eq!(events(&both), "1");
    assert!(both.contains("Charts: all releases."), "{both}");
    // Links keep what was chosen.
    assert!(beta.contains("?query=is%3Aresolved&#38;environment=beta"), "{beta}");
    assert!(all.contains(r#"<a class="to-narrow" href="?narrow=yes">Narrow"#), "{all}");
    let choices = list(&world, "narrow=yes").await.body;
    for (link, errors) in
        [("?environment=production", 3), ("?query=is%3Aunresolved+level%3Afatal", 1), ("release%3Ashop%402", 1)]
    {
        let narrow = format!(r#"href="[^"]*{}"[^>]*>[^<]*</a> <span class="count">{errors}<"#, regex::escape(link));
        assert!(Regex::new(&narrow).unwrap().is_match(&choices), "{link}: {choices}");
    }
}

#[tokio::test]
async fn a_query_that_means_nothing_is_kept_and_marked() {
    let world = three_errors().await;
    for (parameters, column, said) in [
        ("query=first+OR+second", 7, "level:[error, fatal]"),
        ("query=(first)", 1, "in parentheses"),
        ("query=environmen%3Abeta", 1, "No event has the tag environmen. There are is, assigned, level, environment,"),
        ("query=a+!nowhere%3A*", 4, "tags are cart, "),
        ("query=KeyError%3A+%27plum%27", 10, "goes in quotes"),
        ("query=assigned%3Ame", 10, "Nobody is signed in"),
        ("query=cart%3Aemp*", 6, "cart:*"),
        ("query=%3Cscript%3E%22alert(", 15, "in parentheses"),
    ] {
        let answer = list(&world, parameters).await;
        assert_eq!(answer.status, 400, "{parameters}");
        assert!(answer.body.contains(&format!("Column {column}: ")), "{parameters}: {}", answer.body);
        assert!(answer.body.contains(said), "{parameters}: {}", answer.body);
        assert!(answer.body.contains("<mark>") && answer.body.contains(r#"aria-invalid="true""#), "{}", answer.body);
        assert!(!answer.body.contains("<script>") && !answer.body.contains("<table"), "{}", answer.body);
    }
    let kept = list(&world, "query=first+OR+second").await.body;
    assert!(kept.contains(r#"value="first OR second""#), "{kept}");
    assert!(kept.contains("<code>first <mark>O</mark>R second</code>"), "{kept}");
    for parameters in ["period=1h", "sort=title", "status=open", "after=x"] {
        let answer = list(&world, parameters).await;
        assert!(answer.status == 400 && answer.body.contains("This address is not understood"), "{parameters}");
    }
    // Whatever is asked for, nothing breaks.
    for parameters in [
        "query=%00",
        "query=%ff",
        "environment=%00",
        "query=environment%3A%00",
        "query=a%3A%00",
        "query=%27%3B--",
        "query=firstSeen%3A9999-12-30&environment=x",
        "after=9223372036854775807.4294967295",
        "query=level%3A",
        "after=-9223372036854775808.0&sort=users",
        "query=timesSeen%3A%3E4294967295",
        "query=release%3A%25",
        "query=assigned%3A%00*",
        "query=%E2%80%AE",
    ] {
        let answer = list(&world, parameters).await;
        assert!(matches!(answer.status, 200 | 400), "{parameters}: {} {}", answer.status, answer.body);
    }
}

#[tokio::test]
async fn an_empty_list_says_which_part_of_the_search_finds_nothing() {
    let world = three_errors().await;
    let page = list(&world, "query=first+level%3Ainfo+nowhere").await.body;
    assert!(page.contains("No error matches") && page.contains("These parts of the search find nothing even alone:"));
    assert!(page.contains("<code>level:info</code> <code>nowhere</code>"), "{page}");
    let page = list(&world, "query=first+level%3Afatal").await.body;
    assert!(page.contains("no error has them all"), "{page}");
    let page = list(&world, "query=first&environment=staging").await.body;
    assert!(page.contains("<code>environment:staging</code>"), "{page}");
    assert!(page.contains(r#"<a href="?query=first">The same in all environments, at any time</a>"#), "{page}");
    assert!(page.contains(r#"<option value="staging" selected>"#), "what was asked for stays chosen");
    let page = list(&world, "query=is%3Aregressed").await.body;
    assert!(page.contains("No regressed errors") && page.contains("No error came back"), "{page}");
}

/// During an upgrade, the console may come before the migration of a project.
#[tokio::test]
async fn a_schema_without_counts_by_environment_is_listed_without_them() {
    let world = three_errors().await;
    world.before_environments().await;
    let page = list(&world, "query=level%3Afatal").await;
    assert_eq!(titles(&page), ["second"]);
    assert!(!page.body.contains("All environments") && !page.body.contains("narrow"), "{}", page.body);
    for parameters in ["query=environment%3Abeta", "environment=beta", "query=release%3Ashop%401"] {
        let answer = list(&world, parameters).await;
        assert!(answer.status == 400 && answer.body.contains("has not migrated"), "{parameters}: {}", answer.body);
    }
}

/// What may come next, each with the number of its errors.
fn suggested(answer: &Answer) -> (u64, Vec<(String, String)>) {
    assert_eq!(answer.status, 200, "{}", answer.body);
    let answer: Value = serde_json::from_str(&answer.body).unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let options = answer["options"].as_array().unwrap().iter();
    (answer["from"].as_u64().unwrap(), options.map(|option| (text(&option["text"]), text(&option["count"]))).collect())
}

/// The path for a query that is typed so far.
fn suggest(world: &World, before: &str) -> String {
    let before: String = form_urlencoded::byte_serialize(before.as_bytes()).collect();
    format!("/-/suggest/{}.json?before={before}", world.path("").trim_matches('/'))
}

#[tokio::test]
async fn what_may_come_next_is_proposed_with_how_many_errors_have_it() {
    let world = three_errors().await;
    for (before, from, expected) in [
        ("env", 0, &[("environment:", "")][..]),
        ("is:unresolved !LEV", 15, &[("level:", "")]),
        ("💥 ca", 3, &[("cart:", "")]),
        ("environment:", 12, &[("production ", "3"), ("beta ", "1")]),
        ("environment:B", 12, &[("beta ", "1")]),
        ("release:shop@1", 8, &[("shop@1 ", "2"), ("shop@1.4.2 ", "1")]),
        ("firstRelease:shop@1", 13, &[("shop@1 ", "1"), ("shop@1.4.2 ", "1")]),
        ("level:[error, f", 14, &[("fatal", "1")]),
        ("is:un", 3, &[("unresolved ", "3"), ("unassigned ", "3")]),
        ("timesSeen:>1", 10, &[(">10 ", "0"), (">100 ", "0"), (">1000 ", "0")]),
        // Nobody is signed in.
        ("assigned:", 9, &[("none ", "3")]),
        ("cart:", 5, &[("empty ", "1")]),
        ("nothing:", 8, &[]),
        ("KeyError", 0, &[]),
        (r#""some te"#, 0, &[]),
    ] {
        let expected = expected.iter().map(|(text, count)| ((*text).to_owned(), (*count).to_owned())).collect();
        let answer = get(world.console, &suggest(&world, before)).await;
        assert_eq!(suggested(&answer), (from, expected), "{before}");
    }
    let (_, keys) = suggested(&get(world.console, &suggest(&world, "")).await);
    let keys: Vec<_> = keys.iter().map(|(key, _)| key.as_str()).collect();
    assert!(keys.starts_with(&["is:", "assigned:", "level:"]) && keys.contains(&"cart:"), "{keys:?}");
    assert_eq!(get(world.console, &suggest(&world, &"x".repeat(1025))).await.status, 400);
}

#[tokio::test]
async fn tags_are_proposed_to_who_may_read_events() {
    let (world, cluster) = with_rights(&["ada get issues web/", "bob get issues web/", "bob get events web/"]).await;
    world.send(&[events::checkout()]).await;
    let (ada, bob) = (session(&world, "ada").await, session(&world, "bob").await);
    for before in ["ca", "cart:"] {
        let path = suggest(&world, before);
        assert_eq!(suggested(&page(&world, &ada, &path).await).1, [], "{before}");
        assert_eq!(suggested(&page(&world, &bob, &path).await).1.len(), 1, "{before}");
    }
    let others = page(&world, &bob, "/-/suggest/space/rockets.json?before=is:").await;
    assert_eq!(others.status, 404, "{}", others.body);
    drop(cluster);
}

#[tokio::test]
async fn me_is_who_is_signed_in() {
    let rights = ["ada get issues web/", "ada update issues web/"];
    let (world, _cluster) = with_rights(&rights).await;
    world.send(&[events::message("other", "error")]).await;
    let ada = session(&world, "ada").await;
    world.set_assignee(2, "ada").await;
    let mine = page(&world, &ada, "/web/shop/issues?query=assigned%3Ame").await;
    assert_eq!(titles(&mine), ["other"]);
    let nobodys = page(&world, &ada, "/web/shop/issues?query=is%3Aunassigned").await;
    assert_eq!(titles(&nobodys).len(), 1);
    assert!(mine.body.contains(r#"value="resolve""#) && mine.body.contains(r#"value="reopen""#), "of any status");
}
