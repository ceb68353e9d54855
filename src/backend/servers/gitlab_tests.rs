//! GitLab's client against a server that answers well, badly, or about something else.

use secrecy::{ExposeSecret, SecretString};

use super::{
    Gitlab, GitlabSettings, ServerError, Turns,
    tests::{Loopback, Reply, ok, reply},
};

const BELOW: &str = "/api/v4/projects/group%2Fshop/error_tracking";

fn gitlab(server: &Loopback) -> Gitlab {
    Gitlab::new(server.web(), &Turns::default(), SecretString::from("glpat-s3cret"), "group/shop".into())
}

fn settings(active: bool, integrated: bool) -> String {
    let sentrys = r#""project_name":null,"sentry_external_url":null,"api_url":null"#;
    format!(r#"{{"active":{active},{sentrys},"integrated":{integrated}}}"#)
}

fn key(id: u64) -> String {
    let public = format!("glet_{id:032x}");
    format!(
        r#"{{"id":{id},"active":true,"public_key":"{public}",
        "sentry_dsn":"https://{public}@gitlab.example.com/errortracking/api/v1/projects/5"}}"#
    )
}

fn page(ids: std::ops::Range<u64>, next: Option<&str>) -> Reply {
    let keys: Vec<_> = ids.map(key).collect();
    let headers: Vec<_> = next.map(|next| ("X-Next-Page", next)).into_iter().collect();
    reply("200 OK", &headers, &format!("[{}]", keys.join(",")))
}

