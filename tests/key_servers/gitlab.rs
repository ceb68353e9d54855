//! GitLab's API for error tracking.

use serde_json::json;

use crate::{
    client::{ask, ask_as},
    support::key_servers::{
        GitlabDouble, KeyServer, RateLimit,
        gitlab::{DEVELOPER, GitlabSettings, GitlabToken, MAINTAINER},
    },
};

const SETTINGS: &str = "/api/v4/projects/5/error_tracking/settings";
const KEYS: &str = "/api/v4/projects/acme%2Fshop/error_tracking/client_keys";

#[tokio::test]
async fn a_maintainer_with_the_scope_api_may_and_others_may_not() {
    let gitlab = GitlabDouble::start();
    gitlab.with(|gitlab| {
        let other = gitlab.add_project("acme/other").id;
        let reader = GitlabToken::new("reader", "fake-reader", 5, MAINTAINER);
        let expires = Some(jiff::Timestamp::UNIX_EPOCH);
        gitlab.tokens.extend([
            GitlabToken::new("developer", "fake-developer", 5, DEVELOPER),
            GitlabToken::new("stranger", "fake-stranger", other, MAINTAINER),
            GitlabToken { expires, ..GitlabToken::new("expired", "fake-expired", 5, MAINTAINER) },
            GitlabToken { api: false, ..reader },
        ]);
    });
    for (token, status) in [
        ("", 401),
        ("fake-unknown", 401),
        ("fake-expired", 401),
        ("fake-developer", 403),
        ("fake-reader", 403),
        ("fake-stranger", 404),
        ("fake-gitlab-token", 200),
    ] {
        let answer = ask_as(&gitlab, token, "GET", KEYS).await;
        assert_eq!(answer.status, status, "{token}: {answer:?}");
    }
}

#[tokio::test]
async fn settings_have_the_quirks_of_gitlab() {
    let gitlab = GitlabDouble::start();
    let never = json!({"message": "404 Error Tracking Setting Not Found"});
    let answer = ask(&gitlab, "GET", SETTINGS, None).await;
    assert_eq!((answer.status, answer.json()), (404, never.clone()));
    let answer = ask(&gitlab, "PATCH", SETTINGS, Some(json!({"active": true}))).await;
    assert_eq!((answer.status, answer.json()), (404, never));
    for (method, body, error) in [
        ("PATCH", json!({}), "active is missing"),
        ("PUT", json!({"active": true}), "integrated is missing"),
        ("PUT", json!({"active": "perhaps", "integrated": true}), "active is invalid"),
    ] {
        let answer = ask(&gitlab, method, SETTINGS, Some(body)).await;
        assert_eq!((answer.status, answer.json()), (400, json!({ "error": error })));
    }

    let on = json!({"active": true, "integrated": true});
    gitlab.with(|gitlab| gitlab.switches.integrated_error_tracking = false);
    assert_eq!(ask(&gitlab, "PUT", SETTINGS, Some(on.clone())).await.status, 404);
    gitlab.with(|gitlab| gitlab.switches.integrated_error_tracking = true);

    gitlab.with(|gitlab| gitlab.switches.update_fails = true);
    let answer = ask(&gitlab, "PUT", SETTINGS, Some(on.clone())).await;
    assert_eq!((answer.status, &answer.json()["status"]), (200, &json!("error")));
    assert!(gitlab.keys_of("acme/shop").await.is_empty());
    gitlab.with(|gitlab| gitlab.switches.update_fails = false);

    // Both at once make the first key, and no second.
    let integrated = json!({
        "active": true, "project_name": null, "sentry_external_url": null, "api_url": null, "integrated": true,
    });
    for _ in 0..2 {
        let answer = ask(&gitlab, "PUT", SETTINGS, Some(on.clone())).await;
        assert_eq!((answer.status, answer.json()), (200, integrated.clone()));
        assert_eq!(gitlab.keys_of("5").await.len(), 1);
    }

    // Without the flag they read as not integrated.
    gitlab.with(|gitlab| gitlab.switches.integrated_error_tracking = false);
    assert_eq!(ask(&gitlab, "GET", SETTINGS, None).await.json()["integrated"], false);
    gitlab.with(|gitlab| gitlab.switches.monitor = false);
    assert_eq!(ask(&gitlab, "GET", SETTINGS, None).await.status, 404);
}

