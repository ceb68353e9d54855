//! The console's pages over HTTP: a real Postgres, events stored the way ingest stores them, the login
//! that the operator publishes.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test says by a panic what is wrong")]
#![expect(clippy::disallowed_methods, reason = "the tasks of a test end with its runtime")]

#[path = "../support/mod.rs"]
mod support;

mod acting;
mod api_server;
mod client;
mod databases;
mod events;
mod fuzz;
mod json;
mod oidc;
mod pages;
mod plugin;
mod provider;
mod real_provider;
mod search;
mod sign_in;
mod tokens;
mod world;

use error_tracking_operator::console::SignInMode;
use regex::Regex;

use self::{
    client::{get, request},
    support::proxy::Mode,
    world::World,
};

/// What differs from run to run: times, ids made at random, hashes, and the chart, which hangs on the clock.
fn steady(html: &str) -> String {
    let mut html = html.to_owned();
    for (pattern, stands_for) in [
        (r#"(?s)<svg class="chart".*?</svg>"#, "[chart]"),
        (r"(?s)<tbody>\s*<tr><th scope=.row.>\d{4}-.*?</tbody>", "[hours]"),
        (r#"<path class="spark-bars" d="[^"]*"/>"#, "[bars]"),
        (r#"<path class="spark-marks" d="[^"]*"/>"#, "[marks]"),
        (r"</a> at \d\d:\d\d UTC", "</a> at [hour] UTC"),
        (r"most at \d\d:\d\d UTC", "most at [hour] UTC"),
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "[datetime]"),
        (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", "[absolute]"),
        (r">(just now|\d+ (s|min|h|days?) ago)<", ">[ago]<"),
        (r"\b[0-9a-f]{32}\b", "[event]"),
        (r"\.[0-9a-f]{12}\.", ".[hash]."),
    ] {
        html = Regex::new(pattern).unwrap().replace_all(&html, stands_for).into_owned();
    }
    // Lines of templates that came to nothing say nothing.
    html.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn the_error_list_shows_what_was_stored() {
    let world = World::start().await;
    // Numbered in the order of their batches.
    world.send(&[events::checkout(), events::checkout()]).await;
    world.send(&[events::message("Payment provider answered 502", "warning")]).await;
    let page = get(world.console, &world.path("issues")).await;
    assert_eq!(page.status, 200);
    insta::assert_snapshot!(steady(&page.body));

    world.another_project().await;
    let projects = get(world.console, "/").await;
    assert_eq!(projects.status, 200);
    insta::assert_snapshot!(steady(&projects.body));
}

#[tokio::test]
async fn the_keys_page_shows_the_state_of_each_key_and_which_refused_ones_are_in_use() {
    let world = World::start().await;
    assert!(get(world.console, &world.path("keys")).await.body.contains("No key yet"));
    world.make_keys().await;
    let page = get(world.console, &world.path("keys")).await;
    assert_eq!(page.status, 200);
    insta::assert_snapshot!(steady(&page.body));
    for hidden in ["host-of-somebody", "10.0.0.1", "<b>"] {
        assert!(!page.body.contains(hidden), "{hidden}");
    }

    world.before_key_states().await;
    let before = get(world.console, &world.path("keys")).await;
    assert_eq!(before.status, 200);
    assert!(before.body.contains("state-active") && !before.body.contains("in-use"), "{}", before.body);
}

#[tokio::test]
async fn the_details_page_shows_the_latest_event() {
    let world = World::start().await;
    world.send(&[events::checkout(), events::checkout()]).await;
    let page = get(world.console, &world.path("issues/1")).await;
    assert_eq!(page.status, 200);
    insta::assert_snapshot!(steady(&page.body));
    let place = |text| page.body.find(text).unwrap_or_else(|| panic!("{text} is not on the page"));
    assert!(place("shop.errors.CheckoutFailed") < place("ZeroDivisionError"), "the outermost exception comes first");
    assert!(place("shop/views.py") < place("flask/app.py"), "the newest call comes first");
}

#[tokio::test]
async fn frames_are_read_as_somebody_likes() {
    let world = World::start().await;
    world.send(&[events::checkout()]).await;
    let path = world.path("issues/1");
    let shown = async |path: &str, cookie: &str| {
        let host = world.console.to_string();
        client::send(world.console, "GET", path, &[("Host", &host), ("Cookie", cookie)], "").await.body
    };
    let is_before = |page: &str, one: &str, other: &str| page.find(one).unwrap() < page.find(other).unwrap();
    let usual = shown(&path, "").await;
    assert!(is_before(&usual, "shop/views.py", "flask/app.py") && usual.contains("href=\"?frames=all\""));
    let all = shown(&format!("{path}?frames=all"), "").await;
    assert!(all.matches("<details open>").count() > usual.matches("<details open>").count(), "{all}");
    assert!(!all.contains("href=\"?frames=all\""));

    let host = world.console.to_string();
    let origin = format!("http://{host}");
    let headers = [("Host", host.as_str()), ("Origin", origin.as_str())];
    let form = "frames=oldest&to=web%2Fshop%2Fissues%2F1";
    let switched = client::send(world.console, "POST", "/-/help", &headers, form).await;
    assert_eq!((switched.status, switched.header("location")), (303, "../web/shop/issues/1"));
    let cookie = switched.header("set-cookie").split(';').next().unwrap();
    let turned = shown(&path, cookie).await;
    assert!(is_before(&turned, "flask/app.py", "shop/views.py") && turned.contains("Frames, oldest call first"));
    let back = client::send(world.console, "POST", "/-/help", &headers, "frames=newest").await;
    assert!(back.header("set-cookie").contains("Max-Age=0") && back.header("location").ends_with("-/help"));
    for form in ["frames=both", "frames=oldest&keys=off", ""] {
        assert_eq!(client::send(world.console, "POST", "/-/help", &headers, form).await.status, 400, "{form}");
    }
}

#[tokio::test]
async fn raw_json_is_what_was_sent() {
    let world = World::start().await;
    let sent = events::checkout();
    let ids = world.send(std::slice::from_ref(&sent)).await;
    let answer = get(world.console, &world.path(&format!("events/{}/json", ids[0]))).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert_eq!(answer.body, sent.to_string());
}

#[tokio::test]
async fn hostile_events_are_shown_as_text() {
    let world = World::start().await;
    world.send(&[events::hostile()]).await;
    for path in [world.path("issues"), world.path("issues/1")] {
        let page = get(world.console, &path).await;
        assert_eq!(page.status, 200);
        assert!(page.body.contains("&#60;script&#62;alert(1)&#60;/script&#62;"), "{path} does not show the event");
        // The one script is a file of ours.
        assert_eq!(
            page.body.matches("<script").count(),
            page.body.matches("<script defer src=\"../../").count(),
            "{path}"
        );
        for markup in ["<img", "<svg onload", "href=\"javascript", "href='javascript"] {
            assert!(!page.body.contains(markup), "{path} has {markup}");
        }
        // No attribute can be closed from within: every quote of the event is escaped.
        assert!(!page.body.contains("\"'>"), "{path} has quotes of the event");
    }
}

#[tokio::test]
async fn what_a_page_leaves_out_is_counted() {
    let world = World::start().await;
    world.send(&[events::oversized()]).await;
    let page = get(world.console, &world.path("issues/1")).await.body;
    let text = Regex::new("<[^>]*>").unwrap().replace_all(&page, "").into_owned();
    assert_eq!(page.matches(r#"class="function">depth_"#).count(), 200);
    for said in [
        "1,300 older frames are in the raw JSON.",
        "250 more tags are in the raw JSON.",
        "The first 200 of 1,234 characters; the raw JSON has all.",
        "The first 8,192 characters; the raw JSON has all.",
    ] {
        assert!(text.contains(said), "{said}");
    }
    assert_eq!(text.matches("The first 200 of").count(), 1, "a value that just fits is whole");
    let title = Regex::new("<h1>(.*)</h1>").unwrap().captures(&page).unwrap()[1].to_owned();
    assert!(title.chars().count() == 256 && title.ends_with("r…"), "{title}");
}

#[tokio::test]
async fn members_of_a_group_are_not_called_causes() {
    let world = World::start().await;
    world.send(&[events::group()]).await;
    let page = get(world.console, &world.path("issues/1")).await.body;
    let headings =
        Regex::new(r#"(?s)<section class="panel stack"[^>]*>\s*(?:<p class="caused">([^<]*)</p>)?\s*<h3[^>]*>(\w+)"#)
            .unwrap();
    let seen: Vec<_> = headings
        .captures_iter(&page)
        .map(|found| (found.get(1).map_or("", |relation| relation.as_str()).to_owned(), found[2].to_owned()))
        .collect();
    let expected = [
        ("", "ExceptionGroup"),
        ("In the group ExceptionGroup", "FirstFailed"),
        ("Caused by", "KeyError"),
        ("In the group ExceptionGroup", "SecondFailed"),
        ("In the group ExceptionGroup", "ThirdFailed"),
        ("Cause of ExceptionGroup", "Interrupted"),
    ];
    assert_eq!(seen, expected.map(|(relation, name)| (relation.to_owned(), name.to_owned())));
}

#[tokio::test]
async fn every_answer_tells_the_browser_to_run_nothing() {
    let world = World::start().await;
    world.send(&[events::checkout()]).await;
    let issue = world.path("issues/1");
    let handler = Regex::new(r"\son[a-z]+=").unwrap();
    for path in ["/", &world.path("issues"), &issue, "/nothing", "/-/static/console.css", &world.path("issues?sort=x")]
    {
        let answer = get(world.console, path).await;
        assert_eq!(
            answer.header("content-security-policy"),
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
             form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
            "{path}"
        );
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("referrer-policy"), "same-origin", "{path}");
        assert_eq!(answer.header("cache-control"), "no-store", "{path}");
        // What the policy would block must not be there.
        assert!(!answer.body.contains(" style=") && !answer.body.contains("<style"), "{path}");
        assert!(!handler.is_match(&answer.body), "{path}");
    }
}

#[tokio::test]
async fn links_are_relative_and_lead_somewhere() {
    let world = World::start().await;
    world.send(&[events::checkout()]).await;
    let links = Regex::new(r#"(?:href|src)="([^"]*)""#).unwrap();
    for path in ["/".to_owned(), world.path("issues"), world.path("issues/1")] {
        let page = get(world.console, &path).await;
        for link in links.captures_iter(&page.body).map(|found| found[1].replace("&amp;", "&").replace("&#38;", "&")) {
            assert!(!link.starts_with('/') && !link.contains("://"), "{path} links to {link}");
            let target = resolve(&path, &link);
            let answer = get(world.console, &target).await;
            assert_eq!(answer.status, 200, "{path} links to {link}, which is {target}");
            if target.starts_with("/-/static/") {
                assert_eq!(answer.header("cache-control"), "public, max-age=31536000, immutable");
            }
        }
    }
    for path in ["/web/shop", "/web/shop/"] {
        let answer = get(world.console, path).await;
        assert_eq!(answer.status, 303, "{path}");
        assert_eq!(resolve(path, answer.header("location")), "/web/shop/issues", "{path}");
    }
}

/// Links in chats and in alerts go on.
#[tokio::test]
async fn addresses_of_the_version_before_lead_to_those_of_now() {
    let world = World::start().await;
    world.send(&[events::checkout()]).await;
    let old = format!("/projects/{}", world.project);
    for (path, place) in [
        (old.clone(), "/web/shop/issues".to_owned()),
        (format!("{old}/issues"), "/web/shop/issues".to_owned()),
        (format!("{old}/issues/?status=resolved"), "/web/shop/issues?status=resolved".to_owned()),
        (format!("{old}/keys"), "/web/shop/keys".to_owned()),
        (format!("{old}/issues/{}", world.issue_id(1)), "/web/shop/issues/1".to_owned()),
    ] {
        let answer = get(world.console, &path).await;
        assert_eq!((answer.status, resolve(&path, answer.header("location"))), (308, place.clone()), "{path}");
        assert_eq!(get(world.console, &place).await.status, 200, "{place}");
    }
}

#[tokio::test]
async fn an_event_has_an_address_below_its_issue_only() {
    let world = World::start().await;
    let ids = world.send(&[events::checkout()]).await;
    world.send(&[events::message("another", "warning")]).await;
    let page = get(world.console, &world.path(&format!("issues/1/events/{}", ids[0]))).await;
    assert!(page.status == 200 && page.body.contains(&ids[0].to_string()), "{}", page.body);
    assert_eq!(get(world.console, &world.path(&format!("issues/2/events/{}", ids[0]))).await.status, 404);
}

/// As a browser does, for the relative links that pages have.
fn resolve(page: &str, link: &str) -> String {
    let (page, _) = page.split_once('?').unwrap_or((page, ""));
    if link.starts_with('?') {
        return format!("{page}{link}");
    }
    if link.starts_with('#') {
        return page.to_owned();
    }
    let mut folders: Vec<_> = page.split('/').collect();
    folders.pop();
    for part in link.split('/') {
        match part {
            "." => {}
            ".." => drop(folders.pop()),
            part => folders.push(part),
        }
    }
    let path = folders.join("/");
    if path.is_empty() { "/".to_owned() } else { path }
}

#[tokio::test]
async fn unknown_addresses_are_not_found() {
    let world = World::start().await;
    world.send(&[events::checkout()]).await;
    for path in [
        "/projects/999/issues".to_owned(),
        "/projects/0/issues".to_owned(),
        "/projects/x/issues".to_owned(),
        "/projects/999999999999/issues".to_owned(),
        world.path("issues/999"),
        world.path("issues/-1"),
        world.path("issues/0"),
        world.path("issues/4294967297"),
        "/web/nothing/issues".to_owned(),
        "/nothing/shop/issues/1".to_owned(),
        world.path("issues/1/events/0123456789abcdef0123456789abcdef"),
        world.path("issues/1/events/xyz"),
        format!("/projects/{}/nothing", world.project),
        format!("/projects/{}/issues/x", world.project),
        world.path("events/0123456789abcdef0123456789abcdef/json"),
        world.path("events/xyz/json"),
        "/-/static/../Cargo.toml".to_owned(),
        "/-/static/console.000000000000.css".to_owned(),
        "/admin".to_owned(),
    ] {
        let answer = get(world.console, &path).await;
        assert_eq!(answer.status, 404, "{path}");
        assert!(answer.body.contains("<h1>Not found</h1>"), "{path}");
    }
}

#[tokio::test]
async fn addresses_that_make_no_sense_say_why() {
    let world = World::start().await;
    for (query, sentence) in [
        ("status=open", "Status is one of unresolved, resolved and ignored."),
        ("sort=title", "Sort is one of last_seen, first_seen, events and users."),
        ("after=1", "After is a place in the list, as the link to the next page has it."),
    ] {
        let answer = get(world.console, &world.path(&format!("issues?{query}"))).await;
        assert_eq!(answer.status, 400, "{query}");
        assert!(answer.body.contains(sentence), "{query}");
    }
    let post = request(world.console, "POST", "/", "localhost").await;
    assert_eq!((post.status, post.header("allow")), (405, "GET, HEAD"));
    let head = request(world.console, "HEAD", "/", "localhost").await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
}

#[tokio::test]
async fn addresses_are_matched_as_they_are_written() {
    let world = World::start().await;
    world.send(&[events::checkout()]).await;
    let issues = world.path("issues");
    let issue = world.path("issues/1");
    // The digit of the issue's number, percent-encoded.
    let encoded = world.path("issues/%31");
    for (path, status) in [
        (format!("{issues}/"), 200),
        (format!("{issue}/"), 200),
        (format!("{issues}/?status=resolved"), 200),
        (encoded, 200),
        (format!("{issues}//"), 404),
        (format!("/{issues}"), 404),
        (issues.replace("issues", "%69ssues"), 404),
        (issues.replace("issues", "Issues"), 404),
        (world.path("issues/%31%ff"), 404),
        (world.path("issues/1%2F..%2F2"), 404),
        (world.path("issues/%00"), 404),
        (format!("/{}", "x".repeat(2047)), 404),
        (format!("/{}", "x".repeat(2048)), 414),
        ("/".repeat(30_000), 414),
        (format!("{issues}?q={}", "x".repeat(20_000)), 200),
    ] {
        let shown = &path[..path.len().min(60)];
        let answer = get(world.console, &path).await;
        assert_eq!(answer.status, status, "{shown}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{shown}");
        assert!(status != 414 || answer.body.len() < 100, "{shown}");
    }
    // One slash more at the end, and links still lead to the same places.
    let page = get(world.console, &format!("{issue}/")).await;
    assert!(page.body.contains(r#"<a href="../../../../">Projects</a>"#), "{}", page.body);
}

#[tokio::test]
async fn methods_are_told_from_addresses() {
    let world = World::start().await;
    let issues = world.path("issues");
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW"] {
        for path in ["/", &world.path("keys"), "/-/static/x"] {
            let answer = request(world.console, method, path, "localhost").await;
            assert_eq!((answer.status, answer.header("allow")), (405, "GET, HEAD"), "{method} {path}");
            assert!(answer.body.contains("The methods allowed here are GET, HEAD."), "{method} {path}");
        }
        for path in [&issues, &world.path("issues/1"), "/-/login"].into_iter().filter(|_| method != "POST") {
            let answer = request(world.console, method, path, "localhost").await;
            assert_eq!((answer.status, answer.header("allow")), (405, "GET, HEAD, POST"), "{method} {path}");
        }
        let answer = request(world.console, method, "/nothing", "localhost").await;
        assert_eq!((answer.status, answer.header("allow")), (404, ""), "{method}");
    }
    for path in [&issues, "/nothing", "/projects/999/issues"] {
        let (head, get) = (request(world.console, "HEAD", path, "localhost").await, get(world.console, path).await);
        assert_eq!((head.status, head.body.as_str()), (get.status, ""), "{path}");
        assert_eq!(head.header("content-length"), get.header("content-length"), "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
    }
}

/// DNS rebinding: a foreign page's own name may resolve to this machine.
#[tokio::test]
async fn only_our_own_names_are_answered() {
    let world = World::start().await;
    for host in
        ["localhost", "localhost:31000", "127.0.0.1:8000", "[::1]:8000", "errors.example", "errors.example:8443"]
    {
        assert_eq!(request(world.console, "GET", "/", host).await.status, 200, "{host}");
    }
    for host in ["attacker.example", "attacker.example:8000", "localhost.attacker.example", "10.1.2.3", ""] {
        for path in ["/", "/-/static/x", "/nothing"] {
            let answer = request(world.console, "GET", path, host).await;
            assert_eq!(answer.status, 421, "{host} {path}");
            assert!(!answer.body.contains("<html"), "{host} {path}");
        }
    }
}

#[tokio::test]
async fn a_project_without_errors_says_how_to_send_one() {
    let world = World::start().await;
    let page = get(world.console, &world.path("issues")).await;
    assert_eq!(page.status, 200);
    assert!(page.body.contains(r#"href="../../web/shop/setup""#), "{}", page.body);
    insta::assert_snapshot!(steady(&page.body));
}

/// What works and what does not changes with every version: it stands in one place, and no page repeats it.
#[tokio::test]
async fn a_console_without_sign_in_says_so_and_every_page_where_the_limits_are() {
    let world = World::start().await;
    let page = get(world.console, "/").await.body;
    let banner = Regex::new(r"(?s)<aside.*?</aside>").unwrap().find(&page).unwrap().as_str();
    assert!(!page.contains("scrubbed"), "events are scrubbed before they are stored: {banner}");
    assert!(banner.contains("without sign-in") && page.contains("docs/limits.md"), "{banner}");
}

#[tokio::test]
async fn tabs_split_errors_by_status() {
    let world = World::start().await;
    for title in ["first", "second", "third"] {
        world.send(&[events::message(title, "error")]).await;
    }
    world.set_status(1, "resolved").await;
    world.set_status(2, "ignored").await;
    let counts = Regex::new(r#"(\w+) <span class="count">(\d+)</span>"#).unwrap();
    for (status, title) in [("unresolved", "third"), ("resolved", "first"), ("ignored", "second")] {
        let page = get(world.console, &world.path(&format!("issues?status={status}"))).await.body;
        let seen: Vec<_> =
            counts.captures_iter(&page).map(|found| (found[1].to_owned(), found[2].to_owned())).collect();
        let expected = [("Unresolved", 1), ("New", 1), ("Regressed", 0), ("Ignored", 1), ("Resolved", 1)];
        assert_eq!(seen, expected.map(|(label, errors)| (label.to_owned(), errors.to_string())));
        for other in ["first", "second", "third"] {
            assert_eq!(page.contains(&format!(">{other}</a>")), other == title, "{other} in {status}");
        }
    }
}

#[tokio::test]
async fn long_lists_are_leafed_through() {
    let world = World::start().await;
    let many: Vec<_> =
        (0..60).map(|number| events::message(&format!("failure {}", letters(number)), "error")).collect();
    world.send(&many).await;
    // One has more events and users than the others.
    for user in 1..4 {
        let mut event = events::message("failure often", "error");
        event["user"] = serde_json::json!({"id": user.to_string()});
        world.send(&[event]).await;
    }
    let titles = Regex::new(r">(failure \w+)</a>").unwrap();
    let next = Regex::new(r#"rel="next" href="([^"]+)""#).unwrap();
    let shown = |page: &str| -> Vec<String> { titles.captures_iter(page).map(|found| found[1].to_owned()).collect() };
    for sort in ["last_seen", "first_seen", "events", "users"] {
        let first = get(world.console, &world.path(&format!("issues?sort={sort}"))).await.body;
        assert!(first.contains("The first 50 of 61 errors") && !first.contains(r#"rel="first""#), "{first}");
        assert_eq!(shown(&first)[0], "failure often", "{sort}");
        let link = next.captures(&first).unwrap()[1].replace("&#38;", "&");
        // What comes meanwhile, or moves up, neither hides another nor shows one twice.
        world.send(&[events::message("failure newest", "error"), events::message("failure often", "error")]).await;
        let second = get(world.console, &world.path(&format!("issues{link}"))).await.body;
        assert!(second.contains(r#"rel="first""#) && !second.contains(r#"rel="next""#), "{second}");
        let mut seen: Vec<_> = [&first, &second].into_iter().flat_map(|page| shown(page)).collect();
        let count = seen.len();
        seen.sort();
        seen.dedup();
        assert_eq!((seen.len(), count), (61, 61), "each error is on one page, by {sort}");
        world.remove("failure newest").await;
    }
    let beyond = get(world.console, &world.path("issues?after=0.0")).await;
    assert!(beyond.status == 200 && beyond.body.contains("Nothing comes after"));
}

/// Digits are taken out by grouping.
fn letters(number: u32) -> String {
    number.to_string().chars().map(|digit| char::from(b'a' + u8::try_from(digit).unwrap_or(b'0') - b'0')).collect()
}

#[tokio::test]
async fn the_console_cannot_write() {
    let world = World::start().await;
    world.send(&[events::checkout()]).await;
    let schema = world.project.schema();
    for statement in [
        format!("UPDATE {schema}.issues SET status = 'resolved'"),
        format!("DELETE FROM {schema}.events"),
        "DELETE FROM errortracking.projects".to_owned(),
        "CREATE TABLE public.mine ()".to_owned(),
    ] {
        let refused = world.as_console(&statement).await.unwrap_err();
        let code = refused.as_database_error().and_then(|error| error.code().map(Into::into));
        assert_eq!(code, Some("42501".to_owned()), "{statement}: {refused}");
    }
}

#[tokio::test]
async fn without_a_database_pages_say_so_until_it_is_back() {
    let world = World::start().await;
    world.send(&[events::checkout()]).await;
    world.await_ready(true).await;
    world.network.close().await;
    let answer = get(world.console, "/").await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, "5"));
    assert!(answer.body.contains("<h1>The database does not answer</h1>"));
    world.await_ready(false).await;
    world.network.set(Mode::Forward);
    world.await_ready(true).await;
    assert_eq!(get(world.console, "/").await.status, 200);
}

#[tokio::test]
async fn a_new_password_is_taken_up() {
    let world = World::start().await;
    world.await_ready(true).await;
    world.rotate_password().await;
    assert_eq!(get(world.console, "/").await.status, 200);
}

#[tokio::test]
async fn other_machines_are_not_served_without_sign_in() {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:8000"] {
        let refused = error_tracking_operator::console::bind(address.parse().unwrap(), SignInMode::None).await;
        let error = refused.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains("is not a loopback address") && error.contains("kubectl port-forward"), "{error}");
    }
    assert!(error_tracking_operator::console::bind("[::1]:0".parse().unwrap(), SignInMode::None).await.is_ok());
    let everywhere = "0.0.0.0:0".parse().unwrap();
    assert!(error_tracking_operator::console::bind(everywhere, SignInMode::Kubernetes).await.is_ok());
}
