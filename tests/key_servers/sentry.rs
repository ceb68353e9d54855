//! Sentry's API for projects and keys.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::{
    client::{ask, ask_as},
    support::key_servers::{
        KeyServer, RateLimit, SentryDouble,
        sentry::{SentryKey, SentryToken, Usage},
    },
};

const KEYS: &str = "/api/0/projects/acme/shop/keys/";

#[tokio::test]
async fn tokens_see_their_organizations_and_need_scopes() {
    let sentry = SentryDouble::start();
    let key = sentry.keys_of("acme/shop").await.remove(0);
    let key = format!("{KEYS}{}/", key.id);
    let key = key.as_str();
    sentry.with(|sentry| {
        sentry.add_project("other", "web");
        let dated = SentryToken::new("expired", "fake-expired", "acme", "project:admin");
        let expires = Some(Timestamp::now() - SignedDuration::from_secs(1));
        sentry.tokens.extend([
            SentryToken::new("reader", "fake-reader", "acme", "project:read"),
            SentryToken::new("writer", "fake-writer", "acme", "project:write"),
            SentryToken::new("stranger", "fake-stranger", "other", "project:admin org:read"),
            SentryToken { expires, ..dated },
        ]);
    });
    let permission = "You do not have permission to perform this action.";
    let gone = "The requested resource does not exist";
    for (token, method, path, status, detail) in [
        ("", "GET", KEYS, 401, "Authentication credentials were not provided."),
        ("fake-unknown", "GET", KEYS, 401, "Invalid token"),
        ("fake-expired", "GET", KEYS, 401, "Invalid token"),
        ("fake-reader", "GET", KEYS, 200, ""),
        ("fake-reader", "POST", KEYS, 403, permission),
        ("fake-reader", "PUT", key, 403, permission),
        ("fake-reader", "GET", "/api/0/organizations/acme/projects/", 403, permission),
        ("fake-writer", "GET", KEYS, 200, ""),
        ("fake-writer", "POST", KEYS, 201, ""),
        ("fake-writer", "PUT", key, 200, ""),
        ("fake-writer", "DELETE", key, 403, permission),
        ("fake-stranger", "GET", KEYS, 404, gone),
        ("fake-stranger", "GET", "/api/0/organizations/acme/projects/", 404, gone),
        ("fake-stranger", "GET", "/api/0/organizations/other/projects/", 200, ""),
        ("fake-sentry-token", "GET", "/api/0/projects/acme/nothing/keys/", 404, gone),
        ("fake-sentry-token", "GET", "/api/0/projects/acme/shop/keys", 404, gone),
        ("fake-sentry-token", "DELETE", key, 204, ""),
        ("fake-sentry-token", "GET", key, 404, gone),
    ] {
        let answer = ask_as(&sentry, token, method, path).await;
        assert_eq!(answer.status, status, "{token} {method} {path}: {answer:?}");
        if !detail.is_empty() {
            assert_eq!(answer.json(), json!({ "detail": detail }));
        }
    }
    let seen = ask_as(&sentry, "fake-stranger", "GET", "/api/0/projects/").await.list();
    let seen: Vec<_> = seen.iter().map(|project| (&project["organization"]["slug"], &project["slug"])).collect();
    assert_eq!(seen, [(&json!("other"), &json!("web"))]);
    // What is listed of a call names the token, and holds nothing of its value.
    let calls = sentry.calls();
    assert_eq!(calls[3].token.as_deref(), Some("reader"));
    assert!(!serde_json::to_string(&calls).unwrap().contains("fake-"));
}