#[tokio::test]
async fn a_sentry_that_somebody_configured_stays_in_the_settings() {
    let gitlab = GitlabDouble::start();
    gitlab.with(|gitlab| {
        gitlab.project("5").unwrap().settings = Some(GitlabSettings {
            active: true,
            api_url: Some("https://sentry.example/api/0/projects/acme/shop/".into()),
            ..GitlabSettings::default()
        });
    });
    let answer = ask(&gitlab, "PATCH", SETTINGS, Some(json!({"active": false}))).await.json();
    assert_eq!((&answer["active"], &answer["integrated"]), (&json!(false), &json!(false)));
    assert_eq!(answer["api_url"], "https://sentry.example/api/0/projects/acme/shop/");
}

#[tokio::test]
async fn keys_are_made_listed_and_deleted() {
    let gitlab = GitlabDouble::start();
    let made = ask(&gitlab, "POST", KEYS, None).await;
    assert_eq!(made.status, 201);
    let made = made.json();
    let public = made["public_key"].as_str().unwrap();
    assert!(public.starts_with("glet_") && public.len() == 37, "{public}");
    let dsn = format!("http://{public}@{}/errortracking/api/v1/projects/5", gitlab.address());
    assert_eq!((&made["sentry_dsn"], &made["active"]), (&json!(dsn), &json!(true)));
    assert_eq!(gitlab.keys_of("acme/shop").await[0].dsn, dsn);
    let key = format!("{KEYS}/{}", made["id"]);
    let deleted = ask(&gitlab, "DELETE", &key, None).await;
    assert_eq!((deleted.status, deleted.json()), (200, made.clone()));
    assert_eq!(ask(&gitlab, "DELETE", &key, None).await.status, 404);
    assert_eq!(ask(&gitlab, "DELETE", &format!("{KEYS}/nonsense"), None).await.status, 400);
    // A number is not used again.
    assert!(ask(&gitlab, "POST", KEYS, None).await.json()["id"].as_u64() > made["id"].as_u64());
}

#[tokio::test]
async fn keys_come_in_pages_with_the_oldest_first() {
    let gitlab = GitlabDouble::start();
    gitlab.with(|gitlab| (0..25).for_each(|_| drop(gitlab.make_key("acme/shop"))));
    let (mut page, mut ids, mut pages) = ("1".to_owned(), Vec::new(), Vec::new());
    while !page.is_empty() {
        let answer = ask(&gitlab, "GET", &format!("{KEYS}?per_page=10&page={page}"), None).await;
        ids.extend(answer.list().iter().map(|key| key["id"].as_u64().unwrap()));
        page = answer.header("x-next-page").to_owned();
        pages.push(answer);
    }
    assert_eq!(ids, (1..=25).collect::<Vec<_>>());
    let second = &pages[1];
    for (name, value) in [
        ("x-page", "2"),
        ("x-per-page", "10"),
        ("x-total", "25"),
        ("x-total-pages", "3"),
        ("x-next-page", "3"),
        ("x-prev-page", "1"),
    ] {
        assert_eq!(second.header(name), value, "{name}");
    }
    let url = format!("{}{KEYS}?page", gitlab.url());
    let link = format!(
        "<{url}=1&per_page=10>; rel=\"prev\", <{url}=3&per_page=10>; rel=\"next\", \
         <{url}=1&per_page=10>; rel=\"first\", <{url}=3&per_page=10>; rel=\"last\""
    );
    assert_eq!(second.header("link"), link);
    assert_eq!(ask(&gitlab, "GET", KEYS, None).await.list().len(), 20);
}

#[tokio::test]
async fn a_call_too_many_is_told_to_retry_later() {
    let gitlab = GitlabDouble::start();
    gitlab.with(|gitlab| gitlab.switches.rate_limit = Some(RateLimit::per_minute(1)));
    assert_eq!(ask(&gitlab, "GET", KEYS, None).await.header("ratelimit-remaining"), "0");
    let refused = ask(&gitlab, "POST", KEYS, None).await;
    assert_eq!((refused.status, refused.header("content-type")), (429, "text/plain"));
    assert_eq!((refused.header("ratelimit-limit"), refused.header("ratelimit-observed")), ("1", "2"));
    assert!((1..=60).contains(&refused.header("retry-after").parse::<u32>().unwrap()));
    assert!(refused.header("ratelimit-resettime").ends_with(" GMT"));
    assert!(gitlab.keys_of("acme/shop").await.is_empty());
}
