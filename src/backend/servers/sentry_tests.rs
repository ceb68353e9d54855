//! Sentry's client against a server that answers well, badly, or about something else.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::{
    Sentry, ServerError, Turns,
    tests::{Loopback, Reply, ok, reply},
};
use crate::settings::RateLimit;

const TOKEN: &str = "sntrys_s3cret";
const KEYS: &str = "/api/0/projects/acme/shop/keys/";

fn sentry_with(server: &Loopback, turns: &Turns) -> Sentry {
    Sentry::new(server.web(), turns, SecretString::from(format!("{TOKEN}\n")), "acme".into(), "shop".into())
}

fn sentry(server: &Loopback) -> Sentry {
    sentry_with(server, &Turns::default())
}

/// A public key of 32 hex digits.
fn public(number: u32) -> String {
    format!("{number:032x}")
}

fn key(number: u32, label: &str) -> String {
    let public = public(number);
    format!(
        r#"{{"id":"{public}","name":"{label}","label":"{label}","public":"{public}","secret":"5e","projectId":42,
        "isActive":true,"rateLimit":{{"window":60,"count":1000}},"dateCreated":"2026-11-22T10:00:00.123456Z",
        "dsn":{{"public":"https://{public}@o1.ingest.sentry.io/42","secret":"x"}},"browserSdk":{{}}}}"#
    )
}

fn page(keys: &[String], link: &str) -> Reply {
    reply("200 OK", &[("link", link)], &format!("[{}]", keys.join(",")))
}

fn next(cursor: &str) -> String {
    format!(
        "<https://elsewhere.example/?&cursor=100:-1:1>; rel=\"previous\"; results=\"false\"; cursor=\"100:-1:1\", \
         <https://elsewhere.example/?&cursor={cursor}>; rel=\"next\"; results=\"true\"; cursor=\"{cursor}\""
    )
}

const LAST: &str = "<https://elsewhere.example/>; rel=\"next\"; results=\"false\"; cursor=\"100:9:0\"";

#[tokio::test]
async fn a_project_is_seen_under_its_name() {
    let project = r#"{"id":"42","slug":"shop","name":"Shop","status":"active","teams":[]}"#;
    let server = Loopback::with(vec![ok(project)]).await;
    let seen = sentry(&server).check().await.unwrap();
    assert_eq!((seen.id.as_str(), seen.slug.as_str(), seen.name.as_str()), ("42", "shop", "Shop"));
    assert_eq!(seen.status, "active");
    assert_eq!(server.calls(), ["GET /api/0/projects/acme/shop/"]);
    assert!(server.asked()[0].contains("authorization: Bearer sntrys_s3cret\r\n"));
}