#[tokio::test]
async fn keys_come_in_pages_of_ten_with_the_newest_first() {
    let sentry = SentryDouble::start();
    sentry.with(|sentry| {
        let keys = (0..20).map(|number| SentryKey::new(&format!("key {number}"), Timestamp::now()));
        sentry.project("acme/shop").unwrap().keys.extend(keys);
    });
    let url = format!("{}{KEYS}", sentry.url());
    let mut names = Vec::new();
    for (query, link) in [
        (
            "?cursor=&status=active",
            format!(
                "<{url}?status=active&cursor=10:-1:1>; rel=\"previous\"; results=\"false\"; cursor=\"10:-1:1\", \
                 <{url}?status=active&cursor=10:1:0>; rel=\"next\"; results=\"true\"; cursor=\"10:1:0\""
            ),
        ),
        (
            "?cursor=10:1:0",
            format!(
                "<{url}?&cursor=10:0:1>; rel=\"previous\"; results=\"true\"; cursor=\"10:0:1\", \
                 <{url}?&cursor=10:2:0>; rel=\"next\"; results=\"true\"; cursor=\"10:2:0\""
            ),
        ),
        (
            "?cursor=10:2:0",
            format!(
                "<{url}?&cursor=10:1:1>; rel=\"previous\"; results=\"true\"; cursor=\"10:1:1\", \
                 <{url}?&cursor=10:3:0>; rel=\"next\"; results=\"false\"; cursor=\"10:3:0\""
            ),
        ),
    ] {
        let answer = ask(&sentry, "GET", &format!("{KEYS}{query}"), None).await;
        assert_eq!(answer.header("link"), link);
        names.extend(answer.list().iter().map(|key| key["name"].as_str().unwrap().to_owned()));
    }
    let expected: Vec<String> = (0..20).rev().map(|number| format!("key {number}")).chain(["Default".into()]).collect();
    assert_eq!(names, expected);
    assert_eq!(ask(&sentry, "GET", &format!("{KEYS}?cursor=nonsense"), None).await.status, 400);
}

#[tokio::test]
async fn a_key_is_made_with_a_chosen_public_key_changed_and_deleted() {
    let sentry = SentryDouble::start();
    let public = "0123456789abcdef0123456789abcdef";
    let limit = json!({"window": 60, "count": 100});
    let body = json!({"name": "checkout", "public": public, "rateLimit": limit});
    let made = ask(&sentry, "POST", KEYS, Some(body.clone())).await;
    assert_eq!(made.status, 201);
    let made = made.json();
    for field in ["id", "public"] {
        assert_eq!(made[field], public);
    }
    assert_eq!((&made["name"], &made["label"], &made["rateLimit"]), (&json!("checkout"), &json!("checkout"), &limit));
    assert_eq!((&made["projectId"], &made["isActive"]), (&json!(4501), &json!(true)));
    let dsn = format!("http://{public}@{}/4501", sentry.address());
    assert_eq!(made["dsn"]["public"], dsn);
    assert_eq!(sentry.keys_of("acme/shop").await[1].dsn, dsn);
    for field in ["secret", "csp", "security", "minidump", "unreal", "crons", "cdn"] {
        assert!(made["dsn"][field].is_string(), "{field}");
    }
    for field in ["secret", "dateCreated", "browserSdkVersion", "browserSdk", "dynamicSdkLoaderOptions"] {
        assert!(!made[field].is_null(), "{field}");
    }
    assert_eq!(ask(&sentry, "POST", KEYS, Some(body)).await.status, 500);

    let key = format!("{KEYS}{public}/");
    let changed = ask(&sentry, "PUT", &key, Some(json!({"isActive": false, "rateLimit": null}))).await.json();
    assert_eq!(
        (&changed["isActive"], &changed["rateLimit"], &changed["name"]),
        (&json!(false), &json!(null), &json!("checkout"))
    );
    assert_eq!(ask(&sentry, "GET", &key, None).await.json(), changed);
    let inactive = ask(&sentry, "GET", &format!("{KEYS}?status=inactive"), None).await.list();
    assert_eq!(inactive, [changed]);
    let deleted = ask(&sentry, "DELETE", &key, None).await;
    assert_eq!((deleted.status, deleted.body.len()), (204, 0));

    for body in [
        json!({"name": "x".repeat(65)}),
        json!({"public": "too short"}),
        json!({"rateLimit": {"count": 1}}),
        json!({"isActive": "yes"}),
        json!([]),
    ] {
        assert_eq!(ask(&sentry, "POST", KEYS, Some(body.clone())).await.status, 400, "{body}");
    }
    assert_eq!(sentry.keys_of("acme/shop").await.len(), 1);
}

