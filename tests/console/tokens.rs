//! API tokens: made by people, shown by programs, never worth more than their maker.

use std::time::Duration;

use regex::Regex;

use crate::{
    client::{Answer, send},
    sign_in::{FROM_HERE, LOOPBACK, form_token, page, session, with_rights},
    world::World,
};

const RIGHTS: &[&str] = &[
    "ada get issues web/",
    "ada get events web/",
    "ada get keys web/",
    "ada update issues web/",
    "bob update issues web/",
];

fn found(pattern: &str, text: &str) -> String {
    Regex::new(pattern).unwrap().captures(text).unwrap_or_else(|| panic!("{pattern}: {text}"))[1].to_owned()
}

/// Posts a form of the session, with its token.
async fn post(world: &World, cookie: &str, path: &str, fields: &str) -> Answer {
    let shown = page(world, cookie, "/-/tokens").await;
    let form_token = form_token(&shown.body);
    let form = format!("form_token={form_token}&{fields}");
    send(world.console, "POST", path, &[LOOPBACK, FROM_HERE, ("Cookie", cookie)], &form).await
}

async fn make(world: &World, cookie: &str, scopes: &[&str]) -> String {
    let scopes: Vec<_> = scopes.iter().map(|scope| format!("scope={scope}&")).collect();
    let made = post(world, cookie, "/-/tokens", &format!("name=ci&days=30&{}", scopes.concat())).await;
    assert_eq!(made.status, 200, "{}", made.body);
    found(r"<code>(et_[A-Za-z0-9_-]{43})</code>", &made.body)
}

async fn ask(world: &World, method: &str, path: &str, token: &str, form: &str) -> Answer {
    let header = format!("Bearer {token}");
    send(world.console, method, path, &[LOOPBACK, ("Authorization", &header)], form).await
}