#[tokio::test]
async fn every_fault_of_a_server_has_its_word() {
    let moved = |to: Option<&str>| ServerError::Moved { to: to.map(str::to_owned) };
    let redirect = |location: &str, body: &str| reply("302 Found", &[("location", location)], body);
    let sentrys = r#"{"slug":"store","detail":{"code":"resource-moved","extra":{"slug":"store","url":"/x/"}}}"#;
    let not_understood = ServerError::NotUnderstood { what: "a project of Sentry" };
    let rejected = |detail: &str| ServerError::Rejected { status: 400, detail: detail.into() };
    for (case, answer, expected) in [
        ("500", reply("500 Error", &[], "Traceback"), ServerError::Failing { status: 500 }),
        ("HTML", ok("<html>Sign in</html>"), not_understood.clone()),
        ("half of it", ok(r#"{"id":"42","slug":"#), not_understood.clone()),
        ("a list", ok("[]"), not_understood.clone()),
        ("no slug", ok(r#"{"id":"42"}"#), not_understood),
        ("another project", ok(r#"{"id":"43","slug":"other"}"#), moved(Some("other"))),
        ("another project, to be shown", ok(r#"{"id":"43","slug":"<b>"}"#), moved(None)),
        ("renamed, in the body", redirect("/elsewhere/", sentrys), moved(Some("store"))),
        ("renamed, in the path", redirect("/api/0/projects/acme/store/", ""), moved(Some("store"))),
        ("another host", redirect("https://evil.example/api/0/projects/acme/store/", ""), moved(None)),
        ("another host, without a scheme", redirect("//evil.example/projects/acme/store/", ""), moved(None)),
        ("moved to nowhere", reply("301 Moved", &[], ""), moved(None)),
        ("401", reply("401 No", &[], r#"{"detail":"Invalid token"}"#), ServerError::Unauthorized),
        ("403", reply("403 No", &[], "{}"), ServerError::Forbidden { needs: "project:read" }),
        ("404", reply("404 No", &[], "{}"), ServerError::NotFound { what: "project" }),
        ("400", reply("400 Bad", &[], r#"{"detail":"Not so."}"#), rejected("Not so.")),
        ("the token in it", reply("400 Bad", &[], r#"{"detail":"No sntrys_s3cret"}"#), rejected("No …")),
        ("hangs up", Reply::Nothing, ServerError::Unreachable),
    ] {
        let server = Loopback::with(vec![answer]).await;
        assert_eq!(sentry(&server).check().await, Err(expected), "{case}");
        assert_eq!(server.asked().len(), 1, "{case}");
    }
}

#[tokio::test]
async fn keys_are_read_page_by_page_from_the_same_server() {
    let pages = vec![
        page(&[key(1, "a"), key(2, "b")], &next("100:1:0")),
        // A key was made meanwhile: the pages have moved.
        page(&[key(2, "b"), key(3, "c")], &next("100:2:0")),
        page(&[], LAST),
    ];
    let server = Loopback::with(pages).await;
    let keys = sentry(&server).keys().await.unwrap();
    assert_eq!(keys.iter().map(|key| key.label.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
    let first = &keys[0];
    assert_eq!((first.id.as_str(), first.public.as_str()), (public(1).as_str(), public(1).as_str()));
    assert_eq!(first.dsn.expose_secret(), format!("https://{}@o1.ingest.sentry.io/42", public(1)));
    assert_eq!((first.active, first.limit), (true, Some(RateLimit { events: 1000, window_seconds: 60 })));
    assert_eq!(first.created_at, Some("2026-11-22T10:00:00.123456Z".parse().unwrap()));
    assert!(!format!("{first:?}").contains(&public(1)), "{first:?}");
    let path = |query: &str| format!("GET {KEYS}{query}");
    assert_eq!(server.calls(), [path(""), path("?cursor=100%3A1%3A0"), path("?cursor=100%3A2%3A0")]);
}

#[tokio::test]
async fn a_list_that_never_ends_is_given_up() {
    let endless = ServerError::NotUnderstood { what: "a list with an end" };
    let same_page = page(&[key(1, "a")], &next("100:1:0"));
    let same_cursor = vec![page(&[], &next("100:1:0"))];
    let without_cursor = vec![page(&[], "<https://h/>; rel=\"next\"; results=\"true\"")];
    for (case, pages, expected) in [
        (
            "the same page under another cursor",
            vec![same_page, page(&[key(1, "a")], &next("100:2:0"))],
            endless.clone(),
        ),
        ("the same cursor", same_cursor, endless),
        ("no cursor", without_cursor, ServerError::NotUnderstood { what: "a list with pages" }),
    ] {
        let server = Loopback::with(pages).await;
        assert_eq!(sentry(&server).keys().await.err(), Some(expected), "{case}");
    }
    let pages = (0..200).map(|number| page(&[key(number, "a")], &next(&format!("100:{number}:0"))));
    let server = Loopback::with(pages.collect()).await;
    assert_eq!(sentry(&server).keys().await.err(), Some(ServerError::TooLarge));
    assert_eq!(server.asked().len(), 101);
}

#[tokio::test]
async fn a_key_is_made_changed_found_and_deleted() {
    let none = reply("404 None", &[], "{}");
    let gone = reply("204 Gone", &[], "");
    let made = reply("201 Made", &[], &key(7, "et-1"));
    let server = Loopback::with(vec![made, ok(&key(7, "et-1")), ok(&key(7, "et-1")), none.clone(), gone, none]).await;
    let sentry = sentry(&server);
    let limit = Some(RateLimit { events: 1000, window_seconds: 60 });
    assert_eq!(sentry.make(&public(7), "et-1", limit).await.unwrap().public.as_str(), public(7));
    assert!(sentry.update(&public(7), false, None).await.is_ok());
    assert!(sentry.key(&public(7)).await.unwrap().is_some());
    assert!(sentry.key(&public(8)).await.unwrap().is_none());
    assert_eq!(sentry.delete(&public(7)).await, Ok(()));
    assert_eq!(sentry.delete(&public(7)).await, Ok(()));
    let body = format!(r#"{{"name":"et-1","public":"{}","rateLimit":{{"count":1000,"window":60}}}}"#, public(7));
    assert_eq!(
        server.calls(),
        [
            format!("POST {KEYS} {body}"),
            format!("PUT {KEYS}{}/ {}", public(7), r#"{"isActive":false,"rateLimit":null}"#),
            format!("GET {KEYS}{}/", public(7)),
            format!("GET {KEYS}{}/", public(8)),
            format!("DELETE {KEYS}{}/", public(7)),
            format!("DELETE {KEYS}{}/", public(7)),
        ]
    );
}

#[tokio::test]
async fn an_answer_about_another_key_is_not_taken() {
    let server = Loopback::with(vec![ok(&key(1, "theirs"))]).await;
    let sentry = sentry(&server);
    let other = Some(ServerError::NotUnderstood { what: "about the key that was asked for" });
    assert_eq!(sentry.make(&public(2), "ours", None).await.err(), other);
    assert_eq!(sentry.update(&public(2), true, None).await.err(), other);
    assert_eq!(sentry.key(&public(2)).await.err(), other);
    // A DSN of another key than it comes with.
    let mixed = key(1, "ours").replace(&format!("//{}@", public(1)), &format!("//{}@", public(2)));
    let server = Loopback::with(vec![ok(&mixed)]).await;
    let wrong = Some(ServerError::NotUnderstood { what: "a key with its DSN" });
    assert_eq!(self::sentry(&server).make(&public(1), "ours", None).await.err(), wrong);
    // A server that chooses the public key itself tells which.
    let server = Loopback::with(vec![ok(&key(9, "ours"))]).await;
    assert_eq!(self::sentry(&server).make(&public(1), "ours", None).await.unwrap().public.as_str(), public(9));
}

#[tokio::test]
async fn each_call_names_the_scope_that_it_needs() {
    let server = Loopback::with(vec![reply("403 No", &[], "{}")]).await;
    let sentry = sentry(&server);
    let needs = |needs| Some(ServerError::Forbidden { needs });
    assert_eq!(sentry.keys().await.err(), needs("project:read"));
    assert_eq!(sentry.make(&public(1), "a", None).await.err(), needs("project:write"));
    assert_eq!(sentry.update(&public(1), true, None).await.err(), needs("project:write"));
    assert_eq!(sentry.delete(&public(1)).await.err(), needs("project:admin"));
    assert_eq!(sentry.available_projects().await, Ok(vec![]));
}

#[tokio::test]
async fn projects_are_offered_in_order_and_at_most_a_hundred() {
    let project = |organization: &str, slug: &str| {
        format!(r#"{{"id":"1","slug":"{slug}","organization":{{"slug":"{organization}"}},"name":"x"}}"#)
    };
    let pages = vec![
        page(&[project("b", "web"), project("a", "shop"), project("a", "<b>")], &next("100:1:0")),
        page(&[project("a", "api")], LAST),
    ];
    let server = Loopback::with(pages).await;
    assert_eq!(sentry(&server).available_projects().await.unwrap(), ["a/api", "a/shop", "b/web"]);
    let many: Vec<_> = (0..150).map(|number| project("a", &format!("p{number:03}"))).collect();
    let server = Loopback::with(vec![page(&many, &next("100:1:0"))]).await;
    assert_eq!(sentry(&server).available_projects().await.unwrap().len(), 100);
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn the_last_use_is_the_newest_hour_in_which_anything_was_sent() {
    let hours = r#"[{"ts":1700000000,"total":3,"dropped":0,"accepted":3,"filtered":0},
        {"ts":1700007200,"total":1,"dropped":1,"accepted":0,"filtered":0},
        {"ts":1700010800,"total":0,"dropped":0,"accepted":0,"filtered":0}]"#;
    let second = |answer: Reply| async move {
        let server = Loopback::with(vec![answer]).await;
        let used = sentry(&server).last_use(&public(1)).await;
        let path = format!("GET {KEYS}{}/stats/?resolution=1h&since=", public(1));
        assert!(server.calls()[0].starts_with(&path), "{:?}", server.calls());
        used.map(|used| used.map(jiff::Timestamp::as_second))
    };
    assert_eq!(second(ok(hours)).await, Ok(Some(1_700_007_200)));
    assert_eq!(second(ok("[[1700000000,0],[1699996400,2]]")).await, Ok(Some(1_699_996_400)));
    assert_eq!(second(ok("[]")).await, Ok(None));
    assert_eq!(second(reply("404 None", &[], "{}")).await, Ok(None));
    let wrong = Err(ServerError::NotUnderstood { what: "the statistics of a key" });
    assert_eq!(second(ok("{}")).await, wrong);
    assert_eq!(second(ok(&format!("[[{},1]]", i64::MAX))).await, wrong);
}

#[tokio::test]
async fn a_pause_that_the_server_asks_for_holds_for_every_client_of_the_token() {
    let too_many = reply("429 Slow", &[("retry-after", "100")], "{}");
    let last_one = reply(
        "200 OK",
        &[
            ("date", "Tue, 14 Nov 2023 22:13:20 GMT"),
            ("x-sentry-rate-limit-remaining", "0"),
            ("x-sentry-rate-limit-reset", "1700000100"),
        ],
        "[]",
    );
    for (answer, first_fails) in [(too_many, true), (last_one, false)] {
        let (server, turns) = (Loopback::with(vec![answer]).await, Turns::default());
        assert_eq!(sentry_with(&server, &turns).keys().await.is_err(), first_fails);
        for _ in 0..3 {
            let after = sentry_with(&server, &turns).keys().await.unwrap_err().retry_after().unwrap();
            assert!(after > Duration::from_secs(90), "{after:?}");
        }
        assert_eq!(server.asked().len(), 1);
        let other = Sentry::new(server.web(), &turns, SecretString::from("other"), "acme".into(), "shop".into());
        let _answer = other.keys().await;
        assert_eq!(server.asked().len(), 2);
    }
}

#[tokio::test]
async fn what_can_be_no_token_or_no_name_is_not_sent() {
    let server = Loopback::with(vec![ok("[]")]).await;
    let client = |token: &str, project: &str| {
        Sentry::new(server.web(), &Turns::default(), SecretString::from(token), "acme".into(), project.into())
    };
    for token in ["", " \n", "a\r\nHost: other", "a\u{0}b"] {
        assert_eq!(client(token, "shop").keys().await.err(), Some(ServerError::Unauthorized), "{token:?}");
    }
    for project in ["", ".", ".."] {
        assert_eq!(client(TOKEN, project).keys().await.err(), Some(ServerError::BadUrl), "{project:?}");
    }
    assert!(server.asked().is_empty());
    client(TOKEN, "../../x?y").keys().await.unwrap();
    assert_eq!(server.calls(), ["GET /api/0/projects/acme/..%2F..%2Fx%3Fy/keys/"]);
    assert!(!format!("{:?}", client(TOKEN, "shop")).contains(TOKEN));
}