#[tokio::test]
async fn a_plan_and_an_old_server_ignore_silently_what_they_do_not_have() {
    let sentry = SentryDouble::start();
    sentry.with(|sentry| {
        sentry.switches.key_rate_limits = false;
        sentry.switches.chosen_public_keys = false;
        sentry.switches.key_stats = false;
    });
    let (public, limit) = ("0123456789abcdef0123456789abcdef", json!({"window": 60, "count": 100}));
    let made = ask(&sentry, "POST", KEYS, Some(json!({"public": public, "rateLimit": limit}))).await;
    assert_eq!(made.status, 201);
    let made = made.json();
    assert_ne!(made["public"], public);
    assert!(made["rateLimit"].is_null());
    let key = format!("{KEYS}{}/", made["id"].as_str().unwrap());
    let changed = ask(&sentry, "PUT", &key, Some(json!({"rateLimit": limit}))).await;
    assert_eq!((changed.status, changed.json()["rateLimit"].is_null()), (200, true));
    assert_eq!(ask(&sentry, "GET", &format!("{key}stats/"), None).await.status, 404);
}

#[tokio::test]
async fn a_renamed_project_leads_to_its_new_slug_and_one_that_left_to_nothing() {
    let sentry = SentryDouble::start();
    sentry.with(|sentry| sentry.rename_project("acme/shop", "store"));
    let moved = ask(&sentry, "GET", KEYS, None).await;
    assert_eq!((moved.status, moved.header("location")), (302, "/api/0/projects/acme/store/keys/"));
    let moved = moved.json();
    let code = &moved["detail"]["code"];
    assert_eq!((&moved["slug"], code), (&json!("store"), &json!("resource-moved")));
    assert_eq!(ask(&sentry, "GET", "/api/0/projects/acme/store/", None).await.json()["id"], "4501");
    sentry.with(|sentry| sentry.transfer_project("acme/store", "other"));
    assert_eq!(ask(&sentry, "GET", "/api/0/projects/acme/store/", None).await.status, 404);
    sentry.with(|sentry| sentry.delete_project("other/store"));
    assert!(sentry.keys_of("other/store").await.is_empty());
}

#[tokio::test]
async fn stats_of_a_key_count_its_events_by_interval() {
    let sentry = SentryDouble::start();
    let at = |second| Timestamp::from_second(second).unwrap();
    let public = sentry.with(|sentry| {
        let key = &mut sentry.project("acme/shop").unwrap().keys[0];
        key.usage = vec![
            Usage { at: at(7_200), accepted: 2, filtered: 1, dropped: 0 },
            Usage { at: at(7_300), accepted: 3, filtered: 0, dropped: 4 },
        ];
        key.public.clone()
    });
    let stats = format!("{KEYS}{public}/stats/?since=3600&until=10800&resolution=1h");
    let none = json!({"ts": 3_600, "total": 0, "accepted": 0, "filtered": 0, "dropped": 0});
    let some = json!({"ts": 7_200, "total": 10, "accepted": 5, "filtered": 1, "dropped": 4});
    let last = json!({"ts": 10_800, "total": 0, "accepted": 0, "filtered": 0, "dropped": 0});
    assert_eq!(ask(&sentry, "GET", &stats, None).await.list(), [none, some, last]);
    let stats = format!("{KEYS}{public}/stats/?resolution=1w");
    assert_eq!(ask(&sentry, "GET", &stats, None).await.status, 400);
}

#[tokio::test]
async fn a_token_has_so_many_calls_and_each_answer_says_how_many_are_left() {
    let sentry = SentryDouble::start();
    sentry.with(|sentry| {
        sentry.switches.rate_limit = Some(RateLimit::per_minute(2));
        sentry.tokens.push(SentryToken::new("second", "fake-second", "acme", "project:read"));
    });
    let mut answers = Vec::new();
    for _ in 0..3 {
        let answer = ask(&sentry, "GET", KEYS, None).await;
        assert_eq!(answer.header("x-sentry-rate-limit-limit"), "2");
        answers.push((answer.status, answer.header("x-sentry-rate-limit-remaining").to_owned()));
        if answer.status == 429 {
            assert!((1..=60).contains(&answer.header("retry-after").parse::<u32>().unwrap()));
        }
    }
    assert_eq!(answers, [(200, "1".into()), (200, "0".into()), (429, "0".into())]);
    assert_eq!(ask_as(&sentry, "fake-second", "GET", KEYS).await.status, 200);
}