#[tokio::test]
async fn a_token_does_what_its_scopes_name_and_its_maker_may() {
    let (world, cluster) = with_rights(RIGHTS).await;
    let (ada, bob) = (session(&world, "ada").await, session(&world, "bob").await);
    assert!(page(&world, &ada, "/-/tokens").await.body.contains("No token yet"));
    let read = make(&world, &ada, &["event:read"]).await;
    let list = make(&world, &ada, &["project:read"]).await;
    let write = make(&world, &ada, &["event:write"]).await;
    let keys = make(&world, &ada, &["key:write"]).await;
    let of_bob = make(&world, &bob, &["event:read", "event:write"]).await;
    cluster.asked();
    let (act, delete) = ("action=ignore", "action=delete");
    for (name, token, method, path, form, status) in [
        ("read", &read, "GET", "/", "", 200),
        ("read", &read, "GET", "/web/shop/issues", "", 200),
        ("read", &read, "GET", "/web/shop/keys", "", 403),
        ("read", &read, "GET", "/web/none/keys", "", 403),
        ("read", &read, "POST", "/web/shop/issues/1", act, 403),
        ("read", &read, "GET", "/-/tokens", "", 403),
        ("read", &read, "POST", "/-/tokens", "name=more&days=7&scope=event:read", 403),
        ("read", &read, "POST", "/-/sessions/end", "", 403),
        ("write", &write, "GET", "/web/shop/issues", "", 403),
        ("write", &write, "POST", "/web/shop/issues/1", act, 303),
        ("write", &write, "POST", "/web/shop/issues/1", delete, 404),
        ("keys", &keys, "GET", "/web/shop/keys", "", 200),
        ("keys", &keys, "GET", "/", "", 403),
        ("bob", &of_bob, "GET", "/web/shop/issues", "", 404),
        ("bob", &of_bob, "POST", "/web/shop/issues/1", act, 303),
        ("unknown", &format!("et_{}", "A".repeat(43)), "GET", "/", "", 401),
        ("short", &"et_".to_owned(), "GET", "/", "", 401),
    ] {
        let answer = ask(&world, method, path, token, form).await;
        assert_eq!(answer.status, status, "{name} {method} {path} {form}: {}", answer.body);
    }
    // What a search finds is read, also where it is only acted on.
    let all = "all=query%3Dis%253Aignored%26at%3D9000000000000000&action=comment&comment=x";
    for path in ["/web/shop/issues", "/web/shop/issues.json"] {
        let answer = ask(&world, "POST", path, &write, all).await;
        assert_eq!(answer.status, 404, "{path}: {}", answer.body);
    }
    // Numbers are of the list, payloads are of events.
    let shown = ask(&world, "GET", "/web/shop/issues/1", &read, "").await;
    assert!(shown.body.contains("ada@example.org"), "{}", shown.body);
    let shown = ask(&world, "GET", "/web/shop/issues/1", &list, "").await;
    assert!(shown.status == 200 && !shown.body.contains("ada@example.org"), "{}", shown.body);
    assert!(!shown.body.contains(r#"value="resolve""#), "{}", shown.body);
    let asked = cluster.asked();
    assert!(asked.iter().all(|asked| !asked.starts_with("token ")), "Kubernetes never sees one: {asked:?}");

    let listed = page(&world, &ada, "/-/tokens").await.body;
    assert!(!listed.contains("et_") && listed.contains("event:write") && listed.contains("just now"), "{listed}");
    assert!(page(&world, &ada, "/web/shop/issues/1").await.body.contains("ada ignored it"), "its maker is named");
}

#[tokio::test]
async fn a_token_ends_when_it_is_revoked_and_when_its_time_is_over() {
    let (world, _cluster) = with_rights(RIGHTS).await;
    let (ada, bob) = (session(&world, "ada").await, session(&world, "bob").await);
    let token = make(&world, &ada, &["event:read"]).await;
    assert_eq!(ask(&world, "GET", "/", &token, "").await.status, 200);
    let listed = page(&world, &ada, "/-/tokens").await.body;
    let id = found(r#"name="token" value="([^"]+)""#, &listed);
    // Not one's own.
    post(&world, &bob, "/-/tokens/revoke", &format!("token={id}")).await;
    assert!(page(&world, &ada, "/-/tokens").await.body.contains(&id));
    let revoked = post(&world, &ada, "/-/tokens/revoke", &format!("token={id}")).await;
    assert_eq!((revoked.status, revoked.header("location")), (303, "../../-/tokens"));
    assert!(!page(&world, &ada, "/-/tokens").await.body.contains(&id));
    let ends = async |token: &str| {
        for _ in 0..150 {
            if ask(&world, "GET", "/", token, "").await.status == 401 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("it still counts after 15 s");
    };
    ends(&token).await;

    let token = make(&world, &ada, &["event:read"]).await;
    world.expire_tokens().await;
    assert_eq!(ask(&world, "GET", "/", &token, "").await.status, 401);
    assert!(page(&world, &ada, "/-/tokens").await.body.contains("No token yet"));
}

#[tokio::test]
async fn what_is_no_token_is_not_made() {
    let (world, _cluster) = with_rights(RIGHTS).await;
    let ada = session(&world, "ada").await;
    let long = format!("name={}&days=7&scope=event:read", "x".repeat(101));
    for form in [
        "days=7&scope=event:read",
        "name=+&days=7&scope=event:read",
        "name=a%00&days=7&scope=event:read",
        &long,
        "name=ci&days=7",
        "name=ci&days=7&scope=org:admin",
        &format!("name=ci&days=7{}", "&scope=event:read".repeat(7)),
        "name=ci&days=0&scope=event:read",
        "name=ci&days=367&scope=event:read",
        "name=ci&days=99999999999999999999&scope=event:read",
        "name=ci&scope=event:read",
    ] {
        let answer = post(&world, &ada, "/-/tokens", form).await;
        assert_eq!(answer.status, 400, "{form}: {}", answer.body);
    }
    assert_eq!(post(&world, &ada, "/-/tokens/revoke", "token=1").await.status, 400);
    let bare = [LOOPBACK, FROM_HERE, ("Cookie", ada.as_str())];
    for path in ["/-/tokens", "/-/tokens/revoke", "/-/sessions/end"] {
        let answer = send(world.console, "POST", path, &bare, "name=ci&days=7&scope=event:read").await;
        assert_eq!(answer.status, 403, "{path} without the session's own form");
    }
    for _ in 0..50 {
        make(&world, &ada, &["event:read"]).await;
    }
    let many = post(&world, &ada, "/-/tokens", "name=ci&days=7&scope=event:read").await;
    assert!(many.status == 400 && many.body.contains("more than fifty"), "{}", many.body);
    let bob = session(&world, "bob").await;
    make(&world, &bob, &["event:read"]).await;
}

#[tokio::test]
async fn somebody_signs_out_everywhere() {
    let (world, _cluster) = with_rights(RIGHTS).await;
    let [here, there] = [session(&world, "ada").await, session(&world, "ada").await];
    let bob = session(&world, "bob").await;
    let token = make(&world, &here, &["event:read"]).await;
    let out = post(&world, &here, "/-/sessions/end", "").await;
    assert_eq!((out.status, out.header("location")), (303, "../../-/login"));
    for (cookie, status) in [(&here, 303), (&there, 303), (&bob, 200)] {
        assert_eq!(page(&world, cookie, "/").await.status, status);
    }
    assert_eq!(ask(&world, "GET", "/", &token, "").await.status, 200, "tokens stay");
}