fn message(status: &str, message: &str) -> Reply {
    reply(status, &[], &format!(r#"{{"message":"{message}"}}"#))
}

fn no_row() -> Reply {
    message("404 Not Found", "404 Error Tracking Setting Not Found")
}

#[tokio::test]
async fn settings_are_read_and_their_absence_is_told_from_that_of_the_project() {
    let on = GitlabSettings { active: true, integrated: true };
    let not_found = ServerError::NotFound { what: "project" };
    let wrong = ServerError::NotUnderstood { what: "the settings of error tracking" };
    for (case, answer, expected) in [
        ("on", ok(&settings(true, true)), Ok(Some(on))),
        ("never configured", no_row(), Ok(None)),
        ("no project", message("404 Not Found", "404 Project Not Found"), Err(not_found.clone())),
        ("no API", reply("404 Not Found", &[], "<html>Nothing here</html>"), Err(not_found)),
        ("a feature that is off", message("404 Not Found", "404 Not found"), Err(ServerError::FeatureOff)),
        ("HTML", ok("<html>Sign in</html>"), Err(wrong.clone())),
        ("not the settings", ok(r#"{"status":"error","message":"x"}"#), Err(wrong)),
        ("401", message("401 No", "401 Unauthorized"), Err(ServerError::Unauthorized)),
        ("500", message("500 Error", "500"), Err(ServerError::Failing { status: 500 })),
        ("moved", reply("301 Moved", &[("location", "/users/sign_in")], ""), Err(ServerError::Moved { to: None })),
    ] {
        let server = Loopback::with(vec![answer]).await;
        assert_eq!(gitlab(&server).settings().await, expected, "{case}");
        assert!(server.asked()[0].contains("private-token: glpat-s3cret\r\n"));
    }
    let server = Loopback::with(vec![message("403 No", "403 Forbidden")]).await;
    let sentence = gitlab(&server).settings().await.unwrap_err().to_string();
    assert!(sentence.contains("Maintainer") && sentence.contains("Monitor"), "{sentence}");
}

#[tokio::test]
async fn settings_are_switched_on_once_and_their_answer_is_looked_at() {
    let body = r#"{"active":true,"integrated":true}"#;
    let both = settings(true, true);
    let off = message("404 Not Found", "404 Not found");
    let (get, patch, put) = (
        format!("GET {BELOW}/settings"),
        format!("PATCH {BELOW}/settings {body}"),
        format!("PUT {BELOW}/settings {body}"),
    );
    let failed = ServerError::NotUnderstood { what: "the settings of error tracking" };
    for (case, answers, calls, expected) in [
        ("they are on", vec![ok(&both)], vec![&get], Ok(())),
        ("a row that is off", vec![ok(&settings(false, false)), ok(&both)], vec![&get, &patch], Ok(())),
        ("no row", vec![no_row(), ok(&both)], vec![&get, &put], Ok(())),
        ("the feature flag is off", vec![no_row(), off], vec![&get, &put], Err(ServerError::FeatureOff)),
        (
            "the flag is off, and there is a row",
            vec![ok(&settings(true, false)), ok(&settings(true, false))],
            vec![&get, &patch],
            Err(ServerError::FeatureOff),
        ),
        (
            "the service failed",
            vec![no_row(), ok(r#"{"status":"error","http_status":400}"#)],
            vec![&get, &put],
            Err(failed),
        ),
    ] {
        let server = Loopback::with(answers).await;
        assert_eq!(gitlab(&server).switch_on().await, expected, "{case}");
        assert_eq!(server.calls().iter().collect::<Vec<_>>(), calls, "{case}");
    }
}

#[tokio::test]
async fn keys_are_read_page_by_page() {
    let server = Loopback::with(vec![page(1..101, Some("2")), page(100..151, Some(""))]).await;
    let keys = gitlab(&server).keys().await.unwrap();
    assert_eq!(keys.iter().map(|key| key.id).collect::<Vec<_>>(), (1..151).collect::<Vec<_>>());
    let dsn = format!("https://glet_{:032x}@gitlab.example.com/errortracking/api/v1/projects/5", 1);
    assert_eq!(keys[0].dsn.expose_secret(), dsn);
    assert!(keys[0].active && keys[0].public.as_str() == format!("glet_{:032x}", 1));
    let path = |page: u32| format!("GET {BELOW}/client_keys?per_page=100&page={page}");
    assert_eq!(server.calls(), [path(1), path(2)]);
}

#[tokio::test]
async fn a_list_without_an_end_or_without_pages_is_given_up() {
    let not = |what| Err(ServerError::NotUnderstood { what });
    for (case, pages, expected) in [
        ("one page", vec![page(1..3, None)], Ok(2)),
        ("none", vec![page(0..0, Some(""))], Ok(0)),
        ("the next page is this one", vec![page(1..3, Some("1"))], not("a list with pages")),
        ("no number", vec![page(1..3, Some("next"))], not("a list with pages")),
        ("a full page and no word of the next", vec![page(1..101, None)], not("a list with pages")),
        ("the same page", vec![page(1..3, Some("2")), page(1..3, Some("3"))], not("a list with an end")),
    ] {
        let server = Loopback::with(pages).await;
        assert_eq!(gitlab(&server).keys().await.map(|keys| keys.len()), expected, "{case}");
    }
}

#[tokio::test]
async fn a_key_is_made_and_deleted() {
    let (made, none) = (reply("201 Created", &[], &key(3)), message("404 Not Found", "404 Not found"));
    let no_project = message("404 Not Found", "404 Project Not Found");
    let server = Loopback::with(vec![made, ok(&key(3)), none, no_project]).await;
    let gitlab = gitlab(&server);
    assert_eq!(gitlab.make().await.unwrap().id, 3);
    assert_eq!(gitlab.delete(3).await, Ok(()));
    assert_eq!(gitlab.delete(3).await, Ok(()));
    assert_eq!(gitlab.delete(3).await, Err(ServerError::NotFound { what: "project" }));
    let (post, delete) = (format!("POST {BELOW}/client_keys"), format!("DELETE {BELOW}/client_keys/3"));
    assert_eq!(server.calls(), [post, delete.clone(), delete.clone(), delete]);
}

#[tokio::test]
async fn what_is_no_key_that_was_made_is_not_taken() {
    let not = |what| ServerError::NotUnderstood { what };
    let mixed = key(3).replace("//glet_0", "//glet_1");
    let limited = reply("429 Slow", &[("retry-after", "7")], "Retry later");
    for (case, answer, expected) in [
        ("not made", ok(&key(3)), not("a key that was made")),
        ("HTML", reply("201 Created", &[], "<html></html>"), not("a key of GitLab")),
        ("no id", reply("201 Created", &[], &key(3).replace("\"id\":3,", "")), not("a key of GitLab")),
        ("a DSN of another key", reply("201 Created", &[], &mixed), not("a key with its DSN")),
        ("the feature is off", message("404 Not Found", "404 Not found"), ServerError::FeatureOff),
        ("hangs up", Reply::Nothing, ServerError::Unreachable),
    ] {
        let server = Loopback::with(vec![answer]).await;
        assert_eq!(gitlab(&server).make().await.err(), Some(expected), "{case}");
        assert_eq!(server.asked().len(), 1, "{case}: a lost answer is not asked for again");
    }
    let server = Loopback::with(vec![limited]).await;
    assert!(gitlab(&server).make().await.unwrap_err().retry_after().unwrap().as_secs() >= 7);
}
